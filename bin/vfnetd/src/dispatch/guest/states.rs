//! What guests are doing.

use serde_json::Value;
use vfnet_engine::{Cause, Ended, Phase, State};
use vfnet_rpc::error::WireError;
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{DomainInfo, DomainState};

use super::super::flag;
use super::{parsed, read};
use crate::Daemon;

/// KiB that a running guest has, as its balloon says; `None` where it has none that answers.
pub(super) async fn balloon(daemon: &Daemon, guest: &Domain) -> Option<u64> {
    let answer = daemon.guests.execute(guest.uuid, "query-balloon", Value::Null).await.ok()?;
    Some(answer["actual"].as_u64()? / 1024)
}

pub(super) async fn info(daemon: &Daemon, guest: &Domain) -> Result<DomainInfo, WireError> {
    let document = parsed(daemon, guest).await?;
    let state = state(daemon, guest).await?.state;
    Ok(DomainInfo {
        state: u8::try_from(state).unwrap_or_default(),
        max_memory: document.memory_kib,
        memory: balloon(daemon, guest).await.unwrap_or(document.current_memory_kib),
        vcpus: u16::try_from(document.current_vcpus).unwrap_or(u16::MAX),
        cpu_time: daemon.guests.cpu_time(guest.uuid).unwrap_or(0),
    })
}

pub(super) async fn state(daemon: &Daemon, guest: &Domain) -> Result<DomainState, WireError> {
    let uuid = guest.uuid;
    let (run, ended) = read(daemon, uuid, move |state| {
        let run = state.runs.get(&uuid).map(|run| (run.phase, run.cause));
        (run, state.last_ends.get(&uuid).cloned())
    })
    .await?;
    let (state, reason) = match run {
        Some((phase, cause)) => while_running(phase, cause),
        None => (f::domain_state::SHUTOFF, after(ended.as_ref())),
    };
    Ok(DomainState { state, reason })
}

const fn while_running(phase: Phase, cause: Cause) -> (i32, i32) {
    use f::{domain_crashed, domain_paused, domain_running, domain_state};
    match (phase, cause) {
        (Phase::Preparing | Phase::Launching, _) => {
            (domain_state::PAUSED, domain_paused::STARTING_UP)
        }
        (Phase::Running, Cause::Started) => (domain_state::RUNNING, domain_running::BOOTED),
        (Phase::Running, _) => (domain_state::RUNNING, domain_running::UNPAUSED),
        (Phase::Paused, Cause::Started | Cause::Asked) => {
            (domain_state::PAUSED, domain_paused::USER)
        }
        (Phase::Paused, Cause::IoError) => (domain_state::PAUSED, domain_paused::IOERROR),
        (Phase::Paused, Cause::Watchdog) => (domain_state::PAUSED, domain_paused::WATCHDOG),
        (Phase::Paused, Cause::Panicked) => (domain_state::CRASHED, domain_crashed::PANICKED),
        (Phase::ShuttingDown | Phase::Ending, _) => (domain_state::SHUTDOWN, 0),
    }
}

const fn after(ended: Option<&Ended>) -> i32 {
    use f::domain_shutoff;
    match ended {
        Some(Ended::PoweredOff) => domain_shutoff::SHUTDOWN,
        Some(Ended::Destroyed) => domain_shutoff::DESTROYED,
        Some(Ended::Crashed(_)) => domain_shutoff::CRASHED,
        Some(Ended::Lost) => domain_shutoff::DAEMON,
        None => domain_shutoff::UNKNOWN,
    }
}

pub(super) async fn vcpus(daemon: &Daemon, guest: &Domain) -> Result<i32, WireError> {
    Ok(i32::try_from(parsed(daemon, guest).await?.vcpus).unwrap_or(i32::MAX))
}

pub(super) async fn is_active(daemon: &Daemon, guest: &Domain) -> Result<i32, WireError> {
    let uuid = guest.uuid;
    Ok(flag(read(daemon, uuid, move |state| state.runs.contains_key(&uuid)).await?))
}

pub(super) async fn is_persistent(daemon: &Daemon, guest: &Domain) -> Result<i32, WireError> {
    let uuid = guest.uuid;
    Ok(flag(read(daemon, uuid, move |state| state.guests.contains_key(&uuid)).await?))
}

/// Whether the kept document is another one than the running guest was started from.
pub(super) async fn is_updated(daemon: &Daemon, guest: &Domain) -> Result<i32, WireError> {
    let uuid = guest.uuid;
    let differs = move |state: &State| {
        let kept = state.guests.get(&uuid).map(|entry| &entry.definition);
        state.runs.get(&uuid).is_some_and(|run| kept.is_some_and(|kept| *kept != run.definition))
    };
    Ok(flag(read(daemon, uuid, differs).await?))
}
