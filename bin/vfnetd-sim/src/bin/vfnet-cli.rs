//! The command line of vfnet, where the tests of the whole can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    vfnet::run()
}
