//! Durable records in SQLite.
