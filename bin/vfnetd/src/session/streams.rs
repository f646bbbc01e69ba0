//! Consoles that a client has open.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use vfnet_qemu::console::Console;
use vfnet_rpc::call_id::CallId;
use vfnet_rpc::stream::StreamPart;

use super::outbox::{Outbox, PATIENCE};

/// Pieces of input that wait for a guest to read them.
const UNREAD: usize = 64;

/// The most consoles that one client has open.
const MOST: usize = 16;

/// Bytes read from a console at once.
const PORTION: usize = 16 * 1024;

/// The streams of one client, by the call that opened each.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: HashMap<CallId, mpsc::Sender<StreamPart>>,
}

impl Streams {
    /// Whether the client may open another console.
    pub(super) fn has_room(&mut self) -> bool {
        self.open.retain(|_, stream| !stream.is_closed());
        self.open.len() < MOST
    }

    /// Begins to copy a console, both ways.
    pub(super) fn open(&mut self, id: CallId, console: Console, outbox: Outbox) {
        let (sender, parts) = mpsc::channel(UNREAD);
        self.open.insert(id, sender);
        tokio::spawn(copy(id, console, parts, outbox));
    }

    /// Hands a part to its stream. Parts for a stream that is over are normal; one for a guest
    /// that has not read for long is lost, so that the client's other calls go on.
    pub(super) async fn take(&mut self, id: CallId, part: StreamPart) {
        let Some(stream) = self.open.get(&id) else { return };
        if let Ok(Err(_over)) = timeout(PATIENCE, stream.send(part)).await {
            self.open.remove(&id);
        }
    }
}

async fn copy(id: CallId, console: Console, mut parts: mpsc::Receiver<StreamPart>, outbox: Outbox) {
    let (mut from_guest, mut to_guest) = tokio::io::split(console);
    let mut buffer = vec![0; PORTION];
    let mut guest_is_there = true;
    // What the guest has still to read of the last part, and how long it may take.
    let (mut typed, mut limit) = (Vec::new(), Instant::now());
    loop {
        tokio::select! {
            written = to_guest.write(&typed), if !typed.is_empty() => match written {
                Ok(count) if count > 0 => drop(typed.drain(..count)),
                _ => {
                    guest_is_there = false;
                    typed.clear();
                }
            },
            () = sleep_until(limit), if !typed.is_empty() => {
                if parts.is_closed() {
                    return;
                }
                typed.clear();
            }
            part = parts.recv(), if typed.is_empty() => match part {
                Some(StreamPart::Data(bytes)) => {
                    (typed, limit) = (bytes, Instant::now() + PATIENCE);
                }
                Some(StreamPart::NoMoreData | StreamPart::Hole(_)) => {}
                Some(StreamPart::Finish | StreamPart::Abort(_)) => {
                    if let Ok(bytes) = id.finish().encode() {
                        outbox.send(bytes).await;
                    }
                    return;
                }
                None => return,
            },
            read = from_guest.read(&mut buffer), if guest_is_there => {
                let count = read.unwrap_or(0);
                for frame in id.data(&buffer[..count]) {
                    if let Ok(bytes) = frame.encode() {
                        outbox.send(bytes).await;
                    }
                }
                if count == 0 {
                    guest_is_there = false;
                    if let Ok(bytes) = id.no_more_data().encode() {
                        outbox.send(bytes).await;
                    }
                }
            }
        }
    }
}
