//! Documents as people write them, read and printed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod entries;
mod fuzz;
mod guest;
mod guest_random;
mod guest_refusals;
mod network;
mod network_options;
mod network_placement;
mod network_pool;
mod network_random;
mod network_update;
mod node_device;
mod port;
