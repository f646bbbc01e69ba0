//! Holds `docs/threat-model.md` and `docs/limits.md` to their word: every threat names a test,
//! every queue a test or why it has none, and every test that they name is there to fail.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A row of a table: what it is about, and the tests that are named.
#[derive(PartialEq, Eq, Debug)]
struct Row {
    what: String,
    tests: Vec<String>,
    /// There is something in the tests' column.
    is_accounted_for: bool,
}

/// What every row has to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Test,
    TestOrReason,
}

/// What is wrong with the document, by line.
fn faults(document: &str, wanted: Wanted, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let rows = rows(document);
    if rows.is_empty() {
        faults.push("there is no table with tests".to_owned());
    }
    for Row { what, tests: named, is_accounted_for } in rows {
        let is_enough = match wanted {
            Wanted::Test => !named.is_empty(),
            Wanted::TestOrReason => is_accounted_for,
        };
        if !is_enough {
            faults.push(format!("no test: {what}"));
        }
        for test in named.iter().filter(|test| !tests.contains(*test)) {
            faults.push(format!("no such test: {test} ({what})"));
        }
    }
    faults
}

/// The rows of all tables whose last column is headed `Test`.
fn rows(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in document.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            in_table = false;
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        let (Some(what), Some(last)) = (cells.first(), cells.last()) else { continue };
        if *last == "Test" {
            in_table = true;
        } else if in_table && !what.starts_with("--") {
            let tests = last.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
            let is_accounted_for = !last.is_empty();
            rows.push(Row { what: (*what).to_owned(), tests, is_accounted_for });
        }
    }
    rows
}

/// The tests of the tree: functions marked as tests, and scenarios of the emulated host.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    let cannot = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let path = entry.path();
        if entry.file_type().with_context(cannot)?.is_dir() {
            tests_below(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(cannot)?;
            found.extend(tests_in(&text));
        }
    }
    Ok(())
}

fn tests_in(source: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim_start) {
        if let Some(name) = line.split_once("name: \"").and_then(|(_, rest)| rest.split_once('"')) {
            tests.push(name.0.to_owned());
        }
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        match function.and_then(|function| function.split_once('(')) {
            Some((name, _)) if marked => {
                tests.push(name.to_owned());
                marked = false;
            }
            Some(_) => {}
            None => marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test"),
        }
    }
    tests
}

fn faults_of(document: &str, wanted: Wanted) -> Vec<String> {
    let workspace = crate::lab::workspace();
    let document = std::fs::read_to_string(workspace.join(document)).unwrap();
    let mut tests = BTreeSet::new();
    for folder in ["bin", "crates", "lab", "xtask"] {
        tests_below(&workspace.join(folder), &mut tests).unwrap();
    }
    faults(&document, wanted, &tests)
}

#[test]
fn every_threat_has_a_test_that_is_there() {
    assert_eq!(faults_of("docs/threat-model.md", Wanted::Test), [""; 0]);
}

#[test]
fn every_queue_has_a_test_that_is_there_or_says_why_not() {
    assert_eq!(faults_of("docs/limits.md", Wanted::TestOrReason), [""; 0]);
}

#[test]
fn a_threat_without_a_test_or_with_one_that_is_gone_is_found() {
    let source = "#[test]\nfn it_holds() {}\nfn helper() {}\n#[tokio::test]\nasync fn so() {}\n\
                  Scenario { name: \"it-lives\", parts }";
    let tests: BTreeSet<String> = tests_in(source).into_iter().collect();
    assert_eq!(
        tests.iter().map(String::as_str).collect::<Vec<_>>(),
        ["it-lives", "it_holds", "so"]
    );
    let document = "| Who | May |\n|---|---|\n| root | all |\n\n| Threat | Answer | Test |\n\
                    |---|---|---|\n| a | x | `it_holds`, `it-lives` |\n| b | x | |\n\
                    | c | `y` | `helper` |\n";
    let found = faults(document, Wanted::Test, &tests);
    assert_eq!(found, ["no test: b", "no such test: helper (c)"]);
    assert_eq!(faults(document, Wanted::TestOrReason, &tests), found);
    let reason = document.replace("| b | x | |", "| b | x | it is so |");
    let found = faults(&reason, Wanted::TestOrReason, &tests);
    assert_eq!(found, ["no such test: helper (c)"]);
    assert_eq!(faults("nothing", Wanted::Test, &tests), ["there is no table with tests"]);
}
