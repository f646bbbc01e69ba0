//! Guests (libvirt: domains).

use std::time::Duration;

use uuid::Uuid;
use vfnet_engine::{Answer, Ended, GuestDefinition, Phase, Refusal, RefusalKind, Request, State};
use vfnet_model::GuestName;
use vfnet_model::guest::{Form, Guest, parse, print, print_with_secrets};
use vfnet_qemu::console::Console;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{DomainInfo, DomainState, XmlFlags};
use vfnet_rpc::xdr::Text;

use super::{OpenConsoleArgs, flag, text};
use crate::guests::{CommandError, GuestCommand};
use crate::{Daemon, wire_error};

/// How often, and how many times, the engine is asked whether it has heard of a command's effect.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 20_000;

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused(refusal: Refusal) -> WireError {
    wire_error::refusal(ErrorDomain::Qemu, &refusal)
}

fn missing(what: &str) -> WireError {
    WireError::new(ErrorDomain::Qemu, ErrorCode::NoDomain, what)
}

fn object(state: &State, def: &GuestDefinition) -> Domain {
    let id = state.runs.get(&def.uuid).map_or(-1, |run| run.id);
    Domain { name: text(def.name.as_str()), uuid: def.uuid, id }
}

async fn read<T: Send + 'static>(
    daemon: &Daemon,
    uuid: Uuid,
    question: impl FnOnce(&State) -> T + Send + 'static,
) -> Result<T, WireError> {
    let found = move |state: &State| state.guest(uuid).is_some().then(|| question(state));
    let answer = daemon.engine.read(found).await.map_err(refused)?;
    answer.ok_or_else(|| missing(&format!("no domain with matching uuid '{uuid}'")))
}

async fn ask(daemon: &Daemon, request: Request) -> Result<Answer, WireError> {
    daemon.engine.ask(request).await.map_err(refused)
}

pub(super) async fn by_uuid(daemon: &Daemon, uuid: Uuid) -> Result<Domain, WireError> {
    let find = move |state: &State| state.guest(uuid).map(|def| object(state, def));
    let found = read(daemon, uuid, find).await?;
    found.ok_or_else(|| missing(&format!("no domain with matching uuid '{uuid}'")))
}

pub(super) async fn by_name(daemon: &Daemon, name: &str) -> Result<Domain, WireError> {
    let no_such = || missing(&format!("no domain with matching name '{name}'"));
    let wanted: GuestName = name.parse().map_err(|_| no_such())?;
    let find = move |state: &State| {
        let def = state.guest_named(&wanted).and_then(|uuid| state.guest(uuid))?;
        Some(object(state, def))
    };
    daemon.engine.read(find).await.map_err(refused)?.ok_or_else(no_such)
}

pub(super) async fn by_id(daemon: &Daemon, id: i32) -> Result<Domain, WireError> {
    let find = move |state: &State| {
        let run = state.runs.values().find(|run| run.id == id)?;
        Some(object(state, &run.definition))
    };
    let found = daemon.engine.read(find).await.map_err(refused)?;
    found.ok_or_else(|| missing(&format!("no domain with matching id {id}")))
}

/// All guests that the flags ask for: within a group of flags any, over the groups all.
pub(super) async fn list_all(daemon: &Daemon, flags: u32) -> Result<Vec<Domain>, WireError> {
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
    let guests = list_all(daemon, f::CONNECT_LIST_DOMAINS_INACTIVE).await?;
    Ok(guests.into_iter().map(|guest| guest.name).collect())
}

/// Reads a document and fills in what it leaves out. Without a UUID it is a new version of the
/// guest of its name, or gets a fresh one.
pub(super) async fn definition(daemon: &Daemon, xml: &str) -> Result<GuestDefinition, WireError> {
    let mut guest = super::parsed(xml, parse)
        .await?
        .map_err(|fault| wire_error::document(ErrorDomain::Domain, &fault))?;
    let name = guest.name.clone();
    let known = daemon.engine.read(move |state| state.guest_named(&name)).await.map_err(refused)?;
    guest.uuid = guest.uuid.or(known);
    if guest.emulator.is_none() {
        guest.emulator = Some(daemon.config.emulator.display().to_string());
    }
    guest.fill_in(&mut || Uuid::new_v4().as_u64_pair().0);
    let xml = print_with_secrets(&guest, Form::Inactive);
    GuestDefinition::from_document(&guest, xml).map_err(refused)
}

pub(super) async fn define(daemon: &Daemon, xml: &str) -> Result<Domain, WireError> {
    let definition = definition(daemon, xml).await?;
    let uuid = definition.uuid;
    ask(daemon, Request::GuestDefine(Box::new(definition))).await?;
    by_uuid(daemon, uuid).await
}

pub(super) async fn create(daemon: &Daemon, args: &XmlFlags) -> Result<Domain, WireError> {
    let paused = paused(args.flags)?;
    let definition = Box::new(definition(daemon, &args.xml).await?);
    let uuid = definition.uuid;
    daemon.observer.look().await;
    ask(daemon, Request::GuestCreate { definition, paused }).await?;
    by_uuid(daemon, uuid).await
}

pub(super) async fn start(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<Domain, WireError> {
    let paused = paused(flags)?;
    daemon.observer.look().await;
    ask(daemon, Request::GuestStart { guest: guest.uuid, paused }).await?;
    by_uuid(daemon, guest.uuid).await
}

/// Which start flags are served.
fn paused(flags: u32) -> Result<bool, WireError> {
    if flags & f::DOMAIN_START_AUTODESTROY != 0 {
        let detail = "a guest that ends with its client (autodestroy)";
        return Err(WireError::new(ErrorDomain::Qemu, ErrorCode::ArgumentUnsupported, detail));
    }
    Ok(flags & f::DOMAIN_START_PAUSED != 0)
}

pub(super) async fn destroy(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    ask(daemon, Request::GuestDestroy(guest.uuid)).await.map(drop)
}

pub(super) async fn undefine(daemon: &Daemon, guest: &Domain, flags: u32) -> Result<(), WireError> {
    let nvram = parsed(daemon, guest).await.ok().and_then(|it| it.os.nvram).and_then(|it| it.path);
    let (drop_it, keep_it) = (f::DOMAIN_UNDEFINE_NVRAM, f::DOMAIN_UNDEFINE_KEEP_NVRAM);
    let nvram = nvram.filter(|path| std::path::Path::new(path).exists());
    if let (Some(path), 0) = (&nvram, flags & (drop_it | keep_it)) {
        let message = format!("the guest has UEFI variables in {path}");
        let refusal = Refusal::new(RefusalKind::OperationInvalid, message)
            .hint("say --nvram to delete them, or --keep-nvram");
        return Err(refused(refusal));
    }
    let undefined = ask(daemon, Request::GuestUndefine(guest.uuid)).await;
    let nvram = nvram.filter(|_| flags & drop_it != 0);
    if let (Some(path), true) = (&nvram, daemon.engine.has_planned()) {
        daemon.engine.would("delete", format!("delete {path}"));
    }
    undefined?;
    if let Some(path) = nvram
        && let Err(fault) = std::fs::remove_file(&path)
    {
        tracing::warn!("cannot remove {path}: {fault}");
    }
    Ok(())
}

async fn command(daemon: &Daemon, guest: &Domain, command: GuestCommand) -> Result<(), WireError> {
    let name = by_uuid(daemon, guest.uuid).await?.name;
    if daemon.engine.only_plans() {
        if daemon.guests.live(guest.uuid).is_some() {
            daemon.engine.would("tell", format!("{} guest {}", command.words(), &*name));
        }
        return Err(wire_error::command(&CommandError::NotRunning));
    }
    daemon.guests.command(guest.uuid, command).await.map_err(|fault| {
        tracing::debug!(%name, ?command, "{fault}");
        wire_error::command(&fault)
    })
}

pub(super) async fn power_off(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<(), WireError> {
    if flags != 0 && flags & f::DOMAIN_SHUTDOWN_ACPI_POWER_BTN == 0 {
        let detail = "shutting down other than by the ACPI power button";
        return Err(WireError::new(ErrorDomain::Qemu, ErrorCode::ArgumentUnsupported, detail));
    }
    command(daemon, guest, GuestCommand::PowerOff).await
}

pub(super) async fn reset(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    command(daemon, guest, GuestCommand::Reset).await
}

pub(super) async fn suspend(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    command(daemon, guest, GuestCommand::Suspend).await?;
    heard(daemon, guest.uuid, Phase::Paused).await;
    Ok(())
}

pub(super) async fn resume(daemon: &Daemon, guest: &Domain) -> Result<(), WireError> {
    command(daemon, guest, GuestCommand::Resume).await?;
    heard(daemon, guest.uuid, Phase::Running).await;
    Ok(())
}

/// Waits until the engine has heard of a command's effect from the guest, so that whoever asks
/// next is told of it, and whoever listens hears of it before the effects of the next command.
async fn heard(daemon: &Daemon, guest: Uuid, phase: Phase) {
    for _ in 0..LOOKS {
        let is_so = move |state: &State| {
            let now = state.runs.get(&guest).map(|run| run.phase);
            now.is_none_or(|now| now == phase || now == Phase::Ending)
        };
        if daemon.engine.read(is_so).await.unwrap_or(true) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The guest's document: the running one, else the kept one.
pub(super) async fn parsed(daemon: &Daemon, guest: &Domain) -> Result<Guest, WireError> {
    if let Some(live) = daemon.guests.live(guest.uuid) {
        return Ok(live.guest);
    }
    let uuid = guest.uuid;
    let find = move |state: &State| {
        let running = state.runs.get(&uuid).map(|run| run.definition.xml.clone());
        running.or_else(|| state.guest(uuid).map(|def| def.xml.clone()))
    };
    let xml = read(daemon, uuid, find).await?.unwrap_or_default();
    parse(&xml).map_err(|fault| wire_error::document(ErrorDomain::Domain, &fault))
}

pub(super) async fn document(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<Text, WireError> {
    let uuid = guest.uuid;
    let print = |guest: &Guest, form: Form<'_>| {
        let secure = flags & f::DOMAIN_XML_SECURE != 0;
        text(if secure { print_with_secrets(guest, form) } else { print(guest, form) })
    };
    let inactive = flags & (f::DOMAIN_XML_INACTIVE | f::DOMAIN_XML_MIGRATABLE) != 0;
    if !inactive && let Some(live) = daemon.guests.live(uuid) {
        by_uuid(daemon, uuid).await?;
        return Ok(print(&live.guest, Form::Live(&live.live)));
    }
    let xml = read(daemon, uuid, move |state| state.guest(uuid).map(|def| def.xml.clone())).await?;
    let parsed = parse(&xml.unwrap_or_default())
        .map_err(|fault| wire_error::document(ErrorDomain::Domain, &fault))?;
    Ok(print(&parsed, Form::Inactive))
}

pub(super) async fn info(daemon: &Daemon, guest: &Domain) -> Result<DomainInfo, WireError> {
    let parsed = parsed(daemon, guest).await?;
    let state = state(daemon, guest).await?.state;
    Ok(DomainInfo {
        state: u8::try_from(state).unwrap_or_default(),
        max_memory: parsed.memory_kib,
        memory: parsed.current_memory_kib,
        vcpus: u16::try_from(parsed.vcpus).unwrap_or(u16::MAX),
        cpu_time: daemon.guests.cpu_time(guest.uuid).unwrap_or(0),
    })
}

pub(super) async fn state(daemon: &Daemon, guest: &Domain) -> Result<DomainState, WireError> {
    let uuid = guest.uuid;
    let (phase, ended) = read(daemon, uuid, move |state| {
        (state.runs.get(&uuid).map(|run| run.phase), state.last_ends.get(&uuid).cloned())
    })
    .await?;
    let (state, reason) = match (phase, ended) {
        (Some(Phase::Preparing | Phase::Launching), _) => {
            (f::domain_state::PAUSED, f::domain_paused::STARTING_UP)
        }
        (Some(Phase::Running), _) => (f::domain_state::RUNNING, f::domain_running::BOOTED),
        (Some(Phase::Paused), _) => (f::domain_state::PAUSED, f::domain_paused::USER),
        (Some(Phase::ShuttingDown | Phase::Ending), _) => (f::domain_state::SHUTDOWN, 0),
        (None, ended) => {
            let reason = match ended {
                Some(Ended::PoweredOff) => f::domain_shutoff::SHUTDOWN,
                Some(Ended::Destroyed) => f::domain_shutoff::DESTROYED,
                Some(Ended::Crashed(_)) => f::domain_shutoff::CRASHED,
                Some(Ended::Lost) => f::domain_shutoff::DAEMON,
                None => f::domain_shutoff::UNKNOWN,
            };
            (f::domain_state::SHUTOFF, reason)
        }
    };
    Ok(DomainState { state, reason })
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

pub(super) async fn autostart(daemon: &Daemon, guest: &Domain) -> Result<i32, WireError> {
    let uuid = guest.uuid;
    let on = move |state: &State| state.guests.get(&uuid).is_some_and(|entry| entry.autostart);
    Ok(flag(read(daemon, uuid, on).await?))
}

pub(super) async fn set_autostart(
    daemon: &Daemon,
    guest: &Domain,
    on: bool,
) -> Result<(), WireError> {
    ask(daemon, Request::GuestAutostart(guest.uuid, on)).await.map(drop)
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
