//! What has happened lately, for `vfnet events`: kept in memory, the last so many, and asked for
//! by number. Nothing waits for whoever asks too seldom: what he misses is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::timeout;
use vfnet_model::event::{Event, Events};
use vfnet_model::legible;
use vfnet_model::time::utc;

use crate::journal::{About, Told};

/// Events that are kept.
pub(crate) const KEPT: usize = 1000;

/// Bytes of an event's text; the log has all of it.
const TEXT: usize = 2048;

/// Events in one answer.
const AT_ONCE: usize = 200;

/// How long an answer waits for something to happen. Then it has nothing, and is asked for again:
/// so a client that is gone is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// The last events. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct History {
    kept: Arc<Mutex<VecDeque<Event>>>,
    newest: watch::Sender<u64>,
}

impl History {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self { kept: Arc::default(), newest: watch::Sender::new(0) }
    }

    /// Takes down what has happened now.
    pub(crate) fn note(&self, told: &Told<'_>) {
        let mut text = legible(&told.text).replace('\n', " ");
        text.truncate(text.floor_char_boundary(TEXT));
        #[expect(
            clippy::disallowed_methods,
            reason = "told to people; events are in the order of their numbers"
        )]
        let time = utc(SystemTime::now());
        let mut kept = self.kept();
        let number = kept.back().map_or(0, |last| last.number) + 1;
        let mut event = Event {
            number,
            time,
            event: told.event.to_owned(),
            severity: told.severity,
            vf: None,
            guest: None,
            network: None,
            port: None,
            text,
        };
        match told.about {
            About::Network(name) => event.network = Some(name.clone()),
            About::Guest(name) => event.guest = Some(name.clone()),
            About::Vf(vf) => event.vf = Some(vf),
            About::Port(port, vf) => (event.port, event.vf) = (Some(port), Some(vf)),
            About::Autostart | About::Pf => {}
        }
        kept.push_back(event);
        if kept.len() > KEPT {
            kept.pop_front();
        }
        drop(kept);
        self.newest.send_replace(number);
    }

    /// Events after the one of this number. Where there is none yet, and `waits`, the first that
    /// comes, or nothing after a while.
    pub(crate) async fn after(&self, number: u64, waits: bool) -> Events {
        if waits {
            let mut newest = self.newest.subscribe();
            // When nothing has come, that is the answer.
            let _none = timeout(PATIENCE, newest.wait_for(|newest| *newest > number)).await;
        }
        self.known_after(number)
    }

    fn known_after(&self, number: u64) -> Events {
        let kept = self.kept();
        let first = kept.front().map_or(number, |event| event.number);
        // Who has heard of none asks for what there is.
        let missed = if number == 0 { 0 } else { first.saturating_sub(number + 1) };
        let news = kept.iter().filter(|event| event.number > number);
        Events { missed, events: news.take(AT_ONCE).cloned().collect() }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use vfnet_engine::Announcement;

    use super::*;
    use crate::journal::tell;

    fn with(events: u64) -> History {
        let history = History::new();
        for number in 1..=events {
            history.note(&tell(&Announcement::StartFailed(format!("event {number}"))));
        }
        history
    }

    fn numbers(events: &Events) -> Vec<u64> {
        events.events.iter().map(|event| event.number).collect()
    }

    #[test]
    fn the_last_thousand_are_kept_and_what_was_missed_is_counted() {
        let history = with(1_500);
        assert_eq!(history.kept().len(), KEPT);
        let all = history.known_after(0);
        assert_eq!((all.missed, numbers(&all)[0], all.events.len()), (0, 501, AT_ONCE));
        let late = history.known_after(100);
        assert_eq!((late.missed, numbers(&late)[0]), (400, 501));
        let next = history.known_after(1_400);
        assert_eq!((next.missed, numbers(&next)), (0, (1_401..=1_500).collect()));
        assert_eq!(history.known_after(1_500), Events { missed: 0, events: Vec::new() });
    }

    #[test]
    fn whoever_waits_has_what_comes_next() {
        let history = with(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let comes = async {
            tokio::task::yield_now().await;
            history.note(&tell(&Announcement::StartFailed("late".into())));
        };
        let (events, ()) = runtime.block_on(async { tokio::join!(history.after(1, true), comes) });
        assert_eq!(numbers(&events), [2]);
    }

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        let history = History::new();
        let words = format!("{}\n\u{1b}[2J", "ä".repeat(TEXT));
        history.note(&tell(&Announcement::StartFailed(words)));
        history.note(&tell(&Announcement::StartFailed("a\nb\u{1b}c".into())));
        let events = history.known_after(0).events;
        assert!(events[0].text.len() <= TEXT && events[0].text.chars().all(|c| c == 'ä'));
        assert!(!events[1].text.contains(['\n', '\u{1b}']), "{:?}", events[1].text);
    }
}
