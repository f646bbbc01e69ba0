//! The entry points of the fuzzer: the targets in `fuzz/` run these too.

pub(crate) mod announcements;
pub(crate) mod modules_alias;
