//! A port's document.

#![no_main]

#[path = "../../crates/model/tests/it/entries/ports.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::ports(bytes));
