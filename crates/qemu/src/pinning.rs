//! Virtual CPUs on chosen processors of the host.
//!
//! QEMU makes a thread for each, and says their numbers on its monitor. They are pinned by a child
//! that is the guest's own user: who that may pin are that user's threads alone, whatever a QEMU
//! that somebody has got hold of answers.

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, Stdio};

use rustix::process::Pid;
use serde::Deserialize;
use serde_json::Value;
use vfnet_host::process::{Purpose, command};
use vfnet_model::guest::{self, CpuSet};

use crate::guest::{Guest, GuestError};
use crate::launch::{Credentials, drop_to};
use crate::qmp::QmpError;
use crate::supervisor::Launcher;

/// The first argument of the child.
pub const WORD: &str = "pin";

/// Why virtual CPUs are not where they are to be.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// QEMU did not say which they are.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// They could not be pinned.
    #[error("cannot pin virtual CPUs: {0}; see <cputune> and <vcpu cpuset=…>")]
    Refused(String),
}

/// A virtual CPU as QEMU has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Thread {
    cpu_index: u32,
    thread_id: u32,
}

impl Guest {
    /// Pins each virtual CPU as the document has it; nothing to do where it says nothing.
    pub async fn pin(
        &self,
        document: &guest::Guest,
        launcher: &Launcher,
        user: Option<u32>,
    ) -> Result<(), PinError> {
        let Some(tune) = &document.cputune else { return Ok(()) };
        let asked = "query-cpus-fast";
        let answer = self.execute(asked, Value::Null).await?;
        let shape = || QmpError::Shape { command: asked, answer: "no list of CPUs".to_owned() };
        let threads = Vec::<Thread>::deserialize(answer).map_err(|_| GuestError::from(shape()))?;
        let everywhere = everywhere().map_err(|fault| PinError::Refused(fault.to_string()))?;
        let pins = threads.iter().map(|thread| {
            let pinned = tune.vcpus.get(&thread.cpu_index).or(document.cpuset.as_ref());
            format!("{}={}", thread.thread_id, pinned.unwrap_or(&everywhere))
        });
        let mut child = command(&launcher.program, Purpose::Guest);
        child.arg(WORD);
        match user {
            Some(user) => child.arg(user.to_string()),
            None => child.arg("-"),
        };
        child.args(pins).stderr(Stdio::piped());
        let ran = tokio::task::spawn_blocking(move || child.output()).await;
        let ran = ran.map_err(io::Error::other).and_then(|ran| ran);
        match ran {
            Ok(ran) if ran.status.success() => Ok(()),
            Ok(ran) => {
                let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
                Err(PinError::Refused(said))
            }
            Err(fault) => Err(PinError::Refused(fault.to_string())),
        }
    }
}

/// The processors of the host that there are now.
fn everywhere() -> io::Result<CpuSet> {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    online.trim().parse().map_err(io::Error::other)
}

/// What the child does: a guest's user id or `-`, then `THREAD=PROCESSORS` for each.
pub fn pin_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match pin(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            use io::Write as _;
            // Nobody else is there to be told.
            let _unheard = writeln!(io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn pin(args: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
    let user = args.next().ok_or("no user was given")?;
    if user != "-" {
        let uid = user.parse().map_err(|_| format!("'{user}' is no user"))?;
        drop_to(&Credentials { uid, gid: uid, groups: Vec::new() })
            .map_err(|fault| format!("cannot become user {uid}: {fault}"))?;
    }
    for arg in args {
        let wrong = || format!("'{arg}' is no THREAD=PROCESSORS");
        let (thread, cpus) = arg.split_once('=').ok_or_else(wrong)?;
        let thread = thread.parse().ok().and_then(Pid::from_raw).ok_or_else(wrong)?;
        let cpus: CpuSet = cpus.parse().map_err(|_| wrong())?;
        let mut set = rustix::thread::CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(usize::from(cpu)));
        rustix::thread::sched_setaffinity(Some(thread), &set)
            .map_err(|fault| format!("on processors {cpus}: {fault}"))?;
    }
    Ok(())
}
