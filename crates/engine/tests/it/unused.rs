//! Ports of another daemon's guests that are gone, and of those that only seem to be.

use vfnet_engine::{Announcement, ClaimId, ClaimState, Input, PortRequest, Request};
use vfnet_model::{MacAddress, PciAddress};

use crate::outside::take;
use crate::scene::{igb, mac, net, port, vf, with_network};
use crate::world::{World, granted, refusal};

const WHO: &str = "qemu-system-x86 (pid 77)";

fn create(number: u8) -> Request {
    Request::PortCreate(Box::new(port("hw", number, mac(number))))
}

fn delete(number: u8) -> Request {
    Request::PortDelete { network: net("hw"), port: port("hw", number, MacAddress::ZERO).port }
}

/// A world with one port, whose VF the other daemon has bound; and its claim.
fn one_port() -> (World, ClaimId) {
    let mut world = with_network(igb(1));
    granted(world.ask(create(1)));
    take(&world.host, vf(0), mac(1));
    world.look();
    let id = world.state().claim_on(vf(0)).expect("lent").id;
    (world, id)
}

fn state(world: &World, vf: PciAddress) -> Option<&ClaimState> {
    world.state().claim_on(vf).map(|claim| &claim.state)
}

fn nobody_has_it(world: &mut World, claim: ClaimId, reclaim: bool) {
    world.tell(Input::PortUnused { claim, reclaim }).expect("it lives");
    world.settle();
}

fn said(world: &World, of: fn(PciAddress, uuid::Uuid, String) -> Announcement, who: &str) -> bool {
    let PortRequest { port, .. } = port("hw", 1, mac(1));
    world.said.contains(&of(vf(0), port, who.to_owned()))
}

const OWNER: &str = "guest outside of another daemon";

#[test]
fn a_port_whose_vf_nobody_has_open_is_told_and_left_alone() {
    let (mut world, id) = one_port();
    let before = world.host.facts()[&vf(0)].clone();
    nobody_has_it(&mut world, id, false);
    assert!(said(&world, Announcement::PortUnused, OWNER), "{:?}", world.said);
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    assert_eq!(world.host.facts()[&vf(0)], before);
    granted(world.ask(delete(1)));
}

#[test]
fn a_port_whose_vf_nobody_has_open_is_taken_back_where_the_administrator_has_it_so() {
    let mut world = with_network(igb(1));
    let clean = world.host.facts()[&vf(0)].clone();
    granted(world.ask(create(1)));
    take(&world.host, vf(0), mac(1));
    world.look();
    let id = world.state().claim_on(vf(0)).expect("lent").id;
    nobody_has_it(&mut world, id, true);
    assert!(said(&world, Announcement::PortReclaimed, OWNER), "{:?}", world.said);
    assert_eq!(state(&world, vf(0)), None);
    assert_eq!(world.host.facts()[&vf(0)], clean);
    // Its client, if there is one after all, is told that there is no such port.
    refusal(world.ask(delete(1)));
}

#[test]
fn a_port_whose_vf_a_look_shows_open_is_left_alone() {
    let (mut world, id) = one_port();
    world.host.open_vfio(vf(0), WHO).expect("it is on vfio-pci");
    world.look();
    world.said.clear();
    for reclaim in [false, true] {
        nobody_has_it(&mut world, id, reclaim);
        assert_eq!(world.said, []);
        assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    }
}

#[test]
fn a_guest_that_opens_its_vf_as_it_is_taken_back_keeps_it_and_its_port() {
    let (mut world, id) = one_port();
    // After the look that the decision goes by, and before the first step.
    world.host.open_vfio(vf(0), WHO).expect("it is on vfio-pci");
    let before = world.host.facts()[&vf(0)].clone();
    nobody_has_it(&mut world, id, true);
    assert!(said(&world, Announcement::PortInUse, WHO), "{:?}", world.said);
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    assert_eq!(world.host.facts()[&vf(0)], before, "it was written to under its guest");

    // So it does when the client itself would delete it too early.
    let refused = refusal(world.ask(delete(1))).to_string();
    assert!(refused.contains(WHO), "{refused}");
    world.restart();
    world.settle();
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    world.host.close_vfio(vf(0));
    granted(world.ask(delete(1)));
    assert_eq!(state(&world, vf(0)), None);
}

#[test]
fn a_port_that_stays_leaves_its_name_to_the_one_that_was_made_under_it_meanwhile() {
    let mut world = with_network(igb(2));
    granted(world.ask(create(1)));
    take(&world.host, vf(0), mac(1));
    world.look();
    let id = world.state().claim_on(vf(0)).expect("lent").id;
    world.tell(Input::PortUnused { claim: id, reclaim: true }).expect("it lives");
    world.host.open_vfio(vf(0), WHO).expect("it is on vfio-pci");
    granted(world.ask(Request::PortCreate(Box::new(port("hw", 1, mac(2))))));
    world.settle();
    let name = |vf| world.state().claim_on(vf)?.network.as_ref().map(|of| of.port);
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    assert_eq!(name(vf(1)), Some(port("hw", 1, mac(2)).port));
    let other = name(vf(0)).expect("a port still");
    assert_ne!(Some(other), name(vf(1)));

    granted(world.ask(delete(1)));
    assert_eq!(state(&world, vf(1)), None);
    world.host.close_vfio(vf(0));
    granted(world.ask(Request::PortDelete { network: net("hw"), port: other }));
    assert_eq!(state(&world, vf(0)), None);
}

#[test]
fn a_port_taken_back_when_the_daemon_dies_is_its_guests_where_that_has_opened_it() {
    let (mut world, id) = one_port();
    world.tell(Input::PortUnused { claim: id, reclaim: true }).expect("it lives");
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Releasing));
    world.host.open_vfio(vf(0), WHO).expect("it is on vfio-pci");
    world.restart();
    world.settle();
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    world.host.close_vfio(vf(0));
    nobody_has_it(&mut world, id, true);
    world.look();
    nobody_has_it(&mut world, id, true);
    assert_eq!(state(&world, vf(0)), None);
}

#[test]
fn what_the_host_uses_or_has_lost_and_what_is_no_port_is_not_unused() {
    let (mut world, id) = one_port();
    world.host.remove_vf(vf(0));
    world.look();
    nobody_has_it(&mut world, id, true);
    let claim = &world.state().claims[&id];
    assert_eq!(claim.state, ClaimState::Vanished);
    granted(world.ask(delete(1)));

    let mut world = with_network(igb(2));
    granted(world.ask(create(1)));
    world.host.change_netdev(vf(0), |dev| dev.addresses.push("192.0.2.1/24".into()));
    world.look();
    let id = world.state().claim_on(vf(0)).expect("lent").id;
    nobody_has_it(&mut world, id, true);
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    world.host.change_netdev(vf(0), |dev| dev.addresses.clear());
    let guest = crate::scene::guest_with("web", vec![crate::scene::nic("hw", mac(2))]);
    granted(world.ask(crate::scene::create(guest)));
    let held = world.state().claim_on(vf(1)).expect("held").id;
    nobody_has_it(&mut world, held, true);
    assert!(matches!(state(&world, vf(1)), Some(ClaimState::Held { .. })));
    granted(world.ask(delete(1)));
    granted(world.ask(crate::scene::destroy("web")));
}

#[test]
fn a_vf_that_a_look_has_missed_is_told_to_be_there_again() {
    let (mut world, _) = one_port();
    let (began, mut inventory) = world.glance();
    inventory.vfs.clear();
    world.seen(began, inventory);
    assert!(world.said.contains(&Announcement::VfVanished(vf(0), OWNER.into())));
    world.look();
    assert!(world.said.contains(&Announcement::VfReappeared(vf(0), OWNER.into())));
    assert_eq!(state(&world, vf(0)), Some(&ClaimState::Lent));
    granted(world.ask(delete(1)));
}
