//! Guests at work: from a decided start to a process, and everything that a running guest is
//! asked.

use uuid::Uuid;
use vfnet_model::guest::{Guest, LiveGuest};

/// All running guests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Guests {}

/// A running guest as its live document describes it.
#[derive(Clone, Debug)]
pub struct LiveDocument {
    /// Its document with every device's alias and address.
    pub guest: Guest,
    /// What it has besides.
    pub live: LiveGuest,
}

impl Guests {
    /// The live document of a running guest.
    pub fn live(&self, guest: Uuid) -> Option<LiveDocument> {
        let _ = guest;
        None
    }
}
