//! Faults planted into the daemon that [`World`] plays, so that it shows whether the promises
//! and random lives would find them: what the program around the engine can do wrong.

use uuid::Uuid;
use vfnet_engine::{
    Claim, ClaimId, ClaimState, Decision, Effect, Entry, Executor, GivenBack, Input, Record,
};
use vfnet_host::Host;
use vfnet_host::lend::{LendError, Lending};
use vfnet_host_sim::SimHost;
use vfnet_model::drift::Difference;
use vfnet_model::vf::{Original, VfSetting};
use vfnet_model::{MacAddress, Vlan};

use crate::world::{Crashed, Job, World};

/// One thing that is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Bug {
    EffectsBeforeRecords,
    ClaimNotRecorded,
    GiveBackNotReadBack,
    BootNotChecked,
    FreeWhileReleasing,
    IncarnationIgnored,
    OriginalTakenTooLate,
    PortDeletedWithoutRelease,
    LentVfWrittenTo,
    UrgencyIgnoredByRefusing,
    UrgencyIgnoredByGoingOn,
    RefusedAndNotTakenBack,
    UnsavedForgotten,
    LiveGuestTakenForLost,
    KillForgotten,
    ResetWithoutIncarnation,
    DriftLeft,
    DriftNotReadBack,
}

impl Bug {
    /// Each, and what is wrong.
    pub(crate) const ALL: [(Self, &str); 18] = [
        (Self::EffectsBeforeRecords, "an effect is carried out before its record is committed"),
        (Self::ClaimNotRecorded, "claims that are being prepared are not recorded"),
        (Self::GiveBackNotReadBack, "what giving back has set is not read back"),
        (Self::BootNotChecked, "records of an earlier boot are taken for this one's"),
        (Self::FreeWhileReleasing, "a VF is free while it is still being given back"),
        (Self::IncarnationIgnored, "a new device is taken for the one that had its address"),
        (Self::OriginalTakenTooLate, "the original is what the VF is when it is given back"),
        (Self::PortDeletedWithoutRelease, "a port is deleted, and its VF left as it is"),
        (Self::LentVfWrittenTo, "a look sets the MAC of a VF that another daemon has"),
        (Self::UrgencyIgnoredByRefusing, "what has happened is dropped when the disk is full"),
        (Self::UrgencyIgnoredByGoingOn, "a request goes on though it cannot be recorded"),
        (Self::RefusedAndNotTakenBack, "a request that cannot be recorded is not taken back"),
        (Self::UnsavedForgotten, "records that could not be committed are never written"),
        (Self::LiveGuestTakenForLost, "guests that live are not found after a restart"),
        (Self::KillForgotten, "a guest is not ended when that is asked for"),
        (Self::DriftLeft, "what somebody has typed over is seen, and left"),
        (Self::DriftNotReadBack, "what was typed over is put back, and not read back"),
        (Self::ResetWithoutIncarnation, "what has a VF's address by then is reset for it"),
    ];
}

impl Bug {
    /// Seeds within which it is found: most show at once, some need a fault at the one moment.
    pub(crate) const fn within(self) -> u64 {
        match self {
            Self::GiveBackNotReadBack => 3_000,
            Self::DriftNotReadBack => 20_000,
            Self::ResetWithoutIncarnation => 30_000,
            _ => 500,
        }
    }
}

/// Whether a record is written at all.
pub(crate) fn writes(bug: Option<Bug>, record: &Record) -> bool {
    let preparing = matches!(record, Record::Put(entry)
        if matches!(&**entry, Entry::Claim(Claim { state: ClaimState::Preparing, .. })));
    !(preparing && bug == Some(Bug::ClaimNotRecorded))
}

impl World {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn is_found_alive(&self, guest: Uuid) -> bool {
        self.processes.contains_key(&guest) && !self.has(Bug::LiveGuestTakenForLost)
    }

    pub(crate) fn may_be_refused(&self, it_may: bool) -> bool {
        match self.bug {
            Some(Bug::UrgencyIgnoredByRefusing) => true,
            Some(Bug::UrgencyIgnoredByGoingOn) => false,
            _ => it_may,
        }
    }

    /// Carries out kernel work of a decision that is not on record yet.
    pub(crate) fn act_at_once(&mut self, decision: &mut Decision) -> Result<(), Crashed> {
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut decision.effects)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Prepare(_) | Effect::HandOver(_)));
        decision.effects = later;
        for effect in now {
            self.begin_effect(effect);
            if let Some(job) = self.daemon.jobs.pop() {
                self.carry_out(job)?;
            }
        }
        Ok(())
    }

    pub(crate) fn begin_job(&mut self, job: Job) {
        if let Job::GiveBack(claim, _) = &job
            && self.has(Bug::FreeWhileReleasing)
        {
            let (claim, at) = (*claim, self.moment());
            let done = Input::GivenBack { claim, outcome: GivenBack::Clean, seen: None, at };
            self.daemon.jobs.push(Job::Tell(done));
        }
        self.daemon.jobs.push(job);
    }

    /// What the engine is told of how kernel work has ended.
    pub(crate) fn falsified(&self, outcome: Input) -> Input {
        match outcome {
            Input::GivenBack { claim, outcome: GivenBack::Unclean(_), seen, at }
                if self.has(Bug::GiveBackNotReadBack) =>
            {
                Input::GivenBack { claim, outcome: GivenBack::Clean, seen, at }
            }
            outcome => outcome,
        }
    }

    /// A VF that is said to be back with nothing done to it.
    pub(crate) fn gives_back_otherwise(&mut self, id: ClaimId) -> Option<Input> {
        let claim = self.state().claims.get(&id)?;
        let skipped =
            self.has(Bug::PortDeletedWithoutRelease) && claim.executor == Executor::Outside;
        let seen = self.host.vf(claim.vf).ok().flatten().map(Box::new);
        let outcome = GivenBack::Clean;
        skipped.then(|| Input::GivenBack { claim: id, outcome, seen, at: self.moment() })
    }

    pub(crate) fn repairs_blindly(&self) -> bool {
        self.has(Bug::DriftNotReadBack)
    }

    /// What is reset.
    pub(crate) fn reset_by_address(&self, lending: &Lending) -> Lending {
        let found = self.host.vf(lending.vf).ok().flatten();
        match found.filter(|_| self.has(Bug::ResetWithoutIncarnation)) {
            Some(vf) => Lending { incarnation: vf.incarnation, ..lending.clone() },
            None => lending.clone(),
        }
    }

    pub(crate) fn tampered(&self, lending: &Lending) -> Lending {
        let mut lending = lending.clone();
        let Some(vf) = self.host.vf(lending.vf).ok().flatten() else { return lending };
        if self.has(Bug::IncarnationIgnored) {
            lending.incarnation = vf.incarnation;
        }
        if self.has(Bug::OriginalTakenTooLate) {
            lending.original = Original::seen(&vf, false);
        }
        lending
    }

    pub(crate) fn repairs_what_is_lent(&mut self) -> Result<(), Crashed> {
        let lent =
            |claim: &&Claim| claim.executor == Executor::Outside && claim.state == ClaimState::Lent;
        let lent: Vec<_> =
            self.state().claims.values().filter(lent).map(|of| (of.pf, of.index)).collect();
        for (pf, index) in lent {
            let host = self.host.clone();
            let mac = VfSetting::Mac(MacAddress::new([0x52, 0x54, 0, 0, 0, 0xff]));
            // It may well be refused.
            let _refused = self.at_the_kernel(|| host.set_vf(pf, index, mac))?;
        }
        Ok(())
    }
}

/// What was wanted is written, and the kernel's word taken for it.
pub(crate) fn set_and_believe(
    host: &SimHost,
    lending: &Lending,
) -> Result<Vec<Difference>, LendError> {
    let Some(wanted) = &lending.wanted else { return Ok(Vec::new()) };
    let tag = VfSetting::Vlan(wanted.vlan.unwrap_or(Vlan::UNTAGGED));
    for setting in [VfSetting::Mac(wanted.mac), tag] {
        // It may well be refused.
        let _refused = host.set_vf(lending.pf, lending.index, setting);
    }
    Ok(Vec::new())
}
