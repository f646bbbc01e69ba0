//! The entry points of the fuzzer: the targets in `fuzz/` run these too.

pub(crate) mod guests;
pub(crate) mod networks;
pub(crate) mod ports;
