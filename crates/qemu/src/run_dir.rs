//! A guest's run directory: what of a running guest outlives the daemon.
//!
//! ```text
//! RUN/guests/NAME-UUID/     0711 root
//!   lock                    flock held <=> launcher or guest alive
//!   launch.json             what was to be started (LaunchSpec)
//!   pid                     'PID START-TIME BOOT-ID', by the launcher, before anything else
//!   launch-error            why the launcher gave up; empty if it did not
//!   qmp                     QEMU's monitor
//!   guest/                  0700, the guest's uid
//!   dev/                    its QEMU's /dev, where it has a jail (see `jail`)
//! ```
//!
//! The daemon takes the lock *before* it starts the launcher, which inherits the open file: a
//! flock belongs to the open file, not to a process, so there is no moment at which a started
//! guest does not hold it, whoever is killed when.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;
use vfnet_model::GuestName;

use crate::process_id::ProcessId;

/// Bytes of a guest's name in its directory's name: a unix socket's path has 107 bytes in all,
/// and the UUID tells guests apart.
const NAME_BYTES: usize = 24;

/// A file of a run directory could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}")]
pub struct RunDirError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The run directory of one guest. The directory itself need not be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The directory of a guest below the directory of all guests (`RUN/guests`).
    pub fn of(guests: &Path, name: &GuestName, uuid: &Uuid) -> Self {
        let name = name.as_str();
        let end = name.floor_char_boundary(NAME_BYTES);
        Self { path: guests.join(format!("{}-{uuid}", &name[..end])) }
    }

    /// The directory at a path, as found by listing `RUN/guests`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directories of all guests that run, or ran when nobody cleaned up.
    pub fn all(guests: &Path) -> Result<Vec<Self>, RunDirError> {
        let entries = match std::fs::read_dir(guests) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", guests))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", guests))?;
            if entry.file_type().map_err(failed("list", guests))?.is_dir() {
                found.push(Self::at(entry.path()));
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// QEMU's monitor socket.
    pub fn qmp_socket(&self) -> PathBuf {
        self.path.join("qmp")
    }

    /// The directory that the guest's own uid may write.
    pub fn guest_dir(&self) -> PathBuf {
        self.path.join("guest")
    }

    /// What is `/dev` for a guest in a jail.
    pub(crate) fn dev(&self) -> PathBuf {
        self.path.join("dev")
    }

    pub(crate) fn launch_spec(&self) -> PathBuf {
        self.path.join("launch.json")
    }

    /// The file in which a launcher says why it gave up; empty while it has not.
    pub(crate) fn open_launch_error(&self) -> Result<File, RunDirError> {
        let path = self.launch_error();
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("make", &path))
    }

    fn launch_error(&self) -> PathBuf {
        self.path.join("launch-error")
    }

    /// Makes the directory, without the guest's own; nothing to do when it is there.
    pub(crate) fn create(&self) -> Result<(), RunDirError> {
        let path = &self.path;
        DirBuilder::new()
            .recursive(true)
            .create(path)
            .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o711)))
            .map_err(failed("make", path))
    }

    /// Makes the guest's own directory, empty: what an earlier run put there, which that guest
    /// could choose, is met by nobody.
    pub(crate) fn create_guest_dir(&self, owner: Option<(u32, u32)>) -> Result<(), RunDirError> {
        let guest = self.guest_dir();
        gone_is_fine(std::fs::remove_dir_all(&guest)).map_err(failed("empty", &guest))?;
        DirBuilder::new().mode(0o700).create(&guest).map_err(failed("make", &guest))?;
        match owner {
            Some((uid, gid)) => std::os::unix::fs::lchown(&guest, Some(uid), Some(gid))
                .map_err(failed("give away", &guest)),
            None => Ok(()),
        }
    }

    /// Takes the lock; `None` when somebody has it, i.e. a guest is alive.
    pub(crate) fn lock(&self) -> Result<Option<File>, RunDirError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("lock", &path)(error.into())),
        }
    }

    /// Whether a launcher or guest of this directory is alive. Never makes a lock file.
    pub fn is_locked(&self) -> Result<bool, RunDirError> {
        let path = self.path.join("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(failed("look at the lock", &path)(error.into())),
        }
    }

    /// The launcher's and guest's process, once the launcher has written it down.
    pub fn process(&self) -> Result<Option<ProcessId>, RunDirError> {
        let path = self.path.join("pid");
        match std::fs::read_to_string(&path) {
            Ok(text) => text.parse().map(Some).map_err(|error| {
                failed("read", &path)(io::Error::new(io::ErrorKind::InvalidData, error))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    pub(crate) fn write_process(&self, process: &ProcessId) -> Result<(), RunDirError> {
        self.write_whole("pid", format!("{process}\n").as_bytes())
    }

    /// Why the launcher gave up, if it did.
    pub(crate) fn launcher_said(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.launch_error()).ok()?;
        Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
    }

    /// Removes what an earlier run of the guest left, except the lock.
    pub(crate) fn clear(&self) -> Result<(), RunDirError> {
        for path in [self.path.join("pid"), self.launch_error(), self.qmp_socket()] {
            gone_is_fine(std::fs::remove_file(&path)).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Removes the directory and all that is in it; nothing to do when it is gone.
    pub(crate) fn remove(&self) -> Result<(), RunDirError> {
        gone_is_fine(std::fs::remove_dir_all(&self.path)).map_err(failed("remove", &self.path))
    }

    /// Writes a file so that a reader finds all of it or none.
    pub(crate) fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        let path = self.path.join(name);
        let fresh = self.path.join(format!(".{name}.new"));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(failed("write", &path))
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_owned();
    move |source| RunDirError { doing, path, source }
}

pub(crate) fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_guest_with_a_long_name_leaves_room_for_sockets() {
        let name: GuestName = "ä".repeat(120).parse().unwrap();
        let dir = RunDir::of(Path::new("/run/vfnet/guests"), &name, &Uuid::nil());
        assert!(dir.qmp_socket().as_os_str().len() < 107, "{dir:?}");
        assert!(dir.path().to_str().unwrap().contains("ää-0000"));
    }

    #[test]
    fn a_lock_is_had_once_and_goes_with_the_last_holder_of_the_file() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::at(tmp.path().join("web1"));
        assert!(!dir.is_locked().unwrap());
        dir.create().unwrap();
        let lock = dir.lock().unwrap().unwrap();
        let inherited = lock.try_clone().unwrap();
        assert!(dir.lock().unwrap().is_none());
        drop(lock);
        assert!(dir.is_locked().unwrap());
        drop(inherited);
        assert!(!dir.is_locked().unwrap());
    }

    #[test]
    fn a_directory_can_be_removed_twice() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::at(tmp.path().join("web1"));
        dir.create().unwrap();
        dir.remove().unwrap();
        dir.remove().unwrap();
        assert!(!dir.path().exists());
    }
}
