//! Ports of other daemons' guests whose VF no process has open: how long that has been so, and
//! what the administrator wants done about it.
//!
//! vfnet has no other word of such a guest's end than its port's deletion, and a daemon that died,
//! or forgot its ports, never deletes them. Whether its VF is open is what the looks at the host
//! show; the time is measured here, by a clock that nobody sets, and begins anew with the daemon.
//! What is decided then is the engine's ([`Input::PortUnused`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};
use vfnet_engine::{ClaimId, Input, State};

use crate::engine_task::EngineHandle;
use crate::observe::Observer;

/// What is done with a port that has been unused for the grace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It is told: log, event, `vfnet port ls`, `vfnet doctor`.
    #[default]
    Report,
    /// It is taken back as if it were deleted, and that is told.
    Reclaim,
}

/// Knows which ports are unused. Clones share what they know.
#[derive(Clone, Debug)]
pub struct UnusedPorts {
    grace: Duration,
    policy: Policy,
    ledger: Arc<Mutex<Ledger>>,
}

impl UnusedPorts {
    /// With a grace of zero nothing is ever looked for.
    pub fn new(grace: Duration, policy: Policy) -> Self {
        Self { grace, policy, ledger: Arc::default() }
    }

    /// For how long a port has been unused; `None` within the grace, which every port needs until
    /// its guest has started.
    pub fn for_how_long(&self, claim: ClaimId) -> Option<Duration> {
        let since = *self.ledger().since.get(&claim)?;
        Some(since.elapsed()).filter(|unused| *unused >= self.grace)
    }

    /// Looks from time to time, while there are such ports, until the daemon ends.
    pub(crate) async fn watch(self, engine: EngineHandle, observer: Observer) {
        if self.grace.is_zero() {
            return;
        }
        let pause = (self.grace / 10).clamp(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            sleep(pause).await;
            let Ok(lent) = engine.read(State::has_outside_ports).await else { return };
            // A look that did not reach the engine says nothing.
            if lent && !observer.look().await {
                continue;
            }
            let Ok(unused) = engine.read(State::unused_ports).await else { return };
            let due = self.ledger().due(&unused, Instant::now(), self.grace, self.policy);
            for claim in due {
                let reclaim = self.policy == Policy::Reclaim;
                engine.tell(Input::PortUnused { claim, reclaim }).await;
            }
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Ledger {
    /// When a look showed each port unused first; every one since then did.
    since: BTreeMap<ClaimId, Instant>,
    /// When the engine was told of each last.
    told: BTreeMap<ClaimId, Instant>,
}

impl Ledger {
    /// Takes in which ports are unused now, and gives those that the engine is to be told of: once
    /// where they are reported, and again after each grace where they are to be reclaimed, since
    /// one may have been opened in that very moment.
    fn due(
        &mut self,
        unused: &BTreeSet<ClaimId>,
        now: Instant,
        grace: Duration,
        policy: Policy,
    ) -> Vec<ClaimId> {
        self.since.retain(|claim, _| unused.contains(claim));
        self.told.retain(|claim, _| unused.contains(claim));
        let mut due = Vec::new();
        for claim in unused {
            let since = *self.since.entry(*claim).or_insert(now);
            let last = match (self.told.get(claim), policy) {
                (None, _) => since,
                (Some(told), Policy::Reclaim) => *told,
                (Some(_), Policy::Report) => continue,
            };
            if now.duration_since(last) >= grace {
                self.told.insert(*claim, now);
                due.push(*claim);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(300);
    const A: ClaimId = ClaimId(1);

    /// What is due when the looks at these seconds show the port unused or not.
    fn due(policy: Policy, looks: &[(u64, bool)]) -> Vec<u64> {
        let (begin, mut ledger) = (Instant::now(), Ledger::default());
        let mut told = Vec::new();
        for (second, is_unused) in looks {
            let unused = is_unused.then_some(A).into_iter().collect();
            let now = begin + Duration::from_secs(*second);
            if ledger.due(&unused, now, GRACE, policy) == [A] {
                told.push(*second);
            }
        }
        told
    }

    #[test]
    fn a_port_is_reported_once_when_it_has_been_unused_for_the_grace() {
        let looks = [(0, true), (299, true), (300, true), (301, true), (900, true)];
        assert_eq!(due(Policy::Report, &looks), [300]);
    }

    #[test]
    fn a_port_that_is_used_in_between_has_its_grace_anew() {
        let looks = [(0, true), (299, false), (301, true), (600, true), (601, true), (602, false)];
        assert_eq!(due(Policy::Report, &looks), [601]);
        let again = [(0, true), (300, true), (301, false), (302, true), (601, true), (602, true)];
        assert_eq!(due(Policy::Report, &again), [300, 602]);
    }

    #[test]
    fn a_reclaim_that_came_to_nothing_is_tried_again_after_another_grace() {
        let looks = [(0, true), (300, true), (330, true), (599, true), (600, true)];
        assert_eq!(due(Policy::Reclaim, &looks), [300, 600]);
    }
}
