//! vfnet's own program: inventory, reasons, repair.

use std::path::Path;

use serde::Serialize;
use vfnet_engine::{
    Answer, Claim, Excluded, Explained, NicSource, Phase, Refusal, Request, State, excluded, place,
};
use vfnet_model::doctor::{self, Check, Finding};
use vfnet_model::pf::PfIdentity;
use vfnet_model::report::{
    AbsentPf, DaemonReport, ExcludedVfs, ExplainReport, ExplainedInterface, GuestReport,
    InventoryReport, KnownPf, PfReport, PortReport, VfReport,
};
use vfnet_model::{GuestName, NetworkName, PciAddress};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::vfnet::{ExplainArgs, PfDrainArgs, PfSetVfsArgs};
use vfnet_rpc::xdr::Text;

use crate::aside::aside;
use crate::{Daemon, wire_error};

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused(refusal: Refusal) -> WireError {
    wire_error::refusal(ErrorDomain::Network, &refusal)
}

/// A report as it goes over the wire.
pub(super) fn json(report: &impl Serialize) -> Result<Text, WireError> {
    let failed =
        |detail: String| WireError::new(ErrorDomain::Rpc, ErrorCode::InternalError, &detail);
    let text = serde_json::to_string(report).map_err(|fault| failed(fault.to_string()))?;
    Text::new(text).map_err(|fault| failed(fault.to_string()))
}

pub(super) fn daemon_info(daemon: &Daemon) -> DaemonReport {
    DaemonReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        boot_id: daemon.boot_id.to_string(),
        state_dir: daemon.config.state_dir.display().to_string(),
        run_dir: daemon.config.run_dir.display().to_string(),
    }
}

pub(super) async fn inventory(daemon: &Daemon) -> Result<InventoryReport, WireError> {
    daemon.observer.look().await;
    daemon.engine.read(inventory_of).await.map_err(refused)
}

fn inventory_of(state: &State) -> InventoryReport {
    let host = &state.inventory;
    let there = host.pfs.keys().flat_map(|pf| host.vfs_of(*pf));
    let vfs = there.map(|vf| vf_report(state, vf));
    InventoryReport {
        obstacle: place::host_obstacle(host).map(|refusal| refusal.to_string()),
        pfs: host.pfs.values().map(|pf| pf_report(state, pf)).collect(),
        vfs: vfs.collect(),
        absent: state.absent_pfs(),
    }
}

fn pf_report(state: &State, pf: &vfnet_model::inventory::Pf) -> PfReport {
    let networks = state.live_networks.values().filter(|live| state.lends_pf(live, pf.address));
    let lent = state.claims.values().filter(|claim| claim.pf == pf.address).count();
    PfReport {
        address: pf.address,
        netdev: pf.netdev.as_ref().map(|dev| dev.name.clone()),
        mac: pf.netdev.as_ref().map(|dev| dev.mac),
        up: pf.netdev.as_ref().is_some_and(|dev| dev.up),
        carrier: pf.netdev.as_ref().is_some_and(|dev| dev.carrier),
        speed: pf.netdev.as_ref().and_then(|dev| dev.speed),
        physical_networks: state.physical_networks_of(pf).collect(),
        driver: pf.driver.clone(),
        num_vfs: pf.num_vfs,
        total_vfs: pf.total_vfs,
        lent: u16::try_from(lent).unwrap_or(u16::MAX),
        numa_node: pf.numa_node,
        networks: networks.map(|live| live.name().clone()).collect(),
        drained: state.drain_of(pf.address).map(|drain| drain.why.clone()),
        errors: pf.errors.filter(|errors| *errors > 0),
        kept_vfs: state.kept_vfs_of(pf.address),
    }
}

fn vf_report(state: &State, vf: &vfnet_model::inventory::Vf) -> VfReport {
    let claim = state.claim_on(vf.address);
    let why_not = state.why_not_lent(vf.address);
    let word = match (claim, &why_not) {
        (Some(claim), _) => claim.state.word(),
        (None, Some(_)) => "unusable",
        (None, None) => "free",
    };
    let told = claim.is_none() || matches!(word, "quarantined" | "stuck");
    VfReport {
        address: vf.address,
        pf: vf.pf,
        pf_netdev: pf_netdev(state, vf.pf),
        index: vf.index,
        netdev: vf.netdev.as_ref().map(|dev| dev.name.clone()),
        mac: vf.attributes.as_ref().map(|attributes| attributes.mac),
        netdev_mac: vf.netdev.as_ref().map(|dev| dev.mac),
        vlan: vf.attributes.as_ref().map(|attributes| attributes.vlan),
        driver: vf.binding.driver.clone(),
        iommu_group: vf.iommu_group,
        numa_node: vf.numa_node,
        state: word.to_owned(),
        holder: claim.map(|claim| claim.owner.to_string()),
        why: why_not.filter(|_| told),
        network: claim.and_then(|claim| claim.network.as_ref()).map(|of| of.name.clone()),
        drift: claim.and_then(|claim| claim.drift.clone()),
    }
}

fn pf_netdev(state: &State, pf: PciAddress) -> Option<vfnet_model::NetdevName> {
    state.inventory.pfs.get(&pf)?.netdev.as_ref().map(|dev| dev.name.clone())
}

pub(super) async fn explain(
    daemon: &Daemon,
    args: &ExplainArgs,
) -> Result<ExplainReport, WireError> {
    let network = super::network::by_name(daemon, &args.network).await?;
    let name: NetworkName = args
        .network
        .parse()
        .map_err(|_| wire_error::invalid(ErrorDomain::Network, "not a network's name"))?;
    let guest = match &args.guest {
        Some(xml) => Some(super::guest::definition(daemon, xml).await?),
        None => None,
    };
    daemon.observer.look().await;
    let uuid = network.uuid;
    let report = move |state: &State| {
        let Some(live) = state.live_networks.get(&uuid) else {
            let obstacle = state.missing_hardware(state.network(uuid)?)?;
            let (vfs, interfaces) = (Vec::new(), Vec::new());
            let obstacle = Some(obstacle);
            return Some(Ok(ExplainReport { network: name, obstacle, vfs, interfaces }));
        };
        let explained = match state.explain(live, guest.as_ref()) {
            Ok(explained) => explained,
            Err(refusal) => return Some(Err(refusal)),
        };
        let obstacle = place::host_obstacle(&state.inventory).map(|refusal| refusal.to_string());
        let mut vfs = Vec::new();
        if let Some(Explained { usable, others, .. }) = explained.first() {
            vfs.extend(usable.iter().map(|(_, vf)| (*vf, None)));
            vfs.extend(others.iter().map(|it| (it.vf, Some(it.reason.clone()))));
        }
        let interfaces = explained.into_iter().map(explained_interface).collect();
        Some(Ok(ExplainReport { network: name, obstacle, vfs, interfaces }))
    };
    let report = daemon.engine.read(report).await.map_err(refused)?.ok_or_else(|| {
        let detail = format!("network '{}' is not active", args.network);
        WireError::new(ErrorDomain::Network, ErrorCode::OperationInvalid, &detail)
    })?;
    report.map_err(refused)
}

fn excluded_vfs(excluded: Excluded) -> ExcludedVfs {
    let Excluded { vf, count, rest, reason } = excluded;
    ExcludedVfs { vf, count, rest, reason }
}

fn explained_interface(explained: Explained) -> ExplainedInterface {
    let Explained { nic, usable, others } = explained;
    ExplainedInterface {
        mac: nic.as_ref().map(|nic| nic.mac),
        portgroup: nic.and_then(|nic| match nic.source {
            NicSource::Network { portgroup, .. } => portgroup,
            _ => None,
        }),
        usable: usable.into_iter().map(|(rank, vf)| (vf, rank.to_string())).collect(),
        others: excluded(&others).into_iter().map(excluded_vfs).collect(),
    }
}

pub(super) async fn vf_restore(daemon: &Daemon, vf: &str) -> Result<VfReport, WireError> {
    let address: PciAddress = vf.parse().map_err(|fault: vfnet_model::pci::NotAPciAddress| {
        wire_error::invalid(ErrorDomain::NodeDevice, &fault.to_string())
    })?;
    daemon.observer.look().await;
    let answer = daemon.engine.ask(Request::VfRestore(address)).await.map_err(refused)?;
    if let Answer::Restored(Err(because)) = answer {
        let detail = format!("{} could not be restored: {}", because.vf, because.reason);
        return Err(WireError::new(ErrorDomain::NodeDevice, ErrorCode::OperationFailed, &detail));
    }
    daemon.observer.look().await;
    let find =
        move |state: &State| state.inventory.vfs.get(&address).map(|vf| vf_report(state, vf));
    daemon.engine.read(find).await.map_err(refused)?.ok_or_else(|| {
        let detail = format!("{address} is not there any more");
        WireError::new(ErrorDomain::NodeDevice, ErrorCode::DeviceMissing, &detail)
    })
}

pub(super) async fn pf_set_vfs(
    daemon: &Daemon,
    args: &PfSetVfsArgs,
    keep: bool,
) -> Result<PfReport, WireError> {
    let pf = pf_address(&args.pf)?;
    // More than a PF can say of itself (`sriov_totalvfs`) is more than it allows.
    let count = u16::try_from(args.vfs).unwrap_or(u16::MAX);
    ask_about_pf(daemon, pf, Request::PfSetVfs { pf, count, keep }).await
}

pub(super) async fn pf_forget_vfs(daemon: &Daemon, pf: &str) -> Result<KnownPf, WireError> {
    let pf = pf_identity(pf)?;
    ask_about_known_pf(daemon, pf, Request::PfForgetVfs(pf)).await
}

/// Words that are shown on a line of a table.
const LONGEST_WHY: usize = 255;

pub(super) async fn pf_drain(daemon: &Daemon, args: &PfDrainArgs) -> Result<PfReport, WireError> {
    let pf = pf_address(&args.pf)?;
    let why = args.why.to_string();
    if why.len() > LONGEST_WHY || why.contains(char::is_control) {
        let detail = format!("a reason is one line of at most {LONGEST_WHY} bytes");
        return Err(wire_error::invalid(ErrorDomain::NodeDevice, &detail));
    }
    ask_about_pf(daemon, pf, Request::PfDrain { pf, why }).await
}

pub(super) async fn pf_undrain(daemon: &Daemon, pf: &str) -> Result<KnownPf, WireError> {
    let pf = pf_identity(pf)?;
    ask_about_known_pf(daemon, pf, Request::PfUndrain(pf)).await
}

/// By an address, or by what an absent PF is listed as.
fn pf_identity(text: &str) -> Result<PfIdentity, WireError> {
    text.parse().or_else(|_| pf_address(text).map(PfIdentity::Address))
}

/// Has something done to what is known of a PF, which need not be here, and says what is known then.
async fn ask_about_known_pf(
    daemon: &Daemon,
    pf: PfIdentity,
    request: Request,
) -> Result<KnownPf, WireError> {
    let refused = |refusal: Refusal| wire_error::refusal(ErrorDomain::NodeDevice, &refusal);
    daemon.observer.look().await;
    daemon.engine.ask(request).await.map_err(refused)?;
    let find = move |state: &State| {
        let is_it = |found: &&vfnet_model::inventory::Pf| {
            pf == PfIdentity::Address(found.address) || pf == PfIdentity::of(found)
        };
        match state.inventory.pfs.values().find(is_it) {
            Some(found) => KnownPf::Here(Box::new(pf_report(state, found))),
            None => {
                let mut absent = state.absent_pfs().into_iter();
                let nothing = AbsentPf { identity: pf, drained: None, kept_vfs: None };
                KnownPf::Absent(absent.find(|absent| absent.identity == pf).unwrap_or(nothing))
            }
        }
    };
    daemon.engine.read(find).await.map_err(refused)
}

fn pf_address(text: &str) -> Result<PciAddress, WireError> {
    text.parse().map_err(|fault: vfnet_model::pci::NotAPciAddress| {
        wire_error::invalid(ErrorDomain::NodeDevice, &fault.to_string())
    })
}

/// Has something done to a PF, and says what it is then.
async fn ask_about_pf(
    daemon: &Daemon,
    pf: PciAddress,
    request: Request,
) -> Result<PfReport, WireError> {
    let refused = |refusal: Refusal| wire_error::refusal(ErrorDomain::NodeDevice, &refusal);
    daemon.observer.look().await;
    daemon.engine.ask(request).await.map_err(refused)?;
    let find = move |state: &State| state.inventory.pfs.get(&pf).map(|pf| pf_report(state, pf));
    daemon.engine.read(find).await.map_err(refused)?.ok_or_else(|| {
        let detail = format!("{pf} is not there any more");
        WireError::new(ErrorDomain::NodeDevice, ErrorCode::DeviceMissing, &detail)
    })
}

/// What this host lacks, and how to mend it.
pub(super) async fn doctor(daemon: &Daemon) -> Result<Vec<Finding>, WireError> {
    daemon.observer.look().await;
    let inventory =
        daemon.engine.read(|state: &State| state.inventory.clone()).await.map_err(refused)?;
    let emulator = daemon.config.emulator.clone();
    let examine = move || vfnet_host::doctor::examine(Path::new("/"), &inventory, &emulator);
    let mut findings = aside(examine).await?;
    findings.extend(daemon.upstream.finding().await);
    findings.extend(unused_ports(ports(daemon).await?));
    Ok(findings)
}

/// Ports that nobody uses, if there are any.
fn unused_ports(mut ports: Vec<PortReport>) -> Option<Finding> {
    ports.retain(|port| port.unused_for.is_some());
    let named = |port: &PortReport| Some(format!("{} {}", port.network.as_ref()?, port.port?));
    let names: Vec<String> = ports.iter().filter_map(named).collect();
    let first = names.first()?;
    let says = match names.len() {
        1 => format!("no process has the VF of a port open ({first})"),
        count => format!("no process has the VFs of {count} ports open ({})", names.join(", ")),
    };
    let mend = Some(format!("if its guest is gone: virsh net-port-delete {first}"));
    let (check, state, details) = (Check::Ports, doctor::State::Warning, Vec::new());
    Some(Finding { check, state, says, mend, details })
}

fn port_report(claim: &Claim) -> PortReport {
    PortReport {
        port: claim.network.as_ref().map(|of| of.port),
        network: claim.network.as_ref().map(|of| of.name.clone()),
        owner: claim.owner.to_string(),
        guest: claim.owner.guest(),
        mac: claim.wanted.as_ref().map(|wanted| wanted.mac),
        vlan: claim.wanted.as_ref().and_then(|wanted| wanted.vlan),
        vf: claim.vf,
        netdev: claim.netdev.clone(),
        state: claim.state.word().to_owned(),
        unused_for: None,
        drift: claim.drift.clone(),
    }
}

pub(super) async fn ports(daemon: &Daemon) -> Result<Vec<PortReport>, WireError> {
    let unused = daemon.unused.clone();
    let ports = move |state: &State| {
        let report = |claim: &Claim| {
            let unused_for = unused.for_how_long(claim.id).filter(|_| state.is_unused(claim));
            PortReport { unused_for: unused_for.map(|it| it.as_secs()), ..port_report(claim) }
        };
        state.claims.values().map(report).collect()
    };
    daemon.engine.read(ports).await.map_err(refused)
}

/// The records behind the ports, in full; for diagnosis.
pub(super) async fn claims(daemon: &Daemon) -> Result<Vec<Claim>, WireError> {
    daemon
        .engine
        .read(|state: &State| state.claims.values().cloned().collect())
        .await
        .map_err(refused)
}

pub(super) async fn guest(daemon: &Daemon, name: &str) -> Result<GuestReport, WireError> {
    let domain = super::guest::by_name(daemon, name).await?;
    let uuid = domain.uuid;
    let report = move |state: &State| {
        let def = state.guest(uuid)?;
        let run = state.runs.get(&uuid);
        let kept = state.guests.get(&uuid);
        let name: GuestName = def.name.clone();
        Some(GuestReport {
            name,
            uuid,
            id: run.map(|run| run.id),
            state: phase_word(run.map(|run| run.phase)).to_owned(),
            pid: run.and_then(|run| run.pid),
            persistent: kept.is_some(),
            autostart: kept.is_some_and(|entry| entry.autostart),
            ports: state.claims_of(uuid).map(port_report).collect(),
        })
    };
    daemon
        .engine
        .read(report)
        .await
        .map_err(refused)?
        .ok_or_else(|| WireError::new(ErrorDomain::Qemu, ErrorCode::NoDomain, "the guest is gone"))
}

const fn phase_word(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "shut off",
        Some(Phase::Preparing) => "preparing",
        Some(Phase::Launching) => "launching",
        Some(Phase::Running) => "running",
        Some(Phase::Paused) => "paused",
        Some(Phase::ShuttingDown) => "shutting down",
        Some(Phase::Ending) => "ending",
    }
}
