//! One daemon to a directory: an advisory lock (`flock`) that the kernel drops with its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{StoreError, sort_io};

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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { dir: dir.to_owned(), pid: pid_in(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
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

fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
