//! The simulated machine as libvirt's clients list it: the computer, a root port for every bus
//! that has PFs or what is beside their VFs, PFs, VFs, and the netdevs of both.

use std::collections::{BTreeMap, BTreeSet};

use vfnet_model::inventory::Incarnation;
use vfnet_model::node_device::{
    Capability, IommuGroup, Kind, Medium, Net, NetFeature, NetLinkState, NodeDevice,
    NodeDeviceName, Outline, Pci, PciBridge, PciExpress, PciId, PciLink, PciLinkSpeed, System,
    VirtFunctions,
};
use vfnet_model::{DriverName, MacAddress, NetdevName, PciAddress};

use super::binding::name;
use super::{Kernel, PfState, VfState};

const CLASS_NETWORK: u32 = 0x02_0000;
const CLASS_BRIDGE: u32 = 0x06_0400;

/// QEMU's root port, and its driver.
const PORT: (u16, u16) = (0x1b36, 0x000c);
const PORT_DRIVER: &str = "pcieport";

/// Names that pci.ids has for what is simulated here.
const VENDORS: [(u16, &str); 2] = [(0x8086, "Intel Corporation"), (0x1b36, "Red Hat, Inc.")];
const PRODUCTS: [((u16, u16), &str); 3] = [
    ((0x8086, 0x10c9), "82576 Gigabit Network Connection"),
    ((0x8086, 0x10ca), "82576 Virtual Function"),
    (PORT, "QEMU PCIe Root port"),
];

impl Kernel {
    pub(crate) fn device_outlines(&self) -> Vec<Outline> {
        self.node_devices().into_iter().map(|device| self.outline_of(device)).collect()
    }

    pub(crate) fn device_outline(&self, name: &str) -> Option<Outline> {
        self.node_device(name).map(|device| self.outline_of(device))
    }

    pub(crate) fn node_device(&self, name: &str) -> Option<NodeDevice> {
        self.node_devices().into_iter().find(|device| device.name.as_str() == name)
    }

    /// Only VFs, and with them their netdevs, are made anew here.
    fn outline_of(&self, device: NodeDevice) -> Outline {
        let above = device.parent.as_ref().and_then(|it| NodeDeviceName::pci_address(it.as_str()));
        let own = NodeDeviceName::pci_address(device.name.as_str());
        let vf = own.or(above).and_then(|address| self.vfs.get(&address));
        let kind = match device.capability {
            Capability::System(_) => Kind::System,
            Capability::Pci(pci) => {
                Kind::Pci { driver: device.driver, phys_function: pci.phys_function }
            }
            Capability::Net(_) => Kind::Net,
        };
        let incarnation = vf.map_or(Incarnation(0), |vf| vf.incarnation);
        Outline { name: device.name, parent: device.parent, kind, incarnation }
    }

    fn node_devices(&self) -> Vec<NodeDevice> {
        let groups = self.groups();
        let group_of = |number: Option<u32>, own: PciAddress| {
            let members = groups.get(&number?);
            let members = members.into_iter().flatten().map(|member| member.address);
            let members: BTreeSet<PciAddress> = members.chain([own]).collect();
            Some(IommuGroup { number: number?, members: members.into_iter().collect() })
        };
        let mut pci = BTreeMap::new();
        let mut net = BTreeMap::new();
        for (&at, pf) in &self.pfs {
            pci.insert(at, self.pf_device(at, pf));
            if pf.driver.is_some() {
                net.insert(&pf.name, (at, pf.mac, pf.up && pf.carrier, pf));
            }
        }
        for (&at, vf) in &self.vfs {
            let mut device = self.vf_device(at, vf);
            device.1.iommu_group = group_of(vf.group, at);
            pci.insert(at, device);
            if let Some(netdev) = vf.netdev.as_ref().filter(|netdev| !netdev.elsewhere) {
                net.insert(&netdev.name, (at, netdev.mac, false, &self.pfs[&vf.pf]));
            }
        }
        for (&at, other) in &self.others {
            let class = if other.device.bridge { CLASS_BRIDGE } else { CLASS_NETWORK };
            let mut device = described(at, class, PORT);
            device.iommu_group = group_of(other.group, at);
            pci.insert(at, (other.driver.clone(), device));
        }
        let ports: BTreeSet<PciAddress> = pci.keys().filter_map(|&at| port_above(at)).collect();
        for port in ports {
            let mut device = described(port, CLASS_BRIDGE, PORT);
            device.bridge = Some(PciBridge::Pci);
            pci.entry(port).or_insert((Some(name(PORT_DRIVER)), device));
        }
        let pci = pci.into_iter().map(|(at, (driver, device))| NodeDevice {
            name: NodeDeviceName::pci(at),
            path: Some(path(at)),
            parent: Some(port_above(at).map_or_else(NodeDeviceName::computer, NodeDeviceName::pci)),
            driver,
            capability: Capability::Pci(Box::new(device)),
        });
        let net = net.into_iter().map(|(name, (at, mac, up, pf))| netdev(name, at, mac, up, pf));
        std::iter::once(computer()).chain(pci).chain(net).collect()
    }

    fn pf_device(&self, at: PciAddress, pf: &PfState) -> (Option<DriverName>, Pci) {
        let mut device = described(at, CLASS_NETWORK, pf.personality().pf_id);
        device.numa_node = pf.numa_node;
        device.virt_functions = (pf.total_vfs > 0).then(|| VirtFunctions {
            max_count: Some(pf.total_vfs),
            functions: self.vfs_of(at).into_values().collect(),
        });
        (pf.driver.clone(), device)
    }

    fn vf_device(&self, at: PciAddress, vf: &VfState) -> (Option<DriverName>, Pci) {
        let pf = &self.pfs[&vf.pf];
        let mut device = described(at, CLASS_NETWORK, pf.personality().vf_id);
        device.phys_function = Some(vf.pf);
        device.numa_node = pf.numa_node;
        (vf.driver.clone(), device)
    }
}

fn computer() -> NodeDevice {
    NodeDevice {
        name: NodeDeviceName::computer(),
        path: None,
        parent: None,
        driver: None,
        capability: Capability::System(System {
            product: Some("Simulated machine".to_owned()),
            hardware_vendor: Some("vfnet".to_owned()),
            ..System::default()
        }),
    }
}

/// A device with a PCI Express link of 16 lanes.
fn described(address: PciAddress, class: u32, (vendor, product): (u16, u16)) -> Pci {
    let vendor_name = VENDORS.iter().find(|(id, _)| *id == vendor);
    let product_name = PRODUCTS.iter().find(|(id, _)| *id == (vendor, product));
    let link = PciLink { speed: Some(PciLinkSpeed::Gt16), width: 16 };
    Pci {
        class,
        address,
        product: PciId { id: product, name: product_name.map(|(_, name)| (*name).to_owned()) },
        vendor: PciId { id: vendor, name: vendor_name.map(|(_, name)| (*name).to_owned()) },
        phys_function: None,
        virt_functions: None,
        bridge: None,
        iommu_group: None,
        numa_node: None,
        express: Some(PciExpress { capable: Some(link), port: Some(0), status: Some(link) }),
    }
}

fn netdev(
    interface: &NetdevName,
    at: PciAddress,
    mac: MacAddress,
    up: bool,
    pf: &PfState,
) -> NodeDevice {
    let address = mac.to_string();
    NodeDevice {
        name: NodeDeviceName::net(interface, Some(&address)),
        path: Some(format!("{}/net/{interface}", path(at))),
        parent: Some(NodeDeviceName::pci(at)),
        driver: None,
        capability: Capability::Net(Net {
            interface: interface.clone(),
            address: Some(address),
            speed: up.then_some(pf.personality().speed),
            state: Some(if up { NetLinkState::Up } else { NetLinkState::Down }),
            features: [NetFeature::Rx, NetFeature::Tx, NetFeature::Sg, NetFeature::Gro].into(),
            medium: Some(Medium::Ethernet),
        }),
    }
}

/// The root port that a bus hangs on; bus 0 hangs on none.
fn port_above(at: PciAddress) -> Option<PciAddress> {
    let bus = at.bus();
    (bus != 0).then(|| PciAddress::new(at.domain(), 0, bus & 0x1f, bus >> 5).ok())?
}

fn path(at: PciAddress) -> String {
    let root = format!("/sys/devices/pci{:04x}:00", at.domain());
    match port_above(at) {
        Some(port) => format!("{root}/{port}/{at}"),
        None => format!("{root}/{at}"),
    }
}
