//! Rows of either file: written whole, read one by one, and never lost for not being understood.

use std::collections::BTreeSet;
use std::error::Error;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql, Transaction};
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
        let marks = vec!["?"; self.columns.len()].join(", ");
        let sql =
            format!("REPLACE INTO {} ({}) VALUES ({marks})", self.name, self.columns.join(", "));
        transaction.prepare_cached(&sql)?.execute(values).map(drop)
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
        let sql =
            format!("SELECT {} FROM {} ORDER BY rowid DESC", self.columns.join(", "), self.name);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = key(row);
            let named = key.as_ref().ok().copied();
            match key.and_then(|key| entry(row, key)) {
                Ok(entry) => into.entries.push(entry),
                Err(reason) => {
                    into.set_aside.push(format!("{}: {}", self.title(row), explain(&*reason)));
                    into.unreadable.extend(named);
                }
            }
        }
        Ok(())
    }

    /// A row, for people: its key, and its name where it has one.
    fn title(&self, row: &Row<'_>) -> String {
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
