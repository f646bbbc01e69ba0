//! The administrator's network hook scripts, called as libvirt's are (libvirt: hooks.rst):
//! `network`, then what is executable in `network.d` by name, each with the arguments
//! `NETWORK OPERATION SUBOPERATION -` and with documents on stdin.
//!
//! Nothing waits for a script but what it is about: each runs in a task of its own, for no longer
//! than its limit, and is then killed with its process group. Scripts of one network's start,
//! change and stop run one after the other, in the order in which these were decided; those of a
//! port before the port is handed over, or is free again. What the daemon's end interrupts is
//! done again by the next daemon, so a script may see a port deleted twice, and one that it has
//! not seen created.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use uuid::Uuid;
use vfnet_host::process::{self, Purpose};
use vfnet_model::port::{self, NetworkPort};
use vfnet_model::{NetworkName, explain, legible};

/// How much of a script's last words is kept.
const LAST_WORDS: usize = 2048;

/// How many lines of them a message shows.
const LAST_LINES: usize = 3;

/// How long what a script has left behind may keep its stderr open once it has ended.
const ECHO: Duration = Duration::from_millis(100);

/// What a script is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A network is about to be started.
    Start,
    /// Its pool is there.
    Started,
    /// Its live document was changed.
    Updated,
    /// It is not active any more, or could not be started.
    Stopped,
    /// A VF is ready for a port.
    PortCreated,
    /// A port's VF is back.
    PortDeleted,
}

impl Event {
    /// A script's second and third argument.
    const fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Start => ["start", "begin"],
            Self::Started => ["started", "begin"],
            Self::Updated => ["updated", "begin"],
            Self::Stopped => ["stopped", "end"],
            Self::PortCreated => ["port-created", "begin"],
            Self::PortDeleted => ["port-deleted", "begin"],
        }
    }
}

/// Where the scripts are, and how they are run. Clones share the order of calls.
#[derive(Clone, Debug)]
pub(crate) struct Hooks {
    dir: Arc<Path>,
    limit: Duration,
    /// The last call about each network that may still be under way.
    last: Arc<Mutex<BTreeMap<Uuid, oneshot::Receiver<()>>>>,
}

/// A place in the order of calls about a network; whoever is behind waits until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    over: oneshot::Sender<()>,
}

/// Why a script did not do what it was called for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// The directory cannot be looked at.
    #[error("cannot look for hook scripts in {}", path.display())]
    Look {
        /// The directory, or what is in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody besides its owner and root could change it, or it is another user's.
    #[error("{} is not run as a hook script: {why}", path.display())]
    Untrusted {
        /// The script, or the directory that it is in.
        path: PathBuf,
        /// What is wrong with its owner or mode.
        why: String,
    },
    /// It cannot be run.
    #[error("cannot run the hook script {}", script.display())]
    Run {
        /// The script.
        script: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says no.
    #[error("the hook script {} ended with {status} at '{operation}'{}", script.display(), said(words))]
    Refused {
        /// The script.
        script: PathBuf,
        /// Its second argument.
        operation: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its last words on stderr.
        words: String,
    },
    /// It took too long, and was killed.
    #[error("the hook script {} took longer than {} s at '{operation}' and was killed", script.display(), limit.as_secs())]
    Late {
        /// The script.
        script: PathBuf,
        /// Its second argument.
        operation: &'static str,
        /// How long it might have taken.
        limit: Duration,
    },
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Hooks {
    /// Scripts in this directory, which need not be there, and for how long each may run.
    pub(crate) fn new(dir: PathBuf, limit: Duration) -> Self {
        Self { dir: dir.into(), limit, last: Arc::default() }
    }

    /// A call about a network, or one of its ports. `document` is the network's.
    pub(crate) fn call(
        &self,
        event: Event,
        name: &NetworkName,
        document: &str,
        port: Option<&NetworkPort>,
    ) -> Call {
        let port = port.map(port::print).unwrap_or_default();
        let input = format!("<hookData>\n{}{}</hookData>\n", indented(document), indented(&port));
        let (dir, limit) = (Arc::clone(&self.dir), self.limit);
        Call { dir, limit, event, name: name.clone(), input }
    }

    /// The next place in the order of calls about a network.
    pub(crate) fn turn(&self, network: Uuid) -> Turn {
        let (over, after) = oneshot::channel();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, call| matches!(call.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        Turn { before: last.insert(network, after), over }
    }
}

impl Turn {
    /// Waits for the calls before this one. What comes back is to be kept until this one is over.
    pub(crate) async fn comes(self) -> impl Send {
        if let Some(before) = self.before {
            // Its end is that it is dropped.
            let _over = before.await;
        }
        self.over
    }
}

fn indented(document: &str) -> String {
    document.lines().map(|line| format!("  {line}\n")).collect()
}

/// Everything that the scripts are called with, once.
#[derive(Debug)]
pub(crate) struct Call {
    dir: Arc<Path>,
    limit: Duration,
    event: Event,
    name: NetworkName,
    input: String,
}

impl Call {
    /// Runs one script after the other, up to the first that says no.
    pub(crate) async fn run(&self) -> Result<(), HookError> {
        let dir = Arc::clone(&self.dir);
        let look = tokio::task::spawn_blocking(move || scripts(&dir)).await;
        let look = look.unwrap_or_else(|fault| {
            let path = self.dir.to_path_buf();
            Err(HookError::Look { path, source: io::Error::other(fault) })
        });
        for script in look? {
            self.run_one(script).await?;
        }
        Ok(())
    }

    /// Runs the scripts where it is too late for them to say no.
    pub(crate) async fn run_and_log(&self) {
        if let Err(fault) = self.run().await {
            tracing::warn!("network {}: {}", self.name, explain(&fault));
        }
    }

    async fn run_one(&self, script: PathBuf) -> Result<(), HookError> {
        let [operation, part] = self.event.arguments();
        let mut command = process::command(&script, Purpose::Hook);
        command
            .args([self.name.as_str(), operation, part, "-"])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = match Command::from(command).spawn() {
            Ok(child) => Running(child),
            Err(source) => return Err(HookError::Run { script, source }),
        };
        let ran = tokio::time::timeout(self.limit, attend(&mut running.0, &self.input)).await;
        match ran {
            Ok(Ok((status, _))) if status.success() => Ok(()),
            Ok(Ok((status, words))) => Err(HookError::Refused { script, operation, status, words }),
            Ok(Err(source)) => {
                running.end().await;
                Err(HookError::Run { script, source })
            }
            Err(_late) => {
                running.end().await;
                Err(HookError::Late { script, operation, limit: self.limit })
            }
        }
    }
}

/// The scripts of a directory, in the order in which they are called.
fn scripts(dir: &Path) -> Result<Vec<PathBuf>, HookError> {
    let more = dir.join("network.d");
    let fault = |source| HookError::Look { path: more.clone(), source };
    let mut scripts = match std::fs::read_dir(&more) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(fault(source)),
    };
    scripts.sort();
    scripts.insert(0, dir.join("network"));
    scripts.retain(|script| {
        std::fs::metadata(script)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    });
    for script in &scripts {
        trusted(script)?;
        trusted(script.parent().unwrap_or(dir))?;
    }
    Ok(scripts)
}

/// What runs as the daemon does must be changed by nobody who could not do that anyway.
fn trusted(path: &Path) -> Result<(), HookError> {
    let found = std::fs::metadata(path)
        .map_err(|source| HookError::Look { path: path.to_owned(), source })?;
    let (own, mode) = (rustix::process::getuid().as_raw(), found.mode());
    let why = if found.uid() != 0 && found.uid() != own {
        format!("it belongs to uid {}", found.uid())
    } else if mode & 0o022 != 0 {
        format!("its mode {:04o} lets others write to it", mode & 0o7777)
    } else {
        return Ok(());
    };
    Err(HookError::Untrusted { path: path.to_owned(), why })
}

/// Gives a script its documents, hears its last words, and waits for its end.
async fn attend(child: &mut Child, input: &str) -> io::Result<(ExitStatus, String)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut words = LastWords::default();
    let status = {
        let tell = async {
            if let Some(mut stdin) = stdin {
                // A script need not read what it is told.
                let _unread = stdin.write_all(input.as_bytes()).await;
            }
        };
        let hear = async {
            if let Some(stderr) = stderr {
                words.hear(stderr).await;
            }
        };
        let mut talk = pin!(async { tokio::join!(tell, hear) });
        tokio::select! {
            status = child.wait() => {
                // What it has said is there already; what goes on is not waited for.
                let _goes_on = tokio::time::timeout(ECHO, talk).await;
                status?
            }
            _ = &mut talk => child.wait().await?,
        }
    };
    Ok((status, words.text()))
}

/// A script at work. It ends with whoever waits for it: when the daemon is told to end, too.
struct Running(Child);

impl Running {
    /// Kills it and whatever it has started in its process group.
    fn kill(&self) {
        // None once it is reaped, when the number may be another's.
        let group = self.0.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(group) = group
            && let Err(fault) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!("cannot kill a hook script: {fault}");
        }
    }

    async fn end(mut self) {
        self.kill();
        if let Err(fault) = self.0.wait().await {
            tracing::warn!("cannot wait for a hook script: {fault}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of what a script has said.
#[derive(Debug, Default)]
struct LastWords(VecDeque<u8>);

impl LastWords {
    async fn hear(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut portion = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut portion).await {
            self.0.extend(&portion[..count]);
            self.0.drain(..self.0.len().saturating_sub(LAST_WORDS));
        }
    }

    /// Its last lines, in one.
    fn text(self) -> String {
        let bytes = Vec::from(self.0);
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<_> = lines.collect();
        let text = lines[lines.len().saturating_sub(LAST_LINES)..].join("; ");
        legible(&text).replace('\n', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests;
