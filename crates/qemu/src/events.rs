//! What a supervisor tells of its guest, in a queue that cannot grow without end.

use std::collections::VecDeque;

use crate::exit::Ended;
use crate::process_id::ProcessId;
use crate::qmp::QmpEvent;
use crate::status::RunState;

/// Something that happened to a guest.
#[derive(Clone, PartialEq, Debug)]
pub enum GuestEvent {
    /// It is there and supervised: started, or found running. Always the first event.
    Started {
        /// QEMU's process.
        process: ProcessId,
        /// What it is doing; none when its monitor does not answer (yet).
        state: Option<RunState>,
    },
    /// Its processors have been stopped.
    Paused,
    /// Its processors run (again).
    Resumed,
    /// It was reset.
    Reset,
    /// QEMU is about to end, or with `-no-shutdown` to pause.
    ShutdownRequested {
        /// The guest wanted it; otherwise this host.
        by_guest: bool,
        /// QEMU's word for why: `guest-shutdown`, `host-signal`, `host-qmp-quit`, ….
        reason: String,
    },
    /// The guest's system has panicked.
    Panicked,
    /// The connection to QEMU's monitor broke; it is being made again. When QEMU ends this may
    /// be noticed before the end.
    MonitorLost,
    /// The connection to QEMU's monitor is there again.
    MonitorBack {
        /// What the guest is doing.
        state: RunState,
    },
    /// Any other event of QEMU's, as it came.
    Other(QmpEvent),
    /// It has ended, and nothing of it holds a device any more. Always the last event.
    Ended(Ended),
}

impl From<QmpEvent> for GuestEvent {
    fn from(event: QmpEvent) -> Self {
        match event.name.as_str() {
            "STOP" => Self::Paused,
            "RESUME" => Self::Resumed,
            "RESET" => Self::Reset,
            "GUEST_PANICKED" => Self::Panicked,
            "SHUTDOWN" => Self::ShutdownRequested {
                by_guest: event.data["guest"] == true,
                reason: event.data["reason"].as_str().unwrap_or("unknown").to_owned(),
            },
            _ => Self::Other(event),
        }
    }
}

/// Events that wait for a reader who is slower than the guest.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    events: VecDeque<GuestEvent>,
    lost: u64,
}

impl EventQueue {
    const LIMIT: usize = 128;

    /// Adds an event. Equal ones in a row are one; when there are too many, the oldest that
    /// says least goes: a guest resetting itself in a loop costs neither memory nor its own
    /// supervision.
    pub(crate) fn push(&mut self, event: GuestEvent) {
        if self.events.back() == Some(&event) {
            return;
        }
        if self.events.len() >= Self::LIMIT {
            let least = self
                .events
                .iter()
                .position(|event| matches!(event, GuestEvent::Other(_)))
                .unwrap_or(1);
            self.events.remove(least);
            self.lost += 1;
            if self.is_to_be_told() {
                tracing::warn!(lost = self.lost, "too many events of a guest wait to be read");
            }
        }
        self.events.push_back(event);
    }

    /// Fewer and fewer of them: whoever floods the queue does not flood the log, and what is in
    /// an event is QEMU's word, of any length.
    const fn is_to_be_told(&self) -> bool {
        self.lost.is_power_of_two()
    }

    pub(crate) fn pop(&mut self) -> Option<GuestEvent> {
        self.events.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_events_drops_what_says_least_and_keeps_the_latest_state() {
        let mut queue = EventQueue::default();
        queue.push(GuestEvent::Paused);
        for number in 0..1000 {
            let data = serde_json::json!({ "n": number });
            queue.push(GuestEvent::Other(QmpEvent { name: "RTC_CHANGE".to_owned(), data }));
        }
        queue.push(GuestEvent::Resumed);
        assert_eq!(queue.events.len(), EventQueue::LIMIT);
        assert_eq!(queue.pop(), Some(GuestEvent::Paused));
        assert_eq!(queue.events.back(), Some(&GuestEvent::Resumed));
    }

    #[test]
    fn a_flood_of_events_is_a_few_lines_in_the_log() {
        let mut queue = EventQueue::default();
        let mut told = 0;
        for number in 0..100_000 {
            let data = serde_json::json!({ "n": number });
            let before = queue.lost;
            queue.push(GuestEvent::Other(QmpEvent { name: "RTC_CHANGE".to_owned(), data }));
            told += u32::from(queue.lost > before && queue.is_to_be_told());
        }
        assert_eq!((queue.lost, told), (100_000 - EventQueue::LIMIT as u64, 17));
    }

    #[test]
    fn resets_in_a_row_are_told_once() {
        let mut queue = EventQueue::default();
        (0..1000).for_each(|_| queue.push(GuestEvent::Reset));
        assert_eq!(queue.events.len(), 1);
    }
}
