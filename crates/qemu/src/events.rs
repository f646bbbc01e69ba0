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
    /// QEMU has let go of the device of this id.
    DeviceGone(String),
    /// The guest was asked to let go of the device of this id, and said no.
    DeviceStays(String),
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
                reason: clipped(event.data["reason"].as_str().unwrap_or("unknown")),
            },
            // Without an id it is a part of another one.
            "DEVICE_DELETED" => device(&event).map_or(Self::Other(event), Self::DeviceGone),
            "DEVICE_UNPLUG_GUEST_ERROR" => {
                device(&event).map_or(Self::Other(event), Self::DeviceStays)
            }
            _ => Self::Other(event),
        }
    }
}

fn device(event: &QmpEvent) -> Option<String> {
    event.data["device"].as_str().map(str::to_owned)
}

/// A word of QEMU's; it has none that is longer.
fn clipped(word: &str) -> String {
    word[..word.floor_char_boundary(64)].to_owned()
}

/// Events that wait for a reader who is slower than the guest.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    events: VecDeque<GuestEvent>,
    lost: u64,
}

impl EventQueue {
    const LIMIT: usize = 128;
    /// Of these, events that may be as large as QEMU likes, up to
    /// [`crate::qmp::EVENT_BYTES`].
    const OTHERS: usize = 8;

    /// Adds an event. Equal ones in a row are one; when there are too many, the oldest that
    /// says least goes: a guest resetting itself in a loop costs neither memory nor its own
    /// supervision.
    pub(crate) fn push(&mut self, event: GuestEvent) {
        if self.events.back() == Some(&event) {
            return;
        }
        let is_other = |event: &GuestEvent| matches!(event, GuestEvent::Other(_));
        let others = self.events.iter().filter(|event| is_other(event)).count();
        if self.events.len() >= Self::LIMIT || is_other(&event) && others >= Self::OTHERS {
            let least = self.events.iter().position(is_other).unwrap_or(1);
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
    use serde_json::Value;

    use super::*;
    use crate::qmp::{EVENT_BYTES, LINE_BYTES, Lines, Message};

    #[test]
    fn a_flood_of_events_drops_what_says_least_and_keeps_the_latest_state() {
        let mut queue = EventQueue::default();
        queue.push(GuestEvent::Paused);
        for number in 0..1000 {
            let data = serde_json::json!({ "n": number });
            queue.push(GuestEvent::Other(QmpEvent { name: "RTC_CHANGE".to_owned(), data }));
        }
        queue.push(GuestEvent::Resumed);
        assert_eq!(queue.events.len(), EventQueue::OTHERS + 2);
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
        assert_eq!((queue.lost, told), (100_000 - EventQueue::OTHERS as u64, 17));
    }

    #[test]
    fn states_that_change_without_end_are_a_few_and_the_latest_is_among_them() {
        let mut queue = EventQueue::default();
        for _change in 0..1000 {
            queue.push(GuestEvent::Paused);
            queue.push(GuestEvent::Resumed);
        }
        assert_eq!(queue.events.len(), EventQueue::LIMIT);
        assert_eq!(queue.events.back(), Some(&GuestEvent::Resumed));
    }

    /// Bytes that a value takes, with what its vectors have in reserve.
    fn weight(value: &Value) -> usize {
        let parts = match value {
            Value::String(text) => text.capacity(),
            Value::Array(parts) => {
                let reserve = parts.capacity() - parts.len();
                parts.iter().map(weight).sum::<usize>() + reserve * size_of::<Value>()
            }
            // A node of the map has room for eleven.
            Value::Object(parts) => parts
                .iter()
                .map(|(key, part)| key.capacity() + 2 * size_of::<String>() + 2 * weight(part))
                .sum(),
            _ => 0,
        };
        size_of::<Value>() + parts
    }

    #[test]
    fn what_waits_of_a_hostile_qemu_is_less_than_half_a_mebibyte() {
        let mut lines = Lines::default();
        let mut queue = EventQueue::default();
        for elements in [660, 80_000] {
            for number in 0..12 {
                let data = vec!["[]"; elements].join(",");
                let line = format!("{{\"event\":\"E{number}\",\"data\":[{data}]}}\n");
                assert!(line.len() < LINE_BYTES);
                lines.push(line.as_bytes());
                let Some(Ok(Message::Event(event))) = lines.next_message() else {
                    panic!("{elements} elements are no event");
                };
                assert_eq!(event.data.is_null(), line.len() > EVENT_BYTES + 1);
                queue.push(event.into());
            }
            let waiting = queue.events.iter().map(|event| match event {
                GuestEvent::Other(event) => event.name.capacity() + weight(&event.data),
                _ => 0,
            });
            let waiting = waiting.sum::<usize>();
            assert!(waiting < 512 << 10, "{elements} elements each: {waiting} bytes wait");
        }
    }

    #[test]
    fn resets_in_a_row_are_told_once() {
        let mut queue = EventQueue::default();
        (0..1000).for_each(|_| queue.push(GuestEvent::Reset));
        assert_eq!(queue.events.len(), 1);
    }
}
