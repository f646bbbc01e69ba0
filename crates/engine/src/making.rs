//! Making VFs for a network that starts.
//!
//! The host's drivers are to have nothing to do with them: they would name them, give them
//! addresses and run DHCP on them before anybody lends them. So the kernel's search for drivers
//! (`sriov_drivers_autoprobe` of the PF) is switched off before they are made, and on again when
//! they are there. That it is off is on record before it is: whoever is killed in between, the next
//! daemon switches it on again, as soon as nobody makes VFs of that PF any more.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use vfnet_model::PciAddress;

use crate::decision::{Effect, Turn, Urgency};
use crate::input::{Answer, Ticket};
use crate::pool::{Wanted, resolve};
use crate::record::{Entry, Key, NetworkJob};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{NetworkDefinition, State};

type Outcome = Result<Option<Answer>, Refusal>;

impl Turn<'_> {
    /// Makes what VFs a network is short of, and goes on with its start.
    pub(crate) fn make_pool(&mut self, ticket: Option<Ticket>, def: NetworkDefinition) -> Outcome {
        let (live, wanted) = resolve(self.state, def)?;
        let short = self.state.short_of(wanted);
        if short.is_empty() {
            return self.pool_is_there(ticket, live);
        }
        let making = short.keys().copied().collect();
        for (pf, Wanted { count, autoprobe }) in short {
            if let Some(why) = self.state.is_changing(pf) {
                let message = format!("network '{}' is not started: {why}", live.name());
                return Err(Refusal::invalid(message));
            }
            if let Some(found) = self.state.inventory.pfs.get(&pf)
                && found.num_vfs > 0
            {
                let message = format!(
                    "PF {pf} has {} VFs and is to have {count}; the kernel changes that only by way of 0",
                    found.num_vfs
                );
                let hint = format!("when none is in use: vfnet pf set {pf} --vfs {count}");
                return Err(Refusal::invalid(message).hint(hint));
            }
            let unprobed = !autoprobe && self.state.is_probed(pf);
            if unprobed && !self.state.autoprobe_off.contains(&pf) {
                if self.urgency == Urgency::MustGoOn {
                    let message =
                        format!("PF {pf} has come while network '{}' was started", live.name());
                    return Err(Refusal::invalid(message).hint("start it again"));
                }
                self.put(Entry::AutoprobeOff(pf));
            }
            self.effect(Effect::MakeVfs { network: live.uuid, pf, count, unprobed });
        }
        let job = NetworkJob { ticket, making, failed: Vec::new(), live };
        self.put(Entry::NetworkJob(job.live.uuid, job));
        Ok(None)
    }

    /// Records that the kernel will not look for drivers, where it is not to, before anybody is
    /// waited for: what comes of that wait goes on also where it cannot be recorded. Gives the PFs.
    pub(crate) fn note_autoprobe(&mut self, def: &NetworkDefinition) -> BTreeSet<PciAddress> {
        let Ok((_, wanted)) = resolve(self.state, def.clone()) else { return BTreeSet::new() };
        let short = self.state.short_of(wanted);
        let unprobed =
            short.into_iter().filter(|(pf, it)| !it.autoprobe && self.state.is_probed(*pf));
        let unprobed: BTreeSet<_> = unprobed.map(|(pf, _)| pf).collect();
        for pf in &unprobed {
            self.put(Entry::AutoprobeOff(*pf));
        }
        unprobed
    }

    pub(crate) fn vfs_made(&mut self, uuid: Uuid, pf: PciAddress, outcome: Result<(), String>) {
        let Some(mut job) = self.state.network_jobs.get(&uuid).cloned() else { return };
        job.making.remove(&pf);
        job.failed.extend(outcome.err());
        if !job.making.is_empty() {
            self.put(Entry::NetworkJob(uuid, job));
            return self.restore_autoprobe();
        }
        self.forget(Key::NetworkJob(uuid));
        self.restore_autoprobe();
        let name = job.live.name().clone();
        let outcome = if job.failed.is_empty() {
            self.pool_is_there(job.ticket, job.live.clone())
        } else {
            let message = format!("cannot start network '{name}': {}", job.failed.join("; "));
            Err(Refusal::new(RefusalKind::OperationFailed, message))
        };
        self.network_begun(job.ticket, job.live, outcome);
    }

    /// Has the kernel look for drivers again where that was switched off and nobody makes VFs any
    /// more; of a PF that is not to be seen, when it is.
    pub(crate) fn restore_autoprobe(&mut self) {
        let jobs = self.state.network_jobs.values();
        let making: BTreeSet<_> = jobs.flat_map(|job| job.making.iter().copied()).collect();
        let off = self.state.autoprobe_off.iter().filter(|pf| !making.contains(pf));
        let off: Vec<_> = off.copied().collect();
        for pf in off {
            let probed = self.state.inventory.pfs.get(&pf).map(|pf| pf.autoprobe);
            if probed == Some(true) {
                self.forget(Key::AutoprobeOff(pf));
            } else if probed == Some(false) && self.state.restoring_autoprobe.insert(pf) {
                self.effect(Effect::RestoreAutoprobe(pf));
            }
        }
    }

    /// What failed is tried again at the next look.
    pub(crate) fn autoprobe_restored(&mut self, pf: PciAddress, outcome: &Result<(), String>) {
        self.state.restoring_autoprobe.remove(&pf);
        if outcome.is_ok() && self.state.autoprobe_off.contains(&pf) {
            self.forget(Key::AutoprobeOff(pf));
        }
    }
}

impl State {
    /// The PFs that have fewer VFs than they are to have.
    fn short_of(&self, wanted: BTreeMap<PciAddress, Wanted>) -> BTreeMap<PciAddress, Wanted> {
        let is_short = |(pf, it): &(PciAddress, Wanted)| {
            self.inventory.pfs.get(pf).is_some_and(|pf| pf.num_vfs < it.count)
        };
        wanted.into_iter().filter(is_short).collect()
    }

    /// Whether the kernel looks for drivers for VFs of this PF, but for what vfnet does about that.
    fn is_probed(&self, pf: PciAddress) -> bool {
        let seen = self.inventory.pfs.get(&pf).is_some_and(|pf| pf.autoprobe);
        seen || self.autoprobe_off.contains(&pf)
    }
}
