//! What a QEMU that somebody has taken over finds in its guest's jail, over a host with a `/dev`
//! of the test's and run directories that are mounted `nodev`.
//!
//! Both are seen by the test's own thread and what it starts, in a mount namespace of that thread.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde_json::json;
use vfnet_qemu::jail::Jail;
use vfnet_qemu::launch::{Access, LaunchSpec, OpenFile};
use vfnet_qemu::plugging::{lend_node, return_node};
use vfnet_qemu::supervisor::clean_up;
use vfnet_qemu::{Guest, Launcher, start};

use crate::bench::{Bench, PATIENCE, end, kill, processes};

const UIDS: [u32; 2] = [64_140, 64_141];

/// A guest's bench on a host whose `/dev` is the test's.
struct Cell {
    // Dropped first: a directory with a mount on it could not be removed.
    _mounted: Mounted,
    bench: Bench,
    spec: LaunchSpec,
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// Gives this thread a `/dev` of its own, in which every device is `null`, with the VFIO groups 12
/// and 13.
fn host() {
    #[expect(deprecated, reason = "the replacement is unsafe to call")]
    rustix::thread::unshare(UnshareFlags::NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let terminals = tempfile::tempdir().unwrap();
    mount_bind("/dev/pts", terminals.path()).unwrap();
    mount("none", "/dev", "tmpfs", MountFlags::empty(), None).unwrap();
    for dir in ["/dev/vfio", "/dev/pts"] {
        std::fs::create_dir(dir).unwrap();
    }
    mount_bind(terminals.path(), "/dev/pts").unwrap();
    unmount(terminals.path(), UnmountFlags::DETACH).unwrap();
    let (open, roots) = (0o666, 0o600);
    for (node, mode) in [
        ("null", open),
        ("zero", open),
        ("full", open),
        ("random", open),
        ("urandom", open),
        ("ptmx", open),
        ("fuse", open),
        ("sda", roots),
        ("kvm", open),
        ("vfio/vfio", open),
        ("vfio/12", roots),
        ("vfio/13", roots),
    ] {
        let path = Path::new("/dev").join(node);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

/// A guest with a disk and a VFIO group; `None` where the tests have not the rights for one.
fn cell(uid: u32, group: u32) -> Option<Cell> {
    let bench = Bench::new();
    let mut spec = bench.spec_with_uid(uid)?;
    let guests = bench.run_dir.path().parent().unwrap().to_owned();
    std::fs::create_dir(&guests).unwrap();
    mount("none", &guests, "tmpfs", MountFlags::NODEV, Some(c"mode=755")).unwrap();
    let disk = bench.path("disk.img");
    std::fs::write(&disk, "disk").unwrap();
    std::fs::set_permissions(&disk, Permissions::from_mode(0o600)).unwrap();
    spec.files = vec![OpenFile { path: disk, access: Access::ReadWrite, template: None, fd: 120 }];
    spec.vfio_devices = vec![format!("/dev/vfio/{group}").into()];
    spec.devices = vec!["/dev/kvm".into(), "/dev/not-there".into()];
    spec.jail = Jail::Namespace;
    Some(Cell { _mounted: Mounted(guests), bench, spec })
}

/// Whether a guest's QEMU can open this; it stays open.
async fn opens(guest: &Guest, path: impl AsRef<Path>) -> Result<(), String> {
    let path = path.as_ref().to_str().unwrap();
    let opened = guest.execute("x-open", json!({ "path": path })).await;
    opened.map(drop).map_err(|fault| vfnet_model::explain(&fault))
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

#[tokio::test]
async fn the_qemu_of_one_guest_can_open_nothing_of_anothers() {
    if rustix::process::getuid().is_root() {
        host();
    }
    let (Some(one), Some(other)) = (cell(UIDS[0], 12), cell(UIDS[1], 13)) else { return };
    let (mine, _events) = one.bench.try_start(&one.spec).await.unwrap();
    let (others, _other_events) = other.bench.try_start(&other.spec).await.unwrap();

    for own in ["null", "urandom", "ptmx", "kvm", "vfio/vfio", "vfio/12"] {
        opens(&mine, Path::new("/dev").join(own)).await.unwrap_or_else(|it| panic!("{own}: {it}"));
    }
    opens(&mine, one.bench.run_dir.guest_dir()).await.unwrap();
    // Who has a group open is read by that name, on the host.
    let open = std::fs::read_dir(format!("/proc/{}/fd", mine.process().pid)).unwrap();
    let mut open = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    assert!(open.any(|path| path == Path::new("/dev/vfio/12")));

    let its = other.bench.run_dir.path();
    let proc = PathBuf::from(format!("/proc/{}", others.process().pid));
    let of_the_other = [
        other.spec.files[0].path.clone(),
        other.spec.log.clone(),
        its.join("qmp"),
        its.join("lock"),
        its.join("pid"),
        its.join("launch.json"),
        its.join("guest"),
        its.join("dev/vfio/13"),
        its.join("dev/null"),
        proc.join("fd/120"),
        proc.join("root/dev/vfio/13"),
        proc.join("mem"),
    ];
    let of_the_host = ["/dev/vfio/13", "/dev/sda", "/dev/fuse"];
    let of_its_own_as_root = ["lock", "launch.json", "dev"];
    let of_its_own_as_root = of_its_own_as_root.map(|name| one.bench.run_dir.path().join(name));
    let all = of_the_other.into_iter().chain(of_the_host.map(PathBuf::from));
    for path in all.chain(of_its_own_as_root) {
        // That it is refused has to mean something.
        assert!(path.symlink_metadata().is_ok(), "{} is not there", path.display());
        opens(&mine, &path).await.expect_err(&format!("{} was opened", path.display()));
    }
    // Its uid gives it nothing either: what is not its guest's is not there.
    lchown("/dev/sda", Some(UIDS[0]), Some(UIDS[0])).unwrap();
    let missing = opens(&mine, "/dev/sda").await.unwrap_err();
    assert!(missing.contains("No such file"), "{missing}");
    for guest in [mine, others] {
        guest.destroy(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_device_that_comes_to_a_guest_in_its_jail_is_there_until_it_goes() {
    if rustix::process::getuid().is_root() {
        host();
    }
    let Some(mut one) = cell(UIDS[0], 12) else { return };
    one.spec.vfio_devices.clear();
    let (guest, _events) = one.bench.try_start(&one.spec).await.unwrap();
    let (container, group) = (Path::new("/dev/vfio/vfio"), Path::new("/dev/vfio/12"));
    for path in [container, group] {
        opens(&guest, path).await.unwrap_err();
    }
    // Whoever was killed after the first time does it again.
    for _again in 0..2 {
        lend_node(&one.bench.run_dir, group).unwrap();
    }
    for path in [container, group] {
        opens(&guest, path).await.unwrap();
    }
    opens(&guest, "/dev/vfio/13").await.unwrap_err();
    for _again in 0..2 {
        return_node(&one.bench.run_dir, group).unwrap();
    }
    opens(&guest, group).await.unwrap_err();
    guest.destroy(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn nothing_of_a_jail_is_left_on_the_host_whoever_is_killed() {
    if rustix::process::getuid().is_root() {
        host();
    }
    let Some(one) = cell(UIDS[0], 12) else { return };
    let before = mounts();
    for _again in 0..2 {
        let (guest, mut events) = one.bench.try_start(&one.spec).await.unwrap();
        assert_eq!(mounts(), before);
        let namespace = |of: String| std::fs::read_link(format!("/proc/{of}/ns/mnt")).unwrap();
        assert_ne!(namespace(guest.process().pid.to_string()), namespace("thread-self".to_owned()));
        kill(guest.process().pid, Signal::KILL);
        end(&mut events).await;
        assert_eq!(mounts(), before);
    }
    // What a run left that nobody has cleaned up after is in no later one's way.
    clean_up(&one.bench.run_dir).unwrap();
    assert!(!one.bench.run_dir.path().exists());
}

#[tokio::test]
async fn a_guest_that_cannot_have_its_jail_is_not_started() {
    if rustix::process::getuid().is_root() {
        host();
    }
    let Some(one) = cell(UIDS[0], 12) else { return };
    let without = ["--bounding-set", "-sys_admin", "--"].map(Into::into);
    let program = [processes().into_os_string(), "launch".into()];
    let launcher =
        Launcher { program: "setpriv".into(), args: without.into_iter().chain(program).collect() };
    let refused = start(&launcher, &one.bench.run_dir, &one.spec, PATIENCE).await.unwrap_err();
    let words = vfnet_model::explain(&refused);
    assert!(words.contains("mount namespace") && words.contains("`jail`"), "{words}");
    assert!(words.contains("not permitted"), "{words}");

    let mut not_a_device = one.spec.clone();
    not_a_device.devices = vec!["/dev/pts".into()];
    let refused = one.bench.try_start(&not_a_device).await.unwrap_err();
    assert!(vfnet_model::explain(&refused).contains("not a character device"), "{refused}");
}
