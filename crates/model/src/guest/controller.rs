//! `<controller>`.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::address::AddressType;
use super::print::Printing;
use super::words::{Text as _, at, served, words};
use crate::xml::{DocumentError, Element, Writer};

/// `<controller>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Controller {
    /// Its number among those of its type. For PCI this is the bus number in addresses.
    pub index: u32,
    /// `type` and `model`.
    pub kind: ControllerKind,
    /// Alias and address.
    pub placement: Placement,
}

/// `<controller type=… model=…>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ControllerKind {
    /// A PCI bus.
    Pci {
        /// What provides it.
        model: PciModel,
        /// `<target chassis=…/>` of a root port, `chassisNr` of a bridge.
        chassis: Option<u8>,
        /// `<target port=…/>` of a root port or a switch's downstream port.
        port: Option<u8>,
        /// `<target hotplug=…/>` of those: whether devices come and go in it while the guest
        /// runs; they do where it is not said.
        #[serde(default)]
        hotplug: Option<bool>,
        /// Whether a root port is Intel's (`<model name='ioh3420'/>`) instead of QEMU's own.
        #[serde(default)]
        intel: bool,
    },
    /// A USB bus.
    Usb {
        /// `None` for the machine's usual one.
        model: Option<UsbModel>,
        /// Ports of an xHCI controller, 1 to 15.
        ports: Option<u32>,
    },
    /// AHCI.
    Sata,
    /// The IDE controller that a pc machine has anyway (index 0).
    Ide,
    /// virtio-scsi.
    Scsi,
    /// virtio-serial.
    VirtioSerial {
        /// Most ports, 1 to 511.
        ports: Option<u32>,
        /// Interrupt vectors.
        vectors: Option<u32>,
    },
}

words! {
    /// `<controller type='pci' model=…>`.
    pub enum PciModel {
        /// The bus of a pc machine.
        PciRoot = "pci-root",
        /// The bus of a q35 machine.
        PcieRoot = "pcie-root",
        /// A port for one hot-pluggable PCI Express device.
        PcieRootPort = "pcie-root-port",
        /// The way into a PCI Express switch.
        PcieSwitchUpstreamPort = "pcie-switch-upstream-port",
        /// A port of a PCI Express switch.
        PcieSwitchDownstreamPort = "pcie-switch-downstream-port",
        /// A further bus of a pc machine.
        PciBridge = "pci-bridge",
    }
}

words! {
    /// `<controller type='usb' model=…>`.
    pub enum UsbModel {
        /// USB 1, of pc machines.
        Piix3Uhci = "piix3-uhci",
        /// USB 2, with companions for slower devices.
        Ich9Ehci1 = "ich9-ehci1",
        /// The companion for its ports 1 and 2.
        Ich9Uhci1 = "ich9-uhci1",
        /// The companion for its ports 3 and 4.
        Ich9Uhci2 = "ich9-uhci2",
        /// The companion for its ports 5 and 6.
        Ich9Uhci3 = "ich9-uhci3",
        /// USB 3, QEMU's own.
        QemuXhci = "qemu-xhci",
        /// USB 3, NEC's.
        NecXhci = "nec-xhci",
        /// No USB at all.
        None = "none",
    }
}

impl UsbModel {
    /// The first port, from 0, of the [`Ich9Ehci1`](Self::Ich9Ehci1) of the same index that a
    /// companion has the slower devices of; `None` for what is no companion.
    pub const fn companion_from(self) -> Option<u32> {
        match self {
            Self::Ich9Uhci1 => Some(0),
            Self::Ich9Uhci2 => Some(2),
            Self::Ich9Uhci3 => Some(4),
            _ => None,
        }
    }
}

impl ControllerKind {
    /// See [`UsbModel::companion_from`].
    pub const fn companion_from(&self) -> Option<u32> {
        match self {
            Self::Usb { model: Some(model), .. } => model.companion_from(),
            _ => None,
        }
    }

    /// `type`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pci { .. } => "pci",
            Self::Usb { .. } => "usb",
            Self::Sata => "sata",
            Self::Ide => "ide",
            Self::Scsi => "scsi",
            Self::VirtioSerial { .. } => "virtio-serial",
        }
    }

    /// `model`, where there is one.
    pub const fn model_word(&self) -> Option<&'static str> {
        match self {
            Self::Pci { model, .. } => Some(model.word()),
            Self::Usb { model: Some(model), .. } => Some(model.word()),
            Self::Scsi => Some("virtio-scsi"),
            _ => None,
        }
    }

    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        #[derive(Clone, Copy)]
        enum Type {
            Pci,
            Usb,
            Sata,
            Ide,
            Scsi,
            VirtioSerial,
        }
        let kind = served(
            element,
            "type",
            &[
                ("pci", Type::Pci),
                ("usb", Type::Usb),
                ("sata", Type::Sata),
                ("ide", Type::Ide),
                ("scsi", Type::Scsi),
                ("virtio-serial", Type::VirtioSerial),
            ],
        )?
        .ok_or_else(|| element.invalid("<controller> needs the attribute 'type'"))?;
        let number = |name: &str, most: u64| {
            let number = element.number_up_to(name, most)?;
            Ok(number.and_then(|number| u32::try_from(number).ok()))
        };
        Ok(match kind {
            Type::Pci => {
                let model = served(element, "model", PciModel::WORDS)?
                    .ok_or_else(|| element.unsupported("a PCI controller without a model"))?;
                read_pci(element, model)?
            }
            Type::Usb => {
                let model = served(element, "model", UsbModel::WORDS)?;
                let ports = number("ports", 15)?;
                if let Some(port) = model.and_then(UsbModel::companion_from)
                    && let Some(master) = element.child("master")?
                    && master.number_up_to("startport", 255)? != Some(port.into())
                {
                    return Err(at(master.unsupported("this port of this companion"), "startport"));
                }
                let xhci = matches!(model, Some(UsbModel::QemuXhci | UsbModel::NecXhci));
                if ports == Some(0) || ports.is_some() && !xhci {
                    return Err(at(element.unsupported("this number of ports"), "ports"));
                }
                Self::Usb { model, ports }
            }
            Type::Sata => Self::Sata,
            Type::Ide => Self::Ide,
            Type::Scsi => {
                served(element, "model", &[("virtio-scsi", ())])?.ok_or_else(|| {
                    element.unsupported("a SCSI controller without model='virtio-scsi'")
                })?;
                Self::Scsi
            }
            Type::VirtioSerial => {
                let ports = number("ports", 511)?;
                if ports == Some(0) {
                    return Err(at(element.invalid("'ports' must be more than 0"), "ports"));
                }
                Self::VirtioSerial { ports, vectors: number("vectors", 0xffff)? }
            }
        })
    }
}

/// A PCI controller of this model, with what is said of the port or bridge that it is.
fn read_pci(element: Element<'_, '_>, model: PciModel) -> Result<ControllerKind, DocumentError> {
    let (mut intel, mut hotplug) = (false, None);
    let (mut chassis, mut port) = (None, None);
    if !matches!(model, PciModel::PciRoot | PciModel::PcieRoot) {
        if let Some(name) = element.child("model")? {
            let names: &[(&str, bool)] = match model {
                PciModel::PcieRootPort => &[("pcie-root-port", false), ("ioh3420", true)],
                PciModel::PcieSwitchUpstreamPort => &[("x3130-upstream", false)],
                PciModel::PcieSwitchDownstreamPort => &[("xio3130-downstream", false)],
                _ => &[("pci-bridge", false)],
            };
            intel = served(name, "name", names)?.unwrap_or(false);
        }
        if let Some(target) = element.child("target")? {
            let byte = |name: &str| {
                let number = target.number_up_to(name, 255)?;
                Ok(number.and_then(|it| u8::try_from(it).ok()))
            };
            match model {
                PciModel::PciBridge => chassis = byte("chassisNr")?,
                PciModel::PcieRootPort | PciModel::PcieSwitchDownstreamPort => {
                    (chassis, port) = (byte("chassis")?, byte("port")?);
                    hotplug = target.on_off("hotplug")?;
                }
                _ => {}
            }
        }
    }
    Ok(ControllerKind::Pci { model, chassis, port, hotplug, intel })
}

impl PciModel {
    /// QEMU's name of the device, as libvirt writes it down.
    const fn device(self, intel: bool) -> Option<&'static str> {
        match self {
            Self::PciRoot | Self::PcieRoot => None,
            Self::PcieRootPort if intel => Some("ioh3420"),
            Self::PcieRootPort => Some("pcie-root-port"),
            Self::PcieSwitchUpstreamPort => Some("x3130-upstream"),
            Self::PcieSwitchDownstreamPort => Some("xio3130-downstream"),
            Self::PciBridge => Some("pci-bridge"),
        }
    }
}

impl ControllerKind {
    /// QEMU's name of a PCI controller that is a device.
    pub const fn pci_device(&self) -> Option<&'static str> {
        match self {
            Self::Pci { model, intel, .. } => model.device(*intel),
            _ => None,
        }
    }
}

impl Controller {
    /// Reads one that comes after `before` in its document; without an index it gets the next
    /// one free.
    pub(super) fn read(element: Element<'_, '_>, before: &[Self]) -> Result<Self, DocumentError> {
        let kind = ControllerKind::read(element)?;
        let is_ehci = |other: &&Self| {
            matches!(other.kind, ControllerKind::Usb { model: Some(UsbModel::Ich9Ehci1), .. })
        };
        let next = || {
            let mut same = before.iter().filter(|other| other.kind.word() == kind.word());
            if kind.companion_from().is_some() {
                return same.rfind(is_ehci).map_or(0, |ehci| ehci.index);
            }
            same.map(|other| other.index + 1).max().unwrap_or(0)
        };
        let index = match element.number_up_to("index", 254)? {
            Some(index) => u32::try_from(index).unwrap_or(u32::MAX),
            None => next(),
        };
        let ehci = || before.iter().filter(is_ehci).any(|other| other.index == index);
        if kind.companion_from().is_some() && !ehci() {
            let what = format!("a companion of no USB controller 'ich9-ehci1' {index} before it");
            return Err(element.unsupported(what));
        }
        let is_same = |other: &Self| other.kind == kind && other.index == index;
        if kind.companion_from().is_some() && before.iter().any(is_same) {
            return Err(element.invalid(format!("two such companions of USB controller {index}")));
        }
        if index > 254 {
            return Err(element.unsupported("more than 255 controllers of a type"));
        }
        let must_be_first = matches!(
            kind,
            ControllerKind::Ide
                | ControllerKind::Pci { model: PciModel::PciRoot | PciModel::PcieRoot, .. }
        );
        let further_bus = matches!(kind, ControllerKind::Pci { .. }) && !must_be_first;
        if must_be_first && index != 0
            || further_bus && index == 0 && element.attribute("index").is_some()
        {
            return Err(at(element.unsupported("this index of this controller"), "index"));
        }
        let index = if further_bus { index.max(1) } else { index };
        let address = if must_be_first && !matches!(kind, ControllerKind::Ide) {
            AddressType::None
        } else {
            AddressType::Pci
        };
        Ok(Self { index, kind, placement: Placement::read(element, address)? })
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        let tag = w
            .tag("controller")
            .attr("type", self.kind.word())
            .attr("index", self.index)
            .attr_opt("model", self.kind.model_word());
        let tag = match &self.kind {
            ControllerKind::Usb { ports, .. } => tag.attr_opt("ports", *ports),
            ControllerKind::VirtioSerial { ports, vectors } => {
                tag.attr_opt("ports", *ports).attr_opt("vectors", *vectors)
            }
            _ => tag,
        };
        tag.body(|w| {
            if let ControllerKind::Pci { model, chassis, port, hotplug, .. } = &self.kind {
                if let Some(name) = self.kind.pci_device() {
                    w.tag("model").attr("name", name).empty();
                }
                if chassis.is_some() || port.is_some() || hotplug.is_some() {
                    let number =
                        if *model == PciModel::PciBridge { "chassisNr" } else { "chassis" };
                    w.tag("target")
                        .attr_opt(number, *chassis)
                        .attr_opt("port", port.map(|port| format!("{port:#x}")))
                        .attr_opt("hotplug", hotplug.map(|on| if on { "on" } else { "off" }))
                        .empty();
                }
            }
            if let Some(port) = self.kind.companion_from() {
                w.tag("master").attr("startport", port).empty();
            }
            self.placement.print(w, printing);
        });
    }
}
