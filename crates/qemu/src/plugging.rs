//! Giving devices to a guest that runs, and taking them back, over its monitor.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::command_line::OpenFile;
use crate::command_line::hotplug::{Command, Plugging};
use crate::guest::{ANSWER_LIMIT, Guest, GuestError};
use crate::jail::{self, Jail};
use crate::launch::{LaunchSpec, open};
use crate::qmp::{QmpError, Refusal};
use crate::run_dir::RunDir;
use crate::{scope, vfio};

/// First and longest wait between two looks at whether a guest has let go of a device.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS_AT_MOST: Duration = Duration::from_millis(200);

/// How long QEMU may take to take a device: with its first VF, all of a guest's memory is pinned.
const PLUG_LIMIT: Duration = Duration::from_secs(300);

/// How long a file may take to be opened; one on a server that is away may take for ever.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// Files that are being opened at most, for all guests: those that take for ever stay among them.
static OPENING: Semaphore = Semaphore::const_new(8);

/// What a guest means that says no.
pub const DOES_NOT_LET_GO: &str = "the guest does not let go of it";

/// Why a device was not given to a guest.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// QEMU does not have it, and nothing of it is left there.
    #[error("{0}")]
    Refused(String),
    /// QEMU may have it or not.
    #[error("QEMU does not say whether it has taken the device")]
    Unknown(#[source] GuestError),
}

/// How asking for a device back ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unplug {
    /// QEMU does not have it.
    Gone,
    /// The guest was asked, and has not let go of it within the limit.
    NotYet,
    /// QEMU did not ask, for this reason.
    Refused(String),
}

impl Guest {
    /// The ids of the devices that QEMU was given by name.
    pub async fn devices(&self) -> Result<Vec<String>, GuestError> {
        #[derive(Deserialize)]
        struct Property {
            name: String,
            r#type: String,
        }
        let arguments = json!({ "path": "/machine/peripheral" });
        let answer = self.execute("qom-list", arguments).await?;
        let shape = || QmpError::Shape { command: "qom-list", answer: "no list".to_owned() };
        let properties = Vec::<Property>::deserialize(answer).map_err(|_| shape())?;
        let children = properties.into_iter().filter(|it| it.r#type.starts_with("child<"));
        Ok(children.map(|it| it.name).collect())
    }

    /// A number above those of the sets of descriptors that QEMU has.
    pub async fn free_fdset(&self) -> Result<u32, GuestError> {
        let sets = self.execute("query-fdsets", Value::Null).await?;
        let ids = sets.as_array().into_iter().flatten().filter_map(|set| set["fdset-id"].as_u64());
        let most = ids.filter_map(|id| u32::try_from(id).ok()).max();
        Ok(most.unwrap_or(0).saturating_add(1))
    }

    /// Gives it a device.
    ///
    /// # Errors
    ///
    /// When QEMU does not take it, and when nobody knows.
    pub async fn plug(&self, alias: &str, plugging: &Plugging) -> Result<(), PlugError> {
        let fault = match self.tell_all(plugging).await {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        let has_it = match self.devices().await {
            Ok(devices) => devices.iter().any(|device| device == alias),
            Err(_) => return Err(PlugError::Unknown(fault)),
        };
        if has_it {
            // Of the last command the answer alone was lost, or the guest has it with its cable
            // plugged in.
            tracing::warn!(%alias, %fault, "QEMU has a device all the same");
            return Ok(());
        }
        self.forget(&plugging.undo).await;
        for file in &plugging.files {
            self.drop_fdset(file.fdset).await;
        }
        Err(PlugError::Refused(told(&fault)))
    }

    async fn tell_all(&self, plugging: &Plugging) -> Result<(), GuestError> {
        for file in &plugging.files {
            let opened = open_elsewhere(file.clone()).await.map_err(|source| {
                let desc = format!("cannot open {}: {source}", file.path.display());
                let source = Refusal { class: "GenericError".to_owned(), desc };
                QmpError::Refused { command: "add-fd", source }
            })?;
            self.add_descriptor(opened, file.fdset).await?;
        }
        for Command { name, arguments } in &plugging.commands {
            self.execute_within(name, arguments.clone(), PLUG_LIMIT).await?;
        }
        // Whoever has opened one of a set keeps it; the set is not needed by name any more.
        for file in &plugging.files {
            self.drop_fdset(file.fdset).await;
        }
        Ok(())
    }

    async fn add_descriptor(&self, descriptor: OwnedFd, fdset: u32) -> Result<(), GuestError> {
        Ok(self.qmp()?.add_descriptor(descriptor, fdset, ANSWER_LIMIT).await?)
    }

    async fn drop_fdset(&self, fdset: u32) {
        let gone = self.execute("remove-fd", json!({ "fdset-id": fdset })).await;
        if let Err(error) = gone {
            tracing::debug!(%fdset, %error, "a set of descriptors stays");
        }
    }

    /// Has QEMU forget what is left of a device; it may not be there.
    pub async fn forget(&self, remains: &[Command]) {
        for Command { name, arguments } in remains {
            if let Err(error) = self.execute(name, arguments.clone()).await {
                tracing::debug!(%name, %error, "nothing to forget");
            }
        }
    }

    /// Asks the guest to let go of a device, and waits up to `limit` until it has; `refused` says
    /// whether it has answered no.
    pub async fn unplug(
        &self,
        alias: &str,
        limit: Duration,
        refused: impl Fn() -> bool,
    ) -> Result<Unplug, GuestError> {
        let deadline = Instant::now() + limit;
        match self.execute("device_del", json!({ "id": alias })).await {
            Ok(_) => {}
            Err(GuestError::Qmp(QmpError::Refused { source, .. })) => {
                if source.class == "DeviceNotFound" {
                    return Ok(Unplug::Gone);
                }
                // It was asked before, and may be about to answer.
                if !source.desc.contains("already in the process of unplug") {
                    return Ok(Unplug::Refused(source.desc));
                }
            }
            Err(fault) => return Err(fault),
        }
        let mut wait = LOOK;
        loop {
            if !self.devices().await?.iter().any(|device| device == alias) {
                return Ok(Unplug::Gone);
            }
            if refused() {
                return Ok(Unplug::Refused(DOES_NOT_LET_GO.to_owned()));
            }
            if Instant::now() >= deadline {
                return Ok(Unplug::NotYet);
            }
            sleep(wait).await;
            wait = (wait * 2).min(LOOKS_AT_MOST);
        }
    }

    /// Lets QEMU lock this many bytes of memory, if it may not lock as many already.
    pub fn may_lock(&self, bytes: u64) -> io::Result<()> {
        let pid = Pid::from_raw(self.process().pid);
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        let before = prlimit(pid, Resource::Memlock, limit)?;
        let more = |limit: Option<u64>| limit.is_none_or(|limit| limit > bytes);
        // Never less than it had.
        if more(before.current) || more(before.maximum) {
            prlimit(pid, Resource::Memlock, before)?;
        }
        Ok(())
    }
}

fn told(fault: &GuestError) -> String {
    match fault {
        GuestError::Qmp(QmpError::Refused { source, .. }) => source.desc.clone(),
        other => vfnet_model::explain(other),
    }
}

async fn open_elsewhere(file: OpenFile) -> io::Result<OwnedFd> {
    let Ok(place) = OPENING.try_acquire() else {
        return Err(io::Error::other("other files do not open, and too many are waited for"));
    };
    let opened = tokio::task::spawn_blocking(move || {
        let _place = place;
        open(&file.into())
    });
    let opened = timeout(OPEN_LIMIT, opened).await.map_err(|_| {
        let why = format!("it does not open within {} s", OPEN_LIMIT.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, why)
    })?;
    opened.map_err(io::Error::other)?.map(OwnedFd::from)
}

/// Gives a device node (`/dev/vfio/N`) to a guest that runs. It is written down first, so that it
/// is taken back at the guest's end whoever is there then.
///
/// # Errors
///
/// When it cannot be written down, or is no device node.
pub fn lend_node(run_dir: &RunDir, node: &Path) -> io::Result<()> {
    let mut spec = LaunchSpec::load(run_dir)?;
    if !spec.vfio_devices.iter().any(|device| device == node) {
        spec.vfio_devices.push(node.to_owned());
        spec.save(run_dir)?;
    }
    if let Some(whom) = &spec.credentials {
        vfio::give(node, whom.uid, whom.gid)?;
    }
    let_in(run_dir, &spec, [node, Path::new(jail::VFIO)])
}

/// Lets a guest that runs find what taps are opened by.
///
/// # Errors
///
/// When what was launched cannot be read, or the guest cannot have the node.
pub fn lend_tun(run_dir: &RunDir) -> io::Result<()> {
    let mut spec = LaunchSpec::load(run_dir)?;
    let tun = Path::new(jail::TUN);
    if !spec.devices.iter().any(|device| device == tun) {
        spec.devices.push(tun.to_owned());
        spec.save(run_dir)?;
    }
    let_in(run_dir, &spec, [tun])
}

/// Has a guest's jail let it have what its spec names by now, these nodes among it.
fn let_in<const N: usize>(
    run_dir: &RunDir,
    spec: &LaunchSpec,
    nodes: [&Path; N],
) -> io::Result<()> {
    match (&spec.credentials, spec.jail) {
        (Some(whom), Jail::Namespace) => nodes
            .into_iter()
            .try_for_each(|node| jail::let_in(run_dir, whom, node))
            .map_err(|error| io::Error::other(vfnet_model::explain(&error))),
        (Some(_), Jail::Scope) => scope::allow(spec),
        _ => Ok(()),
    }
}

/// Takes a device node back from a guest that runs. Can be repeated.
///
/// # Errors
///
/// When that cannot be done or written down.
pub fn return_node(run_dir: &RunDir, node: &Path) -> io::Result<()> {
    let mut spec = LaunchSpec::load(run_dir)?;
    if let Some(whom) = &spec.credentials {
        vfio::take_back(node, whom.uid)?;
    }
    spec.vfio_devices.retain(|device| device != node);
    spec.save(run_dir)?;
    match (&spec.credentials, spec.jail) {
        (Some(_), Jail::Scope) => scope::allow(&spec),
        (Some(_), Jail::Namespace) => jail::shut_out(run_dir, node),
        _ => Ok(()),
    }
}
