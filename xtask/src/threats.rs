//! Holds `docs/threat-model.md` to its word: every threat names a test, and every test that it
//! names is there to fail.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A row of the tables of threats: what is threatened, and the tests that are named.
#[derive(PartialEq, Eq, Debug)]
struct Threat {
    what: String,
    tests: Vec<String>,
}

/// What is wrong with the document, by line.
fn faults(document: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let threats = threats(document);
    if threats.is_empty() {
        faults.push("there is no table of threats".to_owned());
    }
    for Threat { what, tests: named } in threats {
        if named.is_empty() {
            faults.push(format!("no test: {what}"));
        }
        for test in named.iter().filter(|test| !tests.contains(*test)) {
            faults.push(format!("no such test: {test} ({what})"));
        }
    }
    faults
}

/// The rows of all tables whose last column is headed `Test`.
fn threats(document: &str) -> Vec<Threat> {
    let mut threats = Vec::new();
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
            threats.push(Threat { what: (*what).to_owned(), tests });
        }
    }
    threats
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

#[test]
fn every_threat_has_a_test_that_is_there() {
    let workspace = crate::lab::workspace();
    let document = std::fs::read_to_string(workspace.join("docs/threat-model.md")).unwrap();
    let mut tests = BTreeSet::new();
    for folder in ["bin", "crates", "lab", "xtask"] {
        tests_below(&workspace.join(folder), &mut tests).unwrap();
    }
    assert_eq!(faults(&document, &tests), [""; 0]);
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
    assert_eq!(faults(document, &tests), ["no test: b", "no such test: helper (c)"]);
    assert_eq!(faults("nothing", &tests), ["there is no table of threats"]);
}
