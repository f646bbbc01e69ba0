//! Moving a damaged file out of the way, never over another one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{StoreError, sort_io};

/// Renames a file and what SQLite has beside it to `FILE.damaged-SECONDS[-N]`, by the time of
/// day, and says where it is now. The file itself comes last: as long as it is there, whoever
/// opens it finds the damage.
pub(crate) fn keep(file: &Path) -> Result<PathBuf, StoreError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "for whoever finds the file; a taken name is not used"
    )]
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let free = |name: &PathBuf| ["", "-wal", "-shm"].iter().all(|part| !with(name, part).exists());
    let kept = (0..u32::MAX)
        .map(|n| match n {
            0 => with(file, &format!(".damaged-{seconds}")),
            n => with(file, &format!(".damaged-{seconds}-{n}")),
        })
        .find(free)
        .unwrap_or_else(|| with(file, ".damaged"));
    let failed = |source| sort_io(source, file.to_owned());
    for part in ["-shm", "-wal", ""] {
        match fs::rename(with(file, part), with(&kept, part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(failed)?,
        }
    }
    let dir = file.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(kept)
}

/// Undoes [`keep`], when no new file could be put in the place.
pub(crate) fn put_back(kept: &Path, file: &Path) -> Result<(), StoreError> {
    for part in ["", "-wal", "-shm"] {
        let (from, to) = (with(kept, part), with(file, part));
        let moved = match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&to),
            moved => moved,
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(|source| sort_io(source, to))?,
        }
    }
    Ok(())
}

fn with(path: &Path, part: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}
