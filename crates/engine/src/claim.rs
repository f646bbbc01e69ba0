//! The life of one VF, from free to held and back.
//!
//! A VF changes state here and nowhere else: what may happen next is [`ClaimState::after`],
//! which `docs/life-of-a-vf.md` prints as a table. A free VF has no claim at all.
//!
//! ```text
//!   Free -> Preparing -> Held | Lent -> Releasing -> Free
//!               \_______________________/   \-> Quarantined | Stuck
//!                                                (vf restore -> Releasing)
//!            Held | Lent <-> Vanished -> Releasing
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vfnet_model::inventory::Incarnation;
use vfnet_model::vf::{Original, VfIndex, WantedSettings};
use vfnet_model::{DriverName, GuestName, NetdevName, NetworkName, PciAddress, VlanId};

/// Number of a claim; never used twice while its record lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimId(pub u64);

/// A VF that is not free: who has it, what it was, what it is to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Its number.
    pub id: ClaimId,
    /// Who asked for the VF.
    pub owner: Owner,
    /// Who binds it and sets its MAC.
    pub executor: Executor,
    /// The network it was taken from; `None` for a device named by the guest itself.
    pub network: Option<NetworkOf>,
    /// The VF.
    pub vf: PciAddress,
    /// Its PF.
    pub pf: PciAddress,
    /// Its number within the PF.
    pub index: VfIndex,
    /// Which device of that address; the original belongs to this one.
    pub incarnation: Incarnation,
    /// Its IOMMU group at claim time, for display: group numbers do not outlive a boot.
    pub iommu_group: Option<u32>,
    /// Name of its netdev at claim time (RFC step 3).
    pub netdev: Option<NetdevName>,
    /// What it was.
    pub original: Original,
    /// What it is to have; `None` for a plain `<hostdev>`, which is only bound.
    pub wanted: Option<WantedSettings>,
    /// Whether vfnet binds and unbinds drivers.
    pub managed: bool,
    /// A VFIO driver that the document asks for.
    pub driver: Option<DriverName>,
    /// Where in its life it is.
    pub state: ClaimState,
    /// How somebody else has changed the VF while it was held, where that could not be put back
    /// for good ([`crate::drift`]); it is not given back as clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
}

/// The network and port behind a claim.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkOf {
    /// The network's identity.
    pub uuid: Uuid,
    /// Its name at claim time.
    pub name: NetworkName,
    /// The port's identity, as `virsh net-port-list` shows it.
    pub port: Uuid,
    /// The portgroup that the owner named.
    pub portgroup: Option<String>,
    /// Whether the guest's own filters are trusted, as the port's document says; without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_guest_rx_filters: Option<bool>,
    /// Whether the port is isolated, as its document says: never `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
}

/// Who holds a VF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// An `<interface>` of a guest that vfnet runs, by its place in the document.
    Nic {
        /// The guest's identity.
        guest: Uuid,
        /// Its name.
        name: GuestName,
        /// Which interface, from 0.
        nic: usize,
    },
    /// A PCI `<hostdev>` of a guest that vfnet runs.
    Hostdev {
        /// The guest's identity.
        guest: Uuid,
        /// Its name.
        name: GuestName,
        /// Which hostdev, from 0.
        hostdev: usize,
    },
    /// A port that another daemon created for its guest.
    Port {
        /// That guest's identity.
        guest: Uuid,
        /// That guest's name.
        name: GuestName,
    },
    /// A process of this host.
    Lease(Lessee),
    /// A place kept for a guest that is on its way here.
    Reservation {
        /// The guest's identity.
        guest: Uuid,
        /// Its name.
        name: GuestName,
    },
    /// The administrator set the VF aside.
    Administrator,
}

/// A process that a VF is lent to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lessee {
    /// What it runs, for people.
    pub program: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`): with the process id that is
    /// one process of this boot.
    #[serde(default)]
    pub start_time: u64,
    /// The user who may open the VF's VFIO group.
    #[serde(default)]
    pub uid: u32,
    /// And that user's group.
    #[serde(default)]
    pub gid: u32,
}

impl Owner {
    /// The guest, where it is one: groups and MACs belong to guests, not to single NICs.
    pub const fn guest(&self) -> Option<Uuid> {
        match self {
            Self::Nic { guest, .. }
            | Self::Hostdev { guest, .. }
            | Self::Port { guest, .. }
            | Self::Reservation { guest, .. } => Some(*guest),
            Self::Lease(_) | Self::Administrator => None,
        }
    }

    /// Whether both are the same holder, as far as groups and MACs go.
    pub fn same_holder(&self, other: &Self) -> bool {
        match (self.guest(), other.guest()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self == other,
            _ => false,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nic { name, .. } | Self::Hostdev { name, .. } => write!(f, "guest {name}"),
            Self::Port { name, .. } => write!(f, "guest {name} of another daemon"),
            Self::Lease(Lessee { program, pid, .. }) => write!(f, "{program} (pid {pid})"),
            Self::Reservation { name, .. } => write!(f, "reservation for guest {name}"),
            Self::Administrator => f.write_str("the administrator"),
        }
    }
}

/// Who binds the VF and sets its MAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// vfnet itself.
    #[default]
    Vfnet,
    /// Another daemon, from port create to port delete; never written over meanwhile.
    Outside,
}

/// Where in its life a claimed VF is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// Being made ready for its holder.
    Preparing,
    /// Its holder's.
    Held {
        /// The VFIO driver it is bound to.
        driver: DriverName,
        /// Its IOMMU group, where QEMU finds it.
        group: u32,
    },
    /// Another daemon's, until the port is deleted.
    Lent,
    /// Being given back.
    Releasing,
    /// It went away while held; its holder may still run.
    Vanished,
    /// It could not be given back clean. `vfnet vf restore` tries again.
    Quarantined {
        /// Why.
        reason: String,
    },
    /// The kernel has not come back from a step.
    Stuck {
        /// Which step.
        step: String,
    },
}

/// What can happen to a claimed VF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// It is ready for its holder.
    Prepared {
        /// The driver it is bound to.
        driver: DriverName,
        /// Its IOMMU group.
        group: u32,
    },
    /// What its holder, another daemon, cannot set itself is set.
    HandedOver,
    /// What the administrator asked for is done, and the VF stays as it now is.
    Done,
    /// A step of preparing or giving back failed, or the holder does not want it any more.
    GiveBack,
    /// It is as it was.
    Clean,
    /// It could not be put back as it was.
    Unclean(String),
    /// Nothing was done to it, because its holder, another daemon's guest, has it open after all.
    StillOpen,
    /// The kernel did not come back from a step.
    Stuck(String),
    /// It is no longer there.
    Gone,
    /// The administrator asks for another try.
    Restore,
}

/// Where a happening leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    /// The claim lives on in this state.
    State(ClaimState),
    /// The VF is free (or gone), and the claim with it.
    Free,
    /// That cannot happen in this state; it changes nothing.
    Nothing,
}

impl ClaimState {
    /// The transition table.
    pub fn after(&self, happening: Happening) -> After {
        use Happening as H;
        match (self, happening) {
            // A vanished one has been seen again, the same device.
            (Self::Preparing | Self::Vanished, H::Prepared { driver, group }) => {
                After::State(Self::Held { driver, group })
            }
            (Self::Preparing | Self::Vanished, H::HandedOver) | (Self::Releasing, H::StillOpen) => {
                After::State(Self::Lent)
            }
            // A vanished one too: whether it is really gone is for giving it back to find out.
            (Self::Preparing | Self::Held { .. } | Self::Lent | Self::Vanished, H::GiveBack) => {
                After::State(Self::Releasing)
            }
            (Self::Quarantined { .. } | Self::Stuck { .. }, H::Restore) => {
                After::State(Self::Releasing)
            }
            (Self::Preparing, H::Done) | (Self::Releasing, H::Clean) => After::Free,
            (Self::Releasing, H::Unclean(reason)) => After::State(Self::Quarantined { reason }),
            (Self::Preparing | Self::Releasing, H::Stuck(step)) => {
                After::State(Self::Stuck { step })
            }
            // Of one being prepared: its record is older than its guest's start.
            (Self::Preparing | Self::Held { .. } | Self::Lent, H::Gone) => {
                After::State(Self::Vanished)
            }
            (Self::Releasing | Self::Quarantined { .. } | Self::Stuck { .. }, H::Gone) => {
                After::Free
            }
            _ => After::Nothing,
        }
    }

    /// One word for tables.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Held { .. } => "held",
            Self::Lent => "lent",
            Self::Releasing => "releasing",
            Self::Vanished => "vanished",
            Self::Quarantined { .. } => "quarantined",
            Self::Stuck { .. } => "stuck",
        }
    }
}

impl Claim {
    /// The tag that the PF puts on its holder's frames, if any.
    pub fn tag(&self) -> Option<VlanId> {
        let vlan = self.wanted.as_ref()?.vlan?;
        Some(vlan.id).filter(|id| *id != VlanId::NONE)
    }

    /// Whether this is a network's port as clients know it: what is on its way back to the host,
    /// or did not come back, is nobody's port any more.
    pub fn is_port(&self) -> bool {
        use ClaimState as S;
        let there = matches!(self.state, S::Preparing | S::Held { .. } | S::Lent | S::Vanished);
        self.network.is_some() && there
    }

    /// Why its VF cannot be lent to somebody else, in words.
    pub fn why_taken(&self) -> String {
        match &self.state {
            ClaimState::Held { .. } | ClaimState::Lent => match &self.drift {
                None => format!("held by {}", self.owner),
                Some(drift) => {
                    format!("held by {}, and changed by somebody else: {drift}", self.owner)
                }
            },
            ClaimState::Preparing => format!("being prepared for {}", self.owner),
            ClaimState::Releasing => format!("being given back by {}", self.owner),
            ClaimState::Vanished => format!("vanished while held by {}", self.owner),
            ClaimState::Quarantined { reason } => {
                format!("quarantined ({reason}); to try again: vfnet vf restore {}", self.vf)
            }
            ClaimState::Stuck { step } => {
                format!(
                    "stuck: the kernel has not finished {step}; to try again: vfnet vf restore {}",
                    self.vf
                )
            }
        }
    }
}
