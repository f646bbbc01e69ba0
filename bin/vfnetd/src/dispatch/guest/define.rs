//! Guests that are kept: their documents, and whether they start with the host.

use uuid::Uuid;
use vfnet_engine::{GuestDefinition, Refusal, RefusalKind, Request, State};
use vfnet_model::explain;
use vfnet_model::guest::{Form, parse, print_with_secrets};
use vfnet_rpc::error::{ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;

use super::super::flag;
use super::{ask, by_uuid, read, refused};
use crate::aside::aside;
use crate::{Daemon, wire_error};

/// Reads a document and fills in what it leaves out. Without a UUID it is a new version of the
/// guest of its name, or gets a fresh one.
pub(in super::super) async fn definition(
    daemon: &Daemon,
    xml: &str,
) -> Result<GuestDefinition, WireError> {
    let mut guest = super::super::parsed(xml, parse)
        .await?
        .map_err(|fault| wire_error::document(ErrorDomain::Domain, &fault))?;
    let name = guest.name.clone();
    let known = daemon.engine.read(move |state| state.guest_named(&name)).await.map_err(refused)?;
    guest.uuid = guest.uuid.or(known);
    let emulator =
        guest.emulator.get_or_insert_with(|| daemon.config.emulator.display().to_string()).clone();
    guest.os.machine = Some(kept_machine(guest.os.machine.take(), emulator).await?);
    guest.fill_in_with(daemon.config.mac_prefix, &mut || Uuid::new_v4().as_u64_pair().0);
    let xml = print_with_secrets(&guest, Form::Inactive);
    GuestDefinition::from_document(&guest, xml).map_err(refused)
}

/// The machine that a guest is to have from now on: what `pc` and `q35` mean changes with QEMU,
/// and a guest's cards are to stay where they are. An emulator that cannot be asked is named when
/// the guest is started.
async fn kept_machine(written: Option<String>, emulator: String) -> Result<String, WireError> {
    let written = written.unwrap_or_else(|| "pc".to_owned());
    let asked = written.clone();
    let known = move || vfnet_qemu::emulator::machine(emulator.as_ref(), &asked);
    let machine = aside(known).await?.unwrap_or_else(|fault| {
        tracing::warn!("machine '{written}' stays as it is written: {}", explain(&fault));
        None
    });
    // Only what documents may say.
    Ok(machine.filter(|it| it.starts_with("pc-")).unwrap_or(written))
}

pub(super) async fn define(daemon: &Daemon, xml: &str) -> Result<Domain, WireError> {
    let definition = definition(daemon, xml).await?;
    let uuid = definition.uuid;
    ask(daemon, Request::GuestDefine(Box::new(definition))).await?;
    by_uuid(daemon, uuid).await
}

pub(super) async fn undefine(daemon: &Daemon, guest: &Domain, flags: u32) -> Result<(), WireError> {
    let nvram =
        super::parsed(daemon, guest).await.ok().and_then(|it| it.os.nvram).and_then(|it| it.path);
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
