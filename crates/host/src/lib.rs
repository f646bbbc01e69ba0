//! This machine: PCI, SR-IOV, netlink, driver binding, IOMMU groups, uevents.
//!
//! Only this crate touches sysfs and netlink, and only [`process`] starts processes. It decides
//! nothing: which VF is lent, and to whom, comes from the engine. Read first: [`Host`], what a
//! machine can be asked and told; [`lend`], how one VF is prepared for its holder and given
//! back, in terms of that trait, so that it runs alike over the kernel and over a simulated one;
//! [`linux::LinuxHost`], the real thing.

mod config_space;
mod counters;
pub mod doctor;
pub mod lend;
pub mod linux;
pub mod netlink;
mod pci_ids;
pub mod process;
pub mod reader;
pub mod tap;
pub mod uevent;
pub mod writer;

use std::time::Duration;

pub use counters::Counters;

use vfnet_model::inventory::{Inventory, Pf, Vf};
use vfnet_model::node_device::{NodeDevice, NodeDeviceName, Outline, Sort};
use vfnet_model::vf::{VfAttributes, VfIndex, VfSetting};
use vfnet_model::{BootId, DriverName, MacAddress, PciAddress};

/// A machine with SR-IOV cards.
///
/// All calls block; none is made from the engine. Calls that change something return when the
/// kernel has answered, or with [`HostError::Stuck`] when it has not within the deadline: the
/// kernel is then still at it, in a process that nobody waits for. No call retries, verifies or
/// undoes; that is the business of [`lend`].
pub trait Host: Send + Sync + 'static {
    /// The kernel's id of this boot.
    fn boot_id(&self) -> Result<BootId, HostError>;

    /// The whole machine, as it is now.
    fn inventory(&self) -> Result<Inventory, HostError>;

    /// One VF, as it is now; `None` when there is no such VF.
    fn vf(&self, vf: PciAddress) -> Result<Option<Vf>, HostError>;

    /// One PF, as it is now; `None` when there is no such PF.
    fn pf(&self, pf: PciAddress) -> Result<Option<Pf>, HostError> {
        Ok(self.inventory()?.pfs.remove(&pf))
    }

    /// One row of a PF's table (netlink, without statistics).
    fn vf_attributes(&self, pf: PciAddress, vf: VfIndex) -> Result<VfAttributes, HostError>;

    /// What a VF has received and sent, as its PF counts it. `None` where the PF's driver does not
    /// count, which looks the same as a VF that has never been used.
    fn vf_counters(&self, _pf: PciAddress, _vf: VfIndex) -> Result<Option<Counters>, HostError> {
        Ok(None)
    }

    /// Sets one thing on a VF through its PF.
    fn set_vf(&self, pf: PciAddress, vf: VfIndex, setting: VfSetting) -> Result<(), HostError>;

    /// Sets `sriov_numvfs`.
    fn set_num_vfs(&self, pf: PciAddress, count: u16, deadline: Duration) -> Result<(), HostError>;

    /// Sets `sriov_drivers_autoprobe`: whether the kernel looks for a driver for VFs of this PF that
    /// have no `driver_override`, now and later (kernel: `pci_device_can_probe`).
    fn set_drivers_autoprobe(&self, pf: PciAddress, on: bool) -> Result<(), HostError>;

    /// Sets or clears `driver_override`.
    fn set_driver_override(
        &self,
        device: PciAddress,
        driver: Option<&DriverName>,
    ) -> Result<(), HostError>;

    /// Unbinds a device from its driver; nothing to do when it has none.
    fn unbind(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError>;

    /// Has the kernel look for a driver (`drivers_probe`). That it found one is not implied.
    fn probe(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError>;

    /// Resets a device's function, as its driver or a guest would find it after power-on. The
    /// driver that is bound is not asked, so this is for devices without one and on VFIO.
    fn reset(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError>;

    /// The VFIO driver that fits a device best: the most specific `vfio_pci:` alias in
    /// `modules.alias`, else vfio-pci.
    fn best_vfio_driver(&self, device: PciAddress) -> Result<DriverName, HostError>;

    /// Loads a driver's module when the driver is not there (modprobe).
    fn load_driver(&self, driver: &DriverName, deadline: Duration) -> Result<(), HostError>;

    /// Whether a driver is a VFIO one: vfio-pci, or one whose devices have a `vfio-dev` entry.
    fn is_vfio_driver(&self, driver: &DriverName) -> bool;

    /// Sets the MAC of the netdev that a device's driver made.
    fn set_netdev_mac(&self, device: PciAddress, mac: MacAddress) -> Result<(), HostError>;

    /// Who has a VFIO group open, if anybody ("qemu-system-x86 (pid 123)").
    fn vfio_group_holder(&self, group: u32) -> Result<Option<String>, HostError>;

    /// Whether this process may see what others have open (`CAP_SYS_PTRACE`, no `hidepid`): if
    /// not, that nobody has a VF open says nothing.
    fn sees_open_files(&self) -> bool {
        true
    }

    /// Whether a VFIO group can be opened: `/dev/vfio/N` is there. True by itself for hosts
    /// without device nodes.
    fn vfio_group_ready(&self, _group: u32) -> bool {
        true
    }

    /// Waits until `done` holds, looking again whenever the kernel announces a change and at
    /// least every 100 ms; false when the limit passed first. A simulated host advances its
    /// clock instead.
    fn wait(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool;
}

/// A machine's PCI devices and network interfaces as libvirt's clients list them.
///
/// All calls block, and read the machine as it is now. Devices of other sorts (USB, SCSI, block)
/// are not among them.
pub trait DeviceTree: Send + Sync + 'static {
    /// All devices: the machine itself, PCI devices by address, network interfaces by name. A
    /// device comes after the one that it hangs on.
    fn outlines(&self) -> Result<Vec<Outline>, HostError>;

    /// The names alone, in the same order: one list is asked for far more often than it changes,
    /// on machines with thousands of VFs.
    fn names(&self) -> Result<Vec<(Sort, NodeDeviceName)>, HostError> {
        let outlines = self.outlines()?;
        Ok(outlines.into_iter().map(|outline| (outline.kind.sort(), outline.name)).collect())
    }

    /// The device of that name, if there is one.
    fn outline(&self, name: &str) -> Result<Option<Outline>, HostError>;

    /// All of the device of that name, if there is one.
    fn device(&self, name: &str) -> Result<Option<NodeDevice>, HostError>;
}

/// What went wrong at the kernel.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of sysfs or procfs could not be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// `read`, `write X to`, ….
        doing: String,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel wrote something that this program does not understand.
    #[error("{path} reads '{found}', expecting {expected}")]
    Unexpected {
        /// The file or message.
        path: String,
        /// What it says, shortened.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// There is no such device, PF or netdev (any more).
    #[error("{what} is not there")]
    Gone {
        /// What is missing.
        what: String,
    },
    /// The PF's driver refused a setting.
    #[error("PF {pf} refused to set {setting} of VF {vf}{}", explained(text))]
    Setting {
        /// The PF.
        pf: PciAddress,
        /// The VF's number.
        vf: VfIndex,
        /// What was to be set.
        setting: &'static str,
        /// The kernel's extended error text.
        text: Option<String>,
        /// The error number.
        #[source]
        source: std::io::Error,
    },
    /// A netlink exchange failed.
    #[error("netlink: cannot {doing}{}", explained(text))]
    Netlink {
        /// What was asked.
        doing: String,
        /// The kernel's extended error text.
        text: Option<String>,
        /// The error number.
        #[source]
        source: std::io::Error,
    },
    /// The kernel has not come back within the deadline.
    #[error("the kernel has not finished {step} within {} s", limit.as_secs())]
    Stuck {
        /// What it was told to do.
        step: String,
        /// How long was waited.
        limit: Duration,
    },
    /// A process could not be started, or failed.
    #[error("{program} failed: {said}")]
    Process {
        /// What was run.
        program: String,
        /// Its own words.
        said: String,
    },
}

fn explained(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}
