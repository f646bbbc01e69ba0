//! Node devices: the host's PCI devices and network interfaces as libvirt's clients list them
//! (libvirt: `node_device_conf.c`, `node_device_udev.c`).
//!
//! Documents are only printed: devices are made by the kernel, not by documents.

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use crate::inventory::Incarnation;
use crate::{DriverName, NetdevName, PciAddress};

mod print;

pub use print::{Form, print};

/// A device of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeDevice {
    /// Its name among node devices.
    pub name: NodeDeviceName,
    /// Its directory, such as `/sys/devices/pci0000:00/0000:00:04.0`; the system has none.
    pub path: Option<String>,
    /// The device that it hangs on; the system has none.
    pub parent: Option<NodeDeviceName>,
    /// The bound driver.
    pub driver: Option<DriverName>,
    /// What it is.
    pub capability: Capability,
}

/// Name of a node device, made of what the kernel calls it: every character that is no letter
/// or digit becomes `_` (libvirt: `udevGenerateDeviceName`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeDeviceName(String);

impl NodeDeviceName {
    /// The system itself, at the root of the tree.
    pub fn computer() -> Self {
        Self("computer".to_owned())
    }

    /// A PCI device: `pci_0000_02_10_7`.
    pub fn pci(address: PciAddress) -> Self {
        Self::generated(&format!("pci_{address}"))
    }

    /// The address of the PCI device that has this name.
    pub fn pci_address(name: &str) -> Option<PciAddress> {
        let mut parts = name.strip_prefix("pci_")?.splitn(4, '_');
        let mut part = || parts.next();
        let address = format!("{}:{}:{}.{}", part()?, part()?, part()?, part()?).parse().ok()?;
        (Self::pci(address).0 == name).then_some(address)
    }

    /// A network interface: `net_eth0_52_54_00_12_34_56`, or `net_tun0` for one without an
    /// address.
    pub fn net(interface: &NetdevName, address: Option<&str>) -> Self {
        Self::generated(&match address {
            Some(address) => format!("net_{interface}_{address}"),
            None => format!("net_{interface}"),
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn generated(kernel: &str) -> Self {
        // libvirt looks at bytes: a character of two bytes becomes two underscores.
        let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte.into() } else { '_' };
        Self(kernel.bytes().map(plain).collect())
    }
}

impl fmt::Display for NodeDeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A device in a list: what it is called, what it is and where it hangs. Costs far less to find
/// out than all of a [`NodeDevice`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// Its name among node devices.
    pub name: NodeDeviceName,
    /// The device that it hangs on; the system has none.
    pub parent: Option<NodeDeviceName>,
    /// What it is.
    pub kind: Kind,
    /// Which of the devices that have had this name it is.
    pub incarnation: Incarnation,
}

/// What a device is, in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The machine.
    System,
    /// A PCI device.
    Pci {
        /// The bound driver.
        driver: Option<DriverName>,
        /// The PF, when it is a VF.
        phys_function: Option<PciAddress>,
    },
    /// A network interface.
    Net,
}

impl Kind {
    /// Its sort.
    pub const fn sort(&self) -> Sort {
        match self {
            Self::System => Sort::System,
            Self::Pci { .. } => Sort::Pci,
            Self::Net => Sort::Net,
        }
    }
}

/// Sorts of devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// The machine.
    System,
    /// A PCI device.
    Pci,
    /// A network interface.
    Net,
}

impl Sort {
    /// libvirt's name of the capability.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Pci => "pci",
            Self::Net => "net",
        }
    }
}

/// What a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Capability {
    /// The machine.
    System(System),
    /// A PCI device.
    Pci(Box<Pci>),
    /// A network interface.
    Net(Net),
}

/// What the firmware says of the machine (DMI). Everything may be absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct System {
    /// The product's name.
    pub product: Option<String>,
    /// Who made the machine.
    pub hardware_vendor: Option<String>,
    /// The machine's version.
    pub hardware_version: Option<String>,
    /// The machine's serial number.
    pub hardware_serial: Option<String>,
    /// The machine's UUID, always printed.
    pub hardware_uuid: Uuid,
    /// Who made the firmware.
    pub firmware_vendor: Option<String>,
    /// The firmware's version.
    pub firmware_version: Option<String>,
    /// The firmware's date, as it says it.
    pub firmware_release_date: Option<String>,
}

/// A PCI device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pci {
    /// Class, subclass and programming interface: 24 bits (sysfs: `class`).
    pub class: u32,
    /// Where it is.
    pub address: PciAddress,
    /// Its number, and its name in pci.ids.
    pub product: PciId,
    /// Its vendor's number, and name in pci.ids.
    pub vendor: PciId,
    /// The PF, when this is a VF.
    pub phys_function: Option<PciAddress>,
    /// The VFs, when this can make some.
    pub virt_functions: Option<VirtFunctions>,
    /// Which sort of bridge it is, when it is one.
    pub bridge: Option<PciBridge>,
    /// Its IOMMU group, when an IOMMU is on.
    pub iommu_group: Option<IommuGroup>,
    /// NUMA node, when the firmware says one.
    pub numa_node: Option<u16>,
    /// Its PCI Express capability.
    pub express: Option<PciExpress>,
}

/// A number of pci.ids and what it stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PciId {
    /// The number.
    pub id: u16,
    /// The name, when pci.ids has one.
    pub name: Option<String>,
}

/// The VFs of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtFunctions {
    /// How many there can be (sysfs: `sriov_totalvfs`); `None` where the kernel does not say.
    pub max_count: Option<u16>,
    /// Those that there are, in the order of their numbers.
    pub functions: Vec<PciAddress>,
}

/// Sorts of PCI bridges, by their header type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PciBridge {
    /// Header type 1.
    Pci,
    /// Header type 2.
    Cardbus,
}

/// An IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IommuGroup {
    /// Its number.
    pub number: u32,
    /// The devices in it, this one included.
    pub members: Vec<PciAddress>,
}

/// PCI Express capability. A device may have it without a link (integrated endpoints).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PciExpress {
    /// What the link can do.
    pub capable: Option<PciLink>,
    /// The port's number, printed with what the link can do.
    pub port: Option<u32>,
    /// What the link does now.
    pub status: Option<PciLink>,
}

/// A PCI Express link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PciLink {
    /// Speed of a lane, when known.
    pub speed: Option<PciLinkSpeed>,
    /// Number of lanes; 0 for a link that is down.
    pub width: u32,
}

/// Speed of a PCI Express lane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PciLinkSpeed {
    /// 2.5 GT/s.
    Gt2_5,
    /// 5 GT/s.
    Gt5,
    /// 8 GT/s.
    Gt8,
    /// 16 GT/s.
    Gt16,
    /// 32 GT/s.
    Gt32,
    /// 64 GT/s.
    Gt64,
}

impl PciLinkSpeed {
    /// The speed with this number in a link's registers.
    pub const fn from_register(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Gt2_5,
            2 => Self::Gt5,
            3 => Self::Gt8,
            4 => Self::Gt16,
            5 => Self::Gt32,
            6 => Self::Gt64,
            _ => return None,
        })
    }

    /// Number of GT/s, as text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gt2_5 => "2.5",
            Self::Gt5 => "5",
            Self::Gt8 => "8",
            Self::Gt16 => "16",
            Self::Gt32 => "32",
            Self::Gt64 => "64",
        }
    }
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Net {
    /// Its name.
    pub interface: NetdevName,
    /// Its hardware address as the kernel writes it: a MAC, of InfiniBand 20 bytes, of a tunnel
    /// the outer address.
    pub address: Option<String>,
    /// Speed in Mbit/s, when it has one.
    pub speed: Option<u32>,
    /// State of its link.
    pub state: Option<NetLinkState>,
    /// What its driver can do in hardware.
    pub features: BTreeSet<NetFeature>,
    /// Which sort of network it is on.
    pub medium: Option<Medium>,
}

/// State of a network interface's link (sysfs: `operstate`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetLinkState {
    /// Not told by the driver.
    Unknown,
    /// The hardware is missing.
    NotPresent,
    /// No carrier, or not up.
    Down,
    /// What it is made on top of is down.
    LowerLayerDown,
    /// In a test mode.
    Testing,
    /// Waiting for something outside, such as 802.1X.
    Dormant,
    /// Ready.
    Up,
}

impl NetLinkState {
    const ALL: [Self; 7] = [
        Self::Unknown,
        Self::NotPresent,
        Self::Down,
        Self::LowerLayerDown,
        Self::Testing,
        Self::Dormant,
        Self::Up,
    ];

    /// The state that the kernel calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The kernel's and libvirt's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotPresent => "notpresent",
            Self::Down => "down",
            Self::LowerLayerDown => "lowerlayerdown",
            Self::Testing => "testing",
            Self::Dormant => "dormant",
            Self::Up => "up",
        }
    }
}

/// What an interface can do in hardware, in the order of printing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NetFeature {
    /// Checksums of what is received.
    Rx,
    /// Checksums of what is sent.
    Tx,
    /// Scatter-gather.
    Sg,
    /// TCP segmentation.
    Tso,
    /// Generic segmentation.
    Gso,
    /// Generic receive aggregation.
    Gro,
    /// Large receive aggregation.
    Lro,
    /// Takes VLAN tags off.
    Rxvlan,
    /// Puts VLAN tags on.
    Txvlan,
    /// Filters of flows.
    Ntuple,
    /// Hashes of what is received.
    Rxhash,
    /// Has an RDMA device.
    Rdma,
    /// Segmentation within UDP tunnels.
    Txudptnl,
    /// Its PF's eswitch is in switchdev mode.
    Switchdev,
}

impl NetFeature {
    /// ethtool's and libvirt's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
            Self::Sg => "sg",
            Self::Tso => "tso",
            Self::Gso => "gso",
            Self::Gro => "gro",
            Self::Lro => "lro",
            Self::Rxvlan => "rxvlan",
            Self::Txvlan => "txvlan",
            Self::Ntuple => "ntuple",
            Self::Rxhash => "rxhash",
            Self::Rdma => "rdma",
            Self::Txudptnl => "txudptnl",
            Self::Switchdev => "switchdev",
        }
    }
}

/// Sort of network, by the IEEE's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// Ethernet (802.3).
    Ethernet,
    /// Wireless (802.11).
    Wireless,
}
