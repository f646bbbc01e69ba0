//! Whether an emulator can be used, and which version it is.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfnet_host::process::{Purpose, command};

/// How long an emulator may take to tell its version.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes read of what it prints.
const ANSWER_BYTES: usize = 4096;

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
    /// It printed no version.
    #[error("{path} is no QEMU: asked for its version, it said '{said}'")]
    Answer {
        /// The program.
        path: PathBuf,
        /// What it printed, shortened.
        said: String,
    },
    /// It said nothing for too long.
    #[error("{path} has not told its version within {} s", limit.as_secs())]
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
static KNOWN: Mutex<BTreeMap<PathBuf, (FileIdentity, EmulatorVersion)>> =
    Mutex::new(BTreeMap::new());

/// The version of an emulator. Blocks while it is asked, which is done once for each file as it
/// is; a failure is not remembered.
pub fn probe(path: &Path) -> Result<EmulatorVersion, EmulatorError> {
    let failed = |source| EmulatorError::Start { path: path.to_owned(), source };
    let found = std::fs::metadata(path).map_err(failed)?;
    let identity = (found.dev(), found.ino(), found.mtime(), found.mtime_nsec());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let said_before = known().get(path).copied();
    if let Some((_, version)) = said_before.filter(|(asked, _)| *asked == identity) {
        return Ok(version);
    }
    let version = ask(path)?;
    known().insert(path.to_owned(), (identity, version));
    Ok(version)
}

fn ask(path: &Path) -> Result<EmulatorVersion, EmulatorError> {
    let failed = |source| EmulatorError::Start { path: path.to_owned(), source };
    let mut child = command(path, Purpose::System)
        .arg("--version")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    let mut answered = false;
    if let Some(mut output) = child.stdout.take() {
        let limit = Timespec { tv_sec: LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
        let mut waiting = [PollFd::new(&output, PollFlags::IN)];
        // The version comes in one write, on the first line.
        answered = poll(&mut waiting, Some(&limit)).map_err(|error| failed(error.into()))? > 0;
        if answered {
            let mut bytes = [0; ANSWER_BYTES];
            let count = output.read(&mut bytes).map_err(failed)?;
            said.extend_from_slice(&bytes[..count]);
        }
    }
    // Whatever else it has to say.
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    if !answered {
        return Err(EmulatorError::Silent { path: path.to_owned(), limit: LIMIT });
    }
    let said = String::from_utf8_lossy(&said);
    version_in(&said).ok_or_else(|| EmulatorError::Answer {
        path: path.to_owned(),
        said: said.chars().take(80).filter(|c| !c.is_control()).collect(),
    })
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
