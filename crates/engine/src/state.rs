//! What the engine knows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vfnet_model::inventory::Inventory;
use vfnet_model::network::{LentPf, Network, PhysicalNetworks};
use vfnet_model::pf::PfIdentity;
use vfnet_model::vf::{LinkState, WantedSettings};
use vfnet_model::{
    DriverName, GuestName, MacAddress, NetdevName, NetworkName, PciAddress, Vlan, VlanId,
};

use crate::claim::{Claim, ClaimId, ClaimState, Owner};
use crate::drain::Drain;
use crate::drift::Repairs;
use crate::input::{Ended, Moment, Ticket};
use crate::keep::KeptVfs;
use crate::plugs::Plug;
use crate::record::{Entry, GuestJob, Key, NetworkJob, Pending, PfJob, PortJob, Record};

/// Everything, indexed by identity. Changed by records alone, but for the inventory.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The host as last seen.
    pub inventory: Inventory,
    /// Kept networks.
    pub networks: BTreeMap<Uuid, NetworkEntry>,
    /// Active networks, kept or not.
    pub live_networks: BTreeMap<Uuid, LiveNetwork>,
    /// Kept guests.
    pub guests: BTreeMap<Uuid, GuestEntry>,
    /// PFs whose VFs are not lent any more.
    pub drains: BTreeMap<PfIdentity, Drain>,
    /// VFs that PFs are to have whenever their card comes.
    pub kept_vfs: BTreeMap<PfIdentity, KeptVfs>,
    /// Guests that run, start or end, kept or not.
    pub runs: BTreeMap<Uuid, GuestRun>,
    /// VFs that are not free.
    pub claims: BTreeMap<ClaimId, Claim>,
    /// Ports of other daemons' guests on bridges: they need no VF.
    pub bridge_ports: BTreeMap<Uuid, BridgePort>,
    /// Changes of running and kept networks that are to be made.
    pub edits: BTreeMap<Uuid, UnfinishedEdit>,
    /// What autostart has still to start.
    pub pending: BTreeMap<Uuid, Pending>,
    /// Whether autostart has been decided in this boot.
    pub autostarted: bool,
    /// PFs of which vfnet has switched off that the kernel looks for drivers for their VFs.
    pub autoprobe_off: BTreeSet<PciAddress>,
    /// How each guest's last run ended, as far as this daemon has seen it.
    pub last_ends: BTreeMap<Uuid, Ended>,
    /// Which PFs are on which physical network, as configured.
    pub physical_networks: PhysicalNetworks,
    /// Whether networks' hook scripts are to be called.
    pub(crate) hooks: bool,
    pub(crate) network_jobs: BTreeMap<Uuid, NetworkJob>,
    pub(crate) guest_jobs: BTreeMap<Uuid, GuestJob>,
    pub(crate) vf_jobs: BTreeMap<ClaimId, Ticket>,
    pub(crate) port_jobs: BTreeMap<ClaimId, PortJob>,
    pub(crate) pf_jobs: BTreeMap<PciAddress, PfJob>,
    pub(crate) repairs: BTreeMap<ClaimId, Repairs>,
    /// VFs seen one by one after they were given back, and when: a look at the whole host that
    /// began before that must not bring back what it saw of them.
    pub(crate) seen_alone: BTreeMap<PciAddress, Moment>,
    /// PFs of which that is being switched on again.
    pub(crate) restoring_autoprobe: BTreeSet<PciAddress>,
    /// PFs whose card has been in sight since they were asked for what is kept of their VFs.
    pub(crate) met_pfs: BTreeSet<PfIdentity>,
    /// VFs that are being set as their networks have it by now, and how their claims were before.
    pub(crate) set_anew: BTreeMap<ClaimId, Claim>,
    /// When the last look at the whole host began.
    pub(crate) last_look: Moment,
    pub(crate) last_claim: u64,
    pub(crate) last_id: i32,
    /// The claims, by their VFs.
    claims_by_vf: BTreeMap<PciAddress, BTreeSet<ClaimId>>,
}

/// A network's document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkDefinition {
    /// Its identity, made up by the edge where the document had none.
    pub uuid: Uuid,
    /// What the document says; its `uuid` is set.
    pub network: Network,
    /// The document as it was given.
    pub xml: String,
}

/// A kept network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkEntry {
    /// Its identity.
    pub uuid: Uuid,
    /// Its document.
    pub definition: NetworkDefinition,
    /// Whether it starts with the host.
    pub autostart: bool,
}

/// An active network, and what its pool came to on this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveNetwork {
    /// Its identity.
    pub uuid: Uuid,
    /// The document that it was started from.
    pub definition: NetworkDefinition,
    /// PFs that the document names, and which of their VFs, whichever there are, belong to the
    /// pool. Those that it chooses by what they are, are in [`State::lent_pfs`].
    pub pfs: Vec<LentPf>,
    /// VFs that the document names one by one.
    pub vfs: Vec<PciAddress>,
}

impl LiveNetwork {
    /// Its name.
    pub const fn name(&self) -> &NetworkName {
        &self.definition.network.name
    }
}

/// A port of another daemon's guest on a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BridgePort {
    /// Its identity, which its client chose.
    pub port: Uuid,
    /// Its network.
    pub network: Uuid,
    /// The guest's identity.
    pub owner: Uuid,
    /// The guest's name.
    pub owner_name: GuestName,
    /// The portgroup that was named.
    pub portgroup: Option<String>,
    /// The guest's MAC.
    pub mac: MacAddress,
    /// The bridge.
    pub bridge: NetdevName,
}

/// A network as it is to be, running and kept: on record before either is changed, as the two are
/// at home in different files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnfinishedEdit {
    /// The running one.
    pub live: LiveNetwork,
    /// The document of the kept one.
    pub config: NetworkDefinition,
}

/// A guest's document, and what it needs of vfnet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuestDefinition {
    /// Its identity, made up by the edge where the document had none.
    pub uuid: Uuid,
    /// Its name.
    pub name: GuestName,
    /// The document as kept: as given, with what was missing filled in.
    pub xml: String,
    /// Its `<interface>`s, in document order.
    pub nics: Vec<NicNeed>,
    /// Its PCI `<hostdev>`s, in document order.
    pub hostdevs: Vec<HostdevNeed>,
    /// The host's NUMA nodes that its memory is from, empty for any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub memory_nodes: BTreeSet<u16>,
    /// The host's processors that it may run on, empty for any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub processors: BTreeSet<u16>,
}

/// What an `<interface>` needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NicNeed {
    /// Where it comes from.
    pub source: NicSource,
    /// The MAC that the guest sees.
    pub mac: MacAddress,
    /// A tag of its own.
    pub vlan: Option<VlanId>,
    /// Whether it is one of a `<teaming>` pair.
    pub teaming: bool,
    /// Whether its link is to be up, where the document says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_up: Option<bool>,
}

impl NicNeed {
    /// What a VF that the document names itself is to be set to.
    pub(crate) fn of_device(&self) -> WantedSettings {
        self.with_link(WantedSettings {
            vlan: self.vlan.map(Vlan::tagged),
            ..WantedSettings::mac(self.mac)
        })
    }

    /// What the document says of the link goes before what its network says. A VF whose link is up
    /// follows its PF's, unless its network has it up whatever the PF's does.
    pub(crate) fn with_link(&self, mut wanted: WantedSettings) -> WantedSettings {
        wanted.link_state = match (self.link_up, wanted.link_state) {
            (Some(false), _) => Some(LinkState::Disable),
            (Some(true), Some(LinkState::Disable) | None) => Some(LinkState::Auto),
            (_, of_network) => of_network,
        };
        wanted
    }
}

/// Where a NIC comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NicSource {
    /// `<interface type='network'>`.
    Network {
        /// The network's name.
        name: NetworkName,
        /// The portgroup, if named.
        portgroup: Option<String>,
    },
    /// `<interface type='bridge'>`: no VF.
    Bridge(NetdevName),
    /// `<interface type='hostdev'>`: this VF.
    Device(HostdevNeed),
}

/// What a device named by its address needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostdevNeed {
    /// The device.
    pub address: PciAddress,
    /// Whether vfnet binds and unbinds drivers.
    pub managed: bool,
    /// A VFIO driver to use instead of the best one for the device.
    pub driver: Option<DriverName>,
}

/// A kept guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestEntry {
    /// Its identity.
    pub uuid: Uuid,
    /// Its document.
    pub definition: GuestDefinition,
    /// Whether it starts with the host.
    pub autostart: bool,
}

/// A guest that runs, or is on its way there or from there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuestRun {
    /// Its identity.
    pub guest: Uuid,
    /// libvirt's number of a running domain.
    pub id: i32,
    /// The document that it was started from.
    pub definition: GuestDefinition,
    /// Its place in the range of user ids for guests.
    pub uid_slot: u16,
    /// How far it is.
    pub phase: Phase,
    /// Its process, once it has one.
    pub pid: Option<u32>,
    /// Whether it ends with the client that started it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub autodestroy: bool,
    /// Why it runs, or stands still.
    #[serde(default)]
    pub cause: Cause,
    /// Devices that have come or gone since it was started, by their alias, which is QEMU's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugs: BTreeMap<String, Plug>,
}

/// Why a guest that has a process runs, or stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was started so.
    #[default]
    Started,
    /// Somebody asked for it.
    Asked,
    /// A disk could not be read or written.
    IoError,
    /// Its watchdog was not fed.
    Watchdog,
    /// Its system has panicked.
    Panicked,
}

/// How far a guest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its VFs are being prepared.
    Preparing,
    /// Its process is being started, or found again.
    Launching,
    /// It runs.
    Running,
    /// It stands still.
    Paused,
    /// It has been asked to power off.
    ShuttingDown,
    /// Its process has ended or is being ended, and its VFs go back.
    Ending,
}

impl State {
    /// Takes a record in; gives back the one that undoes it.
    pub fn apply(&mut self, record: Record) -> Record {
        let key = record.key();
        let before = match record {
            Record::Put(entry) => self.put(*entry),
            Record::Drop(key) => self.take(key),
        };
        before.map_or(Record::Drop(key), |entry| Record::Put(Box::new(entry)))
    }

    fn put(&mut self, entry: Entry) -> Option<Entry> {
        match entry {
            Entry::Network(x) => self.networks.insert(x.uuid, x).map(Entry::Network),
            Entry::Guest(x) => self.guests.insert(x.uuid, x).map(Entry::Guest),
            Entry::Drain(x) => self.drains.insert(x.pf, x).map(Entry::Drain),
            Entry::KeptVfs(x) => self.kept_vfs.insert(x.pf, x).map(Entry::KeptVfs),
            Entry::LiveNetwork(x) => self.live_networks.insert(x.uuid, x).map(Entry::LiveNetwork),
            Entry::Run(x) => {
                self.last_id = self.last_id.max(x.id);
                self.runs.insert(x.guest, x).map(Entry::Run)
            }
            Entry::Claim(x) => {
                self.last_claim = self.last_claim.max(x.id.0);
                self.claims_by_vf.entry(x.vf).or_default().insert(x.id);
                self.claims.insert(x.id, x).map(Entry::Claim)
            }
            Entry::BridgePort(x) => self.bridge_ports.insert(x.port, x).map(Entry::BridgePort),
            Entry::Edit(x) => self.edits.insert(x.live.uuid, *x).map(|x| Entry::Edit(Box::new(x))),
            Entry::Pending(uuid, x) => {
                self.pending.insert(uuid, x).map(|x| Entry::Pending(uuid, x))
            }
            Entry::Autostarted => {
                std::mem::replace(&mut self.autostarted, true).then_some(Entry::Autostarted)
            }
            Entry::AutoprobeOff(pf) => {
                (!self.autoprobe_off.insert(pf)).then_some(Entry::AutoprobeOff(pf))
            }
            Entry::NetworkJob(uuid, x) => {
                self.network_jobs.insert(uuid, x).map(|x| Entry::NetworkJob(uuid, x))
            }
            Entry::GuestJob(uuid, x) => {
                self.guest_jobs.insert(uuid, x).map(|x| Entry::GuestJob(uuid, x))
            }
            Entry::VfJob(claim, x) => self.vf_jobs.insert(claim, x).map(|x| Entry::VfJob(claim, x)),
            Entry::PortJob(claim, x) => {
                self.port_jobs.insert(claim, x).map(|x| Entry::PortJob(claim, x))
            }
            Entry::PfJob(pf, x) => self.pf_jobs.insert(pf, x).map(|x| Entry::PfJob(pf, x)),
        }
    }

    fn take(&mut self, key: Key) -> Option<Entry> {
        match key {
            Key::Network(uuid) => self.networks.remove(&uuid).map(Entry::Network),
            Key::Guest(uuid) => self.guests.remove(&uuid).map(Entry::Guest),
            Key::Drain(pf) => self.drains.remove(&pf).map(Entry::Drain),
            Key::KeptVfs(pf) => self.kept_vfs.remove(&pf).map(Entry::KeptVfs),
            Key::LiveNetwork(uuid) => self.live_networks.remove(&uuid).map(Entry::LiveNetwork),
            Key::Run(uuid) => self.runs.remove(&uuid).map(Entry::Run),
            Key::Claim(id) => {
                let claim = self.claims.remove(&id)?;
                if let Some(ids) = self.claims_by_vf.get_mut(&claim.vf) {
                    ids.remove(&id);
                }
                Some(Entry::Claim(claim))
            }
            Key::BridgePort(port) => self.bridge_ports.remove(&port).map(Entry::BridgePort),
            Key::Edit(uuid) => self.edits.remove(&uuid).map(|x| Entry::Edit(Box::new(x))),
            Key::Pending(uuid) => self.pending.remove(&uuid).map(|x| Entry::Pending(uuid, x)),
            Key::Autostarted => std::mem::take(&mut self.autostarted).then_some(Entry::Autostarted),
            Key::AutoprobeOff(pf) => {
                self.autoprobe_off.remove(&pf).then_some(Entry::AutoprobeOff(pf))
            }
            Key::NetworkJob(uuid) => {
                self.network_jobs.remove(&uuid).map(|x| Entry::NetworkJob(uuid, x))
            }
            Key::GuestJob(uuid) => self.guest_jobs.remove(&uuid).map(|x| Entry::GuestJob(uuid, x)),
            Key::VfJob(claim) => self.vf_jobs.remove(&claim).map(|x| Entry::VfJob(claim, x)),
            Key::PortJob(claim) => self.port_jobs.remove(&claim).map(|x| Entry::PortJob(claim, x)),
            Key::PfJob(pf) => self.pf_jobs.remove(&pf).map(|x| Entry::PfJob(pf, x)),
        }
    }

    /// The claim on a VF.
    pub fn claim_on(&self, vf: PciAddress) -> Option<&Claim> {
        // The claim on a device that is gone does not stand in the way of the one that took its
        // address.
        let there = self.inventory.vfs.get(&vf).map(|vf| vf.incarnation);
        let mut claims = self.claims_by_vf.get(&vf)?.iter().filter_map(|id| self.claims.get(id));
        claims.find(|claim| {
            !(matches!(claim.state, ClaimState::Vanished | ClaimState::Releasing)
                && there != Some(claim.incarnation))
        })
    }

    /// The claims on the other members of a VF's IOMMU group.
    pub(crate) fn claims_beside(&self, vf: PciAddress) -> impl Iterator<Item = &Claim> {
        let group = self.inventory.vfs.get(&vf).and_then(|vf| vf.iommu_group);
        let members = group.and_then(|group| self.inventory.groups.get(&group));
        let others = members.into_iter().flatten().filter(move |member| member.address != vf);
        others.filter_map(|other| self.claim_on(other.address))
    }

    /// One of them whose holder has, or is about to have, its VF.
    pub(crate) fn used_beside(&self, vf: PciAddress) -> Option<&Claim> {
        self.claims_beside(vf).find(|claim| {
            let state = &claim.state;
            matches!(state, ClaimState::Preparing | ClaimState::Held { .. } | ClaimState::Lent)
        })
    }

    /// The claims that belong to a guest's run, in the order they were made: not what an
    /// earlier run left quarantined or stuck, nor what another daemon holds for it.
    pub fn claims_of(&self, guest: Uuid) -> impl Iterator<Item = &Claim> {
        self.claims.values().filter(move |claim| {
            let of_run = matches!(claim.owner, Owner::Nic { .. } | Owner::Hostdev { .. });
            let over =
                matches!(claim.state, ClaimState::Quarantined { .. } | ClaimState::Stuck { .. });
            claim.owner.guest() == Some(guest) && of_run && !over
        })
    }

    /// The claims on a network's VFs.
    pub fn claims_on_network(&self, network: Uuid) -> impl Iterator<Item = &Claim> {
        self.claims
            .values()
            .filter(move |claim| claim.network.as_ref().is_some_and(|of| of.uuid == network))
    }

    /// The claims behind a network's ports, as clients know them.
    pub fn ports_of(&self, network: Uuid) -> impl Iterator<Item = &Claim> {
        self.claims_on_network(network).filter(|claim| claim.is_port())
    }

    /// The ports on a network that is a bridge.
    pub fn bridge_ports_of(&self, network: Uuid) -> impl Iterator<Item = &BridgePort> {
        self.bridge_ports.values().filter(move |port| port.network == network)
    }

    /// How many ports a network has.
    pub fn connections(&self, network: Uuid) -> usize {
        self.ports_of(network).count() + self.bridge_ports_of(network).count()
    }

    /// The claim behind a port.
    pub fn port(&self, network: Uuid, port: Uuid) -> Option<&Claim> {
        let is_it = |claim: &&Claim| claim.network.as_ref().is_some_and(|of| of.port == port);
        self.ports_of(network).find(is_it)
    }

    /// The network of that name, kept, active or being started: its identity.
    pub fn network_named(&self, name: &NetworkName) -> Option<Uuid> {
        let kept = self.networks.values().map(|entry| &entry.definition);
        let live = self.live_networks.values().map(|live| &live.definition);
        let starting = self.network_jobs.values().map(|job| &job.live.definition);
        kept.chain(live).chain(starting).find(|def| def.network.name == *name).map(|def| def.uuid)
    }

    /// The document of a network: the kept one, else the active one's, else that of the one
    /// being started.
    pub fn network(&self, uuid: Uuid) -> Option<&NetworkDefinition> {
        self.networks
            .get(&uuid)
            .map(|entry| &entry.definition)
            .or_else(|| self.live_networks.get(&uuid).map(|live| &live.definition))
            .or_else(|| self.network_jobs.get(&uuid).map(|job| &job.live.definition))
    }

    /// The guest of that name, kept or running: its identity.
    pub fn guest_named(&self, name: &GuestName) -> Option<Uuid> {
        let kept = self.guests.values().map(|entry| &entry.definition);
        let runs = self.runs.values().map(|run| &run.definition);
        kept.chain(runs).find(|def| def.name == *name).map(|def| def.uuid)
    }

    /// The document of a guest: the kept one, else the running one's.
    pub fn guest(&self, uuid: Uuid) -> Option<&GuestDefinition> {
        self.guests
            .get(&uuid)
            .map(|entry| &entry.definition)
            .or_else(|| self.runs.get(&uuid).map(|run| &run.definition))
    }
}
