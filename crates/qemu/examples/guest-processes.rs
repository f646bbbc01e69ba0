//! The processes that the tests start: the launcher, the stand-in for QEMU that it becomes, and
//! a daemon that starts a guest and can be killed.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use vfnet_qemu::{LaunchSpec, Launcher, RunDir};

#[path = "../../../bin/vfnetd-sim/src/stand_in.rs"]
mod stand_in;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().and_then(|mode| mode.into_string().ok()).as_deref() {
        Some("launch") => vfnet_qemu::launch::launch_main(args),
        Some(vfnet_qemu::pinning::WORD) => vfnet_qemu::pinning::pin_main(args),
        Some("daemon") => {
            let path = std::path::PathBuf::from(args.next().expect("a run directory"));
            daemon(&RunDir::at(path))
        }
        _ => stand_in::main(std::env::args().skip(1), Box::new(())),
    }
}

/// Starts the guest whose spec is read from standard input, says so, and waits to be killed.
#[tokio::main]
async fn daemon(run_dir: &RunDir) -> ExitCode {
    let spec: LaunchSpec = serde_json::from_reader(std::io::stdin()).expect("a launch spec");
    let launcher = Launcher::this_program();
    let started = vfnet_qemu::start(&launcher, run_dir, &spec, Duration::from_secs(30)).await;
    let (_guest, _events) = started.expect("started");
    writeln!(std::io::stdout(), "started").expect("a reader");
    std::future::pending().await
}
