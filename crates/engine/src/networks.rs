//! Networks: definitions, start and stop, autostart.

use std::collections::BTreeSet;

use uuid::Uuid;
use vfnet_model::network::Network;
use vfnet_model::vf::WantedSettings;
use vfnet_model::{MacAddress, PciAddress, VlanId};

use crate::decision::{Announcement, Effect, NetworkHook, Turn};
use crate::guests::Start;
use crate::input::{Answer, Ticket};
use crate::record::{Entry, Key, NetworkJob, Pending};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{LiveNetwork, NetworkDefinition, NetworkEntry};

type Outcome = Result<Option<Answer>, Refusal>;

pub(crate) fn no_network(uuid: Uuid) -> Refusal {
    Refusal::new(RefusalKind::NoNetwork, format!("no network with matching uuid '{uuid}'"))
}

impl Turn<'_> {
    /// Refuses a document whose name or UUID is another network's.
    fn network_identity(&self, def: &NetworkDefinition) -> Result<(), Refusal> {
        let name = &def.network.name;
        if let Some(other) = self.state.network_named(name)
            && other != def.uuid
        {
            let message = format!("network '{name}' already exists with uuid {other}");
            return Err(Refusal::new(RefusalKind::OperationFailed, message)
                .hint("to change it, give that <uuid> in the document, or use virsh net-edit"));
        }
        if let Some(other) = self.state.network(def.uuid)
            && other.network.name != *name
        {
            let message = format!(
                "network '{}' is already defined with uuid {}",
                other.network.name, def.uuid
            );
            return Err(Refusal::new(RefusalKind::OperationFailed, message));
        }
        Ok(())
    }

    pub(crate) fn network_define(&mut self, def: NetworkDefinition) -> Outcome {
        self.network_identity(&def)?;
        self.state.no_driver_lacks(&def)?;
        let (uuid, name) = (def.uuid, def.network.name.clone());
        let warnings = self.state.missing_hardware(&def).into_iter().collect();
        let autostart = self.state.networks.get(&uuid).is_some_and(|entry| entry.autostart);
        self.put(Entry::Network(NetworkEntry { uuid, definition: def, autostart }));
        self.announce(Announcement::NetworkDefined(uuid, name.clone()));
        Ok(Some(Answer::Network { uuid, name, warnings }))
    }

    pub(crate) fn network_create(&mut self, ticket: Ticket, def: NetworkDefinition) -> Outcome {
        self.network_identity(&def)?;
        if self.state.live_networks.contains_key(&def.uuid) {
            let message = format!("network is already active as '{}'", def.network.name);
            return Err(Refusal::invalid(message));
        }
        self.state.no_driver_lacks(&def)?;
        self.begin_network(Some(ticket), def)
    }

    pub(crate) fn network_start(&mut self, ticket: Option<Ticket>, uuid: Uuid) -> Outcome {
        let def = self.state.network(uuid).ok_or_else(|| no_network(uuid))?.clone();
        if self.state.live_networks.contains_key(&uuid) {
            return Err(Refusal::invalid(format!(
                "network '{}' is already active",
                def.network.name
            )));
        }
        self.begin_network(ticket, def)
    }

    fn begin_network(&mut self, ticket: Option<Ticket>, def: NetworkDefinition) -> Outcome {
        if self.state.network_jobs.contains_key(&def.uuid) {
            let message = format!("network '{}' is being started", def.network.name);
            return Err(Refusal::invalid(message));
        }
        if self.state.hooks {
            // What it comes to on this host is looked up afterwards: a script may make VFs.
            let making = self.note_autoprobe(&def);
            let live =
                LiveNetwork { uuid: def.uuid, definition: def, pfs: Vec::new(), vfs: Vec::new() };
            self.call_hook(NetworkHook::Start, ticket, live, making);
            return Ok(None);
        }
        self.make_pool(ticket, def)
    }

    /// Calls a hook script that may say no to a start.
    fn call_hook(
        &mut self,
        hook: NetworkHook,
        ticket: Option<Ticket>,
        live: LiveNetwork,
        making: BTreeSet<PciAddress>,
    ) {
        self.effect(Effect::CallHook(hook, Box::new(live.clone())));
        let job = NetworkJob { ticket, live, making, failed: Vec::new() };
        self.put(Entry::NetworkJob(job.live.uuid, job));
    }

    pub(crate) fn hook_ran(&mut self, uuid: Uuid, hook: NetworkHook, outcome: Result<(), String>) {
        let Some(job) = self.state.network_jobs.get(&uuid).cloned() else { return };
        if matches!(hook, NetworkHook::Updated | NetworkHook::Stopped) {
            return;
        }
        self.forget(Key::NetworkJob(uuid));
        let point = self.savepoint();
        let outcome = match outcome {
            Err(why) => {
                let message = format!("cannot start network '{}': {why}", job.live.name());
                Err(Refusal::new(RefusalKind::HookFailed, message))
            }
            Ok(()) if hook == NetworkHook::Start => {
                self.make_pool(job.ticket, job.live.definition.clone())
            }
            Ok(()) => Ok(Some(self.network_is_up(job.live.clone()))),
        };
        if outcome.is_err() {
            self.back_to(point);
        }
        self.network_begun(job.ticket, job.live, outcome);
        self.restore_autoprobe();
    }

    /// Tells whoever waits what has become of a start that was waited for.
    pub(crate) fn network_begun(
        &mut self,
        ticket: Option<Ticket>,
        live: LiveNetwork,
        outcome: Outcome,
    ) {
        if outcome.is_err() && self.state.hooks {
            // As libvirt has it, so that scripts can take back what they have done.
            self.effect(Effect::CallHook(NetworkHook::Stopped, Box::new(live)));
        }
        match (ticket, outcome) {
            (_, Ok(None)) | (None, Ok(_)) => {}
            (Some(ticket), Ok(Some(answer))) => self.effect(Effect::Answer(ticket, Ok(answer))),
            (Some(ticket), Err(refusal)) => self.effect(Effect::Answer(ticket, Err(refusal))),
            (None, Err(refusal)) => self.announce(Announcement::StartFailed(refusal.to_string())),
        }
    }

    /// The end of a start, once every VF that it wants is there.
    pub(crate) fn pool_is_there(&mut self, ticket: Option<Ticket>, live: LiveNetwork) -> Outcome {
        if let Some(refusal) = self.state.empty_pool(&live) {
            return Err(refusal);
        }
        if self.state.hooks {
            self.call_hook(NetworkHook::Started, ticket, live, BTreeSet::new());
            return Ok(None);
        }
        Ok(Some(self.network_is_up(live)))
    }

    fn network_is_up(&mut self, live: LiveNetwork) -> Answer {
        let (uuid, name) = (live.uuid, live.name().clone());
        self.forget(Key::Pending(uuid));
        self.put(Entry::LiveNetwork(live));
        self.announce(Announcement::NetworkStarted(uuid, name.clone()));
        self.try_pending();
        Answer::Network { uuid, name, warnings: Vec::new() }
    }

    pub(crate) fn network_destroy(&mut self, uuid: Uuid, force: bool) -> Outcome {
        let Some(live) = self.state.live_networks.get(&uuid) else {
            let name = &self.state.network(uuid).ok_or_else(|| no_network(uuid))?.network.name;
            return Err(Refusal::invalid(format!("network '{name}' is not active")));
        };
        let name = live.name().clone();
        let hit = self.state.hit_with_network(uuid);
        if !hit.is_empty() && !force {
            let message = format!("network '{name}' is in use: {hit}");
            return Err(Refusal::invalid(message).hint(format!(
                "to stop it and let the guests keep their VFs: vfnet net destroy --force {name}"
            )));
        }
        if self.state.hooks {
            self.effect(Effect::CallHook(NetworkHook::Stopped, Box::new(live.clone())));
        }
        self.forget(Key::LiveNetwork(uuid));
        self.forget(Key::Pending(uuid));
        self.announce(Announcement::NetworkStopped(uuid, name));
        Ok(Some(Answer::Done))
    }

    pub(crate) fn network_undefine(&mut self, uuid: Uuid) -> Outcome {
        let name = self.state.network(uuid).ok_or_else(|| no_network(uuid))?.network.name.clone();
        if !self.state.networks.contains_key(&uuid) {
            return Err(Refusal::invalid(format!(
                "network '{name}' is transient: there is nothing to undefine"
            )));
        }
        self.forget(Key::Network(uuid));
        self.forget(Key::Pending(uuid));
        self.announce(Announcement::NetworkUndefined(uuid, name));
        Ok(Some(Answer::Done))
    }

    pub(crate) fn network_autostart(&mut self, uuid: Uuid, autostart: bool) -> Outcome {
        let Some(entry) = self.state.networks.get(&uuid).cloned() else {
            self.state.network(uuid).ok_or_else(|| no_network(uuid))?;
            return Err(Refusal::invalid("cannot set autostart for transient network"));
        };
        self.put(Entry::Network(NetworkEntry { autostart, ..entry }));
        Ok(Some(Answer::Done))
    }

    /// Has autostart try again, when it has still to start something that it can by now.
    pub(crate) fn try_pending(&mut self) {
        let possible = self.state.pending.iter().any(|(uuid, what)| match what {
            Pending::Network => self.network_can_autostart(*uuid).is_ok(),
            Pending::Guest => self.guest_can_autostart(*uuid).is_ok(),
        });
        if possible {
            self.effect(Effect::StartPending);
        }
    }

    /// Starts whatever autostart has still to start and can by now.
    pub(crate) fn start_pending(&mut self) {
        let mut pending: Vec<_> =
            self.state.pending.iter().map(|(uuid, what)| (*uuid, *what)).collect();
        // Guests need networks.
        pending.sort_by_key(|(_, what)| *what == Pending::Guest);
        for (uuid, what) in pending {
            let possible = match what {
                Pending::Network => self.network_can_autostart(uuid),
                Pending::Guest => self.guest_can_autostart(uuid),
            };
            if possible.is_ok() {
                let point = self.savepoint();
                let begun = match what {
                    Pending::Network => self.network_start(None, uuid),
                    Pending::Guest => self.guest_start(None, uuid, Start::default()),
                };
                if begun.is_err() {
                    self.back_to(point);
                }
            }
        }
    }

    /// Says of everything pending what it waits for.
    pub(crate) fn autostart_is_late(&mut self) {
        let pending: Vec<_> =
            self.state.pending.iter().map(|(uuid, what)| (*uuid, *what)).collect();
        for (uuid, what) in pending {
            let point = self.savepoint();
            let why = match what {
                Pending::Network => self
                    .network_can_autostart(uuid)
                    .and_then(|()| self.network_start(None, uuid).map_err(|why| why.to_string())),
                Pending::Guest => self.guest_can_autostart(uuid).and_then(|()| {
                    self.guest_start(None, uuid, Start::default()).map_err(|why| why.to_string())
                }),
            };
            self.back_to(point);
            if let Err(why) = why {
                self.announce(Announcement::AutostartWaits(why));
            }
        }
    }

    /// Autostart waits for the PFs to be there and up; a person's own start does not.
    fn network_can_autostart(&self, uuid: Uuid) -> Result<(), String> {
        if self.state.network_jobs.contains_key(&uuid) {
            return Err("it is being started".to_owned());
        }
        let Some(def) = self.state.network(uuid) else {
            return Err("it is not defined".to_owned());
        };
        self.state.pfs_are_up(def)
    }
}

/// What a port of a network gets. A portgroup that the network does not have is refused.
pub(crate) fn port_settings(
    document: &Network,
    mac: MacAddress,
    own: Option<VlanId>,
    portgroup: Option<&str>,
) -> Result<WantedSettings, Refusal> {
    if let Some(wanted) = portgroup
        && document.portgroup(portgroup).is_none()
    {
        let message = format!("network '{}' has no portgroup '{wanted}'", document.name);
        return Err(Refusal::new(RefusalKind::Unsupported, message));
    }
    Ok(document.wanted(mac, own, portgroup))
}
