//! Rows that cannot be read are reported, and stay.

use std::path::Path;

use vfnet_engine::{ClaimId, Entry, Key};

use crate::entries::{self, uuid};
use crate::place::{Place, ask, puts, spelled, sql};

/// Spoils one row; gives the key that must be missing then.
const DAMAGE: [(&str, &str, &str); 12] = [
    ("state.db", "UPDATE network SET xml = '<network>' WHERE name = 'net1'", "net1"),
    ("state.db", "UPDATE network SET format = 2 WHERE name = 'net1'", "format 2"),
    (
        "state.db",
        "UPDATE network SET xml = replace(xml, '<name>', '<uuid>' || \
         '99999999-2222-4333-8444-000000000000' || '</uuid><name>') WHERE name = 'net1'",
        "99999999-",
    ),
    (
        "state.db",
        "UPDATE guest SET xml = replace(xml, 'vcpu', 'wings') WHERE name = 'guest3'",
        "wings",
    ),
    ("state.db", "UPDATE guest SET xml = CAST(x'fffe' AS TEXT) WHERE name = 'guest3'", "guest3"),
    (
        "state.db",
        "UPDATE guest SET uuid = upper('a' || substr(uuid, 2)) WHERE name = 'guest3'",
        "spelled",
    ),
    ("live.db", "UPDATE live_network SET pfs = '[\"nowhere\"]'", "net2"),
    ("live.db", "UPDATE run SET json = '{}' WHERE name = 'guest3'", "guest3"),
    ("live.db", "UPDATE claim SET json = substr(json, 2) WHERE id = 12", "claim 12"),
    ("live.db", "UPDATE claim SET id = -5 WHERE id = 12", "claim -5"),
    ("live.db", "UPDATE claim SET id = 500 WHERE id = 12", "claim 500"),
    ("live.db", "UPDATE pending SET kind = 'song' WHERE kind = 'guest'", "song"),
];

/// Has a statement's table look as when people change it.
fn by_hand(file: &Path, statement: &str) {
    let table = statement.split_whitespace().nth(1).unwrap();
    sql(file, &format!("UPDATE {table} SET sum = NULL"));
}

#[test]
fn a_row_that_is_not_as_it_was_written_is_set_aside_though_it_could_be_read() {
    let damage = [
        ("state.db", "UPDATE network SET xml = replace(xml, '42', '43') WHERE name = 'net2'"),
        ("state.db", "UPDATE guest SET autostart = 1 WHERE name = 'guest3'"),
        ("live.db", "UPDATE claim SET json = replace(json, '0000:01:11.4', '0000:01:11.5')"),
        ("live.db", "UPDATE run SET sum = sum + 1 WHERE name = 'guest3'"),
    ];
    for (file, damage) in damage {
        let place = Place::filled();
        let path = if file == "state.db" { place.state_file() } else { place.live_file() };
        sql(&path, damage);
        let (_store, loaded) = place.open();
        assert_eq!(loaded.set_aside.len(), 1, "{damage}: {:?}", loaded.set_aside);
        assert!(loaded.set_aside[0].contains("checksum"), "{}", loaded.set_aside[0]);
        assert_eq!(loaded.entries.len(), entries::all().len() - 1, "{damage}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_reported_and_stays_and_the_others_are_read() {
    for (file, damage, said) in DAMAGE {
        let place = Place::filled();
        let path = if file == "state.db" { place.state_file() } else { place.live_file() };
        sql(&path, damage);
        by_hand(&path, damage);
        let (store, loaded) = place.open();
        assert_eq!(loaded.set_aside.len(), 1, "{damage}: {:?}", loaded.set_aside);
        assert!(loaded.set_aside[0].contains(said), "{}", loaded.set_aside[0]);
        assert_eq!(loaded.entries.len(), entries::all().len() - 1, "{damage}");
        drop(store);
        assert_eq!(place.open().1.set_aside, loaded.set_aside, "{damage}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_kept_when_its_key_is_written_anew() {
    let place = Place::filled();
    sql(&place.state_file(), "UPDATE guest SET xml = 'what I had' WHERE name = 'guest3'");
    sql(&place.live_file(), "UPDATE claim SET json = 'who had it' WHERE id = 12");
    let (mut store, _) = place.open();
    let records = puts(&[entries::guest(3), Entry::Claim(entries::claim(12))]);
    store.commit(&records).unwrap();
    store.commit(&records).unwrap();
    drop(store);

    let kept = "SELECT json_group_array(origin || ' ' || key || ' ' || \
                coalesce(content ->> 'xml', content ->> 'json')) FROM set_aside";
    let kept = |file: &Path| ask::<String>(file, kept);
    let guest = uuid(3);
    assert_eq!(kept(&place.state_file()), format!("[\"guest {guest} what I had\"]"));
    assert_eq!(kept(&place.live_file()), "[\"claim 12 who had it\"]");
    let (_store, loaded) = place.open();
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    let entries = spelled(&loaded.entries);
    assert!(entries.contains_key(&Key::Guest(guest)));
    assert!(entries.contains_key(&Key::Claim(ClaimId(12))));
}

#[test]
fn of_two_networks_of_one_name_the_one_written_last_is_read() {
    let place = Place::new();
    let (mut store, _) = place.open();
    store.commit(&puts(&[entries::network(1), entries::network(2)])).unwrap();
    drop(store);
    sql(
        &place.state_file(),
        "UPDATE network SET xml = replace(xml, 'net1', 'net2'), name = 'net2', sum = NULL",
    );
    let (_store, loaded) = place.open();
    assert_eq!(loaded.set_aside.len(), 1);
    assert!(loaded.set_aside[0].contains("of that name"), "{}", loaded.set_aside[0]);
    assert_eq!(spelled(&loaded.entries), spelled(&[entries::network(2)]));
}
