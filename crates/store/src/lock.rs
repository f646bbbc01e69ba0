//! One daemon to a directory: an advisory lock (`flock`) that the kernel drops with its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{StoreError, sort_io};

/// How long a process that has ended may still have the lock: a child that it had just begun to
/// start has all that it had, until it becomes another program.
const LAST_OF_THE_DEAD: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Held as long as it lives. The file stays; only the lock on it means anything.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `name` in `dir` and writes this process's id into it.
    pub(crate) fn take(dir: &Path, name: &str) -> Result<Self, StoreError> {
        let path = dir.join(name);
        let failed = |source| sort_io(source, path.clone());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let pid = pid_in(&file);
                    file.rewind().map_err(failed)?;
                    if !has_ended(pid) || started.elapsed() > LAST_OF_THE_DEAD {
                        return Err(StoreError::InUse { dir: dir.to_owned(), pid });
                    }
                    sleep(LOOK_AGAIN);
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the lock `name` in `dir`: `None` for nobody, else its process id, where its file
/// says one.
pub(crate) fn holder(dir: &Path, name: &str) -> Option<Option<u32>> {
    let file = File::open(dir.join(name)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(pid_in(&file)),
        _ => None,
    }
}

fn has_ended(pid: Option<u32>) -> bool {
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process id that nobody has: the kernel's are below 2^22 (`PID_MAX_LIMIT`).
    const OF_THE_DEAD: u32 = 1 << 22;

    fn held_by(dir: &Path, pid: u32) -> File {
        let mut file = File::create(dir.join("lock")).unwrap();
        writeln!(file, "{pid}").unwrap();
        file.lock().unwrap();
        file
    }

    #[test]
    fn what_the_child_of_a_dead_process_still_has_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = held_by(dir.path(), OF_THE_DEAD);
        let taken = std::thread::scope(|scope| {
            let taker = scope.spawn(|| Lock::take(dir.path(), "lock"));
            // However long it takes: it has to wait for this.
            sleep(LOOK_AGAIN * 3);
            assert!(!taker.is_finished());
            drop(held);
            taker.join().unwrap()
        });
        taken.unwrap();
    }

    #[test]
    fn what_a_living_process_has_is_refused_at_once_with_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let _held = held_by(dir.path(), std::process::id());
        let fault = Lock::take(dir.path(), "lock").unwrap_err();
        let pid = Some(std::process::id());
        assert!(matches!(fault, StoreError::InUse { pid: of, .. } if of == pid), "{fault}");
    }
}
