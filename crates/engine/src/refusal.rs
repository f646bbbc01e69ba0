//! Why a request was refused: words for people, a kind for programs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// What keeps a VF from being lent; what says most to whoever is refused comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Obstacle {
    /// It is not what is asked for, or cannot be.
    Wish,
    /// It is quarantined or stuck, or has vanished under its holder.
    Broken,
    /// The host, its PF or its group are not such that it can be lent.
    Host,
    /// Somebody has it.
    Taken,
}

impl Obstacle {
    /// Of VFs that are only counted.
    const fn words(self) -> &'static str {
        match self {
            Self::Wish => "do not fit either",
            Self::Broken => "are set aside as well",
            Self::Host => "cannot be lent for such reasons as well",
            Self::Taken => "are taken as well",
        }
    }
}

/// Why one VF was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Because {
    /// The VF.
    pub vf: PciAddress,
    /// The sort of reason.
    pub obstacle: Obstacle,
    /// The reason, in words that go on after the VF's address.
    pub reason: String,
    /// The reason without the names of the VF's PF, for those that hold of whole PFs.
    pub of_any_pf: Option<String>,
}

impl Because {
    /// A reason.
    pub fn new(vf: PciAddress, obstacle: Obstacle, reason: impl Into<String>) -> Self {
        Self { vf, obstacle, reason: reason.into(), of_any_pf: None }
    }
}

/// As many reasons are told one by one; more are put together.
const ONE_BY_ONE: usize = 8;
/// Of each sort then, as many different ones are told.
const OF_A_SORT: usize = 3;

/// VFs that were not taken for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excluded {
    /// The first of them.
    pub vf: PciAddress,
    /// How many they are.
    pub count: usize,
    /// Whether they are what is left of a sort, whose reasons differ.
    pub rest: bool,
    /// The reason, in words that go on after the VF's address, or after what is left.
    pub reason: String,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vf, count, rest, reason } = self;
        match (rest, count) {
            (true, count) => write!(f, "{count} more {reason}"),
            (false, 1) => write!(f, "{vf} {reason}"),
            (false, count) => write!(f, "{count} VFs, {vf} the first: {reason}"),
        }
    }
}

/// Why VFs were not taken. Where they are many, those with the same reason are put together, the
/// reasons that say most first, and of each sort the commonest.
pub fn excluded(vfs: &[Because]) -> Vec<Excluded> {
    let one =
        |vf: &Because| Excluded { vf: vf.vf, count: 1, rest: false, reason: vf.reason.clone() };
    let key = |vf: &Because| vf.of_any_pf.clone().unwrap_or_else(|| vf.reason.clone());
    if vfs.len() <= ONE_BY_ONE {
        return vfs.iter().map(one).collect();
    }
    let mut sorts: BTreeMap<Obstacle, Vec<Excluded>> = BTreeMap::new();
    let mut places = HashMap::new();
    let mut reasons: HashMap<_, BTreeSet<&str>> = HashMap::new();
    for because in vfs {
        let alike = sorts.entry(because.obstacle).or_default();
        let place = *places.entry((because.obstacle, key(because))).or_insert(alike.len());
        reasons.entry((because.obstacle, place)).or_default().insert(&because.reason);
        match alike.get_mut(place) {
            Some(excluded) => excluded.count += 1,
            None => alike.push(one(because)),
        }
    }
    let mut all = Vec::new();
    for (obstacle, mut alike) in sorts {
        for (place, excluded) in alike.iter_mut().enumerate() {
            match reasons.get(&(obstacle, place)).map_or(1, BTreeSet::len) {
                1 => {}
                2 => excluded.reason.push_str(", and so of 1 other PF"),
                pfs => excluded.reason.push_str(&format!(", and so of {} other PFs", pfs - 1)),
            }
        }
        // Stable: of equally common ones, the first stays first.
        alike.sort_by_key(|excluded| Reverse(excluded.count));
        let rest = alike.split_off(alike.len().min(OF_A_SORT));
        all.extend(alike);
        all.extend(rest.first().map(|first| Excluded {
            vf: first.vf,
            count: rest.iter().map(|excluded| excluded.count).sum(),
            rest: true,
            reason: obstacle.words().to_owned(),
        }));
    }
    all
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
        for (place, reason) in excluded(&self.vfs).iter().enumerate() {
            write!(f, "{} {reason}", if place == 0 { ":" } else { ";" })?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
