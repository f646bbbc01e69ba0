//! `<virtualport>` and `<bandwidth>`, which networks, portgroups and ports have in common.

use super::{DocumentError, Element, Writer, elements};
use crate::network::connection::{Bandwidth, Rate, VirtualPort, VirtualPortKind};

/// `<virtualport>`, with or without `type`. A parameter that its sort does not have is refused
/// (libvirt: `virNetDevVPortProfileParse`).
pub(crate) fn virtual_port(element: &Element<'_, '_>) -> Result<VirtualPort, DocumentError> {
    let kind = match element.attribute("type") {
        None => None,
        Some(word) => {
            let kind = VirtualPortKind::ALL.into_iter().find(|kind| kind.name() == word);
            let unknown = || element.unsupported(format!("<virtualport> of unknown type '{word}'"));
            Some(kind.ok_or_else(unknown)?)
        }
    };
    let Some(parameters) = element.child("parameters")? else {
        return Ok(VirtualPort { kind, ..VirtualPort::default() });
    };
    let known: &[&str] = match kind {
        None => &["managerid", "typeid", "typeidversion", "instanceid", "interfaceid", "profileid"],
        Some(VirtualPortKind::Qbg) => &["managerid", "typeid", "typeidversion", "instanceid"],
        Some(VirtualPortKind::Qbh) => &["profileid"],
        Some(VirtualPortKind::OpenVswitch) => &["interfaceid", "profileid"],
        Some(VirtualPortKind::Midonet) => &["interfaceid"],
    };
    let (number, uuid) = (
        |name: &str, most: u32| {
            let Some(value) = parameters.number(name)? else { return Ok(None) };
            let fits = u32::try_from(value).ok().filter(|&value| value <= most);
            let fault = || parameters.invalid(format!("{name} {value} is above {most}"));
            fits.map(Some).ok_or_else(fault)
        },
        |name: &str| {
            let Some(text) = parameters.attribute(name) else { return Ok(None) };
            let fault = || parameters.invalid(format!("'{name}': '{text}' is not a UUID"));
            elements::uuid_of(text).map(Some).ok_or_else(fault)
        },
    );
    let byte = |name: &str| {
        let value = number(name, 0xff)?;
        Ok::<_, DocumentError>(value.and_then(|value| u8::try_from(value).ok()))
    };
    let profile_id = parameters.attribute("profileid");
    if profile_id.is_some_and(|text| text.len() > 39) {
        return Err(parameters.invalid("profileid is too long, at most 39 bytes"));
    }
    let port = VirtualPort {
        kind,
        manager_id: byte("managerid")?,
        type_id: number("typeid", 0xff_ffff)?,
        type_id_version: byte("typeidversion")?,
        instance_id: uuid("instanceid")?,
        interface_id: uuid("interfaceid")?,
        profile_id: profile_id.map(str::to_owned),
    };
    let given = [
        ("managerid", port.manager_id.is_some()),
        ("typeid", port.type_id.is_some()),
        ("typeidversion", port.type_id_version.is_some()),
        ("instanceid", port.instance_id.is_some()),
        ("interfaceid", port.interface_id.is_some()),
        ("profileid", port.profile_id.is_some()),
    ];
    match given.iter().find(|(name, given)| *given && !known.contains(name)) {
        Some((name, _)) => {
            let sort = kind.map_or("", VirtualPortKind::name);
            Err(parameters.invalid(format!("<virtualport> of type '{sort}' has no '{name}'")))
        }
        None => Ok(port),
    }
}

/// See [`virtual_port`].
pub(crate) fn write_virtual_port(w: &mut Writer, port: &VirtualPort) {
    let nothing = VirtualPort { kind: port.kind, ..VirtualPort::default() };
    w.tag("virtualport").attr_opt("type", port.kind.map(VirtualPortKind::name)).body(|w| {
        if *port != nothing {
            w.tag("parameters")
                .attr_opt("managerid", port.manager_id)
                .attr_opt("typeid", port.type_id)
                .attr_opt("typeidversion", port.type_id_version)
                .attr_opt("instanceid", port.instance_id)
                .attr_opt("interfaceid", port.interface_id)
                .attr_opt("profileid", port.profile_id.as_ref())
                .empty();
        }
    });
}

/// `<bandwidth>`; that of a port has a class and may have a floor (libvirt:
/// `virNetDevBandwidthParse`).
pub(crate) fn bandwidth(
    element: &Element<'_, '_>,
    of_port: bool,
) -> Result<Bandwidth, DocumentError> {
    let inbound = element.child("inbound")?.map(|it| rate(&it).map(|rate| (it, rate)));
    let inbound = inbound.transpose()?;
    if let Some((it, Rate { floor: Some(_), .. })) = inbound
        && !of_port
    {
        return Err(it.unsupported("'floor' of a network's or portgroup's <inbound>"));
    }
    let outbound = element.child("outbound")?.map(|it| rate(&it).map(|rate| (it, rate)));
    let outbound = outbound.transpose()?;
    if let Some((it, Rate { floor: Some(_), .. })) = outbound {
        return Err(it.invalid("'floor' is of <inbound> only"));
    }
    Ok(Bandwidth {
        class_id: if of_port { element.parsed("classID")? } else { None },
        inbound: inbound.map(|(_, rate)| rate),
        outbound: outbound.map(|(_, rate)| rate),
    })
}

fn rate(element: &Element<'_, '_>) -> Result<Rate, DocumentError> {
    let rate = Rate {
        average: element.parsed("average")?,
        peak: element.parsed("peak")?,
        floor: element.parsed("floor")?,
        burst: element.parsed("burst")?,
    };
    let of_average = rate.peak.is_some() || rate.burst.is_some() || rate.floor.is_none();
    if rate.average.is_none() && of_average {
        return Err(element.invalid(format!("<{}> needs the attribute 'average'", element.name())));
    }
    Ok(rate)
}

/// See [`bandwidth`].
pub(crate) fn write_bandwidth(w: &mut Writer, bandwidth: &Bandwidth) {
    w.tag("bandwidth").attr_opt("classID", bandwidth.class_id).body(|w| {
        for (name, rate) in [("inbound", bandwidth.inbound), ("outbound", bandwidth.outbound)] {
            let Some(rate) = rate else { continue };
            w.tag(name)
                .attr_opt("average", rate.average)
                .attr_opt("peak", rate.peak)
                .attr_opt("floor", rate.floor)
                .attr_opt("burst", rate.burst)
                .empty();
        }
    });
}
