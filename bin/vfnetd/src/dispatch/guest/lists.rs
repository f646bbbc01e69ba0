//! Which guests there are.

use uuid::Uuid;
use vfnet_engine::{Phase, State};
use vfnet_rpc::error::WireError;
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::xdr::Text;

use super::{object, refused};
use crate::Daemon;

/// All guests that the flags ask for: within a group of flags any, over the groups all.
pub(super) async fn all(daemon: &Daemon, flags: u32) -> Result<Vec<Domain>, WireError> {
    let list = move |state: &State| {
        let kept = state.guests.values().map(|entry| &entry.definition);
        let transient = state
            .runs
            .values()
            .filter_map(|run| (!state.guests.contains_key(&run.guest)).then_some(&run.definition));
        kept.chain(transient)
            .filter(|def| is_listed(state, def.uuid, flags))
            .map(|def| object(state, def))
            .collect()
    };
    daemon.engine.read(list).await.map_err(refused)
}

fn is_listed(state: &State, uuid: Uuid, flags: u32) -> bool {
    let kept = state.guests.get(&uuid);
    let run = state.runs.get(&uuid);
    let word = match run.map(|run| run.phase) {
        None => f::CONNECT_LIST_DOMAINS_SHUTOFF,
        Some(Phase::Running) => f::CONNECT_LIST_DOMAINS_RUNNING,
        Some(Phase::Paused | Phase::Preparing | Phase::Launching) => f::CONNECT_LIST_DOMAINS_PAUSED,
        Some(Phase::ShuttingDown | Phase::Ending) => f::CONNECT_LIST_DOMAINS_OTHER,
    };
    let choose = |fact, yes, no| if fact { yes } else { no };
    let active =
        choose(run.is_some(), f::CONNECT_LIST_DOMAINS_ACTIVE, f::CONNECT_LIST_DOMAINS_INACTIVE);
    let persistent = choose(
        kept.is_some(),
        f::CONNECT_LIST_DOMAINS_PERSISTENT,
        f::CONNECT_LIST_DOMAINS_TRANSIENT,
    );
    let autostart = choose(
        kept.is_some_and(|entry| entry.autostart),
        f::CONNECT_LIST_DOMAINS_AUTOSTART,
        f::CONNECT_LIST_DOMAINS_NO_AUTOSTART,
    );
    let groups = [
        (f::CONNECT_LIST_DOMAINS_ACTIVE | f::CONNECT_LIST_DOMAINS_INACTIVE, active),
        (f::CONNECT_LIST_DOMAINS_PERSISTENT | f::CONNECT_LIST_DOMAINS_TRANSIENT, persistent),
        (
            f::CONNECT_LIST_DOMAINS_RUNNING
                | f::CONNECT_LIST_DOMAINS_PAUSED
                | f::CONNECT_LIST_DOMAINS_SHUTOFF
                | f::CONNECT_LIST_DOMAINS_OTHER,
            word,
        ),
        (f::CONNECT_LIST_DOMAINS_AUTOSTART | f::CONNECT_LIST_DOMAINS_NO_AUTOSTART, autostart),
        (
            f::CONNECT_LIST_DOMAINS_MANAGEDSAVE | f::CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE,
            f::CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE,
        ),
        (
            f::CONNECT_LIST_DOMAINS_HAS_SNAPSHOT | f::CONNECT_LIST_DOMAINS_NO_SNAPSHOT,
            f::CONNECT_LIST_DOMAINS_NO_SNAPSHOT,
        ),
        (
            f::CONNECT_LIST_DOMAINS_HAS_CHECKPOINT | f::CONNECT_LIST_DOMAINS_NO_CHECKPOINT,
            f::CONNECT_LIST_DOMAINS_NO_CHECKPOINT,
        ),
    ];
    groups.iter().all(|(group, is)| flags & group == 0 || flags & is != 0)
}

pub(super) async fn ids(daemon: &Daemon) -> Result<Vec<i32>, WireError> {
    let ids = |state: &State| state.runs.values().map(|run| run.id).collect();
    daemon.engine.read(ids).await.map_err(refused)
}

pub(super) async fn inactive_names(daemon: &Daemon) -> Result<Vec<Text>, WireError> {
    let guests = all(daemon, f::CONNECT_LIST_DOMAINS_INACTIVE).await?;
    Ok(guests.into_iter().map(|guest| guest.name).collect())
}
