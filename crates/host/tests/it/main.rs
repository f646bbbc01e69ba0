//! Promises of the host crate, over a small machine in memory and over made-up sysfs trees.

mod lend;
mod machine;
