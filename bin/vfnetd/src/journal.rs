//! What the log says of what happened.

use vfnet_engine::{Announcement, Ended};

/// Writes an announcement to the log.
pub(crate) fn write(what: &Announcement) {
    use Announcement as A;
    match what {
        A::NetworkDefined(_, name) => tracing::info!("network {name}: defined"),
        A::NetworkUndefined(_, name) => tracing::info!("network {name}: undefined"),
        A::NetworkStarted(_, name) => tracing::info!("network {name}: started"),
        A::NetworkStopped(_, name) => tracing::info!("network {name}: stopped"),
        A::NetworkMetadataChanged(_, name, _) => {
            tracing::info!("network {name}: metadata changed");
        }
        A::GuestDefined(_, name, _) => tracing::info!("guest {name}: defined"),
        A::GuestUndefined(_, name) => tracing::info!("guest {name}: undefined"),
        A::GuestStarted(_, name, id) => tracing::info!("guest {name}: runs as number {id}"),
        A::GuestAdopted(_, name, id) => {
            tracing::info!("guest {name}: found running as number {id}");
        }
        A::GuestPaused(_, name, _) => tracing::info!("guest {name}: paused"),
        A::GuestResumed(_, name, _) => tracing::info!("guest {name}: resumed"),
        A::GuestShuttingDown(_, name, _) => tracing::info!("guest {name}: is powering off"),
        A::GuestReset(_, name, _) => tracing::info!("guest {name}: was reset"),
        A::GuestPanicked(_, name, _) => tracing::warn!("guest {name}: its kernel panicked"),
        A::GuestStopped(_, name, _, Ended::Crashed(words)) => {
            tracing::warn!("guest {name}: QEMU ended: {words}");
        }
        A::GuestStopped(_, name, _, Ended::PoweredOff) => {
            tracing::info!("guest {name}: powered off");
        }
        A::GuestStopped(_, name, _, Ended::Destroyed) => tracing::info!("guest {name}: destroyed"),
        A::GuestStopped(_, name, _, Ended::Lost) => {
            tracing::warn!("guest {name}: ended while vfnetd was away");
        }
        A::VfQuarantined(vf, why) => tracing::error!("{vf}: quarantined: {why}"),
        A::VfStuck(vf, step) => tracing::error!("{vf}: the kernel has not finished {step}"),
        A::VfVanished(vf, owner) => tracing::error!("{vf}: vanished while held by {owner}"),
        A::VfReappeared(vf, owner) => tracing::info!("{vf}: there again, held by {owner}"),
        A::VfRepaired(vf, owner, what) => {
            tracing::warn!(
                "{vf}, held by {owner}: put back what somebody else had changed: {what}"
            );
        }
        A::VfDrifted(vf, owner, why) => {
            tracing::error!("{vf}, held by {owner}: changed by somebody else, and left so: {why}");
        }
        A::PortUnused(vf, port, owner) => {
            tracing::warn!("port {port} of {owner}: no process has its VF {vf} open");
        }
        A::PortReclaimed(vf, port, owner) => {
            tracing::warn!("port {port} of {owner}: taken back, no process has its VF {vf} open");
        }
        A::PortInUse(vf, port, who) => {
            tracing::warn!("port {port} stays: {who} has its VF {vf} open");
        }
        A::StartFailed(why) => tracing::error!("{why}"),
        A::AutostartWaits(why) => tracing::warn!("autostart: {why}"),
    }
}
