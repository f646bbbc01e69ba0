//! The daemon under test and its two clients.
//!
//! A [`Daemon`] is a child of the scenario; it is killed when dropped, its guests are not.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::program;

/// Where the daemon keeps what outlives a power cut: on the disk of its own.
pub const STATE_DIR: &str = "/disk/vfnet";
/// Where the daemon keeps what does not.
pub const RUN_DIR: &str = "/run/vfnet";
/// What the daemon writes, over all its restarts in this boot.
pub const LOG: &str = "/run/vfnetd.log";
const SOCKET: &str = "/run/vfnet/libvirt-sock";
/// Where libvirt's clients find it.
pub const URI: &str = "qemu+unix:///system?socket=/run/vfnet/libvirt-sock";
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// A running `vfnetd`.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts the daemon and waits until it takes connections.
    pub fn start() -> Result<Self> {
        Self::run("vfnetd")
    }

    /// Like [`Self::start`], the lab's own daemon: it leaves a [`crate::trail`], and dies where it
    /// is told to.
    pub fn start_watched() -> Result<Self> {
        Self::run("vfnetd-lab")
    }

    /// Starts the daemon and waits for nothing.
    pub fn begin() -> Result<Self> {
        Self::spawn("vfnetd")
    }

    fn spawn(program: &str) -> Result<Self> {
        let log = File::options().create(true).append(true).open(LOG)?;
        let child = Command::new(built(program)?)
            .args(["--state-dir", STATE_DIR, "--run-dir", RUN_DIR])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start vfnetd")?;
        Ok(Self { child })
    }

    fn run(program: &str) -> Result<Self> {
        let mut daemon = Self::spawn(program)?;
        let started = std::time::Instant::now();
        while UnixStream::connect(SOCKET).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("vfnetd ended at once ({status})");
            }
            if started.elapsed() > START_LIMIT {
                bail!("vfnetd takes no connections after {} s", START_LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and the process reaped.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the daemon to end, as systemd does, and waits until it has.
    pub fn stop(mut self) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process without an id")?, Signal::TERM)?;
        self.ended()
    }

    /// Whether the daemon has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits until the daemon has ended by itself.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let mut status = None;
        crate::wait::wait_for("vfnetd to end", STOP_LIMIT, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })?;
        status.context("vfnetd has not ended")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs vfnet's own command line.
pub fn vfnet(args: &[&str]) -> Result<String> {
    program::run(&built("vfnet")?.to_string_lossy(), args)
}

/// vfnet's own command line.
pub fn vfnet_program() -> Result<PathBuf> {
    built("vfnet")
}

/// Runs vfnet's own command line, which must refuse; returns what it says.
pub fn vfnet_refused(args: &[&str]) -> Result<String> {
    program::run_refused(&built("vfnet")?.to_string_lossy(), args)
}

/// Runs libvirt's command line against the daemon.
pub fn virsh(args: &[&str]) -> Result<String> {
    program::run("virsh", &[&["-q", "-c", URI], args].concat())
}

/// libvirt's command line against the daemon, not started yet.
pub fn virsh_command(args: &[&str]) -> Command {
    let mut command = Command::new("virsh");
    command.args(["-q", "-c", URI]).args(args);
    command
}

/// Runs libvirt's command line against the daemon, which must refuse; returns what it says.
pub fn virsh_refused(args: &[&str]) -> Result<String> {
    program::run_refused("virsh", &[&["-q", "-c", URI], args].concat())
}

/// A program of this workspace, built beside this one.
fn built(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}
