//! The program that runs scenarios; see the library for what they are.

#![expect(clippy::print_stdout, reason = "the lines are this program's result")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vfnet_lab_scenarios::host::Host;
use vfnet_lab_scenarios::{demo, rounds, scenario, scenarios};

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
    ExitCode::FAILURE
}
