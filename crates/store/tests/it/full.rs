//! A file system without room, and one that is read-only: in a mount namespace of their own.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use vfnet_engine::Key;
use vfnet_store::{Store, StoreError};

use crate::entries;
use crate::place::{Place, boot, puts, spelled};

const DIR: &str = "VFNET_STORE_TEST_DIR";

/// Runs an ignored test with a tmpfs of those options on a directory. Where this user may not
/// mount, nothing is run.
#[expect(clippy::print_stderr, reason = "a test that was not run has to say so")]
fn on_tmpfs(options: &str, test: &str) {
    let place = Place::new();
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-ec", script])
            .arg(std::env::current_exe().unwrap())
            .args([test, options])
            .env(DIR, place.path());
        command
    };
    let mount = "mount -t tmpfs -o \"$2\" none \"$VFNET_STORE_TEST_DIR\"";
    if !within(mount).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting is not allowed here");
        return;
    }
    let run = format!("{mount}; exec \"$0\" \"$1\" --exact --ignored --nocapture");
    let output = within(&run).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_full_disk_refuses_a_commit_and_harms_nothing() {
    on_tmpfs("size=2m", "full::fills_the_disk");
}

#[test]
fn a_full_disk_at_start_is_told_apart_and_making_room_is_enough() {
    on_tmpfs("size=2m", "full::opens_on_a_full_disk");
}

#[test]
fn a_read_only_file_is_named_before_anything_depends_on_it() {
    on_tmpfs("size=2m", "full::opens_read_only_files");
}

#[test]
fn a_read_only_directory_is_named() {
    on_tmpfs("ro", "full::opens_on_a_read_only_disk");
}

#[test]
#[ignore = "a child of the test above"]
fn fills_the_disk() {
    let dir = std::env::var_os(DIR).expect("started by the test above");
    let dir = Path::new(&dir);
    let open = || Store::open(&dir.join("state"), &dir.join("run"), &boot(1));
    let (mut store, _) = open().unwrap();
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 512 * 1024]).unwrap();

    let mut last = 0;
    let refusal = loop {
        match store.commit(&puts(&[entries::large_guest(last + 1, 16 * 1024)])) {
            Ok(()) => last += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(last > 2, "{last}");
    assert!(refusal.is_full(), "{refusal:?}");
    assert!(refusal.to_string().contains("state.db"), "{refusal}");

    fs::remove_file(ballast).unwrap();
    store.commit(&puts(&[entries::guest(1000)])).unwrap();
    drop(store);
    let (_store, loaded) = open().unwrap();
    let expected: Vec<_> = (1..=last).chain([1000]).map(|n| Key::Guest(entries::uuid(n))).collect();
    assert_eq!(spelled(&loaded.entries).into_keys().collect::<Vec<_>>(), expected);
}

#[test]
#[ignore = "a child of the test above"]
fn opens_on_a_full_disk() {
    let dir = std::env::var_os(DIR).expect("started by the test above");
    let dir = Path::new(&dir);
    let open = || Store::open(&dir.join("state"), &dir.join("run"), &boot(1));
    let mut ballast = fs::File::create(dir.join("ballast")).unwrap();
    ballast.write_all(&vec![0; 3 << 20]).unwrap_err();
    let refusal = open().unwrap_err();
    assert!(refusal.is_full(), "{refusal:?}");
    // A page more each time, so that each step of opening is the one that finds no room.
    for room in (4096..1 << 20).step_by(4096) {
        ballast.set_len((2 << 20) - room).unwrap();
        match open() {
            Ok(_) => return,
            Err(refusal) => assert!(refusal.is_full(), "{room} bytes left: {refusal:?}"),
        }
    }
    panic!("there is room now");
}

#[test]
#[ignore = "a child of the test above"]
fn opens_on_a_read_only_disk() {
    let dir = std::env::var_os(DIR).expect("started by the test above");
    let dir = Path::new(&dir);
    let open = |state: &Path| Store::open(state, dir, &boot(1)).map(drop);
    let refusal = open(dir).unwrap_err();
    assert!(
        matches!(&refusal, StoreError::Unwritable { file, .. } if *file == dir.join("lock")),
        "{refusal:?}"
    );
    let refusal = open(&dir.join("state")).unwrap_err();
    assert!(matches!(refusal, StoreError::Directory { .. }), "{refusal:?}");
}

#[test]
#[ignore = "a child of the test above"]
fn opens_read_only_files() {
    let dir = std::env::var_os(DIR).expect("started by the test above");
    let dir = Path::new(&dir);
    let open = || Store::open(&dir.join("state"), &dir.join("run"), &boot(1)).map(drop);
    open().unwrap();
    for file in [dir.join("run/live.db"), dir.join("state/state.db")] {
        for options in ["bind", "remount,bind,ro"] {
            let mount = Command::new("mount").args(["-o", options]).arg(&file).arg(&file).status();
            assert!(mount.unwrap().success(), "{options}");
        }
        let refusal = open().unwrap_err();
        assert!(
            matches!(&refusal, StoreError::Unwritable { file: named, .. } if *named == file),
            "{refusal:?}"
        );
    }
}
