//! Changing a section of a network (libvirt: `virNetworkDefUpdateSection`).
//!
//! The outcome is held to everything that a whole document is held to, so that no update makes
//! a network that could not be defined or read back. Whether a member is in use, only the
//! engine knows.

use std::fmt::Display;

use super::parse::{interface, portgroup, vf_address};
use super::{Form, Forward, Members, Network, PortGroup, parse, print};
use crate::NetworkName;
use crate::xml::{Document, DocumentError, Element};

/// What is done to an item of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// The item that is there is replaced.
    Modify,
    /// The item is removed.
    Delete,
    /// The item is put behind the others.
    AddLast,
    /// The item is put before the others.
    AddFirst,
}

/// Part of a network document that libvirt's clients can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// `<bridge>`.
    Bridge,
    /// `<domain>`.
    Domain,
    /// `<ip>`.
    Ip,
    /// `<host>` of `<dhcp>`.
    IpDhcpHost,
    /// `<range>` of `<dhcp>`.
    IpDhcpRange,
    /// `<forward>`.
    Forward,
    /// A member of the pool: `<interface>`, and here `<address>` too.
    ForwardInterface,
    /// `<pf>`.
    ForwardPf,
    /// `<portgroup>`.
    Portgroup,
    /// `<host>` of `<dns>`.
    DnsHost,
    /// `<txt>` of `<dns>`.
    DnsTxt,
    /// `<srv>` of `<dns>`.
    DnsSrv,
}

impl Section {
    /// virsh's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Domain => "domain",
            Self::Ip => "ip",
            Self::IpDhcpHost => "ip-dhcp-host",
            Self::IpDhcpRange => "ip-dhcp-range",
            Self::Forward => "forward",
            Self::ForwardInterface => "forward-interface",
            Self::ForwardPf => "forward-pf",
            Self::Portgroup => "portgroup",
            Self::DnsHost => "dns-host",
            Self::DnsTxt => "dns-txt",
            Self::DnsSrv => "dns-srv",
        }
    }
}

/// Why an update was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateError {
    /// The item, or the network with it, is wrong or not served.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The network is not one to which this can be done (VIR_ERR_OPERATION_INVALID 55).
    #[error("{0}")]
    Invalid(String),
    /// Nothing does this (VIR_ERR_OPERATION_UNSUPPORTED 84).
    #[error("{0}")]
    Unsupported(String),
}

/// The network with one item of a section changed.
///
/// `parent` is the index of the `<ip>` that a DHCP item belongs to, -1 for the first that fits.
///
/// # Errors
/// See [`UpdateError`]; nothing has been changed then.
pub fn update(
    network: &Network,
    command: Command,
    section: Section,
    parent: i32,
    xml: &str,
) -> Result<Network, UpdateError> {
    let mut updated = network.clone();
    match section {
        Section::Portgroup => update_portgroup(&mut updated, command, xml)?,
        Section::ForwardInterface => update_member(&mut updated, command, xml)?,
        Section::IpDhcpHost | Section::IpDhcpRange => {
            let which = if parent < 0 { String::new() } else { format!(" with index {parent}") };
            return Err(UpdateError::Invalid(format!(
                "cannot update section '{}': network '{}' has no <ip>{which} that serves DHCP",
                section.name(),
                network.name
            )));
        }
        Section::Bridge
        | Section::Domain
        | Section::Ip
        | Section::Forward
        | Section::ForwardPf
        | Section::DnsHost
        | Section::DnsTxt
        | Section::DnsSrv => {
            return Err(UpdateError::Unsupported(format!(
                "cannot update section '{}' of a network: 'portgroup' and 'forward-interface' \
                 can be updated, for others define the network anew",
                section.name()
            )));
        }
    }
    // Lines are those of a document that nobody has seen.
    let again = parse(&print(&updated, Form::Inactive))
        .map_err(|fault| DocumentError { line: 0, ..fault })?;
    again.served()?;
    Ok(again)
}

fn update_portgroup(network: &mut Network, command: Command, xml: &str) -> Result<(), UpdateError> {
    let of_vfs = network.pool().is_some();
    let group = item(&Document::parse(xml)?, "portgroup", |group| portgroup(group, of_vfs))?;
    let place = network.portgroups.iter().position(|other| other.name == group.name);
    let other_default =
        network.portgroups.iter().find(|other| other.default && other.name != group.name);
    if let Some(other) = other_default
        && group.default
        && command != Command::Delete
    {
        return Err(UpdateError::Invalid(format!(
            "portgroup '{}' cannot be the default one: network '{}' has '{}'",
            group.name, network.name, other.name
        )));
    }
    edit(&mut network.portgroups, command, place, group, |group: &PortGroup, has| {
        format!("network '{}' {has} a portgroup '{}'", network.name, group.name)
    })
}

/// Does the command to the item at `place`, or with a new one where there is none.
fn edit<T>(
    items: &mut Vec<T>,
    command: Command,
    place: Option<usize>,
    item: T,
    say: impl Fn(&T, &str) -> String,
) -> Result<(), UpdateError> {
    match (command, place) {
        (Command::Modify, Some(place)) => items[place] = item,
        (Command::Delete, Some(place)) => drop(items.remove(place)),
        (Command::AddFirst, None) => items.insert(0, item),
        (Command::AddLast, None) => items.push(item),
        (Command::Modify | Command::Delete, None) => {
            return Err(UpdateError::Invalid(say(&item, "does not have")));
        }
        (Command::AddFirst | Command::AddLast, Some(_)) => {
            return Err(UpdateError::Invalid(say(&item, "has already")));
        }
    }
    Ok(())
}

fn update_member(network: &mut Network, command: Command, xml: &str) -> Result<(), UpdateError> {
    if command == Command::Modify {
        return Err(UpdateError::Unsupported(
            "a member of a pool cannot be modified: delete it and add another".to_owned(),
        ));
    }
    let Some(pool) = network.pool() else {
        let message = format!("network '{}' is not of VFs, it has no pool of them", network.name);
        return Err(UpdateError::Invalid(message));
    };
    let document = Document::parse(xml)?;
    let members = if document.root_name() == "address" {
        let address = item(&document, "address", vf_address)?;
        let listed = match &pool.members {
            Members::None => Vec::new(),
            Members::Addresses(listed) => listed.clone(),
            Members::Pf(_) | Members::Interfaces(_) => return Err(other_kind(network, "address")),
        };
        let listed = edit_members(&network.name, listed, command, address)?;
        if listed.is_empty() { Members::None } else { Members::Addresses(listed) }
    } else {
        let dev = item(&document, "interface", interface)?;
        let listed = match &pool.members {
            Members::None => Vec::new(),
            Members::Interfaces(listed) => listed.clone(),
            Members::Pf(_) | Members::Addresses(_) => return Err(other_kind(network, "interface")),
        };
        let listed = edit_members(&network.name, listed, command, dev)?;
        if listed.is_empty() { Members::None } else { Members::Interfaces(listed) }
    };
    if let Forward::Hostdev(pool) = &mut network.forward {
        pool.members = members;
    }
    Ok(())
}

fn item<T>(
    document: &Document<'_>,
    root: &str,
    read: impl Fn(&Element<'_, '_>) -> Result<T, DocumentError>,
) -> Result<T, DocumentError> {
    let item = read(&document.root(root)?)?;
    document.refuse_rest()?;
    Ok(item)
}

fn edit_members<T: PartialEq + Display>(
    network: &NetworkName,
    mut listed: Vec<T>,
    command: Command,
    member: T,
) -> Result<Vec<T>, UpdateError> {
    let place = listed.iter().position(|other| *other == member);
    edit(&mut listed, command, place, member, |member, has| {
        format!("the pool of network '{network}' {has} the member {member}")
    })?;
    Ok(listed)
}

fn other_kind(network: &Network, wanted: &str) -> UpdateError {
    let listed = match network.pool().map(|pool| &pool.members) {
        Some(Members::Pf(_)) => "all VFs of its <pf>",
        Some(Members::Addresses(_)) => "VFs by <address>",
        _ => "VFs by <interface>",
    };
    UpdateError::Invalid(format!(
        "the pool of network '{}' is of {listed}: it has no member <{wanted}>",
        network.name
    ))
}
