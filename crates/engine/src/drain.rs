//! Draining a PF: none of its VFs is lent any more, and those that are lent stay so. It is the
//! administrator's decision, kept over reboots under what the PF is known by wherever its card is
//! ([`PfIdentity`]).

use vfnet_model::PciAddress;
use vfnet_model::pf::PfIdentity;

use crate::decision::{Announcement, Turn};
use crate::guards::no_pf;
use crate::input::Answer;
use crate::record::{Entry, Key};
use crate::refusal::Refusal;
use crate::state::State;

type Outcome = Result<Option<Answer>, Refusal>;

/// A PF that is drained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drain {
    /// The PF.
    pub pf: PfIdentity,
    /// Why, in the administrator's words; empty for none.
    pub why: String,
}

impl Turn<'_> {
    /// Drained again, a PF has the new reason.
    pub(crate) fn pf_drain(&mut self, pf: PciAddress, why: String) -> Outcome {
        let found = self.state.inventory.pfs.get(&pf).ok_or_else(|| no_pf(pf))?;
        let drain = Drain { pf: PfIdentity::of(found), why };
        if self.state.drains.get(&drain.pf) != Some(&drain) {
            self.announce(Announcement::PfDrained(self.state.shown_pf(pf), drain.why.clone()));
            self.put(Entry::Drain(drain));
        }
        Ok(Some(Answer::Done))
    }

    pub(crate) fn pf_undrain(&mut self, pf: PfIdentity) -> Outcome {
        let (identity, shown) = self.state.known_pf(pf);
        if !self.state.drains.contains_key(&identity) {
            return Err(self.state.no_pf_or(pf, format!("PF {shown} is not drained")));
        }
        self.forget(Key::Drain(identity));
        self.announce(Announcement::PfUndrained(shown));
        // There may be room now for what autostart has still to start.
        self.try_pending();
        Ok(Some(Answer::Done))
    }
}

impl State {
    /// The drain that a PF is under, if any.
    pub fn drain_of(&self, pf: PciAddress) -> Option<&Drain> {
        self.drains.get(&PfIdentity::of(self.inventory.pfs.get(&pf)?))
    }

    /// Why none of a PF's VFs is lent anew, when it is drained.
    pub(crate) fn is_drained(&self, pf: PciAddress) -> Option<String> {
        let Drain { why, .. } = self.drain_of(pf)?;
        let because = if why.is_empty() { String::new() } else { format!(": {why}") };
        Some(format!("its PF {} is drained{because}", self.shown_pf(pf)))
    }
}
