//! Guests: definitions, and the way from a start to a process with its VFs, and back.
//!
//! ```text
//!   Preparing -> Launching -> Running <-> Paused | ShuttingDown
//!        \___________\____________\_____________\-> Ending -> (no run)
//! ```
//!
//! A run is recorded together with its claims before anything is done to a VF; it goes to
//! Launching only when all its VFs are held. It is forgotten when its process has ended and
//! its last VF is back (or quarantined, or stuck), so that "destroyed" means "given back".

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::claim::ClaimState;
use crate::decision::{Announcement, Effect, Turn};
use crate::input::{Answer, Ended, GuestChange, Ticket};
use crate::record::{Entry, GuestJob, Key};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Cause, GuestDefinition, GuestEntry, GuestRun, NicSource, Phase, State};

type Outcome = Result<Option<Answer>, Refusal>;

/// How a guest is started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    /// It is left paused.
    pub(crate) paused: bool,
    /// Its UEFI variables are made anew.
    pub(crate) fresh_nvram: bool,
    /// It ends with whoever asked.
    pub(crate) autodestroy: bool,
}

/// How many calls may wait for the end of one guest: a QEMU that cannot end must not have those
/// pile up who tell it to again and again.
const MOST_STOPS: usize = 64;

fn no_guest(uuid: Uuid) -> Refusal {
    Refusal::new(RefusalKind::NoGuest, format!("no guest with matching uuid '{uuid}'"))
}

impl Turn<'_> {
    fn guest_identity(&self, def: &GuestDefinition) -> Result<(), Refusal> {
        let refuse = |message| Err(Refusal::new(RefusalKind::OperationFailed, message));
        if let Some(other) = self.state.guest_named(&def.name)
            && other != def.uuid
        {
            return refuse(format!("guest '{}' already exists with uuid {other}", def.name));
        }
        if let Some(other) = self.state.guest(def.uuid)
            && other.name != def.name
        {
            return refuse(format!(
                "guest '{}' is already defined with uuid {}",
                other.name, def.uuid
            ));
        }
        Ok(())
    }

    pub(crate) fn guest_define(&mut self, def: GuestDefinition) -> Outcome {
        self.guest_identity(&def)?;
        let (uuid, name) = (def.uuid, def.name.clone());
        let known = self.state.guests.get(&uuid);
        let autostart = known.is_some_and(|entry| entry.autostart);
        let added = known.is_none();
        self.put(Entry::Guest(GuestEntry { uuid, definition: def, autostart }));
        self.announce(Announcement::GuestDefined(uuid, name.clone(), added));
        let id = self.state.runs.get(&uuid).map(|run| run.id);
        Ok(Some(Answer::Guest { uuid, name, id }))
    }

    pub(crate) fn guest_create(
        &mut self,
        ticket: Ticket,
        def: GuestDefinition,
        how: Start,
    ) -> Outcome {
        self.guest_identity(&def)?;
        self.begin_guest(Some(ticket), def, how)
    }

    pub(crate) fn guest_start(
        &mut self,
        ticket: Option<Ticket>,
        uuid: Uuid,
        how: Start,
    ) -> Outcome {
        let def = self.state.guest(uuid).ok_or_else(|| no_guest(uuid))?.clone();
        self.begin_guest(ticket, def, how)
    }

    fn begin_guest(&mut self, ticket: Option<Ticket>, def: GuestDefinition, how: Start) -> Outcome {
        let Start { paused, fresh_nvram, autodestroy } = how;
        let (uuid, name) = (def.uuid, def.name.clone());
        if let Some(run) = self.state.runs.get(&uuid) {
            let what = match run.phase {
                Phase::Preparing | Phase::Launching => "is being started",
                Phase::Ending => "is still ending",
                _ => "is already running",
            };
            return Err(Refusal::invalid(format!("guest '{name}' {what}")));
        }
        let claims = self.claim_for_guest(&def)?;
        let phase = if claims.is_empty() { Phase::Launching } else { Phase::Preparing };
        let run = GuestRun {
            guest: uuid,
            id: self.state.last_id + 1,
            definition: def,
            uid_slot: free_slot(self.state)?,
            phase,
            pid: None,
            autodestroy,
            cause: Cause::Started,
            plugs: BTreeMap::new(),
        };
        self.put(Entry::Run(run));
        let job = GuestJob { start: ticket, paused, fresh_nvram, ..GuestJob::default() };
        self.put(Entry::GuestJob(uuid, job));
        if claims.is_empty() {
            self.effect(Effect::Launch { guest: uuid, paused, fresh_nvram });
        }
        for claim in claims {
            self.effect(Effect::Prepare(claim));
        }
        Ok(None)
    }

    fn set_phase(&mut self, guest: Uuid, phase: Phase) {
        if let Some(run) = self.state.runs.get(&guest) {
            let run = GuestRun { phase, ..run.clone() };
            self.put(Entry::Run(run));
        }
    }

    /// One of a guest's VFs has become ready.
    pub(crate) fn vf_is_ready(&mut self, guest: Uuid) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        match run.phase {
            Phase::Preparing => {
                let ready = |claim: &crate::Claim| matches!(claim.state, ClaimState::Held { .. });
                if self.state.claims_of(guest).all(ready) {
                    self.set_phase(guest, Phase::Launching);
                    let job = self.guest_job(guest);
                    let (paused, fresh_nvram) = (job.paused, job.fresh_nvram);
                    self.effect(Effect::Launch { guest, paused, fresh_nvram });
                }
            }
            // What a process has, it has until it has ended.
            Phase::Ending if run.pid.is_some() => {}
            Phase::Ending => self.release_all(guest),
            _ => self.plug_what_is_ready(guest),
        }
    }

    /// A start cannot be completed: what was taken goes back, and whoever waits hears why.
    pub(crate) fn start_failed(&mut self, guest: Uuid, why: Refusal) {
        if !self.state.runs.contains_key(&guest) {
            return;
        }
        let mut job = self.state.guest_jobs.get(&guest).cloned().unwrap_or_default();
        job.failed.get_or_insert(why);
        self.put(Entry::GuestJob(guest, job));
        self.set_phase(guest, Phase::Ending);
        self.release_all(guest);
    }

    /// Gives back every VF of a guest that is held. Those still being prepared follow when
    /// their preparing has ended.
    pub(crate) fn release_all(&mut self, guest: Uuid) {
        let held: Vec<_> = self
            .state
            .claims_of(guest)
            .filter(|claim| matches!(claim.state, ClaimState::Held { .. } | ClaimState::Vanished))
            .map(|claim| claim.id)
            .collect();
        for claim in held {
            self.give_back(claim);
        }
        self.maybe_ended(guest);
    }

    /// Forgets a run whose process is gone and whose VFs are back.
    pub(crate) fn maybe_ended(&mut self, guest: Uuid) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        let busy = self.state.claims_of(guest).any(|claim| {
            matches!(
                claim.state,
                ClaimState::Preparing
                    | ClaimState::Held { .. }
                    | ClaimState::Releasing
                    | ClaimState::Vanished
            )
        });
        if run.phase != Phase::Ending || run.pid.is_some() || busy {
            return;
        }
        self.plugs_end(guest);
        let job = self.state.guest_jobs.get(&guest).cloned().unwrap_or_default();
        self.forget(Key::GuestJob(guest));
        self.forget(Key::Run(guest));
        for ticket in job.stops {
            self.effect(Effect::Answer(ticket, Ok(Answer::Done)));
        }
        match (job.start, job.failed) {
            (Some(ticket), failed) => {
                let destroyed =
                    || Refusal::invalid("the guest was destroyed while it was being started");
                self.effect(Effect::Answer(ticket, Err(failed.unwrap_or_else(destroyed))));
            }
            (None, Some(failed)) => self.announce(Announcement::StartFailed(failed.to_string())),
            (None, None) => {}
        }
    }

    /// A guest's process has been started, or why it has not.
    pub(crate) fn launched(&mut self, guest: Uuid, outcome: Result<u32, String>) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        let (name, id) = (run.definition.name.clone(), run.id);
        match outcome {
            Err(words) => {
                let message = format!("cannot start guest '{name}': {words}");
                self.start_failed(guest, Refusal::new(RefusalKind::OperationFailed, message));
            }
            Ok(pid) => {
                self.has_a_process(guest, pid, Announcement::GuestStarted(guest, name, id));
            }
        }
    }

    /// A guest's process has been found again.
    pub(crate) fn adopted(&mut self, guest: Uuid, pid: u32) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        let (name, id) = (run.definition.name.clone(), run.id);
        self.has_a_process(guest, pid, Announcement::GuestAdopted(guest, name, id));
    }

    fn has_a_process(&mut self, guest: Uuid, pid: u32, news: Announcement) {
        let Some(run) = self.state.runs.get(&guest).cloned() else { return };
        let job = self.state.guest_jobs.get(&guest).cloned().unwrap_or_default();
        let phase = match run.phase {
            Phase::Ending => Phase::Ending,
            _ if job.paused => Phase::Paused,
            _ => Phase::Running,
        };
        let (name, id) = (run.definition.name.clone(), run.id);
        self.put(Entry::Run(GuestRun { pid: Some(pid), phase, ..run }));
        if phase == Phase::Ending {
            self.effect(Effect::Kill(guest));
            return;
        }
        self.forget(Key::Pending(guest));
        if let Some(ticket) = job.start {
            self.put(Entry::GuestJob(guest, GuestJob { start: None, ..job }));
            let answer = Answer::Guest { uuid: guest, name: name.clone(), id: Some(id) };
            self.effect(Effect::Answer(ticket, Ok(answer)));
        }
        let started = matches!(news, Announcement::GuestStarted(..));
        self.announce(news);
        if started && phase == Phase::Paused {
            self.announce(Announcement::GuestPaused(guest, name, id, Cause::Started));
        }
    }

    pub(crate) fn guest_destroy(&mut self, ticket: Ticket, guest: Uuid) -> Outcome {
        let def = self.state.guest(guest).ok_or_else(|| no_guest(guest))?;
        let Some(run) = self.state.runs.get(&guest) else {
            return Err(Refusal::invalid(format!("guest '{}' is not running", def.name)));
        };
        let phase = run.phase;
        let has_process = run.pid.is_some();
        let mut job = self.state.guest_jobs.get(&guest).cloned().unwrap_or_default();
        if job.stops.len() >= MOST_STOPS {
            let name = &def.name;
            let message = format!("{MOST_STOPS} calls wait for the end of guest '{name}' already");
            return Err(Refusal::invalid(message));
        }
        job.stops.push(ticket);
        self.put(Entry::GuestJob(guest, job));
        self.forget(Key::Pending(guest));
        match phase {
            // Its VFs go back as each one's preparing ends.
            Phase::Preparing => {
                self.set_phase(guest, Phase::Ending);
                self.release_all(guest);
            }
            // The process may or may not be there yet, and may never answer: either its launch
            // ends first, or the kill has it end.
            Phase::Launching => {
                self.set_phase(guest, Phase::Ending);
                self.effect(Effect::Kill(guest));
            }
            Phase::Ending if !has_process => {}
            Phase::Ending => self.effect(Effect::Kill(guest)),
            // On record before the kill, so that a daemon that is killed now is followed by one
            // that goes on with it.
            Phase::Running | Phase::Paused | Phase::ShuttingDown => {
                self.set_phase(guest, Phase::Ending);
                self.effect(Effect::Kill(guest));
            }
        }
        Ok(None)
    }

    pub(crate) fn guest_changed(&mut self, guest: Uuid, change: GuestChange) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        let (id, name, phase) = (run.id, run.definition.name.clone(), run.phase);
        if matches!(phase, Phase::Ending | Phase::Preparing) {
            return;
        }
        let (next, cause) = match change {
            GuestChange::Paused(cause) => (Phase::Paused, cause),
            GuestChange::Resumed => (Phase::Running, Cause::Asked),
            GuestChange::ShuttingDown { .. } => (Phase::ShuttingDown, run.cause),
            GuestChange::Reset | GuestChange::Panicked => (phase, run.cause),
        };
        if next == phase && !matches!(change, GuestChange::Reset | GuestChange::Panicked) {
            return;
        }
        if next != phase {
            let run = run.clone();
            self.put(Entry::Run(GuestRun { phase: next, cause, ..run }));
        }
        self.announce(match change {
            GuestChange::Paused(cause) => Announcement::GuestPaused(guest, name, id, cause),
            GuestChange::Resumed => Announcement::GuestResumed(guest, name, id),
            GuestChange::ShuttingDown { by_guest } => {
                Announcement::GuestShuttingDown(guest, name, id, by_guest)
            }
            GuestChange::Reset => Announcement::GuestReset(guest, name, id),
            GuestChange::Panicked => Announcement::GuestPanicked(guest, name, id),
        });
    }

    pub(crate) fn guest_ended(&mut self, guest: Uuid, ended: &Ended) {
        let Some(run) = self.state.runs.get(&guest).cloned() else { return };
        let (id, name) = (run.id, run.definition.name.clone());
        if run.phase == Phase::Launching
            && let Ended::Crashed(words) = ended
        {
            let message = format!("guest '{name}' ended while it was being started: {words}");
            let mut job = self.state.guest_jobs.get(&guest).cloned().unwrap_or_default();
            job.failed.get_or_insert(Refusal::new(RefusalKind::OperationFailed, message));
            self.put(Entry::GuestJob(guest, job));
        }
        // Of a guest that is not kept nobody can ask afterwards.
        if self.state.guests.contains_key(&guest) {
            self.state.last_ends.insert(guest, ended.clone());
        }
        self.put(Entry::Run(GuestRun { phase: Phase::Ending, pid: None, ..run }));
        self.announce(Announcement::GuestStopped(guest, name, id, ended.clone()));
        self.release_all(guest);
    }

    pub(crate) fn guest_undefine(&mut self, guest: Uuid) -> Outcome {
        let name = self.state.guest(guest).ok_or_else(|| no_guest(guest))?.name.clone();
        if !self.state.guests.contains_key(&guest) {
            return Err(Refusal::invalid(format!(
                "guest '{name}' is transient: there is nothing to undefine"
            )));
        }
        self.forget(Key::Guest(guest));
        self.forget(Key::Pending(guest));
        self.state.last_ends.remove(&guest);
        self.announce(Announcement::GuestUndefined(guest, name));
        Ok(Some(Answer::Done))
    }

    pub(crate) fn guest_autostart(&mut self, guest: Uuid, autostart: bool) -> Outcome {
        let Some(entry) = self.state.guests.get(&guest).cloned() else {
            self.state.guest(guest).ok_or_else(|| no_guest(guest))?;
            return Err(Refusal::invalid("cannot set autostart for transient guest"));
        };
        self.put(Entry::Guest(GuestEntry { autostart, ..entry }));
        Ok(Some(Answer::Done))
    }

    /// Autostart waits for the guest's networks.
    pub(crate) fn guest_can_autostart(&self, uuid: Uuid) -> Result<(), String> {
        if self.state.runs.contains_key(&uuid) {
            return Err("it is being started".to_owned());
        }
        let Some(def) = self.state.guest(uuid) else { return Err("it is not defined".to_owned()) };
        for nic in &def.nics {
            if let NicSource::Network { name, .. } = &nic.source {
                let active = self
                    .state
                    .network_named(name)
                    .is_some_and(|network| self.state.live_networks.contains_key(&network));
                if !active {
                    return Err(format!("guest '{}' waits for network '{name}'", def.name));
                }
            }
        }
        Ok(())
    }
}

/// The lowest place in the range of user ids that no run has.
fn free_slot(state: &State) -> Result<u16, Refusal> {
    (0..u16::MAX)
        .find(|slot| state.runs.values().all(|run| run.uid_slot != *slot))
        .ok_or_else(|| Refusal::new(RefusalKind::Exhausted, "no user id is left for another guest"))
}
