//! What a running guest has that its document does not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DriverName, NetdevName, PciAddress, VlanId};

/// What a running guest has besides its document. Kept by whoever runs it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LiveGuest {
    /// Its number since the daemon's start.
    pub id: i32,
    /// What each interface became, in the order of [`super::Guest::interfaces`].
    pub interfaces: Vec<Attachment>,
    /// Pseudo-terminals that QEMU made, by the alias of their device.
    pub ptys: BTreeMap<String, String>,
    /// Port that VNC listens on, where it was chosen at start.
    pub vnc_port: Option<u16>,
}

/// What an interface became when the guest was started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Attachment {
    /// A VF, handed to the guest.
    Vf {
        /// Its address on the host.
        address: PciAddress,
        /// Whether vfnet bound its driver.
        managed: bool,
        /// VFIO driver asked for by the network, where it is not the best one.
        model: Option<DriverName>,
        /// Tag that the PF puts on its frames.
        vlan: Option<VlanId>,
    },
    /// A tap device in a bridge.
    Bridge {
        /// The bridge.
        bridge: NetdevName,
        /// The tap device.
        tap: NetdevName,
        /// The network's port, where the bridge is a network's.
        port: Option<Uuid>,
    },
}
