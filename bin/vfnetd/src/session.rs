//! One client on one connection.
//!
//! A reader takes frames in, answers what concerns the connection itself in order, and starts a
//! task for every other call, a few at a time; calls beyond those wait, and pings are answered
//! past them. A writer sends what they produce; a client that does not read is hung up on. What
//! a client asked for goes on when it goes away, and only so much of it ([`places`]). Garbage ends
//! the connection and nothing else.

mod events;
mod outbox;
mod patience;
mod places;
mod relayed;
mod streams;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::CONNECT_RO;
use vfnet_rpc::frame::{FRAME_MAX, FrameDecoder, FrameError};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::procedures::{Access, Payload};
use vfnet_rpc::remote::{
    AuthType, Call, CloseReason, ConnectEventConnectionClosed, Feature, SetIdentityArgs,
};
use vfnet_rpc::server::{Incoming, event};
use vfnet_rpc::xdr::{List, Text};

use crate::ends_with::EndsWithClient;
use crate::listen::Listeners;
use crate::options::Config;
use crate::{Daemon, dispatch, wire_error};
use events::{Events, Family, Listener};
use outbox::Outbox;
use patience::{Due, Pace, Patience};
use places::{Place, Places};
use streams::Streams;

/// Longest frame of a client who may only read, or who has not opened its connection yet: what
/// is asked there is short, and everybody may ask.
const SHORT_FRAME: usize = 64 * 1024;

/// Frames over this many bytes are read, and served, a few at a time for all clients together.
const LARGE_FRAME: usize = 256 * 1024;

/// How many of those.
const LARGE_FRAMES: usize = 8;

/// Calls that wait behind those under way until their client is read no further.
const WAITING: usize = 8;

/// Bytes read at once.
const PORTION: usize = 16 * 1024;

/// How long what is left to be sent may take once a client has said that it goes, or has shut
/// its side of the connection.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long that may take when the daemon ends.
const SHORT_FAREWELL: Duration = Duration::from_secs(1);

/// URIs that a client may open: this daemon serves all that they promise, or answers that it
/// does not.
const URIS: [&str; 4] =
    ["qemu:///system", "network:///system", "nodedev:///system", "vfnet:///system"];

/// What sessions share.
#[derive(Clone)]
struct Reception {
    daemon: Daemon,
    places: Places,
    read_only_places: Places,
    /// Users who may only read, on whichever socket.
    readers: Arc<BTreeSet<u32>>,
    pace: Pace,
    calls: u16,
    large: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
    /// Dropped when the last client has gone.
    _there: mpsc::Sender<()>,
}

/// Serves clients until `ending` is true; returns when all have been told.
pub(crate) async fn serve(
    listeners: Listeners,
    daemon: Daemon,
    readers: BTreeSet<u32>,
    ending: watch::Receiver<bool>,
) {
    let config: &Config = &daemon.config;
    let (there, mut all_gone) = mpsc::channel(1);
    let reception = Reception {
        places: Places::new(config.max_clients.get().into(), None),
        read_only_places: Places::new(
            config.max_read_only_clients.get().into(),
            Some(config.max_read_only_clients_per_user.get().into()),
        ),
        readers: Arc::new(readers),
        pace: Pace {
            handshake: Duration::from_secs(config.handshake_timeout.get().into()),
            interval: u64::try_from(config.keepalive_interval)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            count: config.keepalive_count,
        },
        calls: config.max_client_requests.get(),
        large: Arc::new(Semaphore::new(LARGE_FRAMES)),
        ending,
        _there: there,
        daemon,
    };
    let Listeners { read_write, read_only } = listeners;
    for listener in read_write {
        tokio::spawn(accept(listener, Access::Write, reception.clone()));
    }
    accept(read_only, Access::Read, reception).await;
    // Nobody sends anything: it ends with the last sender.
    let _none = all_gone.recv().await;
}

async fn accept(listener: UnixListener, access: Access, reception: Reception) {
    let mut ending = reception.ending.clone();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => reception.receive(stream, access).await,
                Err(fault) => {
                    // Out of descriptors, most likely: others will close theirs.
                    tracing::warn!("cannot take a connection: {fault}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        _ = ending.wait_for(|ending| *ending) => {}
    }
}

impl Reception {
    /// Begins a session as soon as there is a place for it; other connections wait meanwhile in
    /// the socket's queue. Who has too many is hung up on.
    async fn receive(&self, stream: UnixStream, access: Access) {
        let Ok(peer) = stream.peer_cred() else { return };
        let uid = peer.uid();
        let only_reads = access == Access::Read || self.readers.contains(&uid);
        let place = match (access, only_reads) {
            (Access::Write, false) => self.places.take(uid).await,
            // Administrators do not wait for those who may only read.
            (Access::Write, true) => self.read_only_places.take_now(uid),
            (Access::Read, _) => self.read_only_places.take(uid).await,
        };
        let Ok(place) = place else {
            tracing::debug!(uid, "hung up on a client that has too many connections");
            return;
        };
        let access = if only_reads { Access::Read } else { Access::Write };
        tokio::spawn(Session::run(stream, access, uid, self.clone(), place));
    }

    fn places_of(&self, access: Access) -> &Places {
        match access {
            Access::Write => &self.places,
            Access::Read => &self.read_only_places,
        }
    }
}

/// A frame that has arrived, and its share of large frames.
struct Arrived {
    incoming: Incoming,
    large: Option<OwnedSemaphorePermit>,
}

struct Session {
    reception: Reception,
    daemon: Daemon,
    /// What it may do; less than its socket allows, if it wants that.
    access: Access,
    /// Where its place is from.
    places: Places,
    uid: u32,
    uri: Option<String>,
    outbox: Outbox,
    calls: Arc<Semaphore>,
    waiting: VecDeque<Arrived>,
    patience: Patience,
    decoder: FrameDecoder,
    /// For the frame that is arriving, if it is a large one.
    large: Option<OwnedSemaphorePermit>,
    events: Events,
    streams: Streams,
    /// Whether the client wants to be told why the connection ends.
    wants_to_know: bool,
}

/// Whether the connection goes on.
enum Next {
    Read,
    /// Not until a call that is under way has ended.
    Later(Arrived),
    HangUp,
}

/// How a connection ends.
enum End {
    /// The client has said so, or has shut its side.
    Left,
    /// There is nobody to send anything to, or nobody who deserves it.
    HungUp(String),
    /// The daemon ends.
    DaemonEnds,
}

impl Session {
    async fn run(stream: UnixStream, access: Access, uid: u32, reception: Reception, place: Place) {
        let (reader, writer) = stream.into_split();
        let (outbox, mut writing) = Outbox::start(writer);
        let ends_with = EndsWithClient::default();
        let caller = reader.as_ref().peer_cred().ok();
        let daemon = Daemon { ends_with, caller, ..reception.daemon.clone() };
        let mut session = Self {
            events: Events::start(&daemon, outbox.clone()),
            calls: Arc::new(Semaphore::new(reception.calls.into())),
            patience: Patience::new(reception.pace, Instant::now()),
            decoder: FrameDecoder::limited(SHORT_FRAME),
            waiting: VecDeque::new(),
            large: None,
            streams: Streams::default(),
            wants_to_know: false,
            uri: None,
            places: reception.places_of(access).clone(),
            daemon,
            reception,
            access,
            uid,
            outbox,
        };
        tracing::debug!(uid, ?access, "client connected");
        let end = session.serve(&reader, &mut writing).await;
        let limit = match end {
            End::DaemonEnds => {
                session.say_why(CloseReason::Eof);
                SHORT_FAREWELL
            }
            End::Left if hears_nothing(&reader) => Duration::ZERO,
            End::Left => FAREWELL,
            End::HungUp(why) => {
                tracing::debug!(uid, "hung up on a client: {why}");
                Duration::ZERO
            }
        };
        // What is queued, and what calls under way bring, is still sent: the writer ends when
        // the last of them is done. They go on without it, too.
        let there = session.reception._there.clone();
        let (calls, most) = (Arc::clone(&session.calls), session.reception.calls);
        session.daemon.ends_with.client_is_gone(&session.daemon.engine);
        drop(session);
        if !writing.is_finished() && timeout(limit, &mut writing).await.is_err() {
            writing.abort();
        }
        drop(there);
        place.leave(&calls, most).await;
    }

    fn say_why(&self, reason: CloseReason) {
        if self.wants_to_know {
            let closed = event::<ConnectEventConnectionClosed>(&reason.number());
            let is_sent = closed.encode().is_ok_and(|bytes| self.outbox.send_if_room(bytes));
            if !is_sent {
                tracing::debug!(self.uid, "a client that does not read was not told why");
            }
        }
    }

    async fn serve(&mut self, reader: &OwnedReadHalf, writing: &mut JoinHandle<()>) -> End {
        let mut ending = self.reception.ending.clone();
        loop {
            match self.begin_arrived().await {
                Ok(Next::HangUp) => return End::Left,
                Ok(_) => {}
                Err(fault) => return End::HungUp(fault.to_string()),
            }
            let now = Instant::now();
            let is_full = self.waiting.len() >= WAITING;
            let is_large = self.decoder.pending() > LARGE_FRAME && self.large.is_none();
            if is_full || is_large {
                // It cannot be heard, which is not its silence.
                self.patience.heard(now);
            }
            self.patience.in_frame(self.decoder.pending() > 0);
            let look = self.patience.next(now);
            tokio::select! {
                // Whatever the client has to say comes before what its silence calls for.
                biased;
                _ = ending.wait_for(|ending| *ending) => return End::DaemonEnds,
                _ = &mut *writing => return End::HungUp("it does not read".to_owned()),
                () = self.events.behind() => {
                    return End::HungUp("it is too far behind with its events".to_owned());
                }
                _ = Arc::clone(&self.calls).acquire_owned(), if !self.waiting.is_empty() => {}
                ready = reader.readable(), if !is_full && !is_large => {
                    match ready.and_then(|()| self.read(reader)) {
                        Ok(true) => {}
                        Ok(false) => return End::Left,
                        Err(fault) => return End::HungUp(fault.to_string()),
                    }
                }
                // Nothing is of priority here: this is the other side's end.
                _ = reader.ready(Interest::PRIORITY), if is_full || is_large => return End::Left,
                large = Arc::clone(&self.reception.large).acquire_owned(), if is_large => {
                    self.large = large.ok();
                }
                () = sleep_until(look.unwrap_or(now)), if look.is_some() => {
                    let now = Instant::now();
                    let crowded = self.places.are_scarce(now);
                    match self.patience.due(now, crowded) {
                        Due::Nothing => {}
                        Due::Ping => {
                            let ping = Keepalive::Ping.frame().encode();
                            if !ping.is_ok_and(|ping| self.outbox.send_if_room(ping)) {
                                // It has other things to read before.
                                self.patience.heard(now);
                            }
                        }
                        Due::HangUp(why) => return End::HungUp(why.to_owned()),
                    }
                }
            }
        }
    }

    /// Takes what has come; false at the end of what will come.
    fn read(&mut self, reader: &OwnedReadHalf) -> io::Result<bool> {
        let mut portion = [0; PORTION];
        match reader.try_read(&mut portion) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.patience.heard(Instant::now());
                self.decoder.feed(&portion[..count]);
                Ok(true)
            }
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    /// Begins what has arrived, in its order, as far as there is room.
    async fn begin_arrived(&mut self) -> Result<Next, FrameError> {
        loop {
            while let Some(arrived) = self.waiting.pop_front() {
                match self.take(arrived).await {
                    Next::Read => {}
                    Next::Later(arrived) => {
                        self.waiting.push_front(arrived);
                        break;
                    }
                    Next::HangUp => return Ok(Next::HangUp),
                }
            }
            if self.waiting.len() >= WAITING {
                return Ok(Next::Read);
            }
            let Some(frame) = self.decoder.next_frame()? else { return Ok(Next::Read) };
            let large = self.large.take();
            match Incoming::from(frame) {
                // At once, however many calls wait.
                Incoming::Keepalive(Keepalive::Ping) => {
                    if let Ok(pong) = Keepalive::Pong.frame().encode() {
                        self.outbox.send(pong).await;
                    }
                }
                Incoming::Keepalive(Keepalive::Pong) => {}
                incoming => self.waiting.push_back(Arrived { incoming, large }),
            }
        }
    }

    async fn take(&mut self, arrived: Arrived) -> Next {
        let Arrived { incoming, large } = arrived;
        match incoming {
            Incoming::Keepalive(_) => Next::Read,
            Incoming::Refused(id, error) => self.refuse(id, error).await,
            Incoming::Stream(id, part) => {
                self.streams.take(id, part).await;
                Next::Read
            }
            Incoming::Unexpected(_) => Next::HangUp,
            Incoming::Remote(id, call) => self.remote(id, call, large).await,
            Incoming::Vfnet(id, call) => {
                if self.uri.is_none() {
                    return self.refuse(id, not_open()).await;
                }
                if self.access == Access::Read && call.access() == Access::Write {
                    return self.refuse(id, WireError::read_only(call.facts().name)).await;
                }
                let Ok(place) = Arc::clone(&self.calls).try_acquire_owned() else {
                    return Next::Later(Arrived { incoming: Incoming::Vfnet(id, call), large });
                };
                let daemon = self.daemon.clone();
                self.spawn(id, (place, large), async move { dispatch::own(&daemon, call).await });
                Next::Read
            }
            Incoming::Qemu(id, call) => {
                if self.uri.is_none() {
                    return self.refuse(id, not_open()).await;
                }
                if self.access == Access::Read && call.access() == Access::Write {
                    return self.refuse(id, WireError::read_only(call.facts().name)).await;
                }
                let Ok(place) = Arc::clone(&self.calls).try_acquire_owned() else {
                    return Next::Later(Arrived { incoming: Incoming::Qemu(id, call), large });
                };
                let daemon = self.daemon.clone();
                self.spawn(id, (place, large), async move { dispatch::qemu(&daemon, call).await });
                Next::Read
            }
        }
    }

    /// Root says for whom it asks: whoever may only read does not write by way of another daemon.
    fn act_for(&mut self, identity: &SetIdentityArgs) {
        let uid = identity.params.iter().find(|param| &*param.field == "unix-user-id");
        let Some(uid) = uid.and_then(|param| param.value.as_u64()) else { return };
        tracing::debug!(uid, "a client of another daemon");
        if u32::try_from(uid).is_ok_and(|uid| self.reception.readers.contains(&uid)) {
            self.access = Access::Read;
        }
    }

    async fn refuse(&self, id: CallId, error: WireError) -> Next {
        self.outbox.send(id.answer(Err(error))).await;
        Next::Read
    }

    /// Answers a registration for events, and only then lets them come.
    async fn register(
        &self,
        id: CallId,
        family: Family,
        registered: Result<(i32, Listener), WireError>,
        answer: impl FnOnce(i32) -> Payload,
    ) -> Next {
        let (callback, listener) = match registered {
            Ok(registered) => registered,
            Err(error) => return self.refuse(id, error).await,
        };
        self.outbox.send(id.answer(Ok(answer(callback)))).await;
        self.events.listen(callback, family, listener);
        Next::Read
    }

    /// Serves a call beside others, in its place.
    fn spawn(
        &self,
        id: CallId,
        place: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
        serve: impl Future<Output = dispatch::Outcome> + Send + 'static,
    ) {
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            outbox.send(id.answer(serve.await)).await;
            drop(place);
        });
    }

    async fn remote(
        &mut self,
        id: CallId,
        call: Call,
        large: Option<OwnedSemaphorePermit>,
    ) -> Next {
        let rpc = |detail: &str| WireError::new(ErrorDomain::Rpc, ErrorCode::InternalError, detail);
        // What concerns the connection itself is served in order.
        let outcome = match call {
            Call::AuthList((), answer) => {
                Ok(answer.with(&List::new(vec![AuthType::None.number()]).unwrap_or_default()))
            }
            Call::ConnectSupportsFeature(number, answer) => {
                let feature = Feature::from_number(number).filter(|it| is_served(*it));
                if feature == Some(Feature::ProgramKeepalive) {
                    self.patience.wants_pings();
                }
                Ok(answer.with(&i32::from(feature.is_some())))
            }
            Call::ConnectOpen(args, answer) => {
                let name = args.name.map_or_else(|| URIS[0].to_owned(), Text::into_string);
                if self.uri.is_some() {
                    Err(rpc("connection already open"))
                } else if URIS.contains(&name.as_str()) {
                    self.uri = Some(name);
                    self.patience.opened();
                    if args.flags & CONNECT_RO != 0 {
                        self.access = Access::Read;
                    }
                    if self.access == Access::Write {
                        self.decoder.allow(FRAME_MAX);
                    }
                    Ok(answer.done())
                } else {
                    Err(rpc(&format!(
                        "unexpected URI '{name}': this daemon serves {}",
                        URIS.join(", ")
                    )))
                }
            }
            Call::ConnectClose((), answer) => {
                self.outbox.send(id.answer(Ok(answer.done()))).await;
                return Next::HangUp;
            }
            call if self.uri.is_none() => {
                tracing::debug!(name = call.facts().name, "called before CONNECT_OPEN");
                Err(not_open())
            }
            call if self.access == Access::Read && call.access() == Access::Write => {
                Err(WireError::read_only(call.facts().name))
            }
            Call::ConnectGetUri((), answer) => {
                Ok(answer.with(&Text::clipped(self.uri.as_deref().unwrap_or_default())))
            }
            Call::ConnectRegisterCloseCallback((), answer) => {
                self.wants_to_know = true;
                Ok(answer.done())
            }
            Call::ConnectUnregisterCloseCallback((), answer) => {
                self.wants_to_know = false;
                Ok(answer.done())
            }
            Call::ConnectSetIdentity(args, answer) => match self.uid {
                0 => {
                    self.act_for(&args);
                    Ok(answer.done())
                }
                _ => Err(WireError::new(
                    ErrorDomain::Access,
                    ErrorCode::AccessDenied,
                    "only root may act for somebody else",
                )),
            },
            Call::ConnectNetworkEventRegisterAny(args, answer) => {
                self.events.relay(&self.daemon.upstream).await;
                let registered = self.events.register_network(args);
                let answer = |callback| answer.with(&callback);
                return self.register(id, Family::Network, registered, answer).await;
            }
            Call::ConnectNodeDeviceEventRegisterAny(args, answer) => {
                let registered = self.events.register_node_device(&self.daemon, args).await;
                let answer = |callback| answer.with(&callback);
                return self.register(id, Family::NodeDevice, registered, answer).await;
            }
            Call::ConnectDomainEventCallbackRegisterAny(args, answer) => {
                let registered = self.events.register_guest(args);
                let answer = |callback| answer.with(&callback);
                return self.register(id, Family::Guest, registered, answer).await;
            }
            Call::ConnectNetworkEventDeregisterAny(args, answer) => {
                self.events.forget(Family::Network, args.callback).map(|()| answer.done())
            }
            Call::ConnectNodeDeviceEventDeregisterAny(args, answer) => {
                self.events.forget(Family::NodeDevice, args.callback).map(|()| answer.done())
            }
            Call::ConnectDomainEventCallbackDeregisterAny(args, answer) => {
                self.events.forget(Family::Guest, args.callback).map(|()| answer.done())
            }
            Call::DomainOpenConsole(..) if !self.streams.has_room() => {
                Err(rpc("this connection has as many consoles open as one may have"))
            }
            Call::DomainOpenConsole(args, answer) => {
                let opened = dispatch::guest::open_console(&self.daemon, &args).await;
                match opened {
                    Ok(console) => {
                        self.outbox.send(id.answer(Ok(answer.done()))).await;
                        self.streams.open(id, console, self.outbox.clone());
                        return Next::Read;
                    }
                    Err(error) => Err(error),
                }
            }
            call => {
                let Ok(place) = Arc::clone(&self.calls).try_acquire_owned() else {
                    return Next::Later(Arrived { incoming: Incoming::Remote(id, call), large });
                };
                let daemon = self.daemon.clone();
                let served = async move { dispatch::remote(&daemon, call).await };
                self.spawn(id, (place, large), served);
                return Next::Read;
            }
        };
        self.outbox.send(id.answer(outcome)).await;
        Next::Read
    }
}

/// Which features of the protocol are there. Passing descriptors is not: nothing needs it.
fn is_served(feature: Feature) -> bool {
    feature != Feature::FdPassing
}

/// Whether a client that sends no more has closed the connection altogether.
fn hears_nothing(reader: &OwnedReadHalf) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(reader.as_ref(), PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

fn not_open() -> WireError {
    wire_error::invalid(ErrorDomain::Rpc, "the connection is not open: CONNECT_OPEN comes first")
}
