//! `<interface>` and `<hostdev>`: network interfaces, and PCI devices of the host.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::words::words;
use crate::{DriverName, MacAddress, NetdevName, NetworkName, PciAddress, VlanId};

/// `<interface>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// What it is connected to.
    pub source: InterfaceSource,
    /// Its MAC, never multicast; `None` (or all zeroes in the document) until filled in.
    pub mac: Option<MacAddress>,
    /// Card that the guest sees, where it does not see a VF.
    pub model: Option<InterfaceModel>,
    /// `<driver name='qemu'/>` of a bridge or network interface: QEMU itself moves the packets.
    pub userspace_backend: bool,
    /// Tag put on its frames, instead of the network's.
    pub vlan: Option<VlanId>,
    /// `<target dev=…/>`: name of the tap device on the host.
    pub target: Option<NetdevName>,
    /// `<link state=…/>`.
    pub link: Option<LinkState>,
    /// `<teaming>`.
    pub teaming: Option<Teaming>,
    /// `<boot order=…/>`.
    pub boot: Option<u32>,
    /// Alias and address in the guest.
    pub placement: Placement,
}

/// `<interface type=…>` with `<source>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InterfaceSource {
    /// A port of a network; what it becomes is the network's affair.
    Network {
        /// The network.
        network: NetworkName,
        /// The class of port.
        portgroup: Option<String>,
    },
    /// An existing bridge of the host.
    Bridge {
        /// The bridge.
        bridge: NetdevName,
    },
    /// A VF by its address on the host.
    Hostdev {
        /// The VF.
        address: PciAddress,
        /// Whether vfnet binds and unbinds drivers.
        managed: bool,
        /// `<driver>`.
        driver: HostdevDriver,
    },
}

/// `<driver name='vfio' model=…/>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HostdevDriver {
    /// `name='vfio'` was written. (Other names are refused.)
    pub vfio: bool,
    /// A VFIO driver to use instead of the best one for the device.
    pub model: Option<DriverName>,
}

words! {
    /// `<model type=…/>` of an interface.
    pub enum InterfaceModel {
        /// virtio-net.
        Virtio = "virtio",
        /// Intel 82540EM.
        E1000 = "e1000",
        /// Intel 82574L.
        E1000e = "e1000e",
        /// Intel 82576.
        Igb = "igb",
        /// Realtek 8139, what a document without a model gets.
        Rtl8139 = "rtl8139",
    }
}

words! {
    /// `<link state=…/>`.
    pub enum LinkState {
        /// Cable plugged in.
        Up = "up",
        /// Cable unplugged.
        Down = "down",
    }
}

/// `<teaming>`: two interfaces that the guest's virtio driver makes one (failover).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Teaming {
    /// The virtio interface that stays.
    Persistent,
    /// The VF that may go away.
    Transient {
        /// Alias of the persistent one.
        persistent: String,
    },
}

/// `<hostdev mode='subsystem' type='pci'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hostdev {
    /// The device on the host.
    pub address: PciAddress,
    /// Whether vfnet binds and unbinds drivers.
    pub managed: bool,
    /// `<driver>`.
    pub driver: HostdevDriver,
    /// `<boot order=…/>`.
    pub boot: Option<u32>,
    /// Alias and address in the guest.
    pub placement: Placement,
}
