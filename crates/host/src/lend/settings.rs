//! The PF's table: what a row should read, and the messages that make it so.

use rustix::io::Errno;
use vfnet_model::drift::{self, Difference};
use vfnet_model::drivers::{Row, ZeroMac, baseline, parked_mac};
use vfnet_model::vf::{
    LinkState, Original, OriginalState, VfAttributes, VfSetting, WantedSettings,
};
use vfnet_model::{MacAddress, Vlan};

use super::{Cause, LendError, Step, Work};
use crate::HostError;

/// Scrubs a VF and gives it what its holder is to have.
pub(super) fn lend(work: &Work<'_>, wanted: &WantedSettings) -> Result<(), LendError> {
    let now = read(work)?;
    let target = lent(work, wanted, &now);
    // The MAC is set even where it reads right: only a set one is the VF's for good. Where that
    // would be passed over, another is set first.
    // Not zero: a VF that is reset tells its PF the MAC that it had, and that is the same again.
    if work.row.same_mac_ignored && now.mac == target.mac {
        apply(work, VfSetting::Mac(parked_mac(work.lending.vf)))?;
    }
    for setting in plan(work.row, &now, &target, true) {
        apply(work, setting)?;
    }
    verify(work, &target, &[])
}

/// Scrubs a VF and gives it what its holder is to have, but for MAC and tag: those the holder sets.
pub(super) fn hand_over(work: &Work<'_>, wanted: &WantedSettings) -> Result<(), LendError> {
    let now = read(work)?;
    let target = VfAttributes { mac: now.mac, vlan: now.vlan, ..lent(work, wanted, &now) };
    for setting in plan(work.row, &now, &target, false) {
        apply(work, setting)?;
    }
    // Trust may have the row show another MAC (qede).
    let VfAttributes { mac, vlan, .. } = read(work)?;
    verify(work, &VfAttributes { mac, vlan, ..target }, &[])
}

/// Puts back what was changed since the VF was lent, and gives it. What would reset the VF is
/// left to its end.
pub(super) fn repair(
    work: &Work<'_>,
    wanted: &WantedSettings,
) -> Result<Vec<Difference>, LendError> {
    let now = read(work)?;
    let mut target = drift::held(work.row, wanted, &now, work.lending.keep_host_settings);
    let found = drift::differences(&now, &target);
    if found.is_empty() {
        return Ok(found);
    }
    if work.row.mac_resets_vf {
        target.mac = now.mac;
    }
    if work.row.vlan_resets_vf {
        target.vlan = now.vlan;
    }
    if work.row.trust_resets_vf {
        target.trust = now.trust;
    }
    for setting in plan(work.row, &now, &target, now.mac != target.mac) {
        apply(work, setting)?;
    }
    verify(work, &target, &[])?;
    let resets = |it: &&Difference| match it.setting {
        "MAC" => work.row.mac_resets_vf,
        "VLAN" => work.row.vlan_resets_vf,
        "trust" => work.row.trust_resets_vf,
        _ => false,
    };
    match found.iter().find(resets).cloned() {
        None => Ok(found),
        Some(Difference { setting, wanted, found }) => {
            Err(work.failed(Step::Settings, Cause::WouldReset { setting, wanted, found }))
        }
    }
}

/// Makes the PF's row what it was, going on after errors.
///
/// `own` is the MAC that the VF has chosen itself and may keep.
pub(super) fn restore(
    work: &Work<'_>,
    wanted: &WantedSettings,
    own: Option<MacAddress>,
) -> Vec<LendError> {
    let now = match read(work) {
        Ok(now) => now,
        Err(error) => return vec![error],
    };
    let target = returned(work, wanted, &now);
    let mut errors = Vec::new();
    // The VF's own MAC may be the holder's as well, and then nothing shows whether it is set; so
    // for one that was set in between, which a VF that is reset takes at once.
    let own = own.filter(|own| *own != wanted.mac && *own != parked_mac(work.lending.vf));
    let mut free = free_macs(work, wanted, own);
    if work.row.zero_mac == ZeroMac::Unknown {
        // The one that stands for none may be a leftover; zero may be taken.
        free.retain(|mac| *mac != parked_mac(work.lending.vf));
    }
    let mac = !mac_is(now.mac, target.mac, &free);
    for setting in plan(work.row, &now, &target, mac) {
        let outcome = match setting {
            VfSetting::Mac(MacAddress::ZERO) => clear_mac(work),
            _ => apply(work, setting),
        };
        if let Err(error) = outcome {
            let over = error.is_stuck();
            errors.push(error);
            if over {
                break;
            }
        }
    }
    errors
}

/// Whether the PF's row is what it was.
pub(super) fn verify_restored(
    work: &Work<'_>,
    wanted: &WantedSettings,
    own: Option<MacAddress>,
) -> Result<(), LendError> {
    let target = returned(work, wanted, &read(work)?);
    verify(work, &target, &free_macs(work, wanted, own))
}

/// Takes the VF's trust away for a while, so that a set admin MAC shows: an untrusted VF is
/// refused another.
pub(super) fn untrusted<T>(
    work: &Work<'_>,
    act: impl FnOnce() -> Result<T, LendError>,
) -> Result<T, LendError> {
    let before = read(work)?;
    if before.trust != Some(true) {
        return act();
    }
    apply(work, VfSetting::Trust(false))?;
    verify(work, &VfAttributes { trust: Some(false), ..before.clone() }, &[read(work)?.mac])?;
    let outcome = act();
    apply(work, VfSetting::Trust(true))?;
    outcome
}

/// Whether this is the VF's own MAC, set through the PF because none could be taken away.
pub(super) fn is_pinned(work: &Work<'_>, mac: MacAddress) -> bool {
    pinned_mac(work) == Some(mac)
}

/// The MAC that the row shows: the administrator's, or one that the VF has chosen itself.
pub(super) fn shown_mac(work: &Work<'_>) -> Result<MacAddress, LendError> {
    read(work).map(|now| now.mac)
}

/// What a VF's row reads once it is lent.
fn lent(work: &Work<'_>, wanted: &WantedSettings, now: &VfAttributes) -> VfAttributes {
    drift::lent(work.row, wanted, now, work.lending.keep_host_settings)
}

/// What a VF's row reads once it is given back. Where the host's settings were kept, only what
/// was wanted is put back.
fn returned(work: &Work<'_>, wanted: &WantedSettings, now: &VfAttributes) -> VfAttributes {
    let base = baseline(work.row, now);
    let mut original = match &work.lending.original {
        // What was not to be read then goes to the baseline.
        Original::Known(OriginalState { attributes, .. }) => VfAttributes {
            mac: attributes.mac,
            vlan: attributes.vlan,
            spoofchk: attributes.spoofchk.or(base.spoofchk),
            trust: attributes.trust.or(base.trust),
            link_state: attributes.link_state.or(base.link_state),
            min_tx_rate: attributes.min_tx_rate.or(base.min_tx_rate),
            max_tx_rate: attributes.max_tx_rate.or(base.max_tx_rate),
        },
        Original::Unknown => base,
    };
    if original.mac == parked_mac(work.lending.vf) {
        original.mac = MacAddress::ZERO;
    }
    if !work.lending.keep_host_settings {
        return original;
    }
    VfAttributes {
        mac: original.mac,
        vlan: wanted.vlan.map_or(now.vlan, |_| original.vlan),
        spoofchk: wanted.spoofchk.map_or(now.spoofchk, |_| original.spoofchk),
        trust: wanted.trust.map_or(now.trust, |_| original.trust),
        link_state: wanted.link_state.map_or(now.link_state, |_| original.link_state),
        min_tx_rate: wanted.rate.map_or(now.min_tx_rate, |_| original.min_tx_rate),
        max_tx_rate: wanted.rate.map_or(now.max_tx_rate, |_| original.max_tx_rate),
    }
}

/// MACs that a row may show although none is set: the one standing for none, and the one that
/// the VF has chosen, unless that is the holder's.
fn free_macs(work: &Work<'_>, wanted: &WantedSettings, own: Option<MacAddress>) -> Vec<MacAddress> {
    let own = own.filter(|own| *own != wanted.mac || Some(*own) == own_mac(work));
    // Where zero is taken, a parked MAC is a leftover, and would keep the VF from its own.
    let parks =
        matches!(work.row.zero_mac, ZeroMac::Refused | ZeroMac::Unknown) || keeps_holders_mac(work);
    let parked = parks.then(|| parked_mac(work.lending.vf));
    [parked, own, pinned_mac(work)].into_iter().flatten().collect()
}

/// The VF's own MAC, where that has to be set because none cannot be.
fn pinned_mac(work: &Work<'_>) -> Option<MacAddress> {
    (work.row.zero_mac == ZeroMac::Refused).then(|| own_mac(work)).flatten()
}

/// The MAC that the VF's netdev had.
fn own_mac(work: &Work<'_>) -> Option<MacAddress> {
    match &work.lending.original {
        Original::Known(state) => state.netdev_mac,
        Original::Unknown => None,
    }
}

/// Whether the row goes on showing what the holder's driver told the PF: no driver of the host
/// comes to tell it another.
fn keeps_holders_mac(work: &Work<'_>) -> bool {
    let untold = work.lending.original != Original::Unknown && own_mac(work).is_none();
    work.row.remembers_own_mac && (untold || !work.lending.managed)
}

fn mac_is(found: MacAddress, target: MacAddress, free: &[MacAddress]) -> bool {
    found == target || (target.is_zero() && free.contains(&found))
}

/// The messages that turn `now` into `target`, in an order that every driver accepts: trust
/// before the MAC (qede keeps it elsewhere for a trusted VF), spoof checking off before a zero
/// MAC (mlx4) and on after the MAC, the tag off before another EtherType of the same number
/// (bnxt).
fn plan(row: &Row, now: &VfAttributes, target: &VfAttributes, set_mac: bool) -> Vec<VfSetting> {
    let mut settings = Vec::new();
    let mut spoofchk = now.spoofchk;
    if set_mac
        && target.mac.is_zero()
        && matches!(row.zero_mac, ZeroMac::SpoofchkMustBeOff | ZeroMac::Unknown)
        && spoofchk == Some(true)
    {
        settings.push(VfSetting::Spoofchk(false));
        spoofchk = Some(false);
    }
    if let Some(trust) = changed(now.trust, target.trust, false) {
        settings.push(VfSetting::Trust(trust));
    }
    if set_mac {
        settings.push(VfSetting::Mac(target.mac));
    }
    if now.vlan != target.vlan {
        if row.retag_needs_clearing
            && now.vlan.id == target.vlan.id
            && now.vlan.protocol != target.vlan.protocol
        {
            settings.push(VfSetting::Vlan(Vlan::UNTAGGED));
        }
        settings.push(VfSetting::Vlan(target.vlan));
    }
    if let Some(on) = changed(spoofchk, target.spoofchk, row.spoofchk_default) {
        settings.push(VfSetting::Spoofchk(on));
    }
    if let Some(state) = changed(now.link_state, target.link_state, LinkState::Auto) {
        settings.push(VfSetting::LinkState(state));
    }
    if changed(now.min_tx_rate, target.min_tx_rate, 0).is_some()
        || changed(now.max_tx_rate, target.max_tx_rate, 0).is_some()
    {
        settings.push(VfSetting::Rate {
            min: target.min_tx_rate.unwrap_or(0),
            max: target.max_tx_rate.unwrap_or(0),
        });
    }
    settings
}

/// The target, where it differs. A driver that does not report a setting is taken to have it at
/// its default.
fn changed<T: PartialEq + Copy>(now: Option<T>, target: Option<T>, default: T) -> Option<T> {
    target.filter(|target| *target != now.unwrap_or(default))
}

/// The VF's row, waited for while the PF's driver is busy and leaves it out (i40e, ice).
fn read(work: &Work<'_>) -> Result<VfAttributes, LendError> {
    let look = || work.host.vf_attributes(work.lending.pf, work.lending.index);
    let mut seen = look();
    if matches!(seen, Err(HostError::Gone { .. })) {
        work.look(Step::Settings)?;
        work.host.wait(work.deadlines.settle, &mut || {
            seen = look();
            !matches!(seen, Err(HostError::Gone { .. }))
        });
    }
    seen.map_err(|source| work.failed(Step::Settings, source.into()))
}

/// Sets one thing, waiting for a driver that is busy with a VF (i40e: EAGAIN, ice: EBUSY), and
/// reads it back where the driver's answers cannot be believed.
fn apply(work: &Work<'_>, setting: VfSetting) -> Result<(), LendError> {
    let set = || work.host.set_vf(work.lending.pf, work.lending.index, setting);
    let mut outcome = set();
    if is_busy(&outcome) {
        work.host.wait(work.deadlines.settle, &mut || {
            outcome = set();
            !is_busy(&outcome)
        });
    }
    outcome.map_err(|source| work.failed(Step::Settings, source.into()))?;
    if !work.row.lies {
        return Ok(());
    }
    let now = read(work)?;
    let mut target = now.clone();
    match setting {
        VfSetting::Mac(mac) => target.mac = mac,
        VfSetting::Vlan(vlan) => target.vlan = vlan,
        VfSetting::Spoofchk(on) => target.spoofchk = Some(on),
        VfSetting::Trust(on) => target.trust = Some(on),
        VfSetting::LinkState(state) => target.link_state = Some(state),
        VfSetting::Rate { min, max } => {
            target.min_tx_rate = Some(min);
            target.max_tx_rate = Some(max);
        }
    }
    // What the VF shows after its MAC was cleared is looked at when its driver is back.
    let free = [now.mac];
    verify(work, &target, if target.mac.is_zero() { &free } else { &[] })
}

fn is_busy(outcome: &Result<(), HostError>) -> bool {
    let busy = [Errno::AGAIN, Errno::BUSY].map(|errno| Some(errno.raw_os_error()));
    matches!(outcome, Err(HostError::Setting { source, .. }) if busy.contains(&source.raw_os_error()))
}

/// Sets the MAC to zero, or to one that stands for it where zero is refused, or where it would
/// leave a holder's to be seen.
fn clear_mac(work: &Work<'_>) -> Result<(), LendError> {
    let instead = own_mac(work).unwrap_or_else(|| parked_mac(work.lending.vf));
    let instead = || apply(work, VfSetting::Mac(instead));
    let zero = || apply(work, VfSetting::Mac(MacAddress::ZERO));
    match work.row.zero_mac {
        ZeroMac::Accepted | ZeroMac::SpoofchkMustBeOff => zero()?,
        ZeroMac::Refused => return instead(),
        ZeroMac::Unknown => match zero() {
            Err(error) if refuses_zero(&error) => return instead(),
            outcome => outcome?,
        },
    }
    // That of an earlier holder too: the PF may show it again once none is set.
    if keeps_holders_mac(work) && !read(work)?.mac.is_zero() {
        return instead();
    }
    Ok(())
}

/// Whether the driver refuses the value itself (hinic, qede: EINVAL), and has not
/// only failed this once: a parked MAC keeps a VF from its own.
fn refuses_zero(error: &LendError) -> bool {
    let refusals =
        [Errno::INVAL, Errno::PERM, Errno::ADDRNOTAVAIL].map(|errno| Some(errno.raw_os_error()));
    matches!(&error.cause, Cause::Host(HostError::Setting { source, .. })
        if refusals.contains(&source.raw_os_error()))
}

/// Waits until the row reads as it should, and says what does not.
fn verify(work: &Work<'_>, target: &VfAttributes, free: &[MacAddress]) -> Result<(), LendError> {
    let mut now = read(work)?;
    let differs = |now: &VfAttributes| difference(now, target, free);
    if differs(&now).is_some() {
        work.host.wait(work.deadlines.settle, &mut || match read(work) {
            Ok(next) => {
                now = next;
                differs(&now).is_none()
            }
            Err(_) => true,
        });
    }
    match differs(&now) {
        None => Ok(()),
        Some(Difference { setting, wanted, found }) => {
            Err(work.failed(Step::Settings, Cause::NotTaken { setting, wanted, found }))
        }
    }
}

/// The first thing that reads otherwise.
fn difference(
    now: &VfAttributes,
    target: &VfAttributes,
    free: &[MacAddress],
) -> Option<Difference> {
    let mac = if mac_is(now.mac, target.mac, free) { now.mac } else { target.mac };
    drift::differences(now, &VfAttributes { mac, ..target.clone() }).into_iter().next()
}

#[cfg(test)]
mod tests {
    use vfnet_model::drivers;

    use super::*;

    fn row(driver: &str) -> &'static Row {
        drivers::row(Some(&driver.parse().unwrap()))
    }

    fn tag(id: u16) -> Vlan {
        Vlan::tagged(id.try_into().unwrap())
    }

    const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 1]);

    #[test]
    fn only_what_differs_is_sent_and_the_mac_always() {
        let now = VfAttributes { trust: Some(false), ..VfAttributes::UNSET };
        let target = VfAttributes { mac: MAC, vlan: tag(42), ..now.clone() };
        assert_eq!(
            plan(row("igb"), &now, &target, true),
            [VfSetting::Mac(MAC), VfSetting::Vlan(tag(42))]
        );
        assert_eq!(plan(row("igb"), &target, &target, true), [VfSetting::Mac(MAC)]);
    }

    #[test]
    fn mlx4_gets_its_spoofchk_off_before_the_mac_is_cleared() {
        let now = VfAttributes { mac: MAC, spoofchk: Some(true), ..VfAttributes::UNSET };
        let target = VfAttributes { mac: MacAddress::ZERO, ..now.clone() };
        assert_eq!(
            plan(row("mlx4_core"), &now, &target, true),
            [
                VfSetting::Spoofchk(false),
                VfSetting::Mac(MacAddress::ZERO),
                VfSetting::Spoofchk(true)
            ]
        );
    }

    #[test]
    fn bnxt_loses_its_tag_before_it_gets_the_same_one_of_another_protocol() {
        let now = VfAttributes { vlan: tag(7), ..VfAttributes::UNSET };
        let other = Vlan { protocol: vfnet_model::VlanProtocol::Dot1Ad, ..tag(7) };
        let target = VfAttributes { vlan: other, ..VfAttributes::UNSET };
        assert_eq!(
            plan(row("bnxt_en"), &now, &target, false),
            [VfSetting::Vlan(Vlan::UNTAGGED), VfSetting::Vlan(other)]
        );
    }

    #[test]
    fn a_wish_for_the_default_is_not_sent_to_a_driver_without_the_setting() {
        let target = VfAttributes {
            link_state: Some(LinkState::Auto),
            trust: Some(false),
            ..VfAttributes::UNSET
        };
        assert!(plan(row("igb"), &VfAttributes::UNSET, &target, false).is_empty());
    }
}
