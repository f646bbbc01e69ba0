//! The command line of vfnet.

use std::process::ExitCode;

fn main() -> ExitCode {
    vfnet::run()
}
