//! Why a request was refused: words for people, a kind for programs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
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
    /// The host itself uses it.
    Used,
    /// Somebody has it.
    Taken,
}

impl Obstacle {
    /// As many different reasons of this sort are told.
    const fn told(self) -> usize {
        match self {
            // One for each sort of use: nobody else says by what.
            Self::Used => 9,
            _ => 3,
        }
    }

    /// Of VFs that are only counted.
    const fn words(self) -> &'static str {
        match self {
            Self::Wish => "do not fit either",
            Self::Broken => "are set aside as well",
            Self::Host => "cannot be lent for such reasons as well",
            Self::Used => "are used by the host as well",
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
    /// What it has in common with the reasons of other VFs, where it differs from them in names.
    pub alike: Option<Alike>,
}

/// A reason that is told once, and of the others the names alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alike {
    /// What reasons that are told together have in common; for no one's eyes.
    pub kind: String,
    /// What differs: the PF, or by what the host uses the VF; empty for nothing.
    pub name: String,
}

impl Because {
    /// A reason.
    pub fn new(vf: PciAddress, obstacle: Obstacle, reason: impl Into<String>) -> Self {
        Self { vf, obstacle, reason: reason.into(), alike: None }
    }
}

/// As many reasons are told one by one; more are put together.
const ONE_BY_ONE: usize = 8;
/// Of reasons that differ in a name, as many other names are told.
const NAMED: usize = 3;

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
    if vfs.len() <= ONE_BY_ONE {
        return vfs.iter().map(one).collect();
    }
    let mut sorts: BTreeMap<Obstacle, Vec<(Excluded, Vec<&str>)>> = BTreeMap::new();
    let (mut places, mut named) = (HashMap::new(), HashSet::new());
    for because in vfs {
        let alike = sorts.entry(because.obstacle).or_default();
        let (kind, name) = match &because.alike {
            Some(Alike { kind, name }) => (kind, name.as_str()),
            None => (&because.reason, ""),
        };
        let place = *places.entry((because.obstacle, kind)).or_insert(alike.len());
        match alike.get_mut(place) {
            Some((excluded, _)) => excluded.count += 1,
            None => alike.push((one(because), Vec::new())),
        }
        if named.insert((because.obstacle, kind, name))
            && let Some((_, names)) = alike.get_mut(place)
        {
            names.push(name);
        }
    }
    let mut all = Vec::new();
    for (obstacle, alike) in sorts {
        let mut alike: Vec<Excluded> = alike.into_iter().map(with_names).collect();
        // Stable: of equally common ones, the first stays first.
        alike.sort_by_key(|excluded| Reverse(excluded.count));
        let rest = alike.split_off(alike.len().min(obstacle.told()));
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

/// A reason with the names in which the others that it stands for differ from it.
fn with_names((mut excluded, names): (Excluded, Vec<&str>)) -> Excluded {
    let others = names.get(1..).unwrap_or_default();
    let told = others.get(..NAMED).unwrap_or(others).join(", ");
    excluded.reason += &match others.len() {
        0 => String::new(),
        all if all > NAMED => format!(" (likewise {told} and {} more)", all - NAMED),
        _ => format!(" (likewise {told})"),
    };
    excluded
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
