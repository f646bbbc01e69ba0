//! Ports of another daemon's guests: what is done before the hand-over, and that nothing is done
//! until the port is deleted.

use rustix::io::Errno;
use vfnet_engine::{Answer, ClaimState, Plugged, PortRequest, RefusalKind, Reply, Request};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::network::Forward;
use vfnet_model::vf::Original;
use vfnet_model::{MacAddress, PciAddress, Vlan};

use crate::outside::{bind_to_vfio, give_up, set, take};
use crate::scene::{
    PF, create, define_network, destroy, guest_with, igb, mac, net, network, network_of, nic, port,
    vf, with_network,
};
use crate::world::{World, granted, refusal};

fn create_port(port: PortRequest) -> Request {
    Request::PortCreate(Box::new(port))
}

fn delete(number: u8) -> Request {
    Request::PortDelete { network: net("hw"), port: port("hw", number, mac(0)).port }
}

fn has(address: PciAddress) -> Option<Plugged> {
    Some(Plugged::Vf { address, managed: true, driver: None })
}

fn reclaim(number: u8, last: u8, vf: PciAddress) -> Request {
    create_port(PortRequest { plug: has(vf), ..port("hw", number, mac(last)) })
}

fn vf_of(reply: Reply) -> PciAddress {
    match granted(reply) {
        Answer::Port { vf, .. } => vf,
        other => panic!("a port's answer, not {other:?}"),
    }
}

/// A host whose network `hw` wishes this of its VFs.
fn wishing(wishes: &str, vfs: u16, after: &str) -> World {
    wishing_of(igb(vfs), wishes, after)
}

fn wishing_of(host: SimHost, wishes: &str, after: &str) -> World {
    let mut world = World::new(host, 1);
    let pool = format!("<vfnet:pool><vfnet:vf {wishes}/></vfnet:pool>{after}");
    granted(world.ask(define_network(network_of("hw", "<pf dev='ens1f0'/>", &pool))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    world
}

#[test]
fn what_the_other_daemon_cannot_set_is_set_before_it_hears_of_its_port() {
    let mut world = wishing("trust='yes' spoofchk='no' maxRate='500'", 2, "");
    let before = world.host.facts()[&vf(0)].clone();
    let vf = vf_of(world.ask(create_port(port("hw", 1, mac(1)))));
    let lent = world.host.facts()[&vf].clone();
    assert_eq!((lent.trust, lent.spoofchk, lent.rate), (true, false, (0, 500)));
    assert_eq!(
        (lent.admin_mac, lent.vlan, &lent.driver, &lent.driver_override),
        (before.admin_mac, before.vlan, &before.driver, &before.driver_override),
        "these are the other daemon's to set"
    );

    take(&world.host, vf, mac(1));
    world.host.clear_trace();
    world.look();
    world.restart();
    world.settle();
    assert!(world.host.trace().is_empty(), "nothing is written while it is lent");
    granted(world.ask(delete(1)));
    assert!(world.state().claims.is_empty());
    assert_eq!(world.host.facts()[&vf], before);
}

#[test]
fn what_the_other_daemon_has_put_back_in_its_own_way_is_put_back_in_ours() {
    let mut world = with_network(igb(1));
    let before = world.host.facts()[&vf(0)].clone();
    let vf = vf_of(world.ask(create_port(port("hw", 1, mac(1)))));
    let own = before.netdev_mac.expect("it has a netdev");
    take(&world.host, vf, mac(1));
    give_up(&world.host, vf, own);
    assert!(world.host.facts()[&vf].sticky, "libvirt leaves the VF's own MAC as an admin MAC");
    granted(world.ask(delete(1)));
    assert_eq!(world.host.facts()[&vf], before);
}

#[test]
fn a_tag_that_the_other_daemon_would_overwrite_is_refused_and_takes_nothing() {
    for wish in ["qos='3'", "vlanProto='802.1ad'"] {
        // A card that may do either.
        let ice = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Ice).vfs(2).build();
        let mut world = wishing_of(ice, wish, "<vlan><tag id='42'/></vlan>");
        let refused = refusal(world.ask(create_port(port("hw", 1, mac(1)))));
        assert_eq!(refused.kind, RefusalKind::Unsupported);
        assert!(refused.to_string().contains("would overwrite"), "{refused}");
        assert!(world.state().claims.is_empty() && world.host.trace().is_empty());
    }
}

#[test]
fn a_portgroup_that_is_not_there_is_refused() {
    let mut world = with_network(igb(1));
    let asked = PortRequest { portgroup: Some("gold".into()), ..port("hw", 1, mac(1)) };
    let refused = refusal(world.ask(create_port(asked)));
    assert!(refused.to_string().contains("no portgroup 'gold'"), "{refused}");
    assert!(world.state().claims.is_empty());
}

#[test]
fn a_vf_that_cannot_be_made_ready_goes_back_and_the_next_one_is_tried() {
    let mut world = wishing("trust='yes'", 3, "");
    let broken = FaultPoint::next(OpKind::SetTrust);
    world.host.fail(broken.at(vf(0)), FaultKind::errno(Errno::IO));
    world.host.fail(broken.at(vf(1)), FaultKind::errno(Errno::IO));
    assert_eq!(vf_of(world.ask(create_port(port("hw", 1, mac(1))))), vf(2));
    assert_eq!(world.state().claims.len(), 1);

    granted(world.ask(delete(1)));
    world.host.fail(FaultPoint::every(OpKind::SetTrust).times(3), FaultKind::errno(Errno::IO));
    let refused = refusal(world.ask(create_port(port("hw", 1, mac(1)))));
    assert_eq!(refused.kind, RefusalKind::OperationFailed);
    assert_eq!(refused.vfs.len(), 3, "{refused}");
    assert!(world.state().claims.is_empty());
    granted(world.ask(create_port(port("hw", 1, mac(1)))));
}

#[test]
fn a_vf_that_stays_stuck_under_a_port_to_be_is_nobodys_port() {
    let mut world = wishing("trust='yes'", 2, "");
    world.host.fail(FaultPoint::next(OpKind::SetTrust), FaultKind::Stuck);
    let reply = world.ask(create_port(port("hw", 1, mac(1))));
    if let Ok(Answer::Port { vf: got, .. }) = &reply {
        assert_eq!(*got, vf(1));
    }
    assert!(world.state().ports_of(net("hw")).count() <= 1);
    world.host.clear_faults();
    world.host.release(vf(0));
}

#[test]
fn a_duplicate_uuid_is_refused_and_takes_no_second_vf() {
    let mut world = with_network(igb(3));
    granted(world.ask(create_port(port("hw", 1, mac(1)))));
    let refused = refusal(world.ask(create_port(port("hw", 1, mac(2)))));
    assert_eq!(refused.kind, RefusalKind::PortExists);
    // Nor while the first is still being made ready.
    let first = world.begin(create_port(port("hw", 2, mac(3))));
    let second = world.begin(create_port(port("hw", 2, mac(3))));
    world.settle();
    granted(world.replies.remove(&first).expect("answered"));
    let refused = refusal(world.replies.remove(&second).expect("answered"));
    assert_eq!(refused.kind, RefusalKind::PortExists);
    assert_eq!(world.state().claims.len(), 2);
}

#[test]
fn a_port_deleted_while_it_is_made_ready_goes_back_and_both_are_answered() {
    for steps in 0..4 {
        let mut world = wishing("trust='yes'", 1, "");
        let made = world.begin(create_port(port("hw", 1, mac(1))));
        for _ in 0..steps {
            world.step();
        }
        let deleted = world.begin(delete(1));
        world.settle();
        assert!(world.replies.contains_key(&made));
        granted(world.replies.remove(&deleted).expect("answered"));
        assert!(world.state().claims.is_empty());
    }
}

#[test]
fn a_port_is_taken_up_again_as_its_guest_has_it() {
    let mut world = with_network(igb(3));
    // A guest of the other daemon runs; vfnet's records are lost.
    take(&world.host, vf(1), mac(1));
    world.leave_over(vf(1));
    world.host.clear_trace();
    world.look();
    assert_eq!(vf_of(world.ask(reclaim(1, 1, vf(1)))), vf(1));
    let claim = world.state().claim_on(vf(1)).expect("it is lent").clone();
    assert_eq!((&claim.state, &claim.original), (&ClaimState::Lent, &Original::Unknown));
    assert_eq!(vf_of(world.ask(reclaim(1, 1, vf(1)))), vf(1), "once more is as good as once");
    assert_eq!(world.state().claims.len(), 1);
    assert!(world.host.trace().is_empty(), "nothing is written");

    for (number, at, why) in [(1, vf(0), "with UUID"), (2, vf(1), "held by guest outside")] {
        let refused = refusal(world.ask(reclaim(number, 1, at)));
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let other = create_port(PortRequest {
        owner: net("someone else"),
        plug: has(vf(1)),
        ..port("hw", 1, mac(1))
    });
    assert_eq!(refusal(world.ask(other)).kind, RefusalKind::PortExists);
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(5))]))));
    let refused = refusal(world.ask(reclaim(4, 5, vf(2))));
    assert!(refused.to_string().contains("cannot have MAC 52:54:00:00:00:05"), "{refused}");
    granted(world.ask(crate::scene::destroy("web")));
    let elsewhere = "0000:09:10.0".parse().expect("an address");
    let refused = refusal(world.ask(reclaim(3, 3, elsewhere)));
    assert_eq!(refused.kind, RefusalKind::Exhausted);
    assert!(refused.to_string().contains("is not a VF of its pool"), "{refused}");

    granted(world.ask(delete(1)));
    let back = world.host.facts()[&vf(1)].clone();
    assert_eq!(back.driver.as_ref().map(|driver| driver.as_str()), Some("igbvf"));
    assert!(!back.sticky && back.admin_mac != mac(1), "{back:?}");
}

#[test]
fn a_port_of_a_guest_that_has_not_begun_is_taken_up_with_what_its_vf_is_now() {
    let mut world = with_network(igb(1));
    granted(world.ask(reclaim(1, 1, vf(0))));
    let claim = world.state().claim_on(vf(0)).expect("it is lent");
    assert!(matches!(claim.original, Original::Known(_)));
}

#[test]
fn a_port_is_not_taken_up_beside_a_vf_that_is_on_its_way_back() {
    let pairs = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(2).groups_of(2);
    let mut world = with_network(pairs.autoprobe_off().build());
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    world.host.fail(FaultPoint::next(OpKind::Unbind).at(vf(0)), FaultKind::Stuck);
    let destroyed = world.begin(destroy("web"));
    while world.state().claim_on(vf(0)).is_some_and(|claim| claim.state.word() == "held") {
        world.step();
    }
    let refused = refusal(world.ask(reclaim(1, 2, vf(1))));
    let words = "shares its IOMMU group with 0000:01:10.0, being given back by guest web";
    assert!(refused.to_string().contains(words), "{refused}");
    assert!(world.replies.contains_key(&destroyed));
}

#[test]
fn a_port_on_an_inactive_network_is_refused_reclaimed_or_not() {
    let mut world = World::new(igb(1), 1);
    granted(world.ask(define_network(network("hw", "ens1f0", 0))));
    for request in [create_port(port("hw", 1, mac(1))), reclaim(1, 1, vf(0))] {
        let refused = refusal(world.ask(request));
        assert_eq!(refused.kind, RefusalKind::OperationInvalid);
    }
}

#[test]
fn what_a_look_has_missed_is_its_holders_again() {
    let mut world = with_network(igb(2));
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(create_port(port("hw", 1, mac(2)))));
    let words = |world: &World| {
        [0, 1].map(|n| {
            world
                .state()
                .claims
                .values()
                .find(|claim| claim.vf == vf(n))
                .expect("a claim")
                .state
                .word()
        })
    };
    let (began, mut inventory) = world.glance();
    inventory.vfs.clear();
    world.seen(began, inventory);
    assert_eq!(words(&world), ["vanished", "vanished"]);
    world.look();
    assert_eq!(words(&world), ["held", "lent"]);
    granted(world.ask(crate::scene::destroy("web")));
    granted(world.ask(delete(1)));
    assert!(world.state().claims.is_empty());
}

#[test]
fn a_port_on_a_bridge_is_kept_and_takes_nothing() {
    let mut world = World::new(igb(1), 1);
    let uuid = net("br");
    let xml = format!(
        "<network><name>br</name><uuid>{uuid}</uuid><forward mode='bridge'/>\
         <bridge name='br0'/><portgroup name='gold'/></network>"
    );
    let network = vfnet_model::network::parse(&xml).expect("a network document");
    let definition = vfnet_engine::NetworkDefinition { uuid, network, xml };
    granted(world.ask(define_network(definition)));
    granted(world.ask(Request::NetworkStart(uuid)));
    let asked = |number| port("br", number, mac(number));
    granted(world.ask(create_port(asked(1))));
    let refused = refusal(world.ask(create_port(asked(1))));
    assert_eq!(refused.kind, RefusalKind::PortExists);
    let unknown = PortRequest { portgroup: Some("lead".into()), ..asked(2) };
    assert_eq!(refusal(world.ask(create_port(unknown))).kind, RefusalKind::Unsupported);
    let tagged = PortRequest { vlan: Some(7.try_into().expect("a tag")), ..asked(2) };
    assert_eq!(refusal(world.ask(create_port(tagged))).kind, RefusalKind::Unsupported);
    world.restart();
    world.settle();
    assert_eq!(world.state().connections(uuid), 1);
    let bridge = |name: &str| Some(Plugged::Bridge(name.parse().expect("a name")));
    let again = PortRequest { plug: bridge("br0"), ..asked(1) };
    granted(world.ask(create_port(again)));
    let other = PortRequest { plug: bridge("br1"), ..asked(3) };
    assert_eq!(refusal(world.ask(create_port(other))).kind, RefusalKind::InvalidArgument);
    assert_eq!(world.state().connections(uuid), 1);
    let delete = || Request::PortDelete { network: uuid, port: asked(1).port };
    granted(world.ask(delete()));
    assert_eq!(refusal(world.ask(delete())).kind, RefusalKind::NoPort);
    assert!(world.state().bridge_ports.is_empty() && world.host.trace().is_empty());
}

#[test]
fn of_an_unmanaged_vf_the_tag_comes_back_that_the_other_daemon_has_overwritten() {
    let tag = Vlan::tagged(5.try_into().expect("a tag"));
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(1);
    let host = host.autoprobe_off().build();
    set(&host, vf(0), MacAddress::ZERO, tag);
    bind_to_vfio(&host, vf(0));
    let mut world = World::new(host, 1);
    let mut unmanaged = network("hw", "ens1f0", 0);
    if let Forward::Hostdev(pool) = &mut unmanaged.network.forward {
        pool.managed = false;
    }
    granted(world.ask(define_network(unmanaged)));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    let before = world.host.facts()[&vf(0)].clone();
    granted(world.ask(create_port(port("hw", 1, mac(1)))));
    set(&world.host, vf(0), mac(1), Vlan::UNTAGGED);
    granted(world.ask(delete(1)));
    let after = world.host.facts()[&vf(0)].clone();
    assert_eq!((after.vlan, &after.driver), (tag, &before.driver));
    assert_ne!(after.admin_mac, mac(1));
}
