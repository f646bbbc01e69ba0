//! Changes of a network while its VFs are lent: what libvirt loses over them stays. Changes of
//! guests' documents that leave their devices alone.

use vfnet_engine::{
    Announcement, Edited, GuestEdit, Metadata, NetworkEdit, RefusalKind, Reply, Request, Revision,
};
use vfnet_model::network::{Command, Form, Network, Section, parse, print, update};

use crate::scene::{
    create, define, define_network, destroy, guest, guest_with, igb, mac, net, network_of, nic,
    port, start, vf, vfs_of, with_network,
};
use crate::world::{World, granted, refusal};

const GOLD: &str = "<portgroup name='gold'><vlan><tag id='7'/></vlan></portgroup>";

fn kept(world: &World) -> Option<Network> {
    let entry = world.state().networks.get(&net("hw"))?;
    Some(entry.definition.network.clone())
}

fn running(world: &World) -> Option<Network> {
    let live = world.state().live_networks.get(&net("hw"))?;
    Some(live.definition.network.clone())
}

/// `virsh net-update hw COMMAND SECTION XML`, on the running one, the kept one, or both.
fn edit(world: &World, (live, config): (bool, bool), by: (Command, Section, &str)) -> Request {
    let (command, section, xml) = by;
    let edited = |before: Option<Network>| {
        let before = before.expect("it is there");
        let after = update(&before, command, section, -1, xml).expect("a sound update");
        Edited { before, after }
    };
    Request::NetworkEdit(Box::new(NetworkEdit {
        network: net("hw"),
        live: live.then(|| edited(running(world))),
        config: config.then(|| edited(kept(world))),
        metadata: None,
    }))
}

const LIVE: (bool, bool) = (true, false);
const CONFIG: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

fn address(index: u8) -> String {
    let vf = vf(index);
    format!(
        "<address type='pci' domain='0' bus='1' slot='{}' function='{}'/>",
        vf.slot(),
        vf.function()
    )
}

/// A network of the first `members` VFs by their addresses.
fn listed(members: u8) -> World {
    let mut world = World::new(igb(4), 1);
    let members: String = (0..members).map(address).collect();
    granted(world.ask(define_network(network_of("hw", &members, ""))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    world
}

fn ask(world: &mut World, which: (bool, bool), by: (Command, Section, &str)) -> Reply {
    world.look();
    let request = edit(world, which, by);
    world.ask(request)
}

/// Every VF is lent once: the next asker hears so, and all come back.
fn lends_once(world: &mut World, free: usize) {
    let names: Vec<_> = (0..free).map(|n| format!("g{n}")).collect();
    for (name, last) in names.iter().zip(100..) {
        granted(world.ask(create(guest_with(name, vec![nic("hw", mac(last))]))));
    }
    let refused = refusal(world.ask(create(guest_with("late", vec![nic("hw", mac(99))]))));
    assert_eq!(refused.kind, RefusalKind::Exhausted, "{refused}");
    for name in &names {
        granted(world.ask(destroy(name)));
    }
}

#[test]
fn a_live_update_counts_what_is_lent_as_before_and_lends_nothing_twice() {
    let mut world = with_network(igb(3));
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(Request::PortCreate(Box::new(port("hw", 1, mac(2))))));
    let lent = |world: &World| world.state().ports_of(net("hw")).count();
    assert_eq!(lent(&world), 2);
    granted(ask(&mut world, LIVE, (Command::AddLast, Section::Portgroup, GOLD)));
    assert_eq!(lent(&world), 2);
    lends_once(&mut world, 1);
    world.restart();
    world.settle();
    assert_eq!(lent(&world), 2, "nor does a restart forget");
    lends_once(&mut world, 1);
    granted(world.ask(destroy("web")));
    assert_eq!(lent(&world), 1);
    lends_once(&mut world, 2);
}

#[test]
fn a_live_update_keeps_the_pf_of_a_pool() {
    let mut world = with_network(igb(3));
    granted(ask(&mut world, LIVE, (Command::AddLast, Section::Portgroup, GOLD)));
    for _ in 0..2 {
        let live = &world.state().live_networks[&net("hw")];
        let printed = print(&live.definition.network, Form::Inactive);
        assert!(printed.contains("<pf dev='ens1f0'/>") && printed.contains("gold"), "{printed}");
        assert_eq!(world.state().pool(live).len(), 3);
        assert_eq!(parse(&live.definition.xml).expect("readable"), live.definition.network);
        world.restart();
        world.settle();
    }
    assert!(!print(&kept(&world).expect("kept"), Form::Inactive).contains("gold"));
}

#[test]
fn each_of_running_and_kept_is_changed_as_asked() {
    let has = |network: Option<Network>| network.expect("there").portgroup(Some("gold")).is_some();
    for (which, expected) in [(LIVE, (true, false)), (CONFIG, (false, true)), (BOTH, (true, true))]
    {
        let mut world = with_network(igb(1));
        granted(ask(&mut world, which, (Command::AddLast, Section::Portgroup, GOLD)));
        assert_eq!((has(running(&world)), has(kept(&world))), expected);
        world.restart();
        world.settle();
        assert_eq!((has(running(&world)), has(kept(&world))), expected);
        granted(world.ask(Request::NetworkDestroy { network: net("hw"), force: false }));
        granted(world.ask(Request::NetworkStart(net("hw"))));
        assert_eq!(has(running(&world)), expected.1, "a start takes the kept one");
    }
}

#[test]
fn a_change_of_what_is_not_so_any_more_is_refused_and_changes_neither() {
    let mut world = with_network(igb(1));
    let late = edit(&world, BOTH, (Command::AddLast, Section::Portgroup, GOLD));
    let silver = "<portgroup name='silver'/>";
    granted(ask(&mut world, CONFIG, (Command::AddLast, Section::Portgroup, silver)));
    assert_eq!(refusal(world.ask(late)).kind, RefusalKind::ChangedMeanwhile);
    let gold = |network: Option<Network>| network.expect("there").portgroup(Some("gold")).is_some();
    assert!(!gold(running(&world)) && !gold(kept(&world)));
}

#[test]
fn members_are_added_and_removed_when_free() {
    let mut world = listed(2);
    let member = |command, n: u8| (command, n);
    let change = |world: &mut World, (command, n): (Command, u8)| {
        ask(world, BOTH, (command, Section::ForwardInterface, &address(n)))
    };
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    assert_eq!(vfs_of(&world, "web"), [vf(0)]);
    let refused = refusal(change(&mut world, member(Command::Delete, 0)));
    assert_eq!(refused.kind, RefusalKind::OperationInvalid);
    assert!(refused.to_string().contains("held by guest web"), "{refused}");

    granted(change(&mut world, member(Command::AddLast, 3)));
    granted(change(&mut world, member(Command::Delete, 1)));
    lends_once(&mut world, 1);
    granted(world.ask(create(guest_with("two", vec![nic("hw", mac(2))]))));
    assert_eq!(vfs_of(&world, "two"), [vf(3)]);
    world.restart();
    world.settle();
    granted(world.ask(destroy("web")));
    granted(change(&mut world, member(Command::Delete, 0)));
    lends_once(&mut world, 0);
}

#[test]
fn members_by_netdev_stay_what_they_were_while_their_netdevs_are_away() {
    let mut world = World::new(igb(3), 1);
    let member = |n: u8| format!("<interface dev='ens1f0v{n}'/>");
    let two = format!("{}{}", member(0), member(1));
    granted(world.ask(define_network(network_of("hw", &two, ""))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
    let add = member(2);
    granted(ask(&mut world, LIVE, (Command::AddFirst, Section::ForwardInterface, &add)));
    assert_eq!(world.state().live_networks[&net("hw")].vfs, [vf(2), vf(0), vf(1)]);
    lends_once(&mut world, 2);
}

#[test]
fn a_member_that_is_no_vf_is_refused_live_and_kept_for_later() {
    let mut world = listed(1);
    let absent = "<address type='pci' domain='0' bus='9' slot='0' function='1'/>";
    let by = (Command::AddLast, Section::ForwardInterface, absent);
    let refused = refusal(ask(&mut world, BOTH, by));
    assert!(refused.to_string().contains("is not an SR-IOV Virtual Function"), "{refused}");
    assert_eq!(kept(&world), running(&world), "neither is changed");
    granted(ask(&mut world, CONFIG, by));
}

#[test]
fn a_kill_at_an_update_leaves_a_network_that_can_be_changed_again() {
    for n in 1..6 {
        let mut world = with_network(igb(2));
        granted(world.ask(create(guest_with("web", vec![nic("hw", mac(1))]))));
        world.look();
        let request = edit(&world, BOTH, (Command::AddLast, Section::Portgroup, GOLD));
        world.die_at(crate::world::Death::Point(n));
        world.begin_unseen(request);
        world.settle();
        world.live_on();
        let has =
            |network: Option<Network>| network.expect("there").portgroup(Some("gold")).is_some();
        assert_eq!(has(running(&world)), has(kept(&world)), "both or none");
        if !has(kept(&world)) {
            granted(ask(&mut world, BOTH, (Command::AddLast, Section::Portgroup, GOLD)));
        }
        lends_once(&mut world, 1);
    }
}

/// Another description of `web`, made from the document that begins with `before`.
fn described(before: &str, by: &str) -> GuestEdit {
    let mut after = guest_with("web", vec![nic("hw", mac(1))]);
    after.xml = format!("<domain><name>web</name><description>{by}</description></domain>");
    GuestEdit { before: before.to_owned(), after }
}

fn revision(live: Option<GuestEdit>, config: Option<GuestEdit>) -> Request {
    let metadata = Some(Metadata::Description);
    Request::GuestRevise(Box::new(Revision { guest: guest("web"), live, config, metadata }))
}

/// The documents of `web`: the running one's, and the kept one.
fn documents(world: &World) -> [Option<String>; 2] {
    let run = world.state().runs.get(&guest("web"));
    let kept = world.state().guests.get(&guest("web"));
    [run.map(|run| run.definition.xml.clone()), kept.map(|kept| kept.definition.xml.clone())]
}

#[test]
fn a_guests_documents_are_changed_each_for_itself_and_nothing_of_its_devices() {
    let mut world = with_network(igb(4));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(start("web")));
    let [_, Some(first)] = documents(&world) else { panic!("it is kept") };
    let (live, config) = (described(&first, "runs"), described(&first, "is kept"));
    let [runs, kept] = [&live, &config].map(|edit| edit.after.xml.clone());

    granted(world.ask(revision(Some(live), None)));
    assert_eq!(documents(&world), [Some(runs.clone()), Some(first)]);
    granted(world.ask(revision(None, Some(config))));
    assert_eq!(documents(&world), [Some(runs.clone()), Some(kept.clone())]);
    let told = world.said.iter().filter(|told| {
        matches!(told, Announcement::GuestMetadataChanged(.., Metadata::Description))
    });
    assert_eq!(told.count(), 2);

    world.restart();
    world.settle();
    assert_eq!(documents(&world), [Some(runs), Some(kept)]);
    assert_eq!(vfs_of(&world, "web").len(), 1);
}

#[test]
fn a_change_of_a_guests_document_that_was_made_from_another_one_changes_nothing() {
    let mut world = with_network(igb(4));
    granted(world.ask(define(guest_with("web", vec![nic("hw", mac(1))]))));
    granted(world.ask(start("web")));
    let before = documents(&world);
    let [_, Some(first)] = &before else { panic!("it is kept") };
    let (sound, late) = (described(first, "now"), described("<domain/>", "later"));
    for revised in [
        revision(Some(sound.clone()), Some(late.clone())),
        revision(Some(late.clone()), Some(sound.clone())),
    ] {
        let refused = refusal(world.ask(revised));
        assert_eq!(refused.kind, RefusalKind::ChangedMeanwhile, "{refused}");
        assert_eq!(documents(&world), before);
    }
    // The running one's is gone meanwhile.
    granted(world.ask(destroy("web")));
    let refused = refusal(world.ask(revision(Some(sound), None)));
    assert_eq!(refused.kind, RefusalKind::ChangedMeanwhile, "{refused}");
    granted(world.ask(Request::GuestUndefine(guest("web"))));
    let refused = refusal(world.ask(revision(None, Some(late))));
    assert_eq!(refused.kind, RefusalKind::NoGuest, "{refused}");
}
