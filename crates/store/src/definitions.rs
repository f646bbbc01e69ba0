//! `state.db`: what outlives power cuts. Documents are kept as XML and read again at every
//! start, by the same parsers that read what users write.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, Transaction};
use uuid::Uuid;
use vfnet_engine::{
    Drain, Entry, GuestDefinition, GuestEntry, KeptVfs, Key, NetworkDefinition, NetworkEntry,
};
use vfnet_model::pf::PfIdentity;
use vfnet_model::{guest, network};

use crate::database::Kind;
use crate::error::remedy;
use crate::log::Synced;
use crate::row::{Reason, Rows, Table, Writing, uuid};

/// Version of the documents' language: raised when a document that this vfnet writes could be
/// misread, not merely refused, by the vfnet before it.
pub(crate) const FORMAT: i64 = 1;

pub(crate) const KIND: Kind = Kind {
    name: crate::STATE_FILE,
    application_id: 0x7666_6e53,
    migrations: &[
        include_str!("schema/state-1.sql"),
        include_str!("schema/state-2.sql"),
        include_str!("schema/state-3.sql"),
        include_str!("schema/state-4.sql"),
    ],
    synced: Synced::EachTransaction,
    remedy: remedy::STATE,
};

pub(crate) const ROWS: Writing = Writing { put, drop, keep };

const NETWORK: Table = Table {
    name: "network",
    what: "network",
    columns: &["uuid", "name", "autostart", "format", "xml"],
};
const GUEST: Table = Table {
    name: "guest",
    what: "guest",
    columns: &["uuid", "name", "autostart", "format", "xml"],
};
const DRAIN: Table = Table { name: "drain", what: "drained PF", columns: &["pf", "why"] };
const KEPT_VFS: Table =
    Table { name: "kept_vfs", what: "PF whose VFs are kept", columns: &["pf", "count"] };

fn put(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Network(NetworkEntry { uuid, definition, autostart }) => {
            let name = definition.network.name.as_str();
            let key = uuid.to_string();
            NETWORK.put(transaction, &[&key, &name, autostart, &FORMAT, &definition.xml])
        }
        Entry::Guest(GuestEntry { uuid, definition, autostart }) => {
            let name = definition.name.as_str();
            let key = uuid.to_string();
            GUEST.put(transaction, &[&key, &name, autostart, &FORMAT, &definition.xml])
        }
        Entry::Drain(Drain { pf, why }) => DRAIN.put(transaction, &[&pf.to_string(), why]),
        Entry::KeptVfs(KeptVfs { pf, count }) => {
            KEPT_VFS.put(transaction, &[&pf.to_string(), count])
        }
        Entry::LiveNetwork(_)
        | Entry::Run(_)
        | Entry::Claim(_)
        | Entry::BridgePort(_)
        | Entry::Edit(_)
        | Entry::Pending(..)
        | Entry::Autostarted
        | Entry::AutoprobeOff(_)
        | Entry::NetworkJob(..)
        | Entry::GuestJob(..)
        | Entry::VfJob(..)
        | Entry::PortJob(..)
        | Entry::PfJob(..) => Ok(()),
    }
}

fn drop(transaction: &Transaction<'_>, key: Key) -> rusqlite::Result<()> {
    place(key).map_or(Ok(()), |(table, key)| table.drop(transaction, &key))
}

fn keep(transaction: &Transaction<'_>, key: Key) -> rusqlite::Result<()> {
    place(key).map_or(Ok(()), |(table, key)| table.keep(transaction, &key))
}

fn place(key: Key) -> Option<(&'static Table, String)> {
    match key {
        Key::Network(uuid) => Some((&NETWORK, uuid.to_string())),
        Key::Guest(uuid) => Some((&GUEST, uuid.to_string())),
        Key::Drain(pf) => Some((&DRAIN, pf.to_string())),
        Key::KeptVfs(pf) => Some((&KEPT_VFS, pf.to_string())),
        _ => None,
    }
}

pub(crate) fn read(connection: &Connection, mut rows: Rows) -> rusqlite::Result<Rows> {
    let mut names = BTreeSet::new();
    let key = |row: &Row<'_>| uuid(row, "uuid").map(Key::Network);
    NETWORK.read(connection, &mut rows, key, |row, _| {
        let uuid = uuid(row, "uuid")?;
        let definition = network_definition(row, uuid, "xml")?;
        let autostart = row.get("autostart")?;
        one_of_a_name(&mut names, definition.network.name.as_str())?;
        Ok(Entry::Network(NetworkEntry { uuid, definition, autostart }))
    })?;

    names.clear();
    let key = |row: &Row<'_>| uuid(row, "uuid").map(Key::Guest);
    GUEST.read(connection, &mut rows, key, |row, _| {
        let uuid = uuid(row, "uuid")?;
        let definition = guest_definition(row, uuid)?;
        let autostart = row.get("autostart")?;
        one_of_a_name(&mut names, definition.name.as_str())?;
        Ok(Entry::Guest(GuestEntry { uuid, definition, autostart }))
    })?;

    let pf = |row: &Row<'_>| -> Result<PfIdentity, Reason> {
        let text: String = row.get("pf")?;
        Ok(text.parse()?)
    };
    let key = |row: &Row<'_>| pf(row).map(Key::Drain);
    DRAIN.read(connection, &mut rows, key, |row, _| {
        Ok(Entry::Drain(Drain { pf: pf(row)?, why: row.get("why")? }))
    })?;
    let key = |row: &Row<'_>| pf(row).map(Key::KeptVfs);
    KEPT_VFS.read(connection, &mut rows, key, |row, _| {
        Ok(Entry::KeptVfs(KeptVfs { pf: pf(row)?, count: row.get("count")? }))
    })?;
    Ok(rows)
}

/// The network document of a row, here or in `live.db`.
pub(crate) fn network_definition(
    row: &Row<'_>,
    uuid: Uuid,
    column: &str,
) -> Result<NetworkDefinition, Reason> {
    let xml = document(row, column)?;
    let mut network = network::parse(&xml)?;
    same_identity(*network.uuid.get_or_insert(uuid), uuid)?;
    Ok(NetworkDefinition { uuid, network, xml })
}

fn guest_definition(row: &Row<'_>, uuid: Uuid) -> Result<GuestDefinition, Reason> {
    let xml = document(row, "xml")?;
    let mut guest = guest::parse(&xml)?;
    same_identity(*guest.uuid.get_or_insert(uuid), uuid)?;
    GuestDefinition::from_document(&guest, xml).map_err(|refusal| refusal.to_string().into())
}

fn document(row: &Row<'_>, column: &str) -> Result<String, Reason> {
    let format: i64 = row.get("format")?;
    if format != FORMAT {
        return Err(format!("written in format {format}, this vfnetd reads {FORMAT}").into());
    }
    Ok(row.get(column)?)
}

fn same_identity(written: Uuid, key: Uuid) -> Result<(), Reason> {
    if written == key { Ok(()) } else { Err(format!("its document has the uuid {written}").into()) }
}

/// A row that once could not be read does not know of the name's later owner.
fn one_of_a_name(names: &mut BTreeSet<String>, name: &str) -> Result<(), Reason> {
    if names.insert(name.to_owned()) {
        Ok(())
    } else {
        Err("another one of that name was written later".into())
    }
}
