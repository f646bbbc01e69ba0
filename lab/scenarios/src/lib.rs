//! What is tried in the emulated SR-IOV host, with a real kernel, real VFs and real guests.
//!
//! All of it runs inside that host, as root. Read [`scenario`] for how scenarios are grouped
//! into boots, [`host`] for what they can do to the machine, [`daemon`] for vfnet and its
//! clients, and [`scenarios`] for the promises themselves. `lab/README.md` says how to add one.

#![expect(clippy::disallowed_methods, reason = "not part of the daemon: it starts the daemon")]
#![expect(clippy::print_stdout, reason = "the lines are this program's result")]

pub mod cuts;
pub mod daemon;
pub mod demo;
pub mod documents;
pub mod guest;
pub mod host;
pub mod kills;
pub mod measures;
pub mod program;
pub mod rounds;
pub mod scenario;
pub mod scenarios;
pub mod stock;
pub mod trail;
pub mod wait;
