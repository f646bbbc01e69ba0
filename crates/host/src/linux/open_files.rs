//! Who has a device node open: `/proc/PID/fd`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The processes that have any of these nodes open, by node: `qemu-system-x86 (pid 123)`. Looks
/// at every process, so it is called only when one of the nodes exists.
pub(super) fn holders(proc: &Path, nodes: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if nodes.is_empty() {
        return found;
    }
    let Ok(processes) = fs::read_dir(proc) else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        // Processes and their files come and go while one looks.
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        for file in files.flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let Some(node) = target.to_str().and_then(|target| nodes.get(target)) else {
                continue;
            };
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.entry(node.clone()).or_insert_with(|| format!("{} (pid {pid})", name.trim()));
        }
    }
    found
}
