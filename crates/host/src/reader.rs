//! Reads that may hang, in processes of their own.
//!
//! The kernel shows some attributes (`driver_override`, on kernels where the device's lock guards
//! it) only while nobody holds the device's lock, and a bind that hangs, whoever began it, holds
//! that for good. A thread in such a read sleeps where no signal reaches, and the process cannot
//! end until the kernel comes back. So a child reads: this program's own binary, called as
//! `EXE [PREFIX…]`, whose `main` hands over to [`serve`] by way of
//! [`crate::writer::kernel_write_main`].
//!
//! Looks read the attribute of every VF, so a child answers for many files: a path on a line, and
//! the answer as error number and length on a line, then the bytes. One that does not answer in
//! time is killed, which has its effect when the kernel comes back, and its file is not read again
//! until then. Children that are not at work wait for their next path; when the daemon dies, they
//! read the end of their input, and end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::process::{Purpose, command};

/// Attributes have a page at most.
const ATTRIBUTE_MAX: u64 = 4096;

/// Children that are kept for the next read.
const KEPT: usize = 2;

/// What reading a file came to.
#[derive(Debug)]
pub enum Reading {
    /// What is in it, or the kernel's error.
    Done(io::Result<Vec<u8>>),
    /// Somebody holds the device's lock.
    Locked,
}

/// Children that read.
#[derive(Debug)]
pub(crate) struct Readers {
    exe: PathBuf,
    prefix: Vec<OsString>,
    idle: Mutex<Vec<Reader>>,
    /// Those that the kernel has not come back to, and the file of each. Two looks at once may
    /// each lose one to the same file.
    lost: Mutex<Vec<(PathBuf, Child)>>,
}

impl Readers {
    pub(crate) fn new(exe: PathBuf, prefix: Vec<OsString>) -> Self {
        Self { exe, prefix, idle: Mutex::default(), lost: Mutex::default() }
    }

    /// Reads a file, a page of it at most, within a limit.
    pub(crate) fn read(&self, path: &Path, limit: Duration) -> Reading {
        if self.is_lost(path) {
            return Reading::Locked;
        }
        let kept = lock(&self.idle).pop();
        if let Some(reader) = kept
            && let Ok(reading) = self.ask(reader, path, limit)
        {
            return reading;
        }
        // There was none, or somebody has ended it.
        Reader::start(self)
            .and_then(|reader| self.ask(reader, path, limit))
            .unwrap_or_else(|error| Reading::Done(Err(error)))
    }

    /// The error is the child's, which is of no use any more.
    fn ask(&self, mut reader: Reader, path: &Path, limit: Duration) -> io::Result<Reading> {
        match reader.ask(path, limit) {
            Ok(Some(answer)) => {
                let mut idle = lock(&self.idle);
                if idle.len() < KEPT {
                    idle.push(reader);
                } else {
                    reader.end();
                }
                Ok(Reading::Done(answer))
            }
            Ok(None) => {
                let killed = reader.child.kill();
                let pid = reader.child.id();
                tracing::warn!(path = %path.display(), pid, ?killed, "left in the kernel");
                lock(&self.lost).push((path.to_owned(), reader.child));
                Ok(Reading::Locked)
            }
            Err(error) => {
                reader.end();
                Err(error)
            }
        }
    }

    fn is_lost(&self, path: &Path) -> bool {
        let mut lost = lock(&self.lost);
        // Of all of them: a file that is gone with its device is not asked for again.
        lost.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        lost.iter().any(|(file, _)| file == path)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that waits for the path of its next file.
#[derive(Debug)]
struct Reader {
    child: Child,
    paths: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    fn start(readers: &Readers) -> io::Result<Self> {
        let mut child = command(&readers.exe, Purpose::KernelRead)
            .args(&readers.prefix)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a child without pipes");
        let paths = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Self { child, paths, answers })
    }

    /// The answer, or none within the limit; an error when the child is of no use any more.
    fn ask(&mut self, path: &Path, limit: Duration) -> io::Result<Option<io::Result<Vec<u8>>>> {
        let path = path.as_os_str().as_encoded_bytes();
        if path.contains(&b'\n') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.paths.write_all(&[path, b"\n"].concat())?;
        if !readable(&self.answers, limit)? {
            return Ok(None);
        }
        // What has begun is not held up any more.
        let mut head = String::new();
        self.answers.by_ref().take(32).read_line(&mut head)?;
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let (errno, length) = head.trim_end().split_once(' ').ok_or_else(broken)?;
        let errno: i32 = errno.parse().map_err(|_| broken())?;
        let length: u64 =
            length.parse().ok().filter(|it| *it <= ATTRIBUTE_MAX).ok_or_else(broken)?;
        let mut bytes = Vec::new();
        self.answers.by_ref().take(length).read_to_end(&mut bytes)?;
        let answer = if errno == 0 { Ok(bytes) } else { Err(io::Error::from_raw_os_error(errno)) };
        Ok(Some(answer))
    }

    /// Ends it while it waits for its input, or is of no use any more.
    fn end(mut self) {
        let _reaped = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn readable(answers: &BufReader<ChildStdout>, limit: Duration) -> io::Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(answers.get_ref(), PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The child's side: answers for each path on a line, which must be below `/sys`, until its input
/// ends.
pub(crate) fn serve(paths: impl io::BufRead, mut answers: impl io::Write) -> ExitCode {
    for path in paths.lines() {
        let Ok(path) = path else { return ExitCode::FAILURE };
        let (errno, bytes) = match read_once(Path::new(&path)) {
            Ok(bytes) => (0, bytes),
            Err(error) => {
                (error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()), Vec::new())
            }
        };
        let mut answer = format!("{errno} {}\n", bytes.len()).into_bytes();
        answer.extend(bytes);
        if answers.write_all(&answer).and_then(|()| answers.flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    if !crate::writer::is_below_sys(path) {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error()));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(ATTRIBUTE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Children that answer as `serve` does, with what is in the file, wherever it is.
    fn readers() -> Readers {
        let script = "while IFS= read -r path; do text=; IFS= read -r text < \"$path\"; \
                      printf '0 %s\\n%s' ${#text} \"$text\"; done";
        Readers::new("/bin/sh".into(), vec!["-c".into(), script.into()])
    }

    fn text(reading: Reading) -> String {
        match reading {
            Reading::Done(Ok(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// A file that shows nothing until somebody writes to it.
    fn held(dir: &Path) -> PathBuf {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = dir.join("driver_override");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        path
    }

    #[test]
    fn one_child_answers_for_many_files() {
        let (readers, dir) = (readers(), tempfile::tempdir().unwrap());
        let mut children = std::collections::BTreeSet::new();
        for n in 0..20 {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, format!("driver-{n}")).unwrap();
            assert_eq!(text(readers.read(&path, LONG)), format!("driver-{n}"));
            children.extend(lock(&readers.idle).iter().map(|it| it.child.id()));
        }
        assert_eq!(children.len(), 1);
    }

    #[test]
    fn a_file_whose_lock_somebody_holds_is_given_up_and_left_alone_until_that_is_over() {
        let (readers, dir) = (readers(), tempfile::tempdir().unwrap());
        let path = held(dir.path());
        let other = dir.path().join("other");
        std::fs::write(&other, "igbvf").unwrap();
        assert!(matches!(readers.read(&path, Duration::from_millis(50)), Reading::Locked));
        assert_eq!(text(readers.read(&other, LONG)), "igbvf");

        // As long as the kernel has not come back to the child, which cannot be killed until then,
        // the file costs no second wait and no second child.
        let unkillable = Reader::start(&readers).unwrap();
        let Reader { child, paths, .. } = unkillable;
        // The one that was killed may have been reaped with the read of the other file.
        if let Some((_, mut killed)) = lock(&readers.lost).pop() {
            killed.wait().unwrap();
        }
        lock(&readers.lost).push((path.clone(), child));
        assert!(matches!(readers.read(&path, LONG), Reading::Locked));

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "vfio-pci").unwrap();
        drop(paths);
        let end = Instant::now() + LONG;
        while let Reading::Locked = readers.read(&path, LONG) {
            assert!(Instant::now() < end, "it is never read again");
            std::thread::yield_now();
        }
        assert_eq!(text(readers.read(&path, LONG)), "vfio-pci");
    }

    #[test]
    fn a_child_that_the_kernel_has_come_back_to_is_reaped_though_its_file_is_never_read_again() {
        let (readers, dir) = (readers(), tempfile::tempdir().unwrap());
        let path = held(dir.path());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| readers.read(&path, Duration::from_millis(50)));
            }
        });
        let other = dir.path().join("other");
        std::fs::write(&other, "igbvf").unwrap();
        let end = Instant::now() + LONG;
        while !lock(&readers.lost).is_empty() {
            assert!(Instant::now() < end, "it is never reaped");
            assert_eq!(text(readers.read(&other, LONG)), "igbvf");
        }
    }

    #[test]
    fn a_child_that_somebody_has_ended_is_replaced() {
        let (readers, dir) = (readers(), tempfile::tempdir().unwrap());
        let path = dir.path().join("x");
        std::fs::write(&path, "igbvf").unwrap();
        assert_eq!(text(readers.read(&path, LONG)), "igbvf");
        for reader in &mut *lock(&readers.idle) {
            reader.child.kill().unwrap();
            reader.child.wait().unwrap();
        }
        assert_eq!(text(readers.read(&path, LONG)), "igbvf");
    }

    #[test]
    fn the_child_answers_with_the_kernels_error_and_reads_below_sys_only() {
        let mut answers = Vec::new();
        serve(&b"/etc/passwd\n/sys/no-such-file\n/sys/../etc/passwd\n"[..], &mut answers);
        assert_eq!(String::from_utf8(answers).unwrap(), "13 0\n2 0\n13 0\n");
    }
}
