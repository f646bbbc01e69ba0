//! Ports: the VFs that networks lend.

use uuid::Uuid;
use vfnet_engine::{Claim, ClaimState, Owner, PortRequest, Refusal, Request, State};
use vfnet_model::VlanTags;
use vfnet_model::network::PoolDriver;
use vfnet_model::port::{NetworkPort as PortDocument, Plug, PortOwner, parse, print};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::{Network, NetworkPort};
use vfnet_rpc::remote::PortCreateArgs;
use vfnet_rpc::xdr::Text;

use super::text;
use crate::{Daemon, wire_error};

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused(refusal: Refusal) -> WireError {
    wire_error::refusal(ErrorDomain::Network, &refusal)
}

fn missing(port: Uuid) -> WireError {
    let detail = format!("no network port with matching uuid '{port}'");
    WireError::new(ErrorDomain::Network, ErrorCode::NoNetworkPort, &detail)
}

/// Claims that are ports of a network as clients know them.
fn is_port(claim: &Claim) -> bool {
    !matches!(claim.state, ClaimState::Quarantined { .. } | ClaimState::Stuck { .. })
}

pub(super) async fn list_all(
    daemon: &Daemon,
    network: &Network,
) -> Result<Vec<NetworkPort>, WireError> {
    let network = super::network::by_uuid(daemon, network.uuid).await?;
    let uuid = network.uuid;
    let ports = move |state: &State| {
        let claims = state.claims_on_network(uuid).filter(|claim| is_port(claim));
        claims.filter_map(|claim| claim.network.as_ref().map(|of| of.port)).collect::<Vec<_>>()
    };
    let ports = daemon.engine.read(ports).await.map_err(refused)?;
    let object = |uuid| NetworkPort { network: network.clone(), uuid };
    Ok(ports.into_iter().map(object).collect())
}

async fn claim(daemon: &Daemon, network: Uuid, port: Uuid) -> Result<Claim, WireError> {
    let find = move |state: &State| {
        let is_it = |claim: &&Claim| claim.network.as_ref().is_some_and(|of| of.port == port);
        state.claims_on_network(network).find(is_it).cloned()
    };
    daemon.engine.read(find).await.map_err(refused)?.ok_or_else(|| missing(port))
}

pub(super) async fn lookup(
    daemon: &Daemon,
    network: &Network,
    port: Uuid,
) -> Result<NetworkPort, WireError> {
    let network = super::network::by_uuid(daemon, network.uuid).await?;
    claim(daemon, network.uuid, port).await?;
    Ok(NetworkPort { network, uuid: port })
}

/// The document of a VF that a network lends; `None` for what is no port to anybody.
pub(crate) fn of_claim(claim: &Claim) -> Option<PortDocument> {
    let of = claim.network.as_ref()?;
    let owner = match &claim.owner {
        Owner::Nic { guest, name, .. }
        | Owner::Hostdev { guest, name, .. }
        | Owner::Port { guest, name }
        | Owner::Reservation { guest, name } => PortOwner { name: name.clone(), uuid: *guest },
        Owner::Lease { .. } | Owner::Administrator => return None,
    };
    let wanted = claim.wanted.as_ref()?;
    let plug = Plug::HostdevPci {
        managed: claim.managed,
        driver: Some(PoolDriver { vfio: true, model: claim.driver.clone() }),
        address: claim.vf,
    };
    Some(PortDocument {
        uuid: of.port,
        owner,
        group: of.portgroup.clone(),
        mac: wanted.mac,
        virtual_port: None,
        bandwidth: None,
        vlan: wanted.vlan.map(|vlan| VlanTags::One(vlan.id)),
        isolated: None,
        trust_guest_rx_filters: None,
        plug,
    })
}

pub(super) async fn document(daemon: &Daemon, port: &NetworkPort) -> Result<Text, WireError> {
    let claim = claim(daemon, port.network.uuid, port.uuid).await?;
    of_claim(&claim).map(|port| text(print(&port))).ok_or_else(|| missing(port.uuid))
}

pub(super) async fn create(
    daemon: &Daemon,
    args: &PortCreateArgs,
) -> Result<NetworkPort, WireError> {
    let document =
        parse(&args.xml)
            .and_then(|port| port.served().map(|()| port))
            .map_err(|fault| wire_error::document(ErrorDomain::Network, &fault))?;
    if args.flags & f::PORT_CREATE_RECLAIM != 0 {
        let detail = "taking up a port that another daemon has kept (reclaim)";
        return Err(WireError::new(ErrorDomain::Network, ErrorCode::ArgumentUnsupported, detail));
    }
    if document.plug != Plug::None {
        let detail = "Port reclaim not requested but plug type is not none";
        return Err(wire_error::invalid(ErrorDomain::Network, detail));
    }
    let network = super::network::by_uuid(daemon, args.network.uuid).await?;
    daemon.observer.look().await;
    let request = PortRequest {
        network: network.uuid,
        port: document.uuid,
        owner: document.owner.uuid,
        owner_name: document.owner.name,
        portgroup: document.group,
        mac: document.mac,
        vlan: document.vlan.and_then(|tags| tags.single()),
    };
    daemon.engine.ask(Request::PortCreate(Box::new(request))).await.map_err(refused)?;
    Ok(NetworkPort { network, uuid: document.uuid })
}

pub(super) async fn delete(daemon: &Daemon, port: &NetworkPort) -> Result<(), WireError> {
    let request = Request::PortDelete { network: port.network.uuid, port: port.uuid };
    daemon.engine.ask(request).await.map(drop).map_err(refused)
}
