//! A connection's bytes.

#![no_main]

#[path = "../../crates/rpc/tests/it/entries/frames.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::frames(bytes));
