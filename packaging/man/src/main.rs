//! Writes the manual pages of vfnet and vfnetd into a folder, from what their command lines say
//! of themselves.
//!
//! A program of its own, so that `cargo xtask` need not build the daemon to do anything else.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use vfnetd::options::Options;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("which folder?"))?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(vfnet::command(), folder)?;
    let daemon = Man::new(Options::command()).section("8").manual("System administration");
    daemon.render(&mut File::create(folder.join("vfnetd.8"))?)
}
