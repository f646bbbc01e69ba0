//! What somebody types on a VF under a running guest is put back, or the VF is marked; and
//! whatever dies meanwhile, nothing is written beside giving it back.

use vfnet_engine::drift::MOST_REPAIRS;
use vfnet_engine::{Announcement, ClaimState, Input, Request};
use vfnet_host::Host;
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::vf::{VfIndex, VfSetting};
use vfnet_model::{MacAddress, Vlan};

use crate::scene::{
    PF, create, define, destroy, guest, guest_with, igb, mac, nic, pci, port, start, vf,
    with_network,
};
use crate::world::{Death, World, granted};

/// A host on which guest `web` runs with VF 0.
fn running(driver: Driver) -> World {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, driver).vfs(4).build();
    let mut world = with_network(host);
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    world.said.clear();
    world
}

fn type_unseen(world: &mut World, setting: VfSetting) {
    world.host.set_vf(pci(PF), VfIndex(0), setting).expect("the card takes it");
    world.typed_over.insert((vf(0), world.host.facts()[&vf(0)].incarnation));
}

fn types(world: &mut World, setting: VfSetting) {
    type_unseen(world, setting);
    world.look();
    world.settle();
}

fn another_mac() -> VfSetting {
    VfSetting::Mac(MacAddress::new([2, 0, 0, 0, 0, 0x77]))
}

fn tag() -> VfSetting {
    VfSetting::Vlan(Vlan::tagged(1.try_into().expect("a tag")))
}

fn mark(world: &World) -> Option<String> {
    world.state().claim_on(vf(0)).and_then(|claim| claim.drift.clone())
}

fn repairs(world: &World) -> usize {
    let repaired = |it: &&Announcement| matches!(it, Announcement::VfRepaired(..));
    world.said.iter().filter(repaired).count()
}

fn given_up(world: &World) -> usize {
    let drifted = |it: &&Announcement| matches!(it, Announcement::VfDrifted(..));
    world.said.iter().filter(drifted).count()
}

#[test]
fn what_was_typed_is_put_back_and_told_with_what_it_was() {
    let mut world = running(Driver::Igb);
    let before = world.host.facts()[&vf(0)].clone();
    for (typed, says) in [
        (another_mac(), "MAC 02:00:00:00:00:77 instead of 52:54:00:00:00:01"),
        (tag(), "VLAN 1 (802.1Q) instead of none"),
        (VfSetting::Spoofchk(false), "spoofchk off instead of on"),
        (VfSetting::Trust(true), "trust on instead of off"),
    ] {
        types(&mut world, typed);
        assert_eq!(world.host.facts()[&vf(0)], before, "{says}");
        let told = Announcement::VfRepaired(vf(0), "guest web".to_owned(), says.to_owned());
        assert_eq!(world.said.pop(), Some(told));
        assert!(world.said.is_empty() && mark(&world).is_none());
    }
    granted(world.ask(destroy("web")));
    assert!(world.state().claims.is_empty());
}

#[test]
fn what_was_put_back_is_not_put_back_again_however_often_the_host_is_looked_at() {
    let mut world = running(Driver::Igb);
    types(&mut world, tag());
    let written = world.host.writes();
    for _ in 0..5 {
        world.look();
        world.settle();
    }
    assert_eq!((repairs(&world), world.host.writes()), (1, written));
}

#[test]
fn what_is_typed_before_a_repair_is_known_to_have_ended_is_put_back_too() {
    let mut world = running(Driver::Igb);
    let before = world.host.facts()[&vf(0)].clone();
    type_unseen(&mut world, another_mac());
    world.look();
    assert!(world.step(), "the repair is made, and not told of yet");
    type_unseen(&mut world, tag());
    world.look();
    world.settle();
    assert_eq!(world.host.facts()[&vf(0)], before);
    assert_eq!(repairs(&world), 2);
}

#[test]
fn a_look_from_before_has_nothing_written() {
    let mut world = running(Driver::Igb);
    world.host.set_vf(pci(PF), VfIndex(0), tag()).expect("the card takes it");
    let (began, inventory) = world.glance();
    types(&mut world, tag());
    let written = world.host.writes();
    world.seen(began, inventory);
    world.settle();
    assert_eq!((repairs(&world), world.host.writes()), (1, written));
}

#[test]
fn a_vf_that_would_be_reset_is_marked_and_set_aside_at_its_end() {
    for (typed, says) in [(another_mac(), "02:00:00:00:00:77"), (tag(), "VLAN 1 (802.1Q)")] {
        let mut world = running(Driver::I40e);
        types(&mut world, typed);
        types(&mut world, typed);
        assert_eq!((repairs(&world), given_up(&world)), (0, 1));
        assert!(mark(&world).expect("marked").contains(says));
        world.restart();
        world.settle();
        assert!(mark(&world).is_some(), "the mark outlives the daemon");
        assert_eq!(given_up(&world), 1, "and is not told again");
        granted(world.ask(destroy("web")));
        let claim = world.state().claim_on(vf(0)).expect("set aside").clone();
        let ClaimState::Quarantined { reason } = &claim.state else { panic!("{:?}", claim.state) };
        assert!(reason.contains(says), "{reason}");
        granted(world.ask(Request::VfRestore(vf(0))));
        assert!(world.state().claims.is_empty());
    }
}

#[test]
fn who_changes_it_again_and_again_is_not_fought_for_ever() {
    let mut world = running(Driver::Igb);
    for _ in 0..MOST_REPAIRS {
        types(&mut world, tag());
    }
    assert_eq!((repairs(&world), given_up(&world)), (usize::from(MOST_REPAIRS), 1));
    let why = mark(&world).expect("marked");
    assert!(why.contains("changed 8 times") && why.contains("VLAN 1"), "{why}");
    types(&mut world, tag());
    assert_eq!(repairs(&world), usize::from(MOST_REPAIRS));
    granted(world.ask(destroy("web")));
    assert!(matches!(
        world.state().claim_on(vf(0)).expect("set aside").state,
        ClaimState::Quarantined { .. }
    ));
}

#[test]
fn what_is_typed_once_in_a_while_is_put_back_each_time() {
    let mut world = running(Driver::Igb);
    for _ in 0..3 * MOST_REPAIRS {
        types(&mut world, tag());
        world.look();
        world.tell(Input::TimeHasPassed).expect("it lives");
    }
    assert_eq!(repairs(&world), 3 * usize::from(MOST_REPAIRS));
    assert_eq!(mark(&world), None);
}

#[test]
fn a_card_that_refuses_is_tried_again_for_a_while_and_then_given_up() {
    let mut world = running(Driver::Igb);
    for times in 1..=MOST_REPAIRS {
        assert_eq!(mark(&world), None, "after {times}");
        type_unseen(&mut world, tag());
        world.host.fail(FaultPoint::next(OpKind::SetVlan), FaultKind::errno(rustix::io::Errno::IO));
        world.look();
        world.settle();
        // What stands is not forgiven.
        world.tell(Input::TimeHasPassed).expect("it lives");
    }
    assert_eq!((repairs(&world), given_up(&world)), (0, 1));
    assert!(mark(&world).expect("marked").contains("refused to set VLAN"));
}

#[test]
fn a_card_that_refuses_once_is_mended_at_the_next_look() {
    let mut world = running(Driver::Igb);
    type_unseen(&mut world, tag());
    world.host.fail(FaultPoint::next(OpKind::SetVlan), FaultKind::errno(rustix::io::Errno::IO));
    world.look();
    world.settle();
    assert_eq!(repairs(&world), 0);
    world.look();
    world.settle();
    assert_eq!(repairs(&world), 1);
}

#[test]
fn a_vf_lent_to_another_daemon_is_not_written_to() {
    let mut world = with_network(igb(1));
    granted(world.ask(Request::PortCreate(Box::new(port("hw", 1, mac(1))))));
    crate::outside::take(&world.host, vf(0), mac(1));
    world.host.set_vf(pci(PF), VfIndex(0), tag()).expect("the card takes it");
    let written = world.host.writes();
    world.look();
    world.settle();
    assert_eq!(world.host.writes(), written);
    assert!(world.state().claim_on(vf(0)).is_some_and(|claim| claim.drift.is_none()));
}

#[test]
fn a_vf_taken_from_vfio_is_not_bound_again_but_marked() {
    let mut world = running(Driver::Igb);
    world.host.close_vfio(vf(0));
    world.host.unbind(vf(0), std::time::Duration::from_secs(1)).expect("nobody has it open");
    // Its guest has lost it, which is what somebody wanted.
    let process = world.processes.get_mut(&guest("web")).expect("it runs");
    process.vfs.clear();
    world.look();
    world.settle();
    assert_eq!((repairs(&world), given_up(&world)), (0, 1));
    assert!(mark(&world).expect("marked").contains("bound to no driver"));
}

#[test]
fn a_guest_that_ends_amid_a_repair_gives_its_vf_back_after_it() {
    for seed in 0..8 {
        let mut world = crate::scene::seeded(igb(1), seed);
        granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
        granted(world.ask(start("web")));
        type_unseen(&mut world, tag());
        world.look();
        // Its repair is under way; the guest's end is told beside it.
        world.guest_ends(guest("web"), vfnet_engine::Ended::PoweredOff);
        world.settle();
        assert!(world.state().claims.is_empty(), "seed {seed}");
    }
}

#[test]
fn the_daemon_dies_anywhere_in_a_repair_and_the_next_one_ends_it() {
    let mut whole = typed_and_not_seen();
    let (points, writes) = whole.passed();
    whole.look();
    whole.settle();
    let (points, writes) = (whole.passed().0 - points, whole.passed().1 - writes);
    assert!(points > 3 && writes == 1, "{points} points, {writes} writes");
    let at_the_write = [Death::BeforeWrite(1), Death::AfterWrite(1)];
    for death in (1..=points).map(Death::Point).chain(at_the_write) {
        let mut world = typed_and_not_seen();
        world.die_at(death);
        world.look();
        world.settle();
        world.live_on();
        world.look();
        world.settle();
        assert_eq!(world.host.facts()[&vf(0)].admin_mac, mac(1), "{death:?}");
        assert_eq!(mark(&world), None, "{death:?}");
        granted(world.ask(destroy("web")));
        assert!(world.state().claims.is_empty(), "{death:?}");
    }
}

fn typed_and_not_seen() -> World {
    let mut world = running(Driver::Igb);
    type_unseen(&mut world, another_mac());
    world
}
