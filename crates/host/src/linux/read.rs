//! The machine as it is: PFs, VFs, groups, and what the host does with them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustix::io::Errno;
use vfnet_model::guest::CpuSet;
use vfnet_model::inventory::{
    GroupMember, HostUse, Incarnation, Inventory, Pf, PfNetdev, Vf, VfNetdev, VfioSupport,
};
use vfnet_model::vf::{Binding, VfIndex};
use vfnet_model::{DriverName, MacAddress, NetdevName, PciAddress};

use super::sysfs::Dir;
use super::{LinuxHost, alias, netlink_failed, open_files};
use crate::HostError;
use crate::netlink::Link;
use crate::reader::Reading;

/// PCI class of network controllers, and of PCI bridges.
const CLASS_NETWORK: u32 = 0x02;
const CLASS_BRIDGE: u32 = 0x0604;

/// `NET_ADDR_PERM` of `addr_assign_type`.
const ADDRESS_PERMANENT: u32 = 0;
/// `IFF_UP`.
const UP: u32 = 1;
/// How often a netdev that changes while it is read is looked at.
const LOOKS: u32 = 5;

/// What it means that somebody has a node open.
type OpenedBy = fn(String) -> HostUse;

/// A netdev that a device's driver made, as sysfs has it.
pub(super) struct Netdev {
    pub(super) index: u32,
    pub(super) name: NetdevName,
    dir: Dir,
}

/// The first of a device's netdevs in this network namespace (a dual-port mlx4 has two on one
/// PF; the VFs of the first port are what is served).
pub(super) fn netdev(device: &Dir) -> Result<Option<Netdev>, HostError> {
    let net = device.dir("net");
    let mut netdevs = Vec::new();
    for name in net.names() {
        let dir = net.dir(&name);
        // Renamed or gone between the two looks.
        let Some(index) = dir.value("ifindex", "an interface index")? else { continue };
        let name = name.parse().map_err(|_| net.unexpected("", &name, "an interface name"))?;
        netdevs.push(Netdev { index, name, dir });
    }
    Ok(netdevs.into_iter().min_by_key(|netdev| netdev.index))
}

/// One look at the machine. What several VFs need is read once.
pub(super) struct Reader<'a> {
    host: &'a LinuxHost,
    aliases: OnceCell<Arc<str>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(host: &'a LinuxHost) -> Self {
        Self { host, aliases: OnceCell::new() }
    }

    /// Everything. A device that cannot be made sense of is left out and logged, so that it does
    /// not take the others with it.
    pub(super) fn inventory(&self) -> Result<Inventory, HostError> {
        let mut inventory = Inventory {
            iommu: !self.host.dir("sys/class/iommu").names().is_empty(),
            vfio: self.vfio(),
            nodes: self.nodes(),
            ..Inventory::default()
        };
        for address in self.host.dir("sys/bus/pci/devices").devices() {
            match self.pf(address) {
                Ok(pf) => inventory.pfs.extend(pf.map(|pf| (address, pf))),
                Err(error) => left_out(address, &error),
            }
        }
        let pfs: Vec<PciAddress> = inventory.pfs.keys().copied().collect();
        for pf in pfs {
            let table = self.table(pf).unwrap_or_else(|error| {
                left_out(pf, &error);
                Link::default()
            });
            for (index, address) in self.vfs_of(pf) {
                match self.read_vf(address, pf, index, &table) {
                    Ok(vf) => inventory.vfs.extend(vf.map(|vf| (address, vf))),
                    Err(error) => left_out(address, &error),
                }
            }
        }
        let groups: BTreeSet<u32> =
            inventory.vfs.values().filter_map(|vf| vf.iommu_group).collect();
        inventory.groups = groups.into_iter().map(|group| (group, self.members(group))).collect();
        self.add_open_nodes(inventory.vfs.values_mut());
        Ok(inventory)
    }

    /// NUMA nodes and their processors. One that cannot be made sense of has none.
    fn nodes(&self) -> BTreeMap<u16, BTreeSet<u16>> {
        let nodes = self.host.dir("sys/devices/system/node");
        let number = |name: &String| name.strip_prefix("node")?.parse::<u16>().ok();
        let processors = |name: &str| {
            let listed = nodes.dir(name).value::<CpuSet>("cpulist", "a list of processors");
            listed.ok().flatten().iter().flat_map(CpuSet::iter).collect()
        };
        let named = nodes.names();
        named.iter().filter_map(|name| Some((number(name)?, processors(name)))).collect()
    }

    pub(super) fn pf(&self, address: PciAddress) -> Result<Option<Pf>, HostError> {
        let dir = self.host.device(address);
        let Some(total_vfs) = dir.value("sriov_totalvfs", "a number of VFs")? else {
            return Ok(None);
        };
        let num_vfs = u16::try_from(self.vfs_of(address).len())
            .map_err(|_| dir.unexpected("virtfn*", "too many", "65535 VFs at most"))?;
        Ok(Some(Pf {
            address,
            netdev: self.pf_netdev(&dir)?,
            driver: dir.link("driver"),
            id: id(&dir)?,
            total_vfs,
            num_vfs,
            autoprobe: dir.read("sriov_drivers_autoprobe")?.as_deref() != Some("0"),
            numa_node: numa_node(&dir)?,
            errors: uncorrected(&dir),
        }))
    }

    pub(super) fn vf(&self, address: PciAddress) -> Result<Option<Vf>, HostError> {
        let Some(pf) = self.host.device(address).link::<PciAddress>("physfn") else {
            return Ok(None);
        };
        let Some((index, _)) = self.vfs_of(pf).into_iter().find(|(_, vf)| *vf == address) else {
            return Ok(None);
        };
        let mut vf = self.read_vf(address, pf, index, &self.table(pf)?)?;
        self.add_open_nodes(vf.iter_mut());
        Ok(vf)
    }

    fn vfio(&self) -> VfioSupport {
        if self.host.dir("sys/bus/pci/drivers/vfio-pci").exists() {
            VfioSupport::Loaded
        } else if self
            .host
            .module_file("modules.dep")
            .and_then(|path| std::fs::read(path).ok())
            .is_some_and(|bytes| {
                let text = String::from_utf8_lossy(&bytes);
                let mut modules = text.lines().filter_map(|line| line.split(':').next());
                modules.any(|module| module.contains("/vfio-pci.ko"))
            })
        {
            VfioSupport::Loadable
        } else {
            VfioSupport::Missing
        }
    }

    /// `virtfnN` links, in the order of N.
    fn vfs_of(&self, pf: PciAddress) -> Vec<(VfIndex, PciAddress)> {
        let dir = self.host.device(pf);
        let mut vfs: Vec<_> = dir
            .names()
            .iter()
            .filter_map(|name| {
                let index = name.strip_prefix("virtfn")?.parse().ok()?;
                Some((VfIndex(index), dir.link(name)?))
            })
            .collect();
        vfs.sort_unstable();
        vfs
    }

    /// The PF's table; empty when the PF has no netdev here.
    fn table(&self, pf: PciAddress) -> Result<Link, HostError> {
        let table = of_netdev(&self.host.device(pf), |netdev| {
            let failed = netlink_failed(format!("read the VFs of PF {pf}"));
            self.host.links.link(netdev.index, true).map_err(failed)
        })?;
        Ok(table.unwrap_or_default())
    }

    fn pf_netdev(&self, device: &Dir) -> Result<Option<PfNetdev>, HostError> {
        of_netdev(device, |Netdev { index, name, dir }| {
            let failed = netlink_failed(format!("read the link {name}"));
            let link = self.host.links.link(*index, false).map_err(failed)?;
            Ok(PfNetdev {
                mac: mac(dir)?,
                up: flags(dir)? & UP != 0,
                carrier: dir.read("carrier")?.as_deref() == Some("1"),
                mtu: dir.value("mtu", "an MTU")?.ok_or_else(|| dir.missing("mtu"))?,
                speed: speed(dir),
                altnames: link.altnames,
                permanent_mac: link.permanent_mac,
                name: name.clone(),
            })
        })
    }

    fn vf_netdev(&self, device: &Dir) -> Result<Option<(VfNetdev, Vec<HostUse>)>, HostError> {
        of_netdev(device, |netdev| {
            let Netdev { name, dir, .. } = netdev;
            let kind: Option<u32> = dir.value("addr_assign_type", "a number")?;
            let mac_from_pf = kind == Some(ADDRESS_PERMANENT);
            let read = VfNetdev { mac: mac(dir)?, mac_from_pf, name: name.clone() };
            Ok((read, self.netdev_uses(netdev)?))
        })
    }

    fn read_vf(
        &self,
        address: PciAddress,
        pf: PciAddress,
        index: VfIndex,
        table: &Link,
    ) -> Result<Option<Vf>, HostError> {
        let dir = self.host.device(address);
        let Ok(metadata) = std::fs::metadata(&dir.0) else { return Ok(None) };
        let (netdev, mut uses) = self.vf_netdev(&dir)?.unzip();
        let driver: Option<DriverName> = dir.link("driver");
        match (&netdev, &driver) {
            (None, Some(driver))
                if is_network(&dir)?
                    && driver.as_str() != "pci-stub"
                    && !self.is_vfio(&dir, driver) =>
            {
                uses = Some(vec![HostUse::NoNetdev(driver.clone())]);
            }
            _ => {}
        }
        // Asked for each device: a write may have begun since the look did.
        let unfinished = self.host.writer.unfinished();
        let num_vfs = self.host.device(pf).path("sriov_numvfs").display().to_string();
        // The kernel removes VFs in the order of their numbers, each link before its VF, and waits
        // where a guest has one open (kernel: sriov_del_vfs, vfio_unregister_group_dev).
        let first_is_gone = !self.host.device(pf).dir("virtfn0").exists();
        if first_is_gone || unfinished.iter().any(|write| write.starts_with(&num_vfs)) {
            uses.get_or_insert_default().push(HostUse::Changing);
        }
        let [own, pfs] = [address, pf].map(|device| device.to_string());
        let is_written_to = unfinished.iter().any(|it| it.contains(&own) || it.contains(&pfs));
        let found = if is_written_to { None } else { self.driver_override(&dir)? };
        if found.is_none() {
            uses.get_or_insert_default().push(HostUse::Locked);
        }
        let driver_override = found.flatten();
        Ok(Some(Vf {
            address,
            pf,
            index,
            incarnation: Incarnation(metadata.ino()),
            id: id(&dir)?,
            binding: Binding { driver, driver_override },
            iommu_group: dir
                .link::<String>("iommu_group")
                .map(|group| {
                    let bad = |_| dir.unexpected("iommu_group", &group, "a group's number");
                    group.parse().map_err(bad)
                })
                .transpose()?,
            numa_node: numa_node(&dir)?,
            netdev,
            attributes: table.vfs.get(&index).cloned(),
            uses: uses.unwrap_or_default(),
        }))
    }

    /// `None` while somebody holds the device's lock.
    fn driver_override(&self, dir: &Dir) -> Result<Option<Option<DriverName>>, HostError> {
        let found = match self.host.writer.read(&dir.path("driver_override")) {
            Reading::Locked => return Ok(None),
            Reading::Done(found) => dir.text("driver_override", found)?,
        };
        match found.as_deref() {
            None | Some("(null)" | "") => Ok(Some(None)),
            Some(name) => name
                .parse()
                .map(|name| Some(Some(name)))
                .map_err(|_| dir.unexpected("driver_override", name, "a driver's name")),
        }
    }

    fn is_vfio(&self, device: &Dir, driver: &DriverName) -> bool {
        driver.as_str() == "vfio-pci"
            || device.dir("vfio-dev").exists()
            || alias::is_vfio_driver(self.aliases.get_or_init(|| self.host.aliases()), driver)
    }

    fn netdev_uses(&self, netdev: &Netdev) -> Result<Vec<HostUse>, HostError> {
        let Netdev { index, name, dir } = netdev;
        let mut uses = Vec::new();
        let master: Option<NetdevName> = dir.link("master");
        for upper in dir.names().iter().filter_map(|entry| entry.strip_prefix("upper_")) {
            if let Ok(upper) = upper.parse()
                && Some(&upper) != master.as_ref()
            {
                uses.push(HostUse::Upper(name.clone(), upper));
            }
        }
        uses.extend(master.map(|master| HostUse::Master(name.clone(), master)));

        let links = &self.host.links;
        let ask = |outcome: Result<Vec<String>, crate::netlink::Refusal>, what| match outcome {
            // It went away meanwhile, and its uses with it.
            Err(refusal) if refusal.is(Errno::NODEV) => Ok(Vec::new()),
            outcome => outcome.map_err(netlink_failed(format!("read the {what} of {name}"))),
        };
        let addresses = ask(links.addresses(*index), "addresses")?;
        uses.extend(addresses.into_iter().map(|found| HostUse::Address(name.clone(), found)));
        // A link that is down has no routes.
        if flags(dir)? & UP != 0 {
            let routes = ask(links.routes(*index), "routes")?;
            uses.extend(routes.into_iter().map(|found| HostUse::Route(name.clone(), found)));
        }
        Ok(uses)
    }

    fn members(&self, group: u32) -> Vec<GroupMember> {
        let dir = self.host.dir("sys/kernel/iommu_groups").dir(group.to_string()).dir("devices");
        dir.devices()
            .into_iter()
            .map(|address| {
                let device = self.host.device(address);
                let driver: Option<DriverName> = device.link("driver");
                let class = device.hex("class").ok().flatten();
                GroupMember {
                    address,
                    on_vfio: driver.as_ref().is_some_and(|driver| self.is_vfio(&device, driver)),
                    driver,
                    bridge: class.is_some_and(|class| class >> 8 == CLASS_BRIDGE),
                }
            })
            .collect()
    }

    /// Who has the VFIO and RDMA nodes of these VFs open. Processes are looked at only when
    /// there are such nodes.
    fn add_open_nodes<'v>(&self, vfs: impl Iterator<Item = &'v mut Vf>) {
        let mut nodes = BTreeMap::new();
        let vfs: Vec<_> = vfs.collect();
        for vf in &vfs {
            let dir = self.host.device(vf.address);
            let mut own: Vec<(String, OpenedBy)> = Vec::new();
            if vf.binding.driver.as_ref().is_some_and(|driver| self.is_vfio(&dir, driver)) {
                let group = vf.iommu_group.map(|group| format!("/dev/vfio/{group}"));
                let all = group.into_iter().chain(self.host.vfio_nodes(vf.address));
                own.extend(all.map(|node| (node, HostUse::VfioOpen as OpenedBy)));
            }
            if dir.dir("infiniband").exists() {
                let verbs = dir.dir("infiniband_verbs").names();
                let all = verbs.into_iter().map(|name| format!("/dev/infiniband/{name}"));
                own.extend(all.map(|node| (node, HostUse::Rdma as OpenedBy)));
            }
            nodes.insert(vf.address, own);
        }
        let all = nodes.values().flatten().map(|(node, _)| node.clone()).collect();
        let holders = open_files::holders(&self.host.root.join("proc"), &all);
        for vf in vfs {
            for (node, host_use) in nodes.get(&vf.address).into_iter().flatten() {
                if let Some(who) = holders.get(node) {
                    let host_use = host_use(who.clone());
                    if !vf.uses.contains(&host_use) {
                        vf.uses.push(host_use);
                    }
                }
            }
        }
    }
}

/// What is read of a device's netdev; nothing when it has none.
///
/// A netdev may go away or get another name between any two reads. That says nothing against
/// the device, so it is looked for again, and given up as gone when it keeps failing: one that is
/// being unregistered answers ENODEV for a while before its directory goes.
fn of_netdev<T>(
    device: &Dir,
    read: impl Fn(&Netdev) -> Result<T, HostError>,
) -> Result<Option<T>, HostError> {
    for _ in 0..LOOKS {
        match netdev(device).and_then(|found| found.as_ref().map(&read).transpose()) {
            Err(error) if went_away(&error) => {}
            outcome => return outcome,
        }
    }
    Ok(None)
}

fn went_away(error: &HostError) -> bool {
    let gone = [Errno::NODEV, Errno::NOENT].map(|errno| Some(errno.raw_os_error()));
    match error {
        HostError::Gone { .. } => true,
        HostError::File { source, .. } | HostError::Netlink { source, .. } => {
            gone.contains(&source.raw_os_error())
        }
        _ => false,
    }
}

fn left_out(device: PciAddress, error: &HostError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%device, %error, cause, "left out of the inventory");
}

fn id(dir: &Dir) -> Result<(u16, u16), HostError> {
    let half = |name| -> Result<u16, HostError> {
        let number = dir.hex(name)?.ok_or_else(|| dir.missing(name))?;
        let bad = |_| dir.unexpected(name, &format!("{number:#x}"), "16 bits");
        u16::try_from(number).map_err(bad)
    };
    Ok((half("vendor")?, half("device")?))
}

/// What the kernel has counted: a line for each sort of error, and a last one with their number
/// (kernel: `sysfs-bus-pci-devices-aer_stats`). `None` for what does not say that.
fn uncorrected(device: &Dir) -> Option<u64> {
    let total = |file: &str, total: &str| {
        let text = device.read(file).ok().flatten()?;
        text.lines().find_map(|line| line.strip_prefix(total)?.trim().parse::<u64>().ok())
    };
    let fatal = total("aer_dev_fatal", "TOTAL_ERR_FATAL ")?;
    Some(fatal.saturating_add(total("aer_dev_nonfatal", "TOTAL_ERR_NONFATAL ")?))
}

/// -1 stands for one that is not known; without a link there is none (kernel: `speed_show`, EINVAL).
fn speed(netdev: &Dir) -> Option<u32> {
    let speed: i64 = netdev.value("speed", "Mbit/s").ok().flatten()?;
    u32::try_from(speed).ok().filter(|speed| *speed != u32::MAX)
}

/// -1 stands for none.
fn numa_node(dir: &Dir) -> Result<Option<u16>, HostError> {
    let node: Option<i32> = dir.value("numa_node", "a node's number, or -1")?;
    Ok(node.and_then(|node| node.try_into().ok()))
}

fn is_network(dir: &Dir) -> Result<bool, HostError> {
    Ok(dir.hex("class")?.is_some_and(|class| class >> 16 == CLASS_NETWORK))
}

fn mac(netdev: &Dir) -> Result<MacAddress, HostError> {
    netdev.value("address", "a MAC address")?.ok_or_else(|| netdev.missing("address"))
}

fn flags(netdev: &Dir) -> Result<u32, HostError> {
    netdev.hex("flags")?.ok_or_else(|| netdev.missing("flags"))
}
