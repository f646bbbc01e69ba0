//! One connection to the stock network daemon: several calls in flight, answers by serial.
//!
//! It ends with its last handle, or when the daemon hangs up or sends what is no frame; calls
//! that wait then learn that it is lost. It has no patience of its own: whoever asks sets a
//! limit, and an answer that comes after it is dropped.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use vfnet_rpc::client::{Received, Reply, ReplyError, call};
use vfnet_rpc::frame::{Frame, FrameDecoder, FrameError};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::procedures::Procedure;
use vfnet_rpc::remote::{
    AuthList, AuthType, ConnectGetType, ConnectOpen, ConnectOpenArgs, RemoteEvent,
};
use vfnet_rpc::xdr::Text;

/// What a network daemon serves under this name, a daemon for everything serves too.
const URI: &str = "network:///system";

/// What a stock daemon says it is when it was opened by [`URI`] (libvirt: the network driver's
/// name).
const DRIVER: &str = "network";

/// Calls that wait until the daemon reads them.
const UNSENT: usize = 16;

/// Why the stock network daemon cannot be asked. The socket's path is for whoever reports it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("it is vfnetd itself that listens there")]
    Itself,
    #[error("it wants authentication; for root there must be none")]
    Authentication,
    #[error("it does not open {URI}")]
    Open(#[source] ReplyError),
    #[error("it is of type '{0}', not a stock network daemon")]
    NotStock(String),
    #[error("a call is too long")]
    Call(#[source] FrameError),
    #[error("it has hung up")]
    Lost,
}

/// Calls that are under way; `None` once the connection is lost.
type Waiting = Arc<Mutex<Option<HashMap<u32, oneshot::Sender<Reply>>>>>;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    unsent: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    last: AtomicU32,
    reading: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A call's place among those that wait, given up when nobody waits any more.
struct Place<'a> {
    waiting: &'a Waiting,
    serial: u32,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = lock(self.waiting).as_mut() {
            waiting.remove(&self.serial);
        }
    }
}

impl Connection {
    /// Connects and greets. Events go to `events`, and the daemon's next words wait until they
    /// are taken.
    pub(super) async fn open(
        socket: &Path,
        events: mpsc::Sender<RemoteEvent>,
    ) -> Result<Self, ConnectionError> {
        let stream = UnixStream::connect(socket).await.map_err(ConnectionError::Connect)?;
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        if peer.and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) {
            return Err(ConnectionError::Itself);
        }
        let (reader, writer) = stream.into_split();
        let (unsent, queue) = mpsc::channel(UNSENT);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(write(writer, queue));
        let reading = Reader { waiting: Arc::clone(&waiting), pongs: unsent.downgrade(), events };
        let reading = tokio::spawn(reading.run(reader)).abort_handle();
        let connection = Self { unsent, waiting, last: AtomicU32::new(0), reading };
        connection.greet().await?;
        Ok(connection)
    }

    async fn greet(&self) -> Result<(), ConnectionError> {
        let types = self.call::<AuthList>(&()).await?.map_err(ConnectionError::Open)?;
        if !types.contains(&AuthType::None.number()) {
            return Err(ConnectionError::Authentication);
        }
        let args = ConnectOpenArgs { name: Some(Text::clipped(URI)), flags: 0 };
        self.call::<ConnectOpen>(&args).await?.map_err(ConnectionError::Open)?;
        // Another vfnetd might come back to this one with what it is asked.
        let kind = self.call::<ConnectGetType>(&()).await?.map_err(ConnectionError::Open)?;
        if &*kind != DRIVER {
            return Err(ConnectionError::NotStock(kind.into_string()));
        }
        Ok(())
    }

    /// Calls a procedure.
    pub(super) async fn call<P: Procedure>(
        &self,
        args: &P::Args,
    ) -> Result<Result<P::Reply, ReplyError>, ConnectionError> {
        Ok(self.ask(|serial| call::<P>(serial, args)).await?.of::<P>())
    }

    /// Sends a call, which `frame` makes of the serial that it is given, and waits for the
    /// answer.
    pub(super) async fn ask(
        &self,
        frame: impl FnOnce(u32) -> Frame,
    ) -> Result<Reply, ConnectionError> {
        let serial = self.last.fetch_add(1, Ordering::Relaxed);
        let bytes = frame(serial).encode().map_err(ConnectionError::Call)?;
        let (sender, answer) = oneshot::channel();
        match lock(&self.waiting).as_mut() {
            Some(waiting) => waiting.insert(serial, sender),
            None => return Err(ConnectionError::Lost),
        };
        let _place = Place { waiting: &self.waiting, serial };
        self.unsent.send(bytes).await.map_err(|_| ConnectionError::Lost)?;
        answer.await.map_err(|_| ConnectionError::Lost)
    }

    /// Whether it can be used no more.
    pub(super) fn is_lost(&self) -> bool {
        lock(&self.waiting).is_none()
    }
}

fn lock(
    waiting: &Mutex<Option<HashMap<u32, oneshot::Sender<Reply>>>>,
) -> MutexGuard<'_, Option<HashMap<u32, oneshot::Sender<Reply>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    waiting: Waiting,
    /// Weak, so that the writer ends with the connection.
    pongs: mpsc::WeakSender<Vec<u8>>,
    events: mpsc::Sender<RemoteEvent>,
}

impl Reader {
    async fn run(self, mut socket: OwnedReadHalf) {
        let mut decoder = FrameDecoder::new();
        let mut portion = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = socket.read(&mut portion).await {
            decoder.feed(&portion[..count]);
            if let Err(fault) = self.take(&mut decoder).await {
                let why = vfnet_model::explain(&fault);
                tracing::warn!("hung up on the stock network daemon: {why}");
                break;
            }
        }
        // Whoever waits finds the other end gone.
        *lock(&self.waiting) = None;
    }

    async fn take(&self, decoder: &mut FrameDecoder) -> Result<(), FrameError> {
        while let Some(frame) = decoder.next_frame()? {
            match Received::from(frame) {
                Received::Reply(id, reply) => {
                    let waiting = lock(&self.waiting).as_mut().and_then(|w| w.remove(&id.serial));
                    if let Some(waiting) = waiting {
                        // Its time may have run out at this moment.
                        let _late = waiting.send(reply);
                    }
                }
                Received::Event(event) => {
                    // Nobody listens on a connection that is for calls.
                    let _unheard = self.events.send(event).await;
                }
                Received::Keepalive(Keepalive::Ping) => {
                    let pong = Keepalive::Pong.frame().encode()?;
                    if let Some(queue) = self.pongs.upgrade() {
                        // A full queue is word enough that this side lives.
                        let _full = queue.try_send(pong);
                    }
                }
                Received::Keepalive(Keepalive::Pong)
                | Received::Stream(..)
                | Received::Unexpected(_) => {}
            }
        }
        Ok(())
    }
}

/// Sends whole frames, also those that nobody waits for any more: half a frame would spoil the
/// rest.
async fn write(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
