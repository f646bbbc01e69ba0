//! What a host lacks to lend VFs, and how to mend it; printed by `vfnet doctor`.

use serde::{Deserialize, Serialize};

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it is.
    pub state: State,
    /// What was seen, in a short sentence without a full stop.
    pub says: String,
    /// What to do about it; none when nothing is to be done.
    pub mend: Option<String>,
    /// What else is known of it, each a short sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// What is looked at, in the order in which it is mended best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Whether DMA of devices is translated.
    Iommu,
    /// Whether the kernel has vfio-pci.
    Vfio,
    /// Whether there are cards that can make VFs.
    Cards,
    /// Whether VFs have been made, per card.
    Vfs,
    /// What the cards' drivers can do for VFs, per driver.
    Drivers,
    /// Whether guests can run on the processor itself.
    Kvm,
    /// Whether there is an emulator.
    Qemu,
    /// Whether the stock network daemon answers, where one is configured.
    NetworkDaemon,
    /// Whether there are ports of other daemons' guests that nobody uses.
    Ports,
}

/// How a thing is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Guests can be started, or could after a small step, with a drawback.
    Warning,
    /// No guest can be given a VF like this.
    Problem,
}
