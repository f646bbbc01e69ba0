//! The emulated host as a scenario sees it: its PFs and VFs from sysfs and `ip`, notes that
//! outlive a power cut, and a bench that is cleared before each scenario.
//!
//! Nothing here goes through vfnet: what vfnet did is judged by the kernel's own account.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::daemon::{RUN_DIR, STATE_DIR};
use crate::program;
use crate::wait::{wait_for, wait_for_some};

const NOTES: &str = "/disk/notes";
const PCI_DEVICES: &str = "/sys/bus/pci/devices";
const KERNEL_LIMIT: Duration = Duration::from_secs(60);

/// The machine under a scenario.
#[derive(Debug)]
pub struct Host {
    boot: usize,
}

impl Host {
    /// The host in its boot number `boot`, counted from 1.
    pub fn new(boot: usize) -> Self {
        Self { boot }
    }

    /// Which power-on of the host this is, counted from 1.
    pub fn boot(&self) -> usize {
        self.boot
    }

    /// The PFs in the order of their PCI addresses.
    pub fn pfs(&self) -> Result<Vec<Pf>> {
        let mut pfs = Vec::new();
        for address in entries(Path::new(PCI_DEVICES))? {
            let device = Path::new(PCI_DEVICES).join(&address);
            if device.join("sriov_numvfs").exists() {
                let netdev = entries(&device.join("net"))?.pop();
                let netdev = netdev.with_context(|| format!("{address} has no netdev"))?;
                pfs.push(Pf { address, netdev });
            }
        }
        Ok(pfs)
    }

    /// The PF with this number, counted from 0.
    pub fn pf(&self, index: usize) -> Result<Pf> {
        self.pfs()?.into_iter().nth(index).with_context(|| format!("the host has no PF {index}"))
    }

    /// Writes a note that later boots of this host can read.
    pub fn note(&self, key: &str, value: &str) -> Result<()> {
        fs::create_dir_all(NOTES)?;
        let path = Path::new(NOTES).join(key);
        fs::write(&path, value)?;
        fs::File::open(&path)?.sync_all()?;
        fs::File::open(NOTES)?.sync_all()?;
        Ok(())
    }

    /// What an earlier boot noted.
    pub fn noted(&self, key: &str) -> Option<String> {
        fs::read_to_string(Path::new(NOTES).join(key)).ok()
    }

    /// Makes the host as it is after a boot with an empty disk: no daemon, no guest, no VF, no
    /// state; the PFs down.
    pub fn clear(&self) -> Result<()> {
        for (pid, _) in processes_of_vfnet()? {
            let _ = kill_process(pid, Signal::KILL);
        }
        wait_for("daemons and guests to be gone", KERNEL_LIMIT, || {
            processes_of_vfnet().is_ok_and(|left| left.is_empty())
        })?;
        for pf in self.pfs()? {
            pf.make_vfs(0)?;
            program::run("ip", &["link", "set", &pf.netdev, "down"])?;
        }
        for folder in [STATE_DIR, RUN_DIR] {
            if Path::new(folder).exists() {
                fs::remove_dir_all(folder).with_context(|| format!("cannot clear {folder}"))?;
            }
        }
        Ok(())
    }
}

/// Running daemons and QEMU processes, with the names of their programs.
fn processes_of_vfnet() -> Result<Vec<(Pid, String)>> {
    let mut found = Vec::new();
    for entry in entries(Path::new("/proc"))? {
        let Some(pid) = entry.parse().ok().and_then(Pid::from_raw) else { continue };
        let Ok(program) = fs::read_link(format!("/proc/{entry}/exe")) else { continue };
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("qemu-system") || name.starts_with("vfnetd") {
            found.push((pid, name));
        }
    }
    Ok(found)
}

/// An SR-IOV card's physical function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pf {
    /// The PCI address, as the kernel writes it.
    pub address: String,
    /// The interface name.
    pub netdev: String,
}

impl Pf {
    /// Sets the link up and waits for carrier: the mailbox to the VFs works only then.
    pub fn raise(&self) -> Result<()> {
        program::run("ip", &["link", "set", &self.netdev, "up"])?;
        let carrier = format!("/sys/class/net/{}/carrier", self.netdev);
        wait_for("the PF's carrier", KERNEL_LIMIT, || read(&carrier).is_ok_and(|c| c == "1"))?;
        Ok(())
    }

    /// Makes this many VFs, and waits until each has a driver.
    pub fn make_vfs(&self, count: u8) -> Result<Vec<Vf>> {
        let path = Path::new(PCI_DEVICES).join(&self.address).join("sriov_numvfs");
        if read(&path)? != count.to_string() {
            if read(&path)? != "0" {
                write(&path, "0")?;
            }
            write(&path, &count.to_string())?;
        }
        let vfs = self.vfs()?;
        ensure!(vfs.len() == usize::from(count), "{} VFs instead of {count}", vfs.len());
        wait_for("the VFs' netdevs", KERNEL_LIMIT, || vfs.iter().all(|vf| vf.netdev().is_some()))?;
        Ok(vfs)
    }

    /// The VFs in the order of their index.
    pub fn vfs(&self) -> Result<Vec<Vf>> {
        let device = Path::new(PCI_DEVICES).join(&self.address);
        let mut vfs = Vec::new();
        for index in 0_u32.. {
            let Ok(target) = fs::read_link(device.join(format!("virtfn{index}"))) else { break };
            let address = target.file_name().context("a VF without an address")?;
            let address = address.to_string_lossy().into_owned();
            vfs.push(Vf { address, index, pf: self.clone() });
        }
        Ok(vfs)
    }
}

/// A virtual function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vf {
    /// The PCI address, as the kernel writes it.
    pub address: String,
    /// The number of the VF at its PF, counted from 0.
    pub index: u32,
    /// The PF that the VF belongs to.
    pub pf: Pf,
}

/// Everything about a VF that must be the same before it is lent and after it is given back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// What `ip -j link` says of it at the PF.
    pub at_pf: Value,
    /// The MAC of its own netdev.
    pub own_mac: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// What is in its `driver_override`.
    pub driver_override: String,
}

impl Vf {
    /// All that a holder may change.
    pub fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            at_pf: self.at_pf()?,
            own_mac: self.own_mac().ok(),
            driver: self.driver(),
            driver_override: fs::read_to_string(self.path().join("driver_override"))?,
        })
    }

    /// Its directory in sysfs, as long as it is there.
    pub fn path(&self) -> PathBuf {
        Path::new(PCI_DEVICES).join(&self.address)
    }

    /// What `ip -j link` says of this VF at the PF: `address`, `vlan_list`, `spoofchk`, …
    pub fn at_pf(&self) -> Result<Value> {
        let text = program::run("ip", &["-j", "link", "show", "dev", &self.pf.netdev])?;
        let mut links: Value = serde_json::from_str(&text)?;
        links
            .pointer_mut("/0/vfinfo_list")
            .and_then(Value::as_array_mut)
            .and_then(|vfs| vfs.iter().position(|vf| vf["vf"] == self.index).map(|i| vfs.remove(i)))
            .with_context(|| format!("{} does not know VF {}", self.pf.netdev, self.index))
    }

    /// The administrative MAC, set through the PF.
    pub fn admin_mac(&self) -> Result<String> {
        let at_pf = self.at_pf()?;
        Ok(at_pf["address"].as_str().context("a VF without a MAC")?.to_owned())
    }

    /// Sets the administrative MAC through the PF.
    pub fn set_admin_mac(&self, mac: &str) -> Result<()> {
        let index = self.index.to_string();
        program::run("ip", &["link", "set", &self.pf.netdev, "vf", &index, "mac", mac])?;
        Ok(())
    }

    /// The interface name, when a network driver has the VF in this namespace.
    pub fn netdev(&self) -> Option<String> {
        entries(&self.path().join("net")).ok()?.pop()
    }

    /// The MAC of the VF's own netdev.
    pub fn own_mac(&self) -> Result<String> {
        let netdev = self.netdev().with_context(|| format!("{} has no netdev", self.address))?;
        read(format!("/sys/class/net/{netdev}/address"))
    }

    /// The driver that the VF is bound to.
    pub fn driver(&self) -> Option<String> {
        link_name(&self.path().join("driver"))
    }

    /// The number of the IOMMU group.
    pub fn iommu_group(&self) -> Option<String> {
        link_name(&self.path().join("iommu_group"))
    }

    /// Moves the VF to `driver` as an administrator would.
    pub fn bind(&self, driver: &str) -> Result<()> {
        write(self.path().join("driver_override"), driver)?;
        if self.driver().is_some() {
            write(self.path().join("driver/unbind"), &self.address)?;
        }
        write("/sys/bus/pci/drivers_probe", &self.address)?;
        let (bound, _) = wait_for_some("a driver", KERNEL_LIMIT, || self.driver())?;
        ensure!(bound == driver, "{} went to {bound} instead of {driver}", self.address);
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<String>> {
    let listing = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in listing {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(text?.trim().to_owned())
}

fn write(path: impl AsRef<Path>, value: &str) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, value).with_context(|| format!("cannot write {value:?} to {}", path.display()))
}
