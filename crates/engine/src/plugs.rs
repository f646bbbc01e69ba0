//! Devices that come and go while their guest runs.
//!
//! ```text
//!   attach -> Preparing -> Plugging -> Plugged <-> Unplugging -> Gone -> (forgotten)
//!                  \____________\______________________________/
//! ```
//!
//! A VF is claimed and the plug recorded in one decision; QEMU is told of the VF only when it is
//! held, and the VF goes back only when QEMU has let go of it. Whether QEMU has a device is for
//! QEMU to say: a daemon that finds a guest again asks it ([`crate::Input::DevicesSeen`]), and
//! either the device is in the guest and its VF held, or neither.
//!
//! To let go is the guest's decision. One that does not answer keeps the device, which stays
//! Unplugging and may be asked for again; so does one that says no, whose device is Plugged as
//! before.
//!
//! A device that the guest was started with has no plug until it is to go; from then on it has
//! one until the guest ends, so that it is known not to be there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use vfnet_model::{DriverName, GuestName};

use crate::claim::{Claim, ClaimId, ClaimState, Happening, Owner};
use crate::decision::{Announcement, Effect, Turn};
use crate::input::{Answer, Attach, Detach, GuestEdit, Plugging, Ticket, Unplugging};
use crate::record::{Entry, GuestJob};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{GuestEntry, GuestRun, HostdevNeed, NicNeed, Phase, State};

/// A device that has come or gone since its guest was started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plug {
    /// What it is.
    pub device: Device,
    /// How whoever runs the guest describes it, with its alias and its address in the guest; not
    /// read here.
    pub document: String,
    /// How far it is.
    pub state: PlugState,
    /// Whether the guest was started with it.
    pub from_start: bool,
}

/// A device of a running guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// An `<interface>`: its place among the run's interfaces, which names its VF's owner.
    Nic(usize, NicNeed),
    /// A PCI `<hostdev>`: its place among the run's.
    Hostdev(usize, HostdevNeed),
    /// One that needs no VF.
    Other,
}

/// How far a plug is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlugState {
    /// Its VF is being prepared.
    Preparing,
    /// QEMU is being told of it, and may have it already.
    Plugging,
    /// The guest has it.
    Plugged,
    /// The guest has been asked to let go of it, and has it.
    Unplugging,
    /// QEMU does not have it; its VF is on its way back.
    Gone,
}

/// Who waits for a plug.
#[derive(Clone, Debug)]
pub struct PlugJob {
    /// Who asked.
    pub ticket: Ticket,
    /// What becomes of the kept document when it is done.
    pub config: Option<GuestEdit>,
    /// Why it failed.
    pub failed: Option<Refusal>,
}

type Outcome = Result<Option<Answer>, Refusal>;

impl Device {
    /// Whether a VF's owner is this device of its guest.
    pub fn owns(&self, owner: &Owner) -> bool {
        match (self, owner) {
            (Self::Nic(place, _), Owner::Nic { nic, .. }) => place == nic,
            (Self::Hostdev(place, _), Owner::Hostdev { hostdev, .. }) => place == hostdev,
            _ => false,
        }
    }
}

impl GuestRun {
    /// The first place after those of its interfaces, at its start and since.
    pub fn next_nic(&self) -> usize {
        let places = self.plugs.values().filter_map(|plug| match plug.device {
            Device::Nic(place, _) => Some(place + 1),
            _ => None,
        });
        places.fold(self.definition.nics.len(), usize::max)
    }

    /// The first place after those of its PCI hostdevs, at its start and since.
    pub fn next_hostdev(&self) -> usize {
        let places = self.plugs.values().filter_map(|plug| match plug.device {
            Device::Hostdev(place, _) => Some(place + 1),
            _ => None,
        });
        places.fold(self.definition.hostdevs.len(), usize::max)
    }
}

impl State {
    /// The claim behind a guest's device.
    pub fn claim_of_device(&self, guest: Uuid, device: &Device) -> Option<&Claim> {
        self.claims_of(guest).find(|claim| device.owns(&claim.owner))
    }

    /// The plug of a claim's holder, where it has come since its start.
    fn plug_of(&self, claim: &Claim) -> Option<(Uuid, String)> {
        let guest = claim.owner.guest()?;
        let plugs = &self.runs.get(&guest)?.plugs;
        let (alias, _) = plugs.iter().find(|(_, plug)| plug.device.owns(&claim.owner))?;
        Some((guest, alias.clone()))
    }
}

impl Turn<'_> {
    fn plugs(&self, guest: Uuid) -> BTreeMap<String, Plug> {
        self.state.runs.get(&guest).map(|run| run.plugs.clone()).unwrap_or_default()
    }

    fn put_plug(&mut self, guest: Uuid, alias: &str, plug: Option<Plug>) {
        let Some(mut run) = self.state.runs.get(&guest).cloned() else { return };
        match plug {
            Some(plug) => run.plugs.insert(alias.to_owned(), plug),
            None => run.plugs.remove(alias),
        };
        self.put(Entry::Run(run));
    }

    fn set_plug(&mut self, guest: Uuid, alias: &str, state: PlugState) {
        let Some(plug) = self.plugs(guest).remove(alias) else { return };
        self.put_plug(guest, alias, Some(Plug { state, ..plug }));
    }

    fn put_plug_job(&mut self, guest: Uuid, alias: &str, waits: Option<PlugJob>) {
        let mut job = self.guest_job(guest);
        match waits {
            Some(waits) => job.plugs.insert(alias.to_owned(), waits),
            None => job.plugs.remove(alias),
        };
        self.put(Entry::GuestJob(guest, job));
    }

    pub(crate) fn guest_job(&self, guest: Uuid) -> GuestJob {
        self.state.guest_jobs.get(&guest).cloned().unwrap_or_default()
    }

    /// The run of a guest to which something may be done.
    pub(crate) fn running(&self, guest: Uuid) -> Result<&GuestRun, Refusal> {
        let run = self.state.runs.get(&guest).ok_or_else(|| match self.state.guest(guest) {
            Some(def) => Refusal::invalid(format!("guest '{}' is not running", def.name)),
            None => {
                Refusal::new(RefusalKind::NoGuest, format!("no guest with matching uuid '{guest}'"))
            }
        })?;
        let name = &run.definition.name;
        match run.phase {
            Phase::Preparing | Phase::Launching => {
                Err(Refusal::invalid(format!("guest '{name}' is being started")))
            }
            Phase::Ending => Err(Refusal::invalid(format!("guest '{name}' is ending"))),
            Phase::Running | Phase::Paused | Phase::ShuttingDown => Ok(run),
        }
    }

    pub(crate) fn guest_attach(&mut self, ticket: Ticket, attach: Attach) -> Outcome {
        let Attach { guest, alias, device, document, config } = attach;
        let run = self.running(guest)?;
        if run.plugs.contains_key(&alias) {
            let message =
                format!("guest '{}' has, or had, a device '{alias}'", run.definition.name);
            return Err(Refusal::invalid(message));
        }
        self.still_as_read(guest, config.as_ref())?;
        let def = run.definition.clone();
        let device = match device {
            Device::Nic(_, need) => Device::Nic(run.next_nic(), need),
            Device::Hostdev(_, need) => Device::Hostdev(run.next_hostdev(), need),
            Device::Other => Device::Other,
        };
        let claim = match &device {
            Device::Nic(place, need) => self.claim_for_nic(&def, *place, need)?,
            Device::Hostdev(hostdev, need) => Some(self.claim_for_hostdev(&def, *hostdev, need)?),
            Device::Other => None,
        };
        let state = if claim.is_some() { PlugState::Preparing } else { PlugState::Plugging };
        self.put_plug(guest, &alias, Some(Plug { device, document, state, from_start: false }));
        self.put_plug_job(guest, &alias, Some(PlugJob { ticket, config, failed: None }));
        self.effect(match claim {
            Some(claim) => Effect::Prepare(claim),
            None => Effect::Plug { guest, alias },
        });
        Ok(None)
    }

    pub(crate) fn guest_detach(&mut self, ticket: Ticket, detach: Detach) -> Outcome {
        let Detach { guest, alias, from_start, config } = detach;
        let run = self.running(guest)?;
        let refuse = |what: &str| Err(Refusal::invalid(format!("device '{alias}' {what}")));
        let plug = match (run.plugs.get(&alias), from_start) {
            (Some(plug), _) => plug.clone(),
            (None, Some((device, document))) => {
                Plug { device, document, state: PlugState::Plugged, from_start: true }
            }
            (None, None) => return refuse("is not there"),
        };
        match plug.state {
            PlugState::Plugged | PlugState::Unplugging => {}
            PlugState::Preparing | PlugState::Plugging => return refuse("is being attached"),
            PlugState::Gone => return refuse("is not there any more"),
        }
        if self.guest_job(guest).plugs.contains_key(&alias) {
            return refuse("is being detached");
        }
        self.still_as_read(guest, config.as_ref())?;
        let state = PlugState::Unplugging;
        self.put_plug(guest, &alias, Some(Plug { state, ..plug }));
        self.put_plug_job(guest, &alias, Some(PlugJob { ticket, config, failed: None }));
        self.effect(Effect::Unplug { guest, alias });
        Ok(None)
    }

    /// Refuses to put a document in the place of another one than it was made from.
    pub(crate) fn still_as_read(
        &self,
        guest: Uuid,
        edit: Option<&GuestEdit>,
    ) -> Result<(), Refusal> {
        let Some(edit) = edit else { return Ok(()) };
        let kept = self.state.guests.get(&guest);
        if kept.is_some_and(|entry| entry.definition.xml == edit.before) {
            return Ok(());
        }
        let message = "the guest's kept document was changed meanwhile";
        Err(Refusal::new(RefusalKind::ChangedMeanwhile, message).hint("try again"))
    }

    pub(crate) fn keep_edit(&mut self, guest: Uuid, edit: GuestEdit) {
        let Some(entry) = self.state.guests.get(&guest).cloned() else { return };
        self.put(Entry::Guest(GuestEntry { definition: edit.after, ..entry }));
    }

    /// A VF of a guest that runs has become ready: QEMU can be told of it.
    pub(crate) fn plug_what_is_ready(&mut self, guest: Uuid) {
        let waits = self.guest_job(guest).plugs;
        for (alias, plug) in self.plugs(guest) {
            // What an earlier daemon had begun is decided by what QEMU has.
            let ready = plug.state == PlugState::Preparing
                && waits.contains_key(&alias)
                && self
                    .state
                    .claim_of_device(guest, &plug.device)
                    .is_some_and(|claim| matches!(claim.state, ClaimState::Held { .. }));
            if ready {
                self.set_plug(guest, &alias, PlugState::Plugging);
                self.effect(Effect::Plug { guest, alias });
            }
        }
    }

    /// The VF of a device that was to come could not be prepared; true where it is one.
    pub(crate) fn plug_has_no_vf(&mut self, claim: ClaimId, why: &Refusal) -> bool {
        let Some(claim) = self.state.claims.get(&claim) else { return false };
        let Some((guest, alias)) = self.state.plug_of(claim) else { return false };
        match self.state.runs.get(&guest).map(|run| (run.phase, run.pid)) {
            Some((Phase::Ending, None)) => self.release_all(guest),
            Some((Phase::Ending, Some(_))) => {}
            _ => self.plug_fails(guest, &alias, why.clone()),
        }
        true
    }

    fn plug_fails(&mut self, guest: Uuid, alias: &str, why: Refusal) {
        if let Some(waits) = self.guest_job(guest).plugs.remove(alias) {
            let failed = Some(why);
            self.put_plug_job(guest, alias, Some(PlugJob { failed, ..waits }));
        }
        self.let_go(guest, alias);
    }

    /// QEMU does not have a device, and its VF goes back.
    fn let_go(&mut self, guest: Uuid, alias: &str) {
        let Some(plug) = self.plugs(guest).remove(alias) else { return };
        self.set_plug(guest, alias, PlugState::Gone);
        let claim = self.state.claim_of_device(guest, &plug.device).map(|claim| claim.id);
        if let Some(claim) = claim {
            self.give_back(claim);
        }
        self.plugs_that_are_over(guest);
    }

    /// Forgets devices that are gone and whose VFs are back.
    pub(crate) fn plugs_that_are_over(&mut self, guest: Uuid) {
        for (alias, plug) in self.plugs(guest) {
            if plug.state != PlugState::Gone
                || self.state.claim_of_device(guest, &plug.device).is_some()
            {
                continue;
            }
            if !plug.from_start {
                self.put_plug(guest, &alias, None);
            }
            self.answer_plug(guest, &alias, Ok(()));
        }
    }

    /// Answers whoever waits for a plug, if anybody does; with its failure, if it has failed.
    fn answer_plug(&mut self, guest: Uuid, alias: &str, outcome: Result<(), Refusal>) {
        let Some(waits) = self.guest_job(guest).plugs.remove(alias) else { return };
        self.put_plug_job(guest, alias, None);
        let outcome = waits.failed.map_or(outcome, Err).and_then(|()| {
            let kind = RefusalKind::KeptChangedMeanwhile;
            let only_live = |why: Refusal| Refusal { kind, ..why };
            self.still_as_read(guest, waits.config.as_ref()).map_err(only_live)?;
            if let Some(edit) = waits.config {
                self.keep_edit(guest, edit);
            }
            Ok(Answer::Done)
        });
        self.effect(Effect::Answer(waits.ticket, outcome));
    }

    /// QEMU has been told of a device, or would not have it.
    pub(crate) fn plugged(&mut self, guest: Uuid, alias: &str, outcome: Plugging) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        if run.phase == Phase::Ending
            || run.plugs.get(alias).is_none_or(|plug| plug.state != PlugState::Plugging)
        {
            return;
        }
        let name = run.definition.name.clone();
        let refusal = |why| {
            let message = format!("cannot attach '{alias}' to guest '{name}': {why}");
            Refusal::new(RefusalKind::OperationFailed, message)
        };
        match outcome {
            Plugging::Done => self.is_there(guest, alias),
            Plugging::Refused(why) => self.plug_fails(guest, alias, refusal(why)),
            // What has become of it is said by QEMU when it speaks again, or by its end.
            Plugging::Unknown(why) => self.answer_plug(guest, alias, Err(refusal(why))),
        }
    }

    fn is_there(&mut self, guest: Uuid, alias: &str) {
        self.set_plug(guest, alias, PlugState::Plugged);
        self.tell_of_device(guest, alias, Announcement::DeviceAdded);
        self.answer_plug(guest, alias, Ok(()));
    }

    fn tell_of_device(
        &mut self,
        guest: Uuid,
        alias: &str,
        what: fn(Uuid, GuestName, i32, String) -> Announcement,
    ) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        let news = what(guest, run.definition.name.clone(), run.id, alias.to_owned());
        self.announce(news);
    }

    /// A guest was asked to let go of a device.
    pub(crate) fn unplugged(&mut self, guest: Uuid, alias: &str, outcome: Unplugging) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        if run.phase == Phase::Ending
            || run.plugs.get(alias).is_none_or(|plug| plug.state != PlugState::Unplugging)
        {
            return;
        }
        match outcome {
            Unplugging::Gone => self.device_gone(guest, alias, None),
            Unplugging::NotYet => {
                self.tell_of_device(guest, alias, Announcement::DeviceStays);
                // As libvirt has it: the guest was asked, and what comes of it is an event.
                self.answer_plug(guest, alias, Ok(()));
            }
            Unplugging::Refused(why) => {
                self.set_plug(guest, alias, PlugState::Plugged);
                self.tell_of_device(guest, alias, Announcement::DeviceRemovalFailed);
                let message = format!("cannot detach '{alias}': {why}");
                let refusal = Refusal::new(RefusalKind::OperationFailed, message);
                self.answer_plug(guest, alias, Err(refusal));
            }
        }
    }

    /// QEMU has let go of a device; `from_start` says what it was, where the guest was started
    /// with it.
    pub(crate) fn device_gone(
        &mut self,
        guest: Uuid,
        alias: &str,
        from_start: Option<(Device, String)>,
    ) {
        let Some(run) = self.state.runs.get(&guest) else { return };
        if run.phase == Phase::Ending {
            return;
        }
        match (run.plugs.get(alias), from_start) {
            (Some(plug), _) => match plug.state {
                PlugState::Plugging | PlugState::Plugged | PlugState::Unplugging => {}
                PlugState::Preparing | PlugState::Gone => return,
            },
            (None, Some((device, document))) => {
                let state = PlugState::Unplugging;
                self.put_plug(
                    guest,
                    alias,
                    Some(Plug { device, document, state, from_start: true }),
                );
            }
            (None, None) => return,
        }
        self.tell_of_device(guest, alias, Announcement::DeviceRemoved);
        self.let_go(guest, alias);
    }

    /// What QEMU says it has. Plugs for which somebody waits are told of by themselves.
    pub(crate) fn devices_seen(&mut self, guest: Uuid, there: &BTreeSet<String>) {
        let waits = self.guest_job(guest).plugs;
        for (alias, plug) in self.plugs(guest) {
            if waits.contains_key(&alias) {
                continue;
            }
            match (plug.state, there.contains(&alias)) {
                (PlugState::Preparing | PlugState::Plugging, true) => self.is_there(guest, &alias),
                (PlugState::Preparing | PlugState::Plugging, false) => {
                    let why = Refusal::new(RefusalKind::OperationFailed, "QEMU does not have it");
                    self.plug_fails(guest, &alias, why);
                }
                (PlugState::Plugged | PlugState::Unplugging, false) => {
                    self.device_gone(guest, &alias, None);
                }
                (PlugState::Plugged | PlugState::Unplugging | PlugState::Gone, _) => {}
            }
        }
    }

    /// Answers all who wait for a device of a guest that has ended.
    pub(crate) fn plugs_end(&mut self, guest: Uuid) {
        for (alias, _) in self.guest_job(guest).plugs {
            let gone = self
                .plugs(guest)
                .get(&alias)
                .is_some_and(|plug| matches!(plug.state, PlugState::Unplugging | PlugState::Gone));
            let outcome = match gone {
                true => Ok(()),
                false => Err(Refusal::invalid("the guest ended before it had the device")),
            };
            self.answer_plug(guest, &alias, outcome);
        }
        self.nic_changes_end(guest);
    }

    /// What a claim's VF is bound to, where that is VFIO.
    fn bound(&self, claim: ClaimId) -> Option<(DriverName, u32)> {
        let claim = self.state.claims.get(&claim)?;
        let vf = self.state.inventory.vfs.get(&claim.vf)?;
        let its = vf.incarnation == claim.incarnation && self.state.is_on_vfio(vf);
        its.then(|| Some((vf.binding.driver.clone()?, vf.iommu_group?)))?
    }

    /// Of a guest that is found alive: VFs that were being prepared for a device that was to
    /// come. One that is bound may be QEMU's already, which QEMU will say; any other is not.
    pub(crate) fn unfinished_plugs(&mut self, guest: Uuid) {
        for (alias, plug) in self.plugs(guest) {
            let Some(claim) = self.state.claim_of_device(guest, &plug.device) else {
                if plug.state == PlugState::Gone && !plug.from_start {
                    self.put_plug(guest, &alias, None);
                }
                continue;
            };
            let (id, unprepared) = (claim.id, claim.state == ClaimState::Preparing);
            match plug.state {
                PlugState::Gone => {
                    self.give_back(id);
                }
                _ if unprepared => match self.bound(id) {
                    Some((driver, group)) => {
                        self.happen(id, Happening::Prepared { driver, group });
                    }
                    None => self.let_go(guest, &alias),
                },
                _ => {}
            }
        }
    }
}
