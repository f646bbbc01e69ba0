//! The real virt-install: guests made over images that are there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::daemon::{Daemon, Ran};
use crate::installed;

const VIRT_INSTALL: &str = "/usr/bin/virt-install";

const MAC: &str = "52:54:00:6b:3c:58";

/// The head of a qcow2 image of 1 GiB: magic, version 3, and the size at byte 24.
fn qcow2() -> Vec<u8> {
    let mut image = b"QFI\xfb\0\0\0\x03".to_vec();
    image.resize(24, 0);
    image.extend((1_u64 << 30).to_be_bytes());
    image.resize(196_608, 0);
    image
}

/// A daemon with network hw and a directory `images` with two images.
fn with_images() -> Option<Daemon> {
    if !installed(VIRT_INSTALL) {
        return None;
    }
    let daemon = Daemon::with_pool()?;
    add_images(&daemon);
    Some(daemon)
}

fn add_images(daemon: &Daemon) {
    std::fs::create_dir(daemon.path("images")).expect("a directory");
    std::fs::write(daemon.path("images/disk.qcow2"), qcow2()).expect("an image");
    std::fs::write(daemon.path("images/boot.iso"), [0; 65_536]).expect("an image");
}

fn virt_install(daemon: &Daemon, args: &[&str]) -> Ran {
    let network = format!("network=hw,mac={MAC}");
    Command::new("timeout")
        .args(["60", VIRT_INSTALL, "--connect", &daemon.uri(), "--name", "vm1"])
        .args(["--memory", "512", "--network", &network, "--noautoconsole"])
        .args(args)
        .env("LC_ALL", "C")
        .env("HOME", daemon.path(""))
        .current_dir(daemon.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
        .into()
}

/// Checks that guest vm1 runs, is kept, and has a VF with its MAC.
fn runs_on_a_vf(daemon: &Daemon, ran: &Ran) {
    assert!(ran.status.success(), "{ran:?}");
    assert!(daemon.state_of("vm1").starts_with("running"));
    assert_eq!(daemon.rows(&["list", "--persistent", "--name"]), ["vm1"]);
    assert!(daemon.says(&["domiflist", "vm1"]).contains(MAC));
    assert_eq!(daemon.lent(), 1);
    let facts = daemon.host().facts();
    assert_eq!(facts.values().filter(|vf| vf.admin_mac.to_string() == MAC).count(), 1);
}

fn nothing_is_there(daemon: &Daemon) {
    assert_eq!(daemon.rows(&["list", "--all"]), [""; 0]);
    assert_eq!(daemon.lent(), 0);
}

const DISK: &str = "path=images/disk.qcow2";

#[test]
fn an_image_is_imported_in_its_own_format_and_its_guest_runs_on_a_vf() {
    let Some(daemon) = with_images() else { return };
    let args = ["--import", "--disk", DISK, "--osinfo", "detect=on,require=off"];
    runs_on_a_vf(&daemon, &virt_install(&daemon, &args));
    let document = daemon.says(&["dumpxml", "vm1", "--inactive"]);
    assert!(document.contains("<driver name='qemu' type='qcow2'/>"), "{document}");
    assert_eq!(daemon.rows(&["pool-list", "--autostart"]), ["images active yes"]);
    // Its directory is known now, and the next guest finds the image there.
    daemon.says(&["destroy", "vm1"]);
    daemon.says(&["undefine", "vm1"]);
    runs_on_a_vf(&daemon, &virt_install(&daemon, &args));
    assert_eq!(daemon.rows(&["pool-list", "--all"]), ["images active yes"]);
}

#[test]
fn a_guest_without_disks_runs_on_a_vf() {
    let Some(daemon) = with_images() else { return };
    let args = ["--import", "--disk", "none", "--osinfo", "debian11"];
    runs_on_a_vf(&daemon, &virt_install(&daemon, &args));
    assert_eq!(daemon.rows(&["pool-list", "--all"]), [""; 0]);
}

#[test]
fn a_guest_is_installed_from_a_cdrom_that_its_kept_document_does_not_boot_from() {
    let Some(daemon) = with_images() else { return };
    let args = ["--cdrom", "images/boot.iso", "--disk", DISK, "--osinfo", "debian11"];
    runs_on_a_vf(&daemon, &virt_install(&daemon, &args));
    let iso = daemon.path("images/boot.iso").display().to_string();
    assert!(daemon.says(&["dumpxml", "vm1"]).contains(&iso));
    let kept = daemon.says(&["dumpxml", "vm1", "--inactive"]);
    assert!(!kept.contains(&iso) && kept.contains("disk.qcow2"), "{kept}");
}

#[test]
fn what_would_be_defined_is_printed_and_nothing_is_defined() {
    let Some(daemon) = with_images() else { return };
    let args = ["--import", "--disk", DISK, "--osinfo", "debian11", "--print-xml"];
    let ran = virt_install(&daemon, &args);
    assert!(ran.status.success() && ran.stdout.contains(MAC), "{ran:?}");
    nothing_is_there(&daemon);
}

#[test]
fn an_image_that_is_not_there_is_said_and_none_is_made() {
    let Some(daemon) = with_images() else { return };
    for (disk, why) in [
        ("path=images/none.img", "non existent volume 'none.img'"),
        ("path=nowhere/none.img", "No such file or directory"),
        ("path=images/new.img,size=1", "STORAGE_VOL_CREATE_XML"),
    ] {
        let args = ["--import", "--disk", disk, "--osinfo", "debian11"];
        let ran = virt_install(&daemon, &args);
        assert!(!ran.status.success() && ran.stderr.contains(why), "{ran:?}");
        nothing_is_there(&daemon);
    }
    let files = std::fs::read_dir(daemon.path("images")).expect("a directory").count();
    assert_eq!(files, 2);
}

#[test]
fn a_directory_that_the_daemon_may_not_read_is_said_and_makes_no_pool() {
    if !installed(VIRT_INSTALL) || !installed("/usr/bin/setpriv") {
        return;
    }
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    // Root may read everything unless it lacks these.
    let mut command = Command::new("/usr/bin/setpriv");
    if rustix::process::getuid().is_root() {
        command.arg("--bounding-set=-dac_override,-dac_read_search");
    }
    command.arg(env!("CARGO_BIN_EXE_vfnetd-sim"));
    daemon.arguments(&mut command);
    let socket = daemon.socket();
    daemon.begin(command, |_| socket.clone());
    daemon.define_network(crate::daemon::HW);
    add_images(&daemon);
    let images = daemon.path("images");
    std::fs::set_permissions(&images, Permissions::from_mode(0o000)).expect("closed");
    let args = ["--import", "--disk", DISK, "--osinfo", "debian11"];
    let ran = virt_install(&daemon, &args);
    std::fs::set_permissions(&images, Permissions::from_mode(0o700)).expect("opened");
    assert!(!ran.status.success() && ran.stderr.contains("Permission denied"), "{ran:?}");
    nothing_is_there(&daemon);
    assert_eq!(daemon.rows(&["pool-list", "--all"]), [""; 0]);
}
