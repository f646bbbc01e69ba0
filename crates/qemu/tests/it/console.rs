//! Consoles: raw bytes both ways.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vfnet_qemu::console::{Console, ConsoleError, is_pty_name};
use vfnet_qemu::launch::ListenSocket;

use crate::bench::{Bench, PATIENCE};

/// A pty as QEMU makes one: its own side, and the path of the other.
fn pty() -> (OwnedFd, PathBuf) {
    let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let mut raw = tcgetattr(&own).unwrap();
    raw.make_raw();
    tcsetattr(&own, OptionalActions::Now, &raw).unwrap();
    let path = ptsname(&own, Vec::new()).unwrap().into_string().unwrap().into();
    (own, path)
}

#[tokio::test]
async fn a_pty_carries_bytes_both_ways_and_ends_with_qemu() {
    let (own, path) = pty();
    let uid = rustix::process::getuid().as_raw();
    let mut console = Console::open_pty(&path, uid).unwrap();
    console.write_all(b"\x03root\r").await.unwrap();
    let mut bytes = [0; 6];
    let mut got = 0;
    while got < bytes.len() {
        got += rustix::io::read(&own, &mut bytes[got..]).unwrap();
    }
    assert_eq!(&bytes, b"\x03root\r");

    rustix::io::write(&own, b"login: \xff").unwrap();
    let mut prompt = [0; 8];
    tokio::time::timeout(PATIENCE, console.read_exact(&mut prompt)).await.unwrap().unwrap();
    assert_eq!(&prompt, b"login: \xff");

    drop(own);
    let end = tokio::time::timeout(PATIENCE, console.read(&mut prompt)).await.unwrap().unwrap();
    assert_eq!(end, 0);
}

#[tokio::test]
async fn only_a_pty_of_the_guests_own_is_opened() {
    let (_own, path) = pty();
    let uid = rustix::process::getuid().as_raw();
    for (path, owner) in [
        (path.as_path(), uid + 1),
        (Path::new("/etc/passwd"), uid),
        (Path::new("/dev/pts/../null"), uid),
        (Path::new("/dev/pts/ptmx"), uid),
        (Path::new("/dev/pts"), uid),
    ] {
        let opened = Console::open_pty(path, owner);
        assert!(owner != uid || !is_pty_name(path), "{path:?} would be told to clients");
        assert!(matches!(opened, Err(ConsoleError::NotAPty { .. })), "{path:?}: {opened:?}");
    }
}

#[tokio::test]
async fn a_socket_console_of_a_guest_carries_bytes_both_ways() {
    let bench = Bench::new();
    let mut spec = bench.spec("");
    let path = bench.path("console");
    spec.sockets.push(ListenSocket { path: path.clone(), fd: 111, owner: None });
    spec.args.extend(["-chardev".to_owned(), "socket,id=serial0,fd=111".to_owned()]);
    let (guest, _events) = bench.try_start(&spec).await.unwrap();

    let mut console = Console::connect(&path, guest.process()).await.unwrap();
    console.write_all(b"echo").await.unwrap();
    let mut bytes = [0; 27];
    tokio::time::timeout(PATIENCE, console.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"qemu-stand-in console\r\necho");
    guest.destroy(PATIENCE).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, console.read(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(end, 0);
}

#[tokio::test]
async fn a_console_that_qemu_has_made_lead_elsewhere_is_not_opened() {
    let bench = Bench::new();
    let mut spec = bench.spec("");
    let path = bench.run_dir.guest_dir().join("console");
    spec.sockets.push(ListenSocket { path: path.clone(), fd: 111, owner: None });
    spec.args.extend(["-chardev".to_owned(), "socket,id=serial0,fd=111".to_owned()]);
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    Console::connect(&path, guest.process()).await.unwrap();

    // What the guest's uid can do in the guest's directory.
    let others = bench.path("others");
    let _another_program = std::os::unix::net::UnixListener::bind(&others).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&others, &path).unwrap();
    let linked = Console::connect(&path, guest.process()).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&others, &path).unwrap();
    let hard_linked = Console::connect(&path, guest.process()).await;
    for opened in [linked, hard_linked] {
        assert!(matches!(opened, Err(ConsoleError::Open { .. })), "{opened:?}");
    }
    guest.destroy(PATIENCE).await.unwrap();
}
