//! Networks that vfnet does not serve, handed on to a stock network daemon.
//!
//! A network is ours or theirs, and what is ours comes first: whoever asks for a name or UUID
//! that both sides have, gets ours. [`route`] sends a call to the side it is about; [`merge`]
//! puts the lists together; [`events`] relays what happens on the other side while anybody
//! here listens.
//!
//! The stock daemon may be absent, slow or broken, and then only calls about its networks
//! suffer: each has a time limit, lists and checks have a short one and go on without it, and
//! after a failure they do not try again for a moment. What it says is trouble once, in the log.

mod connection;
mod events;
mod route;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;
use vfnet_engine::State;
use vfnet_model::NetworkName;
use vfnet_model::doctor::{Check, Finding, State as Health};
use vfnet_rpc::client::{Reply, ReplyError, call};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::frame::Frame;
use vfnet_rpc::objects::{ListArgs, Network};
use vfnet_rpc::procedures::Procedure;
use vfnet_rpc::remote::{ConnectListAllNetworks, RemoteEvent};

use crate::engine_task::EngineHandle;
use crate::options::Config;
use connection::{Connection, ConnectionError};

pub(crate) use events::Listening;
pub(crate) use route::{is_ours, merge, route};

/// How long lists and checks wait for the stock daemon: they are about our networks too.
const GLANCE: Duration = Duration::from_secs(3);

/// How long lists, checks and new listeners do without the stock daemon after it has failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Events of the stock daemon that a slow listener may be behind.
const EVENTS: usize = 256;

/// What the stock daemon does not answer.
#[derive(Debug, thiserror::Error)]
enum UpstreamError {
    #[error("the stock network daemon at {} cannot be used", socket.display())]
    Connection {
        socket: PathBuf,
        #[source]
        source: ConnectionError,
    },
    #[error("the stock network daemon at {} has not answered within {limit:?}", socket.display())]
    Silent { socket: PathBuf, limit: Duration },
    #[error("the stock network daemon at {} has just failed, and is left alone", socket.display())]
    Paused { socket: PathBuf },
    #[error("the stock network daemon at {} says what is not understood", socket.display())]
    Garbage {
        socket: PathBuf,
        #[source]
        source: ReplyError,
    },
    /// It refuses. Its words are relayed as they are.
    #[error("the stock network daemon refuses")]
    Refused(#[source] WireError),
}

impl UpstreamError {
    /// The error as a client gets it.
    fn to_wire(&self) -> WireError {
        let code = match self {
            Self::Refused(error) => return error.clone(),
            Self::Connection { .. } | Self::Paused { .. } => ErrorCode::SystemError,
            Self::Silent { .. } => ErrorCode::OperationTimeout,
            Self::Garbage { .. } => ErrorCode::Rpc,
        };
        WireError::new(ErrorDomain::Network, code, &vfnet_model::explain(self))
    }
}

/// The way to the stock network daemon, where one is configured. Clones share everything.
#[derive(Clone)]
pub struct Upstream {
    inner: Option<Arc<Inner>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

struct Inner {
    socket: PathBuf,
    /// How long a call about one of its networks may take.
    patience: Duration,
    engine: EngineHandle,
    /// For calls; opened with the first.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// Since when it fails.
    trouble: Mutex<Option<Trouble>>,
    /// Networks of theirs that ours hide, told once.
    hidden: Mutex<BTreeSet<Uuid>>,
    /// Definitions under way, so that the same name does not begin on both sides.
    defining: Mutex<Vec<route::Wanted>>,
    /// What happens to their networks.
    events: broadcast::Sender<RemoteEvent>,
    /// How many listen.
    listeners: watch::Sender<usize>,
    relay: watch::Sender<events::Relay>,
}

/// Calls fail.
struct Trouble {
    last: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    /// The way to the daemon that is configured. Nothing is connected before it is needed.
    pub(crate) fn new(config: &Config, engine: EngineHandle) -> Self {
        let inner = config.network_daemon.as_ref().map(|socket| {
            Arc::new(Inner {
                socket: socket.clone(),
                patience: Duration::from_secs(config.network_daemon_patience),
                engine,
                connection: tokio::sync::Mutex::new(None),
                trouble: Mutex::new(None),
                hidden: Mutex::new(BTreeSet::new()),
                defining: Mutex::new(Vec::new()),
                events: broadcast::Sender::new(EVENTS),
                listeners: watch::Sender::new(0),
                relay: watch::Sender::new(events::Relay::Idle),
            })
        });
        Self { inner }
    }

    /// Whether the stock daemon answers; nothing where there is none.
    pub(crate) async fn finding(&self) -> Option<Finding> {
        let inner = self.inner.as_ref()?;
        let args = ListArgs { need_results: 0, flags: 0 };
        let limit = GLANCE.min(inner.patience);
        let asked = inner.call::<ConnectListAllNetworks>(limit, &args).await;
        let socket = inner.socket.display();
        let (state, says, mend) = match asked {
            Ok(_) => (Health::Ok, format!("the stock daemon at {socket} answers"), None),
            Err(fault) => {
                let mend = "start it, or name its socket as network_daemon in vfnetd.toml";
                (Health::Warning, vfnet_model::explain(&fault), Some(mend.to_owned()))
            }
        };
        Some(Finding { check: Check::NetworkDaemon, state, says, mend, details: Vec::new() })
    }

    /// Starts what runs beside calls.
    pub(crate) fn start(&self) {
        if let Some(inner) = &self.inner {
            tokio::spawn(events::relay(Arc::clone(inner)));
        }
    }
}

/// A socket of this daemon's own is named as the stock daemon's.
#[derive(Debug, thiserror::Error)]
#[error("network_daemon names {path}, where this vfnetd itself listens")]
pub struct OwnSocket {
    path: PathBuf,
}

/// Refuses a stock daemon that is this one, under whatever name. This one listens already.
pub(crate) fn refuse_own(config: &Config, network_socket: Option<&Path>) -> Result<(), OwnSocket> {
    let Some(path) = &config.network_daemon else { return Ok(()) };
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    let is_it = |own: &Path| identity(own).is_some_and(|own| Some(own) == identity(path));
    let own = ["libvirt-sock", "libvirt-sock-ro"].map(|name| config.run_dir.join(name));
    if own.iter().map(PathBuf::as_path).chain(network_socket).any(is_it) {
        return Err(OwnSocket { path: path.clone() });
    }
    Ok(())
}

impl Inner {
    /// Sends a call, for at most `limit`.
    async fn ask(
        &self,
        limit: Duration,
        frame: impl FnOnce(u32) -> Frame,
    ) -> Result<Reply, UpstreamError> {
        let deadline = Instant::now() + limit;
        let silent = |_| UpstreamError::Silent { socket: self.socket.clone(), limit };
        let failed = |source| UpstreamError::Connection { socket: self.socket.clone(), source };
        let connection = match timeout_at(deadline, self.connected()).await.map_err(silent) {
            Ok(Ok(connection)) => connection,
            Ok(Err(source)) => return Err(self.note(failed(source))),
            Err(fault) => return Err(self.note(fault)),
        };
        match timeout_at(deadline, connection.ask(frame)).await.map_err(silent) {
            Ok(Ok(reply)) => {
                self.note_well();
                Ok(reply)
            }
            Ok(Err(source)) => Err(self.note(failed(source))),
            Err(fault) => {
                // What is under way on it may still be answered; what comes next is not to
                // wait behind it.
                let mut current = self.connection.lock().await;
                if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, &connection)) {
                    *current = None;
                }
                drop(current);
                Err(self.note(fault))
            }
        }
    }

    /// Calls a procedure, for at most `limit`.
    async fn call<P: Procedure>(
        &self,
        limit: Duration,
        args: &P::Args,
    ) -> Result<P::Reply, UpstreamError> {
        let reply = self.ask(limit, |serial| call::<P>(serial, args)).await?;
        reply.of::<P>().map_err(|fault| self.reply_error(fault))
    }

    /// As [`call`](Self::call), for what concerns our networks too: short, and not at all right
    /// after a failure.
    async fn glance<P: Procedure>(&self, args: &P::Args) -> Result<P::Reply, UpstreamError> {
        if self.is_paused() {
            return Err(UpstreamError::Paused { socket: self.socket.clone() });
        }
        self.call::<P>(GLANCE.min(self.patience), args).await
    }

    /// Whether it has failed moments ago, so that what can go without it does.
    fn is_paused(&self) -> bool {
        lock(&self.trouble).as_ref().is_some_and(|trouble| trouble.last.elapsed() < PAUSE)
    }

    fn reply_error(&self, fault: ReplyError) -> UpstreamError {
        match fault {
            ReplyError::Server(error) => UpstreamError::Refused(error),
            source => self.note(UpstreamError::Garbage { socket: self.socket.clone(), source }),
        }
    }

    /// The connection for calls, opened when there is none that can be used.
    async fn connected(&self) -> Result<Arc<Connection>, ConnectionError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_lost()) {
            return Ok(Arc::clone(connection));
        }
        // Events come on a connection of their own.
        let (nowhere, _) = mpsc::channel(1);
        let connection = Arc::new(Connection::open(&self.socket, nowhere).await?);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Says that the daemon fails, if that is news.
    fn note(&self, fault: UpstreamError) -> UpstreamError {
        let known = lock(&self.trouble).replace(Trouble { last: Instant::now() });
        if known.is_none() {
            tracing::warn!("networks that vfnet does not serve: {}", vfnet_model::explain(&fault));
        }
        fault
    }

    fn note_well(&self) {
        if lock(&self.trouble).take().is_some() {
            tracing::info!("the stock network daemon at {} answers again", self.socket.display());
        }
    }

    /// Those of their networks that none of ours hides.
    async fn visible(&self, theirs: Vec<Network>) -> Vec<Network> {
        let split = move |state: &State| -> (Vec<Network>, Vec<Network>) {
            let is_hidden = |network: &Network| {
                let named = |name: NetworkName| state.network_named(&name).is_some();
                state.network(network.uuid).is_some() || network.name.parse().is_ok_and(named)
            };
            theirs.into_iter().partition(is_hidden)
        };
        // On the way out there is nothing to see.
        let Ok((hidden, visible)) = self.engine.read(split).await else { return Vec::new() };
        for network in hidden {
            if lock(&self.hidden).insert(network.uuid) {
                tracing::warn!(
                    "network '{}' ({}) of the stock network daemon is hidden by one of vfnet's \
                     with the same name or UUID",
                    &*network.name,
                    network.uuid
                );
            }
        }
        visible
    }
}
