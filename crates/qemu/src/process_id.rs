//! Which process a number means: pid, start time and boot together.
//!
//! A pid alone is used again; with the start time (field 22 of `/proc/PID/stat`, clock ticks
//! since boot) and the boot id it is not. exec changes neither, so a launcher's identity is
//! that of the QEMU which it becomes.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use vfnet_model::BootId;

use crate::readiness;

/// One process of this or an earlier boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessId {
    /// The process number.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
    /// The boot it belongs to.
    pub boot: BootId,
}

/// A text that is no process identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not 'PID START-TIME BOOT-ID'")]
pub struct BadProcessId {
    text: String,
}

impl ProcessId {
    /// The calling process.
    pub fn of_this_process() -> io::Result<Self> {
        let pid = rustix::process::getpid();
        let start_time = start_time(pid)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "cannot make sense of /proc/self/stat")
        })?;
        Ok(Self { pid: pid.as_raw_nonzero().get(), start_time, boot: boot_id()? })
    }

    /// The process that has this number now; `None` where none has.
    pub fn now(pid: i32) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
        let boot = boot_id()?;
        let it = |start_time| Self { pid: pid.as_raw_nonzero().get(), start_time, boot };
        Ok(start_time(pid)?.map(it))
    }

    /// Returns when it has ended, at once when it is gone already. Must be called on a runtime.
    pub async fn ended(&self) -> io::Result<()> {
        let Some(pidfd) = self.open()? else { return Ok(()) };
        // A pidfd is readable from then on (pidfd_open(2)).
        readiness::watch(pidfd, Interest::READABLE)?.readable().await.map(drop)
    }

    /// A descriptor of this very process; `None` when it is gone.
    ///
    /// The start time is looked at again after opening, so that the descriptor cannot be that of
    /// another process which got the number in between.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        if self.boot != boot_id()? {
            return Ok(None);
        }
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok((start_time(pid)? == Some(self.start_time)).then_some(pidfd))
    }

    /// Kills it; nothing to do when it is gone.
    pub fn kill(&self) -> io::Result<()> {
        let Some(pidfd) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A process's start time; `None` when there is no such process.
pub fn start_time(pid: Pid) -> io::Result<Option<u64>> {
    match std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => Ok(start_time_in(&stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Field 22 of a stat line. The second field is the program's name in parentheses, and may
/// itself contain spaces and parentheses: fields are counted from the last closing one.
fn start_time_in(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn boot_id() -> io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.pid, self.start_time, self.boot)
    }
}

impl FromStr for ProcessId {
    type Err = BadProcessId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut fields = text.split_ascii_whitespace();
            let pid = fields.next()?.parse().ok().filter(|&pid| pid > 0)?;
            let start_time = fields.next()?.parse().ok()?;
            let boot = fields.next()?.parse().ok()?;
            fields.next().is_none().then_some(Self { pid, start_time, boot })
        };
        parse().ok_or_else(|| BadProcessId { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = b"7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(start_time_in(stat), Some(4242));
        assert_eq!(start_time_in(b"7 (cut S 1 7"), None);
        assert_eq!(start_time_in(b""), None);
    }

    #[test]
    fn a_process_is_found_by_its_own_identity_only() {
        let this = ProcessId::of_this_process().unwrap();
        assert_eq!(this.to_string().parse::<ProcessId>().unwrap(), this);
        assert!(this.open().unwrap().is_some());

        let later = ProcessId { start_time: this.start_time + 1, ..this.clone() };
        assert!(later.open().unwrap().is_none());
        let other_boot = ProcessId { boot: "0-0".parse().unwrap(), ..this };
        assert!(other_boot.open().unwrap().is_none());
    }

    #[test]
    fn a_pid_file_cut_short_or_with_more_in_it_is_refused() {
        for text in ["", "12", "12 34", "0 34 ab", "-1 34 ab", "12 34 ab cd", "12 34 x/y"] {
            assert!(text.parse::<ProcessId>().is_err(), "{text:?}");
        }
    }
}
