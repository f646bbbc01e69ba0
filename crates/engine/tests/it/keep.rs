//! How many VFs a PF is to have whenever its card comes.

use vfnet_engine::{Announcement, Request};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};
use vfnet_model::pf::PfIdentity;

use crate::scene::{
    PF, create, define, guest, guest_with, igb, mac, net, nic, pci, vf, vfs_of, with_network,
};
use crate::world::{Death, World, granted, refusal};

fn set(count: u16, keep: bool) -> Request {
    Request::PfSetVfs { pf: pci(PF), count, keep }
}

fn vfs(world: &World) -> usize {
    world.host.facts().len()
}

fn kept(world: &World) -> Option<u16> {
    world.state().kept_vfs_of(pci(PF))
}

fn boot(world: &mut World) {
    world.reboot(&[]);
    world.settle();
}

#[test]
fn kept_vfs_are_there_after_every_boot_until_they_are_not_kept_any_more() {
    let mut world = with_network(igb(7));
    granted(world.ask(set(4, true)));
    assert_eq!((vfs(&world), kept(&world)), (4, Some(4)));
    boot(&mut world);
    assert_eq!(vfs(&world), 4);
    assert!(world.said.contains(&Announcement::VfsMade(format!("ens1f0 ({PF})"), 4)));

    // Only now.
    granted(world.ask(set(2, false)));
    world.look();
    assert_eq!((vfs(&world), kept(&world)), (2, Some(4)));
    granted(world.ask(set(0, false)));
    world.look();
    world.settle();
    assert_eq!((vfs(&world), kept(&world)), (0, Some(4)), "none are wanted for now");
    boot(&mut world);
    assert_eq!(vfs(&world), 4);

    // As many as there are: kept from now on, and nothing to be made.
    granted(world.ask(set(3, false)));
    granted(world.ask(set(3, true)));
    granted(world.ask(Request::PfForgetVfs(PfIdentity::Address(pci(PF)))));
    assert_eq!((vfs(&world), kept(&world)), (3, None));
    let twice = refusal(world.ask(Request::PfForgetVfs(PfIdentity::Address(pci(PF))))).to_string();
    assert!(twice.contains("no VFs are kept of PF ens1f0"), "{twice}");
    boot(&mut world);
    assert_eq!(vfs(&world), 0);

    granted(world.ask(set(3, true)));
    granted(world.ask(set(0, true)));
    assert_eq!(kept(&world), None, "none is what a PF has by itself");
}

#[test]
fn what_a_boot_has_made_already_is_left_alone() {
    let mut world = with_network(igb(7));
    granted(world.ask(set(4, true)));
    world.reboot(&[(pci(PF), 2)]);
    world.settle();
    assert_eq!((vfs(&world), kept(&world)), (2, Some(4)));
}

#[test]
fn a_number_that_the_kernel_refuses_is_not_kept() {
    let mut world = with_network(igb(7));
    granted(world.ask(set(3, true)));
    let no_room = || FaultKind::errno(rustix::io::Errno::NOMEM);
    world.host.fail(FaultPoint::next(OpKind::NumVfs), no_room());
    refusal(world.ask(set(5, true)));
    assert_eq!(kept(&world), Some(3));
    world.host.fail(FaultPoint::next(OpKind::NumVfs), no_room());
    refusal(world.ask(set(0, true)));
    assert_eq!(kept(&world), Some(3));
}

#[test]
fn kept_vfs_that_cannot_be_made_are_told_of_once() {
    let mut world = with_network(igb(7));
    granted(world.ask(set(3, true)));
    let refuses = FaultPoint::next(OpKind::NumVfs);
    world.reboot(&[]);
    world.host.fail(refuses, FaultKind::errno(rustix::io::Errno::NOMEM));
    world.settle();
    world.look();
    world.settle();
    let told = |what: &&Announcement| matches!(what, Announcement::VfsNotMade(..));
    assert_eq!(world.said.iter().filter(told).count(), 1, "{:?}", world.said);
    assert_eq!((vfs(&world), kept(&world)), (0, Some(3)));
}

#[test]
fn what_starts_with_the_host_waits_for_kept_vfs() {
    let mut world = with_network(igb(7));
    granted(world.ask(Request::NetworkAutostart(net("hw"), true)));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(Request::GuestAutostart(guest("web"), true)));
    granted(world.ask(set(2, true)));
    boot(&mut world);
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
}

#[test]
fn a_card_that_comes_again_has_what_is_kept() {
    let mut world = with_network(igb(7));
    granted(world.ask(set(3, true)));
    assert!(world.host.unplug_pf(pci(PF)));
    world.look();
    world.settle();
    assert_eq!(vfs(&world), 0);
    world.host.plug_pf(pci(PF));
    world.look();
    world.settle();
    assert_eq!(vfs(&world), 3);
}

#[test]
fn a_daemon_killed_at_any_point_keeps_either_number_and_makes_it() {
    for point in 1..12 {
        for death in [Death::Point(point), Death::BeforeWrite(point), Death::AfterWrite(point)] {
            let mut world = with_network(igb(7));
            granted(world.ask(set(2, true)));
            world.die_at(death);
            world.begin(set(3, true));
            world.settle();
            world.live_on();
            let number = kept(&world).expect("one of them");
            assert!([2, 3].contains(&number), "{death:?}: {number}");
            world.die_at(death);
            world.reboot(&[]);
            world.settle();
            world.live_on();
            assert_eq!(vfs(&world), usize::from(number), "{death:?}");
            granted(world.ask(Request::NetworkStart(net("hw"))));
            granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
        }
    }
}
