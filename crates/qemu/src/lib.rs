//! Guests: command line, launcher, QMP, supervision, adoption.
//!
//! This crate turns a guest's document and its VFs into a QEMU process, and keeps an eye on it
//! until it ends, over any number of daemons. It decides nothing about VFs and keeps no records:
//! what a daemon finds again of a guest is its run directory. Read first: [`command_line`], how a
//! guest is run; [`supervisor`], how
//! guests are started and found again; [`guest::Guest`], what they can be told;
//! [`launch::LaunchSpec`], what is handed to QEMU; [`jail`] and [`scope`], what it finds besides; [`run_dir`],
//! why a guest is never lost.

pub mod agent;
pub mod command_line;
pub mod console;
pub mod emulator;
pub mod events;
pub mod exit;
pub mod guest;
pub mod jail;
pub mod launch;
pub mod log;
pub mod pinning;
pub mod plugging;
pub mod process_id;
pub mod qmp;
mod readiness;
pub mod run_dir;
pub mod scope;
mod socket;
pub mod status;
pub mod supervisor;
pub mod uid;
pub mod vcpus;
pub mod vfio;

pub use events::GuestEvent;
pub use exit::{EndKind, Ended};
pub use guest::{Guest, GuestError};
pub use launch::LaunchSpec;
pub use run_dir::RunDir;
pub use status::RunState;
pub use supervisor::{Launcher, adopt, clean_up, start};
