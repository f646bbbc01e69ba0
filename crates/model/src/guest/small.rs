//! Elements of a few lines: what happens at the end of a run, balloon, entropy.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::words::words;

words! {
    /// `<on_poweroff>`.
    pub enum OnPoweroff {
        /// The guest ends.
        Destroy = "destroy",
        /// It stays, stopped, until it is destroyed.
        Preserve = "preserve",
    }
}

words! {
    /// `<on_reboot>`.
    pub enum OnReboot {
        /// It boots again.
        Restart = "restart",
        /// It ends as if it had powered itself off.
        Destroy = "destroy",
    }
}

words! {
    /// `<on_crash>`. A guest can only report a crash through a panic device, which is not
    /// served, so that this takes effect for none yet.
    pub enum OnCrash {
        /// The guest ends.
        Destroy = "destroy",
        /// It boots again.
        Restart = "restart",
        /// It stays, stopped, until it is destroyed.
        Preserve = "preserve",
    }
}

/// `<memballoon>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Memballoon {
    /// `model='virtio'`, with alias and address.
    Virtio(Placement),
    /// `model='none'`.
    None,
}

/// `<rng model='virtio'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rng {
    /// Where entropy comes from.
    pub backend: RngBackend,
    /// `<rate bytes=… period=…/>`: at most so many bytes in so many milliseconds.
    pub rate: Option<(u32, Option<u32>)>,
    /// Alias and address.
    pub placement: Placement,
}

/// `<backend>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RngBackend {
    /// A character device of the host: `/dev/random`, `/dev/urandom` or `/dev/hwrng`.
    Random(String),
    /// The host's `getrandom(2)`.
    Builtin,
}
