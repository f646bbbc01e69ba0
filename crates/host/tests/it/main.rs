//! Promises of the host crate, over a small machine in memory and over made-up sysfs trees.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod devices;
mod entries;
mod fuzz;
mod lend;
mod linux;
mod machine;
mod tree;
