//! Which VF a guest gets, and what it is told when it gets none.

use std::time::Duration;

use vfnet_engine::{NicNeed, NicSource, Owner, RefusalKind, Request};
use vfnet_host::Host as _;
use vfnet_host_sim::{Driver, OtherDevice, SimHost};
use vfnet_model::vf::{VfIndex, VfSetting};
use vfnet_model::{DriverName, PciAddress};

use crate::scene::{
    PF, create, define, define_network, destroy, device, guest, guest_with, igb, mac, net, network,
    nic, pci, start, vf, vfs_of, with_network,
};
use crate::world::{World, granted, refusal};

const SEVEN: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn one_nic(world: &mut World, name: &str, last: u8) -> vfnet_engine::Reply {
    world.ask(create(guest_with(name, vec![nic("hw", mac(last))])))
}

/// Refused, with nothing done to any VF; the words of it.
#[track_caller]
fn refused_untouched(world: &mut World, request: Request) -> String {
    let (facts, trace) = (world.host.facts(), world.host.trace().len());
    let refused = refusal(world.ask(request));
    assert_eq!(world.host.facts(), facts, "no VF has changed");
    assert_eq!(world.host.trace().len(), trace, "nothing was written to the kernel");
    refused.to_string()
}

#[test]
fn seven_guests_take_seven_vfs_and_the_eighth_hears_why_of_each() {
    let mut world = with_network(igb(7));
    for (name, last) in SEVEN.iter().zip(1..) {
        granted(one_nic(&mut world, name, last));
    }
    let refused = refusal(one_nic(&mut world, "h", 8));
    assert_eq!(refused.kind, RefusalKind::Exhausted);
    let reasons: Vec<_> = refused.vfs.iter().map(|why| (why.vf, why.reason.clone())).collect();
    let expected: Vec<_> = (0..7)
        .map(|index| (vf(index), format!("held by guest {}", SEVEN[usize::from(index)])))
        .collect();
    assert_eq!(reasons, expected);

    granted(world.ask(Request::GuestDestroy(guest("c"))));
    granted(one_nic(&mut world, "h", 8));
    assert_eq!(vfs_of(&world, "h"), [vf(2)]);
}

#[test]
fn a_mac_is_one_guests_on_a_pf_and_vlan_and_a_clash_names_the_holder() {
    let mut world = with_network(igb(7));
    granted(world.ask(define_network(network("tagged", "ens1f0", 42))));
    granted(world.ask(Request::NetworkStart(net("tagged"))));
    granted(one_nic(&mut world, "first", 1));

    let clash = create(guest_with("second", vec![nic("hw", mac(1))]));
    let words = refused_untouched(&mut world, clash);
    assert!(words.contains("cannot have MAC 52:54:00:00:00:01"), "{words}");
    assert!(words.contains("guest first has it on 0000:01:10.0"), "{words}");

    granted(world.ask(create(guest_with("other-vlan", vec![nic("tagged", mac(1))]))));
}

#[test]
fn a_mac_that_somebody_else_has_set_at_the_pf_is_not_given_to_a_second_vf() {
    let host = igb(2);
    host.set_vf(pci(PF), VfIndex(1), VfSetting::Mac(mac(1))).expect("the card takes it");
    // Its driver has taken it.
    host.unbind(vf(1), Duration::ZERO).expect("nobody has it");
    host.probe(vf(1), Duration::ZERO).expect("its driver is there");
    let mut world = with_network(host);
    granted(world.ask(define_network(network("tagged", "ens1f0", 42))));
    granted(world.ask(Request::NetworkStart(net("tagged"))));
    // The one that has it already may be lent.
    granted(one_nic(&mut world, "first", 1));
    assert_eq!(vfs_of(&world, "first"), [vf(1)]);
    granted(world.ask(Request::GuestDestroy(guest("first"))));

    world.host.change_netdev(vf(1), |dev| dev.routes = vec!["198.51.100.0/24".into()]);
    let second = create(guest_with("second", vec![nic("hw", mac(1))]));
    let words = refused_untouched(&mut world, second);
    assert!(words.contains("it is set on 0000:01:10.2 (host uses ens1f0v1: route"), "{words}");

    granted(world.ask(create(guest_with("other-vlan", vec![nic("tagged", mac(1))]))));
    assert_eq!(vfs_of(&world, "other-vlan"), [vf(0)]);
}

#[test]
fn equal_macs_within_a_guest_are_for_teaming_pairs() {
    let pair = |teaming| {
        let one = vfnet_engine::NicNeed { teaming, ..nic("hw", mac(1)) };
        create(guest_with("web", vec![one.clone(), one]))
    };
    let mut world = with_network(igb(4));
    let words = refused_untouched(&mut world, pair(false));
    assert!(words.contains("cannot have MAC"), "{words}");
    granted(world.ask(pair(true)));
    assert_eq!(vfs_of(&world, "web").len(), 2);
}

#[test]
fn what_the_host_uses_is_not_lent_and_a_link_local_address_is_no_use() {
    let mut world = with_network(igb(6));
    let host = world.host.clone();
    host.change_netdev(vf(0), |dev| dev.addresses = vec!["192.0.2.1".into()]);
    host.change_netdev(vf(1), |dev| dev.routes = vec!["198.51.100.0/24".into()]);
    host.change_netdev(vf(2), |dev| dev.master = Some("br0".parse().expect("a name")));
    host.change_netdev(vf(3), |dev| dev.uppers = vec!["macvtap0".parse().expect("a name")]);
    host.change_netdev(vf(4), |dev| dev.elsewhere = true);
    host.change_netdev(vf(5), |dev| dev.addresses = vec!["fe80::1".into()]);
    granted(one_nic(&mut world, "web", 1));
    assert_eq!(vfs_of(&world, "web"), [vf(5)]);

    let second = create(guest_with("second", vec![nic("hw", mac(2))]));
    let words = refused_untouched(&mut world, second);
    for reason in [
        "ens1f0v0: it has the address 192.0.2.1",
        "ens1f0v1: route 198.51.100.0/24",
        "ens1f0v2: it belongs to br0",
        "ens1f0v3: macvtap0 is made on top of it",
        "bound to igbvf, but its netdev is not here",
        "held by guest web",
    ] {
        assert!(words.contains(reason), "{reason} is missing in: {words}");
    }
}

#[test]
fn a_host_that_cannot_lend_says_what_to_do_and_stays_as_it_is() {
    let card =
        |builder: vfnet_host_sim::HostBuilder| builder.pf("ens1f0", PF, Driver::Igb).vfs(2).build();
    let hosts = [
        (card(SimHost::builder().no_iommu()), "intel_iommu=on"),
        (card(SimHost::builder().no_vfio()), "install the kernel's module package"),
        (
            SimHost::builder().pf("ens1f0", PF, Driver::Igb).vfs(2).down().build(),
            "ip link set ens1f0 up",
        ),
    ];
    for (host, remedy) in hosts {
        let mut world = with_network(host);
        let asked = create(guest_with("web", vec![nic("hw", mac(1))]));
        let words = refused_untouched(&mut world, asked);
        assert!(words.contains(remedy), "{remedy} is missing in: {words}");
        assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
    }
}

#[test]
fn a_network_without_vfs_does_not_start_and_says_how_to_make_some() {
    let mut world = World::new(igb(0), 1);
    granted(world.ask(define_network(network("hw", "ens1f0", 0))));
    let words = refused_untouched(&mut world, Request::NetworkStart(net("hw")));
    assert!(words.contains("ens1f0 (0000:01:00.0) has none"), "{words}");
    assert!(words.contains("<vfnet:pf vfs='N'/>"), "{words}");
}

/// Two VFs a group, all without a driver, and `beside` in the first group.
fn pairs(beside: Option<OtherDevice>) -> SimHost {
    let pf = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(4);
    let pf = pf.groups_of(2).autoprobe_off();
    match beside {
        Some(device) => pf.beside(0, device).build(),
        None => pf.build(),
    }
}

#[test]
fn a_group_goes_to_one_owner_whole() {
    let mut world = with_network(pairs(None));
    granted(one_nic(&mut world, "first", 1));
    granted(one_nic(&mut world, "second", 2));
    assert_eq!(vfs_of(&world, "first"), [vf(0)]);
    assert_eq!(vfs_of(&world, "second"), [vf(2)], "the rest of the first group is not lent");

    let third = create(guest_with("third", vec![nic("hw", mac(3))]));
    let words = refused_untouched(&mut world, third);
    let shared = "0000:01:10.2 shares IOMMU group 1 with 0000:01:10.0, held by guest first";
    assert!(words.contains(shared), "{words}");

    granted(world.ask(Request::GuestDestroy(guest("first"))));
    let both = vec![nic("hw", mac(4)), nic("hw", mac(5))];
    granted(world.ask(create(guest_with("both", both))));
    assert_eq!(vfs_of(&world, "both"), [vf(0), vf(1)]);
    granted(world.ask(Request::GuestDestroy(guest("both"))));
}

#[test]
fn a_group_with_a_device_at_work_for_the_host_is_not_lent() {
    let other = |driver: Option<&str>, bridge| OtherDevice {
        address: pci("0000:01:1f.0"),
        driver: driver.map(|name| name.parse::<DriverName>().expect("a driver name")),
        bridge,
    };
    let first = |device: OtherDevice| -> Option<PciAddress> {
        let mut world = with_network(pairs(Some(device)));
        granted(one_nic(&mut world, "web", 1));
        vfs_of(&world, "web").first().copied()
    };
    assert_eq!(first(other(Some("nvme"), false)), Some(vf(2)), "the host drives a member");
    assert_eq!(first(other(None, false)), Some(vf(0)), "unbound");
    assert_eq!(first(other(Some("vfio-pci"), false)), Some(vf(0)), "on vfio");
    assert_eq!(first(other(Some("pcieport"), true)), Some(vf(0)), "bridges do not count");

    let mut world = with_network(pairs(Some(other(Some("nvme"), false))));
    let named = vfnet_engine::GuestDefinition {
        hostdevs: vec![device(vf(0))],
        ..guest_with("web", vec![])
    };
    let words = refused_untouched(&mut world, create(named));
    assert!(words.contains("with 0000:01:1f.0, which the host drives with nvme"), "{words}");
}

#[test]
fn a_vf_is_lent_once_over_networks_and_hostdevs_together() {
    let mut world = with_network(igb(2));
    granted(world.ask(define_network(network("again", "ens1f0", 7))));
    granted(world.ask(Request::NetworkStart(net("again"))));
    let named = vfnet_engine::GuestDefinition {
        hostdevs: vec![device(vf(0))],
        ..guest_with("named", vec![])
    };
    granted(world.ask(create(named.clone())));
    granted(one_nic(&mut world, "web", 1));
    assert_eq!(vfs_of(&world, "web"), [vf(1)]);
    let third = create(guest_with("third", vec![nic("again", mac(3))]));
    let words = refused_untouched(&mut world, third);
    assert!(words.contains("held by guest named") && words.contains("held by guest web"));
    let twice = vfnet_engine::GuestDefinition { hostdevs: vec![device(vf(1))], ..named };
    let twice = vfnet_engine::GuestDefinition {
        uuid: guest("twice"),
        name: "twice".parse().expect("a guest's name"),
        ..twice
    };
    let words = refused_untouched(&mut world, create(twice));
    assert!(words.contains("held by guest web"), "{words}");
}

#[test]
fn a_guest_of_two_nics_gets_both_or_none() {
    let mut world = with_network(igb(1));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1)), nic("hw", mac(2))]))));
    let words = refused_untouched(&mut world, start("web"));
    assert!(words.contains("being prepared for guest web"), "{words}");
    assert!(world.state().claims.is_empty());
    assert!(refused_untouched(&mut world, destroy("web")).contains("is not running"));
}

#[test]
fn a_claim_says_whose_it_is_by_name_and_place() {
    let mut world = with_network(igb(2));
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1)), nic("hw", mac(2))]))));
    let owners: Vec<_> = world.state().claims.values().map(|claim| claim.owner.clone()).collect();
    let name = || "web".parse().expect("a guest's name");
    let nic = |nic| Owner::Nic { guest: guest("web"), name: name(), nic };
    assert_eq!(owners, [nic(0), nic(1)]);
}

#[test]
fn an_unmanaged_network_lends_what_is_on_vfio_already_and_leaves_it_there() {
    let mut world = World::new(igb(2), 1);
    let mut unmanaged = network("hw", "ens1f0", 42);
    if let vfnet_model::network::Forward::Hostdev(pool) = &mut unmanaged.network.forward {
        pool.managed = false;
    }
    granted(world.ask(define_network(unmanaged)));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    let words = refused_untouched(&mut world, create(guest_with("web", vec![nic("hw", mac(1))])));
    assert!(words.contains("0000:01:10.0 is on igbvf, and with managed='no'"), "{words}");

    crate::outside::take(&world.host, vf(1), mac(9));
    world.clean.clear();
    world.remember_clean_vfs();
    // What somebody left as its MAC is not what it is given back with.
    world.leave_over(vf(1));
    granted(one_nic(&mut world, "web", 1));
    let facts = |world: &World| world.host.facts()[&vf(1)].clone();
    assert_eq!((facts(&world).admin_mac, facts(&world).vlan.id.get()), (mac(1), 42));
    granted(world.ask(destroy("web")));
    let vfio: DriverName = "vfio-pci".parse().expect("a driver name");
    assert_eq!((facts(&world).driver, facts(&world).vlan.id.get()), (Some(vfio), 0));
    assert_ne!(facts(&world).admin_mac, mac(1));
}

#[test]
fn a_nics_own_tag_comes_before_its_portgroups_and_that_before_the_networks() {
    let mut world = World::new(igb(3), 1);
    let after = "<vlan><tag id='10'/></vlan>\
                 <portgroup name='gold'><vlan><tag id='20'/></vlan></portgroup>";
    let def = crate::scene::network_of("hw", "<pf dev='ens1f0'/>", after);
    granted(world.ask(define_network(def)));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    let of = |portgroup: Option<&str>, tag: Option<u16>, last| NicNeed {
        source: NicSource::Network {
            name: "hw".parse().expect("a network's name"),
            portgroup: portgroup.map(str::to_owned),
        },
        vlan: tag.map(|tag| tag.try_into().expect("a VLAN identifier")),
        ..nic("hw", mac(last))
    };
    let nics = vec![of(None, None, 1), of(Some("gold"), None, 2), of(Some("gold"), Some(30), 3)];
    granted(world.ask(create(guest_with("web", nics))));
    let facts = world.host.facts();
    let tags: Vec<_> = (0..3).map(|index| facts[&vf(index)].vlan.id.get()).collect();
    assert_eq!(tags, [10, 20, 30]);

    let unknown = create(guest_with("next", vec![of(Some("lead"), None, 4)]));
    let words = refused_untouched(&mut world, unknown);
    assert!(words.contains("network 'hw' has no portgroup 'lead'"), "{words}");
}

#[test]
fn a_vf_gets_what_its_network_and_portgroup_ask_for_besides_mac_and_tag() {
    let mut world = World::new(igb(3), 1);
    let after = "<vlan><tag id='10'/></vlan>\
                 <portgroup name='gold'><vfnet:vf qos='5'/></portgroup>\
                 <vfnet:pool><vfnet:vf trust='yes' spoofchk='no' qos='3' maxRate='100'/>\
                 </vfnet:pool>";
    let def = crate::scene::network_of("hw", "<pf dev='ens1f0'/>", after);
    granted(world.ask(define_network(def)));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    let gold = NicNeed {
        source: NicSource::Network {
            name: "hw".parse().expect("a network's name"),
            portgroup: Some("gold".to_owned()),
        },
        ..nic("hw", mac(2))
    };
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1)), gold]))));
    let facts = world.host.facts();
    for (index, qos) in [(0, 3), (1, 5)] {
        let vf = &facts[&vf(index)];
        assert_eq!((vf.vlan.id.get(), vf.vlan.qos), (10, qos));
        assert_eq!((vf.trust, vf.spoofchk, vf.rate), (true, false, (0, 100)));
    }
}
