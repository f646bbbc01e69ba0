//! A guest's jail: which of the host's devices its QEMU finds.
//!
//! QEMU has a mount namespace of its own, in which `/dev` is the directory `dev` of the guest's
//! run directory: device nodes made there for this guest, which are its uid's, and the host's
//! pseudo-terminals. The host's own mounts are never touched, so there is nothing to take back,
//! whoever is killed when: the namespace goes with its last process, the nodes with the run
//! directory. A device that comes to a running guest is a node more in that directory.
//!
//! A run directory may be mounted `nodev`; it is in QEMU's namespace only that its nodes lead to
//! devices then.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount_bind, mount_bind_recursive, mount_change,
    mount_remount,
};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::launch::Credentials;
use crate::run_dir::{RunDir, gone_is_fine};

/// Where QEMU looks for devices.
const DEV: &str = "/dev";
/// What every QEMU finds there, besides pseudo-terminals.
const EVERYBODYS: [&str; 6] = ["null", "zero", "full", "random", "urandom", "ptmx"];
/// What a guest with VFIO devices opens besides those.
pub(crate) const VFIO: &str = "/dev/vfio/vfio";
/// What a guest of type kvm opens.
pub(crate) const KVM: &str = "/dev/kvm";
/// What a tap is opened by.
pub const TUN: &str = "/dev/net/tun";

/// What keeps a guest's QEMU from the host's devices, besides their owners and modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jail {
    /// Nothing.
    #[default]
    None,
    /// A mount namespace with a `/dev` of its own.
    Namespace,
    /// A systemd scope that allows it the devices that it was given.
    Scope,
}

/// Why a guest did not get its jail.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Its run directory would be hidden by its `/dev`.
    #[error("the run directory {0} is in /dev, which is another one for guests")]
    RunDirInDev(PathBuf),
    /// It cannot have a node.
    #[error("cannot make {node} for the guest")]
    Node {
        /// The node, as the guest sees it.
        node: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot have mounts of its own.
    #[error(
        "cannot {doing} for the guest (the setting `jail` says whether it is to have a /dev of its own)"
    )]
    Mount {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts this process, which has one thread and is root, in its guest's jail. What of `devices`
/// the host has not got, the guest has not got either.
pub(crate) fn enter<'a>(
    run_dir: &RunDir,
    whom: &Credentials,
    devices: impl IntoIterator<Item = &'a Path>,
) -> Result<(), JailError> {
    if run_dir.path().starts_with(DEV) {
        return Err(JailError::RunDirInDev(run_dir.path().to_owned()));
    }
    let dev = run_dir.dev();
    let made = gone_is_fine(std::fs::remove_dir_all(&dev)).and_then(|()| make_dir(&dev));
    made.map_err(|source| JailError::Node { node: DEV.into(), source })?;
    for node in EVERYBODYS.map(|name| Path::new(DEV).join(name)) {
        let_in(run_dir, whom, &node)?;
    }
    for node in devices {
        let_in(run_dir, whom, node)?;
    }
    mount(&dev)
}

/// Makes QEMU's namespace and puts `dev` in it as its `/dev`.
fn mount(dev: &Path) -> Result<(), JailError> {
    let failed =
        |doing| move |error: rustix::io::Errno| JailError::Mount { doing, source: error.into() };
    #[expect(
        deprecated,
        reason = "unsound only with FILES, which is not asked for, and the replacement is unsafe \
                  to call"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNS).map_err(failed("make a mount namespace"))?;
    // Unmounting on the host is followed, so that no guest keeps a file system busy that the
    // administrator has unmounted; nothing of what is mounted here gets there.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream).map_err(failed("keep mounts to itself"))?;
    let (hosts_terminals, terminals) = (Path::new(DEV).join("pts"), dev.join("pts"));
    if hosts_terminals.is_dir() {
        make_dir(&terminals)
            .map_err(|source| JailError::Node { node: hosts_terminals.clone(), source })?;
        mount_bind(&hosts_terminals, &terminals).map_err(failed("mount /dev/pts"))?;
    }
    mount_bind_recursive(dev, DEV).map_err(failed("mount a /dev"))?;
    // Not NODEV, whatever the run directory's file system is mounted with.
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_remount(DEV, flags, "").map_err(failed("mount a /dev with devices"))
}

/// Gives a guest in a jail one of the host's device nodes, running or not. Can be repeated. A node
/// that the host has not got is none, and one outside of `/dev` is where it was.
pub(crate) fn let_in(run_dir: &RunDir, whom: &Credentials, node: &Path) -> Result<(), JailError> {
    let Some(inside) = inside(run_dir, node) else { return Ok(()) };
    let made = match std::fs::symlink_metadata(node) {
        Ok(found) if found.file_type().is_char_device() => {
            make_node(&run_dir.dev(), &inside, found.rdev(), whom)
        }
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a character device")),
        Err(error) => gone_is_fine(Err(error)),
    };
    made.map_err(|source| JailError::Node { node: node.to_owned(), source })
}

/// Takes a node from a guest again. What it has open stays open. Can be repeated.
pub(crate) fn shut_out(run_dir: &RunDir, node: &Path) -> io::Result<()> {
    match inside(run_dir, node) {
        Some(inside) => gone_is_fine(std::fs::remove_file(inside)),
        None => Ok(()),
    }
}

/// Where a node of the host's `/dev` is in the guest's.
fn inside(run_dir: &RunDir, node: &Path) -> Option<PathBuf> {
    let relative = node.strip_prefix(DEV).ok()?;
    let is_name = |part: Component<'_>| matches!(part, Component::Normal(_));
    relative.components().all(is_name).then(|| run_dir.dev().join(relative))
}

/// Makes a node below `dev` that is the guest's alone, with the directories that it is in.
fn make_node(dev: &Path, node: &Path, number: u64, whom: &Credentials) -> io::Result<()> {
    let above: Vec<_> = node.ancestors().skip(1).take_while(|dir| *dir != dev).collect();
    above.into_iter().rev().try_for_each(make_dir)?;
    // Its number may be another one than that of the node that was here.
    gone_is_fine(std::fs::remove_file(node))?;
    mknodat(CWD, node, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, number)?;
    lchown(node, Some(whom.uid), Some(whom.gid))
}

/// Makes a directory of root's in which others find what they know the name of.
fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o711))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_in_dev_or_leads_out_of_it_is_not_let_in() {
        let run_dir = RunDir::at("/run/vfnet/guests/web1");
        let inside = |node: &str| inside(&run_dir, Path::new(node));
        let group = run_dir.dev().join("vfio/12");
        assert_eq!(inside("/dev/vfio/12"), Some(group));
        for node in ["/dev/../etc/passwd", "/dev/vfio/../../../lock", "/tmp/dev/12", "vfio/12"] {
            assert_eq!(inside(node), None, "{node}");
        }
    }
}
