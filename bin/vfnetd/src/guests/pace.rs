//! How fast a guest's changes are told on: a QEMU that its guest has taken over makes them up
//! without end, and each costs a decision, a record, a line in the log, and a message to everybody
//! who listens.
//!
//! A few are told at once. From then on each kind of change is told at its turn once, the latest
//! last, so that the state that is told last is the one that the guest has.

use std::time::Duration;

use tokio::time::Instant;

/// Time between two turns.
const EVERY: Duration = Duration::from_millis(100);

/// Turns that may be taken without a wait after a time without any.
const AT_ONCE: u32 = 32;

/// What is told at a pace.
pub(super) trait Paced {
    /// Whether an earlier one that has not been told need not be.
    fn replaces(&self, earlier: &Self) -> bool;
}

/// Changes of one guest that are to be told, and when.
#[derive(Debug)]
pub(super) struct Pace<T> {
    /// Each kind once, in the order in which they were heard of last.
    changes: Vec<T>,
    next: Instant,
}

impl<T: Paced> Pace<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self { changes: Vec::new(), next: saved_until(now) }
    }

    /// Notes a change.
    pub(super) fn hear(&mut self, change: T) {
        self.changes.retain(|heard| !change.replaces(heard));
        self.changes.push(change);
    }

    /// When there is something to be told, if there is.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.changes.is_empty()).then_some(self.next)
    }

    /// Takes a turn: all that is to be told now.
    pub(super) fn take(&mut self, now: Instant) -> Vec<T> {
        self.next = self.next.max(saved_until(now)) + EVERY;
        std::mem::take(&mut self.changes)
    }
}

/// From when on turns that were not taken count.
fn saved_until(now: Instant) -> Instant {
    now.checked_sub(EVERY * AT_ONCE).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use vfnet_engine::{Cause, GuestChange};

    use super::*;

    impl Paced for GuestChange {
        fn replaces(&self, earlier: &Self) -> bool {
            self == earlier
        }
    }

    /// Turns taken within a second by a guest that changes all the time.
    fn turns_in_a_second(pace: &mut Pace<GuestChange>, from: Instant) -> usize {
        let mut now = from;
        let mut turns = 0;
        while now < from + Duration::from_secs(1) {
            pace.hear(GuestChange::Paused(Cause::Asked));
            pace.hear(GuestChange::Resumed);
            if pace.due().is_some_and(|due| due <= now) {
                assert_eq!(
                    pace.take(now),
                    [GuestChange::Paused(Cause::Asked), GuestChange::Resumed]
                );
                turns += 1;
            }
            now += Duration::from_millis(1);
        }
        turns
    }

    #[test]
    fn a_guest_that_changes_without_end_has_its_turn_ten_times_a_second() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(turns_in_a_second(&mut pace, now), 42);
        assert_eq!(turns_in_a_second(&mut pace, now + Duration::from_secs(1)), 10);
        let later = now + Duration::from_secs(100);
        assert_eq!(turns_in_a_second(&mut pace, later), 42);
    }

    #[test]
    fn changes_that_wait_are_told_once_each_and_the_latest_last() {
        let mut pace = Pace::new(Instant::now());
        for change in [GuestChange::Resumed, GuestChange::Reset, GuestChange::Paused(Cause::Asked)]
        {
            pace.hear(change);
        }
        pace.hear(GuestChange::Resumed);
        let told = [GuestChange::Reset, GuestChange::Paused(Cause::Asked), GuestChange::Resumed];
        assert_eq!(pace.take(Instant::now()), told);
        assert_eq!(pace.due(), None);
    }
}
