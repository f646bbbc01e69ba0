//! Node devices: those of stock libvirt, as they are now, told of when they come and go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::lending::{LIMIT, seven};
use crate::daemon::{Daemon, virsh, virsh_command};
use crate::host::Host;
use crate::program;
use crate::stock::{Serves, StockLibvirt};
use crate::wait::wait_for;

/// A difference to stock libvirt that is meant.
struct Meant {
    /// Lines in which the difference shows.
    shows: fn(&str) -> bool,
    why: &'static str,
}

const MEANT: &[Meant] = &[
    Meant {
        shows: |line| line.starts_with("<link ") && line.contains("state="),
        why: "an unknown speed (-1 in sysfs) is left out; libvirt prints 4294967295",
    },
    Meant {
        shows: |line| line == "<feature name='txudptnl'/>",
        why: "libvirt goes by the number that the feature had in Linux 3.x, here it is the one of \
              this name",
    },
    Meant {
        shows: |line| line == "<feature name='switchdev'/>",
        why: "the mode of a PF's eswitch is not asked for",
    },
];

fn name_of(address: &str) -> String {
    format!("pci_{}", address.replace([':', '.'], "_"))
}

/// The names that `nodedev-list` prints, by the capability asked for.
fn listed(of: &dyn Fn(&[&str]) -> Result<String>, capability: &str) -> Result<Vec<String>> {
    let text = of(&["nodedev-list", "--cap", capability])?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The documents of devices, by one virsh for all of them.
fn documents(
    of: &dyn Fn(&[&str]) -> Result<String>,
    names: &[String],
) -> Result<BTreeMap<String, Vec<String>>> {
    let commands: Vec<String> =
        names.iter().map(|name| format!("nodedev-dumpxml {name}")).collect();
    let text = of(&[&commands.join("; ")])?;
    let documents: Vec<_> = text.split_inclusive("</device>").map(lines).collect();
    let documents = documents.into_iter().filter(|lines| !lines.is_empty());
    let found: BTreeMap<_, _> = names.iter().cloned().zip(documents).collect();
    ensure!(found.len() == names.len(), "{} documents of {}", found.len(), names.len());
    Ok(found)
}

/// A document line by line. Members of an IOMMU group come in the order of a hash table from
/// libvirt, and by address from vfnet; they are compared as a set.
fn lines(document: &str) -> Vec<String> {
    let mut lines: Vec<String> = document
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let group = lines.iter().position(|line| line.starts_with("<iommuGroup "));
    let end = lines.iter().position(|line| line == "</iommuGroup>");
    if let (Some(group), Some(end)) = (group, end) {
        lines[group + 1..end].sort();
    }
    lines
}

/// Lines that one of two documents has alone.
fn differences<'a>(ours: &'a [String], theirs: &'a [String]) -> Vec<&'a str> {
    let alone = |of: &'a [String], other: &'a [String]| {
        of.iter().filter(|line| !other.contains(line)).map(String::as_str)
    };
    alone(ours, theirs).chain(alone(theirs, ours)).collect()
}

/// Every device of the host that vfnet lists is listed by stock libvirt and described alike, but
/// for what is meant.
pub(super) fn those_of_stock_libvirt(host: &Host) -> Result<()> {
    seven(host)?;
    let Some(stock) = StockLibvirt::start(Serves::NodeDevices)? else {
        println!("skipped: stock libvirt is not unpacked (cargo xtask stock-libvirt)");
        return Ok(());
    };
    let _daemon = Daemon::start()?;
    let of_stock = |args: &[&str]| stock.virsh(args);
    let of_vfnet = |args: &[&str]| virsh(args);
    for capability in ["system", "pci", "net"] {
        let ours = listed(&of_vfnet, capability)?;
        let theirs = listed(&of_stock, capability)?;
        ensure!(ours == theirs, "{capability} devices:\n  {ours:?}\n  libvirt's: {theirs:?}");
        let ours = documents(&of_vfnet, &ours)?;
        let theirs = documents(&of_stock, &theirs)?;
        let mut unmeant = Vec::new();
        for (name, ours) in &ours {
            let theirs = &theirs[name];
            let differ = differences(ours, theirs);
            for line in &differ {
                match MEANT.iter().find(|meant| (meant.shows)(line)) {
                    Some(meant) => println!("{name}: {line} differs: {}", meant.why),
                    None => unmeant.push(format!("{name}: {line}")),
                }
            }
            if differ.is_empty() && ours != theirs {
                unmeant.push(format!("{name}: {ours:?}, libvirt's: {theirs:?}"));
            }
        }
        ensure!(unmeant.is_empty(), "not as libvirt's:\n{}", unmeant.join("\n"));
        println!("{} {capability} devices are as stock libvirt's", ours.len());
    }
    Ok(())
}

/// Whoever listens hears of VFs and their netdevs when they are made and when they are removed.
pub(super) fn vfs_are_made(host: &Host) -> Result<()> {
    const HEARD: &str = "/run/node-device-events";
    let pf = host.pf(0)?;
    pf.raise()?;
    let other = host.pf(1)?;
    let _daemon = Daemon::start()?;
    let mut listener = virsh_command(&["nodedev-event", "--event", "lifecycle", "--loop"])
        .stdout(File::create(HEARD)?)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run virsh")?;
    let heard = || fs::read_to_string(HEARD).unwrap_or_default();
    let outcome = (|| {
        // virsh does not say when it listens. A netdev with another MAC is another device.
        let mut last = 0;
        wait_for("virsh to listen", LIMIT, || {
            last = (last + 1) % 200;
            let mac = format!("52:54:00:77:00:{last:02x}");
            let changed = program::run("ip", &["link", "set", &other.netdev, "address", &mac]);
            changed.is_ok() && !heard().is_empty()
        })?;
        let vfs = pf.make_vfs(2)?;
        let mut devices: Vec<String> = vfs.iter().map(|vf| name_of(&vf.address)).collect();
        devices.extend(vfs.iter().filter_map(|vf| Some(format!("net_{}_", vf.netdev()?))));
        ensure!(devices.len() == 4, "{devices:?}");
        hear(&heard, &devices, "Created")?;
        pf.make_vfs(0)?;
        hear(&heard, &devices, "Deleted")
    })();
    drop(listener.kill());
    drop(listener.wait());
    outcome
}

/// Waits until a change of every device has been heard of.
fn hear(heard: &dyn Fn() -> String, devices: &[String], change: &str) -> Result<()> {
    let told =
        |wanted: &str| heard().lines().any(|line| line.contains(wanted) && line.contains(change));
    for device in devices {
        wait_for(&format!("{device}: {change}"), LIMIT, || told(device))?;
    }
    Ok(())
}
