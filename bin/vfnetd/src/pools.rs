//! Storage pools: directories whose files clients see as volumes.
//!
//! A pool lends nothing and no guest depends on one, so nothing is to be decided about them, and
//! the engine does not know them. [`Pools`] owns them: what is defined is in a file of the state
//! directory, what is active in one of the run directory, and each change writes one of the two,
//! whole, before it is answered. Nothing is remembered of the files in a pool: each call looks
//! ([`volumes`]).

mod kept;
mod volumes;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use uuid::Uuid;
use vfnet_model::BootId;
use vfnet_model::storage::{Directory, Pool, Usage, Volume};
use vfnet_rpc::error::WireError;

use crate::aside::aside;
use crate::options::Config;
use crate::wire_error;
use kept::{Defined, Files};

/// The most pools.
const POOLS_MAX: usize = 1024;

/// How many clients' calls may look into directories at once: file systems that hang hold up
/// calls about storage, and leave [`aside`] to the others.
const AT_ONCE: usize = 4;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Why something cannot be done with a pool or a volume.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    /// There is none.
    #[error("no storage pool with {0}")]
    NoPool(String),
    /// There is none.
    #[error("no storage vol with {0}")]
    NoVolume(String),
    /// It is not active.
    #[error("storage pool '{0}' is not active")]
    Inactive(String),
    /// It is active.
    #[error("storage pool '{0}' is active")]
    Active(String),
    /// Nothing of it is kept.
    #[error("storage pool '{0}' is transient, it cannot have autostart")]
    Transient(String),
    /// Name, UUID or directory are another one's.
    #[error("storage pool '{name}' ({uuid}) has the same {what}")]
    Conflict {
        /// The other one's name.
        name: String,
        /// The other one's UUID.
        uuid: Uuid,
        /// What is the same.
        what: &'static str,
    },
    /// There are as many as there may be.
    #[error("there are {POOLS_MAX} storage pools already")]
    TooMany,
    /// There are more files than are listed.
    #[error("directory '{0}' has more than {max} entries", max = volumes::ENTRIES_MAX)]
    TooManyEntries(Directory),
    /// The system said no.
    #[error("cannot {doing} '{path}'")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written down, and so it was not done.
    #[error("cannot record storage pools in '{path}'")]
    NotRecorded {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A pool as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) pool: Pool,
    pub(crate) life: Life,
}

/// What there is of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// It is active, and will be forgotten when it is stopped.
    Transient,
    /// It is defined.
    Kept { active: bool, autostart: bool },
}

impl Life {
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::Transient | Self::Kept { active: true, .. })
    }

    pub(crate) fn is_kept(self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    pub(crate) fn has_autostart(self) -> bool {
        matches!(self, Self::Kept { autostart: true, .. })
    }
}

impl Known {
    fn name(&self) -> String {
        self.pool.name.to_string()
    }
}

/// By what a pool is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum By {
    Name(String),
    Uuid(Uuid),
    Directory(String),
}

impl By {
    fn fits(&self, pool: &Pool) -> bool {
        match self {
            Self::Name(name) => pool.name.as_str() == name,
            Self::Uuid(uuid) => pool.uuid == *uuid,
            Self::Directory(path) => path.parse() == Ok(pool.directory.clone()),
        }
    }

    fn missing(&self) -> PoolError {
        PoolError::NoPool(match self {
            Self::Name(name) => format!("matching name '{name}'"),
            Self::Uuid(uuid) => format!("matching uuid '{uuid}'"),
            Self::Directory(path) => format!("matching target path '{path}'"),
        })
    }
}

/// The pools. Clones share everything.
#[derive(Clone)]
pub struct Pools(Arc<Shared>);

struct Shared {
    files: Files,
    /// Held by the one that changes what is known, while it writes.
    changing: Mutex<()>,
    known: Mutex<Vec<Known>>,
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl Pools {
    /// Those that an earlier daemon left. At the first start after a boot, those with autostart
    /// whose directories can be read become active.
    pub(crate) fn load(config: &Config, boot: &BootId) -> Self {
        let files = Files::of(config, boot.clone());
        let active = files.active();
        let is_active = |pool: &Pool| match &active {
            Some(active) => active.iter().any(|other| other.uuid == pool.uuid),
            None => false,
        };
        let mut known: Vec<Known> = files
            .defined()
            .into_iter()
            .map(|Defined { pool, autostart }| Known {
                life: Life::Kept { active: is_active(&pool), autostart },
                pool,
            })
            .collect();
        match active {
            Some(active) => {
                for pool in active {
                    if !known.iter().any(|other| other.pool.uuid == pool.uuid) {
                        known.push(Known { pool, life: Life::Transient });
                    }
                }
            }
            None => known.iter_mut().for_each(autostart),
        }
        if let Err(fault) = files.write_active(&known) {
            tracing::error!("{}", vfnet_model::explain(&fault));
        }
        Self(Arc::new(Shared { files, changing: Mutex::default(), known: Mutex::new(known) }))
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Known> {
        self.known().clone()
    }

    pub(crate) fn find(&self, by: &By) -> Result<Known, PoolError> {
        let known = self.known();
        known.iter().find(|it| by.fits(&it.pool)).cloned().ok_or_else(|| by.missing())
    }

    /// The pool, which must be active.
    fn active(&self, by: &By) -> Result<Known, PoolError> {
        match self.find(by)? {
            found if found.life.is_active() => Ok(found),
            found => Err(PoolError::Inactive(found.name())),
        }
    }

    /// Keeps a pool, or keeps another document of it.
    pub(crate) async fn define(&self, pool: Pool) -> Result<Pool, WireError> {
        self.change(move |known| {
            let place = place_for(known, &pool)?;
            let before = place.map(|place| known[place].clone());
            let life = Life::Kept {
                active: before.as_ref().is_some_and(|before| before.life.is_active()),
                autostart: before.as_ref().is_some_and(|before| before.life.has_autostart()),
            };
            match before {
                Some(before) if before.life.is_active() && before.pool != pool => {
                    return Err(PoolError::Active(before.name()));
                }
                _ => put(known, place, Known { pool: pool.clone(), life }),
            }
            Ok((Written::Defined, pool))
        })
        .await
    }

    /// Makes a pool active without keeping it; one that is kept already stays so.
    pub(crate) async fn create(&self, pool: Pool) -> Result<Pool, WireError> {
        let directory = pool.directory.clone();
        look(move || volumes::readable(&directory)).await?;
        self.change(move |known| {
            let place = place_for(known, &pool)?;
            let life = match place.map(|place| &known[place]) {
                None => Life::Transient,
                Some(before) => match before.life {
                    Life::Kept { active: false, autostart } if before.pool == pool => {
                        Life::Kept { active: true, autostart }
                    }
                    Life::Kept { active: false, .. } => return Err(conflict(before, "uuid")),
                    Life::Kept { .. } | Life::Transient => {
                        return Err(PoolError::Active(before.name()));
                    }
                },
            };
            put(known, place, Known { pool: pool.clone(), life });
            Ok((Written::Active, pool))
        })
        .await
    }

    /// Makes a kept pool active.
    pub(crate) async fn start(&self, by: By) -> Result<(), WireError> {
        let found = self.find(&by).map_err(|fault| wire_error::pool(&fault))?;
        look(move || volumes::readable(&found.pool.directory)).await?;
        self.change_one(by, |known| match known.life {
            Life::Kept { active: false, autostart } => {
                Ok((Some(Life::Kept { active: true, autostart }), Written::Active))
            }
            Life::Kept { active: true, .. } | Life::Transient => {
                Err(PoolError::Active(known.name()))
            }
        })
        .await
    }

    /// Stops a pool. Its files are left alone.
    pub(crate) async fn destroy(&self, by: By) -> Result<(), WireError> {
        self.change_one(by, |known| match known.life {
            Life::Kept { active: false, .. } => Err(PoolError::Inactive(known.name())),
            Life::Transient => Ok((None, Written::Active)),
            Life::Kept { active: true, autostart } => {
                Ok((Some(Life::Kept { active: false, autostart }), Written::Active))
            }
        })
        .await
    }

    /// Keeps a pool no longer.
    pub(crate) async fn undefine(&self, by: By) -> Result<(), WireError> {
        self.change_one(by, |known| match known.life {
            Life::Transient | Life::Kept { active: true, .. } => {
                Err(PoolError::Active(known.name()))
            }
            Life::Kept { active: false, .. } => Ok((None, Written::Defined)),
        })
        .await
    }

    /// Whether a kept pool is to be active after each boot.
    pub(crate) async fn set_autostart(&self, by: By, autostart: bool) -> Result<(), WireError> {
        self.change_one(by, move |known| match known.life {
            Life::Transient => Err(PoolError::Transient(known.name())),
            Life::Kept { active, .. } => {
                Ok((Some(Life::Kept { active, autostart }), Written::Defined))
            }
        })
        .await
    }

    /// How full a pool's file system is; nothing of one that is not active.
    pub(crate) async fn usage(&self, known: &Known) -> Result<Usage, WireError> {
        if !known.life.is_active() {
            return Ok(Usage::default());
        }
        let directory = known.pool.directory.clone();
        look(move || volumes::usage(&directory)).await
    }

    /// The files of an active pool.
    pub(crate) async fn names(&self, by: &By) -> Result<(Pool, Vec<String>), WireError> {
        let pool = self.active(by).map_err(|fault| wire_error::pool(&fault))?.pool;
        let directory = pool.directory.clone();
        Ok((pool, look(move || volumes::names(&directory)).await?))
    }

    /// A file of an active pool.
    pub(crate) async fn volume(&self, by: &By, name: &str) -> Result<(Pool, Volume), WireError> {
        let pool = self.active(by).map_err(|fault| wire_error::pool(&fault))?.pool;
        let (directory, name) = (pool.directory.clone(), name.to_owned());
        Ok((pool, look(move || volumes::volume(&directory, &name)).await?))
    }

    /// A file of any active pool.
    pub(crate) async fn volume_at(&self, path: &str) -> Result<(Pool, Volume), WireError> {
        let missing = || PoolError::NoVolume(format!("matching path '{path}'"));
        let found = Directory::of_file(path).and_then(|(directory, name)| {
            let pool = self.active(&By::Directory(directory.to_string())).ok()?.pool;
            Some((pool.uuid, name))
        });
        let (uuid, name) = found.ok_or_else(|| wire_error::pool(&missing()))?;
        self.volume(&By::Uuid(uuid), name).await
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, once it is written. Whoever reads meanwhile does not wait.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Vec<Known>) -> Result<(Written, T), PoolError> + Send + 'static,
    ) -> Result<T, WireError> {
        let pools = self.clone();
        look(move || {
            let _turn = pools.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut known = pools.all();
            let (written, answer) = change(&mut known)?;
            match written {
                Written::Defined => pools.0.files.write_defined(&known)?,
                Written::Active => pools.0.files.write_active(&known)?,
            }
            *pools.known() = known;
            Ok(answer)
        })
        .await
    }

    /// Changes one pool's life, or forgets it.
    async fn change_one(
        &self,
        by: By,
        change: impl FnOnce(&Known) -> Result<(Option<Life>, Written), PoolError> + Send + 'static,
    ) -> Result<(), WireError> {
        self.change(move |known| {
            let place =
                known.iter().position(|it| by.fits(&it.pool)).ok_or_else(|| by.missing())?;
            let (life, written) = change(&known[place])?;
            match life {
                Some(life) => known[place].life = life,
                None => drop(known.remove(place)),
            }
            Ok((written, ()))
        })
        .await
    }
}

/// Looks into a directory, or writes what is known: both may take their time.
async fn look<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PoolError> + Send + 'static,
) -> Result<T, WireError> {
    let place = PLACES.acquire().await;
    let done = aside(work).await;
    drop(place);
    done?.map_err(|fault| wire_error::pool(&fault))
}

fn put(known: &mut Vec<Known>, place: Option<usize>, it: Known) {
    match place {
        Some(place) => known[place] = it,
        None => known.push(it),
    }
}

/// Which of the files a change is in.
enum Written {
    Defined,
    Active,
}

/// Where the pool of this name and UUID is among the known; `None` when it is a new one.
fn place_for(known: &[Known], pool: &Pool) -> Result<Option<usize>, PoolError> {
    let place = known.iter().position(|it| it.pool.uuid == pool.uuid);
    for (other, it) in known.iter().enumerate() {
        if place == Some(other) {
            if it.pool.name != pool.name {
                return Err(conflict(it, "uuid"));
            }
        } else if it.pool.name == pool.name {
            return Err(conflict(it, "name"));
        } else if it.pool.directory == pool.directory {
            return Err(conflict(it, "directory"));
        }
    }
    if place.is_none() && known.len() >= POOLS_MAX {
        return Err(PoolError::TooMany);
    }
    Ok(place)
}

fn conflict(other: &Known, what: &'static str) -> PoolError {
    PoolError::Conflict { name: other.name(), uuid: other.pool.uuid, what }
}

/// Makes it active if it wants to be and can.
fn autostart(known: &mut Known) {
    let Life::Kept { autostart: true, .. } = known.life else { return };
    match volumes::readable(&known.pool.directory) {
        Ok(()) => known.life = Life::Kept { active: true, autostart: true },
        Err(fault) => {
            let (name, why) = (&known.pool.name, vfnet_model::explain(&fault));
            tracing::error!("storage pool '{name}' is not started: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn directories_that_hang_hold_up_calls_about_storage_alone() {
        let hanging = Arc::new(Barrier::new(AT_ONCE + 1));
        let release = Arc::new(Barrier::new(AT_ONCE + 1));
        let looks: Vec<_> = (0..AT_ONCE * 8)
            .map(|number| {
                let (hanging, release) = (Arc::clone(&hanging), Arc::clone(&release));
                tokio::spawn(look(move || {
                    if number < AT_ONCE {
                        hanging.wait();
                        release.wait();
                    }
                    Ok(())
                }))
            })
            .collect();
        let (all_hang, go_on) = (Arc::clone(&hanging), Arc::clone(&release));
        tokio::task::spawn_blocking(move || all_hang.wait()).await.unwrap();
        assert_eq!(PLACES.available_permits(), 0);
        // A client that reads a document does not wait for them.
        aside(|| ()).await.unwrap();
        tokio::task::spawn_blocking(move || go_on.wait()).await.unwrap();
        for look in looks {
            look.await.unwrap().unwrap();
        }
    }
}
