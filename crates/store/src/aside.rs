//! Moving a damaged file out of the way, never over another one, and a new one into its place.
//!
//! Whoever is killed in between leaves what is found at the next start: a log without its file is
//! damage ([`crate::database`]), and a file that was made whole beside a damaged one takes the place
//! that is free.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{StoreError, sort_io};

/// A file and what SQLite has beside it, in the order in which they are moved: a file without its
/// log may look sound, and be what it was some transactions ago.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// What the name of a whole file ends with that is to take a damaged one's place.
const REBUILT: &str = ".rebuilt";

/// Renames a file and what SQLite has beside it to `FILE.damaged-SECONDS[-N]`, by the time of
/// day, and says where it is now.
pub(crate) fn keep(file: &Path) -> Result<PathBuf, StoreError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "for whoever finds the file; a taken name is not used"
    )]
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let free = |name: &PathBuf| PARTS.iter().all(|part| !with(name, part).exists());
    let kept = (0..u32::MAX)
        .map(|n| match n {
            0 => with(file, &format!(".damaged-{seconds}")),
            n => with(file, &format!(".damaged-{seconds}-{n}")),
        })
        .find(free)
        .unwrap_or_else(|| with(file, ".damaged"));
    let failed = |source| sort_io(source, file.to_owned());
    for part in PARTS {
        match fs::rename(with(file, part), with(&kept, part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(failed)?,
        }
    }
    sync_directory_of(file).map_err(failed)?;
    Ok(kept)
}

/// An empty directory beside a damaged file, where another one can be made.
pub(crate) fn place_beside(file: &Path) -> Result<PathBuf, StoreError> {
    let dir = with(file, ".rebuilding");
    let failed = |source| sort_io(source, dir.clone());
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(failed)?,
    }
    DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
    Ok(dir)
}

/// The file of that name in that directory is whole, and is to take the damaged one's place.
pub(crate) fn is_whole(dir: &Path, file: &Path) -> Result<(), StoreError> {
    let failed = |source| sort_io(source, file.to_owned());
    let made = dir.join(file.file_name().unwrap_or_default());
    fs::rename(made, with(file, REBUILT)).map_err(failed)?;
    sync_directory_of(file).map_err(failed)?;
    fs::remove_dir_all(dir).map_err(failed)
}

/// Puts the file that is to be in a damaged one's place there, where the place is free.
pub(crate) fn take_the_place(file: &Path) -> Result<(), StoreError> {
    let failed = |source| sort_io(source, file.to_owned());
    let rebuilt = with(file, REBUILT);
    if file.try_exists().map_err(failed)? || !rebuilt.try_exists().map_err(failed)? {
        return Ok(());
    }
    // What is left of the damaged one is not the new one's log.
    if PARTS.iter().any(|part| with(file, part).exists()) {
        keep(file)?;
    }
    fs::rename(rebuilt, file).map_err(failed)?;
    sync_directory_of(file).map_err(failed)
}

fn sync_directory_of(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn with(path: &Path, part: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::live;

    #[test]
    fn whoever_is_killed_while_a_damaged_file_is_moved_leaves_no_part_of_it_that_looks_sound() {
        let made = tempfile::tempdir().unwrap();
        let mut open = Database::open(made.path(), &live::KIND).unwrap();
        for n in 0..3 {
            let sql = format!("REPLACE INTO meta (key, value) VALUES ('x', '{n}')");
            open.write("write to", |it| it.execute_batch(&sql)).unwrap();
        }
        for moved in 0..=PARTS.len() {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(live::KIND.name);
            for part in PARTS {
                fs::copy(with(&made.path().join(live::KIND.name), part), with(&file, part))
                    .unwrap();
            }
            let mut log = fs::read(with(&file, "-wal")).unwrap();
            log[5000] ^= 1;
            fs::write(with(&file, "-wal"), log).unwrap();
            for part in &PARTS[..moved] {
                fs::rename(with(&file, part), with(&dir.path().join("kept"), part)).unwrap();
            }
            let all = dir.path().join("kept").exists() && dir.path().join("kept-wal").exists();
            match Database::open(dir.path(), &live::KIND) {
                Err(StoreError::Corrupt { .. }) => assert!(!all),
                opened => assert!(opened.is_ok() && all, "{moved} parts moved: {opened:?}"),
            }
        }
    }
}
