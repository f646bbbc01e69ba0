//! A running network gets another document, and the VFs that it lends are set as that has it.

use rustix::io::Errno;
use vfnet_engine::{Announcement, Edited, LeaseRequest, Lessee, NetworkEdit, NicSource, Request};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::network::{Command, Section, update};

use crate::plugs::deaths;
use crate::scene::{
    PF, PF2, create, define_network, destroy, guest_with, mac, net, network_of, nic, pci, vf,
    vfs_of,
};
use crate::world::{World, granted, refusal};

fn group(vlan: u16) -> String {
    format!("<portgroup name='gold'><vlan><tag id='{vlan}'/></vlan></portgroup>")
}

/// A guest with a VF of portgroup `gold`, which is VLAN 20, and one of none.
fn running(card: Driver, seed: u64) -> World {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, card).vfs(4).build();
    let mut world = World::new(host, seed);
    granted(world.ask(define_network(network_of("hw", "<pf dev='ens1f0'/>", &group(20)))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    let mut gold = nic("hw", mac(1));
    if let NicSource::Network { portgroup, .. } = &mut gold.source {
        *portgroup = Some("gold".to_owned());
    }
    granted(world.ask(create(guest_with("web", vec![gold, nic("hw", mac(2))]))));
    assert_eq!(tags(&world), [20, 0]);
    world
}

fn tags(world: &World) -> [u16; 2] {
    [0, 1].map(|index| world.host.facts()[&vf(index)].vlan.id.get())
}

fn change(world: &World, vlan: u16) -> Request {
    let before = world.state().live_networks[&net("hw")].definition.network.clone();
    let after = update(&before, Command::Modify, Section::Portgroup, -1, &group(vlan));
    let live = Some(Edited { after: after.expect("a sound update"), before });
    let network = net("hw");
    Request::NetworkEdit(Box::new(NetworkEdit { network, live, config: None, metadata: None }))
}

fn told(world: &World) -> (usize, usize) {
    let count = |is: fn(&Announcement) -> bool| world.said.iter().filter(|it| is(it)).count();
    (
        count(|it| matches!(it, Announcement::VfSetAnew(..))),
        count(|it| matches!(it, Announcement::VfStaysAsSet(..))),
    )
}

#[test]
fn what_a_network_wishes_for_from_now_on_is_set_under_its_guests() {
    let mut world = running(Driver::Igb, 1);
    let leased = LeaseRequest {
        network: "hw".parse().expect("a name"),
        portgroup: Some("gold".to_owned()),
        mac: mac(3),
        lessee: Lessee {
            program: "testpmd".to_owned(),
            pid: 7,
            start_time: crate::leases::START,
            uid: 0,
            gid: 0,
        },
    };
    world.programs.insert(7);
    granted(world.ask(Request::Lease(Box::new(leased))));
    let change = change(&world, 30);
    granted(world.ask(change));
    assert_eq!(tags(&world), [30, 0]);
    assert_eq!(world.host.facts()[&vf(2)].vlan.id.get(), 30, "the program's too");
    assert_eq!(told(&world), (2, 0));
    world.look();
    world.settle();
    world.restart();
    world.settle();
    assert_eq!(tags(&world), [30, 0]);
    let put_back = |news: &Announcement| matches!(news, Announcement::VfRepaired(..));
    assert!(!world.said.iter().any(put_back), "nobody has typed anything");
    granted(world.ask(destroy("web")));
    assert_eq!(tags(&world), [0, 0]);
}

#[test]
fn what_would_reset_a_vf_under_its_guest_stays_until_it_is_lent_anew() {
    let mut world = running(Driver::Ice, 1);
    let change = change(&world, 30);
    granted(world.ask(change));
    world.look();
    world.settle();
    assert_eq!((tags(&world), told(&world)), ([20, 0], (0, 1)));
    granted(world.ask(destroy("web")));
    assert_eq!(tags(&world), [0, 0], "it goes back clean");
}

#[test]
fn what_the_kernel_refuses_stays_as_it_was() {
    let mut world = running(Driver::Igb, 1);
    world.host.fail(FaultPoint::every(OpKind::SetVlan), FaultKind::errno(Errno::IO));
    let change = change(&world, 30);
    granted(world.ask(change));
    world.host.clear_faults();
    assert_eq!((tags(&world), told(&world)), ([20, 0], (0, 1)));
    world.look();
    world.settle();
    assert!(world.state().claims.values().all(|claim| claim.drift.is_none()));
}

#[test]
fn a_daemon_killed_at_any_point_sets_it_or_leaves_it_and_goes_by_its_record() {
    let life = |world: &mut World| {
        let change = change(world, 30);
        world.begin(change);
        world.settle();
    };
    for death in deaths(running(Driver::Igb, 1), life) {
        let mut world = running(Driver::Igb, 1);
        world.die_at(death);
        life(&mut world);
        world.live_on();
        world.look();
        world.settle();
        let claims = world.state().claims.values();
        let wanted: Vec<_> = claims
            .filter_map(|claim| claim.wanted.as_ref()?.vlan.map(|vlan| vlan.id.get()))
            .collect();
        let [gold, other] = tags(&world);
        assert!([20, 30].contains(&gold) && other == 0, "{death:?}: {gold}, {other}");
        assert_eq!(wanted, [gold], "{death:?}");
    }
}

#[test]
fn what_no_driver_of_a_pool_can_do_is_refused_when_it_is_wished_for() {
    let host = |second: Driver| {
        let one = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(1).done();
        one.pf("ens2f0", PF2, second).vfs(1).build()
    };
    let wishes = "<portgroup name='gold'><vfnet:vf linkState='enable'/></portgroup>\
                  <vfnet:pool><vfnet:pf dev='ens2f0'/></vfnet:pool>";
    let asks = || network_of("hw", "<pf dev='ens1f0'/>", wishes);
    let mut world = World::new(host(Driver::Igb), 1);
    for asked in [define_network(asks()), Request::NetworkCreate(Box::new(asks()))] {
        let refused = refusal(world.ask(asked)).to_string();
        let says = "network 'hw', portgroup 'gold' wants what driver igb of PF ens1f0 \
                    (0000:01:00.0) does not set on VFs: link state";
        assert!(refused.contains(says), "{refused}");
    }
    granted(world.ask(define_network(network_of("hw", "<pf dev='ens1f0'/>", ""))));
    let before = world.state().networks[&net("hw")].definition.network.clone();
    let group = "<portgroup name='gold' xmlns:vfnet='urn:vfnet:network:1'>\
                 <vfnet:vf linkState='enable'/></portgroup>";
    if let Ok(after) = update(&before, Command::AddLast, Section::Portgroup, -1, group) {
        let config = Some(Edited { after, before });
        let edit = NetworkEdit { network: net("hw"), live: None, config, metadata: None };
        let refused = refusal(world.ask(Request::NetworkEdit(Box::new(edit)))).to_string();
        assert!(refused.contains("does not set on VFs: link state"), "{refused}");
    } else {
        panic!("a sound update");
    }

    // One of the cards can do it, or nobody knows the card yet.
    let mut world = World::new(host(Driver::Ixgbe), 1);
    granted(world.ask(define_network(asks())));
    let elsewhere = network_of("later", "<pf dev='ens9f0'/>", wishes);
    granted(world.ask(define_network(elsewhere)));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    let gold = |last| {
        let source = NicSource::Network {
            name: "hw".parse().expect("a name"),
            portgroup: Some("gold".to_owned()),
        };
        vfnet_engine::NicNeed { source, ..nic("hw", mac(last)) }
    };
    granted(world.ask(create(guest_with("web", vec![gold(1)]))));
    assert_eq!(vfs_of(&world, "web"), [pci("0000:05:10.0")]);
    let refused = refusal(world.ask(create(guest_with("second", vec![gold(2)])))).to_string();
    assert!(refused.contains("driver igb does not set link state on VFs"), "{refused}");
    granted(world.ask(create(guest_with("plain", vec![nic("hw", mac(3))]))));
}
