//! The daemon from its start to its end.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, watch};
use vfnet_engine::{Engine, Entry, GuestRun, Input, Record, Remembered, State};
use vfnet_host::{DeviceTree, Host, HostError};
use vfnet_qemu::Launcher;
use vfnet_store::{Store, StoreError};

use crate::devices::Devices;
use crate::ends_with::EndsWithClient;
use crate::engine_task::{self, EngineHandle};
use crate::guests::{Guests, LaunchOrder, Places};
use crate::hands::Hands;
use crate::hooks::Hooks;
use crate::listen::{ListenError, Listeners};
use crate::log::floods;
use crate::observe::Observer;
use crate::options::{Config, ConfigError, Options};
use crate::pools::Pools;
use crate::steps::Steps;
use crate::unused::UnusedPorts;
use crate::upstream::{OwnSocket, Upstream, refuse_own};
use crate::{Daemon, session};

/// Happenings that a slow listener may be behind before it misses some.
const HAPPENINGS: usize = 1024;

/// How long those who start after this daemon wait for kept VFs; systemd gives a service 90 seconds
/// to be ready (`DefaultTimeoutStartSec`).
const KEPT_VFS_LIMIT: Duration = Duration::from_secs(75);

/// Pause between two looks at whether they are made.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long clients, and then kernel work that is under way, may hold up the end of the daemon.
/// What is not done by then the next daemon goes on with.
const FAREWELL: Duration = Duration::from_secs(2);

/// Waits for the next change of the host; false when there will be none.
pub type Watch = Box<dyn FnMut() -> bool + Send>;

/// What differs between this machine and a simulated one.
pub struct Setting {
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Its devices.
    pub devices: Arc<dyn DeviceTree>,
    /// Tells when it changes.
    pub watch: Option<Watch>,
    /// `/dev/vfio`, where there is a real one.
    pub vfio: Option<PathBuf>,
    /// What starts QEMU.
    pub launcher: Launcher,
    /// What stands for QEMU, on a simulated machine: it takes the place of the configured one,
    /// and runs as the daemon's user, because it has to reach the simulated machine.
    pub stand_in: Option<PathBuf>,
    /// Who looks on.
    pub steps: Steps,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").finish_non_exhaustive()
    }
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host cannot be looked at.
    #[error("cannot look at the host")]
    Host(#[from] HostError),
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no place for guests' logs.
    #[error("cannot make the directory of guests' logs, {}", path.display())]
    LogDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The sockets cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The stock network daemon is this daemon.
    #[error(transparent)]
    NetworkDaemon(#[from] OwnSocket),
    /// The system did not give what every program needs.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs until SIGTERM or SIGINT. Guests go on.
pub fn run(options: &Options, setting: Setting) -> Result<(), RunError> {
    let mut config = Config::load(options)?;
    let real_guests = setting.stand_in.is_none();
    if let Some(stand_in) = setting.stand_in {
        config.emulator = stand_in;
    }
    let host = setting.host;
    let boot_id = host.boot_id()?;
    let (mut store, loaded) = Store::open(&config.state_dir, &config.run_dir, &boot_id)?;
    if let Some(kept) = &loaded.kept_aside {
        let file = kept.file.display();
        tracing::error!("live.db was damaged ({}); it is kept as {file}", kept.why);
    }
    for kept in &loaded.set_aside {
        tracing::error!("not understood, and left as it is: {kept}");
    }
    std::fs::create_dir_all(&config.log_dir)
        .map_err(|source| RunError::LogDir { path: config.log_dir.clone(), source })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .map_err(|source| RunError::System { doing: "start threads", source })?;

    let is_root = rustix::process::geteuid().is_root();
    let places = Places {
        run: config.run_dir.join("guests"),
        logs: config.log_dir.clone(),
        vfio: setting.vfio,
        emulator: config.emulator.clone(),
        spare_root_ports: config.spare_root_ports,
        uids: (is_root && real_guests).then_some(config.guest_uids()?),
        jail: config.jail.here(),
        launcher: setting.launcher,
    };
    let happenings = broadcast::Sender::new(HAPPENINGS);
    let guests = Guests::new(places, setting.steps.clone(), happenings.clone());
    let inventory = host.inventory()?;
    let mut entries = loaded.entries;
    let strangers = guests.strangers(&entries, &inventory);
    let records: Vec<_> =
        strangers.iter().map(|entry| Record::Put(Box::new(entry.clone()))).collect();
    store.commit(&records)?;
    entries.extend(strangers);
    let alive = runtime.block_on(find_guests(&guests, &entries));
    let remembered = Remembered {
        entries,
        inventory,
        alive,
        physical_networks: config.physical_networks.clone(),
    };
    let (mut engine, first) = Engine::recover(remembered);
    let hooks = config.network_hooks.clone().map(|dir| {
        engine.call_hooks();
        Hooks::new(dir, Duration::from_secs(config.hook_timeout))
    });

    let (handle, mailbox) = engine_task::mailbox();
    let observer = Observer::new(Arc::clone(&host), handle.clone());
    let hands = Hands::new(
        Arc::clone(&host),
        handle.clone(),
        observer.clone(),
        guests.clone(),
        hooks,
        runtime.handle().clone(),
        happenings.clone(),
    );
    let history = hands.history().clone();
    engine_task::start(engine, first, store, mailbox, hands, setting.steps)
        .map_err(|source| RunError::System { doing: "start the engine", source })?;

    let upstream = Upstream::new(&config, handle.clone());
    let grace = if host.sees_open_files() {
        Duration::from_secs(config.port_grace)
    } else {
        tracing::error!(
            "unused ports are not looked for: CAP_SYS_PTRACE is missing, or part of /proc hidden"
        );
        Duration::ZERO
    };
    let unused = UnusedPorts::new(grace, config.unused_ports);
    let daemon = Daemon {
        engine: handle,
        observer,
        guests,
        devices: Devices::new(setting.devices),
        pools: Pools::load(&config, &boot_id),
        happenings,
        history,
        upstream,
        unused,
        host,
        ends_with: EndsWithClient::default(),
        caller: None,
        config: Arc::new(config),
        boot_id,
    };
    if let Some(watch) = setting.watch {
        follow_the_host(watch, daemon.clone(), runtime.handle().clone())?;
    }
    let ended = runtime.block_on(serve(daemon, options));
    runtime.shutdown_timeout(FAREWELL);
    ended
}

/// Which guests of an earlier daemon live. What the dead left is removed, so that their VFs can
/// go back.
async fn find_guests(guests: &Guests, entries: &[Entry]) -> BTreeSet<uuid::Uuid> {
    let runs: Vec<&GuestRun> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Run(run) => Some(run),
            _ => None,
        })
        .collect();
    let mut alive = BTreeSet::new();
    for run in runs {
        // When in doubt it lives: a VF must not be taken from under a guest.
        if guests.run_dir(&run.definition.name, &run.guest).is_locked().unwrap_or(true) {
            alive.insert(run.guest);
        } else {
            guests.clean_up(&LaunchOrder::of_the_dead(run.clone())).await;
        }
    }
    alive
}

/// Has the engine look whenever the kernel announces a change, and whoever listens told of
/// devices.
fn follow_the_host(
    mut watch: Watch,
    daemon: Daemon,
    runtime: tokio::runtime::Handle,
) -> Result<(), RunError> {
    let follow = move || {
        while watch() {
            let (seen, told) = std::sync::mpsc::sync_channel(1);
            let daemon = daemon.clone();
            runtime.spawn(async move {
                tokio::join!(daemon.observer.look(), daemon.devices.compare());
                // It waits for this alone.
                let _waits = seen.send(());
            });
            // The daemon ends, and with it whoever looks.
            if told.recv().is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("uevents".to_owned())
        .spawn(follow)
        .map(drop)
        .map_err(|source| RunError::System { doing: "start a thread", source })
}

async fn serve(daemon: Daemon, options: &Options) -> Result<(), RunError> {
    let system = |doing| move |source| RunError::System { doing, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system("wait for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("wait for signals"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("wait for signals"))?;
    let listeners = Listeners::open(&daemon.config, options.network_socket.as_deref())?;
    refuse_own(&daemon.config, options.network_socket.as_deref())?;
    daemon.upstream.start();
    tokio::spawn(say_when_autostart_is_late(
        daemon.engine.clone(),
        Duration::from_secs(daemon.config.autostart_patience),
    ));
    if let Some(pause) = NonZeroU32::new(daemon.config.look_interval) {
        let pause = Duration::from_secs(pause.get().into());
        tokio::spawn(look_from_time_to_time(daemon.engine.clone(), daemon.observer.clone(), pause));
    }
    let (engine, observer) = (daemon.engine.clone(), daemon.observer.clone());
    tokio::spawn(daemon.unused.clone().watch(engine, observer));
    tokio::spawn(tell_what_the_log_left_out());
    let readers = daemon.config.readers()?;
    let engine = daemon.engine.clone();
    let (ending, is_ending) = watch::channel(false);
    let serving = tokio::spawn(session::serve(listeners, daemon, readers, is_ending));
    kept_vfs_are_made(&engine).await;
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("ready");
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to end; guests go on"),
            _ = interrupt.recv() => tracing::info!("interrupted; guests go on"),
            // What libvirt's daemons take for "reload". Networks are not read from files here.
            _ = hangup.recv() => {
                tracing::info!("nothing to reload: the configuration is read at the start");
                continue;
            }
        }
        break;
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    ending.send_replace(true);
    if tokio::time::timeout(FAREWELL, serving).await.is_err() {
        tracing::debug!("some clients have not been told of the end");
    }
    floods::tell();
    Ok(())
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(state) {
        tracing::warn!("cannot tell systemd: {fault}");
    }
}

/// Some changes nobody announces: the kernel says nothing of a VF's settings while its PF is down
/// (`netdev_state_change`), and announcements may be lost.
async fn look_from_time_to_time(engine: EngineHandle, observer: Observer, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        if observer.look().await {
            engine.tell(Input::TimeHasPassed).await;
        }
    }
}

async fn tell_what_the_log_left_out() {
    loop {
        tokio::time::sleep(floods::WHILE).await;
        floods::tell();
    }
}

/// Waits until kept VFs are made, for those who start after this daemon because they use them.
async fn kept_vfs_are_made(engine: &EngineHandle) {
    let made = async {
        while engine.read(State::makes_kept_vfs).await == Ok(true) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(KEPT_VFS_LIMIT, made).await.is_err() {
        tracing::warn!("kept VFs are still being made; whoever starts after vfnetd goes on");
    }
}

async fn say_when_autostart_is_late(engine: EngineHandle, patience: Duration) {
    tokio::time::sleep(patience).await;
    let waits = engine.read(|state: &State| !state.pending.is_empty()).await;
    if waits == Ok(true) {
        engine.tell(Input::AutostartIsLate).await;
    }
}
