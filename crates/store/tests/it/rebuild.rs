//! Damaged files are replaced by new ones with what can be read of them.

use std::fs;
use std::os::unix::fs::FileExt;

use vfnet_engine::{Entry, Key};
use vfnet_store::{StoreError, examine, rebuild};

use crate::entries;
use crate::place::{Place, puts, spelled, sql};

fn spoil(file: &std::path::Path, from: u64, bytes: usize) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&vec![0xa5; bytes], from).unwrap();
}

/// Definitions over many pages.
fn many() -> Place {
    let place = Place::new();
    let (mut store, _) = place.open();
    let guests: Vec<_> = (1..=60).map(|n| entries::large_guest(n, 700)).collect();
    store.commit(&puts(&guests)).unwrap();
    place
}

#[test]
fn of_definitions_with_a_damaged_page_all_others_are_saved() {
    let place = many();
    let before = spelled(&place.open().1.entries);
    let pages = fs::metadata(place.state_file()).unwrap().len() / 4096;
    let mut saved_most = 0;
    for page in 1..pages {
        let place = many();
        spoil(&place.state_file(), page * 4096, 4096);
        let damaged = fs::read(place.state_file()).unwrap();
        let Err(StoreError::Corrupt { .. }) = place.try_open() else {
            panic!("page {page} does not matter");
        };
        let rebuilt = rebuild(&place.state_dir(), &place.run_dir()).unwrap();
        assert_eq!(rebuilt.live, None);
        let salvage = rebuilt.state.unwrap();
        assert!(fs::read(&salvage.kept.file).unwrap() == damaged, "page {page}");
        let (_store, loaded) = place.open();
        let saved = spelled(&loaded.entries);
        assert_eq!(saved.len(), salvage.saved, "page {page}");
        assert!(saved.iter().all(|(key, entry)| before.get(key) == Some(entry)), "page {page}");
        assert_eq!(loaded.set_aside, Vec::<String>::new());
        if saved.len() < before.len() {
            assert!(!salvage.lost.is_empty(), "page {page}");
        }
        saved_most += usize::from(saved.len() + 10 >= before.len());
    }
    assert!(saved_most * 2 > usize::try_from(pages).unwrap(), "{saved_most} of {pages} pages");
}

#[test]
fn of_a_file_without_its_head_nothing_is_saved_and_it_is_kept() {
    let place = Place::filled();
    spoil(&place.state_file(), 0, 4096);
    let damaged = fs::read(place.state_file()).unwrap();
    let salvage = rebuild(&place.state_dir(), &place.run_dir()).unwrap().state.unwrap();
    assert_eq!(salvage.saved, 0);
    assert!(!salvage.lost.is_empty());
    assert!(fs::read(&salvage.kept.file).unwrap() == damaged);
    let (_store, loaded) = place.open();
    assert!(!loaded.entries.iter().any(|entry| matches!(entry, Entry::Guest(_))));
    assert!(loaded.entries.iter().any(|entry| matches!(entry, Entry::Claim(_))));
}

#[test]
fn of_what_is_lent_claims_are_saved_with_what_their_vfs_were() {
    let place = Place::filled();
    let before = spelled(&place.open().1.entries);
    // A table that the schema has forgotten leaves its pages behind.
    sql(
        &place.live_file(),
        "PRAGMA writable_schema = 1;
        DELETE FROM sqlite_schema WHERE tbl_name = 'pending'",
    );
    let salvage = rebuild(&place.state_dir(), &place.run_dir()).unwrap().live.unwrap();
    assert!(salvage.lost.iter().any(|lost| lost.contains("pending")), "{:?}", salvage.lost);
    let (_store, loaded) = place.open();
    let after = spelled(&loaded.entries);
    assert!(after.iter().all(|(key, entry)| before.get(key) == Some(entry)));
    let missing: Vec<_> = before.keys().filter(|key| !after.contains_key(key)).collect();
    assert!(missing.iter().all(|key| matches!(key, Key::Pending(_))), "{missing:?}");
}

#[test]
fn rebuilding_that_is_killed_anywhere_leaves_the_damaged_file_or_all_that_could_be_saved() {
    let damaged = || {
        let place = many();
        spoil(&place.state_file(), 3 * 4096, 4096);
        place
    };
    let rebuilt = damaged();
    let salvage = rebuild(&rebuilt.state_dir(), &rebuilt.run_dir()).unwrap().state.unwrap();
    assert!(salvage.saved > 10);
    let named = |place: &Place, end: &str| place.state_dir().join(format!("state.db{end}"));

    // While the new one is made.
    let place = damaged();
    fs::create_dir(named(&place, ".rebuilding")).unwrap();
    fs::write(named(&place, ".rebuilding").join("state.db"), b"half").unwrap();
    assert!(matches!(place.try_open(), Err(StoreError::Corrupt { .. })));
    assert_eq!(
        rebuild(&place.state_dir(), &place.run_dir()).unwrap().state.unwrap().saved,
        salvage.saved
    );
    assert!(!named(&place, ".rebuilding").exists() && !named(&place, ".rebuilt").exists());

    // When it is whole: with the damaged one there, without it, and without it and with its log.
    for (is_there, has_log) in [(true, false), (false, false), (false, true)] {
        for again in [false, true] {
            let place = damaged();
            fs::copy(rebuilt.state_file(), named(&place, ".rebuilt")).unwrap();
            if !is_there {
                fs::rename(place.state_file(), named(&place, ".damaged-1")).unwrap();
            }
            if has_log {
                fs::write(named(&place, "-wal"), vec![0xa5; 5000]).unwrap();
            }
            if is_there || again {
                let done = rebuild(&place.state_dir(), &place.run_dir()).unwrap();
                assert_eq!(done.state.is_some(), is_there);
            }
            assert_eq!(place.open().1.entries.len(), salvage.saved, "{is_there} {has_log} {again}");
        }
    }
}

#[test]
fn files_in_use_or_without_damage_are_left_alone() {
    let place = Place::filled();
    let (store, _) = place.open();
    let refusal = rebuild(&place.state_dir(), &place.run_dir()).unwrap_err();
    assert!(matches!(refusal, StoreError::InUse { .. }), "{refusal:?}");
    drop(store);
    let rebuilt = rebuild(&place.state_dir(), &place.run_dir()).unwrap();
    assert_eq!((rebuilt.state, rebuilt.live), (None, None));
    assert_eq!(place.open().1.entries.len(), entries::all().len());
}

#[test]
fn whole_files_are_found_sound_beside_a_daemon_and_without_one() {
    let place = Place::filled();
    let look = || examine(&place.state_dir(), &place.run_dir());
    let alone = look();
    assert!(alone.is_sound() && !alone.in_use, "{alone:?}");
    let records: usize = alone.files.iter().map(|file| file.records).sum();
    assert_eq!(records, entries::all().len());
    let (mut store, _) = place.open();
    store.commit(&puts(&[entries::guest(9)])).unwrap();
    let beside = look();
    assert_eq!((beside.in_use, beside.pid), (true, Some(std::process::id())));
    assert!(beside.is_sound(), "{beside:?}");
    assert_eq!(beside.files[0].records, alone.files[0].records + 1);
}

#[test]
fn damage_and_contradictions_are_told_and_nothing_is_changed() {
    let place = Place::filled();
    sql(&place.state_file(), "DELETE FROM network WHERE name = 'net2'");
    sql(&place.live_file(), "DELETE FROM run; DELETE FROM live_network");
    sql(&place.live_file(), "UPDATE claim SET json = 'x' WHERE id = 12");
    let before = [place.state_file(), place.live_file()].map(|file| fs::read(file).unwrap());
    let found = examine(&place.state_dir(), &place.run_dir());
    assert!(!found.is_sound());
    let said = found.contradictions.join("\n");
    assert!(said.contains("guest 'guest4' starts with the host, and its network 'net2'"), "{said}");
    assert!(said.contains("0000:01:10.1 is held by guest guest3, which does not run"), "{said}");
    assert!(found.files[1].damage[0].contains("claim 12"), "{:?}", found.files[1].damage);
    spoil(&place.state_file(), 0, 64);
    let found = examine(&place.state_dir(), &place.run_dir());
    assert_eq!(found.files[0].schema, None);
    assert!(found.files[0].damage[0].contains("is damaged"), "{:?}", found.files[0].damage);
    assert!(fs::read(place.live_file()).unwrap() == before[1]);
}

#[test]
fn directories_without_files_are_sound() {
    let place = Place::new();
    let found = examine(&place.state_dir(), &place.run_dir());
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.files[0].schema, None);
    assert!(!place.state_dir().exists());
}
