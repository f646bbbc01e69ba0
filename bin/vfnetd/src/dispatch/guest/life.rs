//! A guest's life: started, told, ended.

use std::time::Duration;

use uuid::Uuid;
use vfnet_engine::{Phase, RefusalKind, Request, State};
use vfnet_qemu::console::Console;
use vfnet_rpc::error::{ErrorCode, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{OpenConsoleArgs, XmlFlags};
use vfnet_rpc::xdr::Text;

use super::define::definition;
use super::{ask, by_uuid, error, read, refused};
use crate::guests::{CommandError, GuestCommand};
use crate::{Daemon, wire_error};

/// How often, and how many times, the engine is asked whether it has heard of a command's effect.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 2000;

/// How a start's flags want it; those of a saved guest's image mean nothing, as there is none.
#[derive(Clone, Copy)]
struct Start {
    paused: bool,
    fresh_nvram: bool,
    autodestroy: bool,
}

const fn how(flags: u32) -> Start {
    Start {
        paused: flags & f::DOMAIN_START_PAUSED != 0,
        fresh_nvram: flags & f::DOMAIN_START_RESET_NVRAM != 0,
        autodestroy: flags & f::DOMAIN_START_AUTODESTROY != 0,
    }
}

pub(super) async fn create(daemon: &Daemon, args: &XmlFlags) -> Result<Domain, WireError> {
    let Start { paused, fresh_nvram, autodestroy } = how(args.flags);
    let definition = Box::new(definition(daemon, &args.xml).await?);
    let uuid = definition.uuid;
    daemon.observer.look().await;
    ask(daemon, Request::GuestCreate { definition, paused, fresh_nvram, autodestroy }).await?;
    started(daemon, uuid, autodestroy).await
}

pub(super) async fn start(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<Domain, WireError> {
    let Start { paused, fresh_nvram, autodestroy } = how(flags);
    daemon.observer.look().await;
    let guest_start = Request::GuestStart { guest: guest.uuid, paused, fresh_nvram, autodestroy };
    ask(daemon, guest_start).await?;
    started(daemon, guest.uuid, autodestroy).await
}

async fn started(daemon: &Daemon, guest: Uuid, autodestroy: bool) -> Result<Domain, WireError> {
    let it = by_uuid(daemon, guest).await?;
    if autodestroy && !daemon.engine.only_plans() {
        daemon.ends_with.add(guest, it.id, &daemon.engine);
    }
    Ok(it)
}

/// Ends a guest. Gracefully is by SIGTERM alone.
pub(super) async fn destroy(daemon: &Daemon, guest: &Domain, flags: u32) -> Result<(), WireError> {
    let gracefully = flags & f::DOMAIN_DESTROY_GRACEFUL != 0 && !daemon.engine.only_plans();
    if gracefully {
        command(daemon, guest, GuestCommand::Terminate).await?;
    }
    match daemon.engine.ask(Request::GuestDestroy(guest.uuid)).await {
        Ok(_) => Ok(()),
        // It has ended, and all of it is back.
        Err(refusal)
            if gracefully
                && matches!(refusal.kind, RefusalKind::OperationInvalid | RefusalKind::NoGuest) =>
        {
            Ok(())
        }
        Err(refusal) => Err(refused(refusal)),
    }
}

async fn command(daemon: &Daemon, guest: &Domain, command: GuestCommand) -> Result<(), WireError> {
    let name = by_uuid(daemon, guest.uuid).await?.name;
    if daemon.engine.only_plans() {
        if daemon.guests.live(guest.uuid).is_some() {
            daemon.engine.would("tell", format!("{} guest {}", command.words(), &*name));
            return Ok(());
        }
        return Err(wire_error::command(&CommandError::NotRunning));
    }
    daemon.guests.command(guest.uuid, command).await.map_err(|fault| {
        tracing::debug!(%name, ?command, "{fault}");
        wire_error::command(&fault)
    })
}

/// Who is told to shut a guest's system down: the first of the ways that is there.
async fn ways(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
    button: GuestCommand,
    agent: GuestCommand,
) -> Result<Vec<GuestCommand>, WireError> {
    const BUTTON: u32 = f::DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
    const AGENT: u32 = f::DOMAIN_SHUTDOWN_GUEST_AGENT;
    Ok(match flags {
        0 if daemon.guests.has_agent(guest.uuid).await => vec![agent, button],
        0 => vec![button],
        flags if flags & (BUTTON | AGENT) == BUTTON | AGENT => vec![agent, button],
        flags if flags & AGENT != 0 => vec![agent],
        flags if flags & BUTTON != 0 => vec![button],
        _ => {
            let detail = "a QEMU guest is told by its power button (acpi) or the agent in it";
            return Err(error(ErrorCode::ArgumentUnsupported, detail));
        }
    })
}

async fn first_of(
    daemon: &Daemon,
    guest: &Domain,
    ways: Vec<GuestCommand>,
) -> Result<(), WireError> {
    let last = ways.len().saturating_sub(1);
    for (place, way) in ways.into_iter().enumerate() {
        match command(daemon, guest, way).await {
            Err(fault) if place < last => tracing::debug!(?way, "{fault}; trying the next way"),
            told => return told,
        }
    }
    Ok(())
}

pub(super) async fn power_off(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<(), WireError> {
    let (button, agent) = (GuestCommand::PowerOff, GuestCommand::PowerOffByAgent);
    let ways = ways(daemon, guest, flags, button, agent).await?;
    first_of(daemon, guest, ways).await
}

pub(super) async fn reboot(daemon: &Daemon, guest: &Domain, flags: u32) -> Result<(), WireError> {
    let (button, agent) = (GuestCommand::Reboot, GuestCommand::RebootByAgent);
    let ways = ways(daemon, guest, flags, button, agent).await?;
    first_of(daemon, guest, ways).await
}

pub(super) async fn reset(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    command(daemon, guest, GuestCommand::Reset).await
}

async fn phase(daemon: &Daemon, guest: &Domain) -> Result<Option<Phase>, WireError> {
    let uuid = guest.uuid;
    read(daemon, uuid, move |state: &State| state.runs.get(&uuid).map(|run| run.phase)).await
}

pub(super) async fn suspend(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    command(daemon, guest, GuestCommand::Suspend).await?;
    heard(daemon, guest.uuid, Phase::Paused).await;
    Ok(())
}

pub(super) async fn resume(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    if phase(daemon, guest).await? == Some(Phase::Running) {
        return Err(error(ErrorCode::OperationInvalid, "the guest runs already"));
    }
    command(daemon, guest, GuestCommand::Resume).await?;
    heard(daemon, guest.uuid, Phase::Running).await;
    Ok(())
}

/// Waits until the engine has heard of a command's effect from the guest, so that whoever asks
/// next is told of it, and whoever listens hears of it before the effects of the next command.
async fn heard(daemon: &Daemon, guest: Uuid, phase: Phase) {
    if daemon.engine.only_plans() {
        return;
    }
    for _ in 0..LOOKS {
        let is_so = move |state: &State| {
            let now = state.runs.get(&guest).map(|run| run.phase);
            now.is_none_or(|now| [phase, Phase::ShuttingDown, Phase::Ending].contains(&now))
        };
        if daemon.engine.read(is_so).await.unwrap_or(true) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Refuses to write a guest's memory to a file: whatever it has of the host cannot be in it.
pub(super) async fn save(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    let uuid = guest.uuid;
    let held = move |state: &State| {
        let claims = state.claims_of(uuid).map(|claim| claim.vf.to_string());
        (state.runs.contains_key(&uuid), claims.collect::<Vec<_>>())
    };
    let (runs, vfs) = read(daemon, uuid, held).await?;
    if !runs {
        return Err(wire_error::command(&CommandError::NotRunning));
    }
    let detail = if vfs.is_empty() {
        "vfnet does not save guests".to_owned()
    } else {
        format!(
            "cannot save a guest with devices of the host, whose state stays in them: {}",
            vfs.join(", ")
        )
    };
    Err(error(ErrorCode::OperationUnsupported, &detail))
}

pub(crate) async fn open_console(
    daemon: &Daemon,
    args: &OpenConsoleArgs,
) -> Result<Console, WireError> {
    by_uuid(daemon, args.domain.uuid).await?;
    let device = args.device.as_ref().map(Text::as_str);
    let console = daemon.guests.console(args.domain.uuid, device).await;
    console.map_err(|fault| wire_error::command(&fault))
}
