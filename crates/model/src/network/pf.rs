//! `<vfnet:pf>`: of which PFs a pool's VFs are, and which of theirs.
//!
//! A PF is named, or PFs are chosen by what they are. A name is looked up when the network
//! starts; a choice holds for whatever the host has at any time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::inventory::Pf;
use crate::vf::VfIndex;
use crate::{DriverName, NetdevName, PciAddress, PhysicalNetworkName};

/// `<vfnet:pf>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolPf {
    /// Which PF, or PFs.
    pub which: WhichPf,
    /// `vfRange`: which VFs of each; `None` for all.
    pub range: Option<VfRange>,
    /// How many VFs each is to have when the network starts; `None` leaves that to the
    /// administrator.
    pub vfs: Option<u16>,
    /// `autoprobe`: whether the kernel may look for drivers for the VFs that are made; `None` for
    /// no. Only where `vfs` is.
    pub autoprobe: Option<bool>,
}

/// How `<vfnet:pf>` says which PF it means. Prints as the attributes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum WhichPf {
    /// `dev`: the one with this interface name or altname.
    Dev(NetdevName),
    /// `address`: the one at this place.
    Address(PciAddress),
    /// All that are like this.
    Like(PfSelector),
}

/// What PFs are chosen by; all of it has to hold. Never empty where it was read from a document.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PfSelector {
    /// `vendor` and `device`.
    pub card: Option<CardId>,
    /// `driver`: the PF's own driver.
    pub driver: Option<DriverName>,
    /// `numa`: its NUMA node.
    pub numa: Option<u16>,
    /// `physnet`: a physical network of the daemon's configuration that it belongs to.
    pub physnet: Option<PhysicalNetworkName>,
}

/// PCI vendor, and device of that vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CardId {
    /// The vendor.
    pub vendor: PciId,
    /// The device; `None` for all of the vendor's.
    pub device: Option<PciId>,
}

/// A PCI vendor or device number. Hexadecimal, with or without `0x`, as lspci writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PciId(pub u16);

/// The text is no [`PciId`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expecting up to four hexadecimal digits, like 0x8086")]
pub struct NotAPciId;

/// Numbers of VFs within a PF: `0-3,6`. Kept in order, with no number twice.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VfRange(Vec<(u16, u16)>);

/// The text is no [`VfRange`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expecting numbers of VFs, counted from 0, and ranges of them, like 0-3,6")]
pub struct NotAVfRange;

/// A PF as people name it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum PfName {
    /// Its interface's name or altname.
    Dev(NetdevName),
    /// Its place.
    Address(PciAddress),
}

/// Which PFs are cabled to which physical network (OpenStack: `physical_network`).
pub type PhysicalNetworks = BTreeMap<PhysicalNetworkName, Vec<PfName>>;

impl PfSelector {
    /// Whether a PF is one of those that are meant.
    pub fn takes(&self, pf: &Pf, networks: &PhysicalNetworks) -> bool {
        let of = |name| {
            networks.get(name).is_some_and(|all: &Vec<_>| all.iter().any(|it: &PfName| it.is(pf)))
        };
        self.card.is_none_or(|card| card.is(pf.id))
            && self.driver.as_ref().is_none_or(|driver| pf.driver.as_ref() == Some(driver))
            && self.numa.is_none_or(|node| pf.numa_node == Some(node))
            && self.physnet.as_ref().is_none_or(of)
    }
}

impl CardId {
    fn is(self, (vendor, device): (u16, u16)) -> bool {
        self.vendor.0 == vendor && self.device.is_none_or(|wanted| wanted.0 == device)
    }
}

impl PfName {
    /// Whether it is this PF's.
    pub fn is(&self, pf: &Pf) -> bool {
        match self {
            Self::Dev(name) => pf.is_named(name),
            Self::Address(address) => pf.address == *address,
        }
    }
}

impl FromStr for PfName {
    type Err = crate::names::BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => text.parse().map(Self::Dev),
        }
    }
}

impl TryFrom<String> for PfName {
    type Error = crate::names::BadName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for PfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dev(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for WhichPf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = match self {
            Self::Dev(dev) => return write!(f, "dev='{dev}'"),
            Self::Address(address) => return write!(f, "address='{address}'"),
            Self::Like(selector) => selector,
        };
        let written: Vec<_> =
            selector.attributes().map(|(name, value)| format!("{name}='{value}'")).collect();
        f.write_str(&written.join(" "))
    }
}

impl PfSelector {
    /// The attributes that say this.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let Self { card, driver, numa, physnet } = self;
        [
            ("vendor", card.map(|card| card.vendor.to_string())),
            ("device", card.and_then(|card| card.device).map(|device| device.to_string())),
            ("driver", driver.as_ref().map(ToString::to_string)),
            ("numa", numa.map(|node| node.to_string())),
            ("physnet", physnet.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl FromStr for PciId {
    type Err = NotAPciId;

    fn from_str(text: &str) -> Result<Self, NotAPciId> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.is_empty() || digits.len() > 4 || digits.starts_with('+') {
            return Err(NotAPciId);
        }
        u16::from_str_radix(digits, 16).map(Self).map_err(|_| NotAPciId)
    }
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl VfRange {
    /// Whether a VF of this number is one of them.
    pub fn has(&self, index: VfIndex) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&index.0))
    }

    /// The highest number.
    pub fn last(&self) -> u16 {
        self.0.last().map_or(0, |&(_, last)| last)
    }
}

impl FromStr for VfRange {
    type Err = NotAVfRange;

    fn from_str(text: &str) -> Result<Self, NotAVfRange> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(NotAVfRange)
        };
        let mut parts = text
            .split(',')
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last): (u16, u16) = (number(first)?, number(last)?);
                if first > last { Err(NotAVfRange) } else { Ok((first, last)) }
            })
            .collect::<Result<Vec<_>, _>>()?;
        parts.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(parts.len());
        for (first, last) in parts {
            match merged.last_mut() {
                Some(before) if u32::from(first) <= u32::from(before.1) + 1 => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }
}

impl fmt::Display for VfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }?;
        }
        Ok(())
    }
}

/// A PF whose VFs, or some of them, are in a running network's pool: `0000:01:00.0`, or
/// `0000:01:00.0 0-3,6`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LentPf {
    /// The PF.
    pub address: PciAddress,
    /// Which of its VFs; `None` for all.
    pub range: Option<VfRange>,
}

/// The text is no [`LentPf`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is not a PF's address, with or without a range of its VFs behind it")]
pub struct NotALentPf(String);

impl LentPf {
    /// Whether this VF of this PF is one of those.
    pub fn has(&self, pf: PciAddress, index: VfIndex) -> bool {
        self.address == pf && self.range.as_ref().is_none_or(|range| range.has(index))
    }
}

impl From<LentPf> for String {
    fn from(pf: LentPf) -> Self {
        match pf.range {
            Some(range) => format!("{} {range}", pf.address),
            None => pf.address.to_string(),
        }
    }
}

impl TryFrom<String> for LentPf {
    type Error = NotALentPf;

    fn try_from(text: String) -> Result<Self, NotALentPf> {
        let (address, range) = match text.split_once(' ') {
            Some((address, range)) => (address, Some(range)),
            None => (text.as_str(), None),
        };
        let parsed = address.parse().ok().zip(range.map(str::parse).transpose().ok());
        match parsed {
            Some((address, range)) => Ok(Self { address, range }),
            None => Err(NotALentPf(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_kept_in_order_and_counts_each_vf_once() {
        let range: VfRange = "6,0-2,2-3,9".parse().unwrap();
        assert_eq!(range.to_string(), "0-3,6,9");
        let of: Vec<u16> = (0..12).filter(|index| range.has(VfIndex(*index))).collect();
        assert_eq!(of, [0, 1, 2, 3, 6, 9]);
        assert_eq!("0-65535".parse::<VfRange>().unwrap().last(), u16::MAX);
        for wrong in ["", "-", "3-1", "0,", "a", "+1", "65536", "1-2-3", " 1"] {
            assert_eq!(wrong.parse::<VfRange>(), Err(NotAVfRange), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_of_cards_are_hexadecimal_with_and_without_their_mark() {
        assert_eq!("8086".parse(), Ok(PciId(0x8086)));
        assert_eq!("0x10c9".parse::<PciId>().unwrap().to_string(), "0x10c9");
        for wrong in ["", "0x", "0x18086", "intel", "+1", "-1"] {
            assert_eq!(wrong.parse::<PciId>(), Err(NotAPciId), "{wrong:?}");
        }
    }

    #[test]
    fn a_lent_pf_is_read_as_it_is_written() {
        for text in ["0000:01:00.0", "0000:01:00.0 0-3,6"] {
            let pf = LentPf::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(pf), text);
        }
        for wrong in ["", "0000:01:00.0 ", "ens1f0", "0000:01:00.0 x"] {
            LentPf::try_from(wrong.to_owned()).unwrap_err();
        }
    }
}
