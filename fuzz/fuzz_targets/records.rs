//! A column of a record.

#![no_main]
#![allow(dead_code, reason = "the store's tests use more of it")]

#[path = "../../crates/store/tests/it/entries.rs"]
mod entries;
#[path = "../../crates/store/tests/it/place.rs"]
mod place;
#[path = "../../crates/store/tests/it/records.rs"]
mod records;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| records::records(bytes));
