//! Ports of another daemon's guests: that daemon binds the VF and sets its MAC, vfnet lends it,
//! keeps it from everybody else, and does its own full release when the port is deleted.

use uuid::Uuid;
use vfnet_model::network::Forward;

use crate::claim::{Executor, Owner};
use crate::decision::Turn;
use crate::input::{Answer, PortRequest, Ticket};
use crate::networks::port_vlan;
use crate::record::Entry;
use crate::refusal::{Refusal, RefusalKind};
use crate::vfs::Asked;

type Outcome = Result<Option<Answer>, Refusal>;

impl Turn<'_> {
    pub(crate) fn port_create(&mut self, port: PortRequest) -> Outcome {
        let exists =
            |of: &&crate::Claim| of.network.as_ref().is_some_and(|of| of.port == port.port);
        if self.state.claims.values().any(|claim| exists(&claim)) {
            let message = format!("Network port with UUID {} already exists", port.port);
            return Err(Refusal::new(RefusalKind::PortExists, message));
        }
        let live = self.state.live_networks.get(&port.network).ok_or_else(|| {
            match self.state.network(port.network) {
                Some(def) => {
                    Refusal::invalid(format!("network '{}' is not active", def.network.name))
                }
                None => {
                    let message = format!("no network with matching uuid '{}'", port.network);
                    Refusal::new(RefusalKind::NoNetwork, message)
                }
            }
        })?;
        let document = &live.definition.network;
        let name = live.name().clone();
        let Forward::Hostdev(pool) = &document.forward else {
            let message = format!("network '{name}' is a bridge: its ports need no VF");
            return Err(Refusal::new(RefusalKind::Unsupported, message));
        };
        let vlan = port_vlan(document, port.vlan, port.portgroup.as_deref())?;
        let asked = Asked {
            owner: Owner::Port { guest: port.owner, name: port.owner_name },
            executor: Executor::Outside,
            what: format!("network '{name}'"),
            candidates: &self.state.pool(live),
            network: Some((port.network, name, port.portgroup)),
            port: Some(port.port),
            mac: Some(port.mac),
            vlan,
            teaming: false,
            managed: pool.managed,
            driver: pool.driver.as_ref().and_then(|driver| driver.model.clone()),
        };
        let id = self.claim(asked)?;
        let vf = self.state.claims.get(&id).map(|claim| claim.vf);
        Ok(vf.map(|vf| Answer::Port { port: port.port, vf }))
    }

    pub(crate) fn port_delete(&mut self, ticket: Ticket, network: Uuid, port: Uuid) -> Outcome {
        let claim = self
            .state
            .claims_on_network(network)
            .find(|claim| claim.network.as_ref().is_some_and(|of| of.port == port))
            .ok_or_else(|| {
                Refusal::new(RefusalKind::NoPort, format!("no port with matching uuid '{port}'"))
            })?;
        if claim.executor != Executor::Outside {
            let message =
                format!("port {port} is not of another daemon: it belongs to {}", claim.owner);
            return Err(Refusal::invalid(message));
        }
        let id = claim.id;
        if self.give_back(id) {
            self.put(Entry::VfJob(id, ticket));
            return Ok(None);
        }
        Ok(Some(Answer::Done))
    }
}
