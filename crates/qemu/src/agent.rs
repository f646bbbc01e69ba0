//! The agent in a guest (qemu-guest-agent), over the guest's channel.
//!
//! Its protocol is QMP's, without a greeting (`docs/interop/qemu-ga.rst`). Every conversation has
//! a connection of its own: QEMU's socket serves one at a time and the others wait. It begins with
//! `guest-sync-delimited`, so that what an earlier one has left unread is not taken for an answer.
//! The agent is the guest's program, and not trusted: what it says is bounded in time and length.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::process_id::ProcessId;
use crate::qmp::Refusal;
use crate::socket;

/// The name of the agent's channel.
pub const CHANNEL: &str = "org.qemu.guest_agent.0";
/// Bytes of one answer at most.
pub const ANSWER_BYTES: usize = 1 << 20;
/// How long the agent may take to say that it is there.
const SYNC: Duration = Duration::from_secs(5);
/// Goes before an answer to `guest-sync-delimited`, and before what shall begin anew.
const SENTINEL: u8 = 0xff;

/// Why the agent did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its channel cannot be connected to.
    #[error("cannot connect to the agent's channel {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer within the limit.
    #[error("the agent has not answered within {} s", limit.as_secs())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// The channel ended: the guest has.
    #[error("the agent's channel has ended")]
    Closed,
    /// What came is no answer.
    #[error("the agent's answer is {0}")]
    Nonsense(&'static str),
    /// It refused.
    #[error("the agent refused")]
    Refused(#[source] Refusal),
}

/// A connection to an agent that has said that it is there.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Agent {
    /// Connects to the socket on which this process, which is QEMU's, listens, and waits until the
    /// agent is there. `number` is one that no earlier conversation was begun with.
    pub async fn connect(path: &Path, qemu: &ProcessId, number: u32) -> Result<Self, AgentError> {
        let stream = socket::connect(path, qemu.pid)
            .await
            .map_err(|source| AgentError::Connect { path: path.to_owned(), source })?;
        let mut agent = Self { stream, unread: Vec::new() };
        match timeout(SYNC, agent.begin(number)).await {
            Ok(begun) => begun.map(|()| agent),
            Err(_) => Err(AgentError::Silent { limit: SYNC }),
        }
    }

    /// Has the agent carry out a command, and gives its result.
    pub async fn execute(&mut self, command: &Value, limit: Duration) -> Result<Value, AgentError> {
        let answer = async {
            self.tell(command).await?;
            self.line().await
        };
        match timeout(limit, answer).await {
            Ok(line) => read(&line?),
            Err(_) => Err(AgentError::Silent { limit }),
        }
    }

    /// Tells the agent what it answers only when it does not do it.
    pub async fn tell(&mut self, command: &Value) -> Result<(), AgentError> {
        self.send(format!("{command}\n").as_bytes()).await
    }

    async fn begin(&mut self, number: u32) -> Result<(), AgentError> {
        let sync = json!({ "execute": "guest-sync-delimited", "arguments": { "id": number } });
        let mut bytes = vec![SENTINEL];
        bytes.extend_from_slice(format!("{sync}\n").as_bytes());
        self.send(&bytes).await?;
        loop {
            let line = self.line().await?;
            // What is before the sentinel is of an earlier conversation.
            let Some(begin) = line.iter().rposition(|&byte| byte == SENTINEL) else { continue };
            if read(&line[begin + 1..]).is_ok_and(|answer| answer == number) {
                return Ok(());
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), AgentError> {
        self.stream.write_all(bytes).await.map_err(|_| AgentError::Closed)
    }

    async fn line(&mut self) -> Result<Vec<u8>, AgentError> {
        let mut portion = [0; 4096];
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.unread, rest));
            }
            if self.unread.len() > ANSWER_BYTES {
                return Err(AgentError::Nonsense("too long"));
            }
            match self.stream.read(&mut portion).await {
                Ok(count) if count > 0 => self.unread.extend_from_slice(&portion[..count]),
                _ => return Err(AgentError::Closed),
            }
        }
    }
}

fn read(line: &[u8]) -> Result<Value, AgentError> {
    let mut answer: Value =
        serde_json::from_slice(line).map_err(|_| AgentError::Nonsense("no JSON"))?;
    if let Ok(refusal) = serde_json::from_value(answer["error"].take()) {
        return Err(AgentError::Refused(refusal));
    }
    match answer.get_mut("return") {
        Some(value) => Ok(value.take()),
        None => Err(AgentError::Nonsense("neither a result nor an error")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncBufReadExt as _;
    use tokio::net::UnixListener;

    use super::*;

    fn this_process() -> ProcessId {
        ProcessId::of_this_process().unwrap()
    }

    /// An agent that sends each of these when it has read a line; `SYNC` is the answer to the
    /// first.
    async fn scripted(dir: &Path, answers: &'static [&'static [u8]]) -> PathBuf {
        let path = dir.join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = tokio::io::BufReader::new(read).split(b'\n');
            for answer in answers {
                if lines.next_segment().await.unwrap().is_none() {
                    return;
                }
                write.write_all(answer).await.unwrap();
            }
            while lines.next_segment().await.unwrap().is_some() {}
        });
        path
    }

    #[tokio::test]
    async fn what_an_earlier_conversation_left_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = scripted(
            dir.path(),
            &[
                b"{\"return\": 7}\n{\"ret\xff{\"return\": 3}\n\xff{\"return\": 9}\n",
                b"{\"return\": {\"pong\": true}}\n",
            ],
        )
        .await;
        let mut agent = Agent::connect(&path, &this_process(), 9).await.unwrap();
        let command = json!({ "execute": "guest-ping" });
        let answer = agent.execute(&command, Duration::from_secs(20)).await.unwrap();
        assert_eq!(answer, json!({ "pong": true }));
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_nonsense_is_not_taken_for_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = scripted(
            dir.path(),
            &[
                b"\xff{\"return\": 9}\n",
                b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"not today\"}}\n",
                b"{\"answer\": 1}\n",
                b"\xfe\xfe\n",
            ],
        )
        .await;
        let mut agent = Agent::connect(&path, &this_process(), 9).await.unwrap();
        let command = json!({ "execute": "guest-shutdown" });
        let mut ask = async || agent.execute(&command, Duration::from_secs(20)).await.unwrap_err();
        let refused = ask().await;
        assert!(vfnet_model::explain(&refused).contains("not today"), "{refused:?}");
        assert!(matches!(ask().await, AgentError::Nonsense(_)));
        assert!(matches!(ask().await, AgentError::Nonsense(_)));
    }

    #[tokio::test]
    async fn an_agent_that_says_nothing_or_too_much_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = scripted(dir.path(), &[b"\xff{\"return\": 9}\n", b""]).await;
        let mut agent = Agent::connect(&path, &this_process(), 9).await.unwrap();
        let command = json!({ "execute": "guest-ping" });
        let silent = agent.execute(&command, Duration::from_millis(20)).await;
        assert!(matches!(silent, Err(AgentError::Silent { .. })), "{silent:?}");

        let dir = tempfile::tempdir().unwrap();
        static LONG: [u8; ANSWER_BYTES + 8192] = [b'x'; ANSWER_BYTES + 8192];
        static TOO_MUCH: [&[u8]; 2] = [b"\xff{\"return\": 9}\n", &LONG];
        let path = scripted(dir.path(), &TOO_MUCH).await;
        let mut agent = Agent::connect(&path, &this_process(), 9).await.unwrap();
        let long = agent.execute(&command, Duration::from_secs(20)).await;
        assert!(matches!(long, Err(AgentError::Nonsense(_))), "{long:?}");
    }
}
