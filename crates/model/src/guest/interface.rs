//! `<interface>` and `<hostdev>`: network interfaces, and PCI devices of the host.

use serde::{Deserialize, Serialize};

use super::address::{AddressType, pci, pci_attributes};
use super::disk::{print_boot, read_boot};
use super::print::Printing;
use super::words::{Text as _, at, served, words};
use super::{Attachment, Placement};
use crate::network::connection::{VirtualPort, VirtualPortKind};
use crate::xml::connection::{virtual_port, write_virtual_port};
use crate::xml::{DocumentError, Element, Writer};
use crate::{DriverName, MacAddress, NetdevName, NetworkName, PciAddress, VlanId};

/// `<interface>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// What it is connected to.
    pub source: InterfaceSource,
    /// Its MAC, never multicast; `None` (or all zeroes in the document) until filled in.
    pub mac: Option<MacAddress>,
    /// Card that the guest sees, where it does not see a VF.
    pub model: Option<InterfaceModel>,
    /// `<driver name='qemu'/>` of a bridge or network interface: QEMU itself moves the packets.
    pub userspace_backend: bool,
    /// Tag put on its frames, instead of the network's.
    pub vlan: Option<VlanId>,
    /// `<target dev=…/>`: name of the tap device on the host.
    pub target: Option<NetdevName>,
    /// `<link state=…/>`.
    pub link: Option<LinkState>,
    /// `<teaming>`.
    pub teaming: Option<Teaming>,
    /// `<boot order=…/>`.
    pub boot: Option<u32>,
    /// `<virtualport>` of a VF: what the switch outside is to be told of it. A guest with one can
    /// be defined, and is not started: nobody here tells switches.
    #[serde(default)]
    pub virtual_port: Option<VirtualPort>,
    /// Alias and address in the guest.
    pub placement: Placement,
}

/// `<interface type=…>` with `<source>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InterfaceSource {
    /// A port of a network; what it becomes is the network's affair.
    Network {
        /// The network.
        network: NetworkName,
        /// The class of port.
        portgroup: Option<String>,
    },
    /// An existing bridge of the host.
    Bridge {
        /// The bridge.
        bridge: NetdevName,
    },
    /// A VF by its address on the host.
    Hostdev {
        /// The VF.
        address: PciAddress,
        /// Whether vfnet binds and unbinds drivers.
        managed: bool,
        /// `<driver>`.
        driver: HostdevDriver,
    },
}

/// `<driver name='vfio' model=…/>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HostdevDriver {
    /// `name='vfio'` was written. (Other names are refused.)
    pub vfio: bool,
    /// A VFIO driver to use instead of the best one for the device.
    pub model: Option<DriverName>,
}

words! {
    /// `<model type=…/>` of an interface.
    pub enum InterfaceModel {
        /// virtio-net.
        Virtio = "virtio",
        /// Intel 82540EM.
        E1000 = "e1000",
        /// Intel 82574L.
        E1000e = "e1000e",
        /// Intel 82576.
        Igb = "igb",
        /// Realtek 8139, what a document without a model gets.
        Rtl8139 = "rtl8139",
    }
}

words! {
    /// `<link state=…/>`.
    pub enum LinkState {
        /// Cable plugged in.
        Up = "up",
        /// Cable unplugged.
        Down = "down",
    }
}

/// `<teaming>`: two interfaces that the guest's virtio driver makes one (failover).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Teaming {
    /// The virtio interface that stays.
    Persistent,
    /// The VF that may go away.
    Transient {
        /// Alias of the persistent one.
        persistent: String,
    },
}

/// `<hostdev mode='subsystem' type='pci'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hostdev {
    /// The device on the host.
    pub address: PciAddress,
    /// Whether vfnet binds and unbinds drivers.
    pub managed: bool,
    /// `<driver>`.
    pub driver: HostdevDriver,
    /// `<boot order=…/>`.
    pub boot: Option<u32>,
    /// Alias and address in the guest.
    pub placement: Placement,
}

/// Reads `<interface>`.
pub(super) fn read_interface(element: Element<'_, '_>) -> Result<Interface, DocumentError> {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Type {
        Network,
        Bridge,
        Hostdev,
    }
    let kind = served(
        element,
        "type",
        &[("network", Type::Network), ("bridge", Type::Bridge), ("hostdev", Type::Hostdev)],
    )?
    .ok_or_else(|| element.invalid("<interface> needs the attribute 'type'"))?;
    let source = element.child("source")?;
    let source = source.ok_or_else(|| element.invalid("<source> is missing"))?;
    let driver = element.child("driver")?;
    let source = match kind {
        Type::Network => {
            // Of a running guest's document: which port it was, on which bridge.
            let _of_another_run = (source.attribute("portid"), source.attribute("bridge"));
            InterfaceSource::Network {
                network: parsed(source, "network")?,
                portgroup: source.attribute("portgroup").map(str::to_owned),
            }
        }
        Type::Bridge => {
            // Of a running guest's document: which port it was, of which network.
            let _of_another_run = ["network", "portgroup", "portid"].map(|it| source.attribute(it));
            InterfaceSource::Bridge { bridge: parsed(source, "bridge")? }
        }
        Type::Hostdev => InterfaceSource::Hostdev {
            address: host_address(source)?,
            managed: element.yes_no("managed")?.unwrap_or(false),
            driver: driver.map(HostdevDriver::read).transpose()?.unwrap_or_default(),
        },
    };
    let vlan = element.child("vlan")?.map(read_vlan).transpose()?;
    if vlan.is_some() && kind == Type::Bridge {
        return Err(element.unsupported("<vlan> of an interface on a bridge"));
    }
    let userspace_backend = match driver {
        Some(driver) if kind != Type::Hostdev => served(driver, "name", &[("qemu", ())])?.is_some(),
        _ => false,
    };
    let interface = Interface {
        source,
        mac: read_mac(element)?,
        model: match element.child("model")? {
            Some(model) => served(model, "type", InterfaceModel::WORDS)?,
            None => None,
        },
        userspace_backend,
        vlan,
        target: if kind == Type::Hostdev { None } else { read_target(element)? },
        link: match element.child("link")? {
            Some(link) => served(link, "state", LinkState::WORDS)?,
            None => None,
        },
        teaming: element.child("teaming")?.map(Teaming::read).transpose()?,
        boot: read_boot(element)?,
        virtual_port: read_virtual_port(element, kind == Type::Hostdev)?,
        placement: Placement::read(element, AddressType::Pci)?,
    };
    match &interface.teaming {
        Some(Teaming::Persistent)
            if interface.model != Some(InterfaceModel::Virtio) || kind == Type::Hostdev =>
        {
            Err(element.unsupported("<teaming type='persistent'> on a model other than virtio"))
        }
        Some(Teaming::Transient { .. }) if kind == Type::Bridge => {
            Err(element.unsupported("<teaming type='transient'> on an interface other than a VF's"))
        }
        _ => Ok(interface),
    }
}

/// A source's attribute that is a name.
fn parsed<T>(source: Element<'_, '_>, name: &str) -> Result<T, DocumentError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    source
        .parsed(name)
        .map_err(|fault| at(fault, name))?
        .ok_or_else(|| source.invalid(format!("<source> needs the attribute '{name}'")))
}

fn read_mac(element: Element<'_, '_>) -> Result<Option<MacAddress>, DocumentError> {
    let Some(mac) = element.child("mac")? else { return Ok(None) };
    let address: MacAddress = mac
        .parsed("address")
        .map_err(|fault| at(fault, "address"))?
        .ok_or_else(|| mac.invalid("<mac> needs the attribute 'address'"))?;
    if address.is_multicast() {
        let fault =
            mac.invalid(format!("expected a unicast MAC address, '{address}' is multicast"));
        return Err(at(fault, "address"));
    }
    Ok((!address.is_zero()).then_some(address))
}

fn read_vlan(vlan: Element<'_, '_>) -> Result<VlanId, DocumentError> {
    if vlan.yes_no("trunk")? == Some(true) {
        return Err(at(vlan.unsupported("a VLAN trunk: a VF has one tag"), "trunk"));
    }
    let mut tags = vlan.children("tag");
    let tag = tags.next().ok_or_else(|| vlan.invalid("<vlan> needs a <tag>"))?;
    if let Some(second) = tags.next() {
        return Err(second.unsupported("a VLAN trunk: a VF has one tag"));
    }
    let id = tag
        .number_up_to("id", 4095)?
        .ok_or_else(|| tag.invalid("<tag> needs the attribute 'id'"))?;
    let id = u16::try_from(id).unwrap_or(u16::MAX);
    VlanId::try_from(id).map_err(|fault| at(tag.invalid(fault.to_string()), "id"))
}

/// Names that libvirt and vfnet make up are not kept: they are of another run.
fn read_target(element: Element<'_, '_>) -> Result<Option<NetdevName>, DocumentError> {
    let Some(target) = element.child("target")? else { return Ok(None) };
    let name: Option<NetdevName> = target.parsed("dev").map_err(|fault| at(fault, "dev"))?;
    let made_up = |name: &NetdevName| {
        ["vnet", "vfnet"].iter().any(|prefix| {
            let rest = name.as_str().strip_prefix(prefix);
            rest.is_some_and(|rest| rest.bytes().all(|it| it.is_ascii_digit() || it == b'n'))
        })
    };
    match name {
        Some(name) if name.as_str().len() > 15 => Err(at(
            target.invalid(format!("'{name}' is too long for a net device (15 bytes)")),
            "dev",
        )),
        name => Ok(name.filter(|name| !made_up(name))),
    }
}

/// The device of the host that `<source>` names.
fn host_address(source: Element<'_, '_>) -> Result<PciAddress, DocumentError> {
    let address = source.child("address")?;
    let address = address.ok_or_else(|| source.invalid("<source> needs an <address>"))?;
    served(address, "type", &[("pci", ())])?;
    let written = ["domain", "bus", "slot", "function"];
    if !written.iter().any(|name| address.attribute(name).is_some()) {
        return Err(address.invalid("<address> names no device"));
    }
    pci(address)
}

impl HostdevDriver {
    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        Ok(Self {
            vfio: served(element, "name", &[("vfio", ())])?.is_some(),
            model: element.parsed("model").map_err(|fault| at(fault, "model"))?,
        })
    }

    fn print(&self, w: &mut Writer, live: bool) {
        if self.vfio || live || self.model.is_some() {
            let name = (self.vfio || live).then_some("vfio");
            w.tag("driver").attr_opt("name", name).attr_opt("model", self.model.as_ref()).empty();
        }
    }
}

/// libvirt, too, knows only the two of 802.1Q for a VF.
fn read_virtual_port(
    element: Element<'_, '_>,
    of_vf: bool,
) -> Result<Option<VirtualPort>, DocumentError> {
    let Some(child) = element.child("virtualport")? else { return Ok(None) };
    let port = virtual_port(&child)?;
    match port.kind {
        Some(VirtualPortKind::Qbg | VirtualPortKind::Qbh) if of_vf => Ok(Some(port)),
        _ => Err(child.unsupported("<virtualport> other than 802.1Qbg and 802.1Qbh of a VF")),
    }
}

impl Teaming {
    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let transient = served(element, "type", &[("persistent", false), ("transient", true)])?
            .ok_or_else(|| element.invalid("<teaming> needs the attribute 'type'"))?;
        let persistent = element.plain_word("persistent")?;
        match (transient, persistent) {
            (false, None) => Ok(Self::Persistent),
            (true, Some(persistent)) => Ok(Self::Transient { persistent }),
            (false, Some(_)) => {
                Err(element.unsupported("'persistent' of the persistent interface"))
            }
            (true, None) => {
                Err(element.unsupported("a transient interface needs the attribute 'persistent'"))
            }
        }
    }

    fn print(&self, w: &mut Writer) {
        match self {
            Self::Persistent => w.tag("teaming").attr("type", "persistent").empty(),
            Self::Transient { persistent } => {
                w.tag("teaming").attr("type", "transient").attr("persistent", persistent).empty();
            }
        }
    }
}

impl Interface {
    /// Prints it as it was written, or as what it became.
    pub(super) fn print(
        &self,
        w: &mut Writer,
        became: Option<&Attachment>,
        printing: Printing<'_>,
    ) {
        match (became, &self.source) {
            (Some(Attachment::Vf { address, managed, model, vlan }), _) => {
                let driver = HostdevDriver { vfio: true, model: model.clone() };
                self.print_vf(w, *address, *managed, &driver, *vlan, printing);
            }
            (None, InterfaceSource::Hostdev { address, managed, driver }) => {
                self.print_vf(w, *address, *managed, driver, self.vlan, printing);
            }
            (Some(Attachment::Bridge { bridge, tap, port }), source) => {
                w.tag("interface").attr("type", "bridge").body(|w| {
                    self.print_mac(w);
                    let tag = w.tag("source");
                    let tag = match source {
                        InterfaceSource::Network { network, portgroup } => {
                            tag.attr("network", network).attr_opt("portgroup", portgroup.as_ref())
                        }
                        _ => tag,
                    };
                    tag.attr_opt("portid", *port).attr("bridge", bridge).empty();
                    w.tag("target").attr("dev", tap).empty();
                    self.print_model(w);
                    self.print_rest(w, printing);
                });
            }
            (None, InterfaceSource::Network { network, portgroup }) => {
                w.tag("interface").attr("type", "network").body(|w| {
                    self.print_mac(w);
                    w.tag("source")
                        .attr("network", network)
                        .attr_opt("portgroup", portgroup.as_ref())
                        .empty();
                    print_vlan(w, self.vlan);
                    self.print_target(w);
                    self.print_model(w);
                    self.print_rest(w, printing);
                });
            }
            (None, InterfaceSource::Bridge { bridge }) => {
                w.tag("interface").attr("type", "bridge").body(|w| {
                    self.print_mac(w);
                    w.tag("source").attr("bridge", bridge).empty();
                    self.print_target(w);
                    self.print_model(w);
                    self.print_rest(w, printing);
                });
            }
        }
    }

    fn print_vf(
        &self,
        w: &mut Writer,
        address: PciAddress,
        managed: bool,
        driver: &HostdevDriver,
        vlan: Option<VlanId>,
        printing: Printing<'_>,
    ) {
        w.tag("interface").attr("type", "hostdev").yes_no("managed", managed).body(|w| {
            self.print_mac(w);
            driver.print(w, printing.live.is_some());
            w.tag("source").body(|w| {
                pci_attributes(w.tag("address").attr("type", "pci"), address).empty();
            });
            print_vlan(w, vlan);
            if let Some(port) = &self.virtual_port {
                write_virtual_port(w, port);
            }
            if let Some(model) = self.model {
                w.tag("model").attr("type", model).empty();
            }
            self.print_rest(w, printing);
        });
    }

    fn print_mac(&self, w: &mut Writer) {
        if let Some(mac) = self.mac {
            w.tag("mac").attr("address", mac).empty();
        }
    }

    fn print_target(&self, w: &mut Writer) {
        if let Some(target) = &self.target {
            w.tag("target").attr("dev", target).empty();
        }
    }

    fn print_model(&self, w: &mut Writer) {
        if let Some(model) = self.model {
            w.tag("model").attr("type", model).empty();
        }
        if self.userspace_backend {
            w.tag("driver").attr("name", "qemu").empty();
        }
    }

    fn print_rest(&self, w: &mut Writer, printing: Printing<'_>) {
        if let Some(teaming) = &self.teaming {
            teaming.print(w);
        }
        if let Some(state) = self.link {
            w.tag("link").attr("state", state).empty();
        }
        print_boot(w, self.boot);
        self.placement.print(w, printing);
    }
}

fn print_vlan(w: &mut Writer, vlan: Option<VlanId>) {
    if let Some(id) = vlan {
        w.tag("vlan").body(|w| w.tag("tag").attr("id", id).empty());
    }
}

/// Reads `<hostdev>`.
pub(super) fn read_hostdev(element: Element<'_, '_>) -> Result<Hostdev, DocumentError> {
    served(element, "mode", &[("subsystem", ())])?;
    served(element, "type", &[("pci", ())])?
        .ok_or_else(|| element.invalid("<hostdev> needs the attribute 'type'"))?;
    let source = element.child("source")?;
    let source = source.ok_or_else(|| element.invalid("<source> is missing"))?;
    Ok(Hostdev {
        address: host_address(source)?,
        managed: element.yes_no("managed")?.unwrap_or(false),
        driver: element.child("driver")?.map(HostdevDriver::read).transpose()?.unwrap_or_default(),
        boot: read_boot(element)?,
        placement: Placement::read(element, AddressType::Pci)?,
    })
}

impl Hostdev {
    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        w.tag("hostdev")
            .attr("mode", "subsystem")
            .attr("type", "pci")
            .yes_no("managed", self.managed)
            .body(|w| {
                self.driver.print(w, printing.live.is_some());
                w.tag("source").body(|w| pci_attributes(w.tag("address"), self.address).empty());
                print_boot(w, self.boot);
                self.placement.print(w, printing);
            });
    }
}
