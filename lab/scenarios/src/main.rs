//! The program that runs scenarios; see the library for what they are.

#![expect(clippy::print_stdout, reason = "the lines are this program's result")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vfnet_lab_scenarios::host::Host;
use vfnet_lab_scenarios::{cuts, demo, measures, rounds, scenario, scenarios};

/// What is tried in the emulated SR-IOV host.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// List the groups and their scenarios
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Run scenarios, or all those of a group, in this host
    Run {
        /// Which power-on of the host this is, counted from 1
        #[arg(long, default_value_t = 1)]
        boot: usize,
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Kill vfnet, and stock libvirt beside it, at random moments, in this host
    Rounds {
        /// What the moments follow from
        #[arg(long)]
        seed: u64,
        /// Kills of vfnet that hit something
        #[arg(long)]
        rounds: usize,
        /// The same of stock libvirt
        #[arg(long)]
        stock_rounds: usize,
    },
    /// Compare the definitions with the journal of the last boot, and write on, in this host
    Cuts {
        /// Which power-on of the host this is, counted from 1
        #[arg(long)]
        boot: usize,
        /// What the changes follow from
        #[arg(long)]
        seed: u64,
        /// What was printed in the last boot; empty in the first
        #[arg(long)]
        journal: PathBuf,
        /// Only compare
        #[arg(long)]
        last: bool,
    },
    /// Measure vfnet, stock libvirt and bare system calls in turn, in this host
    Bench {
        /// Once, and of all a little
        #[arg(long)]
        quick: bool,
    },
    /// Do what `cargo xtask demo` tells, in this host
    Demo {
        /// Which power-on of the host this is, counted from 1
        #[arg(long)]
        boot: usize,
    },
}

fn main() -> ExitCode {
    match Options::parse().task {
        Task::List { json: true } => println!("{}", scenario::catalogue(scenarios::GROUPS)),
        Task::List { json: false } => scenario::list(scenarios::GROUPS),
        Task::Run { boot, names } => match scenario::run(scenarios::GROUPS, &names, boot) {
            Ok(true) => {}
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => return failed(&error),
        },
        Task::Rounds { seed, rounds, stock_rounds } => {
            if let Err(error) = rounds::run(&Host::new(1), seed, rounds, stock_rounds) {
                return failed(&error);
            }
        }
        Task::Cuts { boot, seed, journal, last } => {
            if let Err(error) = cuts::run(&Host::new(boot), &journal, seed, last) {
                return failed(&error);
            }
        }
        Task::Bench { quick } => {
            if let Err(error) = measures::run(&Host::new(1), quick) {
                return failed(&error);
            }
        }
        Task::Demo { boot } => {
            if let Err(error) = demo::tell(&Host::new(boot)) {
                return failed(&error);
            }
        }
    }
    ExitCode::SUCCESS
}

fn failed(error: &anyhow::Error) -> ExitCode {
    println!("error: {error:#}");
    scenario::print_last_words();
    ExitCode::FAILURE
}
