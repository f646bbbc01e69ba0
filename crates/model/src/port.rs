//! Network ports: one guest NIC's use of a network, as another daemon asks for it
//! (libvirt: `virnetworkportdef.c`).
//!
//! A document with a plug of [`Plug::None`] asks for a VF; the answer and a reclaim carry the
//! plug. What a VF cannot grant is read all the same, and refused by [`NetworkPort::served`]
//! before anything is chosen.

use uuid::Uuid;

use crate::network::{
    Bandwidth, DirectMode, NO_ISOLATION, NO_TRUNK, NO_VIRTUALPORT, PoolDriver, VirtualPort,
    no_bandwidth, unsupported,
};
use crate::xml::connection::{bandwidth, virtual_port, write_bandwidth, write_virtual_port};
use crate::xml::elements::{
    passthrough_driver, pci_address, uuid, vlan_tags, write_passthrough_driver, write_pci_address,
    write_vlan,
};
use crate::xml::{Document, DocumentError, Element, Kind, Writer};
use crate::{GuestName, MacAddress, NetdevName, PciAddress, VlanTags};

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
    /// How a switch knows it.
    pub virtual_port: Option<VirtualPort>,
    /// Its limits.
    pub bandwidth: Option<Bandwidth>,
    /// Tag of its own; `None` leaves it to the portgroup and the network.
    pub vlan: Option<VlanTags>,
    /// `<port isolated=…/>`: whether it is kept from other isolated ports.
    pub isolated: Option<bool>,
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
    /// A bridge that a network daemon made for the network.
    Network(NetdevName),
    /// A macvtap device over one of the host's.
    Direct {
        /// The host's device.
        dev: NetdevName,
        /// How it is shared.
        mode: DirectMode,
    },
}

impl NetworkPort {
    /// Whether vfnet lends such a port.
    ///
    /// # Errors
    /// The first thing of it that vfnet does not do, named with its path in the document.
    pub fn served(&self) -> Result<(), DocumentError> {
        let plug = |kind| {
            let message = format!("a plug of type '{kind}': 'hostdev-pci' and 'bridge' are served");
            Err(unsupported("/networkport/plug/@type", message))
        };
        match self.plug {
            Plug::Network(_) => return plug("network"),
            Plug::Direct { .. } => return plug("direct"),
            Plug::None | Plug::HostdevPci { .. } | Plug::Bridge(_) => {}
        }
        let on_vf = matches!(self.plug, Plug::HostdevPci { .. });
        let trunk = matches!(self.vlan, Some(VlanTags::Trunk(_)));
        for (element, wished, why) in [
            ("virtualport", self.virtual_port.is_some(), NO_VIRTUALPORT),
            ("bandwidth", self.bandwidth.is_some(), no_bandwidth(on_vf)),
            ("vlan", trunk, NO_TRUNK),
            ("port", self.isolated == Some(true), NO_ISOLATION),
        ] {
            if wished {
                return Err(unsupported(format!("/networkport/{element}"), why));
            }
        }
        Ok(())
    }
}

/// Reads a port document.
///
/// # Errors
/// The first thing that is malformed, missing or not understood, with its path and line.
pub fn parse(text: &str) -> Result<NetworkPort, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("networkport")?;
    let owner = needed(&root, "owner")?;
    let port = NetworkPort {
        uuid: uuid(&needed(&root, "uuid")?)?,
        owner: PortOwner { name: owner_name(&owner)?, uuid: uuid(&needed(&owner, "uuid")?)? },
        group: root.child_text("group")?.filter(|name| !name.is_empty()),
        mac: mac(&needed(&root, "mac")?)?,
        virtual_port: root.child("virtualport")?.map(|it| virtual_port(&it)).transpose()?,
        bandwidth: root.child("bandwidth")?.map(|it| bandwidth(&it, true)).transpose()?,
        vlan: root.child("vlan")?.map(|element| vlan_tags(&element)).transpose()?,
        isolated: match root.child("port")? {
            Some(element) => element.yes_no("isolated")?,
            None => None,
        },
        trust_guest_rx_filters: match root.child("rxfilters")? {
            Some(element) => element.yes_no("trustGuest")?,
            None => None,
        },
        plug: match root.child("plug")? {
            Some(element) => plug(&element)?,
            None => Plug::None,
        },
    };
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
        Some("network") => Ok(Plug::Network(element.required_parsed("bridge")?)),
        Some("direct") => {
            let words = DirectMode::ALL.map(|mode| (mode.name(), mode));
            let mode = element.one_of("mode", &words)?;
            let missing = || element.invalid("a plug of type 'direct' needs the attribute 'mode'");
            Ok(Plug::Direct {
                dev: element.required_parsed("dev")?,
                mode: mode.ok_or_else(missing)?,
            })
        }
        Some(kind) => Err(element.invalid(format!("a plug of unknown type '{kind}'"))),
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
        if let Some(port) = &port.virtual_port {
            write_virtual_port(w, port);
        }
        if let Some(bandwidth) = &port.bandwidth {
            write_bandwidth(w, bandwidth);
        }
        if let Some(tags) = &port.vlan {
            write_vlan(w, tags);
        }
        if let Some(isolated) = port.isolated {
            w.tag("port").yes_no("isolated", isolated).empty();
        }
        if let Some(trust) = port.trust_guest_rx_filters {
            w.tag("rxfilters").yes_no("trustGuest", trust).empty();
        }
        match &port.plug {
            Plug::None => {}
            Plug::Bridge(bridge) => {
                w.tag("plug").attr("type", "bridge").attr("bridge", bridge).empty();
            }
            Plug::Network(bridge) => {
                w.tag("plug").attr("type", "network").attr("bridge", bridge).empty();
            }
            Plug::Direct { dev, mode } => {
                let tag = w.tag("plug").attr("type", "direct").attr("dev", dev);
                tag.attr("mode", mode.name()).empty();
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
