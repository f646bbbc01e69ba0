//! The file `modules.alias`.

#![no_main]

#[path = "../../crates/host/tests/it/entries/modules_alias.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::modules_alias(bytes));
