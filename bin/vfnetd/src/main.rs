//! The daemon on this machine. See the library for what it does.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use vfnet_host::linux::LinuxHost;
use vfnet_host::uevent::Announcements;
use vfnet_qemu::Launcher;
use vfnetd::options::Options;
use vfnetd::{Setting, log, procedures};

/// One wait for announcements; it is begun again at once.
const LONG: Duration = Duration::from_secs(3600);

/// How long announcements may go on after the first until the host is looked at: on a host whose
/// links come and go all the time, it would else be looked at all the time.
const MOMENT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    // Parts that this program plays for itself, before there are threads or options.
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|word| word.to_str()) {
        Some("launch") => return vfnet_qemu::launch::launch_main(args),
        Some("kernel-write") => return vfnet_host::writer::kernel_write_main(args),
        _ => {}
    }
    let options = Options::parse();
    if options.list_procedures {
        return procedures::print();
    }
    log::start(options.verbose);
    // As the launcher: the running program itself, even if its file has been replaced.
    let host = LinuxHost::this_machine("/proc/self/exe".into(), vec!["kernel-write".into()]);
    let host = Arc::new(host);
    let setting = Setting {
        devices: Arc::<LinuxHost>::clone(&host),
        host,
        watch: watch(),
        vfio: Some(Path::new("/dev/vfio").to_owned()),
        launcher: Launcher::this_program(),
        stand_in: None,
    };
    match vfnetd::run(&options, setting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!("{}", vfnet_model::explain(&fault));
            ExitCode::FAILURE
        }
    }
}

/// Waits for the kernel's announcements, and takes those of one moment together.
fn watch() -> Option<vfnetd::Watch> {
    match Announcements::listen() {
        Ok(announcements) => Some(Box::new(move || {
            loop {
                let taken = announcements.wait(LONG).and_then(|()| {
                    std::thread::sleep(MOMENT);
                    announcements.take()
                });
                match taken {
                    Ok(changes) if changes.is_empty() => {}
                    Ok(_) => return true,
                    Err(fault) => {
                        tracing::error!("cannot follow the kernel's announcements: {fault}");
                        return false;
                    }
                }
            }
        })),
        Err(fault) => {
            tracing::error!("changes of the host will be seen late: {fault}");
            None
        }
    }
}
