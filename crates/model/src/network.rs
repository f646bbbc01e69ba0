//! Networks as their documents describe them (RFC step 1).
//!
//! A [`Network`] is what was written, served or not (see [`Network::served`]); what it resolves
//! to on this host (which VFs a `<pf>` has today) is decided by the engine against an
//! [`Inventory`](crate::inventory::Inventory).

use uuid::Uuid;

use crate::{NetdevName, NetworkName, PciAddress, VlanTags};

pub mod connection;
mod head;
pub mod metadata;
mod options;
mod parse;
mod pf;
mod placement;
mod print;
mod served;
mod update;

pub use connection::{Bandwidth, Direct, DirectMode, Ip, VirtualPort};
pub use head::{Head, Mode, head};
pub use options::VfOptions;
pub use parse::parse;
pub use pf::{
    CardId, LentPf, NotALentPf, NotAPciId, NotAVfRange, PciId, PfName, PfSelector,
    PhysicalNetworks, PoolPf, VfRange, WhichPf,
};
pub use placement::{Filling, Pin, Placement, Weight};
pub use print::{Form, Live, print};
pub(crate) use served::{NO_ISOLATION, NO_TRUNK, NO_VIRTUALPORT, no_bandwidth, unsupported};
pub use update::{Command, Section, UpdateError, update};

/// The namespace of what libvirt's networks cannot say, by convention with the prefix `vfnet`.
pub const NAMESPACE: &str = "urn:vfnet:network:1";

/// A network document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its name, unique on the host.
    pub name: NetworkName,
    /// Its identity; `None` when the document left it out.
    pub uuid: Option<Uuid>,
    /// A short text.
    pub title: Option<String>,
    /// A long text.
    pub description: Option<String>,
    /// `<metadata>`, as it was written.
    pub metadata: Option<String>,
    /// `trustGuestRxFilters`, kept for the document; without effect on VFs.
    pub trust_guest_rx_filters: Option<bool>,
    /// How guests are connected.
    pub forward: Forward,
    /// Tag for every port that has none of its own.
    pub vlan: Option<VlanTags>,
    /// Limits of all ports together.
    pub bandwidth: Option<Bandwidth>,
    /// `<port isolated=…/>`: whether guests are kept from each other.
    pub isolated: Option<bool>,
    /// Addresses of the host in the network.
    pub ips: Vec<Ip>,
    /// How a switch knows the ports.
    pub virtual_port: Option<VirtualPort>,
    /// Named classes of ports.
    pub portgroups: Vec<PortGroup>,
}

/// `<forward>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Forward {
    /// A pool of VFs handed over by PCI passthrough: `mode='hostdev'`, the RFC's `hardware`.
    Hostdev(Pool),
    /// An existing bridge of the host: `mode='bridge'` with `<bridge name=…/>`.
    Bridge(NetdevName),
    /// Devices of the host without a bridge of its own: the modes of macvtap.
    Direct(Direct),
}

/// The VFs of a hostdev network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Whether vfnet binds and unbinds drivers (`managed='yes'`).
    pub managed: bool,
    /// `<driver>`.
    pub driver: Option<PoolDriver>,
    /// Which VFs.
    pub members: Members,
    /// `<vfnet:pf>`: PFs besides, in document order.
    pub pfs: Vec<PoolPf>,
    /// `<vfnet:placement>`: which of its VFs is lent.
    pub placement: Placement,
    /// `<vfnet:vf>`: what its VFs get besides MAC and tag.
    pub vf: VfOptions,
}

/// `<driver name='vfio' model='…'/>`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolDriver {
    /// `name='vfio'` was written. (Other names are refused.)
    pub vfio: bool,
    /// `model`: a VFIO driver to use instead of the best one for the device.
    pub model: Option<crate::DriverName>,
}

/// How the document names the VFs of a pool. At most one kind, as libvirt has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Members {
    /// Nothing listed: the pool is what `<vfnet:pf>` names, or empty.
    None,
    /// `<pf dev=…/>`: all VFs of that PF.
    Pf(NetdevName),
    /// `<address type='pci' …/>`, one a VF.
    Addresses(Vec<PciAddress>),
    /// `<interface dev=…/>`, one a VF by its netdev: the RFC's pool, resolved at network start.
    Interfaces(Vec<NetdevName>),
}

/// `<portgroup>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortGroup {
    /// Its name, unique in the network.
    pub name: String,
    /// Whether ports that name no group are of this one.
    pub default: bool,
    /// `trustGuestRxFilters`, kept for the document.
    pub trust_guest_rx_filters: Option<bool>,
    /// Tag for its ports.
    pub vlan: Option<VlanTags>,
    /// How a switch knows its ports.
    pub virtual_port: Option<VirtualPort>,
    /// Limits of each of its ports.
    pub bandwidth: Option<Bandwidth>,
    /// `<vfnet:placement>`, which overrides the network's attribute by attribute.
    pub placement: Placement,
    /// `<vfnet:vf>`, which overrides the network's attribute by attribute.
    pub vf: VfOptions,
}

impl Network {
    /// The pool, when this is a hostdev network.
    pub const fn pool(&self) -> Option<&Pool> {
        match &self.forward {
            Forward::Hostdev(pool) => Some(pool),
            Forward::Bridge(_) | Forward::Direct(_) => None,
        }
    }

    /// The group of that name, or the default one where none is named.
    pub fn portgroup(&self, name: Option<&str>) -> Option<&PortGroup> {
        self.portgroups.iter().find(|group| match name {
            Some(name) => group.name == name,
            None => group.default,
        })
    }
}
