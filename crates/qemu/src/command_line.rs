//! From a guest to QEMU's command line.
//!
//! [`plan`] decides everything about how a guest is run that can be decided without touching
//! the host: the arguments, which files are opened and which sockets listen before QEMU starts
//! (the launcher does that, so that QEMU's own uid needs no right to any path), where each
//! device sits in the guest, and what is left to say over QMP. It is a function of its inputs: the
//! same guest gets the same addresses at every start.
//!
//! What users name (paths, names, serial numbers) goes to QEMU as JSON where QEMU takes JSON,
//! and with its commas doubled elsewhere, so that no text can become another option.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vfnet_model::guest::{Attachment, Guest, Memballoon, Password};

mod aliases;
mod arguments;
mod chardevs;
mod devices;
pub mod hotplug;
mod machine;
mod memory;
mod network;
mod pci;

use arguments::Arguments;
use devices::Buses;
pub use pci::SPARE_ROOT_PORTS;

/// Number of the first descriptor handed to QEMU; the others follow without a gap. It is above
/// what whoever started the daemon may have left open (a shell keeps 10, make its job server).
pub const FIRST_FD: i32 = 100;

/// What has been found out about the host when a guest starts.
#[derive(Clone, Copy, Debug)]
pub struct Resolved<'a> {
    /// What each interface became, in the order of [`Guest::interfaces`].
    pub interfaces: &'a [Attachment],
    /// Where QEMU's monitor listens; the first one of [`Plan::sockets`].
    pub qmp: &'a Path,
    /// Directory for the sockets of channels that have no path of their own.
    pub run_dir: &'a Path,
    /// Root ports left free on a q35 guest, for devices plugged in while it runs.
    pub spare_root_ports: u8,
}

/// How a guest is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// QEMU.
    pub program: PathBuf,
    /// Its arguments, without the program.
    pub args: Vec<OsString>,
    /// Files to open before it starts.
    pub files: Vec<OpenFile>,
    /// Sockets to listen on before it starts.
    pub sockets: Vec<ListenSocket>,
    /// The guest with every device's alias and address, for its live document.
    pub guest: Guest,
    /// Bytes of memory that QEMU may lock; `None` when it needs none.
    pub locked_memory: Option<u64>,
    /// What is said over QMP before the guest runs.
    pub before_run: BeforeRun,
}

/// A file that QEMU gets as a descriptor, named `/dev/fdset/N` on its command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFile {
    /// The file on the host.
    pub path: PathBuf,
    /// How it is opened.
    pub access: Access,
    /// QEMU's set of descriptors that it becomes a member of.
    pub fdset: u32,
    /// Number that the descriptor has in QEMU.
    pub fd: i32,
    /// What the file is copied from when it is not there yet (a guest's UEFI variables).
    pub template: Option<PathBuf>,
}

/// How a file is opened. A file set has its access checked by QEMU, so it must be exactly this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// `O_RDONLY`.
    Read,
    /// `O_RDWR`.
    ReadWrite,
    /// `O_WRONLY | O_CREAT | O_TRUNC`, mode 0600.
    Replace,
    /// `O_WRONLY | O_CREAT | O_APPEND`, mode 0600.
    Append,
}

/// A unix socket on which QEMU accepts connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenSocket {
    /// Where it is bound; what was there is removed first.
    pub path: PathBuf,
    /// Number that the listening descriptor has in QEMU.
    pub fd: i32,
}

/// What a command line cannot say, in this order, before `cont`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BeforeRun {
    /// `set_password` for VNC.
    pub vnc_password: Option<Password>,
    /// `set_link` down, by QEMU's device id.
    pub links_down: Vec<String>,
    /// `balloon` to so many bytes.
    pub balloon: Option<u64>,
}

/// Why a guest cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The guest was not filled in, or what was resolved is not this guest's.
    #[error("guest {guest} is not ready to start: it lacks {lack}")]
    NotReady {
        /// The guest.
        guest: vfnet_model::GuestName,
        /// What it lacks.
        lack: String,
    },
    /// The document asks for devices that cannot be together.
    #[error("unsupported configuration: {0}")]
    Unsupported(String),
}

/// Bytes of memory that QEMU may lock for this guest: with a passthrough device all of the
/// guest's memory is pinned, and 1 GiB for QEMU's own and the devices' regions (libvirt's rule).
pub fn locked_memory(guest: &Guest, interfaces: &[Attachment]) -> Option<u64> {
    const MARGIN: u64 = 1 << 30;
    let passthrough = !guest.hostdevs.is_empty()
        || interfaces.iter().any(|attachment| matches!(attachment, Attachment::Vf { .. }));
    if guest.memory_backing.as_ref().is_some_and(|backing| backing.locked) {
        // All that QEMU maps counts (`mlockall`), most of it never touched: without a limit
        // (libvirt: the same, where there is no `<hard_limit>`).
        return Some(u64::MAX);
    }
    passthrough.then(|| guest.memory_kib.saturating_mul(1024).saturating_add(MARGIN))
}

/// Decides how a guest is run. The guest has been filled in ([`Guest::fill_in`]).
pub fn plan(guest: &Guest, resolved: Resolved<'_>) -> Result<Plan, PlanError> {
    let attachments = resolved.interfaces;
    if attachments.len() != guest.interfaces.len() {
        return Err(not_ready(guest, "something that each of its interfaces became"));
    }
    let program = guest.emulator.as_ref().ok_or_else(|| not_ready(guest, "an emulator"))?;
    network::check(guest, attachments)?;
    let mut placed = guest.clone();
    devices::add_controllers(&mut placed)?;
    pci::place(&mut placed, attachments, resolved.spare_root_ports)?;
    aliases::give(&mut placed, attachments);
    chardevs::place_sockets(&mut placed, resolved.run_dir)?;
    // The document keeps its boot order as it was written.
    let mut ordered = placed.clone();
    machine::order_boot(&mut ordered);
    let buses = Buses::of(&ordered);
    let mut out = Arguments::default();
    let mut before_run = BeforeRun {
        balloon: match guest.memballoon {
            Some(Memballoon::Virtio(_)) if guest.current_memory_kib < guest.memory_kib => {
                Some(guest.current_memory_kib.saturating_mul(1024))
            }
            _ => None,
        },
        ..BeforeRun::default()
    };
    chardevs::write_monitor(resolved.qmp, &mut out)?;
    machine::write(&ordered, &mut out);
    devices::write_controllers(&ordered, &buses, &mut out);
    devices::write_disks(&ordered, &buses, &mut out);
    network::write(&ordered, attachments, &buses, &mut out, &mut before_run)?;
    chardevs::write(&ordered, &buses, &mut out)?;
    if let Some(vnc) = &ordered.vnc {
        network::write_vnc(vnc, &mut out, &mut before_run);
    }
    devices::write_small(&ordered, &buses, &mut out);
    Ok(Plan {
        program: program.into(),
        args: out.args,
        files: out.files,
        sockets: out.sockets,
        locked_memory: locked_memory(guest, attachments),
        guest: placed,
        before_run,
    })
}

fn not_ready(guest: &Guest, lack: &str) -> PlanError {
    PlanError::NotReady { guest: guest.name.clone(), lack: lack.to_owned() }
}
