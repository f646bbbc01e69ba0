//! The daemon on this machine. See the library for what it does.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use vfnet_host::linux::LinuxHost;
use vfnet_qemu::Launcher;
use vfnetd::options::Options;
use vfnetd::{Setting, log};

fn main() -> ExitCode {
    // Parts that this program plays for itself, before there are threads or options.
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|word| word.to_str()) {
        Some("launch") => return vfnet_qemu::launch::launch_main(args),
        Some("kernel-write") => return vfnet_host::writer::kernel_write_main(args),
        _ => {}
    }
    let options = Options::parse();
    log::start(options.verbose);
    let host = Arc::new(LinuxHost::of_this_machine());
    let setting = Setting {
        watch: host.watch(),
        host,
        vfio: Some(Path::new("/dev/vfio").to_owned()),
        launcher: Launcher::this_program(),
    };
    match vfnetd::run(&options, setting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!("{}", vfnet_model::explain(&fault));
            ExitCode::FAILURE
        }
    }
}
