//! What the store promises: what was acknowledged is there, what cannot be read is not lost,
//! what is not ours is not touched.
#![expect(clippy::disallowed_methods, reason = "tests start themselves anew to be killed")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod damage;
mod entries;
mod fixtures;
mod full;
mod place;
mod power_cut;
mod rebuild;
mod records;
mod refused;
mod round_trip;
mod unreadable;
