//! Commands about the host: what the daemon sees and lacks.

use vfnet_model::PciAddress;
use vfnet_model::doctor::{Finding, State};
use vfnet_model::pf::PfIdentity;
use vfnet_model::report::{DaemonReport, InventoryReport, KnownPf, PfReport, PortReport, VfReport};
use vfnet_rpc::vfnet::{
    DaemonInfo, Doctor, Inventory, PfDrain, PfDrainArgs, PfForgetVfs, PfKeepVfs, PfSetVfs,
    PfSetVfsArgs, PfUndrain, PortList, VfRestore,
};

use crate::connection::{Connection, text};
use crate::fault::Fault;
use crate::options::{PfCommand, PortCommand, VfCommand};
use crate::progress::Waiting;
use crate::screen::Screen;
use crate::topology::{Pen, Topology};
use crate::views;

pub(crate) fn doctor(mut daemon: Connection, screen: &Screen) -> Result<(), Fault> {
    let findings: Vec<Finding> = daemon.report::<Doctor, _>(&(), "examine the host")?;
    screen.report_in_colour(&findings, |findings| views::findings(findings, screen))?;
    let problem = findings.iter().any(|finding| finding.state == State::Problem);
    if problem { Err(Fault::NotReady) } else { Ok(()) }
}

pub(crate) fn status(mut daemon: Connection, screen: &Screen) -> Result<(), Fault> {
    let report: DaemonReport = daemon.report::<DaemonInfo, _>(&(), "ask for the daemon's state")?;
    screen.report(&report, views::daemon)
}

fn inventory(daemon: &mut Connection) -> Result<InventoryReport, Fault> {
    daemon.report::<Inventory, _>(&(), "list PFs and VFs")
}

pub(crate) fn topology(mut daemon: Connection, screen: &Screen, all: bool) -> Result<(), Fault> {
    let topology = Topology::of(inventory(&mut daemon)?);
    screen.report_in_colour(&topology, |topology| topology.draw(Pen::of(screen), all))
}

pub(crate) fn pf(mut daemon: Connection, screen: &Screen, command: PfCommand) -> Result<(), Fault> {
    match command {
        PfCommand::Ls => {
            let report = inventory(&mut daemon)?;
            let here = report.pfs.iter().cloned().map(|pf| KnownPf::Here(Box::new(pf)));
            let absent = report.absent.iter().cloned().map(KnownPf::Absent);
            let known: Vec<_> = here.chain(absent).collect();
            screen.report(&known, |_| views::pfs(&report, screen.width))
        }
        PfCommand::Set { pf, vfs, once, .. } => set_vfs(daemon, screen, &pf, vfs, once),
        PfCommand::Forget { pf, .. } => {
            let args = text("a PF", known_pf(&mut daemon, &pf)?)?;
            let doing = format!("forget how many VFs {pf} is to have");
            let report: KnownPf = daemon.report::<PfForgetVfs, _>(&args, &doing)?;
            screen.report(&report, |it| match it {
                KnownPf::Here(it) => number_of_vfs(&pf, it),
                KnownPf::Absent(it) => views::on_record(it) + "\n",
            })
        }
        PfCommand::Drain { pf, why, .. } => {
            let address = pf_address(&mut daemon, &pf)?;
            let args = PfDrainArgs {
                pf: text("a PF's address", address.to_string())?,
                why: text("a reason", why.unwrap_or_default())?,
            };
            let report = daemon.report::<PfDrain, _>(&args, &format!("drain {pf}"))?;
            screen.report(&report, |report: &PfReport| {
                format!("{pf}: drained, {} of its VFs lent\n", report.lent)
            })
        }
        PfCommand::Undrain { pf, .. } => {
            let args = text("a PF", known_pf(&mut daemon, &pf)?)?;
            let report: KnownPf =
                daemon.report::<PfUndrain, _>(&args, &format!("lend VFs of {pf} again"))?;
            screen.report(&report, |_| format!("{pf}: not drained\n"))
        }
    }
}

fn pf_address(daemon: &mut Connection, name: &str) -> Result<PciAddress, Fault> {
    match name.parse::<PciAddress>() {
        Ok(address) => Ok(address),
        Err(_) => pf_named(&inventory(daemon)?, name),
    }
}

/// A PF that need not be here: by its address, its interface, or what `vfnet pf ls` calls it.
fn known_pf(daemon: &mut Connection, name: &str) -> Result<String, Fault> {
    match name.parse::<PfIdentity>() {
        Ok(identity) => Ok(identity.to_string()),
        Err(_) => pf_address(daemon, name).map(|address| address.to_string()),
    }
}

fn set_vfs(
    mut daemon: Connection,
    screen: &Screen,
    name: &str,
    vfs: u16,
    once: bool,
) -> Result<(), Fault> {
    let address = pf_address(&mut daemon, name)?;
    let waiting = Waiting::until(format!("changing the number of VFs of {name}"));
    let args = PfSetVfsArgs { pf: text("a PF's address", address.to_string())?, vfs: vfs.into() };
    let doing = format!("change the number of VFs of {name}");
    let report: PfReport = if once {
        daemon.report::<PfSetVfs, _>(&args, &doing)?
    } else {
        daemon.report::<PfKeepVfs, _>(&args, &doing)?
    };
    drop(waiting);
    screen.report(&report, |pf| number_of_vfs(name, pf))
}

fn number_of_vfs(name: &str, pf: &PfReport) -> String {
    format!("{name}: {} of {} VFs{}\n", pf.num_vfs, pf.total_vfs, views::kept(pf))
}

fn pf_named(report: &InventoryReport, netdev: &str) -> Result<PciAddress, Fault> {
    let is_it = |pf: &&PfReport| pf.netdev.as_ref().is_some_and(|name| name.as_str() == netdev);
    report.pfs.iter().find(is_it).map(|pf| pf.address).ok_or_else(|| {
        Fault::NoSuchPf(format!(
            "'{netdev}' is neither a PCI address (like 0000:01:00.0) nor the interface of a PF"
        ))
    })
}

pub(crate) fn vf(mut daemon: Connection, screen: &Screen, command: VfCommand) -> Result<(), Fault> {
    match command {
        VfCommand::Ls => {
            let report = inventory(&mut daemon)?;
            screen.report(&report.vfs, |_| views::vfs(&report, screen.width))
        }
        VfCommand::Restore { vf, .. } => restore(daemon, screen, &vf),
    }
}

fn restore(mut daemon: Connection, screen: &Screen, name: &str) -> Result<(), Fault> {
    let address = match name.parse::<PciAddress>() {
        Ok(address) => address,
        Err(_) => address_of(&inventory(&mut daemon)?, name)?,
    };
    let waiting = Waiting::until(format!("restoring {address}"));
    let argument = text("a VF's address", address.to_string())?;
    let report: VfReport =
        daemon.report::<VfRestore, _>(&argument, &format!("restore {address}"))?;
    drop(waiting);
    screen.report(&report, |vf| format!("{address}: {}\n", views::vf_state(vf)))
}

fn address_of(report: &InventoryReport, netdev: &str) -> Result<PciAddress, Fault> {
    report
        .vfs
        .iter()
        .find(|vf| vf.netdev.as_ref().is_some_and(|name| name.as_str() == netdev))
        .map(|vf| vf.address)
        .ok_or_else(|| {
            Fault::NotFound(format!(
                "'{netdev}' is neither a PCI address (like 0000:01:10.2) nor the interface of a VF"
            ))
        })
}

pub(crate) fn port_list(daemon: &mut Connection) -> Result<Vec<PortReport>, Fault> {
    daemon.report::<PortList, _>(&(), "list ports")
}

pub(crate) fn port(
    mut daemon: Connection,
    screen: &Screen,
    PortCommand::Ls: &PortCommand,
) -> Result<(), Fault> {
    let ports = port_list(&mut daemon)?;
    screen.report(&ports, |ports| views::ports(ports, screen.width))
}
