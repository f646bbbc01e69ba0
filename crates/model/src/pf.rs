//! Which PF something is about, wherever its card is plugged in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::inventory::Pf;
use crate::{MacAddress, PciAddress};

/// What a PF is known by over reboots. Prints as `mac:00:1b:21:aa:bb:cc` or `pci:0000:01:00.0`.
///
/// Buses are renumbered when cards come and go, and interfaces are renamed; the MAC that a card
/// was made with stays. (Its serial number is that of all its functions.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PfIdentity {
    /// The permanent MAC of its interface.
    Mac(MacAddress),
    /// Its place, where that is not known: it has no interface here, or its driver does not say.
    Address(PciAddress),
}

/// The text is no [`PfIdentity`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is neither mac: and a MAC nor pci: and a PCI address")]
pub struct NotAPfIdentity(String);

impl PfIdentity {
    /// What this PF is known by.
    pub fn of(pf: &Pf) -> Self {
        let mac = pf.netdev.as_ref().and_then(|dev| dev.permanent_mac);
        mac.map_or(Self::Address(pf.address), Self::Mac)
    }
}

impl fmt::Display for PfIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "mac:{mac}"),
            Self::Address(address) => write!(f, "pci:{address}"),
        }
    }
}

impl FromStr for PfIdentity {
    type Err = NotAPfIdentity;

    fn from_str(text: &str) -> Result<Self, NotAPfIdentity> {
        let parsed = match text.split_once(':') {
            Some(("mac", mac)) => mac.parse().ok().map(Self::Mac),
            Some(("pci", address)) => address.parse().ok().map(Self::Address),
            _ => None,
        };
        parsed.ok_or_else(|| NotAPfIdentity(text.to_owned()))
    }
}

impl From<PfIdentity> for String {
    fn from(identity: PfIdentity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for PfIdentity {
    type Error = NotAPfIdentity;

    fn try_from(text: String) -> Result<Self, NotAPfIdentity> {
        text.parse()
    }
}
