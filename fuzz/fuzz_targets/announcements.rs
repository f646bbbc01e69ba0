//! Datagrams of the kernel.

#![no_main]

#[path = "../../crates/host/tests/it/entries/announcements.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::announcements(bytes));
