//! Guests: where their kernel is, what they say on their serial console, and a bare QEMU that
//! runs one without vfnet.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::host::Vf;
use crate::wait::wait_for_some;

/// A boot within two emulations, on a machine that does other work too.
pub const BOOT_LIMIT: Duration = Duration::from_secs(1200);

/// What makes the kernel of a guest quick in the emulated host; `lab/README.md` has the figures.
pub const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 tsc=reliable \
     no_timer_check nokaslr mitigations=off random.trust_cpu=on rodata=off nowatchdog audit=0 \
     apparmor=0 ima=off ipv6.disable=1 cgroup_disable=memory cryptomgr.notests i8042.noaux \
     i8042.nokbd 8250.nr_uarts=1";

/// The machine type of guests.
pub const MACHINE: &str = "q35";
/// The CPU model that emulates best.
pub const CPU: &str = "max";
/// The memory that suffices for a guest to boot.
pub const MEMORY_MIB: u32 = 128;

/// The guest's kernel and initial RAM disk.
pub fn images() -> Result<(PathBuf, PathBuf)> {
    let path = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .with_context(|| format!("{name} is not set: this runs in the emulated host alone"))
    };
    Ok((path("VFNET_LAB_GUEST_KERNEL")?, path("VFNET_LAB_GUEST_INITRD")?))
}

/// A NIC as the guest itself sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenNic {
    /// The MAC, in lower case with colons.
    pub mac: String,
    /// The interface name in the guest.
    pub name: String,
    /// The driver in the guest.
    pub driver: String,
}

/// The NICs that a guest has reported on its console so far.
pub fn seen_nics(console: &Path) -> Vec<SeenNic> {
    let bytes = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter_map(seen_nic).collect()
}

fn seen_nic(line: &str) -> Option<SeenNic> {
    let (_, said) = line.split_once("GUEST-NIC ")?;
    let mut words = said.split_whitespace().map(str::to_owned);
    Some(SeenNic { mac: words.next()?, name: words.next()?, driver: words.next()? })
}

/// The MACs of the NICs that a guest has reported to be gone.
pub fn gone_nics(console: &Path) -> Vec<String> {
    let bytes = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let gone = text.lines().filter_map(|line| line.split_once("GUEST-NIC-GONE "));
    gone.map(|(_, mac)| mac.trim().to_owned()).collect()
}

/// The number of the guest's last sign of life (`vflab.stay`).
pub fn last_sign_of_life(console: &Path) -> Option<u64> {
    let bytes = fs::read(console).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().find_map(|line| line.split_once("GUEST-ALIVE ")?.1.trim().parse().ok())
}

/// Waits until the guest has reported a NIC.
pub fn wait_for_nic(console: &Path) -> Result<(SeenNic, Duration)> {
    wait_for_some("the guest to report its NIC", BOOT_LIMIT, || seen_nics(console).pop())
}

/// A guest with one VF, run by QEMU alone; killed when dropped.
#[derive(Debug)]
pub struct BareGuest {
    child: Child,
    console: PathBuf,
}

impl BareGuest {
    /// Starts QEMU with a VF that is on vfio-pci.
    pub fn start(vf: &Vf) -> Result<Self> {
        let (kernel, initrd) = images()?;
        let console = PathBuf::from(format!("/run/bare-{}.console", vf.address));
        let log = File::create(console.with_extension("qemu"))?;
        let child = Command::new("qemu-system-x86_64")
            .args(["-machine", MACHINE, "-accel", "tcg", "-cpu", CPU])
            .args(["-m", &MEMORY_MIB.to_string()])
            .args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", KERNEL_ARGUMENTS])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-device", &format!("vfio-pci,host={}", vf.address)])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start QEMU")?;
        Ok(Self { child, console })
    }

    /// Waits for the NIC that the guest reports, and tells how long that took.
    pub fn nic(&mut self) -> Result<(SeenNic, Duration)> {
        match wait_for_nic(&self.console) {
            Ok(seen) => Ok(seen),
            Err(error) => {
                let words = fs::read(self.console.with_extension("qemu")).unwrap_or_default();
                let ended = self.child.try_wait()?;
                bail!("{error:#} (ended: {ended:?}) {}", String::from_utf8_lossy(&words).trim())
            }
        }
    }
}

impl Drop for BareGuest {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::seen_nic;

    #[test]
    fn a_nic_is_read_from_a_console_line_with_noise_before_it() {
        let nic = seen_nic("\u{1b}cGUEST-NIC 02:11:22:33:44:55 eth0 igbvf\r").expect("a NIC");
        assert_eq!(nic.mac, "02:11:22:33:44:55");
        assert_eq!(nic.driver, "igbvf");
        assert_eq!(seen_nic("GUEST-NIC-GONE 02:11:22:33:44:55"), None);
    }
}
