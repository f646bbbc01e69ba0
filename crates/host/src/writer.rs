//! Writes that the kernel may never come back from, each in a process of its own. (Reads of that
//! sort are in [`crate::reader`].)
//!
//! Binding, unbinding, `sriov_numvfs` and modprobe can sleep in the kernel where no signal
//! reaches. So they are done by a short-lived child, this program's own binary called as
//! `EXE [PREFIX…] PATH VALUE`, whose `main` hands over to [`kernel_write_main`]. A child that
//! is not back in time is left alone; the daemon can be killed and started again meanwhile, and
//! finds it again in [`Writer::unfinished`].

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vfnet_model::DriverName;

use crate::HostError;
use crate::process::{Purpose, command};
use crate::reader::{self, Readers, Reading};

/// Exit code of a child that was called wrongly; error numbers are below.
const MISUSED: u8 = 255;

/// A driver at work holds its device's lock for less, most of the time; after that a device counts
/// as in use until the next look.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// How the kernel is written to, and read where that may take as long.
pub trait Writer: Send + Sync {
    /// Writes a value to a file of sysfs.
    ///
    /// # Errors
    ///
    /// [`HostError::File`] with the kernel's error number, [`HostError::Stuck`] after the limit.
    fn write(&self, path: &Path, value: &str, limit: Duration) -> Result<(), HostError>;

    /// Loads a module.
    fn modprobe(&self, module: &DriverName, limit: Duration) -> Result<(), HostError>;

    /// Reads a file of sysfs that the kernel may guard with a device's lock.
    fn read(&self, path: &Path) -> Reading;

    /// Writes that the kernel has not come back from yet, as `PATH VALUE`: those under way and
    /// those that nobody waits for any more. Files of the devices in them must not be read where
    /// reading takes the device's lock.
    fn unfinished(&self) -> Vec<String>;
}

/// [`Writer`] by children.
#[derive(Debug)]
pub struct KernelWriter {
    exe: PathBuf,
    prefix: Vec<OsString>,
    proc: PathBuf,
    under_way: Mutex<Vec<String>>,
    left: Mutex<Vec<Left>>,
    readers: Readers,
}

/// A write that is waited for; under way as long as this lives.
struct UnderWay<'a> {
    all: &'a Mutex<Vec<String>>,
    writing: String,
}

impl<'a> UnderWay<'a> {
    fn begin(all: &'a Mutex<Vec<String>>, writing: &str) -> Self {
        all.lock().unwrap_or_else(PoisonError::into_inner).push(writing.to_owned());
        Self { all, writing: writing.to_owned() }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.iter().position(|writing| *writing == self.writing) {
            all.swap_remove(place);
        }
    }
}

/// A child that was left behind, by this process or by one before it.
#[derive(Debug)]
struct Left {
    pid: u32,
    /// Kept to be reaped, when it is this process's own.
    child: Option<Child>,
    writing: String,
}

impl KernelWriter {
    /// `exe` and `prefix`: what to call so that [`kernel_write_main`] gets the two arguments
    /// after `prefix`, or none when it is to read. Looks below `/proc` for children that an earlier run has left behind.
    pub fn new(exe: PathBuf, prefix: Vec<OsString>) -> Self {
        let proc = PathBuf::from("/proc");
        let left = Mutex::new(left_behind(&proc, &prefix));
        let readers = Readers::new(exe.clone(), prefix.clone());
        Self { exe, prefix, proc, under_way: Mutex::default(), left, readers }
    }

    fn run(&self, mut command: Command, limit: Duration, writing: String) -> Finished {
        let _under_way = UnderWay::begin(&self.under_way, &writing);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Finished::NotStarted(error),
        };
        match exited(&child, limit)
            .and_then(|exited| if exited { child.try_wait() } else { Ok(None) })
        {
            Ok(Some(status)) => {
                let said = child.stderr.take().map(said).unwrap_or_default();
                Finished::Exit(status.code(), said)
            }
            outcome => {
                tracing::error!(writing, pid = child.id(), ?outcome, "left in the kernel");
                let left = Left { pid: child.id(), child: Some(child), writing };
                self.left.lock().unwrap_or_else(PoisonError::into_inner).push(left);
                Finished::Late
            }
        }
    }
}

enum Finished {
    Exit(Option<i32>, String),
    Late,
    NotStarted(io::Error),
}

impl Writer for KernelWriter {
    fn write(&self, path: &Path, value: &str, limit: Duration) -> Result<(), HostError> {
        let writing = format!("{} {value}", path.display());
        let mut command = command(&self.exe, Purpose::KernelWrite);
        command.args(&self.prefix).arg(path).arg(value);
        let failed = |source| HostError::File {
            doing: format!("write '{value}' to"),
            path: path.display().to_string(),
            source,
        };
        match self.run(command, limit, writing.clone()) {
            Finished::Exit(Some(0), _) => Ok(()),
            Finished::Exit(Some(errno), _) if errno < i32::from(MISUSED) => {
                Err(failed(io::Error::from_raw_os_error(errno)))
            }
            Finished::Exit(..) => Err(HostError::Process {
                program: self.exe.display().to_string(),
                said: format!("it did not write '{value}' to {}", path.display()),
            }),
            Finished::Late => Err(HostError::Stuck { step: format!("write {writing}"), limit }),
            Finished::NotStarted(source) => Err(failed(source)),
        }
    }

    fn modprobe(&self, module: &DriverName, limit: Duration) -> Result<(), HostError> {
        let mut command = command("modprobe", Purpose::System);
        command.arg("--").arg(module.as_str()).stderr(Stdio::piped());
        let step = format!("modprobe {module}");
        let failed = |said| Err(HostError::Process { program: step.clone(), said });
        match self.run(command, limit, step.clone()) {
            Finished::Exit(Some(0), _) => Ok(()),
            Finished::Exit(_, said) => failed(said),
            Finished::Late => Err(HostError::Stuck { step, limit }),
            Finished::NotStarted(error) => failed(error.to_string()),
        }
    }

    fn read(&self, path: &Path) -> Reading {
        self.readers.read(path, READ_LIMIT)
    }

    fn unfinished(&self) -> Vec<String> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain_mut(|left| match &mut left.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => writing(&self.proc, left.pid, &self.prefix).as_ref() == Some(&left.writing),
        });
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().map(|left| &left.writing).chain(&*under_way).cloned().collect()
    }
}

/// Whether a child ends within the limit.
fn exited(child: &Child, limit: Duration) -> io::Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a program that has ended wrote, in so far as it is short; a grandchild that has the pipe
/// is not waited for.
fn said(mut pipe: std::process::ChildStderr) -> String {
    let mut words = vec![0; 4096];
    let read = fcntl_setfl(&pipe, OFlags::NONBLOCK)
        .map_err(io::Error::from)
        .and_then(|()| pipe.read(&mut words))
        .unwrap_or(0);
    words.truncate(read);
    String::from_utf8_lossy(&words).trim().to_owned()
}

/// Children of an earlier run that are still in the kernel.
fn left_behind(proc: &Path, prefix: &[OsString]) -> Vec<Left> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| {
            writing(proc, pid, prefix).map(|writing| Left { pid, child: None, writing })
        })
        .collect()
}

/// What a process writes, if it is such a child.
fn writing(proc: &Path, pid: u32, prefix: &[OsString]) -> Option<String> {
    let line = std::fs::read(proc.join(pid.to_string()).join("cmdline")).ok()?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let after = words.get(1..)?.strip_prefix(
        prefix.iter().map(|word| word.as_encoded_bytes()).collect::<Vec<_>>().as_slice(),
    )?;
    let [path, value, b""] = after else { return None };
    path.starts_with(b"/sys/")
        .then(|| format!("{} {}", String::from_utf8_lossy(path), String::from_utf8_lossy(value)))
}

/// The child's side: writes the second argument to the file named by the first, which must be
/// below `/sys`, and exits with the error number, 0 for none. Without arguments it reads, see
/// [`crate::reader`].
pub fn kernel_write_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.is_empty() {
        return reader::serve(io::stdin().lock(), io::stdout().lock());
    }
    let [path, value] = args.as_slice() else { return ExitCode::from(MISUSED) };
    let path = Path::new(path);
    if !is_below_sys(path) {
        return ExitCode::from(MISUSED);
    }
    match write_once(path, value) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let errno = error.raw_os_error().and_then(|errno| u8::try_from(errno).ok());
            ExitCode::from(errno.unwrap_or(MISUSED))
        }
    }
}

pub(crate) fn is_below_sys(path: &Path) -> bool {
    path.starts_with("/sys")
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// One `write`, because the kernel takes each as a value.
fn write_once(path: &Path, value: &OsStr) -> io::Result<()> {
    let mut file = std::fs::File::options().write(true).open(path)?;
    let value = value.as_encoded_bytes();
    if file.write(value)? == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(prefix: &[&str]) -> KernelWriter {
        KernelWriter::new("/bin/sh".into(), prefix.iter().map(Into::into).collect())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn the_kernels_error_number_comes_back() {
        let refused = writer(&["-c", "exit 16"]).write(Path::new("/sys/x"), "1", LONG);
        let Err(HostError::File { source, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(source.raw_os_error(), Some(16));
        writer(&["-c", "exit 0"]).write(Path::new("/sys/x"), "1", LONG).unwrap();
    }

    /// A file whose reader, the child below, does not end before somebody writes to it.
    fn fifo(dir: &Path) -> PathBuf {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let fifo = dir.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        fifo
    }

    #[test]
    fn a_write_is_known_from_its_beginning_to_its_end() {
        let writer = writer(&["-c", "read line < \"$0\""]);
        let dir = tempfile::tempdir().unwrap();
        let fifo = fifo(dir.path());
        std::thread::scope(|scope| {
            let write = scope.spawn(|| writer.write(&fifo, "0000:01:10.1", LONG));
            let end = Instant::now() + LONG;
            while !writer.unfinished().iter().any(|write| write.ends_with("0000:01:10.1")) {
                assert!(Instant::now() < end && !write.is_finished(), "nobody knows of the write");
                std::thread::yield_now();
            }
            std::fs::write(&fifo, "go\n").unwrap();
            write.join().unwrap().unwrap();
        });
        assert_eq!(writer.unfinished(), [""; 0]);
    }

    #[test]
    fn a_child_that_does_not_come_back_is_left_known_and_reaped() {
        let writer = writer(&["-c", "read line < \"$0\""]);
        let dir = tempfile::tempdir().unwrap();
        let fifo = fifo(dir.path());
        let stuck = writer.write(&fifo, "0000:01:10.1", Duration::from_millis(50));
        assert!(matches!(stuck, Err(HostError::Stuck { .. })), "{stuck:?}");
        assert!(writer.unfinished()[0].ends_with("0000:01:10.1"));

        std::fs::write(&fifo, "go\n").unwrap();
        let end = Instant::now() + LONG;
        while !writer.unfinished().is_empty() {
            assert!(Instant::now() < end, "the child was not reaped");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_an_earlier_run_left_is_found() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, line: &str| {
            std::fs::create_dir(proc.path().join(pid)).unwrap();
            std::fs::write(proc.path().join(pid).join("cmdline"), line).unwrap();
        };
        process("7", "/usr/sbin/d\0kernel-write\0/sys/a/unbind\x000000:01:10.1\0");
        process("8", "/usr/sbin/d\0kernel-write\0/etc/passwd\0x\0");
        process("9", "/usr/bin/vi\0/sys/a\0x\0");
        process("10", "");
        let left = left_behind(proc.path(), &["kernel-write".into()]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].writing, "/sys/a/unbind 0000:01:10.1");
    }

    #[test]
    fn a_modules_name_is_no_option_of_modprobe() {
        for name in ["--version", "-V"] {
            let loaded = writer(&[]).modprobe(&name.parse().unwrap(), LONG);
            assert!(matches!(loaded, Err(HostError::Process { .. })), "{name}: {loaded:?}");
        }
    }

    #[test]
    fn the_child_writes_below_sys_only() {
        assert!(is_below_sys(Path::new("/sys/bus/pci/drivers_probe")));
        for path in ["/etc/passwd", "/sys/../etc/passwd", "sys/x", "/system/x"] {
            assert!(!is_below_sys(Path::new(path)), "{path}");
        }
    }
}
