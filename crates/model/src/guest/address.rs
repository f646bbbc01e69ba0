//! Where a device sits in the guest, and what it is called there.

use serde::{Deserialize, Serialize};

use super::print::Printing;
use super::words::{Text as _, at, is_plain_word, served};
use crate::PciAddress;
use crate::xml::{DocumentError, Element, Tag, Writer};

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
        /// Bus of the controller; of an IDE controller its channel.
        bus: u32,
        /// SCSI target.
        target: u32,
        /// SCSI LUN, port of a SATA controller, or which of the two drives of an IDE channel.
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

/// Which type of address a device can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AddressType {
    Pci,
    Drive,
    VirtioSerial,
    Usb,
    /// The device is where it is.
    None,
}

/// Highest number of a controller, bus, port or unit that makes sense anywhere.
const MOST: u64 = 511;

impl Placement {
    /// Reads `<alias>` and `<address>` of a device.
    pub(super) fn read(
        device: Element<'_, '_>,
        wanted: AddressType,
    ) -> Result<Self, DocumentError> {
        let alias = match device.child("alias")? {
            Some(element) => {
                let name = element.required("name")?;
                let users = name.starts_with("ua-");
                if users && !(is_plain_word(name) && name.len() <= 64) {
                    return Err(at(element.invalid(format!("invalid alias '{name}'")), "name"));
                }
                users.then(|| name.to_owned())
            }
            None => None,
        };
        let address = match device.child("address")? {
            Some(element) => Self::read_address(element, wanted)?,
            None => None,
        };
        Ok(Self { alias, address })
    }

    fn read_address(
        element: Element<'_, '_>,
        wanted: AddressType,
    ) -> Result<Option<Address>, DocumentError> {
        let found = served(
            element,
            "type",
            &[
                ("pci", AddressType::Pci),
                ("drive", AddressType::Drive),
                ("virtio-serial", AddressType::VirtioSerial),
                ("usb", AddressType::Usb),
            ],
        )?
        .ok_or_else(|| element.invalid("<address> needs the attribute 'type'"))?;
        if found != wanted {
            return Err(at(element.unsupported("this type of address on this device"), "type"));
        }
        let number = |name: &str| -> Result<u32, DocumentError> {
            let number = element.number_up_to(name, MOST)?.unwrap_or(0);
            Ok(u32::try_from(number).unwrap_or(u32::MAX))
        };
        Ok(Some(match found {
            AddressType::Pci => {
                let at = pci(element)?;
                let multifunction = element.on_off("multifunction")?;
                if at.domain() != 0 {
                    return Err(element.unsupported("a PCI domain other than 0 in the guest"));
                }
                // To libvirt, too, this says nothing: slot 0 of bus 0 is the machine's own.
                if (at.bus(), at.slot()) == (0, 0) {
                    return Ok(None);
                }
                Address::Pci { at, multifunction }
            }
            AddressType::Drive => Address::Drive {
                controller: number("controller")?,
                bus: number("bus")?,
                target: number("target")?,
                unit: number("unit")?,
            },
            AddressType::VirtioSerial => Address::VirtioSerial {
                controller: number("controller")?,
                bus: number("bus")?,
                port: number("port")?,
            },
            AddressType::Usb => Address::Usb { bus: number("bus")?, port: number("port")? },
            AddressType::None => return Ok(None),
        }))
    }

    /// Prints `<alias>`, where it is the user's or the guest runs, and `<address>`.
    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        let alias = self.alias.as_ref();
        if let Some(alias) =
            alias.filter(|alias| printing.live.is_some() || alias.starts_with("ua-"))
        {
            w.tag("alias").attr("name", alias).empty();
        }
        let Some(address) = &self.address else { return };
        let tag = w.tag("address");
        match address {
            Address::Pci { at, multifunction } => {
                let multifunction = multifunction.map(|on| if on { "on" } else { "off" });
                pci_attributes(tag.attr("type", "pci"), *at)
                    .attr_opt("multifunction", multifunction)
                    .empty();
            }
            Address::Drive { controller, bus, target, unit } => tag
                .attr("type", "drive")
                .attr("controller", controller)
                .attr("bus", bus)
                .attr("target", target)
                .attr("unit", unit)
                .empty(),
            Address::VirtioSerial { controller, bus, port } => tag
                .attr("type", "virtio-serial")
                .attr("controller", controller)
                .attr("bus", bus)
                .attr("port", port)
                .empty(),
            Address::Usb { bus, port } => {
                tag.attr("type", "usb").attr("bus", bus).attr("port", port).empty();
            }
        }
    }
}

/// The numbers of a PCI address, each 0 where it is left out.
pub(super) fn pci(element: Element<'_, '_>) -> Result<PciAddress, DocumentError> {
    let number = |name: &str, most: u64| Ok(element.number_up_to(name, most)?.unwrap_or(0));
    let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    let domain = u16::try_from(number("domain", 0xffff)?).unwrap_or(u16::MAX);
    PciAddress::new(
        domain,
        byte(number("bus", 0xff)?),
        byte(number("slot", 0x1f)?),
        byte(number("function", 7)?),
    )
    .map_err(|fault| element.invalid(fault.to_string()))
}

/// The numbers of a PCI address as libvirt writes them.
pub(super) fn pci_attributes(tag: Tag<'_>, at: PciAddress) -> Tag<'_> {
    tag.attr("domain", format_args!("{:#06x}", at.domain()))
        .attr("bus", format_args!("{:#04x}", at.bus()))
        .attr("slot", format_args!("{:#04x}", at.slot()))
        .attr("function", format_args!("{:#x}", at.function()))
}
