//! What can happen in the life of a host: people ask, guests crash, cards vanish, the kernel
//! refuses, lies and hangs, the disk is full, the daemon is killed, the power fails. After every
//! step all promises are looked at, and at the end, when faults are over and all guests have
//! ended, every VF is as it was.

use std::fmt;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::io::Errno;
use vfnet_engine::{
    Claim, ClaimState, Edited, Ended, Executor, GuestDefinition, Input, NetworkEdit, Plugged,
    PortRequest, Request,
};
use vfnet_host::Host;
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, OwnMac, SimHost, ZeroMac};
use vfnet_model::network::{Command, Network, Section, update};
use vfnet_model::pf::PfIdentity;
use vfnet_model::vf::{Original, VfSetting};
use vfnet_model::{PciAddress, Vlan};

use crate::bugs::Bug;
use crate::outside;
use crate::scene::{
    PF, PF2, create, define, define_network, destroy, device, guest, guest_with, mac, net, network,
    network_of, nic, pci, port, start, start_for_its_client,
};
use crate::world::{Death, World, granted};

const GUESTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const NETWORKS: [&str; 4] = ["plain", "tagged", "other", "made"];
/// The names that networks know, and others.
const PF_NAMES: [&str; 2] = ["ens1f0", "ens2f0"];
const OTHER_NAMES: [&str; 2] = ["enp1s0", "enp5s0"];
/// A tag, and a wish that stock libvirt cannot fulfil.
const TRUSTED: &str = "<vlan><tag id='42'/></vlan>\
    <vfnet:pool><vfnet:vf trust='yes'/></vfnet:pool>";
const PORTGROUP: &str = "<portgroup name='gold'/>";
/// As many VFs as events can name.
const MOST_VFS: usize = 12;
/// Seconds that a PF's driver is busy, and not answering, at most.
const BUSY_AT_MOST: u64 = 9;

/// The cards of a host.
#[derive(Clone, Debug)]
struct Card {
    pf: PciAddress,
    driver: Driver,
    vfs: u16,
    /// So many VFs share an IOMMU group.
    group: u16,
    autoprobe: bool,
}

/// A host, and all that happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    seed: u64,
    cards: Vec<Card>,
    pub(crate) events: Vec<Event>,
}

/// A host that lives.
struct Scenery<'l> {
    cards: &'l [Card],
    vfs: Vec<PciAddress>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
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
    /// Another daemon uses what was lent to it.
    OutsideTakes(usize),
    /// It puts that back in its own way.
    OutsideGivesUp(usize),
    /// Its guest starts with what was lent to it, which another daemon has taken.
    OutsideOpens(usize),
    OutsideCloses(usize),
    /// Nobody has had it open for as long as the administrator says.
    PortUnused {
        which: usize,
        reclaim: bool,
    },
    /// Somebody types `ip link set PF vf N …` over what a guest has.
    TypedOver {
        which: usize,
        setting: usize,
        /// Whether the card then says yes once to what it does not do.
        deaf: bool,
    },
    /// Another number of VFs, by vfnet.
    SetVfs {
        pf: usize,
        vfs: u16,
    },
    /// A PF is drained, or not any more.
    Drain {
        pf: usize,
        on: bool,
    },
    DetachVf(usize),
    ReattachVf(usize),
    ResetVf(usize),
    RestoreVf(usize),
    VfVanishes(usize),
    VfsAreRemoved(usize),
    VfsAreMade(usize),
    /// Another number of VFs, behind vfnet's back.
    NumVfsChanged {
        pf: usize,
        vfs: u16,
    },
    PfReloads(usize),
    PfIsPulledOut(usize),
    PfIsPutBack(usize),
    /// Its netdev gets another name, or the one that networks know.
    PfRenamed {
        pf: usize,
        known: bool,
    },
    PfIsBusy {
        pf: usize,
        seconds: u64,
    },
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
    StoreErrors {
        count: usize,
        torn: bool,
    },
    HooksRefuse(usize),
    /// The kernel's own time, in seconds; also very many.
    TimePasses(u64),
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
        OpKind::Autoprobe,
        OpKind::Reset,
        OpKind::SetLinkState,
        OpKind::SetRate,
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
        Just(FaultKind::Slow(Duration::from_secs(2))),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    use Event as E;
    let who = || 0..GUESTS.len();
    let which = || 0..NETWORKS.len();
    let pf = || 0..2_usize;
    let vf = || 0..MOST_VFS;
    // Mostly of networks that are active from the beginning.
    let active = || prop_oneof![2 => 0..2_usize, 1 => which()];
    let nics = || prop::collection::vec((active(), 1..8_u8), 0..3);
    let device = || prop::option::weighted(0.2, vf());
    prop_oneof![
        3 => (who(), nics(), device())
            .prop_map(|(who, nics, device)| E::DefineGuest { who, nics, device }),
        9 => (who(), nics(), device())
            .prop_map(|(who, nics, device)| E::CreateGuest { who, nics, device }),
        14 => who().prop_map(E::StartGuest),
        6 => who().prop_map(E::DestroyGuest),
        1 => who().prop_map(E::UndefineGuest),
        1 => who().prop_map(E::Autostart),
        3 => (who(), any::<bool>()).prop_map(|(who, crashed)| E::GuestEnds { who, crashed }),
        6 => which().prop_map(E::StartNetwork),
        2 => (which(), any::<bool>()).prop_map(|(which, force)| E::DestroyNetwork { which, force }),
        4 => (0..4_u8, active(), 1..8_u8)
            .prop_map(|(which, network, mac)| E::CreatePort { which, network, mac }),
        3 => (0..4_u8, which()).prop_map(|(which, network)| E::DeletePort { which, network }),
        1 => (0..4_u8, which(), 1..8_u8, vf())
            .prop_map(|(which, network, mac, vf)| E::ReclaimPort { which, network, mac, vf }),
        2 => (which(), any::<bool>(), any::<bool>())
            .prop_map(|(which, live, config)| E::EditNetwork { which, live, config }),
        3 => (0..4_usize).prop_map(E::OutsideTakes),
        1 => (0..4_usize).prop_map(E::OutsideGivesUp),
        2 => (0..4_usize).prop_map(E::OutsideOpens),
        2 => (0..4_usize).prop_map(E::OutsideCloses),
        3 => (0..6_usize, any::<bool>())
            .prop_map(|(which, reclaim)| E::PortUnused { which, reclaim }),
        3 => (0..4_usize, 0..4_usize, prop::bool::weighted(0.2))
            .prop_map(|(which, setting, deaf)| E::TypedOver { which, setting, deaf }),
        1 => (pf(), 0..8_u16).prop_map(|(pf, vfs)| E::SetVfs { pf, vfs }),
        3 => (pf(), prop::bool::weighted(0.4)).prop_map(|(pf, on)| E::Drain { pf, on }),
        2 => vf().prop_map(E::DetachVf),
        1 => vf().prop_map(E::ReattachVf),
        1 => vf().prop_map(E::ResetVf),
        2 => vf().prop_map(E::RestoreVf),
        1 => vf().prop_map(E::VfVanishes),
        1 => pf().prop_map(E::VfsAreRemoved),
        // Hosts are to have VFs most of the time.
        6 => pf().prop_map(E::VfsAreMade),
        2 => (pf(), 0..8_u16).prop_map(|(pf, vfs)| E::NumVfsChanged { pf, vfs }),
        1 => pf().prop_map(E::PfReloads),
        1 => pf().prop_map(E::PfIsPulledOut),
        3 => pf().prop_map(E::PfIsPutBack),
        1 => (pf(), any::<bool>()).prop_map(|(pf, known)| E::PfRenamed { pf, known }),
        1 => (pf(), 1..BUSY_AT_MOST).prop_map(|(pf, seconds)| E::PfIsBusy { pf, seconds }),
        1 => pf().prop_map(E::PfDown),
        2 => pf().prop_map(E::PfUp),
        1 => vf().prop_map(E::HostUses),
        2 => vf().prop_map(E::HostIsDone),
        3 => (op(), kind(), 0..3_u32).prop_map(|(op, kind, spared)| E::Fault { op, kind, spared }),
        2 => Just(E::KernelComesBack),
        1 => Just(E::DiskFull),
        3 => Just(E::DiskFree),
        3 => (1..4_usize, any::<bool>()).prop_map(|(count, torn)| E::StoreErrors { count, torn }),
        2 => (1..3_usize).prop_map(E::HooksRefuse),
        1 => prop_oneof![1..20_u64, Just(100_000_000)].prop_map(E::TimePasses),
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

impl Life {
    /// The life that a seed stands for, of up to so many events.
    pub(crate) fn of(seed: u64, events: usize) -> Self {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let events = prop::collection::vec(event(), events / 2..=events).new_tree(&mut runner);
        Self::new(seed, events.expect("events can be drawn").current())
    }

    /// These events, on the host that the seed stands for, in the order that it gives to what
    /// goes on side by side.
    pub(crate) fn new(seed: u64, events: Vec<Event>) -> Self {
        // The last are described by what they can do alone, and each is seldom there.
        let seldom =
            [Driver::Sfc, Driver::Nfp, Driver::Hinic, Driver::Bnx2x, Driver::Virtio, Driver::Ena];
        let one_of = usize::try_from(seed / 2_592 % 6).expect("a small number");
        let first = Driver::FULL.iter().chain(&[Driver::Igb, Driver::Generic]).cycle();
        let common = [Driver::Igb, seldom[one_of]];
        let second = Driver::FULL.iter().rev().chain(&common).cycle();
        let skipped = usize::try_from(seed / 16 % 81).expect("a small number");
        let card = |pf, driver, vfs, in_pairs, autoprobe| Card {
            pf: pci(pf),
            driver,
            vfs,
            group: if in_pairs { 2 } else { 1 },
            autoprobe,
        };
        // The first has enough for most guests, the second is soon exhausted.
        let few = u16::try_from(seed / 4 % 3).expect("a small number");
        let drivers = (first.clone().nth(skipped % 9), second.clone().nth(skipped / 9));
        let driver = |one: Option<&Driver>| *one.expect("there is no end of them");
        let cards = vec![
            card(PF, driver(drivers.0), 7 - few, seed / 8 % 5 == 4, true),
            card(PF2, driver(drivers.1), 4 - few, !seed.is_multiple_of(2), seed.is_multiple_of(2)),
        ];
        Self { seed, cards, events }
    }

    /// The same, with other events.
    pub(crate) fn with(&self, events: Vec<Event>) -> Self {
        Self { events, ..self.clone() }
    }

    /// Lives it through, into `world`, where it can be looked at also when a promise is broken.
    pub(crate) fn live(&self, bug: Option<Bug>, world: &mut Option<World>) {
        let host = self.host();
        let vfs = host.facts().into_keys().collect();
        let scenery = Scenery { cards: &self.cards, vfs };
        let world = world.insert(host_at_the_beginning(host, self.seed));
        world.bug = bug;
        // Or where its own survives resets, and nothing tells it from an administrator's.
        let stays = |card: &&Card| {
            let own = card.driver.personality();
            own.zero_mac != ZeroMac::Clears || own.own_mac == OwnMac::TableForGood
        };
        world.mac_stays_set = self.cards.iter().filter(stays).map(|card| card.pf).collect();
        world.story.push(self.to_string());
        for event in &self.events {
            scenery.happens(world, event);
        }
        scenery.goes_home(world);
    }

    fn host(&self) -> SimHost {
        let [first, second] = &self.cards[..] else { panic!("a host has two cards") };
        let builder = SimHost::builder().seed(self.seed);
        // udev names new netdevs after a while on some hosts.
        let builder = match self.seed / 2 % 3 {
            0 => builder.udev_takes(Duration::from_millis(300)),
            _ => builder,
        };
        let pf = builder.pf("ens1f0", &first.pf.to_string(), first.driver);
        let pf = pf.vfs(first.vfs).groups_of(first.group);
        let pf = pf.pf("ens2f0", &second.pf.to_string(), second.driver);
        let pf = pf.vfs(second.vfs).groups_of(second.group);
        if second.autoprobe { pf.build() } else { pf.autoprobe_off().build() }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        for Card { pf, driver, vfs, group, autoprobe } in &self.cards {
            let bare = if *autoprobe { "" } else { ", without drivers" };
            write!(f, "; {pf}: {}, {vfs} VFs in groups of {group}{bare}", driver.name())?;
        }
        Ok(())
    }
}

fn host_at_the_beginning(host: SimHost, seed: u64) -> World {
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
    for (name, network, last) in [("a", "plain", 1), ("b", "tagged", 2), ("c", "other", 3)] {
        let nics = vec![nic(network, mac(last))];
        granted(world.ask(define(guest_with(name, nics))));
    }
    world
}

impl Scenery<'_> {
    fn vf(&self, index: usize) -> PciAddress {
        self.vfs[index % self.vfs.len()]
    }

    fn guest(&self, who: usize, nics: &[(usize, u8)], hostdev: Option<usize>) -> GuestDefinition {
        let nic = |(network, last): &(usize, u8)| nic(NETWORKS[*network], mac(*last));
        let hostdevs = hostdev.map(|index| device(self.vf(index))).into_iter().collect();
        let nics = nics.iter().map(nic).collect();
        GuestDefinition { hostdevs, ..guest_with(GUESTS[who], nics) }
    }

    fn happens(&self, world: &mut World, event: &Event) {
        match event {
            Event::DefineGuest { who, nics, device } => {
                world.begin(define(self.guest(*who, nics, *device)));
            }
            Event::CreateGuest { who, nics, device } => {
                world.begin(create(self.guest(*who, nics, *device)));
            }
            Event::StartGuest(4) => drop(world.begin(start_for_its_client(GUESTS[4]))),
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
                let vf = self.vf(*vf);
                let facts = world.host.facts().remove(&vf);
                if facts.and_then(|facts| facts.driver).is_some_and(|driver| driver.is_vfio()) {
                    // Taken for the guest's doing, so that it goes to the host's driver.
                    world.leave_over(vf);
                }
                let plug = Some(Plugged::Vf { address: vf, managed: true, driver: None });
                let asked = PortRequest { plug, ..port(NETWORKS[*network], *which, mac(*last)) };
                world.begin(Request::PortCreate(Box::new(asked)));
            }
            Event::EditNetwork { which, live, config } => {
                edit(world, NETWORKS[*which], *live, *config);
            }
            Event::OutsideTakes(which) => outside::takes(world, *which),
            Event::OutsideGivesUp(which) => outside::gives_up(world, *which),
            Event::OutsideOpens(which) => outside::opens(world, *which),
            Event::OutsideCloses(which) => outside::closes(world, *which),
            Event::PortUnused { which, reclaim } => {
                // Of whatever is claimed: by then it may be anything.
                let claim = world.state().claims.values().nth(*which).map(|claim| claim.id);
                if let Some(claim) = claim {
                    world.story.push(format!("{event:?}"));
                    world.hears(Input::PortUnused { claim, reclaim: *reclaim });
                }
            }
            Event::TypedOver { which, setting, deaf } => {
                typed_over(world, *which, *setting, *deaf);
            }
            Event::SetVfs { pf, vfs } => {
                let Card { pf, vfs: most, .. } = self.cards[*pf];
                let count = (*vfs).min(most);
                world.begin(Request::PfSetVfs { pf, count, keep: vfs % 2 == 1 });
            }
            Event::Drain { pf, on } => {
                let pf = self.cards[*pf].pf;
                world.begin(if *on {
                    Request::PfDrain { pf, why: "a life goes on".into() }
                } else {
                    Request::PfUndrain(PfIdentity::Address(pf))
                });
            }
            Event::DetachVf(index) => {
                world.begin(Request::DeviceDetach { device: self.vf(*index), driver: None });
            }
            Event::ReattachVf(index) => {
                world.begin(Request::DeviceReattach(self.vf(*index)));
            }
            Event::ResetVf(index) => drop(world.begin(Request::DeviceReset(self.vf(*index)))),
            Event::RestoreVf(index) => drop(world.begin(Request::VfRestore(self.vf(*index)))),
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
            Event::Reboot => self.reboots(world),
            Event::Steps(count) => {
                for _ in 0..*count {
                    world.step();
                }
            }
            Event::Rest => world.settle(),
            Event::DiskFull => world.disk_full = true,
            Event::StoreErrors { count, torn } => {
                (world.store_errors, world.torn) = (*count, *torn);
            }
            Event::HooksRefuse(count) => world.hooks_refuse = *count,
            Event::DiskFree => world.disk_full = false,
            Event::NoEmulator(missing) => world.no_emulator = *missing,
            Event::LookLater => {
                world.look();
                if world.tell(Input::TimeHasPassed).is_err() {
                    world.restart();
                }
            }
            outside => self.world_changes(world, outside),
        }
    }

    fn gives_all_back(world: &mut World) {
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
    }

    fn reboots(&self, world: &mut World) {
        for card in self.cards {
            world.host.plug_pf(card.pf);
        }
        let vfs: Vec<_> = self.cards.iter().map(|card| (card.pf, card.vfs)).collect();
        world.reboot(&vfs);
    }

    /// What the rest of the world does; the daemon hears of it as of uevents.
    fn world_changes(&self, world: &mut World, event: &Event) {
        world.story.push(format!("{event:?}"));
        let host = world.host.clone();
        match event {
            Event::VfVanishes(index) => host.remove_vf(self.vf(*index)),
            // Either may be refused, or hang until a guest lets go.
            Event::VfsAreRemoved(which) => drop(host.remove_vfs(self.cards[*which].pf)),
            Event::VfsAreMade(which) => {
                drop(host.make_vfs(self.cards[*which].pf, self.cards[*which].vfs));
            }
            Event::NumVfsChanged { pf, vfs } => {
                let Card { pf, vfs: most, .. } = self.cards[*pf];
                if host.remove_vfs(pf).is_ok() {
                    drop(host.make_vfs(pf, (*vfs).min(most)));
                }
            }
            Event::PfReloads(which) => drop(host.reload_pf_driver(self.cards[*which].pf)),
            Event::PfIsPulledOut(which) => drop(host.unplug_pf(self.cards[*which].pf)),
            Event::PfIsPutBack(which) => host.plug_pf(self.cards[*which].pf),
            Event::PfRenamed { pf, known } => {
                let name = if *known { PF_NAMES[*pf] } else { OTHER_NAMES[*pf] };
                let name = name.parse().expect("a net device name");
                host.rename_pf(self.cards[*pf].pf, &name);
            }
            Event::TimePasses(seconds) => {
                host.advance(Duration::from_secs(*seconds));
                world.hears(Input::TimeHasPassed);
            }
            Event::PfIsBusy { pf, seconds } => {
                host.occupy_pf(self.cards[*pf].pf, Duration::from_secs(*seconds));
            }
            Event::PfDown(which) => {
                world.deaf.insert(self.cards[*which].pf);
                host.pf_down(self.cards[*which].pf);
            }
            Event::PfUp(which) => host.pf_up(self.cards[*which].pf),
            Event::HostUses(index) => {
                host.change_netdev(self.vf(*index), |dev| dev.addresses = vec!["10.0.0.1".into()]);
            }
            Event::HostIsDone(index) => {
                host.change_netdev(self.vf(*index), |dev| dev.addresses.clear());
            }
            Event::Fault { op, kind, spared } => {
                host.fail(FaultPoint::next(*op).after(*spared), *kind);
            }
            Event::KernelComesBack => self.kernel_comes_back(world),
            _ => {}
        }
        world.look();
    }

    fn kernel_comes_back(&self, world: &World) {
        world.host.clear_faults();
        let pfs = self.cards.iter().map(|card| card.pf);
        for device in world.host.facts().into_keys().chain(pfs) {
            world.host.release(device);
        }
    }

    /// Everything that went wrong is mended, everybody goes home, and nothing is left.
    fn goes_home(&self, world: &mut World) {
        world.story.push("the end begins".into());
        world.live_on();
        world.disk_full = false;
        world.store_errors = 0;
        world.hooks_refuse = 0;
        world.no_emulator = false;
        world.guests_die_with_the_daemon = false;
        self.kernel_comes_back(world);
        for card in self.cards {
            world.host.plug_pf(card.pf);
            world.host.pf_up(card.pf);
        }
        world.host.advance(Duration::from_secs(BUSY_AT_MOST));
        while !world.open_outside.is_empty() {
            outside::closes(world, 0);
        }
        for vf in &self.vfs {
            world.host.change_netdev(*vf, |dev| dev.addresses.clear());
        }
        // One look may come while a repair is under way; the next one sees what that has left.
        for _ in 0..2 {
            world.look();
            world.settle();
        }
        crate::promises::what_was_typed_over_is_put_back(world);
        crate::promises::drivers_are_looked_for_as_before(world);
        // A look, and a VF that is there again, may have autostart try once more what had failed.
        // What is in use in a group goes back before what is to be restored in it; and what then
        // did not come back at once is restored.
        for round in 0..7 {
            world.look();
            world.settle();
            for name in GUESTS {
                if world.processes.contains_key(&guest(name)) {
                    granted(world.ask(destroy(name)));
                }
            }
            if round > 3 {
                Self::gives_all_back(world);
            }
        }
        let mut claims = world.state().claims.values();
        // What another daemon has half put back may stay set aside; so may a VF whose driver was
        // started while its PF was down, until it starts anew and the PF hears of its MAC.
        let left = claims.find(|claim| {
            let unheard = claim.original == Original::Unknown && world.deaf.contains(&claim.pf);
            !unheard && !world.left_over.contains(&(claim.vf, claim.incarnation))
        });
        if let Some(claim) = left {
            world.broken(&format!("{} is still claimed at the end: {claim:?}", claim.vf));
        }
    }
}

/// What was typed may be refused; it is nobody's whom the daemon knows.
fn typed_over(world: &mut World, which: usize, setting: usize, deaf: bool) {
    let held = |claim: &&Claim| {
        let held = matches!(claim.state, ClaimState::Held { .. });
        held && claim.executor == Executor::Vfnet && claim.wanted.is_some()
    };
    let Some(claim) = world.state().claims.values().filter(held).nth(which).cloned() else {
        return;
    };
    let facts = world.host.facts().remove(&claim.vf);
    let Some(facts) = facts.filter(|facts| facts.incarnation == claim.incarnation) else { return };
    let trusted = claim.wanted.as_ref().is_some_and(|wanted| wanted.trust == Some(true));
    let setting = match setting {
        // A trusted VF's guest may choose its MAC, and nobody can tell who it was.
        0 if trusted => return,
        0 => VfSetting::Mac(mac(20)),
        1 => VfSetting::Vlan(Vlan::tagged(77.try_into().expect("a tag"))),
        2 => VfSetting::Trust(!facts.trust),
        _ => VfSetting::Spoofchk(!facts.spoofchk),
    };
    world.host.revive();
    world.typed_over.insert((claim.vf, claim.incarnation));
    let typed = world.host.set_vf(claim.pf, claim.index, setting);
    world.story.push(format!("somebody types {setting:?} over {}: {typed:?}", claim.vf));
    if deaf {
        let op = match setting {
            VfSetting::Mac(_) => OpKind::SetMac,
            VfSetting::Vlan(_) => OpKind::SetVlan,
            VfSetting::Trust(_) => OpKind::SetTrust,
            _ => OpKind::SetSpoofchk,
        };
        world.host.fail(FaultPoint::next(op).at(claim.vf), FaultKind::Ignored);
    }
    world.look();
}

fn edit(world: &mut World, name: &str, live: bool, config: bool) {
    let edited = |before: Network| {
        let there = before.portgroup(Some("gold")).is_some();
        let command = if there { Command::Delete } else { Command::AddLast };
        let after = update(&before, command, Section::Portgroup, -1, PORTGROUP);
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
