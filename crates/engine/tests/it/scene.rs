//! The hosts, networks and guests that the tests are about.

use std::collections::BTreeSet;

use uuid::Uuid;
use vfnet_engine::{
    GuestDefinition, HostdevNeed, NetworkDefinition, NicNeed, NicSource, PortRequest, Request,
};
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::{MacAddress, PciAddress};

use crate::world::{World, granted};

pub(crate) const PF: &str = "0000:01:00.0";
pub(crate) const PF2: &str = "0000:05:00.0";

pub(crate) fn pci(text: &str) -> PciAddress {
    text.parse().expect("a PCI address")
}

/// The VF of [`PF`] with this number.
pub(crate) fn vf(index: u8) -> PciAddress {
    PciAddress::new(0, 1, 0x10 + (index * 2) / 8, (index * 2) % 8).expect("a PCI address")
}

/// An igb PF with this many VFs.
pub(crate) fn igb(vfs: u16) -> SimHost {
    SimHost::builder().vfio_loaded().pf("ens1f0", PF, Driver::Igb).vfs(vfs).build()
}

pub(crate) fn mac(last: u8) -> MacAddress {
    MacAddress::new([0x52, 0x54, 0, 0, 0, last])
}

/// The identity of the network of that name.
pub(crate) fn net(name: &str) -> Uuid {
    identity(1, name)
}

/// The identity of the guest of that name.
pub(crate) fn guest(name: &str) -> Uuid {
    identity(2, name)
}

fn identity(kind: u8, name: &str) -> Uuid {
    let mut octets = [kind; 16];
    for (octet, letter) in octets[8..].iter_mut().zip(name.bytes().rev()) {
        *octet = letter;
    }
    octets.reverse();
    Uuid::new_v8(octets)
}

/// A hostdev network; `inside` goes into `<forward>`, `after` behind it.
pub(crate) fn network_of(name: &str, inside: &str, after: &str) -> NetworkDefinition {
    let uuid = net(name);
    let xml = format!(
        "<network xmlns:vfnet='urn:vfnet:network:1'><name>{name}</name><uuid>{uuid}</uuid>\
         <forward mode='hostdev' managed='yes'>{inside}</forward>{after}</network>"
    );
    let network = vfnet_model::network::parse(&xml).expect("a network document");
    NetworkDefinition { uuid, network, xml }
}

/// All VFs of this PF, with a tag or without (0).
pub(crate) fn network(name: &str, pf: &str, vlan: u16) -> NetworkDefinition {
    let vlan = if vlan > 0 { format!("<vlan><tag id='{vlan}'/></vlan>") } else { String::new() };
    network_of(name, &format!("<pf dev='{pf}'/>"), &vlan)
}

/// A NIC from a network.
pub(crate) fn nic(network: &str, mac: MacAddress) -> NicNeed {
    let name = network.parse().expect("a network's name");
    let source = NicSource::Network { name, portgroup: None };
    NicNeed { source, mac, vlan: None, teaming: false, link_up: None }
}

pub(crate) fn guest_with(name: &str, nics: Vec<NicNeed>) -> GuestDefinition {
    GuestDefinition {
        uuid: guest(name),
        name: name.parse().expect("a guest's name"),
        xml: format!("<domain><name>{name}</name></domain>"),
        nics,
        hostdevs: Vec::new(),
        memory_nodes: BTreeSet::new(),
        processors: BTreeSet::new(),
    }
}

/// A VF named by its address.
pub(crate) fn device(address: PciAddress) -> HostdevNeed {
    HostdevNeed { address, managed: true, driver: None }
}

pub(crate) fn port(network: &str, port: u8, mac: MacAddress) -> PortRequest {
    PortRequest {
        network: net(network),
        port: Uuid::from_u128(u128::from(port)),
        owner: identity(3, "outside"),
        owner_name: "outside".parse().expect("a guest's name"),
        portgroup: None,
        mac,
        vlan: None,
        plug: None,
        trust_guest_rx_filters: None,
        isolated: None,
        tried: Vec::new(),
    }
}

pub(crate) fn define_network(def: NetworkDefinition) -> Request {
    Request::NetworkDefine(Box::new(def))
}

pub(crate) fn define(def: GuestDefinition) -> Request {
    Request::GuestDefine(Box::new(def))
}

pub(crate) fn create(def: GuestDefinition) -> Request {
    Request::GuestCreate {
        definition: Box::new(def),
        paused: false,
        fresh_nvram: false,
        autodestroy: false,
    }
}

pub(crate) fn start(name: &str) -> Request {
    Request::GuestStart {
        guest: guest(name),
        paused: false,
        fresh_nvram: false,
        autodestroy: false,
    }
}

/// A guest that ends with whoever asks.
pub(crate) fn start_for_its_client(name: &str) -> Request {
    Request::GuestStart { guest: guest(name), paused: false, fresh_nvram: false, autodestroy: true }
}

pub(crate) fn destroy(name: &str) -> Request {
    Request::GuestDestroy(guest(name))
}

/// A host on which network `hw` of all VFs of `ens1f0` is active.
pub(crate) fn with_network(host: SimHost) -> World {
    seeded(host, 1)
}

/// The same, with a seed of its own.
pub(crate) fn seeded(host: SimHost, seed: u64) -> World {
    let mut world = World::new(host, seed);
    granted(world.ask(define_network(network("hw", "ens1f0", 0))));
    granted(world.ask(Request::NetworkStart(net("hw"))));
    world
}

/// The VFs that a running guest has open.
pub(crate) fn vfs_of(world: &World, name: &str) -> Vec<PciAddress> {
    let process = world.processes.get(&guest(name));
    process.into_iter().flat_map(|process| &process.vfs).map(|opened| opened.vf).collect()
}
