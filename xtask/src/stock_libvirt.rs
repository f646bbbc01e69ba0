//! Stock libvirt from Debian's packages, unpacked and not installed: nothing of it starts on
//! this machine by itself, or changes its network. Tests start it in namespaces of their own.
//!
//! In `target/stock-libvirt`: `usr/sbin/libvirtd`, the drivers in [`DRIVERS`] (for
//! `LIBVIRT_DRIVER_DIR`), and what they run that a machine may lack. The libraries in
//! [`LIBRARIES`] belong in `LD_LIBRARY_PATH`. The driver that runs guests is in [`GUEST_DRIVER`],
//! for the emulated host alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::install::target;
use crate::packages::{self, Release};

/// Where libvirtd's drivers are, below the folder.
pub(crate) const DRIVERS: &str = "usr/lib/x86_64-linux-gnu/libvirt/connection-driver";
/// Where the driver for QEMU is, below the folder.
pub(crate) const GUEST_DRIVER: &str = "usr/lib/x86_64-linux-gnu/libvirt/guest-driver";
/// Where libraries are, below the folder.
pub(crate) const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// libvirtd with its network driver, which wants `nft`, its node device driver and its QEMU driver,
/// with the libraries that nothing else on a machine may have brought.
const PACKAGES: &[(&str, Release)] = &[
    ("libvirt-daemon", Release::Backports),
    ("libvirt-daemon-driver-network", Release::Backports),
    ("libvirt-daemon-driver-nodedev", Release::Backports),
    ("libvirt-daemon-driver-qemu", Release::Backports),
    ("nftables", Release::Bookworm),
    ("libnftables1", Release::Bookworm),
    ("libnftnl11", Release::Bookworm),
    ("libjansson4", Release::Bookworm),
    ("libedit2", Release::Bookworm),
    ("libpciaccess0", Release::Bookworm),
];

/// The folder, filled at the first call.
///
/// # Errors
///
/// When the packages cannot be fetched or unpacked, or do not fit this machine's libvirt.
pub(crate) fn ready() -> Result<PathBuf> {
    let folder = target().join("stock-libvirt");
    let contents: String = PACKAGES.iter().map(|(name, _)| format!("{name}\n")).collect();
    let complete = folder.join("complete");
    if fs::read_to_string(&complete).is_ok_and(|of| of == contents) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let fetched = folder.join("packages");
    fs::create_dir_all(&fetched)?;
    println!("unpacking stock libvirt into {}", folder.display());
    for package in packages::download_all(PACKAGES, &fetched)? {
        unpack(&package, &folder)?;
    }
    fs::remove_dir_all(&fetched)?;
    let (drivers, guests) = (folder.join(DRIVERS), folder.join(GUEST_DRIVER));
    fs::create_dir_all(&guests)?;
    let driver = "libvirt_driver_qemu.so";
    fs::rename(drivers.join(driver), guests.join(driver)).context("there is no QEMU driver")?;
    let version = Command::new(folder.join("usr/sbin/libvirtd"))
        .arg("--version")
        .env("LD_LIBRARY_PATH", folder.join(LIBRARIES))
        .output()
        .context("cannot run the unpacked libvirtd")?;
    let fault = String::from_utf8_lossy(&version.stderr);
    ensure!(version.status.success(), "the unpacked libvirtd does not run here: {}", fault.trim());
    ensure!(drivers.is_dir(), "the packages have no {DRIVERS}");
    fs::write(complete, contents)?;
    Ok(folder)
}

fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let output = Command::new("dpkg-deb")
        .arg("--extract")
        .args([package, folder])
        .output()
        .context("cannot run dpkg-deb")?;
    let fault = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cannot unpack {}: {}", package.display(), fault.trim());
    Ok(())
}
