//! VLAN tags: as a PF puts them on a VF's frames, and as documents wish for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A VLAN identifier, 0 to 4095. 0 means untagged; 4095 is left to drivers (mlx4: guest tagging).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct VlanId(u16);

/// The number is no VLAN identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VLAN identifier (0 to 4095)")]
pub struct NotAVlanId(pub u64);

impl VlanId {
    /// Untagged.
    pub const NONE: Self = Self(0);

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = NotAVlanId;

    fn try_from(id: u16) -> Result<Self, Self::Error> {
        if id <= 4095 { Ok(Self(id)) } else { Err(NotAVlanId(id.into())) }
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The EtherType of the tag.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub enum VlanProtocol {
    /// 802.1Q, EtherType 0x8100.
    #[default]
    #[serde(rename = "802.1Q")]
    Dot1Q,
    /// 802.1ad, EtherType 0x88a8.
    #[serde(rename = "802.1ad")]
    Dot1Ad,
}

impl VlanProtocol {
    /// The kernel's and iproute2's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dot1Q => "802.1Q",
            Self::Dot1Ad => "802.1ad",
        }
    }
}

impl FromStr for VlanProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Dot1Q, Self::Dot1Ad]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(text))
            .ok_or(())
    }
}

/// The tag on a VF: identifier, 802.1p priority (0 to 7) and protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Vlan {
    /// The identifier; [`VlanId::NONE`] for untagged.
    pub id: VlanId,
    /// 802.1p priority, 0 to 7.
    pub qos: u8,
    /// EtherType of the tag.
    pub protocol: VlanProtocol,
}

impl Vlan {
    /// No tag: identifier 0, priority 0, 802.1Q; what the kernel shows of an untouched VF.
    pub const UNTAGGED: Self = Self { id: VlanId::NONE, qos: 0, protocol: VlanProtocol::Dot1Q };

    /// An 802.1Q tag with priority 0, which is all that libvirt's documents can say.
    pub const fn tagged(id: VlanId) -> Self {
        Self { id, qos: 0, protocol: VlanProtocol::Dot1Q }
    }
}

/// `<vlan>` of a network, portgroup or port: what its documents can say. A VF has one tag; a
/// trunk is for Open vSwitch and Linux bridges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VlanTags {
    /// One tag.
    One(VlanId),
    /// `trunk='yes'`, several tags, or one that is marked as native.
    Trunk(Vec<TrunkTag>),
}

impl VlanTags {
    /// The tag, where it is one.
    pub const fn single(&self) -> Option<VlanId> {
        match self {
            Self::One(id) => Some(*id),
            Self::Trunk(_) => None,
        }
    }
}

/// `<tag>` of a trunk. At most one of a trunk is native.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrunkTag {
    /// The identifier.
    pub id: VlanId,
    /// `nativeMode`: how frames of the native VLAN travel.
    pub native: Option<NativeMode>,
}

/// `nativeMode` of a trunk's tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NativeMode {
    /// With their tag.
    Tagged,
    /// Without it.
    Untagged,
}

impl NativeMode {
    /// libvirt's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tagged => "tagged",
            Self::Untagged => "untagged",
        }
    }
}
