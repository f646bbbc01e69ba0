//! What the daemon's hands do in a [`World`]: kernel work, guests' processes, and how each tells the
//! engine of its end.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use uuid::Uuid;
use vfnet_engine::{
    Claim, ClaimId, Ended, Failure, GivenBack, HeldBy, Input, Key, Plugging, Repaired, Unplugging,
};
use vfnet_host::Host;
use vfnet_host::lend::{self, Deadlines, LendError, Lending};
use vfnet_host_sim::SimCrash;
use vfnet_model::{DriverName, PciAddress};

use crate::bugs::set_and_believe;
use crate::coverage;
use crate::world::{Crashed, Job, LetGo, Opened, Process, World, short};

impl World {
    pub(crate) fn carry_out(&mut self, job: Job) -> Result<(), Crashed> {
        if let Job::Tell(input) = job {
            return self.hear(input);
        }
        self.point()?;
        self.steps += 1;
        let outcome = match job {
            Job::Prepare(id, lending) => Some(self.prepare(id, &lending)?),
            Job::HandOver(id, lending) => Some(self.hand_over(id, &lending)?),
            Job::GiveBack(id, lending) => Some(self.give_back(id, &lending)?),
            Job::Repair(id, lending) => Some(self.repair(id, &lending)?),
            Job::Reset(id, lending) => Some(self.reset(id, &lending)?),
            Job::MakeVfs { network, pf, count, unprobed } => {
                Some(self.make_vfs(network, pf, count, unprobed)?)
            }
            Job::RestoreAutoprobe(pf) => Some(self.restore_autoprobe(pf)?),
            Job::SetVfs { pf, count } => Some(self.set_vfs(pf, count)?),
            Job::Launch { guest, vfs } => Some(self.launch(guest, vfs)),
            Job::Adopt(guest) => Some(self.adopt(guest)),
            Job::Kill(guest) => {
                // Whom the daemon has no connection to, it cannot end.
                if self.daemon.handles.contains(&guest) {
                    self.process_ends(guest, Ended::Destroyed);
                }
                None
            }
            Job::Plug { guest, alias, vf } => Some(self.plug(guest, alias, vf)),
            Job::Unplug { guest, alias } => Some(self.unplug(guest, alias)),
            Job::SeeDevices(guest) => {
                let there = self.devices_of(guest);
                return self.hear(Input::DevicesSeen(guest, there));
            }
            Job::BeginLease(id) => Some(self.begin_lease(id)),
            Job::Tell(_) => None,
        };
        self.point()?;
        if let Some(claim) = outcome.as_ref().and_then(coverage::claim_of) {
            self.coverage.hit(claim, &self.host.take_hits());
        }
        let outcome = outcome.map(|outcome| self.falsified(outcome));
        self.daemon.jobs.extend(outcome.map(Job::Tell));
        crate::promises::always(self);
        Ok(())
    }

    /// What follows from an input in the daemon itself.
    fn hear(&mut self, input: Input) -> Result<(), Crashed> {
        let launched = match &input {
            Input::Launched(guest, Ok(_)) | Input::Adopted(guest, _) => Some(*guest),
            Input::GuestEnded(guest, _) => {
                self.daemon.followed.remove(guest);
                self.daemon.handles.remove(guest);
                None
            }
            _ => None,
        };
        let adopted = match &input {
            Input::Adopted(guest, _) => Some(*guest),
            _ => None,
        };
        let done = self.administrator_has(&input);
        let claim = coverage::claim_of(&input);
        let lives = self.tell(input);
        let recorded = claim.is_some_and(|id| !self.durable.contains_key(&Key::Claim(id)));
        let known = recorded || lives.is_ok();
        if let Some(((vf, incarnation), facts)) = done.filter(|_| known) {
            let on_vfio = facts.driver.as_ref().is_some_and(DriverName::is_vfio);
            if on_vfio && !facts.admin_mac.is_zero() {
                // To be told from what an earlier holder left by nobody, it comes back to the host.
                self.left_over.insert((vf, incarnation));
            } else {
                self.left_over.remove(&(vf, incarnation));
            }
            self.clean.insert((vf, incarnation), facts);
        }
        lives?;
        if let Some(guest) = adopted {
            self.daemon.jobs.push(Job::SeeDevices(guest));
        }
        if let Some(guest) = launched {
            self.daemon.followed.insert(guest);
            if !self.processes.contains_key(&guest) {
                self.tell_end(guest);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let done = self
            .at_the_kernel(|| lend::prepare(&host, lending, &Deadlines::default(), &mut |_| {}))?;
        let vf = lending.vf;
        let outcome = done.map(|ready| HeldBy { driver: ready.driver, group: ready.vfio_group });
        let outcome = self.unless_a_hook_refuses(id, outcome.map_err(|fault| failure(&fault)));
        self.story.push(format!("prepare {vf}: {outcome:?}"));
        Ok(Input::Prepared(id, outcome))
    }

    fn hand_over(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let done = self.at_the_kernel(|| {
            lend::hand_over(&host, lending, &Deadlines::default(), &mut |_| {})
        })?;
        let vf = lending.vf;
        let outcome = self.unless_a_hook_refuses(id, done.map_err(|fault| failure(&fault)));
        self.story.push(format!("hand over {vf}: {outcome:?}"));
        Ok(Input::HandedOver(id, outcome))
    }

    /// A port's hook scripts are called when its VF is ready.
    fn unless_a_hook_refuses<T>(
        &mut self,
        id: ClaimId,
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let of_port = self.state().claims.get(&id).is_some_and(|claim| claim.network.is_some());
        let done = outcome?;
        match (self.hooks && of_port).then(|| self.hook_says()) {
            Some(Err(why)) => Err(Failure { why, stuck: None, hook: true }),
            _ => Ok(done),
        }
    }

    fn give_back(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        if let Some(done) = self.gives_back_otherwise(id) {
            return Ok(done);
        }
        let lending = &self.tampered(lending);
        let host = self.host.clone();
        let vf = lending.vf;
        let done = self.at_the_kernel(|| {
            lend::give_back(&host, lending, &Deadlines::default(), &mut |_| {})
        })?;
        let outcome = match done.outcome {
            lend::Outcome::Clean => GivenBack::Clean,
            lend::Outcome::Quarantine(why) => GivenBack::Unclean(why),
            lend::Outcome::StillOpen { who, why } => GivenBack::StillOpen { who, why },
            lend::Outcome::Stuck(step) => GivenBack::Stuck(format!("to {step} {vf}")),
            lend::Outcome::Vanished => GivenBack::Gone,
        };
        self.story.push(format!("give back {vf}: {outcome:?}"));
        let at = self.moment();
        let seen = self.host.vf(vf).ok().flatten().map(Box::new);
        Ok(Input::GivenBack { claim: id, outcome, seen, at })
    }

    fn repair(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let vf = lending.vf;
        let done = match self.repairs_blindly() {
            true => self.at_the_kernel(|| set_and_believe(&host, lending))?,
            false => self.at_the_kernel(|| lend::repair(&host, lending, &Deadlines::default()))?,
        };
        let outcome = match done {
            Ok(found) => Repaired::Done(found.iter().map(ToString::to_string).collect()),
            Err(fault) if fault.is_for_its_end() => Repaired::NotWhileHeld(fault.explain()),
            Err(fault) => Repaired::Failed(fault.explain()),
        };
        self.story.push(format!("repair {vf}: {outcome:?}"));
        self.unrepaired.remove(&id);
        if matches!(outcome, Repaired::Failed(_)) {
            self.unrepaired.insert(id);
        }
        let right = crate::promises::is_as_wanted(self, vf, lending.wanted.as_ref());
        if right {
            self.typed_over.remove(&(vf, lending.incarnation));
        } else if matches!(outcome, Repaired::Done(_)) {
            self.broken(&format!("{vf} is said to be put back, and is not"));
        }
        Ok(Input::Repaired(id, outcome))
    }

    fn reset(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        let lending = &self.reset_by_address(lending);
        let host = self.host.clone();
        let vf = lending.vf;
        let done = self.at_the_kernel(|| lend::reset(&host, lending, &Deadlines::default()))?;
        let outcome = done.map_err(|fault| failure(&fault));
        self.story.push(format!("reset {vf}: {outcome:?}"));
        let at = self.moment();
        let seen = self.host.vf(vf).ok().flatten().map(Box::new);
        Ok(Input::WasReset { claim: id, outcome, seen, at })
    }

    fn make_vfs(
        &mut self,
        network: Uuid,
        pf: PciAddress,
        count: u16,
        unprobed: bool,
    ) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let make = || host.set_num_vfs(pf, count, Duration::from_secs(120));
        let made = self.at_the_kernel(|| {
            if !unprobed {
                return make();
            }
            host.set_drivers_autoprobe(pf, false)?;
            let made = make();
            let _tried_again = host.set_drivers_autoprobe(pf, true);
            made
        })?;
        self.look();
        self.story.push(format!("make {count} VFs of {pf}: {made:?}"));
        Ok(Input::VfsMade(network, pf, made.map_err(|fault| vfnet_model::explain(&fault))))
    }

    fn restore_autoprobe(&mut self, pf: PciAddress) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let restored = self.at_the_kernel(|| host.set_drivers_autoprobe(pf, true))?;
        self.story.push(format!("have drivers for {pf} looked for again: {restored:?}"));
        let restored = restored.map_err(|fault| vfnet_model::explain(&fault));
        Ok(Input::AutoprobeRestored(pf, restored))
    }

    /// By way of none, as the kernel has it.
    fn set_vfs(&mut self, pf: PciAddress, count: u16) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let set = |count| host.set_num_vfs(pf, count, Duration::from_secs(120));
        let made = self.at_the_kernel(|| set(0).and_then(|()| set(count)))?;
        self.look();
        self.story.push(format!("have {pf} make {count} VFs: {made:?}"));
        Ok(Input::VfsSet(pf, made.map_err(|fault| vfnet_model::explain(&fault))))
    }

    /// Kernel work, at whose writes the program may die. Each write is on record as being due.
    pub(crate) fn at_the_kernel<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, Crashed> {
        self.remember_clean_vfs();
        let written = self.host.writes();
        self.host.take_hits();
        let done = catch_unwind(AssertUnwindSafe(work));
        for write in &self.host.writes_after(written) {
            self.story.push(format!("  kernel: {write}"));
            crate::promises::at_a_write(self, write);
        }
        done.map_err(|payload| {
            if !payload.is::<SimCrash>() {
                resume_unwind(payload);
            }
            Crashed
        })
    }

    fn launch(&mut self, guest: Uuid, vfs: Vec<Opened>) -> Input {
        let who = format!("qemu {guest}");
        let facts = self.host.facts();
        let opened = vfs.iter().try_for_each(|vf| {
            // It may open the groups that it was given, and a new device is in another one.
            if facts.get(&vf.vf).is_none_or(|found| found.incarnation != vf.incarnation) {
                return Err(format!("{} is in none of its groups", vf.vf));
            }
            self.host.open_vfio(vf.vf, &who).map_err(|fault| fault.to_string())
        });
        let opened = if self.no_emulator { Err("no emulator".into()) } else { opened };
        self.last_pid += 1;
        let pid = self.last_pid;
        self.story.push(format!("launch {}: {opened:?}", short(guest)));
        match opened {
            Ok(()) => {
                if self
                    .processes
                    .insert(guest, Process { pid, vfs, plugged: BTreeMap::new() })
                    .is_some()
                {
                    self.broken("a guest runs twice");
                }
                self.daemon.handles.insert(guest);
                Input::Launched(guest, Ok(pid))
            }
            Err(why) => {
                self.close(&vfs);
                Input::Launched(guest, Err(why))
            }
        }
    }

    fn adopt(&mut self, guest: Uuid) -> Input {
        match self.processes.get(&guest) {
            Some(process) => {
                self.daemon.handles.insert(guest);
                Input::Adopted(guest, process.pid)
            }
            None => Input::GuestEnded(guest, Ended::Lost),
        }
    }

    /// As the daemon does: the device's VF is opened by the guest's process, which has one of
    /// each alias at most.
    fn plug(&mut self, guest: Uuid, alias: String, vf: Option<Opened>) -> Input {
        let outcome = match (self.daemon.handles.contains(&guest), self.processes.get(&guest)) {
            (false, _) => Plugging::Unknown("its monitor does not answer".into()),
            (true, None) => Plugging::Refused("it has ended".into()),
            (true, Some(process)) if process.plugged.contains_key(&alias) => Plugging::Done,
            (true, Some(_)) => {
                let who = format!("qemu {guest}");
                let there = |vf: &Opened| {
                    let found = self.host.facts().remove(&vf.vf);
                    found.is_some_and(|found| found.incarnation == vf.incarnation)
                };
                match vf.as_ref().filter(|vf| there(vf)) {
                    Some(opened) => match self.host.open_vfio(opened.vf, &who) {
                        Ok(()) => Plugging::Done,
                        Err(fault) => Plugging::Refused(fault.to_string()),
                    },
                    None if vf.is_some() => Plugging::Refused("its VF is gone".into()),
                    None => Plugging::Done,
                }
            }
        };
        if outcome == Plugging::Done
            && let Some(process) = self.processes.get_mut(&guest)
            && !process.plugged.contains_key(&alias)
        {
            process.vfs.extend(vf.clone());
            process.plugged.insert(alias.clone(), vf);
        }
        self.story.push(format!("plug {alias} into {}: {outcome:?}", short(guest)));
        Input::Plugged(guest, alias, outcome)
    }

    /// The devices that QEMU has, of those that have a plug.
    fn devices_of(&self, guest: Uuid) -> BTreeSet<String> {
        let Some(process) = self.processes.get(&guest) else { return BTreeSet::new() };
        let plugs = self.state().runs.get(&guest).map(|run| &run.plugs);
        let from_start = plugs.into_iter().flatten().filter(|(_, plug)| {
            plug.from_start && process.vfs.iter().any(|vf| plug.device.owns(&vf.owner))
        });
        process.plugged.keys().chain(from_start.map(|(alias, _)| alias)).cloned().collect()
    }

    fn unplug(&mut self, guest: Uuid, alias: String) -> Input {
        let outcome = match self.asked_to_let_go {
            _ if !self.daemon.handles.contains(&guest) => {
                Unplugging::Refused("its monitor does not answer".into())
            }
            LetGo::AtOnce => {
                self.lets_go(guest, &alias);
                Unplugging::Gone
            }
            LetGo::Silent => Unplugging::NotYet,
            LetGo::Never => Unplugging::Refused("the guest says no".into()),
        };
        self.story.push(format!("unplug {alias} of {}: {outcome:?}", short(guest)));
        Input::Unplugged(guest, alias, outcome)
    }

    /// A guest's process closes the VF of a device that it does not have any more.
    pub(crate) fn lets_go(&mut self, guest: Uuid, alias: &str) {
        let of_start = self.state().runs.get(&guest).and_then(|run| run.plugs.get(alias)).cloned();
        let Some(process) = self.processes.get_mut(&guest) else { return };
        let opened = match process.plugged.remove(alias) {
            Some(opened) => opened,
            None => process
                .vfs
                .iter()
                .find(|vf| of_start.as_ref().is_some_and(|plug| plug.device.owns(&vf.owner)))
                .cloned(),
        };
        if let Some(opened) = opened {
            process.vfs.retain(|vf| *vf != opened);
            self.close(&[opened]);
        }
    }

    pub(crate) fn process_ends(&mut self, guest: Uuid, ended: Ended) {
        let Some(process) = self.processes.remove(&guest) else { return };
        self.close(&process.vfs);
        self.ends.insert(guest, ended);
        if self.daemon.followed.contains(&guest) {
            self.tell_end(guest);
        }
    }

    fn tell_end(&mut self, guest: Uuid) {
        let ended = self.ends.remove(&guest).unwrap_or(Ended::Lost);
        self.daemon.jobs.push(Job::Tell(Input::GuestEnded(guest, ended)));
    }

    fn close(&self, vfs: &[Opened]) {
        let facts = self.host.facts();
        for vf in vfs {
            if facts.get(&vf.vf).is_some_and(|found| found.incarnation == vf.incarnation) {
                self.host.close_vfio(vf.vf);
            }
        }
    }
}

fn failure(fault: &LendError) -> Failure {
    Failure {
        stuck: fault.is_stuck().then(|| format!("to {} {}", fault.step, fault.vf)),
        why: fault.explain(),
        hook: false,
    }
}

pub(crate) fn lending(claim: &Claim) -> Lending {
    Lending {
        vf: claim.vf,
        pf: claim.pf,
        index: claim.index,
        incarnation: claim.incarnation,
        original: claim.original.clone(),
        wanted: claim.wanted.clone(),
        managed: claim.managed,
        driver: claim.driver.clone(),
        keep_host_settings: !claim.managed,
    }
}
