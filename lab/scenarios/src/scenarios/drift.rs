//! Somebody types `ip link set PF vf N …` while a guest holds the VF.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::lending::{ensure_as_before, facts_of, guest, mac, network, report};
use super::survival::pid_of;
use crate::daemon::{Daemon, vfnet, virsh};
use crate::documents::{Guest, network_of};
use crate::host::Host;
use crate::program;
use crate::wait::wait_for;

/// Far more than it takes: the kernel announces the change.
const LIMIT: Duration = Duration::from_secs(20);

/// What is typed, and what of it `vfnet events` has to name.
const TYPED: [(&[&str], &str); 4] = [
    (&["mac", "02:00:00:00:00:77"], "MAC 02:00:00:00:00:77 instead of 52:54:00:11:22:01"),
    (&["vlan", "7"], "VLAN 7 (802.1Q) instead of 42 (802.1Q)"),
    (&["spoofchk", "off"], "spoofchk off instead of on"),
    (&["trust", "on"], "trust on instead of off"),
];

fn repairs() -> Result<Vec<Value>> {
    let text = vfnet(&["--json", "events", "--no-follow"])?;
    let events: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let is_repair = |event: &Value| event["event"] == "vf-repaired";
    Ok(events.context("no event a line")?.into_iter().filter(is_repair).collect())
}

/// Each is put back within seconds, and told; the guest runs on, and its VF comes back as it was.
pub(super) fn typed_by_hand(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(2)?;
    let before = facts_of(&vfs)?;
    let _daemon = Daemon::start()?;
    let members = format!("<pf dev='{}'/>", pf.netdev);
    network("hw", &network_of("hw", &members, "<vlan><tag id='42'/></vlan>"))?;
    guest("g", &Guest::idle("g").nic(&mac(1), "hw"))?;
    virsh(&["start", "g"])?;
    let pid = pid_of("g")?;
    let vf = &vfs[0];
    let lent = vf.at_pf()?;
    ensure!(lent["address"] == mac(1).as_str(), "at the PF: {lent}");
    for (done, (typed, says)) in TYPED.iter().enumerate() {
        program::run("ip", &[&["link", "set", &pf.netdev, "vf", "0"], *typed].concat())?;
        let took = wait_for("the VF to be as it was lent", LIMIT, || {
            vf.at_pf().is_ok_and(|now| now == lent)
        })
        .with_context(|| format!("{typed:?} was typed; at the PF: {:?}", vf.at_pf()))?;
        println!("{}: put back within {:.2} s", typed.join(" "), took.as_secs_f64());
        wait_for("the event", LIMIT, || repairs().is_ok_and(|events| events.len() > done))?;
        let events = repairs()?;
        let last = events.last().context("no event")?;
        let text = last["text"].as_str().unwrap_or_default();
        ensure!(last["vf"] == vf.address.as_str() && text.contains(says), "{last}");
        println!("{}  {text}", last["time"].as_str().unwrap_or_default());
    }
    ensure!(repairs()?.len() == TYPED.len(), "{:?}", repairs()?);
    ensure!(report(vf)?["drift"].is_null(), "{}", report(vf)?);
    ensure!(pid_of("g")? == pid, "another process than before");
    virsh(&["destroy", "g"])?;
    ensure_as_before(&vfs, &before)
}
