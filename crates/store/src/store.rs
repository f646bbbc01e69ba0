//! The two files as one place.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vfnet_engine::{Entry, Home, Key, Record};
use vfnet_model::BootId;

use crate::database::Database;
use crate::error::StoreError;
use crate::lock::Lock;
use crate::row::{Rows, Writing};
use crate::{aside, definitions, live};

/// Name of the file of definitions, in the state directory.
pub const STATE_FILE: &str = "state.db";
/// Name of the file of what runs and what is lent, in the run directory.
pub const LIVE_FILE: &str = "live.db";
/// Name of the lock file, in either directory.
pub const LOCK_FILE: &str = "lock";

/// The open files, locked against other daemons.
#[derive(Debug)]
pub struct Store {
    state: Database,
    live: Database,
    /// Keys whose row could not be read, so that it is kept when it is written over.
    unreadable: BTreeSet<Key>,
    _locks: [Lock; 2],
}

/// What the store had.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What could be read.
    pub entries: Vec<Entry>,
    /// What could not, in words: which row, and why. These rows stay where they are; where one
    /// is written over later, it is copied to the table `set_aside` of its file first.
    pub set_aside: Vec<String>,
    /// Where `live.db` went that was there, if it was damaged. What it said of this boot is not
    /// in `entries`; what runs and what is lent has to be found otherwise.
    pub kept_aside: Option<KeptAside>,
}

/// A damaged file that has been moved out of the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeptAside {
    /// Where it is now; its `-wal` and `-shm` are beside it.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Store {
    /// Opens both files, made anew where they are not there, and reads them.
    ///
    /// The directories are made when absent: `state_dir` with mode 0700, `run_dir`, which has
    /// the sockets too, with 0755. What another boot than `boot` left in `live.db` is cleared.
    ///
    /// # Errors
    ///
    /// Every [`StoreError`]. A file that is refused keeps its contents. A damaged `live.db` is
    /// no error: it is kept aside, and a new one begun, see [`Loaded::kept_aside`].
    pub fn open(
        state_dir: &Path,
        run_dir: &Path,
        boot: &BootId,
    ) -> Result<(Self, Loaded), StoreError> {
        make(state_dir, 0o700)?;
        make(run_dir, 0o755)?;
        let locks = [Lock::take(state_dir, LOCK_FILE)?, Lock::take(run_dir, LOCK_FILE)?];
        let state = Database::open(state_dir, &definitions::KIND)?;
        let (mut live, kept_aside) = match Database::open(run_dir, &live::KIND) {
            Err(damage @ (StoreError::Corrupt { .. } | StoreError::Foreign { .. })) => {
                let file = aside::keep(&run_dir.join(LIVE_FILE))?;
                let kept = KeptAside { file, why: damage.finding() };
                (Database::open(run_dir, &live::KIND)?, Some(kept))
            }
            opened => (opened?, None),
        };
        live.write("clear what another boot left in", |transaction| {
            live::void_other_boots(transaction, boot)
        })?;

        let mut rows = state.read(|it| definitions::read(it, Rows::default()))?;
        let of_this_boot = live.read(|it| live::read(it, Rows::default()))?;
        rows.entries.extend(of_this_boot.entries);
        rows.set_aside.extend(of_this_boot.set_aside);
        rows.unreadable.extend(of_this_boot.unreadable);

        let loaded = Loaded { entries: rows.entries, set_aside: rows.set_aside, kept_aside };
        Ok((Self { state, live, unreadable: rows.unreadable, _locks: locks }, loaded))
    }

    /// Writes records down, in their order: first all definitions in one transaction, then all
    /// of this boot in another. Entries of [`Home::Memory`] are passed over. Committing the same
    /// records again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`], [`StoreError::Busy`] and others, naming the file. Nothing of that
    /// file's transaction is there then. When it is `live.db`, the definitions of the same
    /// records have been written; committing again, or the records that undo these, makes both
    /// agree.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let of = |home| records.iter().filter(move |record| record.key().home() == home);
        let unreadable = &mut self.unreadable;
        write(&mut self.state, &definitions::ROWS, unreadable, of(Home::Definitions))?;
        write(&mut self.live, &live::ROWS, unreadable, of(Home::Live))
    }
}

/// Writes records to the file they belong to, in one transaction; none where there are none.
pub(crate) fn write<'a>(
    database: &mut Database,
    rows: &Writing,
    unreadable: &mut BTreeSet<Key>,
    records: impl Iterator<Item = &'a Record>,
) -> Result<(), StoreError> {
    let mut records = records.peekable();
    if records.peek().is_none() {
        return Ok(());
    }
    let mut kept = BTreeSet::new();
    database.write("write to", |transaction| {
        for record in records {
            let key = record.key();
            if unreadable.contains(&key) && kept.insert(key) {
                (rows.keep)(transaction, key)?;
            }
            match record {
                Record::Put(entry) => (rows.put)(transaction, entry)?,
                Record::Drop(key) => (rows.drop)(transaction, *key)?,
            }
        }
        Ok(())
    })?;
    unreadable.retain(|key| !kept.contains(key));
    Ok(())
}

fn make(dir: &Path, mode: u32) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(|source| StoreError::Directory { dir: dir.to_owned(), source })
}
