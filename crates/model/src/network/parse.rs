//! From text to [`Network`].
//!
//! What libvirt accepts and vfnet serves is read. What is wrong in the document itself is
//! refused here, even where libvirt lets it pass and a guest's start fails later; what depends
//! on the hardware is not looked at, because definitions are written before cards are there.
//! The kinds of refusals give libvirt's numbers (libvirt: `virNetworkDefParseXML`,
//! `networkValidate`).

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use super::{Forward, MakeVfs, Members, NAMESPACE, Network, Pool, PortGroup};
use crate::names::BadName;
use crate::xml::elements::{passthrough_driver, pci_address, uuid, vlan, yes_no_any_case};
use crate::xml::{Document, DocumentError, Element, Kind};
use crate::{NetdevName, NetworkName};

/// Elements of libvirt's networks that no network of vfnet can have, and why.
const NOT_SERVED: [(&str, Kind, &str); 9] = [
    ("mtu", Kind::Invalid, "<mtu>: the MTU is that of the PF or of the bridge, not the network's"),
    ("mac", Kind::Unsupported, "<mac>: the network makes no bridge that could have a MAC"),
    ("domain", Kind::Unsupported, "<domain>: vfnet gives guests no DNS domain"),
    ("dns", Kind::Unsupported, "<dns>: vfnet serves no DNS to guests"),
    ("bandwidth", Kind::Unsupported, "<bandwidth>: the host does not see the traffic of a VF"),
    ("port", Kind::Unsupported, "<port>: ports cannot be isolated from each other"),
    ("ip", Kind::Unsupported, "<ip>: the host has no address in such a network"),
    ("route", Kind::Unsupported, "<route>: the host has no address in such a network"),
    ("virtualport", Kind::Unsupported, NO_VIRTUALPORT),
];

const NO_VIRTUALPORT: &str = "<virtualport>: Open vSwitch, 802.1Qbg and 802.1Qbh are not served";

/// Reads a network document. `connections` is ignored, so that a live document can be read.
///
/// # Errors
/// The first thing that is malformed, wrong or not served, with its path and line.
pub fn parse(text: &str) -> Result<Network, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("network")?;
    let _output_only = root.attribute("connections");
    let network = Network {
        name: name(&root)?,
        uuid: match root.child("uuid")? {
            Some(element) if !element.text().is_empty() => Some(uuid(&element)?),
            _ => None,
        },
        title: title(&root)?,
        description: root.child_text("description")?.filter(|text| !text.is_empty()),
        metadata: root.child("metadata")?.map(|element| element.raw_standalone()),
        trust_guest_rx_filters: root.yes_no("trustGuestRxFilters")?,
        forward: forward(&root)?,
        vlan: vlan_of(&root)?,
        portgroups: portgroups(&root)?,
    };
    if network.pool().is_none() {
        let tagged = root.children("portgroup").chain([root]);
        for element in tagged {
            if let Some(vlan) = element.child("vlan")? {
                return Err(vlan.unsupported("<vlan>: tags are set on VFs only, not on a bridge"));
            }
        }
    }
    for (element, kind, why) in NOT_SERVED {
        if let Some(found) = root.children(element).next() {
            return Err(found.error(kind, why));
        }
    }
    document.refuse_rest()?;
    Ok(network)
}

fn name(root: &Element<'_, '_>) -> Result<NetworkName, DocumentError> {
    let Some(element) = root.child("name")? else {
        return Err(root.error(Kind::NoName, "the network has no <name>"));
    };
    element.text().parse().map_err(|fault: BadName| {
        let kind = match fault {
            BadName::Empty { .. } => Kind::NoName,
            BadName::Character { .. } => Kind::Detail,
            BadName::TooLong { .. } => Kind::Invalid,
        };
        element.error(kind, fault.to_string())
    })
}

fn title(root: &Element<'_, '_>) -> Result<Option<String>, DocumentError> {
    let Some(element) = root.child("title")? else { return Ok(None) };
    let text = element.text();
    if text.contains('\n') {
        return Err(element.invalid("a title has one line"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn forward(root: &Element<'_, '_>) -> Result<Forward, DocumentError> {
    let Some(element) = root.child("forward")? else {
        return Err(root.unsupported(
            "a network without <forward>: forward modes 'hostdev' and 'bridge' are served",
        ));
    };
    let unsupported = |mode: &str| {
        element.unsupported(format!("forward mode '{mode}': 'hostdev' and 'bridge' are served"))
    };
    match element.attribute("mode") {
        // The RFC's word for it.
        Some("hostdev" | "hardware") => {
            if let Some(bridge) = root.children("bridge").next() {
                return Err(bridge.invalid("<bridge>: a hostdev network has no bridge"));
            }
            Ok(Forward::Hostdev(pool(root, &element)?))
        }
        Some("bridge") => Ok(Forward::Bridge(bridge(root, &element)?)),
        Some(mode) => Err(unsupported(mode)),
        None => Err(unsupported("nat")),
    }
}

fn bridge(root: &Element<'_, '_>, forward: &Element<'_, '_>) -> Result<NetdevName, DocumentError> {
    let bridge = root.child("bridge")?;
    let macvtap = forward.attribute("dev").is_some()
        || ["interface", "pf", "address"]
            .iter()
            .any(|name| forward.children(name).next().is_some());
    match bridge {
        Some(_) if macvtap => {
            Err(forward.invalid("a bridge name and forward devices exclude each other"))
        }
        Some(bridge) => bridge.required_parsed("name"),
        None if macvtap => {
            Err(forward.unsupported("forward mode 'bridge' over devices (macvtap) is not served"))
        }
        None => Err(forward.unsupported(
            "forward mode 'bridge' needs <bridge name='…'/>, an existing bridge of the host",
        )),
    }
}

fn pool(root: &Element<'_, '_>, forward: &Element<'_, '_>) -> Result<Pool, DocumentError> {
    if let Some(nat) = forward.children("nat").next() {
        return Err(nat.invalid("<nat>: only a network of forward mode 'nat' has it"));
    }
    Ok(Pool {
        managed: yes_no_any_case(forward, "managed")?.unwrap_or(false),
        driver: match forward.child("driver")? {
            Some(driver) => passthrough_driver(&driver)?,
            None => None,
        },
        members: members(forward)?,
        make_vfs: make_vfs(root)?,
    })
}

fn members(forward: &Element<'_, '_>) -> Result<Members, DocumentError> {
    let pfs: Vec<_> = forward.children("pf").collect();
    let addresses: Vec<_> = forward.children("address").collect();
    let interfaces: Vec<_> = forward.children("interface").collect();
    if forward.attribute("dev").is_some() {
        let kind =
            if pfs.is_empty() && addresses.is_empty() { Kind::Unsupported } else { Kind::Invalid };
        return Err(forward.error(kind, "'dev' of <forward>: name a PF with <pf dev='…'/>"));
    }
    let kinds = [pfs.first(), addresses.first(), interfaces.first()];
    if let Some(second) = kinds.into_iter().flatten().nth(1) {
        return Err(second.unsupported(
            "<pf>, <address> and <interface> exclude each other (a running network's document \
             shows the VFs of its <pf>: define from net-dumpxml --inactive)",
        ));
    }
    if let Some(second) = pfs.get(1) {
        return Err(second.invalid("more than one <pf>: further PFs are named by <vfnet:pf>"));
    }
    if let Some(pf) = pfs.first() {
        return Ok(Members::Pf(pf.required_parsed("dev")?));
    }
    if !addresses.is_empty() {
        return each_once(&addresses, vf_address).map(Members::Addresses);
    }
    if !interfaces.is_empty() {
        return each_once(&interfaces, |interface| {
            let _output_only = interface.attribute("connections");
            interface.required_parsed("dev")
        })
        .map(Members::Interfaces);
    }
    Ok(Members::None)
}

fn vf_address(element: &Element<'_, '_>) -> Result<crate::PciAddress, DocumentError> {
    match element.required("type")? {
        "pci" => {}
        kind @ ("none" | "netdev") => {
            return Err(element.invalid(format!("an address of type '{kind}', expecting 'pci'")));
        }
        kind => {
            return Err(
                element.unsupported(format!("an address of type '{kind}', expecting 'pci'"))
            );
        }
    }
    // libvirt reads and forgets it: it is a matter of the guest's address, not the host's.
    let _without_effect = element.on_off("multifunction")?;
    pci_address(element)
}

/// Reads each, and refuses the second of two that are equal.
fn each_once<'d, 'a, T: Eq + Hash + Clone + fmt::Display>(
    elements: &[Element<'d, 'a>],
    read: impl Fn(&Element<'d, 'a>) -> Result<T, DocumentError>,
) -> Result<Vec<T>, DocumentError> {
    let mut seen = HashSet::new();
    elements
        .iter()
        .map(|element| {
            let member = read(element)?;
            if !seen.insert(member.clone()) {
                return Err(element.invalid(format!("{member} is listed twice")));
            }
            Ok(member)
        })
        .collect()
}

fn make_vfs(root: &Element<'_, '_>) -> Result<Vec<MakeVfs>, DocumentError> {
    let mut pools = root.children_in(NAMESPACE, "pool");
    let Some(pool) = pools.next() else { return Ok(Vec::new()) };
    if let Some(second) = pools.next() {
        return Err(second.invalid("more than one <vfnet:pool>"));
    }
    let pfs: Vec<_> = pool.children_in(NAMESPACE, "pf").collect();
    each_once(&pfs, |pf| pf.required_parsed::<NetdevName>("dev"))?
        .into_iter()
        .zip(&pfs)
        .map(|(dev, element)| {
            let vfs = element.parsed("vfs")?;
            if vfs == Some(0) {
                return Err(element.invalid("vfs='0': leave 'vfs' out to make none"));
            }
            Ok(MakeVfs { pf: dev, vfs })
        })
        .collect()
}

fn vlan_of(element: &Element<'_, '_>) -> Result<Option<crate::VlanId>, DocumentError> {
    element.child("vlan")?.map(|element| vlan(&element)).transpose()
}

fn portgroups(root: &Element<'_, '_>) -> Result<Vec<PortGroup>, DocumentError> {
    let mut groups: Vec<PortGroup> = Vec::new();
    let mut names = HashSet::new();
    let mut first_default: Option<String> = None;
    for element in root.children("portgroup") {
        let name = element.required("name")?.to_owned();
        if name.is_empty() {
            return Err(element.invalid("a portgroup's name cannot be empty"));
        }
        let default = yes_no_any_case(&element, "default")?.unwrap_or(false);
        if !names.insert(name.clone()) {
            return Err(element.unsupported(format!("more than one portgroup '{name}'")));
        }
        if default {
            if let Some(first) = first_default {
                return Err(element.unsupported(format!(
                    "portgroups '{first}' and '{name}' are both the default one"
                )));
            }
            first_default = Some(name.clone());
        }
        for (child, why) in [
            ("virtualport", NO_VIRTUALPORT),
            ("bandwidth", "<bandwidth>: the host does not see the traffic of a VF"),
        ] {
            if let Some(found) = element.children(child).next() {
                return Err(found.unsupported(why));
            }
        }
        groups.push(PortGroup {
            name,
            default,
            trust_guest_rx_filters: element.yes_no("trustGuestRxFilters")?,
            vlan: vlan_of(&element)?,
        });
    }
    Ok(groups)
}
