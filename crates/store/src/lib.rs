//! The durable home of the engine's records: two SQLite files that people can read with
//! `sqlite3` while the daemon runs.
//!
//! `STATE_DIR/state.db` has what outlives power cuts: definitions, autostart, the
//! administrator's decisions. `RUN_DIR/live.db`, on tmpfs, has what outlives the daemon but not
//! the boot: active networks, runs, claims with the originals of their VFs. There is no
//! transaction over both. This crate decides nothing: it writes down what the engine's
//! [`Record`](vfnet_engine::Record)s say and gives it back. It never throws away what it cannot
//! read.
//!
//! Read first: [`Store`], and `docs/record-format.md` for every table and column.

mod aside;
mod database;
mod definitions;
mod error;
mod examine;
mod live;
mod lock;
mod log;
mod rebuild;
mod row;
mod store;

pub use error::StoreError;
pub use examine::{Examination, Examined, examine};
pub use rebuild::{Rebuilt, Salvage, rebuild};
pub use store::{KeptAside, LIVE_FILE, LOCK_FILE, Loaded, STATE_FILE, Store};
