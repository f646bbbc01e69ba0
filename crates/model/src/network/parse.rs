//! From text to [`Network`].
//!
//! Networks of VFs, of an existing bridge and of macvtap are read, whether or not vfnet runs
//! them (see [`Network::served`]); those for which a daemon has to make a bridge are refused.
//! What is wrong in the document itself is refused here, even where libvirt lets it pass and a
//! guest's start fails later; what depends on the hardware is not looked at, because
//! definitions are written before cards are there. The kinds of refusals give libvirt's numbers
//! (libvirt: `virNetworkDefParseXML`, `networkValidate`).

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

use uuid::Uuid;

use super::connection::{Devices, IpMask};
use super::{
    CardId, Direct, DirectMode, Forward, Ip, Members, NAMESPACE, Network, PfSelector, Placement,
    Pool, PoolPf, PortGroup, VfOptions, VfRange, VirtualPort, WhichPf,
};
use crate::names::BadName;
use crate::vf::LinkState;
use crate::xml::connection::{bandwidth, virtual_port};
use crate::xml::elements::{self, passthrough_driver, pci_address, vlan_tags, yes_no_any_case};
use crate::xml::{Document, DocumentError, Element, Kind};
use crate::{NetdevName, NetworkName, VlanProtocol, VlanTags};

/// Elements of libvirt's networks that no network without a bridge of its own can have, and why.
const NOT_READ: [(&str, Kind, &str); 5] = [
    ("mtu", Kind::Invalid, "<mtu>: the MTU is that of the PF or of the bridge, not the network's"),
    ("mac", Kind::Unsupported, "<mac>: the network makes no bridge that could have a MAC"),
    ("domain", Kind::Unsupported, "<domain>: vfnet gives guests no DNS domain"),
    ("dns", Kind::Unsupported, "<dns>: vfnet serves no DNS to guests"),
    ("route", Kind::Unsupported, "<route>: the host has no address in such a network"),
];

/// Reads a network document. `connections` is ignored, so that a live document can be read.
///
/// # Errors
/// The first thing that is malformed, wrong or not served, with its path and line.
pub fn parse(text: &str) -> Result<Network, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("network")?;
    let _output_only = root.attribute("connections");
    let name = name(&root)?;
    let uuid = uuid(&root)?;
    let title = title(&root)?;
    let forward = forward(&root)?;
    let vfs = matches!(forward, Forward::Hostdev(_));
    let network = Network {
        name,
        uuid,
        title,
        description: root.child_text("description")?.filter(|text| !text.is_empty()),
        metadata: root.child("metadata")?.map(|element| element.raw_standalone()),
        trust_guest_rx_filters: root.yes_no("trustGuestRxFilters")?,
        forward,
        vlan: vlan_of(&root)?,
        bandwidth: root.child("bandwidth")?.map(|it| bandwidth(&it, false)).transpose()?,
        isolated: match root.child("port")? {
            Some(port) => port.yes_no("isolated")?,
            None => None,
        },
        ips: root.children("ip").map(|it| ip(&it)).collect::<Result<_, _>>()?,
        virtual_port: root.child("virtualport")?.map(|it| network_port(&it)).transpose()?,
        portgroups: root
            .children("portgroup")
            .map(|it| portgroup(&it, vfs))
            .collect::<Result<_, _>>()?,
    };
    groups_differ(&root, &network.portgroups)?;
    rates_agree(&root, &network)?;
    for (element, kind, why) in NOT_READ {
        if let Some(found) = root.children(element).next() {
            return Err(found.error(kind, why));
        }
    }
    document.refuse_rest()?;
    Ok(network)
}

pub(super) fn name(root: &Element<'_, '_>) -> Result<NetworkName, DocumentError> {
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

pub(super) fn uuid(root: &Element<'_, '_>) -> Result<Option<Uuid>, DocumentError> {
    match root.child("uuid")? {
        Some(element) if !element.text().is_empty() => elements::uuid(&element).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn title(root: &Element<'_, '_>) -> Result<Option<String>, DocumentError> {
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
    let mode = element.attribute("mode").unwrap_or("nat");
    // The RFC's word for it.
    if let "hostdev" | "hardware" = mode {
        if let Some(bridge) = root.children("bridge").next() {
            return Err(bridge.invalid("<bridge>: a hostdev network has no bridge"));
        }
        return Ok(Forward::Hostdev(pool(root, &element)?));
    }
    let Some(mode) = DirectMode::ALL.into_iter().find(|direct| direct.name() == mode) else {
        return Err(element
            .unsupported(format!("forward mode '{mode}': 'hostdev' and 'bridge' are served")));
    };
    let devices = devices(&element)?;
    let bridge = root.child("bridge")?;
    match (bridge, mode) {
        (Some(_), DirectMode::Bridge) if !devices.is_none() => {
            Err(element.invalid("a bridge name and forward devices exclude each other"))
        }
        (Some(bridge), DirectMode::Bridge) => Ok(Forward::Bridge(bridge.required_parsed("name")?)),
        (Some(bridge), _) => Err(bridge.invalid(format!(
            "<bridge>: a network of forward mode '{}' has no bridge",
            mode.name()
        ))),
        (None, _) => Ok(Forward::Direct(Direct { mode, devices })),
    }
}

/// What a macvtap network is over.
fn devices(forward: &Element<'_, '_>) -> Result<Devices, DocumentError> {
    if let Some(nat) = forward.children("nat").next() {
        return Err(nat.invalid("<nat>: only a network of forward mode 'nat' has it"));
    }
    let dev: Option<NetdevName> = forward.parsed("dev")?;
    if let Some(address) = forward.children("address").next() {
        let kind = if dev.is_some() { Kind::Invalid } else { Kind::Unsupported };
        let message = "<address>: PCI addresses are of hostdev networks only";
        return Err(address.error(kind, message));
    }
    let interfaces: Vec<_> = forward.children("interface").collect();
    if let Some(pf) = forward.child("pf")? {
        if let Some(dev) = dev {
            return Err(forward.invalid(format!("'dev' ({dev}) and <pf> exclude each other")));
        }
        if let Some(interface) = interfaces.first() {
            return Err(interface.unsupported("<pf> and <interface> exclude each other"));
        }
        return Ok(Devices::Pf(pf.required_parsed("dev")?));
    }
    let mut interfaces = each_once(&interfaces, interface)?;
    if let Some(dev) = dev {
        match interfaces.first() {
            None => interfaces.push(dev),
            Some(first) if *first == dev => {}
            Some(first) => {
                return Err(forward
                    .invalid(format!("'dev' ({dev}) is not the first <interface> ({first})")));
            }
        }
    }
    Ok(Devices::Interfaces(interfaces))
}

/// `<interface dev=…/>`.
pub(super) fn interface(element: &Element<'_, '_>) -> Result<NetdevName, DocumentError> {
    let _output_only = element.attribute("connections");
    element.required_parsed("dev")
}

fn pool(root: &Element<'_, '_>, forward: &Element<'_, '_>) -> Result<Pool, DocumentError> {
    if let Some(nat) = forward.children("nat").next() {
        return Err(nat.invalid("<nat>: only a network of forward mode 'nat' has it"));
    }
    let (pfs, placement, vf) = vfnet_pool(root)?;
    Ok(Pool {
        managed: yes_no_any_case(forward, "managed")?.unwrap_or(false),
        driver: match forward.child("driver")? {
            Some(driver) => passthrough_driver(&driver)?,
            None => None,
        },
        members: members(forward)?,
        pfs,
        placement,
        vf,
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
        return each_once(&interfaces, interface).map(Members::Interfaces);
    }
    Ok(Members::None)
}

/// `<address type='pci' …/>` of a pool.
pub(super) fn vf_address(element: &Element<'_, '_>) -> Result<crate::PciAddress, DocumentError> {
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

/// `<vfnet:pool>`.
fn vfnet_pool(
    root: &Element<'_, '_>,
) -> Result<(Vec<PoolPf>, Placement, VfOptions), DocumentError> {
    let Some(pool) = vfnet_child(root, "pool")? else {
        return Ok(Default::default());
    };
    let pfs: Vec<_> = pool.children_in(NAMESPACE, "pf").collect();
    let pfs = each_once(&pfs, which_pf)?
        .into_iter()
        .zip(&pfs)
        .map(|(which, element)| pool_pf(which, element))
        .collect::<Result<_, _>>()?;
    Ok((pfs, placement(&pool)?, vf_options(&pool)?))
}

/// `<vfnet:pf>`: the PF's name or place, or what PFs are chosen by.
fn which_pf(element: &Element<'_, '_>) -> Result<WhichPf, DocumentError> {
    let dev = element.parsed("dev")?.map(WhichPf::Dev);
    let address = element.parsed("address")?.map(WhichPf::Address);
    let vendor = element.parsed("vendor")?;
    let device = element.parsed("device")?;
    if vendor.is_none() && device.is_some() {
        return Err(element.invalid("'device': its number is the vendor's, so it needs 'vendor'"));
    }
    let selector = PfSelector {
        card: vendor.map(|vendor| CardId { vendor, device }),
        driver: element.parsed("driver")?,
        numa: element.parsed("numa")?,
        physnet: element.parsed("physnet")?,
    };
    let like = (selector != PfSelector::default()).then_some(WhichPf::Like(selector));
    let mut ways = [dev, address, like].into_iter().flatten();
    let way = ways.next().ok_or_else(|| {
        element.invalid(
            "<vfnet:pf> needs 'dev', 'address', or what PFs are chosen by: 'vendor' and 'device', \
             'driver', 'numa', 'physnet'",
        )
    })?;
    match ways.next() {
        Some(other) => Err(element.invalid(format!("{way} and {other} exclude each other"))),
        None => Ok(way),
    }
}

fn pool_pf(which: WhichPf, element: &Element<'_, '_>) -> Result<PoolPf, DocumentError> {
    let range: Option<VfRange> = element.parsed("vfRange")?;
    let vfs = element.parsed("vfs")?;
    if vfs == Some(0) {
        return Err(element.invalid("vfs='0': leave 'vfs' out to make none"));
    }
    if let (Some(vfs), Some(range)) = (vfs, &range)
        && range.last() >= vfs
    {
        return Err(
            element.invalid(format!("vfRange='{range}': vfs='{vfs}' ends with VF {}", vfs - 1))
        );
    }
    let autoprobe = element.yes_no("autoprobe")?;
    if autoprobe.is_some() && vfs.is_none() {
        return Err(element.invalid("'autoprobe' is about VFs that are made, so it needs 'vfs'"));
    }
    Ok(PoolPf { which, range, vfs, autoprobe })
}

/// The one child of that name in vfnet's namespace.
fn vfnet_child<'d, 'a>(
    element: &Element<'d, 'a>,
    name: &str,
) -> Result<Option<Element<'d, 'a>>, DocumentError> {
    let mut found = element.children_in(NAMESPACE, name);
    let first = found.next();
    match found.next() {
        Some(second) => Err(second.invalid(format!("more than one <vfnet:{name}>"))),
        None => Ok(first),
    }
}

/// `<vfnet:placement>` in an element.
fn placement(parent: &Element<'_, '_>) -> Result<Placement, DocumentError> {
    let element = vfnet_child(parent, "placement")?;
    element.map_or_else(|| Ok(Placement::default()), |element| Placement::read(&element))
}

/// `<vfnet:vf>` in an element.
fn vf_options(parent: &Element<'_, '_>) -> Result<VfOptions, DocumentError> {
    let Some(element) = vfnet_child(parent, "vf")? else { return Ok(VfOptions::default()) };
    let protocols =
        [VlanProtocol::Dot1Q, VlanProtocol::Dot1Ad].map(|protocol| (protocol.name(), protocol));
    let states =
        [LinkState::Auto, LinkState::Enable, LinkState::Disable].map(|state| (state.name(), state));
    let options = VfOptions {
        trust: element.yes_no("trust")?,
        spoofchk: element.yes_no("spoofchk")?,
        link_state: element.one_of("linkState", &states)?,
        min_rate: element.parsed("minRate")?,
        max_rate: element.parsed("maxRate")?,
        vlan_protocol: element.one_of("vlanProto", &protocols)?,
        qos: element.parsed("qos")?,
    };
    if let Some(qos) = options.qos
        && qos > 7
    {
        return Err(element.invalid(format!("qos {qos} is out of range, at most 7")));
    }
    Ok(options)
}

/// Refuses a lower limit above the upper one, also where they come from different elements.
fn rates_agree(root: &Element<'_, '_>, network: &Network) -> Result<(), DocumentError> {
    let of_pool = network.pool().map_or(VfOptions::default(), |pool| pool.vf);
    let of_groups = network.portgroups.iter().zip(root.children("portgroup"));
    let groups = of_groups.map(|(group, element)| (group.vf.or(of_pool), element));
    for (options, element) in [(of_pool, *root)].into_iter().chain(groups) {
        if let Some((min, max)) = options.rate()
            && max > 0
            && min > max
        {
            return Err(element.invalid(format!("minRate {min} is above maxRate {max}")));
        }
    }
    Ok(())
}

fn vlan_of(element: &Element<'_, '_>) -> Result<Option<VlanTags>, DocumentError> {
    element.child("vlan")?.map(|element| vlan_tags(&element)).transpose()
}

/// A network's own virtual port says of which sort it is.
fn network_port(element: &Element<'_, '_>) -> Result<VirtualPort, DocumentError> {
    let port = virtual_port(element)?;
    if port.kind.is_none() {
        return Err(element.invalid("<virtualport> of a network needs the attribute 'type'"));
    }
    Ok(port)
}

/// `<portgroup>`; one of VFs may have `<vfnet:placement>` and `<vfnet:vf>`.
pub(super) fn portgroup(element: &Element<'_, '_>, vfs: bool) -> Result<PortGroup, DocumentError> {
    let name = element.required("name")?.to_owned();
    if name.is_empty() {
        return Err(element.invalid("a portgroup's name cannot be empty"));
    }
    Ok(PortGroup {
        name,
        default: yes_no_any_case(element, "default")?.unwrap_or(false),
        trust_guest_rx_filters: element.yes_no("trustGuestRxFilters")?,
        vlan: vlan_of(element)?,
        virtual_port: element.child("virtualport")?.map(|it| virtual_port(&it)).transpose()?,
        bandwidth: element.child("bandwidth")?.map(|it| bandwidth(&it, false)).transpose()?,
        placement: if vfs { placement(element)? } else { Placement::default() },
        vf: if vfs { vf_options(element)? } else { VfOptions::default() },
    })
}

/// Refuses two groups of one name, and two default ones.
fn groups_differ(root: &Element<'_, '_>, groups: &[PortGroup]) -> Result<(), DocumentError> {
    let mut names = HashSet::new();
    let mut first_default: Option<&str> = None;
    for (group, element) in groups.iter().zip(root.children("portgroup")) {
        let name = &group.name;
        if !names.insert(name) {
            return Err(element.unsupported(format!("more than one portgroup '{name}'")));
        }
        if group.default
            && let Some(first) = first_default.replace(name)
        {
            return Err(element.unsupported(format!(
                "portgroups '{first}' and '{name}' are both the default one"
            )));
        }
    }
    Ok(())
}

/// `<ip>`; what it serves to guests (`<dhcp>`, `<tftp>`) is not read.
fn ip(element: &Element<'_, '_>) -> Result<Ip, DocumentError> {
    let address: IpAddr = element.required_parsed("address")?;
    let family = element.one_of("family", &[("ipv4", true), ("ipv6", false)])?;
    if family.is_some_and(|ipv4| ipv4 != address.is_ipv4()) {
        return Err(element.invalid(format!("{address} is not of the family that <ip> says")));
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let mask = match (element.parsed("netmask")?, element.parsed("prefix")?) {
        (Some(_), Some(_)) => {
            return Err(element.invalid("'netmask' and 'prefix' exclude each other"));
        }
        (Some(IpAddr::V6(_)), None) => return Err(element.invalid("a netmask is of IPv4 only")),
        (Some(_), None) if !address.is_ipv4() => {
            return Err(element.invalid("an IPv6 address has a prefix, not a netmask"));
        }
        (Some(netmask), None) => Some(IpMask::Netmask(netmask)),
        (None, Some(prefix)) if prefix > most => {
            return Err(element.invalid(format!("prefix {prefix} is above {most}")));
        }
        (None, prefix) => prefix.map(IpMask::Prefix),
    };
    Ok(Ip { family_written: family.is_some(), address, mask })
}
