//! Unix sockets at paths of any length, and of nobody but whom they are to be of.
//!
//! An address holds 107 bytes; a longer path is bound through its directory, opened, as
//! `/proc/self/fd/N/NAME`, and connected to by the socket itself, opened.
//!
//! Some are in directories that the guest's uid may write, where a QEMU that its guest has taken
//! over could put a link to another program's socket: a link is not followed, and whoever listens
//! must be the guest's process. The kernel tells who called `listen` (unix(7), `SO_PEERCRED`),
//! which is the launcher, and exec changes no pid.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Bytes of a path that an address holds (`sun_path` less its end).
const PATH_BYTES: usize = 107;

/// Binds and listens.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let near = Near::of(path)?;
    UnixListener::bind(&near.path)
}

/// Connects to what the process `pid` listens on.
///
/// # Errors
///
/// Besides the kernel's, `PermissionDenied` when what is there is no socket, or another process's.
pub(crate) async fn connect(path: &Path, pid: i32) -> io::Result<tokio::net::UnixStream> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let socket = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !socket.metadata()?.file_type().is_socket() {
        return refused("it is no socket".to_owned());
    }
    let by_descriptor = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let stream = tokio::net::UnixStream::connect(by_descriptor).await?;
    match stream.peer_cred()?.pid() {
        Some(listens) if listens == pid => Ok(stream),
        listens => refused(match listens {
            Some(listens) => format!("process {listens} listens there, and not the guest's {pid}"),
            None => "nobody can tell who listens there".to_owned(),
        }),
    }
}

/// A path short enough for an address, good while this value is there.
struct Near {
    path: PathBuf,
    _dir: Option<File>,
}

impl Near {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= PATH_BYTES {
            return Ok(Self { path: path.to_owned(), _dir: None });
        }
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let dir = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
        Ok(Self { path, _dir: Some(dir) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_process() -> i32 {
        std::process::id().try_into().unwrap()
    }

    #[tokio::test]
    async fn a_path_longer_than_an_address_is_bound_and_reached() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("d".repeat(120));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("qmp");
        let _listener = listen(&path).unwrap();
        connect(&path, this_process()).await.unwrap();
    }

    #[tokio::test]
    async fn a_link_to_a_socket_and_what_is_no_socket_are_not_connected_to() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("qmp");
        let _listener = listen(&path).unwrap();
        let link = tmp.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let file = tmp.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [link, file, tmp.path().to_owned()] {
            let error = connect(&path, this_process()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{path:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_socket_on_which_another_process_listens_is_not_the_guests() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("qmp");
        let _listener = listen(&path).unwrap();
        let error = connect(&path, this_process() + 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }
}
