//! Guests (libvirt: domains): the table of the calls about them, and how they are found. What a
//! call does is in the module of its subject.

mod agent;
mod capabilities;
mod define;
mod devices;
mod documents;
mod edits;
mod life;
mod lists;
mod states;
mod stats;

use uuid::Uuid;
use vfnet_engine::{Answer, GuestDefinition, Refusal, Request, State};
use vfnet_model::GuestName;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::objects::{Domain, Listed};
use vfnet_rpc::remote::{Call, DomainMemoryFlags, DomainVcpusFlags};
use vfnet_rpc::{flags as f, qemu};

use super::{Outcome, count, list, room, text};
use crate::{Daemon, wire_error};
pub(super) use define::definition;
pub(super) use documents::parsed;
pub(crate) use life::open_console;

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused(refusal: Refusal) -> WireError {
    wire_error::refusal(ErrorDomain::Qemu, &refusal)
}

fn error(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::Qemu, code, detail)
}

fn missing(what: &str) -> WireError {
    error(ErrorCode::NoDomain, what)
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

async fn by_id(daemon: &Daemon, id: i32) -> Result<Domain, WireError> {
    let find = move |state: &State| {
        let run = state.runs.values().find(|run| run.id == id)?;
        Some(object(state, &run.definition))
    };
    let found = daemon.engine.read(find).await.map_err(refused)?;
    found.ok_or_else(|| missing(&format!("no domain with matching id {id}")))
}

/// Serves a call about guests, or one about storage.
pub(super) async fn serve(daemon: &Daemon, call: Call) -> Outcome {
    Ok(match call {
        Call::ConnectListAllDomains(args, a) => {
            let guests = lists::all(daemon, args.flags).await?;
            a.with(&Listed::answer(&args, list(guests)))
        }
        Call::ConnectNumOfDomains((), a) => a.with(&count(&lists::ids(daemon).await?)),
        Call::ConnectListDomains(most, a) => a.with(&list(room(lists::ids(daemon).await?, most))),
        Call::ConnectNumOfDefinedDomains((), a) => {
            a.with(&count(&lists::inactive_names(daemon).await?))
        }
        Call::ConnectListDefinedDomains(most, a) => {
            a.with(&list(room(lists::inactive_names(daemon).await?, most)))
        }
        Call::DomainLookupById(id, a) => a.with(&by_id(daemon, id).await?),
        Call::DomainLookupByName(name, a) => a.with(&by_name(daemon, &name).await?),
        Call::DomainLookupByUuid(uuid, a) => a.with(&by_uuid(daemon, uuid).await?),

        Call::DomainDefineXml(xml, a) => a.with(&define::define(daemon, &xml).await?),
        Call::DomainDefineXmlFlags(args, a) => a.with(&define::define(daemon, &args.xml).await?),
        Call::DomainUndefine(it, a) => define::undefine(daemon, &it, 0).await.map(|()| a.done())?,
        Call::DomainUndefineFlags(args, a) => {
            define::undefine(daemon, &args.domain, args.flags).await.map(|()| a.done())?
        }
        Call::DomainGetAutostart(it, a) => a.with(&define::autostart(daemon, &it).await?),
        Call::DomainSetAutostart(args, a) => {
            define::set_autostart(daemon, &args.domain, args.autostart != 0).await?;
            a.done()
        }

        Call::DomainCreateXml(args, a) => a.with(&life::create(daemon, &args).await?),
        Call::DomainCreate(it, a) => life::start(daemon, &it, 0).await.map(|_| a.done())?,
        Call::DomainCreateWithFlags(args, a) => {
            a.with(&life::start(daemon, &args.domain, args.flags).await?)
        }
        Call::DomainDestroy(it, a) => life::destroy(daemon, &it, 0).await.map(|()| a.done())?,
        Call::DomainDestroyFlags(args, a) => {
            life::destroy(daemon, &args.domain, args.flags).await.map(|()| a.done())?
        }
        Call::DomainShutdown(it, a) => life::power_off(daemon, &it, 0).await.map(|()| a.done())?,
        Call::DomainShutdownFlags(args, a) => {
            life::power_off(daemon, &args.domain, args.flags).await.map(|()| a.done())?
        }
        Call::DomainReboot(args, a) => {
            life::reboot(daemon, &args.domain, args.flags).await.map(|()| a.done())?
        }
        Call::DomainReset(args, a) => life::reset(daemon, &args.domain).await.map(|()| a.done())?,
        Call::DomainSuspend(it, a) => life::suspend(daemon, &it).await.map(|()| a.done())?,
        Call::DomainResume(it, a) => life::resume(daemon, &it).await.map(|()| a.done())?,
        Call::DomainSave(args, a) => life::save(daemon, &args.domain).await.map(|()| a.done())?,
        Call::DomainSaveParams(args, a) => {
            life::save(daemon, &args.domain).await.map(|()| a.done())?
        }
        Call::DomainSaveFlags(args, a) => {
            life::save(daemon, &args.domain).await.map(|()| a.done())?
        }
        Call::DomainManagedSave(args, a) => {
            life::save(daemon, &args.domain).await.map(|()| a.done())?
        }

        Call::DomainAttachDevice(args, a) => {
            devices::attach(daemon, &args.domain, &args.xml, f::AFFECT_LIVE).await?;
            a.done()
        }
        Call::DomainAttachDeviceFlags(args, a) => {
            devices::attach(daemon, &args.domain, &args.device, args.flags).await?;
            a.done()
        }
        Call::DomainDetachDevice(args, a) => {
            let named = devices::described(&args.xml).await?.into();
            devices::detach(daemon, &args.domain, named, f::AFFECT_LIVE).await?;
            a.done()
        }
        Call::DomainDetachDeviceFlags(args, a) => {
            let named = devices::described(&args.device).await?.into();
            devices::detach(daemon, &args.domain, named, args.flags).await?;
            a.done()
        }
        Call::DomainDetachDeviceAlias(args, a) => {
            let named = devices::Named::Alias(args.device.to_string());
            devices::detach(daemon, &args.domain, named, args.flags).await?;
            a.done()
        }
        Call::DomainUpdateDeviceFlags(args, a) => {
            devices::update(daemon, &args.domain, &args.device, args.flags).await?;
            a.done()
        }

        call => return facts(daemon, call).await,
    })
}

/// The part of the table that tells what a guest is, and changes that.
async fn facts(daemon: &Daemon, call: Call) -> Outcome {
    Ok(match call {
        Call::DomainGetInfo(it, a) => a.with(&states::info(daemon, &it).await?),
        Call::DomainGetState(args, a) => a.with(&states::state(daemon, &args.domain).await?),
        Call::DomainIsActive(it, a) => a.with(&states::is_active(daemon, &it).await?),
        Call::DomainIsPersistent(it, a) => a.with(&states::is_persistent(daemon, &it).await?),
        Call::DomainIsUpdated(it, a) => a.with(&states::is_updated(daemon, &it).await?),
        Call::DomainGetXmlDesc(args, a) => {
            a.with(&documents::document(daemon, &args.domain, args.flags).await?)
        }
        Call::DomainGetOsType(it, a) => {
            by_uuid(daemon, it.uuid).await?;
            a.with(&text("hvm"))
        }
        Call::DomainGetMaxMemory(it, a) => a.with(&parsed(daemon, &it).await?.memory_kib),
        Call::DomainGetMaxVcpus(it, a) => a.with(&states::vcpus(daemon, &it).await?),
        Call::DomainGetVcpusFlags(args, a) => {
            a.with(&edits::vcpus(daemon, &args.domain, args.flags).await?)
        }
        Call::DomainSetMaxMemory(args, a) => {
            let flags = f::DOMAIN_MEM_MAXIMUM;
            let args = DomainMemoryFlags { domain: args.domain, memory: args.memory, flags };
            edits::set_memory(daemon, &args).await.map(|()| a.done())?
        }
        Call::DomainSetMemory(args, a) => {
            let flags = f::AFFECT_LIVE;
            let args = DomainMemoryFlags { domain: args.domain, memory: args.memory, flags };
            edits::set_memory(daemon, &args).await.map(|()| a.done())?
        }
        Call::DomainSetMemoryFlags(args, a) => {
            edits::set_memory(daemon, &args).await.map(|()| a.done())?
        }
        Call::DomainSetVcpus(args, a) => {
            let flags = f::AFFECT_LIVE;
            let args = DomainVcpusFlags { domain: args.domain, vcpus: args.vcpus, flags };
            edits::set_vcpus(daemon, &args).await.map(|()| a.done())?
        }
        Call::DomainSetVcpusFlags(args, a) => {
            edits::set_vcpus(daemon, &args).await.map(|()| a.done())?
        }
        Call::DomainSetMetadata(args, a) => {
            edits::set_metadata(daemon, args).await.map(|()| a.done())?
        }
        Call::DomainGetMetadata(args, a) => a.with(&edits::metadata_of(daemon, &args).await?),
        Call::DomainHasManagedSaveImage(args, a) => {
            by_uuid(daemon, args.domain.uuid).await?;
            a.with(&0)
        }
        Call::DomainSnapshotNum(args, a) => {
            by_uuid(daemon, args.domain.uuid).await?;
            a.with(&0)
        }
        Call::DomainMemoryStats(args, a) => a.with(&stats::memory(daemon, &args).await?),
        Call::DomainInterfaceStats(args, a) => a.with(&stats::interface(daemon, &args).await?),
        Call::DomainInterfaceAddresses(args, a) => a.with(&agent::addresses(daemon, &args).await?),
        Call::ConnectGetAllDomainStats(args, a) => a.with(&stats::all(daemon, &args).await?),
        Call::ConnectGetDomainCapabilities(args, a) => {
            a.with(&capabilities::of_guests(daemon, &args).await?)
        }
        call => return super::storage::serve(daemon, call).await,
    })
}

/// Serves a call of libvirt's program for QEMU.
pub(super) async fn qemu(daemon: &Daemon, call: qemu::Call) -> Outcome {
    Ok(match call {
        qemu::Call::MonitorCommand(args, a) => a.with(&agent::monitor(daemon, &args).await?),
        qemu::Call::AgentCommand(args, a) => a.with(&agent::command(daemon, &args).await?),
    })
}
