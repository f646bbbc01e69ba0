//! PCI addresses, as the kernel writes them: `0000:01:10.2`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Domain, bus, slot and function of a PCI device. Prints as `DDDD:BB:SS.F` in lower-case hex,
/// the kernel's name of the device in `/sys/bus/pci/devices`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PciAddress {
    domain: u16,
    bus: u8,
    slot: u8,
    function: u8,
}

/// The text or numbers are no PCI address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a PCI address (like 0000:01:10.2)")]
pub struct NotAPciAddress(pub String);

impl PciAddress {
    /// Slots end at 0x1f and functions at 7.
    pub fn new(domain: u16, bus: u8, slot: u8, function: u8) -> Result<Self, NotAPciAddress> {
        if slot > 0x1f || function > 7 {
            return Err(NotAPciAddress(format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")));
        }
        Ok(Self { domain, bus, slot, function })
    }

    /// Whether both are functions of one device in one slot, as the ports of one card are.
    pub const fn same_slot(self, other: Self) -> bool {
        self.domain == other.domain && self.bus == other.bus && self.slot == other.slot
    }

    /// PCI domain (segment).
    pub const fn domain(self) -> u16 {
        self.domain
    }

    /// Bus number.
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// Slot (device) number, 0 to 0x1f.
    pub const fn slot(self) -> u8 {
        self.slot
    }

    /// Function number, 0 to 7.
    pub const fn function(self) -> u8 {
        self.function
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.slot, self.function)
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PciAddress {
    type Err = NotAPciAddress;

    /// Reads `DDDD:BB:SS.F`; the domain may be left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotAPciAddress(text.to_owned());
        let hex = |part: &str, digits: usize| {
            let fits = !part.is_empty()
                && part.len() <= digits
                && part.bytes().all(|b| b.is_ascii_hexdigit());
            if fits { u16::from_str_radix(part, 16).map_err(|_| bad()) } else { Err(bad()) }
        };
        let (rest, function) = text.rsplit_once('.').ok_or_else(bad)?;
        let (rest, slot) = rest.rsplit_once(':').ok_or_else(bad)?;
        let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
        let byte = |part| u8::try_from(hex(part, 2)?).map_err(|_| bad());
        Self::new(hex(domain, 4)?, byte(bus)?, byte(slot)?, byte(function)?).map_err(|_| bad())
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for PciAddress {
    type Error = NotAPciAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_the_kernel_names_the_device() {
        for text in ["0000:01:10.2", "ffff:ff:1f.7", "0001:00:00.0"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
        assert_eq!("01:10.2".parse::<PciAddress>().unwrap().to_string(), "0000:01:10.2");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "01:10",
            "0000:01:20.0",
            "0000:01:10.8",
            "+001:01:10.0",
            "0000:001:10.0",
            "g:1:1.1",
            "0000:01:10.2\n",
            "1:2:3:4.5",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
        }
    }
}
