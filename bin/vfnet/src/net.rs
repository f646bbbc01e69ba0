//! Commands about networks.

use std::io::Write as _;

use vfnet_model::legible;
use vfnet_model::report::ExplainReport;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags;
use vfnet_rpc::objects::{ListArgs, Network};
use vfnet_rpc::remote::{
    ConnectListAllNetworks, NetworkAutostartArgs, NetworkCreate, NetworkCreateXml,
    NetworkDefineXml, NetworkDestroy, NetworkFlags, NetworkGetAutostart, NetworkGetXmlDesc,
    NetworkIsActive, NetworkIsPersistent, NetworkSetAutostart, NetworkUndefine,
};
use vfnet_rpc::vfnet::{Explain, ExplainArgs, NetworkDestroyForced};

use crate::connection::{Connection, document};
use crate::fault::{CallFault, Fault};
use crate::host::port_list;
use crate::options::{Listing, NetCommand};
use crate::progress::Waiting;
use crate::screen::Screen;
use crate::views::{self, NetworkDetail, NetworkRow};

pub(crate) fn net(
    mut daemon: Connection,
    screen: &Screen,
    command: NetCommand,
) -> Result<(), Fault> {
    let daemon = &mut daemon;
    match command {
        NetCommand::Define(source) => {
            let xml = document(&source.file)?;
            let network =
                daemon.ask::<NetworkDefineXml>(&xml).map_err(Fault::call("define the network"))?;
            done(daemon, screen, &network, "defined")?;
            warn_of_obstacle(daemon, network);
            Ok(())
        }
        NetCommand::Create(source) => {
            let xml = document(&source.file)?;
            let waiting = Waiting::until("starting the network".to_owned());
            let network =
                daemon.ask::<NetworkCreateXml>(&xml).map_err(Fault::call("start the network"))?;
            drop(waiting);
            done(daemon, screen, &network, "started")
        }
        NetCommand::Start(which) => {
            let network = daemon.network(&which.name)?;
            let waiting = Waiting::until(format!("starting network {}", network.name));
            daemon.ask::<NetworkCreate>(&network).map_err(cannot("start", &network))?;
            drop(waiting);
            done(daemon, screen, &network, "started")
        }
        NetCommand::Destroy { which, force } => {
            let network = daemon.network(&which.name)?;
            if force {
                daemon
                    .ask::<NetworkDestroyForced>(&network.name)
                    .map_err(cannot("stop", &network))?;
            } else {
                daemon.ask::<NetworkDestroy>(&network).map_err(cannot("stop", &network))?;
            }
            screen.report(&Named::from(&network), |_| format!("network {} stopped\n", network.name))
        }
        NetCommand::Undefine(which) => {
            let network = daemon.network(&which.name)?;
            daemon.ask::<NetworkUndefine>(&network).map_err(cannot("undefine", &network))?;
            screen
                .report(&Named::from(&network), |_| format!("network {} undefined\n", network.name))
        }
        NetCommand::Ls(listing) => ls(daemon, screen, &listing),
        NetCommand::Show(which) => {
            let network = daemon.network(&which.name)?;
            let row = row(daemon, &network).map_err(cannot("show", &network))?;
            let mut ports = port_list(daemon)?;
            ports.retain(|port| port.network.as_ref().is_some_and(|of| of.as_str() == row.name));
            let detail = NetworkDetail { network: row, ports };
            screen.report(&detail, |detail| views::network(detail, screen.width))
        }
        NetCommand::Dumpxml { which, inactive } => {
            let network = daemon.network(&which.name)?;
            let flags = if inactive { flags::NETWORK_XML_INACTIVE } else { 0 };
            let fault = cannot("print the document of", &network);
            let xml =
                daemon.ask::<NetworkGetXmlDesc>(&NetworkFlags { network, flags }).map_err(fault)?;
            screen.show(&with_newline(&xml))
        }
        NetCommand::Autostart { which, disable } => {
            let network = daemon.network(&which.name)?;
            let fault = cannot("set autostart of", &network);
            let args =
                NetworkAutostartArgs { network: network.clone(), autostart: i32::from(!disable) };
            daemon.ask::<NetworkSetAutostart>(&args).map_err(fault)?;
            let how = if disable { "no longer starts" } else { "starts" };
            done(daemon, screen, &network, &format!("{how} with the host"))
        }
        NetCommand::Explain { which, guest } => {
            let network = daemon.network(&which.name)?;
            let guest = guest.as_deref().map(document).transpose()?;
            let doing = format!("explain network '{}'", network.name);
            let args = ExplainArgs { network: network.name, guest };
            let report: ExplainReport = daemon.report::<Explain, _>(&args, &doing)?;
            screen.report(&report, |report| views::explanation(report, screen.width))
        }
    }
}

/// What remains of a network that has been stopped or undefined.
#[derive(Debug, serde::Serialize)]
struct Named<'a> {
    name: &'a str,
    uuid: uuid::Uuid,
}

impl<'a> From<&'a Network> for Named<'a> {
    fn from(network: &'a Network) -> Self {
        Self { name: &network.name, uuid: network.uuid }
    }
}

fn cannot(verb: &str, network: &Network) -> impl FnOnce(CallFault) -> Fault + use<> {
    Fault::call(format!("{verb} network '{}'", network.name))
}

/// Says on stderr what would keep the network from lending as things are. That is no reason to
/// fail: cards may come later.
fn warn_of_obstacle(daemon: &mut Connection, network: Network) {
    let args = ExplainArgs { network: network.name, guest: None };
    // A network that is not active and lacks nothing is not explained.
    let Ok(report) = daemon.report::<Explain, ExplainReport>(&args, "explain the network") else {
        return;
    };
    if let Some(obstacle) = report.obstacle {
        let words = format!("vfnet: warning: as things are, {obstacle}\n");
        // The network is defined, whether somebody reads this or not.
        let _unread = std::io::stderr().write_all(legible(&words).as_bytes());
    }
}

fn done(
    daemon: &mut Connection,
    screen: &Screen,
    network: &Network,
    what: &str,
) -> Result<(), Fault> {
    if !screen.json {
        return screen.show(&legible(&format!("network {} {what}\n", network.name)));
    }
    let row = row(daemon, network).map_err(cannot("show", network))?;
    screen.report(&row, |_| String::new())
}

fn ls(daemon: &mut Connection, screen: &Screen, listing: &Listing) -> Result<(), Fault> {
    let flags = match (listing.all, listing.inactive) {
        (true, _) => 0,
        (_, true) => flags::CONNECT_LIST_NETWORKS_INACTIVE,
        _ => flags::CONNECT_LIST_NETWORKS_ACTIVE,
    };
    let fault = || Fault::call("list networks");
    let listed = daemon
        .ask::<ConnectListAllNetworks>(&ListArgs { need_results: 1, flags })
        .map_err(fault())?;
    let mut rows = Vec::new();
    for network in listed.objects {
        match row(daemon, &network) {
            Ok(row) => rows.push(row),
            // Gone since it was listed.
            Err(gone) if gone.code() == Some(ErrorCode::NoNetwork) => {}
            Err(other) => return Err(fault()(other)),
        }
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    screen.report(&rows, |rows| {
        if rows.is_empty() {
            listing.nothing("networks", "vfnet net ls --all")
        } else {
            views::networks(rows, screen.width)
        }
    })
}

fn row(daemon: &mut Connection, network: &Network) -> Result<NetworkRow, CallFault> {
    let persistent = daemon.ask::<NetworkIsPersistent>(network)? != 0;
    // Servers refuse the question for what is not kept.
    let autostart = persistent && daemon.ask::<NetworkGetAutostart>(network)? != 0;
    Ok(NetworkRow {
        name: network.name.to_string(),
        uuid: network.uuid,
        active: daemon.ask::<NetworkIsActive>(network)? != 0,
        persistent,
        autostart,
    })
}

/// A document as a file has it.
pub(crate) fn with_newline(xml: &str) -> String {
    format!("{}\n", xml.trim_end_matches('\n'))
}
