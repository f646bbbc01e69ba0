//! What vfnet tells programs about itself: the JSON behind `vfnet … --json`, made by the daemon
//! and read by the command line. Members may be added; none changes its meaning.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pf::PfIdentity;
use crate::vf::VfIndex;
use crate::{DriverName, GuestName, MacAddress, NetdevName, NetworkName, PciAddress, Vlan};

/// The daemon.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DaemonReport {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Where definitions are kept.
    pub state_dir: String,
    /// Where what is lent is kept.
    pub run_dir: String,
}

/// PFs and VFs, and who has them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InventoryReport {
    /// What keeps every VF from being lent, if anything.
    pub obstacle: Option<String>,
    /// In the order of their addresses.
    pub pfs: Vec<PfReport>,
    /// In the order of their PFs and numbers.
    pub vfs: Vec<VfReport>,
    /// What is on record of PFs that are not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<AbsentPf>,
}

/// A PF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PfReport {
    /// Its address.
    pub address: PciAddress,
    /// Its interface.
    pub netdev: Option<NetdevName>,
    /// Its own MAC.
    pub mac: Option<MacAddress>,
    /// Whether its interface is up.
    pub up: bool,
    /// Whether it has carrier.
    pub carrier: bool,
    /// Speed of its link in Mbit/s, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<u32>,
    /// Physical networks that it is cabled to, as the configuration has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub physical_networks: Vec<String>,
    /// Its driver.
    pub driver: Option<DriverName>,
    /// VFs there are.
    pub num_vfs: u16,
    /// VFs there can be.
    pub total_vfs: u16,
    /// VFs that are lent.
    pub lent: u16,
    /// NUMA node.
    pub numa_node: Option<u16>,
    /// Names of the active networks that lend its VFs.
    pub networks: Vec<NetworkName>,
    /// Why it is drained, where it is: in words, empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<String>,
    /// See [`crate::inventory::Pf::errors`]; none where it is 0 or not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// VFs that are kept: made whenever its card comes, also after a reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_vfs: Option<u16>,
}

/// A PF that is not here now, of which something is on record: its card is out, or its driver does
/// not run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AbsentPf {
    /// What it is known by.
    pub identity: PfIdentity,
    /// Why it is drained, where it is: in words, empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<String>,
    /// VFs that are kept: made when its card comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_vfs: Option<u16>,
}

/// A PF, here or not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KnownPf {
    /// It is here.
    Here(Box<PfReport>),
    /// It is not.
    Absent(AbsentPf),
}

/// A VF that is lent to the process that has asked for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseReport {
    /// The network.
    pub network: NetworkName,
    /// The VF's address.
    pub address: PciAddress,
    /// Its VFIO group: `/dev/vfio/GROUP`.
    pub vfio_group: u32,
    /// Its MAC.
    pub mac: MacAddress,
}

/// A VF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VfReport {
    /// Its address.
    pub address: PciAddress,
    /// Its PF.
    pub pf: PciAddress,
    /// Its PF's interface.
    pub pf_netdev: Option<NetdevName>,
    /// Its number within the PF.
    pub index: VfIndex,
    /// Its interface on the host.
    pub netdev: Option<NetdevName>,
    /// The MAC in the PF's table (the admin MAC, or the one that the VF chose).
    pub mac: Option<MacAddress>,
    /// The MAC of its interface on the host.
    pub netdev_mac: Option<MacAddress>,
    /// Its tag; id 0 for none.
    pub vlan: Option<Vlan>,
    /// Its driver.
    pub driver: Option<DriverName>,
    /// IOMMU group.
    pub iommu_group: Option<u32>,
    /// NUMA node.
    pub numa_node: Option<u16>,
    /// `free`, `preparing`, `held`, `lent`, `releasing`, `vanished`, `quarantined`, `stuck`, or
    /// `unusable`.
    pub state: String,
    /// Who has it.
    pub holder: Option<String>,
    /// Why it cannot be lent, where it is unusable, quarantined or stuck.
    pub why: Option<String>,
    /// The network it was taken from.
    pub network: Option<NetworkName>,
    /// How somebody else has changed it while it was held, where that was not to be put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
}

/// A port: a VF that a network lends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortReport {
    /// Its identity; `None` for a device that a guest names itself.
    pub port: Option<Uuid>,
    /// Its network.
    pub network: Option<NetworkName>,
    /// Who has it.
    pub owner: String,
    /// The guest, where it is one's.
    pub guest: Option<Uuid>,
    /// The MAC that its owner sees.
    pub mac: Option<MacAddress>,
    /// The tag on its frames.
    pub vlan: Option<Vlan>,
    /// The VF.
    pub vf: PciAddress,
    /// The VF's interface when it was taken (RFC step 3).
    pub netdev: Option<NetdevName>,
    /// See [`VfReport::state`].
    pub state: String,
    /// Of another daemon's port, for how many seconds no process has had its VF open, once that is
    /// longer than the administrator's grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_for: Option<u64>,
    /// See [`VfReport::drift`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
}

/// A guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuestReport {
    /// Its name.
    pub name: GuestName,
    /// Its identity.
    pub uuid: Uuid,
    /// Its number while it runs.
    pub id: Option<i32>,
    /// `shut off`, `preparing`, `launching`, `running`, `paused`, `shutting down`, `ending`.
    pub state: String,
    /// QEMU's process id.
    pub pid: Option<u32>,
    /// Whether its document is kept.
    pub persistent: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Its VFs.
    pub ports: Vec<PortReport>,
}

/// How a network would serve a request now: why each VF would or would not be taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExplainReport {
    /// The network.
    pub network: NetworkName,
    /// What keeps every VF from being lent, if anything.
    pub obstacle: Option<String>,
    /// The VFs of its pool, as for the first of `interfaces`: those that can be lent, in the order
    /// in which they would be; then those that cannot, and why.
    pub vfs: Vec<(PciAddress, Option<String>)>,
    /// How it would serve each interface that the guest has on it, in the order in which they would
    /// be served; one without a MAC stands for anybody.
    #[serde(default)]
    pub interfaces: Vec<ExplainedInterface>,
}

/// How a network would serve an interface now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExplainedInterface {
    /// The MAC that the guest sees there; `None` for anybody.
    pub mac: Option<MacAddress>,
    /// The portgroup that the interface names.
    pub portgroup: Option<String>,
    /// The VFs that could be lent, the one that would be first, and what is said of each.
    pub usable: Vec<(PciAddress, String)>,
    /// Why the others cannot be lent, as a refusal says it.
    pub others: Vec<ExcludedVfs>,
}

/// VFs that cannot be lent for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExcludedVfs {
    /// The first of them.
    pub vf: PciAddress,
    /// How many they are.
    pub count: usize,
    /// Whether they are left over from lines above, and their reasons differ.
    pub rest: bool,
    /// The reason.
    pub reason: String,
}

/// What a change would come to. Nothing has been done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlanReport {
    /// In the order in which it would be done, as far as that is known.
    pub steps: Vec<PlanStep>,
    /// Whether the answer would wait for something that is under way already.
    pub waits: bool,
}

/// One thing that would be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlanStep {
    /// `hit` (who would be hit), `record`, `hook`, `vfs` (made or taken away), `prepare`,
    /// `give-back`, `reset`, `start`, `end`, `tell` (a guest), `delete`, `keep`
    /// or `make` (a file).
    pub does: String,
    /// The VF that it is done to.
    pub vf: Option<PciAddress>,
    /// In words.
    pub says: String,
}
