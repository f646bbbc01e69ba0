//! The entry point of the fuzzer for records: whatever stands in a column, the other rows are
//! read as they were, and the row itself is read or set aside. The target in `fuzz/` runs it too.

use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use crate::entries;
use crate::place::{Place, spelled};

/// Tables, and their columns.
const TABLES: [(&str, bool, &[&str]); 8] = [
    ("network", true, &["uuid", "name", "autostart", "format", "xml", "sum"]),
    ("guest", true, &["uuid", "name", "autostart", "format", "xml", "sum"]),
    ("live_network", false, &["uuid", "name", "format", "xml", "pfs", "vfs", "sum"]),
    ("run", false, &["guest", "name", "id", "phase", "pid", "json", "sum"]),
    ("claim", false, &["id", "vf", "pf", "vf_index", "state", "owner", "guest", "json", "sum"]),
    ("bridge_port", false, &["port", "network", "owner", "json", "sum"]),
    ("edit", false, &["uuid", "format", "xml", "pfs", "vfs", "kept_xml", "sum"]),
    ("pending", false, &["uuid", "kind", "sum"]),
];

/// Both files with everything in them.
static FILES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let place = Place::filled();
    [place.state_file(), place.live_file()].map(|file| std::fs::read(file).unwrap())
});

/// A table, a column, a row, whether the checksum is taken away (a byte each), then what is
/// written into it.
pub(crate) fn records(bytes: &[u8]) {
    let Some((&[table, column, row, sum], value)) = bytes.split_first_chunk() else { return };
    let (table, kept, columns) = TABLES[usize::from(table) % TABLES.len()];
    let column = columns[usize::from(column) % columns.len()];
    let value = match (std::str::from_utf8(value), <[u8; 8]>::try_from(value)) {
        (_, Ok(number)) if sum & 2 != 0 => Value::Integer(i64::from_be_bytes(number)),
        (Ok(text), _) => Value::Text(text.to_owned()),
        (Err(_), _) => Value::Blob(value.to_vec()),
    };
    let place = Place::new();
    for (dir, file, bytes) in [
        (place.state_dir(), place.state_file(), &FILES[0]),
        (place.run_dir(), place.live_file(), &FILES[1]),
    ] {
        std::fs::create_dir(dir).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let file = if kept { place.state_file() } else { place.live_file() };
    let changed = {
        let connection = Connection::open(file).unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = connection.query_row(&count, [], |row| row.get(0)).unwrap();
        assert!(count > 0, "{table} is empty");
        let sum = if sum & 1 != 0 && column != "sum" { ", sum = NULL" } else { "" };
        let change = format!(
            "UPDATE {table} SET {column} = ?1{sum} WHERE rowid = \
             (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?2)"
        );
        connection.execute(&change, params![value, i64::from(row) % count])
    };
    // What SQLite itself refuses is not written.
    if changed.is_err() {
        return;
    }
    let (store, loaded) = place.open();
    let (found, written) = (spelled(&loaded.entries), spelled(&entries::all()));
    let as_before = written.iter().filter(|(key, entry)| found.get(key) == Some(entry)).count();
    assert!(as_before + 1 >= written.len(), "{:?} took others along", loaded.set_aside);
    assert!(
        found.len() + loaded.set_aside.len() >= written.len(),
        "a row of {table} is neither read nor set aside"
    );
    drop(store);
    let (_, again) = place.open();
    assert_eq!((spelled(&again.entries), again.set_aside), (found, loaded.set_aside));
}

#[test]
fn what_was_found_once_of_records_is_read_or_set_aside() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/records");
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().flatten().collect();
    assert!(files.len() >= 8, "{} has lost its samples", dir.display());
    for file in files {
        records(&std::fs::read(file.path()).unwrap());
    }
}
