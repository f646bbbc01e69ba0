//! `cargo xtask sim`: whole lives of a simulated host, from seeds.
//!
//! What lives them is a test of `vfnet-engine`, `tests/it/sim.rs`, built with a profile of its
//! own; this hands it what is asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::stages::cargo;

/// What is to be simulated.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Lives, each from a seed of its own [default: 1000, or as many as there is time for]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; the others follow it [default: a new one]
    #[arg(long)]
    first: Option<u64>,
    /// Minutes after which no further life begins
    #[arg(long)]
    minutes: Option<u64>,
    /// Events in a life, at most
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Plant bugs into the daemon, and see that each is found
    #[arg(long, conflicts_with_all = ["seeds", "first", "minutes", "steps", "json"])]
    mutations: bool,
}

/// Lives the lives; whether every promise held, or with `--mutations`, every bug was found.
///
/// # Errors
///
/// When cargo cannot be run.
pub(crate) fn sim(options: &Options) -> Result<bool> {
    if options.mutations {
        return planted_bugs();
    }
    let first = options.first.map_or_else(new_seed, Ok)?;
    let mut words = format!("first={first} steps={}", options.steps);
    if let Some(seeds) = options.seeds {
        words += &format!(" seeds={seeds}");
    }
    if let Some(minutes) = options.minutes {
        words += &format!(" seconds={}", minutes * 60);
    }
    if options.json {
        words += " json";
    } else {
        println!("seeds from {first}");
    }
    run("sim::whole_lives", &words)
}

/// So many lives, the same ones each time; whether every promise held.
///
/// # Errors
///
/// When cargo cannot be run.
pub(crate) fn known_seeds(seeds: u64) -> Result<bool> {
    println!("seeds 1 to {seeds}");
    run("sim::whole_lives", &format!("first=1 seeds={seeds}"))
}

/// New seeds for so long, which are printed; whether every promise held.
///
/// # Errors
///
/// When cargo cannot be run.
pub(crate) fn for_minutes(minutes: u64) -> Result<bool> {
    let first = new_seed()?;
    println!("seeds from {first}");
    run("sim::whole_lives", &format!("first={first} seconds={}", minutes * 60))
}

/// Plants bugs into the daemon; whether each was found.
///
/// # Errors
///
/// When cargo cannot be run.
pub(crate) fn planted_bugs() -> Result<bool> {
    run("sim::planted_bugs_are_found", "")
}

fn run(test: &str, words: &str) -> Result<bool> {
    let mut cargo = cargo();
    cargo.args(["test", "--quiet", "--profile", "sim", "-p", "vfnet-engine", "--test", "it", "--"]);
    cargo.args(["--ignored", "--exact", test, "--nocapture"]);
    let status = cargo.env("VFNET_SIM", words).status().context("cannot run cargo")?;
    Ok(status.success())
}

/// One that no earlier run is likely to have begun with.
pub(crate) fn new_seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(now.as_secs() * 1_000_000)
}
