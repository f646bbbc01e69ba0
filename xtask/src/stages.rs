//! `cargo xtask test`: everything that must hold, in stages, each with its time.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lab::workspace;
use crate::{cuts, fuzz, hosts, images, layers, packages, rounds, sim, stock_libvirt};

/// How much of it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Depth {
    /// What runs in seconds on any machine.
    Quick,
    /// What must hold before every merge.
    Full,
    /// Also what takes long.
    Deep,
}

/// Tests that held and tests that did not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

struct Row {
    stage: String,
    took: Duration,
    outcome: Outcome,
}

/// The stages so far.
#[derive(Default)]
struct Run {
    rows: Vec<Row>,
    tally: Tally,
}

/// A stage by its name, and what it runs.
type Stage = (String, Box<dyn FnOnce(&mut Run, &str) + Send>);

/// What runs on emulated hosts; each of them has one processor.
fn emulated_hosts(groups: Vec<hosts::Group>, depth: Depth) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for group in groups {
        let name = format!("emulated host: {}", group.name);
        stages.push((
            name,
            Box::new(move |run, name| {
                if group.deep && depth != Depth::Deep {
                    run.skip(name, "only --deep runs it");
                } else {
                    run.tests(name, || group.run(&[]));
                }
            }),
        ));
    }
    let (cuts, rounds, stock_rounds) =
        if depth == Depth::Deep { (20, 200, 200) } else { (2, 20, 8) };
    stages.push((
        "emulated host: power cuts".to_owned(),
        Box::new(move |run, name| {
            run.check(name, || {
                ensure!(cuts::run(&cuts::Options { cuts, seed: None })?, "something was lost");
                Ok(())
            });
        }),
    ));
    stages.push((
        "emulated host: kills at random moments".to_owned(),
        Box::new(move |run, name| {
            run.check(name, || {
                let options =
                    rounds::Options { rounds, stock_rounds: Some(stock_rounds), seed: None };
                ensure!(rounds::run(&options)?, "vfnet has left something behind");
                Ok(())
            });
        }),
    ));
    stages
}

/// Runs the stages and prints the table of them; whether all of them passed.
///
/// # Errors
///
/// When something that every stage needs is missing.
pub(crate) fn test(depth: Depth) -> Result<bool> {
    let started = Instant::now();
    if let Err(error) = packages::ensure() {
        if depth != Depth::Quick {
            return Err(error);
        }
        eprintln!("going on without what the emulated host needs: {error:#}");
    }
    if let Err(error) = stock_libvirt::ready() {
        println!("stock libvirt is not there, and tests against it are skipped: {error:#}");
    }
    let mut run = Run::default();
    run.check("format", || cargo_holds(&["fmt", "--all", "--", "--check"]));
    run.check("layers", || {
        let violations = layers::violations(workspace())?;
        ensure!(violations.is_empty(), "{}", violations.join("\n"));
        Ok(())
    });
    run.check("clippy", || {
        cargo_holds(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    let built = run.check("build", || cargo_holds(&["build", "--quiet", "--workspace"]));
    if built {
        run.tests("simulated and wire", || unit_tests(depth));
        run.check("simulated lives", || {
            let known = if depth == Depth::Quick { 1_000 } else { 10_000 };
            ensure!(sim::known_seeds(known)?, "a promise is broken, or something never happens");
            Ok(())
        });
        match depth {
            Depth::Quick => {}
            Depth::Full => run.report("simulated lives from new seeds", || sim::for_minutes(2)),
            Depth::Deep => {
                run.check("simulated lives from new seeds", || {
                    ensure!(sim::for_minutes(15)?, "a promise is broken");
                    Ok(())
                });
            }
        }
        if depth != Depth::Quick {
            run.check("planted bugs", || {
                ensure!(sim::planted_bugs()?, "a planted bug is not found");
                Ok(())
            });
        }
        match (depth, fuzz::missing()) {
            (Depth::Quick, _) => run.skip("fuzzing", "--quick leaves it out"),
            (_, Some(missing)) => run.skip("fuzzing", missing),
            (Depth::Full | Depth::Deep, None) => {
                run.check("fuzzing", || {
                    let seconds = if depth == Depth::Deep { 1200 } else { 60 };
                    let held = fuzz::all_for(Duration::from_secs(seconds))?;
                    ensure!(held, "something was found");
                    Ok(())
                });
            }
        }
        if has_doc_tests(&workspace().join("crates"))? {
            run.tests("documentation", || cargo_test(&["test", "--quiet", "--workspace", "--doc"]));
        }
    } else {
        run.skip("simulated and wire", "the build failed");
    }
    match (built, depth) {
        (false, _) => run.skip("emulated host", "the build failed"),
        (true, Depth::Quick) => run.skip("emulated host", "--quick leaves it out"),
        (true, Depth::Full | Depth::Deep) => {
            // Once, and not by two hosts at the same time.
            images::Images::ready()?;
            run.side_by_side(emulated_hosts(hosts::groups()?, depth));
        }
    }
    run.print(started.elapsed());
    Ok(run.rows.iter().all(|row| !matches!(row.outcome, Outcome::Failed(_))))
}

impl Run {
    /// A stage that holds or does not.
    fn check(&mut self, stage: &str, run: impl FnOnce() -> Result<()>) -> bool {
        println!("── {stage}");
        let started = Instant::now();
        let outcome = match run() {
            Ok(()) => Outcome::Passed("ok".to_owned()),
            Err(error) => {
                println!("{error:#}");
                Outcome::Failed("FAILED".to_owned())
            }
        };
        let passed = matches!(outcome, Outcome::Passed(_));
        self.add(stage, started.elapsed(), outcome);
        passed
    }

    /// A stage that tells what it finds and fails nothing: what it looks at is new each time, and
    /// known not to hold always.
    fn report(&mut self, stage: &str, run: impl FnOnce() -> Result<bool>) {
        println!("── {stage}");
        let started = Instant::now();
        let outcome = match run() {
            Ok(true) => Outcome::Passed("ok".to_owned()),
            Ok(false) => Outcome::Passed("a promise is broken, see above; told only".to_owned()),
            Err(error) => {
                println!("{error:#}");
                Outcome::Failed("FAILED to run".to_owned())
            }
        };
        self.add(stage, started.elapsed(), outcome);
    }

    /// A stage of many tests.
    fn tests(&mut self, stage: &str, run: impl FnOnce() -> Result<Tally>) {
        println!("── {stage}");
        let started = Instant::now();
        let outcome = match run() {
            Ok(tally) => {
                self.tally += tally;
                let words = format!("{} passed, {} failed", tally.passed, tally.failed);
                if tally.failed == 0 { Outcome::Passed(words) } else { Outcome::Failed(words) }
            }
            Err(error) => {
                println!("{error:#}");
                self.tally.failed += 1;
                Outcome::Failed("FAILED to run".to_owned())
            }
        };
        self.add(stage, started.elapsed(), outcome);
    }

    /// Stages two at a time.
    fn side_by_side(&mut self, stages: Vec<Stage>) {
        let (waiting, done) = (Mutex::new(stages.into_iter()), Mutex::new(Vec::new()));
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            for _lane in 0..2 {
                scope.spawn(|| {
                    while let Some((name, work)) = next() {
                        let mut run = Self::default();
                        work(&mut run, &name);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                    }
                });
            }
        });
        for run in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.rows.extend(run.rows);
            self.tally += run.tally;
        }
    }

    fn skip(&mut self, stage: &str, why: &str) {
        println!("── {stage}: skipped, {why}");
        self.add(stage, Duration::ZERO, Outcome::Skipped(format!("skipped: {why}")));
    }

    fn add(&mut self, stage: &str, took: Duration, outcome: Outcome) {
        self.rows.push(Row { stage: stage.to_owned(), took, outcome });
    }

    fn print(&self, took: Duration) {
        let width = self.rows.iter().map(|row| row.stage.chars().count()).max().unwrap_or(0);
        println!("\n{:width$}  {:>9}  result", "stage", "time");
        for row in &self.rows {
            let (Outcome::Passed(words) | Outcome::Failed(words) | Outcome::Skipped(words)) =
                &row.outcome;
            println!("{:width$}  {:>7.1} s  {words}", row.stage, row.took.as_secs_f64());
        }
        println!("{:width$}  {:>7.1} s\n", "together", took.as_secs_f64());
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
    }
}

/// The cargo that runs this program, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(workspace());
    command
}

/// A program of this workspace, as `cargo build` leaves it.
pub(crate) fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |folder| workspace().join(folder));
    target.join("debug").join(name)
}

fn cargo_holds(args: &[&str]) -> Result<()> {
    let status = cargo().args(args).status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}

fn unit_tests(depth: Depth) -> Result<Tally> {
    let nextest = cargo().args(["nextest", "--version"]).output()?.status.success();
    if !nextest {
        println!("cargo-nextest is not installed; cargo test runs them instead");
        let kinds = ["--lib", "--bins", "--tests"];
        let args = [&["test", "--quiet", "--workspace"], &kinds[..], &["--", "--show-output"]];
        return cargo_test(&args.concat());
    }
    let profile = if depth == Depth::Deep { "deep" } else { "default" };
    let show = ["--success-output", "immediate"];
    cargo_test(&[&["nextest", "run", "--workspace", "--profile", profile], &show[..]].concat())
}

/// Runs tests, shows what those that fail print, counts them, and tells what was skipped.
fn cargo_test(args: &[&str]) -> Result<Tally> {
    let color = if std::io::stderr().is_terminal() { "always" } else { "never" };
    // Both streams into one pipe: nextest reports on one, cargo test on the other.
    let (reader, writer) = std::io::pipe()?;
    let mut command = cargo();
    command.args(args).env("CARGO_TERM_COLOR", color).stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cannot run cargo")?;
    drop(command);
    let mut tally = Tally::default();
    let mut chatter = Chatter::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let plain = without_colors(&line);
        if chatter.has(&plain) {
            continue;
        }
        let counted = summary(&plain);
        // cargo test reports at length on every crate that has no tests of a kind.
        let is_empty = plain.is_empty() || plain == "running 0 tests";
        if !is_empty && counted != Some(Tally::default()) {
            println!("{line}");
        }
        tally += counted.unwrap_or_default();
    }
    for (why, tests) in &chatter.skipped {
        println!("skipped by {tests} test(s): {why}");
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// What tests that pass print: hidden, except for what they skipped and why.
#[derive(Default)]
struct Chatter {
    of: Option<Runner>,
    /// Why something was skipped, and how many tests said so.
    skipped: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    Nextest,
    CargoTest,
}

impl Chatter {
    /// Whether a line is of a passing test's own words.
    fn has(&mut self, line: &str) -> bool {
        let shouts = |words: &str| !words.is_empty() && !words.contains(char::is_lowercase);
        let status = line.trim_start();
        let is_verdict = status.split_once(" [").is_some_and(|(verdict, _)| shouts(verdict));
        if is_verdict && self.of != Some(Runner::CargoTest) {
            self.of = status.starts_with("PASS").then_some(Runner::Nextest);
            return false;
        }
        if status.starts_with("Summary [") {
            self.of = None;
        } else if line == "successes:" {
            self.of = Some(Runner::CargoTest);
        } else if line == "failures:" || line.starts_with("test result:") {
            self.of = None;
        }
        let hidden = match self.of {
            Some(Runner::Nextest) => {
                line.is_empty() || line.starts_with("    ") || line.starts_with("  std")
            }
            Some(Runner::CargoTest) => true,
            None => false,
        };
        if let Some((_, why)) = line.split_once("skipped: ").filter(|_| hidden) {
            *self.skipped.entry(why.to_owned()).or_default() += 1;
        }
        hidden
    }
}

/// The counts in a summary line of nextest (`Summary [ 1.0s] 3 tests run: 2 passed, 1 failed,
/// 0 skipped`) or of cargo test (`test result: ok. 3 passed; 0 failed; …`).
fn summary(line: &str) -> Option<Tally> {
    // What is indented is of a single test, which nextest's summary counts too.
    if !line.trim_start().starts_with("Summary [") && !line.starts_with("test result:") {
        return None;
    }
    let words: Vec<&str> = line.split([' ', ',', ';', '(', ')']).collect();
    let count = |names: &[&str]| -> u64 {
        let pairs = words.windows(2).filter(|pair| names.contains(&pair[1]));
        pairs.filter_map(|pair| pair[0].parse::<u64>().ok()).sum()
    };
    Some(Tally { passed: count(&["passed"]), failed: count(&["failed", "timed"]) })
}

fn without_colors(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

/// Whether any documentation has an example to run.
fn has_doc_tests(folder: &Path) -> Result<bool> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            if has_doc_tests(&path)? {
                return Ok(true);
            }
        } else if path.extension().is_some_and(|e| e == "rs")
            && has_example(&std::fs::read_to_string(&path)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a source file's documentation opens a code block that rustdoc would run.
fn has_example(source: &str) -> bool {
    let mut open = false;
    for line in source.lines().map(str::trim_start) {
        let said = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match said.map(str::trim) {
            None => open = false,
            Some("```" | "```rust") if !open => return true,
            Some(said) if said.starts_with("```") => open = !open,
            Some(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Chatter, Tally, has_example, summary, without_colors};

    #[test]
    fn only_code_that_rustdoc_runs_is_an_example() {
        assert!(has_example("/// ```\n/// let x = 1;\n/// ```\n"));
        assert!(!has_example("//! ```text\n//! Free -> Held\n//! ```\n"));
        assert!(!has_example("let fence = \"```\";\n"));
    }

    #[test]
    fn the_counts_of_both_test_runners_are_read() {
        let nextest =
            "     Summary [   0.512s] 12 tests run: 10 passed (1 slow), 2 failed, 3 skipped";
        assert_eq!(summary(nextest), Some(Tally { passed: 10, failed: 2 }));
        let timed_out = " Summary [ 90.0s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped";
        assert_eq!(summary(timed_out), Some(Tally { passed: 1, failed: 2 }));
        let cargo = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured";
        assert_eq!(summary(cargo), Some(Tally { passed: 3, failed: 1 }));
        assert_eq!(summary("running 3 tests, 2 passed"), None);
        assert_eq!(summary("    test result: ok. 1 passed; 0 failed; 0 ignored"), None);
    }

    #[test]
    fn of_what_passing_tests_print_only_the_skips_are_told() {
        let nextest = "        PASS [   0.1s] (1/2) rpc::it a\n  stdout ───\n\n    running 1 test\n    \
                       skipped: virsh is not installed\n\n        FAIL [   0.1s] (2/2) rpc::it b\n  \
                       stdout ───\n\n    went wrong\n────\n     Summary [   0.2s] 2 tests run";
        let cargo = "running 2 tests\n..\nsuccesses:\n\n---- a stdout ----\nskipped: virsh is not \
                     installed\n\nsuccesses:\n    a\n\nfailures:\n\nwent wrong\ntest result: FAILED.";
        let told = ["PASS", "FAIL", "stdout", "went wrong", "────", "Summary"];
        for (text, told) in
            [(nextest, &told[..]), (cargo, &["running", "..", "fail", "went", "test"])]
        {
            let mut chatter = Chatter::default();
            let shown: Vec<&str> =
                text.lines().filter(|l| !chatter.has(l) && !l.is_empty()).collect();
            assert_eq!(shown.len(), told.len(), "{shown:?}");
            assert!(shown.iter().zip(told).all(|(line, word)| line.contains(word)), "{shown:?}");
            assert_eq!(
                chatter.skipped.into_iter().collect::<Vec<_>>(),
                [("virsh is not installed".to_owned(), 1)]
            );
        }
    }

    #[test]
    fn the_summary_behind_the_last_passing_test_is_no_word_of_that_test() {
        let mut chatter = super::Chatter::default();
        assert!(!chatter.has("        PASS [   0.005s] (1/1) crate tests::a_test"));
        assert!(chatter.has("    what it prints"));
        assert!(!chatter.has("     Summary [   1.000s] 1 test run: 1 passed, 0 skipped"));
    }

    #[test]
    fn colors_do_not_hide_a_summary() {
        assert_eq!(without_colors("\u{1b}[32;1mSummary\u{1b}[0m ["), "Summary [");
    }
}
