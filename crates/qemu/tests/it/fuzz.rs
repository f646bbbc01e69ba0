//! The fuzzer's entry point, in the ordinary tests: over what it has found.

use std::path::Path;

use crate::entries::monitor_lines::monitor_lines;

#[test]
fn what_was_found_once_of_the_monitor_is_read_or_refused() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/monitor_lines");
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().flatten().collect();
    assert!(files.len() >= 8, "{} has lost its samples", dir.display());
    for file in files {
        monitor_lines(&std::fs::read(file.path()).unwrap());
    }
}
