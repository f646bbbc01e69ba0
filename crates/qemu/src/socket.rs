//! Unix sockets at paths of any length.
//!
//! An address holds 107 bytes; a longer path is reached through its directory, opened, as
//! `/proc/self/fd/N/NAME`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
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

/// Connects.
pub(crate) async fn connect(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let near = Near::of(path)?;
    tokio::net::UnixStream::connect(&near.path).await
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

    #[tokio::test]
    async fn a_path_longer_than_an_address_is_bound_and_reached() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("d".repeat(120));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("qmp");
        let _listener = listen(&path).unwrap();
        connect(&path).await.unwrap();
    }
}
