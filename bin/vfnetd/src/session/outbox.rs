//! What is on its way to a client, bounded in frames and in bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Frames that wait for a client to read them.
const UNSENT: usize = 64;

/// Bytes that wait for a client to read them. A longer frame waits alone.
const UNSENT_BYTES: u32 = 1024 * 1024;

/// How long a client may take to read anything at all of what waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Where bytes for a client go.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Unsent>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    /// Given back when the bytes are with the client, or nobody sends them any more.
    _room: OwnedSemaphorePermit,
}

impl Outbox {
    /// An outbox, and the task that empties it: it ends when every clone is gone and all is
    /// sent, or when the client does not read.
    pub(super) fn start(writer: OwnedWriteHalf) -> (Self, JoinHandle<()>) {
        let (queue, unsent) = mpsc::channel(UNSENT);
        let room = Arc::new(Semaphore::new(UNSENT_BYTES as usize));
        (Self { queue, room }, tokio::spawn(write(writer, unsent)))
    }

    /// Queues bytes as soon as there is room. A client that is gone needs none.
    pub(super) async fn send(&self, bytes: Vec<u8>) {
        let room = Arc::clone(&self.room).acquire_many_owned(share(&bytes)).await;
        if let Ok(_room) = room {
            let _gone = self.queue.send(Unsent { bytes, _room }).await;
        }
    }

    /// Queues bytes if there is room, and says so.
    pub(super) fn send_if_room(&self, bytes: Vec<u8>) -> bool {
        Arc::clone(&self.room)
            .try_acquire_many_owned(share(&bytes))
            .is_ok_and(|_room| self.queue.try_send(Unsent { bytes, _room }).is_ok())
    }
}

/// What bytes take of the room.
fn share(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(UNSENT_BYTES)
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Unsent>) {
    while let Some(unsent) = queue.recv().await {
        let mut rest = unsent.bytes.as_slice();
        while !rest.is_empty() {
            match timeout(PATIENCE, writer.write(rest)).await {
                Ok(Ok(count @ 1..)) => rest = &rest[count..],
                Ok(Ok(0) | Err(_)) => return,
                Err(_) => {
                    tracing::warn!("hung up on a client that does not read its answers");
                    return;
                }
            }
        }
    }
}
