//! Leases: a VF for a process of this host, for as long as the process lives.
//!
//! ```text
//!   lease -> Preparing -> Held -> begun (answered) -> the process ends -> Releasing -> free
//! ```
//!
//! Who has a VF is on record as a process: its number and when it started, which no other process
//! of this boot has. So a daemon that was dead when the process ended finds that out at its start,
//! and nobody but the kernel has to be told of an end.

use vfnet_model::network::{Forward, Pool};

use crate::claim::{Claim, ClaimId, ClaimState, Executor, Happening, Owner};
use crate::decision::{Effect, Turn};
use crate::input::{Answer, Failure, HeldBy, LeaseRequest, Ticket};
use crate::networks::port_settings;
use crate::record::{Entry, Key};
use crate::refusal::{Because, Obstacle, Refusal, RefusalKind};
use crate::state::State;
use crate::vfs::Asked;

type Outcome = Result<Option<Answer>, Refusal>;

impl Turn<'_> {
    pub(crate) fn lease(&mut self, ticket: Ticket, request: LeaseRequest) -> Outcome {
        let asked = self.state.asked_for_lease(request)?;
        let id = self.claim(asked)?;
        self.put(Entry::VfJob(id, ticket));
        self.effect(Effect::Prepare(id));
        Ok(None)
    }

    pub(crate) fn lease_is_prepared(&mut self, id: ClaimId, outcome: Result<HeldBy, Failure>) {
        match outcome {
            Ok(HeldBy { driver, group }) => {
                self.happen(id, Happening::Prepared { driver, group });
                self.effect(Effect::BeginLease(id));
            }
            Err(Failure { why, stuck, hook }) => {
                self.lease_fails(id, why, hook);
                match stuck {
                    Some(step) => self.stuck(id, step),
                    None => {
                        self.give_back(id);
                    }
                }
            }
        }
    }

    /// The process has its VF, or cannot have it. One that was found again waits for nothing.
    pub(crate) fn lease_begun(&mut self, id: ClaimId, outcome: Result<(), String>) {
        let Some(Claim { vf, state, .. }) = self.state.claims.get(&id) else { return };
        let why = match (outcome, state) {
            (Ok(()), ClaimState::Held { group, .. }) => {
                let leased = Answer::Leased { vf: *vf, group: *group };
                return self.answer_lease(id, Ok(leased));
            }
            (Ok(()), _) if !self.state.vf_jobs.contains_key(&id) => return,
            (Ok(()), _) => "it went away".to_owned(),
            (Err(why), _) => why,
        };
        self.lease_fails(id, why, false);
        self.give_back(id);
    }

    /// The process has ended.
    pub(crate) fn lease_ended(&mut self, id: ClaimId) {
        let leased = |claim: &Claim| matches!(claim.owner, Owner::Lease(_));
        if !self.state.claims.get(&id).is_some_and(leased) {
            return;
        }
        let gone = Refusal::invalid("the process has ended");
        self.answer_lease(id, Err(gone));
        self.give_back(id);
    }

    fn lease_fails(&mut self, id: ClaimId, why: String, hook: bool) {
        let Some(claim) = self.state.claims.get(&id) else { return };
        let kind = if hook { RefusalKind::HookFailed } else { RefusalKind::OperationFailed };
        let message = format!("cannot prepare a VF for {}", claim.owner);
        let vfs = vec![Because::new(claim.vf, Obstacle::Host, why)];
        self.answer_lease(id, Err(Refusal { vfs, ..Refusal::new(kind, message) }));
    }

    /// Tells whoever waits, if somebody still does.
    fn answer_lease(&mut self, id: ClaimId, reply: Result<Answer, Refusal>) {
        if let Some(ticket) = self.state.vf_jobs.get(&id).copied() {
            self.forget(Key::VfJob(id));
            self.effect(Effect::Answer(ticket, reply));
        }
    }
}

impl State {
    fn asked_for_lease(&self, request: LeaseRequest) -> Result<Asked, Refusal> {
        let LeaseRequest { network, portgroup, mac, lessee } = request;
        let live = self.live_network(&network)?;
        let document = &live.definition.network;
        let Forward::Hostdev(pool) = &document.forward else {
            let message = format!("network '{network}' is a bridge: it has no VFs to lend");
            return Err(Refusal::new(RefusalKind::Unsupported, message));
        };
        let wanted = port_settings(document, mac, None, portgroup.as_deref())?;
        let Pool { managed, driver, .. } = pool;
        Ok(Asked {
            owner: Owner::Lease(lessee),
            executor: Executor::Vfnet,
            what: format!("network '{network}'"),
            candidates: self.pool(live),
            placement: document.placement(portgroup.as_deref()),
            // Which processors it will run on, a process need not have decided yet.
            nodes: None,
            network: Some((live.uuid, network, portgroup)),
            port: None,
            wanted: Some(wanted),
            teaming: false,
            managed: *managed,
            driver: driver.as_ref().and_then(|driver| driver.model.clone()),
        })
    }
}
