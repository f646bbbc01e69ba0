//! What `cargo xtask demo` tells, as far as it happens inside the host: two boots of it.
//!
//! The story goes out line by line, and `xtask/src/demo.rs` shows it. The first word of a line
//! is what the line is: [`step`] a sentence on what is done and why, [`show`] a line that some
//! program printed, [`wait`] something slow that lasts until the next line, [`saw`] an
//! observation for the closing table. What is observed is the kernel's account and the
//! guest's own, never what vfnet thinks.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::daemon::{Daemon, vfnet};
use crate::documents::Guest;
use crate::guest::{last_sign_of_life, wait_for_nic};
use crate::host::{Host, Pf, Vf};
use crate::program;
use crate::scenario::cut_power;
use crate::wait::{wait_for, wait_for_some};

const NETWORK: &str = "hw";
const GUEST: &str = "web1";
const GUEST_MAC: &str = "52:54:00:77:00:01";
const CONSOLE: &str = "/run/web1.console";
const VFS: usize = 7;
/// Two emulated machines share a processor with other work.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at VFs that are just being made; each stays as it is for longer.
const GLANCE: Duration = Duration::from_millis(20);

/// Tells what happens in this boot of the host. The first ends in a power cut.
///
/// # Errors
///
/// When something does not come to pass at all; the story breaks off there.
pub fn tell(host: &Host) -> Result<()> {
    match host.boot() {
        1 => first_boot(host),
        2 => second_boot(host),
        boot => bail!("the story has two boots, and no boot {boot}"),
    }
}

fn step(text: &str) {
    println!("STEP {text}");
}

fn show(text: &str) {
    for line in text.lines() {
        println!("SHOW {line}");
    }
}

fn wait(what: &str) {
    println!("WAIT {what}");
}

fn saw(what: &str, value: impl std::fmt::Display) {
    println!("SAW {what} {value}");
}

/// Runs vfnet, and shows the command and what it printed.
fn shown(args: &[&str]) -> Result<()> {
    show(&format!("$ vfnet {}", args.join(" ")));
    show(&vfnet(args)?);
    Ok(())
}

fn first_boot(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    step("The host is up: one SR-IOV card, and no VF yet. vfnetd starts.");
    let daemon = Daemon::start()?;
    shown(&["pf", "ls"])?;

    let network = network_document(&pf);
    fs::write("/run/hw.xml", &network)?;
    step("A network whose ports are the card's VFs. vfs='7' lets it make them when it starts.");
    show(&network);
    wait("the kernel to make seven VFs, with drivers");
    vfnet(&["net", "define", "/run/hw.xml"])?;
    vfnet(&["net", "autostart", NETWORK])?;
    vfnet(&["net", "start", NETWORK])?;
    let vfs = made_vfs(&pf)?;
    for vf in &vfs {
        saw(&format!("own-mac/1/{}", vf.index), vf.own_mac()?);
    }
    step("Each VF has a MAC of its own, made up by the driver: new ones at every boot.");
    shown(&["vf", "ls"])?;

    let document = guest_document()?;
    fs::write("/run/web1.xml", &document)?;
    step("A guest asks the network for a NIC, and for this MAC. It knows nothing of VFs.");
    show(&interface_of(&document));
    vfnet(&["guest", "define", "/run/web1.xml"])?;
    vfnet(&["guest", "autostart", GUEST])?;
    wait("vfnetd to lend a VF and to start the guest");
    vfnet(&["guest", "start", GUEST])?;
    let lent = lent_vf(&vfs)?;
    step(&format!(
        "VF {} is lent: the card has the guest's MAC for it, and vfio-pci keeps the host off it.",
        lent.index
    ));
    show(&format!("$ ip link show {}", pf.netdev));
    show(&at_pf(&pf, lent)?);
    shown(&["vf", "ls"])?;
    guest_reports(host)?;

    let pid = guest_pid()?;
    saw("pid/before", pid);
    let before = sign_after(None)?;
    saw("sign/before", before);
    step(&format!("kill -9 {}: vfnetd is gone. Its guest is nobody's child.", daemon.pid()));
    show(&format!("guest's sign of life {before}, in QEMU process {pid}"));
    daemon.kill()?;
    ensure!(vfnet(&["status"]).is_err(), "vfnetd answers although it was killed");
    wait("the guest's next sign of life, with no daemon there");
    let without = sign_after(last_sign_of_life(Path::new(CONSOLE)))?;
    saw("sign/without", without);
    step("It is alive. vfnetd starts again, and has to find what it left.");
    show(&format!("guest's sign of life {without}"));
    let daemon = Daemon::start()?;
    wait_for("the guest to be found running", LIMIT, || guest_pid().is_ok())?;
    saw("pid/after", guest_pid()?);
    let after = sign_after(last_sign_of_life(Path::new(CONSOLE)))?;
    saw("sign/after", after);
    shown(&["guest", "ls"])?;
    show(&format!("guest's sign of life {after}, in QEMU process {}", guest_pid()?));
    step("Now the host loses its power, with everything running. Nothing is written back.");
    // Nothing orderly: the daemon, too, is there until the power goes.
    std::mem::forget(daemon);
    cut_power()
}

fn second_boot(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    step("The same host again. vfnetd starts; the card's link is down, so it lends nothing yet.");
    let daemon = Daemon::start()?;
    shown(&["guest", "ls", "--all"])?;
    step("The link comes up. vfnetd sees that, and starts network and guest by itself.");
    wait("the seven VFs, and the guest on one of them");
    let running = AtomicBool::new(false);
    let (vfs, before) = std::thread::scope(|scope| {
        let witness = scope.spawn(|| facts_before_lending(&pf, &running));
        let came = raised_to_a_running_guest(&pf);
        running.store(true, Ordering::Release);
        let before = witness.join().map_err(|_| anyhow::anyhow!("the witness panicked"));
        came.and_then(|vfs| Ok((vfs, before?)))
    })?;
    let lent = lent_vf(&vfs)?;
    for (vf, facts) in vfs.iter().zip(&before) {
        let own = facts.as_ref().map(|facts| facts.netdev_mac.clone());
        // Only the one that is lent has no netdev now; the others can be looked at twice.
        let own = own.map_or_else(|| vf.own_mac(), Ok)?;
        saw(&format!("own-mac/2/{}", vf.index), own);
    }
    let facts = before.get(lent.index as usize).and_then(Option::as_ref);
    facts.context("the VF was lent before it could be looked at")?.tell("before");
    saw("lent", lent.index);
    step("They are back: other VF MACs than before, and the guest's MAC on the one it has.");
    shown(&["vf", "ls"])?;
    guest_reports(host)?;

    step("The guest is ended, and its VF is given back: nothing of the guest may stay on it.");
    show(&format!("$ vfnet guest destroy {GUEST}"));
    vfnet(&["guest", "destroy", GUEST])?;
    Facts::of(lent)?.tell("after");
    show(&format!("$ ip link show {}", pf.netdev));
    show(&at_pf(&pf, lent)?);
    shown(&["vf", "ls"])?;
    let status = daemon.stop()?;
    ensure!(status.success(), "vfnetd ended with {status}");
    Ok(())
}

/// The network's document: the pool is every VF of the PF, and vfnet makes them.
fn network_document(pf: &Pf) -> String {
    let netdev = &pf.netdev;
    format!(
        "<network xmlns:vfnet='urn:vfnet:network:1'>\n  <name>{NETWORK}</name>\n  \
         <forward mode='hostdev' managed='yes'>\n    <pf dev='{netdev}'/>\n  </forward>\n  \
         <vfnet:pool><vfnet:pf dev='{netdev}' vfs='{VFS}' autoprobe='yes'/></vfnet:pool>\n</network>\n"
    )
}

/// The guest's document, without ACPI: its kernel is up sooner, and no button is pressed here.
fn guest_document() -> Result<String> {
    let document =
        Guest::booting(GUEST, "vflab.stay").nic(GUEST_MAC, NETWORK).xml(Path::new(CONSOLE))?;
    Ok(document.replace("  <features>\n    <acpi/>\n  </features>\n", ""))
}

/// The lines of a guest's document that make its NIC.
fn interface_of(document: &str) -> String {
    let mut lines = Vec::new();
    for line in document.lines().skip_while(|line| !line.contains("<interface")) {
        lines.push(line.strip_prefix("    ").unwrap_or(line));
        if line.contains("</interface>") {
            break;
        }
    }
    lines.join("\n")
}

/// The VFs that the network has made, each with its driver.
fn made_vfs(pf: &Pf) -> Result<Vec<Vf>> {
    let (vfs, _) = wait_for_some("seven VFs with netdevs", LIMIT, || {
        let vfs = pf.vfs().ok()?;
        (vfs.len() == VFS && vfs.iter().all(|vf| vf.netdev().is_some())).then_some(vfs)
    })?;
    Ok(vfs)
}

fn lent_vf(vfs: &[Vf]) -> Result<&Vf> {
    vfs.iter().find(|vf| vf.driver().as_deref() == Some("vfio-pci")).context("no VF is on vfio-pci")
}

/// What `ip link` says of a VF's MAC at its PF, and the driver that has the VF.
fn at_pf(pf: &Pf, vf: &Vf) -> Result<String> {
    let text = program::run("ip", &["link", "show", "dev", &pf.netdev])?;
    let start = format!("vf {} ", vf.index);
    let line = text.lines().map(str::trim).find(|line| line.starts_with(&start));
    let line = line.with_context(|| format!("{} does not know VF {}", pf.netdev, vf.index))?;
    let driver = vf.driver().unwrap_or_else(|| "no driver".to_owned());
    let mac = line.split(" brd ").next().unwrap_or(line);
    Ok(format!("{mac} …\ndriver of {}: {driver}", vf.address))
}

/// Waits for the guest's kernel, and for the NIC that the guest itself reports.
fn guest_reports(host: &Host) -> Result<()> {
    wait("the guest's kernel, emulated twice over: a minute or two");
    let (nic, _) = wait_for_nic(Path::new(CONSOLE))?;
    step("The guest has booted, and says what NIC it sees.");
    show(&format!("guest: {} has {}, driver {}", nic.name, nic.mac, nic.driver));
    saw(&format!("guest-mac/{}", host.boot()), nic.mac);
    Ok(())
}

/// Waits for a sign of life of the guest that is later than `last`.
fn sign_after(last: Option<u64>) -> Result<u64> {
    let (sign, _) = wait_for_some("a sign of life of the guest", LIMIT, || {
        last_sign_of_life(Path::new(CONSOLE)).filter(|sign| Some(*sign) > last)
    })?;
    Ok(sign)
}

fn guest_pid() -> Result<i64> {
    let guest: Value = serde_json::from_str(&vfnet(&["--json", "guest", "show", GUEST])?)?;
    guest["pid"].as_i64().with_context(|| format!("{GUEST} has no process: {guest}"))
}

/// Raises the PF, and waits until vfnetd has made the VFs and runs the guest on one of them.
fn raised_to_a_running_guest(pf: &Pf) -> Result<Vec<Vf>> {
    pf.raise()?;
    wait_for("the guest to come up by itself", LIMIT, || {
        // Files first: a process that asks costs more than all of this.
        Path::new(CONSOLE).exists() && guest_pid().is_ok()
    })?;
    pf.vfs()
}

/// What must be the same before a VF is lent and after it is given back.
struct Facts {
    admin_mac: String,
    netdev_mac: String,
    driver: String,
}

impl Facts {
    fn of(vf: &Vf) -> Result<Self> {
        Ok(Self {
            admin_mac: vf.admin_mac()?,
            netdev_mac: vf.own_mac()?,
            driver: vf.driver().context("the VF has no driver")?,
        })
    }

    fn tell(&self, when: &str) {
        saw(&format!("admin-mac/{when}"), &self.admin_mac);
        saw(&format!("netdev-mac/{when}"), &self.netdev_mac);
        saw(&format!("driver/{when}"), &self.driver);
    }
}

/// Looks at each VF once, as soon as it is there and before anything is lent. The kernel makes
/// the VFs one by one, and vfnetd lends none before the last is made.
fn facts_before_lending(pf: &Pf, running: &AtomicBool) -> Vec<Option<Facts>> {
    let mut seen: Vec<Option<Facts>> = (0..VFS).map(|_| None).collect();
    while !running.load(Ordering::Acquire) && seen.iter().any(Option::is_none) {
        for vf in pf.vfs().unwrap_or_default() {
            let Some(place) = seen.get_mut(vf.index as usize).filter(|place| place.is_none())
            else {
                continue;
            };
            if vf.driver().as_deref() == Some("igbvf") && vf.netdev().is_some() {
                // A VF whose driver went in between is one that was lent: not a fact of before.
                *place = Facts::of(&vf).ok().filter(|facts| facts.driver == "igbvf");
            }
        }
        std::thread::sleep(GLANCE);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::{interface_of, network_document};
    use crate::host::Pf;

    #[test]
    fn the_nic_is_shown_without_the_rest_of_the_document() {
        let document = "<domain>\n    <interface type='network'>\n      <mac/>\n    </interface>\n";
        assert_eq!(interface_of(document), "<interface type='network'>\n  <mac/>\n</interface>");
    }

    #[test]
    fn the_network_makes_the_vfs_of_the_pf_that_it_lends_from() {
        let pf = Pf { address: "0000:01:00.0".to_owned(), netdev: "eth0".to_owned() };
        let document = network_document(&pf);
        assert!(document.contains("<pf dev='eth0'/>"), "{document}");
        assert!(document.contains("<vfnet:pf dev='eth0' vfs='7' autoprobe='yes'/>"), "{document}");
    }
}
