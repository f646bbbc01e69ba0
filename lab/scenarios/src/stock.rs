//! Stock libvirt beside vfnet, where it has been unpacked (`cargo xtask stock-libvirt`).
//!
//! It runs in the emulated host only, with its node device driver alone, and ends with the value
//! that stands for it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::program;
use crate::wait::wait_for;

/// What a shell calls libvirtd's log.
pub const LOG: &str = "/run/stock-libvirtd.log";
const DRIVERS: &str = "/run/stock-drivers";
const CONFIGURATION: &str = "/run/stock-libvirtd.conf";
const SOCKET: &str = "/run/libvirt/libvirt-sock";
const URI: &str = "nodedev+unix:///system?socket=/run/libvirt/libvirt-sock";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const DRIVER: &str = "libvirt/connection-driver/libvirt_driver_nodedev.so";
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running libvirtd that serves node devices.
#[derive(Debug)]
pub struct StockLibvirt {
    child: Child,
}

impl StockLibvirt {
    /// Starts it; `None` where it has not been unpacked.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start() -> Result<Option<Self>> {
        let folder = folder()?;
        let (libraries, driver) = (folder.join(LIBRARIES), folder.join(LIBRARIES).join(DRIVER));
        if !driver.exists() {
            return Ok(None);
        }
        let drivers = Path::new(DRIVERS);
        if !drivers.exists() {
            fs::create_dir(drivers)?;
            symlink(&driver, drivers.join(driver.file_name().context("a driver has a name")?))?;
        }
        fs::write(CONFIGURATION, "auth_unix_rw=\"none\"\nauth_unix_ro=\"none\"\n")?;
        let log = File::create(LOG)?;
        let child = Command::new(folder.join("usr/sbin/libvirtd"))
            .args(["--config", CONFIGURATION])
            .env("LIBVIRT_DRIVER_DIR", drivers)
            .env("LD_LIBRARY_PATH", libraries)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start stock libvirtd")?;
        let mut stock = Self { child };
        let mut ended = None;
        wait_for("stock libvirtd to take connections", START_LIMIT, || {
            ended = stock.child.try_wait().ok().flatten();
            ended.is_some() || UnixStream::connect(SOCKET).is_ok()
        })?;
        match ended {
            Some(status) => {
                bail!("stock libvirtd ended ({status}): {}", fs::read_to_string(LOG)?)
            }
            None => Ok(Some(stock)),
        }
    }

    /// Runs libvirt's command line against it.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn virsh(&self, args: &[&str]) -> Result<String> {
        program::run("virsh", &[&["-q", "-c", URI], args].concat())
    }
}

impl Drop for StockLibvirt {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Beside the folders that this program was built in.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program is in no target folder")?;
    Ok(target.join("stock-libvirt"))
}
