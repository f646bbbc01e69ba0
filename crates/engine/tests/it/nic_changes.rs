//! An interface whose VF gets another tag while its guest runs with it: all of it, or nothing.

use rustix::io::Errno;
use vfnet_engine::{
    Announcement, Answer, Described, GuestDefinition, GuestEdit, NicChange, NicNeed, RefusalKind,
    Request,
};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::vf::LinkState;

use crate::plugs::deaths;
use crate::scene::{PF, define, destroy, guest, guest_with, mac, nic, seeded, start, vf, vfs_of};
use crate::world::{World, granted, refusal};

fn tagged(id: u16) -> NicNeed {
    NicNeed { vlan: Some(id.try_into().expect("a tag")), ..nic("hw", mac(1)) }
}

fn described(need: NicNeed) -> GuestDefinition {
    let tag = need.vlan.map_or(0, |tag| tag.get());
    let link = need.link_up;
    GuestDefinition {
        xml: format!("<domain tag='{tag}' link='{link:?}'/>"),
        ..guest_with("web", vec![need])
    }
}

/// A guest that runs with one VF, untagged.
fn running(card: Driver, seed: u64) -> World {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", PF, card).vfs(4).build();
    let mut world = seeded(host, seed);
    granted(world.ask(define(described(nic("hw", mac(1))))));
    granted(world.ask(start("web")));
    world
}

fn change_to(world: &World, need: NicNeed) -> Request {
    let edit = |before: &GuestDefinition| {
        let before = before.xml.clone();
        GuestEdit { before, after: described(need.clone()) }
    };
    let live = edit(&world.state().runs[&guest("web")].definition);
    let config = edit(&world.state().guests[&guest("web")].definition);
    Request::GuestChangeNic(Box::new(NicChange {
        guest: guest("web"),
        nic: 0,
        need,
        described: Described::Definition(live),
        config: Some(config),
    }))
}

/// The tag at the PF, on record of the claim, in the running guest's document and in the kept one.
fn tags(world: &World) -> [u16; 4] {
    let wanted = world.state().claims_of(guest("web")).find_map(|claim| claim.wanted.clone());
    let of = |definition: &GuestDefinition| definition.nics[0].vlan.map_or(0, |tag| tag.get());
    [
        world.host.facts()[&vf(0)].vlan.id.get(),
        wanted.and_then(|wanted| wanted.vlan).map_or(0, |vlan| vlan.id.get()),
        of(&world.state().runs[&guest("web")].definition),
        of(&world.state().guests[&guest("web")].definition),
    ]
}

#[test]
fn a_tag_is_changed_under_the_guest_and_stays() {
    let mut world = running(Driver::Igb, 1);
    let said = world.said.len();
    let change = change_to(&world, tagged(42));
    assert_eq!(granted(world.ask(change)), Answer::Done);
    assert_eq!(tags(&world), [42; 4]);
    world.look();
    world.settle();
    world.restart();
    world.settle();
    assert_eq!(tags(&world), [42; 4]);
    let put_back = |news: &Announcement| matches!(news, Announcement::VfRepaired(..));
    assert!(!world.said[said..].iter().any(put_back), "nobody has typed anything");
    granted(world.ask(destroy("web")));
    assert_eq!(world.host.facts()[&vf(0)].vlan.id.get(), 0);
}

/// The same guest, whose document says of the link that it is up, or down.
fn linked(up: bool) -> NicNeed {
    NicNeed { link_up: Some(up), ..nic("hw", mac(1)) }
}

#[test]
fn a_link_goes_down_under_the_guest_and_up_again_and_is_as_it_was_at_the_end() {
    let mut world = running(Driver::Ixgbe, 1);
    let link = |world: &World| world.host.facts()[&vf(0)].link_state;
    let before = link(&world);
    for (up, expected) in [(false, LinkState::Disable), (true, LinkState::Auto)] {
        let change = change_to(&world, linked(up));
        assert_eq!(granted(world.ask(change)), Answer::Done);
        world.look();
        world.settle();
        world.restart();
        world.settle();
        assert_eq!(link(&world), expected);
    }
    let change = change_to(&world, linked(false));
    granted(world.ask(change));
    granted(world.ask(destroy("web")));
    assert_eq!(link(&world), before);
    granted(world.ask(start("web")));
    assert_eq!(link(&world), LinkState::Disable, "it is kept");
}

#[test]
fn a_link_that_the_driver_cannot_set_is_refused_by_name_at_start_and_under_the_guest() {
    let mut world = running(Driver::Igb, 1);
    let writes = world.host.writes();
    let change = change_to(&world, linked(false));
    let said = refusal(world.ask(change)).to_string();
    assert!(said.contains("link state") && said.contains("igb"), "{said}");
    assert_eq!(world.host.writes(), writes, "nothing was tried");
    let change = change_to(&world, linked(true));
    granted(world.ask(change));
    granted(world.ask(destroy("web")));
    granted(world.ask(define(described(linked(false)))));
    let said = refusal(world.ask(start("web"))).to_string();
    assert!(said.contains("link state") && said.contains("igb"), "{said}");
}

#[test]
fn what_the_kernel_refuses_is_as_before_everywhere() {
    let mut world = running(Driver::Igb, 1);
    world.host.fail(FaultPoint::every(OpKind::SetVlan), FaultKind::errno(Errno::IO));
    let change = change_to(&world, tagged(42));
    let said = refusal(world.ask(change));
    assert_eq!(said.kind, RefusalKind::OperationFailed, "{said}");
    world.host.clear_faults();
    world.look();
    world.settle();
    assert_eq!(tags(&world), [0; 4]);
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
}

#[test]
fn what_cannot_be_recorded_is_not_done_and_the_vf_goes_back_at_the_end() {
    let mut world = running(Driver::Igb, 1);
    let change = change_to(&world, tagged(42));
    world.disk_full = true;
    assert_eq!(refusal(world.ask(change.clone())).kind, RefusalKind::NotRecorded);
    assert_eq!(tags(&world), [0; 4]);
    world.disk_full = false;
    granted(world.ask(change));
    assert_eq!(tags(&world), [42; 4]);
    granted(world.ask(destroy("web")));
    assert!(world.state().claims.is_empty());
}

#[test]
fn what_would_reset_the_vf_is_refused_by_name_and_changes_nothing() {
    let mut world = running(Driver::I40e, 1);
    let writes = world.host.writes();
    let change = change_to(&world, tagged(42));
    let said = refusal(world.ask(change));
    assert_eq!(said.kind, RefusalKind::Unsupported);
    assert!(said.message.contains("VLAN tag") && said.message.contains("i40e"), "{said}");
    assert_eq!((tags(&world), world.host.writes()), ([0; 4], writes));
}

#[test]
fn another_mac_or_network_is_another_interface() {
    let mut world = running(Driver::Igb, 1);
    for need in [nic("hw", mac(2)), nic("other", mac(1))] {
        let change = change_to(&world, need);
        assert_eq!(refusal(world.ask(change)).kind, RefusalKind::Unsupported);
    }
    assert_eq!(tags(&world), [0; 4]);
}

#[test]
fn a_tag_is_refused_under_which_another_guest_has_the_mac() {
    let mut world = running(Driver::Igb, 1);
    granted(world.ask(define(guest_with("other", vec![tagged(42)]))));
    granted(world.ask(start("other")));
    let change = change_to(&world, tagged(42));
    let said = refusal(world.ask(change));
    assert!(said.message.contains("other"), "{said}");
    assert_eq!(tags(&world), [0; 4]);
}

#[test]
fn a_document_that_was_changed_meanwhile_is_not_written_over() {
    let mut world = running(Driver::Igb, 1);
    let change = change_to(&world, tagged(42));
    let first = change_to(&world, tagged(7));
    granted(world.ask(first));
    assert_eq!(refusal(world.ask(change)).kind, RefusalKind::ChangedMeanwhile);
    assert_eq!(tags(&world), [7; 4]);
}

#[test]
fn wherever_the_daemon_dies_the_vf_has_the_tag_that_is_on_record() {
    let life = |world: &mut World| {
        let change = change_to(world, tagged(42));
        world.begin(change);
        world.settle();
    };
    for seed in 0..4 {
        for death in deaths(running(Driver::Igb, seed), life) {
            let mut world = running(Driver::Igb, seed);
            world.story.push(format!("seed {seed}, {death:?}"));
            world.die_at(death);
            life(&mut world);
            world.live_on();
            world.look();
            world.settle();
            let [at_the_pf, wanted, running, _] = tags(&world);
            assert_eq!([at_the_pf, wanted], [running; 2], "{:?}", world.story);
            let change = change_to(&world, tagged(42));
            granted(world.ask(change));
            assert_eq!(tags(&world)[..3], [42; 3]);
            granted(world.ask(destroy("web")));
            assert!(world.state().claims.is_empty());
        }
    }
}
