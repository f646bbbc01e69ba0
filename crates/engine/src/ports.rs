//! Ports of another daemon's guests: that daemon binds the VF and sets MAC and tag, vfnet sets
//! before the hand-over what it cannot, keeps the VF from everybody else, writes nothing to it
//! while it is lent, and does its own full release when the port is deleted.
//!
//! ```text
//!   create -> Preparing -> Lent (answered) -> delete -> Releasing -> free (answered)
//!                  \-> Releasing, and the next VF is tried
//!   reclaim -> Lent                   Lent <- Releasing, when its guest has it open after all
//! ```
//!
//! A port's UUID is its client's: whoever has had no answer finds the port by it, or asks again.
//! Of a port that was still being prepared when vfnetd died nobody has heard, and it goes back.
//!
//! A port whose VF no process has open is its client's all the same: QEMU may still be about to
//! start. When nobody has had it open for long ([`crate::Input::PortUnused`]; the daemon has the
//! clock) that is told, and where the administrator has it so, the port is taken back as if it
//! were deleted. Giving back touches nothing while a process has the VF open; then the port stays.
//!
//! A port on a network that is a bridge needs no VF: it is kept, and no more.

use std::collections::BTreeSet;

use uuid::Uuid;
use vfnet_model::network::{Forward, Pool};
use vfnet_model::vf::{Original, WantedSettings};
use vfnet_model::{DriverName, MacAddress, NetdevName, PciAddress, Vlan, VlanId, VlanProtocol};

use crate::claim::{Claim, ClaimId, ClaimState, Executor, Happening, NetworkOf, Owner};
use crate::decision::{Announcement, Effect, Turn};
use crate::input::{Answer, Failure, Plugged, PortRequest, Request, Ticket};
use crate::networks::port_settings;
use crate::place::MacOwners;
use crate::record::{Entry, Key, PortJob};
use crate::refusal::{Because, Obstacle, Refusal, RefusalKind};
use crate::state::{BridgePort, LiveNetwork, State};
use crate::vfs::{Asked, port_identity};

/// A MAC that no VF can have.
const NO_VFS_MAC: MacAddress = MacAddress::new([0xff; 6]);

type Outcome = Result<Option<Answer>, Refusal>;

impl Turn<'_> {
    pub(crate) fn port_create(&mut self, ticket: Ticket, request: PortRequest) -> Outcome {
        let live = self.network_for_ports(request.network);
        if let Ok(live) = live
            && let Forward::Bridge(bridge) = &live.definition.network.forward
        {
            let bridge = bridge.clone();
            return self.bridge_port(request, bridge).map(Some);
        }
        match &request.plug {
            None => {}
            Some(Plugged::Vf { address, managed, driver }) => {
                let (vf, managed, driver) = (*address, *managed, driver.clone());
                return self.port_reclaim(&request, vf, managed, driver).map(Some);
            }
            Some(Plugged::Bridge(_)) => {
                let message = "Port reclaim requested but plug type is not hostdev-pci";
                return Err(Refusal::new(RefusalKind::InvalidArgument, message));
            }
        }
        if self.port_is_known(request.port) {
            return Err(port_exists(request.port));
        }
        let live = self.network_for_ports(request.network)?;
        let mut pool = self.state.pool(live);
        pool.retain(|vf| request.tried.iter().all(|tried| tried.vf != *vf));
        let asked = asked(live, &request, pool)?;
        refuse_what_would_be_overwritten(&asked)?;
        let id = match self.claim(asked) {
            Ok(id) => id,
            Err(refusal) if request.tried.is_empty() => return Err(refusal),
            Err(refusal) => return Err(none_would_do(request.tried, refusal)),
        };
        self.keep_for_the_document(id, &request);
        self.put(Entry::PortJob(id, PortJob { create: ticket, request, delete: None }));
        self.effect(Effect::HandOver(id));
        Ok(None)
    }

    /// What a port's document says without effect on its VF: its own word, else its portgroup's,
    /// else the network's.
    fn keep_for_the_document(&mut self, id: ClaimId, request: &PortRequest) {
        let Some(mut claim) = self.state.claims.get(&id).cloned() else { return };
        let document = self.state.live_networks.get(&request.network).map(|live| &live.definition);
        let inherited = document.and_then(|document| {
            let group = document.network.portgroup(request.portgroup.as_deref());
            group
                .and_then(|group| group.trust_guest_rx_filters)
                .or(document.network.trust_guest_rx_filters)
        });
        if let Some(of) = &mut claim.network {
            of.trust_guest_rx_filters = request.trust_guest_rx_filters.or(inherited);
            of.isolated = request.isolated;
        }
        self.put(Entry::Claim(claim));
    }

    fn port_is_known(&self, port: Uuid) -> bool {
        self.state.bridge_ports.contains_key(&port)
            || self.state.claims.values().any(|claim| is_port(claim, port))
    }

    /// A port on a bridge: the other daemon makes a tap on it, and there is nothing to lend.
    fn bridge_port(&mut self, request: PortRequest, bridge: NetdevName) -> Result<Answer, Refusal> {
        let PortRequest { network, port, owner, owner_name, portgroup, mac, vlan, plug, .. } =
            request;
        if plug.as_ref().is_some_and(|plug| *plug != Plugged::Bridge(bridge.clone())) {
            let message = format!("Port reclaim requested but plug is not the bridge {bridge}");
            return Err(Refusal::new(RefusalKind::InvalidArgument, message));
        }
        if vlan.is_some_and(|tag| tag != VlanId::NONE) {
            let message = format!("a tag is set on VFs only, not on the bridge {bridge}");
            return Err(Refusal::new(RefusalKind::Unsupported, message));
        }
        let live = self.network_for_ports(network)?;
        port_settings(&live.definition.network, mac, None, portgroup.as_deref())?;
        let reclaimed = plug.is_some();
        let new = BridgePort { port, network, owner, owner_name, portgroup, mac, bridge };
        let same = self.state.bridge_ports.get(&port).is_some_and(|known| *known == new);
        if self.port_is_known(port) && !(reclaimed && same) {
            return Err(port_exists(port));
        }
        self.put(Entry::BridgePort(new));
        Ok(Answer::Done)
    }

    fn network_for_ports(&self, network: Uuid) -> Result<&LiveNetwork, Refusal> {
        self.state.live_networks.get(&network).ok_or_else(|| match self.state.network(network) {
            Some(def) => Refusal::invalid(format!("network '{}' is not active", def.network.name)),
            None => {
                let message = format!("no network with matching uuid '{network}'");
                Refusal::new(RefusalKind::NoNetwork, message)
            }
        })
    }

    /// Takes up a port that its guest has all along, and that was forgotten here. What the guest
    /// has is a fact, so that only another holder, of the VF or of the MAC, and a VF of another pool
    /// stand in the way.
    fn port_reclaim(
        &mut self,
        request: &PortRequest,
        vf: PciAddress,
        managed: bool,
        driver: Option<DriverName>,
    ) -> Result<Answer, Refusal> {
        let owner = owner(request);
        if self.state.bridge_ports.contains_key(&request.port) {
            return Err(port_exists(request.port));
        }
        if let Some(claim) = self.state.claims.values().find(|claim| is_port(claim, request.port)) {
            let network = claim.network.as_ref().map(|of| of.uuid);
            let same = claim.vf == vf && claim.owner == owner && network == Some(request.network);
            // One that is on its way is not the client's yet.
            return if same && claim.state != ClaimState::Preparing {
                Ok(Answer::Port { port: request.port, vf })
            } else {
                Err(port_exists(request.port))
            };
        }
        let live = self.network_for_ports(request.network)?;
        let pool = self.state.pool(live);
        let asked = Asked { managed, driver, ..asked_again(live, request, pool.clone())? };
        let in_the_way = if pool.contains(&vf) {
            another_holds(self.state, vf, &asked)
        } else {
            Some("is not a VF of its pool".to_owned())
        };
        if let Some(reason) = in_the_way {
            let message = format!("{} cannot take up port {}", asked.what, request.port);
            let vfs = vec![Because::new(vf, Obstacle::Taken, reason)];
            return Err(Refusal { vfs, ..Refusal::new(RefusalKind::Exhausted, message) });
        }
        let id = self.claim_this(asked, vf, ClaimState::Lent)?;
        self.keep_for_the_document(id, request);
        let found = self.state.inventory.vfs.get(&vf);
        if found.is_none_or(|found| self.state.is_on_vfio(found))
            && let Some(claim) = self.state.claims.get(&id).cloned()
        {
            // It is as its guest has it, and that is not what it was.
            self.put(Entry::Claim(Claim { original: Original::Unknown, ..claim }));
        }
        Ok(Answer::Port { port: request.port, vf })
    }

    /// A VF has been made ready for another daemon, or why not.
    pub(crate) fn handed_over(&mut self, id: ClaimId, outcome: Result<(), Failure>) {
        let Some(PortJob { create, request, delete }) = self.state.port_jobs.get(&id).cloned()
        else {
            return;
        };
        self.forget(Key::PortJob(id));
        let Some(vf) = self.state.claims.get(&id).map(|claim| claim.vf) else { return };
        let reply = match (outcome, delete) {
            (Ok(()), None) => {
                self.happen(id, Happening::HandedOver);
                Ok(Answer::Port { port: request.port, vf })
            }
            (Ok(()), Some(_)) => {
                self.port_goes_back(id, None);
                Err(Refusal::invalid(format!("port {} was deleted meanwhile", request.port)))
            }
            (Err(Failure { why, stuck, hook }), delete) => {
                self.port_goes_back(id, stuck);
                let tried = Because::new(vf, Obstacle::Host, why);
                if delete.is_none() && !hook {
                    let mut request = request;
                    request.tried.push(tried);
                    let again = Request::PortCreate(Box::new(request));
                    return self.effect(Effect::AskAgain(create, Box::new(again)));
                }
                let kind =
                    if hook { RefusalKind::HookFailed } else { RefusalKind::OperationFailed };
                let message = format!("port {} was not made", request.port);
                Err(Refusal { vfs: vec![tried], ..Refusal::new(kind, message) })
            }
        };
        self.effect(Effect::Answer(create, reply));
        if let Some(ticket) = delete {
            self.answer_when_back(id, ticket);
        }
    }

    /// A VF that did not become a port's goes back: under a name of its own, as the port's may be
    /// given to another one, and without the MAC, which nobody has set on it.
    fn port_goes_back(&mut self, id: ClaimId, stuck: Option<String>) {
        let Some(claim) = self.state.claims.get(&id).cloned() else { return };
        let network = claim
            .network
            .clone()
            .map(|of| NetworkOf { port: port_identity(of.uuid, &claim.owner, id), ..of });
        let wanted =
            claim.wanted.clone().map(|wanted| WantedSettings { mac: NO_VFS_MAC, ..wanted });
        self.put(Entry::Claim(Claim { network, wanted, ..claim }));
        match stuck {
            Some(step) => self.stuck(id, step),
            None => {
                self.give_back(id);
            }
        }
    }

    fn answer_when_back(&mut self, id: ClaimId, ticket: Ticket) {
        let state = self.state.claims.get(&id).map(|claim| &claim.state);
        if state == Some(&ClaimState::Releasing) {
            self.put(Entry::VfJob(id, ticket));
        } else {
            self.effect(Effect::Answer(ticket, Ok(Answer::Done)));
        }
    }

    /// Nobody has had a port's VF open for as long as the administrator says, which its guest, if
    /// it ran, would.
    pub(crate) fn port_unused(&mut self, id: ClaimId, reclaim: bool) {
        let Some(claim) = self.state.claims.get(&id) else { return };
        let Some(port) = claim.network.as_ref().map(|of| of.port) else { return };
        if !self.state.is_unused(claim) {
            return;
        }
        let (vf, owner) = (claim.vf, claim.owner.to_string());
        if reclaim {
            self.announce(Announcement::PortReclaimed(vf, port, owner));
            self.give_back(id);
        } else {
            self.announce(Announcement::PortUnused(vf, port, owner));
        }
    }

    /// A port that was to go is its client's as before: this process has its VF open.
    pub(crate) fn port_stays(&mut self, id: ClaimId, who: String) {
        let Some(mut claim) = self.state.claims.get(&id).cloned() else { return };
        let vf = claim.vf;
        // Its name was free while it was on its way back, and another port may have it.
        if let Some(of) = claim.network.as_mut().filter(|of| self.port_is_known(of.port)) {
            of.port = port_identity(of.uuid, &claim.owner, id);
        }
        let port = claim.network.as_ref().map(|of| of.port).unwrap_or_default();
        self.put(Entry::Claim(claim));
        self.happen(id, Happening::StillOpen);
        if let Some(ticket) = self.state.vf_jobs.get(&id).copied() {
            self.forget(Key::VfJob(id));
            let message = format!("port {port} is not deleted: {who} has its VF {vf} open");
            let refusal = Refusal::invalid(message).hint("end that process, and delete it again");
            self.effect(Effect::Answer(ticket, Err(refusal)));
        }
        self.announce(Announcement::PortInUse(vf, port, who));
    }

    pub(crate) fn port_delete(&mut self, ticket: Ticket, network: Uuid, port: Uuid) -> Outcome {
        if self.state.bridge_ports.get(&port).is_some_and(|known| known.network == network) {
            self.forget(Key::BridgePort(port));
            return Ok(Some(Answer::Done));
        }
        let claim = self.state.port(network, port).ok_or_else(|| no_port(port))?;
        if claim.executor != Executor::Outside {
            let message =
                format!("port {port} is not of another daemon: it belongs to {}", claim.owner);
            return Err(Refusal::invalid(message));
        }
        let id = claim.id;
        // What is at work on the VF has to end first.
        if let Some(job) = self.state.port_jobs.get(&id).cloned() {
            if job.delete.is_some() {
                return Err(no_port(port));
            }
            self.put(Entry::PortJob(id, PortJob { delete: Some(ticket), ..job }));
            return Ok(None);
        }
        if self.give_back(id) {
            self.put(Entry::VfJob(id, ticket));
            return Ok(None);
        }
        Ok(Some(Answer::Done))
    }
}

impl State {
    /// Whether another daemon has any port with a VF.
    pub fn has_outside_ports(&self) -> bool {
        self.claims.values().any(|claim| claim.state == ClaimState::Lent)
    }

    /// The claims of which [`State::is_unused`] is so.
    pub fn unused_ports(&self) -> BTreeSet<ClaimId> {
        self.claims.values().filter(|claim| self.is_unused(claim)).map(|claim| claim.id).collect()
    }

    /// Whether a claim is a port of another daemon's whose VF nobody has open, nor the host in
    /// use, as far as the last look shows. Until its guest starts that is so of every port.
    pub fn is_unused(&self, claim: &Claim) -> bool {
        let seen = self.inventory.vfs.get(&claim.vf);
        claim.state == ClaimState::Lent
            && is_handed_over(claim)
            && seen.is_some_and(|vf| vf.incarnation == claim.incarnation && vf.uses.is_empty())
    }
}

/// Whether a claim is, or was until it was to be given back, a port that another daemon has heard
/// of.
pub(crate) fn is_handed_over(claim: &Claim) -> bool {
    let never = claim.wanted.as_ref().is_some_and(|wanted| wanted.mac == NO_VFS_MAC);
    claim.executor == Executor::Outside && matches!(claim.owner, Owner::Port { .. }) && !never
}

fn is_port(claim: &Claim, port: Uuid) -> bool {
    claim.is_port() && claim.network.as_ref().is_some_and(|of| of.port == port)
}

/// Clients put libvirt's words around the message: network port … exists already.
fn port_exists(port: Uuid) -> Refusal {
    Refusal::new(RefusalKind::PortExists, format!("with UUID {port}"))
}

fn no_port(port: Uuid) -> Refusal {
    Refusal::new(RefusalKind::NoPort, format!("no port with matching uuid '{port}'"))
}

fn owner(request: &PortRequest) -> Owner {
    Owner::Port { guest: request.owner, name: request.owner_name.clone() }
}

/// What a port asks of its network's pool.
fn asked(
    live: &LiveNetwork,
    request: &PortRequest,
    candidates: Vec<PciAddress>,
) -> Result<Asked, Refusal> {
    let (document, name) = (&live.definition.network, live.name().clone());
    let Forward::Hostdev(pool) = &document.forward else {
        let message = format!("network '{name}' is a bridge: its ports need no VF");
        return Err(Refusal::new(RefusalKind::Unsupported, message));
    };
    let portgroup = request.portgroup.as_deref();
    let wanted = port_settings(document, request.mac, request.vlan, portgroup)?;
    let Pool { managed, driver, .. } = pool;
    Ok(Asked {
        owner: owner(request),
        executor: Executor::Outside,
        what: format!("network '{name}'"),
        candidates,
        // That daemon writes a tag even where none is wanted, so that it is put back in any case.
        wanted: Some(WantedSettings { vlan: wanted.vlan.or(Some(Vlan::UNTAGGED)), ..wanted }),
        placement: document.placement(portgroup),
        // Where another daemon's guest is, only that daemon knows.
        nodes: None,
        network: Some((request.network, name, request.portgroup.clone())),
        port: Some(request.port),
        teaming: false,
        managed: *managed,
        driver: driver.as_ref().and_then(|driver| driver.model.clone()),
    })
}

/// The same of a port that is taken up: a portgroup that has gone meanwhile says nothing of it.
fn asked_again(
    live: &LiveNetwork,
    request: &PortRequest,
    candidates: Vec<PciAddress>,
) -> Result<Asked, Refusal> {
    let known = live.definition.network.portgroup(request.portgroup.as_deref()).is_some();
    let portgroup = request.portgroup.clone().filter(|_| known);
    let mut asked = asked(live, &PortRequest { portgroup, ..request.clone() }, candidates)?;
    if let Some((_, _, portgroup)) = &mut asked.network {
        portgroup.clone_from(&request.portgroup);
    }
    Ok(asked)
}

/// Who else has a VF, its IOMMU group or its MAC. What the host does with it is no matter: it is
/// as its guest has it.
fn another_holds(state: &State, vf: PciAddress, asked: &Asked) -> Option<String> {
    if let Some(claim) = state.claim_on(vf) {
        return Some(format!("is {}", claim.why_taken()));
    }
    // What another holder has only on its way back is still bound to host drivers or reset.
    let mut beside = state.claims_beside(vf);
    if let Some(other) = beside.find(|other| !other.owner.same_holder(&asked.owner)) {
        return Some(format!("shares its IOMMU group with {}, {}", other.vf, other.why_taken()));
    }
    // A guest's other VF of equal MAC may not have been told of yet.
    MacOwners::lent(state, &asked.wish()).clash(state.inventory.vfs.get(&vf)?, &asked.wish())
}

/// Stock libvirt sets the tag itself, always without priority and as 802.1Q (libvirt:
/// `virNetDevSetVfVlan`).
fn refuse_what_would_be_overwritten(asked: &Asked) -> Result<(), Refusal> {
    let Some(vlan) = asked.wanted.as_ref().and_then(|wanted| wanted.vlan) else { return Ok(()) };
    if vlan.qos == 0 && vlan.protocol == VlanProtocol::Dot1Q {
        return Ok(());
    }
    let message = format!(
        "{} wants VLAN {} with priority {} as {}, which the daemon that asks for the port would \
         overwrite with priority 0 as 802.1Q",
        asked.what,
        vlan.id,
        vlan.qos,
        vlan.protocol.name()
    );
    Err(Refusal::new(RefusalKind::Unsupported, message)
        .hint("run the guest with vfnetd, or leave qos and vlanProto out"))
}

/// No VF that is left can be lent, and these were tried.
fn none_would_do(mut tried: Vec<Because>, last: Refusal) -> Refusal {
    tried.extend(last.vfs);
    let message = "no VF could be made ready for the port";
    Refusal { vfs: tried, hint: last.hint, ..Refusal::new(RefusalKind::OperationFailed, message) }
}
