//! Programs of the host: run, and their words taken. None is waited for without end.

use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for_some;

/// As long as none takes that is at work.
pub const LIMIT: Duration = Duration::from_secs(900);

/// Runs a program and returns what it wrote to its standard output.
///
/// # Errors
///
/// When it fails; the message has its standard error.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = start(program, args)?;
    if !output.status.success() {
        bail!(
            "{program} {} failed ({}): {}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that must refuse, and returns its standard error.
///
/// # Errors
///
/// When it succeeds.
pub fn run_refused(program: &str, args: &[&str]) -> Result<String> {
    let output = start(program, args)?;
    if output.status.success() {
        bail!(
            "{program} {} succeeded, and should not have: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn start(program: &str, args: &[&str]) -> Result<Output> {
    let cannot = || format!("cannot run {program}");
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(cannot)?;
    let pid = pid_of(&child);
    let (over, ended) = mpsc::channel();
    thread::spawn(move || over.send(child.wait_with_output()));
    if let Ok(output) = ended.recv_timeout(LIMIT) {
        return output.with_context(cannot);
    }
    if let Some(pid) = pid {
        kill_process(pid, Signal::KILL)?;
    }
    bail!("{program} {} has not ended within {} s", args.join(" "), LIMIT.as_secs())
}

/// Waits for a program's end; one that does not come to it is killed.
///
/// # Errors
///
/// When it had to be.
pub fn wait_for_the_end(what: &str, child: &mut Child) -> Result<ExitStatus> {
    let ended = wait_for_some(what, LIMIT, || child.try_wait().transpose());
    match ended {
        Ok((status, _)) => Ok(status?),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}
