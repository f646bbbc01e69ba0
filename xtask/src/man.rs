//! `cargo xtask man`: the manual pages.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::install::target;
use crate::stages::cargo;

/// Writes the manual pages anew; the folder that they are in.
///
/// # Errors
///
/// When the programs they are about do not compile.
pub(crate) fn write() -> Result<PathBuf> {
    let folder = target().join("man");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let status = cargo()
        .args(["run", "--quiet", "--package", "vfnet-man", "--"])
        .arg(&folder)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the manual pages could not be made");
    Ok(folder)
}
