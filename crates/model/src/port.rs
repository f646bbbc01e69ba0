//! Network ports: one guest NIC's use of a network, as another daemon asks for it
//! (libvirt: `virnetworkportdef.c`).
//!
//! A document with a plug of [`Plug::None`] asks for a VF; the answer and a reclaim carry the
//! plug. What a VF cannot grant is refused here, before anything is chosen.

use uuid::Uuid;

use crate::network::PoolDriver;
use crate::xml::elements::{
    passthrough_driver, pci_address, uuid, vlan, write_passthrough_driver, write_pci_address,
    write_vlan,
};
use crate::xml::{Document, DocumentError, Element, Kind, Writer};
use crate::{GuestName, MacAddress, NetdevName, PciAddress, VlanId};

/// A port document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkPort {
    /// Its identity, chosen by whoever asks for it.
    pub uuid: Uuid,
    /// The guest that it is for.
    pub owner: PortOwner,
    /// The portgroup that was asked for.
    pub group: Option<String>,
    /// The guest's MAC: neither multicast nor zero.
    pub mac: MacAddress,
    /// Tag of its own; `None` leaves it to the portgroup and the network.
    pub vlan: Option<VlanId>,
    /// `<rxfilters trustGuest=…/>`, kept for the document; without effect on VFs.
    pub trust_guest_rx_filters: Option<bool>,
    /// How the guest is connected.
    pub plug: Plug,
}

/// `<owner>` of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortOwner {
    /// The guest's name.
    pub name: GuestName,
    /// The guest's UUID.
    pub uuid: Uuid,
}

/// `<plug>`: what the network gave to the port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plug {
    /// Nothing yet.
    None,
    /// A VF, to be passed through.
    HostdevPci {
        /// Whether the holder binds and unbinds drivers.
        managed: bool,
        /// The host's driver to bind, when it is not left to the holder.
        driver: Option<PoolDriver>,
        /// The VF.
        address: PciAddress,
    },
    /// A bridge, for a tap device.
    Bridge(NetdevName),
}

/// Reads a port document.
///
/// # Errors
/// The first thing that is malformed, missing or not served, with its path and line.
pub fn parse(text: &str) -> Result<NetworkPort, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("networkport")?;
    let owner = needed(&root, "owner")?;
    let port = NetworkPort {
        uuid: uuid(&needed(&root, "uuid")?)?,
        owner: PortOwner { name: owner_name(&owner)?, uuid: uuid(&needed(&owner, "uuid")?)? },
        group: root.child_text("group")?.filter(|name| !name.is_empty()),
        mac: mac(&needed(&root, "mac")?)?,
        vlan: root.child("vlan")?.map(|element| vlan(&element)).transpose()?,
        trust_guest_rx_filters: match root.child("rxfilters")? {
            Some(element) => element.yes_no("trustGuest")?,
            None => None,
        },
        plug: match root.child("plug")? {
            Some(element) => plug(&element)?,
            None => Plug::None,
        },
    };
    refuse_wishes(&root)?;
    document.refuse_rest()?;
    Ok(port)
}

/// What an outside daemon cannot go without is an internal error to libvirt.
fn needed<'d, 'a>(element: &Element<'d, 'a>, name: &str) -> Result<Element<'d, 'a>, DocumentError> {
    element.child(name)?.ok_or_else(|| {
        element.error(Kind::Internal, format!("<{}> needs <{name}>", element.name()))
    })
}

fn owner_name(owner: &Element<'_, '_>) -> Result<GuestName, DocumentError> {
    let element = needed(owner, "name")?;
    let fault = |fault: crate::names::BadName| element.error(Kind::Internal, fault.to_string());
    element.text().parse().map_err(fault)
}

fn mac(element: &Element<'_, '_>) -> Result<MacAddress, DocumentError> {
    let internal = |fault| DocumentError { kind: Kind::Internal, ..fault };
    let mac: MacAddress = element.required_parsed("address").map_err(internal)?;
    if mac.is_multicast() || mac.is_zero() {
        return Err(element.invalid(format!("{mac} is no address that one NIC can have")));
    }
    Ok(mac)
}

fn plug(element: &Element<'_, '_>) -> Result<Plug, DocumentError> {
    match element.attribute("type") {
        None | Some("none") => Ok(Plug::None),
        Some("bridge") => Ok(Plug::Bridge(element.required_parsed("bridge")?)),
        Some("hostdev-pci") => {
            let Some(address) = element.child("address")? else {
                return Err(element.invalid("a plug of type 'hostdev-pci' needs <address>"));
            };
            let _always_pci = address.one_of("type", &[("pci", ())])?;
            Ok(Plug::HostdevPci {
                managed: element.yes_no("managed")?.unwrap_or(false),
                driver: match element.child("driver")? {
                    Some(driver) => passthrough_driver(&driver)?,
                    None => None,
                },
                address: pci_address(&address)?,
            })
        }
        Some(kind @ ("network" | "direct")) => Err(element.unsupported(format!(
            "a plug of type '{kind}': 'hostdev-pci' and 'bridge' are served"
        ))),
        Some(kind) => Err(element.invalid(format!("a plug of unknown type '{kind}'"))),
    }
}

fn refuse_wishes(root: &Element<'_, '_>) -> Result<(), DocumentError> {
    for (name, why) in [
        ("virtualport", "<virtualport>: Open vSwitch, 802.1Qbg and 802.1Qbh are not served"),
        ("bandwidth", "<bandwidth>: the host does not see the traffic of a VF"),
    ] {
        if let Some(found) = root.children(name).next() {
            return Err(found.unsupported(why));
        }
    }
    match root.child("port")? {
        Some(port) if port.yes_no("isolated")? == Some(true) => {
            Err(port.unsupported("<port>: ports cannot be isolated from each other"))
        }
        _ => Ok(()),
    }
}

/// Prints a port, in libvirt's order.
pub fn print(port: &NetworkPort) -> String {
    let mut w = Writer::new();
    w.tag("networkport").body(|w| {
        w.text("uuid", port.uuid);
        w.tag("owner").body(|w| {
            w.text("name", &port.owner.name);
            w.text("uuid", port.owner.uuid);
        });
        w.text_opt("group", port.group.as_ref());
        w.tag("mac").attr("address", port.mac).empty();
        if let Some(id) = port.vlan {
            write_vlan(w, id);
        }
        if let Some(trust) = port.trust_guest_rx_filters {
            w.tag("rxfilters").yes_no("trustGuest", trust).empty();
        }
        match &port.plug {
            Plug::None => {}
            Plug::Bridge(bridge) => {
                w.tag("plug").attr("type", "bridge").attr("bridge", bridge).empty();
            }
            Plug::HostdevPci { managed, driver, address } => {
                w.tag("plug").attr("type", "hostdev-pci").yes_no("managed", *managed).body(|w| {
                    if let Some(driver) = driver {
                        write_passthrough_driver(w, driver);
                    }
                    write_pci_address(w, false, *address);
                });
            }
        }
    });
    w.finish()
}
