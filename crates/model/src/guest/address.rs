//! Where a device sits in the guest, and what it is called there.

use serde::{Deserialize, Serialize};

use crate::PciAddress;

/// `<alias>` and `<address>` of a device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Placement {
    /// Its name in QEMU. In a document as written only names beginning with `ua-` are the user's,
    /// others are left over from a running guest and not kept (libvirt does the same).
    pub alias: Option<String>,
    /// Its address; `None` leaves the choice to whoever makes the command line.
    pub address: Option<Address>,
}

/// `<address>`, by its `type`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Address {
    /// On the guest's PCI buses. The bus number is the index of a PCI controller.
    Pci {
        /// Domain is always 0.
        at: PciAddress,
        /// Whether other functions share the slot.
        multifunction: Option<bool>,
    },
    /// On a disk controller.
    Drive {
        /// Index of the controller.
        controller: u32,
        /// Bus of the controller.
        bus: u32,
        /// SCSI target.
        target: u32,
        /// SCSI LUN, or port of a SATA controller.
        unit: u32,
    },
    /// On a virtio-serial controller.
    VirtioSerial {
        /// Index of the controller.
        controller: u32,
        /// Always 0.
        bus: u32,
        /// Port number; 0 is reserved for a console.
        port: u32,
    },
    /// On a USB controller.
    Usb {
        /// Index of the controller.
        bus: u32,
        /// Port, with dots through hubs.
        port: u32,
    },
}
