//! The two files in which pools outlive the daemon.
//!
//! Each is put in place whole, so that a kill leaves the old one or the new one. One that cannot
//! be understood is put aside under another name, and said: pools are only names for directories,
//! and are not worth a daemon that does not start.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vfnet_model::BootId;
use vfnet_model::storage::Pool;

use super::{Known, Life, PoolError};
use crate::options::Config;

/// A pool that is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Defined {
    #[serde(flatten)]
    pub(super) pool: Pool,
    pub(super) autostart: bool,
}

/// The pools that are active in one boot.
#[derive(Serialize, Deserialize)]
struct Active {
    boot: BootId,
    pools: Vec<Pool>,
}

pub(super) struct Files {
    defined: PathBuf,
    active: PathBuf,
    boot: BootId,
}

impl Files {
    pub(super) fn of(config: &Config, boot: BootId) -> Self {
        Self {
            defined: config.state_dir.join("storage-pools.json"),
            active: config.run_dir.join("storage-pools.json"),
            boot,
        }
    }

    pub(super) fn defined(&self) -> Vec<Defined> {
        read(&self.defined).unwrap_or_default()
    }

    /// `None` before anything was written in this boot.
    pub(super) fn active(&self) -> Option<Vec<Pool>> {
        let active: Active = read(&self.active)?;
        (active.boot == self.boot).then_some(active.pools)
    }

    pub(super) fn write_defined(&self, known: &[Known]) -> Result<(), PoolError> {
        let defined = known.iter().filter_map(|it| match it.life {
            Life::Kept { autostart, .. } => Some(Defined { pool: it.pool.clone(), autostart }),
            Life::Transient => None,
        });
        write(&self.defined, &defined.collect::<Vec<_>>())
    }

    pub(super) fn write_active(&self, known: &[Known]) -> Result<(), PoolError> {
        let active = known.iter().filter(|it| it.life.is_active()).map(|it| it.pool.clone());
        write(&self.active, &Active { boot: self.boot.clone(), pools: active.collect() })
    }
}

/// What a file has; `None` when it is not there, or of no use.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return None,
        Err(fault) => {
            tracing::error!("storage pools are forgotten: cannot read {}: {fault}", path.display());
            return None;
        }
    };
    let fault = match serde_json::from_slice(&text) {
        Ok(read) => return Some(read),
        Err(fault) => fault,
    };
    let kept = path.with_added_extension("damaged");
    let (file, aside) = (path.display(), kept.display());
    match std::fs::rename(path, &kept) {
        Ok(()) => tracing::error!("{file} was damaged ({fault}); it is kept as {aside}"),
        Err(why) => tracing::error!("{file} is damaged ({fault}), and cannot be kept: {why}"),
    }
    None
}

fn write(path: &Path, content: &impl Serialize) -> Result<(), PoolError> {
    let written = || -> io::Result<()> {
        let fresh = path.with_added_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(content)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|source| PoolError::NotRecorded { path: path.display().to_string(), source })
}
