//! What can go wrong with the files, and what to do about it.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use rusqlite::ffi;

/// Why records could not be read or written. The message names the file and, where something
/// can be done about it, says what.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon holds the lock of this directory.
    #[error("another vfnetd {}uses {}", pid.map(|pid| format!("(pid {pid}) ")).unwrap_or_default(), dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Its process id, where its lock file says one.
        pid: Option<u32>,
    },
    /// The directory is not there and cannot be made.
    #[error("cannot make the directory {}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be made or written: permissions, a file system mounted read-only, or
    /// something else under its name.
    #[error("cannot write {}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no room left for it. Nothing of the transaction was written; it can be tried
    /// again once there is room.
    #[error("no space left to write {}: make room on its file system", file.display())]
    Full {
        /// The file.
        file: PathBuf,
        /// What SQLite or the kernel says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another program keeps the file locked for writing.
    #[error("{} is locked for writing by another program (an open sqlite3 shell?)", file.display())]
    Busy {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file is damaged. It has been left as it is.
    #[error("{} is damaged ({found}); it was left as it is. {remedy}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was found.
        found: String,
        /// How to go on.
        remedy: &'static str,
    },
    /// A newer vfnetd wrote the file. It has been left as it is.
    #[error(
        "{} has schema version {found}, this vfnetd knows up to {known}: use the vfnetd that \
         wrote it, or a newer one",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A SQLite database of another program, or the other one of the two files. It has been
    /// left as it is.
    #[error("{} is a database, but not the one that vfnetd keeps there", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// Anything else.
    #[error("cannot {doing} {}", file.display())]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether a lack of room is the cause, so that making room helps.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// What was found, without the file's name and without advice.
    pub(crate) fn finding(&self) -> String {
        match self {
            Self::Corrupt { found, .. } => found.clone(),
            Self::Foreign { .. } => "it is a database of something else".to_owned(),
            other => other.to_string(),
        }
    }
}

/// What to do about a damaged file.
pub(crate) mod remedy {
    pub(crate) const STATE: &str = "Keep what can be read of it with `vfnet state rebuild`; or \
        move it and its -wal and -shm files out of the way and put a backup in its place";
    pub(crate) const LIVE: &str = "It says which VFs are lent and what they were before. At its \
        next start vfnetd keeps it aside, and finds running guests without it";
}

/// Sorts an error of SQLite by what can be done about it.
pub(crate) fn sort(
    error: rusqlite::Error,
    doing: &'static str,
    file: PathBuf,
    remedy: &'static str,
) -> StoreError {
    let code = match &error {
        rusqlite::Error::SqliteFailure(code, _) => code,
        // Rows are read one by one elsewhere; what else is read has always this shape.
        rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => {
            return StoreError::Corrupt { file, found: error.to_string(), remedy };
        }
        _ => return StoreError::Sqlite { doing, file, source: error },
    };
    match (code.code, code.extended_code) {
        // No room for the index of the log is an I/O error to SQLite (sqlite: unixOpenSharedMemory).
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => {
            StoreError::Full { file, source: error.into() }
        }
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            StoreError::Busy { file, source: error }
        }
        // All SQL is this crate's own: where it makes no sense, the file's schema does not.
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) | (_, ffi::SQLITE_ERROR) => {
            StoreError::Corrupt { file, found: error.to_string(), remedy }
        }
        (ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied, _) => {
            StoreError::Unwritable { file, source: error.into() }
        }
        _ => StoreError::Sqlite { doing, file, source: error },
    }
}

/// Sorts an error of the kernel in the same way.
pub(crate) fn sort_io(error: io::Error, file: PathBuf) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full { file, source: error.into() }
        }
        _ => StoreError::Unwritable { file, source: error.into() },
    }
}
