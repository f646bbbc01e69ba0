//! How reports look to people. Pure: a report and a width in, text out.

use std::fmt::Display;

use serde::Serialize;
use uuid::Uuid;
use vfnet_model::doctor::{Check, Finding, State};
use vfnet_model::report::{
    AbsentPf, DaemonReport, ExcludedVfs, ExplainReport, ExplainedInterface, GuestReport,
    InventoryReport, PfReport, PlanReport, PortReport, VfReport,
};
use vfnet_model::{Vlan, VlanId, VlanProtocol, legible};

use crate::screen::Screen;
use crate::table::Sheet;

#[cfg(test)]
mod tests;

/// A network in `vfnet net ls`, and the answer to what changes one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NetworkRow {
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    pub(crate) active: bool,
    pub(crate) persistent: bool,
    pub(crate) autostart: bool,
}

/// `vfnet net show`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NetworkDetail {
    #[serde(flatten)]
    pub(crate) network: NetworkRow,
    pub(crate) ports: Vec<PortReport>,
}

/// A guest in `vfnet guest ls`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GuestRow {
    pub(crate) id: Option<i32>,
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    pub(crate) state: String,
    pub(crate) persistent: bool,
    pub(crate) autostart: bool,
}

/// What stands where there is nothing.
const NOTHING: &str = "-";

fn or_nothing(value: Option<impl Display>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn active(yes: bool) -> String {
    if yes { "active" } else { "inactive" }.to_owned()
}

/// `42`, with what is unusual about it: `42 qos 3`, `42 802.1ad`.
fn vlan(vlan: Option<Vlan>) -> String {
    let Some(vlan) = vlan.filter(|vlan| vlan.id != VlanId::NONE) else {
        return NOTHING.to_owned();
    };
    let mut text = vlan.id.to_string();
    if vlan.qos != 0 {
        text = format!("{text} qos {}", vlan.qos);
    }
    if vlan.protocol != VlanProtocol::Dot1Q {
        text = format!("{text} {}", vlan.protocol.name());
    }
    text
}

pub(crate) fn vfs(report: &InventoryReport, width: Option<u16>) -> String {
    let mut sheet =
        Sheet::new(["VF", "PF", "#", "MAC", "VLAN", "DRIVER", "GROUP", "NUMA", "STATE"]);
    for vf in &report.vfs {
        sheet.row([
            vf.address.to_string(),
            vf.pf_netdev.as_ref().map_or_else(|| vf.pf.to_string(), ToString::to_string),
            vf.index.to_string(),
            or_nothing(vf.mac),
            vlan(vf.vlan),
            or_nothing(vf.driver.as_ref()),
            or_nothing(vf.iommu_group),
            or_nothing(vf.numa_node),
            vf_state(vf),
        ]);
    }
    let rows = if sheet.is_empty() {
        "No VFs. Make some with <vfnet:pf vfs='N'> in a network, or:\n  \
         echo 7 > /sys/class/net/PF/device/sriov_numvfs\n"
            .to_owned()
    } else {
        sheet.render(width)
    };
    with_obstacle(report, rows)
}

fn with_obstacle(report: &InventoryReport, rows: String) -> String {
    match &report.obstacle {
        Some(obstacle) => format!("{rows}\nNo VF can be lent: {obstacle}\n"),
        None => rows,
    }
}

/// Who has it, or why nobody can.
pub(crate) fn vf_state(vf: &VfReport) -> String {
    let mut text = vf.state.clone();
    if let Some(holder) = &vf.holder {
        text = match vf.state.as_str() {
            "held" | "lent" => format!("{text} by {holder}"),
            "preparing" => format!("{text} for {holder}"),
            _ => format!("{text}, {holder}"),
        };
    }
    if let Some(drift) = vf.drift.as_ref().filter(|_| vf.why.is_none()) {
        return format!("{text}, changed by somebody else: {drift}");
    }
    match &vf.why {
        // "in bridge br0" says that it cannot be used; "quarantined (…)" says all there is.
        Some(why) if vf.state == "unusable" || why.starts_with(&vf.state) => why.clone(),
        Some(why) => format!("{text}: {why}"),
        None => text,
    }
}

pub(crate) fn pfs(report: &InventoryReport, width: Option<u16>) -> String {
    let mut sheet =
        Sheet::new(["PF", "ADDRESS", "MAC", "LINK", "DRIVER", "NUMA", "VFS", "LENT", "NETWORKS"]);
    for pf in &report.pfs {
        let networks: Vec<_> = pf.networks.iter().map(ToString::to_string).collect();
        let networks = Some(networks.join(", ")).filter(|names| !names.is_empty());
        sheet.row([
            or_nothing(pf.netdev.as_ref()),
            pf.address.to_string(),
            or_nothing(pf.mac),
            link(pf),
            or_nothing(pf.driver.as_ref()),
            or_nothing(pf.numa_node),
            format!("{} of {}{}", pf.num_vfs, pf.total_vfs, kept(pf)),
            pf.lent.to_string(),
            or_nothing(networks),
        ]);
    }
    let rows = if sheet.is_empty() {
        "No PFs: no card here can make VFs. `vfnet doctor` says more.\n".to_owned()
    } else {
        sheet.render(width)
    };
    let absent: String =
        report.absent.iter().map(|pf| format!("not here: {}\n", on_record(pf))).collect();
    with_obstacle(report, rows + &absent)
}

/// Of Mbit/s.
fn rate(speed: u32) -> String {
    match (speed / 1000, speed % 1000) {
        (0, _) => format!("{speed} Mbit/s"),
        (whole, 0) => format!("{whole} Gbit/s"),
        (whole, rest) => format!("{whole}.{} Gbit/s", format!("{rest:03}").trim_end_matches('0')),
    }
}

/// What is on record of a PF that is not here.
pub(crate) fn on_record(pf: &AbsentPf) -> String {
    let drained = match pf.drained.as_deref() {
        None => None,
        Some("") => Some("drained".to_owned()),
        Some(why) => Some(format!("drained: {}", legible(why))),
    };
    let kept = pf.kept_vfs.map(|count| format!("{count} VFs kept"));
    let says: Vec<_> = [drained, kept].into_iter().flatten().collect();
    let says = if says.is_empty() { "nothing on record".to_owned() } else { says.join(", ") };
    format!("PF {}: {says}", pf.identity)
}

/// What is kept of a PF's VFs, after how many there are.
pub(crate) fn kept(pf: &PfReport) -> String {
    match pf.kept_vfs {
        None => String::new(),
        Some(kept) if kept == pf.num_vfs => ", kept".to_owned(),
        Some(kept) => format!(", {kept} kept"),
    }
}

pub(crate) fn link(pf: &PfReport) -> String {
    let link = match (pf.up, pf.carrier, pf.speed) {
        (true, true, Some(speed)) => format!("up, {}", rate(speed)),
        (true, true, None) => "up".to_owned(),
        (true, false, _) => "no carrier".to_owned(),
        (false, ..) => "down".to_owned(),
    };
    let link = match pf.errors {
        None => link,
        Some(1) => format!("{link}, 1 PCIe error"),
        Some(errors) => format!("{link}, {errors} PCIe errors"),
    };
    match pf.drained.as_deref() {
        None => link,
        Some("") => format!("{link}, drained"),
        Some(why) => format!("{link}, drained: {why}"),
    }
}

pub(crate) fn ports(ports: &[PortReport], width: Option<u16>) -> String {
    if ports.is_empty() {
        return "No ports: no VF is lent.\n".to_owned();
    }
    let mut sheet = Sheet::new(["NETWORK", "VF", "NETDEV", "MAC", "VLAN", "STATE", "OWNER"]);
    for port in ports {
        sheet.row([
            or_nothing(port.network.as_ref()),
            port.vf.to_string(),
            or_nothing(port.netdev.as_ref()),
            or_nothing(port.mac),
            vlan(port.vlan),
            port_state(port),
            port.owner.clone(),
        ]);
    }
    sheet.render(width)
}

/// "lent", or "lent, not open for 3 h", or "held, changed by somebody else".
fn port_state(port: &PortReport) -> String {
    if port.drift.is_some() {
        return format!("{}, changed by somebody else", port.state);
    }
    let Some(seconds) = port.unused_for else { return port.state.clone() };
    let how_long = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    };
    format!("{}, not open for {how_long}", port.state)
}

/// Lines of `name  value`.
fn fields<const COUNT: usize>(fields: [(&str, String); COUNT]) -> String {
    let longest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.map(|(name, value)| format!("{name:longest$}  {value}\n")).concat()
}

pub(crate) fn daemon(report: &DaemonReport) -> String {
    fields([
        ("version", report.version.clone()),
        ("pid", report.pid.to_string()),
        ("boot id", report.boot_id.clone()),
        ("state in", report.state_dir.clone()),
        ("run in", report.run_dir.clone()),
    ])
}

pub(crate) fn networks(rows: &[NetworkRow], width: Option<u16>) -> String {
    let mut sheet = Sheet::new(["NAME", "STATE", "AUTOSTART", "PERSISTENT", "UUID"]);
    for row in rows {
        sheet.row([
            row.name.clone(),
            active(row.active),
            yes_no(row.autostart),
            yes_no(row.persistent),
            row.uuid.to_string(),
        ]);
    }
    sheet.render(width)
}

pub(crate) fn network(detail: &NetworkDetail, width: Option<u16>) -> String {
    let network = &detail.network;
    let head = fields([
        ("name", network.name.clone()),
        ("uuid", network.uuid.to_string()),
        ("state", active(network.active)),
        ("autostart", yes_no(network.autostart)),
        ("persistent", yes_no(network.persistent)),
        ("ports", detail.ports.len().to_string()),
    ]);
    with_ports(head, &detail.ports, width)
}

fn with_ports(head: String, rows: &[PortReport], width: Option<u16>) -> String {
    if rows.is_empty() { head } else { format!("{head}\n{}", ports(rows, width)) }
}

pub(crate) fn guests(rows: &[GuestRow], width: Option<u16>) -> String {
    let mut sheet = Sheet::new(["ID", "NAME", "STATE", "AUTOSTART", "PERSISTENT", "UUID"]);
    for row in rows {
        sheet.row([
            or_nothing(row.id),
            row.name.clone(),
            row.state.clone(),
            yes_no(row.autostart),
            yes_no(row.persistent),
            row.uuid.to_string(),
        ]);
    }
    sheet.render(width)
}

pub(crate) fn guest(report: &GuestReport, width: Option<u16>) -> String {
    let head = fields([
        ("name", report.name.to_string()),
        ("uuid", report.uuid.to_string()),
        ("id", or_nothing(report.id)),
        ("state", report.state.clone()),
        ("QEMU's pid", or_nothing(report.pid)),
        ("autostart", yes_no(report.autostart)),
        ("persistent", yes_no(report.persistent)),
    ]);
    with_ports(head, &report.ports, width)
}

/// As many VFs that could be lent are shown; nobody reads the ranks of thousands.
const RANKED: usize = 12;

pub(crate) fn explanation(report: &ExplainReport, width: Option<u16>) -> String {
    let mut parts: Vec<String> =
        report.interfaces.iter().map(|it| explained(report, it, width)).collect();
    if let Some(obstacle) = &report.obstacle {
        parts.push(format!("No VF can be lent: {obstacle}\n"));
    }
    parts.join("\n")
}

/// How one interface would be served: a line of what it would get, then every VF.
fn explained(report: &ExplainReport, it: &ExplainedInterface, width: Option<u16>) -> String {
    let mut head = String::new();
    if let Some(mac) = it.mac {
        let group = it.portgroup.as_ref().map(|name| format!(" of portgroup {name}"));
        let gets = match it.usable.first() {
            Some((vf, _)) if report.obstacle.is_none() => format!("would get {vf}"),
            _ => "would get no VF".to_owned(),
        };
        head = legible(&format!("Interface {mac}{} {gets}.\n\n", group.unwrap_or_default()));
    }
    if it.usable.is_empty() && it.others.is_empty() {
        return format!("{head}Network {} has no VFs.\n", report.network);
    }
    let mut sheet = Sheet::new(["VF", "TURN", "WHY"]);
    for ((vf, why), turn) in it.usable.iter().zip(1..).take(RANKED) {
        sheet.row([vf.to_string(), turn.to_string(), why.clone()]);
    }
    if it.usable.len() > RANKED {
        let more = it.usable.len() - RANKED;
        sheet.row([format!("{more} more"), "later".to_owned(), String::new()]);
    }
    for ExcludedVfs { vf, count, rest, reason } in &it.others {
        let which = match (rest, count) {
            (true, count) => format!("{count} more"),
            (false, 1) => vf.to_string(),
            (false, count) => format!("{vf} and {} more", count - 1),
        };
        sheet.row([which, "no".to_owned(), reason.clone()]);
    }
    head + &sheet.render(width)
}

pub(crate) fn findings(findings: &[Finding], screen: &Screen) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| check(finding.check).len()).max().unwrap_or(0);
    let indent = " ".repeat("warning".len() + 2 + width + 2);
    for finding in findings {
        let (word, colour) = match finding.state {
            State::Ok => ("ok", "32"),
            State::Warning => ("warning", "33"),
            State::Problem => ("problem", "31"),
        };
        let padded = format!("{word:7}");
        let word = if screen.colour { format!("\x1b[{colour}m{padded}\x1b[0m") } else { padded };
        text.push_str(&format!(
            "{word}  {:width$}  {}\n",
            check(finding.check),
            legible(&finding.says)
        ));
        if let Some(mend) = &finding.mend {
            for line in legible(mend).lines() {
                text.push_str(&format!("{indent}{line}\n"));
            }
        }
        for detail in &finding.details {
            text.push_str(&format!("{indent}{}\n", legible(detail)));
        }
    }
    text
}

fn check(check: Check) -> &'static str {
    match check {
        Check::Iommu => "IOMMU",
        Check::Vfio => "vfio",
        Check::Cards => "cards",
        Check::Vfs => "VFs",
        Check::Drivers => "driver",
        Check::Kvm => "KVM",
        Check::Qemu => "QEMU",
        Check::NetworkDaemon => "network daemon",
        Check::Ports => "ports",
    }
}

/// A plan: who would be hit, then what would be done, numbered.
pub(crate) fn plan(plan: &PlanReport) -> String {
    let mut text = String::new();
    let (hits, steps): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| step.does == "hit");
    for hit in hits {
        text.push_str(&format!("hit: {}\n", legible(&hit.says)));
    }
    for (step, number) in steps.iter().zip(1..) {
        let record = if step.does == "record" { "record: " } else { "" };
        text.push_str(&format!("{number:>3}. {record}{}\n", legible(&step.says)));
    }
    if plan.steps.is_empty() {
        text.push_str("nothing would be done\n");
    }
    if plan.waits {
        text.push_str("then what is under way already is waited for\n");
    }
    text.push_str("This is only planned: nothing has been done.\n");
    text
}
