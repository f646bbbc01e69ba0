//! Changes of a network's document while it stays what it is: a section (`net-update`), title,
//! description and metadata.
//!
//! The edge makes the new document out of the one it has read, on its own time, and the engine
//! takes it when that is still the one. A running network changes under its claims: they stay as
//! they are, and what is lent is counted from them, so that there are no counters to be kept.
//!
//! A change of both the running and the kept network is recorded as such first, as the two are at
//! home in different files: a kill amid it is made good by recovery, and leaves neither or both.

use std::collections::BTreeMap;

use uuid::Uuid;
use vfnet_model::network::{Form, Forward, Members, Network, print};
use vfnet_model::{NetworkName, PciAddress};

use crate::decision::{Announcement, Effect, NetworkHook, Turn};
use crate::input::{Answer, Metadata, NetworkEdit, Request, Ticket};
use crate::networks::no_network;
use crate::pool::resolve;
use crate::record::{Entry, Key};
use crate::refusal::{Because, Obstacle, Refusal, RefusalKind};
use crate::state::{LiveNetwork, NetworkDefinition, NetworkEntry, State, UnfinishedEdit};

type Outcome = Result<Option<Answer>, Refusal>;

impl Turn<'_> {
    pub(crate) fn network_edit(&mut self, ticket: Ticket, edit: NetworkEdit) -> Outcome {
        let NetworkEdit { network: uuid, live, config, metadata } = edit;
        let name = &self.state.network(uuid).ok_or_else(|| no_network(uuid))?.network.name;
        let name = name.clone();
        if self.state.edits.contains_key(&uuid) {
            return Err(changed_meanwhile(&name));
        }
        let live = match live {
            None => None,
            Some(edited) => {
                let before =
                    self.state.live_networks.get(&uuid).ok_or_else(|| {
                        Refusal::invalid(format!("network '{name}' is not active"))
                    })?;
                still(&before.definition, &edited.before)?;
                Some(edited_live(self.state, before, edited.after)?)
            }
        };
        let config = match config {
            None => None,
            Some(edited) => {
                let before = self.state.networks.get(&uuid).ok_or_else(|| {
                    let message = format!("network '{name}' is transient: it has no configuration");
                    Refusal::invalid(message)
                })?;
                still(&before.definition, &edited.before)?;
                Some(definition(uuid, edited.after))
            }
        };
        for definition in live.iter().map(|live| &live.definition).chain(&config) {
            self.state.no_driver_lacks(definition)?;
        }
        match (live, config) {
            (Some(live), Some(config)) => {
                self.put(Entry::Edit(Box::new(UnfinishedEdit { live, config })));
                let finish = Request::NetworkEditFinish { network: uuid, metadata };
                self.effect(Effect::AskAgain(ticket, Box::new(finish)));
                return Ok(None);
            }
            (Some(live), None) => self.change_running(live, metadata.as_ref()),
            (None, Some(config)) => self.change_kept(config),
            (None, None) => {}
        }
        self.announce_metadata(uuid, metadata);
        Ok(Some(Answer::Done))
    }

    /// Changes both, as is on record.
    pub(crate) fn network_edit_finish(
        &mut self,
        network: Uuid,
        metadata: Option<Metadata>,
    ) -> Outcome {
        if let Some(UnfinishedEdit { live, config }) = self.state.edits.get(&network).cloned() {
            self.forget(Key::Edit(network));
            self.change_running(live, metadata.as_ref());
            self.change_kept(config);
            self.announce_metadata(network, metadata);
        }
        Ok(Some(Answer::Done))
    }

    fn change_running(&mut self, live: LiveNetwork, metadata: Option<&Metadata>) {
        if !self.state.live_networks.contains_key(&live.uuid) {
            return;
        }
        // As with libvirt, of metadata the scripts do not hear.
        if self.state.hooks && metadata.is_none() {
            self.effect(Effect::CallHook(NetworkHook::Updated, Box::new(live.clone())));
        }
        let network = live.uuid;
        self.put(Entry::LiveNetwork(live));
        if metadata.is_none() {
            self.network_sets_anew(network);
        }
    }

    fn change_kept(&mut self, definition: NetworkDefinition) {
        if let Some(before) = self.state.networks.get(&definition.uuid).cloned() {
            self.put(Entry::Network(NetworkEntry { definition, ..before }));
        }
    }

    fn announce_metadata(&mut self, uuid: Uuid, kind: Option<Metadata>) {
        let name = self.state.network(uuid).map(|def| def.network.name.clone());
        if let (Some(name), Some(kind)) = (name, kind) {
            self.announce(Announcement::NetworkMetadataChanged(uuid, name, kind));
        }
    }
}

/// What is kept as text is the new document printed: of the one that was given, the changed part
/// is no more.
fn definition(uuid: Uuid, network: Network) -> NetworkDefinition {
    let xml = print(&network, Form::Inactive);
    NetworkDefinition { uuid, network, xml }
}

fn still(found: &NetworkDefinition, read: &Network) -> Result<(), Refusal> {
    if found.network == *read {
        return Ok(());
    }
    Err(changed_meanwhile(&read.name))
}

fn changed_meanwhile(name: &NetworkName) -> Refusal {
    let message = format!("network '{name}' was changed by somebody else meanwhile");
    Refusal::new(RefusalKind::ChangedMeanwhile, message)
}

/// A running network with a new document: new members are looked up, others stay the VFs that
/// they were when it was started.
fn edited_live(
    state: &State,
    before: &LiveNetwork,
    after: Network,
) -> Result<LiveNetwork, Refusal> {
    let uuid = before.uuid;
    let members =
        |network: &Network| network.pool().map_or(Members::None, |pool| pool.members.clone());
    let (old, new) = (members(&before.definition.network), members(&after));
    if old == new {
        let definition = definition(uuid, after);
        return Ok(LiveNetwork { definition, ..before.clone() });
    }
    let known: BTreeMap<String, PciAddress> =
        names(&old).into_iter().zip(before.vfs.iter().copied()).collect();
    let mut vfs = Vec::new();
    for (name, member) in names(&new).into_iter().zip(one_by_one(&new)) {
        match known.get(&name) {
            Some(vf) => vfs.push(*vf),
            None => vfs.extend(looked_up(state, &after, uuid, member)?),
        }
    }
    let in_use = state.claims_on_network(uuid).find(|claim| {
        before.vfs.contains(&claim.vf)
            && !vfs.contains(&claim.vf)
            && !state.lends_by_pf(before, claim.pf, claim.index)
    });
    if let Some(claim) = in_use {
        let message = format!("a member of the pool of network '{}' is in use", before.name());
        let reason = format!("is {}", claim.why_taken());
        let vfs = vec![Because::new(claim.vf, Obstacle::Taken, reason)];
        return Err(Refusal { vfs, ..Refusal::invalid(message) });
    }
    Ok(LiveNetwork { uuid, definition: definition(uuid, after), pfs: before.pfs.clone(), vfs })
}

/// The VF of a member that is new, as at a start; what is no VF is wrong with the update.
fn looked_up(
    state: &State,
    network: &Network,
    uuid: Uuid,
    member: Members,
) -> Result<Vec<PciAddress>, Refusal> {
    let mut alone = network.clone();
    if let Forward::Hostdev(pool) = &mut alone.forward {
        pool.members = member;
        pool.pfs.clear();
    }
    resolve(state, definition(uuid, alone))
        .map(|(live, _)| live.vfs)
        .map_err(|absent| Refusal { kind: RefusalKind::Unsupported, ..absent })
}

/// How the document names each VF, in its order.
fn names(members: &Members) -> Vec<String> {
    match members {
        Members::None | Members::Pf(_) => Vec::new(),
        Members::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
        Members::Interfaces(names) => names.iter().map(ToString::to_string).collect(),
    }
}

fn one_by_one(members: &Members) -> Vec<Members> {
    match members {
        Members::None | Members::Pf(_) => Vec::new(),
        Members::Addresses(all) => all.iter().map(|one| Members::Addresses(vec![*one])).collect(),
        Members::Interfaces(all) => {
            all.iter().map(|one| Members::Interfaces(vec![one.clone()])).collect()
        }
    }
}
