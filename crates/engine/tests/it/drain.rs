//! PFs whose VFs the administrator has lent no more.

use vfnet_engine::{Announcement, Request};
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::pf::PfIdentity;
use vfnet_model::report::AbsentPf;

use crate::scene::{
    PF, PF2, create, destroy, device, guest_with, igb, mac, nic, pci, port, vf, vfs_of,
    with_network,
};
use crate::world::{World, granted, refusal};

fn drain(why: &str) -> Request {
    Request::PfDrain { pf: pci(PF), why: why.into() }
}

fn one_nic(name: &str, last: u8) -> Request {
    create(guest_with(name, vec![nic("hw", mac(last))]))
}

#[test]
fn a_drained_pf_lends_nothing_anew_and_what_is_lent_stays_so() {
    let mut world = with_network(igb(3));
    granted(world.ask(one_nic("first", 1)));
    granted(world.ask(drain("bad cable")));
    let says = "its PF ens1f0 (0000:01:00.0) is drained: bad cable";

    let mut by_address = guest_with("direct", Vec::new());
    by_address.hostdevs.push(device(vf(2)));
    let asked = [
        one_nic("second", 2),
        create(by_address),
        Request::PortCreate(Box::new(port("hw", 1, mac(3)))),
    ];
    for asked in asked {
        let refused = refusal(world.ask(asked)).to_string();
        assert!(refused.contains(says), "{refused}");
    }
    assert_eq!(vfs_of(&world, "first"), [vf(0)]);
    granted(world.ask(destroy("first")));
    let refused = refusal(world.ask(one_nic("first", 1))).to_string();
    assert!(refused.contains(says), "{refused}");

    granted(world.ask(Request::PfUndrain(PfIdentity::Address(pci(PF)))));
    granted(world.ask(one_nic("second", 2)));
    let told = |what: &Announcement| {
        matches!(what, Announcement::PfDrained(..) | Announcement::PfUndrained(_))
    };
    assert_eq!(world.said.iter().filter(|what| told(what)).count(), 2);
    let twice = refusal(world.ask(Request::PfUndrain(PfIdentity::Address(pci(PF))))).to_string();
    assert!(twice.contains("is not drained"), "{twice}");
}

#[test]
fn a_drain_outlives_the_daemon_the_boot_and_its_cards_place() {
    let card = |address| SimHost::builder().vfio_loaded().pf("ens1f0", address, Driver::Igb).vfs(2);
    let mut world = with_network(card(PF).build());
    granted(world.ask(drain("")));
    granted(world.ask(drain("second thoughts")));
    world.restart();
    world.settle();
    assert_eq!(
        world.state().drain_of(pci(PF)).map(|drain| drain.why.as_str()),
        Some("second thoughts")
    );
    world.reboot(&[(pci(PF), 2)]);
    world.settle();
    assert!(world.state().drain_of(pci(PF)).is_some());

    // The same card in another slot, and a host that was not there before.
    let drains: Vec<_> = world.state().drains.keys().copied().collect();
    let moved = World::new(card(PF2).build(), 1);
    let pf = &moved.state().inventory.pfs[&pci(PF2)];
    assert_eq!(drains, [PfIdentity::of(pf)]);
}

#[test]
fn what_is_no_pf_is_not_drained() {
    let mut world = with_network(igb(1));
    let nowhere = Request::PfDrain { pf: vf(0), why: String::new() };
    assert!(refusal(world.ask(nowhere)).to_string().contains("is not an SR-IOV PF"));
}

#[test]
fn what_is_on_record_of_a_pf_that_is_gone_is_listed_and_can_be_taken_back() {
    let mut world = with_network(igb(2));
    let identity = PfIdentity::of(&world.state().inventory.pfs[&pci(PF)]);
    granted(world.ask(drain("bad cable")));
    assert_eq!(world.state().absent_pfs(), []);
    assert!(world.host.unplug_pf(pci(PF)));
    world.look();
    world.settle();
    let drained = Some("bad cable".to_owned());
    assert_eq!(world.state().absent_pfs(), [AbsentPf { identity, drained, kept_vfs: None }]);

    // Where it was, nothing is.
    let by_place = Request::PfUndrain(PfIdentity::Address(pci(PF)));
    let by_place = refusal(world.ask(by_place)).to_string();
    assert!(by_place.contains("is not an SR-IOV PF"), "{by_place}");
    assert!(by_place.contains("by what those that are not here are known"), "{by_place}");
    let not_kept = refusal(world.ask(Request::PfForgetVfs(identity))).to_string();
    assert!(not_kept.contains(&format!("no VFs are kept of PF {identity}")), "{not_kept}");
    granted(world.ask(Request::PfUndrain(identity)));
    assert_eq!(world.state().absent_pfs(), []);
}
