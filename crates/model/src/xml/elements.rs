//! Elements that networks, ports, guests and node devices have in common.

use uuid::Uuid;

use super::{DocumentError, Element, Kind, Writer};
use crate::network::PoolDriver;
use crate::vlan::{NativeMode, NotAVlanId, TrunkTag};
use crate::{PciAddress, VlanId, VlanTags};

/// Domain, bus, slot and function of an `<address>`. What is left out is 0, as in libvirt, but
/// an address of which nothing is left is refused: 0000:00:00.0 is the host bridge.
pub fn pci_address(element: &Element<'_, '_>) -> Result<PciAddress, DocumentError> {
    let part = |name: &str, most: u16| {
        let value = element.number(name)?.unwrap_or(0);
        u16::try_from(value).ok().filter(|&value| value <= most).ok_or_else(|| {
            element.invalid(format!("PCI {name} {value:#x} is out of range, at most {most:#x}"))
        })
    };
    let byte = |name: &str, most: u8| {
        part(name, most.into()).map(|value| u8::try_from(value).unwrap_or(most))
    };
    let domain = part("domain", 0xffff)?;
    let (bus, slot, function) = (byte("bus", 0xff)?, byte("slot", 0x1f)?, byte("function", 7)?);
    if (domain, bus, slot, function) == (0, 0, 0, 0) {
        return Err(element.invalid("the PCI address is empty"));
    }
    PciAddress::new(domain, bus, slot, function).map_err(|fault| element.invalid(fault.to_string()))
}

/// `<address domain= bus= slot= function=/>`, with `type='pci'` where `typed`.
pub fn write_pci_address(w: &mut Writer, typed: bool, address: PciAddress) {
    w.tag("address")
        .attr_opt("type", typed.then_some("pci"))
        .attr("domain", format_args!("{:#06x}", address.domain()))
        .attr("bus", format_args!("{:#04x}", address.bus()))
        .attr("slot", format_args!("{:#04x}", address.slot()))
        .attr("function", format_args!("{:#x}", address.function()))
        .empty();
}

/// `<vlan>`.
pub fn vlan_tags(element: &Element<'_, '_>) -> Result<VlanTags, DocumentError> {
    let trunk = element.yes_no("trunk")?;
    let mut tags: Vec<TrunkTag> = Vec::new();
    for tag in element.children("tag") {
        let text = tag.required("id")?;
        let number: u64 = text
            .parse()
            .map_err(|_| tag.invalid(format!("invalid value '{text}' of 'id': not a number")))?;
        let id = u16::try_from(number)
            .map_err(|_| NotAVlanId(number))
            .and_then(VlanId::try_from)
            .map_err(|fault| tag.invalid(fault.to_string()))?;
        let words = [NativeMode::Tagged, NativeMode::Untagged].map(|mode| (mode.name(), mode));
        let native = tag.one_of("nativeMode", &words)?;
        if native.is_some() && tags.iter().any(|tag| tag.native.is_some()) {
            return Err(tag.invalid("a trunk has at most one native VLAN"));
        }
        tags.push(TrunkTag { id, native });
    }
    let needs_trunk = tags.len() > 1 || tags.iter().any(|tag| tag.native.is_some());
    match (&tags[..], trunk) {
        ([], _) => Err(element.invalid("<vlan> needs a <tag id='…'/>")),
        (_, Some(false)) if needs_trunk => {
            Err(element.invalid("trunk='no', but the tags are those of a trunk"))
        }
        ([tag], None | Some(false)) if !needs_trunk => Ok(VlanTags::One(tag.id)),
        _ => Ok(VlanTags::Trunk(tags)),
    }
}

/// `<vlan>` with its tags.
pub fn write_vlan(w: &mut Writer, tags: &VlanTags) {
    match tags {
        VlanTags::One(id) => w.tag("vlan").body(|w| w.tag("tag").attr("id", id).empty()),
        VlanTags::Trunk(tags) => w.tag("vlan").attr("trunk", "yes").body(|w| {
            for tag in tags {
                let native = tag.native.map(NativeMode::name);
                w.tag("tag").attr("id", tag.id).attr_opt("nativeMode", native).empty();
            }
        }),
    }
}

/// `<driver name='vfio' model='…'/>` of a device that is passed through; `None` when it says
/// nothing.
pub fn passthrough_driver(element: &Element<'_, '_>) -> Result<Option<PoolDriver>, DocumentError> {
    let vfio = match element.attribute("name") {
        None => false,
        Some("vfio") => true,
        Some(name @ ("kvm" | "xen")) => {
            return Err(
                element.unsupported(format!("driver '{name}': devices are passed through by vfio"))
            );
        }
        Some(name) => {
            return Err(element
                .invalid(format!("invalid value '{name}' of 'name', expecting one of: vfio")));
        }
    };
    let driver = PoolDriver { vfio, model: element.parsed("model")? };
    Ok(Some(driver).filter(|driver| *driver != PoolDriver::default()))
}

/// See [`passthrough_driver`].
pub fn write_passthrough_driver(w: &mut Writer, driver: &PoolDriver) {
    w.tag("driver")
        .attr_opt("name", driver.vfio.then_some("vfio"))
        .attr_opt("model", driver.model.as_ref())
        .empty();
}

/// The element's text as a UUID, with or without hyphens. A bad one is [`Kind::Internal`], as
/// in libvirt.
pub fn uuid(element: &Element<'_, '_>) -> Result<Uuid, DocumentError> {
    let text = element.text();
    let text = text.trim();
    uuid_of(text).ok_or_else(|| element.error(Kind::Internal, format!("'{text}' is not a UUID")))
}

/// A UUID, with or without hyphens.
pub(crate) fn uuid_of(text: &str) -> Option<Uuid> {
    // parse_str would also take braces and a URN.
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    Uuid::parse_str(text).ok().filter(|_| digits)
}

/// A `yes`/`no` attribute that libvirt reads in any case of letters.
pub fn yes_no_any_case(
    element: &Element<'_, '_>,
    name: &str,
) -> Result<Option<bool>, DocumentError> {
    match element.attribute(name) {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("yes") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("no") => Ok(Some(false)),
        Some(text) => Err(element
            .invalid(format!("invalid value '{text}' of '{name}', expecting one of: yes, no"))),
    }
}
