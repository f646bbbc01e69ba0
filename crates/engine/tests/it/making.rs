//! VFs that are made for a network, and whom the host's drivers leave alone meanwhile.

use rustix::io::Errno;
use vfnet_engine::{NetworkDefinition, Request};
use vfnet_host::Host;
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};

use crate::crashes::deaths;
use crate::scene::{
    PF, create, define_network, destroy, guest_with, igb, mac, net, network_of, nic, pci, vfs_of,
};
use crate::world::{World, granted, refusal};

fn made(attributes: &str) -> NetworkDefinition {
    let pf = format!("<vfnet:pool><vfnet:pf dev='ens1f0' vfs='3' {attributes}/></vfnet:pool>");
    network_of("hw", "", &pf)
}

fn with_defined(host: SimHost, attributes: &str) -> World {
    let mut world = World::new(host, 1);
    granted(world.ask(define_network(made(attributes))));
    world
}

fn start() -> Request {
    Request::NetworkStart(net("hw"))
}

/// The drivers of all VFs there are.
fn drivers(world: &World) -> Vec<Option<String>> {
    let facts = world.host.facts();
    facts.values().map(|vf| vf.driver.as_ref().map(ToString::to_string)).collect()
}

fn is_probed(world: &World) -> bool {
    world.host.inventory().expect("the host can be read").pfs[&pci(PF)].autoprobe
}

#[test]
fn no_driver_of_the_host_sees_a_vf_that_is_made_for_a_network() {
    let mut world = with_defined(igb(0), "");
    granted(world.ask(start()));
    assert_eq!(drivers(&world), [None, None, None]);
    assert!(is_probed(&world) && world.state().autoprobe_off.is_empty());

    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    let held = vfs_of(&world, "web");
    assert_eq!(world.host.facts()[&held[0]].driver.as_ref().expect("one").as_str(), "vfio-pci");
    granted(world.ask(destroy("web")));
    assert_eq!(drivers(&world), [None, None, None], "it goes back to no driver");
    assert!(world.state().claims.is_empty());
}

#[test]
fn a_network_may_ask_for_the_hosts_drivers() {
    let mut world = with_defined(igb(0), "autoprobe='yes'");
    granted(world.ask(start()));
    assert_eq!(drivers(&world), vec![Some("igbvf".to_owned()); 3]);
}

#[test]
fn a_pf_whose_vfs_have_no_drivers_anyway_stays_so() {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).autoprobe_off();
    let mut world = with_defined(host.build(), "");
    granted(world.ask(start()));
    assert_eq!(drivers(&world), [None, None, None]);
    assert!(!is_probed(&world) && world.state().autoprobe_off.is_empty());
}

#[test]
fn wherever_the_daemon_dies_drivers_are_looked_for_again() {
    let begin = |world: &mut World| {
        world.begin(start());
        world.settle();
    };
    for death in deaths(with_defined(igb(0), ""), 3, begin) {
        let mut world = with_defined(igb(0), "");
        world.story.push(format!("{death:?}"));
        world.die_at(death);
        begin(&mut world);
        world.live_on();
        world.restart();
        world.settle();
        world.look();
        world.settle();
        if !is_probed(&world) || !world.state().autoprobe_off.is_empty() {
            world.broken("the kernel looks for no drivers any more");
        }
        if !world.state().live_networks.contains_key(&net("hw")) {
            granted(world.ask(start()));
        }
        assert_eq!(drivers(&world), [None, None, None], "{death:?}");
    }
}

/// With hook scripts, what is decided after one has run goes on also where it cannot be recorded.
#[test]
fn drivers_are_looked_for_again_also_where_the_disk_was_full_when_the_hook_had_run() {
    let with_hooks = || {
        let mut world = World::new(igb(0), 2);
        assert!(world.hooks);
        granted(world.ask(define_network(made(""))));
        world
    };
    let begin = |world: &mut World| {
        world.begin(start());
        world.disk_full = true;
        world.settle();
    };
    for death in deaths(with_hooks(), 3, begin) {
        let mut world = with_hooks();
        world.story.push(format!("{death:?}"));
        world.die_at(death);
        begin(&mut world);
        world.live_on();
        world.disk_full = false;
        world.restart();
        world.settle();
        world.look();
        world.settle();
        if !is_probed(&world) || !world.state().autoprobe_off.is_empty() {
            world.broken("the kernel looks for no drivers any more");
        }
    }
}

#[test]
fn what_the_kernel_refuses_is_tried_again_at_the_next_look() {
    let mut world = with_defined(igb(0), "");
    let again = FaultPoint::next(OpKind::Autoprobe).after(1).times(2);
    world.host.fail(again, FaultKind::errno(Errno::IO));
    granted(world.ask(start()));
    assert!(!is_probed(&world) && !world.state().autoprobe_off.is_empty());
    world.look();
    world.settle();
    assert!(is_probed(&world) && world.state().autoprobe_off.is_empty());
}

#[test]
fn a_network_does_not_start_where_drivers_cannot_be_kept_away() {
    let mut world = with_defined(igb(0), "");
    world.host.fail(FaultPoint::next(OpKind::Autoprobe), FaultKind::errno(Errno::ACCESS));
    let refused = refusal(world.ask(start())).to_string();
    assert!(refused.contains("cannot start network 'hw'"), "{refused}");
    assert!(world.host.facts().is_empty() && world.state().autoprobe_off.is_empty());
}
