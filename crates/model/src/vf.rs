//! What can be set on a VF through its PF, and what it was before vfnet touched it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DriverName, MacAddress, Vlan};

/// Number of a VF within its PF, from 0: the N of `virtfnN`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VfIndex(pub u16);

impl fmt::Display for VfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Link state that the PF shows a VF (`IFLA_VF_LINK_STATE`).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Follows the PF's own link.
    #[default]
    Auto,
    /// Always up.
    Enable,
    /// Always down.
    Disable,
}

impl LinkState {
    /// iproute2's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }
}

/// A VF's attributes in its PF's table, as the kernel reports them (`IFLA_VF_INFO`).
///
/// A field is `None` where the driver does not report it: unsupported, not "off"
/// (kernel: `rtnl_fill_vfinfo` leaves -1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VfAttributes {
    /// The admin MAC; zero where none was set and none was learned from the VF.
    pub mac: MacAddress,
    /// Tag put on the VF's frames.
    pub vlan: Vlan,
    /// Whether frames with another source MAC are dropped.
    pub spoofchk: Option<bool>,
    /// Whether the VF may ask for promiscuous mode and more addresses.
    pub trust: Option<bool>,
    /// Link state shown to the VF.
    pub link_state: Option<LinkState>,
    /// Lower limit of transmission in Mbit/s, 0 for none.
    pub min_tx_rate: Option<u32>,
    /// Upper limit of transmission in Mbit/s, 0 for none.
    pub max_tx_rate: Option<u32>,
}

impl VfAttributes {
    /// A VF that nobody has set anything on and whose driver reports nothing but MAC and VLAN.
    pub const UNSET: Self = Self {
        mac: MacAddress::ZERO,
        vlan: Vlan::UNTAGGED,
        spoofchk: None,
        trust: None,
        link_state: None,
        min_tx_rate: None,
        max_tx_rate: None,
    };
}

/// One change to a VF through its PF: one netlink message, because the kernel applies a
/// message with several in an order of its own and stops half-way without undoing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VfSetting {
    /// The admin MAC.
    Mac(MacAddress),
    /// The tag.
    Vlan(Vlan),
    /// Spoof checking.
    Spoofchk(bool),
    /// Trust.
    Trust(bool),
    /// Link state.
    LinkState(LinkState),
    /// Lower and upper limit in Mbit/s, 0 for none.
    Rate {
        /// Lower limit.
        min: u32,
        /// Upper limit.
        max: u32,
    },
}

impl VfSetting {
    /// The kernel's word for what is set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mac(_) => "MAC",
            Self::Vlan(_) => "VLAN",
            Self::Spoofchk(_) => "spoofchk",
            Self::Trust(_) => "trust",
            Self::LinkState(_) => "link state",
            Self::Rate { .. } => "rate",
        }
    }
}

/// What the holder of a VF is to have. `None`: the driver's baseline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WantedSettings {
    /// The MAC that the guest sees for ever.
    pub mac: MacAddress,
    /// Tag on the guest's frames.
    pub vlan: Option<Vlan>,
    /// Spoof checking.
    pub spoofchk: Option<bool>,
    /// Trust.
    pub trust: Option<bool>,
    /// Link state.
    pub link_state: Option<LinkState>,
    /// Lower and upper limit in Mbit/s.
    pub rate: Option<(u32, u32)>,
}

impl WantedSettings {
    /// A MAC, and everything else as the driver's baseline has it.
    pub const fn mac(mac: MacAddress) -> Self {
        Self { mac, vlan: None, spoofchk: None, trust: None, link_state: None, rate: None }
    }
}

/// Which driver a VF had, and was told to have.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Binding {
    /// The bound driver, if any.
    pub driver: Option<DriverName>,
    /// `driver_override`, if set.
    pub driver_override: Option<DriverName>,
}

/// A VF as it was before vfnet lent it, so that it can be given back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Original {
    /// Taken from a VF seen clean.
    Known(OriginalState),
    /// The VF was first seen in use or left over: release goes to the driver's baseline.
    Unknown,
}

/// See [`Original::Known`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OriginalState {
    /// The PF's table. Its MAC is zero where the VF had chosen its own: such a MAC is put back
    /// on the netdev, because an admin MAC is sticky in Intel's drivers.
    pub attributes: VfAttributes,
    /// Drivers.
    pub binding: Binding,
    /// The MAC of the VF's own netdev, when it had one.
    pub netdev_mac: Option<MacAddress>,
    /// Whether the PF's table showed that MAC as the VF's choice. Drivers differ in whether they
    /// tell (igb does, mlx5 does not). In records from before this was noted: it did.
    #[serde(default = "shown")]
    pub own_mac_shown: bool,
}

const fn shown() -> bool {
    true
}

impl Original {
    /// What a VF that nobody holds is to be given back as.
    ///
    /// Where its row in the PF's table was not to be read (the driver has none, or was busy), it
    /// has the MAC that its netdev has from the PF, and else what its driver's baseline says.
    ///
    /// Unknown where it sits on a VFIO driver and has a MAC set or no row to be read: that is what
    /// some earlier holder left, not a clean VF.
    pub fn seen(vf: &crate::inventory::Vf, on_vfio: bool) -> Self {
        let netdev = vf.netdev.as_ref();
        let mut attributes = match &vf.attributes {
            Some(attributes) => attributes.clone(),
            None if on_vfio => return Self::Unknown,
            None => {
                let mac = netdev.filter(|dev| dev.mac_from_pf).map(|dev| dev.mac);
                VfAttributes { mac: mac.unwrap_or(MacAddress::ZERO), ..VfAttributes::UNSET }
            }
        };
        if attributes.mac == crate::drivers::parked_mac(vf.address) {
            attributes.mac = MacAddress::ZERO;
        }
        if on_vfio && !attributes.mac.is_zero() {
            return Self::Unknown;
        }
        let netdev_mac = netdev.map(|dev| dev.mac);
        let own_mac_shown = netdev.is_some_and(|dev| !dev.mac_from_pf && dev.mac == attributes.mac);
        if own_mac_shown {
            attributes.mac = MacAddress::ZERO;
        }
        let binding = vf.binding.clone();
        Self::Known(OriginalState { attributes, binding, netdev_mac, own_mac_shown })
    }
}
