//! Held VFs that somebody else has changed: `ip link set PF vf N …` typed under a running guest,
//! or a VF taken from VFIO.
//!
//! Every look compares; what differs has the hands look once more and put back what they can
//! ([`Effect::Repair`]), one at a time for a claim and never beside its giving back. A look may be
//! older than what was done to the VF meanwhile, so it is only a reason to look again, and a
//! repair that finds nothing to do says nothing.
//!
//! ```text
//!   Held ── differs ──▶ Repair ── put back ──▶ announced; counted, and forgiven with time
//!                          │ failed ──▶ counted, and tried again when the next look differs
//!                          └ would harm the holder, or has been tried too often ──▶ marked
//! ```
//!
//! A marked claim stays its holder's, with the reason on record, and is not repaired any more.
//! When it is given back it ends in quarantine: whoever does that to it is to be found first. A
//! VF lent to another daemon is that daemon's, and is not compared at all.

use vfnet_model::{drift, drivers};

use crate::claim::{Claim, ClaimId, ClaimState, Executor};
use crate::decision::{Announcement, Effect, Turn};
use crate::input::{GivenBack, Repaired};
use crate::record::Entry;
use crate::state::State;

/// Repairs of one claim, made or tried, that are not forgiven; more than anybody types by hand,
/// and few enough not to fight with another program for long.
pub const MOST_REPAIRS: u8 = 8;

/// What has been done about a claim's drift. In memory alone: a daemon that starts anew may try
/// as often again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Repairs {
    under_way: bool,
    /// Whether a look has shown a difference since the one under way was begun: what was typed
    /// after it had looked is seen by the next.
    again: bool,
    count: u8,
}

impl State {
    /// Whether the last look shows a held VF otherwise than it was made for its holder.
    fn has_drifted(&self, claim: &Claim) -> bool {
        let held = matches!(claim.state, ClaimState::Held { .. });
        let vf = self.inventory.vfs.get(&claim.vf);
        let Some(vf) = vf.filter(|vf| held && vf.incarnation == claim.incarnation) else {
            return false;
        };
        if claim.executor == Executor::Outside {
            return false;
        }
        if !self.is_on_vfio(vf) {
            return true;
        }
        let (Some(wanted), Some(now)) = (&claim.wanted, &vf.attributes) else { return false };
        let pf = self.inventory.pfs.get(&claim.pf);
        let row = drivers::row(pf.and_then(|pf| pf.driver.as_ref()));
        !drift::differences(now, &drift::held(row, wanted, now, !claim.managed)).is_empty()
    }

    /// Hands that were to be at work on a held VF will not be.
    pub(crate) fn will_not_be_repaired(&mut self, id: ClaimId) {
        if let Some(repairs) = self.repairs.get_mut(&id) {
            repairs.under_way = false;
        }
    }

    /// Whether hands are at work on a held VF.
    pub(crate) fn is_being_repaired(&self, id: ClaimId) -> bool {
        self.repairs.get(&id).is_some_and(|repairs| repairs.under_way)
    }
}

impl Turn<'_> {
    /// Has what the last look shows changed put back.
    pub(crate) fn repair_what_drifted(&mut self) {
        let claims = &self.state.claims;
        self.state.repairs.retain(|id, _| claims.contains_key(id));
        let drifted: Vec<_> = claims
            .values()
            .filter(|claim| claim.drift.is_none() && self.state.has_drifted(claim))
            .map(|claim| claim.id)
            .collect();
        for id in drifted {
            self.begin_repair(id);
        }
    }

    /// Has hands set a held VF as it is to be; once more where they are at work already.
    pub(crate) fn begin_repair(&mut self, id: ClaimId) {
        let repairs = self.state.repairs.entry(id).or_default();
        if std::mem::replace(&mut repairs.under_way, true) {
            repairs.again = true;
        } else {
            self.effect(Effect::Repair(id));
        }
    }

    pub(crate) fn repaired(&mut self, id: ClaimId, outcome: Repaired) {
        let Some(repairs) = self.state.repairs.get_mut(&id) else { return };
        repairs.under_way = false;
        let again = std::mem::take(&mut repairs.again);
        if self.nic_is_changed(id, &outcome) {
            if again {
                self.repair_once_more(id);
            }
            return;
        }
        let Some(repairs) = self.state.repairs.get_mut(&id) else { return };
        let found = outcome != Repaired::Done(Vec::new());
        repairs.count = repairs.count.saturating_add(u8::from(found));
        let too_often = repairs.count >= MOST_REPAIRS;
        let Some(claim) = self.state.claims.get(&id) else { return };
        let (vf, owner) = (claim.vf, claim.owner.to_string());
        match (&claim.state, outcome) {
            (ClaimState::Releasing, _) => self.effect(Effect::GiveBack(id)),
            (ClaimState::Held { .. }, Repaired::Done(what)) if found => {
                let what = what.join(", ");
                self.announce(Announcement::VfRepaired(vf, owner, what.clone()));
                if too_often {
                    let times =
                        format!("changed {MOST_REPAIRS} times in a short time, last: {what}");
                    self.give_up_on(id, times);
                }
            }
            (ClaimState::Held { .. }, Repaired::Failed(why)) if too_often => {
                self.give_up_on(id, why);
            }
            (ClaimState::Held { .. }, Repaired::NotWhileHeld(why)) => self.give_up_on(id, why),
            _ => {}
        }
        if again {
            self.repair_once_more(id);
        }
    }

    fn repair_once_more(&mut self, id: ClaimId) {
        let goes_on =
            |claim: &Claim| matches!(claim.state, ClaimState::Held { .. }) && claim.drift.is_none();
        if self.state.claims.get(&id).is_some_and(goes_on) {
            self.begin_repair(id);
        }
    }

    fn give_up_on(&mut self, id: ClaimId, why: String) {
        let Some(claim) = self.state.claims.get(&id).cloned() else { return };
        self.announce(Announcement::VfDrifted(claim.vf, claim.owner.to_string(), why.clone()));
        self.put(Entry::Claim(Claim { drift: Some(why), ..claim }));
    }

    /// Some time has passed: of what was put back before and has stayed so, one is forgiven.
    pub(crate) fn forgive_repairs(&mut self) {
        let State { claims, .. } = &*self.state;
        let stays = |id: &ClaimId| claims.get(id).is_some_and(|it| !self.state.has_drifted(it));
        let forgiven: Vec<_> = self.state.repairs.keys().copied().filter(|id| stays(id)).collect();
        for id in forgiven {
            if let Some(repairs) = self.state.repairs.get_mut(&id) {
                repairs.count = repairs.count.saturating_sub(1);
            }
        }
    }
}

/// How giving back has ended, of a claim that may be marked.
pub(crate) fn as_marked(claim: &Claim, outcome: GivenBack) -> GivenBack {
    match (&claim.drift, outcome) {
        (Some(why), GivenBack::Clean) => {
            GivenBack::Unclean(format!("changed by somebody else while it was held: {why}"))
        }
        (_, outcome) => outcome,
    }
}
