//! What a guest is doing, as QEMU names it (`query-status`).

use serde::Deserialize;

/// What a guest is doing.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "String")]
pub enum RunState {
    /// Set up with `-S`, never run.
    Prelaunch,
    /// Running.
    Running,
    /// Paused by command.
    Paused,
    /// Powered off, with QEMU kept (`-no-shutdown`).
    Shutdown,
    /// Its system has panicked, and it was paused for it.
    Panicked,
    /// Anything else, in QEMU's word: `io-error`, `suspended`, `inmigrate`, `watchdog`, ….
    Other(String),
}

impl From<String> for RunState {
    fn from(status: String) -> Self {
        match status.as_str() {
            "prelaunch" => Self::Prelaunch,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "shutdown" => Self::Shutdown,
            "guest-panicked" => Self::Panicked,
            _ => Self::Other(status),
        }
    }
}
