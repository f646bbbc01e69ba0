//! VFs that are kept: how many of them a PF is to have whenever its card comes into sight, at boot
//! or later. The administrator's decision, kept over reboots under what the PF is known by wherever
//! its card is ([`PfIdentity`]).
//!
//! They are made once for each time that the card comes, and only where there are none: what
//! somebody does to the number afterwards is his.

use std::collections::BTreeMap;

use vfnet_model::PciAddress;
use vfnet_model::pf::PfIdentity;

use crate::decision::{Announcement, Effect, Turn};
use crate::input::Answer;
use crate::record::{Entry, Key, PfJob};
use crate::refusal::Refusal;
use crate::state::State;

type Outcome = Result<Option<Answer>, Refusal>;

/// VFs that are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptVfs {
    /// The PF.
    pub pf: PfIdentity,
    /// How many it is to have; never 0.
    pub count: u16,
}

impl Turn<'_> {
    /// What is kept of a PF's VFs from now on; nothing for 0.
    pub(crate) fn keep_vfs(&mut self, pf: PfIdentity, count: u16) {
        if count > 0 {
            self.put(Entry::KeptVfs(KeptVfs { pf, count }));
        } else if self.state.kept_vfs.contains_key(&pf) {
            self.forget(Key::KeptVfs(pf));
        }
    }

    pub(crate) fn pf_forget_vfs(&mut self, pf: PfIdentity) -> Outcome {
        let (identity, shown) = self.state.known_pf(pf);
        if !self.state.kept_vfs.contains_key(&identity) {
            return Err(self.state.no_pf_or(pf, format!("no VFs are kept of PF {shown}")));
        }
        self.keep_vfs(identity, 0);
        Ok(Some(Answer::Done))
    }

    /// Makes what is kept of the PFs that have come into sight.
    pub(crate) fn make_kept_vfs(&mut self) {
        let pfs = self.state.inventory.pfs.values().filter(|pf| pf.driver.is_some());
        let there: BTreeMap<_, _> = pfs.map(|pf| (PfIdentity::of(pf), pf.address)).collect();
        self.state.met_pfs.retain(|pf| there.contains_key(pf));
        let kept = self.state.kept_vfs.values();
        let come: Vec<_> = kept
            .filter(|kept| !self.state.met_pfs.contains(&kept.pf))
            .filter_map(|kept| Some((*kept, *there.get(&kept.pf)?)))
            // Whoever changes their number now has decided it.
            .filter(|(_, pf)| !self.state.pf_jobs.contains_key(pf))
            .collect();
        for (KeptVfs { pf: identity, count }, pf) in come {
            let Some(found) = self.state.inventory.pfs.get(&pf) else { continue };
            if found.num_vfs > 0 {
                self.state.met_pfs.insert(identity);
            } else if count > found.total_vfs {
                self.state.met_pfs.insert(identity);
                let why = format!("it allows {}, {count} are kept", found.total_vfs);
                self.announce(Announcement::VfsNotMade(self.state.shown_pf(pf), why));
            } else if !self.state.is_made_for_a_network(pf) {
                self.state.met_pfs.insert(identity);
                self.put(Entry::PfJob(pf, PfJob { ticket: None, count, kept_before: None }));
                self.effect(Effect::SetVfs { pf, count });
            }
        }
    }
}

impl State {
    /// How many VFs are kept of a PF, if any.
    pub fn kept_vfs_of(&self, pf: PciAddress) -> Option<u16> {
        let identity = PfIdentity::of(self.inventory.pfs.get(&pf)?);
        self.kept_vfs.get(&identity).map(|kept| kept.count)
    }

    /// Whether kept VFs are being made.
    pub fn makes_kept_vfs(&self) -> bool {
        self.pf_jobs.values().any(|job| job.ticket.is_none())
    }

    /// Whether a network's start is making VFs of a PF.
    fn is_made_for_a_network(&self, pf: PciAddress) -> bool {
        self.network_jobs.values().any(|job| job.making.contains(&pf))
    }
}
