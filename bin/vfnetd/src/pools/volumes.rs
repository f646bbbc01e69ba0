//! Looks into a pool's directory. Whoever may write there may put anything there: only regular
//! files are opened, without waiting, and only their heads are read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use rustix::fs::{OFlags, statvfs};
use vfnet_model::storage::{Directory, Image, Usage, Volume};

use super::PoolError;

/// The most entries of a directory that is listed.
pub(super) const ENTRIES_MAX: usize = vfnet_rpc::objects::OBJECTS_MAX;

/// The size of a block of [`MetadataExt::blocks`] (stat(2)).
const BLOCK: u64 = 512;

fn failed(doing: &'static str, path: &impl ToString) -> impl FnOnce(io::Error) -> PoolError {
    let path = path.to_string();
    move |source| PoolError::File { doing, path, source }
}

/// Whether it is a directory that can be listed.
pub(super) fn readable(directory: &Directory) -> Result<(), PoolError> {
    std::fs::read_dir(directory).map(drop).map_err(failed("open directory", directory))
}

pub(super) fn usage(directory: &Directory) -> Result<Usage, PoolError> {
    let of = statvfs(directory.as_ref())
        .map_err(|fault| failed("look at the file system of", directory)(fault.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(of.f_frsize);
    Ok(Usage {
        capacity: bytes(of.f_blocks),
        allocation: bytes(of.f_blocks.saturating_sub(of.f_bfree)),
        available: bytes(of.f_bavail),
    })
}

/// The names of its regular files in order, links to such included. A name that is no text, or
/// has control characters, cannot be in a document and is left out.
pub(super) fn names(directory: &Directory) -> Result<Vec<String>, PoolError> {
    let entries = std::fs::read_dir(directory).map_err(failed("open directory", directory))?;
    let mut names = Vec::new();
    for (count, entry) in entries.enumerate() {
        if count >= ENTRIES_MAX {
            return Err(PoolError::TooManyEntries(directory.clone()));
        }
        let entry = entry.map_err(failed("read directory", directory))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // What has gone meanwhile, or leads nowhere, is no file.
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|found| found.is_file());
        if is_file && !name.contains(char::is_control) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// One of its files.
pub(super) fn volume(directory: &Directory, name: &str) -> Result<Volume, PoolError> {
    let missing = || PoolError::NoVolume(format!("matching name '{name}' in '{directory}'"));
    if name.is_empty() || [".", ".."].contains(&name) || name.contains(['/', '\0']) {
        return Err(missing());
    }
    let path = directory.file(name);
    let found = match std::fs::metadata(&path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Err(missing()),
        found => found.map_err(failed("look at", &path))?,
    };
    if !found.is_file() {
        return Err(missing());
    }
    let (found, image) = head(&path).map_err(failed("read", &path))?.ok_or_else(missing)?;
    Ok(Volume {
        name: name.to_owned(),
        image,
        allocation: found.blocks().saturating_mul(BLOCK),
        physical: found.len(),
        mode: found.mode() & 0o7777,
        owner: found.uid(),
        group: found.gid(),
        path,
    })
}

/// What the beginning of a regular file says; `None` when it has become something else. It is held
/// before it is looked at, and opened by what is held: opening a device has effects of its own
/// (a watchdog starts).
fn head(path: &str) -> io::Result<Option<(Metadata, Image)>> {
    let held = open(path, OFlags::PATH)?;
    if !held.metadata()?.is_file() {
        return Ok(None);
    }
    let file = open(&format!("/proc/self/fd/{}", held.as_raw_fd()), OFlags::NONBLOCK)?;
    let found = file.metadata()?;
    let mut head = Vec::with_capacity(Image::HEAD);
    file.take(Image::HEAD as u64).read_to_end(&mut head)?;
    let image = Image::of(&head, found.len());
    Ok(Some((found, image)))
}

fn open(path: &str, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::TempDir;

    use super::*;

    fn directory() -> (TempDir, Directory) {
        let made = TempDir::new().unwrap();
        let directory = made.path().to_str().unwrap().parse().unwrap();
        (made, directory)
    }

    #[test]
    fn only_regular_files_are_volumes_and_nothing_is_waited_for() {
        let (made, directory) = directory();
        std::fs::write(made.path().join("disk.img"), [0; 1000]).unwrap();
        std::fs::write(made.path().join("bad\nname"), []).unwrap();
        std::fs::create_dir(made.path().join("folder")).unwrap();
        symlink("disk.img", made.path().join("link")).unwrap();
        symlink("nowhere", made.path().join("dangling")).unwrap();
        mknodat(CWD, made.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(names(&directory).unwrap(), ["disk.img", "link"]);
        assert_eq!(volume(&directory, "link").unwrap().image.capacity, 1000);
        for name in ["folder", "dangling", "fifo", "none", "", ".", "..", "../disk.img", "a\0b"] {
            let fault = volume(&directory, name).unwrap_err();
            assert!(matches!(fault, PoolError::NoVolume(_)), "{name:?}: {fault}");
        }
    }

    #[test]
    fn what_has_become_a_fifo_between_two_looks_is_not_waited_for() {
        let (made, _) = directory();
        let path = made.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(head(path.to_str().unwrap()).unwrap().is_none());
    }

    #[test]
    fn what_has_become_something_else_between_two_looks_is_not_opened() {
        let (made, _) = directory();
        let path = made.path().join("socket");
        // Opening one is an error (ENXIO), where opening a device would be an act.
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let link = made.path().join("link");
        symlink("socket", &link).unwrap();
        for path in [path, link] {
            assert!(head(path.to_str().unwrap()).unwrap().is_none());
        }
    }

    #[test]
    fn a_directory_that_is_none_is_an_error_that_names_it() {
        let (made, directory) = directory();
        std::fs::write(made.path().join("disk.img"), []).unwrap();
        let file: Directory = directory.file("disk.img").parse().unwrap();
        for wrong in [&file, &"/nonexistent/images".parse().unwrap()] {
            let fault = readable(wrong).unwrap_err();
            assert!(fault.to_string().contains(&wrong.to_string()), "{fault}");
        }
    }

    #[test]
    fn a_directory_with_more_entries_than_are_listed_is_not_listed_in_part() {
        let (made, directory) = directory();
        for number in 0..=ENTRIES_MAX {
            symlink("nowhere", made.path().join(number.to_string())).unwrap();
        }
        assert!(matches!(names(&directory), Err(PoolError::TooManyEntries(_))));
    }
}
