//! A guest asks a network for a VF: it gets one with its MAC, or hears why not, and gives it
//! back as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::daemon::{Daemon, vfnet, vfnet_refused, virsh, virsh_refused};
use crate::documents::{Guest, address, network_of_pf};
use crate::host::{Facts, Host, Pf, Vf};
use crate::program;
use crate::scenarios::survival::pid_of;
use crate::wait::wait_for;

/// Ends of guests and their VFs' way back, on a machine that does other work too.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn facts_of(vfs: &[Vf]) -> Result<Vec<Facts>> {
    vfs.iter().map(Vf::facts).collect()
}

/// Fails unless every VF is as it was.
pub(super) fn ensure_as_before(vfs: &[Vf], before: &[Facts]) -> Result<()> {
    for (vf, before) in vfs.iter().zip(before) {
        let now = vf.facts()?;
        ensure!(
            now == *before,
            "{} is not as it was:\n  was {before:?}\n  is  {now:?}",
            vf.address
        );
    }
    Ok(())
}

/// A raised PF with seven VFs.
pub(super) fn seven(host: &Host) -> Result<(Pf, Vec<Vf>)> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(7)?;
    Ok((pf, vfs))
}

/// Writes a document to a file of its own.
pub(super) fn file(name: &str, text: &str) -> Result<String> {
    let path = PathBuf::from(format!("/run/{name}.xml"));
    fs::write(&path, text)?;
    Ok(path.to_string_lossy().into_owned())
}

pub(super) fn console(name: &str) -> PathBuf {
    PathBuf::from(format!("/run/{name}.console"))
}

/// Defines and starts a network.
pub(super) fn network(name: &str, text: &str) -> Result<()> {
    virsh(&["net-define", &file(name, text)?])?;
    virsh(&["net-start", name])?;
    Ok(())
}

/// Defines a guest.
pub(super) fn guest(name: &str, guest: &Guest<'_>) -> Result<()> {
    virsh(&["define", &file(name, &guest.xml(&console(name))?)?])?;
    Ok(())
}

pub(super) fn mac(number: u8) -> String {
    format!("52:54:00:11:22:{number:02x}")
}

/// What vfnet says of a VF.
pub(super) fn report(vf: &Vf) -> Result<Value> {
    let report: Value = serde_json::from_str(&vfnet(&["--json", "vf", "ls"])?)?;
    let vfs = report.as_array().context("a report without VFs")?;
    let found = vfs.iter().find(|found| found["address"] == vf.address.as_str());
    found.cloned().with_context(|| format!("vfnet does not know {}", vf.address))
}

/// Fails unless a guest's QEMU finds in `/dev` what every QEMU does, its VF's group, and nothing
/// else.
fn ensure_jailed(guest: &str, vf: &Vf) -> Result<()> {
    let dev = PathBuf::from(format!("/proc/{}/root/dev", pid_of(guest)?));
    let names = |dir: &Path| -> Result<BTreeSet<String>> {
        let entries =
            fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let found = names(&dev)?;
    let expected = of(&["full", "null", "ptmx", "pts", "random", "urandom", "vfio", "zero"]);
    ensure!(found == expected, "{guest}'s QEMU finds {found:?}");
    let group = vf.iommu_group().context("a VF without a group")?;
    let found = names(&dev.join("vfio"))?;
    ensure!(found == of(&["vfio", &group]), "{guest}, with group {group}, finds {found:?}");
    Ok(())
}

/// Seven guests take seven VFs, and find no other's; the eighth is refused with a reason for each;
/// after one destroy it starts.
pub(super) fn the_eighth_guest(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let before = facts_of(&vfs)?;
    let _daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    for number in 1..=8 {
        let name = format!("g{number}");
        guest(&name, &Guest::idle(&name).nic(&mac(number), "hw"))?;
    }
    for number in 1..=7 {
        virsh(&["start", "--paused", &format!("g{number}")])?;
    }
    for (vf, number) in vfs.iter().zip(1..) {
        ensure!(vf.admin_mac()? == mac(number), "{vf:?} has {}", vf.admin_mac()?);
        ensure!(vf.driver().as_deref() == Some("vfio-pci"), "{vf:?} is on {:?}", vf.driver());
        ensure_jailed(&format!("g{number}"), vf)?;
    }
    let refusal = virsh_refused(&["start", "--paused", "g8"])?;
    for (vf, number) in vfs.iter().zip(1..=7) {
        let reason = format!("{} held by guest g{number}", vf.address);
        ensure!(refusal.contains(&reason), "no '{reason}' in: {refusal}");
    }
    virsh(&["destroy", "g3"])?;
    virsh(&["start", "--paused", "g8"])?;
    ensure!(vfs[2].admin_mac()? == mac(8), "the eighth guest has another VF than the third had");
    for number in [1, 2, 4, 5, 6, 7, 8] {
        virsh(&["destroy", &format!("g{number}")])?;
    }
    ensure_as_before(&vfs, &before)
}

/// QEMU killed, QEMU missing, a disk that is not there: the VF is back, and the reason is shown.
pub(super) fn failed_starts_and_crashes(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let before = facts_of(&vfs)?;
    let _daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;

    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    virsh(&["start", "g"])?;
    let shown: Value = serde_json::from_str(&vfnet(&["--json", "guest", "show", "g"])?)?;
    let pid = shown["pid"].as_i64().context("a running guest without a pid")?;
    let pid = Pid::from_raw(pid.try_into()?).context("a running guest with a pid of 0")?;
    kill_process(pid, Signal::KILL)?;
    wait_for("the end to be noticed", LIMIT, || {
        virsh(&["domstate", "g", "--reason"])
            .is_ok_and(|state| state.contains("shut off (crashed)"))
    })?;
    ensure_as_before(&vfs, &before)?;

    let document = Guest::idle("g").nic(&mac(1), "hw");
    let document = document.xml(&console("g"))?;
    let missing = document.replace("/usr/bin/qemu-system-x86_64", "/usr/bin/no-such-qemu");
    virsh(&["define", &file("g", &missing)?])?;
    let refusal = virsh_refused(&["start", "g"])?;
    ensure!(refusal.contains("/usr/bin/no-such-qemu"), "{refusal}");
    ensure_as_before(&vfs, &before)?;

    let disk = "<disk type='file' device='disk'><source file='/run/no-such-disk'/>\
                <target dev='vda' bus='virtio'/></disk></devices>";
    virsh(&["define", &file("g", &document.replace("</devices>", disk))?])?;
    let refusal = virsh_refused(&["start", "g"])?;
    ensure!(refusal.contains("/run/no-such-disk"), "{refusal}");
    ensure_as_before(&vfs, &before)?;

    fs::write("/run/bad-disk", "not a qcow2 image")?;
    let disk = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
                <source file='/run/bad-disk'/><target dev='vda' bus='virtio'/></disk></devices>";
    virsh(&["define", &file("g", &document.replace("</devices>", disk))?])?;
    let refusal = virsh_refused(&["start", "g"])?;
    ensure!(refusal.contains("Image is not in qcow2 format"), "not QEMU's own words: {refusal}");
    ensure_as_before(&vfs, &before)
}

/// What the host uses, or another guest holds by `<hostdev>`, is not lent, and vfnet says why.
/// A VF whose netdev has only fe80:: is.
pub(super) fn what_the_host_uses(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let netdev = |vf: &Vf| vf.netdev().with_context(|| format!("{vf:?} has no netdev"));
    let ip = |words: &str| program::run("ip", &words.split(' ').collect::<Vec<_>>());
    let [address_vf, bridged, elsewhere, held, local] = &vfs[..5] else { unreachable!("seven") };

    ip(&format!("addr add 192.0.2.1/24 dev {}", netdev(address_vf)?))?;
    ip("link add name br-lab type bridge")?;
    ip(&format!("link set {} master br-lab", netdev(bridged)?))?;
    ip("netns add lab-other")?;
    ip(&format!("link set {} netns lab-other", netdev(elsewhere)?))?;
    ip(&format!("link set {} up", netdev(local)?))?;

    let outcome = (|| {
        let _daemon = Daemon::start()?;
        network("hw", &network_of_pf("hw", &pf.netdev))?;
        let hostdev = format!(
            "<hostdev mode='subsystem' type='pci' managed='yes'><source>{}</source></hostdev>",
            address(held)?.replace(" type='pci'", "")
        );
        guest("holder", &Guest::idle("holder").device(&hostdev))?;
        virsh(&["start", "--paused", "holder"])?;
        for (vf, words) in [
            (address_vf, "192.0.2.1"),
            (bridged, "br-lab"),
            (elsewhere, "another network namespace"),
        ] {
            let report = report(vf)?;
            ensure!(report["state"] == "unusable", "{report}");
            ensure!(report["why"].as_str().is_some_and(|why| why.contains(words)), "{report}");
        }
        let report = report(held)?;
        ensure!(report["holder"] == "guest holder", "{report}");

        for number in 1..=4 {
            let name = format!("g{number}");
            guest(&name, &Guest::idle(&name).nic(&mac(number), "hw"))?;
        }
        // The fifth, sixth and seventh VF are left.
        for (number, vf) in (1..).zip(&vfs[4..7]) {
            virsh(&["start", "--paused", &format!("g{number}")])?;
            ensure!(vf.admin_mac()? == mac(number), "{vf:?} has {}", vf.admin_mac()?);
        }
        let refusal = virsh_refused(&["start", "--paused", "g4"])?;
        ensure!(refusal.contains("192.0.2.1") && refusal.contains("guest holder"), "{refusal}");
        for name in ["g1", "g2", "g3", "holder"] {
            virsh(&["destroy", name])?;
        }
        Ok(())
    })();
    ip("netns del lab-other")?;
    ip("link del br-lab")?;
    outcome
}

/// PF down, no VFs, no vfio module: refused with what to do, and nothing changed.
pub(super) fn what_is_missing(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let _daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    program::run("ip", &["link", "set", &pf.netdev, "down"])?;
    let before = facts_of(&vfs)?;
    let refusal = virsh_refused(&["start", "g"])?;
    ensure!(refusal.contains(&format!("ip link set {} up", pf.netdev)), "{refusal}");
    ensure_as_before(&vfs, &before)?;
    pf.raise()?;

    // A kernel without the module: nothing where modprobe looks.
    let loaded = Path::new("/sys/bus/pci/drivers/vfio-pci").exists();
    if loaded {
        program::run("modprobe", &["-r", "vfio-pci"])?;
    }
    program::run("mount", &["-t", "tmpfs", "none", "/lib/modules"])?;
    let before = facts_of(&vfs)?;
    let refusal = virsh_refused(&["start", "g"]);
    program::run("umount", &["/lib/modules"])?;
    let refusal = refusal?;
    ensure!(refusal.contains("vfio-pci"), "{refusal}");
    ensure_as_before(&vfs, &before)?;

    let other = host.pf(1)?;
    let document = network_of_pf("empty", &other.netdev);
    virsh(&["net-define", &file("empty", &document)?])?;
    let refusal = vfnet_refused(&["net", "start", "empty"])?;
    ensure!(refusal.contains("vfs="), "{refusal}");
    virsh(&["start", "--paused", "g"])?;
    virsh(&["destroy", "g"])?;
    Ok(())
}

/// A host whose IOMMU is off: refused with what to do, and nothing changed.
pub(super) fn no_iommu(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let _daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    let before = facts_of(&vfs)?;
    let refusal = virsh_refused(&["start", "g"])?;
    ensure!(refusal.contains("no IOMMU") && refusal.contains("intel_iommu=on"), "{refusal}");
    ensure_as_before(&vfs, &before)
}

/// A network on a bridge of the host, and an interface that names the bridge itself: each is a
/// tap in it while the guest runs, and nothing afterwards.
pub(super) fn on_a_bridge(_host: &Host) -> Result<()> {
    with_bridge("br-lab", || {
        let _daemon = Daemon::start()?;
        network(
            "mgmt",
            "<network><name>mgmt</name><forward mode='bridge'/><bridge name='br-lab'/></network>",
        )?;
        let direct = "<interface type='bridge'><mac address='52:54:00:11:33:02'/>\
                      <source bridge='br-lab'/><model type='virtio'/></interface>";
        guest("g", &Guest::idle("g").nic(&mac(1), "mgmt").device(direct))?;
        virsh(&["start", "--paused", "g"])?;
        let taps = in_bridge("br-lab")?;
        ensure!(taps.len() == 2, "in the bridge: {taps:?}");
        virsh(&["destroy", "g"])?;
        let left = in_bridge("br-lab")?;
        ensure!(left.is_empty(), "left in the bridge: {left:?}");
        for tap in taps {
            ensure!(!Path::new("/sys/class/net").join(&tap).exists(), "{tap} is left");
        }
        Ok(())
    })
}

/// Does something while the host has this bridge.
pub(super) fn with_bridge(bridge: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    program::run("ip", &["link", "add", "name", bridge, "type", "bridge"])?;
    // The rights that udev gives everywhere else.
    program::run("modprobe", &["tun"])?;
    program::run("chmod", &["666", "/dev/net/tun"])?;
    let outcome = act();
    program::run("ip", &["link", "del", bridge])?;
    outcome
}

pub(super) fn in_bridge(bridge: &str) -> Result<Vec<String>> {
    let ports = fs::read_dir(format!("/sys/class/net/{bridge}/brif"))?;
    ports.map(|port| Ok(port?.file_name().to_string_lossy().into_owned())).collect()
}
