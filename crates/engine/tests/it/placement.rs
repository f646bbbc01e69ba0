//! Which of the VFs that can be lent is lent: apart, near, spread, packed, pinned; and how many
//! exclusions are told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use vfnet_engine::{
    Because, Engine, GuestDefinition, Input, Moment, NicNeed, NicSource, Obstacle, Refusal,
    RefusalKind, Request, State, Ticket,
};
use vfnet_host::Host as _;
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::inventory::HostUse;
use vfnet_model::{MacAddress, NetdevName, PciAddress};

use crate::scene::{
    create, define_network, device, guest, guest_with, mac, net, network_of, nic, pci,
};

/// Two cards of two PFs each: the name of each PF, its address, its NUMA node.
const PFS: [(&str, &str, u16); 4] = [
    ("left0", "0000:01:00.0", 0),
    ("left1", "0000:01:00.1", 0),
    ("right0", "0000:81:00.0", 1),
    ("right1", "0000:81:00.1", 1),
];

/// An engine that has seen a host with so many VFs on each PF.
fn seen(vfs: [u16; 4], down: Option<usize>) -> Engine {
    let mut host = SimHost::builder().vfio_loaded().node(0, 0..=3).node(1, 4..=7);
    for (place, (name, address, node)) in PFS.into_iter().enumerate() {
        let pf = host.pf(name, address, Driver::Igb).vfs(vfs[place]).numa(node);
        host = if down == Some(place) { pf.down().done() } else { pf.done() };
    }
    let mut engine = Engine::default();
    let inventory = host.build().inventory().expect("a look at the host");
    let _seen = engine.decide(Input::Observed { began: Moment(1), inventory: Box::new(inventory) });
    engine
}

/// Asks, and carries nothing out: claims stay as they are taken.
fn ask(engine: &mut Engine, request: Request) -> Result<(), Refusal> {
    let decision = engine.decide(Input::Ask(Ticket(7), request));
    for effect in decision.effects {
        if let vfnet_engine::Effect::Answer(_, Err(refusal)) = effect {
            return Err(refusal);
        }
    }
    Ok(())
}

/// Network `hw` of all PFs is active, placed like this, and in its portgroups like that.
fn with_network(engine: &mut Engine, placement: &str, groups: &str) {
    let pfs: String = PFS.iter().map(|(name, ..)| format!("<vfnet:pf dev='{name}'/>")).collect();
    let after = format!("{groups}<vfnet:pool>{pfs}<vfnet:placement {placement}/></vfnet:pool>");
    ask(engine, define_network(network_of("hw", "", &after))).expect("defined");
    ask(engine, Request::NetworkStart(net("hw"))).expect("started");
}

/// A VF that is another guest's, with this MAC.
fn take(engine: &mut Engine, vf: PciAddress, name: &str, mac: MacAddress) {
    let source = NicSource::Device(device(vf));
    let taken = NicNeed { source, mac, vlan: None, teaming: false, link_up: None };
    ask(engine, create(guest_with(name, vec![taken]))).expect("it is free");
}

/// The VFs that a guest has, in the order of its interfaces.
fn has(state: &State, name: &str) -> Vec<PciAddress> {
    let mut claims: Vec<_> = state.claims_of(guest(name)).collect();
    claims.sort_by_key(|claim| format!("{:?}", claim.owner));
    claims.into_iter().map(|claim| claim.vf).collect()
}

fn pf_of(state: &State, vf: PciAddress) -> PciAddress {
    state.inventory.vfs[&vf].pf
}

fn near(number: u16) -> GuestDefinition {
    let processors = (number * 4..number * 4 + 4).collect();
    GuestDefinition { processors, ..guest_with("web", vec![nic("hw", mac(1))]) }
}

#[test]
fn a_card_at_the_guests_numa_node_is_preferred_or_required() {
    for (placement, node) in [("numa='prefer'", 1), ("numa='require'", 1), ("numa='ignore'", 0)] {
        let mut engine = seen([1; 4], None);
        with_network(&mut engine, placement, "");
        ask(&mut engine, create(near(1))).expect(placement);
        let vf = has(engine.state(), "web")[0];
        assert_eq!(engine.state().inventory.vfs[&vf].numa_node, Some(node), "{placement}");
    }
    let mut engine = seen([1, 1, 0, 0], None);
    with_network(&mut engine, "numa='prefer'", "");
    ask(&mut engine, create(near(1))).expect("there is another");

    let mut engine = seen([1, 1, 0, 0], None);
    with_network(&mut engine, "numa='require'", "");
    let refused = ask(&mut engine, create(near(1))).expect_err("none is near").to_string();
    let says = "is at NUMA node 0, and the guest at 1, which the network requires";
    assert!(refused.contains(says), "{refused}");
    let anywhere = guest_with("anywhere", vec![nic("hw", mac(2))]);
    ask(&mut engine, create(anywhere)).expect("it is nowhere in particular");
}

#[test]
fn the_memory_of_a_guest_says_where_it_is_before_its_processors_do() {
    let mut engine = seen([1; 4], None);
    with_network(&mut engine, "numa='require'", "");
    let def = GuestDefinition { memory_nodes: BTreeSet::from([1]), ..near(0) };
    ask(&mut engine, create(def)).expect("there is one");
    let vf = has(engine.state(), "web")[0];
    assert_eq!(engine.state().inventory.vfs[&vf].numa_node, Some(1));
}

#[test]
fn guests_are_spread_over_pfs_or_packed_on_them() {
    for (placement, expected) in
        [("guests='spread'", [2, 2, 2, 2]), ("guests='pack'", [4, 4, 0, 0]), ("", [4, 4, 0, 0])]
    {
        let mut engine = seen([4; 4], None);
        with_network(&mut engine, placement, "");
        for number in 0..8 {
            let name = format!("g{number}");
            ask(&mut engine, create(guest_with(&name, vec![nic("hw", mac(number))])))
                .expect("room");
        }
        let mut lent: BTreeMap<PciAddress, usize> = BTreeMap::new();
        for claim in engine.state().claims.values() {
            *lent.entry(claim.pf).or_default() += 1;
        }
        let lent = PFS.map(|(_, pf, _)| lent.get(&pci(pf)).copied().unwrap_or(0));
        assert_eq!(lent, expected, "{placement}");
    }
}

#[test]
fn a_pf_without_a_link_is_the_last_resort() {
    let mut host = SimHost::builder().vfio_loaded();
    for (name, address, _) in PFS {
        host = host.pf(name, address, Driver::Igb).vfs(1).done();
    }
    let mut engine = Engine::default();
    let mut inventory = Box::new(host.build().inventory().expect("a look at the host"));
    for pf in inventory.pfs.values_mut() {
        let dev = pf.netdev.as_mut().expect("a netdev");
        dev.carrier = dev.name.as_str() == "right1";
    }
    let _seen = engine.decide(Input::Observed { began: Moment(1), inventory });
    with_network(&mut engine, "", "");
    for (name, number, pf) in [("web", 1, "0000:81:00.1"), ("next", 2, "0000:01:00.0")] {
        ask(&mut engine, create(guest_with(name, vec![nic("hw", mac(number))]))).expect("room");
        assert_eq!(pf_of(engine.state(), has(engine.state(), name)[0]), pci(pf));
    }
}

#[test]
fn a_portgroup_is_pinned_to_a_pf_or_a_vf_and_others_are_told_so() {
    let groups = "<portgroup name='right'><vfnet:placement pf='right0'/></portgroup>\
                  <portgroup name='second'><vfnet:placement pf='0000:01:00.1' vf='1'/></portgroup>";
    let mut engine = seen([2; 4], None);
    with_network(&mut engine, "", groups);
    let of_group = |group: &str, number| {
        let name = "hw".parse().expect("a name");
        let source = NicSource::Network { name, portgroup: Some(group.to_owned()) };
        NicNeed { source, ..nic("hw", mac(number)) }
    };
    // What is pinned has its VF also where it stands behind one that might have taken it.
    let both = vec![of_group("right", 1), of_group("second", 2), of_group("right", 3)];
    ask(&mut engine, create(guest_with("web", both))).expect("room");
    let vfs = has(engine.state(), "web");
    let pfs: Vec<_> = vfs.iter().map(|vf| pf_of(engine.state(), *vf)).collect();
    assert_eq!(pfs, [pci("0000:81:00.0"), pci("0000:01:00.1"), pci("0000:81:00.0")]);
    assert_eq!(engine.state().inventory.vfs[&vfs[1]].index.0, 1);

    let more = create(guest_with("more", vec![of_group("right", 4)]));
    let refused = ask(&mut engine, more).expect_err("both are taken");
    assert_eq!(refused.kind, RefusalKind::Exhausted);
    let words = refused.to_string();
    assert!(words.contains("is not of the pin: PF right0"), "{words}");
    assert!(words.contains("being prepared for guest web"), "{words}");
}

#[test]
fn an_explanation_is_what_a_start_then_does() {
    let mut engine = seen([2; 4], None);
    with_network(&mut engine, "numa='prefer' legs='require'", "");
    let def = GuestDefinition {
        nics: vec![nic("hw", mac(1)), nic("hw", mac(2))],
        hostdevs: vec![device(engine.state().inventory.vfs_of(pci("0000:81:00.0"))[0].address)],
        ..near(1)
    };
    let live = &engine.state().live_networks[&net("hw")];
    let explained = engine.state().explain(live, Some(&def)).expect("it could serve them");
    let told: BTreeMap<MacAddress, PciAddress> = explained
        .iter()
        .map(|it| (it.nic.as_ref().expect("a NIC").mac, it.usable.first().expect("room").1))
        .collect();
    ask(&mut engine, create(def)).expect("as explained");
    let state = engine.state();
    let taken: BTreeMap<_, _> = state
        .claims
        .values()
        .filter_map(|claim| Some((claim.wanted.as_ref()?.mac, claim.vf)))
        .collect();
    assert_eq!(told, taken);
    let second = explained.iter().find(|it| it.nic.as_ref().is_some_and(|nic| nic.mac == mac(2)));
    let why: Vec<_> = second.expect("it").others.iter().map(|it| it.reason.as_str()).collect();
    assert!(why.iter().any(|why| why.contains("on the card of another")), "{why:?}");
}

#[test]
fn many_exclusions_are_counted_and_those_that_say_most_come_first() {
    let vf = |number: u16| {
        let (slot, function) = ((number / 8 % 32) as u8, (number % 8) as u8);
        PciAddress::new(0, (number / 256) as u8, slot, function).expect("an address")
    };
    let because = |number: u16| {
        let (obstacle, reason) = match number {
            0..64 => (Obstacle::Host, "its PF ens1f0 is down".to_owned()),
            64 => (Obstacle::Wish, "cannot have MAC x: guest a has it".to_owned()),
            65 => (Obstacle::Broken, "quarantined (did not come back)".to_owned()),
            _ => (Obstacle::Taken, format!("held by guest g{}", number / 2)),
        };
        Because::new(vf(number), obstacle, reason)
    };
    let refusal = Refusal {
        vfs: (0..4096).map(because).collect(),
        ..Refusal::new(RefusalKind::Exhausted, "network 'hw': none of its 4096 VFs can be lent")
    };
    let words = refusal.to_string();
    let lines: Vec<&str> = words.split("; ").collect();
    assert_eq!(
        lines,
        [
            "network 'hw': none of its 4096 VFs can be lent: 0000:00:08.0 cannot have MAC x: guest \
             a has it",
            "0000:00:08.1 quarantined (did not come back)",
            "64 VFs, 0000:00:00.0 the first: its PF ens1f0 is down",
            "2 VFs, 0000:00:08.2 the first: held by guest g33",
            "2 VFs, 0000:00:08.4 the first: held by guest g34",
            "2 VFs, 0000:00:08.6 the first: held by guest g35",
            "4024 more are taken as well",
        ]
    );
}

#[test]
fn frames_that_a_pf_does_not_have_are_not_promised() {
    let mut engine = seen([2, 2, 0, 0], None);
    let group = "<portgroup name='usual'><vfnet:placement mtu='1500'/></portgroup>";
    with_network(&mut engine, "mtu='9000'", group);
    let asks = |name: &str, nic: NicNeed| create(guest_with(name, vec![nic]));
    let refused = ask(&mut engine, asks("long", nic("hw", mac(1)))).expect_err("refused");
    let says = "its PF left0 has MTU 1500, 9000 is required (ip link set left0 mtu 9000)";
    assert!(refused.to_string().contains(says), "{refused}");
    let mut usual = nic("hw", mac(2));
    if let NicSource::Network { portgroup, .. } = &mut usual.source {
        *portgroup = Some("usual".to_owned());
    }
    ask(&mut engine, asks("usual", usual)).expect("lent");
}

/// 64 PFs of 64 VFs: half of them at the wrong node, a quarter of the rest drained, some VFs of one
/// PF the host's, for more reasons than are told of other sorts, all others lent.
#[test]
fn a_pool_of_four_thousand_vfs_refuses_in_a_few_lines() {
    let mut host = SimHost::builder().vfio_loaded().node(0, 0..=3).node(1, 4..=7);
    for card in 0..64_u16 {
        let (name, address) = (format!("ens{card}"), format!("{card:04x}:01:00.0"));
        host = host.pf(&name, &address, Driver::Ice).vfs(64).numa(card / 32).done();
    }
    let host = host.build();
    let mut inventory = host.inventory().expect("a look at the host");
    let mut used = BTreeSet::new();
    for vf in inventory.vfs.values_mut().filter(|vf| vf.pf == pci("0010:01:00.0")) {
        let index = vf.index.0;
        let dev: NetdevName = format!("ens16v{index}").parse().expect("a name");
        let bridge = |name: &str| name.parse().expect("a name");
        vf.uses.push(match index {
            0..6 => HostUse::Address(dev, format!("192.0.2.{index}/24")),
            6..9 => HostUse::Master(dev, bridge("br0")),
            9 => HostUse::Master(dev, bridge("br1")),
            10 => HostUse::VfioOpen("dpdk-testpmd (4711)".to_owned()),
            11 => HostUse::NoNetdev("iavf".parse().expect("a driver")),
            12 => HostUse::Route(dev, "198.51.100.0/24".to_owned()),
            _ => continue,
        });
        used.insert(vf.address);
    }
    let mut engine = Engine::default();
    let of_pf: BTreeMap<PciAddress, Vec<PciAddress>> =
        inventory.vfs.values().fold(BTreeMap::new(), |mut of_pf, vf| {
            of_pf.entry(vf.pf).or_insert_with(Vec::new).push(vf.address);
            of_pf
        });
    let _seen = engine.decide(Input::Observed { began: Moment(1), inventory: Box::new(inventory) });
    let pool = "<vfnet:pool><vfnet:pf driver='ice'/><vfnet:placement numa='require'/></vfnet:pool>";
    ask(&mut engine, define_network(network_of("hw", "", pool))).expect("defined");
    ask(&mut engine, Request::NetworkStart(net("hw"))).expect("started");
    for (card, (pf, vfs)) in of_pf.iter().take(32).enumerate() {
        if card < 8 {
            let why = "new firmware".to_owned();
            ask(&mut engine, Request::PfDrain { pf: *pf, why }).expect("drained");
        } else {
            let mut holder = guest_with(&format!("web{card}"), Vec::new());
            holder.hostdevs =
                vfs.iter().filter(|vf| !used.contains(vf)).map(|vf| device(*vf)).collect();
            ask(&mut engine, create(holder)).expect("started");
        }
    }
    let mut late = guest_with("late", vec![nic("hw", mac(1))]);
    late.memory_nodes = [0].into();
    let refused = ask(&mut engine, create(late)).expect_err("nothing is left");
    let lines: Vec<_> = refused.to_string().split("; ").map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "network 'hw': none of its 4096 VFs can be lent: 2048 VFs, 0020:01:10.0 the first: is \
             at NUMA node 1, and the guest at 0, which the network requires",
            "512 VFs, 0000:01:10.0 the first: its PF ens0 (0000:01:00.0) is drained: new firmware \
             (likewise ens1, ens2, ens3 and 4 more)",
            "6 VFs, 0010:01:10.0 the first: host uses ens16v0: it has the address 192.0.2.0/24 \
             (likewise 192.0.2.1/24, 192.0.2.2/24, 192.0.2.3/24 and 2 more)",
            "4 VFs, 0010:01:11.4 the first: host uses ens16v6: it belongs to br0 (likewise br1)",
            "0010:01:12.4 open through VFIO by dpdk-testpmd (4711)",
            "0010:01:12.6 bound to iavf, but its netdev is not here (another network namespace?)",
            "0010:01:13.0 host uses ens16v12: route 198.51.100.0/24",
            "64 VFs, 0008:01:10.0 the first: being prepared for guest web8",
            "64 VFs, 0009:01:10.0 the first: being prepared for guest web9",
            "64 VFs, 000a:01:10.0 the first: being prepared for guest web10",
            "1331 more are taken as well",
        ]
    );
}

/// How a guest of two interfaces finds the host.
#[derive(Clone, Debug)]
struct Found {
    vfs: [u16; 4],
    /// VFs that others have, by PF and number, and whether with the MAC of the guest's first or
    /// second interface.
    taken: Vec<(usize, u16, u8)>,
    down: Option<usize>,
    numa: bool,
    node: u16,
}

fn found() -> impl Strategy<Value = Found> {
    let taken = prop::collection::vec((0..4_usize, 0..4_u16, 1..8_u8), 0..8);
    let down = prop::option::of(0..4_usize);
    (prop::array::uniform4(0..4_u16), taken, down, any::<bool>(), 0..2_u16)
        .prop_map(|(vfs, taken, down, numa, node)| Found { vfs, taken, down, numa, node })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Two legs are on one PF only when no two PFs have room, and on one card only when no two
    /// cards have; required, they never are. What is required of NUMA holds. Twice the same is
    /// twice the same.
    #[test]
    fn legs_are_apart_whenever_they_can_be(found in found(), require in any::<bool>()) {
        let mut engine = seen(found.vfs, found.down);
        let weight = if require { "require" } else { "prefer" };
        let numa = if found.numa { " numa='require'" } else { "" };
        if found.vfs.iter().sum::<u16>() == 0 {
            return Ok(());
        }
        with_network(&mut engine, &format!("legs='{weight}'{numa}"), "");
        let mut others: BTreeMap<PciAddress, (PciAddress, u8)> = BTreeMap::new();
        for (pf, number, last) in &found.taken {
            let pf = pci(PFS[*pf].1);
            let vf = engine.state().inventory.vfs_of(pf).get(usize::from(*number)).map(|vf| vf.address);
            let Some(vf) = vf else { continue };
            let clashes = others.values().any(|other| *other == (pf, *last));
            if clashes || others.contains_key(&vf) || found.down.is_some_and(|down| pci(PFS[down].1) == pf) {
                continue;
            }
            take(&mut engine, vf, &format!("other-{vf}").replace([':', '.'], "-"), mac(*last));
            others.insert(vf, (pf, *last));
        }
        // Not asked of the engine: which PFs have room for which leg.
        let room = |last: u8| -> Vec<(usize, PciAddress)> {
            let usable = PFS.iter().enumerate().filter(|(place, (_, pf, node))| {
                found.down != Some(*place)
                    && !(found.numa && *node != found.node)
                    && !others.values().any(|other| *other == (pci(pf), last))
            });
            usable
                .flat_map(|(place, (_, pf, _))| {
                    let vfs = engine.state().inventory.vfs_of(pci(pf));
                    let free = vfs.into_iter().filter(|vf| !others.contains_key(&vf.address));
                    free.map(move |vf| (place, vf.address)).collect::<Vec<_>>()
                })
                .collect()
        };
        let (first, second) = (room(1), room(2));
        let exists = |apart: &dyn Fn(usize, usize) -> bool| {
            first.iter().any(|(a, x)| second.iter().any(|(b, y)| x != y && apart(*a, *b)))
        };
        let on_cards = exists(&|a, b| a / 2 != b / 2);
        let on_pfs = exists(&|a, b| a != b);
        let at_all = exists(&|_, _| true);

        let def = GuestDefinition {
            nics: vec![nic("hw", mac(1)), nic("hw", mac(2))],
            ..near(found.node)
        };
        let state = engine.state().clone();
        let asked = ask(&mut engine, create(def.clone()));
        prop_assert_eq!(asked.is_ok(), if require { on_cards } else { at_all }, "{:?}", asked);
        let plan = state.plan(create(def)).map(|plan| plan.steps);
        prop_assert_eq!(plan.is_ok(), asked.is_ok());
        let Ok(()) = asked else { return Ok(()) };
        let vfs = has(engine.state(), "web");
        let place = |vf: PciAddress| {
            let pf = pf_of(engine.state(), vf);
            PFS.iter().position(|(_, address, _)| pci(address) == pf).expect("a PF")
        };
        let (a, b) = (place(vfs[0]), place(vfs[1]));
        prop_assert!(a / 2 != b / 2 || !on_cards, "{vfs:?} on one card");
        prop_assert!(a != b || !on_pfs, "{vfs:?} on one PF");
        if found.numa {
            prop_assert!(PFS[a].2 == found.node && PFS[b].2 == found.node);
        }
        // The same plan, VF by VF.
        let planned: BTreeSet<_> =
            plan.expect("granted").iter().filter_map(|step| step.vf).collect();
        prop_assert!(vfs.iter().all(|vf| planned.contains(vf)));
    }
}
