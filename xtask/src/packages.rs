//! The Debian packages that the emulated host and the tests want, installed when missing.
//!
//! What is there already is found by use (a command of the right version, a file), not by
//! package name, so a QEMU of one's own is left alone. Nothing is written and nothing is
//! fetched when all is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long another user of apt's or dpkg's locks is waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(600);
const SOURCES: &str = "/etc/apt/sources.list.d/vfnet-backports.sources";
const SUITE: &str = "bookworm";
const BACKPORTS: &str = "bookworm-backports";

/// Where Debian 12 has a version that is new enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Release {
    /// Debian 12 itself.
    Bookworm,
    /// What was made for it later.
    Backports,
}

/// How a package's presence is seen.
#[derive(Clone, Copy, Debug)]
enum Sign {
    Command(&'static str),
    CommandAtLeast(&'static str, u32),
    File(&'static str),
    /// As the system's own Perl finds it.
    PerlModule(&'static str),
}

struct Package {
    name: &'static str,
    release: Release,
    sign: Sign,
    purpose: &'static str,
}

const fn package(
    name: &'static str,
    release: Release,
    sign: Sign,
    purpose: &'static str,
) -> Package {
    Package { name, release, sign, purpose }
}

/// QEMU emulates SR-IOV cards (`igb`) since version 8; the tests speak to virsh 11.
const PACKAGES: &[Package] = &[
    package(
        "qemu-system-x86",
        Release::Backports,
        Sign::CommandAtLeast("qemu-system-x86_64", 8),
        "emulates the SR-IOV host",
    ),
    package(
        "libvirt-clients",
        Release::Backports,
        Sign::CommandAtLeast("virsh", 11),
        "virsh, a client in the tests",
    ),
    package(
        "python3-libvirt",
        Release::Backports,
        Sign::File("/usr/lib/python3/dist-packages/libvirt.py"),
        "the Python binding, a client in the tests",
    ),
    package(
        "virtinst",
        Release::Bookworm,
        Sign::Command("virt-install"),
        "virt-install, a client in the tests",
    ),
    package(
        "libsys-virt-perl",
        Release::Bookworm,
        Sign::PerlModule("Sys::Virt"),
        "the Perl binding, a client in the tests",
    ),
    package(
        "busybox-static",
        Release::Bookworm,
        Sign::Command("busybox"),
        "user space of the first boot stage and of guests",
    ),
    package("kmod", Release::Bookworm, Sign::Command("depmod"), "kernel modules"),
    package("xz-utils", Release::Bookworm, Sign::Command("xz"), "unpacks kernel modules"),
    package("zstd", Release::Bookworm, Sign::Command("zstd"), "unpacks the kernel"),
    package("iproute2", Release::Bookworm, Sign::Command("ip"), "network devices"),
    package("e2fsprogs", Release::Bookworm, Sign::Command("mkfs.ext4"), "the host's disk"),
    package("procps", Release::Bookworm, Sign::Command("pgrep"), "processes by name"),
    package(
        "systemd",
        Release::Bookworm,
        Sign::File("/lib/systemd/systemd"),
        "runs the units, in the emulated host only",
    ),
    package("util-linux", Release::Bookworm, Sign::Command("setpriv"), "ends QEMU with its parent"),
];

/// Sees to it that everything the emulated host needs is installed.
///
/// # Errors
///
/// When something is missing and cannot be installed; the message says what to run by hand.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<&Package> = PACKAGES.iter().filter(|p| !is_present(p.sign)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find_command("apt-get").is_none() {
        bail!(
            "this machine lacks {}, and has no apt-get to install them with; the emulated host \
             wants Debian 12",
            names(&missing)
        );
    }
    let bookworm = is_bookworm();
    let from_backports = |p: &Package| bookworm && p.release == Release::Backports;
    let sources = source_texts()?;
    let add = missing.iter().any(|p| from_backports(p)) && !backports_are_a_source(&sources);
    if !is_root() && find_command("sudo").is_none() {
        bail!(
            "this needs root and there is no sudo; as root, {}run: apt-get update && apt-get \
             install {}{}",
            if add { format!("add {BACKPORTS} to apt's sources and ") } else { String::new() },
            if bookworm { format!("-t {BACKPORTS} ") } else { String::new() },
            names(&missing)
        );
    }
    for package in &missing {
        eprintln!("installing {} ({})", package.name, package.purpose);
    }
    if add {
        add_backports(&sources)?;
    }
    update()?;
    for backports in [true, false] {
        let wanted: Vec<&str> =
            missing.iter().filter(|p| from_backports(p) == backports).map(|p| p.name).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
        if backports {
            args.extend(["-t", BACKPORTS]);
        }
        args.extend(&wanted);
        apt_get_as_root(&args)?;
    }
    let still: Vec<&Package> = missing.into_iter().filter(|p| !is_present(p.sign)).collect();
    if !still.is_empty() {
        bail!("installed, and yet not usable: {}", names(&still));
    }
    Ok(())
}

/// Fetches a package's file into `folder` without installing it.
///
/// # Errors
///
/// When apt cannot fetch it, even after its lists were brought up to date.
pub(crate) fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    let files = download_all(&[(package, Release::Bookworm)], folder)?;
    files.into_iter().next().context("apt-get left no file")
}

/// Fetches packages' files into `folder`, which is empty, without installing them.
///
/// # Errors
///
/// When apt cannot fetch one of them, even after its lists were brought up to date.
pub(crate) fn download_all(packages: &[(&str, Release)], folder: &Path) -> Result<Vec<PathBuf>> {
    let bookworm = is_bookworm();
    let specs: Vec<String> = packages
        .iter()
        .map(|(name, release)| match release {
            Release::Backports if bookworm => format!("{name}/{BACKPORTS}"),
            Release::Backports | Release::Bookworm => (*name).to_owned(),
        })
        .collect();
    let fetch = || -> Result<Output> {
        command("apt-get")
            .args(["-qq", "download"])
            .args(&specs)
            .current_dir(folder)
            .output()
            .context("cannot run apt-get")
    };
    let mut output = fetch()?;
    if !output.status.success() {
        update()?;
        output = fetch()?;
    }
    if !output.status.success() {
        let fault = String::from_utf8_lossy(&output.stderr);
        bail!("cannot fetch {}: {}", specs.join(" "), fault.trim());
    }
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            files.push(path);
        }
    }
    if files.len() < packages.len() {
        bail!("apt-get fetched {}, and left fewer files in {}", specs.join(" "), folder.display());
    }
    Ok(files)
}

/// The names of the packages that match apt's regular expression `pattern`.
///
/// # Errors
///
/// When apt-cache cannot be run.
pub(crate) fn search(pattern: &str) -> Result<Vec<String>> {
    let find = || -> Result<Vec<String>> {
        let output = command("apt-cache").args(["search", "--names-only", pattern]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect())
    };
    let found = find().context("cannot run apt-cache")?;
    if !found.is_empty() {
        return Ok(found);
    }
    update()?;
    find().context("cannot run apt-cache")
}

/// A program's path, also from the folders that only root has in its `PATH`.
pub(crate) fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

fn is_present(sign: Sign) -> bool {
    match sign {
        Sign::Command(name) => find_command(name).is_some(),
        Sign::File(path) => Path::new(path).exists(),
        Sign::PerlModule(name) => Command::new("/usr/bin/perl")
            .args([&format!("-M{name}"), "-e", "1"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
        Sign::CommandAtLeast(name, least) => find_command(name)
            .and_then(|path| Command::new(path).arg("--version").output().ok())
            .and_then(|output| major_version(&String::from_utf8_lossy(&output.stdout)))
            .is_some_and(|major| major >= least),
    }
}

/// The first number that is followed by a dot: `QEMU emulator version 10.0.2 (…)` is 10.
fn major_version(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok())
}

fn names(packages: &[&Package]) -> String {
    packages.iter().map(|p| p.name).collect::<Vec<_>>().join(" ")
}

fn is_bookworm() -> bool {
    std::fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.lines().any(|l| l == "VERSION_CODENAME=bookworm"))
}

/// What apt's sources say, in either of their forms.
fn source_texts() -> Result<Vec<String>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = Path::new("/etc/apt/sources.list.d").read_dir() {
        for entry in folder {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "list" || e == "sources") {
                files.push(path);
            }
        }
    }
    Ok(files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).collect())
}

fn backports_are_a_source(sources: &[String]) -> bool {
    let mut lines = sources.iter().flat_map(|text| text.lines());
    lines.any(|l| !l.trim_start().starts_with('#') && l.contains(BACKPORTS))
}

/// The mirror that this machine has Debian 12 from; security updates and other people's
/// packages come from elsewhere.
fn mirror<'a>(sources: &'a [String]) -> Option<&'a str> {
    sources.iter().flat_map(|text| text.split("\n\n")).find_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name));
        let in_fields = || {
            field("Suites:")?.split_whitespace().find(|suite| *suite == SUITE)?;
            field("URIs:")?.split_whitespace().next()
        };
        let in_line = |line: &'a str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let suite = words.iter().position(|w| *w == SUITE).filter(|_| words[0] == "deb")?;
            words.get(suite.checked_sub(1)?).copied().filter(|uri| uri.contains("://"))
        };
        in_fields().or_else(|| stanza.lines().find_map(in_line))
    })
}

fn add_backports(sources: &[String]) -> Result<()> {
    let mirror = mirror(sources).with_context(|| {
        format!("apt's sources name no mirror of {SUITE}; add {BACKPORTS} to them by hand")
    })?;
    eprintln!("adding {BACKPORTS} to apt's sources ({SOURCES})");
    let text = format!(
        "Types: deb\nURIs: {mirror}\nSuites: {BACKPORTS}\nComponents: main\nSigned-By: \
         /usr/share/keyrings/debian-archive-keyring.gpg\n"
    );
    let mut tee = as_root("tee")?
        .arg(SOURCES)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run tee")?;
    let mut stdin = tee.stdin.take().context("tee has no standard input")?;
    std::io::Write::write_all(&mut stdin, text.as_bytes())?;
    drop(stdin);
    if !tee.wait()?.success() {
        bail!("cannot write {SOURCES}");
    }
    Ok(())
}

fn update() -> Result<()> {
    apt_get_as_root(&["update", "-qq"])
}

/// Runs apt-get; waits while another process holds one of its locks.
fn apt_get_as_root(args: &[&str]) -> Result<()> {
    let started = Instant::now();
    let mut said = false;
    loop {
        let output = as_root("apt-get")?
            .args(["-o", &format!("DPkg::Lock::Timeout={}", LOCK_LIMIT.as_secs())])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context("cannot run apt-get")?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if !words.contains("Could not get lock") || started.elapsed() > LOCK_LIMIT {
            bail!("apt-get {} failed: {}", args.join(" "), words.trim());
        }
        if !said {
            eprintln!("waiting for another user of apt to finish");
            said = true;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn command(name: &str) -> Command {
    let mut command = Command::new(find_command(name).unwrap_or_else(|| name.into()));
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

fn as_root(name: &str) -> Result<Command> {
    if is_root() {
        return Ok(command(name));
    }
    if find_command("sudo").is_none() {
        bail!("{name} must be run as root, and there is no sudo");
    }
    let mut sudo = command("sudo");
    sudo.args(["--preserve-env=DEBIAN_FRONTEND,LC_ALL", name]);
    Ok(sudo)
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| {
        text.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0"))
    })
}

#[cfg(test)]
mod tests {
    use super::{backports_are_a_source, major_version, mirror};

    #[test]
    fn versions_are_read_from_what_programs_say_of_themselves() {
        assert_eq!(major_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2)"), Some(10));
        assert_eq!(major_version("11.3.0\n"), Some(11));
        assert_eq!(major_version("no number here"), None);
    }

    #[test]
    fn backports_come_from_the_mirror_that_debian_itself_comes_from() {
        let fields = "Types: deb\nURIs: http://other.invalid/\nSuites: stable\n\nTypes: deb\nURIs: \
                      http://debian.invalid/debian\nSuites: bookworm bookworm-updates\n";
        let lines = "# deb http://old.invalid bookworm main\ndeb cdrom:[Debian 12]/ bookworm main\n\
                     deb http://security.invalid bookworm-security main\n\
                     deb [arch=amd64] http://debian.invalid/debian bookworm main\n";
        for text in [fields, lines] {
            let sources = [String::new(), text.to_owned()];
            assert_eq!(mirror(&sources), Some("http://debian.invalid/debian"));
            assert!(!backports_are_a_source(&sources));
        }
        assert_eq!(mirror(&["deb http://other.invalid stable main".to_owned()]), None);
    }
}
