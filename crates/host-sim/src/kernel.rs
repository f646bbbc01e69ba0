//! The simulated machine as plain data, and what can be read of it.
//!
//! [`devices`] is how libvirt's clients list it.
//! Who changes what: [`settings`] a VF's row in its PF's table, [`binding`] drivers,
//! [`sriov`] which VFs exist, [`pending`] operations that take time or never end, [`world`]
//! everything that the program under test does not do itself.

mod binding;
mod devices;
mod pending;
mod settings;
mod sriov;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vfnet_host::{Counters, HostError};
use vfnet_model::inventory::{
    GroupMember, HostUse, Incarnation, Inventory, Pf, PfNetdev, Vf, VfNetdev, VfioSupport,
};
use vfnet_model::vf::{Binding, LinkState, VfAttributes, VfIndex};
use vfnet_model::{BootId, DriverName, MacAddress, NetdevName, PciAddress, Vlan};

use crate::driver::{Driver, Personality, PfUp};
use crate::facts::VfFacts;
use crate::fault::Faults;
use crate::process::ProcessId;
use crate::trace::Write;

pub(crate) use pending::{Pause, Step};
pub(crate) use settings::setting_refused;
pub use world::VfioOpenError;

/// The vfio driver for devices without a variant.
pub(crate) const VFIO_PCI: &str = "vfio-pci";

/// A simulated machine. A clone is a snapshot; equal kernels behave alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kernel {
    pub(crate) chance: Chance,
    /// Since the simulation began; goes on over reboots.
    pub(crate) clock: Duration,
    pub(crate) boot_id: BootId,
    pub(crate) iommu: bool,
    pub(crate) nodes: BTreeMap<u16, BTreeSet<u16>>,
    pub(crate) loaded: BTreeSet<DriverName>,
    pub(crate) loadable: BTreeSet<DriverName>,
    pub(crate) loaded_at_boot: BTreeSet<DriverName>,
    pub(crate) pfs: BTreeMap<PciAddress, PfState>,
    /// PFs that were pulled out.
    pub(crate) pulled_out: BTreeMap<PciAddress, PfState>,
    pub(crate) vfs: BTreeMap<PciAddress, VfState>,
    pub(crate) others: BTreeMap<PciAddress, OtherState>,
    /// Who has a VFIO group open.
    pub(crate) open_groups: BTreeMap<u32, OpenGroup>,
    pub(crate) next_group: u32,
    pub(crate) next_incarnation: u64,
    pub(crate) next_step: u64,
    pub(crate) pending: BTreeMap<PciAddress, Vec<pending::Pending>>,
    /// What happens by itself, and when.
    pub(crate) events: Vec<(Duration, pending::Event)>,
    /// How long udev takes to rename a new netdev; `None` where new ones have their names at once.
    pub(crate) udev: Option<Duration>,
    pub(crate) faults: Faults,
    pub(crate) trace: Vec<Write>,
}

/// A PF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PfState {
    pub(crate) kind: Driver,
    pub(crate) name: NetdevName,
    pub(crate) mac: MacAddress,
    pub(crate) driver: Option<DriverName>,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) total_vfs: u16,
    pub(crate) num_vfs: u16,
    pub(crate) autoprobe: bool,
    pub(crate) autoprobe_at_boot: bool,
    pub(crate) numa_node: Option<u16>,
    /// Errors of its PCI Express link.
    #[serde(default)]
    pub(crate) errors: u64,
    /// VFs that a module parameter makes at boot.
    pub(crate) vfs_at_boot: u16,
    /// When an operation on another VF ends.
    pub(crate) busy_until: Duration,
    /// VFs per IOMMU group.
    pub(crate) group_size: u16,
    /// Other devices in the groups of its VFs, by the group's place among them, from 0.
    pub(crate) beside: BTreeMap<u16, Vec<OtherDevice>>,
}

/// A device that is neither PF nor VF and shares a VF's IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OtherDevice {
    /// Where it is.
    pub address: PciAddress,
    /// The driver bound at boot.
    pub driver: Option<DriverName>,
    /// Whether it is a PCI bridge.
    pub bridge: bool,
}

/// Such a device in a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct OtherState {
    pub(crate) device: OtherDevice,
    pub(crate) driver: Option<DriverName>,
    pub(crate) driver_override: Option<DriverName>,
    pub(crate) group: Option<u32>,
}

/// A VF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VfState {
    pub(crate) pf: PciAddress,
    pub(crate) index: VfIndex,
    pub(crate) incarnation: Incarnation,
    pub(crate) driver: Option<DriverName>,
    pub(crate) driver_override: Option<DriverName>,
    pub(crate) group: Option<u32>,
    pub(crate) row: Row,
    pub(crate) netdev: Option<NetdevState>,
    pub(crate) rdma: Option<String>,
    /// When the reset ends that a setting has begun.
    pub(crate) reset_until: Duration,
}

/// A VF's row in its PF's table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) mac: MacAddress,
    /// Whether that is the PF's (`IGB_VF_FLAG_PF_SET_MAC`).
    pub(crate) sticky: bool,
    /// The VF's own, where the driver keeps it apart.
    pub(crate) beside: MacAddress,
    pub(crate) vlan: Vlan,
    pub(crate) spoofchk: bool,
    pub(crate) trust: bool,
    pub(crate) link_state: LinkState,
    pub(crate) min_rate: u32,
    pub(crate) max_rate: u32,
}

/// The netdev that a VF's host driver made, and what the host does with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetdevState {
    /// Its name.
    pub name: NetdevName,
    /// Its MAC.
    pub mac: MacAddress,
    /// The MAC that the PF gave at probe, if it gave one (`perm_addr`).
    pub perm: Option<MacAddress>,
    /// `addr_assign_type` 0.
    pub mac_from_pf: bool,
    /// Addresses, as `ip -br addr` prints them.
    pub addresses: Vec<String>,
    /// Routes out of it.
    pub routes: Vec<String>,
    /// Bond, bridge or team that it belongs to.
    pub master: Option<NetdevName>,
    /// Devices made on top of it.
    pub uppers: Vec<NetdevName>,
    /// Whether it was moved to another network namespace.
    pub elsewhere: bool,
}

/// Who has a VFIO group open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// As [`vfnet_host::Host::vfio_group_holder`] shows it.
    pub(crate) name: String,
    /// The real process whose end closes the group, if one stands for it.
    pub(crate) process: Option<ProcessId>,
}

/// A VFIO group that somebody has open, which it is until its last open device is closed or gone
/// (QEMU: `vfio_group_put`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct OpenGroup {
    pub(crate) holder: Holder,
    pub(crate) devices: BTreeSet<PciAddress>,
}

/// Chance from a seed (splitmix64).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// As the kernel's `eth_random_addr`: unicast, locally administered.
    pub(crate) fn mac(&mut self) -> MacAddress {
        let [a, b, c, d, e, f, ..] = self.next().to_be_bytes();
        MacAddress::new([(a & 0xfe) | 0x02, b, c, d, e, f])
    }

    pub(crate) fn boot_id(&mut self) -> BootId {
        let (high, low) = (self.next(), self.next());
        let text = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        );
        text.parse().expect("hex digits and dashes are a boot id")
    }
}

impl PfState {
    pub(crate) const fn personality(&self) -> &'static Personality {
        self.kind.personality()
    }

    /// Whether a VF's driver reaches the PF's.
    pub(crate) fn answers_mailbox(&self) -> bool {
        self.driver.is_some() && (self.up || self.personality().pf_up == PfUp::NotNeeded)
    }
}

impl Row {
    /// As the driver makes it for a new VF (`igb_vf_configure`).
    pub(crate) const fn new(personality: &Personality) -> Self {
        Self {
            mac: MacAddress::ZERO,
            sticky: false,
            beside: MacAddress::ZERO,
            vlan: Vlan::UNTAGGED,
            spoofchk: matches!(personality.spoofchk, Some(true)),
            trust: false,
            link_state: LinkState::Auto,
            min_rate: 0,
            max_rate: 0,
        }
    }

    /// As `rtnl_fill_vfinfo` reports it: link state and rates read 0 where the driver has none.
    fn attributes(&self, personality: &Personality) -> VfAttributes {
        VfAttributes {
            mac: self.shown_mac(),
            vlan: self.vlan,
            spoofchk: personality.spoofchk.map(|_| self.spoofchk),
            trust: personality.trust.then_some(self.trust),
            link_state: Some(self.link_state),
            min_tx_rate: Some(self.min_rate),
            max_tx_rate: Some(self.max_rate),
        }
    }
}

impl NetdevState {
    fn uses(&self) -> Vec<HostUse> {
        let name = || self.name.clone();
        let link_local = |address: &&String| address.to_ascii_lowercase().starts_with("fe80:");
        let addresses = self.addresses.iter().filter(|address| !link_local(address));
        addresses
            .map(|address| HostUse::Address(name(), address.clone()))
            .chain(self.routes.iter().map(|route| HostUse::Route(name(), route.clone())))
            .chain(self.master.iter().map(|master| HostUse::Master(name(), master.clone())))
            .chain(self.uppers.iter().map(|upper| HostUse::Upper(name(), upper.clone())))
            .collect()
    }
}

impl Kernel {
    pub(crate) fn inventory(&self) -> Inventory {
        Inventory {
            iommu: self.iommu,
            vfio: self.vfio_support(),
            nodes: self.nodes.clone(),
            pfs: self.pfs.iter().map(|(&at, pf)| (at, self.pf_seen(at, pf))).collect(),
            vfs: self.vfs.iter().map(|(&at, vf)| (at, self.vf_seen(at, vf))).collect(),
            groups: self.groups(),
        }
    }

    pub(crate) fn vf(&self, address: PciAddress) -> Option<Vf> {
        self.vfs.get(&address).map(|vf| self.vf_seen(address, vf))
    }

    pub(crate) fn pf(&self, address: PciAddress) -> Option<Pf> {
        self.pfs.get(&address).map(|pf| self.pf_seen(address, pf))
    }

    /// A VF's row, as a look at the PF's table shows it: a driver that does not answer for a VF
    /// leaves it out (kernel: `rtnl_fill_vfinfo`).
    pub(crate) fn attributes(
        &mut self,
        pf: PciAddress,
        index: VfIndex,
    ) -> Result<VfAttributes, HostError> {
        self.pf_with_netdev(pf)?;
        let missing = || gone(format!("VF {index} in the table of PF {pf}"));
        self.ready(pf, index).map_err(|_| missing())?;
        let vf = self.vf_address(pf, index).and_then(|at| self.vfs.get(&at));
        vf.and_then(|vf| self.row_seen(vf)).ok_or_else(missing)
    }

    /// What a VF has received and sent: nobody sends here, so that a few frames do for all of
    /// them, more the higher its number.
    pub(crate) fn counters(&self, pf: PciAddress, index: VfIndex) -> Option<Counters> {
        let counts = self.pfs.get(&pf)?.personality().counts;
        self.vf_address(pf, index).filter(|_| counts)?;
        let frames = u64::from(index.0) + 1;
        Some(Counters {
            rx_packets: Some(2 * frames),
            rx_bytes: Some(2 * 60 * frames),
            rx_dropped: Some(0),
            tx_packets: Some(frames),
            tx_bytes: Some(60 * frames),
            tx_dropped: Some(0),
            ..Counters::default()
        })
    }

    fn row_seen(&self, vf: &VfState) -> Option<VfAttributes> {
        let pf = &self.pfs[&vf.pf];
        let personality = pf.personality();
        let away = personality.pf_up == PfUp::Everything && !pf.up
            || personality.busy.is_some() && pf.busy_until > self.clock;
        (personality.mac && pf.driver.is_some() && !away).then(|| vf.row.attributes(personality))
    }

    pub(crate) fn facts(&self) -> BTreeMap<PciAddress, VfFacts> {
        self.vfs
            .iter()
            .map(|(&at, vf)| {
                let facts = VfFacts {
                    pf: vf.pf,
                    index: vf.index,
                    incarnation: vf.incarnation,
                    driver: vf.driver.clone(),
                    driver_override: vf.driver_override.clone(),
                    admin_mac: vf.row.shown_mac(),
                    sticky: vf.row.sticky,
                    netdev_mac: vf.netdev.as_ref().map(|netdev| netdev.mac),
                    mac_from_pf: vf.netdev.as_ref().is_some_and(|netdev| netdev.mac_from_pf),
                    vlan: vf.row.vlan,
                    spoofchk: vf.row.spoofchk,
                    trust: vf.row.trust,
                    link_state: vf.row.link_state,
                    rate: (vf.row.min_rate, vf.row.max_rate),
                    uses: self.uses_of(vf),
                    stuck: self.is_stuck(at),
                };
                (at, facts)
            })
            .collect()
    }

    pub(crate) fn vf_address(&self, pf: PciAddress, index: VfIndex) -> Option<PciAddress> {
        self.vfs.iter().find(|(_, vf)| vf.pf == pf && vf.index == index).map(|(&at, _)| at)
    }

    pub(crate) fn is_vfio(driver: &DriverName) -> bool {
        let name = driver.as_str();
        name == VFIO_PCI || name.ends_with("_vfio_pci") || name.ends_with("-vfio-pci")
    }

    pub(crate) fn personality_of(&self, vf: &VfState) -> &'static Personality {
        self.pfs[&vf.pf].personality()
    }

    pub(crate) fn pf_with_netdev(&self, pf: PciAddress) -> Result<&PfState, HostError> {
        let state = self.pfs.get(&pf).ok_or_else(|| gone(format!("PF {pf}")))?;
        if state.driver.is_none() {
            return Err(gone(format!("netdev of PF {pf}")));
        }
        Ok(state)
    }

    pub(crate) fn exists(&self, device: PciAddress) -> bool {
        self.vfs.contains_key(&device)
            || self.pfs.contains_key(&device)
            || self.others.contains_key(&device)
    }

    fn vfio_support(&self) -> VfioSupport {
        let has = |drivers: &BTreeSet<DriverName>| drivers.iter().any(|d| d.as_str() == VFIO_PCI);
        if has(&self.loaded) {
            VfioSupport::Loaded
        } else if has(&self.loadable) {
            VfioSupport::Loadable
        } else {
            VfioSupport::Missing
        }
    }

    fn pf_seen(&self, address: PciAddress, pf: &PfState) -> Pf {
        let netdev = pf.driver.is_some().then(|| PfNetdev {
            permanent_mac: Some(pf.mac),
            name: pf.name.clone(),
            altnames: Vec::new(),
            mac: pf.mac,
            up: pf.up,
            carrier: pf.up && pf.carrier,
            mtu: 1500,
            speed: (pf.up && pf.carrier).then_some(pf.personality().speed),
        });
        Pf {
            address,
            netdev,
            driver: pf.driver.clone(),
            id: pf.personality().pf_id,
            total_vfs: pf.total_vfs,
            num_vfs: pf.num_vfs,
            autoprobe: pf.autoprobe,
            numa_node: pf.numa_node,
            errors: Some(pf.errors),
        }
    }

    fn vf_seen(&self, address: PciAddress, vf: &VfState) -> Vf {
        let pf = &self.pfs[&vf.pf];
        let netdev = vf.netdev.as_ref().filter(|netdev| !netdev.elsewhere);
        let mut uses = self.uses_of(vf);
        // Who has its lock keeps its override from being read (kernel: driver_override_show).
        let locked = self.is_stuck(address);
        uses.extend(locked.then_some(HostUse::Locked));
        Vf {
            address,
            pf: vf.pf,
            index: vf.index,
            incarnation: vf.incarnation,
            id: pf.personality().vf_id,
            binding: Binding {
                driver: vf.driver.clone(),
                driver_override: vf.driver_override.clone().filter(|_| !locked),
            },
            iommu_group: vf.group,
            numa_node: pf.numa_node,
            netdev: netdev.map(|netdev| VfNetdev {
                name: netdev.name.clone(),
                mac: netdev.mac,
                mac_from_pf: netdev.mac_from_pf,
            }),
            attributes: self.row_seen(vf),
            uses,
        }
    }

    fn uses_of(&self, vf: &VfState) -> Vec<HostUse> {
        let mut uses = Vec::new();
        match (&vf.netdev, &vf.driver) {
            (Some(netdev), _) if !netdev.elsewhere => uses.extend(netdev.uses()),
            (_, Some(driver)) if !Self::is_vfio(driver) => {
                uses.push(HostUse::NoNetdev(driver.clone()));
            }
            _ => {}
        }
        if vf.driver.as_ref().is_some_and(Self::is_vfio)
            && let Some(open) = vf.group.and_then(|group| self.open_groups.get(&group))
        {
            uses.push(HostUse::VfioOpen(open.holder.name.clone()));
        }
        uses.extend(vf.rdma.clone().map(HostUse::Rdma));
        uses
    }

    fn groups(&self) -> BTreeMap<u32, Vec<GroupMember>> {
        let vfs = self.vfs.iter().map(|(&at, vf)| (vf.group, at, vf.driver.clone(), false));
        let others = self
            .others
            .iter()
            .map(|(&at, other)| (other.group, at, other.driver.clone(), other.device.bridge));
        let mut groups: BTreeMap<u32, Vec<GroupMember>> = BTreeMap::new();
        for (group, address, driver, bridge) in vfs.chain(others) {
            if let Some(group) = group {
                let on_vfio = driver.as_ref().is_some_and(Self::is_vfio);
                let member = GroupMember { address, driver, on_vfio, bridge };
                groups.entry(group).or_default().push(member);
            }
        }
        groups
    }
}

pub(crate) fn gone(what: impl Into<String>) -> HostError {
    HostError::Gone { what: what.into() }
}

/// A refused write to a file of a device.
pub(crate) fn refused(device: PciAddress, file: &str, text: &str, errno: Errno) -> HostError {
    HostError::File {
        doing: format!("write '{text}' to"),
        path: format!("/sys/bus/pci/devices/{device}/{file}"),
        source: errno.into(),
    }
}
