//! Stock libvirt beside vfnet, where it has been unpacked (`cargo xtask stock-libvirt`).
//!
//! It runs in the emulated host only, with the drivers that a test needs alone, and ends with the
//! value that stands for it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::program;
use crate::wait::wait_for;

/// What a shell calls libvirtd's log.
pub const LOG: &str = "/run/stock-libvirtd.log";
const DRIVERS: &str = "/run/stock-drivers";
const CONFIGURATION: &str = "/run/stock-libvirtd.conf";
const QEMU_CONFIGURATION: &str = "/etc/libvirt/qemu.conf";
const SOCKET: &str = "/run/libvirt/libvirt-sock";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const START_LIMIT: Duration = Duration::from_secs(120);

/// What it serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// Node devices alone.
    NodeDevices,
    /// Guests, and the networks and devices that these need.
    Guests,
}

impl Serves {
    /// Its drivers, below the folder of libraries.
    const fn drivers(self) -> &'static [&'static str] {
        match self {
            Self::NodeDevices => &["libvirt/connection-driver/libvirt_driver_nodedev.so"],
            Self::Guests => &[
                "libvirt/connection-driver/libvirt_driver_nodedev.so",
                "libvirt/connection-driver/libvirt_driver_network.so",
                "libvirt/guest-driver/libvirt_driver_qemu.so",
            ],
        }
    }

    /// Where its clients find it.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::NodeDevices => "nodedev+unix:///system?socket=/run/libvirt/libvirt-sock",
            Self::Guests => "qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
        }
    }
}

/// A running libvirtd.
#[derive(Debug)]
pub struct StockLibvirt {
    child: Child,
    serves: Serves,
}

impl StockLibvirt {
    /// Starts it; `None` where it has not been unpacked.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(serves: Serves) -> Result<Option<Self>> {
        if !prepare(serves)? {
            return Ok(None);
        }
        let mut stock = Self::begin(serves)?;
        let mut ended = None;
        wait_for("stock libvirtd to take connections", START_LIMIT, || {
            ended = stock.child.try_wait().ok().flatten();
            ended.is_some() || UnixStream::connect(SOCKET).is_ok()
        })?;
        // It listens before its drivers are there, and ends when one of them does not come.
        wait_for("stock libvirtd to serve", START_LIMIT, || {
            ended = stock.child.try_wait().ok().flatten();
            ended.is_some() || stock.virsh(&["uri"]).is_ok()
        })?;
        match ended {
            Some(status) => {
                bail!("stock libvirtd ended ({status}): {}", fs::read_to_string(LOG)?)
            }
            None => Ok(Some(stock)),
        }
    }

    /// Starts what has been prepared, and waits for nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn begin(serves: Serves) -> Result<Self> {
        let folder = folder()?;
        let log = File::options().create(true).append(true).open(LOG)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(folder.join("usr/sbin/libvirtd"))
            .args(["--config", CONFIGURATION])
            .env("LIBVIRT_DRIVER_DIR", DRIVERS)
            .env("LD_LIBRARY_PATH", folder.join(LIBRARIES))
            .env("PATH", format!("{path}:{}", folder.join("usr/sbin").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start stock libvirtd")?;
        Ok(Self { child, serves })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the daemon to end, as systemd does, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process without an id")?, Signal::TERM)?;
        program::wait_for_the_end("stock libvirtd to end", &mut self.child)?;
        Ok(())
    }

    /// Runs libvirt's command line against it.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn virsh(&self, args: &[&str]) -> Result<String> {
        program::run("virsh", &[&["-q", "-c", self.serves.uri()], args].concat())
    }

    /// libvirt's command line against it, not started yet.
    pub fn virsh_command(&self) -> Command {
        let mut command = Command::new("virsh");
        command.args(["-q", "-c", self.serves.uri()]);
        command
    }

    /// `kill -9`, and the process reaped.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for StockLibvirt {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lays out what it needs to start; false where it has not been unpacked.
///
/// # Errors
///
/// When a file cannot be written.
pub fn prepare(serves: Serves) -> Result<bool> {
    let libraries = folder()?.join(LIBRARIES);
    if !serves.drivers().iter().all(|driver| libraries.join(driver).exists()) {
        return Ok(false);
    }
    let drivers = Path::new(DRIVERS);
    if drivers.exists() {
        fs::remove_dir_all(drivers)?;
    }
    fs::create_dir(drivers)?;
    for driver in serves.drivers() {
        let driver = libraries.join(driver);
        symlink(&driver, drivers.join(driver.file_name().context("a driver has a name")?))?;
    }
    fs::write(CONFIGURATION, "auth_unix_rw=\"none\"\nauth_unix_ro=\"none\"\n")?;
    if serves == Serves::Guests {
        prepare_for_guests()?;
    }
    Ok(true)
}

/// What Debian's scripts and other daemons do for it on a machine where it is installed: the user
/// that it knows by name, guests as root and without cgroups, as there is neither AppArmor nor
/// systemd here, and a bus. The host forgets all of it with its power.
fn prepare_for_guests() -> Result<()> {
    for (file, entry) in [
        ("/etc/passwd", "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n"),
        ("/etc/group", "libvirt-qemu:x:64055:\n"),
    ] {
        let known = fs::read_to_string(file)?;
        if !known.lines().any(|line| line.starts_with("libvirt-qemu:")) {
            fs::write(file, known + entry)?;
        }
    }
    fs::create_dir_all("/etc/libvirt")?;
    fs::write(
        QEMU_CONFIGURATION,
        "security_driver=\"none\"\nuser=\"root\"\ngroup=\"root\"\nnamespaces=[]\n\
         cgroup_controllers=[]\nstdio_handler=\"file\"\n",
    )?;
    if !Path::new("/run/dbus/system_bus_socket").exists() {
        fs::create_dir_all("/run/dbus")?;
        program::run("dbus-daemon", &["--system", "--fork"])?;
    }
    Ok(())
}

/// Beside the folders that this program was built in.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program is in no target folder")?;
    Ok(target.join("stock-libvirt"))
}
