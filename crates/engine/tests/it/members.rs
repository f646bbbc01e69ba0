//! Pools of several PFs: named, chosen by what they are, and of part of their VFs.

use vfnet_engine::{ClaimState, Request};
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::PciAddress;
use vfnet_model::network::PfName;

use crate::scene::{
    PF, create, define_network, destroy, guest_with, mac, net, network_of, nic, pci, vfs_of,
};
use crate::world::{World, granted, refusal};

const THIRD: &str = "0000:09:00.0";

/// Two igb on node 0, and an ixgbe on node 1.
fn cards() -> SimHost {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(3).numa(0);
    let host = host.pf("ens2f0", "0000:05:00.0", Driver::Igb).vfs(3).numa(0);
    host.pf("ens3f0", THIRD, Driver::Ixgbe).vfs(3).numa(1).build()
}

fn pool_of(pfs: &str) -> vfnet_engine::NetworkDefinition {
    network_of("hw", "", &format!("<vfnet:pool>{pfs}</vfnet:pool>"))
}

fn with_pool(pfs: &str) -> World {
    let mut world = with_physical_networks(cards());
    granted(world.ask(define_network(pool_of(pfs))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    world
}

/// `blue` is on a card by name and on one by address.
fn with_physical_networks(host: SimHost) -> World {
    let mut world = World::new(host, 1);
    let name = |text: &str| PfName::try_from(text.to_owned()).expect("a PF's name");
    let blue = vec![name("ens1f0"), name(THIRD), name("ens9f9")];
    world.physical_networks.insert("blue".parse().expect("a name"), blue);
    world.restart();
    world.settle();
    world
}

fn pool(world: &World) -> Vec<PciAddress> {
    let state = world.state();
    state.pool(&state.live_networks[&net("hw")])
}

/// The pool as PFs and numbers of VFs: `1:0`.
fn shown(world: &World) -> String {
    let vfs = &world.state().inventory.vfs;
    let shown = |vf: &PciAddress| format!("{:x}:{}", vfs[vf].pf.bus(), vfs[vf].index);
    pool(world).iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[test]
fn pfs_are_named_by_interface_or_address_and_chosen_by_what_they_are() {
    for (pfs, expected) in [
        ("<vfnet:pf dev='ens3f0'/><vfnet:pf address='0000:01:00.0'/>", "9:0 9:1 9:2 1:0 1:1 1:2"),
        ("<vfnet:pf vendor='0x8086' device='0x10c9'/>", "1:0 1:1 1:2 5:0 5:1 5:2"),
        ("<vfnet:pf driver='ixgbe'/>", "9:0 9:1 9:2"),
        ("<vfnet:pf vendor='0x8086' numa='1'/>", "9:0 9:1 9:2"),
        ("<vfnet:pf physnet='blue'/>", "1:0 1:1 1:2 9:0 9:1 9:2"),
        ("<vfnet:pf physnet='blue' driver='igb'/>", "1:0 1:1 1:2"),
    ] {
        assert_eq!(shown(&with_pool(pfs)), expected, "{pfs}");
    }
}

#[test]
fn a_range_leaves_the_other_vfs_of_its_pf_out() {
    let world =
        with_pool("<vfnet:pf dev='ens1f0' vfRange='0,2-7'/><vfnet:pf numa='1' vfRange='1'/>");
    assert_eq!(shown(&world), "1:0 1:2 9:1");
}

#[test]
fn a_vf_that_several_elements_mean_is_in_the_pool_once() {
    let world = with_pool(
        "<vfnet:pf dev='ens1f0' vfRange='1-2'/><vfnet:pf numa='0'/><vfnet:pf driver='igb'/>",
    );
    assert_eq!(shown(&world), "1:1 1:2 1:0 5:0 5:1 5:2");
}

#[test]
fn a_daemon_that_starts_again_has_the_same_pool() {
    let mut world =
        with_pool("<vfnet:pf dev='ens1f0' vfRange='1'/><vfnet:pf physnet='blue' vfRange='2'/>");
    assert_eq!(shown(&world), "1:1 1:2 9:2");
    world.host.rename_pf(pci(PF), &"other".parse().expect("a name"));
    world.restart();
    world.settle();
    assert_eq!(
        shown(&world),
        "1:1 9:2",
        "what is named stays that PF, what is chosen is asked again"
    );
}

#[test]
fn a_choice_that_means_no_pf_is_a_warning_at_define_and_refused_at_start_with_what_there_is() {
    let mut world = with_physical_networks(cards());
    for (pfs, says) in [
        (
            "<vfnet:pf vendor='0x15b3' numa='0'/>",
            "no SR-IOV PF has vendor='0x15b3' numa='0'; this host has ens1f0 (0000:01:00.0) \
             8086:10c9, igb, NUMA node 0, physical network blue; ens2f0 (0000:05:00.0)",
        ),
        ("<vfnet:pf physnet='red'/>", "physical network 'red' is not configured (blue)"),
        ("<vfnet:pf address='0000:07:00.0'/>", "there is no SR-IOV PF '0000:07:00.0'"),
    ] {
        let vfnet_engine::Answer::Network { warnings, .. } =
            granted(world.ask(define_network(pool_of(pfs))))
        else {
            panic!("no network was defined")
        };
        assert!(warnings.iter().any(|warning| warning.contains(says)), "{warnings:?}");
        let refused = refusal(world.ask(Request::NetworkStart(net("hw")))).to_string();
        assert!(refused.contains("network 'hw': ") && refused.contains(says), "{refused}");
    }
}

#[test]
fn a_range_that_no_vf_is_in_is_refused_at_start_with_what_there_is() {
    let mut world = World::new(cards(), 1);
    granted(world.ask(define_network(pool_of("<vfnet:pf dev='ens1f0' vfRange='3-5'/>"))));
    let refused = refusal(world.ask(Request::NetworkStart(net("hw")))).to_string();
    assert!(refused.contains("ens1f0 (0000:01:00.0) has 3, none of them of 3-5"), "{refused}");
}

#[test]
fn one_pf_cannot_be_wanted_with_two_numbers_of_vfs() {
    let mut world = World::new(cards(), 1);
    let pfs = "<vfnet:pf dev='ens1f0' vfs='3'/><vfnet:pf driver='igb' vfs='2'/>";
    granted(world.ask(define_network(pool_of(pfs))));
    let refused = refusal(world.ask(Request::NetworkStart(net("hw")))).to_string();
    assert!(
        refused.contains("is to have 3 VFs without the host's drivers, and 2 VFs without"),
        "{refused}"
    );
}

#[test]
fn every_chosen_pf_makes_the_vfs_that_are_wanted_of_it() {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb);
    let host = host.pf("ens2f0", "0000:05:00.0", Driver::Igb).build();
    let mut world = World::new(host, 1);
    granted(world.ask(define_network(pool_of("<vfnet:pf driver='igb' vfs='2' vfRange='1'/>"))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    assert_eq!(shown(&world), "1:1 5:1");
    assert_eq!(world.state().inventory.vfs.len(), 4);
}

#[test]
fn a_chosen_card_that_goes_takes_its_vfs_along_and_one_that_comes_is_lent() {
    let mut world = with_pool("<vfnet:pf driver='igb' vfRange='0'/><vfnet:pf driver='ixgbe'/>");
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    let held = vfs_of(&world, "web");
    assert_eq!(world.state().inventory.vfs[&held[0]].pf, pci(PF));

    assert!(world.host.unplug_pf(pci(THIRD)), "nobody has its VFs");
    world.look();
    world.settle();
    assert_eq!(shown(&world), "1:0 5:0");

    world.host.plug_pf(pci(THIRD));
    world.host.make_vfs(pci(THIRD), 1).expect("the card makes one");
    world.host.advance(std::time::Duration::from_secs(10));
    world.look();
    world.settle();
    assert_eq!(shown(&world), "1:0 5:0 9:0", "a card that comes later is in the running pool");
    let claim = world.state().claims.values().next().expect("the guest's claim");
    assert!(matches!(claim.state, ClaimState::Held { .. }), "{:?}", claim.state);
    granted(world.ask(destroy("web")));
}
