//! Events that a client has asked for.

mod guest_news;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::AbortHandle;
use uuid::Uuid;
use vfnet_engine::{Announcement, Cause, Ended, Metadata};
use vfnet_model::node_device::NodeDeviceName;
use vfnet_model::{GuestName, NetworkName};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{
    domain_event, domain_lifecycle as life, domain_lifecycle_detail as detail, metadata,
    network_event, network_lifecycle, node_device_event, node_device_lifecycle,
};
use vfnet_rpc::frame::Frame;
use vfnet_rpc::objects::{Domain, Network, NodeDevice};
use vfnet_rpc::remote::{
    DomainDeviceNamed, DomainEventDeviceAdded, DomainEventDeviceRemovalFailed,
    DomainEventDeviceRemoved, DomainEventLifecycle, DomainEventMetadataChange, DomainEventReboot,
    DomainEventRegister, DomainLifecycle, DomainLifecycleBody, DomainMetadataChange,
    DomainRebooted, DomainRemoved, NetworkEventLifecycle, NetworkEventMetadataChange,
    NetworkEventRegister, NetworkLifecycle, NetworkMetadataChange, NodeDeviceEventLifecycle,
    NodeDeviceEventRegister, NodeDeviceEventUpdate, NodeDeviceLifecycle, NodeDeviceUpdate,
    RemoteEvent,
};
use vfnet_rpc::server::event;
use vfnet_rpc::xdr::Text;

use super::outbox::Outbox;
use super::relayed::Relayed;
use crate::devices::{Changes, DeviceChange, Listening};
use crate::upstream::Upstream;
use crate::{Daemon, Happening, wire_error};
pub(super) use guest_news::NewsEvent;

/// The most registrations of one client: each makes a message of an event.
const REGISTRATIONS: usize = 1024;

/// Happenings that wait for a client to read the messages about those before.
const BACKLOG: usize = 1024;

/// What a registration is about, and with which call it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Network,
    NodeDevice,
    Guest,
}

/// What one registration wants to hear.
#[derive(Clone, Debug)]
pub(super) enum Listener {
    /// Starts and stops of networks, or of one.
    Networks(Option<Uuid>),
    /// Changes of networks' metadata, or of one's.
    NetworkMetadata(Option<Uuid>),
    /// Starts and stops of guests, or of one.
    Guests(Option<Uuid>),
    /// Resets of guests, or of one.
    Reboots(Option<Uuid>),
    /// Changes of guests' title, description or metadata, or of one's.
    GuestMetadata(Option<Uuid>),
    /// What this kind of event is about of guests' devices, or of one's.
    GuestDevices(Option<Uuid>, DeviceEvent),
    /// News of this kind of guests, or of one.
    GuestNews(Option<Uuid>, NewsEvent),
    /// Devices that come and go, or one.
    Devices(OfDevices),
    /// Devices that change, or one.
    DeviceUpdates(OfDevices),
    /// Nothing that happens here.
    Silence,
}

/// What happens to a guest's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceEvent {
    Added,
    Removed,
    RemovalFailed,
}

/// Of all devices or of one; as long as there is one of these, changes are looked for.
#[derive(Clone, Debug)]
pub(super) struct OfDevices {
    name: Option<Text>,
    _listening: Listening,
}

type Listeners = BTreeMap<i32, (Family, Listener)>;

/// A client's registrations, and the tasks that send what they are for. End with the session.
#[derive(Debug)]
pub(super) struct Events {
    listeners: Arc<Mutex<Listeners>>,
    last: i32,
    tasks: [AbortHandle; 2],
    behind: Arc<Notify>,
    outbox: Outbox,
    /// What happens to networks that vfnet does not serve, once the client wants to hear of
    /// networks.
    relayed: Option<Relayed>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Events {
    pub(super) fn start(daemon: &Daemon, outbox: Outbox) -> Self {
        let listeners: Arc<Mutex<Listeners>> = Arc::default();
        let behind = Arc::new(Notify::new());
        let (backlog, unsent) = mpsc::channel(BACKLOG);
        let sources = Sources {
            happenings: daemon.happenings.subscribe(),
            changes: daemon.devices.changes(),
        };
        let hearing = hear(sources, Arc::clone(&listeners), backlog, Arc::clone(&behind));
        let sending = send(unsent, Arc::clone(&listeners), outbox.clone());
        let tasks = [tokio::spawn(hearing), tokio::spawn(sending)];
        let tasks = tasks.map(|task| task.abort_handle());
        Self { listeners, last: 0, tasks, behind, outbox, relayed: None }
    }

    /// Has the stock network daemon's events come too, for as long as the client is there.
    pub(super) async fn relay(&mut self, upstream: &Upstream) {
        if self.relayed.is_none() {
            let listeners = Arc::clone(&self.listeners);
            let behind = Arc::clone(&self.behind);
            let messages = move |event: &RemoteEvent| {
                let listeners = lock(&listeners);
                let each = listeners.iter();
                each.filter_map(|(callback, (_, it))| relayed(*callback, it, event)).collect()
            };
            self.relayed = Relayed::start(upstream, self.outbox.clone(), behind, messages).await;
        }
    }

    /// Returns when the client has read so little that it has missed an event: it can only look
    /// at everything anew.
    pub(super) async fn behind(&self) {
        self.behind.notified().await;
    }

    fn next(&mut self) -> Result<i32, WireError> {
        let failed =
            |detail| Err(WireError::new(ErrorDomain::Event, ErrorCode::OperationFailed, detail));
        if lock(&self.listeners).len() >= REGISTRATIONS {
            return failed("a connection has no more than 1024 event callbacks");
        }
        let Some(next) = self.last.checked_add(1) else {
            return failed("this connection has had too many event callbacks");
        };
        self.last = next;
        Ok(next)
    }

    pub(super) fn register_network(
        &mut self,
        args: NetworkEventRegister,
    ) -> Result<(i32, Listener), WireError> {
        let of = args.network.map(|network| network.uuid);
        let listener = match args.event {
            network_event::LIFECYCLE => Listener::Networks(of),
            network_event::METADATA_CHANGE => Listener::NetworkMetadata(of),
            other => return Err(unknown(other)),
        };
        Ok((self.next()?, listener))
    }

    pub(super) async fn register_node_device(
        &mut self,
        daemon: &Daemon,
        args: NodeDeviceEventRegister,
    ) -> Result<(i32, Listener), WireError> {
        let name = args.device.map(|device| device.name);
        let listener = match args.event {
            node_device_event::LIFECYCLE => Listener::Devices,
            node_device_event::UPDATE => Listener::DeviceUpdates,
            other => return Err(unknown(other)),
        };
        let of = OfDevices { name, _listening: daemon.devices.listen().await };
        Ok((self.next()?, listener(of)))
    }

    /// Clients register for every event that they know of at once, and rely on those that never
    /// come as much as on the others.
    pub(super) fn register_guest(
        &mut self,
        args: DomainEventRegister,
    ) -> Result<(i32, Listener), WireError> {
        let of = args.domain.map(|domain| domain.uuid);
        let listener = match args.event {
            domain_event::LIFECYCLE => Listener::Guests(of),
            domain_event::REBOOT => Listener::Reboots(of),
            domain_event::METADATA_CHANGE => Listener::GuestMetadata(of),
            domain_event::DEVICE_ADDED => Listener::GuestDevices(of, DeviceEvent::Added),
            domain_event::DEVICE_REMOVED => Listener::GuestDevices(of, DeviceEvent::Removed),
            domain_event::DEVICE_REMOVAL_FAILED => {
                Listener::GuestDevices(of, DeviceEvent::RemovalFailed)
            }
            other => match NewsEvent::of(other) {
                Some(kind) => Listener::GuestNews(of, kind),
                None => Listener::Silence,
            },
        };
        Ok((self.next()?, listener))
    }

    /// Begins to send, once the client knows the number.
    pub(super) fn listen(&self, callback: i32, family: Family, listener: Listener) {
        lock(&self.listeners).insert(callback, (family, listener));
    }

    pub(super) fn forget(&self, family: Family, callback: i32) -> Result<(), WireError> {
        let mut listeners = lock(&self.listeners);
        if listeners.get(&callback).is_some_and(|(of, _)| *of == family) {
            listeners.remove(&callback);
            return Ok(());
        }
        let detail = format!("no such event callback has the number {callback}");
        Err(wire_error::invalid(ErrorDomain::Event, &detail))
    }
}

fn lock(listeners: &Mutex<Listeners>) -> std::sync::MutexGuard<'_, Listeners> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(event: i32) -> WireError {
    wire_error::invalid(ErrorDomain::Event, &format!("there is no event of kind {event}"))
}

/// What happened.
#[derive(Clone)]
enum Heard {
    Happening(Happening),
    Devices(Changes),
}

/// Where a client hears of what happens.
struct Sources {
    happenings: broadcast::Receiver<Happening>,
    changes: broadcast::Receiver<Changes>,
}

/// Puts what concerns a client into its backlog, with the newest registration at the time,
/// until the backlog is full.
async fn hear(
    mut from: Sources,
    listeners: Arc<Mutex<Listeners>>,
    backlog: mpsc::Sender<(Heard, i32)>,
    behind: Arc<Notify>,
) {
    loop {
        let heard = tokio::select! {
            what = from.happenings.recv() => what.map(Heard::Happening),
            changes = from.changes.recv() => changes.map(Heard::Devices),
        };
        let newest = lock(&listeners).last_key_value().map(|(newest, _)| *newest);
        let is_kept = match (heard, newest) {
            (Err(broadcast::error::RecvError::Closed), _) => return,
            // Who listens to nothing misses nothing.
            (_, None) => true,
            (Err(broadcast::error::RecvError::Lagged(_)), _) => false,
            (Ok(what), Some(newest)) => backlog.try_send((what, newest)).is_ok(),
        };
        if !is_kept {
            behind.notify_one();
            return;
        }
    }
}

/// Sends messages about what is in the backlog, as fast as the client reads.
async fn send(
    mut backlog: mpsc::Receiver<(Heard, i32)>,
    listeners: Arc<Mutex<Listeners>>,
    outbox: Outbox,
) {
    while let Some((what, newest)) = backlog.recv().await {
        let listeners: Vec<_> = lock(&listeners)
            .range(..=newest)
            .map(|(callback, (_, listener))| (*callback, listener.clone()))
            .collect();
        for frame in what.messages(&listeners) {
            if let Ok(bytes) = frame.encode() {
                outbox.send(bytes).await;
            }
        }
    }
}

impl Heard {
    fn messages(&self, listeners: &[(i32, Listener)]) -> Vec<Frame> {
        match self {
            Self::Happening(Happening::Decided(what)) => {
                let all = listeners.iter();
                all.filter_map(|(callback, it)| message(*callback, it, what)).collect()
            }
            Self::Happening(Happening::Heard(news)) => {
                let all = listeners.iter();
                all.filter_map(|(callback, it)| guest_news::message(*callback, it, news)).collect()
            }
            Self::Devices(changes) => changes
                .iter()
                .flat_map(|what| listeners.iter().map(move |listener| (what, listener)))
                .filter_map(|(what, (callback, it))| device_message(*callback, it, what))
                .collect(),
        }
    }
}

/// What a registration is sent of a device, if anything.
fn device_message(callback: i32, listener: &Listener, what: &DeviceChange) -> Option<Frame> {
    use node_device_lifecycle::{CREATED, DELETED};
    let device = |of: &OfDevices, name: &NodeDeviceName| {
        let wanted = of.name.as_ref().is_none_or(|of| **of == *name.as_str());
        wanted.then(|| NodeDevice { name: Text::clipped(name.as_str()) })
    };
    Some(match (listener, what) {
        (Listener::Devices(of), DeviceChange::Created(name)) => {
            let device = device(of, name)?;
            let body = NodeDeviceLifecycle { callback, device, event: CREATED, detail: 0 };
            event::<NodeDeviceEventLifecycle>(&body)
        }
        (Listener::Devices(of), DeviceChange::Deleted(name)) => {
            let device = device(of, name)?;
            let body = NodeDeviceLifecycle { callback, device, event: DELETED, detail: 0 };
            event::<NodeDeviceEventLifecycle>(&body)
        }
        (Listener::DeviceUpdates(of), DeviceChange::Updated(name)) => {
            let body = NodeDeviceUpdate { callback, device: device(of, name)? };
            event::<NodeDeviceEventUpdate>(&body)
        }
        _ => return None,
    })
}

/// What a registration is sent of an announcement, if anything.
fn message(callback: i32, listener: &Listener, what: &Announcement) -> Option<Frame> {
    use Announcement as A;
    match *listener {
        Listener::Silence
        | Listener::Devices(..)
        | Listener::DeviceUpdates(..)
        | Listener::GuestNews(..) => None,
        Listener::Networks(of) => {
            let (uuid, name, change) = match what {
                A::NetworkDefined(uuid, name) => (uuid, name, network_lifecycle::DEFINED),
                A::NetworkUndefined(uuid, name) => (uuid, name, network_lifecycle::UNDEFINED),
                A::NetworkStarted(uuid, name) => (uuid, name, network_lifecycle::STARTED),
                A::NetworkStopped(uuid, name) => (uuid, name, network_lifecycle::STOPPED),
                _ => return None,
            };
            let network = wanted(of, *uuid).then(|| network(name, *uuid))?;
            let body = NetworkLifecycle { callback, network, event: change, detail: 0 };
            Some(event::<NetworkEventLifecycle>(&body))
        }
        Listener::NetworkMetadata(of) => {
            let A::NetworkMetadataChanged(uuid, name, what) = what else { return None };
            let network = wanted(of, *uuid).then(|| network(name, *uuid))?;
            let (kind, uri) = metadata_kind(what);
            let body = NetworkMetadataChange { callback, network, kind, uri };
            Some(event::<NetworkEventMetadataChange>(&body))
        }
        Listener::Guests(of) => {
            let (uuid, name, id, change, detail) = guest_change(what)?;
            let domain = wanted(of, uuid).then(|| guest(name, uuid, id))?;
            let change = DomainLifecycleBody { domain, event: change, detail };
            Some(event::<DomainEventLifecycle>(&DomainLifecycle { callback, change }))
        }
        Listener::Reboots(of) => {
            let A::GuestReset(uuid, name, id) = what else { return None };
            let domain = wanted(of, *uuid).then(|| guest(name, *uuid, *id))?;
            Some(event::<DomainEventReboot>(&DomainRebooted { callback, domain }))
        }
        Listener::GuestMetadata(of) => {
            let A::GuestMetadataChanged(uuid, name, id, what) = what else { return None };
            let domain = wanted(of, *uuid).then(|| guest(name, *uuid, *id))?;
            let (kind, uri) = metadata_kind(what);
            let body = DomainMetadataChange { callback, domain, kind, uri };
            Some(event::<DomainEventMetadataChange>(&body))
        }
        Listener::GuestDevices(of, kind) => {
            let (uuid, name, id, alias, of_kind) = match what {
                A::DeviceAdded(uuid, name, id, alias) => {
                    (uuid, name, id, alias, DeviceEvent::Added)
                }
                A::DeviceRemoved(uuid, name, id, alias) => {
                    (uuid, name, id, alias, DeviceEvent::Removed)
                }
                A::DeviceRemovalFailed(uuid, name, id, alias) => {
                    (uuid, name, id, alias, DeviceEvent::RemovalFailed)
                }
                _ => return None,
            };
            let is_it = wanted(of, *uuid) && of_kind == kind;
            let domain = is_it.then(|| guest(name, *uuid, *id))?;
            let alias = Text::clipped(alias);
            Some(match kind {
                DeviceEvent::Removed => {
                    event::<DomainEventDeviceRemoved>(&DomainRemoved { callback, domain, alias })
                }
                DeviceEvent::Added => {
                    let body = DomainDeviceNamed { callback, domain, alias };
                    event::<DomainEventDeviceAdded>(&body)
                }
                DeviceEvent::RemovalFailed => {
                    let body = DomainDeviceNamed { callback, domain, alias };
                    event::<DomainEventDeviceRemovalFailed>(&body)
                }
            })
        }
    }
}

/// What a registration is sent of an event of the stock network daemon, if anything.
fn relayed(callback: i32, listener: &Listener, event: &RemoteEvent) -> Option<Frame> {
    match (listener, event) {
        (Listener::Networks(of), RemoteEvent::NetworkEventLifecycle(body)) => {
            let body = NetworkLifecycle { callback, ..body.clone() };
            wanted(*of, body.network.uuid).then(|| self::event::<NetworkEventLifecycle>(&body))
        }
        (Listener::NetworkMetadata(of), RemoteEvent::NetworkEventMetadataChange(body)) => {
            let body = NetworkMetadataChange { callback, ..body.clone() };
            wanted(*of, body.network.uuid).then(|| self::event::<NetworkEventMetadataChange>(&body))
        }
        _ => None,
    }
}

fn metadata_kind(what: &Metadata) -> (i32, Option<Text>) {
    match what {
        Metadata::Description => (metadata::DESCRIPTION, None),
        Metadata::Title => (metadata::TITLE, None),
        Metadata::Element(uri) => (metadata::ELEMENT, Some(Text::clipped(uri))),
    }
}

fn wanted(of: Option<Uuid>, uuid: Uuid) -> bool {
    of.is_none_or(|of| of == uuid)
}

fn network(name: &NetworkName, uuid: Uuid) -> Network {
    Network { name: Text::clipped(name.as_str()), uuid }
}

fn guest(name: &GuestName, uuid: Uuid, id: i32) -> Domain {
    Domain { name: Text::clipped(name.as_str()), uuid, id }
}

fn guest_change(what: &Announcement) -> Option<(Uuid, &GuestName, i32, i32, i32)> {
    use Announcement as A;
    Some(match what {
        A::GuestDefined(uuid, name, added) => {
            let detail = if *added { detail::DEFINED_ADDED } else { detail::DEFINED_UPDATED };
            (*uuid, name, -1, life::DEFINED, detail)
        }
        A::GuestUndefined(uuid, name) => {
            (*uuid, name, -1, life::UNDEFINED, detail::UNDEFINED_REMOVED)
        }
        A::GuestStarted(uuid, name, id) => {
            (*uuid, name, *id, life::STARTED, detail::STARTED_BOOTED)
        }
        A::GuestPaused(uuid, name, id, cause) => {
            let detail = match cause {
                Cause::IoError => detail::SUSPENDED_IOERROR,
                Cause::Watchdog => detail::SUSPENDED_WATCHDOG,
                Cause::Started | Cause::Asked | Cause::Panicked => detail::SUSPENDED_PAUSED,
            };
            (*uuid, name, *id, life::SUSPENDED, detail)
        }
        A::GuestResumed(uuid, name, id) => {
            (*uuid, name, *id, life::RESUMED, detail::RESUMED_UNPAUSED)
        }
        A::GuestShuttingDown(uuid, name, id, by_guest) => {
            let detail = if *by_guest { detail::SHUTDOWN_GUEST } else { detail::SHUTDOWN_HOST };
            (*uuid, name, *id, life::SHUTDOWN, detail)
        }
        A::GuestPanicked(uuid, name, id) => {
            (*uuid, name, *id, life::CRASHED, detail::CRASHED_PANICKED)
        }
        A::GuestStopped(uuid, name, _, ended) => {
            let detail = match ended {
                Ended::PoweredOff => detail::STOPPED_SHUTDOWN,
                Ended::Destroyed => detail::STOPPED_DESTROYED,
                Ended::Crashed(_) => detail::STOPPED_CRASHED,
                Ended::Lost => detail::STOPPED_FAILED,
            };
            (*uuid, name, -1, life::STOPPED, detail)
        }
        _ => return None,
    })
}
