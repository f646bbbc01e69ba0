//! The daemon on this machine. See the library for what it does.

use std::process::ExitCode;

use clap::Parser as _;
use vfnetd::options::Options;
use vfnetd::{log, machine, procedures};

fn main() -> ExitCode {
    if let Some(played) = machine::part() {
        return played;
    }
    let options = Options::parse();
    if options.list_procedures {
        return procedures::print();
    }
    log::start(options.verbose);
    match vfnetd::run(&options, machine::this_machine()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!("{}", vfnet_model::explain(&fault));
            ExitCode::FAILURE
        }
    }
}
