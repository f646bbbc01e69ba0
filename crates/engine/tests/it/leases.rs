//! VFs for processes of the host: lent while they live, and given back also when nobody saw their
//! end.

use vfnet_engine::{
    Answer, ClaimId, ClaimState, Ended, Entry, Input, LeaseRequest, Lessee, Owner, Request,
};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};
use vfnet_model::network::Forward;

use crate::scene::{
    create, guest, guest_with, igb, mac, net, network_of, nic, pci, vf, vfs_of, with_network,
};
use crate::world::{Death, World, granted, refusal};

impl World {
    /// The daemon's hands give a program its VF, or see that it is gone.
    pub(crate) fn begin_lease(&mut self, id: ClaimId) -> Input {
        let lessee = self.state().claims.get(&id).map(|claim| claim.owner.clone());
        let Some(Owner::Lease(lessee)) = lessee else { return Input::LeaseEnded(id) };
        if lessee.start_time == START && self.programs.contains(&lessee.pid) {
            self.daemon.leases.insert(id);
            Input::LeaseBegun(id, Ok(()))
        } else {
            Input::LeaseEnded(id)
        }
    }

    fn program_ends(&mut self, pid: u32) {
        self.programs.remove(&pid);
        let ended = self.state().claims.values().filter(|claim| pid_of(&claim.owner) == Some(pid));
        let ended: Vec<_> = ended.map(|claim| claim.id).collect();
        for id in ended {
            if self.daemon.leases.remove(&id) {
                self.hears(Input::LeaseEnded(id));
            }
        }
    }
}

/// When programs start here.
pub(crate) const START: u64 = 4711;

fn pid_of(owner: &Owner) -> Option<u32> {
    match owner {
        Owner::Lease(lessee) => Some(lessee.pid),
        _ => None,
    }
}

fn lease(pid: u32, last: u8) -> Request {
    Request::Lease(Box::new(LeaseRequest {
        network: "hw".parse().expect("a name"),
        portgroup: None,
        mac: mac(last),
        lessee: Lessee {
            program: "testpmd".to_owned(),
            pid,
            start_time: START,
            uid: 1000,
            gid: 1000,
        },
    }))
}

/// VFs that programs have.
fn leased(world: &World) -> Vec<(u32, &'static str)> {
    let claims = world.state().claims.values();
    claims.filter_map(|claim| Some((pid_of(&claim.owner)?, claim.state.word()))).collect()
}

#[test]
fn a_program_has_its_vf_while_it_lives() {
    let mut world = with_network(igb(2));
    let clean = world.host.facts();
    world.programs.insert(7);
    let Answer::Leased { vf: lent, .. } = granted(world.ask(lease(7, 1))) else {
        panic!("a VF is lent")
    };
    assert_eq!(lent, vf(0));
    let facts = world.host.facts().remove(&lent).expect("it is there");
    assert_eq!((facts.admin_mac, facts.driver.is_some_and(|it| it.is_vfio())), (mac(1), true));

    // Nobody else gets the VF, or its MAC.
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(2))]))));
    assert_eq!(vfs_of(&world, "web"), [vf(1)]);
    world.programs.insert(8);
    let refused = refusal(world.ask(lease(8, 3))).to_string();
    assert!(refused.contains("held by testpmd (pid 7)"), "{refused}");
    world.guest_ends(guest("web"), Ended::PoweredOff);
    world.settle();
    let refused = refusal(world.ask(lease(8, 1))).to_string();
    assert!(refused.contains("testpmd (pid 7)"), "{refused}");
    let stopped = Request::NetworkDestroy { network: net("hw"), force: false };
    let refused = refusal(world.ask(stopped)).to_string();
    assert!(refused.contains("testpmd (pid 7)"), "{refused}");

    world.program_ends(7);
    world.settle();
    assert_eq!(leased(&world), []);
    assert_eq!(world.host.facts(), clean);
}

#[test]
fn a_program_that_ended_while_no_daemon_was_there_loses_its_vf_at_the_next_start() {
    let mut world = with_network(igb(2));
    let clean = world.host.facts();
    world.programs.extend([7, 8]);
    granted(world.ask(lease(7, 1)));
    granted(world.ask(lease(8, 2)));
    world.programs.remove(&7);
    world.restart();
    world.settle();
    assert_eq!(leased(&world), [(8, "held")]);
    world.program_ends(8);
    world.settle();
    assert_eq!(world.host.facts(), clean);
}

#[test]
fn another_process_of_that_number_is_not_the_one_that_has_the_vf() {
    let mut world = with_network(igb(1));
    world.programs.insert(7);
    granted(world.ask(lease(7, 1)));
    let held =
        |entry: &Entry| matches!(entry, Entry::Claim(claim) if pid_of(&claim.owner) == Some(7));
    let on_record = world.durable.values().find(|entry| held(entry)).cloned();
    let Some(Entry::Claim(mut claim)) = on_record else { panic!("it is on record") };
    let Owner::Lease(lessee) = &mut claim.owner else { panic!("a lease") };
    // As the record of one that ended before this one was started.
    lessee.start_time -= 1;
    let entry = Entry::Claim(claim);
    world.durable.insert(entry.key(), entry);
    world.restart();
    world.settle();
    assert_eq!(leased(&world), []);
}

#[test]
fn a_vf_that_cannot_be_made_ready_goes_back_and_the_program_hears_why() {
    let mut world = with_network(igb(1));
    let clean = world.host.facts();
    world.programs.insert(7);
    let refuses = FaultPoint::next(OpKind::SetMac);
    world.host.fail(refuses, FaultKind::errno(rustix::io::Errno::IO));
    let refused = refusal(world.ask(lease(7, 1))).to_string();
    assert!(refused.contains("cannot prepare a VF for testpmd (pid 7)"), "{refused}");
    world.settle();
    assert_eq!((leased(&world), world.host.facts()), (vec![], clean));
}

#[test]
fn a_program_that_dies_while_it_waits_leaves_nothing_behind() {
    let mut world = with_network(igb(1));
    let clean = world.host.facts();
    // It is gone before its VF is ready.
    let refused = refusal(world.ask(lease(7, 1))).to_string();
    assert!(refused.contains("has ended"), "{refused}");
    world.settle();
    assert_eq!((leased(&world), world.host.facts()), (vec![], clean));
}

#[test]
fn a_bridge_lends_nothing_and_a_network_that_is_not_active_neither() {
    let mut world = with_network(igb(1));
    let mut bridge = network_of("br", "<pf dev='ens1f0'/>", "");
    bridge.network.forward = Forward::Bridge("br0".parse().expect("a name"));
    granted(world.ask(Request::NetworkCreate(Box::new(bridge))));
    let named = |name: &str| {
        let Request::Lease(mut request) = lease(7, 1) else { panic!("a lease") };
        request.network = name.parse().expect("a name");
        Request::Lease(request)
    };
    let refused = refusal(world.ask(named("br"))).to_string();
    assert!(refused.contains("has no VFs to lend"), "{refused}");
    let refused = refusal(world.ask(named("nowhere"))).to_string();
    assert!(refused.contains("no network with matching name"), "{refused}");
    granted(world.ask(Request::NetworkDestroy { network: net("hw"), force: false }));
    assert!(refusal(world.ask(lease(7, 1))).to_string().contains("not active"));
}

#[test]
fn a_vf_that_went_with_its_card_is_not_waited_for() {
    let mut world = with_network(igb(1));
    world.programs.insert(7);
    granted(world.ask(lease(7, 1)));
    world.host.unplug_pf(pci(crate::scene::PF));
    world.look();
    world.settle();
    assert_eq!(leased(&world), [(7, "vanished")]);
    world.program_ends(7);
    world.settle();
    assert_eq!(leased(&world), []);
}

#[test]
fn a_program_whose_vf_goes_before_it_has_it_is_told() {
    let mut world = with_network(igb(1));
    world.programs.insert(7);
    let ticket = world.begin(lease(7, 1));
    while leased(&world) != [(7, "held")] {
        assert!(world.step(), "it is never held");
    }
    world.host.unplug_pf(pci(crate::scene::PF));
    let (began, seen) = world.glance();
    world.seen(began, seen);
    world.settle();
    let refused = refusal(world.replies.remove(&ticket).expect("answered")).to_string();
    assert!(refused.contains("it went away"), "{refused}");
    assert_eq!(leased(&world), []);
}

#[test]
fn a_daemon_killed_at_any_point_of_a_lease_leaves_it_whole_or_nothing_of_it() {
    for point in 1..40 {
        for death in [Death::Point(point), Death::BeforeWrite(point), Death::AfterWrite(point)] {
            let mut world = with_network(igb(1));
            let clean = world.host.facts();
            world.programs.insert(7);
            world.die_at(death);
            let ticket = world.begin(lease(7, 1));
            world.settle();
            let answered = world.replies.contains_key(&ticket);
            world.live_on();
            let state = world.state().claims.values().next().map(|claim| claim.state.clone());
            match &state {
                None => assert!(!answered, "{death:?}: what was lent is gone"),
                Some(state) => assert!(matches!(state, ClaimState::Held { .. }), "{death:?}"),
            }
            // Its end, with a death at the same point.
            world.die_at(death);
            world.program_ends(7);
            world.settle();
            world.live_on();
            assert_eq!((leased(&world), world.host.facts()), (vec![], clean), "{death:?}");
        }
    }
}
