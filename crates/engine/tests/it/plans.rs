//! A plan says what would be done, does nothing, and is what is then done. The second half is
//! looked at in every life ([`crate::world::World::tell`]).

use vfnet_engine::plan::{Doing, Plan};
use vfnet_engine::{Answer, Decision, Effect, Input, Refusal, RefusalKind, Request, State, Ticket};
use vfnet_host_sim::{Driver, SimHost};

use crate::scene::{
    PF, create, define, define_network, destroy, guest_with, igb, mac, net, network, network_of,
    nic, pci, start, vf, with_network,
};
use crate::world::{World, granted};

/// The plan of a request, where an input is one.
pub(crate) fn of(state: &State, input: &Input) -> Option<(Ticket, Result<Plan, Refusal>)> {
    match input {
        Input::Ask(ticket, request) => Some((*ticket, state.plan(request.clone()))),
        _ => None,
    }
}

/// What a decision has that its plan has not, if anything.
pub(crate) fn unplanned(
    planned: &(Ticket, Result<Plan, Refusal>),
    decision: &Decision,
) -> Option<String> {
    let (ticket, planned) = planned;
    let shown = |decision: &Decision| format!("{:?} {:?}", decision.records, decision.effects);
    let done = shown(decision);
    match planned {
        Ok(plan) => {
            let first = plan.decisions.first().map(shown).unwrap_or_default();
            let first = first.replace(&format!("{:?}", Ticket(u64::MAX)), &format!("{ticket:?}"));
            (first != done).then(|| format!("planned was {first}, and done {done}"))
        }
        Err(refusal) => decision.effects.iter().find_map(|effect| match effect {
            Effect::Answer(to, reply) if to == ticket => (reply.as_ref() != Err(refusal))
                .then(|| format!("planned was a refusal, {refusal}, and done {done}")),
            _ => None,
        }),
    }
}

fn plan(world: &World, request: Request) -> Plan {
    let before = format!("{:?}", world.state());
    let writes = world.host.trace().len();
    let plan = world.state().plan(request).expect("granted");
    assert_eq!(format!("{:?}", world.state()), before, "planning changes nothing");
    assert_eq!(world.host.trace().len(), writes, "nor the host");
    plan
}

fn says(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{}: {}", step.does.word(), step.says)).collect()
}

#[test]
fn the_plan_of_a_start_names_vf_mac_tag_and_drivers_and_the_start_does_just_that() {
    let mut world = World::new(igb(3), 1);
    granted(world.ask(define_network(network("tagged", "ens1f0", 42))));
    granted(world.ask(Request::NetworkStart(net("tagged"))));
    granted(world.ask(define(guest_with("web", vec![nic("tagged", mac(1))]))));
    let plan = plan(&world, start("web"));
    assert_eq!(
        says(&plan),
        [
            "record: 0000:01:10.0 being prepared for guest web",
            "record: guest web: its VFs are being prepared",
            "prepare: make 0000:01:10.0 (VF 0 of PF ens1f0 (0000:01:00.0)) ready for interface 1 \
             of guest web: MAC 52:54:00:00:00:01, VLAN 42; bind it to the VFIO driver for it, \
             from igbvf",
            "record: 0000:01:10.0 held by guest web",
            "record: guest web: its process is being started",
            "start: start the process of guest web",
            "record: guest web: it runs",
        ]
    );
    assert!(matches!(plan.answer, Some(Answer::Guest { .. })), "{:?}", plan.answer);
    granted(world.ask(start("web")));
    let claim = world.state().claims.values().next().expect("a claim");
    assert_eq!(plan.steps[2].vf, Some(claim.vf));
}

#[test]
fn the_plan_of_an_end_gives_every_vf_back() {
    let mut world = with_network(igb(3));
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1)), nic("hw", mac(2))]))));
    let plan = plan(&world, destroy("web"));
    let back = plan.steps.iter().filter(|step| step.does == Doing::GivesBack);
    let back: Vec<_> = back.map(|step| (step.vf, step.says.clone())).collect();
    assert_eq!(
        back,
        [vf(0), vf(1)]
            .map(|vf| (Some(vf), format!("give {vf} back to the host, as it was, on igbvf")))
    );
    assert_eq!(plan.steps[0].says, "guest web ends as if its power were cut");
    assert_eq!(plan.answer, Some(Answer::Done));
}

#[test]
fn a_plan_is_refused_as_the_request_would_be() {
    let mut world = with_network(igb(1));
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    for request in [
        create(guest_with("late", vec![nic("hw", mac(2))])),
        Request::NetworkDestroy { network: net("hw"), force: false },
        Request::PfSetVfs { pf: pci(PF), count: 4, keep: false },
        start("nobody"),
    ] {
        let planned = world.state().plan(request.clone()).expect_err("refused");
        assert_eq!(world.ask(request).expect_err("refused"), planned);
    }
}

#[test]
fn the_plan_of_a_network_whose_vfs_are_made_goes_on_to_its_start() {
    for (seed, hooks) in [(1, false), (2, true)] {
        let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).build();
        let mut world = World::new(host, seed);
        let made = "<vfnet:pool><vfnet:pf dev='ens1f0' vfs='5'/></vfnet:pool>";
        granted(world.ask(define_network(network_of("made", "", made))));
        let plan = plan(&world, Request::NetworkStart(net("made")));
        let says = says(&plan);
        assert!(says.contains(&"vfs: have PF ens1f0 (0000:01:00.0) make 5 VFs".into()), "{says:?}");
        assert!(says.contains(&"record: network made is active".into()), "{says:?}");
        let hook = "hook: call the hook scripts of network made: started".to_owned();
        assert_eq!(says.contains(&hook), hooks, "{says:?}");
    }
}

#[test]
fn the_plan_of_another_number_of_vfs_names_the_networks_that_lend_them() {
    let world = with_network(igb(7));
    let plan = plan(&world, Request::PfSetVfs { pf: pci(PF), count: 3, keep: false });
    assert_eq!(
        says(&plan),
        [
            "hit: network hw lends the VFs that there are then",
            "vfs: take away the 7 VFs of PF ens1f0 (0000:01:00.0), and have it make 3",
        ]
    );
}

#[test]
fn a_refusal_that_a_start_meets_only_on_its_way_is_planned_too() {
    // The PF is looked for only when the hook scripts have had their say.
    let mut world = World::new(igb(1), 2);
    granted(world.ask(define_network(network_of("none", "<pf dev='ens2f0'/>", ""))));
    let refusal = world.state().plan(Request::NetworkStart(net("none"))).expect_err("refused");
    assert_eq!(refusal.kind, RefusalKind::Exhausted, "{refusal}");
}
