//! Whether an emulator can be used, which version it is, and which machines its names mean.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfnet_host::process::{Purpose, command};

/// How long an emulator may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes read of what it prints.
const ANSWER_BYTES: usize = 64 << 10;

/// A version of QEMU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EmulatorVersion {
    /// As 10 in 10.0.2.
    pub major: u32,
    /// As 0 in 10.0.2.
    pub minor: u32,
    /// As 2 in 10.0.2.
    pub micro: u32,
}

impl EmulatorVersion {
    /// As libvirt counts it: major * 1 000 000 + minor * 1000 + micro.
    pub fn as_number(self) -> u64 {
        u64::from(self.major) * 1_000_000 + u64::from(self.minor) * 1000 + u64::from(self.micro)
    }
}

impl std::fmt::Display for EmulatorVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Why an emulator cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// There is no such program, or it cannot be started.
    #[error("cannot start the emulator {path}")]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It printed what QEMU does not.
    #[error("{path} is no QEMU: asked for its version, it said '{said}'")]
    Answer {
        /// The program.
        path: PathBuf,
        /// What it printed, shortened.
        said: String,
    },
    /// It said nothing for too long.
    #[error("{path} has not answered within {} s", limit.as_secs())]
    Silent {
        /// The program.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
}

/// A file as it was: device, inode, time of change in s and ns.
type FileIdentity = (u64, u64, i64, i64);

/// What each emulator said when it was last asked.
#[derive(Clone, Default)]
struct Said {
    version: Option<EmulatorVersion>,
    /// Names of machines that are not their own, and the machines that they mean.
    aliases: Option<BTreeMap<String, String>>,
}

static KNOWN: Mutex<BTreeMap<PathBuf, (FileIdentity, Said)>> = Mutex::new(BTreeMap::new());

/// The version of an emulator. Blocks while it is asked, which is done once for each file as it
/// is; a failure is not remembered.
///
/// # Errors
///
/// When it cannot be started, says nothing, or is no QEMU.
pub fn probe(path: &Path) -> Result<EmulatorVersion, EmulatorError> {
    let known = Known::of(path)?;
    if let Some(version) = known.said.version {
        return Ok(version);
    }
    // The version comes in one write, on the first line.
    let said = ask(path, "--version", |said| said.contains(&b'\n'))?;
    let version = version_in(&said).ok_or_else(|| EmulatorError::Answer {
        path: path.to_owned(),
        said: said.chars().take(80).filter(|c| !c.is_control()).collect(),
    })?;
    known.learn(|said| said.version = Some(version));
    Ok(version)
}

/// The machine that a name means to an emulator, such as `pc-q35-10.0` for `q35`; none where it is
/// a machine's own, or unknown. Blocks as [`probe`] does.
///
/// # Errors
///
/// When the emulator cannot be started, or says nothing.
pub fn machine(path: &Path, name: &str) -> Result<Option<String>, EmulatorError> {
    let known = Known::of(path)?;
    let aliases = match known.said.aliases.clone() {
        Some(aliases) => aliases,
        None => {
            let aliases = aliases_in(&ask(path, "-machine help", |_| false)?);
            known.learn(|said| said.aliases = Some(aliases.clone()));
            aliases
        }
    };
    Ok(aliases.get(name).cloned())
}

/// What is known of an emulator's file as it is now.
struct Known<'p> {
    path: &'p Path,
    identity: FileIdentity,
    said: Said,
}

impl<'p> Known<'p> {
    fn of(path: &'p Path) -> Result<Self, EmulatorError> {
        let failed = |source| EmulatorError::Start { path: path.to_owned(), source };
        let found = std::fs::metadata(path).map_err(failed)?;
        let identity = (found.dev(), found.ino(), found.mtime(), found.mtime_nsec());
        let before = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        let said = before.filter(|(asked, _)| *asked == identity).map(|(_, said)| said);
        Ok(Self { path, identity, said: said.unwrap_or_default() })
    }

    fn learn(&self, learn: impl FnOnce(&mut Said)) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (self.identity, Said::default());
        let entry = known.entry(self.path.to_owned()).or_insert_with(fresh);
        if entry.0 != self.identity {
            *entry = fresh();
        }
        learn(&mut entry.1);
    }
}

/// What an emulator prints when it is started with these words, until that is `enough` or all.
fn ask(path: &Path, words: &str, enough: impl Fn(&[u8]) -> bool) -> Result<String, EmulatorError> {
    let failed = |source| EmulatorError::Start { path: path.to_owned(), source };
    let mut child = command(path, Purpose::System)
        .args(words.split(' '))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let mut said = Vec::new();
    let mut silent = false;
    if let Some(mut output) = child.stdout.take() {
        let mut part = [0; 4096];
        while !enough(&said) && said.len() < ANSWER_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|fault| failed(io::Error::other(fault)))?;
            let mut waiting = [PollFd::new(&output, PollFlags::IN)];
            if poll(&mut waiting, Some(&left)).map_err(|fault| failed(fault.into()))? == 0 {
                silent = true;
                break;
            }
            match output.read(&mut part).map_err(failed)? {
                0 => break,
                count => said.extend_from_slice(&part[..count]),
            }
        }
    }
    // Whatever else it has to say.
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    match silent {
        true => Err(EmulatorError::Silent { path: path.to_owned(), limit: LIMIT }),
        false => Ok(String::from_utf8_lossy(&said).into_owned()),
    }
}

/// `q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.0)`.
fn aliases_in(said: &str) -> BTreeMap<String, String> {
    let alias = |line: &str| {
        let name = line.split_whitespace().next()?;
        let machine = line.trim_end().strip_suffix(')')?.rsplit_once("(alias of ")?.1;
        Some((name.to_owned(), machine.to_owned()))
    };
    said.lines().filter_map(alias).collect()
}

/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn version_in(said: &str) -> Option<EmulatorVersion> {
    let (_, rest) = said.lines().next()?.split_once("QEMU emulator version ")?;
    let mut numbers = rest
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?
        .split('.')
        .map(|number| number.parse().ok());
    Some(EmulatorVersion {
        major: numbers.next()??,
        minor: numbers.next()??,
        micro: numbers.next().flatten().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_other_machines_are_read_from_qemus_list() {
        let said = "Supported machines are:\n\
                    microvm              microvm (i386)\n\
                    pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-10.0)\n\
                    pc-i440fx-10.0       Standard PC (i440FX + PIIX, 1996) (default)\n\
                    q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.0)\n";
        let aliases = aliases_in(said);
        assert_eq!(aliases.len(), 2);
        assert_eq!(aliases["pc"], "pc-i440fx-10.0");
        assert_eq!(aliases["q35"], "pc-q35-10.0");
        assert!(aliases_in("(alias of x\n)\n").is_empty());
    }

    #[test]
    fn the_version_is_read_from_what_distributions_print() {
        for (said, expected) in [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright", "10.0.2"),
            ("QEMU emulator version 7.2.22 (qemu-7.2.22)", "7.2.22"),
            ("QEMU emulator version 9.1.50-dirty", "9.1.50"),
        ] {
            assert_eq!(version_in(said).unwrap().to_string(), expected);
        }
        assert_eq!(version_in("bash, version 5.2"), None);
        assert_eq!(version_in("QEMU emulator version "), None);
        assert_eq!(version_in(""), None);
        let version = EmulatorVersion { major: 10, minor: 0, micro: 2 };
        assert_eq!(version.as_number(), 10_000_002);
    }
}
