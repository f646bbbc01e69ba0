//! Names that people and the kernel give: networks, guests, net devices, drivers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing there.
    #[error("a {what} cannot be empty")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// Too long for what it names.
    #[error("a {what} has at most {most} bytes, this has {len}")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// Bytes allowed.
        most: usize,
        /// Bytes given.
        len: usize,
    },
    /// A character that would make the name ambiguous on disk or on a line.
    #[error("invalid char in {what}: {found:?}")]
    Character {
        /// What was to be named.
        what: &'static str,
        /// The first such character.
        found: char,
    },
}

fn check(
    what: &'static str,
    most: usize,
    text: &str,
    refuse: fn(char) -> bool,
) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty { what });
    }
    if text.len() > most {
        return Err(BadName::TooLong { what, most, len: text.len() });
    }
    match text.chars().find(|&c| refuse(c)) {
        Some(found) => Err(BadName::Character { what, found }),
        None if text == "." || text == ".." => Err(BadName::Character { what, found: '.' }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $most:literal, $refuse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check($what, $most, text, $refuse).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// Name of a network: no `/`, no control characters.
    NetworkName, "network name", 255, |c| c == '/' || c.is_control()
);
name!(
    /// Name of a guest (libvirt: domain): no `/`, no control characters.
    GuestName, "guest name", 255, |c| c == '/' || c.is_control()
);
name!(
    /// Name of a storage pool: no `/`, no control characters.
    PoolName, "storage pool name", 255, |c| c == '/' || c.is_control()
);
name!(
    /// Name of a net device: the kernel allows 15 bytes without `/`, `:` and white space
    /// (`dev_valid_name`); altnames may have 127.
    NetdevName, "net device name", 127, |c| c == '/' || c == ':' || c.is_whitespace() || c.is_control()
);
name!(
    /// Name of a physical network, as in the daemon's configuration.
    PhysicalNetworkName, "physical network name", 255, |c| c == '/' || c.is_control()
);
name!(
    /// Name of a kernel driver, as in `/sys/bus/pci/drivers`.
    DriverName, "driver name", 63, |c| c == '/' || c.is_whitespace() || c.is_control()
);
name!(
    /// The kernel's id of this boot (`/proc/sys/kernel/random/boot_id`).
    BootId, "boot id", 64, |c| !(c.is_ascii_hexdigit() || c == '-')
);

impl DriverName {
    /// Whether it is vfio-pci or one of its variants (mlx5_vfio_pci, virtio-vfio-pci, …), going
    /// by the name that all of them have had so far.
    pub fn is_vfio(&self) -> bool {
        self.0.ends_with("vfio-pci") || self.0.ends_with("vfio_pci")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_directory_or_its_line_is_refused() {
        for text in ["", "a/b", "a\nb", "a\0b", ".", "..", &"x".repeat(256)] {
            assert!(text.parse::<NetworkName>().is_err(), "{text:?}");
            assert!(text.parse::<GuestName>().is_err(), "{text:?}");
        }
        assert_eq!("web 1".parse::<GuestName>().unwrap().as_str(), "web 1");
    }
}
