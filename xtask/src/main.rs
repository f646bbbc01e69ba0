//! The project's own commands: demo, test, bench, sim, fuzz, lab, install.

#![expect(clippy::disallowed_methods, reason = "not part of the daemon: it drives cargo and QEMU")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program for a terminal")]

mod bench;
mod cpio;
mod cuts;
mod deb;
mod demo;
mod fuzz;
mod hosts;
mod images;
mod install;
mod lab;
mod layers;
mod man;
mod packages;
mod rounds;
mod screen;
mod sim;
mod stages;
mod stock_libvirt;
#[cfg(test)]
mod threats;
mod volatile_disk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};

use lab::{Ended, Lab};
use stages::Depth;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Tell the story: a guest keeps its MAC (boots emulated hosts)
    Demo,
    /// Build, check and test everything, the emulated host included
    Test {
        /// Leave out the emulated host
        #[arg(long, conflicts_with = "deep")]
        quick: bool,
        /// Add what takes long
        #[arg(long)]
        deep: bool,
    },
    /// Measure vfnet beside bare system calls and stock libvirt, in an emulated host
    Bench(bench::Options),
    /// Live whole lives of a simulated host, from seeds, and look at every promise at every step
    Sim(sim::Options),
    /// Send bytes nobody should send, by the million (needs a nightly toolchain and cargo-fuzz)
    Fuzz(fuzz::Options),
    /// Work with an emulated SR-IOV host
    #[command(subcommand)]
    Lab(LabTask),
    /// Build for release and install: programs, units, manual pages, completions
    Install(install::Options),
    /// Build a Debian package, into target/deb
    Deb,
    /// Write the manual pages, into target/man
    Man,
    /// Unpack stock libvirt, which some tests talk to, into target/stock-libvirt
    StockLibvirt,
}

#[derive(Debug, Subcommand)]
enum LabTask {
    /// Open a shell in the host
    Shell(LabOptions),
    /// Run a script or a program in the host, as root
    Run {
        #[command(flatten)]
        options: LabOptions,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run scenarios, or groups of them, in hosts of their own
    Scenario {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Kill the daemon at random moments, and stock libvirt beside it
    Rounds(rounds::Options),
    /// Cut the host's power while definitions are written
    Cuts(cuts::Options),
    /// List the scenarios
    List,
    /// Install what the host needs and build its images, without booting it
    Prepare,
}

#[derive(Debug, clap::Args)]
struct LabOptions {
    /// Name of the host; its logs go to target/lab/NAME
    #[arg(long, default_value = "run")]
    name: String,
    /// SR-IOV cards (PFs) in the host
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=8))]
    pfs: u8,
    /// Memory of the host in MiB
    #[arg(long, default_value_t = 2600)]
    memory: u32,
    /// Disk image to mount at /disk; made when absent
    #[arg(long)]
    disk: Option<PathBuf>,
    /// Folder that the host may write to, at /save
    #[arg(long)]
    share: Option<PathBuf>,
    /// Seconds after which the host is switched off
    #[arg(long, default_value_t = 900)]
    limit: u64,
}

impl LabOptions {
    fn lab(self) -> Lab {
        let mut lab = Lab::new(self.name)
            .pfs(self.pfs)
            .memory(self.memory)
            .limit(Duration::from_secs(self.limit));
        if let Some(disk) = self.disk {
            lab = lab.disk(disk);
        }
        if let Some(share) = self.share {
            lab = lab.share(share);
        }
        lab
    }
}

fn main() -> ExitCode {
    let done = match Options::parse().command {
        None => Options::command().print_help().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Some(Task::Demo) => demo::demo().map(exit_code),
        Some(Task::Test { quick, deep }) => stages::test(match (quick, deep) {
            (true, _) => Depth::Quick,
            (_, true) => Depth::Deep,
            _ => Depth::Full,
        })
        .map(exit_code),
        Some(Task::Bench(options)) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Some(Task::Sim(options)) => sim::sim(&options).map(exit_code),
        Some(Task::Fuzz(options)) => fuzz::fuzz(&options).map(exit_code),
        Some(Task::Lab(task)) => run_lab(task),
        Some(Task::Install(options)) => install::install(&options).map(|()| ExitCode::SUCCESS),
        Some(Task::Deb) => deb::build().map(|package| tell(&package)),
        Some(Task::Man) => man::write().map(|folder| tell(&folder)),
        Some(Task::StockLibvirt) => stock_libvirt::ready().map(|folder| tell(&folder)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn tell(made: &std::path::Path) -> ExitCode {
    println!("{}", made.display());
    ExitCode::SUCCESS
}

fn exit_code(all_is_well: bool) -> ExitCode {
    if all_is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_lab(task: LabTask) -> Result<ExitCode> {
    match task {
        LabTask::Shell(options) => options.lab().shell()?,
        LabTask::Scenario { names } => {
            hosts::build()?;
            let tally = hosts::run_named(&names)?;
            println!("{} passed, {} failed", tally.passed, tally.failed);
            return Ok(exit_code(tally.failed == 0));
        }
        LabTask::Rounds(options) => {
            hosts::build()?;
            return rounds::run(&options).map(exit_code);
        }
        LabTask::Cuts(options) => {
            hosts::build()?;
            return cuts::run(&options).map(exit_code);
        }
        LabTask::List => {
            hosts::build()?;
            hosts::list()?;
        }
        LabTask::Prepare => {
            packages::ensure()?;
            let images = images::Images::ready()?;
            println!("{}", images.guest_kernel.display());
            println!("{}", images.guest_initrd.display());
        }
        LabTask::Run { options, program, args } => {
            let report = options.lab().run(&program, &args, |line| println!("{line}"))?;
            eprintln!(
                "booted in {:.1} s, switched off after {:.1} s; console: {}",
                report.boot.as_secs_f64(),
                report.total.as_secs_f64(),
                report.console.display()
            );
            match report.ended {
                Ended::Exit(0) => {}
                Ended::Exit(code) => {
                    eprintln!("the program ended with exit code {code}");
                    return Ok(ExitCode::FAILURE);
                }
                Ended::PowerLost => eprintln!("the host lost its power under the program"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
