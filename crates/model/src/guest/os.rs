//! `<os>` and `<features>`: the machine and how it boots.

use serde::{Deserialize, Serialize};

use super::words::words;

/// `<os>`. The architecture is always x86_64.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Os {
    /// Machine type as written, such as `q35` or `pc-i440fx-9.2`.
    pub machine: Option<String>,
    /// UEFI code.
    pub loader: Option<Loader>,
    /// UEFI variables.
    pub nvram: Option<Nvram>,
    /// Kernel to boot directly.
    pub kernel: Option<String>,
    /// Its initial RAM disk.
    pub initrd: Option<String>,
    /// Its command line.
    pub cmdline: Option<String>,
    /// Order of boot by kind of device; empty where devices have `<boot order>`.
    pub boot: Vec<BootDevice>,
}

/// Chipset of a machine type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MachineFamily {
    /// i440FX with PCI slots.
    Pc,
    /// Q35 with PCI Express.
    Q35,
}

/// `<loader readonly='yes' type='pflash'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loader {
    /// Firmware image, raw.
    pub path: String,
    /// Whether the guest may not write to it.
    pub readonly: bool,
    /// `stateless='yes'`: the firmware keeps no variables.
    pub stateless: bool,
}

/// `<nvram>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nvram {
    /// The guest's own variable store, raw; `None` until filled in.
    pub path: Option<String>,
    /// What a store that is not there yet is copied from.
    pub template: Option<String>,
}

words! {
    /// `<boot dev=…/>`.
    pub enum BootDevice {
        /// The first disk.
        Hd = "hd",
        /// The first CD-ROM.
        Cdrom = "cdrom",
        /// The first network interface.
        Network = "network",
    }
}

/// `<features>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Features {
    /// ACPI tables. Without them a guest cannot be shut down gracefully.
    pub acpi: bool,
    /// Kept for the document; x86 machines always have an APIC.
    pub apic: bool,
    /// Kept for the document; the CPU model decides.
    pub pae: bool,
    /// `<hyperv>`: what makes Windows guests run well.
    pub hyperv: Option<HyperV>,
    /// `<kvm><hidden state=…/></kvm>`: not to be seen as a KVM guest.
    pub kvm_hidden: Option<bool>,
    /// VMware's I/O port.
    pub vmport: Option<bool>,
}

/// `<hyperv>`: each enlightenment as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HyperV {
    /// Those that are on or off, by libvirt's name, in libvirt's order.
    pub states: Vec<(String, bool)>,
    /// `<spinlocks retries=…>`, when on; at least 4095.
    pub spinlock_retries: Option<u32>,
}
