//! The entry points of the fuzzer: the targets in `fuzz/` run these too.

pub(crate) mod frames;
pub(crate) mod payloads;
