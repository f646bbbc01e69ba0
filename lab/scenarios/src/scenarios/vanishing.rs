//! VFs are taken from under running guests by whoever is root on the host: their number is set to
//! none, their PF's driver is unbound or unloaded.
//!
//! The kernel asks QEMU to let go (`vfio_unregister_group_dev`, "Relaying device request to user"),
//! and waits for that without end, in a sleep of whoever asked. By then the VF is no longer among
//! its PF's (`virtfnN`), and those with higher numbers still are. QEMU unplugs the device if the
//! guest plays along. A guest without a kernel does not, and all waits until it ends. (A VF's own
//! `remove` is nobody's to write: VFs have no such file.)

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::lending::{LIMIT, console, ensure_as_before, facts_of, guest, mac, network, report};
use super::survival::pid_of;
use crate::daemon::{Daemon, LOG, vfnet, virsh, virsh_refused};
use crate::documents::{Guest, network_of_pf};
use crate::guest::{BOOT_LIMIT, last_sign_of_life, wait_for_nic};
use crate::host::{Host, Pf, Vf};
use crate::program;
use crate::wait::wait_for;

/// In which an answer has to come while the kernel waits; much less is usual.
const ANSWER: Duration = Duration::from_secs(60);

/// A way to take VFs away, and the way back to a PF with a driver.
struct Way {
    name: &'static str,
    there: fn(&Pf) -> String,
    back: fn(&Pf) -> String,
}

const WAYS: [Way; 3] = [
    Way {
        name: "the number of VFs is set to none",
        there: |pf| format!("echo 0 > /sys/bus/pci/devices/{}/sriov_numvfs", pf.address),
        back: |_| "true".to_owned(),
    },
    Way {
        name: "the PF's driver is unbound",
        there: |pf| format!("echo {} > /sys/bus/pci/drivers/igb/unbind", pf.address),
        back: |pf| format!("echo {} > /sys/bus/pci/drivers/igb/bind", pf.address),
    },
    Way {
        name: "the PF's driver is unloaded",
        there: |_| "modprobe -r igb".to_owned(),
        back: |_| "modprobe igb".to_owned(),
    },
];

fn begin(way: &Way, pf: &Pf) -> Result<Child> {
    Command::new("sh")
        .args(["-c", &(way.there)(pf)])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start a shell")
}

/// Waits for the end of what was begun, which must have succeeded.
fn ended(mut begun: Child) -> Result<()> {
    let mut status = None;
    wait_for("the kernel to come back", LIMIT, || {
        status = begun.try_wait().ok().flatten();
        status.is_some()
    })?;
    ensure!(status.is_some_and(|status| status.success()), "it ended with {status:?}");
    Ok(())
}

fn two(host: &Host) -> Result<(Pf, Vec<Vf>)> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(2)?;
    Ok((pf, vfs))
}

fn ports() -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&vfnet(&["--json", "port", "ls"])?)?)
}

fn vfs_known() -> Result<usize> {
    let vfs: Vec<Value> = serde_json::from_str(&vfnet(&["--json", "vf", "ls"])?)?;
    Ok(vfs.len())
}

/// A guest that does not play along has its VF until it ends; the daemon answers all the while,
/// can be killed and started, lends the VF to nobody, and nothing is left.
pub(super) fn under_idle_guests(host: &Host) -> Result<()> {
    let (pf, _) = two(host)?;
    let mut daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    guest("h", &Guest::idle("h").nic(&mac(2), "hw"))?;
    for way in &WAYS {
        daemon = under_an_idle_guest(host, daemon, way).with_context(|| way.name)?;
    }
    daemon.stop()?;
    Ok(())
}

fn under_an_idle_guest(host: &Host, daemon: Daemon, way: &Way) -> Result<Daemon> {
    let (pf, vfs) = two(host)?;
    let before = facts_of(&vfs)?;
    virsh(&["start", "g"])?;
    let pid = pid_of("g")?;
    ensure!(report(&vfs[0])?["holder"] == "guest g", "{}", report(&vfs[0])?);

    let begun = begin(way, &pf)?;
    wait_for("the VF to lose its driver", LIMIT, || vfs[0].driver().is_none())?;
    let check = || -> Result<()> {
        ensure!(virsh(&["domstate", "g"])?.trim() == "running", "the guest does not run");
        ensure!(pid_of("g")? == pid, "another process than before");
        let ports = ports()?;
        let of_g = |port: &Value| port["owner"] == "guest g" && port["state"] == "vanished";
        ensure!(ports.len() == 1 && ports.iter().all(of_g), "{ports:?}");
        let refusal = virsh_refused(&["start", "h"])?;
        ensure!(refusal.contains("is being changed"), "{refusal}");
        Ok(())
    };
    let asked = std::time::Instant::now();
    check()?;
    let took = asked.elapsed();
    ensure!(took < ANSWER, "answers took {} s", took.as_secs());
    println!("{}: four answers in {:.1} s meanwhile", way.name, took.as_secs_f64());
    daemon.kill()?;
    let daemon = Daemon::start()?;
    wait_for("the guest to be found running", LIMIT, || {
        virsh(&["domstate", "g"]).is_ok_and(|state| state.trim() == "running")
    })?;
    check()?;

    virsh(&["destroy", "g"])?;
    ended(begun)?;
    wait_for("the VFs to be gone", LIMIT, || vfs_known().is_ok_and(|count| count == 0))?;
    ensure!(ports()?.is_empty(), "{:?}", ports()?);

    program::run("sh", &["-c", &(way.back)(&pf)])?;
    wait_for("the PF's interface", LIMIT, || host.pf(0).is_ok_and(|now| now == pf))?;
    let (_, again) = two(host)?;
    ensure!(again == vfs, "other VFs: {again:?}");
    // Their own MACs are drawn anew each time; whatever else may be left of the guest is here.
    for (vf, was) in again.iter().zip(&before) {
        let now = vf.facts()?;
        ensure!(now.driver == was.driver, "{now:?}");
        ensure!(now.driver_override == was.driver_override, "{now:?}");
        ensure!(vf.admin_mac()? == vf.own_mac()?, "{now:?}");
    }
    let fresh = facts_of(&again)?;
    virsh(&["start", "h"])?;
    ensure!(again[0].admin_mac()? == mac(2), "{}", again[0].at_pf()?);
    virsh(&["destroy", "h"])?;
    ensure_as_before(&again, &fresh)?;
    Ok(daemon)
}

/// A guest with a kernel lets go of its VF when it is asked to, and runs on; the state says so, and
/// so does the log. The next VF of that address is another one, and goes to another guest.
pub(super) fn under_a_guest_that_lets_go(host: &Host) -> Result<()> {
    let (pf, vfs) = two(host)?;
    let daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g", &Guest::booting("g", "vflab.stay vflab.acpi").nic(&mac(1), "hw"))?;
    guest("h", &Guest::idle("h").nic(&mac(2), "hw"))?;
    virsh(&["start", "g"])?;
    let (nic, _) = wait_for_nic(&console("g"))?;
    ensure!(nic.mac == mac(1), "the guest sees {nic:?}");
    let pid = pid_of("g")?;

    let begun = begin(&WAYS[0], &pf)?;
    wait_for("the VF to be gone", BOOT_LIMIT, || !Path::new(&vfs[0].path()).exists())?;
    ended(begun)?;
    let told = [
        format!("{}: vanished while held by guest g", vfs[0].address),
        "guest g: has let go of the device hostdev0".to_owned(),
    ];
    wait_for("the log to say so", LIMIT, || {
        let log = std::fs::read_to_string(LOG).unwrap_or_default();
        told.iter().all(|told| log.contains(told))
    })?;
    wait_for("the port to be gone", LIMIT, || ports().is_ok_and(|ports| ports.is_empty()))?;
    let live = virsh(&["dumpxml", "g"])?;
    ensure!(!live.contains("<interface"), "{live}");
    let seen = last_sign_of_life(&console("g"));
    wait_for("another sign of the guest's life", BOOT_LIMIT, || {
        last_sign_of_life(&console("g")) > seen
    })?;
    ensure!(pid_of("g")? == pid, "another process than before");

    let (_, again) = two(host)?;
    let fresh = facts_of(&again)?;
    virsh(&["start", "h"])?;
    let taken = report(&again[0])?;
    ensure!(taken["state"] == "held" && taken["holder"] == "guest h", "{taken}");
    // The end of the first guest is no matter to the device that has its VF's address now.
    virsh(&["shutdown", "g"])?;
    wait_for("the guest to power itself off", BOOT_LIMIT, || {
        virsh(&["domstate", "g", "--reason"])
            .is_ok_and(|state| state.contains("shut off (shutdown)"))
    })?;
    ensure!(again[0].admin_mac()? == mac(2), "{}", again[0].at_pf()?);
    ensure!(report(&again[0])?["holder"] == "guest h", "{}", report(&again[0])?);
    virsh(&["destroy", "h"])?;
    ensure_as_before(&again, &fresh)?;
    ensure!(ports()?.is_empty(), "{:?}", ports()?);
    daemon.kill()
}
