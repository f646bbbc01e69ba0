//! What comes from QEMU's monitor.

#![no_main]

#[path = "../../crates/qemu/tests/it/entries/monitor_lines.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::monitor_lines(bytes));
