//! Looking at both files without changing anything, beside a daemon or without one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;
use vfnet_engine::{Entry, NicSource, Owner};
use vfnet_model::explain;

use crate::database::{Database, Kind};
use crate::row::Rows;
use crate::{LOCK_FILE, definitions, live, lock};

/// What both files are like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Examination {
    /// Whether a daemon uses them now.
    pub in_use: bool,
    /// Its process, where that is known.
    pub pid: Option<u32>,
    /// `state.db`, then `live.db`.
    pub files: Vec<Examined>,
    /// What records say of each other that cannot be so.
    pub contradictions: Vec<String>,
}

/// What one file is like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Examined {
    /// The file.
    pub file: PathBuf,
    /// The version of its schema; absent where there is no file, or none that can be read.
    pub schema: Option<i64>,
    /// The version that this vfnet writes. An older file is brought up to it by the next start
    /// of vfnetd, and its records are not looked at.
    pub newest: i64,
    /// How many records can be read.
    pub records: usize,
    /// Why the file is refused, or which of its records cannot be read.
    pub damage: Vec<String>,
}

impl Examination {
    /// Whether everything is as it should be.
    pub fn is_sound(&self) -> bool {
        self.contradictions.is_empty() && self.files.iter().all(|file| file.damage.is_empty())
    }
}

/// Looks at the files of these directories.
pub fn examine(state_dir: &Path, run_dir: &Path) -> Examination {
    let holder = lock::holder(state_dir, LOCK_FILE).or_else(|| lock::holder(run_dir, LOCK_FILE));
    let mut entries = Vec::new();
    let files = [
        (state_dir, &definitions::KIND, definitions::read as Read),
        (run_dir, &live::KIND, live::read as Read),
    ];
    let files = files
        .into_iter()
        .map(|(dir, kind, read)| file(dir, kind, read, holder.is_some(), &mut entries))
        .collect();
    let contradictions = contradictions(&entries);
    Examination { in_use: holder.is_some(), pid: holder.flatten(), files, contradictions }
}

type Read = fn(&rusqlite::Connection, Rows) -> rusqlite::Result<Rows>;

fn file(dir: &Path, kind: &Kind, read: Read, writes: bool, entries: &mut Vec<Entry>) -> Examined {
    let mut examined = Examined {
        file: dir.join(kind.name),
        schema: None,
        newest: kind.newest(),
        records: 0,
        damage: Vec::new(),
    };
    let (database, version) = match Database::look(&examined.file, kind, writes) {
        Ok(Some(found)) => found,
        Ok(None) => return examined,
        Err(fault) => {
            examined.damage.push(explain(&fault));
            return examined;
        }
    };
    examined.schema = Some(version);
    if version < kind.newest() {
        return examined;
    }
    match database.read(|it| read(it, Rows::default())) {
        Ok(rows) => {
            examined.records = rows.entries.len();
            examined.damage = rows.set_aside;
            entries.extend(rows.entries);
        }
        Err(fault) => examined.damage.push(explain(&fault)),
    }
    examined
}

/// What records say of each other that cannot be so, in words.
fn contradictions(entries: &[Entry]) -> Vec<String> {
    let mut defined: BTreeSet<Uuid> = BTreeSet::new();
    let mut networks = BTreeSet::new();
    let mut runs = BTreeSet::new();
    for entry in entries {
        match entry {
            Entry::Network(it) => {
                defined.insert(it.uuid);
                networks.insert(it.definition.network.name.as_str());
            }
            Entry::LiveNetwork(it) => {
                networks.insert(it.name().as_str());
            }
            Entry::Guest(it) => {
                defined.insert(it.uuid);
            }
            Entry::Run(it) => {
                runs.insert(it.guest);
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    let mut holders = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Guest(it) if it.autostart => {
                for nic in &it.definition.nics {
                    if let NicSource::Network { name, .. } = &nic.source
                        && !networks.contains(name.as_str())
                    {
                        let guest = &it.definition.name;
                        found.push(format!(
                            "guest '{guest}' starts with the host, and its network '{name}' is \
                             not defined"
                        ));
                    }
                }
            }
            Entry::Pending(uuid, _) if !defined.contains(uuid) => {
                found.push(format!("autostart waits for {uuid}, which is not defined"));
            }
            Entry::Claim(claim) => {
                let (vf, owner) = (claim.vf, &claim.owner);
                if let Some(other) = holders.insert(vf, owner) {
                    found.push(format!("{vf} has two holders: {other}, {owner}"));
                }
                if let Owner::Nic { guest, .. } | Owner::Hostdev { guest, .. } = owner
                    && !runs.contains(guest)
                {
                    found.push(format!("{vf} is held by {owner}, which does not run"));
                }
            }
            _ => {}
        }
    }
    found
}
