//! The daemon: wiring only.
//!
//! What comes in on a socket becomes typed calls ([`session`], [`dispatch`]), is decided by the
//! engine on a thread of its own ([`engine_task`]), recorded, and carried out over the host and
//! over guests ([`hands`], [`guests`]); outcomes go back to the engine. Calls about networks that
//! vfnet does not serve are handed on to another daemon ([`upstream`]). [`run`] is all of it,
//! over any [`vfnet_host::Host`], so that tests run the same wiring over a simulated one.

mod aside;
mod devices;
mod dispatch;
mod ends_with;
pub mod engine_task;
pub mod guests;
mod hands;
mod history;
mod hooks;
mod journal;
mod leases;
mod listen;
pub mod log;
pub mod machine;
pub mod observe;
pub mod options;
pub mod pools;
pub mod procedures;
mod run;
mod session;
pub mod steps;
pub mod unused;
mod upstream;
mod vfs;
mod wire_error;

pub use run::{RunError, Setting, Watch, run};
pub use upstream::{OwnSocket, Upstream};

use std::sync::Arc;

use tokio::net::unix::UCred;
use tokio::sync::broadcast;
use vfnet_engine::Announcement;
use vfnet_host::Host;
use vfnet_model::BootId;

use devices::Devices;
use ends_with::EndsWithClient;
use engine_task::EngineHandle;
use guests::{GuestNews, Guests};
use history::History;
use observe::Observer;
use options::Config;
use pools::Pools;
use unused::UnusedPorts;

/// What those are told who listen, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The engine has decided on it.
    Decided(Announcement),
    /// It was heard of a guest, and nobody decides on it.
    Heard(GuestNews),
}

/// What a session needs to serve its client. Clones share everything.
#[derive(Clone)]
pub struct Daemon {
    /// Who decides.
    pub engine: EngineHandle,
    /// Has the engine see the host as it is; to be awaited before a request that takes VFs or
    /// starts a network, and before reports.
    pub observer: Observer,
    /// Running guests: live documents, consoles.
    pub guests: Guests,
    /// The host's devices as libvirt's clients list them.
    pub devices: Devices,
    /// Storage pools.
    pub pools: Pools,
    /// What happens.
    pub happenings: broadcast::Sender<Happening>,
    /// What has happened lately.
    history: History,
    /// The way to the stock network daemon, which has the networks that vfnet does not serve.
    pub upstream: Upstream,
    /// Ports of other daemons' guests that nobody uses.
    pub unused: UnusedPorts,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Guests that end with the client.
    pub ends_with: EndsWithClient,
    /// Who calls, as the kernel knows them; nobody where no client does.
    pub caller: Option<UCred>,
    /// What it was told at its start.
    pub config: Arc<Config>,
    /// The kernel's id of this boot.
    pub boot_id: BootId,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").finish_non_exhaustive()
    }
}
