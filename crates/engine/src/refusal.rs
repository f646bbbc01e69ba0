//! Why a request was refused: words for people, a kind for programs.

use std::fmt;

use vfnet_model::PciAddress;

/// What sort of refusal. Libvirt's error number is made of it at the edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// No network of that name or UUID.
    NoNetwork,
    /// No guest of that name or UUID.
    NoGuest,
    /// No port of that UUID.
    NoPort,
    /// No such device.
    NoDevice,
    /// Not in this state of things (active, inactive, transient, in use).
    OperationInvalid,
    /// Tried, and did not succeed.
    OperationFailed,
    /// An argument makes no sense.
    InvalidArgument,
    /// Asked for something that is not served.
    Unsupported,
    /// Nothing was free, or the pool is empty: libvirt's clients know this as internal error 1.
    Exhausted,
    /// A port of that UUID exists.
    PortExists,
    /// A hook script said no.
    HookFailed,
    /// What was read before it was asked for is not so any more: read it and ask again.
    ChangedMeanwhile,
    /// The guest that runs is as asked for; its kept document is not, which was changed
    /// meanwhile: ask for that alone.
    KeptChangedMeanwhile,
    /// The state could not be recorded.
    NotRecorded,
}

/// Why one VF was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Because {
    /// The VF.
    pub vf: PciAddress,
    /// The reason, in words.
    pub reason: String,
}

/// A request that was not granted, and changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The sort.
    pub kind: RefusalKind,
    /// What and why.
    pub message: String,
    /// The reason for each VF that was looked at.
    pub vfs: Vec<Because>,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal in plain words.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), vfs: Vec::new(), hint: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::OperationInvalid, message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (place, because) in self.vfs.iter().enumerate() {
            write!(f, "{} {} {}", if place == 0 { ":" } else { ";" }, because.vf, because.reason)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
