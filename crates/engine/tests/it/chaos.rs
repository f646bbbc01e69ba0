//! Random lives of a host: people ask, guests crash, cards vanish, the kernel refuses, lies and
//! hangs, the disk is full, the daemon is killed, the power fails. After every step all promises
//! are looked at, and at the end, when faults are over and all guests have ended, every VF is as
//! it was.

use proptest::prelude::*;
use rustix::io::Errno;
use vfnet_engine::{
    Claim, ClaimState, Edited, Ended, Executor, GuestDefinition, NetworkEdit, Plugged, PortRequest,
    Request,
};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};
use vfnet_model::PciAddress;
use vfnet_model::network::{Command, Network, Section, update};

use crate::deep;
use crate::scene::{
    PF, PF2, create, define, define_network, destroy, device, guest, guest_with, mac, net, network,
    network_of, nic, pci, port, start, two_cards, two_cards_one_in_pairs,
};
use crate::world::{Death, World, granted};

const GUESTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const NETWORKS: [&str; 4] = ["plain", "tagged", "other", "made"];
/// A tag, and a wish that stock libvirt cannot fulfil.
const TRUSTED: &str = "<vlan><tag id='42'/></vlan>\
    <vfnet:pool><vfnet:vf trust='yes'/></vfnet:pool>";
const PFS: [(&str, u16); 2] = [(PF, 7), (PF2, 4)];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    DefineGuest {
        who: usize,
        nics: Vec<(usize, u8)>,
        device: Option<usize>,
    },
    CreateGuest {
        who: usize,
        nics: Vec<(usize, u8)>,
        device: Option<usize>,
    },
    StartGuest(usize),
    DestroyGuest(usize),
    UndefineGuest(usize),
    Autostart(usize),
    GuestEnds {
        who: usize,
        crashed: bool,
    },
    StartNetwork(usize),
    DestroyNetwork {
        which: usize,
        force: bool,
    },
    CreatePort {
        which: u8,
        network: usize,
        mac: u8,
    },
    DeletePort {
        which: u8,
        network: usize,
    },
    ReclaimPort {
        which: u8,
        network: usize,
        mac: u8,
        vf: usize,
    },
    /// A portgroup comes or goes, of the running network, the kept one, or both.
    EditNetwork {
        which: usize,
        live: bool,
        config: bool,
    },
    RestoreVf(usize),
    VfVanishes(usize),
    VfsAreRemoved(usize),
    VfsAreMade(usize),
    PfDown(usize),
    PfUp(usize),
    HostUses(usize),
    HostIsDone(usize),
    Fault {
        op: OpKind,
        kind: FaultKind,
        spared: u32,
    },
    KernelComesBack,
    DiskFull,
    DiskFree,
    NoEmulator(bool),
    DaemonDies {
        at: Option<usize>,
        guests_too: bool,
    },
    DaemonDiesAtWrite {
        n: usize,
        after: bool,
    },
    Reboot,
    LookLater,
    /// Some of what is to be done is done.
    Steps(usize),
    /// All of it.
    Rest,
}

fn op() -> impl Strategy<Value = OpKind> {
    prop::sample::select(vec![
        OpKind::SetMac,
        OpKind::SetVlan,
        OpKind::SetSpoofchk,
        OpKind::SetTrust,
        OpKind::Override,
        OpKind::Unbind,
        OpKind::Probe,
        OpKind::LoadDriver,
        OpKind::NetdevMac,
        OpKind::ReadVf,
        OpKind::ReadAttributes,
        OpKind::NumVfs,
    ])
}

fn kind() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        Just(FaultKind::errno(Errno::IO)),
        Just(FaultKind::errno(Errno::BUSY)),
        // Not EINVAL: that is how a card refuses a zero MAC for good, and another one stays set.
        Just(FaultKind::errno(Errno::NOMEM)),
        Just(FaultKind::Ignored),
        Just(FaultKind::Stuck),
        Just(FaultKind::Vanish),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    use Event as E;
    let who = || 0..GUESTS.len();
    let which = || 0..NETWORKS.len();
    let pf = || 0..PFS.len();
    let vf = || 0..11_usize;
    let nics = || prop::collection::vec((which(), 1..8_u8), 0..3);
    let device = || prop::option::weighted(0.2, vf());
    prop_oneof![
        3 => (who(), nics(), device())
            .prop_map(|(who, nics, device)| E::DefineGuest { who, nics, device }),
        6 => (who(), nics(), device())
            .prop_map(|(who, nics, device)| E::CreateGuest { who, nics, device }),
        9 => who().prop_map(E::StartGuest),
        7 => who().prop_map(E::DestroyGuest),
        1 => who().prop_map(E::UndefineGuest),
        1 => who().prop_map(E::Autostart),
        3 => (who(), any::<bool>()).prop_map(|(who, crashed)| E::GuestEnds { who, crashed }),
        4 => which().prop_map(E::StartNetwork),
        2 => (which(), any::<bool>()).prop_map(|(which, force)| E::DestroyNetwork { which, force }),
        3 => (0..4_u8, which(), 1..8_u8)
            .prop_map(|(which, network, mac)| E::CreatePort { which, network, mac }),
        3 => (0..4_u8, which()).prop_map(|(which, network)| E::DeletePort { which, network }),
        1 => (0..4_u8, which(), 1..8_u8, vf())
            .prop_map(|(which, network, mac, vf)| E::ReclaimPort { which, network, mac, vf }),
        2 => (which(), any::<bool>(), any::<bool>())
            .prop_map(|(which, live, config)| E::EditNetwork { which, live, config }),
        2 => vf().prop_map(E::RestoreVf),
        1 => vf().prop_map(E::VfVanishes),
        1 => pf().prop_map(E::VfsAreRemoved),
        2 => pf().prop_map(E::VfsAreMade),
        1 => pf().prop_map(E::PfDown),
        2 => pf().prop_map(E::PfUp),
        1 => vf().prop_map(E::HostUses),
        2 => vf().prop_map(E::HostIsDone),
        3 => (op(), kind(), 0..3_u32).prop_map(|(op, kind, spared)| E::Fault { op, kind, spared }),
        2 => Just(E::KernelComesBack),
        1 => Just(E::DiskFull),
        3 => Just(E::DiskFree),
        1 => any::<bool>().prop_map(E::NoEmulator),
        3 => (prop::option::of(1..12_usize), any::<bool>())
            .prop_map(|(at, guests_too)| E::DaemonDies { at, guests_too }),
        2 => (1..8_usize, any::<bool>()).prop_map(|(n, after)| E::DaemonDiesAtWrite { n, after }),
        1 => Just(E::Reboot),
        1 => Just(E::LookLater),
        6 => (1..6_usize).prop_map(E::Steps),
        6 => Just(E::Rest),
    ]
}

fn vf_numbered(index: usize) -> PciAddress {
    let world = two_cards();
    let addresses: Vec<_> = world.facts().into_keys().collect();
    addresses[index % addresses.len()]
}

fn guest_of(who: usize, nics: &[(usize, u8)], hostdev: Option<usize>) -> GuestDefinition {
    let nics = nics.iter().map(|(network, last)| nic(NETWORKS[*network], mac(*last))).collect();
    let hostdevs = hostdev.map(|index| device(vf_numbered(index))).into_iter().collect();
    GuestDefinition { hostdevs, ..guest_with(GUESTS[who], nics) }
}

fn host_at_the_beginning(seed: u64) -> World {
    let host = if seed.is_multiple_of(2) { two_cards() } else { two_cards_one_in_pairs() };
    let mut world = World::new(host, seed);
    for def in [
        network("plain", "ens1f0", 0),
        network_of("tagged", "<pf dev='ens1f0'/>", TRUSTED),
        network("other", "ens2f0", 0),
        network_of("made", "", "<vfnet:pool><vfnet:pf dev='ens2f0' vfs='4'/></vfnet:pool>"),
    ] {
        granted(world.ask(define_network(def)));
    }
    for name in ["plain", "tagged"] {
        granted(world.ask(Request::NetworkStart(net(name))));
        granted(world.ask(Request::NetworkAutostart(net(name), true)));
    }
    world
}

fn happens(world: &mut World, event: &Event) {
    match event {
        Event::DefineGuest { who, nics, device } => {
            world.begin(define(guest_of(*who, nics, *device)));
        }
        Event::CreateGuest { who, nics, device } => {
            world.begin(create(guest_of(*who, nics, *device)));
        }
        Event::StartGuest(who) => drop(world.begin(start(GUESTS[*who]))),
        Event::DestroyGuest(who) => drop(world.begin(destroy(GUESTS[*who]))),
        Event::UndefineGuest(who) => {
            world.begin(Request::GuestUndefine(guest(GUESTS[*who])));
        }
        Event::Autostart(who) => {
            world.begin(Request::GuestAutostart(guest(GUESTS[*who]), true));
        }
        Event::GuestEnds { who, crashed } => {
            let ended =
                if *crashed { Ended::Crashed("signal 11".into()) } else { Ended::PoweredOff };
            world.guest_ends(guest(GUESTS[*who]), ended);
        }
        Event::StartNetwork(which) => {
            world.begin(Request::NetworkStart(net(NETWORKS[*which])));
        }
        Event::DestroyNetwork { which, force } => {
            let network = net(NETWORKS[*which]);
            world.begin(Request::NetworkDestroy { network, force: *force });
        }
        Event::CreatePort { which, network, mac: last } => {
            let asked = port(NETWORKS[*network], *which, mac(*last));
            world.begin(Request::PortCreate(Box::new(asked)));
        }
        Event::DeletePort { which, network } => {
            let port = port(NETWORKS[*network], *which, mac(1)).port;
            world.begin(Request::PortDelete { network: net(NETWORKS[*network]), port });
        }
        Event::ReclaimPort { which, network, mac: last, vf } => {
            let plug = Some(Plugged::Vf(vf_numbered(*vf)));
            let asked = PortRequest { plug, ..port(NETWORKS[*network], *which, mac(*last)) };
            world.begin(Request::PortCreate(Box::new(asked)));
        }
        Event::EditNetwork { which, live, config } => edit(world, NETWORKS[*which], *live, *config),
        Event::RestoreVf(index) => drop(world.begin(Request::VfRestore(vf_numbered(*index)))),
        Event::DaemonDies { at, guests_too } => {
            world.guests_die_with_the_daemon = *guests_too;
            match at {
                Some(n) => world.die_at(Death::Point(*n)),
                None => world.restart(),
            }
        }
        Event::DaemonDiesAtWrite { n, after } => world.die_at(match after {
            true => Death::AfterWrite(*n),
            false => Death::BeforeWrite(*n),
        }),
        Event::Reboot => world.reboot(&PFS.map(|(pf, count)| (pci(pf), count))),
        Event::Steps(count) => {
            for _ in 0..*count {
                world.step();
            }
        }
        Event::Rest => world.settle(),
        Event::DiskFull => world.disk_full = true,
        Event::DiskFree => world.disk_full = false,
        Event::NoEmulator(missing) => world.no_emulator = *missing,
        Event::LookLater => world.look(),
        outside => world_changes(world, outside),
    }
}

fn edit(world: &mut World, name: &str, live: bool, config: bool) {
    let edited = |before: Network| {
        let group = "<portgroup name='gold'/>";
        let there = before.portgroup(Some("gold")).is_some();
        let command = if there { Command::Delete } else { Command::AddLast };
        let after = update(&before, command, Section::Portgroup, -1, group);
        Edited { after: after.expect("a sound update"), before }
    };
    let network = net(name);
    let running =
        world.state().live_networks.get(&network).map(|live| live.definition.network.clone());
    let kept = world.state().networks.get(&network).map(|kept| kept.definition.network.clone());
    let (live, config) =
        (running.filter(|_| live).map(edited), kept.filter(|_| config).map(edited));
    let edit = NetworkEdit { network, live, config, metadata: None };
    world.begin(Request::NetworkEdit(Box::new(edit)));
}

/// What the rest of the world does; the daemon hears of it as of uevents.
fn world_changes(world: &mut World, event: &Event) {
    world.story.push(format!("{event:?}"));
    let host = world.host.clone();
    match event {
        Event::VfVanishes(index) => host.remove_vf(vf_numbered(*index)),
        // Either may be refused, or hang until a guest lets go.
        Event::VfsAreRemoved(which) => drop(host.remove_vfs(pci(PFS[*which].0))),
        Event::VfsAreMade(which) => drop(host.make_vfs(pci(PFS[*which].0), PFS[*which].1)),
        Event::PfDown(which) => {
            world.macs_may_be_unheard = true;
            host.pf_down(pci(PFS[*which].0));
        }
        Event::PfUp(which) => host.pf_up(pci(PFS[*which].0)),
        Event::HostUses(index) => {
            host.change_netdev(vf_numbered(*index), |dev| dev.addresses = vec!["10.0.0.1".into()]);
        }
        Event::HostIsDone(index) => {
            host.change_netdev(vf_numbered(*index), |dev| dev.addresses.clear());
        }
        Event::Fault { op, kind, spared } => {
            host.fail(FaultPoint::next(*op).after(*spared), *kind);
        }
        Event::KernelComesBack => kernel_comes_back(world),
        _ => {}
    }
    world.look();
}

fn kernel_comes_back(world: &World) {
    world.host.clear_faults();
    let pfs = PFS.map(|(pf, _)| pci(pf));
    for device in world.host.facts().into_keys().chain(pfs) {
        world.host.release(device);
    }
}

/// Everything that went wrong is mended, everybody goes home, and nothing is left.
fn goes_home(world: &mut World) {
    world.story.push("the end begins".into());
    world.live_on();
    world.disk_full = false;
    world.no_emulator = false;
    world.guests_die_with_the_daemon = false;
    kernel_comes_back(world);
    for (pf, _) in PFS {
        world.host.pf_up(pci(pf));
    }
    for index in 0..11 {
        world.host.change_netdev(vf_numbered(index), |dev| dev.addresses.clear());
    }
    // A look may have autostart try once more what had failed.
    for _ in 0..4 {
        world.look();
        world.settle();
        for name in GUESTS {
            if world.processes.contains_key(&guest(name)) {
                granted(world.ask(destroy(name)));
            }
        }
    }
    // What is in use in a group goes back before what is to be restored in it.
    let over = |claim: &Claim| {
        matches!(claim.state, ClaimState::Quarantined { .. } | ClaimState::Stuck { .. })
    };
    let mut claims: Vec<_> = world.state().claims.values().cloned().collect();
    claims.sort_by_key(over);
    for claim in claims {
        match (claim.state, claim.executor) {
            (ClaimState::Quarantined { .. } | ClaimState::Stuck { .. }, _) => {
                granted(world.ask(Request::VfRestore(claim.vf)));
            }
            (_, Executor::Outside) => {
                let of = claim.network.expect("a port is of a network");
                let delete = Request::PortDelete { network: of.uuid, port: of.port };
                granted(world.ask(delete));
            }
            (state, _) => world.broken(&format!("{} is {} at the end", claim.vf, state.word())),
        }
    }
    if let Some(claim) = world.state().claims.values().next() {
        world.broken(&format!("{} is still claimed at the end: {claim:?}", claim.vf));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if deep() { 2000 } else { 40 },
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn promises_hold_whatever_happens(
        seed in any::<u64>(),
        events in prop::collection::vec(event(), 1..if deep() { 120 } else { 60 }),
    ) {
        let mut world = host_at_the_beginning(seed);
        world.story.push(format!("seed {seed}"));
        for event in &events {
            happens(&mut world, event);
        }
        goes_home(&mut world);
    }
}
