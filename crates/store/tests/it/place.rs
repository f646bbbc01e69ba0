//! A pair of directories, and how to look into the files behind the store's back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;
use vfnet_engine::{Entry, Key, Record};
use vfnet_model::BootId;
use vfnet_store::{LIVE_FILE, Loaded, STATE_FILE, Store, StoreError};

pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With everything of [`crate::entries::all`] in it.
    pub(crate) fn filled() -> Self {
        let place = Self::new();
        let (mut store, _) = place.open();
        store.commit(&puts(&crate::entries::all())).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.state_dir().join(STATE_FILE)
    }

    pub(crate) fn live_file(&self) -> PathBuf {
        self.run_dir().join(LIVE_FILE)
    }

    pub(crate) fn open(&self) -> (Store, Loaded) {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<(Store, Loaded), StoreError> {
        Store::open(&self.state_dir(), &self.run_dir(), &boot(1))
    }

    pub(crate) fn refusal(&self) -> StoreError {
        match self.try_open() {
            Ok(_) => panic!("the store was opened"),
            Err(refusal) => refusal,
        }
    }
}

pub(crate) fn boot(n: u8) -> BootId {
    format!("00000000-0000-4000-8000-{n:012}").parse().unwrap()
}

pub(crate) fn puts(entries: &[Entry]) -> Vec<Record> {
    entries.iter().map(|entry| Record::Put(Box::new(entry.clone()))).collect()
}

/// Entries by key, spelled out.
pub(crate) fn spelled(entries: &[Entry]) -> BTreeMap<Key, String> {
    entries.iter().map(|entry| (entry.key(), format!("{entry:#?}"))).collect()
}

pub(crate) fn sql(file: &Path, statements: &str) {
    Connection::open(file).unwrap().execute_batch(statements).unwrap();
}

pub(crate) fn ask<T: rusqlite::types::FromSql>(file: &Path, question: &str) -> T {
    Connection::open(file).unwrap().query_row(question, [], |row| row.get(0)).unwrap()
}
