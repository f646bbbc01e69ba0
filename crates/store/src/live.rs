//! `live.db`: what outlives the daemon, but not the boot. What is read back of a run or a claim
//! is its JSON; the columns beside it are for people with `sqlite3`.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vfnet_engine::{
    BridgePort, Claim, ClaimId, Entry, GuestRun, Key, LiveNetwork, Pending, UnfinishedEdit,
};
use vfnet_model::{BootId, PciAddress};

use crate::database::{Kind, META};
use crate::definitions::{FORMAT, network_definition};
use crate::error::remedy;
use crate::log::Synced;
use crate::row::{Reason, Rows, Table, Writing, uuid};

/// `synchronous = NORMAL` costs nothing on tmpfs, and keeps the file whole where somebody put
/// `RUN_DIR` on a disk.
pub(crate) const KIND: Kind = Kind {
    name: crate::LIVE_FILE,
    application_id: 0x7666_6e4c,
    migrations: &[
        include_str!("schema/live-1.sql"),
        include_str!("schema/live-2.sql"),
        include_str!("schema/live-3.sql"),
        include_str!("schema/live-4.sql"),
    ],
    synced: Synced::EachCheckpoint,
    remedy: remedy::LIVE,
};

pub(crate) const ROWS: Writing = Writing { put, drop, keep };

const NETWORK: Table = Table {
    name: "live_network",
    what: "active network",
    columns: &["uuid", "name", "format", "xml", "pfs", "vfs"],
};
const RUN: Table = Table {
    name: "run",
    what: "running guest",
    columns: &["guest", "name", "id", "phase", "pid", "json"],
};
const CLAIM: Table = Table {
    name: "claim",
    what: "claim",
    columns: &["id", "vf", "pf", "vf_index", "state", "owner", "guest", "network", "json"],
};
const BRIDGE_PORT: Table = Table {
    name: "bridge_port",
    what: "port on a bridge",
    columns: &["port", "network", "owner", "json"],
};
const EDIT: Table = Table {
    name: "edit",
    what: "change of network",
    columns: &["uuid", "format", "xml", "pfs", "vfs", "kept_xml"],
};
const PENDING: Table =
    Table { name: "pending", what: "pending autostart of", columns: &["uuid", "kind"] };
const AUTOPROBE_OFF: Table =
    Table { name: "autoprobe_off", what: "PF without search for drivers", columns: &["pf"] };

const BOOT_ID: &str = "boot_id";
const AUTOSTARTED: &str = "autostarted";

/// Clears what another boot left, and takes the file over for this one.
pub(crate) fn void_other_boots(
    transaction: &Transaction<'_>,
    boot: &BootId,
) -> rusqlite::Result<()> {
    let of: Option<String> = transaction
        .query_row("SELECT value FROM meta WHERE key = ?1", [BOOT_ID], |row| row.get(0))
        .optional()?;
    if of.as_deref() == Some(boot.as_str()) {
        return Ok(());
    }
    for table in [&NETWORK, &RUN, &CLAIM, &BRIDGE_PORT, &EDIT, &PENDING, &AUTOPROBE_OFF] {
        transaction.execute(&format!("DELETE FROM {}", table.name), [])?;
    }
    transaction.execute("DELETE FROM set_aside", [])?;
    META.drop(transaction, &AUTOSTARTED)?;
    META.put(transaction, &[&BOOT_ID, &boot.as_str()])
}

/// The boot that the file belongs to, where that can be read.
pub(crate) fn boot(connection: &Connection) -> Option<BootId> {
    let mut statement =
        connection.prepare("SELECT key, value, sum FROM meta WHERE key = ?1").ok()?;
    let mut rows = statement.query([BOOT_ID]).ok()?;
    let row = rows.next().ok()??;
    META.check(row).ok()?;
    row.get::<_, String>("value").ok()?.parse().ok()
}

fn put(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::LiveNetwork(LiveNetwork { uuid, definition, pfs, vfs }) => {
            let name = definition.network.name.as_str();
            let (key, pfs, vfs) = (uuid.to_string(), json(pfs)?, json(vfs)?);
            NETWORK.put(transaction, &[&key, &name, &FORMAT, &definition.xml, &pfs, &vfs])
        }
        Entry::Run(run) => {
            let (key, name) = (run.guest.to_string(), run.definition.name.as_str());
            let (phase, json) = (word(&run.phase)?, json(run)?);
            RUN.put(transaction, &[&key, &name, &run.id, &phase, &run.pid, &json])
        }
        Entry::Claim(claim) => put_claim(transaction, claim),
        Entry::BridgePort(port) => {
            let (key, network) = (port.port.to_string(), port.network.to_string());
            let row: [&dyn ToSql; 4] = [&key, &network, &port.owner_name.as_str(), &json(port)?];
            BRIDGE_PORT.put(transaction, &row)
        }
        Entry::Edit(edit) => {
            let UnfinishedEdit { live, config } = &**edit;
            let (key, pfs, vfs) = (live.uuid.to_string(), json(&live.pfs)?, json(&live.vfs)?);
            let xml = &live.definition.xml;
            EDIT.put(transaction, &[&key, &FORMAT, xml, &pfs, &vfs, &config.xml])
        }
        Entry::Pending(uuid, kind) => PENDING.put(transaction, &[&uuid.to_string(), &word(kind)?]),
        Entry::Autostarted => META.put(transaction, &[&AUTOSTARTED, &"yes"]),
        Entry::AutoprobeOff(pf) => AUTOPROBE_OFF.put(transaction, &[&pf.to_string()]),
        Entry::Network(_)
        | Entry::Guest(_)
        | Entry::Drain(_)
        | Entry::KeptVfs(_)
        | Entry::NetworkJob(..)
        | Entry::GuestJob(..)
        | Entry::VfJob(..)
        | Entry::PortJob(..)
        | Entry::PfJob(..) => Ok(()),
    }
}

fn put_claim(transaction: &Transaction<'_>, claim: &Claim) -> rusqlite::Result<()> {
    CLAIM.put(
        transaction,
        &[
            &number(claim.id)?,
            &claim.vf.to_string(),
            &claim.pf.to_string(),
            &claim.index.0,
            &claim.state.word(),
            &claim.owner.to_string(),
            &claim.owner.guest().map(|guest| guest.to_string()),
            &claim.network.as_ref().map(|network| network.name.as_str()),
            &json(claim)?,
        ],
    )
}

fn drop(transaction: &Transaction<'_>, key: Key) -> rusqlite::Result<()> {
    match key {
        Key::LiveNetwork(uuid) => NETWORK.drop(transaction, &uuid.to_string()),
        Key::Run(guest) => RUN.drop(transaction, &guest.to_string()),
        Key::Claim(id) => CLAIM.drop(transaction, &number(id)?),
        Key::BridgePort(port) => BRIDGE_PORT.drop(transaction, &port.to_string()),
        Key::Edit(uuid) => EDIT.drop(transaction, &uuid.to_string()),
        Key::Pending(uuid) => PENDING.drop(transaction, &uuid.to_string()),
        Key::Autostarted => META.drop(transaction, &AUTOSTARTED),
        Key::AutoprobeOff(pf) => AUTOPROBE_OFF.drop(transaction, &pf.to_string()),
        _ => Ok(()),
    }
}

fn keep(transaction: &Transaction<'_>, key: Key) -> rusqlite::Result<()> {
    match key {
        Key::LiveNetwork(uuid) => NETWORK.keep(transaction, &uuid.to_string()),
        Key::Run(guest) => RUN.keep(transaction, &guest.to_string()),
        Key::Claim(id) => CLAIM.keep(transaction, &number(id)?),
        Key::BridgePort(port) => BRIDGE_PORT.keep(transaction, &port.to_string()),
        Key::Edit(uuid) => EDIT.keep(transaction, &uuid.to_string()),
        Key::Pending(uuid) => PENDING.keep(transaction, &uuid.to_string()),
        Key::AutoprobeOff(pf) => AUTOPROBE_OFF.keep(transaction, &pf.to_string()),
        _ => Ok(()),
    }
}

pub(crate) fn read(connection: &Connection, mut rows: Rows) -> rusqlite::Result<Rows> {
    let key = |row: &Row<'_>| uuid(row, "uuid").map(Key::LiveNetwork);
    NETWORK.read(connection, &mut rows, key, |row, _| {
        let uuid = uuid(row, "uuid")?;
        let definition = network_definition(row, uuid, "xml")?;
        let (pfs, vfs) = (from_json(row, "pfs")?, from_json(row, "vfs")?);
        Ok(Entry::LiveNetwork(LiveNetwork { uuid, definition, pfs, vfs }))
    })?;

    let key = |row: &Row<'_>| uuid(row, "guest").map(Key::Run);
    RUN.read(connection, &mut rows, key, |row, key| {
        let run: GuestRun = from_json(row, "json")?;
        same_key(Entry::Run(run), key)
    })?;

    let key = |row: &Row<'_>| {
        let id: i64 = row.get("id")?;
        Ok(Key::Claim(ClaimId(id.try_into()?)))
    };
    CLAIM.read(connection, &mut rows, key, |row, key| {
        let claim: Claim = from_json(row, "json")?;
        same_key(Entry::Claim(claim), key)
    })?;

    let key = |row: &Row<'_>| uuid(row, "port").map(Key::BridgePort);
    BRIDGE_PORT.read(connection, &mut rows, key, |row, key| {
        let port: BridgePort = from_json(row, "json")?;
        same_key(Entry::BridgePort(port), key)
    })?;

    let key = |row: &Row<'_>| uuid(row, "uuid").map(Key::Edit);
    EDIT.read(connection, &mut rows, key, |row, _| {
        let uuid = uuid(row, "uuid")?;
        let definition = network_definition(row, uuid, "xml")?;
        let config = network_definition(row, uuid, "kept_xml")?;
        let (pfs, vfs) = (from_json(row, "pfs")?, from_json(row, "vfs")?);
        let live = LiveNetwork { uuid, definition, pfs, vfs };
        Ok(Entry::Edit(Box::new(UnfinishedEdit { live, config })))
    })?;

    let key = |row: &Row<'_>| uuid(row, "uuid").map(Key::Pending);
    PENDING.read(connection, &mut rows, key, |row, _| {
        let kind: String = row.get("kind")?;
        let kind: Pending = serde_json::from_value(kind.into())?;
        Ok(Entry::Pending(uuid(row, "uuid")?, kind))
    })?;

    let pf = |row: &Row<'_>| -> Result<PciAddress, Reason> {
        let text: String = row.get("pf")?;
        Ok(text.parse()?)
    };
    let key = |row: &Row<'_>| pf(row).map(Key::AutoprobeOff);
    AUTOPROBE_OFF.read(connection, &mut rows, key, |row, _| pf(row).map(Entry::AutoprobeOff))?;

    let autostarted = "SELECT count(*) FROM meta WHERE key = ?1";
    let autostarted: u32 = match connection.query_row(autostarted, [AUTOSTARTED], |row| row.get(0))
    {
        Err(_) if rows.damaged => 0,
        counted => counted?,
    };
    rows.entries.extend((autostarted > 0).then_some(Entry::Autostarted));
    Ok(rows)
}

fn same_key(entry: Entry, key: Key) -> Result<Entry, Reason> {
    if entry.key() == key {
        Ok(entry)
    } else {
        Err(format!("its json is that of {:?}", entry.key()).into())
    }
}

/// SQLite's integers are signed.
fn number(id: ClaimId) -> rusqlite::Result<i64> {
    i64::try_from(id.0).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// A word's spelling in JSON.
fn word(value: &impl Serialize) -> rusqlite::Result<String> {
    Ok(json(value)?.trim_matches('"').to_owned())
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, Reason> {
    let text: String = row.get(column)?;
    Ok(serde_json::from_str(&text)?)
}
