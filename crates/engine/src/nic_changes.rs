//! An interface whose VF gets other settings while its guest runs with it.
//!
//! The settings are recorded as those that the VF is held with, and a repair ([`crate::drift`])
//! makes them: after a crash, the next look sees what is not made yet and has it made. What the
//! VF's driver would answer with a reset is refused before anything is recorded; when the kernel
//! refuses, what was recorded is taken back, and another repair puts back what was set.

use uuid::Uuid;
use vfnet_model::drivers::{self, Row};
use vfnet_model::network::Forward;
use vfnet_model::vf::WantedSettings;

use crate::claim::{Claim, ClaimId, ClaimState, Executor, NetworkOf, Owner};
use crate::decision::{Announcement, Effect, Turn};
use crate::input::{Answer, Described, GuestEdit, NicChange, Repaired, Ticket};
use crate::networks::port_settings;
use crate::place::{MacOwners, Wish};
use crate::plugs::Device;
use crate::rank::Wanted;
use crate::record::Entry;
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{GuestDefinition, GuestRun, NicNeed, NicSource};

/// Who waits for a VF's other settings.
#[derive(Clone, Debug)]
pub struct NicJob {
    /// Who asked.
    pub ticket: Ticket,
    /// What becomes of the kept document when they are made.
    pub config: Option<GuestEdit>,
    /// The run and the claim as they were.
    pub before: Box<(GuestRun, Claim)>,
    /// The guest's document as it was changed.
    pub put: String,
}

impl GuestRun {
    /// What an interface needs, by its place, and whether the guest has it.
    pub fn nic(&self, place: usize) -> Option<&NicNeed> {
        let plugged = self.plugs.values().find_map(|plug| match &plug.device {
            Device::Nic(at, need) if *at == place => Some(need),
            _ => None,
        });
        plugged.or_else(|| self.definition.nics.get(place))
    }

    /// The same run, one of whose interfaces is described and provided for otherwise.
    fn with_nic(mut self, place: usize, need: NicNeed, described: Described) -> Option<Self> {
        match described {
            Described::Definition(edit) => {
                (self.definition.xml == edit.before).then_some(())?;
                self.definition = edit.after;
                self.definition.nics.get(place).filter(|now| **now == need)?;
            }
            Described::Plug { alias, document } => {
                let plug = self.plugs.get_mut(&alias)?;
                matches!(plug.device, Device::Nic(at, _) if at == place).then_some(())?;
                plug.device = Device::Nic(place, need);
                plug.document = document;
            }
        }
        Some(self)
    }
}

impl Turn<'_> {
    /// A running network has another document: the VFs that it lends are to be set as that has it,
    /// where their drivers do it under who has them. Others stay as they are until they are lent
    /// anew, which is told.
    pub(crate) fn network_sets_anew(&mut self, network: Uuid) {
        let held = |claim: &&Claim| {
            matches!(claim.state, ClaimState::Held { .. }) && claim.executor == Executor::Vfnet
        };
        let claims: Vec<_> = self.state.claims_on_network(network).filter(held).cloned().collect();
        for claim in claims {
            // What the new document has no settings for keeps those that it has.
            let Ok(Some(wanted)) = self.settings_by_network(&claim) else { continue };
            if claim.wanted.as_ref() == Some(&wanted) {
                continue;
            }
            match self.may_change(&claim, Some(&wanted), false) {
                Ok(()) => {
                    let id = claim.id;
                    self.state.set_anew.insert(id, claim.clone());
                    self.put(Entry::Claim(Claim { wanted: Some(wanted), ..claim }));
                    self.begin_repair(id);
                }
                Err(refusal) => self.stays_as_set(&claim, refusal.to_string()),
            }
        }
    }

    fn settings_by_network(&self, claim: &Claim) -> Result<Option<WantedSettings>, Refusal> {
        match &claim.owner {
            Owner::Nic { guest, nic, .. } => {
                let run = self.state.runs.get(guest);
                match run.and_then(|run| run.nic(*nic)) {
                    Some(need) => self.settings_of(need),
                    None => Ok(None),
                }
            }
            Owner::Lease(_) => {
                let of = claim.network.as_ref();
                let live = of.and_then(|of| self.state.live_networks.get(&of.uuid));
                let (Some(of), Some(live), Some(now)) = (of, live, &claim.wanted) else {
                    return Ok(None);
                };
                let document = &live.definition.network;
                port_settings(document, now.mac, None, of.portgroup.as_deref()).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn stays_as_set(&mut self, claim: &Claim, why: String) {
        self.announce(Announcement::VfStaysAsSet(claim.vf, claim.owner.to_string(), why));
    }

    /// A repair has ended that was to set a VF as its network has it by now; false where it was
    /// another.
    fn is_set_anew(&mut self, id: ClaimId, outcome: &Repaired) -> bool {
        let Some(before) = self.state.set_anew.remove(&id) else { return false };
        let held = |claim: &Claim| matches!(claim.state, ClaimState::Held { .. });
        if !self.state.claims.get(&id).is_some_and(held) {
            return false;
        }
        match outcome {
            Repaired::Done(what) => {
                let (vf, owner) = (before.vf, before.owner.to_string());
                self.announce(Announcement::VfSetAnew(vf, owner, what.join(", ")));
            }
            Repaired::Failed(why) | Repaired::NotWhileHeld(why) => {
                self.stays_as_set(&before, why.clone());
                self.put(Entry::Claim(before));
                self.begin_repair(id);
            }
        }
        true
    }

    pub(crate) fn guest_change_nic(
        &mut self,
        ticket: Ticket,
        change: NicChange,
    ) -> Result<Option<Answer>, Refusal> {
        let NicChange { guest, nic, need, described, config } = change;
        let run = self.running(guest)?.clone();
        self.still_as_read(guest, config.as_ref())?;
        let none = || Refusal::invalid(format!("the guest has no interface {nic}"));
        let before = run.nic(nic).ok_or_else(none)?;
        if before.mac != need.mac || !same_origin(&before.source, &need.source) {
            let message = "an interface that has another MAC, or comes from elsewhere, is another";
            return Err(Refusal::new(RefusalKind::Unsupported, message)
                .hint("detach this one, and attach the other"));
        }
        let changed = run.clone().with_nic(nic, need.clone(), described).ok_or_else(|| {
            Refusal::new(RefusalKind::ChangedMeanwhile, "the guest was changed meanwhile")
                .hint("try again")
        })?;
        let owned = |claim: &&Claim| matches!(claim.owner, Owner::Nic { nic: of, .. } if of == nic);
        let Some(claim) = self.state.claims_of(guest).find(owned).cloned() else {
            return Ok(Some(self.is_changed(changed, config)));
        };
        let wanted = self.settings_of(&need)?;
        if wanted == claim.wanted {
            return Ok(Some(self.is_changed(changed, config)));
        }
        self.may_change(&claim, wanted.as_ref(), need.teaming)?;
        let network = claim.network.clone().map(|of| NetworkOf {
            portgroup: match &need.source {
                NicSource::Network { portgroup, .. } => portgroup.clone(),
                _ => of.portgroup.clone(),
            },
            ..of
        });
        let id = claim.id;
        let put = changed.definition.xml.clone();
        self.put(Entry::Claim(Claim { wanted, network, ..claim.clone() }));
        self.put(Entry::Run(changed));
        let mut job = self.guest_job(guest);
        job.nics.insert(id, NicJob { ticket, config, before: Box::new((run, claim)), put });
        self.put(Entry::GuestJob(guest, job));
        self.begin_repair(id);
        Ok(None)
    }

    fn is_changed(&mut self, run: GuestRun, config: Option<GuestEdit>) -> Answer {
        let guest = run.guest;
        self.put(Entry::Run(run));
        if let Some(edit) = config {
            self.keep_edit(guest, edit);
        }
        Answer::Done
    }

    /// What the VF behind an interface is to be set to, now.
    fn settings_of(&self, nic: &NicNeed) -> Result<Option<WantedSettings>, Refusal> {
        match &nic.source {
            NicSource::Bridge(_) => Ok(None),
            NicSource::Device(_) => Ok(Some(nic.of_device())),
            NicSource::Network { name, portgroup } => {
                let live = self.state.live_networks.values().find(|live| live.name() == name);
                let document = live.map(|live| &live.definition.network);
                let document = document.ok_or_else(|| {
                    Refusal::invalid(format!("network '{name}' is not active"))
                        .hint(format!("vfnet net start {name}"))
                })?;
                let Forward::Hostdev(_) = &document.forward else { return Ok(None) };
                let wanted = port_settings(document, nic.mac, nic.vlan, portgroup.as_deref())?;
                Ok(Some(nic.with_link(wanted)))
            }
        }
    }

    /// Refuses what cannot be set while the guest has the VF.
    fn may_change(
        &self,
        claim: &Claim,
        wanted: Option<&WantedSettings>,
        teaming: bool,
    ) -> Result<(), Refusal> {
        let vf = claim.vf;
        let held = matches!(claim.state, ClaimState::Held { .. });
        if !held || claim.executor != Executor::Vfnet || claim.drift.is_some() {
            let message = format!("VF {vf} is {}", claim.state.word());
            return Err(Refusal::invalid(message));
        }
        if self.state.is_being_repaired(claim.id) {
            return Err(Refusal::invalid(format!("VF {vf} is being set")).hint("try again"));
        }
        let (Some(before), Some(wanted)) = (&claim.wanted, wanted) else {
            return Err(Refusal::new(
                RefusalKind::Unsupported,
                "the interface's network lends VFs, or does not any more",
            ));
        };
        let pf = self.state.inventory.pfs.get(&claim.pf);
        let row = drivers::row(pf.and_then(|pf| pf.driver.as_ref()));
        let of =
            |what: &str| format!("the {what} of VF {vf}, whose PF's driver is {}", name_of(row));
        if let Some(what) = resetting(row, before, wanted) {
            let message = format!("cannot change {}: it resets the VF under the guest", of(what));
            return Err(Refusal::new(RefusalKind::Unsupported, message)
                .hint("detach the interface, and attach it with the other setting"));
        }
        if let Some(what) = row.lacks(wanted).first() {
            let message = format!("cannot change {}: it does not know that setting", of(what));
            return Err(Refusal::new(RefusalKind::Unsupported, message));
        }
        let wish = Wish {
            owner: &claim.owner,
            settings: Some(wanted),
            teaming,
            managed: claim.managed,
            wanted: Wanted::ANYWHERE,
        };
        let tag = |settings: &WantedSettings| settings.vlan.map_or(0, |vlan| vlan.id.get());
        let clash = self.state.inventory.vfs.get(&vf).filter(|_| tag(before) != tag(wanted));
        match clash.and_then(|vf| MacOwners::of(self.state, &wish).clash(vf, &wish)) {
            Some(why) => Err(Refusal::invalid(format!("VF {vf} {why}"))),
            None => Ok(()),
        }
    }

    /// A repair has ended that made a VF's other settings; false where it was another.
    pub(crate) fn nic_is_changed(&mut self, id: ClaimId, outcome: &Repaired) -> bool {
        if self.is_set_anew(id, outcome) {
            return true;
        }
        let Some(guest) = self.state.claims.get(&id).and_then(|claim| claim.owner.guest()) else {
            return false;
        };
        let mut job = self.guest_job(guest);
        let Some(NicJob { ticket, config, before, put }) = job.nics.remove(&id) else {
            return false;
        };
        self.put(Entry::GuestJob(guest, job));
        let held = |claim: &Claim| matches!(claim.state, ClaimState::Held { .. });
        if !self.state.claims.get(&id).is_some_and(held) {
            self.effect(Effect::Answer(ticket, Err(ended())));
            return false;
        }
        let why = match outcome {
            Repaired::Done(_) => {
                let kept = self.still_as_read(guest, config.as_ref()).map(|()| {
                    if let Some(edit) = config {
                        self.keep_edit(guest, edit);
                    }
                    Answer::Done
                });
                self.effect(Effect::Answer(ticket, kept));
                return true;
            }
            Repaired::Failed(why) | Repaired::NotWhileHeld(why) => why.clone(),
        };
        let (run, claim) = *before;
        let message = format!("cannot change VF {}: {why}", claim.vf);
        let refusal = Refusal::new(RefusalKind::OperationFailed, message);
        // Of the run only what was changed: it may have got other devices since.
        if let Some(now) = self.state.runs.get(&guest).cloned() {
            let Owner::Nic { nic, .. } = claim.owner else { return true };
            let mut plugs = now.plugs.clone();
            for (alias, plug) in &run.plugs {
                if matches!(plug.device, Device::Nic(at, _) if at == nic)
                    && plugs.contains_key(alias)
                {
                    plugs.insert(alias.clone(), plug.clone());
                }
            }
            // Of a document that was edited since, what it needs alone: its words are the user's.
            let definition = match now.definition.xml == put {
                true => run.definition,
                false => GuestDefinition { nics: run.definition.nics, ..now.definition.clone() },
            };
            self.put(Entry::Run(GuestRun { definition, plugs, ..now }));
        }
        self.put(Entry::Claim(claim));
        self.effect(Effect::Answer(ticket, Err(refusal)));
        self.begin_repair(id);
        true
    }

    /// Answers all who wait for settings of a guest that has ended.
    pub(crate) fn nic_changes_end(&mut self, guest: Uuid) {
        let mut job = self.guest_job(guest);
        let waiting = std::mem::take(&mut job.nics);
        if waiting.is_empty() {
            return;
        }
        self.put(Entry::GuestJob(guest, job));
        for NicJob { ticket, .. } in waiting.into_values() {
            self.effect(Effect::Answer(ticket, Err(ended())));
        }
    }
}

fn ended() -> Refusal {
    Refusal::invalid("the guest ended meanwhile")
}

/// Whether an interface comes from the same network, bridge or VF; the portgroup may be another.
fn same_origin(one: &NicSource, other: &NicSource) -> bool {
    match (one, other) {
        (NicSource::Network { name: one, .. }, NicSource::Network { name: other, .. }) => {
            one == other
        }
        (one, other) => one == other,
    }
}

/// What of the change the driver answers with a reset of the VF.
fn resetting(row: &Row, before: &WantedSettings, wanted: &WantedSettings) -> Option<&'static str> {
    [
        (row.vlan_resets_vf, before.vlan != wanted.vlan, "VLAN tag"),
        (row.trust_resets_vf, before.trust != wanted.trust, "trust"),
    ]
    .into_iter()
    .find_map(|(resets, differs, what)| (resets && differs).then_some(what))
}

const fn name_of(row: &Row) -> &'static str {
    if row.driver.is_empty() { "not known" } else { row.driver }
}
