//! `cargo xtask install`: what a host needs of vfnet, put where it belongs.
//!
//! A Debian package is the same in a folder of its own ([`crate::deb`]).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::lab::workspace;
use crate::man;
use crate::stages::cargo;

/// Where to install.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where programs, units and pages go
    #[arg(long, default_value = "/usr")]
    pub(crate) prefix: PathBuf,
    /// A folder to put in front of every path
    #[arg(long, value_name = "DIR")]
    pub(crate) destdir: Option<PathBuf>,
}

/// Completion scripts: the shell, and the file below the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/vfnet"),
    ("zsh", "share/zsh/vendor-completions/_vfnet"),
    ("fish", "share/fish/vendor_completions.d/vfnet.fish"),
];

/// Files of the repository, and the folder below the prefix that each goes to.
const FILES: [(&str, &str); 6] = [
    ("packaging/systemd/vfnetd.socket", "lib/systemd/system"),
    ("packaging/systemd/vfnetd-ro.socket", "lib/systemd/system"),
    ("packaging/sysusers.d/vfnet.conf", "lib/sysusers.d"),
    ("packaging/tmpfiles.d/vfnet.conf", "lib/tmpfiles.d"),
    ("CHANGELOG.md", "share/doc/vfnet"),
    ("README.md", "share/doc/vfnet"),
];

/// Units that name programs.
const SERVICES: [&str; 2] = ["vfnetd.service", "vfnet-guests.service"];
const CONFIG: &str = "/etc/vfnet/vfnetd.toml";

/// Builds for release and installs.
///
/// # Errors
///
/// When something does not build, or a place cannot be written to.
pub(crate) fn install(options: &Options) -> Result<()> {
    ensure!(options.prefix.is_absolute(), "--prefix must be an absolute path");
    let built = build()?;
    let pages = man::write()?;
    let place = Place::of(options);

    for (program, folder) in [("vfnet", "bin"), ("vfnetd", "sbin")] {
        place.copy(&built.join(program), &place.below(folder).join(program), 0o755)?;
    }
    for (file, folder) in FILES {
        place.file(&workspace().join(file), folder)?;
    }
    for document in files_in(&workspace().join("docs"), "md")? {
        place.file(&document, "share/doc/vfnet")?;
    }
    for page in files_in(&pages, "1")?.into_iter().chain(files_in(&pages, "8")?) {
        let section = page.extension().and_then(|it| it.to_str()).unwrap_or("1").to_owned();
        place.file(&page, &format!("share/man/man{section}"))?;
    }
    for (shell, path) in COMPLETIONS {
        place.write(&place.below(path), &completions(&built.join("vfnet"), shell)?, 0o644)?;
    }
    for service in SERVICES {
        let unit = fs::read_to_string(workspace().join("packaging/systemd").join(service))?;
        let to = place.below("lib/systemd/system").join(service);
        place.write(&to, unit_at(&unit, &options.prefix).as_bytes(), 0o644)?;
    }
    let script = workspace().join("packaging/libexec/shut-guests-down");
    place.copy(&script, &place.below("lib/vfnet/shut-guests-down"), 0o755)?;

    let config = place.at(Path::new(CONFIG));
    if config.exists() {
        println!("  kept {}", config.display());
    } else {
        place.copy(&workspace().join("packaging/vfnetd.toml"), &config, 0o644)?;
    }
    if options.destdir.is_none() {
        println!(
            "\nThen: systemd-sysusers vfnet.conf; systemctl daemon-reload; \
             systemctl enable --now vfnetd; vfnet doctor"
        );
    }
    Ok(())
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |folder| workspace().join(folder))
}

/// Builds both programs; the folder that they are in.
fn build() -> Result<PathBuf> {
    let status = cargo()
        .args(["build", "--release", "--locked", "--package", "vfnet", "--package", "vfnetd"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "vfnet could not be built");
    Ok(target().join("release"))
}

fn completions(program: &Path, shell: &str) -> Result<Vec<u8>> {
    let output = Command::new(program).args(["completions", shell]).output()?;
    ensure!(output.status.success(), "no completions for {shell}");
    Ok(output.stdout)
}

/// A unit with vfnet's programs below another prefix.
fn unit_at(unit: &str, prefix: &Path) -> String {
    ["ExecStart", "ExecStop"].iter().fold(unit.to_owned(), |unit, key| {
        unit.replace(&format!("{key}=/usr/"), &format!("{key}={}/", prefix.display()))
    })
}

/// Files of a folder with that extension, in order.
fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where files go, and putting them there.
struct Place {
    prefix: PathBuf,
    destdir: Option<PathBuf>,
}

impl Place {
    fn of(options: &Options) -> Self {
        Self { prefix: options.prefix.clone(), destdir: options.destdir.clone() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        match (&self.destdir, path.strip_prefix("/")) {
            (Some(destdir), Ok(relative)) => destdir.join(relative),
            _ => path.to_owned(),
        }
    }

    fn below(&self, path: &str) -> PathBuf {
        self.at(&self.prefix.join(path))
    }

    fn file(&self, from: &Path, folder: &str) -> Result<()> {
        let name = from.file_name().context("a file has a name")?;
        self.copy(from, &self.below(folder).join(name), 0o644)
    }

    fn copy(&self, from: &Path, to: &Path, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(to, &bytes, mode)
    }

    /// Written beside and moved into place, because a running program cannot be written over.
    fn write(&self, to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let cannot = || format!("cannot write {}", to.display());
        fs::create_dir_all(to.parent().context("a file is in a folder")?).with_context(cannot)?;
        let mut fresh = to.as_os_str().to_owned();
        fresh.push(".new");
        fs::write(&fresh, bytes).with_context(cannot)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).with_context(cannot)?;
        fs::rename(&fresh, to).with_context(cannot)?;
        println!("  {}", to.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_start_what_is_below_the_prefix() {
        let unit = "ExecStart=/usr/sbin/vfnetd\nExecStop=/usr/lib/vfnet/x\nExecStart=/bin/true\n";
        assert_eq!(
            unit_at(unit, Path::new("/opt/vfnet")),
            "ExecStart=/opt/vfnet/sbin/vfnetd\nExecStop=/opt/vfnet/lib/vfnet/x\n\
             ExecStart=/bin/true\n"
        );
        for service in SERVICES {
            let unit = fs::read_to_string(workspace().join("packaging/systemd").join(service));
            assert!(unit.unwrap().contains("=/usr/"), "{service} names no program");
        }
    }

    #[test]
    fn a_destdir_goes_in_front_of_the_prefix_and_of_the_configuration() {
        let place = Place { prefix: "/usr/local".into(), destdir: Some("/tmp/dest".into()) };
        assert_eq!(place.below("bin"), Path::new("/tmp/dest/usr/local/bin"));
        assert_eq!(place.at(Path::new(CONFIG)), Path::new("/tmp/dest/etc/vfnet/vfnetd.toml"));
    }
}
