//! Rows of either file: written whole, read one by one, and never lost for not being understood.
//!
//! SQLite finds damage to its own structure, but a changed bit within a value is a value to it.
//! So each row has a checksum of its other columns in its last one, `sum`; it is NULL in rows
//! that an older schema wrote, or that people have changed by hand.

use std::collections::BTreeSet;
use std::error::Error;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, Transaction, params_from_iter};
use uuid::Uuid;
use vfnet_engine::{Entry, Key};
use vfnet_model::explain;

/// Why a row cannot be read.
pub(crate) type Reason = Box<dyn Error + Send + Sync>;

/// A table of entries.
pub(crate) struct Table {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// What a row is, in words.
    pub(crate) what: &'static str,
    /// Its columns; the first one is the key.
    pub(crate) columns: &'static [&'static str],
}

/// How entries are written to one of the files.
pub(crate) struct Writing {
    /// Writes an entry, whatever there was under its key.
    pub(crate) put: fn(&Transaction<'_>, &Entry) -> rusqlite::Result<()>,
    /// Removes an entry, if there is one.
    pub(crate) drop: fn(&Transaction<'_>, Key) -> rusqlite::Result<()>,
    /// See [`Table::keep`].
    pub(crate) keep: fn(&Transaction<'_>, Key) -> rusqlite::Result<()>,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) entries: Vec<Entry>,
    /// In words.
    pub(crate) set_aside: Vec<String>,
    /// The keys of rows that are set aside, where these can be read.
    pub(crate) unreadable: BTreeSet<Key>,
    /// Whether the file is damaged: then what cannot be read ends no reading.
    pub(crate) damaged: bool,
}

impl Rows {
    /// Of a damaged file.
    pub(crate) fn of_damaged() -> Self {
        Self { damaged: true, ..Self::default() }
    }
}

impl Table {
    fn key(&self) -> &'static str {
        self.columns[0]
    }

    /// Writes a row, whatever there was under its key. The last one written comes last.
    pub(crate) fn put(
        &self,
        transaction: &Transaction<'_>,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<()> {
        let mut sum = Sum::default();
        for value in values {
            match value.to_sql()? {
                ToSqlOutput::Borrowed(value) => sum.add(value),
                ToSqlOutput::Owned(value) => sum.add(ValueRef::from(&value)),
                _ => return Err(rusqlite::Error::InvalidParameterName(self.name.to_owned())),
            }
        }
        let marks = vec!["?"; self.columns.len() + 1].join(", ");
        let columns = self.columns.join(", ");
        let sql = format!("REPLACE INTO {} ({columns}, sum) VALUES ({marks})", self.name);
        let sum = sum.value();
        let values = values.iter().copied().chain([&sum as &dyn ToSql]);
        transaction.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
    }

    /// Removes a row, if there is one.
    pub(crate) fn drop(
        &self,
        transaction: &Transaction<'_>,
        key: &dyn ToSql,
    ) -> rusqlite::Result<()> {
        let sql = format!("DELETE FROM {} WHERE {} = ?1", self.name, self.key());
        transaction.prepare_cached(&sql)?.execute([key]).map(drop)
    }

    /// Copies a row that nobody could read to the table `set_aside`, before it is written over.
    pub(crate) fn keep(
        &self,
        transaction: &Transaction<'_>,
        key: &dyn ToSql,
    ) -> rusqlite::Result<()> {
        let content: Vec<_> =
            self.columns.iter().map(|column| format!("'{column}', {column}")).collect();
        let sql = format!(
            "INSERT INTO set_aside (origin, key, content)
             SELECT '{name}', {key}, json_object({content}) FROM {name} WHERE {key} = ?1",
            name = self.name,
            key = self.key(),
            content = content.join(", "),
        );
        transaction.execute(&sql, [key]).map(drop)
    }

    /// Reads every row, the last one written first.
    pub(crate) fn read(
        &self,
        connection: &Connection,
        into: &mut Rows,
        key: impl Fn(&Row<'_>) -> Result<Key, Reason>,
        mut entry: impl FnMut(&Row<'_>, Key) -> Result<Entry, Reason>,
    ) -> rusqlite::Result<()> {
        let mut seen = BTreeSet::new();
        if !into.damaged {
            return self.read_in("DESC", connection, into, &mut seen, &key, &mut entry);
        }
        // Up to the damage from both sides.
        for order in ["DESC", "ASC"] {
            let read = self.read_in(order, connection, into, &mut seen, &key, &mut entry);
            if let Err(damage) = read {
                let said = format!("{}s: read no further: {damage}", self.what);
                if into.set_aside.last() != Some(&said) {
                    into.set_aside.push(said);
                }
            }
        }
        Ok(())
    }

    fn read_in(
        &self,
        order: &str,
        connection: &Connection,
        into: &mut Rows,
        seen: &mut BTreeSet<i64>,
        key: &impl Fn(&Row<'_>) -> Result<Key, Reason>,
        entry: &mut impl FnMut(&Row<'_>, Key) -> Result<Entry, Reason>,
    ) -> rusqlite::Result<()> {
        let (columns, name) = (self.columns.join(", "), self.name);
        let sql =
            format!("SELECT {columns}, sum, rowid AS place FROM {name} ORDER BY rowid {order}");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !seen.insert(row.get("place")?) {
                continue;
            }
            let key = key(row);
            let named = key.as_ref().ok().copied();
            match key.and_then(|key| self.check(row).and_then(|()| entry(row, key))) {
                Ok(entry) => into.entries.push(entry),
                Err(reason) => {
                    into.set_aside.push(format!("{}: {}", self.title(row), explain(&*reason)));
                    into.unreadable.extend(named);
                }
            }
        }
        Ok(())
    }

    /// Whether a row is as it was written.
    pub(crate) fn check(&self, row: &Row<'_>) -> Result<(), Reason> {
        let Some(written) = row.get::<_, Option<u32>>("sum")? else { return Ok(()) };
        let mut sum = Sum::default();
        for column in self.columns {
            sum.add(row.get_ref(*column)?);
        }
        if sum.value() == written {
            return Ok(());
        }
        Err("its checksum is that of another content: it was damaged, or changed by hand (then \
             its sum is to be set to NULL)"
            .into())
    }

    /// A row, for people: its key, and its name where it has one.
    pub(crate) fn title(&self, row: &Row<'_>) -> String {
        let text = |column: &str| match row.get_ref(column) {
            Ok(ValueRef::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            Ok(ValueRef::Integer(number)) => Some(number.to_string()),
            _ => None,
        };
        let key = text(self.key()).unwrap_or_default();
        match text("name") {
            Some(name) => format!("{} '{name}' ({key})", self.what),
            None => format!("{} {key}", self.what),
        }
    }
}

/// The checksum of a row: CRC-32 over each value's kind, length and bytes.
#[derive(Default)]
struct Sum(crc32fast::Hasher);

impl Sum {
    fn add(&mut self, value: ValueRef<'_>) {
        let number;
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (b'n', &[]),
            ValueRef::Integer(value) => {
                number = value.to_le_bytes();
                (b'i', &number)
            }
            ValueRef::Real(value) => {
                number = value.to_le_bytes();
                (b'r', &number)
            }
            ValueRef::Text(text) => (b't', text),
            ValueRef::Blob(blob) => (b'b', blob),
        };
        self.0.update(&[kind]);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn value(self) -> u32 {
        self.0.finalize()
    }
}

/// A UUID in the one spelling that vfnet writes: under another, a row would not be found again.
pub(crate) fn uuid(row: &Row<'_>, column: &str) -> Result<Uuid, Reason> {
    let text: String = row.get(column)?;
    let uuid: Uuid = text.parse()?;
    if uuid.to_string() == text {
        Ok(uuid)
    } else {
        Err(format!("{column} '{text}' is not spelled {uuid}").into())
    }
}
