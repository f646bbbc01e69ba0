//! Starting guests, finding them again, and noticing all that happens to them.
//!
//! One task per guest watches its process (pidfd) and its monitor (QMP). It begins with
//! [`start`] or [`adopt`], and ends with the guest. Dropping handles, event receivers or the whole
//! daemon ends no guest.
//!
//! ```text
//!  start: lock, spec, launcher ─┐
//!                               ├─▶ monitor answers ─▶ Started ─▶ … events … ─▶ Ended
//!  adopt: lock held, pid file, ─┘                                      (lock is free)
//!         start time, pidfd
//! ```

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use serde::Deserialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;
use vfnet_host::process::{Purpose, command};

use crate::events::{EventQueue, GuestEvent};
use crate::exit::{EndKind, Ended, ExitStatus, Signs};
use crate::guest::{ANSWER_LIMIT, Guest, Shared, run_state};
use crate::jail::Jail;
use crate::launch::{Credentials, LaunchSpec};
use crate::process_id::{ProcessId, start_time};
use crate::qmp::{Qmp, QmpError, QmpEvent};
use crate::run_dir::{RunDir, RunDirError};
use crate::status::RunState;
use crate::{log, readiness, scope, socket, vfio};

/// Events that a reader may leave unread before the supervisor queues them itself.
const EVENTS: usize = 4;
/// How long after QEMU has printed something the size of its log is looked at.
const LOG_CHECK: Duration = Duration::from_secs(1);
/// Wait between two looks at what another process is about to make.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long an ended QEMU's monitor is read; its end closes it, unless somebody else has it open.
const LAST_EVENTS: Duration = Duration::from_secs(5);
/// Wait before a broken monitor connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long a monitor that hangs up may do so because QEMU ends.
const MAY_END: Duration = Duration::from_millis(500);

/// The program that becomes QEMU by way of [`crate::launch::launch_main`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the spec's path.
    pub args: Vec<OsString>,
}

impl Launcher {
    /// The running program itself, even if its file has been replaced by an upgrade.
    pub fn this_program() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec!["launch".into()] }
    }
}

/// Why a guest was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It runs.
    #[error("a guest runs in {run_dir} already")]
    Running {
        /// Its run directory.
        run_dir: PathBuf,
    },
    /// The run directory could not be made ready.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// What to launch could not be written down.
    #[error("cannot write down what to launch")]
    Spec(#[source] serde_json::Error),
    /// The launcher did not start.
    #[error("cannot start the launcher {program}")]
    Spawn {
        /// The launcher.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The launcher gave up before QEMU began.
    #[error("{said}")]
    Launch {
        /// Its words.
        said: String,
    },
    /// QEMU ended before its monitor answered.
    #[error("QEMU did not start: {}", told(.0))]
    Emulator(Ended),
    /// QEMU's monitor did not answer, or with nonsense; QEMU has been killed.
    #[error("QEMU's monitor did not answer as it should{}", if said.is_empty() { String::new() } else { format!("; QEMU said: {said}") })]
    Monitor {
        /// QEMU's last words.
        said: String,
        /// What went wrong.
        #[source]
        source: QmpError,
    },
}

/// Why a guest was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Nothing of it is alive: to be cleaned up.
    #[error("the guest has ended{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Ended {
        /// The launcher's or QEMU's last words; may be empty.
        said: String,
    },
    /// Something is alive, but cannot be told what.
    #[error("the lock in {run_dir} is held, but not by the process that its pid file names")]
    Stranger {
        /// The run directory.
        run_dir: PathBuf,
    },
    /// The run directory cannot be read.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The process cannot be looked at.
    #[error("cannot look at the guest's process")]
    Process(#[source] io::Error),
    /// What was launched cannot be read.
    #[error("cannot read what was launched in {run_dir}")]
    Spec {
        /// The run directory.
        run_dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a run directory was not cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum CleanUpError {
    /// The guest is alive.
    #[error("the guest in {run_dir} is alive")]
    Alive {
        /// Its run directory.
        run_dir: PathBuf,
    },
    /// A device is still the guest's.
    #[error("cannot take {device} back from uid {uid}")]
    Vfio {
        /// The device.
        device: PathBuf,
        /// The guest's uid.
        uid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory could not be removed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

fn told(ended: &Ended) -> String {
    match (ended.kind, ended.said.as_str()) {
        (kind, "") => kind.to_string(),
        // QEMU has said why.
        (EndKind::Exited(_), said) => said.to_owned(),
        (kind, said) => format!("{kind}: {said}"),
    }
}

/// Starts a guest and waits until its monitor answers, at most `limit` (a guest with VFIO
/// devices has all its memory pinned before that).
///
/// The receiver gives all that happens, [`GuestEvent::Started`] first. After a failure nothing of
/// the guest is alive; the run directory is left for [`clean_up`]. When the future is dropped the
/// guest goes on starting, for [`adopt`] to find.
pub async fn start(
    launcher: &Launcher,
    run_dir: &RunDir,
    spec: &LaunchSpec,
    limit: Duration,
) -> Result<(Guest, mpsc::Receiver<GuestEvent>), StartError> {
    let (process, pidfd) = spawn(launcher, run_dir, spec)?;
    let pidfd = Arc::new(pidfd);
    let beginning = Beginning::new(run_dir, process, Arc::clone(&pidfd)).map_err(|source| {
        kill_and_reap(&pidfd);
        StartError::Spawn { program: launcher.program.clone(), source }
    })?;
    let attached = tokio::select! {
        attached = timeout(limit, attach(&beginning.shared, spec.uuid, LOOK_AGAIN)) => attached,
        () = beginning.exit.ended() => {
            let ended = beginning.end(spec).await;
            return Err(match run_dir.launcher_said() {
                Some(said) => StartError::Launch { said },
                None => StartError::Emulator(ended),
            });
        }
    };
    let source = match attached {
        Ok(Ok(monitor)) => return Ok(beginning.supervise(spec, Some(monitor))),
        Ok(Err(source)) => source,
        Err(_) => QmpError::Silent { command: "greeting", limit },
    };
    beginning.exit.kill();
    beginning.exit.ended().await;
    Err(StartError::Monitor { said: beginning.end(spec).await.said, source })
}

/// Takes up a guest that an earlier daemon started, waiting up to `limit` for a launcher that is
/// still at work and for the monitor.
///
/// A guest whose process is there but whose monitor does not answer is adopted all the same: it
/// counts as running, can be destroyed, and its monitor is tried again for as long as it lives.
pub async fn adopt(
    run_dir: &RunDir,
    limit: Duration,
) -> Result<(Guest, mpsc::Receiver<GuestEvent>), AdoptError> {
    let deadline = Instant::now() + limit;
    let (process, pidfd) = loop {
        if !run_dir.is_locked()? {
            return Err(AdoptError::Ended { said: last_words(run_dir) });
        }
        if let Some(process) = run_dir.process()?
            && let Some(pidfd) = process.open().map_err(AdoptError::Process)?
        {
            break (process, pidfd);
        }
        if Instant::now() >= deadline {
            return Err(AdoptError::Stranger { run_dir: run_dir.path().to_owned() });
        }
        sleep(LOOK_AGAIN).await;
    };
    let spec = LaunchSpec::load(run_dir)
        .map_err(|source| AdoptError::Spec { run_dir: run_dir.path().to_owned(), source })?;
    let beginning =
        Beginning::new(run_dir, process, Arc::new(pidfd)).map_err(AdoptError::Process)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let monitor = tokio::select! {
        attached = timeout(left, attach(&beginning.shared, spec.uuid, LOOK_AGAIN)) => match attached {
            Ok(Ok(monitor)) => Some(monitor),
            Ok(Err(error)) => {
                tracing::warn!(guest = %spec.name, %error, "adopted without its monitor");
                None
            }
            Err(_) => None,
        },
        () = beginning.exit.ended() => {
            beginning.end(&spec).await;
            return Err(AdoptError::Ended { said: last_words(run_dir) });
        }
    };
    Ok(beginning.supervise(&spec, monitor))
}

/// Gives a guest's VFIO devices back to root and removes its run directory. Can be repeated;
/// refused while the guest is alive.
pub fn clean_up(run_dir: &RunDir) -> Result<(), CleanUpError> {
    if run_dir.is_locked()? {
        return Err(CleanUpError::Alive { run_dir: run_dir.path().to_owned() });
    }
    let spec = match LaunchSpec::load(run_dir) {
        Ok(spec) => Some(spec),
        // No launcher ever began, so no device was given away.
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let path = run_dir.launch_spec();
            tracing::warn!(
                "cannot read {}: {error}; its VFIO devices stay its user's until their VFs go back",
                path.display()
            );
            None
        }
    };
    if let Some(spec) = spec
        && let Some(Credentials { uid, .. }) = spec.credentials
    {
        for device in &spec.vfio_devices {
            vfio::take_back(device, uid).map_err(|source| {
                let device = device.clone();
                CleanUpError::Vfio { device, uid, source }
            })?;
        }
        if spec.jail == Jail::Scope
            && let Err(error) = scope::forget(&spec)
        {
            tracing::warn!(guest = %spec.name, %error, "systemd keeps what its scope was allowed");
        }
    }
    Ok(run_dir.remove()?)
}

/// The launcher's words in a run directory, else QEMU's in its log; empty when neither said any.
fn last_words(run_dir: &RunDir) -> String {
    run_dir.launcher_said().unwrap_or_else(|| match LaunchSpec::load(run_dir) {
        Ok(spec) => log::last_words(&spec.log).unwrap_or_default(),
        Err(_) => String::new(),
    })
}

fn spawn(
    launcher: &Launcher,
    run_dir: &RunDir,
    spec: &LaunchSpec,
) -> Result<(ProcessId, OwnedFd), StartError> {
    let json = serde_json::to_vec_pretty(spec).map_err(StartError::Spec)?;
    run_dir.create()?;
    let Some(lock) = run_dir.lock()? else {
        return Err(StartError::Running { run_dir: run_dir.path().to_owned() });
    };
    run_dir.clear()?;
    run_dir.create_guest_dir(spec.credentials.as_ref().map(|whom| (whom.uid, whom.gid)))?;
    run_dir.write_whole("launch.json", &json)?;
    let mut launch = command(&launcher.program, Purpose::Guest);
    launch.args(&launcher.args).arg(run_dir.launch_spec()).stdin(lock);
    let failed = |source| StartError::Spawn { program: launcher.program.clone(), source };
    // Reaped through its pidfd, by `Exit::reap`.
    let mut child = launch.spawn().map_err(failed)?;
    // The command holds the lock file: from here on it is the launcher's alone.
    drop(launch);
    identify(&child).map_err(|error| {
        // It has not been told to anybody; a failure here means that it is gone already.
        child.kill().and_then(|()| child.wait()).ok();
        failed(error)
    })
}

/// Ends a launcher that cannot be supervised, for want of descriptors.
fn kill_and_reap(pidfd: &OwnedFd) {
    if pidfd_send_signal(pidfd, Signal::KILL).is_ok() {
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok();
    }
}

fn identify(child: &Child) -> io::Result<(ProcessId, OwnedFd)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the kernel gave no process number"))?;
    // Not reaped yet, so the number can mean no other process.
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let this = ProcessId::of_this_process()?;
    let start_time = start_time(pid)?.ok_or_else(|| io::Error::other("the launcher is gone"))?;
    Ok((ProcessId { pid: pid.as_raw_nonzero().get(), start_time, ..this }, pidfd))
}

/// A monitor past its greeting.
struct Monitor {
    qmp: Qmp,
    events: mpsc::Receiver<QmpEvent>,
    state: RunState,
}

/// Connects to a monitor as soon as it is there. An error is one that waiting does not mend.
async fn attach(shared: &Shared, uuid: Uuid, first_wait: Duration) -> Result<Monitor, QmpError> {
    let mut wait = first_wait;
    loop {
        sleep(wait).await;
        wait = (wait * 2).min(RECONNECT.min(first_wait * 10));
        let stream = match socket::connect(&shared.run_dir.qmp_socket(), shared.process.pid).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::trace!(%error, "QEMU's monitor is not there yet");
                continue;
            }
        };
        // The caller's limit is what counts; QEMU greets when it has set up the machine.
        match greet(stream, uuid).await {
            // QEMU is about to end, or had a client.
            Err(QmpError::Closed) => {}
            other => return other,
        }
    }
}

async fn greet(stream: tokio::net::UnixStream, uuid: Uuid) -> Result<Monitor, QmpError> {
    #[derive(Deserialize)]
    struct QueriedUuid {
        #[serde(rename = "UUID")]
        uuid: Uuid,
    }
    let (qmp, events) = Qmp::negotiate(stream, Duration::MAX).await?;
    let found = qmp.query::<QueriedUuid>("query-uuid", ANSWER_LIMIT).await?.uuid;
    if !found.is_nil() && found != uuid {
        return Err(QmpError::Shape { command: "query-uuid", answer: found.to_string() });
    }
    let state = run_state(&qmp).await?;
    Ok(Monitor { qmp, events, state })
}

/// A process whose end can be waited for, child or not.
#[derive(Debug)]
struct Exit(AsyncFd<OwnedFd>);

impl Exit {
    /// Must be called on a runtime.
    fn new(pidfd: OwnedFd) -> io::Result<Self> {
        readiness::watch(pidfd, Interest::READABLE).map(Self)
    }

    /// Returns when the process has ended; can be asked again. A pidfd is readable from then on
    /// (pidfd_open(2)).
    async fn ended(&self) {
        if let Err(error) = self.0.readable().await {
            // The runtime shuts down. The guest does not.
            tracing::debug!(%error, "no longer waiting for a guest's end");
            std::future::pending::<()>().await;
        }
    }

    fn kill(&self) {
        if let Err(error) = pidfd_send_signal(self.0.get_ref(), Signal::KILL) {
            tracing::debug!(%error, "killing a guest that is gone");
        }
    }

    /// The status of an ended process, if it is a child.
    fn reap(&self) -> Option<ExitStatus> {
        let pidfd = WaitId::PidFd(self.0.get_ref().as_fd());
        let status = waitid(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok()??;
        let signal = status.terminating_signal().map(ExitStatus::Signal);
        signal.or_else(|| status.exit_status().map(ExitStatus::Code))
    }
}

/// A guest that is not supervised yet.
struct Beginning {
    shared: Arc<Shared>,
    exit: Exit,
    ended: watch::Sender<Option<Ended>>,
}

impl Beginning {
    fn new(run_dir: &RunDir, process: ProcessId, pidfd: Arc<OwnedFd>) -> io::Result<Self> {
        let exit = Exit::new(pidfd.try_clone()?)?;
        let (ended, receiver) = watch::channel(None);
        let shared = Arc::new(Shared {
            run_dir: run_dir.clone(),
            process,
            pidfd,
            qmp: Mutex::new(None),
            asked_to_end: AtomicBool::new(false),
            ended: receiver,
        });
        Ok(Self { shared, exit, ended })
    }

    async fn end(&self, spec: &LaunchSpec) -> Ended {
        let kind = Signs::default().judge(self.exit.reap());
        gone(&self.shared.run_dir).await;
        Ended { kind, said: words(spec) }
    }

    fn supervise(
        self,
        spec: &LaunchSpec,
        monitor: Option<Monitor>,
    ) -> (Guest, mpsc::Receiver<GuestEvent>) {
        let (events, received) = mpsc::channel(EVENTS);
        let mut supervisor = Supervisor {
            shared: Arc::clone(&self.shared),
            exit: self.exit,
            spec: spec.clone(),
            signs: Signs::default(),
            queue: EventQueue::default(),
            events: Some(events),
            monitor: None,
            log_care: 0,
        };
        let state = monitor.as_ref().map(|monitor| monitor.state.clone());
        supervisor.queue.push(GuestEvent::Started { process: self.shared.process.clone(), state });
        supervisor.connected(monitor);
        tokio::spawn(supervisor.run(self.ended));
        (Guest(self.shared), received)
    }
}

/// The task that watches one guest.
struct Supervisor {
    shared: Arc<Shared>,
    exit: Exit,
    spec: LaunchSpec,
    signs: Signs,
    queue: EventQueue,
    /// None once nobody listens.
    events: Option<mpsc::Sender<GuestEvent>>,
    /// None while the monitor is not connected.
    monitor: Option<mpsc::Receiver<QmpEvent>>,
    /// How often its log was, or should have been, cut.
    log_care: u64,
}

type Attaching<'a> = Pin<Box<dyn Future<Output = Result<Monitor, QmpError>> + Send + 'a>>;

impl Supervisor {
    async fn run(mut self, ended: watch::Sender<Option<Ended>>) {
        self.until_exit().await;
        let end = self.after_exit().await;
        tracing::info!(guest = %self.spec.name, how = %end.kind, "a guest has ended");
        self.tell(GuestEvent::Ended(end.clone()));
        ended.send_replace(Some(end));
        while let Some(events) = &self.events
            && let Some(event) = self.queue.pop()
        {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn until_exit(&mut self) {
        let shared = Arc::clone(&self.shared);
        let uuid = self.spec.uuid;
        let mut attaching: Attaching<'_> = Box::pin(attach(&shared, uuid, RECONNECT));
        let mut log = log::Growth::of(&self.spec.log, LOG_CHECK);
        // When a lost monitor is told of, unless QEMU has ended until then.
        let mut lost: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.exit.ended() => return,
                () = sleep_until(lost.unwrap_or_else(Instant::now)), if lost.is_some() => {
                    lost = None;
                    self.tell(GuestEvent::MonitorLost);
                },
                event = next(&mut self.monitor) => match event {
                    Some(event) => self.note(event),
                    None => {
                        self.connected(None);
                        lost = Some(Instant::now() + MAY_END);
                        attaching = Box::pin(attach(&shared, uuid, RECONNECT));
                    }
                },
                attached = &mut attaching, if self.monitor.is_none() => {
                    match attached {
                        Ok(monitor) => {
                            if lost.take().is_some() {
                                self.tell(GuestEvent::MonitorLost);
                            }
                            self.tell(GuestEvent::MonitorBack { state: monitor.state.clone() });
                            self.connected(Some(monitor));
                        }
                        Err(error) => {
                            tracing::warn!(guest = %self.spec.name, %error, "QEMU's monitor");
                        }
                    }
                    attaching = Box::pin(attach(&shared, uuid, RECONNECT));
                },
                () = room(&self.events), if !self.queue.is_empty() => self.send_one(),
                () = log.heard() => self.keep_log_small().await,
            }
        }
    }

    /// Reads what the monitor still said, and waits until nothing holds the lock.
    async fn after_exit(&mut self) -> Ended {
        let last_events = async {
            while let Some(event) = next_or_none(&mut self.monitor).await {
                self.note(event);
            }
        };
        if timeout(LAST_EVENTS, last_events).await.is_err() {
            tracing::warn!(guest = %self.spec.name, "QEMU is gone, its monitor goes on");
        }
        self.connected(None);
        let status = self.exit.reap();
        gone(&self.shared.run_dir).await;
        self.signs.asked = self.shared.asked_to_end.load(Ordering::Acquire);
        Ended { kind: self.signs.judge(status), said: words(&self.spec) }
    }

    fn note(&mut self, event: QmpEvent) {
        self.signs.note(&event);
        self.tell(event.into());
    }

    fn tell(&mut self, event: GuestEvent) {
        if self.events.is_some() {
            self.queue.push(event);
        }
    }

    /// Hands the next event over; nobody else sends, so room once seen is there.
    fn send_one(&mut self) {
        if let Some(events) = &self.events
            && let Some(event) = self.queue.pop()
            && events.try_send(event).is_err()
        {
            (self.events, self.queue) = (None, EventQueue::default());
        }
    }

    fn connected(&mut self, monitor: Option<Monitor>) {
        let (qmp, events) = monitor.map(|monitor| (monitor.qmp, monitor.events)).unzip();
        *self.shared.qmp() = qmp;
        self.monitor = events;
    }

    async fn keep_log_small(&mut self) {
        let path = self.spec.log.clone();
        if !log::is_large(&path) {
            return;
        }
        let cut = tokio::task::spawn_blocking(move || log::cut(&path, log::CUT_AT)).await;
        self.log_care += 1;
        // Whatever fills a guest's log does not fill this one as well.
        if !self.log_care.is_power_of_two() {
            return;
        }
        let (guest, times) = (&self.spec.name, self.log_care);
        match cut {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::warn!(%guest, times, "its log grew large and was cut"),
            Ok(Err(error)) => {
                tracing::warn!(%guest, times, %error, "cannot look after its log");
            }
            Err(error) => tracing::warn!(%guest, times, %error, "looking after its log"),
        }
    }
}

/// The next event of a connected monitor; waits for ever when there is none.
async fn next(monitor: &mut Option<mpsc::Receiver<QmpEvent>>) -> Option<QmpEvent> {
    match monitor {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_or_none(monitor: &mut Option<mpsc::Receiver<QmpEvent>>) -> Option<QmpEvent> {
    monitor.as_mut()?.recv().await
}

/// Waits until there is room for an event, or nobody listens.
async fn room(events: &Option<mpsc::Sender<GuestEvent>>) {
    if let Some(events) = events {
        events.reserve().await.ok();
    }
}

/// Waits until nobody holds a guest's lock: the process is gone, but what it handed its
/// descriptors to may hold devices for a moment more.
async fn gone(run_dir: &RunDir) {
    let mut wait = LOOK_AGAIN;
    let mut told = false;
    loop {
        match run_dir.is_locked() {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => {
                tracing::warn!(%error, "taking a guest as gone");
                return;
            }
        }
        if wait > RECONNECT && !std::mem::replace(&mut told, true) {
            tracing::warn!(run_dir = %run_dir.path().display(), "QEMU is gone, its lock is still held");
        }
        sleep(wait).await;
        wait = (wait * 2).min(2 * RECONNECT);
    }
}

fn words(spec: &LaunchSpec) -> String {
    log::last_words(&spec.log).unwrap_or_else(|error| {
        tracing::warn!(guest = %spec.name, %error, "cannot read its log");
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_error_says_what_qemu_said() {
        let ended = Ended { kind: EndKind::Exited(1), said: "no such disk".to_owned() };
        assert_eq!(StartError::Emulator(ended).to_string(), "QEMU did not start: no such disk");
        let silent = Ended { kind: EndKind::Exited(1), said: String::new() };
        assert!(StartError::Emulator(silent).to_string().ends_with("exit code 1"));
        let crashed = Ended { kind: EndKind::Killed(11), said: "machine: q35".to_owned() };
        assert!(StartError::Emulator(crashed).to_string().contains("signal 11: machine: q35"));
    }
}
