//! The least that any manager must do: set a MAC, move a VF to vfio-pci, start QEMU; and all of it
//! backwards. No records, no checks, no client.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use vfnet_host::Host;
use vfnet_model::vf::{VfIndex, VfSetting};
use vfnet_model::{MacAddress, PciAddress};

use super::{MEMORY_MIB, mac, tell};
use crate::guest;
use crate::host::{Pf, Vf};

const MONITOR: &str = "/run/measures-floor.qmp";
const LIMIT: Duration = Duration::from_secs(120);

/// Starts and destroys guests, and tells what each took.
pub(super) fn measure(pf: &Pf, rounds: usize) -> Result<()> {
    let vf = pf.vfs()?.into_iter().next().context("a PF without VFs")?;
    let netlink = vfnetd::machine::this_machine().host;
    for _round in 0..rounds {
        let begun = Instant::now();
        set_mac(&netlink, &vf, mac(0).parse()?)?;
        bind(&vf, "vfio-pci")?;
        let bound = Instant::now();
        let mut qemu = start(&vf)?;
        tell("floor", "start of a guest", "s", begun.elapsed().as_secs_f64());
        tell("floor", "QEMU alone", "s", bound.elapsed().as_secs_f64());
        let begun = Instant::now();
        qemu.kill()?;
        qemu.wait()?;
        bind(&vf, "igbvf")?;
        fs::write(vf.path().join("driver_override"), "\n")?;
        set_mac(&netlink, &vf, MacAddress::ZERO)?;
        tell("floor", "destroy of a guest", "s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn set_mac(netlink: &Arc<dyn Host>, vf: &Vf, mac: MacAddress) -> Result<()> {
    let pf: PciAddress = vf.pf.address.parse()?;
    let index = VfIndex(u16::try_from(vf.index)?);
    Ok(netlink.set_vf(pf, index, VfSetting::Mac(mac))?)
}

/// Without a look between the writes: they return when their work is done.
fn bind(vf: &Vf, driver: &str) -> Result<()> {
    fs::write(vf.path().join("driver_override"), driver)?;
    fs::write(vf.path().join("driver/unbind"), &vf.address)?;
    fs::write("/sys/bus/pci/drivers_probe", &vf.address)?;
    Ok(())
}

/// Returns when the guest runs.
fn start(vf: &Vf) -> Result<Child> {
    if Path::new(MONITOR).exists() {
        fs::remove_file(MONITOR)?;
    }
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-S", "-machine", guest::MACHINE, "-accel", "tcg", "-cpu", guest::CPU])
        .args(["-m", &MEMORY_MIB.to_string(), "-display", "none"])
        .args(["-nodefaults", "-no-user-config", "-serial", "null"])
        .args(["-qmp", &format!("unix:{MONITOR},server=on,wait=off")])
        .args(["-device", &format!("vfio-pci,host={}", vf.address)])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start QEMU")?;
    let begun = Instant::now();
    let monitor = loop {
        if let Ok(monitor) = UnixStream::connect(MONITOR) {
            break monitor;
        }
        let ended = qemu.try_wait()?;
        ensure!(ended.is_none(), "QEMU has ended ({ended:?})");
        ensure!(begun.elapsed() < LIMIT, "QEMU opens no monitor");
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut answers = BufReader::new(monitor.try_clone()?).lines();
    for command in ["qmp_capabilities", "cont"] {
        writeln!(&monitor, "{{\"execute\": \"{command}\"}}")?;
        loop {
            let line = answers.next().context("QEMU has closed its monitor")??;
            if serde_json::from_str::<Value>(&line)?.get("return").is_some() {
                break;
            }
        }
    }
    Ok(qemu)
}
