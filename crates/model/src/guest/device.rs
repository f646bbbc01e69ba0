//! One device by itself, as it comes to a guest and goes from it.
//!
//! A device of a guest is found again by what a user knows it by: an interface by its MAC (and
//! its alias or address, where the document has one), a disk by its target, a host's device by
//! its address on the host (libvirt: virDomainDetachDevice).

use serde::{Deserialize, Serialize};

use super::{Disk, Guest, Hostdev, Interface, LiveGuest, Placement, interface};
use crate::MacAddress;
use crate::xml::{Document, DocumentError, Writer};

use super::print::Printing;

/// A device that can come and go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// `<disk>`.
    Disk(Box<Disk>),
    /// `<interface>`.
    Interface(Box<Interface>),
    /// `<hostdev>`.
    Hostdev(Box<Hostdev>),
}

/// Why a guest's device was not found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotFound {
    /// There is none.
    #[error("the guest has no {0}")]
    None(String),
    /// There are several.
    #[error("the guest has more than one {0}; say its <alias> or <address> too")]
    Several(String),
}

/// Reads a document of one device.
///
/// # Errors
///
/// When it is none, or one that cannot come and go while a guest runs.
pub fn parse_device(text: &str) -> Result<Device, DocumentError> {
    let document = Document::parse(text)?;
    let name = document.root_name().to_owned();
    let root = document.root(&name)?;
    let device = match name.as_str() {
        "disk" => Device::Disk(Box::new(Disk::read(root)?)),
        "interface" => Device::Interface(Box::new(interface::read_interface(root)?)),
        "hostdev" => Device::Hostdev(Box::new(interface::read_hostdev(root)?)),
        _ => return Err(root.unsupported(format!("<{name}> as a device that comes and goes"))),
    };
    // Left over from a running guest's document, unless it is the user's: only to find it by.
    document.refuse_rest()?;
    Ok(device)
}

impl Device {
    /// The name of its element.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Disk(_) => "disk",
            Self::Interface(_) => "interface",
            Self::Hostdev(_) => "hostdev",
        }
    }

    /// Its alias and its address in the guest.
    pub const fn placement(&self) -> &Placement {
        match self {
            Self::Disk(disk) => &disk.placement,
            Self::Interface(interface) => &interface.placement,
            Self::Hostdev(hostdev) => &hostdev.placement,
        }
    }

    /// The same, to be changed.
    pub const fn placement_mut(&mut self) -> &mut Placement {
        match self {
            Self::Disk(disk) => &mut disk.placement,
            Self::Interface(interface) => &mut interface.placement,
            Self::Hostdev(hostdev) => &mut hostdev.placement,
        }
    }

    /// What a user knows it by, in words.
    pub fn known_by(&self) -> String {
        match self {
            Self::Disk(disk) => format!("disk {}", disk.target),
            Self::Interface(interface) => match interface.mac {
                Some(mac) => format!("interface with MAC {mac}"),
                None => "interface".to_owned(),
            },
            Self::Hostdev(hostdev) => format!("host device {}", hostdev.address),
        }
    }

    /// Whether this device of a guest is the one that `wanted` describes.
    fn is(&self, wanted: &Self) -> bool {
        let same = match (self, wanted) {
            (Self::Disk(disk), Self::Disk(wanted)) => disk.target == wanted.target,
            (Self::Interface(interface), Self::Interface(wanted)) => {
                wanted.mac.is_none_or(|mac| interface.mac == Some(mac))
            }
            (Self::Hostdev(hostdev), Self::Hostdev(wanted)) => hostdev.address == wanted.address,
            _ => false,
        };
        let (placement, wanted) = (self.placement(), wanted.placement());
        let agrees = |wanted: &Option<String>| wanted.is_none() || *wanted == placement.alias;
        // A kept document may have no addresses, where that of the running guest has.
        let elsewhere = wanted.address.is_some()
            && placement.address.is_some()
            && wanted.address != placement.address;
        same && agrees(&wanted.alias) && !elsewhere
    }

    /// Prints it, as it is in a running guest's document where `live` is given.
    pub fn print(&self, live: Option<&LiveGuest>) -> String {
        let printing = Printing { live, secrets: false };
        let mut w = Writer::new();
        match self {
            Self::Disk(disk) => disk.print(&mut w, printing),
            Self::Interface(interface) => {
                let became = live.and_then(|live| live.interfaces.first());
                interface.print(&mut w, became, printing);
            }
            Self::Hostdev(hostdev) => hostdev.print(&mut w, printing),
        }
        w.finish()
    }
}

impl Guest {
    /// Its devices that can come and go, in document order.
    pub fn devices(&self) -> impl Iterator<Item = Device> + '_ {
        let disks = self.disks.iter().map(|disk| Device::Disk(Box::new(disk.clone())));
        let interfaces = self.interfaces.iter();
        let interfaces = interfaces.map(|it| Device::Interface(Box::new(it.clone())));
        let hostdevs = self.hostdevs.iter().map(|it| Device::Hostdev(Box::new(it.clone())));
        disks.chain(interfaces).chain(hostdevs)
    }

    /// The one that a user describes.
    ///
    /// # Errors
    ///
    /// When there is none, or more than one.
    pub fn find_device(&self, wanted: &Device) -> Result<Device, NotFound> {
        let mut found = self.devices().filter(|device| device.is(wanted));
        let first = found.next().ok_or_else(|| NotFound::None(wanted.known_by()))?;
        match found.next() {
            Some(_) => Err(NotFound::Several(wanted.known_by())),
            None => Ok(first),
        }
    }

    /// Adds a device after the others of its kind.
    pub fn add_device(&mut self, device: Device) {
        match device {
            Device::Disk(disk) => self.disks.push(*disk),
            Device::Interface(interface) => self.interfaces.push(*interface),
            Device::Hostdev(hostdev) => self.hostdevs.push(*hostdev),
        }
    }

    /// Takes a device away; false where it is not there.
    pub fn remove_device(&mut self, device: &Device) -> bool {
        fn take<T: PartialEq>(from: &mut Vec<T>, one: &T) -> bool {
            let place = from.iter().position(|it| it == one);
            place.map(|place| from.remove(place)).is_some()
        }
        match device {
            Device::Disk(disk) => take(&mut self.disks, disk),
            Device::Interface(interface) => take(&mut self.interfaces, interface),
            Device::Hostdev(hostdev) => take(&mut self.hostdevs, hostdev),
        }
    }

    /// Whether one of its interfaces has this MAC.
    pub fn has_mac(&self, mac: MacAddress) -> bool {
        self.interfaces.iter().any(|interface| interface.mac == Some(mac))
    }
}
