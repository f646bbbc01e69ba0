//! What a stock libvirt daemon does to the VF of a port, behind vfnet's back.

use std::time::Duration;

use vfnet_engine::{Claim, ClaimState, Executor};
use vfnet_host::{Host, HostError};
use vfnet_host_sim::SimHost;
use vfnet_model::vf::VfSetting;
use vfnet_model::{DriverName, MacAddress, PciAddress, Vlan};

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// MAC and tag, then vfio-pci; and it leaves the VF like that.
pub(crate) fn take(host: &SimHost, vf: PciAddress, mac: MacAddress) {
    try_to_take(host, vf, mac).expect("the kernel lets it");
}

/// The same, as far as the kernel lets it.
pub(crate) fn try_to_take(
    host: &SimHost,
    vf: PciAddress,
    mac: MacAddress,
) -> Result<(), HostError> {
    try_to_set(host, vf, mac, Vlan::UNTAGGED)?;
    try_to_bind_to_vfio(host, vf)
}

pub(crate) fn set(host: &SimHost, vf: PciAddress, mac: MacAddress, vlan: Vlan) {
    try_to_set(host, vf, mac, vlan).expect("the card takes it");
}

fn try_to_set(
    host: &SimHost,
    vf: PciAddress,
    mac: MacAddress,
    vlan: Vlan,
) -> Result<(), HostError> {
    let Some(seen) = host.vf(vf)? else { return Ok(()) };
    for setting in [VfSetting::Mac(mac), VfSetting::Vlan(vlan)] {
        host.set_vf(seen.pf, seen.index, setting)?;
    }
    Ok(())
}

pub(crate) fn bind_to_vfio(host: &SimHost, vf: PciAddress) {
    try_to_bind_to_vfio(host, vf).expect("the kernel lets it");
}

fn try_to_bind_to_vfio(host: &SimHost, vf: PciAddress) -> Result<(), HostError> {
    let vfio: DriverName = "vfio-pci".parse().expect("a driver name");
    host.load_driver(&vfio, SECOND)?;
    host.set_driver_override(vf, Some(&vfio))?;
    host.unbind(vf, SECOND)?;
    host.probe(vf, SECOND)
}

/// The guest has ended: MAC and tag back, as libvirt has it (the VF's own MAC becomes the admin
/// MAC), then the host's driver.
pub(crate) fn give_up(host: &SimHost, vf: PciAddress, own: MacAddress) {
    try_to_give_up(host, vf, own).expect("the kernel lets it");
}

/// The same, as far as the kernel lets it.
pub(crate) fn try_to_give_up(
    host: &SimHost,
    vf: PciAddress,
    own: MacAddress,
) -> Result<(), HostError> {
    try_to_set(host, vf, own, Vlan::UNTAGGED)?;
    host.set_driver_override(vf, None)?;
    host.unbind(vf, SECOND)?;
    host.probe(vf, SECOND)
}

/// The port of an outside daemon that it may do as it likes with, while its VF is there: what has
/// the address later was not lent to it.
fn lent(world: &World, which: usize) -> Option<Claim> {
    let facts = world.host.facts();
    let is_there =
        |claim: &Claim| facts.get(&claim.vf).is_some_and(|vf| vf.incarnation == claim.incarnation);
    let lent = |claim: &&Claim| {
        claim.executor == Executor::Outside && claim.state == ClaimState::Lent && is_there(claim)
    };
    one_of(world.state().claims.values().filter(lent), which)
}

/// One of those that there are, if there is any.
fn one_of<'a>(claims: impl Iterator<Item = &'a Claim> + Clone, which: usize) -> Option<Claim> {
    let count = claims.clone().count().max(1);
    claims.into_iter().nth(which % count).cloned()
}

pub(crate) fn takes(world: &mut World, which: usize) {
    let Some(claim) = lent(world, which) else { return };
    if world.open_outside.contains(&(claim.vf, claim.incarnation)) {
        return;
    }
    world.story.push(format!("another daemon takes {}", claim.vf));
    // Whoever was to die at a write does not at another's.
    world.host.revive();
    let mac = claim.wanted.map_or(crate::scene::mac(9), |wanted| wanted.mac);
    if let Err(fault) = try_to_take(&world.host, claim.vf, mac) {
        world.story.push(format!("  in vain: {fault}"));
    }
    world.look();
}

pub(crate) fn opens(world: &mut World, which: usize) {
    let Some(claim) = lent(world, which) else { return };
    if world.host.open_vfio(claim.vf, &format!("qemu of {}", claim.owner)).is_ok() {
        world.story.push(format!("another daemon's guest starts with {}", claim.vf));
        world.open_outside.insert((claim.vf, claim.incarnation));
    }
    world.look();
}

pub(crate) fn closes(world: &mut World, which: usize) {
    let Some((vf, incarnation)) = world.open_outside.iter().nth(which).copied() else { return };
    world.story.push(format!("another daemon's guest with {vf} ends"));
    world.open_outside.remove(&(vf, incarnation));
    if world.host.facts().get(&vf).is_some_and(|facts| facts.incarnation == incarnation) {
        world.host.close_vfio(vf);
    }
    world.look();
}

pub(crate) fn gives_up(world: &mut World, which: usize) {
    let Some(claim) = lent(world, which) else { return };
    if world.open_outside.contains(&(claim.vf, claim.incarnation)) {
        return;
    }
    world.story.push(format!("another daemon puts {} back in its own way", claim.vf));
    world.host.revive();
    world.leave_over(claim.vf);
    if let Err(fault) = try_to_give_up(&world.host, claim.vf, crate::scene::mac(10)) {
        world.story.push(format!("  in vain: {fault}"));
    }
    world.look();
}
