//! Guests' documents.

use std::collections::BTreeMap;

use uuid::Uuid;
use vfnet_engine::State;
use vfnet_model::guest::{Attachment, Form, Guest, parse, print, print_with_secrets};
use vfnet_rpc::error::{ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::xdr::Text;

use super::super::text;
use super::{by_uuid, read};
use crate::guests::LiveDocument;
use crate::{Daemon, wire_error};

/// The documents of a guest: the running one's and the kept one's, as they are on record.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents {
    pub(super) live: Option<String>,
    pub(super) config: Option<String>,
}

pub(super) async fn documents(daemon: &Daemon, guest: &Domain) -> Result<Documents, WireError> {
    let uuid = guest.uuid;
    let both = move |state: &State| Documents {
        live: state.runs.get(&uuid).map(|run| run.definition.xml.clone()),
        config: state.guests.get(&uuid).map(|entry| entry.definition.xml.clone()),
    };
    read(daemon, uuid, both).await
}

/// What a running guest is by now: the tags of its VFs change with their networks.
pub(super) async fn running(daemon: &Daemon, guest: Uuid) -> Option<LiveDocument> {
    let mut document = daemon.guests.live(guest)?;
    let claims = move |state: &State| -> BTreeMap<_, _> {
        state.claims_of(guest).map(|claim| (claim.vf, claim.tag())).collect()
    };
    // A daemon that ends has no better answer than what was.
    let tags = daemon.engine.read(claims).await.unwrap_or_default();
    for became in &mut document.live.interfaces {
        if let Attachment::Vf { address, vlan, .. } = became
            && let Some(tag) = tags.get(address)
        {
            *vlan = *tag;
        }
    }
    Some(document)
}

/// Reads a document that was read before.
pub(super) fn reread(xml: &str) -> Result<Guest, WireError> {
    parse(xml).map_err(|fault| wire_error::document(ErrorDomain::Domain, &fault))
}

/// The guest's document: the running one, else the kept one.
pub(in super::super) async fn parsed(daemon: &Daemon, guest: &Domain) -> Result<Guest, WireError> {
    if let Some(live) = daemon.guests.live(guest.uuid) {
        by_uuid(daemon, guest.uuid).await?;
        return Ok(live.guest);
    }
    let Documents { live, config } = documents(daemon, guest).await?;
    reread(&live.or(config).unwrap_or_default())
}

pub(super) async fn document(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
) -> Result<Text, WireError> {
    let print = |guest: &Guest, form: Form<'_>| {
        let secure = flags & f::DOMAIN_XML_SECURE != 0;
        text(if secure { print_with_secrets(guest, form) } else { print(guest, form) })
    };
    let Documents { live, config } = documents(daemon, guest).await?;
    let xml = if flags & f::DOMAIN_XML_INACTIVE != 0 {
        config.or(live)
    } else if flags & f::DOMAIN_XML_MIGRATABLE != 0 {
        live.or(config)
    } else {
        if let Some(LiveDocument { guest, live }) = running(daemon, guest.uuid).await {
            return Ok(print(&guest, Form::Live(&live)));
        }
        config.or(live)
    };
    Ok(print(&reread(&xml.unwrap_or_default())?, Form::Inactive))
}
