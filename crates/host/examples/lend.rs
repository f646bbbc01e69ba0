//! Lends a VF of this machine and gives it back, step by step: `lend VF MAC [VLAN]`.
//! Without arguments: what the machine has, and what it lacks.
//!
//! Needs root. For the emulated host: `cargo xtask lab run target/debug/examples/lend`.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use vfnet_host::lend::{Deadlines, LendError, Lending, give_back, prepare};
use vfnet_host::linux::LinuxHost;
use vfnet_host::writer::kernel_write_main;
use vfnet_host::{Host, doctor};
use vfnet_model::vf::{Original, WantedSettings};
use vfnet_model::{MacAddress, PciAddress, Vlan};

const KERNEL_WRITE: &str = "kernel-write";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let args: Vec<OsString> = match args.next() {
        Some(first) if first == KERNEL_WRITE => return Ok(kernel_write_main(args)),
        first => first.into_iter().chain(args).collect(),
    };
    let exe = std::env::current_exe()?;
    let host = LinuxHost::this_machine(exe, vec![KERNEL_WRITE.into()]);
    let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    match args.as_slice() {
        [] => show(&host)?,
        [vf, mac] => lend(&host, vf.parse()?, mac.parse()?, None)?,
        [vf, mac, vlan] => {
            let id = vlan.parse::<u16>()?.try_into()?;
            lend(&host, vf.parse()?, mac.parse()?, Some(Vlan::tagged(id)))?;
        }
        _ => return Err("usage: lend [VF MAC [VLAN]]".into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(host: &LinuxHost) -> Result<(), Box<dyn Error>> {
    let inventory = host.inventory()?;
    println!("{inventory:#?}");
    for found in doctor::examine(Path::new("/"), &inventory, Path::new("qemu-system-x86_64")) {
        println!("{:?} {:?}: {} ({:?})", found.state, found.check, found.says, found.mend);
    }
    Ok(())
}

fn lend(
    host: &LinuxHost,
    vf: PciAddress,
    mac: MacAddress,
    vlan: Option<Vlan>,
) -> Result<(), Box<dyn Error>> {
    let before = host.vf(vf)?.ok_or("no such VF")?;
    println!("before: {before:?}");
    let on_vfio = before.binding.driver.as_ref().is_some_and(|driver| host.is_vfio_driver(driver));
    let lending = Lending {
        vf,
        pf: before.pf,
        index: before.index,
        incarnation: before.incarnation,
        original: Original::seen(&before, on_vfio),
        wanted: Some(WantedSettings { vlan, ..WantedSettings::mac(mac) }),
        managed: true,
        driver: None,
        keep_host_settings: false,
    };
    let deadlines = Deadlines::default();
    let mut show = |step| println!("  {step} {vf}");
    match prepare(host, &lending, &deadlines, &mut show) {
        Ok(prepared) => println!("prepared: {prepared:?}"),
        Err(error) => println!("not prepared: {}", error.explain()),
    }
    println!("lent: {:?}", host.vf(vf)?);
    let given = give_back(host, &lending, &deadlines, &mut show);
    let errors: Vec<String> = given.errors.iter().map(LendError::explain).collect();
    println!("given back: {:?} {errors:?}", given.outcome);
    let after = host.vf(vf)?.ok_or("the VF has gone")?;
    println!("after: {after:?}");
    println!("{}", if after == before { "SAME" } else { "DIFFERENT" });
    Ok(())
}
