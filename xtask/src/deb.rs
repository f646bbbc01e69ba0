//! `cargo xtask deb`: a Debian package of what [`crate::install`] installs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::install::{self, target};
use crate::lab::workspace;

/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the package; where it is.
///
/// # Errors
///
/// When something does not build, or dpkg-deb is not there.
pub(crate) fn build() -> Result<PathBuf> {
    let root = target().join("deb/root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    install::install(&install::Options { prefix: "/usr".into(), destdir: Some(root.clone()) })?;
    for program in ["usr/bin/vfnet", "usr/sbin/vfnetd"] {
        strip(&root.join(program))?;
    }
    let templates = workspace().join("packaging/debian");
    let docs = root.join("usr/share/doc/vfnet");
    fs::copy(templates.join("copyright"), docs.join("copyright"))?;

    let meta = root.join("DEBIAN");
    let architecture = said_by(Command::new("dpkg").arg("--print-architecture"))?;
    let kib = size(&root)?.div_ceil(1024).to_string();
    let control = fs::read_to_string(templates.join("control"))?;
    let control = filled(
        &control,
        &[
            ("@VERSION@", env!("CARGO_PKG_VERSION")),
            ("@ARCHITECTURE@", &architecture),
            ("@INSTALLED_SIZE@", &kib),
            ("@GLIBC@", &glibc()?),
        ],
    )?;
    fs::create_dir_all(&meta)?;
    fs::write(meta.join("control"), control)?;
    fs::copy(templates.join("conffiles"), meta.join("conffiles"))?;
    for script in SCRIPTS {
        let to = meta.join(script);
        fs::copy(templates.join(script), &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let package = target().join(format!("deb/vfnet_{version}_{architecture}.deb"));
    said_by(
        Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&root).arg(&package),
    )?;
    Ok(package)
}

/// A template with every placeholder filled in.
fn filled(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let text =
        values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value));
    if let Some(line) = text.lines().find(|line| line.contains(": @") || line.contains(" @")) {
        bail!("nothing to fill in here: {line}");
    }
    Ok(text)
}

/// Debug symbols are not for a package.
fn strip(program: &Path) -> Result<()> {
    said_by(Command::new("strip").arg("--strip-unneeded").arg(program)).map(drop)
}

/// The C library that this machine links against, and so the oldest that the package runs with.
fn glibc() -> Result<String> {
    let version = said_by(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    Ok(version.rsplit(' ').next().unwrap_or_default().to_owned())
}

fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let what = entry.metadata()?;
        bytes += if what.is_dir() { size(&entry.path())? } else { what.len() };
    }
    Ok(bytes)
}

fn said_by(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", error.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_that_nobody_fills_in_is_noticed() {
        let filled_in = filled("Version: @V@\n", &[("@V@", "1")]).unwrap();
        assert_eq!(filled_in, "Version: 1\n");
        let template = "Version: @V@\nDepends: libc6 (>= @G@)\n";
        let fault = filled(template, &[("@V@", "1")]).unwrap_err();
        assert!(fault.to_string().contains("@G@"), "{fault}");
    }
}
