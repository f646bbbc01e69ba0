//! What vfnet talks about: PCI addresses, MACs, networks, ports, guests and node devices, and
//! the XML documents that people and programs write of them.
//!
//! Values here are parsed once, at the edge; a value that exists is valid. This crate knows
//! neither tokio nor the kernel, and does no I/O. Read first: [`network::Network`],
//! [`inventory::Inventory`] (what the host was last seen to be) and [`xml::Document`] (how
//! a document is read so that nothing in it is dropped in silence).

pub mod doctor;
pub mod drift;
pub mod drivers;
pub mod event;
mod explain;
pub mod guest;
pub mod inventory;
pub mod mac;
pub mod metadata;
pub mod names;
pub mod network;
pub mod node_device;
pub mod pci;
pub mod pf;
pub mod port;
pub mod report;
pub mod storage;
pub mod time;
pub mod vf;
pub mod vlan;
pub mod xml;

pub use explain::{explain, legible};
pub use mac::{MacAddress, MacPrefix};
pub use names::{
    BootId, DriverName, GuestName, NetdevName, NetworkName, PhysicalNetworkName, PoolName,
};
pub use pci::PciAddress;
pub use uuid::Uuid;
pub use vlan::{Vlan, VlanId, VlanProtocol, VlanTags};
