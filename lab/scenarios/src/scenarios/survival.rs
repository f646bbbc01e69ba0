//! The daemon is killed, the power is cut: guests go on, VFs come back, definitions stay.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::lending::{
    LIMIT, console, ensure_as_before, facts_of, guest, mac, network, report, seven,
};
use crate::daemon::{Daemon, RUN_DIR, vfnet, vfnet_program, virsh};
use crate::documents::{Guest, network_of_pf};
use crate::guest::wait_for_nic;
use crate::host::{Host, Pf, Vf};
use crate::wait::wait_for;

pub(super) fn pid_of(guest: &str) -> Result<i64> {
    let shown: Value = serde_json::from_str(&vfnet(&["--json", "guest", "show", guest])?)?;
    shown["pid"].as_i64().with_context(|| format!("{guest} has no process: {shown}"))
}

/// `kill -9` while a guest runs: the same QEMU process, listed as running, its VF held; destroy
/// gives the VF back as it was.
pub(super) fn a_killed_daemon(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let before = facts_of(&vfs)?;
    let daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    virsh(&["start", "g"])?;
    let pid = pid_of("g")?;
    daemon.kill()?;
    ensure!(Path::new(&format!("/proc/{pid}/exe")).exists(), "QEMU went with the daemon");

    let daemon = Daemon::start()?;
    wait_for("the guest to be found running", LIMIT, || {
        virsh(&["domstate", "g"]).is_ok_and(|state| state.trim() == "running")
    })?;
    ensure!(pid_of("g")? == pid, "another process than before");
    let report = report(&vfs[0])?;
    ensure!(report["state"] == "held" && report["holder"] == "guest g", "{report}");

    // An orderly end is no other to guests than a kill.
    let status = daemon.stop()?;
    ensure!(status.success(), "vfnetd ended with {status}");
    let _daemon = Daemon::start()?;
    wait_for("the guest to be found running again", LIMIT, || {
        virsh(&["domstate", "g"]).is_ok_and(|state| state.trim() == "running")
    })?;
    ensure!(pid_of("g")? == pid, "another process than before");
    virsh(&["destroy", "g"])?;
    ensure_as_before(&vfs, &before)
}

/// A moment of a guest's start that can be seen from outside.
struct Moment {
    name: &'static str,
    reached: fn(&Vf) -> bool,
}

fn path(vf: &Vf) -> std::path::PathBuf {
    Path::new("/sys/bus/pci/devices").join(&vf.address)
}

fn some_guest_has(file: &str) -> bool {
    let Ok(guests) = fs::read_dir(Path::new(RUN_DIR).join("guests")) else { return false };
    guests.flatten().any(|guest| guest.path().join(file).exists())
}

const MOMENTS: &[Moment] = &[
    Moment { name: "asked", reached: |_| true },
    Moment { name: "MAC set", reached: |vf| vf.admin_mac().is_ok_and(|now| now == mac(1)) },
    Moment {
        name: "driver override set",
        reached: |vf| {
            fs::read_to_string(path(vf).join("driver_override"))
                .is_ok_and(|driver| driver.trim() == "vfio-pci")
        },
    },
    Moment { name: "unbound", reached: |vf| vf.driver().is_none_or(|driver| driver != "igbvf") },
    Moment { name: "bound", reached: |vf| vf.driver().as_deref() == Some("vfio-pci") },
    Moment { name: "lock taken", reached: |_| some_guest_has("lock") },
    Moment { name: "launcher at work", reached: |_| some_guest_has("pid") },
    Moment { name: "monitor there", reached: |_| some_guest_has("qmp") },
];

/// A kill at every moment of a start that can be told from outside, and at more in between:
/// afterwards the guest runs with its VF, or the VF is as it was.
pub(super) fn a_kill_at_every_step(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let before = facts_of(&vfs)?;
    let daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    daemon.stop()?;
    let delays = [0, 40, 150, 400].map(Duration::from_millis);
    for moment in MOMENTS {
        for delay in &delays[..if moment.name == "asked" { 4 } else { 1 }] {
            let name = moment.name;
            kill_at(&vfs[0], moment, *delay)
                .and_then(|()| ensure_as_before(&vfs, &before))
                .with_context(|| format!("killed {} ms after '{name}'", delay.as_millis()))?;
        }
    }
    Ok(())
}

fn kill_at(vf: &Vf, moment: &Moment, delay: Duration) -> Result<()> {
    let daemon = Daemon::start()?;
    let mut start = Command::new(vfnet_program()?)
        .args(["guest", "start", "g"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let asked = Instant::now();
    // No pause between two looks: some moments are short. A start that is over is one, too.
    while !(moment.reached)(vf) && start.try_wait()?.is_none() && asked.elapsed() < LIMIT {}
    let seen = Instant::now();
    while seen.elapsed() < delay && start.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    daemon.kill()?;
    start.wait()?;

    let _daemon = Daemon::start()?;
    let mut state = String::new();
    wait_for("the guest to run or to be off", LIMIT, || {
        let shown = vfnet(&["--json", "guest", "show", "g"]).unwrap_or_default();
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        state = shown["state"].as_str().unwrap_or_default().to_owned();
        state == "running" || state == "shut off"
    })
    .with_context(|| format!("the guest is '{state}'"))?;
    if state == "running" {
        let report = report(vf)?;
        ensure!(report["holder"] == "guest g" && report["state"] == "held", "{report}");
        virsh(&["destroy", "g"])?;
    }
    Ok(())
}

const GUEST_MAC: &str = "52:54:00:77:00:01";

fn own_macs(pf: &Pf) -> Result<String> {
    let macs: Vec<String> = pf.vfs()?.iter().filter_map(|vf| vf.own_mac().ok()).collect();
    Ok(macs.join(" "))
}

/// Before the power cut: an autostart network that makes its VFs, an autostart guest, and one
/// that runs without being asked to do so again.
pub(super) fn before_the_power_cut(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let daemon = Daemon::start()?;
    let document = network_of_pf("hw", &pf.netdev);
    let pool = format!(
        "<vfnet:pool xmlns:vfnet='urn:vfnet:network:1'><vfnet:pf dev='{}' vfs='7' autoprobe='yes'/></vfnet:pool></network>",
        pf.netdev
    );
    network("hw", &document.replace("</network>", &pool))?;
    virsh(&["net-autostart", "hw"])?;
    ensure!(pf.vfs()?.len() == 7, "the network has made {} VFs", pf.vfs()?.len());
    host.note("own-macs", &own_macs(&pf)?)?;
    guest("keeps", &Guest::booting("keeps", "vflab.stay").nic(GUEST_MAC, "hw"))?;
    virsh(&["autostart", "keeps"])?;
    guest("once", &Guest::idle("once").nic(&mac(9), "hw"))?;
    virsh(&["start", "--paused", "once"])?;
    virsh(&["start", "keeps"])?;
    let (nic, _) = wait_for_nic(&console("keeps"))?;
    ensure!(nic.mac == GUEST_MAC, "the guest sees {nic:?}");
    // Nothing orderly: the power goes while all of this runs.
    std::mem::forget(daemon);
    Ok(())
}

/// After it: the PF is raised only when vfnetd is ready; network and guest come up by
/// themselves, and the guest's MAC is the same although every VF's own MAC differs.
pub(super) fn after_the_power_cut(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    let daemon = Daemon::start()?;
    ensure!(virsh(&["list", "--name"])?.trim().is_empty(), "a guest runs although the PF is down");
    pf.raise()?;
    wait_for("the network to come up by itself", LIMIT, || {
        virsh(&["net-list", "--name"]).is_ok_and(|names| names.trim() == "hw")
    })?;
    let earlier = host.noted("own-macs").context("the disk did not keep the note")?;
    wait_for("the guest to come up by itself", LIMIT, || {
        virsh(&["domstate", "keeps"]).is_ok_and(|state| state.trim() == "running")
    })?;
    let now = own_macs(&pf)?;
    ensure!(now.split(' ').count() >= 6, "own MACs: {now}");
    ensure!(now.split(' ').all(|mac| !earlier.contains(mac)), "before: {earlier}\nnow: {now}");
    let names = virsh(&["list", "--all", "--name"])?;
    ensure!(names.contains("once"), "a definition is gone: {names}");
    ensure!(virsh(&["domstate", "once"])?.trim() == "shut off", "it was not to start by itself");
    let (nic, _) = wait_for_nic(&console("keeps"))?;
    ensure!(nic.mac == GUEST_MAC && nic.driver == "igbvf", "the guest sees {nic:?}");
    println!("the guest has {} in both boots; the VFs had {earlier}, now {now}", nic.mac);

    // What the administrator stopped stays so.
    virsh(&["destroy", "keeps"])?;
    daemon.kill()?;
    let _daemon = Daemon::start()?;
    ensure!(virsh(&["domstate", "keeps"])?.trim() == "shut off", "revived by a daemon restart");
    ensure!(virsh(&["net-list", "--name"])?.trim() == "hw", "the network is gone");
    Ok(())
}
