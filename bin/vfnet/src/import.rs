//! `vfnet import`: takes the documents of a libvirt host, or of a directory that was exported
//! to, over into the daemon.
//!
//! Everything is looked at first as it would be carried out; what is there already stays as it
//! is, so that a second run changes nothing. What cannot be taken over is said, with its reason,
//! and holds up nothing else. Nothing of libvirt's is changed, and the daemon never reads its
//! files: this client does, as the user that it runs as.

mod source;

use std::borrow::Cow;
use std::path::Path;

use vfnet_model::network::{Mode, head};
use vfnet_model::port::Plug;
use vfnet_model::xml::DocumentError;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags;
use vfnet_rpc::objects::{Domain, Network};
use vfnet_rpc::remote::{
    DomainAutostartArgs, DomainDefineXml, DomainFlags, DomainGetAutostart, DomainGetXmlDesc,
    DomainIsPersistent, DomainLookupByName, DomainSetAutostart, NetworkAutostartArgs,
    NetworkCreate, NetworkCreateXml, NetworkDefineXml, NetworkFlags, NetworkGetAutostart,
    NetworkGetXmlDesc, NetworkIsActive, NetworkIsPersistent, NetworkLookupByName,
    NetworkPortCreateXml, NetworkPortLookupByUuid, NetworkSetAutostart, PortByUuid, PortCreateArgs,
};
use vfnet_rpc::xdr::Text;

use crate::connection::Connection;
use crate::fault::{CallFault, Fault};
use crate::layout::Layout;
use crate::moving::{Action, Item, Kind, Outcome, Report};
use crate::options::ImportOptions;
use crate::progress::Waiting;
use crate::screen::Screen;
use source::{FoundGuest, FoundNetwork, FoundPort, Source};

pub(crate) fn import(
    daemon: Connection,
    screen: &Screen,
    options: &ImportOptions,
) -> Result<(), Fault> {
    let layout = match &options.dir {
        Some(dir) => Layout::of_directory(dir),
        None => Layout::of_libvirt(options.root.as_deref().unwrap_or(Path::new("/"))),
    };
    let mut source = Source::read(&layout)?;
    if options.networks {
        source.guests.clear();
        source.unread.retain(|unread| unread.kind != Kind::Guest);
    }
    let report = Report { dry_run: options.plan, items: Vec::new() };
    let mut import = Import { daemon, report };
    let waiting = Waiting::until("importing".to_owned());
    let outcome = import.all(&source);
    drop(waiting);
    // Also of what was done before the daemon went away.
    screen.report(&import.report, Report::view)?;
    outcome.map_err(Fault::call("go on importing"))?;
    match import.report.count(Outcome::Refused) {
        0 => Ok(()),
        refused => Err(Fault::Incomplete { refused }),
    }
}

/// What became of one thing; the error is that the daemon has gone away, which ends everything.
type Step<T> = Result<Result<T, String>, CallFault>;

/// Takes a refusal for an answer, and lets everything else end the import.
fn answered<T>(call: Result<T, CallFault>) -> Step<T> {
    match call {
        Ok(reply) => Ok(Ok(reply)),
        Err(refused @ CallFault::Reply(_)) => Ok(Err(vfnet_model::explain(&refused))),
        Err(lost) => Err(lost),
    }
}

struct Import {
    daemon: Connection,
    report: Report,
}

/// One thing that is being taken over.
#[derive(Clone, Copy)]
struct Subject<'a> {
    kind: Kind,
    name: &'a str,
    file: &'a Path,
}

impl Import {
    fn all(&mut self, source: &Source) -> Result<(), CallFault> {
        for network in &source.networks {
            self.network(network)?;
        }
        for guest in &source.guests {
            self.guest(guest)?;
        }
        for unread in &source.unread {
            let subject = Subject { kind: unread.kind, name: &unread.name, file: &unread.path };
            let action = match unread.kind {
                Kind::Port => Action::Reclaim,
                Kind::Network | Kind::Guest => Action::Define,
            };
            self.note(subject, action, Outcome::Refused, Some(unread.why.clone()));
        }
        Ok(())
    }

    fn note(
        &mut self,
        subject: Subject<'_>,
        action: Action,
        outcome: Outcome,
        note: Option<String>,
    ) {
        let Subject { kind, name, file } = subject;
        let (name, file) = (name.to_owned(), file.to_owned());
        self.report.items.push(Item { outcome, action, kind, name, note, file });
    }

    /// Does one thing, unless it is so already or only a plan is wanted; whether it is so now.
    fn step<T>(
        &mut self,
        subject: Subject<'_>,
        action: Action,
        unchanged: bool,
        act: impl FnOnce(&mut Connection) -> Result<T, CallFault>,
    ) -> Result<bool, CallFault> {
        if unchanged {
            self.note(subject, action, Outcome::Unchanged, None);
        } else if self.report.dry_run {
            self.note(subject, action, Outcome::Planned, None);
        } else if let Err(why) = answered(act(&mut self.daemon))? {
            self.note(subject, action, Outcome::Refused, Some(why));
            return Ok(false);
        } else {
            self.note(subject, action, Outcome::Done, None);
        }
        Ok(true)
    }

    /// Says of what was done last that it is not the first of its name.
    fn say_if_replaced(&mut self, replaced: bool) {
        if replaced
            && let Some(item) = self.report.items.last_mut()
            && item.note.is_none()
        {
            item.note = Some("in place of what vfnet has".to_owned());
        }
    }

    fn network(&mut self, found: &FoundNetwork) -> Result<(), CallFault> {
        // Where it is not kept, what is known of it while it is active has to do.
        let Some(first) = found.kept.as_ref().or(found.active.as_ref()) else { return Ok(()) };
        let name = Text::clipped(&found.name);
        let subject = Subject { kind: Kind::Network, name: &found.name, file: &first.path };
        match for_vfnet(&first.text) {
            Err(fault) => {
                let why = Some(fault.to_string());
                self.note(subject, Action::Define, Outcome::Refused, why);
                self.ports_are_refused(found, "was not taken over");
                return Ok(());
            }
            Ok(Some(why)) => {
                self.note(subject, Action::Define, Outcome::Left, Some(why));
                return Ok(());
            }
            Ok(None) => {}
        }
        let mut known = self.known_network(&name)?;
        if let Some(kept) = &found.kept {
            let same = match &known {
                Some(known) => self.is_same_network(known, &kept.text)?,
                None => false,
            };
            let text = new_version(&kept.text, known.as_ref());
            let defined = self.step(subject, Action::Define, same, |daemon| {
                daemon.ask::<NetworkDefineXml>(&Text::clipped(&text))
            })?;
            self.say_if_replaced(known.is_some() && !same);
            if !defined {
                self.ports_are_refused(found, "was not taken over");
                return Ok(());
            }
            known = self.known_network(&name)?;
            if found.autostart {
                self.autostart_network(subject, known.as_ref())?;
            }
        }
        let Some(active) = &found.active else {
            self.ports_are_refused(found, "is not active any more");
            return Ok(());
        };
        let subject = Subject { file: &active.path, ..subject };
        let runs = match &known {
            Some(known) => self.daemon.ask::<NetworkIsActive>(known)? != 0,
            None => false,
        };
        let kept = found.kept.is_some();
        let started = self.step(subject, Action::Start, runs, |daemon| match (&known, kept) {
            (Some(known), true) => daemon.ask::<NetworkCreate>(known),
            _ => daemon.ask::<NetworkCreateXml>(&Text::clipped(&active.text)).map(drop),
        })?;
        if !started {
            self.ports_are_refused(found, "was not taken over");
            return Ok(());
        }
        let known = self.known_network(&name)?;
        for port in &found.ports {
            self.port(known.as_ref(), port)?;
        }
        Ok(())
    }

    fn known_network(&mut self, name: &Text) -> Result<Option<Network>, CallFault> {
        match self.daemon.ask::<NetworkLookupByName>(name) {
            Err(fault) if fault.code() == Some(ErrorCode::NoNetwork) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether the daemon keeps this document already, however it is written.
    fn is_same_network(&mut self, known: &Network, text: &str) -> Result<bool, CallFault> {
        use vfnet_model::network::{Form, parse, print};
        if self.daemon.ask::<NetworkIsPersistent>(known)? == 0 {
            return Ok(false);
        }
        let args = NetworkFlags { network: known.clone(), flags: flags::NETWORK_XML_INACTIVE };
        let kept = self.daemon.ask::<NetworkGetXmlDesc>(&args)?;
        let Ok(mut wanted) = parse(text) else { return Ok(false) };
        wanted.uuid.get_or_insert(known.uuid);
        Ok(print(&wanted, Form::Inactive).trim() == kept.trim())
    }

    fn autostart_network(
        &mut self,
        subject: Subject<'_>,
        known: Option<&Network>,
    ) -> Result<(), CallFault> {
        let already = match known {
            Some(known) if self.daemon.ask::<NetworkIsPersistent>(known)? != 0 => {
                self.daemon.ask::<NetworkGetAutostart>(known)? != 0
            }
            _ => false,
        };
        self.step(subject, Action::Autostart, already, |daemon| match known {
            Some(network) => {
                let args = NetworkAutostartArgs { network: network.clone(), autostart: 1 };
                daemon.ask::<NetworkSetAutostart>(&args)
            }
            None => Ok(()),
        })
        .map(drop)
    }

    fn ports_are_refused(&mut self, found: &FoundNetwork, why: &str) {
        for port in &found.ports {
            let name = port.uuid.to_string();
            let subject = Subject { kind: Kind::Port, name: &name, file: &port.file.path };
            let why = format!("network '{}' {why}", found.name);
            self.note(subject, Action::Reclaim, Outcome::Refused, Some(why));
        }
    }

    /// Has the daemon take up a port that its guest has already.
    fn port(&mut self, network: Option<&Network>, found: &FoundPort) -> Result<(), CallFault> {
        let name = found.uuid.to_string();
        let subject = Subject { kind: Kind::Port, name: &name, file: &found.file.path };
        match vfnet_model::port::parse(&found.file.text) {
            Err(fault) => {
                let why = Some(fault.to_string());
                self.note(subject, Action::Reclaim, Outcome::Refused, why);
                return Ok(());
            }
            Ok(port) if !matches!(port.plug, Plug::HostdevPci { .. } | Plug::Bridge(_)) => {
                let why = "it is neither on a VF nor on a bridge".to_owned();
                self.note(subject, Action::Reclaim, Outcome::Left, Some(why));
                return Ok(());
            }
            Ok(_) => {}
        }
        let there = match network {
            Some(network) => {
                let args = PortByUuid { network: network.clone(), uuid: found.uuid };
                match self.daemon.ask::<NetworkPortLookupByUuid>(&args) {
                    Err(fault) if fault.code() == Some(ErrorCode::NoNetworkPort) => false,
                    found => found.map(|_| true)?,
                }
            }
            None => false,
        };
        self.step(subject, Action::Reclaim, there, |daemon| match network {
            Some(network) => {
                let args = PortCreateArgs {
                    network: network.clone(),
                    xml: Text::clipped(&found.file.text),
                    flags: flags::PORT_CREATE_RECLAIM,
                };
                daemon.ask::<NetworkPortCreateXml>(&args).map(drop)
            }
            None => Ok(()),
        })
        .map(drop)
    }

    fn guest(&mut self, found: &FoundGuest) -> Result<(), CallFault> {
        let subject = Subject { kind: Kind::Guest, name: &found.name, file: &found.file.path };
        if !found.kept {
            let why = "it runs without a kept document, and goes on under libvirt".to_owned();
            self.note(subject, Action::Define, Outcome::Left, Some(why));
            return Ok(());
        }
        if let Err(fault) = vfnet_model::guest::parse(&found.file.text) {
            let why = Some(fault.to_string());
            self.note(subject, Action::Define, Outcome::Refused, why);
            return Ok(());
        }
        let name = Text::clipped(&found.name);
        let known = self.known_guest(&name)?;
        let same = match &known {
            Some(known) => self.is_same_guest(known, &found.file.text)?,
            None => false,
        };
        let defined = self.step(subject, Action::Define, same, |daemon| {
            daemon.ask::<DomainDefineXml>(&Text::clipped(&found.file.text))
        })?;
        self.say_if_replaced(known.is_some() && !same);
        if found.runs
            && let Some(item) = self.report.items.last_mut()
            && item.note.is_none()
        {
            item.note = Some("it runs under libvirt, and goes on there until it ends".to_owned());
        }
        if !(defined && found.autostart) {
            return Ok(());
        }
        let known = self.known_guest(&name)?;
        let already = match &known {
            Some(known) => self.daemon.ask::<DomainGetAutostart>(known)? != 0,
            None => false,
        };
        self.step(subject, Action::Autostart, already, |daemon| match known {
            Some(domain) => {
                daemon.ask::<DomainSetAutostart>(&DomainAutostartArgs { domain, autostart: 1 })
            }
            None => Ok(()),
        })
        .map(drop)
    }

    fn known_guest(&mut self, name: &Text) -> Result<Option<Domain>, CallFault> {
        match self.daemon.ask::<DomainLookupByName>(name) {
            Err(fault) if fault.code() == Some(ErrorCode::NoDomain) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether the daemon keeps this document already, however it is written.
    fn is_same_guest(&mut self, known: &Domain, text: &str) -> Result<bool, CallFault> {
        use vfnet_model::guest::{Form, parse, print_with_secrets};
        if self.daemon.ask::<DomainIsPersistent>(known)? == 0 {
            return Ok(false);
        }
        let flags = flags::DOMAIN_XML_INACTIVE | flags::DOMAIN_XML_SECURE;
        let kept =
            self.daemon.ask::<DomainGetXmlDesc>(&DomainFlags { domain: known.clone(), flags })?;
        let (Ok(mut wanted), Ok(mut there)) = (parse(text), parse(&kept)) else { return Ok(false) };
        // What the document leaves to the daemon is as the daemon has it.
        wanted.uuid = wanted.uuid.or(there.uuid);
        wanted.emulator = wanted.emulator.or_else(|| there.emulator.clone());
        let by_alias = wanted.os.machine.as_deref().is_none_or(|it| ["pc", "q35"].contains(&it));
        if by_alias && wanted.os.family() == there.os.family() {
            wanted.os.machine.clone_from(&there.os.machine);
        }
        for (wanted, there) in wanted.interfaces.iter_mut().zip(&there.interfaces) {
            wanted.mac = wanted.mac.or(there.mac);
        }
        // Nothing is left that would be drawn.
        wanted.fill_in(&mut || 0);
        there.fill_in(&mut || 0);
        Ok(print_with_secrets(&wanted, Form::Inactive)
            == print_with_secrets(&there, Form::Inactive))
    }
}

/// The document to define a network by. One without a UUID gets that of the network of its name,
/// as it would be refused as a second one otherwise.
fn new_version<'a>(text: &'a str, known: Option<&Network>) -> Cow<'a, str> {
    use vfnet_model::network::{Form, parse, print};
    match (parse(text), known) {
        (Ok(mut network), Some(known)) if network.uuid.is_none() => {
            network.uuid = Some(known.uuid);
            print(&network, Form::Inactive).into()
        }
        _ => text.into(),
    }
}

/// Whether a network is one for vfnet; else why it is none, or what is wrong with it.
fn for_vfnet(text: &str) -> Result<Option<String>, DocumentError> {
    let what = match head(text)?.mode {
        Mode::Hostdev | Mode::Bridge => {
            return vfnet_model::network::parse(text)?.served().map(|()| None);
        }
        Mode::Isolated => "an isolated network",
        Mode::Nat => "forward mode 'nat'",
        Mode::Route => "forward mode 'route'",
        Mode::Open => "forward mode 'open'",
        Mode::BridgeOverDevices => "forward mode 'bridge' over devices",
        Mode::Private => "forward mode 'private'",
        Mode::Vepa => "forward mode 'vepa'",
        Mode::Passthrough => "forward mode 'passthrough'",
    };
    Ok(Some(format!("{what} is for a stock network daemon")))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_document_without_a_uuid_takes_the_place_of_the_network_of_its_name() {
        let pool = "<forward mode='hostdev'><pf dev='ens1f0'/></forward>";
        let text = format!("<network><name>hw</name>{pool}</network>");
        let known = Network { name: Text::clipped("hw"), uuid: Uuid::from_u128(7) };
        let uuid = |text: &str| vfnet_model::network::parse(text).expect("a network").uuid;
        assert_eq!(uuid(&new_version(&text, Some(&known))), Some(known.uuid));
        assert_eq!(new_version(&text, None), text);
        let own = Uuid::from_u128(8);
        let named = text.replace("<forward", &format!("<uuid>{own}</uuid><forward"));
        assert_eq!(new_version(&named, Some(&known)), named);
    }
}
