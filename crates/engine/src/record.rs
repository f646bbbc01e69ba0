//! What is written down. A record puts or drops one entry; the state is what all records made
//! of it, and the store keeps those that outlive the daemon.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vfnet_model::PciAddress;
use vfnet_model::pf::PfIdentity;

use crate::claim::{Claim, ClaimId};
use crate::drain::Drain;
use crate::input::{PortRequest, Ticket};
use crate::keep::KeptVfs;
use crate::nic_changes::NicJob;
use crate::plugs::PlugJob;
use crate::refusal::Refusal;
use crate::state::{BridgePort, GuestEntry, GuestRun, LiveNetwork, NetworkEntry, UnfinishedEdit};

/// How long an entry lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Home {
    /// Over power cuts: definitions and the administrator's decisions.
    Definitions,
    /// Until the next boot: what runs and what is lent.
    Live,
    /// As long as the daemon: who waits for what.
    Memory,
}

/// Names an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Key {
    /// A kept network.
    Network(Uuid),
    /// A kept guest.
    Guest(Uuid),
    /// A PF that is drained.
    Drain(PfIdentity),
    /// VFs of a PF that are kept.
    KeptVfs(PfIdentity),
    /// An active network.
    LiveNetwork(Uuid),
    /// A guest that runs, starts or ends.
    Run(Uuid),
    /// A VF that is not free.
    Claim(ClaimId),
    /// A port on a bridge.
    BridgePort(Uuid),
    /// A change of a running and a kept network that is to be made.
    Edit(Uuid),
    /// A network or guest that autostart has still to start.
    Pending(Uuid),
    /// Autostart has been decided in this boot.
    Autostarted,
    /// vfnet has switched off, or is about to, that the kernel looks for drivers for a PF's VFs.
    AutoprobeOff(PciAddress),
    /// A network that is being started.
    NetworkJob(Uuid),
    /// Who waits for a guest.
    GuestJob(Uuid),
    /// Who waits for a VF.
    VfJob(ClaimId),
    /// Who waits for a port.
    PortJob(ClaimId),
    /// A PF whose number of VFs is being changed.
    PfJob(PciAddress),
}

impl Key {
    /// Where the entry lives.
    pub const fn home(self) -> Home {
        match self {
            Self::Network(_) | Self::Guest(_) | Self::Drain(_) | Self::KeptVfs(_) => {
                Home::Definitions
            }
            Self::LiveNetwork(_)
            | Self::Run(_)
            | Self::Claim(_)
            | Self::BridgePort(_)
            | Self::Edit(_)
            | Self::Pending(_)
            | Self::Autostarted
            | Self::AutoprobeOff(_) => Home::Live,
            Self::NetworkJob(_)
            | Self::GuestJob(_)
            | Self::VfJob(_)
            | Self::PortJob(_)
            | Self::PfJob(_) => Home::Memory,
        }
    }
}

/// An entry.
#[derive(Clone, Debug)]
pub enum Entry {
    /// See [`Key::Network`].
    Network(NetworkEntry),
    /// See [`Key::Guest`].
    Guest(GuestEntry),
    /// See [`Key::Drain`].
    Drain(Drain),
    /// See [`Key::KeptVfs`].
    KeptVfs(KeptVfs),
    /// See [`Key::LiveNetwork`].
    LiveNetwork(LiveNetwork),
    /// See [`Key::Run`].
    Run(GuestRun),
    /// See [`Key::Claim`].
    Claim(Claim),
    /// See [`Key::BridgePort`].
    BridgePort(BridgePort),
    /// See [`Key::Edit`].
    Edit(Box<UnfinishedEdit>),
    /// See [`Key::Pending`].
    Pending(Uuid, Pending),
    /// See [`Key::Autostarted`].
    Autostarted,
    /// See [`Key::AutoprobeOff`].
    AutoprobeOff(PciAddress),
    /// See [`Key::NetworkJob`].
    NetworkJob(Uuid, NetworkJob),
    /// See [`Key::GuestJob`].
    GuestJob(Uuid, GuestJob),
    /// See [`Key::VfJob`].
    VfJob(ClaimId, Ticket),
    /// See [`Key::PortJob`].
    PortJob(ClaimId, PortJob),
    /// See [`Key::PfJob`].
    PfJob(PciAddress, PfJob),
}

impl Entry {
    /// Its name.
    pub const fn key(&self) -> Key {
        match self {
            Self::Network(entry) => Key::Network(entry.uuid),
            Self::Guest(entry) => Key::Guest(entry.uuid),
            Self::Drain(drain) => Key::Drain(drain.pf),
            Self::KeptVfs(kept) => Key::KeptVfs(kept.pf),
            Self::LiveNetwork(live) => Key::LiveNetwork(live.uuid),
            Self::Run(run) => Key::Run(run.guest),
            Self::Claim(claim) => Key::Claim(claim.id),
            Self::BridgePort(port) => Key::BridgePort(port.port),
            Self::Edit(edit) => Key::Edit(edit.live.uuid),
            Self::Pending(uuid, _) => Key::Pending(*uuid),
            Self::Autostarted => Key::Autostarted,
            Self::AutoprobeOff(pf) => Key::AutoprobeOff(*pf),
            Self::NetworkJob(uuid, _) => Key::NetworkJob(*uuid),
            Self::GuestJob(uuid, _) => Key::GuestJob(*uuid),
            Self::VfJob(claim, _) => Key::VfJob(*claim),
            Self::PortJob(claim, _) => Key::PortJob(*claim),
            Self::PfJob(pf, _) => Key::PfJob(*pf),
        }
    }
}

/// What autostart has still to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pending {
    /// A network.
    Network,
    /// A guest.
    Guest,
}

/// A network that is being started: its hook scripts run, or its VFs are being made.
#[derive(Clone, Debug)]
pub struct NetworkJob {
    /// Who waits; nobody at autostart.
    pub ticket: Option<Ticket>,
    /// What it will be once its VFs are there.
    pub live: LiveNetwork,
    /// PFs that are still at work.
    pub making: BTreeSet<PciAddress>,
    /// What failed so far.
    pub failed: Vec<String>,
}

/// Who waits for a guest, and why its start failed.
#[derive(Clone, Debug, Default)]
pub struct GuestJob {
    /// Who asked for the start.
    pub start: Option<Ticket>,
    /// Who asked for its end.
    pub stops: Vec<Ticket>,
    /// Whether it is to be left paused.
    pub paused: bool,
    /// Whether its UEFI variables are to be made anew.
    pub fresh_nvram: bool,
    /// Why the start failed.
    pub failed: Option<Refusal>,
    /// Who waits for a device to come or go, by its alias.
    pub plugs: BTreeMap<String, PlugJob>,
    /// Who waits for other settings of a VF.
    pub nics: BTreeMap<ClaimId, NicJob>,
}

/// A port whose VF is being made ready for another daemon.
#[derive(Clone, Debug)]
pub struct PortJob {
    /// Who asked for it.
    pub create: Ticket,
    /// What was asked for.
    pub request: PortRequest,
    /// Who has asked meanwhile that it be deleted.
    pub delete: Option<Ticket>,
}

/// A PF whose number of VFs is being changed.
#[derive(Clone, Copy, Debug)]
pub struct PfJob {
    /// Who waits; nobody where kept VFs are made for a card that has come.
    pub ticket: Option<Ticket>,
    /// How many it is to have.
    pub count: u16,
    /// Where so many are kept from now on, how many were before: what is kept when it fails.
    pub kept_before: Option<u16>,
}

/// Puts or drops an entry.
#[derive(Clone, Debug)]
pub enum Record {
    /// There is this entry, whatever there was under its key.
    Put(Box<Entry>),
    /// There is no such entry.
    Drop(Key),
}

impl Record {
    /// The key of its entry.
    pub fn key(&self) -> Key {
        match self {
            Self::Put(entry) => entry.key(),
            Self::Drop(key) => *key,
        }
    }
}
