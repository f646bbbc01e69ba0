//! The fuzzer's entry points, in the ordinary tests: over what it has found.

use std::path::Path;

use crate::entries::announcements::announcements;
use crate::entries::modules_alias::modules_alias;

/// Runs an entry point over the corpus of its target.
fn over_the_corpus(target: &str, entry: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().flatten().collect();
    assert!(files.len() >= 8, "{} has lost its samples", dir.display());
    for file in files {
        entry(&std::fs::read(file.path()).unwrap());
    }
}

#[test]
fn what_was_found_once_of_the_kernels_announcements_is_read_or_refused() {
    over_the_corpus("announcements", announcements);
}

#[test]
fn what_was_found_once_of_aliases_is_read_or_refused() {
    over_the_corpus("modules_alias", modules_alias);
}
