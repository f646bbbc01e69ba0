//! `<controller>`.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::words::words;

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
        /// `<target chassis=…/>` of a root port.
        chassis: Option<u8>,
        /// `<target port=…/>` of a root port.
        port: Option<u8>,
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
    /// The IDE controller that a pc machine has anyway (index 0); no disk can be put on it.
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
    }
}

words! {
    /// `<controller type='usb' model=…>`.
    pub enum UsbModel {
        /// USB 1, of pc machines.
        Piix3Uhci = "piix3-uhci",
        /// USB 3, QEMU's own.
        QemuXhci = "qemu-xhci",
        /// USB 3, NEC's.
        NecXhci = "nec-xhci",
        /// No USB at all.
        None = "none",
    }
}
