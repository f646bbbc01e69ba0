//! What has happened, as `vfnet events` tells it: the JSON behind `vfnet events --json`, made by
//! the daemon and read by the command line. Members may be added; none changes its meaning.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{GuestName, NetworkName, PciAddress};

/// How much of an administrator's attention something wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// None.
    Info,
    /// Some, when there is time.
    Warning,
    /// It will not mend itself.
    Error,
}

/// Something that has happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its number since the daemon started, from 1.
    pub number: u64,
    /// When, in UTC: `2026-02-28T23:59:59Z`.
    pub time: String,
    /// What kind, for programs: `guest-started`, `vf-repaired`.
    pub event: String,
    /// How much it matters.
    pub severity: Severity,
    /// The VF that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vf: Option<PciAddress>,
    /// The guest that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestName>,
    /// The network that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkName>,
    /// The port that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Uuid>,
    /// All of it, in words, on one line.
    pub text: String,
}

/// Events after one that is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Events {
    /// How many came in between and are not kept any more.
    pub missed: u64,
    /// In the order in which they happened; not always all that there are.
    pub events: Vec<Event>,
}
