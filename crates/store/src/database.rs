//! Opening one SQLite file: nothing is written before it is known to be whole, ours, and not
//! newer than this program; then its schema is brought up to date.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{StoreError, sort, sort_io};

/// How long a writer in another program is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// What there is to know of one of the two files before it is opened.
pub(crate) struct Kind {
    /// Its name in its directory.
    pub(crate) name: &'static str,
    /// `PRAGMA application_id`, which tells the two files from each other and from others.
    pub(crate) application_id: i32,
    /// Schemas: the n-th, from 0, takes version n to n + 1. Released ones are never changed.
    pub(crate) migrations: &'static [&'static str],
    /// `PRAGMA synchronous`.
    pub(crate) synchronous: &'static str,
    /// What to do when it is damaged.
    pub(crate) remedy: &'static str,
}

impl Kind {
    fn newest(&self) -> i64 {
        self.migrations.len().try_into().unwrap_or(i64::MAX)
    }
}

/// An open file of a known schema.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    file: PathBuf,
    remedy: &'static str,
}

impl Database {
    /// Opens the file, made anew when it is not there.
    pub(crate) fn open(dir: &Path, kind: &Kind) -> Result<Self, StoreError> {
        let file = dir.join(kind.name);
        create_if_absent(dir, &file).map_err(|source| sort_io(source, file.clone()))?;
        let whole = |error| sort(error, "open", file.clone(), kind.remedy);
        refuse_a_log_without_its_file(&file, kind)?;
        // Without SQLITE_OPEN_CREATE, and with no URI, so that the path means itself.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags).map_err(whole)?;
        // SQLite opens a file that it may not write for reading only, and says nothing.
        if connection.is_readonly(rusqlite::MAIN_DB).map_err(whole)? {
            let denied = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(sort_io(denied, file.clone()));
        }
        connection.busy_timeout(BUSY).map_err(whole)?;

        // A file that is refused keeps every byte: its log is not folded into it on close.
        let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(keep, true).map_err(whole)?;
        let version = check(&connection, &file, kind)?;
        connection.set_db_config(keep, false).map_err(whole)?;

        let mut database = Self { connection, file, remedy: kind.remedy };
        database.bring_up_to_date(version, kind)?;
        Ok(database)
    }

    /// Runs `work` in one transaction: all of it is there afterwards, or nothing.
    pub(crate) fn write<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run(&mut self.connection).map_err(|e| sort(e, doing, self.file.clone(), self.remedy))
    }

    /// Reads with `work`.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.connection).map_err(|e| sort(e, "read", self.file.clone(), self.remedy))
    }

    fn bring_up_to_date(&mut self, version: i64, kind: &Kind) -> Result<(), StoreError> {
        let failed = |error| sort(error, "open", self.file.clone(), self.remedy);
        // A file system without shared memory leaves SQLite at its rollback journal: as durable,
        // but readers have to wait.
        let _mode: String = self
            .connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(failed)?;
        self.connection.pragma_update(None, "synchronous", kind.synchronous).map_err(failed)?;
        for (to, schema) in (1_i64..).zip(kind.migrations) {
            if to <= version {
                continue;
            }
            self.write("migrate", |transaction| {
                transaction.execute_batch(schema)?;
                transaction.pragma_update(None, "application_id", kind.application_id)?;
                transaction.pragma_update(None, "user_version", to)?;
                transaction.execute(
                    "INSERT INTO meta (key, value) VALUES ('schema_by', ?1)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    [concat!("vfnet ", env!("CARGO_PKG_VERSION"))],
                )
            })?;
        }
        Ok(())
    }
}

/// An empty file is an empty database to SQLite; made here for its mode, since the documents in
/// it may hold passwords.
fn create_if_absent(dir: &Path, file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => File::open(dir)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// SQLite throws the log of an empty file away. A file of ours is never empty once it has one,
/// so that this one was cut off.
fn refuse_a_log_without_its_file(file: &Path, kind: &Kind) -> Result<(), StoreError> {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    if len(file) == 0 && len(Path::new(&log)) > 0 {
        let found = format!("it is empty, but {} is not", Path::new(&log).display());
        return Err(StoreError::Corrupt { file: file.to_owned(), found, remedy: kind.remedy });
    }
    Ok(())
}

/// The file's schema version, 0 for an empty file.
fn check(connection: &Connection, file: &Path, kind: &Kind) -> Result<i64, StoreError> {
    let sorted = |error| sort(error, "open", file.to_owned(), kind.remedy);
    let number = |pragma: &str| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, pragma, |row| row.get(0))
    };
    let version = number("user_version").map_err(sorted)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sorted)?;
    let empty = version == 0 && tables == 0;
    if !empty && number("application_id").map_err(sorted)? != i64::from(kind.application_id) {
        return Err(StoreError::Foreign { file: file.to_owned() });
    }
    if version > kind.newest() {
        let known = kind.newest();
        return Err(StoreError::Newer { file: file.to_owned(), found: version, known });
    }
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sorted)?;
    if found != "ok" {
        let remedy = kind.remedy;
        return Err(StoreError::Corrupt { file: file.to_owned(), found, remedy });
    }
    Ok(version)
}
