//! What was committed comes back.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use vfnet_engine::claim::ClaimId;
use vfnet_engine::{Entry, Home, Key, Record};

use crate::entries;
use crate::place::{Place, ask, boot, puts, spelled};

#[test]
fn a_new_store_has_nothing_and_its_state_is_the_owners_alone() {
    let place = Place::new();
    let (_store, loaded) = place.open();
    assert!(loaded.entries.is_empty());
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.state_dir()), 0o700);
    assert_eq!(mode(place.state_file()), 0o600);
    assert_eq!(mode(place.live_file()), 0o600);
}

#[test]
fn every_kind_of_entry_comes_back_as_it_was() {
    let place = Place::filled();
    let (_store, loaded) = place.open();
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    assert_eq!(spelled(&loaded.entries), spelled(&entries::all()));
}

#[test]
fn every_kind_of_entry_can_be_dropped() {
    let place = Place::filled();
    let (mut store, loaded) = place.open();
    let drops: Vec<_> = loaded.entries.iter().map(|entry| Record::Drop(entry.key())).collect();
    store.commit(&drops).unwrap();
    drop(store);
    assert_eq!(spelled(&place.open().1.entries), spelled(&[]));
}

#[test]
fn what_only_the_daemon_remembers_is_not_written() {
    let place = Place::new();
    let (mut store, _) = place.open();
    let job = Entry::VfJob(ClaimId(1), vfnet_engine::Ticket(1));
    assert_eq!(job.key().home(), Home::Memory);
    store.commit(&[Record::Put(Box::new(job)), Record::Drop(Key::VfJob(ClaimId(2)))]).unwrap();
    drop(store);
    assert_eq!(spelled(&place.open().1.entries), spelled(&[]));
}

#[test]
fn the_last_record_of_a_key_counts_and_committing_again_changes_nothing() {
    let place = Place::new();
    let (mut store, _) = place.open();
    let records = [
        Record::Put(Box::new(entries::network(1))),
        Record::Drop(entries::network(1).key()),
        Record::Put(Box::new(entries::guest(3))),
        Record::Put(Box::new(entries::large_guest(3, 10))),
    ];
    store.commit(&records).unwrap();
    store.commit(&records).unwrap();
    drop(store);
    let kept = spelled(&place.open().1.entries);
    assert_eq!(kept, spelled(&[entries::large_guest(3, 10)]));
}

#[test]
fn a_reboot_voids_what_ran_and_keeps_what_was_defined() {
    let place = Place::filled();
    let (store, loaded) =
        vfnet_store::Store::open(&place.state_dir(), &place.run_dir(), &boot(2)).unwrap();
    let defined = |entry: &Entry| entry.key().home() == Home::Definitions;
    let definitions: Vec<_> = entries::all().into_iter().filter(defined).collect();
    assert_eq!(spelled(&loaded.entries), spelled(&definitions));
    drop(store);
    assert_eq!(ask::<i64>(&place.live_file(), "SELECT count(*) FROM claim"), 0);
}

#[test]
fn one_transaction_that_fails_leaves_nothing_of_it_and_the_other_files_is_kept() {
    let place = Place::new();
    let (mut store, _) = place.open();
    // SQLite has no integer for this one.
    let impossible = Entry::Claim(entries::claim(u64::MAX));
    let records = puts(&[
        Entry::Claim(entries::claim(1)),
        entries::network(1),
        Entry::Autostarted,
        impossible,
    ]);
    let refusal = store.commit(&records).unwrap_err();
    assert!(refusal.to_string().contains("live.db"), "{refusal}");
    drop(store);
    let kept = spelled(&place.open().1.entries);
    assert_eq!(kept, spelled(&[entries::network(1)]));
}

#[test]
fn people_can_read_while_the_daemon_writes() {
    let place = Place::filled();
    let (mut store, _) = place.open();
    let reader = Connection::open(place.live_file()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let held = "SELECT vf || ' ' || owner || ' ' || network FROM claim WHERE state = 'held'";
    let seen: String = reader.query_row(held, [], |row| row.get(0)).unwrap();
    assert_eq!(seen, "0000:01:11.4 guest guest3 net2");
    store.commit(&[Record::Drop(Key::Claim(ClaimId(12)))]).unwrap();
    let again: String = reader.query_row(held, [], |row| row.get(0)).unwrap();
    assert_eq!(again, seen);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(
        reader.query_row("SELECT count(*) FROM claim WHERE state = 'held'", [], |r| r.get(0)),
        Ok(0)
    );
}
