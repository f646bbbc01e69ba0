//! Opening one SQLite file: nothing is written before it is known to be whole, ours, and not
//! newer than this program; then its schema is brought up to date.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::aside;
use crate::error::{StoreError, sort, sort_io};
use crate::log::{self, Synced};
use crate::row::Table;

/// Single facts, in either file.
pub(crate) const META: Table = Table { name: "meta", what: "note", columns: &["key", "value"] };

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
    /// What is on the disk when.
    pub(crate) synced: Synced,
    /// What to do when it is damaged.
    pub(crate) remedy: &'static str,
}

impl Kind {
    pub(crate) fn newest(&self) -> i64 {
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
        aside::take_the_place(&file)?;
        create_if_absent(dir, &file).map_err(|source| sort_io(source, file.clone()))?;
        let whole = |error| sort(error, "open", file.clone(), kind.remedy);
        refuse_a_damaged_log(&file, kind)?;
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

    /// Opens the file for looking at it, beside a daemon or without one; `None` where it is not
    /// there. Also says its schema version. The log is looked at only where nobody `writes` it.
    pub(crate) fn look(
        file: &Path,
        kind: &Kind,
        writes: bool,
    ) -> Result<Option<(Self, i64)>, StoreError> {
        if !file.try_exists().map_err(|source| sort_io(source, file.to_owned()))? {
            return Ok(None);
        }
        if !writes {
            refuse_a_damaged_log(file, kind)?;
        }
        let database = Self::for_reading(file, kind)?;
        let version = check(&database.connection, file, kind)?;
        Ok(Some((database, version)))
    }

    /// Opens a file under any name, whatever is wrong with it.
    pub(crate) fn for_reading(file: &Path, kind: &Kind) -> Result<Self, StoreError> {
        let whole = |error| sort(error, "read", file.to_owned(), kind.remedy);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags).map_err(whole)?;
        connection.busy_timeout(BUSY).map_err(whole)?;
        Ok(Self { connection, file: file.to_owned(), remedy: kind.remedy })
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

    /// Closes the file with all that was written in it, so that nothing beside it is needed.
    pub(crate) fn fold(self) -> Result<(), StoreError> {
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        folded.map_err(|e| sort(e, "write to", self.file.clone(), self.remedy))
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
        self.connection.pragma_update(None, "synchronous", kind.synced.pragma()).map_err(failed)?;
        for (to, schema) in (1_i64..).zip(kind.migrations) {
            if to <= version {
                continue;
            }
            self.write("migrate", |transaction| {
                transaction.execute_batch(schema)?;
                transaction.pragma_update(None, "application_id", kind.application_id)?;
                transaction.pragma_update(None, "user_version", to)?;
                // The sum of the row is that of older content, where there is one.
                transaction.execute(
                    "REPLACE INTO meta (key, value) VALUES ('schema_by', ?1)",
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

fn refuse_a_damaged_log(file: &Path, kind: &Kind) -> Result<(), StoreError> {
    let corrupt = |found| StoreError::Corrupt { file: file.to_owned(), found, remedy: kind.remedy };
    // SQLite throws the log of an empty file away. A file of ours is never empty once it has
    // one, so that this one was cut off.
    let log = log::of(file);
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    if len(file) == 0 && len(&log) > 0 {
        return Err(corrupt(format!("it is empty, but {} is not", log.display())));
    }
    match log::damage(file, kind.synced) {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(corrupt(found)),
        Err(source) => Err(sort_io(source, log)),
    }
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
    let corrupt = |found| {
        let remedy = kind.remedy;
        Err(StoreError::Corrupt { file: file.to_owned(), found, remedy })
    };
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sorted)?;
    if found != "ok" {
        return corrupt(found);
    }
    if empty {
        return Ok(0);
    }
    if let Some(found) = other_schema(connection, version, kind).map_err(sorted)? {
        return corrupt(found);
    }
    if let Some(found) = damaged_note(connection).map_err(sorted)? {
        return corrupt(found);
    }
    Ok(version)
}

/// What is not as schemas up to this version have it, in words: SQLite takes any text for a
/// schema that can be read as one.
fn other_schema(
    connection: &Connection,
    version: i64,
    kind: &Kind,
) -> rusqlite::Result<Option<String>> {
    let as_made = Connection::open_in_memory()?;
    for (_, schema) in (1..=version).zip(kind.migrations) {
        as_made.execute_batch(schema)?;
    }
    let found = if schema(connection)? == schema(&as_made)? {
        None
    } else {
        Some(format!("its tables are not those of schema version {version}"))
    };
    Ok(found)
}

/// Tables and indexes, but for what `ANALYZE` may have left.
fn schema(connection: &Connection) -> rusqlite::Result<Vec<[Option<String>; 4]>> {
    let ask = "SELECT type, name, tbl_name, sql FROM sqlite_schema
               WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name";
    let mut statement = connection.prepare(ask)?;
    statement
        .query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?
        .collect()
}

/// A row of `meta` that is not as it was written, in words. Everything else depends on these.
fn damaged_note(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("SELECT * FROM meta")?;
    if statement.column_index("sum").is_err() {
        return Ok(None);
    }
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(reason) = META.check(row) {
            return Ok(Some(format!("{}: {reason}", META.title(row))));
        }
    }
    Ok(None)
}
