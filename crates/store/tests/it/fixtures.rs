//! Files as every released schema wrote them, kept for ever.
//!
//! Those of a new schema are written, once, by `cargo nextest run -p vfnet-store --run-ignored
//! only write_the_fixtures` (with `sqlite3` at hand); after its release they are never changed.

use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use vfnet_engine::State;

use crate::entries::uuid;
use crate::place::{Place, ask, spelled, sql};

const STATE: [&str; 4] = [
    include_str!("../fixtures/state-1.sql"),
    include_str!("../fixtures/state-2.sql"),
    include_str!("../fixtures/state-3.sql"),
    include_str!("../fixtures/state-4.sql"),
];
const LIVE: [&str; 4] = [
    include_str!("../fixtures/live-1.sql"),
    include_str!("../fixtures/live-2.sql"),
    include_str!("../fixtures/live-3.sql"),
    include_str!("../fixtures/live-4.sql"),
];

/// Files of these versions, from 1.
fn written_by(state: usize, live: usize) -> Place {
    let place = Place::new();
    fs::create_dir(place.state_dir()).unwrap();
    fs::create_dir(place.run_dir()).unwrap();
    sql(&place.state_file(), STATE[state - 1]);
    sql(&place.live_file(), LIVE[live - 1]);
    place
}

#[test]
fn version_1_is_read() {
    let place = written_by(1, 1);
    let (_store, loaded) = place.open();
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    let mut state = State::default();
    for entry in loaded.entries {
        state.apply(vfnet_engine::Record::Put(Box::new(entry)));
    }
    let names: Vec<_> =
        state.networks.values().map(|x| x.definition.network.name.as_str()).collect();
    assert_eq!(names, ["net1", "net2"]);
    assert_eq!(state.networks.values().map(|x| x.autostart).collect::<Vec<_>>(), [false, true]);
    let names: Vec<_> = state.guests.values().map(|x| x.definition.name.as_str()).collect();
    assert_eq!(names, ["guest3", "guest4"]);
    assert_eq!(state.live_networks[&uuid(2)].vfs.len(), 2);
    assert_eq!(state.runs[&uuid(3)].pid, Some(4242));
    assert_eq!(state.pending.len(), 2);
    assert!(state.autostarted);
    let claims: Vec<_> = state
        .claims
        .values()
        .map(|claim| format!("{} {} {} {}", claim.id.0, claim.vf, claim.state.word(), claim.owner))
        .collect();
    assert_eq!(
        claims,
        [
            "1 0000:01:10.1 preparing guest guest3",
            "2 0000:01:10.2 preparing guest guest3",
            "3 0000:01:10.3 preparing guest guest3 of another daemon",
            "4 0000:01:10.4 preparing testpmd (pid 99)",
            "5 0000:01:10.5 preparing reservation for guest guest3",
            "6 0000:01:10.6 preparing the administrator",
            "11 0000:01:11.3 preparing guest guest3",
            "12 0000:01:11.4 held guest guest3",
            "13 0000:01:11.5 lent guest guest3",
            "14 0000:01:11.6 releasing guest guest3",
            "15 0000:01:11.7 vanished guest guest3",
            "16 0000:01:12.0 quarantined guest guest3",
            "17 0000:01:12.1 stuck guest guest3",
        ]
    );
}

#[test]
fn version_2_of_the_live_file_is_read() {
    let place = written_by(1, 2);
    let (_store, loaded) = place.open();
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    let mut state = State::default();
    for entry in loaded.entries {
        state.apply(vfnet_engine::Record::Put(Box::new(entry)));
    }
    let on_bridge = &state.bridge_ports[&uuid(6)];
    assert_eq!((on_bridge.bridge.as_str(), on_bridge.owner_name.as_str()), ("br0", "guest3"));
    assert_eq!(state.edits[&uuid(2)].live.vfs.len(), 2);
    assert_eq!(state.edits[&uuid(2)].config.network.name.as_str(), "net2");
}

#[test]
fn rows_of_versions_2_and_3_have_checksums_that_hold() {
    let place = written_by(2, 3);
    let summed = "SELECT count(*) FROM claim WHERE sum IS NOT NULL";
    assert_eq!(ask::<i64>(&place.live_file(), summed), 13);
    let summed = "SELECT count(*) FROM guest WHERE sum IS NOT NULL";
    assert_eq!(ask::<i64>(&place.state_file(), summed), 2);
    let (_store, loaded) = place.open();
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    let there = spelled(&loaded.entries).into_keys().collect::<Vec<_>>();
    let (_store, before) = written_by(1, 2).open();
    assert_eq!(there, spelled(&before.entries).into_keys().collect::<Vec<_>>());
}

#[test]
fn versions_3_and_4_are_read() {
    for version in [3, 4] {
        is_read(version, 4);
    }
}

fn is_read(version: usize, live: usize) {
    let (_store, loaded) = written_by(version, live).open();
    assert_eq!(loaded.set_aside, Vec::<String>::new());
    let mut state = State::default();
    for entry in loaded.entries {
        state.apply(vfnet_engine::Record::Put(Box::new(entry)));
    }
    assert_eq!(
        state.drains.values().map(|drain| drain.why.as_str()).collect::<Vec<_>>(),
        ["bad cable"]
    );
    let kept = state.kept_vfs.values().map(|kept| kept.count).collect::<Vec<_>>();
    assert_eq!(kept, if version < 4 { vec![] } else { vec![7] });
    assert_eq!(state.autoprobe_off, ["0000:01:00.0".parse().unwrap()].into());
    assert_eq!(state.live_networks[&uuid(2)].pfs[1].range, Some("0-3,6".parse().unwrap()));
}

#[test]
fn every_schema_version_has_a_file() {
    let new = Place::new();
    new.open();
    for (file, fixtures) in [(new.state_file(), &STATE[..]), (new.live_file(), &LIVE[..])] {
        let newest: u32 = ask(&file, "PRAGMA user_version");
        assert_eq!(usize::try_from(newest).unwrap(), fixtures.len(), "of {}", file.display());
        for (version, fixture) in (1..).zip(fixtures) {
            assert!(fixture.contains(&format!("PRAGMA user_version = {version};")), "{version}");
        }
    }
}

#[test]
fn a_migrated_file_has_the_schema_of_a_new_one() {
    let new = Place::new();
    new.open();
    for state in 1..=STATE.len() {
        for live in 1..=LIVE.len() {
            let old = written_by(state, live);
            old.open();
            let from = format!("from {state} and {live}");
            assert_eq!(schema(&old.state_file()), schema(&new.state_file()), "{from}");
            assert_eq!(schema(&old.live_file()), schema(&new.live_file()), "{from}");
        }
    }
}

fn schema(file: &Path) -> Vec<String> {
    let connection = Connection::open(file).unwrap();
    let ask = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name";
    let mut statement = connection.prepare(ask).unwrap();
    let words = |sql: String| sql.split_whitespace().collect::<Vec<_>>().join(" ");
    statement.query_map([], |row| row.get(0).map(words)).unwrap().map(Result::unwrap).collect()
}

#[test]
#[ignore = "writes files of the source tree"]
fn write_the_fixtures() {
    let place = Place::filled();
    for (name, file) in [("state", place.state_file()), ("live", place.live_file())] {
        let head: String = ["application_id", "user_version"]
            .map(|pragma| (pragma, ask::<i64>(&file, &format!("PRAGMA {pragma}"))))
            .map(|(pragma, value)| format!("PRAGMA {pragma} = {value};\n"))
            .concat();
        let version: i64 = ask(&file, "PRAGMA user_version");
        let dump = Command::new("sqlite3").arg(&file).arg(".dump").output().unwrap();
        assert!(dump.status.success());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let text = head + std::str::from_utf8(&dump.stdout).unwrap();
        fs::write(fixtures.join(format!("{name}-{version}.sql")), text).unwrap();
    }
}
