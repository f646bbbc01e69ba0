//! What is tried in the emulated SR-IOV host.

fn main() {}
