//! The real machine: sysfs, procfs, rtnetlink.
//!
//! Everything is read below a root directory, so that tests can make up a machine. Reading
//! blocks shortly at most: `sriov_numvfs` is not read, because the kernel holds its lock for as
//! long as VFs are made or removed, and `driver_override`, which older kernels guard with the
//! device's lock, is read by children ([`crate::reader`]), and not at all of a device that a write
//! of [`Writer::unfinished`] is about.

pub mod alias;
mod devices;
mod open_files;
mod read;
mod sysfs;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use vfnet_model::inventory::{Inventory, Pf, Vf};
use vfnet_model::vf::{VfAttributes, VfIndex, VfSetting};
use vfnet_model::{BootId, DriverName, MacAddress, PciAddress};

use crate::netlink::{KernelLinks, Links, Refusal};
use crate::pci_ids::PciIds;
use crate::uevent::Announcements;
use crate::writer::{KernelWriter, Writer};
use crate::{Counters, Host, HostError};
use sysfs::Dir;

/// `driver_override` takes the device's lock, which a driver at work may hold.
const OVERRIDE_LIMIT: Duration = Duration::from_secs(10);

/// At least so often is looked again while waiting.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A Linux host.
pub struct LinuxHost {
    root: PathBuf,
    writer: Box<dyn Writer>,
    links: Box<dyn Links>,
    /// Read when the first document of a PCI device is asked for.
    pci_ids: OnceLock<PciIds>,
    aliases: Mutex<alias::Aliases>,
}

impl std::fmt::Debug for LinuxHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinuxHost").field("root", &self.root).finish_non_exhaustive()
    }
}

impl LinuxHost {
    /// A machine whose `/sys`, `/proc`, `/dev` and `/lib/modules` are below `root`.
    pub fn new(root: &Path, writer: Box<dyn Writer>, links: Box<dyn Links>) -> Self {
        Self {
            root: root.to_owned(),
            writer,
            links,
            pci_ids: OnceLock::new(),
            aliases: Mutex::default(),
        }
    }

    /// This machine. `exe` and `prefix` as in [`KernelWriter::new`].
    pub fn this_machine(exe: PathBuf, prefix: Vec<OsString>) -> Self {
        let writer = KernelWriter::new(exe, prefix);
        Self::new(Path::new("/"), Box::new(writer), Box::new(KernelLinks))
    }

    fn dir(&self, path: &str) -> Dir {
        Dir(self.root.join(path))
    }

    fn device(&self, address: PciAddress) -> Dir {
        self.dir("sys/bus/pci/devices").dir(address.to_string())
    }

    fn driver_dir(&self, driver: &DriverName) -> Dir {
        self.dir("sys/bus/pci/drivers").dir(driver.as_str())
    }

    /// The VFIO drivers of the running kernel; none when it has no `modules.alias`.
    fn aliases(&self) -> Arc<str> {
        let Some(path) = self.module_file("modules.alias") else { return "".into() };
        self.aliases.lock().unwrap_or_else(PoisonError::into_inner).of(&path)
    }

    /// Where a file of the running kernel's modules is.
    fn module_file(&self, name: &str) -> Option<PathBuf> {
        let release = self.dir("proc/sys/kernel").read("osrelease").ok().flatten()?;
        Some(self.root.join("lib/modules").join(release).join(name))
    }

    /// The interface index of a device's netdev, if it has one here.
    fn netdev_index(&self, device: PciAddress, what: &str) -> Result<u32, HostError> {
        read::netdev(&self.device(device))?
            .map(|netdev| netdev.index)
            .ok_or_else(|| HostError::Gone { what: format!("the netdev of {what} {device}") })
    }

    fn write(&self, path: &Path, value: &str, limit: Duration) -> Result<(), HostError> {
        self.writer.write(path, value, limit)
    }
}

fn netlink_failed(doing: String) -> impl FnOnce(Refusal) -> HostError {
    move |Refusal { source, text }| HostError::Netlink { doing, text, source }
}

/// Whether an error is the kernel's with that number.
fn is_errno(error: &HostError, errno: Errno) -> bool {
    matches!(error, HostError::File { source, .. }
        if source.raw_os_error() == Some(errno.raw_os_error()))
}

impl Host for LinuxHost {
    fn boot_id(&self) -> Result<BootId, HostError> {
        let dir = self.dir("proc/sys/kernel/random");
        dir.value("boot_id", "a boot id")?.ok_or_else(|| dir.missing("boot_id"))
    }

    fn inventory(&self) -> Result<Inventory, HostError> {
        read::Reader::new(self).inventory()
    }

    fn vf(&self, vf: PciAddress) -> Result<Option<Vf>, HostError> {
        read::Reader::new(self).vf(vf)
    }

    fn pf(&self, pf: PciAddress) -> Result<Option<Pf>, HostError> {
        read::Reader::new(self).pf(pf)
    }

    fn vf_attributes(&self, pf: PciAddress, vf: VfIndex) -> Result<VfAttributes, HostError> {
        let index = self.netdev_index(pf, "PF")?;
        let mut link = self
            .links
            .link(index, true)
            .map_err(netlink_failed(format!("read the VFs of PF {pf}")))?;
        link.vfs
            .remove(&vf)
            .ok_or_else(|| HostError::Gone { what: format!("VF {vf} in the table of PF {pf}") })
    }

    fn vf_counters(&self, pf: PciAddress, vf: VfIndex) -> Result<Option<Counters>, HostError> {
        let index = self.netdev_index(pf, "PF")?;
        self.links
            .vf_counters(index, vf)
            .map_err(netlink_failed(format!("read the counters of PF {pf}'s VF {vf}")))
    }

    fn set_vf(&self, pf: PciAddress, vf: VfIndex, setting: VfSetting) -> Result<(), HostError> {
        let index = self.netdev_index(pf, "PF")?;
        self.links.set_vf(index, vf, setting).map_err(|Refusal { source, text }| {
            HostError::Setting { pf, vf, setting: setting.name(), text, source }
        })
    }

    fn set_num_vfs(&self, pf: PciAddress, count: u16, deadline: Duration) -> Result<(), HostError> {
        self.write(&self.device(pf).path("sriov_numvfs"), &count.to_string(), deadline)
    }

    fn set_drivers_autoprobe(&self, pf: PciAddress, on: bool) -> Result<(), HostError> {
        let path = self.device(pf).path("sriov_drivers_autoprobe");
        self.write(&path, if on { "1" } else { "0" }, OVERRIDE_LIMIT)
    }

    fn set_driver_override(
        &self,
        device: PciAddress,
        driver: Option<&DriverName>,
    ) -> Result<(), HostError> {
        // A lone line feed clears it (kernel: driver_set_override).
        let value = driver.map_or("\n", DriverName::as_str);
        self.write(&self.device(device).path("driver_override"), value, OVERRIDE_LIMIT)
    }

    fn unbind(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        let driver = self.device(device).dir("driver");
        if !driver.exists() {
            return Ok(());
        }
        match self.write(&driver.path("unbind"), &device.to_string(), deadline) {
            // It lost its driver just now.
            Err(error) if !driver.exists() && is_errno(&error, Errno::NODEV) => Ok(()),
            Err(error) if !driver.exists() && is_errno(&error, Errno::NOENT) => Ok(()),
            outcome => outcome,
        }
    }

    fn probe(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        let path = self.dir("sys/bus/pci").path("drivers_probe");
        match self.write(&path, &device.to_string(), deadline) {
            // The driver it found did not take it (kernel: drivers_probe_store).
            Err(error) if is_errno(&error, Errno::INVAL) => Ok(()),
            outcome => outcome,
        }
    }

    fn reset(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        self.write(&self.device(device).path("reset"), "1", deadline)
    }

    fn best_vfio_driver(&self, device: PciAddress) -> Result<DriverName, HostError> {
        let dir = self.device(device);
        let modalias = dir.read("modalias")?.ok_or_else(|| dir.missing("modalias"))?;
        match alias::best_vfio_driver(&self.aliases(), &modalias) {
            Some(driver) => Ok(driver),
            None => "vfio-pci".parse().map_err(|_| dir.unexpected("modalias", "", "a driver")),
        }
    }

    fn load_driver(&self, driver: &DriverName, deadline: Duration) -> Result<(), HostError> {
        if self.driver_dir(driver).exists() {
            return Ok(());
        }
        self.writer.modprobe(driver, deadline)?;
        if self.driver_dir(driver).exists() {
            Ok(())
        } else {
            Err(HostError::Gone { what: format!("the driver {driver}, after modprobe,") })
        }
    }

    fn is_vfio_driver(&self, driver: &DriverName) -> bool {
        let dir = self.driver_dir(driver);
        driver.as_str() == "vfio-pci"
            || dir.devices().iter().any(|device| self.device(*device).dir("vfio-dev").exists())
            || alias::is_vfio_driver(&self.aliases(), driver)
    }

    fn set_netdev_mac(&self, device: PciAddress, mac: MacAddress) -> Result<(), HostError> {
        let index = self.netdev_index(device, "VF")?;
        self.links
            .set_mac(index, mac)
            .map_err(netlink_failed(format!("set the MAC of {device}'s netdev to {mac}")))
    }

    fn vfio_group_holder(&self, group: u32) -> Result<Option<String>, HostError> {
        let members = self.dir("sys/kernel/iommu_groups").dir(group.to_string()).dir("devices");
        let mut nodes: BTreeSet<_> =
            members.devices().iter().flat_map(|member| self.vfio_nodes(*member)).collect();
        nodes.insert(format!("/dev/vfio/{group}"));
        Ok(open_files::holders(&self.root.join("proc"), &nodes).into_values().next())
    }

    fn sees_open_files(&self) -> bool {
        fs::read_dir(self.root.join("proc/1/fd")).is_ok()
    }

    fn vfio_group_ready(&self, group: u32) -> bool {
        self.root.join("dev/vfio").join(group.to_string()).exists()
    }

    fn wait(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        // Listening begins before the first look, so that no change falls between.
        let announcements = Announcements::listen().ok();
        loop {
            if done() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let pause = left.min(LOOK_AGAIN);
            let heard = announcements
                .as_ref()
                .map(|heard| heard.wait(pause).and_then(|()| heard.take().map(drop)));
            if !matches!(heard, Some(Ok(()))) {
                std::thread::sleep(pause);
            }
        }
    }
}

impl LinuxHost {
    /// The device nodes that VFIO has for a device itself, beside its group's.
    fn vfio_nodes(&self, device: PciAddress) -> Vec<String> {
        let names = self.device(device).dir("vfio-dev").names();
        names.into_iter().map(|name| format!("/dev/vfio/devices/{name}")).collect()
    }
}
