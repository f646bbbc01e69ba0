//! `<disk>`.

use serde::{Deserialize, Serialize};

use super::address::AddressType;
use super::print::Printing;
use super::words::{Text as _, at, served, words};
use super::{Backing, Placement, VirtioOptions};
use crate::xml::{DocumentError, Element, Writer};

/// `<disk>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// Disk or CD-ROM.
    pub device: DiskDevice,
    /// Where its bytes are; `None` for an empty CD-ROM drive.
    pub source: Option<DiskSource>,
    /// Format of those bytes. Never probed: a guest could write itself another header.
    pub format: DiskFormat,
    /// What is behind them.
    #[serde(default)]
    pub backing: Backing,
    /// How the host's page cache is used.
    pub cache: Option<Cache>,
    /// How reads and writes are issued.
    pub io: Option<DiskIo>,
    /// Whether the guest's discards reach the source.
    pub discard: Option<Discard>,
    /// What else `<driver>` says, on bus virtio.
    #[serde(default)]
    pub virtio: VirtioOptions,
    /// `<product>`: the model that the guest sees, on SATA and SCSI.
    #[serde(default)]
    pub product: Option<String>,
    /// `<vendor>` that the guest sees, on SCSI.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Name in the document, unique in the guest, such as `vda`.
    pub target: String,
    /// Bus it hangs on.
    pub bus: DiskBus,
    /// No writing; always so for a CD-ROM.
    pub readonly: bool,
    /// Serial number; at most 20 characters on virtio, IDE and SATA.
    pub serial: Option<String>,
    /// `<boot order=…/>`.
    pub boot: Option<u32>,
    /// Alias and address.
    pub placement: Placement,
}

/// `<disk type=…>` with `<source>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DiskSource {
    /// A regular file, by absolute path.
    File(String),
    /// A block device, by absolute path.
    Block(String),
}

words! {
    /// `<disk device=…>`.
    pub enum DiskDevice {
        /// A disk.
        Disk = "disk",
        /// A CD-ROM drive.
        Cdrom = "cdrom",
    }
}

words! {
    /// `<driver type=…>`.
    pub enum DiskFormat {
        /// As it is.
        Raw = "raw",
        /// QEMU's image format.
        Qcow2 = "qcow2",
    }
}

words! {
    /// `<target bus=…>`.
    pub enum DiskBus {
        /// virtio-blk.
        Virtio = "virtio",
        /// The two channels of a pc machine's PIIX3, with two drives each.
        Ide = "ide",
        /// AHCI.
        Sata = "sata",
        /// virtio-scsi.
        Scsi = "scsi",
    }
}

words! {
    /// `<driver cache=…>`.
    pub enum Cache {
        /// QEMU's default, which is writeback.
        Default = "default",
        /// Past the host's cache.
        None = "none",
        /// Every write reaches the disk before it is done.
        Writethrough = "writethrough",
        /// The guest flushes when it must.
        Writeback = "writeback",
        /// Past the host's cache, and every write reaches the disk.
        Directsync = "directsync",
        /// Flushes are ignored.
        Unsafe = "unsafe",
    }
}

words! {
    /// `<driver io=…>`.
    pub enum DiskIo {
        /// Linux native AIO; needs `cache` none or directsync.
        Native = "native",
        /// A pool of threads.
        Threads = "threads",
        /// io_uring.
        IoUring = "io_uring",
    }
}

words! {
    /// `<driver discard=…>`.
    pub enum Discard {
        /// Discards free space in the source.
        Unmap = "unmap",
        /// Discards do nothing.
        Ignore = "ignore",
    }
}

impl Disk {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let block = served(element, "type", &[("file", false), ("block", true)])?.unwrap_or(false);
        let device = served(element, "device", DiskDevice::WORDS)?.unwrap_or(DiskDevice::Disk);
        let mut disk = Self {
            device,
            source: read_source(element, block)?,
            format: DiskFormat::Raw,
            backing: Backing::Unsaid,
            cache: None,
            io: None,
            discard: None,
            virtio: VirtioOptions::default(),
            product: element.child_text("product")?,
            vendor: element.child_text("vendor")?,
            target: String::new(),
            bus: DiskBus::Virtio,
            readonly: element.child("readonly")?.is_some() || device == DiskDevice::Cdrom,
            serial: element.child_text("serial")?,
            boot: read_boot(element)?,
            placement: Placement::default(),
        };
        if let Some(driver) = element.child("driver")? {
            served(driver, "name", &[("qemu", ())])?;
            disk.format = served(driver, "type", DiskFormat::WORDS)?.unwrap_or(DiskFormat::Raw);
            disk.cache = served(driver, "cache", Cache::WORDS)?;
            disk.io = served(driver, "io", DiskIo::WORDS)?;
            disk.discard = served(driver, "discard", Discard::WORDS)?;
            disk.virtio = VirtioOptions::read(driver)?;
        }
        disk.backing = Backing::read(element, disk.format)?;
        disk.read_target(element)?;
        let address = match disk.bus {
            DiskBus::Virtio => AddressType::Pci,
            DiskBus::Ide | DiskBus::Sata | DiskBus::Scsi => AddressType::Drive,
        };
        disk.placement = Placement::read(element, address)?;
        disk.makes_sense(element)?;
        Ok(disk)
    }

    fn read_target(&mut self, element: Element<'_, '_>) -> Result<(), DocumentError> {
        let target = element.child("target")?;
        let target = target.ok_or_else(|| element.invalid("<target> is missing"))?;
        self.target = target
            .plain_word("dev")?
            .ok_or_else(|| target.invalid("<target> needs the attribute 'dev'"))?;
        // It names the disk's nodes in QEMU, whose names have at most 31 characters.
        if self.target.len() > 20 || self.target.contains('+') {
            return Err(target.unsupported(format!("a target like '{}'", self.target)));
        }
        let by_name = match self.target.get(..2) {
            Some("vd") => Some(DiskBus::Virtio),
            Some("sd") => Some(DiskBus::Scsi),
            Some("hd") => Some(DiskBus::Ide),
            _ => None,
        };
        self.bus = served(target, "bus", DiskBus::WORDS)?.or(by_name).ok_or_else(|| {
            target.unsupported(format!("a target like '{}' without a bus", self.target))
        })?;
        Ok(())
    }

    fn makes_sense(&self, element: Element<'_, '_>) -> Result<(), DocumentError> {
        let cdrom = self.device == DiskDevice::Cdrom;
        if self.source.is_none() && !cdrom {
            return Err(element.invalid(format!("disk '{}' has no source", self.target)));
        }
        if cdrom && self.bus == DiskBus::Virtio {
            return Err(element.unsupported("a CD-ROM drive on bus 'virtio'"));
        }
        if self.readonly && !cdrom && matches!(self.bus, DiskBus::Ide | DiskBus::Sata) {
            return Err(element.unsupported(format!("a read-only disk on bus '{}'", self.bus)));
        }
        let direct = matches!(self.cache, Some(Cache::None | Cache::Directsync));
        if self.io == Some(DiskIo::Native) && !direct {
            return Err(element.unsupported("io='native' without cache 'none' or 'directsync'"));
        }
        if !self.virtio.is_none() && self.bus != DiskBus::Virtio {
            return Err(element.unsupported("virtio's options of a disk on another bus"));
        }
        let most_of_product = match self.bus {
            DiskBus::Sata => 40,
            DiskBus::Scsi => 16,
            DiskBus::Virtio | DiskBus::Ide => 0,
        };
        let most_of_vendor = if self.bus == DiskBus::Scsi { 8 } else { 0 };
        for (name, text, most) in
            [("product", &self.product, most_of_product), ("vendor", &self.vendor, most_of_vendor)]
        {
            let Some(text) = text else { continue };
            if most == 0 {
                let fault = format!("<{name}> of a disk on bus '{}'", self.bus);
                return Err(element.unsupported(fault));
            }
            let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
            if !(1..=most).contains(&text.len()) || !printable {
                return Err(element.invalid(format!("invalid <{name}> '{text}'")));
            }
        }
        if let Some(serial) = &self.serial {
            let fits = serial.len() <= 20 || self.bus == DiskBus::Scsi && serial.len() <= 36;
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+- ".contains(&byte);
            if serial.is_empty() || !fits || !serial.bytes().all(allowed) {
                return Err(element.invalid(format!("invalid serial number '{serial}'")));
            }
        }
        Ok(())
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        let kind = self.source.as_ref().map_or("file", DiskSource::kind);
        w.tag("disk").attr("type", kind).attr("device", self.device).body(|w| {
            let driver = w.tag("driver").attr("name", "qemu").attr("type", self.format);
            let driver = driver
                .attr_opt("cache", self.cache)
                .attr_opt("io", self.io)
                .attr_opt("discard", self.discard);
            self.virtio.print(driver).empty();
            if let Some(source) = &self.source {
                source.print(w);
            }
            self.backing.print(w);
            w.tag("target").attr("dev", &self.target).attr("bus", self.bus).empty();
            if self.readonly {
                w.tag("readonly").empty();
            }
            w.text_opt("serial", self.serial.as_ref());
            w.text_opt("vendor", self.vendor.as_ref());
            w.text_opt("product", self.product.as_ref());
            print_boot(w, self.boot);
            self.placement.print(w, printing);
        });
    }
}

impl DiskSource {
    /// The word for it in a `type` attribute.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Block(_) => "block",
        }
    }

    pub(super) fn print(&self, w: &mut Writer) {
        match self {
            Self::File(path) => w.tag("source").attr("file", path).empty(),
            Self::Block(path) => w.tag("source").attr("dev", path).empty(),
        }
    }
}

pub(super) fn read_source(
    element: Element<'_, '_>,
    block: bool,
) -> Result<Option<DiskSource>, DocumentError> {
    let Some(source) = element.child("source")? else { return Ok(None) };
    let attribute = if block { "dev" } else { "file" };
    // Of a running guest's document: which of QEMU's nodes it was.
    let _node_of_another_run = source.attribute("index");
    let path = source.path_attribute(attribute)?;
    Ok(path.map(if block { DiskSource::Block } else { DiskSource::File }))
}

/// Reads `<boot order=…/>`.
pub(super) fn read_boot(device: Element<'_, '_>) -> Result<Option<u32>, DocumentError> {
    let Some(boot) = device.child("boot")? else { return Ok(None) };
    match boot.parsed::<u32>("order")? {
        None | Some(0) => Err(at(boot.invalid("a boot order is a number from 1"), "order")),
        // bootindex is a signed 32-bit number to QEMU.
        Some(order) if order > 0x7fff_ffff => {
            Err(at(boot.invalid("a boot order is a number up to 2147483647"), "order"))
        }
        order => Ok(order),
    }
}

/// Prints `<boot order=…/>`.
pub(super) fn print_boot(w: &mut Writer, boot: Option<u32>) {
    if let Some(order) = boot {
        w.tag("boot").attr("order", order).empty();
    }
}
