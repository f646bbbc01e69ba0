//! How a guest ended, from what the kernel and QEMU say of it.

use std::fmt;

use serde_json::Value;

use crate::qmp::QmpEvent;

/// How a guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndKind {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest's system panicked, and QEMU was told to end then.
    Panicked,
    /// It was ended from this side: destroyed, or QEMU told to quit.
    Terminated,
    /// QEMU ended by itself with this code.
    Exited(i32),
    /// QEMU was killed by this signal, not by us.
    Killed(i32),
    /// It is gone, and nobody can say how: QEMU was started by an earlier daemon, so its exit
    /// status went elsewhere, and its monitor told nothing.
    Unknown,
}

impl fmt::Display for EndKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => f.write_str("the guest powered itself off"),
            Self::Panicked => f.write_str("the guest panicked"),
            Self::Terminated => f.write_str("the guest was destroyed"),
            Self::Exited(code) => write!(f, "QEMU ended with exit code {code}"),
            Self::Killed(signal) => write!(f, "QEMU was killed by signal {signal}"),
            Self::Unknown => f.write_str("QEMU is gone"),
        }
    }
}

/// The end of a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// How.
    pub kind: EndKind,
    /// QEMU's last words since its start; may be empty.
    pub said: String,
}

/// What the kernel tells the parent of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExitStatus {
    Code(i32),
    Signal(i32),
}

/// What has been seen of a guest that bears on how it ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Signs {
    /// The daemon told it to end.
    pub(crate) asked: bool,
    /// `GUEST_PANICKED` came.
    panicked: bool,
    /// `SHUTDOWN` came; true when the guest itself wanted it.
    shutdown_by_guest: Option<bool>,
}

impl Signs {
    pub(crate) fn note(&mut self, event: &QmpEvent) {
        match event.name.as_str() {
            "GUEST_PANICKED" => self.panicked = true,
            "SHUTDOWN" => self.shutdown_by_guest = Some(event.data["guest"] == Value::Bool(true)),
            // Whatever came before, the guest lives again.
            "RESET" | "RESUME" => (self.panicked, self.shutdown_by_guest) = (false, None),
            _ => {}
        }
    }

    /// `status` is known to the parent only.
    pub(crate) fn judge(self, status: Option<ExitStatus>) -> EndKind {
        match (status, self.shutdown_by_guest) {
            _ if self.asked => EndKind::Terminated,
            (Some(ExitStatus::Signal(signal)), _) => EndKind::Killed(signal),
            (Some(ExitStatus::Code(code)), _) if code != 0 => EndKind::Exited(code),
            _ if self.panicked => EndKind::Panicked,
            (_, Some(true)) => EndKind::PoweredOff,
            (_, Some(false)) => EndKind::Terminated,
            (Some(ExitStatus::Code(code)), None) => EndKind::Exited(code),
            (None, None) => EndKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(events: &[(&str, Value)], status: Option<ExitStatus>) -> EndKind {
        let mut signs = Signs::default();
        for (name, data) in events {
            signs.note(&QmpEvent { name: (*name).to_owned(), data: data.clone() });
        }
        signs.judge(status)
    }

    #[test]
    fn how_a_guest_ended_is_told_from_all_that_was_seen() {
        let by_guest = ("SHUTDOWN", json!({"guest": true, "reason": "guest-shutdown"}));
        let by_host = ("SHUTDOWN", json!({"guest": false, "reason": "host-signal"}));
        let panic = ("GUEST_PANICKED", json!({"action": "poweroff"}));
        let reset = ("RESET", json!({"guest": true}));
        let ok = Some(ExitStatus::Code(0));
        for (events, status, expected) in [
            (vec![by_guest.clone()], ok, EndKind::PoweredOff),
            (vec![by_guest.clone()], None, EndKind::PoweredOff),
            (vec![by_host], ok, EndKind::Terminated),
            (vec![panic.clone(), by_guest.clone()], ok, EndKind::Panicked),
            (vec![panic, reset, by_guest.clone()], ok, EndKind::PoweredOff),
            (vec![by_guest], Some(ExitStatus::Signal(11)), EndKind::Killed(11)),
            (vec![], Some(ExitStatus::Code(1)), EndKind::Exited(1)),
            (vec![], ok, EndKind::Exited(0)),
            (vec![], None, EndKind::Unknown),
        ] {
            assert_eq!(after(&events, status), expected, "{events:?} {status:?}");
        }
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_crash() {
        let signs = Signs { asked: true, ..Signs::default() };
        assert_eq!(signs.judge(Some(ExitStatus::Signal(9))), EndKind::Terminated);
    }
}
