//! `<vfnet:placement>`: which of the VFs that could be lent is lent.

use crate::PciAddress;
use crate::vf::VfIndex;
use crate::xml::{DocumentError, Element, Writer};

use super::{Network, PfName};

/// `<vfnet:placement …/>` in `<vfnet:pool>` or in a `<portgroup>`. `None` leaves it to whatever is
/// further out: the network's, then to not mattering.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placement {
    /// `numa`: that the VF's card is at a NUMA node that the guest runs on.
    pub numa: Option<Weight>,
    /// `legs`: that the interfaces which a guest has on the network are on PFs, and on cards, of
    /// their own, as the legs of a bond are to be.
    pub legs: Option<Weight>,
    /// `guests`: how PFs fill up.
    pub guests: Option<Filling>,
    /// `mtu`: the least that the PF's interface has, in bytes. Frames of a VF are as long as its
    /// PF's at the most, and vfnet does not change a PF's.
    pub mtu: Option<u32>,
    /// `pf` and `vf`: no other than this.
    pub pin: Option<Pin>,
}

/// How much something matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Weight {
    /// Not at all.
    #[default]
    Ignore,
    /// It decides among VFs that can be lent.
    Prefer,
    /// A VF without it is not lent.
    Require,
}

/// How the PFs of a pool fill up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filling {
    /// The PF of which the fewest VFs are lent is next.
    Spread,
    /// The PF of which the most VFs are lent is next, so that others stay free.
    Pack,
}

/// What a port is pinned to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pin {
    /// `pf`: VFs of this PF.
    Pf(PfName),
    /// `pf` and `vf`: the PF's VF of this number.
    Numbered(PfName, VfIndex),
    /// `vf`: the VF with this address.
    Vf(PciAddress),
}

const WEIGHTS: [(&str, Weight); 3] =
    [("ignore", Weight::Ignore), ("prefer", Weight::Prefer), ("require", Weight::Require)];
const FILLINGS: [(&str, Filling); 2] = [("spread", Filling::Spread), ("pack", Filling::Pack)];

fn word<T: Copy + PartialEq>(
    words: &[(&'static str, T)],
    value: Option<T>,
) -> Option<&'static str> {
    words.iter().find_map(|(word, known)| (Some(*known) == value).then_some(*word))
}

impl Placement {
    /// None of it matters.
    pub const ANY: Self = Self { numa: None, legs: None, guests: None, mtu: None, pin: None };

    /// This, and of `outer` what it leaves out.
    #[must_use]
    pub fn or(&self, outer: &Self) -> Self {
        Self {
            numa: self.numa.or(outer.numa),
            legs: self.legs.or(outer.legs),
            guests: self.guests.or(outer.guests),
            mtu: self.mtu.or(outer.mtu),
            pin: self.pin.clone().or_else(|| outer.pin.clone()),
        }
    }

    /// From `<vfnet:placement>`.
    pub(super) fn read(element: &Element<'_, '_>) -> Result<Self, DocumentError> {
        let pf = element.parsed::<PfName>("pf")?;
        let pin = match (pf, element.attribute("vf")) {
            (pf, None) => pf.map(Pin::Pf),
            (Some(pf), Some(_)) => {
                element.parsed("vf")?.map(|index| Pin::Numbered(pf, VfIndex(index)))
            }
            (None, Some(vf)) => match vf.parse() {
                Ok(address) => Some(Pin::Vf(address)),
                Err(_) => {
                    return Err(element.invalid(format!(
                        "vf='{vf}' is no PCI address; with 'pf' it is the VF's number"
                    )));
                }
            },
        };
        Ok(Self {
            numa: element.one_of("numa", &WEIGHTS)?,
            legs: element.one_of("legs", &WEIGHTS)?,
            guests: element.one_of("guests", &FILLINGS)?,
            mtu: mtu(element)?,
            pin,
        })
    }

    pub(super) fn print(&self, w: &mut Writer) {
        if *self == Self::default() {
            return;
        }
        let tag = w
            .tag("vfnet:placement")
            .attr_opt("numa", word(&WEIGHTS, self.numa))
            .attr_opt("legs", word(&WEIGHTS, self.legs))
            .attr_opt("guests", word(&FILLINGS, self.guests))
            .attr_opt("mtu", self.mtu);
        match &self.pin {
            None => tag,
            Some(Pin::Pf(pf)) => tag.attr("pf", pf),
            Some(Pin::Numbered(pf, vf)) => tag.attr("pf", pf).attr("vf", vf),
            Some(Pin::Vf(vf)) => tag.attr("vf", vf),
        }
        .empty();
    }
}

/// What an IPv4 link has at least, to what a length of 16 bits can say (kernel: `ETH_MIN_MTU`,
/// `ETH_MAX_MTU`).
fn mtu(element: &Element<'_, '_>) -> Result<Option<u32>, DocumentError> {
    match element.parsed::<u32>("mtu")? {
        Some(mtu) if !(68..=65_535).contains(&mtu) => {
            Err(element.invalid(format!("mtu='{mtu}' is not from 68 to 65535 bytes")))
        }
        mtu => Ok(mtu),
    }
}

impl Network {
    /// Where VFs of a portgroup are taken from; of the default group where none is named.
    pub fn placement(&self, portgroup: Option<&str>) -> Placement {
        let of_pool = self.pool().map(|pool| pool.placement.clone()).unwrap_or_default();
        match self.portgroup(portgroup) {
            Some(group) => group.placement.or(&of_pool),
            None => of_pool,
        }
    }
}
