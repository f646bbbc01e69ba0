//! The daemon over the simulated host, for tests.
//!
//! The machine is a file (`--host FILE`), made as `--make` says when it is not there, so that it
//! outlives the daemon, and a test can look at it and change it meanwhile
//! (`vfnet_host_sim::SimHost::open`). What is written to `FILE.uevents`, a FIFO, is announced as if
//! the kernel had: a line each, whatever it says. Beside it lies `FILE.qemu`, a link to this program: started
//! by that name it is the stand-in for QEMU on that machine, and it holds the VFIO groups of the
//! VFs on its command line open. Guests run as the user of the daemon.

mod machine;
mod stand_in;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use clap::Parser;
use machine::Machine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use stand_in::HostDevices;
use vfnet_host_sim::SimHost;
use vfnet_model::PciAddress;
use vfnet_qemu::Launcher;
use vfnetd::machine::{Announced, in_moments};
use vfnetd::options::Options;
use vfnetd::steps::Steps;
use vfnetd::{Setting, log, procedures};

/// What the name of the stand-in has after the machine's.
const STAND_IN: &str = ".qemu";

/// What the name of the FIFO of announcements has after the machine's.
const UEVENTS: &str = "uevents";

/// The most bytes of announcements that wait there, the kernel's for a pipe of anybody's.
const UNREAD: usize = 1 << 20;

/// How often the machine's file is looked at for changes.
const LOOK: Duration = Duration::from_millis(20);

/// vfnetd over a simulated machine.
#[derive(Parser, Debug)]
#[command(name = "vfnetd-sim", version)]
struct SimOptions {
    /// The simulated machine
    #[arg(long, value_name = "FILE")]
    host: PathBuf,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if let Some(machine) = name.as_bytes().strip_suffix(STAND_IN.as_bytes()) {
        return stand_in(Path::new(&OsString::from_vec(machine.to_vec())));
    }
    if args.next().is_some_and(|word| word == "launch") {
        return vfnet_qemu::launch::launch_main(args);
    }
    let sim = SimOptions::parse();
    if sim.options.list_procedures {
        return procedures::print();
    }
    log::start(sim.options.verbose);
    let outcome =
        switch_on(&sim).map_err(|fault| vfnet_model::explain(&*fault)).and_then(|setting| {
            vfnetd::run(&sim.options, setting).map_err(|fault| vfnet_model::explain(&fault))
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The simulated machine, with a stand-in for QEMU on it.
fn switch_on(sim: &SimOptions) -> Result<Setting, Box<dyn std::error::Error>> {
    let path = std::path::absolute(&sim.host)?;
    let host = if path.exists() {
        SimHost::open(&path)?
    } else {
        sim.machine.builder().build_at(&path)?
    };
    let mut stand_in = path.clone().into_os_string();
    stand_in.push(STAND_IN);
    let stand_in = PathBuf::from(stand_in);
    match std::os::unix::fs::symlink(std::env::current_exe()?, &stand_in) {
        Err(fault) if fault.kind() != io::ErrorKind::AlreadyExists => return Err(fault.into()),
        _ => {}
    }
    Ok(Setting {
        host: Arc::new(host.clone()),
        devices: Arc::new(host),
        watch: Some(in_moments(Changes::of(path)?)),
        vfio: None,
        launcher: Launcher::this_program(),
        stand_in: Some(stand_in),
        steps: Steps::default(),
    })
}

/// Changes of the machine's file, and what is announced besides.
struct Changes {
    path: PathBuf,
    seen: Option<Stamp>,
    uevents: File,
}

impl Changes {
    fn of(path: PathBuf) -> io::Result<Self> {
        let fifo = path.with_added_extension(UEVENTS);
        match mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
            Err(Errno::EXIST) | Ok(()) => {}
            Err(fault) => return Err(fault.into()),
        }
        // Open for both, it has no end.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let uevents = File::from(open(&fifo, flags, Mode::empty())?);
        fcntl_setpipe_size(&uevents, UNREAD)?;
        Ok(Self { seen: stamp(&path), path, uevents })
    }
}

impl Announced for Changes {
    fn wait(&mut self) -> io::Result<()> {
        let limit = Timespec::try_from(LOOK).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.uevents, PollFlags::IN)];
        while stamp(&self.path) == self.seen {
            if poll(&mut fds, Some(&limit))? > 0 {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> io::Result<bool> {
        let mut announced = vec![0; UNREAD];
        let count = match self.uevents.read(&mut announced) {
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => 0,
            count => count?,
        };
        let before = std::mem::replace(&mut self.seen, stamp(&self.path));
        Ok(count > 0 || self.seen != before)
    }

    fn listen_anew(&mut self) {}
}

type Stamp = (u64, u64, SystemTime);

/// Another one after every change: each puts a new file in the old one's place, and several fit
/// into one tick of the clock of modification times.
fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()?))
}

/// Acts as QEMU on a machine.
fn stand_in(machine: &Path) -> ExitCode {
    let opener = Opener { machine: machine.to_owned(), host: OnceLock::new() };
    stand_in::main(std::env::args().skip(1), Box::new(opener))
}

/// Opens and closes VFs of the machine; a stand-in without any does without the machine.
struct Opener {
    machine: PathBuf,
    host: OnceLock<SimHost>,
}

impl HostDevices for Opener {
    fn open(&self, device: &str) -> Result<(), String> {
        let told = |fault: &dyn std::error::Error| vfnet_model::explain(fault);
        let device: PciAddress = device.parse().map_err(|fault| told(&fault))?;
        let opened = SimHost::open(&self.machine).map_err(|fault| told(&fault))?;
        let name = format!("qemu-stand-in of {}", self.machine.display());
        let host = self.host.get_or_init(|| opened);
        host.open_vfio_myself(device, &name).map_err(|fault| told(&fault))
    }

    fn close(&self, device: &str) {
        if let (Some(host), Ok(device)) = (self.host.get(), device.parse()) {
            host.close_vfio(device);
        }
    }
}
