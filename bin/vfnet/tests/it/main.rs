//! The command line, as a process, against a daemon that is made up: what is printed, and
//! which exit code programs see.

#![expect(clippy::disallowed_methods, reason = "the process under test is started here")]

mod commands;
mod console;
mod daemon;
mod faults;
mod readme;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn command(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet"));
    command.args(args).env("VFNET_SOCKET", socket).stdin(Stdio::null());
    command
}

/// What one run of `vfnet` left.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

fn run(socket: &Path, args: &[&str]) -> Ran {
    command(socket, args).output().expect("vfnet runs").into()
}

/// Runs with `input` on stdin.
fn run_with(socket: &Path, args: &[&str], input: &str) -> Ran {
    let mut child = command(socket, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vfnet runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("vfnet reads");
    drop(stdin);
    child.wait_with_output().expect("vfnet ends").into()
}

/// Runs and expects success; returns what was printed.
fn good(socket: &Path, args: &[&str]) -> String {
    let ran = run(socket, args);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    ran.stdout
}
