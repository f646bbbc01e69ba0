//! A whole host that can be stopped anywhere: the engine, what it wrote down, a simulated kernel,
//! and guests' processes.
//!
//! One [`World`] owns it all and drives it the way the daemon does: a decision is committed, then
//! its effects are carried out as tasks of their own, one after the other in an order that a seed
//! chooses, and each tells the engine how it ended. The program can die at every point between
//! two of these steps, and at every kernel write; it is then started anew from what was recorded.
//! [`crate::promises`] looks at everything after every step.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use vfnet_engine::{
    Announcement, Answer, Claim, ClaimId, ClaimState, Decision, Edited, Effect, Ended, Engine,
    Entry, Home, Input, Key, Moment, NetworkHook, NicChange, NicNeed, NicSource, Owner, Phase,
    Record, Refusal, Remembered, Reply, Request, State, Ticket, Urgency,
};
use vfnet_host::Host;
use vfnet_host::lend::Lending;
use vfnet_host_sim::{SimHost, VfFacts};
use vfnet_model::inventory::{Incarnation, Inventory};
use vfnet_model::network::{Network, PhysicalNetworks};
use vfnet_model::vf::WantedSettings;
use vfnet_model::{PciAddress, Vlan};

use crate::bugs::{self, Bug};
use crate::coverage::{self, Coverage};
use crate::works::lending;

/// The program under test has died.
#[derive(Debug)]
pub(crate) struct Crashed;

/// When the program dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// At the so-manieth of the points that [`World::point`] counts, from 1.
    Point(usize),
    /// Before the so-manieth kernel write, from 1.
    BeforeWrite(usize),
    /// After it.
    AfterWrite(usize),
}

/// Work that the daemon has begun, or has still to hear of.
#[derive(Debug)]
pub(crate) enum Job {
    Prepare(ClaimId, Lending),
    HandOver(ClaimId, Lending),
    GiveBack(ClaimId, Lending),
    Repair(ClaimId, Lending),
    Reset(ClaimId, Lending),
    MakeVfs {
        network: Uuid,
        pf: PciAddress,
        count: u16,
        unprobed: bool,
    },
    RestoreAutoprobe(PciAddress),
    SetVfs {
        pf: PciAddress,
        count: u16,
    },
    Launch {
        guest: Uuid,
        vfs: Vec<Opened>,
    },
    Adopt(Uuid),
    Kill(Uuid),
    /// QEMU is told of a device, with the VF that it is.
    Plug {
        guest: Uuid,
        alias: String,
        vf: Option<Opened>,
    },
    Unplug {
        guest: Uuid,
        alias: String,
    },
    /// QEMU is asked which devices it has.
    SeeDevices(Uuid),
    BeginLease(ClaimId),
    Tell(Input),
}

/// A VF as a guest's process has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Opened {
    pub(crate) owner: Owner,
    pub(crate) vf: PciAddress,
    pub(crate) incarnation: Incarnation,
    pub(crate) group: u32,
    pub(crate) wanted: Option<WantedSettings>,
    /// What somebody has asked it to be set to since; made or not.
    pub(crate) or: Vec<WantedSettings>,
}

/// A guest's process. It outlives the daemon, and no reboot.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) vfs: Vec<Opened>,
    /// Devices that have come since its start, and which of the VFs each is.
    pub(crate) plugged: BTreeMap<String, Option<Opened>>,
}

impl Opened {
    fn of(claim: &Claim) -> Option<Self> {
        let ClaimState::Held { group, .. } = claim.state else { return None };
        Some(Self {
            owner: claim.owner.clone(),
            vf: claim.vf,
            incarnation: claim.incarnation,
            group,
            wanted: claim.wanted.clone(),
            or: Vec::new(),
        })
    }
}

/// What a guest does that is asked to let go of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum LetGo {
    /// It does.
    #[default]
    AtOnce,
    /// It does not answer.
    Silent,
    /// It says no.
    Never,
}

/// What dies with the program.
#[derive(Debug, Default)]
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    /// Records that could not be committed, of decisions that went on.
    pub(crate) unsaved: Vec<Record>,
    pub(crate) jobs: Vec<Job>,
    /// Guests whose process can be told something.
    pub(crate) handles: BTreeSet<Uuid>,
    /// Guests whose end will be told.
    pub(crate) followed: BTreeSet<Uuid>,
    /// Leases whose end will be told.
    pub(crate) leases: BTreeSet<ClaimId>,
    moments: u64,
}

pub(crate) struct World {
    pub(crate) host: SimHost,
    pub(crate) daemon: Daemon,
    /// Whether the kernel looks for drivers for each PF's VFs, before vfnet came.
    pub(crate) autoprobe: BTreeMap<PciAddress, bool>,
    /// What is on disk, by its key.
    pub(crate) durable: BTreeMap<Key, Entry>,
    pub(crate) processes: BTreeMap<Uuid, Process>,
    /// Process ids of programs that VFs are lent to, and that live.
    pub(crate) programs: BTreeSet<u32>,
    /// VFs as they were before anybody lent them.
    pub(crate) clean: BTreeMap<(PciAddress, Incarnation), VfFacts>,
    pub(crate) replies: BTreeMap<Ticket, Reply>,
    /// Asked of this daemon, and not answered yet.
    pub(crate) waiting: BTreeSet<Ticket>,
    pub(crate) said: Vec<Announcement>,
    /// VFs on which somebody else has left something: they are nobody's as they were.
    pub(crate) left_over: BTreeSet<(PciAddress, Incarnation)>,
    /// VFs that another daemon's guests have open.
    pub(crate) open_outside: BTreeSet<(PciAddress, Incarnation)>,
    /// Held VFs that somebody has typed something over.
    pub(crate) typed_over: BTreeSet<(PciAddress, Incarnation)>,
    /// Claims whose last repair has failed: the next look has it tried again.
    pub(crate) unrepaired: BTreeSet<ClaimId>,
    /// Whether commits fail.
    pub(crate) disk_full: bool,
    /// How many commits are still to fail otherwise.
    pub(crate) store_errors: usize,
    /// Whether those fail between the two files.
    pub(crate) torn: bool,
    /// PFs that have been down at some time.
    pub(crate) deaf: BTreeSet<PciAddress>,
    /// Whether guests' processes fail to start.
    pub(crate) no_emulator: bool,
    /// Whether hook scripts are called.
    pub(crate) hooks: bool,
    /// What the daemon is configured with, from its next start on.
    pub(crate) physical_networks: PhysicalNetworks,
    /// What guests do that are asked to let go of a device.
    pub(crate) asked_to_let_go: LetGo,
    /// How many of the next scripts say no; the others say yes.
    pub(crate) hooks_refuse: usize,
    /// Whether guests die while no daemon is there.
    pub(crate) guests_die_with_the_daemon: bool,
    /// What has been done so far, for whoever reads a failure.
    pub(crate) story: Vec<String>,
    /// What is wrong with this daemon on purpose.
    pub(crate) bug: Option<Bug>,
    /// Which changes of claims have been seen, and under which faults.
    pub(crate) coverage: Coverage,
    /// Decisions that came to something, and works that were carried out.
    pub(crate) steps: u64,
    /// PFs on which a VF keeps some MAC, once one was set.
    pub(crate) mac_stays_set: BTreeSet<PciAddress>,
    /// Where the daemon dies next, in words.
    pub(crate) dies: &'static str,
    /// Ports of earlier boots that nobody has asked for since.
    pub(crate) ports_of_earlier_boots: BTreeSet<Uuid>,
    points: usize,
    death: Option<usize>,
    chance: u64,
    last_ticket: u64,
    pub(crate) last_pid: u32,
    pub(crate) ends: BTreeMap<Uuid, Ended>,
}

impl World {
    /// A daemon started for the first time on this host; `seed` orders what runs side by side,
    /// and hook scripts are called when it is even.
    pub(crate) fn new(host: SimHost, seed: u64) -> Self {
        let seen = host.inventory().expect("the simulated host can be read");
        let mut world = Self {
            autoprobe: seen.pfs.iter().map(|(at, pf)| (*at, pf.autoprobe)).collect(),
            host,
            daemon: Daemon::default(),
            durable: BTreeMap::new(),
            processes: BTreeMap::new(),
            programs: BTreeSet::new(),
            clean: BTreeMap::new(),
            replies: BTreeMap::new(),
            waiting: BTreeSet::new(),
            said: Vec::new(),
            left_over: BTreeSet::new(),
            open_outside: BTreeSet::new(),
            typed_over: BTreeSet::new(),
            unrepaired: BTreeSet::new(),
            disk_full: false,
            store_errors: 0,
            torn: false,
            deaf: BTreeSet::new(),
            no_emulator: false,
            hooks: seed.is_multiple_of(2),
            physical_networks: PhysicalNetworks::new(),
            asked_to_let_go: LetGo::default(),
            hooks_refuse: 0,
            guests_die_with_the_daemon: false,
            story: Vec::new(),
            bug: None,
            coverage: Coverage::default(),
            steps: 0,
            mac_stays_set: BTreeSet::new(),
            dies: coverage::BETWEEN,
            ports_of_earlier_boots: BTreeSet::new(),
            points: 0,
            death: None,
            chance: seed,
            last_ticket: 0,
            last_pid: 100,
            ends: BTreeMap::new(),
        };
        world.remember_clean_vfs();
        world.restart();
        world.settle();
        world
    }

    pub(crate) fn state(&self) -> &State {
        self.daemon.engine.state()
    }

    /// Points and kernel writes passed so far.
    pub(crate) fn passed(&self) -> (usize, usize) {
        (self.points, self.host.writes())
    }

    /// From now on, counted from here.
    pub(crate) fn die_at(&mut self, death: Death) {
        self.dies = match death {
            Death::Point(_) => coverage::AT_A_POINT,
            Death::BeforeWrite(_) => coverage::BEFORE_A_WRITE,
            Death::AfterWrite(_) => coverage::AFTER_A_WRITE,
        };
        match death {
            Death::Point(n) => self.death = Some(self.points + n),
            Death::BeforeWrite(n) => self.host.crash_before(n),
            Death::AfterWrite(n) => self.host.crash_after(n),
        }
    }

    /// Takes back what [`World::die_at`] has in store.
    pub(crate) fn live_on(&mut self) {
        self.death = None;
        self.dies = coverage::BETWEEN;
        self.host.revive();
    }

    /// Asks, and has everything come to rest.
    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let ticket = self.begin(request);
        self.settle();
        self.replies.remove(&ticket).unwrap_or_else(|| self.broken("a request has no answer"))
    }

    /// Asks, with the host looked at just before, as every request has it. The answer is none
    /// where the daemon dies over it.
    pub(crate) fn begin(&mut self, request: Request) -> Ticket {
        self.look();
        self.begin_unseen(request)
    }

    /// Asks without looking.
    pub(crate) fn begin_unseen(&mut self, request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.story.push(format!("ask {}: {}", ticket.0, brief(&request)));
        if let Request::PortCreate(port) = &request {
            self.ports_of_earlier_boots.remove(&port.port);
        }
        if let Request::GuestChangeNic(change) = &request {
            self.may_be_set(change);
        }
        if let Request::NetworkEdit(edit) = &request
            && let Some(Edited { after, .. }) = &edit.live
        {
            self.may_be_set_anew(after);
        }
        self.waiting.insert(ticket);
        if self.tell(Input::Ask(ticket, request)).is_err() {
            self.restart();
        }
        ticket
    }

    /// From now on open VFs of a network may be as this document has it.
    fn may_be_set_anew(&mut self, after: &Network) {
        let runs = &self.daemon.engine.state().runs;
        for (guest, process) in &mut self.processes {
            for opened in &mut process.vfs {
                let Owner::Nic { nic, .. } = opened.owner else { continue };
                let need = runs.get(guest).and_then(|run| run.nic(nic));
                if let Some(NicNeed { source, mac, vlan, .. }) = need
                    && let NicSource::Network { name, portgroup } = source
                    && *name == after.name
                {
                    opened.or.push(after.wanted(*mac, *vlan, portgroup.as_deref()));
                }
            }
        }
    }

    /// From now on an open VF may have either tag.
    fn may_be_set(&mut self, change: &NicChange) {
        let vfs = self.processes.get_mut(&change.guest).into_iter().flat_map(|it| &mut it.vfs);
        let its = |owner: &Owner| matches!(owner, Owner::Nic { nic, .. } if *nic == change.nic);
        for opened in vfs.filter(|opened| its(&opened.owner)) {
            let vlan = change.need.vlan.map(Vlan::tagged);
            let wanted = opened.wanted.clone();
            opened.or.extend(wanted.map(|wanted| WantedSettings { vlan, ..wanted }));
        }
    }

    /// The daemon looks at the host.
    pub(crate) fn look(&mut self) {
        let (began, inventory) = self.glance();
        self.seen(began, inventory);
    }

    /// A look that has not reached the engine yet.
    pub(crate) fn glance(&mut self) -> (Moment, Inventory) {
        (self.moment(), self.host.inventory().expect("the simulated host can be read"))
    }

    /// The look reaches the engine.
    pub(crate) fn seen(&mut self, began: Moment, inventory: Inventory) {
        self.remember_clean_vfs();
        if self.bug == Some(Bug::LentVfWrittenTo) && self.repairs_what_is_lent().is_err() {
            return self.restart();
        }
        if self.tell(Input::Observed { began, inventory: Box::new(inventory) }).is_err() {
            self.restart();
        }
    }

    /// The daemon is told something.
    pub(crate) fn hears(&mut self, input: Input) {
        if self.tell(input).is_err() {
            self.restart();
        }
    }

    /// Carries out all that is to be done, whatever the order, and checks what must hold at rest.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                crate::promises::at_rest(self);
                return;
            }
        }
        self.broken("the host does not come to rest");
    }

    /// Carries out one thing; false when there is nothing to do.
    pub(crate) fn step(&mut self) -> bool {
        let jobs = self.daemon.jobs.len();
        if jobs == 0 {
            return false;
        }
        let which = self.choose(jobs);
        let job = self.daemon.jobs.remove(which);
        if self.carry_out(job).is_err() {
            self.restart();
        }
        true
    }

    /// The daemon is killed, and started again.
    pub(crate) fn restart(&mut self) {
        self.story.push("daemon dies, and is started again".into());
        self.waiting.clear();
        let dies = std::mem::replace(&mut self.dies, coverage::BETWEEN);
        for claim in self.daemon.engine.state().claims.values() {
            self.coverage.died(&claim.state, dies);
        }
        // What was done to these, and could not be recorded, is undone or done again.
        let administrators = self.daemon.unsaved.iter().filter_map(|record| {
            match self.durable.get(&record.key())? {
                Entry::Claim(claim) if claim.owner == Owner::Administrator => {
                    Some((claim.vf, claim.incarnation))
                }
                _ => None,
            }
        });
        self.left_over.extend(administrators);
        self.daemon = Daemon::default();
        if self.guests_die_with_the_daemon {
            for guest in self.processes.keys().copied().collect::<Vec<_>>() {
                self.process_ends(guest, Ended::Lost);
            }
        }
        loop {
            self.host.revive();
            if self.recover().is_ok() {
                break;
            }
            self.daemon = Daemon::default();
        }
        let mut runs = self.state().runs.values();
        if let Some(run) = runs.find(|run| run.autodestroy && run.phase != Phase::Ending) {
            self.broken(&format!("{} outlives the clients of its daemon", run.definition.name));
        }
    }

    /// Power off and on; `vfs` are made by the host's boot scripts.
    pub(crate) fn reboot(&mut self, vfs: &[(PciAddress, u16)]) {
        self.story.push("reboot".into());
        self.processes.clear();
        self.programs.clear();
        self.open_outside.clear();
        self.ends.clear();
        self.host.reboot();
        for (pf, count) in vfs {
            self.host.make_vfs(*pf, *count).expect("a PF that has just booted makes VFs");
        }
        self.dies = coverage::POWER_CUT;
        let ports = self.state().claims.values().filter(|claim| claim.is_port());
        let ports: Vec<_> = ports.filter_map(|claim| claim.network.as_ref()).collect();
        let ports: Vec<_> = ports.into_iter().map(|of| of.port).collect();
        self.ports_of_earlier_boots.extend(ports);
        if self.bug != Some(Bug::BootNotChecked) {
            self.durable.retain(|key, _| key.home() == Home::Definitions);
        }
        self.remember_clean_vfs();
        self.restart();
    }

    /// A guest ends by itself.
    pub(crate) fn guest_ends(&mut self, guest: Uuid, ended: Ended) {
        self.story.push(format!("{} ends: {ended:?}", short(guest)));
        self.process_ends(guest, ended);
    }

    /// A promise is broken: says which, and how it came to that.
    #[track_caller]
    pub(crate) fn broken(&self, what: &str) -> ! {
        let from = self.story.len().saturating_sub(60);
        panic!("{what}\nafter:\n  {}", self.story[from..].join("\n  "));
    }

    fn recover(&mut self) -> Result<(), Crashed> {
        let alive = self
            .durable
            .values()
            .filter_map(|entry| match entry {
                Entry::Run(run) if self.is_found_alive(run.guest) => Some(run.guest),
                _ => None,
            })
            .collect();
        let remembered = Remembered {
            entries: self.durable.values().cloned().collect(),
            inventory: self.host.inventory().expect("the simulated host can be read"),
            alive,
            physical_networks: self.physical_networks.clone(),
        };
        let (engine, first) = Engine::recover(remembered);
        self.daemon.engine = engine;
        if self.hooks {
            self.daemon.engine.call_hooks();
        }
        self.commit_and_act(first)
    }

    /// A place where the program may die.
    pub(crate) fn point(&mut self) -> Result<(), Crashed> {
        self.points += 1;
        if self.death == Some(self.points) {
            self.death = None;
            return Err(Crashed);
        }
        Ok(())
    }

    pub(crate) fn tell(&mut self, input: Input) -> Result<(), Crashed> {
        let asks = matches!(input, Input::Ask(..));
        let before = asks.then(|| crate::promises::picture(self.state()));
        let before_it = self.coverage.before(self.state(), &input);
        // Planning takes as long as deciding, so that one request in some is enough.
        let planned = (self.last_ticket.is_multiple_of(8))
            .then(|| crate::plans::of(self.state(), &input))
            .flatten();
        let taken: BTreeSet<_> = self.state().claims.keys().copied().collect();
        let decision = self.daemon.engine.decide(input);
        crate::promises::nothing_is_claimed_on_a_drained_pf(self, &taken);
        if let Some(unplanned) = planned.and_then(|it| crate::plans::unplanned(&it, &decision)) {
            self.broken(&format!("a request does not come to what was planned: {unplanned}"));
        }
        let fails = self.commit_fails().filter(|_| !decision.records.is_empty());
        let fails = fails.filter(|how| {
            let live = |record: &Record| record.key().home() == Home::Live;
            *how != coverage::TORN || decision.records.iter().any(live)
        });
        self.coverage.after(before_it, self.daemon.engine.state(), fails);
        self.forgive_unread_rows();
        let refused = matches!(&decision.effects[..], [Effect::Answer(_, Err(_))]);
        let changed = |before| {
            before != crate::promises::picture(self.state()) || !decision.records.is_empty()
        };
        if refused && before.is_some_and(changed) {
            self.broken("a refused request has changed something");
        }
        self.commit_and_act(decision)
    }

    fn commit_and_act(&mut self, mut decision: Decision) -> Result<(), Crashed> {
        self.point()?;
        // Of a refusal nobody has more than the words.
        let refused = |effect: &Effect| matches!(effect, Effect::Answer(_, Err(_)));
        let effective = !decision.records.is_empty() || !decision.effects.iter().all(refused);
        self.steps += u64::from(effective);
        if self.bug == Some(Bug::EffectsBeforeRecords) {
            self.act_at_once(&mut decision)?;
        }
        let records = std::mem::take(&mut decision.records);
        if !self.commit(&records)? {
            self.story.push("(that could not be recorded)".into());
            let refused = decision.urgency == Urgency::MayBeRefused;
            if self.may_be_refused(refused) {
                let asker = decision.asker;
                if self.bug != Some(Bug::RefusedAndNotTakenBack) {
                    let undone = self.daemon.engine.revert(decision);
                    self.keep(undone);
                }
                if let Some(ticket) = asker {
                    self.answer(ticket, Err(Decision::unrecorded("the disk is full")));
                }
                return Ok(());
            }
            self.keep(records);
        }
        self.point()?;
        for effect in decision.effects {
            self.begin_effect(effect);
        }
        crate::promises::always(self);
        Ok(())
    }

    /// Whether the records are on disk now: first those of one file, then those of the other.
    fn commit(&mut self, records: &[Record]) -> Result<bool, Crashed> {
        if records.is_empty() {
            return Ok(true);
        }
        let fails = self.commit_fails();
        if fails.is_some() && !self.disk_full {
            self.store_errors -= 1;
        }
        if fails.is_some_and(|how| how != coverage::TORN) {
            return Ok(false);
        }
        let bug = self.bug;
        let unsaved = std::mem::take(&mut self.daemon.unsaved);
        let unsaved = if bug == Some(Bug::UnsavedForgotten) { Vec::new() } else { unsaved };
        let all: Vec<_> = unsaved.iter().chain(records).cloned().collect();
        self.daemon.unsaved = unsaved;
        let (definitions, live): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|record| record.key().home() == Home::Definitions);
        let both = !definitions.is_empty() && !live.is_empty();
        self.write(definitions);
        if fails.is_some() && !live.is_empty() {
            return Ok(false);
        }
        if both {
            self.point()?;
        }
        self.write(live);
        self.daemon.unsaved.clear();
        Ok(true)
    }

    fn write(&mut self, records: Vec<Record>) {
        let bug = self.bug;
        for record in records.into_iter().filter(|record| bugs::writes(bug, record)) {
            assert_ne!(record.key().home(), Home::Memory, "what lives in memory is not recorded");
            match record {
                Record::Put(entry) => self.durable.insert(entry.key(), *entry),
                Record::Drop(key) => self.durable.remove(&key),
            };
        }
    }

    /// Keeps what is to be written with the next commit.
    fn keep(&mut self, records: Vec<Record>) {
        for record in records {
            self.daemon.unsaved.retain(|older| older.key() != record.key());
            self.daemon.unsaved.push(record);
        }
    }

    /// Why the next commit fails, if it does.
    fn commit_fails(&self) -> Option<&'static str> {
        match (self.disk_full, self.store_errors, self.torn) {
            (true, ..) => Some(coverage::DISK_FULL),
            (false, 0, _) => None,
            (false, _, true) => Some(coverage::TORN),
            (false, _, false) => Some(coverage::STORE_ERROR),
        }
    }

    /// Somebody else has left something on a VF.
    pub(crate) fn leave_over(&mut self, vf: PciAddress) {
        if let Some(facts) = self.host.facts().get(&vf) {
            self.left_over.insert((vf, facts.incarnation));
        }
    }

    /// As the daemon does: what an effect needs is read from the state at once.
    pub(crate) fn begin_effect(&mut self, effect: Effect) {
        let claim = |id| self.state().claims.get(&id);
        let job = match effect {
            Effect::Answer(ticket, reply) => return self.answer(ticket, reply),
            Effect::Announce(what) => return self.said.push(what),
            Effect::AskAgain(ticket, request) => Some(Job::Tell(Input::Ask(ticket, *request))),
            Effect::StartPending => Some(Job::Tell(Input::StartPending)),
            Effect::Prepare(id) => claim(id).map(|claim| Job::Prepare(id, lending(claim))),
            Effect::HandOver(id) => claim(id).map(|claim| Job::HandOver(id, lending(claim))),
            Effect::GiveBack(id) => claim(id).map(|claim| Job::GiveBack(id, lending(claim))),
            Effect::Repair(_) if self.bug == Some(Bug::DriftLeft) => return,
            Effect::Repair(id) => claim(id).map(|claim| Job::Repair(id, lending(claim))),
            Effect::Reset(id) => claim(id).map(|claim| Job::Reset(id, lending(claim))),
            Effect::MakeVfs { network, pf, count, unprobed } => {
                Some(Job::MakeVfs { network, pf, count, unprobed })
            }
            Effect::RestoreAutoprobe(pf) => Some(Job::RestoreAutoprobe(pf)),
            Effect::SetVfs { pf, count } => Some(Job::SetVfs { pf, count }),
            Effect::Launch { guest, .. } => {
                Some(Job::Launch { guest, vfs: self.to_be_opened(guest) })
            }
            Effect::Adopt(guest) => Some(Job::Adopt(guest)),
            Effect::Kill(_) if self.bug == Some(Bug::KillForgotten) => return,
            Effect::Kill(guest) => Some(Job::Kill(guest)),
            Effect::Plug { guest, alias } => {
                let vf = self.to_be_plugged(guest, &alias);
                Some(Job::Plug { guest, alias, vf })
            }
            Effect::Unplug { guest, alias } => Some(Job::Unplug { guest, alias }),
            Effect::BeginLease(id) => Some(Job::BeginLease(id)),
            Effect::CallHook(NetworkHook::Updated | NetworkHook::Stopped, _) => return,
            Effect::CallHook(hook, live) => {
                let outcome = self.hook_says();
                Some(Job::Tell(Input::HookRan { network: live.uuid, hook, outcome }))
            }
        };
        match job {
            Some(job) => self.begin_job(job),
            None => self.broken("an effect names a claim that is not there"),
        }
    }

    /// What the next hook script says.
    pub(crate) fn hook_says(&mut self) -> Result<(), String> {
        if self.hooks_refuse == 0 {
            return Ok(());
        }
        self.hooks_refuse -= 1;
        Err("a hook script says no".into())
    }

    fn to_be_opened(&self, guest: Uuid) -> Vec<Opened> {
        self.state().claims_of(guest).filter_map(Opened::of).collect()
    }

    fn to_be_plugged(&self, guest: Uuid, alias: &str) -> Option<Opened> {
        let plug = self.state().runs.get(&guest)?.plugs.get(alias)?;
        Opened::of(self.state().claim_of_device(guest, &plug.device)?)
    }

    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        let shown = match &reply {
            Ok(answer) => format!("{answer:?}"),
            Err(refusal) => refusal.to_string(),
        };
        self.story.push(format!("answer {}: {shown}", ticket.0));
        if !self.waiting.remove(&ticket) {
            self.broken("somebody is answered twice, or without having asked");
        }
        self.replies.insert(ticket, reply);
    }

    pub(crate) fn moment(&mut self) -> Moment {
        self.daemon.moments += 1;
        Moment(self.daemon.moments)
    }

    /// One of `count`, by the seed (splitmix64).
    pub(crate) fn choose(&mut self, count: usize) -> usize {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(count).expect("few things happen at once");
        usize::try_from((z ^ (z >> 31)) % count).expect("one of few things")
    }
}

/// Convenience for tests that expect to be refused.
#[track_caller]
pub(crate) fn refusal(reply: Reply) -> Refusal {
    match reply {
        Err(refusal) => refusal,
        Ok(answer) => panic!("granted, and should have been refused: {answer:?}"),
    }
}

/// Convenience for tests that expect to be granted.
#[track_caller]
pub(crate) fn granted(reply: Reply) -> Answer {
    match reply {
        Ok(answer) => answer,
        Err(refusal) => panic!("refused, and should have been granted: {refusal}"),
    }
}

/// The last digits of an identity.
pub(crate) fn short(uuid: Uuid) -> String {
    format!("{:x}", uuid.as_u128() & 0xffff)
}

fn brief(request: &Request) -> String {
    match request {
        Request::NetworkDefine(def) => format!("define network {}", def.network.name),
        Request::NetworkCreate(def) => format!("create network {}", def.network.name),
        Request::NetworkStart(uuid) => format!("start network {}", short(*uuid)),
        Request::GuestDefine(def) => format!("define guest {} {}", def.name, short(def.uuid)),
        Request::GuestCreate { definition, .. } => {
            format!("create guest {} {}", definition.name, short(definition.uuid))
        }
        Request::GuestStart { guest, .. } => format!("start guest {}", short(*guest)),
        Request::GuestDestroy(guest) => format!("destroy guest {}", short(*guest)),
        other => format!("{other:?}"),
    }
}
