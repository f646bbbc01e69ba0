//! Changes of a network's document: sections (`net-update`), title, description and metadata.
//!
//! The new document is made here, on a thread that may take its time, out of what the state has;
//! the engine takes it when nobody else has changed that meanwhile.

use vfnet_engine::{Edited, Metadata, NetworkEdit, RefusalKind, Request, State};
use vfnet_model::network::metadata::{self, Change, Item, MetadataError};
use vfnet_model::network::{
    Command, Form, Network as Document, Section, UpdateError, parse, print,
    update as update_section,
};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{AFFECT_CONFIG, AFFECT_LIVE, metadata as kind, network_update as number};
use vfnet_rpc::objects::Network;
use vfnet_rpc::remote::{NetworkGetMetadataArgs, NetworkSetMetadataArgs, NetworkUpdateArgs};
use vfnet_rpc::xdr::Text;

use super::network::{read, refused};
use super::text;
use crate::aside::aside;
use crate::{Daemon, wire_error};

/// How often a change is made anew because somebody else was faster.
const TRIES: usize = 10;

fn error(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::Network, code, detail)
}

fn invalid(detail: &str) -> WireError {
    wire_error::invalid(ErrorDomain::Network, detail)
}

/// The documents of a network: the running one's and the kept one's.
#[derive(Debug)]
struct Documents {
    live: Option<Document>,
    config: Option<Document>,
}

/// Those that the flags choose: without any the running one, or the kept one of a network that
/// does not run (libvirt: `virNetworkObjUpdateModificationImpact`).
async fn chosen(daemon: &Daemon, network: &Network, flags: u32) -> Result<Documents, WireError> {
    let uuid = network.uuid;
    let both = move |state: &State| Documents {
        live: state.live_networks.get(&uuid).map(|live| live.definition.network.clone()),
        config: state.networks.get(&uuid).map(|entry| entry.definition.network.clone()),
    };
    let found = read(daemon, uuid, both).await?;
    let active = found.live.is_some();
    let (live, config) = match flags {
        0 => (active, !active),
        flags => (flags & AFFECT_LIVE != 0, flags & AFFECT_CONFIG != 0),
    };
    if live && !active {
        let detail = format!("network '{}' is not active", network.name);
        return Err(error(ErrorCode::OperationInvalid, &detail));
    }
    if config && found.config.is_none() {
        let detail = format!("network '{}' is transient: it has no configuration", network.name);
        return Err(error(ErrorCode::OperationInvalid, &detail));
    }
    Ok(Documents { live: found.live.filter(|_| live), config: found.config.filter(|_| config) })
}

/// Makes a change to what the flags choose: to both or to none.
async fn change(
    daemon: &Daemon,
    network: &Network,
    flags: u32,
    announced: Option<Metadata>,
    make: impl Fn(&Document) -> Result<Document, WireError> + Clone + Send + 'static,
) -> Result<(), WireError> {
    let mut tries = 0;
    loop {
        let before = chosen(daemon, network, flags).await?;
        let make = make.clone();
        let edit = aside(move || {
            let edited = |before: Option<Document>| {
                before.map(|before| Ok(Edited { after: make(&before)?, before })).transpose()
            };
            Ok((edited(before.live)?, edited(before.config)?))
        });
        let (live, config) = edit.await??;
        let edit = NetworkEdit { network: network.uuid, live, config, metadata: announced.clone() };
        match daemon.engine.ask(Request::NetworkEdit(Box::new(edit))).await {
            Ok(_) => return Ok(()),
            Err(refusal) if refusal.kind == RefusalKind::ChangedMeanwhile && tries < TRIES => {
                tries += 1;
            }
            Err(refusal) => return Err(refused(refusal)),
        }
    }
}

pub(super) async fn update(daemon: &Daemon, args: &NetworkUpdateArgs) -> Result<(), WireError> {
    let command = match args.command {
        number::MODIFY => Command::Modify,
        number::DELETE => Command::Delete,
        number::ADD_LAST => Command::AddLast,
        number::ADD_FIRST => Command::AddFirst,
        other => return Err(invalid(&format!("there is no update command {other}"))),
    };
    let section = match args.section {
        number::SECTION_BRIDGE => Section::Bridge,
        number::SECTION_DOMAIN => Section::Domain,
        number::SECTION_IP => Section::Ip,
        number::SECTION_IP_DHCP_HOST => Section::IpDhcpHost,
        number::SECTION_IP_DHCP_RANGE => Section::IpDhcpRange,
        number::SECTION_FORWARD => Section::Forward,
        number::SECTION_FORWARD_INTERFACE => Section::ForwardInterface,
        number::SECTION_FORWARD_PF => Section::ForwardPf,
        number::SECTION_PORTGROUP => Section::Portgroup,
        number::SECTION_DNS_HOST => Section::DnsHost,
        number::SECTION_DNS_TXT => Section::DnsTxt,
        number::SECTION_DNS_SRV => Section::DnsSrv,
        other => return Err(invalid(&format!("there is no section {other} of a network"))),
    };
    daemon.observer.look().await;
    let (parent, xml) = (args.parent_index, args.xml.to_string());
    change(daemon, &args.network, args.flags, None, move |network| {
        update_section(network, command, section, parent, &xml).map_err(|fault| match &fault {
            UpdateError::Document(fault) => wire_error::document(ErrorDomain::Network, fault),
            UpdateError::Invalid(why) => error(ErrorCode::OperationInvalid, why),
            UpdateError::Unsupported(why) => error(ErrorCode::OperationUnsupported, why),
        })
    })
    .await
}

pub(super) async fn set_metadata(
    daemon: &Daemon,
    args: NetworkSetMetadataArgs,
) -> Result<(), WireError> {
    let announced = match args.kind {
        kind::DESCRIPTION => Metadata::Description,
        kind::TITLE => Metadata::Title,
        kind::ELEMENT => {
            Metadata::Element(args.uri.as_ref().map(Text::to_string).unwrap_or_default())
        }
        other => return Err(no_kind(other)),
    };
    let NetworkSetMetadataArgs { network, metadata: value, key, uri, flags, .. } = args;
    let what = announced.clone();
    change(daemon, &network, flags, Some(announced), move |network| {
        let value = value.as_deref();
        let (uri, prefix) =
            (uri.as_deref().unwrap_or_default(), key.as_deref().unwrap_or_default());
        let change = match (&what, value) {
            (Metadata::Description, value) => Change::Description(value),
            (Metadata::Title, value) => Change::Title(value),
            (Metadata::Element(_), Some(xml)) => Change::SetElement { uri, prefix, xml },
            (Metadata::Element(_), None) => Change::RemoveElement { uri },
        };
        let mut changed = network.clone();
        metadata::set(&mut changed, change).map_err(|fault| match &fault {
            MetadataError::Argument(why) => invalid(why),
            MetadataError::Document(fault) => wire_error::document(ErrorDomain::Network, fault),
        })?;
        // A text may have characters that no document can.
        parse(&print(&changed, Form::Inactive)).map_err(|fault| invalid(&fault.to_string()))?;
        Ok(changed)
    })
    .await
}

pub(super) async fn metadata_of(
    daemon: &Daemon,
    args: &NetworkGetMetadataArgs,
) -> Result<Text, WireError> {
    let uri = args.uri.as_deref().unwrap_or_default();
    let (item, name) = match args.kind {
        kind::DESCRIPTION => (Item::Description, "description"),
        kind::TITLE => (Item::Title, "title"),
        kind::ELEMENT => (Item::Element { uri }, "metadata element of that namespace"),
        other => return Err(no_kind(other)),
    };
    if args.flags == AFFECT_LIVE | AFFECT_CONFIG {
        return Err(invalid("metadata are read either of the running network or of the kept one"));
    }
    let Documents { live, config } = chosen(daemon, &args.network, args.flags).await?;
    let found = live.or(config).and_then(|network| metadata::get(&network, item));
    found.map(text).ok_or_else(|| {
        let detail = format!("network '{}' has no {name}", args.network.name);
        error(ErrorCode::NoNetworkMetadata, &detail)
    })
}

fn no_kind(kind: i32) -> WireError {
    invalid(&format!("there is no kind {kind} of metadata"))
}
