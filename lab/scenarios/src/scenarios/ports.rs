//! VFs that another daemon's guests have as ports, and VFs that the administrator takes by hand.

use anyhow::{Result, ensure};

use super::lending::{ensure_as_before, facts_of, file, guest, mac, network};
use crate::daemon::{Daemon, virsh, virsh_refused};
use crate::documents::{Guest, network_of_pf};
use crate::host::{Host, Vf};
use crate::program;

fn uuid(number: u8) -> String {
    format!("22222222-2222-4222-8222-2222222222{number:02x}")
}

fn create(number: u8) -> Result<Vec<String>> {
    let document = format!(
        "<networkport>\n  <uuid>{}</uuid>\n  <owner>\n    <name>far{number}</name>\n    \
         <uuid>33333333-3333-4333-8333-3333333333{number:02x}</uuid>\n  </owner>\n  \
         <mac address='{}'/>\n</networkport>\n",
        uuid(number),
        mac(number),
    );
    let path = file(&format!("port-{number}"), &document)?;
    Ok(vec!["net-port-create".into(), "hw".into(), path])
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What a stock libvirt daemon does to the VF of a port.
fn outside_takes(vf: &Vf, mac: &str) -> Result<()> {
    program::run("modprobe", &["vfio-pci"])?;
    vf.set_admin_mac(mac)?;
    let index = vf.index.to_string();
    program::run("ip", &["link", "set", &vf.pf.netdev, "vf", &index, "vlan", "0"])?;
    vf.bind("vfio-pci")
}

/// Ports and guests draw on the same VFs, and none is lent twice. A deleted port's VF is as it
/// was, whatever the other side left.
pub(super) fn ports_and_guests(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(2)?;
    let before = facts_of(&vfs)?;
    let daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    for (name, number) in [("g1", 11), ("g2", 12)] {
        guest(name, &Guest::idle(name).nic(&mac(number), "hw"))?;
    }

    virsh(&strs(&create(1)?))?;
    outside_takes(&vfs[0], &mac(1))?;
    virsh(&["start", "--paused", "g1"])?;
    ensure!(vfs[1].admin_mac()? == mac(11), "{:?}", vfs[1].at_pf()?);

    let refusal = virsh_refused(&["start", "--paused", "g2"])?;
    for (vf, who) in vfs.iter().zip(["far1", "g1"]) {
        let told = refusal.contains(&vf.address) && refusal.contains(who);
        ensure!(told, "{} of {who} is not in: {refusal}", vf.address);
    }
    let refusal = virsh_refused(&strs(&create(2)?))?;
    ensure!(refusal.contains("far1") && refusal.contains("g1"), "{refusal}");

    daemon.kill()?;
    let _daemon = Daemon::start()?;
    virsh(&["destroy", "g1"])?;
    virsh(&strs(&create(2)?))?;
    let refusal = virsh_refused(&["start", "--paused", "g1"])?;
    ensure!(refusal.contains("far1") && refusal.contains("far2"), "{refusal}");

    ensure!(vfs[0].admin_mac()? == mac(1), "written to while lent: {:?}", vfs[0].at_pf()?);
    virsh(&["net-port-delete", "hw", &uuid(1)])?;
    ensure_as_before(&vfs[..1], &before[..1])?;
    virsh(&["start", "--paused", "g2"])?;
    virsh(&["net-port-delete", "hw", &uuid(2)])?;
    virsh(&["destroy", "g2"])?;
    ensure_as_before(&vfs, &before)
}

/// A VF that nobody has is detached from the host, reset, and reattached; one that a guest has is
/// not.
pub(super) fn detached_by_hand(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(2)?;
    let before = facts_of(&vfs)?;
    let _daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g1", &Guest::idle("g1").nic(&mac(11), "hw"))?;
    let device = |vf: &Vf| format!("pci_{}", vf.address.replace([':', '.'], "_"));

    virsh(&["nodedev-detach", &device(&vfs[0])])?;
    ensure!(vfs[0].driver().as_deref() == Some("vfio-pci"), "{:?}", vfs[0].driver());
    virsh(&["nodedev-reset", &device(&vfs[0])])?;
    virsh(&["start", "--paused", "g1"])?;
    ensure!(vfs[0].admin_mac()? == mac(11), "{:?}", vfs[0].at_pf()?);
    for command in ["nodedev-detach", "nodedev-reattach", "nodedev-reset"] {
        let refusal = virsh_refused(&[command, &device(&vfs[0])])?;
        ensure!(refusal.contains("g1"), "{command}: {refusal}");
    }
    virsh(&["destroy", "g1"])?;
    ensure!(vfs[0].driver().as_deref() == Some("vfio-pci"), "{:?}", vfs[0].driver());
    virsh(&["nodedev-reattach", &device(&vfs[0])])?;
    ensure!(vfs[0].driver() == vfs[1].driver(), "{:?}", vfs[0].driver());
    // The MAC that igbvf picks by itself is a new one.
    ensure_as_before(&vfs[1..], &before[1..])
}
