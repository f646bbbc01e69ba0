//! Ports: the VFs that networks lend, and other daemons' guests on bridges.

use uuid::Uuid;
use vfnet_engine::{BridgePort, Claim, Owner, Plugged, PortRequest, Refusal, Request, State};
use vfnet_model::network::PoolDriver;
use vfnet_model::port::{NetworkPort as PortDocument, Plug, PortOwner, parse, print};
use vfnet_model::{VlanId, VlanTags};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::{Network, NetworkPort};
use vfnet_rpc::remote::{PortCreateArgs, PortParameters, PortSetParametersArgs};
use vfnet_rpc::typed_params::ParamValue;
use vfnet_rpc::xdr::{List, Text};

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

pub(super) async fn list_all(
    daemon: &Daemon,
    network: &Network,
) -> Result<Vec<NetworkPort>, WireError> {
    let network = super::network::by_uuid(daemon, network.uuid).await?;
    let uuid = network.uuid;
    let ports = move |state: &State| {
        let of = |claim: &Claim| claim.network.as_ref().map(|of| of.port);
        let on_bridge = state.bridge_ports_of(uuid).map(|port| port.port);
        state.ports_of(uuid).filter_map(of).chain(on_bridge).collect::<Vec<_>>()
    };
    let ports = daemon.engine.read(ports).await.map_err(refused)?;
    let object = |uuid| NetworkPort { network: network.clone(), uuid };
    Ok(ports.into_iter().map(object).collect())
}

/// The document of a port that must be there.
async fn port(daemon: &Daemon, network: Uuid, port: Uuid) -> Result<PortDocument, WireError> {
    let find = move |state: &State| {
        let on_bridge = state.bridge_ports.get(&port).filter(|port| port.network == network);
        state.port(network, port).and_then(of_claim).or_else(|| on_bridge.map(of_bridge))
    };
    daemon.engine.read(find).await.map_err(refused)?.ok_or_else(|| missing(port))
}

pub(super) async fn lookup(
    daemon: &Daemon,
    network: &Network,
    port: Uuid,
) -> Result<NetworkPort, WireError> {
    let network = super::network::by_uuid(daemon, network.uuid).await?;
    self::port(daemon, network.uuid, port).await?;
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
        Owner::Lease(_) | Owner::Administrator => return None,
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
        vlan: wanted.vlan.filter(|vlan| vlan.id != VlanId::NONE).map(|vlan| VlanTags::One(vlan.id)),
        isolated: of.isolated,
        trust_guest_rx_filters: of.trust_guest_rx_filters,
        plug,
    })
}

fn of_bridge(port: &BridgePort) -> PortDocument {
    PortDocument {
        uuid: port.port,
        owner: PortOwner { name: port.owner_name.clone(), uuid: port.owner },
        group: port.portgroup.clone(),
        mac: port.mac,
        virtual_port: None,
        bandwidth: None,
        vlan: None,
        isolated: None,
        trust_guest_rx_filters: None,
        plug: Plug::Bridge(port.bridge.clone()),
    }
}

pub(super) async fn document(daemon: &Daemon, of: &NetworkPort) -> Result<Text, WireError> {
    Ok(text(print(&port(daemon, of.network.uuid, of.uuid).await?)))
}

pub(super) async fn create(
    daemon: &Daemon,
    args: &PortCreateArgs,
) -> Result<NetworkPort, WireError> {
    let reclaim = args.flags & f::PORT_CREATE_RECLAIM != 0;
    // A guest that runs has what it has, whatever would be refused to it today.
    let document = parse(&args.xml)
        .and_then(|port| if reclaim { Ok(port) } else { port.served().map(|()| port) })
        .map_err(|fault| wire_error::document(ErrorDomain::Network, &fault))?;
    let invalid = |detail: &str| wire_error::invalid(ErrorDomain::Network, detail);
    let plug = match (reclaim, &document.plug) {
        (false, Plug::None) => None,
        (true, Plug::HostdevPci { address, managed, driver }) => Some(Plugged::Vf {
            address: *address,
            managed: *managed,
            driver: driver.as_ref().and_then(|driver| driver.model.clone()),
        }),
        (true, Plug::Bridge(bridge)) => Some(Plugged::Bridge(bridge.clone())),
        (false, _) => {
            return Err(invalid("Port reclaim not requested but plug type is not none"));
        }
        (true, Plug::None) => {
            return Err(invalid("Port reclaim requested but plug type is none"));
        }
        (true, _) => {
            return Err(invalid("Port reclaim requested but plug type is not hostdev-pci"));
        }
    };
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
        trust_guest_rx_filters: document.trust_guest_rx_filters,
        isolated: document.isolated,
        plug,
        tried: Vec::new(),
    };
    daemon.engine.ask(Request::PortCreate(Box::new(request))).await.map_err(refused)?;
    Ok(NetworkPort { network, uuid: document.uuid })
}

pub(super) async fn delete(daemon: &Daemon, port: &NetworkPort) -> Result<(), WireError> {
    let request = Request::PortDelete { network: port.network.uuid, port: port.uuid };
    daemon.engine.ask(request).await.map(drop).map_err(refused)
}

/// A port's parameters: there are none, as bandwidth is all that libvirt has of them.
pub(super) async fn parameters(
    daemon: &Daemon,
    port: &NetworkPort,
) -> Result<PortParameters, WireError> {
    self::port(daemon, port.network.uuid, port.uuid).await?;
    Ok(PortParameters { params: List::empty(), count: 0 })
}

/// Takes nothing, and a bandwidth of nothing, which is what every port has.
pub(super) async fn set_parameters(
    daemon: &Daemon,
    args: &PortSetParametersArgs,
) -> Result<(), WireError> {
    let document = port(daemon, args.port.network.uuid, args.port.uuid).await?;
    let why = match document.plug {
        Plug::HostdevPci { .. } => "the host does not see the traffic of a VF",
        _ => "vfnet sets no such limits",
    };
    for param in args.params.iter() {
        let name: &str = &param.field;
        if !BANDWIDTH.contains(&name) {
            let detail = format!("parameter '{name}' of a port is not known");
            return Err(wire_error::invalid(ErrorDomain::Network, &detail));
        }
        if param.value != ParamValue::UInt(0) {
            let detail = format!("{name}: {why}");
            let code = ErrorCode::OperationUnsupported;
            return Err(WireError::new(ErrorDomain::Network, code, &detail));
        }
    }
    Ok(())
}

/// libvirt's parameters of a port.
const BANDWIDTH: [&str; 7] = [
    "inbound.average",
    "inbound.peak",
    "inbound.burst",
    "inbound.floor",
    "outbound.average",
    "outbound.peak",
    "outbound.burst",
];
