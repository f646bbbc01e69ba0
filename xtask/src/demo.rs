//! `cargo xtask demo`: the story of the RFC, told on an emulated host.
//!
//! What happens in the host is in `lab/scenarios/src/demo.rs`, which says it line by line; the
//! first word of a line is what the line is. Here it is shown, and every observation goes into
//! the closing table, where it is judged. A row that nothing was observed for does not hold.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::Result;

use crate::hosts::{self, lab_scenario};
use crate::images::Images;
use crate::lab::{Ended, Lab, workspace};
use crate::packages;
use crate::screen::{Screen, minutes};

const VFS: usize = 7;
const BOOTS: u8 = 2;

/// Tells the story, a few minutes long; whether all that it claims was seen.
///
/// # Errors
///
/// When something that the emulated host needs cannot be installed or built.
pub(crate) fn demo() -> Result<bool> {
    let started = Instant::now();
    println!(
        "Two boots of an SR-IOV host, and a guest that does not notice.\n\n\
         An SR-IOV card makes up new MACs for its virtual functions (VFs) at every boot. vfnet\n\
         lends a VF to a guest with the guest's own MAC, keeps it lent when its daemon dies,\n\
         and takes it back as it was. Host, card and guest are emulated here; all else is real.\n"
    );
    packages::ensure()?;
    Images::ready()?;
    let screen = Screen::new(started);
    screen.wait("cargo to build vfnetd and vfnet");
    hosts::build()?;

    let mut seen = Observations::default();
    let folder = workspace().join("target/lab/demo");
    let disk = folder.join("disk.img");
    if disk.exists() {
        fs::remove_file(&disk)?;
    }
    let mut told = 0;
    for boot in 1..=BOOTS {
        screen.title(&format!("Boot {boot} of the host"));
        screen.wait("the emulated host to boot");
        let lab = Lab::new(format!("demo/boot-{boot}")).disk(&disk);
        let args = ["demo".to_owned(), "--boot".to_owned(), boot.to_string()];
        let report = lab.run(&lab_scenario(), &args, |line| seen.take(line, &screen));
        let as_told = report.as_ref().is_ok_and(|report| {
            let cut = report.lines.last().is_some_and(|line| line == POWER_CUT);
            match report.ended {
                Ended::PowerLost => cut && boot < BOOTS,
                Ended::Exit(code) => code == 0 && boot == BOOTS,
            }
        });
        screen.done();
        if as_told {
            told += 1;
            continue;
        }
        println!("\nThe story breaks off in boot {boot}; the table has what was seen until then.");
        match report {
            Ok(_) => println!("{}", lab.last_words(true)),
            Err(error) => println!("{error:#}"),
        }
        break;
    }
    screen.title("What was seen");
    let (held, rows) = print_tables(&seen);
    let all_holds = held == rows && told == BOOTS;
    let verdict = if all_holds { "All of it holds" } else { "NOT all of it holds" };
    println!("\n{verdict}: {held} of {rows} lines, in {}.", minutes(started.elapsed()));
    let logs = folder.strip_prefix(workspace()).unwrap_or(&folder).display();
    println!("Logs: {logs}/boot-1 and boot-2; output.log is the story, console.log the kernel.");
    Ok(all_holds)
}

/// What the host prints before it takes its own power away.
const POWER_CUT: &str = "POWER-CUT";

/// What was observed in the host, by name: `own-mac/1/0`, `pid/before`, …
#[derive(Default)]
struct Observations(BTreeMap<String, String>);

impl Observations {
    /// Shows a line of the story, or keeps what it observes.
    fn take(&mut self, line: &str, screen: &Screen) {
        let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "STEP" => screen.step(text),
            "SHOW" => screen.show(text),
            "WAIT" => screen.wait(text),
            "SAW" => {
                if let Some((name, value)) = text.split_once(' ') {
                    self.0.insert(name.to_owned(), value.to_owned());
                }
            }
            POWER_CUT => screen.show("the power is gone"),
            _ => screen.show(line),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What the two values of a row must be to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    Changed,
    Same,
    WentOn,
}

impl Claim {
    /// Whether it holds, and the words for what was found.
    fn judge(self, first: Option<&str>, second: Option<&str>) -> (bool, &'static str) {
        let (Some(first), Some(second)) = (first, second) else { return (false, "not seen") };
        match self {
            Self::Changed if first != second => (true, "changed"),
            Self::Changed => (false, "did not change"),
            Self::Same if first == second => (true, "the same"),
            Self::Same => (false, "differs"),
            Self::WentOn => match (first.parse::<u64>(), second.parse::<u64>()) {
                (Ok(first), Ok(second)) if second > first => (true, "goes on"),
                _ => (false, "does not go on"),
            },
        }
    }
}

/// A line of the closing table: a thing, where its two values are, and what is claimed of them.
struct Row {
    thing: String,
    first: String,
    second: String,
    claim: Claim,
}

fn row(thing: impl Into<String>, name: [&str; 2], claim: Claim) -> Row {
    let [first, second] = name.map(str::to_owned);
    Row { thing: thing.into(), first, second, claim }
}

/// The parts of the closing table, each with the heads of its columns.
fn parts(seen: &Observations) -> Vec<([&'static str; 3], Vec<Row>)> {
    let own = (0..VFS).map(|vf| {
        let (first, second) = (format!("own-mac/1/{vf}"), format!("own-mac/2/{vf}"));
        row(format!("VF {vf}, its own MAC"), [&first, &second], Claim::Changed)
    });
    let mut macs: Vec<Row> = own.collect();
    macs.push(row("the guest's MAC", ["guest-mac/1", "guest-mac/2"], Claim::Same));
    let killed = vec![
        row("guest's sign of life, no daemon", ["sign/before", "sign/without"], Claim::WentOn),
        row("guest's sign of life, new daemon", ["sign/without", "sign/after"], Claim::WentOn),
        row("guest's QEMU process", ["pid/before", "pid/after"], Claim::Same),
    ];
    let vf = seen.get("lent").map_or_else(|| "VF".to_owned(), |index| format!("VF {index}"));
    let back = vec![
        row(format!("{vf}, MAC at the PF"), ["admin-mac/before", "admin-mac/after"], Claim::Same),
        row(
            format!("{vf}, MAC of its netdev"),
            ["netdev-mac/before", "netdev-mac/after"],
            Claim::Same,
        ),
        row(format!("{vf}, driver"), ["driver/before", "driver/after"], Claim::Same),
    ];
    vec![
        (["Two boots", "boot 1", "boot 2"], macs),
        (["vfnetd killed with -9", "before", "after"], killed),
        (["The VF given back", "before it was lent", "after the guest"], back),
    ]
}

/// Prints the closing table; how many of its rows hold, and how many there are.
fn print_tables(seen: &Observations) -> (usize, usize) {
    let (mut held, mut rows) = (0, 0);
    let parts = parts(seen);
    let things = parts.iter().flat_map(|(head, rows)| {
        rows.iter().map(|row| row.thing.chars().count()).chain([head[0].chars().count()])
    });
    let wide = things.max().unwrap_or(0);
    for (number, ([thing, first, second], part)) in parts.iter().enumerate() {
        if number > 0 {
            println!();
        }
        println!("  {thing:wide$}   {first:18}   {second}");
        println!("  {}", "─".repeat(wide + 50));
        for row in part {
            let (first, second) = (seen.get(&row.first), seen.get(&row.second));
            let (holds, words) = row.claim.judge(first, second);
            let mark = if holds { '✓' } else { '✗' };
            let (first, second) = (first.unwrap_or("–"), second.unwrap_or("–"));
            println!("  {:wide$}   {first:18}   {second:18}   {mark} {words}", row.thing);
            held += usize::from(holds);
            rows += 1;
        }
    }
    (held, rows)
}

#[cfg(test)]
mod tests {
    use super::{Claim, Observations, parts};

    #[test]
    fn a_claim_holds_of_what_was_seen_alone() {
        assert!(Claim::Same.judge(Some("a"), Some("a")).0);
        assert!(!Claim::Same.judge(Some("a"), Some("b")).0);
        assert!(Claim::Changed.judge(Some("a"), Some("b")).0);
        assert!(!Claim::Changed.judge(Some("a"), Some("a")).0);
        assert!(Claim::WentOn.judge(Some("9"), Some("10")).0);
        assert!(!Claim::WentOn.judge(Some("9"), Some("9")).0);
        for claim in [Claim::Same, Claim::Changed, Claim::WentOn] {
            assert!(!claim.judge(None, None).0, "{claim:?}");
            assert!(!claim.judge(Some("1"), None).0, "{claim:?}");
        }
    }

    #[test]
    fn a_table_of_nothing_seen_has_no_line_that_holds() {
        let seen = Observations::default();
        let rows: Vec<_> = parts(&seen).into_iter().flat_map(|(_, rows)| rows).collect();
        assert_eq!(rows.len(), 14);
        assert!(
            rows.iter()
                .all(|row| { !row.claim.judge(seen.get(&row.first), seen.get(&row.second)).0 })
        );
    }
}
