//! `cargo xtask fuzz`: bytes nobody should send, by the million, to whatever reads bytes.
//!
//! The targets are in `fuzz/`, of a workspace of their own. They need a nightly toolchain and
//! cargo-fuzz, which nothing else here does; where these are not there, that is said.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lab::workspace;

/// Targets that run side by side.
const AT_ONCE: usize = 2;

/// The longest input, in bytes: a document that says everything has less.
const LONGEST: u32 = 4096;

/// How much longer than it was told to a target may take, before it counts as hanging: its last
/// input has a limit of its own, below.
const GRACE: Duration = Duration::from_secs(120);

/// Seconds that one input may take.
const INPUT_LIMIT: u32 = 20;

/// What is to be fuzzed.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Targets; all of them when none is named
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only list the targets
    #[arg(long, conflicts_with_all = ["seconds", "targets"])]
    list: bool,
}

/// Runs the targets; whether none of them found anything.
///
/// # Errors
///
/// When cargo-fuzz is missing, or a target cannot be built.
pub(crate) fn fuzz(options: &Options) -> Result<bool> {
    let all = targets()?;
    if options.list {
        all.iter().for_each(|target| println!("{target}"));
        return Ok(true);
    }
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}; there are {}", all.join(", "));
    }
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    let chosen = if options.targets.is_empty() { all } else { options.targets.clone() };
    run(chosen, Duration::from_secs(options.seconds))
}

/// Runs every target for so long; whether none of them found anything.
///
/// # Errors
///
/// When a target cannot be built.
pub(crate) fn all_for(limit: Duration) -> Result<bool> {
    run(targets()?, limit)
}

/// What fuzzing lacks on this machine, and how to get it.
pub(crate) fn missing() -> Option<&'static str> {
    let answers = |args: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !answers(&["run", "nightly", "rustc", "--version"]) {
        return Some("there is no nightly toolchain: rustup toolchain install nightly");
    }
    (!answers(&["run", "nightly", "cargo", "fuzz", "--version"]))
        .then_some("cargo-fuzz is not installed: cargo install cargo-fuzz")
}

fn targets() -> Result<Vec<String>> {
    let dir = workspace().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(ToOwned::to_owned));
    }
    names.sort();
    Ok(names)
}

fn run(targets: Vec<String>, limit: Duration) -> Result<bool> {
    build()?;
    let all = targets.len();
    let waiting = Mutex::new(VecDeque::from(targets));
    let found = Mutex::new(0_usize);
    let work = || -> Result<()> {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(target) = next else { return Ok(()) };
            if !Run::of(&target)?.for_as_long_as(limit)? {
                *found.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{all} targets, {found} of them with a finding");
    Ok(found == 0)
}

/// Without a sanitizer: there is no unsafe code here for it to watch over, and without it more
/// is tried.
fn build() -> Result<()> {
    let mut build = Command::new("rustup");
    build.args(["run", "nightly", "cargo", "fuzz", "build", "--sanitizer", "none"]);
    build.arg("--target-dir").arg(folder().join("build"));
    // Those of the toolchain that runs this program.
    build.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC");
    let status = build.current_dir(workspace()).status().context("cannot run rustup")?;
    ensure!(status.success(), "the fuzz targets cannot be built");
    Ok(())
}

fn folder() -> PathBuf {
    workspace().join("target/fuzz")
}

/// One target at work.
struct Run {
    target: String,
    program: PathBuf,
    /// What is found of interest goes here; what is kept in the repository is only read.
    corpus: PathBuf,
    findings: PathBuf,
    log: PathBuf,
}

impl Run {
    fn of(target: &str) -> Result<Self> {
        let corpus = folder().join("corpus").join(target);
        let findings = folder().join("findings").join(target);
        for made in [&corpus, &findings] {
            fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
        }
        let log = folder().join(format!("{target}.log"));
        let program = find(&folder().join("build"), target)?;
        Ok(Self { target: target.to_owned(), program, corpus, findings, log })
    }

    fn start(&self, limit: Duration) -> Result<Child> {
        let log = fs::File::create(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-max_total_time={}", limit.as_secs()))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-timeout={INPUT_LIMIT}"))
            .arg("-print_final_stats=1")
            .arg(format!("-artifact_prefix={}/", self.findings.display()))
            .arg(&self.corpus)
            .arg(workspace().join("fuzz/corpus").join(&self.target))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let words = workspace().join("fuzz/words").join(&self.target);
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        // Some targets write files; on a disk they would wait for it.
        if Path::new("/dev/shm").is_dir() {
            command.env("TMPDIR", "/dev/shm");
        }
        command.spawn().with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// Runs it, and says how that went; whether it found nothing.
    fn for_as_long_as(&self, limit: Duration) -> Result<bool> {
        let started = Instant::now();
        let mut child = self.start(limit)?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > limit + GRACE {
                child.kill()?;
                child.wait()?;
                bail!("{} does not end; its log is {}", self.target, self.log.display());
            }
            thread::sleep(Duration::from_millis(100));
        };
        let log = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let target = &self.target;
        if status.success() {
            let (runs, coverage) = (runs(&log).unwrap_or("?"), coverage(&log).unwrap_or("?"));
            println!("{target}: {runs} inputs, {coverage} places reached, nothing found");
            ensure!(runs != "0", "{target} has run nothing; its log is {}", self.log.display());
            return Ok(true);
        }
        let last: Vec<_> = log.lines().rev().take(40).collect();
        last.iter().rev().for_each(|line| println!("  {line}"));
        let input = log.lines().find_map(|line| line.split_once("Test unit written to "));
        match input {
            Some((_, input)) => println!(
                "{target}: found {input}\nto see it again: {} {input}",
                self.program.display()
            ),
            None => println!("{target}: ended with {status}; its log is {}", self.log.display()),
        }
        Ok(false)
    }
}

/// The program of a target: `build/TRIPLE/release/TARGET`.
fn find(build: &Path, target: &str) -> Result<PathBuf> {
    let listed = fs::read_dir(build).with_context(|| format!("cannot list {}", build.display()))?;
    let mut programs = listed.flatten().map(|triple| triple.path().join("release").join(target));
    programs.find(|program| program.is_file()).with_context(|| format!("{target} was not built"))
}

/// libFuzzer's `stat::number_of_executed_units: N`.
fn runs(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).map(str::trim)
}

/// The last `cov: N` that it printed.
fn coverage(log: &str) -> Option<&str> {
    let line = log.lines().rev().find_map(|line| line.split_once("cov: "))?;
    line.1.split_whitespace().next()
}
