//! A guest's systemd scope: its cgroup, and which devices its processes can open.
//!
//! The launcher begins anew inside of it, by way of `systemd-run`, which makes the scope and
//! becomes what it is told to in the same process. It is made before the launcher opens anything,
//! so whatever device the guest is given as a descriptor is one that the scope allows. systemd
//! keeps it, and drops it when its last process has ended; what it is allowed besides is on file
//! with systemd until [`forget`].

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{major, minor};
use vfnet_host::process::{Purpose, command};

use crate::launch::LaunchSpec;
use crate::run_dir::gone_is_fine;

/// The argument of a launcher that has begun anew in its scope.
pub(crate) const INSIDE: &str = "in-its-scope";
/// Is there where systemd is the init (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where systemd keeps what is set on a unit that runs.
const SET: &str = "/run/systemd/system.control";
/// Shuts guests down with the host, before their scopes are stopped.
const SHUTDOWN: &str = "vfnet-guests.service";

/// Whether systemd runs on this machine.
pub fn systemd_runs() -> bool {
    Path::new(BOOTED).is_dir()
}

/// The guest's scope. Each run has one of its own: systemd may drop the last one a moment later
/// than its processes end.
fn name(spec: &LaunchSpec) -> String {
    format!("vfnet-guest-{}-{}.scope", spec.uuid, spec.run)
}

/// What the guest's processes may open, in systemd's words. Standard input and output are those of
/// this process.
fn devices(spec: &LaunchSpec) -> Vec<String> {
    // Reset first: a list that is set again is to be this one.
    let mut settings = vec!["DevicePolicy=closed".to_owned(), "DeviceAllow=".to_owned()];
    settings.extend(["DeviceAllow=/dev/ptmx rw", "DeviceAllow=char-pts rw"].map(str::to_owned));
    let files = spec.files.iter().map(|file| file.path.as_path());
    settings.extend(spec.in_dev().chain(files).filter_map(device));
    settings
}

/// A device by its numbers, under which systemd does not look for a node. What is no device needs
/// no leave.
fn device(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let kind = match found.file_type() {
        kind if kind.is_char_device() => "char",
        kind if kind.is_block_device() => "block",
        _ => return None,
    };
    let number = found.rdev();
    Some(format!("DeviceAllow=/dev/{kind}/{}:{} rw", major(number), minor(number)))
}

/// Begins this process, a launcher with these arguments, anew in its guest's scope. What
/// `systemd-run` has to say goes to `words`. Returns only when it could not be run at all.
pub(crate) fn enter(
    spec: &LaunchSpec,
    args: impl IntoIterator<Item = std::ffi::OsString>,
    words: &File,
) -> io::Result<Infallible> {
    let mut run = command("systemd-run", Purpose::Guest);
    run.args(["--scope", "--quiet", "--collect", "--slice=machine.slice", "--unit"])
        .arg(name(spec))
        .arg(format!("--description=vfnet's guest {}", spec.name))
        .arg(format!("--property=Before={SHUTDOWN}"));
    for setting in devices(spec) {
        run.arg("--property").arg(setting);
    }
    // The lock goes on as standard input. The program's file may be another one by now, or none:
    // it goes along as standard output, which nobody writes to.
    run.args(["--", "/proc/self/fd/1"])
        .args(args)
        .arg(INSIDE)
        .stdin(Stdio::inherit())
        .stdout(File::open("/proc/self/exe")?)
        .stderr(words.try_clone()?);
    Err(run.exec())
}

/// Allows a guest that runs what its spec says by now, and nothing else. Can be repeated.
pub(crate) fn allow(spec: &LaunchSpec) -> io::Result<()> {
    let mut set = command("systemctl", Purpose::System);
    set.args(["set-property", "--runtime", "--"]).arg(name(spec)).args(devices(spec));
    let output = set.stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()))
}

/// Forgets what was allowed to a guest that has ended. Can be repeated.
pub(crate) fn forget(spec: &LaunchSpec) -> io::Result<()> {
    gone_is_fine(std::fs::remove_dir_all(kept(spec)))
}

fn kept(spec: &LaunchSpec) -> PathBuf {
    Path::new(SET).join(format!("{}.d", name(spec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_allowed_by_its_numbers_and_what_is_none_needs_no_leave() {
        assert_eq!(device(Path::new("/dev/null")).unwrap(), "DeviceAllow=/dev/char/1:3 rw");
        // As a disk may be named.
        let tmp = tempfile::tempdir().unwrap();
        let link = tmp.path().join("disk; DeviceAllow=char-mem rw");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert_eq!(device(&link).unwrap(), "DeviceAllow=/dev/char/1:5 rw");
        for none in [tmp.path(), Path::new("/dev/not-there"), Path::new("/dev/null/vfio")] {
            assert_eq!(device(none), None);
        }
    }
}
