//! What is said of what happened: in the log, and to whoever asks for events.

use std::fmt::Display;

use uuid::Uuid;
use vfnet_engine::{Announcement, Cause, Ended, Metadata, PfChange};
use vfnet_model::event::Severity;
use vfnet_model::{GuestName, NetworkName, PciAddress};

use crate::log::floods::{self, ANNOUNCED};

/// An announcement in words.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// What kind, as [`vfnet_model::event::Event::event`].
    pub(crate) event: &'static str,
    pub(crate) severity: Severity,
    pub(crate) about: About<'a>,
    /// All of it, on one line.
    pub(crate) text: String,
}

/// What an announcement is about.
#[derive(Debug)]
pub(crate) enum About<'a> {
    Network(&'a NetworkName),
    Guest(&'a GuestName),
    Vf(PciAddress),
    /// A port, and its VF.
    Port(Uuid, PciAddress),
    /// What is to be started with the host.
    Autostart,
    /// A PF, which its text names.
    Pf,
}

impl Told<'_> {
    /// Writes it to the log, unless there are too many of its kind.
    pub(crate) fn log(&self) {
        let text = &self.text;
        if !floods::passes(self.event, text) {
            return;
        }
        match self.severity {
            Severity::Info => tracing::info!(target: ANNOUNCED, "{text}"),
            Severity::Warning => tracing::warn!(target: ANNOUNCED, "{text}"),
            Severity::Error => tracing::error!(target: ANNOUNCED, "{text}"),
        }
    }
}

/// Says what was announced.
pub(crate) fn tell(announced: &Announcement) -> Told<'_> {
    use Announcement as A;
    use Severity::{Error, Info, Warning};
    match announced {
        A::NetworkDefined(_, name) => network(name, "network-defined", "defined"),
        A::NetworkUndefined(_, name) => network(name, "network-undefined", "undefined"),
        A::NetworkStarted(_, name) => network(name, "network-started", "started"),
        A::NetworkStopped(_, name) => network(name, "network-stopped", "stopped"),
        A::NetworkMetadataChanged(_, name, what) => {
            network(name, "network-metadata-changed", changed(what))
        }
        A::GuestDefined(_, name, _) => guest(name, Info, "guest-defined", "defined"),
        A::GuestUndefined(_, name) => guest(name, Info, "guest-undefined", "undefined"),
        A::GuestStarted(_, name, id) => {
            guest(name, Info, "guest-started", format!("runs as number {id}"))
        }
        A::GuestAdopted(_, name, id) => {
            guest(name, Info, "guest-adopted", format!("found running as number {id}"))
        }
        A::GuestPaused(_, name, _, cause) => match cause {
            Cause::Started | Cause::Asked => guest(name, Info, "guest-paused", "paused"),
            Cause::IoError => guest(name, Warning, "guest-paused", "paused: a disk has failed"),
            Cause::Watchdog => guest(name, Warning, "guest-paused", "paused by its watchdog"),
            Cause::Panicked => guest(name, Warning, "guest-paused", "paused: its kernel panicked"),
        },
        A::GuestResumed(_, name, _) => guest(name, Info, "guest-resumed", "resumed"),
        A::GuestShuttingDown(_, name, _, _) => {
            guest(name, Info, "guest-shutting-down", "is powering off")
        }
        A::GuestMetadataChanged(_, name, _, what) => {
            guest(name, Info, "guest-metadata-changed", changed(what))
        }
        A::GuestReset(_, name, _) => guest(name, Info, "guest-reset", "was reset"),
        A::GuestPanicked(_, name, _) => {
            guest(name, Warning, "guest-panicked", "its kernel panicked")
        }
        A::GuestStopped(_, name, _, ended) => {
            let (severity, what) = match ended {
                Ended::Crashed(words) => (Warning, format!("QEMU ended: {words}")),
                Ended::PoweredOff => (Info, "powered off".to_owned()),
                Ended::Destroyed => (Info, "destroyed".to_owned()),
                Ended::Lost => (Warning, "ended while vfnetd was away".to_owned()),
            };
            guest(name, severity, "guest-stopped", what)
        }
        A::DeviceAdded(_, name, _, device) => {
            guest(name, Info, "device-added", format!("has got the device {device}"))
        }
        A::DeviceRemoved(_, name, _, device) => {
            guest(name, Info, "device-removed", format!("has let go of the device {device}"))
        }
        A::DeviceRemovalFailed(_, name, _, device) => {
            let what = format!("does not let go of the device {device}");
            guest(name, Warning, "device-removal-failed", what)
        }
        A::DeviceStays(_, name, _, device) => {
            let what = format!("was asked to let go of the device {device}, has not answered yet");
            guest(name, Warning, "device-stays", what)
        }
        A::VfQuarantined(at, why) => {
            vf(*at, Error, "vf-quarantined", &format!("quarantined: {why}"))
        }
        A::VfStuck(at, step) => {
            vf(*at, Error, "vf-stuck", &format!("the kernel has not finished {step}"))
        }
        A::VfVanished(at, owner) => {
            vf(*at, Error, "vf-vanished", &format!("vanished while held by {owner}"))
        }
        A::VfReappeared(at, owner) => {
            vf(*at, Info, "vf-reappeared", &format!("there again, held by {owner}"))
        }
        A::VfRepaired(at, owner, what) => {
            let what = format!("changed by somebody else while held by {owner}, put back: {what}");
            vf(*at, Warning, "vf-repaired", &what)
        }
        A::VfDrifted(at, owner, why) => {
            let what = format!("changed by somebody else while held by {owner}, left so: {why}");
            vf(*at, Error, "vf-drifted", &what)
        }
        A::PortUnused(vf, id, owner) => {
            let text = format!("port {id} of {owner}: no process has its VF {vf} open");
            port(*id, *vf, "port-unused", text)
        }
        A::PortReclaimed(vf, id, owner) => {
            let text = format!("port {id} of {owner}: taken back, no process has its VF {vf} open");
            port(*id, *vf, "port-reclaimed", text)
        }
        A::PortInUse(vf, id, who) => {
            port(*id, *vf, "port-in-use", format!("port {id} stays: {who} has its VF {vf} open"))
        }
        A::PfDrained(name, why) => {
            let because = if why.is_empty() { String::new() } else { format!(": {why}") };
            pf("pf-drained", format!("PF {name}: drained{because}"))
        }
        A::PfUndrained(name) => pf("pf-undrained", format!("PF {name}: not drained any more")),
        A::VfSetAnew(at, owner, what) => {
            let what = format!("held by {owner}, set as its network has it now: {what}");
            vf(*at, Info, "vf-set", &what)
        }
        A::VfStaysAsSet(at, owner, why) => {
            let what = format!("held by {owner}, stays as it was set until it is lent anew: {why}");
            vf(*at, Warning, "vf-not-set", &what)
        }
        A::PfChanged(name, change) => {
            let (severity, event, what) = match change {
                PfChange::Came => (Info, "pf-came", "is there".to_owned()),
                PfChange::Went => (Warning, "pf-went", "is not there any more".to_owned()),
                PfChange::Driver(None) => {
                    (Warning, "pf-driver", "has no driver any more".to_owned())
                }
                PfChange::Driver(Some(driver)) => {
                    (Info, "pf-driver", format!("is driven by {driver}"))
                }
                PfChange::Link(true) => (Info, "pf-link-up", "has a link".to_owned()),
                PfChange::Link(false) => (Warning, "pf-link-down", "has no link".to_owned()),
                PfChange::Errors(more) => {
                    let what = format!("{more} PCI Express errors that were not corrected");
                    (Error, "pf-errors", what)
                }
            };
            Told { severity, ..pf(event, format!("PF {name}: {what}")) }
        }
        A::VfsMade(name, count) => pf("vfs-made", format!("PF {name}: its {count} kept VFs made")),
        A::VfsNotMade(name, why) => {
            let text = format!("PF {name}: its kept VFs are not made: {why}");
            Told { severity: Error, ..pf("vfs-not-made", text) }
        }
        A::StartFailed(why) => autostart(Error, "start-failed", why.clone()),
        A::AutostartWaits(why) => {
            autostart(Warning, "autostart-waits", format!("autostart: {why}"))
        }
    }
}

const fn changed(what: &Metadata) -> &'static str {
    match what {
        Metadata::Description => "its description was changed",
        Metadata::Title => "its title was changed",
        Metadata::Element(_) => "its metadata was changed",
    }
}

fn network<'a>(name: &'a NetworkName, event: &'static str, what: &str) -> Told<'a> {
    let text = format!("network {name}: {what}");
    Told { event, severity: Severity::Info, about: About::Network(name), text }
}

fn guest<'a>(
    name: &'a GuestName,
    severity: Severity,
    event: &'static str,
    what: impl Display,
) -> Told<'a> {
    Told { event, severity, about: About::Guest(name), text: format!("guest {name}: {what}") }
}

fn vf(at: PciAddress, severity: Severity, event: &'static str, what: &str) -> Told<'static> {
    Told { event, severity, about: About::Vf(at), text: format!("{at}: {what}") }
}

fn port(port: Uuid, vf: PciAddress, event: &'static str, text: String) -> Told<'static> {
    Told { event, severity: Severity::Warning, about: About::Port(port, vf), text }
}

const fn pf(event: &'static str, text: String) -> Told<'static> {
    Told { event, severity: Severity::Info, about: About::Pf, text }
}

fn autostart(severity: Severity, event: &'static str, text: String) -> Told<'static> {
    Told { event, severity, about: About::Autostart, text }
}
