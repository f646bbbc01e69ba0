//! Guests as their documents describe them (libvirt: domains).
//!
//! A [`Guest`] is what was written, normalised as libvirt does it: defaults that change what the
//! guest sees are made explicit, generated values (UUID, MACs) are added by
//! [`Guest::fill_in`]. What is not served is refused by [`parse`] with path and line, never
//! dropped. Each element's type, reading and printing live together in a module of its topic.
//!
//! What a *running* guest has besides, such as the VF that a network's port became, is
//! [`LiveGuest`]; guest-side addresses and aliases are given to the devices of a copy of the
//! guest when its command line is made.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use words::words;

use crate::GuestName;

mod address;
mod backing;
mod chardev;
mod clock;
mod controller;
mod cpu;
mod cpuset;
mod cputune;
mod device;
mod disk;
mod display;
mod fill;
mod interface;
mod live;
mod memory;
pub mod metadata;
mod numatune;
mod os;
mod parse;
mod print;
mod small;
mod virtio;
mod words;

pub use address::{Address, Placement};
pub use backing::{Backing, BackingImage};
pub use chardev::{Channel, CharSource, Console, ConsoleTarget, Serial};
pub use clock::{Clock, ClockOffset, PitPolicy, RtcPolicy, Timers};
pub use controller::{Controller, ControllerKind, PciModel, UsbModel};
pub use cpu::{AddressBits, Cpu, CpuCache, CpuFeature, CpuMode, FeaturePolicy, NumaCell, Topology};
pub use cpuset::{CpuSet, CpuSetError};
pub use cputune::CpuTune;
pub use device::{Device, NotFound, parse_device};
pub use disk::{Cache, Discard, Disk, DiskBus, DiskDevice, DiskFormat, DiskIo, DiskSource};
pub use display::{Input, InputBus, InputKind, Password, Video, VideoModel, Vnc};
pub use fill::DEFAULT_EMULATOR;
pub use interface::{
    Hostdev, HostdevDriver, Interface, InterfaceModel, InterfaceSource, LinkState, Teaming,
};
pub use live::{Attachment, LiveGuest};
pub use memory::{Allocation, MemoryBacking};
pub use numatune::{MemoryMode, MemoryNodes, NumaTune};
pub use os::{BootDevice, Features, HyperV, Loader, MachineFamily, Nvram, Os};
pub use parse::parse;
pub use print::{Form, print, print_with_secrets};
pub use small::{Memballoon, OnCrash, OnPoweroff, OnReboot, Pm, Rng, RngBackend};
pub use virtio::VirtioOptions;

/// Most virtual CPUs: more than this needs an emulated IOMMU with extended interrupt mode.
pub const MAX_VCPUS: u32 = 255;

/// A guest document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Guest {
    /// What runs its CPUs.
    pub hypervisor: Hypervisor,
    /// Its name, unique on the host.
    pub name: GuestName,
    /// Its identity; `None` when the document left it out.
    pub uuid: Option<Uuid>,
    /// A short text.
    pub title: Option<String>,
    /// A long text.
    pub description: Option<String>,
    /// `<metadata>`, as it was written.
    pub metadata: Option<String>,
    /// Memory at boot, in KiB; never 0.
    pub memory_kib: u64,
    /// Memory left to the guest by the balloon, in KiB; at most `memory_kib`.
    pub current_memory_kib: u64,
    /// Virtual CPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: u32,
    /// Those of them that it has from its start; at least 1.
    pub current_vcpus: u32,
    /// Processors of the host that run QEMU; all of them where none are named.
    pub cpuset: Option<CpuSet>,
    /// `<os>`.
    pub os: Os,
    /// `<features>`.
    pub features: Features,
    /// `<cpu>`.
    pub cpu: Option<Cpu>,
    /// `<clock>`.
    pub clock: Clock,
    /// What happens when the guest powers itself off.
    pub on_poweroff: OnPoweroff,
    /// What happens when the guest resets itself.
    pub on_reboot: OnReboot,
    /// What happens when the guest panics.
    pub on_crash: OnCrash,
    /// `<pm>`.
    #[serde(default)]
    pub pm: Pm,
    /// `<memoryBacking>`.
    #[serde(default)]
    pub memory_backing: Option<MemoryBacking>,
    /// `<cputune>`.
    #[serde(default)]
    pub cputune: Option<CpuTune>,
    /// `<numatune>`.
    #[serde(default)]
    pub numatune: Option<NumaTune>,
    /// Path of QEMU; `None` for the default one.
    pub emulator: Option<String>,
    /// Disks, in document order.
    pub disks: Vec<Disk>,
    /// Controllers that the document names; the command line adds what else is needed.
    pub controllers: Vec<Controller>,
    /// Network interfaces, in document order.
    pub interfaces: Vec<Interface>,
    /// Serial ports.
    pub serials: Vec<Serial>,
    /// Consoles; the first one mirrors the first serial port where there is one.
    pub consoles: Vec<Console>,
    /// virtio-serial channels.
    pub channels: Vec<Channel>,
    /// Input devices.
    pub inputs: Vec<Input>,
    /// VNC display.
    pub vnc: Option<Vnc>,
    /// Graphics card.
    pub video: Option<Video>,
    /// Further graphics cards, without VGA.
    #[serde(default)]
    pub more_videos: Vec<Video>,
    /// PCI devices of the host handed over as they are.
    pub hostdevs: Vec<Hostdev>,
    /// Balloon; `None` when the document left it out.
    pub memballoon: Option<Memballoon>,
    /// Entropy devices.
    pub rngs: Vec<Rng>,
    /// `<seclabel type='none'/>` was written.
    pub unlabelled: bool,
}

words! {
    /// `<domain type=…>`.
    pub enum Hypervisor {
        /// QEMU's own CPU emulation (TCG).
        Qemu = "qemu",
        /// The kernel's KVM.
        Kvm = "kvm",
    }
}
