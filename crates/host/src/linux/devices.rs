//! The machine's PCI devices and network interfaces as libvirt's clients list them (libvirt:
//! `node_device_udev.c`), from sysfs.
//!
//! Devices come and go while they are read, so nothing here fails for one device: what cannot be
//! read of it is left out, and it is left out itself when it is gone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use vfnet_model::inventory::Incarnation;
use vfnet_model::node_device::{
    Capability, IommuGroup, Kind, Medium, Net, NetFeature, NetLinkState, NodeDevice,
    NodeDeviceName, Outline, Pci, PciId, Sort, System, VirtFunctions,
};
use vfnet_model::{NetdevName, PciAddress};

use super::LinuxHost;
use super::sysfs::Dir;
use crate::config_space::ConfigSpace;
use crate::pci_ids::PciIds;
use crate::{DeviceTree, HostError};

const PCI: &str = "sys/bus/pci/devices";
const NET: &str = "sys/class/net";
const DMI: &str = "sys/class/dmi/id";

/// `DEVTYPE` of wireless interfaces. Interfaces with any other (bridges, VLANs, bonds) libvirt
/// does not list (libvirt: `udevGetDeviceType`).
const WIRELESS: &str = "wlan";

/// Length of `_52_54_00_00_00_0a`.
const MAC_SUFFIX: usize = 18;

/// A netdev that is listed.
struct Listed {
    interface: NetdevName,
    dir: Dir,
    address: Option<String>,
    medium: Medium,
}

impl Listed {
    fn name(&self) -> NodeDeviceName {
        NodeDeviceName::net(&self.interface, self.address.as_deref())
    }
}

impl DeviceTree for LinuxHost {
    fn outlines(&self) -> Result<Vec<Outline>, HostError> {
        let pci = self.dir(PCI).devices().into_iter().filter_map(|at| self.pci_outline(at));
        let net = self.dir(NET).names();
        let net = net.iter().filter_map(|name| net_outline(&self.listed(name)?));
        Ok(std::iter::once(computer()).chain(pci).chain(net).collect())
    }

    fn names(&self) -> Result<Vec<(Sort, NodeDeviceName)>, HostError> {
        // Of PCI devices nothing need be read: their names are their addresses.
        let pci = self.dir(PCI).devices().into_iter().map(NodeDeviceName::pci);
        let net = self.dir(NET).names();
        let net = net.iter().filter_map(|name| self.listed(name)).map(|netdev| netdev.name());
        Ok(std::iter::once((Sort::System, NodeDeviceName::computer()))
            .chain(pci.map(|name| (Sort::Pci, name)))
            .chain(net.map(|name| (Sort::Net, name)))
            .collect())
    }

    fn outline(&self, name: &str) -> Result<Option<Outline>, HostError> {
        Ok(self.find(name).and_then(|found| self.outline_of(&found)))
    }

    fn device(&self, name: &str) -> Result<Option<NodeDevice>, HostError> {
        Ok(self.find(name).and_then(|found| {
            let Outline { name, parent, kind, .. } = self.outline_of(&found)?;
            let (path, driver, capability) = match found {
                Found::System => (None, None, Capability::System(self.system())),
                Found::Pci(address) => {
                    let Kind::Pci { driver, phys_function } = kind else { return None };
                    let pci = self.pci(address, phys_function)?;
                    (devices_path(&self.device(address)), driver, Capability::Pci(Box::new(pci)))
                }
                Found::Net(netdev) => {
                    (devices_path(&netdev.dir), None, Capability::Net(self.net(netdev)))
                }
            };
            Some(NodeDevice { name, path, parent, driver, capability })
        }))
    }
}

/// What a name stands for.
enum Found {
    System,
    Pci(PciAddress),
    Net(Listed),
}

fn computer() -> Outline {
    Outline {
        name: NodeDeviceName::computer(),
        parent: None,
        kind: Kind::System,
        incarnation: Incarnation(0),
    }
}

fn net_outline(netdev: &Listed) -> Option<Outline> {
    Some(Outline {
        name: netdev.name(),
        parent: Some(parent(&devices_path(&netdev.dir)?, None)),
        kind: Kind::Net,
        incarnation: incarnation(&netdev.dir)?,
    })
}

impl LinuxHost {
    fn find(&self, name: &str) -> Option<Found> {
        if name == NodeDeviceName::computer().as_str() {
            return Some(Found::System);
        }
        if let Some(address) = NodeDeviceName::pci_address(name) {
            return self.device(address).exists().then_some(Found::Pci(address));
        }
        let wanted = |netdev: &str| self.listed(netdev).filter(|it| it.name().as_str() == name);
        // Most have a MAC, and a name of letters and digits, which is then the kernel's.
        let rest = name.strip_prefix("net_")?;
        let guess = rest.len().checked_sub(MAC_SUFFIX).and_then(|end| rest.get(..end));
        if let Some(netdev) = guess.and_then(wanted) {
            return Some(Found::Net(netdev));
        }
        // Of the others those are looked into whose name the wanted one can begin with.
        let netdevs = self.dir(NET).names();
        let mut candidates = netdevs.iter().filter(|netdev| {
            let parsed = netdev.parse().ok();
            parsed.is_some_and(|it| name.starts_with(NodeDeviceName::net(&it, None).as_str()))
        });
        candidates.find_map(|netdev| wanted(netdev)).map(Found::Net)
    }

    fn outline_of(&self, found: &Found) -> Option<Outline> {
        match found {
            Found::System => Some(computer()),
            Found::Pci(address) => self.pci_outline(*address),
            Found::Net(netdev) => net_outline(netdev),
        }
    }

    fn pci_outline(&self, address: PciAddress) -> Option<Outline> {
        let dir = self.device(address);
        let path = devices_path(&dir)?;
        Some(Outline {
            name: NodeDeviceName::pci(address),
            parent: Some(parent(&path, Some(address))),
            kind: Kind::Pci { driver: dir.link("driver"), phys_function: dir.link("physfn") },
            incarnation: incarnation(&dir)?,
        })
    }

    /// A netdev, unless it is of a sort that is not listed, or gone.
    fn listed(&self, name: &str) -> Option<Listed> {
        // What is no name of an interface may name any file.
        let interface = name.parse().ok()?;
        let dir = self.dir(NET).dir(name);
        let uevent = attribute(&dir, "uevent")?;
        let medium = match uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE=")) {
            None => Medium::Ethernet,
            Some(WIRELESS) => Medium::Wireless,
            Some(_) => return None,
        };
        Some(Listed { interface, address: attribute(&dir, "address"), dir, medium })
    }

    fn system(&self) -> System {
        let dir = self.dir(DMI);
        let says = |name| attribute(&dir, name);
        System {
            product: says("product_name"),
            hardware_vendor: says("sys_vendor"),
            hardware_version: says("product_version"),
            hardware_serial: says("product_serial"),
            hardware_uuid: says("product_uuid")
                .and_then(|uuid| uuid.parse().ok())
                .unwrap_or_default(),
            firmware_vendor: says("bios_vendor"),
            firmware_version: says("bios_version"),
            firmware_release_date: says("bios_date"),
        }
    }

    fn pci(&self, address: PciAddress, phys_function: Option<PciAddress>) -> Option<Pci> {
        let dir = self.device(address);
        let id = |name| dir.hex(name).ok().flatten().and_then(|id| u16::try_from(id).ok());
        let (vendor, product) = (id("vendor")?, id("device")?);
        let names = self.pci_ids.get_or_init(|| PciIds::of(&self.root));
        let config = fs::read(dir.path("config")).unwrap_or_default();
        let config = ConfigSpace(&config);
        let numa: Option<i32> = dir.value("numa_node", "a node's number, or -1").ok().flatten();
        Some(Pci {
            class: dir.hex("class").ok().flatten()?,
            address,
            product: PciId { id: product, name: names.product(vendor, product).map(str::to_owned) },
            vendor: PciId { id: vendor, name: names.vendor(vendor).map(str::to_owned) },
            phys_function,
            virt_functions: virt_functions(&dir),
            bridge: config.bridge(),
            iommu_group: self.iommu_group(&dir),
            numa_node: numa.and_then(|node| node.try_into().ok()),
            express: config.express(),
        })
    }

    fn iommu_group(&self, device: &Dir) -> Option<IommuGroup> {
        let number: u32 = device.link("iommu_group")?;
        let group = self.dir("sys/kernel/iommu_groups").dir(number.to_string());
        Some(IommuGroup { number, members: group.dir("devices").devices() })
    }

    fn net(&self, Listed { interface, dir, address, medium }: Listed) -> Net {
        let state = attribute(&dir, "operstate").and_then(|it| NetLinkState::from_name(&it));
        // -1 stands for unknown.
        let speed = |dir: &Dir| attribute(dir, "speed")?.parse().ok();
        Net {
            speed: speed(&dir).filter(|_| state == Some(NetLinkState::Up)),
            features: self.features(&dir),
            interface,
            address,
            state,
            medium: Some(medium),
        }
    }

    fn features(&self, netdev: &Dir) -> BTreeSet<NetFeature> {
        let index = netdev.value("ifindex", "an interface index").ok().flatten();
        let mut features =
            index.and_then(|index| self.links.features(index).ok()).unwrap_or_default();
        if netdev.dir("device/infiniband").exists() {
            features.insert(NetFeature::Rdma);
        }
        features
    }
}

/// An attribute that is there and says something.
fn attribute(dir: &Dir, name: &str) -> Option<String> {
    dir.read(name).ok().flatten().filter(|text| !text.is_empty())
}

/// Where the kernel has a device, such as `/sys/devices/pci0000:00/0000:00:04.0`: the entries of
/// buses and classes are links to there.
fn devices_path(entry: &Dir) -> Option<String> {
    let target = fs::read_link(&entry.0).ok()?;
    let below = target.components().skip_while(|part| *part == Component::ParentDir);
    Path::new("/sys").join(below.collect::<std::path::PathBuf>()).to_str().map(str::to_owned)
}

/// Each device's directory has an inode of its own, whose number is not used again
/// (docs/decisions/0003).
fn incarnation(entry: &Dir) -> Option<Incarnation> {
    fs::metadata(&entry.0).ok().map(|metadata| Incarnation(metadata.ino()))
}

/// The nearest PCI device above one, else the machine.
fn parent(path: &str, own: Option<PciAddress>) -> NodeDeviceName {
    let mut above = path.rsplit('/').filter_map(|part| part.parse().ok());
    let above = above.find(|address| Some(*address) != own);
    above.map_or_else(NodeDeviceName::computer, NodeDeviceName::pci)
}

/// The VFs of a device that can have some.
fn virt_functions(dir: &Dir) -> Option<VirtFunctions> {
    let max_count = dir.value("sriov_totalvfs", "a number of VFs").ok().flatten()?;
    let mut functions: Vec<(u32, PciAddress)> = dir
        .names()
        .iter()
        .filter_map(|name| Some((name.strip_prefix("virtfn")?.parse().ok()?, dir.link(name)?)))
        .collect();
    functions.sort_unstable();
    let functions: Vec<PciAddress> = functions.into_iter().map(|(_, address)| address).collect();
    // libvirt shows no capability of a device that can have none and has none.
    (max_count > 0 || !functions.is_empty())
        .then_some(VirtFunctions { max_count: Some(max_count), functions })
}
