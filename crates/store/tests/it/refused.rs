//! Files and directories that are not opened, and that stay as they are.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use vfnet_engine::Entry;
use vfnet_store::{STATE_FILE, StoreError};

use crate::place::{Place, puts, sql};

#[test]
fn a_second_daemon_is_refused_by_name_of_the_first() {
    let place = Place::new();
    let (store, _) = place.open();
    let refusal = place.refusal();
    let (pid, dir) = (std::process::id(), place.state_dir());
    assert_eq!(refusal.to_string(), format!("another vfnetd (pid {pid}) uses {}", dir.display()));
    drop(store);
    place.open();
}

#[test]
fn a_second_daemon_is_refused_when_only_the_run_directory_is_shared() {
    let place = Place::new();
    let (_store, _) = place.open();
    let other = Place::new();
    let both =
        vfnet_store::Store::open(&other.state_dir(), &place.run_dir(), &crate::place::boot(1));
    assert!(matches!(both, Err(StoreError::InUse { dir, .. }) if dir == place.run_dir()));
}

#[test]
fn a_file_of_a_newer_schema_is_refused_and_keeps_every_byte() {
    let place = Place::filled();
    for (file, newest) in [(place.state_file(), 4), (place.live_file(), 4)] {
        sql(&file, "PRAGMA user_version = 99");
        let before = fs::read(&file).unwrap();
        let refusal = place.refusal();
        let StoreError::Newer { file: named, found: 99, known } = &refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!((named, *known), (&file, newest));
        assert!(refusal.to_string().contains("schema version 99"), "{refusal}");
        assert_eq!(fs::read(&file).unwrap(), before);
        sql(&file, &format!("PRAGMA user_version = {newest}"));
    }
    place.open();
}

#[test]
fn a_newer_file_left_by_a_crash_keeps_its_log() {
    let place = Place::filled();
    let crashed = Place::new();
    fs::create_dir(crashed.state_dir()).unwrap();
    let log = |place: &Place| -> PathBuf { place.state_dir().join(format!("{STATE_FILE}-wal")) };
    let open = Connection::open(place.state_file()).unwrap();
    open.execute_batch("PRAGMA user_version = 99; DELETE FROM guest").unwrap();
    fs::copy(place.state_file(), crashed.state_file()).unwrap();
    fs::copy(log(&place), log(&crashed)).unwrap();
    let before = (fs::read(crashed.state_file()).unwrap(), fs::read(log(&crashed)).unwrap());
    assert!(!before.1.is_empty());
    assert!(matches!(crashed.refusal(), StoreError::Newer { .. }));
    let after = (fs::read(crashed.state_file()).unwrap(), fs::read(log(&crashed)).unwrap());
    assert!(before == after);
}

#[test]
fn the_database_of_something_else_is_refused() {
    let place = Place::filled();
    fs::copy(place.live_file(), place.state_file()).unwrap();
    assert!(matches!(place.refusal(), StoreError::Foreign { file } if file == place.state_file()));

    let other = Place::new();
    fs::create_dir(other.state_dir()).unwrap();
    sql(&other.state_file(), "CREATE TABLE song (title TEXT)");
    let before = fs::read(other.state_file()).unwrap();
    assert!(matches!(other.refusal(), StoreError::Foreign { file } if file == other.state_file()));
    assert_eq!(fs::read(other.state_file()).unwrap(), before);
}

#[test]
fn a_damaged_file_is_named_with_a_way_to_go_on_and_left_as_it_is() {
    let damage: [Damage; 3] = [
        ("its head", |file| overwrite(file, 0, 64)),
        ("its middle", |file| overwrite(file, 4096, 8192)),
        ("its end", |file| {
            let file = File::options().write(true).open(file).unwrap();
            file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let place = Place::filled();
        let file = place.state_file();
        damage(&file);
        let before = fs::read(&file).unwrap();
        let refusal = place.refusal();
        let StoreError::Corrupt { file: named, .. } = &refusal else {
            panic!("{what}: {refusal:?}");
        };
        assert_eq!(*named, file);
        assert!(refusal.to_string().contains("vfnet state rebuild"), "{refusal}");
        assert!(fs::read(&file).unwrap() == before, "{what} of {}", file.display());

        let place = Place::filled();
        damage(&place.live_file());
        let before = fs::read(place.live_file()).unwrap();
        let kept = place.open().1.kept_aside.unwrap_or_else(|| panic!("{what}"));
        assert!(fs::read(&kept.file).unwrap() == before, "{what} of {}", kept.file.display());
    }
}

#[test]
fn a_file_cut_to_nothing_beside_its_log_is_damaged() {
    let place = Place::filled();
    File::options().write(true).open(place.state_file()).unwrap().set_len(0).unwrap();
    let log = place.state_dir().join(format!("{STATE_FILE}-wal"));
    fs::write(&log, b"what was written last").unwrap();
    assert!(matches!(place.refusal(), StoreError::Corrupt { .. }));
    assert_eq!(fs::read(&log).unwrap(), b"what was written last");
}

#[test]
fn what_cannot_be_made_or_written_is_named() {
    let place = Place::new();
    fs::write(place.state_dir(), b"").unwrap();
    assert!(
        matches!(place.refusal(), StoreError::Directory { dir, .. } if dir == place.state_dir())
    );

    let place = Place::new();
    fs::create_dir_all(place.state_file()).unwrap();
    let refusal = place.refusal();
    assert!(
        matches!(&refusal, StoreError::Unwritable { file, .. } if *file == place.state_file()),
        "{refusal:?}"
    );
}

#[test]
fn a_file_that_another_program_keeps_locked_is_named() {
    let place = Place::filled();
    let (mut store, _) = place.open();
    let shell = Connection::open(place.live_file()).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = store.commit(&puts(&[Entry::Autostarted])).unwrap_err();
    assert!(
        matches!(&refusal, StoreError::Busy { file, .. } if *file == place.live_file()),
        "{refusal:?}"
    );
    shell.execute_batch("ROLLBACK").unwrap();
    store.commit(&puts(&[Entry::Autostarted])).unwrap();
}

/// What is damaged, and how.
type Damage = (&'static str, fn(&Path));

fn overwrite(file: &Path, from: u64, bytes: usize) {
    let file = File::options().write(true).open(file).unwrap();
    file.write_all_at(&vec![0xa5; bytes], from).unwrap();
}
