//! Pools that understand the hardware, on four cards; what igb can do, set and read back from the
//! kernel; VFs for programs; and kept VFs over a power cycle.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::lending::{LIMIT, ensure_as_before, facts_of, guest, mac, network, report};
use crate::daemon::{Daemon, vfnet, vfnet_program, vfnet_refused, virsh, virsh_refused};
use crate::documents::Guest;
use crate::host::{Host, Pf, Vf};
use crate::wait::wait_for;

/// The cards of the host, raised.
fn four(host: &Host) -> Result<Vec<Pf>> {
    let pfs = host.pfs()?;
    ensure!(pfs.len() == 4, "PFs: {pfs:?}");
    pfs.iter().try_for_each(Pf::raise)?;
    Ok(pfs)
}

/// One pool of all the cards, two VFs of each.
fn pool(legs: &str, more: &str) -> String {
    format!(
        "<network xmlns:vfnet='urn:vfnet:network:1'>\n  <name>hw</name>\n  \
         <forward mode='hostdev' managed='yes'/>\n  {more}\n  <vfnet:pool>\n    \
         <vfnet:pf driver='igb' vfs='2'/>\n    \
         <vfnet:placement legs='{legs}' guests='spread'/>\n  </vfnet:pool>\n</network>\n"
    )
}

/// Which of the cards have a VF of a holder.
fn cards_of(holder: &str) -> Result<Vec<String>> {
    let vfs: Value = serde_json::from_str(&vfnet(&["--json", "vf", "ls"])?)?;
    let vfs = vfs.as_array().context("a report without VFs")?;
    let of_it = vfs.iter().filter(|vf| vf["holder"] == holder);
    Ok(of_it.filter_map(|vf| Some(vf["pf"].as_str()?.to_owned())).collect())
}

/// VFs are made when the network starts and the host's driver never has them; the legs of a bond
/// come from two cards, and a leg that has none left to itself is refused in words that say so;
/// of a drained card nothing is lent.
pub(super) fn legs_and_drains(host: &Host) -> Result<()> {
    let pfs = four(host)?;
    let _daemon = Daemon::start()?;
    network("hw", &pool("require", ""))?;
    for pf in &pfs {
        let vfs = pf.vfs()?;
        ensure!(vfs.len() == 2, "{} VFs of {}", vfs.len(), pf.netdev);
        let driven = vfs.iter().find(|vf| vf.driver().is_some());
        ensure!(driven.is_none(), "{driven:?} has a driver of the host");
    }
    for (name, first) in [("bond1", 1), ("bond2", 3)] {
        guest(name, &Guest::idle(name).nic(&mac(first), "hw").nic(&mac(first + 1), "hw"))?;
    }
    virsh(&["start", "--paused", "bond1"])?;
    virsh(&["start", "--paused", "bond2"])?;
    let mut cards = [cards_of("guest bond1")?, cards_of("guest bond2")?].concat();
    cards.sort();
    let mut all: Vec<_> = pfs.iter().map(|pf| pf.address.clone()).collect();
    all.sort();
    ensure!(cards == all, "four legs on {cards:?}");

    virsh(&["destroy", "bond2"])?;
    for pf in &pfs[1..] {
        vfnet(&["pf", "drain", &pf.netdev, "--why", "new cables"])?;
    }
    let explained = vfnet(&["net", "explain", "hw", "--guest", "/run/bond2.xml"])?;
    ensure!(explained.contains("is drained: new cables"), "{explained}");
    ensure!(cards_of("guest bond1")?.len() == 2, "a drain takes nothing from who has it");
    virsh(&["destroy", "bond1"])?;
    let refusal = virsh_refused(&["start", "--paused", "bond2"])?;
    for says in ["is drained: new cables", "legs on cards of their own", &pfs[3].netdev] {
        ensure!(refusal.contains(says), "'{says}' is not in: {refusal}");
    }
    vfnet(&["pf", "undrain", &pfs[3].netdev])?;
    virsh(&["start", "--paused", "bond2"])?;
    let mut cards = cards_of("guest bond2")?;
    cards.sort();
    ensure!(cards.contains(&pfs[3].address) && cards.len() == 2, "bond2 is on {cards:?}");
    virsh(&["destroy", "bond2"])?;
    Ok(())
}

/// What a network wishes for is on the VF, and gone from it when it is given back; a MAC that
/// somebody has is refused; what cannot be given back clean is set apart, and restored.
pub(super) fn settings_and_quarantine(host: &Host) -> Result<()> {
    let pfs = four(host)?;
    let _daemon = Daemon::start()?;
    let portgroup = "<vlan><tag id='42'/></vlan>\n  <portgroup name='gold'>\n    \
         <vfnet:vf trust='yes' spoofchk='no' qos='5' maxRate='100'/>\n  </portgroup>";
    network("hw", &pool("ignore", portgroup))?;
    let all: Vec<Vf> = pfs.iter().map(Pf::vfs).collect::<Result<Vec<_>>>()?.concat();
    let before = facts_of(&all)?;
    let gold = format!(
        "    <interface type='network'>\n      <mac address='{}'/>\n      \
         <source network='hw' portgroup='gold'/>\n    </interface>",
        mac(1)
    );
    guest("g", &Guest::idle("g").device(&gold))?;
    // A MAC has one owner of a PF, and g's VF is of the first.
    network(
        "one",
        &crate::documents::network_of_pf("one", &pfs[0].netdev)
            .replace("</network>", "<vlan><tag id='42'/></vlan></network>"),
    )?;
    guest("same", &Guest::idle("same").nic(&mac(1), "one"))?;
    virsh(&["start", "--paused", "g"])?;
    let lent = all.iter().find(|vf| vf.admin_mac().is_ok_and(|now| now == mac(1)));
    let at_pf = lent.context("no VF has the MAC")?.at_pf()?;
    println!("set on the VF: {at_pf}");
    ensure!(at_pf["vlan_list"][0]["vlan"] == 42, "{at_pf}");
    ensure!(at_pf["vlan_list"][0]["qos"] == 5, "{at_pf}");
    ensure!(at_pf["trust"] == true && at_pf["spoofchk"] == false, "{at_pf}");
    ensure!(at_pf["rate"]["max_tx"] == 100, "{at_pf}");
    let refusal = virsh_refused(&["start", "--paused", "same"])?;
    ensure!(refusal.contains(&mac(1)) && refusal.contains("guest g"), "{refusal}");
    virsh(&["destroy", "g"])?;
    ensure_as_before(&all, &before)?;

    // A process that the holder leaves behind has the VF open: it cannot go back.
    let keeps = "exec 3<>/dev/vfio/$VFNET_VFIO_GROUP; sleep 100000 & echo $! >/run/left-over";
    exec(&mac(7), &["sh", "-c", keeps])?.wait()?;
    let apart = || {
        let states = all.iter().map(report).collect::<Result<Vec<_>>>()?;
        Ok(states.into_iter().find(|vf| vf["state"] == "quarantined"))
    };
    let apart = || apart().unwrap_or_else(|fault: anyhow::Error| panic!("{fault:#}"));
    wait_for("the VF to be set apart", LIMIT, || apart().is_some())?;
    let found = apart().context("it is free again")?;
    let vf = found["address"].as_str().context("a VF without an address")?.to_owned();
    let refusal = vfnet_refused(&["vf", "restore", &vf])?;
    ensure!(refusal.contains("open"), "{refusal}");
    let pid = fs::read_to_string("/run/left-over")?;
    crate::program::run("kill", &["-9", pid.trim()])?;
    wait_for("it to be restored", LIMIT, || vfnet(&["vf", "restore", &vf]).is_ok())?;
    ensure_as_before(&all, &before)
}

fn exec(mac: &str, program: &[&str]) -> Result<Child> {
    let log = fs::File::create("/run/exec.log")?;
    let command = Command::new(vfnet_program()?)
        .args(["exec", "--network", "hw", "--mac", mac, "--"])
        .args(program)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    command.context("cannot start vfnet exec")
}

fn holder(vf: &Vf) -> Option<String> {
    report(vf).ok()?["holder"].as_str().map(str::to_owned)
}

/// A bare QEMU and `sleep` have VFs while they live; killed, also with no daemon there, they are
/// given back as they were.
pub(super) fn programs(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(2)?;
    let before = facts_of(&vfs)?;
    let daemon = Daemon::start()?;
    network("hw", &crate::documents::network_of_pf("hw", &pf.netdev))?;

    let device = "vfio-pci,host={bdf}";
    let qemu = ["qemu-system-x86_64", "-machine", "q35", "-m", "64", "-nodefaults", "-display"];
    let qemu = [&qemu[..], &["none", "-S", "-device", device]].concat();
    let mut qemu = exec(&mac(1), &qemu)?;
    let group = vfs[0].iommu_group().context("a VF without a group")?;
    let opened = || {
        let open = fs::read_dir(format!("/proc/{}/fd", qemu.id())).into_iter().flatten().flatten();
        let node = format!("/dev/vfio/{group}");
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to.ends_with(&node))
    };
    wait_for("QEMU to open its VF", LIMIT, opened).with_context(|| {
        format!("vfnet exec said: {}", fs::read_to_string("/run/exec.log").unwrap_or_default())
    })?;
    ensure!(vfs[0].admin_mac()? == mac(1), "{:?}", vfs[0].at_pf()?);
    let who = format!("qemu-system-x86_64 (pid {})", qemu.id());
    ensure!(holder(&vfs[0]).as_deref() == Some(&who), "{}", report(&vfs[0])?);

    let mut sleeper = exec(&mac(2), &["sleep", "100000"])?;
    wait_for("sleep to have its VF", LIMIT, || holder(&vfs[1]).is_some())?;
    let refused = vfnet_refused(&["exec", "--network", "hw", "--", "true"])?;
    ensure!(refused.contains(&who), "{refused}");
    sleeper.kill()?;
    ensure!(sleeper.wait()?.signal() == Some(9), "sleep was not killed");
    wait_for("sleep's VF to be back", LIMIT, || holder(&vfs[1]).is_none())?;
    ensure_as_before(&vfs[1..], &before[1..])?;

    daemon.kill()?;
    qemu.kill()?;
    qemu.wait()?;
    ensure!(vfs[0].driver().as_deref() == Some("vfio-pci"), "nobody is there to take it back");
    let _daemon = Daemon::start()?;
    wait_for("QEMU's VF to be back", LIMIT, || holder(&vfs[0]).is_none())?;
    ensure_as_before(&vfs, &before)
}

/// Before the power goes: a number of VFs is kept, and another one is there for now.
pub(super) fn keep_vfs(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    let _daemon = Daemon::start()?;
    vfnet(&["pf", "set", &pf.netdev, "--vfs", "3"])?;
    vfnet(&["pf", "set", &pf.netdev, "--vfs", "5", "--once"])?;
    ensure!(pf.vfs()?.len() == 5, "{} VFs", pf.vfs()?.len());
    let report = vfnet(&["pf", "ls"])?;
    ensure!(report.contains("5 of 7, 3 kept"), "{report}");
    Ok(())
}

/// After it: the daemon makes what is kept.
pub(super) fn kept_vfs(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    ensure!(pf.vfs()?.is_empty(), "{} VFs before the daemon", pf.vfs()?.len());
    let _daemon = Daemon::start()?;
    wait_for("kept VFs", LIMIT, || pf.vfs().is_ok_and(|vfs| vfs.len() == 3))?;
    wait_for("it to be told", LIMIT, || {
        vfnet(&["events", "--no-follow"]).is_ok_and(|told| told.contains("its 3 kept VFs made"))
    })?;
    vfnet(&["pf", "forget", &pf.netdev])?;
    ensure!(pf.vfs()?.len() == 3, "they stay");
    Ok(())
}
