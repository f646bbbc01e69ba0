//! A VF that is stuck, quarantined or gone; a record that cannot be written; ports of another
//! daemon; what comes late.

use rustix::io::Errno;
use vfnet_engine::{
    Announcement, Answer, Because, ClaimState, Ended, Executor, GivenBack, Input, Phase,
    RefusalKind, Request,
};
use vfnet_host::Host as _;
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};

use crate::scene::{
    PF, create, define, define_network, destroy, guest, guest_with, igb, mac, net, network_of, nic,
    pci, port, seeded, start, vf, vfs_of, with_network,
};
use crate::world::{World, granted, refusal};

fn create_one(name: &str, last: u8) -> Request {
    create(guest_with(name, vec![nic("hw", mac(last))]))
}

fn word_of(world: &World, index: u8) -> &'static str {
    world.state().claim_on(vf(index)).map_or("free", |claim| claim.state.word())
}

fn restore(index: u8) -> Request {
    Request::VfRestore(vf(index))
}

#[test]
fn a_bind_that_never_returns_shows_as_stuck_and_harms_nobody_else() {
    let mut world = with_network(igb(3));
    granted(world.ask(create_one("before", 1)));
    world.host.fail(FaultPoint::next(OpKind::Probe).at(vf(1)), FaultKind::Stuck);
    let refused = refusal(world.ask(create_one("web", 2)));
    assert!(refused.to_string().contains("cannot bind VF 0000:01:10.2"), "{refused}");
    assert_eq!(word_of(&world, 1), "stuck");
    let said = |what: &Announcement| matches!(what, Announcement::VfStuck(at, _) if *at == vf(1));
    assert!(world.said.iter().any(said));

    granted(world.ask(create_one("after", 3)));
    assert_eq!(vfs_of(&world, "after"), [vf(2)]);
    world.restart();
    world.settle();
    assert_eq!(word_of(&world, 1), "stuck", "a restart does not forget it");
    let refused = refusal(world.ask(create_one("late", 4)));
    assert!(refused.to_string().contains("vfnet vf restore 0000:01:10.2"), "{refused}");

    let Answer::Restored(Err(Because { reason, .. })) = granted(world.ask(restore(1))) else {
        panic!("the kernel still has it");
    };
    assert!(reason.contains("the kernel has not finished"), "{reason}");
    assert_eq!(word_of(&world, 1), "stuck");

    world.host.clear_faults();
    world.host.release(vf(1));
    assert_eq!(granted(world.ask(restore(1))), Answer::Restored(Ok(vf(1))));
    assert_eq!(word_of(&world, 1), "free");
    granted(world.ask(create_one("late", 4)));
}

#[test]
fn a_vf_that_cannot_be_given_back_clean_is_quarantined_until_restored() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    world.host.fail(FaultPoint::every(OpKind::SetMac), FaultKind::errno(Errno::IO));
    assert_eq!(granted(world.ask(destroy("web"))), Answer::Done);
    assert_eq!(word_of(&world, 0), "quarantined");
    world.restart();
    world.settle();
    let refused = refusal(world.ask(create_one("next", 2)));
    let words = refused.to_string();
    assert!(words.contains("quarantined (cannot configure VF 0000:01:10.0"), "{words}");
    assert!(words.contains("vfnet vf restore 0000:01:10.0"), "{words}");

    let again = granted(world.ask(restore(0)));
    assert!(matches!(again, Answer::Restored(Err(_))), "the card still refuses: {again:?}");
    assert_eq!(word_of(&world, 0), "quarantined");
    world.host.clear_faults();
    assert_eq!(granted(world.ask(restore(0))), Answer::Restored(Ok(vf(0))));
    granted(world.ask(create_one("next", 2)));

    let busy = refusal(world.ask(restore(0)));
    assert_eq!(busy.kind, RefusalKind::OperationInvalid);
    assert!(busy.to_string().contains("held by guest next"), "{busy}");
}

#[test]
fn restoring_what_a_guest_has_left_does_not_hold_up_its_next_start() {
    for seed in 0..8 {
        let mut world = seeded(igb(2), seed);
        granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
        granted(world.ask(start("web")));
        world.host.fail(FaultPoint::every(OpKind::SetVlan), FaultKind::errno(Errno::IO));
        world.host.fail(FaultPoint::every(OpKind::SetMac), FaultKind::errno(Errno::IO));
        granted(world.ask(destroy("web")));
        assert_eq!(word_of(&world, 0), "quarantined");
        world.host.clear_faults();
        let other = guest_with("web", vec![nic("hw", mac(2))]);
        granted(world.ask(define(other)));
        let started = world.begin(start("web"));
        let restored = world.begin(restore(0));
        world.settle();
        granted(world.replies.remove(&started).expect("it is answered"));
        granted(world.replies.remove(&restored).expect("it is answered"));
        assert_eq!((word_of(&world, 0), vfs_of(&world, "web")), ("free", vec![vf(1)]));
    }
}

#[test]
fn a_free_and_clean_vf_needs_no_restoring_and_a_leftover_is_cleaned() {
    let mut world = with_network(igb(2));
    let refused = refusal(world.ask(restore(0)));
    assert!(refused.to_string().contains("free and clean"), "{refused}");
    crate::outside::take(&world.host, vf(1), mac(9));
    world.leave_over(vf(1));
    world.disk_full = true;
    let refused = refusal(world.ask(restore(1)));
    assert_eq!(refused.kind, RefusalKind::NotRecorded, "it would be a new claim");
    world.disk_full = false;
    assert_eq!(granted(world.ask(restore(1))), Answer::Restored(Ok(vf(1))));
    let facts = world.host.facts()[&vf(1)].clone();
    assert_eq!(facts.driver, Some("igbvf".parse().expect("a driver name")));
    assert!(!facts.sticky, "no MAC is set any more");
}

#[test]
fn a_leftover_in_a_group_that_a_guest_has_stays_where_it_is() {
    let pf = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(2);
    let mut world = with_network(pf.groups_of(2).autoprobe_off().build());
    crate::outside::take(&world.host, vf(1), mac(9));
    world.leave_over(vf(1));
    granted(world.ask(create_one("web", 1)));
    let refused = refusal(world.ask(restore(1)));
    assert_eq!(refused.kind, RefusalKind::OperationInvalid);
    granted(world.ask(destroy("web")));
    assert_eq!(granted(world.ask(restore(1))), Answer::Restored(Ok(vf(1))));
}

#[test]
fn a_quarantined_vf_in_a_group_that_a_guest_has_stays_where_it_is() {
    let pf = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(2);
    let mut world = with_network(pf.groups_of(2).autoprobe_off().build());
    granted(world.ask(create_one("web", 1)));
    world.host.fail(FaultPoint::every(OpKind::SetMac).at(vf(0)), FaultKind::errno(Errno::IO));
    granted(world.ask(destroy("web")));
    assert_eq!(word_of(&world, 0), "quarantined");
    world.host.clear_faults();
    granted(world.ask(create_one("web", 2)));
    assert_eq!(vfs_of(&world, "web"), [vf(1)], "the rest of the group is the same guest's");
    let refused = refusal(world.ask(restore(0)));
    assert!(refused.to_string().contains("held by guest web"), "{refused}");
    granted(world.ask(destroy("web")));
    assert_eq!(granted(world.ask(restore(0))), Answer::Restored(Ok(vf(0))));
}

#[test]
fn a_quarantined_vf_that_is_made_anew_is_free() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    world.host.fail(FaultPoint::every(OpKind::SetMac), FaultKind::errno(Errno::IO));
    granted(world.ask(destroy("web")));
    assert_eq!(word_of(&world, 0), "quarantined");
    world.host.clear_faults();
    world.host.remove_vfs(pci(PF)).expect("nobody uses it");
    world.host.make_vfs(pci(PF), 1).expect("the card makes one");
    granted(world.ask(create_one("web", 1)));
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
}

#[test]
fn a_guest_whose_vf_vanishes_runs_on_and_the_vf_is_released_at_its_end() {
    let mut world = with_network(igb(2));
    granted(world.ask(create_one("web", 1)));
    world.host.remove_vf(vf(0));
    world.look();
    world.settle();
    let gone = Announcement::VfVanished(vf(0), "guest web".into());
    assert!(world.said.contains(&gone));
    let phase = world.state().runs.get(&guest("web")).map(|run| run.phase);
    assert_eq!(phase, Some(Phase::Running));
    world.restart();
    world.settle();
    world.guest_ends(guest("web"), Ended::PoweredOff);
    world.settle();
    assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
}

#[test]
fn a_vf_that_vanished_under_a_guest_whose_start_could_not_be_recorded_has_vanished() {
    let mut world = with_network(igb(1));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    let ticket = world.begin(start("web"));
    world.disk_full = true;
    world.settle();
    granted(world.replies.remove(&ticket).expect("it is answered"));
    world.host.remove_vf(vf(0));
    world.restart();
    world.settle();
    let claim = world.state().claims.values().next().expect("its guest lives");
    assert_eq!(claim.state, ClaimState::Vanished);
    world.disk_full = false;
    world.guest_ends(guest("web"), Ended::PoweredOff);
    world.settle();
    assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
}

#[test]
fn a_vf_that_one_look_has_missed_is_given_back_all_the_same() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    let (began, mut inventory) = world.glance();
    inventory.vfs.clear();
    world.seen(began, inventory);
    assert_eq!(word_of(&world, 0), "free", "as far as anybody can see");
    world.look();
    world.guest_ends(guest("web"), Ended::PoweredOff);
    world.settle();
    assert!(world.state().claims.is_empty());
}

#[test]
fn a_start_whose_vf_vanishes_half_way_fails_and_is_answered() {
    let mut world = with_network(igb(2));
    let both = vec![nic("hw", mac(1)), nic("hw", mac(2))];
    granted(world.ask(define(guest_with("web", both))));
    let ticket = world.begin(start("web"));
    world.step();
    world.step();
    let held = world.state().claims.values().find(|claim| claim.state.word() == "held");
    let ready = held.expect("one VF is ready, the other not yet").vf;
    world.host.remove_vf(ready);
    world.look();
    world.settle();
    let refused = refusal(world.replies.remove(&ticket).expect("it is answered"));
    assert!(refused.to_string().contains("is not there any more"), "{refused}");
    assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
}

#[test]
fn a_start_whose_vfs_all_vanish_at_once_fails_and_is_answered() {
    let mut world = with_network(igb(3));
    let three = (1..4).map(|last| nic("hw", mac(last))).collect();
    granted(world.ask(define(guest_with("web", three))));
    let ticket = world.begin(start("web"));
    while world.state().claims.values().filter(|claim| claim.state.word() == "held").count() < 2 {
        assert!(world.step(), "two are ready before the third");
    }
    world.host.remove_vfs(pci(PF)).expect("no guest has one yet");
    world.look();
    world.settle();
    let refused = refusal(world.replies.remove(&ticket).expect("it is answered"));
    assert!(refused.to_string().contains("is not there any more"), "{refused}");
    assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
}

#[test]
fn a_look_from_before_a_release_does_not_bring_back_what_it_saw() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    let (began, inventory) = world.glance();
    granted(world.ask(destroy("web")));
    world.seen(began, inventory);
    let known = world.state().inventory.vfs[&vf(0)].clone();
    assert_eq!(known.binding.driver, Some("igbvf".parse().expect("a driver name")));
    // And the next guest's original is the clean VF's: it comes back as it was.
    let ticket = world.begin_unseen(create_one("next", 2));
    world.settle();
    granted(world.replies.remove(&ticket).expect("it is answered"));
    granted(world.ask(destroy("next")));
}

#[test]
fn a_sight_of_a_returned_vf_from_before_a_look_does_not_hide_what_that_saw() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    world.begin(destroy("web"));
    // Kill, the guest's end, giving back; that it is back is still to be heard.
    for _ in 0..3 {
        world.step();
    }
    world.host.change_netdev(vf(0), |dev| dev.addresses = vec!["192.0.2.1".into()]);
    world.look();
    world.settle();
    let ticket = world.begin_unseen(create_one("next", 2));
    let refused = refusal(world.replies.remove(&ticket).expect("it is answered at once"));
    assert!(refused.to_string().contains("192.0.2.1"), "{refused}");
}

#[test]
fn a_sight_of_a_vf_that_was_overtaken_by_a_later_one_is_not_believed() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    let old = world.state().claims.values().next().expect("it has a VF").id;
    world.host.remove_vf(vf(0));
    world.host.remove_vfs(pci(PF)).expect("the guest's VF is no more");
    world.host.make_vfs(pci(PF), 1).expect("the card makes one");
    world.look();
    // Somebody sees the new VF while it is being made ready, and is heard when it is back.
    let at = world.moment();
    let mut amid = world.host.vf(vf(0)).expect("it can be read").expect("it is there");
    amid.binding.driver_override = Some("vfio-pci".parse().expect("a driver name"));
    for request in [create_one("next", 2), destroy("next")] {
        let ticket = world.begin_unseen(request);
        world.settle();
        granted(world.replies.remove(&ticket).expect("it is answered"));
    }
    let known = world.state().inventory.vfs[&vf(0)].clone();
    let seen = Some(Box::new(amid));
    world.hears(Input::GivenBack { claim: old, outcome: GivenBack::Gone, seen, at });
    assert_eq!(world.state().inventory.vfs[&vf(0)], known);
}

#[test]
fn what_cannot_be_recorded_is_refused_and_changes_nothing() {
    let mut world = with_network(igb(2));
    granted(world.ask(create_one("web", 1)));
    world.look();
    let (facts, trace) = (world.host.facts(), world.host.trace().len());
    let before = crate::promises::picture(world.state());
    world.disk_full = true;
    for request in [
        create_one("next", 2),
        define(guest_with("next", vec![])),
        Request::PortCreate(Box::new(port("hw", 1, mac(3)))),
        Request::NetworkDestroy { network: net("hw"), force: true },
    ] {
        let refused = refusal(world.ask(request));
        assert_eq!(refused.kind, RefusalKind::NotRecorded);
        assert!(refused.to_string().contains("the disk is full"), "{refused}");
    }
    assert_eq!(crate::promises::picture(world.state()), before);
    assert_eq!((world.host.facts(), world.host.trace().len()), (facts, trace));
}

#[test]
fn releases_go_ahead_on_a_full_disk_and_a_restart_finds_no_harm_in_the_old_record() {
    for restarted in [false, true] {
        let mut world = with_network(igb(1));
        granted(world.ask(create_one("web", 1)));
        world.disk_full = true;
        granted(world.ask(destroy("web")));
        assert_eq!(word_of(&world, 0), "free");
        assert!(refusal(world.ask(create_one("next", 2))).kind == RefusalKind::NotRecorded);
        if restarted {
            world.restart();
            world.settle();
        }
        world.disk_full = false;
        granted(world.ask(create_one("next", 2)));
        granted(world.ask(destroy("next")));
        assert!(world.state().claims.is_empty());
    }
}

#[test]
fn a_port_is_lent_untouched_and_given_back_whole() {
    let mut world = with_network(igb(2));
    let asked = port("hw", 1, mac(1));
    let granted_port = granted(world.ask(Request::PortCreate(Box::new(asked.clone()))));
    assert_eq!(granted_port, Answer::Port { port: asked.port, vf: vf(0) });
    let claim = world.state().claim_on(vf(0)).expect("it is lent").clone();
    assert_eq!((claim.state, claim.executor), (ClaimState::Lent, Executor::Outside));
    assert!(world.host.trace().is_empty(), "the other daemon does the work");
    crate::outside::take(&world.host, vf(0), mac(1));
    world.look();
    world.restart();
    world.settle();
    assert_eq!(word_of(&world, 0), "lent");

    let again = refusal(world.ask(Request::PortCreate(Box::new(asked.clone()))));
    assert_eq!(again.kind, RefusalKind::PortExists);
    let clash = refusal(world.ask(create_one("web", 1)));
    assert!(clash.to_string().contains("guest outside of another daemon has it"), "{clash}");

    let delete = || Request::PortDelete { network: net("hw"), port: asked.port };
    granted(world.ask(delete()));
    assert_eq!(word_of(&world, 0), "free");
    assert_eq!(refusal(world.ask(delete())).kind, RefusalKind::NoPort);
}

#[test]
fn a_guests_own_port_is_not_another_daemons_to_delete() {
    let mut world = with_network(igb(1));
    granted(world.ask(create_one("web", 1)));
    let claim = world.state().claim_on(vf(0)).expect("it is held");
    let port = claim.network.as_ref().expect("it is of a network").port;
    let refused = refusal(world.ask(Request::PortDelete { network: net("hw"), port }));
    assert!(refused.to_string().contains("belongs to guest web"), "{refused}");
}

#[test]
fn a_network_with_claims_is_stopped_by_force_alone_and_its_guests_give_back_at_their_end() {
    let mut world = with_network(igb(2));
    granted(world.ask(create_one("web", 1)));
    granted(world.ask(Request::PortCreate(Box::new(port("hw", 1, mac(2))))));
    let destroy_network = |force| Request::NetworkDestroy { network: net("hw"), force };
    let refused = refusal(world.ask(destroy_network(false)));
    assert_eq!(refused.kind, RefusalKind::OperationInvalid);
    for part in ["held by guest web", "guest outside", "vfnet net destroy --force hw"] {
        assert!(refused.to_string().contains(part), "{part} is missing in: {refused}");
    }
    granted(world.ask(destroy_network(true)));
    assert_eq!((word_of(&world, 0), word_of(&world, 1)), ("held", "lent"));
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
    world.restart();
    world.settle();
    world.guest_ends(guest("web"), Ended::Crashed("signal 11".into()));
    world.settle();
    assert_eq!(word_of(&world, 0), "free");
    let delete = Request::PortDelete { network: net("hw"), port: port("hw", 1, mac(2)).port };
    granted(world.ask(delete));
    assert!(world.state().claims.is_empty());
}

#[test]
fn a_network_whose_vfs_are_being_made_is_started_once() {
    let made =
        || network_of("made", "", "<vfnet:pool><vfnet:pf dev='ens1f0' vfs='3'/></vfnet:pool>");
    let mut world = World::new(igb(0), 1);
    let create = || Request::NetworkCreate(Box::new(made()));
    let first = world.begin(create());
    let second = world.begin(create());
    let refused = refusal(world.replies.remove(&second).expect("it is answered at once"));
    assert!(refused.to_string().contains("is being started"), "{refused}");
    let other = vfnet_engine::NetworkDefinition { uuid: net("other"), ..made() };
    let third = world.begin(define_network(other));
    let refused = refusal(world.replies.remove(&third).expect("it is answered at once"));
    assert!(refused.to_string().contains("already exists"), "{refused}");
    world.settle();
    granted(world.replies.remove(&first).expect("it is answered in the end"));
    assert_eq!(world.host.facts().len(), 3);
}

#[test]
fn vfs_that_are_not_made_are_said_to_whoever_starts_the_network() {
    let made = network_of("made", "", "<vfnet:pool><vfnet:pf dev='ens1f0' vfs='3'/></vfnet:pool>");
    let mut world = World::new(igb(0), 1);
    world.host.fail(FaultPoint::next(OpKind::NumVfs), FaultKind::errno(Errno::NOMEM));
    let create = Request::NetworkCreate(Box::new(made));
    let refused = refusal(world.ask(create.clone()));
    assert!(refused.to_string().contains("cannot start network 'made'"), "{refused}");
    assert!(world.state().live_networks.is_empty());
    granted(world.ask(create));
}

#[test]
fn a_guest_that_dies_at_its_start_gives_back_what_it_got() {
    let mut world = with_network(igb(1));
    world.no_emulator = true;
    let refused = refusal(world.ask(create_one("web", 1)));
    assert!(refused.to_string().contains("cannot start guest 'web': no emulator"), "{refused}");
    assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
}

#[test]
fn a_guest_destroyed_at_every_step_of_its_start_answers_both_who_asked() {
    for steps in 0..8 {
        let mut world = with_network(igb(2));
        let both = vec![nic("hw", mac(1)), nic("hw", mac(2))];
        granted(world.ask(define(guest_with("web", both))));
        let started = world.begin(start("web"));
        for _ in 0..steps {
            world.step();
        }
        let destroyed = world.begin(destroy("web"));
        world.settle();
        granted(world.replies.remove(&destroyed).expect("it is answered"));
        let started = world.replies.remove(&started).expect("it is answered");
        if let Err(refused) = started {
            assert!(refused.to_string().contains("was destroyed while"), "{refused}");
        }
        assert!(world.state().claims.is_empty() && world.state().runs.is_empty());
    }
}

#[test]
fn what_is_heard_of_nobody_changes_nothing() {
    let mut world = with_network(igb(1));
    let before = crate::promises::picture(world.state());
    let nobody = vfnet_engine::ClaimId(99);
    let held = vfnet_engine::HeldBy { driver: "vfio-pci".parse().expect("a name"), group: 1 };
    for input in [
        Input::Prepared(nobody, Ok(held)),
        Input::Launched(guest("ghost"), Ok(1)),
        Input::GuestEnded(guest("ghost"), Ended::PoweredOff),
        Input::VfsMade(net("ghost"), pci(PF), Ok(())),
        Input::AutoprobeRestored(pci(PF), Ok(())),
    ] {
        world.tell(input).expect("it lives on");
        world.settle();
        assert_eq!(crate::promises::picture(world.state()), before);
    }
}
