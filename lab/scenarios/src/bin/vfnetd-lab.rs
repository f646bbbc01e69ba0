//! The daemon as the lab kills it: vfnetd with a witness of what it does. See `trail`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use vfnet_lab_scenarios::trail::{Trail, Watched};
use vfnetd::options::Options;
use vfnetd::steps::{Steps, Witness};
use vfnetd::{Setting, log, machine};

fn main() -> ExitCode {
    if let Some(played) = machine::part() {
        return played;
    }
    let options = Options::parse();
    log::start(options.verbose);
    match Trail::open().map(Arc::new).map(|trail| watched(&trail)) {
        Ok(setting) => match vfnetd::run(&options, setting) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                tracing::error!("{}", vfnet_model::explain(&fault));
                ExitCode::FAILURE
            }
        },
        Err(fault) => {
            tracing::error!("cannot keep a trail: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// This machine, with every step and write noted.
fn watched(trail: &Arc<Trail>) -> Setting {
    let setting = machine::this_machine();
    Setting {
        host: Arc::new(Watched { host: setting.host, trail: Arc::clone(trail) }),
        steps: Steps::seen_by(Arc::clone(trail) as Arc<dyn Witness>),
        ..setting
    }
}
