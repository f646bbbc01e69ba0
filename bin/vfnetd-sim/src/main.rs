//! The daemon over the simulated host, for tests.

fn main() {}
