//! A network's document.

#![no_main]

#[path = "../../crates/model/tests/it/entries/networks.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::networks(bytes));
