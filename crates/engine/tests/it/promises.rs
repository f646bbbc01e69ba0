//! What holds always, looked at after every step. A broken promise is said as a user would
//! put it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use vfnet_engine::{Claim, ClaimId, ClaimState, Entry, Executor, Owner, Phase, State};
use vfnet_host::Host;
use vfnet_host_sim::{Driver, Operation, Personality, VfFacts, Write};
use vfnet_model::drivers;
use vfnet_model::inventory::Incarnation;
use vfnet_model::vf::{Original, VfSetting, WantedSettings};
use vfnet_model::{MacAddress, PciAddress, Vlan};

use crate::world::{Opened, World, short};

/// Everything that a person can see of a state, for comparing.
pub(crate) fn picture(state: &State) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        state.networks,
        state.live_networks,
        state.guests,
        state.runs,
        state.claims,
        state.bridge_ports,
        state.edits,
        state.pending,
        state.autostarted,
        state.autoprobe_off,
        state.drains,
        state.kept_vfs,
        state.inventory,
    )
}

/// Holds between any two steps while a daemon runs.
pub(crate) fn always(world: &World) {
    no_vf_has_two_holders(world);
    no_mac_has_two_holders(world);
    running_guests_keep_their_vfs(world);
}

/// Holds for every kernel write on a VF, at the moment it is made.
pub(crate) fn at_a_write(world: &World, write: &Write) {
    let Some(vf) = write.device.filter(|device| world.host.facts().contains_key(device)) else {
        return;
    };
    let on_record = world.durable.values().any(|entry| match entry {
        Entry::Claim(claim) => claim.vf == vf,
        _ => false,
    });
    if !on_record {
        world.broken(&format!("{vf} is written to with no claim on record: {write}"));
    }
    if let Some((guest, _)) = world.processes.iter().find(|(_, process)| {
        process.vfs.iter().any(|opened| opened.vf == vf && exists(world, opened).is_some())
    }) {
        let puts_back = match &write.operation {
            Operation::Set(setting) => is_wanted(world, vf, setting) && !resets(world, vf, setting),
            _ => false,
        };
        if !puts_back {
            let guest = short(*guest);
            world.broken(&format!("{vf} is written to while {guest} runs with it: {write}"));
        }
    }
    let open = |(device, incarnation): &(PciAddress, Incarnation)| {
        *device == vf
            && world.host.facts().get(&vf).is_some_and(|facts| facts.incarnation == *incarnation)
    };
    if world.open_outside.iter().any(open) {
        world.broken(&format!("{vf} is written to while another daemon's guest has it: {write}"));
    }
    let outside = |claim: &&Claim| claim.vf == vf && claim.state == ClaimState::Lent;
    if let Some(claim) = world.state().claims.values().find(outside)
        && claim.executor == Executor::Outside
    {
        world.broken(&format!("{vf} is written to while another daemon has it: {write}"));
    }
}

/// Whether a setting is what the holder of a VF was lent it with; of what nobody wished for, the
/// driver's baseline is not looked up here.
fn is_wanted(world: &World, vf: PciAddress, setting: &VfSetting) -> bool {
    let there = world.host.facts().get(&vf).map(|facts| facts.incarnation);
    let held = |claim: &&Claim| {
        claim.vf == vf && Some(claim.incarnation) == there && is_held(&claim.state)
    };
    let claim = world.state().claims.values().find(held);
    let Some(wanted) = claim.and_then(|claim| claim.wanted.as_ref()) else { return false };
    let tag = wanted.vlan.unwrap_or(Vlan::UNTAGGED);
    match setting {
        VfSetting::Mac(mac) => *mac == wanted.mac,
        // By way of none, where a driver has it so.
        VfSetting::Vlan(vlan) => [Vlan::UNTAGGED, tag].contains(vlan),
        VfSetting::Trust(on) => *on == wanted.trust.unwrap_or(false),
        VfSetting::Spoofchk(_) | VfSetting::LinkState(_) | VfSetting::Rate { .. } => true,
    }
}

/// Whether a VF's card resets it for a setting.
fn resets(world: &World, vf: PciAddress, setting: &VfSetting) -> bool {
    matches!(setting, VfSetting::Mac(_) | VfSetting::Vlan(_) | VfSetting::Trust(_))
        && card(world, vf).is_some_and(|card| card.settings_reset)
}

fn card(world: &World, vf: PciAddress) -> Option<&'static Personality> {
    let pf = world.host.facts().get(&vf)?.pf;
    let driver = world.host.pf(pf).ok()??.driver?;
    let mut cards = Driver::ALL.into_iter().map(Driver::personality);
    cards.find(|card| card.pf_driver == driver.as_str())
}

/// Whether a VF has the MAC, the tag, the trust and the spoof checking that its holder is to have.
pub(crate) fn is_as_wanted(world: &World, vf: PciAddress, wanted: Option<&WantedSettings>) -> bool {
    let (Some(facts), Some(wanted)) = (world.host.facts().remove(&vf), wanted) else { return true };
    // What nobody wishes for is as vfnet believes new VFs of the driver to be.
    let card = card(world, vf).filter(|card| card.spoofchk.is_some());
    let name = card.and_then(|card| card.pf_driver.parse().ok());
    let by_default = card.map(|_| drivers::row(name.as_ref()).spoofchk_default);
    let spoofchk = wanted.spoofchk.or(by_default).unwrap_or(facts.spoofchk);
    (facts.admin_mac, facts.vlan) == (wanted.mac, wanted.vlan.unwrap_or(Vlan::UNTAGGED))
        && (facts.trust, facts.spoofchk) == (wanted.trust.unwrap_or(false), spoofchk)
}

/// Holds once the kernel does as it is told and the host has been looked at.
pub(crate) fn what_was_typed_over_is_put_back(world: &World) {
    for claim in world.state().claims.values() {
        let held = matches!(claim.state, ClaimState::Held { .. })
            && claim.executor == Executor::Vfnet
            && claim.drift.is_none()
            && !world.unrepaired.contains(&claim.id);
        if held && !is_as_wanted(world, claim.vf, claim.wanted.as_ref()) {
            world.broken(&format!("{} was typed over, and nothing is done about it", claim.vf));
        }
    }
}

/// What another daemon's guest has is taken up again all the same, and the administrator's own work
/// lends nothing.
pub(crate) fn nothing_is_claimed_on_a_drained_pf(world: &World, taken: &BTreeSet<ClaimId>) {
    let state = world.state();
    let new = state.claims.values().find(|claim| {
        !taken.contains(&claim.id)
            && claim.state == ClaimState::Preparing
            && claim.owner != Owner::Administrator
            && state.drain_of(claim.pf).is_some()
    });
    if let Some(claim) = new {
        world.broken(&format!("{} is claimed, and its PF is drained", claim.vf));
    }
}

/// Whether the kernel looks for drivers for VFs is as it was before vfnet came.
pub(crate) fn drivers_are_looked_for_as_before(world: &World) {
    let now = world.host.inventory().expect("the simulated host can be read");
    for (pf, was) in &world.autoprobe {
        if now.pfs.get(pf).is_some_and(|pf| pf.autoprobe != *was) {
            world.broken(&format!("drivers for VFs of {pf} are looked for: not {was}"));
        }
    }
    if let Some(pf) = world.state().autoprobe_off.first() {
        world.broken(&format!("{pf} is still on record as without search for drivers"));
    }
}

fn exists(world: &World, opened: &Opened) -> Option<VfFacts> {
    world.host.facts().remove(&opened.vf).filter(|facts| facts.incarnation == opened.incarnation)
}

fn no_vf_has_two_holders(world: &World) {
    let claims: Vec<_> = world
        .state()
        .claims
        .values()
        .filter(|claim| {
            world.state().inventory.vfs.get(&claim.vf).map(|vf| vf.incarnation)
                == Some(claim.incarnation)
        })
        .collect();
    for (place, one) in claims.iter().enumerate() {
        for other in &claims[place + 1..] {
            if one.vf == other.vf {
                world.broken(&format!("{} has two claims: {one:?}, {other:?}", one.vf));
            }
            let in_use = |claim: &Claim| {
                let state = &claim.state;
                matches!(state, ClaimState::Preparing | ClaimState::Held { .. } | ClaimState::Lent)
            };
            let together = one.iommu_group.is_some()
                && one.iommu_group == other.iommu_group
                && (in_use(one) || in_use(other));
            if together && !one.owner.same_holder(&other.owner) {
                world.broken(&format!(
                    "IOMMU group of {} and {} is lent to {} and {}",
                    one.vf, other.vf, one.owner, other.owner
                ));
            }
        }
    }
    let mut groups: BTreeMap<u32, Uuid> = BTreeMap::new();
    for (guest, process) in &world.processes {
        for opened in process.vfs.iter().filter(|opened| exists(world, opened).is_some()) {
            if groups.insert(opened.group, *guest).is_some_and(|other| other != *guest) {
                world.broken(&format!("two guests have IOMMU group {}", opened.group));
            }
        }
    }
}

fn no_mac_has_two_holders(world: &World) {
    let mut macs = BTreeMap::new();
    for claim in world.state().claims.values() {
        let Some(wanted) = claim
            .wanted
            .as_ref()
            .filter(|wanted| !wanted.mac.is_zero() && !wanted.mac.is_multicast())
        else {
            continue;
        };
        let key = (claim.pf, wanted.mac, wanted.vlan.unwrap_or(Vlan::UNTAGGED).id);
        if let Some(other) = macs.insert(key, claim)
            && !other.owner.same_holder(&claim.owner)
        {
            world.broken(&format!("{} and {} have MAC {}", claim.owner, other.owner, wanted.mac));
        }
    }
}

fn running_guests_keep_their_vfs(world: &World) {
    for (guest, process) in &world.processes {
        for opened in &process.vfs {
            let Some(facts) = exists(world, opened) else { continue };
            let vf = opened.vf;
            let name = short(*guest);
            let of_guest = |claim: &Claim| {
                claim.vf == vf
                    && claim.incarnation == opened.incarnation
                    && claim.owner.guest() == Some(*guest)
            };
            let known =
                world.state().claims.values().any(|claim| of_guest(claim) && is_held(&claim.state));
            if !known {
                world.broken(&format!("{name} runs with {vf}, and that is not known"));
            }
            let on_record = world.durable.values().any(|entry| match entry {
                Entry::Claim(claim) => of_guest(claim),
                _ => false,
            });
            if !on_record {
                world.broken(&format!("{name} runs with {vf}, and that is not on record"));
            }
            if !facts.driver.as_ref().is_some_and(vfnet_model::DriverName::is_vfio) {
                world.broken(&format!("{name} has lost {vf} to {:?}", facts.driver));
            }
            let typed_over = world.typed_over.contains(&(vf, opened.incarnation));
            if let Some(wanted) = &opened.wanted
                && !typed_over
                && !is_as_wanted(world, vf, Some(wanted))
                && !opened.or.iter().any(|or| is_as_wanted(world, vf, Some(or)))
            {
                world.broken(&format!(
                    "{vf} of {name} has MAC {} VLAN {}, not {} {:?}",
                    facts.admin_mac, facts.vlan.id, wanted.mac, wanted.vlan
                ));
            }
        }
    }
}

/// Vanished: as far as a look could tell.
const fn is_held(state: &ClaimState) -> bool {
    matches!(state, ClaimState::Held { .. } | ClaimState::Vanished)
}

/// Holds when there is nothing left to do.
pub(crate) fn at_rest(world: &World) {
    always(world);
    let state = world.state();
    if let Some(ticket) = world.waiting.first() {
        world.broken(&format!("request {} is never answered", ticket.0));
    }
    for claim in state.claims.values() {
        if matches!(claim.state, ClaimState::Preparing | ClaimState::Releasing) {
            world.broken(&format!("{} is {} for ever", claim.vf, claim.state.word()));
        }
    }
    for run in state.runs.values() {
        let runs = matches!(run.phase, Phase::Running | Phase::Paused | Phase::ShuttingDown);
        if !runs || !world.processes.contains_key(&run.guest) {
            world.broken(&format!("guest {} is {:?} for ever", run.definition.name, run.phase));
        }
    }
    if let Some(guest) = world.processes.keys().find(|guest| !state.runs.contains_key(guest)) {
        world.broken(&format!("{} runs, and nobody knows", short(*guest)));
    }
    orphans(world);
    ports_are_of_this_boot(world);
    free_vfs_are_as_they_were(world);
    what_is_known_is_on_record(world);
}

fn orphans(world: &World) {
    for claim in world.state().claims.values() {
        let over = matches!(claim.state, ClaimState::Quarantined { .. } | ClaimState::Stuck { .. });
        let of_run = claim.executor == Executor::Vfnet && !over;
        let runs = match &claim.owner {
            Owner::Lease(lessee) => world.programs.contains(&lessee.pid),
            owner => owner.guest().is_some_and(|guest| world.processes.contains_key(&guest)),
        };
        if of_run && !runs {
            world.broken(&format!("{} is {} without its holder", claim.vf, claim.state.word()));
        }
    }
}

fn ports_are_of_this_boot(world: &World) {
    let outside = |claim: &&Claim| claim.executor == Executor::Outside && claim.is_port();
    for claim in world.state().claims.values().filter(outside) {
        if claim.network.as_ref().is_some_and(|of| world.ports_of_earlier_boots.contains(&of.port))
        {
            world.broken(&format!("{} is lent to whom an earlier boot lent it", claim.vf));
        }
    }
}

fn free_vfs_are_as_they_were(world: &World) {
    let taken: BTreeSet<PciAddress> = world
        .state()
        .claims
        .values()
        .filter(|claim| claim.state != ClaimState::Vanished || claim.original == Original::Unknown)
        .map(|claim| claim.vf)
        .collect();
    for (vf, facts) in world.host.facts() {
        let Some(clean) = world.clean.get(&(vf, facts.incarnation)) else { continue };
        if taken.contains(&vf) || world.left_over.contains(&(vf, facts.incarnation)) {
            continue;
        }
        let (mut found, mut was) = (plain(&facts), plain(clean));
        if world.deaf.contains(&facts.pf) {
            unheard(&mut found);
            unheard(&mut was);
        }
        // Where none is taken back, the VF's own stays set, or one that is nobody's.
        let own = Some(found.admin_mac) == found.netdev_mac;
        let parked = found.admin_mac == vfnet_model::drivers::parked_mac(vf);
        if parked || (own && world.mac_stays_set.contains(&facts.pf)) {
            (found.admin_mac, found.sticky) = (was.admin_mac, was.sticky);
        }
        if found != was {
            world.broken(&format!("{vf} is free, and is not as it was:\n{found:?}\n{was:?}"));
        }
    }
}

/// Without what the host may change meanwhile.
fn plain(facts: &VfFacts) -> VfFacts {
    // Where a driver hands on the MAC that a VF has chosen, it comes from the PF from then on.
    let mac_from_pf = facts.mac_from_pf && facts.netdev_mac != Some(facts.admin_mac);
    VfFacts { uses: Vec::new(), stuck: false, mac_from_pf, ..facts.clone() }
}

/// A PF that is down does not hear which MAC a VF has chosen, and shows none or the one before; it
/// learns that when it is up again and the VF's driver starts anew. A guest's it must not show.
fn unheard(facts: &mut VfFacts) {
    let a_guests = facts.admin_mac.octets().starts_with(&[0x52, 0x54, 0x00]);
    if !facts.sticky && !a_guests {
        facts.admin_mac = MacAddress::ZERO;
    }
}

fn what_is_known_is_on_record(world: &World) {
    let mut recorded = State::default();
    for entry in world.durable.values() {
        recorded.apply(vfnet_engine::Record::Put(Box::new(entry.clone())));
    }
    // Or will be, with the next commit.
    for record in &world.daemon.unsaved {
        recorded.apply(record.clone());
    }
    recorded.inventory = world.state().inventory.clone();
    let (known, recorded) = (picture(world.state()), picture(&recorded));
    if known != recorded {
        world
            .broken(&format!("what is known differs from what is on record:\n{known}\n{recorded}"));
    }
}
