//! The whole daemon over a simulated machine, as its clients see it: libvirt's own client and
//! bindings, clients that mean harm, and kills at bad moments.
//!
//! Where a program that a test needs is not installed, the test says so and passes.

#![expect(clippy::disallowed_methods, reason = "the processes under test are started here")]

mod bindings;
mod client;
mod crashes;
mod crowd;
mod daemon;
mod devices;
mod drift;
mod drivers;
mod faults;
mod flags;
mod guests;
mod guides;
mod hooks;
mod hostile;
mod leases;
mod limits;
mod members;
mod moving;
mod names;
mod networks;
mod node_devices;
mod plans;
mod plugs;
mod ports;
mod protocol;
mod races;
mod refusals;
mod state_dir;
mod stock;
mod storage;
mod storms;
mod unused;
mod upstream;
mod vanishing;
mod virsh;
mod virt_install;
mod virtqemud;

use std::path::Path;
use std::time::{Duration, Instant};

/// libvirt's client, as distributions install it.
const VIRSH: &str = "/usr/bin/virsh";

/// How long anything may take; only a failure does.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `done` holds.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a program is there; if not, the test at hand says that it is skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn installed(program: &str) -> bool {
    let found = Path::new(program).exists();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}
