//! The sockets that the daemon listens on.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::options::Config;

/// A socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}")]
pub struct ListenError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What clients connect to.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// For everything; root and the configured group.
    pub(crate) read_write: Vec<UnixListener>,
    /// For calls that change nothing; everybody.
    pub(crate) read_only: UnixListener,
}

impl Listeners {
    /// Opens the sockets. What an earlier daemon left is replaced: the lock on the run directory
    /// says that it is gone.
    pub(crate) fn open(config: &Config, network: Option<&Path>) -> Result<Self, ListenError> {
        let mut handed = from_systemd();
        let path = config.run_dir.join("libvirt-sock-ro");
        let read_only = match handed.take("libvirt-sock-ro") {
            Some(listener) => listener,
            None => bind(&path, 0o666, None)?,
        };
        let path = config.run_dir.join("libvirt-sock");
        let group = config.socket_group.as_deref().and_then(group_id);
        if let (Some(name), None) = (&config.socket_group, group) {
            tracing::warn!("there is no group '{name}': root alone may use {}", path.display());
        }
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        let main = match handed.take("libvirt-sock") {
            Some(listener) => listener,
            None => bind(&path, mode, group)?,
        };
        let mut read_write = vec![main];
        if let Some(path) = network {
            read_write.push(bind(path, mode, group)?);
        }
        Ok(Self { read_write, read_only })
    }
}

/// Sockets that systemd opened, by the last part of their path.
struct Handed(Vec<UnixListener>);

fn from_systemd() -> Handed {
    let mut fds = listenfd::ListenFd::from_env();
    let listeners = (0..fds.len()).filter_map(|place| {
        let listener = fds.take_unix_listener(place).ok().flatten()?;
        listener.set_nonblocking(true).ok()?;
        UnixListener::from_std(listener).ok()
    });
    Handed(listeners.collect())
}

impl Handed {
    fn take(&mut self, name: &str) -> Option<UnixListener> {
        let is_it = |listener: &UnixListener| {
            let address = listener.local_addr().ok();
            address.as_ref().and_then(|a| a.as_pathname()).and_then(Path::file_name)
                == Some(name.as_ref())
        };
        let place = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(place))
    }
}

/// Binds in a directory of our own and moves the socket into place when its mode and group are
/// right, so that nobody connects before.
fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or_else(|| Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed)?;
    let own = dir.join(format!(".bind-{}", std::process::id()));
    remove(&own)?;
    std::fs::DirBuilder::new().mode(0o700).create(&own).map_err(failed)?;
    let fresh = own.join("s");
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    let settled = std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode))
        .and_then(|()| if group.is_some() { chown(&fresh, None, group) } else { Ok(()) })
        .and_then(|()| std::fs::rename(&fresh, path));
    remove(&own)?;
    settled.map_err(failed)?;
    Ok(listener)
}

fn remove(dir: &Path) -> Result<(), ListenError> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ListenError { path: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A group's number, from `/etc/group`.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn a_socket_has_its_mode_and_takes_the_place_of_whatever_was_at_its_path() {
        let tmp = tempfile::tempdir().expect("a directory");
        let dir = tmp.path().join("run");
        std::fs::create_dir(&dir).expect("a directory");
        let others = tmp.path().join("others");
        std::fs::write(&others, "kept").expect("a file");
        std::fs::set_permissions(&others, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        let path = dir.join("libvirt-sock");
        symlink(&others, &path).expect("a link");
        for mode in [0o600, 0o660, 0o666] {
            let _listener = bind(&path, mode, None).expect("a socket");
            let found = std::fs::symlink_metadata(&path).expect("a socket");
            assert_eq!(found.mode() & 0o170_777, 0o140_000 | mode);
            tokio::net::UnixStream::connect(&path).await.expect("a connection");
            let left: Vec<_> = std::fs::read_dir(&dir).expect("a directory").collect();
            assert_eq!(left.len(), 1, "{left:?}");
        }
        assert_eq!(std::fs::read(&others).expect("a file"), b"kept");
        assert_eq!(std::fs::metadata(&others).expect("a file").mode() & 0o777, 0o600);
    }
}
