//! The cells of [`Coverage`] that a run must reach, and their table.
//!
//! `cells.txt` has a line for each: whether it is `often` or `seldom` reached, the claim's state,
//! what happens, the state that follows, and the fault. What is not in it may be reached or not.

use crate::coverage::{Cell, Coverage};

/// Lives after which everything that is often reached has been, and everything.
const ENOUGH: [(&str, u64); 2] = [("often", 5_000), ("seldom", 100_000)];

/// What so many lives must have reached, and have not.
pub(super) fn missing(coverage: &Coverage, lives: u64) -> Vec<&'static str> {
    let due =
        |line: &&str| ENOUGH.iter().any(|(how, enough)| line.starts_with(how) && lives >= *enough);
    let reached = |line: &str| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        coverage.cells.keys().any(|Cell { from, happening, to, fault }| {
            columns.get(1..) == Some(&[*from, *happening, *to, *fault])
        })
    };
    required().filter(due).filter(|line| !reached(line)).collect()
}

/// How many cells are required at all.
pub(super) fn required() -> impl Iterator<Item = &'static str> {
    include_str!("cells.txt").lines()
}

#[expect(clippy::print_stdout, reason = "it is watched while it runs")]
pub(super) fn print(coverage: &Coverage) {
    println!("{:>9}  {:<11} {:<22} {:<11} fault", "times", "from", "happening", "to");
    for (Cell { from, happening, to, fault }, times) in &coverage.cells {
        println!("{times:>9}  {from:<11} {happening:<22} {to:<11} {fault}");
    }
}
