//! The host as it was last seen: PFs, VFs, who uses them. Made by `vfnet-host`, read by the
//! engine, and printed by `vfnet pf ls` and `vfnet vf ls`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::vf::{Binding, VfAttributes, VfIndex};
use crate::{DriverName, MacAddress, NetdevName, PciAddress};

/// Everything the engine may know of the machine. A snapshot; nothing in it changes by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Whether the kernel translates DMA of devices (`/sys/class/iommu` has an entry).
    pub iommu: bool,
    /// Whether VFIO can be used: `/dev/vfio/vfio` is there, or vfio-pci can be loaded.
    pub vfio: VfioSupport,
    /// NUMA nodes, and the processors at each; those of a node that has none are none.
    #[serde(default)]
    pub nodes: BTreeMap<u16, BTreeSet<u16>>,
    /// Devices that can make VFs (`sriov_totalvfs`).
    pub pfs: BTreeMap<PciAddress, Pf>,
    /// VFs (`physfn`).
    pub vfs: BTreeMap<PciAddress, Vf>,
    /// Members of each IOMMU group that has a VF or is asked about, by group number.
    pub groups: BTreeMap<u32, Vec<GroupMember>>,
}

/// Whether devices can be handed to VFIO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VfioSupport {
    /// vfio-pci is loaded or built in.
    Loaded,
    /// Not loaded, but the module is there for the running kernel.
    Loadable,
    /// The running kernel has no vfio-pci.
    #[default]
    Missing,
}

/// A physical function.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pf {
    /// Where it is.
    pub address: PciAddress,
    /// Its netdev, when its driver made one that this network namespace sees.
    pub netdev: Option<PfNetdev>,
    /// Its driver.
    pub driver: Option<DriverName>,
    /// PCI vendor and device number.
    pub id: (u16, u16),
    /// `sriov_totalvfs`: how many VFs the device allows.
    pub total_vfs: u16,
    /// `sriov_numvfs`: how many there are.
    pub num_vfs: u16,
    /// `sriov_drivers_autoprobe`: whether the kernel looks for a driver for new VFs.
    pub autoprobe: bool,
    /// NUMA node, when the firmware says one.
    pub numa_node: Option<u16>,
    /// Errors of its PCI Express link that the hardware has not corrected, fatal or not, since the
    /// device was found (AER: `aer_dev_fatal`, `aer_dev_nonfatal`); `None` where it does not count.
    #[serde(default)]
    pub errors: Option<u64>,
}

/// A PF's own network interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PfNetdev {
    /// Its name now.
    pub name: NetdevName,
    /// Its other names.
    pub altnames: Vec<NetdevName>,
    /// Its own MAC, as it is now.
    pub mac: MacAddress,
    /// The one that its card was made with, where the driver says so.
    #[serde(default)]
    pub permanent_mac: Option<MacAddress>,
    /// Whether it is administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether it has carrier.
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Speed of its link in Mbit/s, while it has one and the driver says so.
    #[serde(default)]
    pub speed: Option<u32>,
}

/// Which of the devices that have had one PCI address this is: the kernfs inode number of its
/// directory in sysfs, which the kernel never gives twice in one boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// A virtual function.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vf {
    /// Where it is.
    pub address: PciAddress,
    /// Its PF.
    pub pf: PciAddress,
    /// Its number within the PF.
    pub index: VfIndex,
    /// Which device of that address it is.
    pub incarnation: Incarnation,
    /// PCI vendor and device number (sysfs gives a VF those of its own).
    pub id: (u16, u16),
    /// Its driver, and the one it was told to have.
    pub binding: Binding,
    /// IOMMU group, when an IOMMU is on.
    pub iommu_group: Option<u32>,
    /// NUMA node.
    pub numa_node: Option<u16>,
    /// Its netdev, when it has one that this network namespace sees.
    pub netdev: Option<VfNetdev>,
    /// Its row in the PF's table; `None` when the PF has no netdev or its reply left it out.
    pub attributes: Option<VfAttributes>,
    /// What the host does with it, empty for nothing.
    pub uses: Vec<HostUse>,
}

/// A VF's own network interface on the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VfNetdev {
    /// Its name now.
    pub name: NetdevName,
    /// Its MAC.
    pub mac: MacAddress,
    /// Whether that MAC came from the PF (`addr_assign_type` 0, `NET_ADDR_PERM`), and not from
    /// chance or from a user.
    pub mac_from_pf: bool,
}

/// Something of the host that uses a VF, so that it must not be lent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostUse {
    /// Its netdev has this address, and it is not link-local.
    Address(NetdevName, String),
    /// A route goes out of its netdev.
    Route(NetdevName, String),
    /// Its netdev belongs to this bond, bridge, team or OVS.
    Master(NetdevName, NetdevName),
    /// This device (macvtap, VLAN) is made on top of its netdev.
    Upper(NetdevName, NetdevName),
    /// Its network driver is bound and no netdev is to be seen: in another namespace, or the
    /// driver is still probing.
    NoNetdev(DriverName),
    /// Somebody holds its lock: a bind, unbind or reset of it that has not come back.
    Locked,
    /// This process has its VFIO group or device open.
    VfioOpen(String),
    /// This process uses its RDMA device.
    Rdma(String),
    /// A write of vfnet's, of this or an earlier daemon, to its PF's `sriov_numvfs` has not come
    /// back, or the kernel is at removing its PF's VFs, whoever has asked for that: it is about to
    /// go away, or has just come.
    Changing,
}

impl HostUse {
    /// What sort of use it is, and by what; nothing where that is not known.
    pub fn sort(&self) -> (&'static str, String) {
        match self {
            Self::Address(_, address) => ("address", address.clone()),
            Self::Route(_, route) => ("route", route.clone()),
            Self::Master(_, master) => ("master", master.to_string()),
            Self::Upper(_, upper) => ("upper", upper.to_string()),
            Self::NoNetdev(driver) => ("no-netdev", driver.to_string()),
            Self::Locked => ("locked", String::new()),
            Self::VfioOpen(who) => ("vfio-open", who.clone()),
            Self::Rdma(who) => ("rdma", who.clone()),
            Self::Changing => ("changing", String::new()),
        }
    }
}

impl fmt::Display for HostUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(dev, address) => {
                write!(f, "host uses {dev}: it has the address {address}")
            }
            Self::Route(dev, route) => write!(f, "host uses {dev}: route {route}"),
            Self::Master(dev, master) => write!(f, "host uses {dev}: it belongs to {master}"),
            Self::Upper(dev, upper) => write!(f, "host uses {dev}: {upper} is made on top of it"),
            Self::NoNetdev(driver) => {
                write!(
                    f,
                    "bound to {driver}, but its netdev is not here (another network namespace?)"
                )
            }
            Self::Locked => {
                f.write_str("the kernel has not finished what somebody has begun with it")
            }
            Self::VfioOpen(who) => write!(f, "open through VFIO by {who}"),
            Self::Rdma(who) => write!(f, "its RDMA device is used by {who}"),
            Self::Changing => f.write_str("the number of its PF's VFs is being changed"),
        }
    }
}

/// A device in an IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupMember {
    /// Where it is.
    pub address: PciAddress,
    /// Its driver.
    pub driver: Option<DriverName>,
    /// Whether that driver is a VFIO one (vfio-pci or a variant).
    pub on_vfio: bool,
    /// Whether it is a bridge, which does not count for viability.
    pub bridge: bool,
}

impl Pf {
    /// Whether this is its interface's name or altname.
    pub fn is_named(&self, name: &NetdevName) -> bool {
        self.netdev.as_ref().is_some_and(|dev| dev.name == *name || dev.altnames.contains(name))
    }
}

impl Inventory {
    /// The PF with this interface name or altname.
    pub fn pf_by_netdev(&self, name: &NetdevName) -> Option<&Pf> {
        self.pfs.values().find(|pf| pf.is_named(name))
    }

    /// The VF whose netdev has this name.
    pub fn vf_by_netdev(&self, name: &NetdevName) -> Option<&Vf> {
        self.vfs.values().find(|vf| vf.netdev.as_ref().is_some_and(|dev| dev.name == *name))
    }

    /// The VFs of a PF, in the order of their numbers.
    pub fn vfs_of(&self, pf: PciAddress) -> Vec<&Vf> {
        let mut vfs: Vec<_> = self.vfs.values().filter(|vf| vf.pf == pf).collect();
        vfs.sort_by_key(|vf| vf.index);
        vfs
    }
}
