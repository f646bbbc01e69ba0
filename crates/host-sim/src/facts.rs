//! What a test asserts about a VF.

use serde::{Deserialize, Serialize};
use vfnet_model::inventory::{HostUse, Incarnation};
use vfnet_model::vf::{LinkState, VfIndex};
use vfnet_model::{DriverName, MacAddress, PciAddress, Vlan};

/// All that can be said about one VF, what no program can ask the kernel for included.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VfFacts {
    /// Its PF.
    pub pf: PciAddress,
    /// Its number.
    pub index: VfIndex,
    /// Which device of its address it is.
    pub incarnation: Incarnation,
    /// The bound driver.
    pub driver: Option<DriverName>,
    /// `driver_override`.
    pub driver_override: Option<DriverName>,
    /// The MAC in the PF's table.
    pub admin_mac: MacAddress,
    /// Whether that MAC is administratively set, so that the VF may not change it
    /// (`IGB_VF_FLAG_PF_SET_MAC`).
    pub sticky: bool,
    /// MAC of the VF's own netdev, wherever that is.
    pub netdev_mac: Option<MacAddress>,
    /// Whether that one came from the PF.
    pub mac_from_pf: bool,
    /// Tag.
    pub vlan: Vlan,
    /// Spoof checking.
    pub spoofchk: bool,
    /// Trust.
    pub trust: bool,
    /// Link state.
    pub link_state: LinkState,
    /// Lower and upper limit in Mbit/s.
    pub rate: (u32, u32),
    /// What the host does with it.
    pub uses: Vec<HostUse>,
    /// Whether an operation on it has not come back.
    pub stuck: bool,
}
