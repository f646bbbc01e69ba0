//! Describing a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use vfnet_model::{DriverName, NetdevName, PciAddress};

use crate::driver::Driver;
use crate::fault::Faults;
use crate::file::StateFileError;
use crate::host::SimHost;
use crate::kernel::{Chance, Kernel, OtherDevice, PfState};

/// A machine without PFs yet. See [`SimHost::builder`].
///
/// Unless told otherwise it has an IOMMU, vfio-pci can be loaded and is not, and every device is
/// alone in its IOMMU group.
#[derive(Debug)]
pub struct HostBuilder {
    kernel: Kernel,
    vfs: BTreeMap<PciAddress, u16>,
}

/// A machine whose last PF can still be described, and which can have more.
#[derive(Debug)]
pub struct PfBuilder {
    host: HostBuilder,
    address: PciAddress,
    pf: PfState,
    vfs: u16,
}

impl HostBuilder {
    pub(crate) fn new() -> Self {
        let mut chance = Chance(1);
        let boot_id = chance.boot_id();
        let mut kernel = Kernel {
            chance,
            clock: Duration::ZERO,
            boot_id,
            iommu: true,
            nodes: BTreeMap::new(),
            loaded: BTreeSet::new(),
            loadable: BTreeSet::new(),
            loaded_at_boot: BTreeSet::new(),
            pfs: BTreeMap::new(),
            vfs: BTreeMap::new(),
            others: BTreeMap::new(),
            pulled_out: BTreeMap::new(),
            open_groups: BTreeMap::new(),
            next_group: 0,
            next_incarnation: 0,
            next_step: 0,
            pending: BTreeMap::new(),
            events: Vec::new(),
            udev: None,
            faults: Faults::default(),
            trace: Vec::new(),
        };
        kernel.set_vfio_modules(false, true);
        Self { kernel, vfs: BTreeMap::new() }
    }

    /// Where chance starts: boot ids and the MACs that VFs choose.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.kernel.chance = Chance(seed);
        self.kernel.boot_id = self.kernel.chance.boot_id();
        self
    }

    /// The kernel translates no DMA: no groups, and vfio-pci binds nothing.
    #[must_use]
    pub fn no_iommu(mut self) -> Self {
        self.kernel.iommu = false;
        self
    }

    /// A NUMA node with these processors.
    #[must_use]
    pub fn node(mut self, node: u16, processors: RangeInclusive<u16>) -> Self {
        self.kernel.nodes.insert(node, processors.collect());
        self
    }

    /// The running kernel has no vfio-pci.
    #[must_use]
    pub fn no_vfio(mut self) -> Self {
        self.kernel.set_vfio_modules(false, false);
        self
    }

    /// vfio-pci is loaded at boot.
    #[must_use]
    pub fn vfio_loaded(mut self) -> Self {
        self.kernel.set_vfio_modules(true, true);
        self
    }

    /// Netdevs of VFs have the kernel's names at first, and their own after this time.
    #[must_use]
    pub fn udev_takes(mut self, time: Duration) -> Self {
        self.kernel.udev = Some(time);
        self
    }

    /// A further PF: up, with carrier, without VFs.
    ///
    /// # Panics
    ///
    /// When name or address are none.
    #[must_use]
    pub fn pf(mut self, name: &str, address: &str, driver: Driver) -> PfBuilder {
        let row = driver.personality();
        let pf_driver: DriverName = row.pf_driver.parse().expect("a driver name");
        for loaded in [row.pf_driver, row.vf_driver] {
            let loaded: DriverName = loaded.parse().expect("a driver name");
            self.kernel.loaded.insert(loaded.clone());
            self.kernel.loaded_at_boot.insert(loaded);
        }
        if let Some(variant) = row.vfio_variant {
            self.kernel.loadable.insert(variant.parse().expect("a driver name"));
        }
        let pf = PfState {
            kind: driver,
            name: name.parse::<NetdevName>().expect("a net device name"),
            mac: self.kernel.chance.mac(),
            driver: Some(pf_driver),
            up: true,
            carrier: true,
            total_vfs: row.total_vfs,
            num_vfs: 0,
            autoprobe: true,
            autoprobe_at_boot: true,
            numa_node: None,
            errors: 0,
            vfs_at_boot: 0,
            busy_until: Duration::ZERO,
            group_size: 1,
            beside: BTreeMap::new(),
        };
        let address = address.parse().expect("a PCI address");
        PfBuilder { host: self, address, pf, vfs: 0 }
    }

    /// The machine, booted, in memory.
    ///
    /// # Panics
    ///
    /// When the kernel would refuse the VFs asked for.
    #[must_use]
    pub fn build(self) -> SimHost {
        SimHost::new(self.kernel())
    }

    /// The machine, booted, kept in a file that must not exist yet. [`SimHost::open`] opens it
    /// again.
    ///
    /// # Panics
    ///
    /// When the kernel would refuse the VFs asked for.
    pub fn build_at(self, path: &Path) -> Result<SimHost, StateFileError> {
        SimHost::create(path, self.kernel())
    }

    fn kernel(self) -> Kernel {
        let Self { mut kernel, vfs } = self;
        kernel.make_boot_vfs();
        for (pf, count) in vfs {
            kernel.num_vfs_now(pf, count).expect("the kernel takes that number of VFs");
        }
        // Long enough for every driver to make its netdevs, and for udev to name them.
        kernel.advance(Duration::from_secs(10));
        kernel.clock = Duration::ZERO;
        kernel
    }
}

impl PfBuilder {
    /// So many VFs made after boot. A reboot loses them, unless a module parameter makes them.
    #[must_use]
    pub fn vfs(mut self, count: u16) -> Self {
        self.vfs = count;
        self
    }

    /// `sriov_totalvfs`.
    #[must_use]
    pub fn total_vfs(mut self, count: u16) -> Self {
        self.pf.total_vfs = count;
        self
    }

    /// Administratively down.
    #[must_use]
    pub fn down(mut self) -> Self {
        self.pf.up = false;
        self
    }

    /// On this NUMA node.
    #[must_use]
    pub fn numa(mut self, node: u16) -> Self {
        self.pf.numa_node = Some(node);
        self
    }

    /// `sriov_drivers_autoprobe` 0, also after a reboot.
    #[must_use]
    pub fn autoprobe_off(mut self) -> Self {
        self.pf.autoprobe = false;
        self.pf.autoprobe_at_boot = false;
        self
    }

    /// So many VFs, in the order of their numbers, share an IOMMU group.
    #[must_use]
    pub fn groups_of(mut self, vfs: u16) -> Self {
        self.pf.group_size = vfs.max(1);
        self
    }

    /// Another device in the `place`th (from 0) of its VFs' groups.
    #[must_use]
    pub fn beside(mut self, place: u16, device: OtherDevice) -> Self {
        self.pf.beside.entry(place).or_default().push(device);
        self
    }

    /// See [`HostBuilder::pf`].
    #[must_use]
    pub fn pf(self, name: &str, address: &str, driver: Driver) -> Self {
        self.done().pf(name, address, driver)
    }

    /// See [`HostBuilder::build`].
    #[must_use]
    pub fn build(self) -> SimHost {
        self.done().build()
    }

    /// See [`HostBuilder::build_at`].
    pub fn build_at(self, path: &Path) -> Result<SimHost, StateFileError> {
        self.done().build_at(path)
    }

    /// The machine with this PF.
    #[must_use]
    pub fn done(self) -> HostBuilder {
        let Self { mut host, address, mut pf, vfs } = self;
        if pf.personality().makes_vfs {
            host.vfs.insert(address, vfs);
        } else {
            pf.vfs_at_boot = vfs;
        }
        host.kernel.pfs.insert(address, pf);
        host
    }
}
