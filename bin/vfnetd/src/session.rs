//! One client on one connection.
//!
//! A reader takes frames in, answers what concerns the connection itself in order, and starts a
//! task for every other call, a few at a time. A writer sends what they produce; a client that
//! does not read is hung up on. What a client asked for goes on when it goes away. Garbage ends
//! the connection and nothing else.

mod events;
mod streams;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::frame::FrameDecoder;
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::procedures::{Access, Payload};
use vfnet_rpc::remote::{AuthType, Call, Feature};
use vfnet_rpc::server::Incoming;
use vfnet_rpc::xdr::{List, Text};

use crate::listen::Listeners;
use crate::{Daemon, dispatch, wire_error};
use events::{Events, Listener};
use streams::Streams;

/// Connections at once of those who may change things.
const CLIENTS: usize = 512;

/// Connections at once of everybody else; whoever takes them all keeps no administrator out.
const READ_ONLY_CLIENTS: usize = 256;

/// Longest frame of a client who may only read: what is asked there is short, and everybody may
/// ask.
const READ_ONLY_FRAME: usize = 64 * 1024;

/// Calls of one client under way at once (libvirt: `max_client_requests`).
const CALLS: usize = 5;

/// Frames that wait for a client to read them.
const UNSENT: usize = 64;

/// How long a client may take to read a frame.
const PATIENCE: Duration = Duration::from_secs(30);

/// URIs that a client may open: this daemon serves all that they promise, or answers that it
/// does not.
const URIS: [&str; 4] =
    ["qemu:///system", "network:///system", "nodedev:///system", "vfnet:///system"];

/// Serves clients until the task is dropped.
pub(crate) async fn serve(listeners: Listeners, daemon: Daemon) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    let read_only_places = Arc::new(Semaphore::new(READ_ONLY_CLIENTS));
    let Listeners { read_write, read_only } = listeners;
    for listener in read_write {
        tokio::spawn(accept(listener, Access::Write, daemon.clone(), Arc::clone(&places)));
    }
    accept(read_only, Access::Read, daemon, read_only_places).await;
}

async fn accept(listener: UnixListener, access: Access, daemon: Daemon, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    Session::run(stream, access, daemon).await;
                    drop(place);
                });
            }
            Err(fault) => {
                // Out of descriptors, most likely: others will close theirs.
                tracing::warn!("cannot take a connection: {fault}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Where bytes for a client go.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(mpsc::Sender<Vec<u8>>);

impl Outbox {
    /// Queues bytes. A client that is gone needs none.
    pub(crate) async fn send(&self, bytes: Vec<u8>) {
        let _gone = self.0.send(bytes).await;
    }
}

struct Session {
    daemon: Daemon,
    access: Access,
    uid: Option<u32>,
    uri: Option<String>,
    outbox: Outbox,
    calls: Arc<Semaphore>,
    events: Events,
    streams: Streams,
}

/// Whether the connection goes on.
enum Next {
    Read,
    HangUp,
}

impl Session {
    async fn run(stream: UnixStream, access: Access, daemon: Daemon) {
        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
        let (reader, writer) = stream.into_split();
        let (sender, receiver) = mpsc::channel(UNSENT);
        let writing = tokio::spawn(write(writer, receiver));
        let outbox = Outbox(sender);
        let events = Events::start(&daemon, outbox.clone());
        let session = Self {
            daemon,
            access,
            uid,
            uri: None,
            outbox,
            calls: Arc::new(Semaphore::new(CALLS)),
            events,
            streams: Streams::default(),
        };
        tracing::debug!(?uid, ?access, "client connected");
        if let Err(fault) = session.read(reader, &writing).await {
            tracing::debug!(?uid, "hung up on a client: {fault}");
        }
        // What is queued is still sent, then the writer finds its queue closed.
    }

    async fn read(
        mut self,
        mut reader: OwnedReadHalf,
        writing: &tokio::task::JoinHandle<()>,
    ) -> io::Result<()> {
        let mut decoder = match self.access {
            Access::Write => FrameDecoder::new(),
            Access::Read => FrameDecoder::limited(READ_ONLY_FRAME),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = reader.read(&mut buffer).await?;
            if count == 0 || writing.is_finished() {
                return Ok(());
            }
            decoder.feed(&buffer[..count]);
            while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
                if let Next::HangUp = self.take(Incoming::from(frame)).await {
                    return Ok(());
                }
            }
        }
    }

    async fn take(&mut self, incoming: Incoming) -> Next {
        match incoming {
            Incoming::Keepalive(Keepalive::Ping) => {
                if let Ok(pong) = Keepalive::Pong.frame().encode() {
                    self.outbox.send(pong).await;
                }
                Next::Read
            }
            Incoming::Keepalive(Keepalive::Pong) => Next::Read,
            Incoming::Refused(id, error) => {
                self.outbox.send(id.answer(Err(error))).await;
                Next::Read
            }
            Incoming::Stream(id, part) => {
                self.streams.take(id, part).await;
                Next::Read
            }
            Incoming::Unexpected(_) => Next::HangUp,
            Incoming::Remote(id, call) => self.remote(id, call).await,
            Incoming::Vfnet(id, call) => {
                if self.uri.is_none() {
                    return self.refuse(id, not_open()).await;
                }
                if self.access == Access::Read && call.access() == Access::Write {
                    return self.refuse(id, WireError::read_only(call.facts().name)).await;
                }
                let daemon = self.daemon.clone();
                self.spawn(id, async move { dispatch::own(&daemon, call).await }).await
            }
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
        registered: Result<(i32, Listener), WireError>,
        answer: impl FnOnce(i32) -> Payload,
    ) -> Next {
        let (callback, listener) = match registered {
            Ok(registered) => registered,
            Err(error) => return self.refuse(id, error).await,
        };
        self.outbox.send(id.answer(Ok(answer(callback)))).await;
        self.events.listen(callback, listener);
        Next::Read
    }

    /// Serves a call beside others; the reader waits when there are too many.
    async fn spawn(
        &self,
        id: CallId,
        serve: impl Future<Output = dispatch::Outcome> + Send + 'static,
    ) -> Next {
        let Ok(place) = Arc::clone(&self.calls).acquire_owned().await else { return Next::HangUp };
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            outbox.send(id.answer(serve.await)).await;
            drop(place);
        });
        Next::Read
    }

    async fn remote(&mut self, id: CallId, call: Call) -> Next {
        let rpc = |detail: &str| WireError::new(ErrorDomain::Rpc, ErrorCode::InternalError, detail);
        // What concerns the connection itself is served in order.
        let outcome = match call {
            Call::AuthList((), answer) => {
                Ok(answer.with(&List::new(vec![AuthType::None.number()]).unwrap_or_default()))
            }
            Call::ConnectSupportsFeature(number, answer) => {
                Ok(answer.with(&i32::from(is_served(number))))
            }
            Call::ConnectOpen(args, answer) => {
                let name = args.name.map_or_else(|| URIS[0].to_owned(), Text::into_string);
                if self.uri.is_some() {
                    Err(rpc("connection already open"))
                } else if URIS.contains(&name.as_str()) {
                    self.uri = Some(name);
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
            Call::ConnectRegisterCloseCallback((), answer) => Ok(answer.done()),
            Call::ConnectUnregisterCloseCallback((), answer) => Ok(answer.done()),
            Call::ConnectSetIdentity(_, answer) => match self.uid {
                Some(0) => Ok(answer.done()),
                _ => Err(WireError::new(
                    ErrorDomain::Access,
                    ErrorCode::AccessDenied,
                    "only root may act for somebody else",
                )),
            },
            Call::ConnectNetworkEventRegisterAny(args, answer) => {
                let registered = self.events.register_network(args);
                return self.register(id, registered, |callback| answer.with(&callback)).await;
            }
            Call::ConnectNodeDeviceEventRegisterAny(args, answer) => {
                let registered = self.events.register_node_device(&args);
                return self.register(id, registered, |callback| answer.with(&callback)).await;
            }
            Call::ConnectDomainEventCallbackRegisterAny(args, answer) => {
                let registered = Ok(self.events.register_guest(args));
                return self.register(id, registered, |callback| answer.with(&callback)).await;
            }
            Call::ConnectNetworkEventDeregisterAny(args, answer) => {
                self.events.forget(args.callback).map(|()| answer.done())
            }
            Call::ConnectNodeDeviceEventDeregisterAny(args, answer) => {
                self.events.forget(args.callback).map(|()| answer.done())
            }
            Call::ConnectDomainEventCallbackDeregisterAny(args, answer) => {
                self.events.forget(args.callback).map(|()| answer.done())
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
                let daemon = self.daemon.clone();
                return self.spawn(id, async move { dispatch::remote(&daemon, call).await }).await;
            }
        };
        self.outbox.send(id.answer(outcome)).await;
        Next::Read
    }
}

/// Which features of the protocol are there. Passing descriptors is not: nothing needs it.
fn is_served(number: i32) -> bool {
    Feature::from_number(number).is_some_and(|feature| feature != Feature::FdPassing)
}

fn not_open() -> WireError {
    wire_error::invalid(ErrorDomain::Rpc, "the connection is not open: CONNECT_OPEN comes first")
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        match timeout(PATIENCE, writer.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::warn!("hung up on a client that does not read its answers");
                return;
            }
        }
    }
}
