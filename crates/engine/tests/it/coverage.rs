//! What random lives have come by: which change of a claim, on which happening, under which
//! fault; and in which state of a claim the daemon has died, and how.

use std::collections::BTreeMap;

use vfnet_engine::{ClaimId, ClaimState, GivenBack, Input, Repaired, State};
use vfnet_host_sim::{FaultKind, OpKind};

pub(crate) const BETWEEN: &str = "killed between two works";
pub(crate) const AT_A_POINT: &str = "killed beside a record or an effect";
pub(crate) const BEFORE_A_WRITE: &str = "killed before a kernel write";
pub(crate) const AFTER_A_WRITE: &str = "killed after a kernel write";
pub(crate) const POWER_CUT: &str = "power cut";
pub(crate) const DISK_FULL: &str = "disk full";
pub(crate) const STORE_ERROR: &str = "error of the store";
pub(crate) const TORN: &str = "error between the two files";
const PUT_BACK: &str = "put back";
const NOT_PUT_BACK: &str = "not put back";
const REPAIRS: [&str; 2] = [PUT_BACK, NOT_PUT_BACK];
const DIES: &str = "daemon dies";
const FREE: &str = "free";
const NO_FAULT: &str = "no fault";

/// From this state, when this happens, to that state, under this fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Cell {
    pub(crate) from: &'static str,
    pub(crate) happening: &'static str,
    pub(crate) to: &'static str,
    pub(crate) fault: &'static str,
}

/// How often each cell was reached.
#[derive(Clone, Default, Debug)]
pub(crate) struct Coverage {
    pub(crate) cells: BTreeMap<Cell, u64>,
    /// What has hit the last kernel work on a claim.
    hits: BTreeMap<ClaimId, &'static str>,
}

/// Claims as they are before a decision.
#[derive(Debug)]
pub(crate) struct Before {
    states: BTreeMap<ClaimId, &'static str>,
    happening: &'static str,
    of: Option<ClaimId>,
}

impl Coverage {
    pub(crate) fn before(&self, state: &State, input: &Input) -> Before {
        let states = state.claims.values().map(|claim| (claim.id, claim.state.word())).collect();
        Before { states, happening: happening(input), of: claim_of(input) }
    }

    /// `fails`: why what was decided cannot be recorded, if it cannot.
    pub(crate) fn after(&mut self, before: Before, state: &State, fails: Option<&'static str>) {
        let Before { mut states, happening, of } = before;
        let hit = of.and_then(|claim| self.hits.remove(&claim));
        let mut count = |id: ClaimId, from, to| {
            let by_kernel = hit.filter(|_| of == Some(id));
            let fault = fails.or(by_kernel).unwrap_or(NO_FAULT);
            *self.cells.entry(Cell { from, happening, to, fault }).or_default() += 1;
        };
        for claim in state.claims.values() {
            let from = states.remove(&claim.id).unwrap_or(FREE);
            // Its holder keeps what somebody has typed over, whatever comes of putting that back.
            let kept = of == Some(claim.id) && REPAIRS.contains(&happening);
            if kept || from != claim.state.word() {
                count(claim.id, from, claim.state.word());
            }
        }
        for (id, from) in states {
            count(id, from, FREE);
        }
    }

    pub(crate) fn died(&mut self, state: &ClaimState, how: &'static str) {
        self.hits.clear();
        let cell = Cell { from: state.word(), happening: DIES, to: "recovery", fault: how };
        *self.cells.entry(cell).or_default() += 1;
    }

    /// Faults that have hit kernel work on this claim, of which the last is told.
    pub(crate) fn hit(&mut self, claim: ClaimId, hits: &[(OpKind, FaultKind)]) {
        if let Some((_, kind)) = hits.last() {
            self.hits.insert(claim, word(*kind));
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (cell, times) in &other.cells {
            *self.cells.entry(*cell).or_default() += times;
        }
    }
}

const fn word(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Error(_) => "kernel refuses",
        FaultKind::Stuck => "kernel hangs",
        FaultKind::Ignored => "kernel says yes and does nothing",
        FaultKind::Vanish => "VF vanishes",
        FaultKind::Slow(_) => "kernel is slow",
    }
}

/// The claim that an outcome is about.
pub(crate) const fn claim_of(input: &Input) -> Option<ClaimId> {
    match input {
        Input::Prepared(claim, _)
        | Input::HandedOver(claim, _)
        | Input::Repaired(claim, _)
        | Input::WasReset { claim, .. }
        | Input::PortUnused { claim, .. }
        | Input::GivenBack { claim, .. } => Some(*claim),
        _ => None,
    }
}

const fn happening(input: &Input) -> &'static str {
    match input {
        Input::Ask(..) => "asked",
        Input::Observed { .. } => "looked",
        Input::Prepared(_, Ok(_)) => "prepared",
        Input::Prepared(_, Err(failure)) if failure.stuck.is_some() => "preparing hangs",
        Input::Prepared(_, Err(failure)) if failure.hook => "a hook says no",
        Input::Prepared(_, Err(_)) => "preparing fails",
        Input::HandedOver(_, Ok(())) => "handed over",
        Input::HandedOver(_, Err(failure)) if failure.stuck.is_some() => "handing over hangs",
        Input::HandedOver(_, Err(failure)) if failure.hook => "a hook says no",
        Input::HandedOver(_, Err(_)) => "handing over fails",
        Input::WasReset { outcome: Ok(()), .. } => "reset",
        Input::WasReset { outcome: Err(failure), .. } if failure.stuck.is_some() => {
            "resetting hangs"
        }
        Input::WasReset { .. } => "resetting fails",
        Input::GivenBack { outcome, .. } => match outcome {
            GivenBack::Clean => "given back clean",
            GivenBack::Unclean(_) => "given back unclean",
            GivenBack::StillOpen { .. } => "still open when given back",
            GivenBack::Stuck(_) => "giving back hangs",
            GivenBack::Gone => "given back and gone",
        },
        Input::Repaired(_, Repaired::Done(_)) => PUT_BACK,
        Input::Repaired(..) => NOT_PUT_BACK,
        Input::Launched(_, Ok(_)) => "launched",
        Input::Launched(_, Err(_)) => "launching fails",
        Input::GuestEnded(..) => "guest ended",
        Input::Adopted(..) => "adopted",
        Input::StartPending => "autostart",
        Input::PortUnused { reclaim: true, .. } => "unused, taken back",
        Input::PortUnused { .. } => "unused",
        _ => "other",
    }
}
