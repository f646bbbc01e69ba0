//! `cargo xtask lab rounds`: the daemon killed at random moments, stock libvirt beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::hosts::lab_scenario;
use crate::lab::{Ended, Lab};
use crate::sim::new_seed;
use crate::stock_libvirt;

/// What the scenarios print of one daemon at the end.
const TOLD: &str = "ROUNDS ";
/// Rounds in one boot of a host.
const IN_ONE_HOST: usize = 50;
/// The time that one boot may take.
const BOOT_LIMIT: Duration = Duration::from_secs(3000);

/// What is counted of rounds, as the scenarios call it and in words.
const COUNTS: [(&str, &str); 8] = [
    ("rounds", "kills that hit something under way"),
    ("idle", "idle hits, not counted"),
    ("bound", "rounds with a VF left bound"),
    ("claims", "rounds with a claim or a port left"),
    ("macs", "rounds with a guest's MAC left on a free VF"),
    ("processes", "rounds with a guest's process left"),
    ("changed", "rounds with a VF not as before"),
    ("harmed", "rounds with a guest harmed"),
];

/// How often, and when.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kills of vfnet that hit something under way
    #[arg(long, default_value_t = 200)]
    pub(crate) rounds: usize,
    /// The same of stock libvirt; as many as of vfnet by default
    #[arg(long)]
    pub(crate) stock_rounds: Option<usize>,
    /// What the moments follow from; new ones by default
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Runs them in hosts of their own and prints the figures. Whether vfnet left nothing behind.
///
/// # Errors
///
/// When a host does not do as it is told.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if let Err(error) = stock_libvirt::ready() {
        println!("stock libvirt is not there, and is not compared with: {error:#}");
    }
    let first = options.seed.map_or_else(new_seed, Ok)?;
    let mut stock_rounds = options.stock_rounds.unwrap_or(options.rounds);
    let mut rounds = options.rounds;
    let mut figures = Figures::default();
    let mut held = true;
    for seed in first.. {
        if rounds + stock_rounds == 0 {
            break;
        }
        let (ours, theirs) = (rounds.min(IN_ONE_HOST), stock_rounds.min(IN_ONE_HOST));
        let words = format!("rounds --seed {seed} --rounds {ours} --stock-rounds {theirs}");
        let args: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let lab = Lab::new("rounds").limit(BOOT_LIMIT);
        let report = lab.run(&lab_scenario(), &args, |line| println!("  {line}"))?;
        for told in report.lines.iter().filter_map(|line| line.strip_prefix(TOLD)) {
            figures.add(&serde_json::from_str(told)?);
        }
        held &= report.ended == Ended::Exit(0);
        ensure!(report.ended != Ended::PowerLost, "the host died\n{}", lab.last_words(false));
        rounds -= ours;
        stock_rounds -= theirs;
    }
    figures.print();
    Ok(held && figures.of("vfnet", "rounds") == options.rounds as u64)
}

/// Counts by daemon.
#[derive(Debug, Default)]
struct Figures {
    counts: BTreeMap<(String, &'static str), u64>,
    hits: BTreeMap<String, u64>,
}

impl Figures {
    fn add(&mut self, told: &Value) {
        let of = told["of"].as_str().unwrap_or_default();
        for (key, _) in COUNTS {
            let count = self.counts.entry((of.to_owned(), key)).or_default();
            *count += told[key].as_u64().unwrap_or_default();
        }
        for (hit, times) in told["hits"].as_object().into_iter().flatten().filter(|_| of == "vfnet")
        {
            *self.hits.entry(hit.clone()).or_default() += times.as_u64().unwrap_or_default();
        }
    }

    fn of(&self, daemon: &str, key: &'static str) -> u64 {
        self.counts.get(&(daemon.to_owned(), key)).copied().unwrap_or_default()
    }

    fn print(&self) {
        println!("\nwhat vfnet was killed in");
        for (hit, times) in &self.hits {
            println!("{times:>6}  {hit}");
        }
        println!("\n{:>7} {:>14}", "vfnet", "stock libvirt");
        for (key, words) in COUNTS {
            let (ours, theirs) = (self.of("vfnet", key), self.of("stock libvirt", key));
            println!("{ours:>7} {theirs:>14}  {words}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Figures;

    #[test]
    fn figures_of_several_hosts_are_added_by_daemon() {
        let mut figures = Figures::default();
        figures.add(&json!({"of": "vfnet", "rounds": 50, "hits": {"start: launch": 3}}));
        figures.add(&json!({"of": "vfnet", "rounds": 20, "hits": {"start: launch": 1}}));
        figures.add(&json!({"of": "stock libvirt", "rounds": 5, "bound": 2, "hits": {"x": 5}}));
        assert_eq!(figures.of("vfnet", "rounds"), 70);
        assert_eq!(figures.of("stock libvirt", "bound"), 2);
        assert_eq!(figures.hits.into_iter().collect::<Vec<_>>(), [("start: launch".to_owned(), 4)]);
    }
}
