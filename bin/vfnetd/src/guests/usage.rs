//! What a running guest has used of the host, as `/proc` tells.

use uuid::Uuid;

use super::Guests;

/// Clock ticks of `/proc/PID/stat` per second, on every Linux (`USER_HZ`).
const TICKS: u64 = 100;

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuTimes {
    /// In programs.
    pub user: u64,
    /// In the kernel for them.
    pub system: u64,
}

impl Guests {
    /// Processor time that a running guest has used, in nanoseconds.
    pub fn cpu_time(&self, guest: Uuid) -> Option<u64> {
        self.cpu_times(guest).map(|times| times.user.saturating_add(times.system))
    }

    /// The same in its parts.
    pub fn cpu_times(&self, guest: Uuid) -> Option<CpuTimes> {
        let pid = self.handle(guest).ok()?.process().pid;
        times(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// What one of its threads has used, such as that of a virtual CPU; one that is another
    /// process's has used nothing.
    pub fn thread_times(&self, guest: Uuid, thread: i64) -> Option<CpuTimes> {
        let pid = self.handle(guest).ok()?.process().pid;
        times(&std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).ok()?)
    }

    /// KiB of the host's memory that it has.
    pub fn resident(&self, guest: Uuid) -> Option<u64> {
        let pid = self.handle(guest).ok()?.process().pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

/// Fields 14 and 15 of a `stat`; the second field may have spaces and ends with the last ')'.
fn times(stat: &str) -> Option<CpuTimes> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let nanoseconds = |field: usize| -> Option<u64> {
        Some(fields.get(field)?.parse::<u64>().ok()?.saturating_mul(1_000_000_000 / TICKS))
    };
    Some(CpuTimes { user: nanoseconds(11)?, system: nanoseconds(12)? })
}
