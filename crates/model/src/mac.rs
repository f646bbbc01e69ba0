//! MAC addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address. Prints in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress([u8; 6]);

/// The text is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a MAC address (like 52:54:00:12:34:56)")]
pub struct NotAMacAddress(pub String);

impl MacAddress {
    /// All zeroes: to most PF drivers "the VF may choose".
    pub const ZERO: Self = Self([0; 6]);

    /// From its six octets, in transmission order.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Its six octets, in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether the group bit is set (broadcast included): no card can have such an address.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether all octets are zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// The first three octets of MACs that are made up. Prints as `52:54:00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacPrefix([u8; 3]);

/// The text is no [`MacPrefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the beginning of a card's MAC address (like 52:54:00; the first octet even)")]
pub struct NotAMacPrefix(String);

impl MacPrefix {
    /// QEMU's and libvirt's for guests.
    pub const QEMU: Self = Self([0x52, 0x54, 0x00]);

    /// An address with the last three octets of a random number.
    pub const fn drawn(self, random: u64) -> MacAddress {
        let ([a, b, c], [.., d, e, g]) = (self.0, random.to_be_bytes());
        MacAddress([a, b, c, d, e, g])
    }
}

impl FromStr for MacPrefix {
    type Err = NotAMacPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = format!("{text}:0:0:0").parse::<MacAddress>().ok();
        let whole = whole.filter(|mac| !mac.is_multicast());
        let [a, b, c, ..] = whole.ok_or_else(|| NotAMacPrefix(text.to_owned()))?.0;
        Ok(Self([a, b, c]))
    }
}

impl From<MacPrefix> for String {
    fn from(MacPrefix([a, b, c]): MacPrefix) -> Self {
        format!("{a:02x}:{b:02x}:{c:02x}")
    }
}

impl TryFrom<String> for MacPrefix {
    type Error = NotAMacPrefix;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = NotAMacAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotAMacAddress(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(bad)?;
            let hex = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            *octet = hex.then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or_else(bad)?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(octets)) }
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = NotAMacAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_prints_in_lower_case_with_two_digits_an_octet() {
        assert_eq!(
            "52:54:0:A:b:0C".parse::<MacAddress>().unwrap().to_string(),
            "52:54:00:0a:0b:0c"
        );
    }

    #[test]
    fn what_is_no_mac_is_refused() {
        for text in
            ["", "52:54:00:00:00", "52:54:00:00:00:00:00", "52-54-00-00-00-00", "52:54:00:00:00:+1"]
        {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_is_three_octets_of_a_card() {
        let prefix: MacPrefix = "02:A:ff".parse().unwrap();
        assert_eq!(String::from(prefix), "02:0a:ff");
        assert_eq!(prefix.drawn(0x0102_0304_0506_0708).to_string(), "02:0a:ff:06:07:08");
        for text in ["", "02:00", "02:00:00:00", "01:00:5e", "02:00:0g"] {
            assert!(text.parse::<MacPrefix>().is_err(), "{text:?}");
        }
    }
}
