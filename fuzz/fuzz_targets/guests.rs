//! A guest's document.

#![no_main]

#[path = "../../crates/model/tests/it/entries/guests.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::guests(bytes));
