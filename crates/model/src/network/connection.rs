//! What libvirt's networks and ports say of connections that vfnet does not make: virtual
//! ports, bandwidth, addresses of the host and macvtap. They are read and printed, so that no
//! document is mangled, and refused by name where one is to be run (see
//! [`Network::served`](super::Network::served)).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::NetdevName;

/// A network whose guests share devices of the host without a bridge of its own: macvtap, and
/// Open vSwitch, whose documents look the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Direct {
    /// How they share.
    pub mode: DirectMode,
    /// What they share.
    pub devices: Devices,
}

/// Mode of a macvtap device (`<forward mode=…>`, `<plug type='direct' mode=…>`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectMode {
    /// Guests reach each other directly.
    Bridge,
    /// Guests do not reach each other.
    Private,
    /// Guests reach each other through the switch outside.
    Vepa,
    /// A device belongs to one guest.
    Passthrough,
}

impl DirectMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bridge, Self::Private, Self::Vepa, Self::Passthrough];

    /// libvirt's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Passthrough => "passthrough",
        }
    }
}

/// Devices of a [`Direct`] network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Devices {
    /// These, each once; none are those of a virtual switch. The first is `dev` of `<forward>`.
    Interfaces(Vec<NetdevName>),
    /// The netdevs of all VFs of a PF.
    Pf(NetdevName),
}

impl Devices {
    /// Whether the document names none.
    pub const fn is_none(&self) -> bool {
        match self {
            Self::Interfaces(devs) => devs.is_empty(),
            Self::Pf(_) => false,
        }
    }
}

/// `<ip>`: an address of the host in the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ip {
    /// `family` was written; it agrees with the address.
    pub family_written: bool,
    /// The host's address.
    pub address: IpAddr,
    /// Its network; `None` leaves it to the class of the address.
    pub mask: Option<IpMask>,
}

/// Size of the network of an [`Ip`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpMask {
    /// `netmask`; of the family of the address.
    Netmask(IpAddr),
    /// `prefix`, at most 32 or 128.
    Prefix(u8),
}

/// `<virtualport>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VirtualPort {
    /// Of which sort; left out where a portgroup adds to its network's.
    pub kind: Option<VirtualPortKind>,
    /// `managerid`.
    pub manager_id: Option<u8>,
    /// `typeid`, 24 bits.
    pub type_id: Option<u32>,
    /// `typeidversion`.
    pub type_id_version: Option<u8>,
    /// `instanceid`.
    pub instance_id: Option<Uuid>,
    /// `interfaceid`.
    pub interface_id: Option<Uuid>,
    /// `profileid`, at most 39 bytes.
    pub profile_id: Option<String>,
}

/// `type` of a [`VirtualPort`]. Each has parameters of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VirtualPortKind {
    /// `802.1Qbg`: manager, type, version and instance.
    Qbg,
    /// `802.1Qbh`: a profile.
    Qbh,
    /// `openvswitch`: an interface and a profile.
    OpenVswitch,
    /// `midonet`: an interface.
    Midonet,
}

impl VirtualPortKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Qbg, Self::Qbh, Self::OpenVswitch, Self::Midonet];

    /// libvirt's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qbg => "802.1Qbg",
            Self::Qbh => "802.1Qbh",
            Self::OpenVswitch => "openvswitch",
            Self::Midonet => "midonet",
        }
    }
}

/// `<bandwidth>`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bandwidth {
    /// `classID`, of a port alone.
    pub class_id: Option<u32>,
    /// What guests receive.
    pub inbound: Option<Rate>,
    /// What guests send; it has no floor.
    pub outbound: Option<Rate>,
}

/// `<inbound>` or `<outbound>`. A peak or burst needs an average.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Desired rate in KiB/s.
    pub average: Option<u64>,
    /// Highest rate in KiB/s.
    pub peak: Option<u64>,
    /// Guaranteed rate in KiB/s.
    pub floor: Option<u64>,
    /// KiB that may be sent at peak rate.
    pub burst: Option<u64>,
}
