//! The command line of vfnet.

fn main() {}
