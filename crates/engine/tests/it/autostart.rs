//! What starts by itself when a host boots, and what it waits for.

use vfnet_engine::{Announcement, Ended, Input, Request};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};

use crate::scene::{
    PF, define, define_network, destroy, guest, guest_with, igb, mac, net, network, nic, pci,
    vfs_of,
};
use crate::world::{World, granted};

/// A host with a network and a guest of it that start at boot, and which has just been booted.
/// The PF is down when `down`, and there are no VFs yet.
fn booted(down: bool) -> World {
    let mut world = World::new(igb(1), 1);
    granted(world.ask(define_network(network("hw", "ens1f0", 0))));
    granted(world.ask(Request::NetworkAutostart(net("hw"), true)));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(Request::GuestAutostart(guest("web"), true)));
    world.settle();
    assert!(world.processes.is_empty(), "autostart is for boots");
    if down {
        world.deaf.insert(pci(PF));
        world.host.pf_down(pci(PF));
    }
    world.reboot(&[]);
    world.settle();
    world
}

fn vfs_come(world: &mut World) {
    world.host.make_vfs(pci(PF), 2).expect("the card makes two");
    world.look();
    world.settle();
}

fn is_running(world: &World) -> bool {
    world.processes.contains_key(&guest("web"))
}

#[test]
fn autostart_waits_for_vfs_and_for_the_pf_to_be_up_and_starts_networks_before_guests() {
    let mut world = booted(true);
    assert!(world.state().live_networks.is_empty() && !is_running(&world));
    vfs_come(&mut world);
    assert!(world.state().live_networks.is_empty(), "the PF is down");

    world.tell(Input::AutostartIsLate).expect("it lives on");
    let waits = "network 'hw' waits for PF ens1f0 (0000:01:00.0) to be up";
    assert!(world.said.contains(&Announcement::AutostartWaits(waits.into())));
    let waits = "guest 'web' waits for network 'hw'";
    assert!(world.said.contains(&Announcement::AutostartWaits(waits.into())));

    world.host.pf_up(pci(PF));
    world.look();
    world.settle();
    assert_eq!(vfs_of(&world, "web").len(), 1);
    assert!(world.state().pending.is_empty());
}

#[test]
fn a_guest_waits_for_its_network_even_when_a_person_starts_that() {
    let mut world = booted(true);
    world.host.make_vfs(pci(PF), 2).expect("the card makes two");
    // A person may start a network whose PF is down; then the guest is tried, and fails.
    granted(world.ask(Request::NetworkStart(net("hw"))));
    assert!(!is_running(&world));
    world.host.pf_up(pci(PF));
    world.look();
    world.settle();
    assert!(is_running(&world));
}

#[test]
fn autostart_is_once_per_boot_and_a_restart_revives_nothing() {
    let mut world = booted(false);
    vfs_come(&mut world);
    granted(world.ask(destroy("web")));
    granted(world.ask(Request::NetworkDestroy { network: net("hw"), force: false }));
    world.restart();
    world.look();
    world.settle();
    assert!(!is_running(&world) && world.state().live_networks.is_empty());

    world.reboot(&[(pci(PF), 2)]);
    world.settle();
    assert!(is_running(&world), "the next boot starts it again");
    world.guest_ends(guest("web"), Ended::PoweredOff);
    world.settle();
    world.restart();
    world.look();
    world.settle();
    assert!(!is_running(&world), "it has powered itself off");
}

#[test]
fn a_daemon_that_dies_before_all_is_started_goes_on_where_it_was() {
    let mut world = booted(true);
    world.restart();
    vfs_come(&mut world);
    world.host.pf_up(pci(PF));
    world.look();
    world.restart();
    world.settle();
    assert!(is_running(&world));
}

#[test]
fn autostart_begins_nothing_that_cannot_be_recorded_and_tries_again() {
    let mut world = booted(true);
    vfs_come(&mut world);
    world.disk_full = true;
    world.host.pf_up(pci(PF));
    world.look();
    world.settle();
    assert!(world.host.trace().is_empty() && world.state().claims.is_empty());
    world.disk_full = false;
    world.look();
    world.settle();
    assert!(is_running(&world));
}

#[test]
fn a_start_that_fails_is_said_and_tried_again() {
    let mut world = booted(true);
    vfs_come(&mut world);
    world.host.fail(FaultPoint::next(OpKind::Unbind), FaultKind::Ignored);
    world.host.pf_up(pci(PF));
    world.look();
    world.settle();
    let failed = |what: &Announcement| matches!(what, Announcement::StartFailed(_));
    assert!(world.said.iter().any(failed) && !is_running(&world));
    world.look();
    world.settle();
    assert!(is_running(&world));
}
