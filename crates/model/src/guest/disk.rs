//! `<disk>`.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::words::words;

/// `<disk>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// Disk or CD-ROM.
    pub device: DiskDevice,
    /// Where its bytes are; `None` for an empty CD-ROM drive.
    pub source: Option<DiskSource>,
    /// Format of those bytes. Never probed: a guest could write itself another header.
    pub format: DiskFormat,
    /// How the host's page cache is used.
    pub cache: Option<Cache>,
    /// How reads and writes are issued.
    pub io: Option<DiskIo>,
    /// Whether the guest's discards reach the source.
    pub discard: Option<Discard>,
    /// Name in the document, unique in the guest, such as `vda`.
    pub target: String,
    /// Bus it hangs on.
    pub bus: DiskBus,
    /// No writing; always so for a CD-ROM.
    pub readonly: bool,
    /// Serial number; at most 20 characters on virtio and SATA.
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
