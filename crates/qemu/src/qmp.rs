//! QEMU's monitor (QMP): a small client that keeps what it does not know.
//!
//! [`Lines`] turns bytes into [`Message`]s and does no I/O; [`Qmp`] is a connection. Facts are
//! from QEMU's `docs/interop/qmp-spec.rst`: one JSON object per line, a greeting first,
//! `qmp_capabilities` before any other command, answers carry the command's `id`, events come at
//! any time. A QMP socket serves one client at a time; a second one waits for its greeting.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Bytes of one line at most. The longest answers asked for (`query-chardev`) have a few
/// kilobytes. What is read from a line may take sixteen times its bytes.
pub const LINE_BYTES: usize = 256 << 10;
/// Bytes of an event's line above which only its name is kept. The longest that QEMU sends have a
/// few hundred.
pub const EVENT_BYTES: usize = 2 << 10;
/// Bytes of an event's name that are kept; QEMU has none as long.
const NAME_BYTES: usize = 64;
/// Bytes read at once: the messages in them are there together.
const PORTION: usize = 8 << 10;
/// What is read of a monitor within [`WHILE`]: bytes, and [`OF_A_MESSAGE`] more for each message.
/// QEMU says a few lines a second; one that its guest has taken over may talk without end, and then
/// waits.
const SPENT: usize = 1 << 20;
/// See [`SPENT`].
const OF_A_MESSAGE: usize = 4 << 10;
/// See [`SPENT`].
const WHILE: Duration = Duration::from_millis(100);
/// Lines without sense after which a connection is given up.
const BAD_LINES: u32 = 100;
/// Events that wait for being taken; then QEMU waits.
const EVENTS: usize = 4;
/// Commands that wait for their answers at once; others have to wait for those.
const COMMANDS: usize = 16;

/// What a line from QEMU says.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// The first line.
    Greeting {
        /// `QMP` as given: version, capabilities.
        qmp: Value,
    },
    /// A command has been carried out.
    Return {
        /// The command's id.
        id: Option<u64>,
        /// Its result.
        value: Value,
    },
    /// A command has failed.
    Error {
        /// The command's id; none when QEMU could not read the command.
        id: Option<u64>,
        /// QEMU's words.
        error: Refusal,
    },
    /// Something happened.
    Event(QmpEvent),
}

/// An event, known or not.
#[derive(Clone, PartialEq, Debug)]
pub struct QmpEvent {
    /// Its name, as `SHUTDOWN`.
    pub name: String,
    /// What comes with it; null when nothing does, or more than [`EVENT_BYTES`].
    pub data: Value,
}

/// QEMU's answer to a command that it does not carry out.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, thiserror::Error)]
#[error("{desc} ({class})")]
pub struct Refusal {
    /// `GenericError`, `CommandNotFound`, `DeviceNotFound`, ….
    pub class: String,
    /// What QEMU says.
    pub desc: String,
}

/// A line that is no message.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// More than [`LINE_BYTES`]; dropped up to its end.
    #[error("the monitor sent a line of more than {LINE_BYTES} bytes")]
    TooLong,
    /// No JSON.
    #[error("the monitor sent what is no JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but nothing that the protocol knows.
    #[error("the monitor sent what is no message: {start}")]
    Unknown {
        /// How it begins.
        start: String,
    },
}

/// Bytes in, messages out. Holds at most one line.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    skipping: bool,
    ready: VecDeque<Result<Message, BadLine>>,
}

impl Lines {
    /// Takes what came from the socket.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.partial);
            if !std::mem::take(&mut self.skipping) && !line.trim_ascii().is_empty() {
                self.ready.push_back(message(&line));
            }
        }
        self.extend(bytes);
    }

    /// The next whole line's message.
    pub fn next_message(&mut self) -> Option<Result<Message, BadLine>> {
        self.ready.pop_front()
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        if self.partial.len() + bytes.len() > LINE_BYTES {
            self.partial = Vec::new();
            self.skipping = true;
            self.ready.push_back(Err(BadLine::TooLong));
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }
}

fn message(line: &[u8]) -> Result<Message, BadLine> {
    let mut object: Map<String, Value> = serde_json::from_slice(line).map_err(BadLine::Json)?;
    let id = object.get("id").and_then(Value::as_u64);
    if let Some(Value::String(mut name)) = object.remove("event") {
        let mut data = object.remove("data").unwrap_or(Value::Null);
        if line.len() > EVENT_BYTES {
            name = name[..name.floor_char_boundary(NAME_BYTES)].to_owned();
            data = Value::Null;
        }
        return Ok(Message::Event(QmpEvent { name, data }));
    }
    if let Some(value) = object.remove("return") {
        return Ok(Message::Return { id, value });
    }
    if let Some(error) = object.remove("error")
        && let Ok(error) = Refusal::deserialize(error)
    {
        return Ok(Message::Error { id, error });
    }
    if let Some(qmp) = object.remove("QMP") {
        return Ok(Message::Greeting { qmp });
    }
    let start = String::from_utf8_lossy(line).chars().take(80).collect();
    Err(BadLine::Unknown { start })
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// QEMU refused it.
    #[error("QEMU refused {command}")]
    Refused {
        /// The command.
        command: &'static str,
        /// QEMU's words.
        source: Refusal,
    },
    /// The connection ended: QEMU is gone, or talked nonsense.
    #[error("the connection to QEMU's monitor has ended")]
    Closed,
    /// No answer within the limit.
    #[error("QEMU has not answered {command} within {} s", limit.as_secs())]
    Silent {
        /// The command, or `greeting`.
        command: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// An answer of another shape than the command has.
    #[error("QEMU answered {command} with {answer}")]
    Shape {
        /// The command.
        command: &'static str,
        /// What came, shortened.
        answer: String,
    },
}

/// A connection past its greeting. Clones share it; it ends when QEMU closes it or the last
/// clone is dropped.
#[derive(Clone, Debug)]
pub struct Qmp {
    commands: mpsc::Sender<Line>,
    turns: Arc<Semaphore>,
    waiting: Arc<Waiting>,
}

/// A command as it is written, and a descriptor that goes with it.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

/// Commands under way. `None` once the connection has ended.
#[derive(Debug)]
struct Waiting(Mutex<Option<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    last_id: u64,
    answers: HashMap<u64, oneshot::Sender<Result<Value, Refusal>>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a command off the list when nobody waits for it any more.
struct Forget<'a>(&'a Waiting, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.0.lock().as_mut() {
            pending.answers.remove(&self.1);
        }
    }
}

impl Qmp {
    /// Waits for the greeting and leaves negotiation mode. The receiver closes when the
    /// connection ends; it has to be emptied, or QEMU's answers wait too.
    pub async fn negotiate(
        stream: UnixStream,
        limit: Duration,
    ) -> Result<(Self, mpsc::Receiver<QmpEvent>), QmpError> {
        let (read, write) = stream.into_split();
        let (events, received) = mpsc::channel(EVENTS);
        let (commands, to_write) = mpsc::channel(COMMANDS);
        let (greeted, greeting) = oneshot::channel();
        let waiting = Arc::new(Waiting(Mutex::new(Some(Pending::default()))));
        tokio::spawn(read_all(read, Arc::clone(&waiting), greeted, events));
        tokio::spawn(write_all(write, to_write));
        let qmp = Self { commands, turns: Arc::new(Semaphore::new(COMMANDS)), waiting };
        match tokio::time::timeout(limit, greeting).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(QmpError::Closed),
            Err(_) => return Err(QmpError::Silent { command: "greeting", limit }),
        }
        qmp.execute("qmp_capabilities", Value::Null, limit).await?;
        Ok((qmp, received))
    }

    /// Has QEMU carry out a command; `arguments` is an object, or null for none.
    pub async fn execute(
        &self,
        command: &'static str,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, QmpError> {
        let mut object = Map::new();
        object.insert("execute".to_owned(), command.into());
        if !arguments.is_null() {
            object.insert("arguments".to_owned(), arguments);
        }
        let answer = self.exchange(command, object, limit).await?;
        answer.map_err(|source| QmpError::Refused { command, source })
    }

    /// Gives QEMU a descriptor, in a set of this number of its own (`add-fd`).
    pub async fn add_descriptor(
        &self,
        descriptor: OwnedFd,
        fdset: u32,
        limit: Duration,
    ) -> Result<(), QmpError> {
        let command = "add-fd";
        let mut object = Map::new();
        object.insert("execute".to_owned(), command.into());
        object.insert("arguments".to_owned(), json!({ "fdset-id": fdset }));
        let answer = self.send(command, object, Some(descriptor), limit).await?;
        answer.map(drop).map_err(|source| QmpError::Refused { command, source })
    }

    /// Sends an object that is a command, whichever, and gives QEMU's answer to it, a refusal
    /// included. `command` is what errors call it; an `id` that it has is another one here.
    pub async fn exchange(
        &self,
        command: &'static str,
        object: Map<String, Value>,
        limit: Duration,
    ) -> Result<Result<Value, Refusal>, QmpError> {
        self.send(command, object, None, limit).await
    }

    async fn send(
        &self,
        command: &'static str,
        mut object: Map<String, Value>,
        descriptor: Option<OwnedFd>,
        limit: Duration,
    ) -> Result<Result<Value, Refusal>, QmpError> {
        let exchange = async {
            let _turn = self.turns.acquire().await;
            let (answer, answered) = oneshot::channel();
            let id = {
                let mut waiting = self.waiting.lock();
                let pending = waiting.as_mut().ok_or(QmpError::Closed)?;
                pending.last_id += 1;
                pending.answers.insert(pending.last_id, answer);
                pending.last_id
            };
            let _forget = Forget(&self.waiting, id);
            object.insert("id".to_owned(), id.into());
            let bytes = format!("{}\r\n", Value::Object(object)).into_bytes();
            self.commands.send(Line { bytes, descriptor }).await.map_err(|_| QmpError::Closed)?;
            answered.await.map_err(|_| QmpError::Closed)
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(QmpError::Silent { command, limit }),
        }
    }

    /// The same, with the result read as what the command is documented to return.
    pub async fn query<T: serde::de::DeserializeOwned>(
        &self,
        command: &'static str,
        limit: Duration,
    ) -> Result<T, QmpError> {
        let value = self.execute(command, Value::Null, limit).await?;
        T::deserialize(&value).map_err(|_| QmpError::Shape {
            command,
            answer: value.to_string().chars().take(200).collect(),
        })
    }
}

async fn write_all(mut write: OwnedWriteHalf, mut lines: mpsc::Receiver<Line>) {
    while let Some(Line { bytes, descriptor }) = lines.recv().await {
        // QEMU takes a descriptor with the command that comes with it.
        let sent = match descriptor {
            Some(descriptor) => send_with(write.as_ref(), &bytes, &descriptor).await,
            None => Ok(0),
        };
        let done = async { write.write_all(&bytes[sent?..]).await };
        if done.await.is_err() {
            // The reading side sees the end too, and tells those who wait.
            return;
        }
    }
}

/// Sends the beginning of some bytes with a descriptor; returns how many of them went.
async fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: &OwnedFd,
) -> std::io::Result<usize> {
    let descriptors = [descriptor.as_fd()];
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut with = SendAncillaryBuffer::new(&mut space);
            with.push(SendAncillaryMessage::ScmRights(&descriptors));
            let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut with, SendFlags::NOSIGNAL)?;
            Ok(sent)
        })
        .await
}

async fn read_all(
    mut read: OwnedReadHalf,
    waiting: Arc<Waiting>,
    greeted: oneshot::Sender<()>,
    events: mpsc::Sender<QmpEvent>,
) {
    let mut lines = Lines::default();
    let mut greeted = Some(greeted);
    let mut bad = 0;
    let mut bytes = vec![0; PORTION];
    let (mut began, mut spent) = (Instant::now(), 0);
    'connection: while let Ok(count) = read.read(&mut bytes).await
        && count > 0
    {
        lines.push(&bytes[..count]);
        spent += count;
        while let Some(line) = lines.next_message() {
            spent += OF_A_MESSAGE;
            match line {
                Ok(Message::Greeting { qmp }) => {
                    tracing::debug!(version = %qmp["version"]["qemu"], "QEMU's monitor answers");
                    if let Some(greeted) = greeted.take()
                        && greeted.send(()).is_err()
                    {
                        break 'connection;
                    }
                }
                Ok(Message::Return { id, value }) => answer(&waiting, id, Ok(value)),
                Ok(Message::Error { id, error }) => answer(&waiting, id, Err(error)),
                Ok(Message::Event(event)) => {
                    tracing::trace!(name = event.name, data = %event.data, "QEMU's event");
                    // That nobody listens to events is no reason to stop answering commands.
                    events.send(event).await.ok();
                }
                Err(error) => {
                    bad += 1;
                    tracing::warn!(%error, bad, "QEMU's monitor");
                    if bad == BAD_LINES {
                        break 'connection;
                    }
                }
            }
        }
        if spent >= SPENT {
            sleep_until(began + WHILE).await;
            (began, spent) = (Instant::now(), 0);
        }
    }
    // Dropping the senders tells everyone who waits.
    *waiting.lock() = None;
}

fn answer(waiting: &Waiting, id: Option<u64>, result: Result<Value, Refusal>) {
    let sender =
        waiting.lock().as_mut().zip(id).and_then(|(pending, id)| pending.answers.remove(&id));
    match sender {
        // Who asked may have stopped waiting a moment ago.
        Some(sender) => drop(sender.send(result)),
        None => tracing::debug!(?id, "QEMU's answer to a command that nobody waits for"),
    }
}
