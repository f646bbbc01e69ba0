//! A simulated machine in a file, shared by the processes that have it open.
//!
//! The file is JSON and replaced whole by rename, so that a process may be killed at any moment.
//! Changes exclude one another by a lock on `PATH.lock`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::kernel::Kernel;

/// A simulated machine's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be read, written or locked.
    #[error("cannot {doing} the simulated machine {path}")]
    File {
        /// `read`, `write`, `lock`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} is not a simulated machine")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Which contents of the file were seen last: every save makes a new inode.
type Stamp = (u64, i64, i64);

#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl StateFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None }
    }

    /// Excludes other processes until the guard is dropped.
    pub(crate) fn lock(&self) -> Result<File, StateFileError> {
        let path = self.beside("lock");
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| StateFileError::File { doing: "lock", path, source })
    }

    /// What others have made of it since it was last read or saved here.
    pub(crate) fn changed(&mut self) -> Result<Option<Kernel>, StateFileError> {
        let stamp = self.stamp()?;
        if self.seen == Some(stamp) {
            return Ok(None);
        }
        let text = fs::read(&self.path).map_err(|source| self.failed("read", source))?;
        let kernel = serde_json::from_slice(&text)
            .map_err(|source| StateFileError::Content { path: self.path.clone(), source })?;
        self.seen = Some(stamp);
        Ok(Some(kernel))
    }

    pub(crate) fn save(&mut self, kernel: &Kernel) -> Result<(), StateFileError> {
        let text = serde_json::to_vec(kernel)
            .map_err(|source| StateFileError::Content { path: self.path.clone(), source })?;
        let new = self.beside("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path));
        written.map_err(|source| self.failed("write", source))?;
        self.seen = Some(self.stamp()?);
        Ok(())
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    pub(crate) fn failed(&self, doing: &'static str, source: io::Error) -> StateFileError {
        StateFileError::File { doing, path: self.path.clone(), source }
    }

    fn stamp(&self) -> Result<Stamp, StateFileError> {
        let meta = fs::metadata(&self.path).map_err(|source| self.failed("read", source))?;
        Ok((meta.ino(), meta.mtime(), meta.mtime_nsec()))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".");
        name.push(extension);
        name.into()
    }
}
