//! The launcher: the short life of a process between the daemon and QEMU.
//!
//! The daemon writes a [`LaunchSpec`] into the guest's run directory and starts this program
//! with the spec's path as argument and the locked lock file as standard input. The launcher
//! then, in this order: writes down its pid and start time (those of QEMU to be), begins anew in
//! the guest's scope, where it is to have one, keeps the lock open over exec, begins the log, opens files and sockets at the numbers that QEMU's command
//! line names, hands over the VFIO devices, shuts itself in the guest's jail, sets limits, drops to
//! the guest's uid, and becomes QEMU. What goes wrong is written to `launch-error` in the run directory and to the log.
//!
//! It is single-threaded: uid and groups are set for the calling thread alone.
//!
//! The launcher is in a process group of its own but in the session of the daemon: a leader of
//! a group, which [`vfnet_host::process`] makes of every child, cannot begin a session. That
//! suffices to keep the signals of the daemon's terminal away; QEMU has no terminal open.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use rustix::fs::Mode;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Resource, Rlimit, umask};
use rustix::thread::{set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vfnet_host::process::{Purpose, command};
use vfnet_model::GuestName;
use vfnet_model::guest::{CpuSet, Hypervisor};

use crate::command_line::{self, FIRST_FD, Plan};
use crate::jail::{self, Jail, JailError};
use crate::process_id::ProcessId;
use crate::run_dir::{RunDir, RunDirError};
use crate::{log, scope, socket, vfio};

/// The launcher's exit code when it gave up before QEMU began (QEMU's own is 1).
pub const GAVE_UP: u8 = 125;

/// What a launcher is to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The guest's name.
    pub name: GuestName,
    /// The guest's UUID.
    pub uuid: Uuid,
    /// QEMU's program.
    pub program: PathBuf,
    /// Its arguments, without the program.
    pub args: Vec<String>,
    /// Environment besides `PATH` and `LC_ALL`.
    pub environment: BTreeMap<String, String>,
    /// Whom QEMU runs as; absent: as the daemon.
    pub credentials: Option<Credentials>,
    /// Locked memory allowed, bytes; absent: as the daemon.
    pub memlock: Option<u64>,
    /// Processors of the host that it runs on; any where none are named.
    #[serde(default)]
    pub cpus: Vec<u16>,
    /// Where QEMU's output goes.
    pub log: PathBuf,
    /// Files that QEMU gets open.
    pub files: Vec<OpenFile>,
    /// Sockets that QEMU gets listening. The monitor ([`RunDir::qmp_socket`]) is one of them.
    pub sockets: Vec<ListenSocket>,
    /// VFIO devices (`/dev/vfio/N`) that belong to the guest's uid while it runs.
    pub vfio_devices: Vec<PathBuf>,
    /// The guest's id, which is another one at each start.
    #[serde(default)]
    pub run: i32,
    /// What keeps it from the host's other devices; nothing where it has no credentials.
    #[serde(default)]
    pub jail: Jail,
    /// What it opens in `/dev` by name, besides VFIO devices and what every program finds there.
    #[serde(default)]
    pub devices: Vec<PathBuf>,
}

/// Whom a guest runs as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups (`kvm`).
    pub groups: Vec<u32>,
}

/// A file opened by the launcher with the daemon's rights.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenFile {
    /// Which.
    pub path: PathBuf,
    /// For what.
    pub access: Access,
    /// What it is copied from when it is not there.
    pub template: Option<PathBuf>,
    /// Its number in QEMU, from [`FIRST_FD`] on.
    pub fd: RawFd,
}

/// For what a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Writing it anew; made (0600) when it is not there.
    Replace,
    /// Writing at its end; made (0600) when it is not there.
    Append,
}

/// A unix socket bound by the launcher.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListenSocket {
    /// Where; what listens there already is replaced when it is a socket.
    pub path: PathBuf,
    /// Its number in QEMU, from [`FIRST_FD`] on.
    pub fd: RawFd,
    /// Who may connect besides root: this owner alone. Absent: the daemon's user.
    pub owner: Option<u32>,
}

/// Why a launcher gave up.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("usage: launch SPEC-FILE, with the lock as standard input")]
    Usage,
    #[error("cannot read the launch spec {path}")]
    Spec { path: PathBuf, source: io::Error },
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error("cannot find out who this process is")]
    Identity(#[source] io::Error),
    #[error("cannot keep the lock open")]
    Lock(#[source] io::Error),
    #[error("cannot open the log {path}")]
    Log { path: PathBuf, source: io::Error },
    #[error("cannot open {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot listen on {path}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("cannot hand {path} over as descriptor {fd}")]
    Descriptor { path: PathBuf, fd: RawFd, source: io::Error },
    #[error("cannot give {path} to uid {uid}")]
    Vfio { path: PathBuf, uid: u32, source: io::Error },
    #[error("cannot run systemd-run, which makes the guest's scope")]
    Scope(#[source] io::Error),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("cannot allow {bytes} bytes of locked memory")]
    MemLock { bytes: u64, source: io::Error },
    #[error("cannot run on the host's processors {cpus}; see <vcpu cpuset=…>")]
    Cpus { cpus: String, source: io::Error },
    #[error("cannot become uid {uid}, gid {gid}")]
    Credentials { uid: u32, gid: u32, source: io::Error },
    #[error("cannot start the emulator {program}")]
    Exec { program: PathBuf, source: io::Error },
}

impl From<command_line::OpenFile> for OpenFile {
    fn from(file: command_line::OpenFile) -> Self {
        let access = match file.access {
            command_line::Access::Read => Access::Read,
            command_line::Access::ReadWrite => Access::ReadWrite,
            command_line::Access::Replace => Access::Replace,
            command_line::Access::Append => Access::Append,
        };
        Self { path: file.path, access, template: file.template, fd: file.fd }
    }
}

impl LaunchSpec {
    /// What a planned guest needs, still without environment and VFIO devices, to run as the
    /// daemon does. The error is an argument that is not UTF-8.
    pub fn of(plan: Plan, log: PathBuf) -> Result<Self, OsString> {
        let args = plan.args.into_iter().map(OsString::into_string).collect::<Result<_, _>>()?;
        let kvm = (plan.guest.hypervisor == Hypervisor::Kvm).then_some(jail::KVM);
        let socket = |socket: command_line::ListenSocket| ListenSocket {
            path: socket.path,
            fd: socket.fd,
            owner: None,
        };
        Ok(Self {
            name: plan.guest.name.clone(),
            uuid: plan.guest.uuid.unwrap_or_default(),
            program: plan.program,
            args,
            environment: BTreeMap::new(),
            credentials: None,
            memlock: plan.locked_memory,
            cpus: emulator_cpus(&plan.guest).into_iter().flat_map(CpuSet::iter).collect(),
            log,
            files: plan.files.into_iter().map(OpenFile::from).collect(),
            sockets: plan.sockets.into_iter().map(socket).collect(),
            vfio_devices: Vec::new(),
            run: 0,
            jail: Jail::None,
            devices: kvm.map(PathBuf::from).into_iter().collect(),
        })
    }

    /// The spec in a run directory.
    pub fn load(run_dir: &RunDir) -> io::Result<Self> {
        let bytes = std::fs::read(run_dir.launch_spec())?;
        serde_json::from_slice(&bytes).map_err(io::Error::from)
    }

    /// What it opens by name in `/dev`, besides what every program finds there.
    pub(crate) fn in_dev(&self) -> impl Iterator<Item = &Path> {
        let vfio = (!self.vfio_devices.is_empty()).then_some(Path::new(jail::VFIO));
        self.devices.iter().chain(&self.vfio_devices).map(PathBuf::as_path).chain(vfio)
    }

    /// Writes it there.
    pub(crate) fn save(&self, run_dir: &RunDir) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        run_dir.write_whole("launch.json", &json).map_err(io::Error::other)
    }
}

/// Becomes QEMU; `args` are what follows `launch` on the command line. Returns only when that
/// failed. To be called before any thread is started.
pub fn launch_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Err(failure) = launch(args);
    let text = vfnet_model::explain(&failure.error);
    for (place, prefix) in [(failure.told_in, ""), (failure.log, "vfnet: ")] {
        if let Some(mut place) = place {
            // One of the two may be on a full disk; there is nobody else to tell.
            let _lost = writeln!(place, "{prefix}{text}");
        }
    }
    ExitCode::from(GAVE_UP)
}

/// A failure, and where to tell of it.
struct Failure {
    error: LaunchError,
    told_in: Option<File>,
    log: Option<File>,
}

fn launch(args: impl IntoIterator<Item = OsString>) -> Result<std::convert::Infallible, Failure> {
    let early = |error| Failure { error, told_in: None, log: None };
    let mut args = args.into_iter();
    let (Some(path), again, None) = (args.next().map(PathBuf::from), args.next(), args.next())
    else {
        return Err(early(LaunchError::Usage));
    };
    let in_scope = again.is_some_and(|word| word == scope::INSIDE);
    let Some(parent) = path.parent().map(Path::to_owned) else {
        return Err(early(LaunchError::Usage));
    };
    let run_dir = RunDir::at(parent);
    // What this process and QEMU make is nobody else's, from the moment that it is there: a mode
    // set afterwards would be set on whatever is at the path then.
    umask(Mode::RWXG | Mode::RWXO);
    // Opened now, for the guest's uid could not.
    let told_in = run_dir.open_launch_error().map_err(|error| early(error.into()))?;
    let mut log = None;
    match prepare(&run_dir, path, in_scope, &told_in, &mut log) {
        Ok(never) => match never {},
        Err(error) => Err(Failure { error, told_in: Some(told_in), log }),
    }
}

fn prepare(
    run_dir: &RunDir,
    spec: PathBuf,
    in_scope: bool,
    told_in: &File,
    log: &mut Option<File>,
) -> Result<std::convert::Infallible, LaunchError> {
    run_dir.write_process(&ProcessId::of_this_process().map_err(LaunchError::Identity)?)?;
    let spec =
        LaunchSpec::load(run_dir).map_err(|source| LaunchError::Spec { path: spec, source })?;
    if spec.jail == Jail::Scope && spec.credentials.is_some() && !in_scope {
        return scope::enter(&spec, std::env::args_os().skip(1), told_in)
            .map_err(LaunchError::Scope);
    }
    let _lock = kept(io::stdin().as_fd(), 3).map_err(LaunchError::Lock)?;
    let log = log.insert(
        log::begin(&spec.log, &command_line(&spec))
            .map_err(|source| LaunchError::Log { path: spec.log.clone(), source })?,
    );
    become_emulator(run_dir, &spec, log)
}

fn become_emulator(
    run_dir: &RunDir,
    spec: &LaunchSpec,
    log: &File,
) -> Result<std::convert::Infallible, LaunchError> {
    let mut descriptors = Vec::new();
    for file in &spec.files {
        let open =
            open(file).map_err(|source| LaunchError::File { path: file.path.clone(), source })?;
        descriptors.push(at(&open, file.fd, &file.path)?);
    }
    for listen in &spec.sockets {
        let bound = bind(listen)
            .map_err(|source| LaunchError::Socket { path: listen.path.clone(), source })?;
        descriptors.push(at(&bound, listen.fd, &listen.path)?);
    }
    if let Some(credentials) = &spec.credentials {
        for path in &spec.vfio_devices {
            vfio::give(path, credentials.uid, credentials.gid).map_err(|source| {
                LaunchError::Vfio { path: path.clone(), uid: credentials.uid, source }
            })?;
        }
        if spec.jail == Jail::Namespace {
            jail::enter(run_dir, credentials, spec.in_dev())?;
        }
    }
    if let Some(bytes) = spec.memlock {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(Resource::Memlock, limit)
            .map_err(|error| LaunchError::MemLock { bytes, source: error.into() })?;
    }
    if !spec.cpus.is_empty() {
        let mut set = rustix::thread::CpuSet::new();
        spec.cpus.iter().for_each(|cpu| set.set(usize::from(*cpu)));
        rustix::thread::sched_setaffinity(None, &set).map_err(|error| LaunchError::Cpus {
            cpus: spec.cpus.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
            source: error.into(),
        })?;
    }
    let output = || {
        log.try_clone()
            .map(Stdio::from)
            .map_err(|source| LaunchError::Log { path: spec.log.clone(), source })
    };
    let mut emulator = command(&spec.program, Purpose::Guest);
    emulator.args(&spec.args).envs(&spec.environment).stdout(output()?).stderr(output()?);
    if let Some(credentials) = &spec.credentials {
        drop_to(credentials).map_err(|error| LaunchError::Credentials {
            uid: credentials.uid,
            gid: credentials.gid,
            source: error,
        })?;
    }
    let source = emulator.exec();
    drop(descriptors);
    Err(LaunchError::Exec { program: spec.program.clone(), source })
}

/// Where QEMU's threads run that are no virtual CPUs; where nothing is said, anywhere.
fn emulator_cpus(guest: &vfnet_model::guest::Guest) -> Option<&CpuSet> {
    let pinned = guest.cputune.as_ref().and_then(|tune| tune.emulator.as_ref());
    pinned.or(guest.cpuset.as_ref())
}

pub(crate) fn drop_to(credentials: &Credentials) -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    let Credentials { uid, gid, groups } = credentials;
    if [uid, gid].into_iter().chain(groups).any(|id| *id == 0) {
        let why = "a guest is never root, nor in root's group";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let groups: Vec<Gid> = credentials.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    set_thread_groups(&groups)?;
    set_thread_gid(Gid::from_raw(credentials.gid))?;
    set_thread_uid(Uid::from_raw(credentials.uid))?;
    Ok(set_no_new_privs(true)?)
}

pub(crate) fn open(file: &OpenFile) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match file.access {
        Access::Read => options.read(true),
        Access::ReadWrite => options.read(true).write(true),
        Access::Replace => options.write(true).create(true).truncate(true),
        Access::Append => options.append(true).create(true),
    };
    options.mode(0o600);
    match (options.open(&file.path), &file.template) {
        (Err(error), Some(template)) if error.kind() == io::ErrorKind::NotFound => {
            copy_whole(template, &file.path)?;
            options.open(&file.path)
        }
        (opened, _) => opened,
    }
}

/// Copies a file so that a launcher killed half-way leaves no half of it.
fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    let mut fresh = to.as_os_str().to_owned();
    fresh.push(".new");
    let mut copy =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()?;
    std::fs::rename(&fresh, to)
}

fn bind(listen: &ListenSocket) -> io::Result<OwnedFd> {
    match std::fs::symlink_metadata(&listen.path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(&listen.path)?,
        // Whatever else is there is not ours to remove; binding says that the name is taken.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = socket::listen(&listen.path)?;
    if let Some(uid) = listen.owner {
        std::os::unix::fs::lchown(&listen.path, Some(uid), None)?;
    }
    Ok(listener.into())
}

/// A copy of a descriptor at exactly this number, open over exec.
fn at(open: impl AsFd, fd: RawFd, path: &Path) -> Result<OwnedFd, LaunchError> {
    let failed = |source| LaunchError::Descriptor { path: path.to_owned(), fd, source };
    if fd < FIRST_FD {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the launcher uses that number itself",
        )));
    }
    let copy = kept(open.as_fd(), fd).map_err(failed)?;
    // F_DUPFD takes the lowest free number that is not below the one asked for.
    if copy.as_raw_fd() == fd {
        Ok(copy)
    } else {
        Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "that number is taken")))
    }
}

fn kept(open: impl AsFd, least: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl_dupfd_cloexec(open, least)?;
    fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}

/// The command line as one would type it.
fn command_line(spec: &LaunchSpec) -> String {
    let mut line = spec.program.display().to_string();
    for arg in &spec.args {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:/+@%".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(&format!(" {arg}"));
        } else {
            line.push_str(&format!(" '{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}
