//! What is heard of a guest: from QEMU's events to what the engine decides on, and to news that
//! decide nothing.

use serde_json::Value;
use uuid::Uuid;
use vfnet_engine::{Cause, GuestChange};
use vfnet_model::GuestName;
use vfnet_model::guest::{DiskSource, Guest, parse};
use vfnet_qemu::agent::CHANNEL;
use vfnet_qemu::qmp::QmpEvent;
use vfnet_qemu::{GuestEvent, RunState};

use super::order::Launched;
use super::pace::Paced;
use super::{Guests, LaunchOrder};
use crate::Happening;

/// What a guest's listeners are told and nobody decides on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// Its clock is so many seconds ahead of UTC.
    Clock(i64),
    /// Its watchdog was not fed: what QEMU did, in its word.
    Watchdog(String),
    /// A disk could not be read or written.
    IoError {
        /// The disk's source.
        source: String,
        /// The disk's alias.
        alias: String,
        /// What QEMU did, in its word: `ignore`, `report`, `stop`.
        action: String,
        /// Whether there was no space left.
        no_space: bool,
    },
    /// It has so many KiB of memory.
    Balloon(u64),
    /// The agent in it is there, or has gone.
    Agent(bool),
    /// QEMU's monitor does not answer.
    MonitorLost,
}

/// News, and of whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestNews {
    /// The guest.
    pub guest: Uuid,
    /// Its name.
    pub name: GuestName,
    /// The number of its run.
    pub id: i32,
    /// What happened.
    pub news: News,
}

/// What is to be told of a guest, at its pace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// To the engine.
    Change(GuestChange),
    /// To whoever listens.
    News(News),
}

impl Paced for Heard {
    fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Change(now), Self::Change(before)) => now == before,
            (Self::News(now), Self::News(before)) => {
                std::mem::discriminant(now) == std::mem::discriminant(before)
            }
            _ => false,
        }
    }
}

/// What was heard of a guest that bears on what comes next.
#[derive(Debug)]
pub(super) struct Hearing {
    /// Why it will stand still, when it does.
    cause: Cause,
    /// It has powered itself off; that it stands still then says nothing more.
    is_off: bool,
}

impl Default for Hearing {
    fn default() -> Self {
        Self { cause: Cause::Asked, is_off: false }
    }
}

impl Hearing {
    /// Whether it depends on what QEMU does now, what an event means.
    pub(super) const fn asks_whether_it_reboots(event: &GuestEvent) -> bool {
        matches!(event, GuestEvent::ShutdownRequested { by_guest: true, .. })
    }

    /// The change that an event is, where it is one; `reboots` when the guest has powered itself
    /// off to begin anew.
    pub(super) fn change(&mut self, event: &GuestEvent, reboots: bool) -> Option<GuestChange> {
        Some(match event {
            GuestEvent::Other(event) => {
                self.note(event);
                return None;
            }
            GuestEvent::Panicked => {
                self.cause = Cause::Panicked;
                GuestChange::Panicked
            }
            GuestEvent::ShutdownRequested { by_guest, .. } => {
                self.is_off = true;
                if reboots {
                    return None;
                }
                GuestChange::ShuttingDown { by_guest: *by_guest }
            }
            GuestEvent::Paused if self.is_off => return None,
            GuestEvent::Paused => {
                GuestChange::Paused(std::mem::replace(&mut self.cause, Cause::Asked))
            }
            GuestEvent::Resumed => {
                *self = Self::default();
                GuestChange::Resumed
            }
            GuestEvent::Reset => {
                self.is_off = false;
                GuestChange::Reset
            }
            // What happened while the monitor was away, nobody has told.
            GuestEvent::MonitorBack { state: RunState::Running } => GuestChange::Resumed,
            GuestEvent::MonitorBack { state } => return paused(state, Cause::Asked),
            _ => return None,
        })
    }

    fn note(&mut self, event: &QmpEvent) {
        match (event.name.as_str(), event.data["action"].as_str()) {
            ("BLOCK_IO_ERROR", Some("stop")) => self.cause = Cause::IoError,
            ("WATCHDOG", Some("pause")) => self.cause = Cause::Watchdog,
            _ => {}
        }
    }
}

/// A guest's standing still; `known` is why, where QEMU does not say.
fn paused(state: &RunState, known: Cause) -> Option<GuestChange> {
    Some(GuestChange::Paused(match state {
        RunState::Paused | RunState::Prelaunch => known,
        RunState::Panicked => Cause::Panicked,
        RunState::Other(word) if word == "io-error" => Cause::IoError,
        RunState::Other(word) if word == "watchdog" => Cause::Watchdog,
        _ => return None,
    }))
}

/// The news in an event.
pub(super) fn news(event: &GuestEvent, guest: &Guest) -> Option<News> {
    let event = match event {
        GuestEvent::MonitorLost => return Some(News::MonitorLost),
        GuestEvent::Other(event) => event,
        _ => return None,
    };
    let word = |key: &str| event.data[key].as_str().unwrap_or_default().to_owned();
    Some(match event.name.as_str() {
        "RTC_CHANGE" => News::Clock(event.data["offset"].as_i64()?),
        "WATCHDOG" => News::Watchdog(word("action")),
        "BALLOON_CHANGE" => News::Balloon(event.data["actual"].as_u64()? / 1024),
        "VSERPORT_CHANGE" => {
            let mut channels = guest.channels.iter();
            let agent = channels.find(|channel| channel.name.as_deref() == Some(CHANNEL))?;
            let is_its = agent.placement.alias.as_deref() == event.data["id"].as_str();
            News::Agent(event.data["open"].as_bool().filter(|_| is_its)?)
        }
        "BLOCK_IO_ERROR" => {
            let disk = guest.disks.iter().find(|disk| {
                let alias = disk.placement.alias.as_deref();
                alias.is_some_and(|alias| names(&event.data, alias))
            })?;
            let source = match &disk.source {
                Some(DiskSource::File(path) | DiskSource::Block(path)) => path.clone(),
                None => String::new(),
            };
            News::IoError {
                source,
                alias: disk.placement.alias.clone().unwrap_or_default(),
                action: word("action"),
                no_space: event.data["nospace"] == true,
            }
        }
        _ => return None,
    })
}

/// Whether what an I/O error is about has this in one of its names.
fn names(data: &Value, alias: &str) -> bool {
    ["qom-path", "device"].iter().any(|key| {
        let name = data[*key].as_str().unwrap_or_default();
        name.split('/').any(|part| part == alias)
    })
}

/// Gives what a guest was started with what was changed of it since.
pub(super) fn take_over(launched: &mut Launched, order: &LaunchOrder) {
    let Ok(now) = parse(&order.run.definition.xml) else { return };
    describe(&mut launched.guest, &now);
    let attachments = &mut launched.live.interfaces;
    let interfaces = launched.guest.interfaces.iter_mut().zip(attachments).zip(&now.interfaces);
    for (place, ((interface, attachment), now)) in interfaces.enumerate() {
        if interface.mac != now.mac {
            continue;
        }
        interface.vlan = now.vlan;
        interface.source.clone_from(&now.source);
        if let Ok(now) = order.attachment(place, now) {
            *attachment = now;
        }
    }
}

fn describe(guest: &mut Guest, now: &Guest) {
    guest.title.clone_from(&now.title);
    guest.description.clone_from(&now.description);
    guest.metadata.clone_from(&now.metadata);
}

impl Guests {
    /// Shows of a running guest what is said in its document now for people and other programs.
    pub(crate) fn describe(&self, guest: Uuid, now: &Guest) {
        if let Some(running) = self.running().get_mut(&guest) {
            describe(&mut running.document.guest, now);
        }
    }

    /// Tells listeners, and shows it where it is shown.
    pub(super) fn spread(&self, order: &LaunchOrder, news: News) {
        let guest = order.run.guest;
        if let (News::Balloon(kib), Some(running)) = (&news, self.running().get_mut(&guest)) {
            running.document.guest.current_memory_kib = *kib;
        }
        let (name, id) = (order.run.definition.name.clone(), order.run.id);
        // Nobody need be listening.
        let told = Happening::Heard(GuestNews { guest, name, id, news });
        let _listeners = self.happenings.send(told);
    }

    /// What a guest that was found again is doing, where it does not simply run. One that was to
    /// begin anew does.
    pub(super) async fn found_doing(
        &self,
        guest: Uuid,
        handle: &vfnet_qemu::Guest,
        known: Cause,
    ) -> Option<GuestChange> {
        match handle.state().await.ok()? {
            RunState::Shutdown if self.boots_again(guest).await => None,
            RunState::Shutdown => Some(GuestChange::ShuttingDown { by_guest: true }),
            state => paused(&state, known),
        }
    }

    /// Whether a guest that has just powered itself off begins anew, as it was told to.
    pub(super) async fn boots_again(&self, guest: Uuid) -> bool {
        let Some(running) = self.running().get(&guest).cloned() else { return false };
        if !running.has_to_boot_again().await {
            return false;
        }
        if let Err(fault) = running.boot_again().await {
            tracing::error!(%guest, "cannot begin anew: {}", vfnet_model::explain(&fault));
        }
        true
    }

    /// The document of a running guest, for its events.
    pub(super) fn news_in(&self, guest: Uuid, event: &GuestEvent) -> Option<News> {
        news(event, &self.running().get(&guest)?.document.guest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, data: Value) -> GuestEvent {
        GuestEvent::from(QmpEvent { name: name.to_owned(), data })
    }

    #[test]
    fn why_a_guest_stands_still_is_what_came_before_and_is_forgotten_when_it_runs() {
        let mut hearing = Hearing::default();
        let mut hear = |name: &str, data: Value| hearing.change(&event(name, data), false);
        assert_eq!(hear("STOP", Value::Null), Some(GuestChange::Paused(Cause::Asked)));
        assert_eq!(hear("RESUME", Value::Null), Some(GuestChange::Resumed));
        assert_eq!(hear("BLOCK_IO_ERROR", json!({ "action": "stop" })), None);
        assert_eq!(hear("STOP", Value::Null), Some(GuestChange::Paused(Cause::IoError)));
        assert_eq!(hear("RESUME", Value::Null), Some(GuestChange::Resumed));
        assert_eq!(hear("BLOCK_IO_ERROR", json!({ "action": "report" })), None);
        assert_eq!(hear("STOP", Value::Null), Some(GuestChange::Paused(Cause::Asked)));
        hear("RESUME", Value::Null);
        assert_eq!(hear("WATCHDOG", json!({ "action": "pause" })), None);
        assert_eq!(hear("STOP", Value::Null), Some(GuestChange::Paused(Cause::Watchdog)));
        hear("RESUME", Value::Null);
        assert_eq!(hear("GUEST_PANICKED", Value::Null), Some(GuestChange::Panicked));
        assert_eq!(hear("STOP", Value::Null), Some(GuestChange::Paused(Cause::Panicked)));
    }

    #[test]
    fn a_guest_that_has_powered_itself_off_is_not_said_to_be_paused() {
        let mut hearing = Hearing::default();
        let off = event("SHUTDOWN", json!({ "guest": true, "reason": "guest-shutdown" }));
        let by_guest = true;
        assert_eq!(hearing.change(&off, false), Some(GuestChange::ShuttingDown { by_guest }));
        assert_eq!(hearing.change(&GuestEvent::Paused, false), None);
    }

    #[test]
    fn a_guest_that_begins_anew_is_said_to_have_been_reset_and_nothing_else() {
        let mut hearing = Hearing::default();
        let off = event("SHUTDOWN", json!({ "guest": true, "reason": "guest-shutdown" }));
        assert_eq!(hearing.change(&off, true), None);
        assert_eq!(hearing.change(&GuestEvent::Paused, false), None);
        assert_eq!(hearing.change(&GuestEvent::Reset, false), Some(GuestChange::Reset));
    }

    #[test]
    fn news_of_a_kind_that_wait_are_the_latest_alone() {
        let balloon = |kib| Heard::News(News::Balloon(kib));
        assert!(balloon(2).replaces(&balloon(1)));
        assert!(!balloon(2).replaces(&Heard::News(News::Agent(true))));
        assert!(!balloon(2).replaces(&Heard::Change(GuestChange::Reset)));
    }
}
