//! Networks.

use uuid::Uuid;
use vfnet_engine::{Answer, LiveNetwork, NetworkDefinition, Refusal, Request, State};
use vfnet_model::network::{Form, Forward, Live, parse, print};
use vfnet_model::{MacAddress, NetworkName};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Network;
use vfnet_rpc::remote::DhcpLeasesArgs;
use vfnet_rpc::xdr::Text;

use super::{flag, text};
use crate::{Daemon, upstream, wire_error};

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn refused(refusal: Refusal) -> WireError {
    wire_error::refusal(ErrorDomain::Network, &refusal)
}

fn object(def: &NetworkDefinition) -> Network {
    Network { name: text(def.network.name.as_str()), uuid: def.uuid }
}

fn missing(what: &str) -> WireError {
    WireError::new(ErrorDomain::Network, ErrorCode::NoNetwork, what)
}

/// Reads the state of a network that must be there.
pub(super) async fn read<T: Send + 'static>(
    daemon: &Daemon,
    uuid: Uuid,
    question: impl FnOnce(&State) -> T + Send + 'static,
) -> Result<T, WireError> {
    let found = move |state: &State| state.network(uuid).is_some().then(|| question(state));
    let answer = daemon.engine.read(found).await.map_err(refused)?;
    answer.ok_or_else(|| missing(&format!("no network with matching uuid '{uuid}'")))
}

async fn ask(daemon: &Daemon, request: Request) -> Result<Answer, WireError> {
    daemon.engine.ask(request).await.map_err(refused)
}

pub(super) async fn by_uuid(daemon: &Daemon, uuid: Uuid) -> Result<Network, WireError> {
    let found = read(daemon, uuid, move |state| state.network(uuid).map(object)).await?;
    found.ok_or_else(|| missing(&format!("no network with matching uuid '{uuid}'")))
}

pub(super) async fn by_name(daemon: &Daemon, name: &str) -> Result<Network, WireError> {
    let no_such = || missing(&format!("no network with matching name '{name}'"));
    let wanted: NetworkName = name.parse().map_err(|_| no_such())?;
    let find = move |state: &State| {
        state.network_named(&wanted).and_then(|uuid| state.network(uuid)).map(object)
    };
    daemon.engine.read(find).await.map_err(refused)?.ok_or_else(no_such)
}

/// All networks that the flags ask for: within a group of flags any, over the groups all. The
/// stock network daemon's are among them.
pub(super) async fn list_all(daemon: &Daemon, flags: u32) -> Result<Vec<Network>, WireError> {
    let groups = [
        (f::CONNECT_LIST_NETWORKS_ACTIVE, f::CONNECT_LIST_NETWORKS_INACTIVE),
        (f::CONNECT_LIST_NETWORKS_PERSISTENT, f::CONNECT_LIST_NETWORKS_TRANSIENT),
        (f::CONNECT_LIST_NETWORKS_AUTOSTART, f::CONNECT_LIST_NETWORKS_NO_AUTOSTART),
    ];
    let list = move |state: &State| {
        let matches = |def: &&NetworkDefinition| {
            let kept = state.networks.get(&def.uuid);
            let facts = [
                state.live_networks.contains_key(&def.uuid),
                kept.is_some(),
                kept.is_some_and(|entry| entry.autostart),
            ];
            groups.iter().zip(facts).all(|((yes, no), fact)| {
                flags & (yes | no) == 0 || flags & if fact { *yes } else { *no } != 0
            })
        };
        let kept = state.networks.values().map(|entry| &entry.definition);
        let transient = state.live_networks.values().filter_map(|live| {
            (!state.networks.contains_key(&live.uuid)).then_some(&live.definition)
        });
        kept.chain(transient).filter(matches).map(object).collect()
    };
    let ours = daemon.engine.read(list).await.map_err(refused)?;
    Ok(upstream::merge(daemon, flags, ours).await)
}

/// Names of the active networks, or of the others.
pub(super) async fn names(daemon: &Daemon, active: bool) -> Result<Vec<Text>, WireError> {
    let flags =
        if active { f::CONNECT_LIST_NETWORKS_ACTIVE } else { f::CONNECT_LIST_NETWORKS_INACTIVE };
    let networks = list_all(daemon, flags).await?;
    Ok(networks.into_iter().map(|network| network.name).collect())
}

/// Reads a document. Without a UUID it gets a fresh one, and is no new version of the network of
/// its name.
async fn definition(xml: &str) -> Result<NetworkDefinition, WireError> {
    let mut network = super::parsed(xml, parse)
        .await?
        .and_then(|network| network.served().map(|()| network))
        .map_err(|fault| wire_error::document(ErrorDomain::Network, &fault))?;
    let uuid = network.uuid.unwrap_or_else(Uuid::new_v4);
    network.uuid = Some(uuid);
    Ok(NetworkDefinition { uuid, network, xml: xml.to_owned() })
}

pub(super) async fn define(daemon: &Daemon, xml: &str) -> Result<Network, WireError> {
    let definition = definition(xml).await?;
    let network = object(&definition);
    daemon.observer.look().await;
    if let Answer::Network { warnings, name, .. } =
        ask(daemon, Request::NetworkDefine(Box::new(definition))).await?
    {
        for warning in warnings {
            tracing::warn!("network {name} is defined, but as things are: {warning}");
        }
    }
    Ok(network)
}

pub(super) async fn create(daemon: &Daemon, xml: &str) -> Result<Network, WireError> {
    let definition = definition(xml).await?;
    let network = object(&definition);
    daemon.observer.look().await;
    ask(daemon, Request::NetworkCreate(Box::new(definition))).await?;
    Ok(network)
}

pub(super) async fn start(daemon: &Daemon, network: &Network) -> Result<(), WireError> {
    daemon.observer.look().await;
    ask(daemon, Request::NetworkStart(network.uuid)).await.map(drop)
}

pub(super) async fn destroy(
    daemon: &Daemon,
    network: &Network,
    force: bool,
) -> Result<(), WireError> {
    ask(daemon, Request::NetworkDestroy { network: network.uuid, force }).await.map(drop)
}

pub(super) async fn undefine(daemon: &Daemon, network: &Network) -> Result<(), WireError> {
    ask(daemon, Request::NetworkUndefine(network.uuid)).await.map(drop)
}

pub(super) async fn set_autostart(
    daemon: &Daemon,
    network: &Network,
    on: bool,
) -> Result<(), WireError> {
    ask(daemon, Request::NetworkAutostart(network.uuid, on)).await.map(drop)
}

/// The document of a network that is active, or on its way there or from there.
pub(crate) fn live_document(state: &State, live: &LiveNetwork) -> String {
    let vfs = match &live.definition.network.forward {
        Forward::Hostdev(_) => state.pool(live),
        Forward::Bridge(_) | Forward::Direct(_) => Vec::new(),
    };
    let connections = state.connections(live.uuid);
    print(&live.definition.network, Form::Live(&Live { connections, vfs }))
}

pub(super) async fn document(
    daemon: &Daemon,
    network: &Network,
    flags: u32,
) -> Result<Text, WireError> {
    let uuid = network.uuid;
    let inactive = flags & f::NETWORK_XML_INACTIVE != 0;
    let print = move |state: &State| {
        let live = state.live_networks.get(&uuid);
        let kept = state.networks.get(&uuid).map(|entry| &entry.definition);
        match (live, kept) {
            (Some(live), _) if !inactive => live_document(state, live),
            (_, Some(kept)) => print(&kept.network, Form::Inactive),
            (Some(live), None) => print(&live.definition.network, Form::Inactive),
            _ => String::new(),
        }
    };
    Ok(text(read(daemon, uuid, print).await?))
}

pub(super) async fn autostart(daemon: &Daemon, network: &Network) -> Result<i32, WireError> {
    let uuid = network.uuid;
    let on = move |state: &State| state.networks.get(&uuid).is_some_and(|entry| entry.autostart);
    Ok(flag(read(daemon, uuid, on).await?))
}

pub(super) async fn is_active(daemon: &Daemon, network: &Network) -> Result<i32, WireError> {
    let uuid = network.uuid;
    Ok(flag(read(daemon, uuid, move |state| state.live_networks.contains_key(&uuid)).await?))
}

pub(super) async fn is_persistent(daemon: &Daemon, network: &Network) -> Result<i32, WireError> {
    let uuid = network.uuid;
    Ok(flag(read(daemon, uuid, move |state| state.networks.contains_key(&uuid)).await?))
}

pub(super) async fn bridge(daemon: &Daemon, network: &Network) -> Result<Text, WireError> {
    let uuid = network.uuid;
    let bridge = move |state: &State| match &state.network(uuid)?.network.forward {
        Forward::Bridge(bridge) => Some(bridge.to_string()),
        Forward::Hostdev(_) | Forward::Direct(_) => None,
    };
    read(daemon, uuid, bridge).await?.map(text).ok_or_else(|| {
        let detail = format!("network '{}' does not have a bridge name.", network.name);
        WireError::new(ErrorDomain::Network, ErrorCode::InternalError, &detail)
    })
}

/// Checks a question for leases, which no network served here has.
pub(super) async fn no_leases(daemon: &Daemon, args: &DhcpLeasesArgs) -> Result<(), WireError> {
    by_uuid(daemon, args.network.uuid).await?;
    match &args.mac {
        Some(mac) if mac.parse::<MacAddress>().is_err() => {
            Err(WireError::new(ErrorDomain::Network, ErrorCode::InvalidMac, mac))
        }
        _ => Ok(()),
    }
}
