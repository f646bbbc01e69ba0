//! Steps of the daemon's work, for somebody who looks on.
//!
//! The daemon itself has no witness. The emulated host's own daemon, which is this one with
//! another `main` (`lab/scenarios`), has one that notes each step, and ends the process before or
//! after the one that it was told. So what dies where is known, and nothing of it is in the
//! program that is installed.

use std::sync::Arc;

use vfnet_engine::{Effect, Input};

/// Sees every step begin and end, on the thread that takes it.
pub trait Witness: Send + Sync + 'static {
    /// A step is about to be taken.
    fn begins(&self, step: Step);
    /// A step has been taken, and nothing has come of that yet.
    fn ends(&self, step: Step);
}

/// Where steps are told; nowhere by default. Clones share the witness.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Witness>>);

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Steps").field(&self.0.is_some()).finish()
    }
}

impl Steps {
    /// Told to this witness.
    pub fn seen_by(witness: Arc<dyn Witness>) -> Self {
        Self(Some(witness))
    }

    pub(crate) fn begin(&self, step: Step) {
        if let Some(witness) = &self.0 {
            witness.begins(step);
        }
    }

    pub(crate) fn end(&self, step: Step) {
        if let Some(witness) = &self.0 {
            witness.ends(step);
        }
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident $name:literal)*) => {
        /// A step of the daemon's work: an effect from its begin until its outcome arrives, a
        /// commit, or what starting and ending a guest's process is made of.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$step),*];

            /// In words; unique.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }
        }
    };
}

steps! {
    /// The commit of a decision's records.
    Record "record"
    /// [`Effect::Answer`].
    Answer "answer"
    /// [`Effect::AskAgain`].
    AskAgain "ask again"
    /// [`Effect::Prepare`].
    Prepare "prepare"
    /// [`Effect::HandOver`].
    HandOver "hand over"
    /// [`Effect::GiveBack`].
    GiveBack "give back"
    /// [`Effect::Repair`].
    Repair "repair"
    /// [`Effect::Reset`].
    Reset "reset"
    /// [`Effect::MakeVfs`].
    MakeVfs "make VFs"
    /// [`Effect::RestoreAutoprobe`].
    RestoreAutoprobe "restore autoprobe"
    /// [`Effect::SetVfs`].
    SetVfs "set VFs"
    /// [`Effect::CallHook`]; it has no end where nobody waits for the script.
    CallHook "call hook"
    /// [`Effect::Launch`].
    Launch "launch"
    /// Of a launch: the guest's taps and its live document.
    MakeReady "make ready"
    /// Of a launch: from its run directory's lock until its monitor answers.
    StartProcess "start process"
    /// Of a launch, or of an adoption in its middle: what is said to the monitor before the guest
    /// runs, and that.
    LetRun "let run"
    /// [`Effect::Adopt`].
    Adopt "adopt"
    /// [`Effect::Kill`]; every end of a guest ends it.
    Kill "kill"
    /// What a dead guest left is removed.
    CleanUp "clean up"
    /// [`Effect::Plug`].
    Plug "plug"
    /// [`Effect::Unplug`].
    Unplug "unplug"
    /// [`Effect::BeginLease`], until the process has its VF.
    BeginLease "begin lease"
    /// [`Effect::StartPending`].
    StartPending "start pending"
    /// [`Effect::Announce`].
    Announce "announce"
}

impl Step {
    pub(crate) const fn of(effect: &Effect) -> Self {
        match effect {
            Effect::Answer(..) => Self::Answer,
            Effect::AskAgain(..) => Self::AskAgain,
            Effect::Prepare(_) => Self::Prepare,
            Effect::HandOver(_) => Self::HandOver,
            Effect::GiveBack(_) => Self::GiveBack,
            Effect::Repair(_) => Self::Repair,
            Effect::Reset(_) => Self::Reset,
            Effect::MakeVfs { .. } => Self::MakeVfs,
            Effect::RestoreAutoprobe(_) => Self::RestoreAutoprobe,
            Effect::SetVfs { .. } => Self::SetVfs,
            Effect::CallHook(..) => Self::CallHook,
            Effect::Launch { .. } => Self::Launch,
            Effect::Adopt(_) => Self::Adopt,
            Effect::Kill(_) => Self::Kill,
            Effect::Plug { .. } => Self::Plug,
            Effect::Unplug { .. } => Self::Unplug,
            Effect::BeginLease(_) => Self::BeginLease,
            Effect::StartPending => Self::StartPending,
            Effect::Announce(_) => Self::Announce,
        }
    }

    /// The step whose outcome this is.
    pub(crate) const fn ended_by(input: &Input) -> Option<Self> {
        match input {
            Input::Prepared(..) => Some(Self::Prepare),
            Input::HandedOver(..) => Some(Self::HandOver),
            Input::GivenBack { .. } => Some(Self::GiveBack),
            Input::Repaired(..) => Some(Self::Repair),
            Input::WasReset { .. } => Some(Self::Reset),
            Input::VfsMade(..) => Some(Self::MakeVfs),
            Input::AutoprobeRestored(..) => Some(Self::RestoreAutoprobe),
            Input::VfsSet(..) => Some(Self::SetVfs),
            Input::HookRan { .. } => Some(Self::CallHook),
            Input::Launched(..) => Some(Self::Launch),
            Input::Adopted(..) => Some(Self::Adopt),
            Input::GuestEnded(..) => Some(Self::Kill),
            Input::Plugged(..) => Some(Self::Plug),
            Input::Unplugged(..) => Some(Self::Unplug),
            Input::LeaseBegun(..) => Some(Self::BeginLease),
            Input::StartPending => Some(Self::StartPending),
            Input::Ask(..)
            | Input::Observed { .. }
            | Input::GuestChanged(..)
            | Input::DeviceGone { .. }
            | Input::DevicesSeen(..)
            | Input::LeaseEnded(_)
            | Input::PortUnused { .. }
            | Input::AutostartIsLate
            | Input::TimeHasPassed => None,
        }
    }

    /// Whether it has been taken once it was begun: no outcome is told to the engine.
    pub(crate) const fn is_over_at_once(self) -> bool {
        matches!(self, Self::Answer | Self::AskAgain | Self::Announce)
    }
}
