//! Which side a call is about.

use std::sync::Arc;

use uuid::Uuid;
use vfnet_engine::State;
use vfnet_model::NetworkName;
use vfnet_model::network::{Head, Mode, head};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::objects::{ListArgs, Network};
use vfnet_rpc::remote::{Call, ConnectListAllNetworks, NetworkLookupByName, NetworkLookupByUuid};
use vfnet_rpc::xdr::Text;

use super::{Inner, UpstreamError, lock};
use crate::Daemon;
use crate::dispatch::{self, Outcome};

fn refused(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::Network, code, detail)
}

/// Serves a call here, or has the stock network daemon serve it.
pub(crate) async fn route(daemon: &Daemon, call: Call) -> Outcome {
    if let Some(xml) = defined_by(&call) {
        let xml = xml.clone();
        return define(daemon, call, &xml).await;
    }
    let Some(stock) = &daemon.upstream.inner else { return dispatch::serve(daemon, call).await };
    match call {
        Call::NetworkLookupByName(name, answer) => {
            let wanted = name.parse::<NetworkName>().ok();
            if stock.has_name(wanted).await {
                return dispatch::serve(daemon, Call::NetworkLookupByName(name, answer)).await;
            }
            let missing = format!("no network with matching name '{}'", &*name);
            let found = stock.call::<NetworkLookupByName>(stock.patience, &name).await;
            stock.found(found, &missing).await.map(|network| answer.with(&network))
        }
        Call::NetworkLookupByUuid(uuid, answer) => {
            if stock.has(uuid).await {
                return dispatch::serve(daemon, Call::NetworkLookupByUuid(uuid, answer)).await;
            }
            let missing = format!("no network with matching uuid '{uuid}'");
            let found = stock.call::<NetworkLookupByUuid>(stock.patience, &uuid).await;
            stock.found(found, &missing).await.map(|network| answer.with(&network))
        }
        call => match call.network() {
            Some(network) if !stock.has(network.uuid).await => stock.hand_on(call).await,
            _ => dispatch::serve(daemon, call).await,
        },
    }
}

/// The document that a call defines a network by.
fn defined_by(call: &Call) -> Option<&Text> {
    match call {
        Call::NetworkDefineXml(xml, _) | Call::NetworkCreateXml(xml, _) => Some(xml),
        Call::NetworkDefineXmlFlags(args, _) | Call::NetworkCreateXmlFlags(args, _) => {
            Some(&args.xml)
        }
        _ => None,
    }
}

/// Has a network defined on the side that serves its mode, unless the other side has it.
async fn define(daemon: &Daemon, call: Call, xml: &str) -> Outcome {
    // What cannot be read at all, our own parser refuses.
    let Ok(head) = dispatch::parsed(xml, head).await? else {
        return dispatch::serve(daemon, call).await;
    };
    let Head { name, uuid, mode, .. } = head;
    let Some(stock) = &daemon.upstream.inner else {
        if mode.is_served() {
            return dispatch::serve(daemon, call).await;
        }
        return Err(not_served(&name, mode));
    };
    let wanted = Wanted { name: name.clone(), uuid, here: mode.is_served() };
    let _turn = stock.begin(wanted)?;
    if mode.is_served() {
        stock.refuse_theirs(&name, uuid).await?;
        return dispatch::serve(daemon, call).await;
    }
    let known_uuid = match uuid {
        Some(uuid) => stock.has(uuid).await,
        None => false,
    };
    if known_uuid || stock.has_name(Some(name.clone())).await {
        let detail = format!(
            "network '{name}' of this name or UUID is one of vfnet's own, and cannot get a \
             forward mode that the stock network daemon serves; undefine it first"
        );
        return Err(refused(ErrorCode::OperationFailed, &detail));
    }
    stock.hand_on(call).await
}

/// Refuses what is not served here: of what the stock daemon would do there is no plan.
pub(crate) async fn is_ours(daemon: &Daemon, call: &Call) -> Result<(), WireError> {
    let handed_on = |name: &str| {
        let detail = format!(
            "network '{name}' is the stock network daemon's to serve, and that plans nothing"
        );
        Err(refused(ErrorCode::OperationUnsupported, &detail))
    };
    if let Some(xml) = defined_by(call) {
        return match dispatch::parsed(xml, head).await? {
            Ok(Head { name, mode, .. }) if !mode.is_served() => match &daemon.upstream.inner {
                Some(_) => handed_on(name.as_str()),
                None => Err(not_served(&name, mode)),
            },
            _ => Ok(()),
        };
    }
    match (&daemon.upstream.inner, call.network()) {
        (Some(stock), Some(network)) if !stock.has(network.uuid).await => handed_on(&network.name),
        _ => Ok(()),
    }
}

/// There is nobody to hand a network of this mode on to.
fn not_served(name: &NetworkName, mode: Mode) -> WireError {
    let none = "network_daemon in vfnetd.toml names a stock network daemon's socket, and none is \
                named";
    let detail = if mode == Mode::BridgeOverDevices {
        format!(
            "network '{name}': vfnet serves forward mode 'bridge' with <bridge name='…'/>, an \
             existing bridge of the host; without, it is handed on where {none}"
        )
    } else {
        format!(
            "network '{name}': vfnet serves forward modes 'hostdev' and 'bridge' (onto an \
             existing bridge); others are handed on where {none}"
        )
    };
    refused(ErrorCode::ConfigUnsupported, &detail)
}

/// Our networks, and behind them the stock daemon's that match the same flags.
pub(crate) async fn merge(daemon: &Daemon, flags: u32, mut ours: Vec<Network>) -> Vec<Network> {
    if let Some(stock) = &daemon.upstream.inner
        && let Some(theirs) = stock.theirs(flags).await
    {
        ours.extend(theirs);
    }
    ours
}

/// A definition under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    name: NetworkName,
    uuid: Option<Uuid>,
    /// Whether vfnet serves it.
    here: bool,
}

impl Wanted {
    /// Whether both cannot be, because they would be the same network on both sides.
    fn excludes(&self, other: &Self) -> bool {
        let same_uuid = self.uuid.is_some() && self.uuid == other.uuid;
        self.here != other.here && (same_uuid || self.name == other.name)
    }
}

/// A definition's turn, over when it is dropped.
struct Turn {
    inner: Arc<Inner>,
    wanted: Wanted,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut defining = lock(&self.inner.defining);
        if let Some(place) = defining.iter().position(|wanted| *wanted == self.wanted) {
            defining.swap_remove(place);
        }
    }
}

impl Inner {
    fn begin(self: &Arc<Self>, wanted: Wanted) -> Result<Turn, WireError> {
        let mut defining = lock(&self.defining);
        if defining.iter().any(|other| other.excludes(&wanted)) {
            let detail = format!(
                "network '{}' is being defined with another forward mode at this moment",
                wanted.name
            );
            return Err(refused(ErrorCode::OperationFailed, &detail));
        }
        defining.push(wanted.clone());
        Ok(Turn { inner: Arc::clone(self), wanted })
    }

    /// Whether a network is ours. One that is gone is, as long as VFs are lent on it.
    async fn has(&self, uuid: Uuid) -> bool {
        let has = move |state: &State| {
            state.network(uuid).is_some() || state.claims_on_network(uuid).next().is_some()
        };
        // On the way out nothing new is handed on.
        self.engine.read(has).await.unwrap_or(true)
    }

    async fn has_name(&self, name: Option<NetworkName>) -> bool {
        let Some(name) = name else { return false };
        let has = move |state: &State| state.network_named(&name).is_some();
        self.engine.read(has).await.unwrap_or(true)
    }

    /// Their networks that match, as far as ours do not hide them; `None` when they cannot be
    /// known.
    async fn theirs(&self, flags: u32) -> Option<Vec<Network>> {
        let args = ListArgs { need_results: 1, flags };
        match self.glance::<ConnectListAllNetworks>(&args).await {
            Ok(listed) => Some(self.visible(listed.objects.into_vec()).await),
            Err(fault) => {
                let why = vfnet_model::explain(&fault);
                tracing::debug!("a list without the stock daemon's networks: {why}");
                None
            }
        }
    }

    async fn refuse_theirs(&self, name: &NetworkName, uuid: Option<Uuid>) -> Result<(), WireError> {
        let theirs = self.theirs(0).await.unwrap_or_default();
        let is_it =
            |network: &Network| Some(network.uuid) == uuid || *network.name == *name.as_str();
        if !theirs.iter().any(is_it) {
            return Ok(());
        }
        let detail = format!(
            "network '{name}' of this name or UUID is the stock network daemon's, and cannot get \
             a forward mode that vfnet serves; undefine it first"
        );
        Err(refused(ErrorCode::OperationFailed, &detail))
    }

    /// A network that was looked up on the other side; not there when ours hide it.
    async fn found(
        &self,
        found: Result<Network, UpstreamError>,
        missing: &str,
    ) -> Result<Network, WireError> {
        match found {
            Ok(network) => {
                let visible = self.visible(vec![network]).await.pop();
                visible.ok_or_else(|| refused(ErrorCode::NoNetwork, missing))
            }
            Err(fault @ UpstreamError::Refused(_)) => Err(fault.to_wire()),
            Err(fault) => {
                let detail = format!("{missing}; {}", vfnet_model::explain(&fault));
                Err(refused(ErrorCode::NoNetwork, &detail))
            }
        }
    }

    /// Has the stock daemon serve a call.
    async fn hand_on(&self, call: Call) -> Outcome {
        let reply = self.ask(self.patience, |serial| call.to_frame(serial)).await;
        let reply = reply.map_err(|fault| fault.to_wire())?;
        call.relay(&reply).map_err(|fault| self.reply_error(fault).to_wire())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_uuid_that_begins_on_one_side_does_not_begin_on_the_other() {
        let wanted = |name: &str, uuid: Option<u128>, here| Wanted {
            name: name.parse().expect("a name"),
            uuid: uuid.map(Uuid::from_u128),
            here,
        };
        let ours = wanted("a", Some(1), true);
        for (other, excluded) in [
            (wanted("a", None, false), true),
            (wanted("b", Some(1), false), true),
            (wanted("b", Some(2), false), false),
            (wanted("a", Some(1), true), false),
        ] {
            assert_eq!(ours.excludes(&other), excluded, "{other:?}");
            assert_eq!(other.excludes(&ours), excluded, "{other:?}");
        }
        let unnamed = wanted("b", None, false);
        assert!(!wanted("a", None, true).excludes(&unnamed));
    }
}
