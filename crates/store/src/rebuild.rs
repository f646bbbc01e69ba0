//! New files in place of damaged ones, with what can be read of these.
//!
//! Only records that can be read whole are taken over, one by one. Running guests that are lost
//! with `live.db` are found by the daemon at its next start.

use std::path::Path;

use serde::Serialize;
use vfnet_engine::{Entry, Record};
use vfnet_model::explain;

use crate::database::{Database, Kind};
use crate::error::StoreError;
use crate::lock::Lock;
use crate::row::{Rows, Writing};
use crate::store::{KeptAside, write};
use crate::{LIVE_FILE, LOCK_FILE, STATE_FILE, aside, definitions, live};

/// What was done to each file; nothing where it was not damaged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Rebuilt {
    /// To `state.db`.
    pub state: Option<Salvage>,
    /// To `live.db`.
    pub live: Option<Salvage>,
}

/// What became of a damaged file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Salvage {
    /// Where the damaged file is now.
    pub kept: KeptAside,
    /// How many of its records the new file has.
    pub saved: usize,
    /// What could not be read, in words.
    pub lost: Vec<String>,
}

/// Puts new files in place of damaged ones. Files that are not damaged are left alone.
///
/// # Errors
///
/// [`StoreError::InUse`] while a daemon runs; those of reading and writing files. A damaged file
/// is lost in no case.
pub fn rebuild(state_dir: &Path, run_dir: &Path) -> Result<Rebuilt, StoreError> {
    let _locks = [Lock::take(state_dir, LOCK_FILE)?, Lock::take(run_dir, LOCK_FILE)?];
    let state = salvage(&state_dir.join(STATE_FILE), &definitions::KIND, |damaged, fresh| {
        let (rows, _) = readable(damaged, &definitions::KIND, definitions::read);
        put(fresh, &definitions::ROWS, &rows.entries)?;
        Ok(rows)
    })?;
    let live = salvage(&run_dir.join(LIVE_FILE), &live::KIND, |damaged, fresh| {
        let (mut rows, boot) = readable(damaged, &live::KIND, live::read);
        match boot {
            Some(boot) => {
                fresh.write("write to", |it| live::void_other_boots(it, &boot))?;
                put(fresh, &live::ROWS, &rows.entries)?;
            }
            // What ran in another boot must not be taken for this one's.
            None => {
                rows.entries.clear();
                rows.set_aside.push("the boot that it belongs to, and so all of it".to_owned());
            }
        }
        Ok(rows)
    })?;
    Ok(Rebuilt { state, live })
}

/// Has a damaged file replaced: the new one is made beside it, and it is moved away only when that
/// is whole, so that whoever is killed here, or fails, has one of them.
fn salvage(
    file: &Path,
    kind: &Kind,
    fill: impl FnOnce(&Path, &mut Database) -> Result<Rows, StoreError>,
) -> Result<Option<Salvage>, StoreError> {
    aside::take_the_place(file)?;
    let damage = match Database::look(file, kind, false) {
        Err(damage @ (StoreError::Corrupt { .. } | StoreError::Foreign { .. })) => damage,
        looked => return looked.map(|_| None),
    };
    let dir = aside::place_beside(file)?;
    let mut fresh = Database::open(&dir, kind)?;
    let rows = fill(file, &mut fresh)?;
    fresh.fold()?;
    aside::is_whole(&dir, file)?;
    let kept = aside::keep(file)?;
    aside::take_the_place(file)?;
    let kept = KeptAside { file: kept, why: damage.finding() };
    Ok(Some(Salvage { kept, saved: rows.entries.len(), lost: rows.set_aside }))
}

/// What can be read of a damaged file, and the boot that it belongs to.
fn readable(
    file: &Path,
    kind: &Kind,
    read: fn(&rusqlite::Connection, Rows) -> rusqlite::Result<Rows>,
) -> (Rows, Option<vfnet_model::BootId>) {
    let rows = Database::for_reading(file, kind).and_then(|database| {
        let rows = database.read(|it| read(it, Rows::of_damaged()))?;
        let boot = database.read(|it| Ok(live::boot(it)))?;
        Ok((rows, boot))
    });
    rows.unwrap_or_else(|fault| {
        let mut nothing = Rows::of_damaged();
        nothing.set_aside.push(format!("all of it: {}", explain(&fault)));
        (nothing, None)
    })
}

fn put(fresh: &mut Database, rows: &Writing, entries: &[Entry]) -> Result<(), StoreError> {
    let records: Vec<_> =
        entries.iter().rev().map(|entry| Record::Put(Box::new(entry.clone()))).collect();
    write(fresh, rows, &mut std::collections::BTreeSet::new(), records.iter())
}
