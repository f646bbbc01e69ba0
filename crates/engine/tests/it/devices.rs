//! The administrator takes single VFs from the host and gives them back.

use vfnet_engine::{Answer, RefusalKind, Request};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::PciAddress;

use crate::scene::{
    PF, define, destroy, guest_with, igb, mac, net, nic, pci, port, start, vf, with_network,
};
use crate::world::{Death, World, granted};

fn detach(device: PciAddress) -> Request {
    Request::DeviceDetach { device, driver: None }
}

fn reattach(device: PciAddress) -> Request {
    Request::DeviceReattach(device)
}

fn refused(world: &mut World, request: Request, kind: RefusalKind) -> String {
    let refusal = world.ask(request).expect_err("refused");
    assert_eq!(refusal.kind, kind, "{refusal}");
    refusal.to_string()
}

fn driver(world: &World, vf: PciAddress) -> Option<String> {
    world.host.facts()[&vf].driver.as_ref().map(ToString::to_string)
}

/// A VF is not as it was while it is detached.
fn detachable(index: u8) -> World {
    let mut world = with_network(igb(2));
    world.leave_over(vf(index));
    world
}

#[test]
fn a_detached_vf_is_on_vfio_until_it_is_reattached() {
    let mut world = detachable(0);
    let before = world.host.facts()[&vf(0)].clone();
    assert_eq!(granted(world.ask(detach(vf(0)))), Answer::Done);
    assert_eq!(driver(&world, vf(0)).as_deref(), Some("vfio-pci"));
    assert!(world.state().claims.is_empty());
    granted(world.ask(detach(vf(0))));
    granted(world.ask(Request::DeviceReset(vf(0))));
    granted(world.ask(reattach(vf(0))));
    assert_eq!(world.host.facts()[&vf(0)].driver, before.driver);
    assert_eq!(world.host.facts()[&vf(0)].driver_override, None);
    let writes = world.host.trace().len();
    granted(world.ask(reattach(vf(0))));
    assert_eq!(world.host.trace().len(), writes, "it was at home");
}

#[test]
fn a_detached_vf_is_lent_and_comes_back_detached() {
    let mut world = detachable(0);
    granted(world.ask(detach(vf(0))));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(start("web")));
    for request in [detach(vf(0)), reattach(vf(0)), Request::DeviceReset(vf(0))] {
        let why = refused(&mut world, request, RefusalKind::OperationInvalid);
        assert!(why.contains("held by guest web"), "{why}");
    }
    granted(world.ask(destroy("web")));
    assert_eq!(driver(&world, vf(0)).as_deref(), Some("vfio-pci"));
}

#[test]
fn what_somebody_uses_is_left_alone() {
    let mut world = with_network(igb(2));
    granted(world.ask(Request::PortCreate(Box::new(port("hw", 7, mac(1))))));
    for request in [detach(vf(0)), reattach(vf(0)), Request::DeviceReset(vf(0))] {
        let why = refused(&mut world, request, RefusalKind::OperationInvalid);
        assert!(why.contains("outside"), "{why}");
    }
    world.host.change_netdev(vf(1), |dev| dev.addresses = vec!["10.0.0.1".into()]);
    let why = refused(&mut world, detach(vf(1)), RefusalKind::OperationInvalid);
    assert!(why.contains("10.0.0.1"), "{why}");
    world.host.change_netdev(vf(1), |dev| dev.addresses.clear());
    let why = refused(&mut world, Request::DeviceReset(vf(1)), RefusalKind::OperationInvalid);
    assert!(why.contains("igbvf"), "{why}");
    refused(&mut world, detach(pci(PF)), RefusalKind::Unsupported);
    refused(&mut world, detach(pci("0000:7f:00.0")), RefusalKind::Unsupported);
}

#[test]
fn a_vf_that_cannot_be_detached_is_as_before_and_whoever_asked_hears_why() {
    let mut world = with_network(igb(1));
    world.host.fail(FaultPoint::next(OpKind::Probe), FaultKind::Ignored);
    let why = refused(&mut world, detach(vf(0)), RefusalKind::OperationFailed);
    assert!(why.contains("vfio-pci"), "{why}");
    assert!(world.state().claims.is_empty());
    assert_eq!(driver(&world, vf(0)).as_deref(), Some("igbvf"));
}

#[test]
fn a_kill_while_the_administrator_is_at_work_leaves_nothing() {
    for death in
        (1..12).flat_map(|n| [Death::Point(n), Death::BeforeWrite(n), Death::AfterWrite(n)])
    {
        let mut world = detachable(0);
        let before = world.host.facts()[&vf(0)].clone();
        world.story.push(format!("{death:?}"));
        world.die_at(death);
        for request in [detach(vf(0)), Request::DeviceReset(vf(0)), reattach(vf(0))] {
            world.begin(request);
            world.settle();
            assert!(world.state().claims.is_empty(), "{death:?}: {:?}", world.state().claims);
        }
        world.live_on();
        granted(world.ask(reattach(vf(0))));
        let after = world.host.facts()[&vf(0)].clone();
        assert_eq!((after.driver, after.driver_override), (before.driver, before.driver_override));
    }
}

#[test]
fn a_vf_is_neither_detached_nor_reset_beside_one_that_somebody_has() {
    let pair = SimHost::builder().pf("ens1f0", PF, Driver::Igb).vfs(2).groups_of(2);
    let mut world = with_network(pair.autoprobe_off().build());
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(start("web")));
    for request in [detach(vf(1)), Request::DeviceReset(vf(1))] {
        let why = refused(&mut world, request, RefusalKind::OperationInvalid);
        assert!(why.contains("shares its IOMMU group with 0000:01:10.0, held by guest web"));
    }
    granted(world.ask(destroy("web")));
    granted(world.ask(Request::DeviceReset(vf(1))));
}

#[test]
fn a_vf_that_has_taken_the_address_of_another_is_not_reset_in_its_place() {
    let mut world = with_network(igb(1));
    let ticket = world.begin(detach(vf(0)));
    // Bound to VFIO, and that is heard: the reset is next.
    world.step();
    world.step();
    world.host.remove_vfs(pci(PF)).expect("nobody has one");
    world.host.make_vfs(pci(PF), 1).expect("there is room");
    let new = world.host.facts();
    world.settle();
    let refused = world.replies.remove(&ticket).expect("it is answered").expect_err("refused");
    assert!(refused.to_string().contains("another device has taken the VF's address"), "{refused}");
    assert_eq!(world.host.facts(), new);
    assert!(world.state().claims.is_empty());
}

#[test]
fn a_detached_vf_is_lent_as_it_is_although_nobody_has_looked_at_the_host_since() {
    let mut world = detachable(0);
    let ticket = world.begin(detach(vf(0)));
    // Bound to VFIO, and not reset yet: its row still shows the MAC of the host's driver.
    world.step();
    world.look();
    world.settle();
    granted(world.replies.remove(&ticket).expect("it is answered"));
    let ticket = world.begin_unseen(Request::PortCreate(Box::new(port("hw", 1, mac(1)))));
    world.settle();
    granted(world.replies.remove(&ticket).expect("it is answered"));
    let delete = Request::PortDelete { network: net("hw"), port: port("hw", 1, mac(1)).port };
    granted(world.ask(delete));
    assert_eq!(driver(&world, vf(0)).as_deref(), Some("vfio-pci"));
}
