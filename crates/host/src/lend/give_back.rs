//! From held, or half prepared, back to what it was.

use vfnet_model::inventory::{HostUse, Vf, VfNetdev};
use vfnet_model::vf::{Original, OriginalState, WantedSettings};
use vfnet_model::{DriverName, MacAddress};

use super::{Cause, Deadlines, LendError, Lending, Step, Work, settings};
use crate::Host;

/// What became of a VF that was given back.
#[derive(Debug)]
pub struct GiveBack {
    /// Everything that went wrong on the way, in order; some of it may have been made good by a
    /// later step.
    pub errors: Vec<LendError>,
    /// Where it ended.
    pub outcome: Outcome,
}

/// Where a VF ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As it was before, verified by reading everything back.
    Clean,
    /// Not as it was; why.
    Quarantine(String),
    /// Nothing was done to it, because a process has it open.
    StillOpen {
        /// Which.
        who: String,
        /// The error in full.
        why: String,
    },
    /// The kernel has not come back from this step.
    Stuck(Step),
    /// The device of the lending is no more, so there is nothing to restore.
    Vanished,
}

/// Which driver the VF is to end with.
enum Goal<'a> {
    Exactly(Option<&'a DriverName>),
    /// Whatever the kernel picks, but no VFIO one.
    KernelsChoice,
}

/// Undoes all that [`super::prepare`] does, and what a holder may have left. Admin values first,
/// then the driver, then the netdev's own MAC.
///
/// Nothing is touched while anybody has the VF's VFIO group open: the kernel would wait for them
/// without end (kernel: `vfio_unregister_group_dev`).
pub fn give_back(
    host: &dyn Host,
    lending: &Lending,
    deadlines: &Deadlines,
    progress: &mut dyn FnMut(Step),
) -> GiveBack {
    let work = Work::new(host, lending, deadlines);
    let mut errors = Vec::new();
    let outcome = match run(&work, progress, &mut errors) {
        Ok(()) => Outcome::Clean,
        Err(error) => {
            let outcome = if error.is_stuck() {
                Outcome::Stuck(error.step)
            } else if error.is_vanished() {
                Outcome::Vanished
            } else if let Cause::HeldOpen(who) = &error.cause {
                Outcome::StillOpen { who: who.clone(), why: error.explain() }
            } else {
                Outcome::Quarantine(errors.first().unwrap_or(&error).explain())
            };
            errors.push(error);
            outcome
        }
    };
    GiveBack { errors, outcome }
}

/// Errors that are worth going on after end in `errors`; the verification sees what they left.
fn run(
    work: &Work<'_>,
    progress: &mut dyn FnMut(Step),
    errors: &mut Vec<LendError>,
) -> Result<(), LendError> {
    progress(Step::Look);
    let vf = work.look(Step::Look)?;

    progress(Step::Holder);
    wait_for_holder(work, &vf)?;

    if let Some(wanted) = work.wanted() {
        progress(Step::Settings);
        for error in settings::restore(work, wanted, own_mac(&vf)) {
            keep(error, errors)?;
        }
    }
    if work.lending.managed
        && let Err(error) = restore_driver(work, progress)
    {
        keep(error, errors)?;
    }
    if let Some(mac) = own_netdev_mac(work) {
        progress(Step::Netdev);
        // Final, as verification would not see it: a PF that has forgotten the VF's own MAC, and
        // an admin MAC that could not be cleared, read like what they should be.
        restore_netdev(work, mac)?;
    } else if let Some(wanted) = work.wanted() {
        // A driver that was bound until now may have told the PF a MAC since it was cleared.
        for error in settings::restore(work, wanted, None) {
            keep(error, errors)?;
        }
        if takes_after_its_holder(work, wanted)? {
            progress(Step::Unbind);
            work.unbind()?;
            for error in settings::restore(work, wanted, None) {
                keep(error, errors)?;
            }
            progress(Step::Bind);
            work.probe()?;
        }
    }
    progress(Step::Verify);
    verify(work)
}

/// Puts an error aside, unless it ends everything.
fn keep(error: LendError, errors: &mut Vec<LendError>) -> Result<(), LendError> {
    if error.is_stuck() || error.is_vanished() {
        return Err(error);
    }
    errors.push(error);
    Ok(())
}

fn wait_for_holder(work: &Work<'_>, vf: &Vf) -> Result<(), LendError> {
    let Some(group) = vf.iommu_group.filter(|_| work.on_vfio(vf)) else { return Ok(()) };
    let mut last = Ok(None);
    let free = work.host.wait(work.deadlines.holder, &mut || {
        last = work.host.vfio_group_holder(group);
        !matches!(last, Ok(Some(_)))
    });
    match last {
        Ok(Some(who)) if !free => Err(work.failed(Step::Holder, Cause::HeldOpen(who))),
        Ok(_) => Ok(()),
        Err(source) => Err(work.failed(Step::Holder, source.into())),
    }
}

/// The MAC that the VF shows and that did not come from the PF.
fn own_mac(vf: &Vf) -> Option<MacAddress> {
    vf.netdev.as_ref().filter(|netdev| !netdev.mac_from_pf).map(|netdev| netdev.mac)
}

fn original<'a>(work: &Work<'a>) -> Option<&'a OriginalState> {
    match &work.lending.original {
        Original::Known(state) => Some(state),
        Original::Unknown => None,
    }
}

fn goal<'a>(work: &Work<'a>) -> Goal<'a> {
    original(work).map_or(Goal::KernelsChoice, |state| Goal::Exactly(state.binding.driver.as_ref()))
}

fn restore_driver(work: &Work<'_>, progress: &mut dyn FnMut(Step)) -> Result<(), LendError> {
    let override_ = original(work).and_then(|state| state.binding.driver_override.as_ref());
    let goal = goal(work);

    progress(Step::Override);
    let vf = work.look(Step::Override)?;
    work.set_override(&vf, override_)?;

    let there = match goal {
        Goal::Exactly(driver) => vf.binding.driver.as_ref() == driver,
        Goal::KernelsChoice => vf.binding.driver.is_some() && !work.on_vfio(&vf),
    };
    if there {
        return Ok(());
    }
    if vf.binding.driver.is_some() {
        let uses = foreign_uses(&vf);
        if !uses.is_empty() {
            return Err(work.failed(Step::Unbind, Cause::InUse(uses)));
        }
        progress(Step::Unbind);
        work.unbind()?;
    }
    let wanted = match goal {
        Goal::Exactly(None) => return Ok(()),
        Goal::Exactly(wanted) => wanted,
        Goal::KernelsChoice => None,
    };

    progress(Step::Bind);
    let vf = work.probe()?;
    if let Some(wanted) = wanted
        && vf.binding.driver.as_ref() != Some(wanted)
    {
        // It had been bound by hand: its driver takes it only by name.
        if vf.binding.driver.is_some() {
            work.unbind()?;
        }
        work.set_override(&vf, Some(wanted))?;
        let vf = work.probe()?;
        work.set_override(&vf, override_)?;
    }
    Ok(())
}

/// Whether the host's driver has taken the holder's MAC for the VF's own: it was bound before the
/// MAC could be cleared. Nobody knows which it had; started anew with none from the PF it chooses
/// one.
fn takes_after_its_holder(work: &Work<'_>, wanted: &WantedSettings) -> Result<bool, LendError> {
    if !work.lending.managed || wanted.mac.is_zero() {
        return Ok(false);
    }
    let vf = work.look(Step::Netdev)?;
    if vf.netdev.as_ref().is_none_or(|netdev| netdev.mac != wanted.mac) {
        return Ok(false);
    }
    let uses = foreign_uses(&vf);
    if uses.is_empty() { Ok(true) } else { Err(work.failed(Step::Netdev, Cause::InUse(uses))) }
}

/// Uses that began after the VF had left its holder; to unbind it then would harm somebody.
fn foreign_uses(vf: &Vf) -> Vec<HostUse> {
    // What the kernel is about is for the unbinding to find out, which has a limit.
    let kernels =
        |host: &HostUse| matches!(host, HostUse::NoNetdev(_) | HostUse::Locked | HostUse::Changing);
    vf.uses.iter().filter(|host| !kernels(host)).cloned().collect()
}

/// The MAC that the VF's netdev had, when it is to have a netdev.
fn own_netdev_mac(work: &Work<'_>) -> Option<MacAddress> {
    let state = original(work)?;
    let driver = state.binding.driver.as_ref()?;
    state.netdev_mac.filter(|_| !work.host.is_vfio_driver(driver))
}

fn restore_netdev(work: &Work<'_>, mac: MacAddress) -> Result<(), LendError> {
    let netdev = wait_for_netdev(work)?;
    let Some(original) = original(work) else { return Ok(()) };

    // Where the VF had chosen its MAC and the PF showed it, the PF must learn it again: clearing
    // the admin MAC has made it forget the filter (kernel: igb_ndo_set_vf_mac).
    let chosen = work.wanted().filter(|_| original.attributes.mac.is_zero());
    let Some(wanted) = chosen else {
        let admin = original.attributes.mac == mac;
        return if is_back(work, netdev.mac, mac) { Ok(()) } else { set_netdev(work, mac, admin) };
    };
    let shown = settings::shown_mac(work)?;
    if shown == wanted.mac && !settings::is_pinned(work, shown) {
        // Nothing shows that an admin MAC is sticky. If a trusted VF now wrote its own over the
        // holder's that could not be cleared, it would look restored and not be.
        if !work.row.mac_resets_vf && !work.row.remembers_own_mac {
            return Err(work.failed(Step::Netdev, Cause::HoldersMac));
        }
        // Here the VF's driver may have taken the holder's MAC at the first reset, and told it to
        // the PF as its own at the second; or the PF remembers.
        return settings::untrusted(work, || tell(work, &netdev, mac));
    }
    let admin = shown == mac && settings::is_pinned(work, shown);
    // The same where the netdev's MAC passes for one of the PF's: whoever looks next would take it
    // for an administrator's.
    if original.own_mac_shown && !admin && (shown.is_zero() || netdev.mac_from_pf) {
        return tell(work, &netdev, mac);
    }
    if netdev.mac == mac { Ok(()) } else { set_netdev(work, mac, admin) }
}

/// Whether the netdev has its MAC again, or the admin MAC: one that was set under the VF's driver is
/// taken by it when it starts anew, as it has by now, and then no other may be set.
fn is_back(work: &Work<'_>, found: MacAddress, mac: MacAddress) -> bool {
    let admin = original(work).map(|original| original.attributes.mac);
    found == mac || (!found.is_zero() && Some(found) == admin)
}

/// Has the VF's driver tell the PF its MAC, whatever it is now.
fn tell(work: &Work<'_>, netdev: &VfNetdev, mac: MacAddress) -> Result<(), LendError> {
    if netdev.mac == mac {
        // The kernel does not tell a driver of a MAC that its netdev has already (kernel:
        // dev_set_mac_address), so the way back leads over a neighbouring one.
        let [a, b, c, d, e, last] = mac.octets();
        let neighbour = MacAddress::new([a, b, c, d, e, last ^ 1]);
        work.host
            .set_netdev_mac(work.lending.vf, neighbour)
            .map_err(|source| work.failed(Step::Netdev, source.into()))?;
        let found = wait_for_netdev(work)?.mac;
        if found != neighbour {
            let (wanted, found) = (neighbour.to_string(), found.to_string());
            return Err(work.failed(Step::Netdev, Cause::NetdevMac { wanted, found }));
        }
    }
    set_netdev(work, mac, false)
}

/// Gives the netdev a MAC, which is the PF's for it (`admin`) or the VF's own.
fn set_netdev(work: &Work<'_>, mac: MacAddress, admin: bool) -> Result<(), LendError> {
    if work.lending.managed && admin {
        // The VF's driver takes an admin MAC from the PF when it starts. Setting it from the VF's
        // side is refused (kernel: igb_set_vf_mac_addr, "Reload the VF driver"), or makes it look
        // like the VF's own choice.
        work.unbind()?;
        work.probe()?;
        let found = wait_for_netdev(work)?.mac;
        if found == mac {
            return Ok(());
        }
        let (wanted, found) = (mac.to_string(), found.to_string());
        return Err(work.failed(Step::Netdev, Cause::NetdevMac { wanted, found }));
    }
    work.host
        .set_netdev_mac(work.lending.vf, mac)
        .map_err(|source| work.failed(Step::Netdev, source.into()))
}

fn wait_for_netdev(work: &Work<'_>) -> Result<VfNetdev, LendError> {
    let mut seen = Ok(None);
    work.host.wait(work.deadlines.netdev, &mut || {
        seen = work.look(Step::Netdev).map(|vf| vf.netdev);
        !matches!(seen, Ok(None))
    });
    seen?.ok_or_else(|| work.failed(Step::Netdev, Cause::NoNetdev))
}

fn verify(work: &Work<'_>) -> Result<(), LendError> {
    let mut vf = work.look(Step::Verify)?;
    if work.lending.managed {
        // While somebody holds its lock its override is not to be read.
        let is_locked = |vf: &Vf| vf.uses.contains(&HostUse::Locked);
        if is_locked(&vf) {
            let mut seen = Ok(vf);
            work.host.wait(work.deadlines.settle, &mut || {
                seen = work.look(Step::Verify);
                !matches!(&seen, Ok(vf) if is_locked(vf))
            });
            vf = seen?;
        }
        if is_locked(&vf) {
            return Err(work.failed(Step::Verify, Cause::InUse(vec![HostUse::Locked])));
        }
        let wrong = match goal(work) {
            Goal::Exactly(driver) if vf.binding.driver.as_ref() == driver => None,
            Goal::Exactly(Some(wanted)) => {
                Some(Cause::NotBound { wanted: wanted.clone(), found: vf.binding.driver.clone() })
            }
            Goal::Exactly(None) => Some(Cause::WrongDriver(vf.binding.driver.clone())),
            Goal::KernelsChoice => {
                work.on_vfio(&vf).then(|| Cause::WrongDriver(vf.binding.driver.clone()))
            }
        };
        if let Some(cause) = wrong {
            return Err(work.failed(Step::Verify, cause));
        }
        let wanted = original(work).and_then(|state| state.binding.driver_override.clone());
        if vf.binding.driver_override != wanted {
            let found = vf.binding.driver_override;
            return Err(work.failed(Step::Verify, Cause::WrongOverride { wanted, found }));
        }
    }
    if let Some(mac) = own_netdev_mac(work) {
        let netdev = vf.netdev.as_ref();
        let netdev = netdev.ok_or_else(|| work.failed(Step::Verify, Cause::NoNetdev))?;
        if !is_back(work, netdev.mac, mac) {
            let (wanted, found) = (mac.to_string(), netdev.mac.to_string());
            return Err(work.failed(Step::Verify, Cause::NetdevMac { wanted, found }));
        }
    }
    match work.wanted() {
        Some(wanted) => {
            let own = vf.netdev.as_ref().map(|netdev| netdev.mac);
            settings::verify_restored(work, wanted, own)
        }
        None => Ok(()),
    }
}
