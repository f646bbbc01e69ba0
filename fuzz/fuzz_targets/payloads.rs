//! Arguments, and bodies of events.

#![no_main]

#[path = "../../crates/rpc/tests/it/entries/payloads.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::payloads(bytes));
