//! Guests as the daemon deals with them, over real processes: the launcher, and a stand-in for
//! QEMU that has no guest in it; over QEMU itself where it is installed.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod adoption;
mod backing;
mod bench;
mod command_line;
mod command_line_taken;
mod console;
mod entries;
mod fuzz;
mod guests;
mod jail;
mod launching;
mod life;
mod monitor;
mod real_qemu;
