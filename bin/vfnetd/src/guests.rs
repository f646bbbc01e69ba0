//! Guests at work: from a decided start to a process, and everything that a running guest is
//! asked.
//!
//! The engine decides that a guest starts and which VFs it has; here that becomes a process, and
//! what the process does becomes inputs of the engine. A guest's end is told only when its lock
//! is free, its devices are root's again and its directory is gone, so that its VFs can go back.

mod asked;
mod heard;
mod order;
mod pace;
mod plugs;
mod strangers;
mod usage;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;
use vfnet_engine::{Ended, Input};
use vfnet_model::guest::{Guest, LiveGuest};
use vfnet_model::{GuestName, explain};
use vfnet_qemu::jail::Jail;
use vfnet_qemu::launch::LaunchSpec;
use vfnet_qemu::supervisor::{self, AdoptError, Launcher};
use vfnet_qemu::uid::UidRange;
use vfnet_qemu::{EndKind, GuestEvent, RunDir, RunState, console};

use crate::Happening;
use crate::engine_task::EngineHandle;
use crate::steps::{Step, Steps};
pub use asked::GuestCommand;
use asked::Told;
pub use heard::{GuestNews, News};
use heard::{Heard, Hearing};
pub use order::LaunchOrder;
use order::{Launched, Start, owner_of_taps};
use pace::Pace;
use plugs::Parts;

/// How long QEMU may take until its monitor answers: with a VF, all of a guest's memory is
/// pinned before that.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long a launcher that an earlier daemon started may still be at work.
const ADOPT_LIMIT: Duration = Duration::from_secs(60);

/// How long QEMU may take to end by itself when a guest is destroyed, before it is killed.
const DESTROY_GRACE: Duration = Duration::from_secs(5);

/// Wait between two looks at a guest that is to end before it has begun.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Wait before another try to find out who holds a guest's lock.
const STRANGER_AGAIN: Duration = Duration::from_secs(5);

/// Where guests live on this host.
#[derive(Clone, Debug)]
pub struct Places {
    /// Their run directories.
    pub run: PathBuf,
    /// Their logs.
    pub logs: PathBuf,
    /// `/dev/vfio`; absent where there is no real one.
    pub vfio: Option<PathBuf>,
    /// QEMU, where a document names none.
    pub emulator: PathBuf,
    /// Root ports left free on a q35 guest.
    pub spare_root_ports: u8,
    /// User ids of guests; absent where this program is not root and cannot change it.
    pub uids: Option<UidRange>,
    /// What keeps their QEMUs from the host's devices, where they have user ids of their own.
    pub jail: Jail,
    /// What starts QEMU.
    pub launcher: Launcher,
}

/// All running guests. Clones share them.
#[derive(Clone, Debug)]
pub struct Guests {
    places: Arc<Places>,
    steps: Steps,
    running: Arc<Mutex<BTreeMap<Uuid, Running>>>,
    /// Guests on their way to running, or being found again, with their run directories.
    coming: Arc<Mutex<BTreeMap<Uuid, RunDir>>>,
    /// Whose turn it is to change a guest's devices, while anybody does.
    changes: Arc<Mutex<BTreeMap<Uuid, Weak<tokio::sync::Mutex<()>>>>>,
    /// To whoever listens.
    happenings: broadcast::Sender<Happening>,
}

#[derive(Clone, Debug)]
struct Running {
    handle: vfnet_qemu::Guest,
    document: LiveDocument,
    uid: Option<u32>,
    parts: Parts,
    told: Told,
}

/// A running guest as its live document describes it.
#[derive(Clone, Debug)]
pub struct LiveDocument {
    /// Its document with every device's alias and address.
    pub guest: Guest,
    /// What it has besides.
    pub live: LiveGuest,
}

/// Why a running guest did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It does not run, or not yet.
    #[error("the guest is not running")]
    NotRunning,
    /// QEMU did not.
    #[error(transparent)]
    Guest(#[from] vfnet_qemu::GuestError),
    /// It has no such console.
    #[error("the guest has no console {}", .0.as_deref().unwrap_or("on a pty or unix socket"))]
    NoConsole(Option<String>),
    /// The console could not be opened.
    #[error(transparent)]
    Console(#[from] console::ConsoleError),
    /// Its document has no channel for an agent.
    #[error("the guest has no channel for an agent ({})", vfnet_qemu::agent::CHANNEL)]
    NoAgent,
    /// Its virtual CPUs are not as many as it was to have.
    #[error(transparent)]
    Vcpus(#[from] vfnet_qemu::vcpus::VcpuError),
    /// Nobody in it has the agent's channel open.
    #[error("no agent runs in the guest")]
    AgentAway,
    /// The agent did not.
    #[error(transparent)]
    Agent(#[from] vfnet_qemu::agent::AgentError),
}

impl Guests {
    /// Nobody runs yet.
    pub fn new(places: Places, steps: Steps, happenings: broadcast::Sender<Happening>) -> Self {
        Self {
            places: Arc::new(places),
            steps,
            running: Arc::default(),
            coming: Arc::default(),
            happenings,
            changes: Arc::default(),
        }
    }

    /// The run directory of a guest.
    pub fn run_dir(&self, name: &GuestName, uuid: &Uuid) -> RunDir {
        RunDir::of(&self.places.run, name, uuid)
    }

    /// The user id of a guest.
    fn uid(&self, slot: u16) -> Option<u32> {
        self.places.uids.and_then(|uids| uids.at(slot))
    }

    /// The live document of a running guest.
    pub fn live(&self, guest: Uuid) -> Option<LiveDocument> {
        self.running().get(&guest).map(|running| running.document.clone())
    }

    /// Opens a console: the one of that alias, or the first.
    pub async fn console(
        &self,
        guest: Uuid,
        device: Option<&str>,
    ) -> Result<console::Console, CommandError> {
        let running = self.running().get(&guest).cloned().ok_or(CommandError::NotRunning)?;
        match running.document.console(device) {
            Some(ConsolePlace::Pty(path)) => {
                let owner = running.uid.unwrap_or_else(|| rustix::process::getuid().as_raw());
                Ok(console::Console::open_pty(&path, owner)?)
            }
            Some(ConsolePlace::Socket(path)) => {
                Ok(console::Console::connect(&path, running.handle.process()).await?)
            }
            None => Err(CommandError::NoConsole(device.map(ToOwned::to_owned))),
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coming(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, RunDir>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, guest: Uuid) -> Result<vfnet_qemu::Guest, CommandError> {
        self.running()
            .get(&guest)
            .map(|running| running.handle.clone())
            .ok_or(CommandError::NotRunning)
    }

    /// Notes that a guest is about to be launched or looked for, so that whoever is told next to
    /// kill it waits for that.
    pub(crate) fn expect(&self, order: &LaunchOrder) {
        let run_dir = self.run_dir(&order.run.definition.name, &order.run.guest);
        self.coming().insert(order.run.guest, run_dir);
    }

    /// Starts a guest and tells the engine how that went, then of all that happens to it.
    pub(crate) async fn launch(&self, order: LaunchOrder, engine: EngineHandle) {
        let guest = order.run.guest;
        match self.start(&order).await {
            Ok((mut running, pid, events)) => {
                running.parts = Parts::of(&order, &self.places, &running.document);
                self.running().insert(guest, running);
                self.coming().remove(&guest);
                engine.tell(Input::Launched(guest, Ok(pid))).await;
                self.follow(order, events, engine).await;
            }
            Err(why) => {
                self.coming().remove(&guest);
                self.clean_up(&order).await;
                engine.tell(Input::Launched(guest, Err(why))).await;
            }
        }
    }

    async fn start(
        &self,
        order: &LaunchOrder,
    ) -> Result<(Running, u32, mpsc::Receiver<GuestEvent>), String> {
        let uid = self.uid(order.run.uid_slot);
        if self.places.uids.is_some() && uid.is_none() {
            return Err("no user id is left for another guest (guest_uid_count)".to_owned());
        }
        let run_dir = self.run_dir(&order.run.definition.name, &order.run.guest);
        let (places, ready) = (Arc::clone(&self.places), order.clone());
        let dir = run_dir.clone();
        self.steps.begin(Step::MakeReady);
        // Starts iproute2, copies files.
        let start = tokio::task::spawn_blocking(move || {
            // One that nobody has on record any more must keep its taps and its documents.
            if dir.is_locked().map_err(|fault| explain(&fault))? {
                return Err(format!("a guest runs in {} already", dir.path().display()));
            }
            let start = ready.make_ready(&places, &dir, uid)?;
            start.launched.save(&dir).map_err(|fault| explain(&fault))?;
            Ok::<_, String>(start)
        });
        let Start { launched, spec } = start.await.map_err(|fault| fault.to_string())??;
        self.steps.end(Step::MakeReady);
        self.steps.begin(Step::StartProcess);
        let (handle, events) =
            supervisor::start(&self.places.launcher, &run_dir, &spec, START_LIMIT)
                .await
                .map_err(|fault| explain(&fault))?;
        self.steps.end(Step::StartProcess);
        let pid = handle.process().pid.unsigned_abs();
        match self.begin(handle.clone(), launched, uid).await {
            Ok(running) => Ok((running, pid, events)),
            Err(why) => {
                // What it says of its end is of no use: it is ended because of `why`.
                let _ended = handle.destroy(Duration::ZERO).await;
                Err(why)
            }
        }
    }

    /// Says what a command line cannot say, and lets the guest run.
    async fn begin(
        &self,
        handle: vfnet_qemu::Guest,
        launched: Launched,
        uid: Option<u32>,
    ) -> Result<Running, String> {
        let qmp = |fault: vfnet_qemu::GuestError| explain(&fault);
        self.steps.begin(Step::LetRun);
        launched.before_run(&handle).await.map_err(qmp)?;
        self.pin(&handle, &launched.guest, uid).await?;
        let live = launched.look(&handle).await.map_err(qmp)?;
        if !launched.paused {
            handle.resume().await.map_err(qmp)?;
        }
        self.steps.end(Step::LetRun);
        let document = LiveDocument { guest: launched.guest, live };
        Ok(Running { handle, document, uid, parts: Parts::default(), told: Told::default() })
    }

    /// Has a guest's virtual CPUs run where its document has it.
    pub(super) async fn pin(
        &self,
        handle: &vfnet_qemu::Guest,
        document: &vfnet_model::guest::Guest,
        uid: Option<u32>,
    ) -> Result<(), String> {
        let pinned = handle.pin(document, &self.places.launcher, uid).await;
        pinned.map_err(|fault| explain(&fault))
    }

    /// Finds a guest's process again and tells the engine what became of it.
    pub(crate) async fn adopt(&self, order: LaunchOrder, engine: EngineHandle) {
        let guest = order.run.guest;
        let name = order.run.definition.name.clone();
        let run_dir = self.run_dir(&name, &guest);
        let (handle, events) = loop {
            match supervisor::adopt(&run_dir, ADOPT_LIMIT).await {
                Ok(found) => break found,
                Err(AdoptError::Ended { said }) => {
                    self.coming().remove(&guest);
                    tracing::warn!("guest {name}: ended before it was found again: {said}");
                    self.clean_up(&order).await;
                    engine.tell(Input::GuestEnded(guest, Ended::Lost)).await;
                    return;
                }
                // Something is alive there: its VFs must stay where they are.
                Err(fault) => {
                    tracing::error!("guest {name}: {}; trying again", explain(&fault));
                    tokio::time::sleep(STRANGER_AGAIN).await;
                }
            }
        };
        let pid = handle.process().pid.unsigned_abs();
        let uid = self.uid(order.run.uid_slot);
        // What was written down cannot be read: it is made anew from the record.
        let launched = Launched::load(&run_dir).or_else(|fault| -> Result<_, String> {
            tracing::error!("guest {name}: cannot read its live.json: {}", explain(&fault));
            let anew = order.launched(&self.places, &run_dir)?;
            if let Err(fault) = anew.save(&run_dir) {
                tracing::error!("guest {name}: cannot write its live.json: {}", explain(&fault));
            }
            Ok(anew)
        });
        match launched {
            Ok(mut launched) => {
                heard::take_over(&mut launched, &order);
                let prelaunch = matches!(handle.state().await, Ok(RunState::Prelaunch));
                let document =
                    LiveDocument { guest: launched.guest.clone(), live: launched.live.clone() };
                let (parts, told) = (Parts::default(), Told::by_somebody(&launched.guest));
                let running = Running { handle: handle.clone(), document, uid, parts, told };
                let running = if prelaunch && !launched.paused {
                    // The last daemon was killed between launching it and letting it run.
                    let begun = self.begin(handle.clone(), launched, uid).await;
                    begun.unwrap_or_else(|fault| {
                        tracing::error!("guest {name}: stays paused: {fault}");
                        running
                    })
                } else {
                    match launched.look(&handle).await {
                        Ok(live) => {
                            let guest = launched.guest;
                            Running { document: LiveDocument { guest, live }, ..running }
                        }
                        Err(_) => running,
                    }
                };
                let parts = Parts::of(&order, &self.places, &running.document);
                let mut running = Running { parts, ..running };
                running.forget_what_has_gone(&order);
                self.running().insert(guest, running);
                self.coming().remove(&guest);
                self.count_vcpus(guest, &handle).await;
                // One may have been changed on record, and QEMU not told of it.
                if let Err(fault) = self.set_links(guest, None).await {
                    tracing::warn!("guest {name}: its links are not as they are to be: {fault}");
                }
            }
            // By its run directory it can still be ended.
            Err(fault) => tracing::error!("guest {name}: has no live document: {fault}"),
        }
        engine.tell(Input::Adopted(guest, pid)).await;
        if let Some(change) = self.found_doing(guest, &handle, order.run.cause).await {
            engine.tell(Input::GuestChanged(guest, change)).await;
        }
        if !self.look_at_devices(guest, &engine).await {
            self.look_soon(guest, &engine);
        }
        self.follow(order, events, engine).await;
    }

    /// Passes on what happens to a guest, at its [`Pace`], until its end.
    async fn follow(
        &self,
        order: LaunchOrder,
        mut events: mpsc::Receiver<GuestEvent>,
        engine: EngineHandle,
    ) {
        let guest = order.run.guest;
        let mut ended = Ended::Lost;
        let mut pace = Pace::new(Instant::now());
        let mut hearing = Hearing::default();
        loop {
            let (due, now) = (pace.due(), Instant::now());
            let event = tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => {
                    self.tell(&order, pace.take(Instant::now()), &engine).await;
                    continue;
                }
                event = events.recv() => event,
            };
            let Some(event) = event else { break };
            if matches!(event, GuestEvent::MonitorBack { .. }) {
                self.look_soon(guest, &engine);
            }
            if let Some(news) = self.news_in(guest, &event) {
                pace.hear(Heard::News(news));
            }
            match event {
                GuestEvent::DeviceGone(_) => {
                    self.look_soon(guest, &engine);
                    continue;
                }
                GuestEvent::DeviceStays(alias) => {
                    self.keeps(guest, alias, &engine);
                    continue;
                }
                GuestEvent::Ended(how) => {
                    ended = match how.kind {
                        EndKind::PoweredOff | EndKind::Exited(0) => Ended::PoweredOff,
                        EndKind::Terminated => Ended::Destroyed,
                        kind if how.said.is_empty() => Ended::Crashed(kind.to_string()),
                        kind => Ended::Crashed(format!("{kind}: {}", how.said)),
                    };
                    break;
                }
                event => {
                    let reboots =
                        Hearing::asks_whether_it_reboots(&event) && self.boots_again(guest).await;
                    if let Some(change) = hearing.change(&event, reboots) {
                        pace.hear(Heard::Change(change));
                    }
                }
            }
        }
        self.tell(&order, pace.take(Instant::now()), &engine).await;
        let gone = self.running().remove(&guest);
        self.coming().remove(&guest);
        if let Some(turn) = gone.map(|running| running.parts.turn()) {
            // Whoever is at work on its devices finds that it has ended.
            drop(turn.lock().await);
        }
        self.clean_up(&order).await;
        engine.tell(Input::GuestEnded(guest, ended)).await;
    }

    async fn tell(&self, order: &LaunchOrder, heard: Vec<Heard>, engine: &EngineHandle) {
        for heard in heard {
            match heard {
                Heard::Change(change) => {
                    engine.tell(Input::GuestChanged(order.run.guest, change)).await;
                }
                Heard::News(news) => {
                    // What the engine was told before is announced before.
                    if engine.read(|_| ()).await.is_ok() {
                        self.spread(order, news);
                    }
                }
            }
        }
    }

    /// Ends a guest's process. What comes of it is told by whoever starts or follows it.
    pub(crate) async fn kill(&self, guest: Uuid) {
        loop {
            if let Ok(handle) = self.handle(guest) {
                if let Err(fault) = handle.destroy(DESTROY_GRACE).await {
                    tracing::error!(%guest, "cannot end a guest: {}", explain(&fault));
                }
                return;
            }
            // Its monitor has not answered yet, and may never do so.
            let Some(run_dir) = self.coming().get(&guest).cloned() else { return };
            if let Ok(Some(process)) = run_dir.process()
                && let Err(fault) = process.kill()
            {
                tracing::error!(%guest, "cannot end a guest: {fault}");
            }
            tokio::time::sleep(KILL_AGAIN).await;
        }
    }

    /// Removes what a dead guest left: taps, ownership of devices, its directory.
    pub async fn clean_up(&self, order: &LaunchOrder) {
        let run_dir = self.run_dir(&order.run.definition.name, &order.run.guest);
        let name = order.run.definition.name.clone();
        let (order, uid) = (order.clone(), self.uid(order.run.uid_slot));
        self.steps.begin(Step::CleanUp);
        let cleaned = tokio::task::spawn_blocking(move || {
            if !run_dir.is_locked().unwrap_or(true) {
                // As it was launched, whatever is configured now.
                let ran_as = LaunchSpec::load(&run_dir).ok().and_then(|spec| spec.credentials);
                let owner = owner_of_taps(ran_as.map(|whom| whom.uid).or(uid));
                match Launched::load(&run_dir) {
                    Ok(launched) => launched.remove_taps(owner),
                    Err(_) => order.remove_taps_by_name(owner),
                }
            }
            supervisor::clean_up(&run_dir)
        })
        .await;
        self.steps.end(Step::CleanUp);
        match cleaned {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::error!("guest {name}: cannot clean up: {}", explain(&fault)),
            Err(fault) => tracing::error!("guest {name}: cannot clean up: {fault}"),
        }
    }
}

enum ConsolePlace {
    Pty(PathBuf),
    Socket(PathBuf),
}

impl LiveDocument {
    /// Where a console leads: by alias, or the first serial port or console.
    fn console(&self, device: Option<&str>) -> Option<ConsolePlace> {
        use vfnet_model::guest::CharSource;
        let serials = self.guest.serials.iter().map(|it| (&it.placement, &it.source));
        let consoles = self.guest.consoles.iter().map(|it| (&it.placement, &it.source));
        serials.chain(consoles).find_map(|(placement, source)| {
            let alias = placement.alias.as_deref()?;
            if device.is_some_and(|wanted| wanted != alias) {
                return None;
            }
            match source {
                CharSource::Unix { path: Some(path), listen: true } => {
                    Some(ConsolePlace::Socket(PathBuf::from(path)))
                }
                _ => self.live.ptys.get(alias).map(|path| ConsolePlace::Pty(PathBuf::from(path))),
            }
        })
    }
}
