//! Devices that come and go while their guest runs: wherever the daemon dies, either the device
//! is in the guest and its VF held, or neither.

use rustix::io::Errno;
use vfnet_engine::{
    Announcement, Answer, Attach, ClaimState, Detach, Device, Ended, GuestDefinition, GuestEdit,
    Input, PlugState, RefusalKind, Request,
};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};
use vfnet_model::PciAddress;

use crate::scene::{
    define, destroy, device, guest, guest_with, igb, mac, nic, seeded, start, vf, vfs_of,
};
use crate::world::{Death, LetGo, World, granted, refusal};

const ALIAS: &str = "hostdev7";

/// A guest with one NIC that runs, on a host with VFs to spare.
fn running(seed: u64) -> World {
    let mut world = seeded(igb(4), seed);
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(start("web")));
    world
}

fn attach_a_nic() -> Request {
    let device = Device::Nic(0, nic("hw", mac(2)));
    let document = "<interface/>".to_owned();
    let alias = ALIAS.to_owned();
    Request::GuestAttach(Box::new(Attach {
        guest: guest("web"),
        alias,
        device,
        document,
        config: None,
    }))
}

fn detach(alias: &str) -> Request {
    let from_start =
        (alias != ALIAS).then(|| (Device::Nic(0, nic("hw", mac(1))), "<interface/>".to_owned()));
    let alias = alias.to_owned();
    Request::GuestDetach(Box::new(Detach { guest: guest("web"), alias, from_start, config: None }))
}

fn plug(world: &World, alias: &str) -> Option<PlugState> {
    world.state().runs.get(&guest("web"))?.plugs.get(alias).map(|plug| plug.state)
}

/// The VFs that are held for the guest, by claim.
fn held(world: &World) -> Vec<PciAddress> {
    world.state().claims_of(guest("web")).map(|claim| claim.vf).collect()
}

/// What Done means: in the guest and held, or neither.
fn in_the_guest_and_held_or_neither(world: &World, alias: &str) {
    let (has, held) = (vfs_of(world, "web"), held(world));
    assert_eq!(has, held, "{:?}", world.story);
    let plugged = world.processes[&guest("web")].plugged.contains_key(alias);
    let known = plug(world, alias).is_some_and(|state| state != PlugState::Gone);
    assert_eq!(plugged, known, "{:?}", world.story);
}

#[test]
fn an_attached_vf_is_held_and_in_the_guest_and_goes_back_when_it_is_detached() {
    let mut world = running(1);
    assert_eq!(granted(world.ask(attach_a_nic())), Answer::Done);
    assert_eq!(vfs_of(&world, "web"), [vf(0), vf(1)]);
    assert_eq!(world.host.facts()[&vf(1)].admin_mac, mac(2));
    assert_eq!(plug(&world, ALIAS), Some(PlugState::Plugged));
    assert_eq!(granted(world.ask(detach(ALIAS))), Answer::Done);
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
    assert_eq!((plug(&world, ALIAS), held(&world)), (None, vec![vf(0)]));
    let told = |news: &Announcement| matches!(news, Announcement::DeviceAdded(.., alias) | Announcement::DeviceRemoved(.., alias) if alias == ALIAS);
    assert_eq!(world.said.iter().filter(|news| told(news)).count(), 2);
}

#[test]
fn a_vf_that_the_guest_was_started_with_can_go_and_another_one_come() {
    let mut world = running(1);
    granted(world.ask(detach("hostdev0")));
    assert_eq!((vfs_of(&world, "web"), held(&world)), (Vec::new(), Vec::new()));
    assert_eq!(plug(&world, "hostdev0"), Some(PlugState::Gone));
    granted(world.ask(attach_a_nic()));
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
    // After a restart it is still not there.
    world.restart();
    world.settle();
    assert_eq!(plug(&world, "hostdev0"), Some(PlugState::Gone));
    in_the_guest_and_held_or_neither(&world, ALIAS);
    granted(world.ask(destroy("web")));
}

#[test]
fn a_guest_that_does_not_answer_keeps_its_device_and_can_be_asked_again() {
    let mut world = running(1);
    granted(world.ask(attach_a_nic()));
    world.asked_to_let_go = LetGo::Silent;
    granted(world.ask(detach(ALIAS)));
    assert!(matches!(world.said.last(), Some(Announcement::DeviceStays(..))));
    assert_eq!(plug(&world, ALIAS), Some(PlugState::Unplugging));
    assert_eq!(vfs_of(&world, "web").len(), 2);
    world.restart();
    world.settle();
    assert_eq!(plug(&world, ALIAS), Some(PlugState::Unplugging));
    world.asked_to_let_go = LetGo::AtOnce;
    granted(world.ask(detach(ALIAS)));
    assert_eq!((plug(&world, ALIAS), held(&world)), (None, vec![vf(0)]));
}

#[test]
fn a_device_that_a_guest_lets_go_of_later_goes_back_then() {
    let mut world = running(1);
    granted(world.ask(attach_a_nic()));
    world.asked_to_let_go = LetGo::Silent;
    granted(world.ask(detach(ALIAS)));
    world.lets_go(guest("web"), ALIAS);
    let gone = Input::DeviceGone { guest: guest("web"), alias: ALIAS.to_owned(), from_start: None };
    world.hears(gone);
    world.settle();
    assert_eq!((plug(&world, ALIAS), held(&world)), (None, vec![vf(0)]));
}

#[test]
fn a_guest_that_says_no_keeps_its_device_and_whoever_asked_hears_that() {
    let mut world = running(1);
    granted(world.ask(attach_a_nic()));
    world.asked_to_let_go = LetGo::Never;
    let said = refusal(world.ask(detach(ALIAS)));
    assert!(said.message.contains("the guest says no"), "{said}");
    assert_eq!(plug(&world, ALIAS), Some(PlugState::Plugged));
    in_the_guest_and_held_or_neither(&world, ALIAS);
}

#[test]
fn what_cannot_be_attached_leaves_nothing() {
    let mut world = running(1);
    let attach = |device| {
        let (alias, document) = (ALIAS.to_owned(), String::new());
        let attach = Attach { guest: guest("web"), alias, device, document, config: None };
        Request::GuestAttach(Box::new(attach))
    };
    // The VF that the guest has already.
    let said = refusal(world.ask(attach(Device::Hostdev(0, device(vf(0))))));
    assert_eq!(said.kind, RefusalKind::Exhausted);
    let said = refusal(world.ask(attach(Device::Nic(0, nic("none", mac(2))))));
    assert_eq!(said.kind, RefusalKind::NoNetwork);
    assert_eq!((plug(&world, ALIAS), held(&world)), (None, vec![vf(0)]));
    // A VF that fails on the way.
    world.host.fail(FaultPoint::next(OpKind::SetMac), FaultKind::errno(Errno::IO));
    refusal(world.ask(attach_a_nic()));
    assert_eq!((plug(&world, ALIAS), held(&world)), (None, vec![vf(0)]));
    let runs = world.state().runs[&guest("web")].phase;
    assert_eq!(runs, vfnet_engine::Phase::Running, "the guest has not noticed");
    granted(world.ask(attach_a_nic()));
}

#[test]
fn a_guest_that_is_off_gets_no_device() {
    let mut world = running(1);
    granted(world.ask(destroy("web")));
    let said = refusal(world.ask(attach_a_nic()));
    assert_eq!(said.message, "guest 'web' is not running");
}

#[test]
fn the_kept_document_is_changed_when_the_guest_has_the_device() {
    let mut world = running(1);
    let before = world.state().guests[&guest("web")].definition.clone();
    let after = guest_with("web", vec![nic("hw", mac(1)), nic("hw", mac(2))]);
    let with = |before: String| {
        let Request::GuestAttach(mut attach) = attach_a_nic() else { unreachable!() };
        attach.config = Some(GuestEdit { before, after: after.clone() });
        Request::GuestAttach(attach)
    };
    let said = refusal(world.ask(with("<domain/>".to_owned())));
    assert_eq!(said.kind, RefusalKind::ChangedMeanwhile);
    granted(world.ask(with(before.xml)));
    assert_eq!(world.state().guests[&guest("web")].definition, after);
    assert_eq!(vfs_of(&world, "web").len(), 2);
}

#[test]
fn a_kept_document_that_changes_amid_an_attach_is_all_that_is_left_to_do() {
    let mut world = running(1);
    let before = world.state().guests[&guest("web")].definition.clone();
    let after = guest_with("web", vec![nic("hw", mac(1)), nic("hw", mac(2))]);
    let Request::GuestAttach(mut attach) = attach_a_nic() else { unreachable!() };
    attach.config = Some(GuestEdit { before: before.xml.clone(), after });
    let ticket = world.begin(Request::GuestAttach(attach));
    world.step();
    let other = GuestDefinition { xml: "<domain edited='yes'/>".to_owned(), ..before };
    granted(world.ask(define(other.clone())));
    world.settle();
    let said = refusal(world.replies.remove(&ticket).expect("an answer"));
    assert_eq!(said.kind, RefusalKind::KeptChangedMeanwhile);
    assert_eq!(world.state().guests[&guest("web")].definition, other);
    assert_eq!(vfs_of(&world, "web").len(), 2);
}

#[test]
fn a_guest_that_ends_amid_an_attach_gives_everything_back_and_whoever_asked_hears_of_it() {
    for steps in 0..6 {
        let mut world = running(1);
        let ticket = world.begin(attach_a_nic());
        for _ in 0..steps {
            world.step();
        }
        world.guest_ends(guest("web"), Ended::PoweredOff);
        world.settle();
        assert!(world.replies.contains_key(&ticket));
        assert_eq!(world.state().claims.len(), 0, "{:?}", world.story);
    }
}

/// Every place to die in `life`.
pub(crate) fn deaths(mut world: World, life: impl Fn(&mut World)) -> Vec<Death> {
    let (points, writes) = world.passed();
    life(&mut world);
    let (points, writes) = (world.passed().0 - points, world.passed().1 - writes);
    assert!(points > 4, "it has {points} points");
    (1..=points)
        .map(Death::Point)
        .chain((1..=writes).flat_map(|n| [Death::BeforeWrite(n), Death::AfterWrite(n)]))
        .collect()
}

#[test]
fn wherever_the_daemon_dies_an_attached_vf_is_in_the_guest_and_held_or_neither() {
    let life = |world: &mut World| {
        world.begin(attach_a_nic());
        world.settle();
    };
    for seed in 0..4 {
        for death in deaths(running(seed), life) {
            let mut world = running(seed);
            world.story.push(format!("seed {seed}, {death:?}"));
            world.die_at(death);
            life(&mut world);
            world.live_on();
            in_the_guest_and_held_or_neither(&world, ALIAS);
            if plug(&world, ALIAS).is_none() {
                granted(world.ask(attach_a_nic()));
            }
            assert_eq!(vfs_of(&world, "web").len(), 2);
            granted(world.ask(destroy("web")));
            assert!(world.state().claims.is_empty());
        }
    }
}

#[test]
fn wherever_the_daemon_dies_a_detached_vf_is_in_the_guest_and_held_or_neither() {
    for alias in [ALIAS, "hostdev0"] {
        let life = |world: &mut World| {
            world.begin(detach(alias));
            world.settle();
        };
        let two = |seed| {
            let mut world = running(seed);
            granted(world.ask(attach_a_nic()));
            world
        };
        for seed in 0..4 {
            for death in deaths(two(seed), life) {
                let mut world = two(seed);
                world.story.push(format!("seed {seed}, {death:?}"));
                world.die_at(death);
                life(&mut world);
                world.live_on();
                assert_eq!(vfs_of(&world, "web"), held(&world), "{:?}", world.story);
                if vfs_of(&world, "web").len() == 2 {
                    granted(world.ask(detach(alias)));
                }
                assert_eq!(vfs_of(&world, "web").len(), 1, "{:?}", world.story);
                let free = world.state().claims.values();
                assert!(
                    free.into_iter().all(|claim| matches!(claim.state, ClaimState::Held { .. }))
                );
            }
        }
    }
}
