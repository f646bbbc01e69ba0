//! Programs of the host: run, and their words taken.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

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
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))
}
