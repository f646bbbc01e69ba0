//! A whole host that can be stopped anywhere: the engine, what it wrote down, a simulated kernel,
//! and guests' processes.
//!
//! One [`World`] owns it all and drives it the way the daemon does: a decision is committed, then
//! its effects are carried out as tasks of their own, one after the other in an order that a seed
//! chooses, and each tells the engine how it ended. The program can die at every point between
//! two of these steps, and at every kernel write; it is then started anew from what was recorded.
//! [`crate::promises`] looks at everything after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use uuid::Uuid;
use vfnet_engine::{
    Announcement, Answer, Claim, ClaimId, ClaimState, Decision, Effect, Ended, Engine, Entry,
    Failure, GivenBack, HeldBy, Home, Input, Key, Moment, Owner, Record, Refusal, Remembered,
    Reply, Request, State, Ticket, Urgency,
};
use vfnet_host::Host;
use vfnet_host::lend::{self, Deadlines, Lending};
use vfnet_host_sim::{SimCrash, SimHost, VfFacts};
use vfnet_model::inventory::{Incarnation, Inventory};
use vfnet_model::vf::WantedSettings;
use vfnet_model::{DriverName, PciAddress};

use crate::bugs::{self, Bug};
use crate::coverage::{self, Coverage};

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
    Reset(ClaimId, Lending),
    MakeVfs { network: Uuid, pf: PciAddress, count: u16 },
    Launch { guest: Uuid, vfs: Vec<Opened> },
    Adopt(Uuid),
    Kill(Uuid),
    Tell(Input),
}

/// A VF as a guest's process has it.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) vf: PciAddress,
    pub(crate) incarnation: Incarnation,
    pub(crate) group: u32,
    pub(crate) wanted: Option<WantedSettings>,
}

/// A guest's process. It outlives the daemon, and no reboot.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) vfs: Vec<Opened>,
}

/// What dies with the program.
#[derive(Debug, Default)]
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    /// Records that could not be committed, of decisions that went on.
    pub(crate) unsaved: Vec<Record>,
    pub(crate) jobs: Vec<Job>,
    /// Guests whose process can be told something.
    handles: BTreeSet<Uuid>,
    /// Guests whose end will be told.
    followed: BTreeSet<Uuid>,
    moments: u64,
}

pub(crate) struct World {
    pub(crate) host: SimHost,
    pub(crate) daemon: Daemon,
    /// What is on disk, by its key.
    pub(crate) durable: BTreeMap<Key, Entry>,
    pub(crate) processes: BTreeMap<Uuid, Process>,
    /// VFs as they were before anybody lent them.
    pub(crate) clean: BTreeMap<(PciAddress, Incarnation), VfFacts>,
    pub(crate) replies: BTreeMap<Ticket, Reply>,
    /// Asked of this daemon, and not answered yet.
    pub(crate) waiting: BTreeSet<Ticket>,
    pub(crate) said: Vec<Announcement>,
    /// VFs on which somebody else has left something: they are nobody's as they were.
    pub(crate) left_over: BTreeSet<PciAddress>,
    /// Whether commits fail.
    pub(crate) disk_full: bool,
    /// How many commits are still to fail otherwise.
    pub(crate) store_errors: usize,
    /// Whether a PF has been down at some time.
    pub(crate) macs_may_be_unheard: bool,
    /// Whether guests' processes fail to start.
    pub(crate) no_emulator: bool,
    /// Whether hook scripts are called, which say yes.
    hooks: bool,
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
    last_pid: u32,
    ends: BTreeMap<Uuid, Ended>,
}

impl World {
    /// A daemon started for the first time on this host; `seed` orders what runs side by side,
    /// and hook scripts are called when it is even.
    pub(crate) fn new(host: SimHost, seed: u64) -> Self {
        let mut world = Self {
            host,
            daemon: Daemon::default(),
            durable: BTreeMap::new(),
            processes: BTreeMap::new(),
            clean: BTreeMap::new(),
            replies: BTreeMap::new(),
            waiting: BTreeSet::new(),
            said: Vec::new(),
            left_over: BTreeSet::new(),
            disk_full: false,
            store_errors: 0,
            macs_may_be_unheard: false,
            no_emulator: false,
            hooks: seed.is_multiple_of(2),
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
        self.waiting.insert(ticket);
        if self.tell(Input::Ask(ticket, request)).is_err() {
            self.restart();
        }
        ticket
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
        if !self.daemon.unsaved.is_empty() {
            // What was done to these, and could not be recorded, is undone or done again.
            let administrators = self.durable.values().filter_map(|entry| match entry {
                Entry::Claim(claim) if claim.owner == Owner::Administrator => Some(claim.vf),
                _ => None,
            });
            self.left_over.extend(administrators);
        }
        self.daemon = Daemon::default();
        if self.guests_die_with_the_daemon {
            for guest in self.processes.keys().copied().collect::<Vec<_>>() {
                self.process_ends(guest, Ended::Lost);
            }
        }
        loop {
            self.host.revive();
            if self.recover().is_ok() {
                return;
            }
            self.daemon = Daemon::default();
        }
    }

    /// Power off and on; `vfs` are made by the host's boot scripts.
    pub(crate) fn reboot(&mut self, vfs: &[(PciAddress, u16)]) {
        self.story.push("reboot".into());
        self.processes.clear();
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
        };
        let (engine, first) = Engine::recover(remembered);
        self.daemon.engine = engine;
        if self.hooks {
            self.daemon.engine.call_hooks();
        }
        self.commit_and_act(first)
    }

    /// A place where the program may die.
    fn point(&mut self) -> Result<(), Crashed> {
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
        let decision = self.daemon.engine.decide(input);
        let fails = self.commit_fails().filter(|_| !decision.records.is_empty());
        self.coverage.after(before_it, self.daemon.engine.state(), fails);
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
        self.steps += u64::from(!decision.records.is_empty() || !decision.effects.is_empty());
        if self.bug == Some(Bug::EffectsBeforeRecords) {
            self.act_at_once(&mut decision)?;
        }
        let records = std::mem::take(&mut decision.records);
        if !self.commit(&records) {
            self.story.push("(that could not be recorded)".into());
            let refused = decision.urgency == Urgency::MayBeRefused;
            if self.may_be_refused(refused) {
                let asker = decision.asker;
                if self.bug != Some(Bug::RefusedAndNotTakenBack) {
                    // Here nothing is ever written in part.
                    let _undone = self.daemon.engine.revert(decision);
                }
                if let Some(ticket) = asker {
                    self.answer(ticket, Err(Decision::unrecorded("the disk is full")));
                }
                return Ok(());
            }
            for record in records {
                self.daemon.unsaved.retain(|older| older.key() != record.key());
                self.daemon.unsaved.push(record);
            }
        }
        self.point()?;
        for effect in decision.effects {
            self.begin_effect(effect);
        }
        crate::promises::always(self);
        Ok(())
    }

    fn commit(&mut self, records: &[Record]) -> bool {
        if records.is_empty() {
            return true;
        }
        if self.commit_fails().is_some() {
            self.store_errors = self.store_errors.saturating_sub(1);
            return false;
        }
        let unsaved = std::mem::take(&mut self.daemon.unsaved);
        let unsaved = if self.bug == Some(Bug::UnsavedForgotten) { Vec::new() } else { unsaved };
        let bug = self.bug;
        for record in unsaved.iter().chain(records).filter(|record| bugs::writes(bug, record)) {
            assert_ne!(record.key().home(), Home::Memory, "what lives in memory is not recorded");
            match record {
                Record::Put(entry) => self.durable.insert(entry.key(), (**entry).clone()),
                Record::Drop(key) => self.durable.remove(key),
            };
        }
        true
    }

    /// Why the next commit fails, if it does.
    fn commit_fails(&self) -> Option<&'static str> {
        match (self.disk_full, self.store_errors) {
            (true, _) => Some(coverage::DISK_FULL),
            (false, 0) => None,
            (false, _) => Some(coverage::STORE_ERROR),
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
            Effect::Reset(id) => claim(id).map(|claim| Job::Reset(id, lending(claim))),
            Effect::MakeVfs { network, pf, count } => Some(Job::MakeVfs { network, pf, count }),
            Effect::Launch { guest, .. } => {
                Some(Job::Launch { guest, vfs: self.to_be_opened(guest) })
            }
            Effect::Adopt(guest) => Some(Job::Adopt(guest)),
            Effect::Kill(_) if self.bug == Some(Bug::KillForgotten) => return,
            Effect::Kill(guest) => Some(Job::Kill(guest)),
            Effect::CallHook(hook, live) => {
                Some(Job::Tell(Input::HookRan { network: live.uuid, hook, outcome: Ok(()) }))
            }
        };
        match job {
            Some(job) => self.begin_job(job),
            None => self.broken("an effect names a claim that is not there"),
        }
    }

    fn to_be_opened(&self, guest: Uuid) -> Vec<Opened> {
        let opened = |claim: &Claim| match claim.state {
            ClaimState::Held { group, .. } => Some(Opened {
                vf: claim.vf,
                incarnation: claim.incarnation,
                group,
                wanted: claim.wanted.clone(),
            }),
            _ => None,
        };
        self.state().claims_of(guest).filter_map(opened).collect()
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
            Job::Reset(id, lending) => Some(self.reset(id, &lending)?),
            Job::MakeVfs { network, pf, count } => Some(self.make_vfs(network, pf, count)?),
            Job::Launch { guest, vfs } => Some(self.launch(guest, vfs)),
            Job::Adopt(guest) => Some(self.adopt(guest)),
            Job::Kill(guest) => {
                // Whom the daemon has no connection to, it cannot end.
                if self.daemon.handles.contains(&guest) {
                    self.process_ends(guest, Ended::Destroyed);
                }
                None
            }
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
        let done = self.administrator_has(&input);
        let claim = coverage::claim_of(&input);
        let lives = self.tell(input);
        let recorded = claim.is_some_and(|id| !self.durable.contains_key(&Key::Claim(id)));
        let known = recorded || lives.is_ok();
        if let Some(((vf, incarnation), facts)) = done.filter(|_| known) {
            let on_vfio = facts.driver.as_ref().is_some_and(DriverName::is_vfio);
            if on_vfio && !facts.admin_mac.is_zero() {
                // To be told from what an earlier holder left by nobody, it comes back to the host.
                self.left_over.insert(vf);
            }
            self.clean.insert((vf, incarnation), facts);
        }
        lives?;
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
        let outcome = done
            .map(|ready| HeldBy { driver: ready.driver, group: ready.vfio_group })
            .map_err(|fault| Failure {
                stuck: fault.is_stuck().then(|| format!("to {} {vf}", fault.step)),
                why: fault.explain(),
                hook: false,
            });
        self.story.push(format!("prepare {vf}: {outcome:?}"));
        Ok(Input::Prepared(id, outcome))
    }

    fn hand_over(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let done = self.at_the_kernel(|| {
            lend::hand_over(&host, lending, &Deadlines::default(), &mut |_| {})
        })?;
        let vf = lending.vf;
        let outcome = done.map_err(|fault| Failure {
            stuck: fault.is_stuck().then(|| format!("to {} {vf}", fault.step)),
            why: fault.explain(),
            hook: false,
        });
        self.story.push(format!("hand over {vf}: {outcome:?}"));
        Ok(Input::HandedOver(id, outcome))
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
            lend::Outcome::Stuck(step) => GivenBack::Stuck(format!("to {step} {vf}")),
            lend::Outcome::Vanished => GivenBack::Gone,
        };
        self.story.push(format!("give back {vf}: {outcome:?}"));
        let seen = self.host.vf(vf).ok().flatten().map(Box::new);
        Ok(Input::GivenBack { claim: id, outcome, seen, at: self.moment() })
    }

    fn reset(&mut self, id: ClaimId, lending: &Lending) -> Result<Input, Crashed> {
        let lending = &self.reset_by_address(lending);
        let host = self.host.clone();
        let vf = lending.vf;
        let done = self.at_the_kernel(|| lend::reset(&host, lending, &Deadlines::default()))?;
        let outcome = done.map_err(|fault| Failure {
            stuck: fault.is_stuck().then(|| format!("to {} {vf}", fault.step)),
            why: fault.explain(),
            hook: false,
        });
        self.story.push(format!("reset {vf}: {outcome:?}"));
        Ok(Input::WasReset(id, outcome))
    }

    fn make_vfs(&mut self, network: Uuid, pf: PciAddress, count: u16) -> Result<Input, Crashed> {
        let host = self.host.clone();
        let made = self.at_the_kernel(|| host.set_num_vfs(pf, count, Duration::from_secs(120)))?;
        self.look();
        self.story.push(format!("make {count} VFs of {pf}: {made:?}"));
        Ok(Input::VfsMade(network, made.map_err(|fault| vfnet_model::explain(&fault))))
    }

    /// Kernel work, at whose writes the program may die. Each write is on record as being due.
    pub(crate) fn at_the_kernel<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, Crashed> {
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
        let opened = vfs
            .iter()
            .try_for_each(|vf| self.host.open_vfio(vf.vf, &who).map_err(|fault| fault.to_string()));
        let opened = if self.no_emulator { Err("no emulator".into()) } else { opened };
        self.last_pid += 1;
        let pid = self.last_pid;
        self.story.push(format!("launch {}: {opened:?}", short(guest)));
        match opened {
            Ok(()) => {
                if self.processes.insert(guest, Process { pid, vfs }).is_some() {
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

    fn process_ends(&mut self, guest: Uuid, ended: Ended) {
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

fn lending(claim: &Claim) -> Lending {
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
