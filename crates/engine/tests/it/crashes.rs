//! The daemon is killed at every point of a guest's life, and nothing is lost or lent twice.

use vfnet_engine::{Key, Request};

use crate::deep;
use crate::scene::{
    create, define, define_network, destroy, guest, guest_with, igb, mac, net, network_of, nic,
    port, seeded, start, start_for_its_client, vf, vfs_of, with_network,
};
use crate::world::{Death, World, granted};

/// A guest with two NICs on the way up and down again, as far as the daemon lives.
fn life(world: &mut World) {
    world.begin(start("web"));
    world.settle();
    world.begin(destroy("web"));
    world.settle();
}

fn ready(seed: u64, dies_too: bool) -> World {
    let mut world = seeded(igb(4), seed);
    let nics = vec![nic("hw", mac(1)), nic("hw", mac(2))];
    granted(world.ask(define(guest_with("web", nics))));
    world.guests_die_with_the_daemon = dies_too;
    world
}

/// After whatever happened, the guest can be ended, everything is as it was, and it starts again.
fn all_is_well_in_the_end(world: &mut World) {
    if world.processes.contains_key(&guest("web")) {
        granted(world.ask(destroy("web")));
    }
    assert_nothing_is_lent(world);
    granted(world.ask(start("web")));
    assert_eq!(vfs_of(world, "web").len(), 2);
    granted(world.ask(destroy("web")));
    assert_nothing_is_lent(world);
}

fn assert_nothing_is_lent(world: &World) {
    if let Some(claim) = world.state().claims.values().next() {
        world.broken(&format!("{} is left over: {claim:?}", claim.vf));
    }
}

/// Every place to die in a run of `life` that is not interrupted.
pub(crate) fn deaths(mut world: World, least: usize, life: impl Fn(&mut World)) -> Vec<Death> {
    let (points, writes) = world.passed();
    life(&mut world);
    let (points, writes) = (world.passed().0 - points, world.passed().1 - writes);
    assert!(points > least && writes > 1, "a life has {points} points and {writes} writes");
    (1..=points)
        .map(Death::Point)
        .chain((1..=writes).flat_map(|n| [Death::BeforeWrite(n), Death::AfterWrite(n)]))
        .collect()
}

fn seeds() -> std::ops::Range<u64> {
    0..if deep() { 40 } else { 2 }
}

#[test]
fn a_guest_that_lives_on_keeps_its_vfs_wherever_the_daemon_dies() {
    for seed in seeds() {
        for death in deaths(ready(seed, false), 20, life) {
            let mut world = ready(seed, false);
            world.story.push(format!("seed {seed}, {death:?}"));
            world.die_at(death);
            life(&mut world);
            all_is_well_in_the_end(&mut world);
        }
    }
}

#[test]
fn a_destroy_that_is_on_record_is_gone_on_with_by_the_next_daemon() {
    for seed in seeds() {
        let mut world = ready(seed, false);
        granted(world.ask(start("web")));
        world.begin(destroy("web"));
        world.restart();
        world.settle();
        assert!(!world.processes.contains_key(&guest("web")), "{:?}", world.story);
        assert_nothing_is_lent(&world);
    }
}

#[test]
fn a_guest_that_ends_with_its_client_ends_with_the_daemon_wherever_that_dies() {
    let lives = |world: &mut World| {
        world.begin(start_for_its_client("web"));
        world.settle();
    };
    for seed in seeds() {
        for death in deaths(ready(seed, false), 10, lives) {
            let mut world = ready(seed, false);
            world.story.push(format!("seed {seed}, {death:?}"));
            world.die_at(death);
            lives(&mut world);
            world.restart();
            world.settle();
            if world.processes.contains_key(&guest("web")) {
                world.broken("it runs without its client");
            }
            all_is_well_in_the_end(&mut world);
        }
    }
}

#[test]
fn what_a_guest_leaves_that_died_with_the_daemon_is_given_back() {
    for seed in seeds() {
        for death in deaths(ready(seed, true), 20, life) {
            let mut world = ready(seed, true);
            world.story.push(format!("seed {seed}, {death:?}, guests die too"));
            world.die_at(death);
            life(&mut world);
            world.guests_die_with_the_daemon = false;
            all_is_well_in_the_end(&mut world);
        }
    }
}

#[test]
fn no_vf_stays_with_a_guest_that_is_neither_alive_nor_on_record() {
    for gone in [false, true] {
        let mut world = with_network(igb(1));
        granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
        if gone {
            world.host.remove_vf(vf(0));
            world.look();
        }
        // Its row cannot be read, and its process ends before the next daemon comes.
        world.durable.retain(|key, _| !matches!(key, Key::Run(_)));
        world.processes.clear();
        world.host.close_vfio(vf(0));
        world.restart();
        world.settle();
        assert!(world.state().claims.is_empty(), "{:?}", world.state().claims);
    }
}

#[test]
fn a_daemon_that_dies_again_while_it_recovers_recovers_in_the_end() {
    // Where the first one dies: with one VF ready and one not, or in the middle of giving back.
    let deaths = deaths(ready(1, true), 20, life);
    let first = if deep() { deaths } else { deaths.into_iter().step_by(5).collect() };
    for death in first {
        for again in 1.. {
            let mut world = ready(1, true);
            world.die_at(death);
            world.begin(start("web"));
            while world.step() {}
            world.begin(destroy("web"));
            while world.step() {}
            world.die_at(Death::Point(again));
            let before = world.passed().0;
            world.restart();
            world.settle();
            let lived = world.passed().0 - before < again;
            all_is_well_in_the_end(&mut world);
            if lived {
                break;
            }
        }
    }
}

fn its_port() -> vfnet_engine::PortRequest {
    port("hw", 7, mac(1))
}

/// Another daemon has a port made for its guest, and uses its VF. It asks again where it was not
/// answered, with the UUID that is its own.
fn port_is_made(world: &mut World) {
    world.begin(Request::PortCreate(Box::new(its_port())));
    world.settle();
    if world.state().port(net("hw"), its_port().port).is_none() {
        granted(world.ask(Request::PortCreate(Box::new(its_port()))));
    }
}

fn port_is_deleted(world: &mut World) {
    let delete = || Request::PortDelete { network: net("hw"), port: its_port().port };
    world.begin(delete());
    world.settle();
    if world.state().port(net("hw"), its_port().port).is_some() {
        granted(world.ask(delete()));
    }
}

fn its_guest_takes_it(world: &mut World) {
    let vf = world.state().port(net("hw"), its_port().port).expect("it is there").vf;
    crate::outside::take(&world.host, vf, mac(1));
}

/// A host whose network wishes what stock libvirt cannot set.
fn wishing(seed: u64) -> World {
    let wishes = "<vfnet:pool><vfnet:vf trust='yes' spoofchk='no'/></vfnet:pool>";
    let mut world = World::new(igb(2), seed);
    granted(world.ask(define_network(network_of("hw", "<pf dev='ens1f0'/>", wishes))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    world
}

#[test]
fn a_port_of_another_daemon_is_made_or_not_wherever_the_daemon_dies() {
    for seed in seeds() {
        for death in deaths(wishing(seed), 5, port_is_made) {
            let mut world = wishing(seed);
            world.story.push(format!("seed {seed}, {death:?}"));
            world.die_at(death);
            port_is_made(&mut world);
            world.live_on();
            assert_eq!(world.state().claims.len(), 1, "one VF is lent, and one only");
            its_guest_takes_it(&mut world);
            port_is_deleted(&mut world);
            assert_nothing_is_lent(&world);
        }
    }
}

#[test]
fn a_port_of_another_daemon_is_given_back_wherever_the_daemon_dies() {
    let lent = |seed| {
        let mut world = wishing(seed);
        port_is_made(&mut world);
        its_guest_takes_it(&mut world);
        world
    };
    for seed in seeds() {
        for death in deaths(lent(seed), 6, port_is_deleted) {
            let mut world = lent(seed);
            world.story.push(format!("seed {seed}, {death:?}"));
            world.die_at(death);
            port_is_deleted(&mut world);
            world.live_on();
            assert_nothing_is_lent(&world);
        }
    }
}

#[test]
fn a_guest_that_is_not_kept_can_be_ended_wherever_the_daemon_dies() {
    let life = |world: &mut World| {
        let nics = vec![nic("hw", mac(3)), nic("hw", mac(4))];
        world.begin(create(guest_with("once", nics)));
        world.settle();
        world.begin(destroy("once"));
        world.settle();
    };
    for death in deaths(ready(1, false), 20, life) {
        let mut world = ready(1, false);
        world.story.push(format!("{death:?}"));
        world.die_at(death);
        life(&mut world);
        if world.processes.contains_key(&guest("once")) {
            granted(world.ask(destroy("once")));
        }
        assert!(world.state().guest(guest("once")).is_none(), "it is not kept");
        all_is_well_in_the_end(&mut world);
    }
}
