//! A guest that is alive, and what it can be told.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::exit::Ended;
use crate::process_id::ProcessId;
use crate::qmp::{Qmp, QmpError, Refusal};
use crate::run_dir::RunDir;
use crate::status::RunState;

/// How long QEMU may take to answer a command.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long the kernel may take to end a killed process (a large guest's memory is given back,
/// devices are reset).
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// Why a guest did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// It has ended.
    #[error("the guest has ended: {}", .0.kind)]
    Ended(Ended),
    /// QEMU's monitor cannot be reached at the moment.
    #[error("QEMU's monitor does not answer")]
    NoMonitor,
    /// Its supervisor is gone with the runtime that it ran on.
    #[error("the guest is not supervised any more")]
    Unsupervised,
    /// QEMU refused, or did not answer.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The process could not be signalled.
    #[error("cannot send {signal} to QEMU (pid {pid})")]
    Signal {
        /// `SIGTERM` or `SIGKILL`.
        signal: &'static str,
        /// The process.
        pid: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is still there after the limit.
    #[error("QEMU (pid {pid}) is still there after {} s", limit.as_secs())]
    StillThere {
        /// The process.
        pid: i32,
        /// How long was waited.
        limit: Duration,
    },
}

/// A handle to a guest. Clones are the same guest; dropping them all ends nothing.
#[derive(Clone, Debug)]
pub struct Guest(pub(crate) Arc<Shared>);

/// What handles and supervisor share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) run_dir: RunDir,
    pub(crate) process: ProcessId,
    pub(crate) pidfd: Arc<OwnedFd>,
    /// The monitor while it is connected.
    pub(crate) qmp: Mutex<Option<Qmp>>,
    /// Somebody here wants it to end.
    pub(crate) asked_to_end: AtomicBool,
    pub(crate) ended: watch::Receiver<Option<Ended>>,
}

impl Shared {
    pub(crate) fn qmp(&self) -> MutexGuard<'_, Option<Qmp>> {
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A character device of the guest, as `query-chardev` tells.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Chardev {
    /// The chardev's id.
    pub label: String,
    /// Where it leads: `pty:/dev/pts/3`, `unix:PATH,server=on`, ….
    pub filename: String,
    /// Whether the guest has it open; always so where a guest cannot open and close it.
    #[serde(default, rename = "frontend-open")]
    pub frontend_open: bool,
}

impl Guest {
    /// QEMU's process.
    pub fn process(&self) -> &ProcessId {
        &self.0.process
    }

    /// Its run directory.
    pub fn run_dir(&self) -> &RunDir {
        &self.0.run_dir
    }

    /// Lets the processors run (`cont`).
    pub async fn resume(&self) -> Result<(), GuestError> {
        self.execute("cont", Value::Null).await.map(drop)
    }

    /// Stops the processors (`stop`).
    pub async fn pause(&self) -> Result<(), GuestError> {
        self.execute("stop", Value::Null).await.map(drop)
    }

    /// Presses the power button (`system_powerdown`). The guest may take its time, or ignore it;
    /// see [`Guest::wait_ended`].
    pub async fn power_down(&self) -> Result<(), GuestError> {
        self.execute("system_powerdown", Value::Null).await.map(drop)
    }

    /// Presses the reset button (`system_reset`).
    pub async fn reset(&self) -> Result<(), GuestError> {
        self.execute("system_reset", Value::Null).await.map(drop)
    }

    /// What it is doing (`query-status`).
    pub async fn state(&self) -> Result<RunState, GuestError> {
        Ok(run_state(&self.qmp()?).await?)
    }

    /// Its character devices (`query-chardev`), to find the pty of a console.
    pub async fn chardevs(&self) -> Result<Vec<Chardev>, GuestError> {
        Ok(self.qmp()?.query("query-chardev", ANSWER_LIMIT).await?)
    }

    /// Any command of QEMU's monitor; `arguments` is an object, or null for none.
    pub async fn execute(
        &self,
        command: &'static str,
        arguments: Value,
    ) -> Result<Value, GuestError> {
        self.execute_within(command, arguments, ANSWER_LIMIT).await
    }

    /// The same, of what QEMU takes longer for.
    pub(crate) async fn execute_within(
        &self,
        command: &'static str,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, GuestError> {
        let qmp = self.qmp()?;
        match qmp.execute(command, arguments, limit).await {
            Err(QmpError::Closed) => Err(self.why_closed()),
            other => Ok(other?),
        }
    }

    /// Any object that is a command of the monitor, and QEMU's answer to it, a refusal included.
    pub async fn exchange(
        &self,
        object: Map<String, Value>,
    ) -> Result<Result<Value, Refusal>, GuestError> {
        let qmp = self.qmp()?;
        match qmp.exchange("a command as given", object, ANSWER_LIMIT).await {
            Err(QmpError::Closed) => Err(self.why_closed()),
            other => Ok(other?),
        }
    }

    /// Ends it without asking its system, by SIGTERM, on which QEMU flushes its disks, and by
    /// nothing else: after `limit` it may still be there.
    pub async fn terminate(&self, limit: Duration) -> Result<Ended, GuestError> {
        self.0.asked_to_end.store(true, Ordering::Release);
        self.signal("SIGTERM", Signal::TERM)?;
        self.wait_ended(limit).await
    }

    /// Ends it without asking its system: SIGTERM, on which QEMU flushes its disks, and after
    /// `grace` SIGKILL. Returns when nothing of it holds a device any more.
    pub async fn destroy(&self, grace: Duration) -> Result<Ended, GuestError> {
        self.0.asked_to_end.store(true, Ordering::Release);
        if !grace.is_zero() {
            self.signal("SIGTERM", Signal::TERM)?;
            if let Ok(ended) = self.wait_ended(grace).await {
                return Ok(ended);
            }
        }
        self.signal("SIGKILL", Signal::KILL)?;
        self.wait_ended(KILL_LIMIT).await
    }

    /// Waits for its end, whoever brings it about.
    pub async fn wait_ended(&self, limit: Duration) -> Result<Ended, GuestError> {
        let mut ended = self.0.ended.clone();
        match tokio::time::timeout(limit, ended.wait_for(Option::is_some)).await {
            Ok(ended) => ended.ok().and_then(|ended| ended.clone()).ok_or(GuestError::Unsupervised),
            Err(_) => Err(GuestError::StillThere { pid: self.0.process.pid, limit }),
        }
    }

    pub(crate) fn qmp(&self) -> Result<Qmp, GuestError> {
        let qmp = self.0.qmp().clone();
        qmp.ok_or_else(|| self.why_closed())
    }

    fn why_closed(&self) -> GuestError {
        self.0.ended.borrow().clone().map_or(GuestError::NoMonitor, GuestError::Ended)
    }

    fn signal(&self, name: &'static str, signal: Signal) -> Result<(), GuestError> {
        match pidfd_send_signal(&self.0.pidfd, signal) {
            // Gone already, which is what was wanted.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(GuestError::Signal {
                signal: name,
                pid: self.0.process.pid,
                source: error.into(),
            }),
        }
    }
}

/// `query-status`.
pub(crate) async fn run_state(qmp: &Qmp) -> Result<RunState, QmpError> {
    #[derive(Deserialize)]
    struct Status {
        status: RunState,
    }
    qmp.query::<Status>("query-status", ANSWER_LIMIT).await.map(|answer| answer.status)
}
