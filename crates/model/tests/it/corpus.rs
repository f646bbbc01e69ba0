//! Documents of libvirt's users, kept beside the repository. Where they are absent the tests
//! say so and pass.

use std::fs;
use std::path::{Path, PathBuf};

/// One folder of the corpus as (file name, text), in the order of the names; `None` and a line
/// on stderr where it is absent.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn folder(name: &str) -> Option<Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus").join(name);
    if !root.is_dir() {
        eprintln!("skipped: {} is absent", root.display());
        return None;
    }
    Some(documents(&root))
}

/// The documents of a folder of our own under `tests/fixtures`.
pub(crate) fn fixtures(name: &str) -> Vec<(String, String)> {
    documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
}

fn documents(root: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root)
        .unwrap_or_else(|fault| panic!("{}: {fault}", root.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no documents", root.display());
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}
