//! Real processes that stand for holders of simulated VFIO groups.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, told from a later one of the same number by when it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pid: u32,
    /// Clock ticks after boot (kernel: `proc_pid_stat(5)`, field 22).
    started: u64,
}

impl ProcessId {
    /// `None` where procfs is not to be read.
    pub(crate) fn myself() -> Option<Self> {
        let pid = std::process::id();
        Self::started(pid).map(|started| Self { pid, started })
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::started(self.pid) == Some(self.started)
    }

    /// When the process of that number started; `None` for none, and for one that has ended and
    /// waits to be reaped: its files are closed.
    fn started(pid: u32) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, field 2, is in brackets and may hold anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        (!matches!(state, "Z" | "X")).then(|| fields.nth(18)?.parse().ok()).flatten()
    }
}
