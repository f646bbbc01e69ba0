//! The daemon: wiring only.
//!
//! What comes in on a socket becomes typed calls ([`session`], [`dispatch`]), is decided by the
//! engine on a thread of its own ([`engine_task`]), recorded, and carried out over the host and
//! over guests ([`hands`], [`guests`]); outcomes go back to the engine. [`run`] is all of it,
//! over any [`vfnet_host::Host`], so that tests run the same wiring over a simulated one.

pub mod engine_task;
pub mod observe;
pub mod options;
