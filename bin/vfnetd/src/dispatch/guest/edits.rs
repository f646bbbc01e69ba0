//! Changes of guests' documents in parts: title, description, metadata, memory, virtual CPUs.
//!
//! A new document is made here, on a thread that may take its time, out of what is on record; the
//! engine takes it when nobody else has changed that meanwhile.

use serde_json::json;
use vfnet_engine::{GuestDefinition, GuestEdit, Metadata, RefusalKind, Request, Revision};
use vfnet_model::guest::metadata::{self, Change, Item, MetadataError};
use vfnet_model::guest::{Form, Guest, MAX_VCPUS, print_with_secrets};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{self as f, AFFECT_CONFIG, AFFECT_LIVE, metadata as kind};
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{
    DomainGetMetadataArgs, DomainMemoryFlags, DomainSetMetadataArgs, DomainVcpusFlags,
};
use vfnet_rpc::xdr::Text;

use super::super::text;
use super::agent;
use super::documents::{Documents, documents, reread};
use super::{error, refused};
use crate::aside::aside;
use crate::{Daemon, wire_error};

/// How often a change is made anew because somebody else was faster.
pub(super) const TRIES: usize = 10;

fn invalid(detail: &str) -> WireError {
    wire_error::invalid(ErrorDomain::Qemu, detail)
}

/// The documents that the flags choose: without any the running one, or the kept one of a guest
/// that does not run (libvirt: `virDomainObjUpdateModificationImpact`).
pub(super) async fn chosen(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<Documents, WireError> {
    let Documents { live, config } = documents(daemon, guest).await?;
    let (wants_live, wants_config) = match flags & (AFFECT_LIVE | AFFECT_CONFIG) {
        0 => (live.is_some(), live.is_none()),
        flags => (flags & AFFECT_LIVE != 0, flags & AFFECT_CONFIG != 0),
    };
    let refused = |why| Err(error(ErrorCode::OperationInvalid, why));
    if wants_live && live.is_none() {
        return refused("the guest is not running");
    }
    if wants_config && config.is_none() {
        return refused("the guest is transient: it has no configuration");
    }
    Ok(Documents { live: live.filter(|_| wants_live), config: config.filter(|_| wants_config) })
}

/// The one document that the flags choose, to be read.
async fn one(daemon: &Daemon, guest: &Domain, flags: u32) -> Result<(Guest, bool), WireError> {
    if flags & AFFECT_LIVE != 0 && flags & AFFECT_CONFIG != 0 {
        return Err(invalid("either the running guest is asked of or its configuration"));
    }
    let Documents { live, config } = chosen(daemon, guest, flags).await?;
    let is_live = live.is_some();
    Ok((reread(&live.or(config).unwrap_or_default())?, is_live))
}

/// Makes a change to what the flags choose.
async fn revise(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
    announced: Option<Metadata>,
    make: impl Fn(&mut Guest) -> Result<(), WireError> + Clone + Send + 'static,
) -> Result<(), WireError> {
    let mut tries = 0;
    loop {
        let before = chosen(daemon, guest, flags).await?;
        let change = make.clone();
        let edits = aside(move || {
            let edited = |before: Option<String>| {
                let edit = |before: String| {
                    let mut guest = reread(&before)?;
                    change(&mut guest)?;
                    let after = definition(&guest)?;
                    Ok::<_, WireError>(GuestEdit { before, after })
                };
                before.map(edit).transpose()
            };
            Ok((edited(before.live)?, edited(before.config)?))
        });
        let (live, config) = edits.await??;
        let shown = live.as_ref().map(|edit| edit.after.xml.clone());
        let revision = Revision { guest: guest.uuid, live, config, metadata: announced.clone() };
        match daemon.engine.ask(Request::GuestRevise(Box::new(revision))).await {
            Ok(_) => {
                if let Some(xml) = shown {
                    daemon.guests.describe(guest.uuid, &reread(&xml)?);
                }
                return Ok(());
            }
            Err(refusal) if refusal.kind == RefusalKind::ChangedMeanwhile && tries < TRIES => {
                tries += 1;
            }
            Err(refusal) => return Err(refused(refusal)),
        }
    }
}

/// What is kept of a changed document, which can be read again.
pub(super) fn definition(guest: &Guest) -> Result<GuestDefinition, WireError> {
    let xml = print_with_secrets(guest, Form::Inactive);
    let guest = reread(&xml)?;
    GuestDefinition::from_document(&guest, xml).map_err(refused)
}

pub(super) async fn set_metadata(
    daemon: &Daemon,
    args: DomainSetMetadataArgs,
) -> Result<(), WireError> {
    let announced = match args.kind {
        kind::DESCRIPTION => Metadata::Description,
        kind::TITLE => Metadata::Title,
        kind::ELEMENT => {
            Metadata::Element(args.uri.as_ref().map(Text::to_string).unwrap_or_default())
        }
        other => return Err(no_kind(other)),
    };
    let DomainSetMetadataArgs { domain, metadata: value, key, uri, flags, .. } = args;
    let what = announced.clone();
    revise(daemon, &domain, flags, Some(announced), move |guest| {
        let value = value.as_deref();
        let (uri, prefix) =
            (uri.as_deref().unwrap_or_default(), key.as_deref().unwrap_or_default());
        let change = match (&what, value) {
            (Metadata::Description, value) => Change::Description(value),
            (Metadata::Title, value) => Change::Title(value),
            (Metadata::Element(_), Some(xml)) => Change::SetElement { uri, prefix, xml },
            (Metadata::Element(_), None) => Change::RemoveElement { uri },
        };
        metadata::set(guest, change).map_err(|fault| match &fault {
            MetadataError::Argument(why) => invalid(why),
            MetadataError::Document(fault) => wire_error::document(ErrorDomain::Domain, fault),
        })
    })
    .await
}

pub(super) async fn metadata_of(
    daemon: &Daemon,
    args: &DomainGetMetadataArgs,
) -> Result<Text, WireError> {
    let uri = args.uri.as_deref().unwrap_or_default();
    let (item, name) = match args.kind {
        kind::DESCRIPTION => (Item::Description, "description"),
        kind::TITLE => (Item::Title, "title"),
        kind::ELEMENT => (Item::Element { uri }, "metadata element of that namespace"),
        other => return Err(no_kind(other)),
    };
    let (guest, _) = one(daemon, &args.domain, args.flags).await?;
    metadata::get(&guest, item).map(text).ok_or_else(|| {
        let detail = format!("guest '{}' has no {name}", args.domain.name);
        error(ErrorCode::NoDomainMetadata, &detail)
    })
}

fn no_kind(kind: i32) -> WireError {
    invalid(&format!("there is no kind {kind} of metadata"))
}

pub(super) async fn set_memory(daemon: &Daemon, args: &DomainMemoryFlags) -> Result<(), WireError> {
    let (kib, maximum) = (args.memory, args.flags & f::DOMAIN_MEM_MAXIMUM != 0);
    if kib == 0 {
        return Err(invalid("a guest needs more memory than none"));
    }
    let Documents { live, config } = chosen(daemon, &args.domain, args.flags).await?;
    for document in [&live, &config].into_iter().flatten() {
        let most = reread(document)?.memory_kib;
        if !maximum && kib > most {
            let detail = format!("{kib} KiB of memory are more than the guest's most, {most} KiB");
            return Err(invalid(&detail));
        }
    }
    if live.is_some() {
        if maximum {
            let detail = "the most memory of a guest cannot be changed while it runs";
            return Err(error(ErrorCode::OperationInvalid, detail));
        }
        let arguments = json!({ "value": kib.saturating_mul(1024) });
        let told = daemon.guests.execute(args.domain.uuid, "balloon", arguments).await;
        told.map_err(|fault| wire_error::command(&fault))?;
    }
    if config.is_none() {
        return Ok(());
    }
    revise(daemon, &args.domain, AFFECT_CONFIG, None, move |guest| {
        if maximum {
            guest.memory_kib = kib;
            guest.current_memory_kib = guest.current_memory_kib.min(kib);
        } else {
            guest.current_memory_kib = kib.min(guest.memory_kib);
        }
        Ok(())
    })
    .await
}

/// How many virtual CPUs a guest has, or may have.
pub(super) async fn vcpus(daemon: &Daemon, guest: &Domain, flags: u32) -> Result<i32, WireError> {
    if flags & f::DOMAIN_VCPU_GUEST != 0 {
        by_agent_alone(flags)?;
        return agent::online_vcpus(daemon, guest).await;
    }
    let (document, is_live) = one(daemon, guest, flags).await?;
    let live = daemon.guests.live(guest.uuid).filter(|_| is_live).map(|live| live.guest);
    let document = live.unwrap_or(document);
    let most = flags & f::DOMAIN_VCPU_MAXIMUM != 0;
    let count = if most { document.vcpus } else { document.current_vcpus };
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// What the agent tells and does is of the running guest, and no part of a document.
fn by_agent_alone(flags: u32) -> Result<(), WireError> {
    match flags & !(f::DOMAIN_VCPU_GUEST | AFFECT_LIVE) {
        0 => Ok(()),
        _ => Err(invalid("the agent knows of the virtual CPUs that the running guest uses alone")),
    }
}

pub(super) async fn set_vcpus(daemon: &Daemon, args: &DomainVcpusFlags) -> Result<(), WireError> {
    let (vcpus, maximum) = (args.vcpus, args.flags & f::DOMAIN_VCPU_MAXIMUM != 0);
    if args.flags & f::DOMAIN_VCPU_GUEST != 0 {
        by_agent_alone(args.flags)?;
        return agent::set_online_vcpus(daemon, &args.domain, vcpus).await;
    }
    if vcpus == 0 || vcpus > MAX_VCPUS {
        return Err(invalid(&format!("a guest has 1 to {MAX_VCPUS} virtual CPUs, not {vcpus}")));
    }
    let Documents { live, config } = chosen(daemon, &args.domain, args.flags).await?;
    for document in [&live, &config].into_iter().flatten() {
        let most = reread(document)?.vcpus;
        if !maximum && vcpus > most {
            let detail = format!("{vcpus} virtual CPUs are more than the guest's most, {most}");
            return Err(invalid(&detail));
        }
    }
    if live.is_some() {
        if maximum {
            let detail = "the most virtual CPUs of a guest cannot be changed while it runs";
            return Err(error(ErrorCode::OperationInvalid, detail));
        }
        let told = daemon.guests.set_vcpus(args.domain.uuid, vcpus).await;
        told.map_err(|fault| wire_error::command(&fault))?;
    }
    if config.is_none() {
        return Ok(());
    }
    revise(daemon, &args.domain, AFFECT_CONFIG, None, move |guest| {
        if maximum {
            guest.vcpus = vcpus;
            guest.current_vcpus = guest.current_vcpus.min(vcpus);
        } else {
            guest.current_vcpus = vcpus;
        }
        Ok(())
    })
    .await
}
