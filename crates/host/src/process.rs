//! The one place where processes are started: guest launchers, children for blocking kernel
//! writes, modprobe, iproute2, hooks, leases.
//!
//! A child begins with a small fixed environment, `/dev/null` for its standard streams unless
//! the caller says otherwise, and a process group of its own, so that a signal to the daemon's
//! group does not reach it. Descriptors of the daemon are close-on-exec throughout, so a child
//! holds none of them.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// What a process is for; written to the log with its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A guest's launcher, which becomes QEMU.
    Guest,
    /// A write to the kernel that may block without end.
    KernelWrite,
    /// Reads of the kernel that may block as long as somebody holds a device's lock.
    KernelRead,
    /// A program of the system (modprobe, ip).
    System,
    /// A hook script of the administrator.
    Hook,
    /// A lease to a program of the user.
    Lease,
}

/// A command with nothing of the daemon's surroundings in it.
pub fn command(program: impl AsRef<OsStr>, purpose: Purpose) -> Command {
    tracing::debug!(program = %program.as_ref().display(), ?purpose, "starting a process");
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}
