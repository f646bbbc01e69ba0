//! The decisions: pools, placement, the life of a VF, admission, recovery.
//!
//! One [`Engine`] owns the [`State`] of the host. It is told of everything as an [`Input`] (a
//! request, an observation, the outcome of an effect) and answers with a [`Decision`]: records
//! to be committed, then effects to be carried out. It does no I/O, reads no clock, draws no
//! random number and iterates over ordered maps only, so that the same inputs give the same
//! decisions. It depends on nothing but the model.
//!
//! Read first: [`Engine::decide`], [`claim`] (the life of a VF, with its table of transitions)
//! and [`place`] (which VF, and why not the others).

mod admission;
pub mod claim;
mod decision;
mod devices;
mod drain;
pub mod drift;
mod edits;
mod guards;
mod guest_edits;
mod guests;
mod health;
mod input;
mod keep;
mod leases;
mod making;
mod needs;
mod networks;
mod nic_changes;
pub mod place;
pub mod plan;
mod plugs;
mod pool;
mod ports;
pub mod rank;
mod record;
mod recover;
mod refusal;
mod state;
mod vfs;

pub use admission::Explained;
pub use claim::{Claim, ClaimId, ClaimState, Executor, Lessee, Owner};
pub use decision::{Announcement, Decision, Effect, NetworkHook, Urgency};
pub use drain::Drain;
pub use health::PfChange;
pub use input::{
    Answer, Attach, Described, Detach, Edited, Ended, Failure, GivenBack, GuestChange, GuestEdit,
    HeldBy, Input, LeaseRequest, Metadata, Moment, NetworkEdit, NicChange, Plugged, Plugging,
    PortRequest, Repaired, Reply, Request, Revision, Ticket, Unplugging,
};
pub use keep::KeptVfs;
pub use plugs::{Device, Plug, PlugState};
pub use record::{Entry, Home, Key, Pending, Record};
pub use recover::Remembered;
pub use refusal::{Alike, Because, Excluded, Obstacle, Refusal, RefusalKind, excluded};
pub use state::{
    BridgePort, Cause, GuestDefinition, GuestEntry, GuestRun, HostdevNeed, LiveNetwork,
    NetworkDefinition, NetworkEntry, NicNeed, NicSource, Phase, State, UnfinishedEdit,
};

use decision::Turn;

/// The one owner of the state.
#[derive(Debug, Default)]
pub struct Engine {
    state: State,
}

impl Engine {
    /// What is known now.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Has networks' hook scripts called from now on. They are, after recovery, before anything
    /// is started.
    pub const fn call_hooks(&mut self) {
        self.state.hooks = true;
    }

    /// Takes one input in. The state is changed at once; the caller commits the decision's
    /// records before it carries out its effects, and calls [`Engine::revert`] when they cannot
    /// be committed and [`Decision::urgency`] allows that.
    pub fn decide(&mut self, input: Input) -> Decision {
        let mut turn = Turn::new(&mut self.state, input.urgency());
        match input {
            Input::Ask(ticket, request) => turn.ask(ticket, request),
            Input::Observed { began, inventory } => turn.observed(began, *inventory),
            Input::Prepared(claim, outcome) => turn.prepared(claim, outcome),
            Input::HandedOver(claim, outcome) => turn.handed_over(claim, outcome),
            Input::Repaired(claim, outcome) => turn.repaired(claim, outcome),
            Input::WasReset { claim, outcome, seen, at } => {
                turn.saw_returned(claim, seen, at);
                turn.device_is_done(claim, outcome);
            }
            Input::GivenBack { claim, outcome, seen, at } => {
                turn.saw_returned(claim, seen, at);
                turn.given_back(claim, outcome);
            }
            Input::VfsMade(network, pf, outcome) => turn.vfs_made(network, pf, outcome),
            Input::AutoprobeRestored(pf, outcome) => turn.autoprobe_restored(pf, &outcome),
            Input::VfsSet(pf, outcome) => turn.vfs_set(pf, outcome),
            Input::HookRan { network, hook, outcome } => turn.hook_ran(network, hook, outcome),
            Input::Launched(guest, outcome) => turn.launched(guest, outcome),
            Input::Adopted(guest, pid) => turn.adopted(guest, pid),
            Input::GuestChanged(guest, change) => turn.guest_changed(guest, change),
            Input::Plugged(guest, alias, outcome) => turn.plugged(guest, &alias, outcome),
            Input::Unplugged(guest, alias, outcome) => turn.unplugged(guest, &alias, outcome),
            Input::DeviceGone { guest, alias, from_start } => {
                turn.device_gone(guest, &alias, from_start.map(|device| *device));
            }
            Input::DevicesSeen(guest, there) => turn.devices_seen(guest, &there),
            Input::GuestEnded(guest, ended) => turn.guest_ended(guest, &ended),
            Input::StartPending => turn.start_pending(),
            Input::AutostartIsLate => turn.autostart_is_late(),
            Input::TimeHasPassed => turn.forgive_repairs(),
            Input::LeaseBegun(claim, outcome) => turn.lease_begun(claim, outcome),
            Input::LeaseEnded(claim) => turn.lease_ended(claim),
            Input::PortUnused { claim, reclaim } => turn.port_unused(claim, reclaim),
        }
        turn.finish()
    }

    /// Takes a decision back, as if its input had never come. Gives what undoes its records, to
    /// be committed one day: part of them may have been written after all.
    #[must_use]
    pub fn revert(&mut self, decision: Decision) -> Vec<Record> {
        for effect in &decision.effects {
            if let Effect::Repair(claim) = effect {
                self.state.will_not_be_repaired(*claim);
            }
        }
        let mut undone = Vec::new();
        for record in decision.undo.into_iter().rev() {
            self.state.apply(record.clone());
            if record.key().home() != Home::Memory {
                undone.push(record);
            }
        }
        undone
    }
}
