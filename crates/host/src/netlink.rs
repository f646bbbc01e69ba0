//! rtnetlink: what the kernel says of links, VFs, addresses and routes, and the settings of VFs.
//!
//! Requests are written with netlink-packet-route, whose VF attributes agree with iproute2's.
//! Replies are read attribute by attribute instead: that crate reads an unsupported setting
//! (which the kernel reports as -1) as "off", and gives up a whole link for one attribute that
//! it does not understand.

mod features;
pub mod reply;

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkMessage, LinkVfInfo, VfInfo, VfInfoLinkState, VfInfoMac,
    VfInfoRate, VfInfoSpoofCheck, VfInfoTrust, VfInfoVlan, VfLinkState, VfVlan, VfVlanInfo,
    VlanProtocol as WireProtocol,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;
use vfnet_model::node_device::NetFeature;
use vfnet_model::vf::{LinkState, VfIndex, VfSetting};
use vfnet_model::{MacAddress, Vlan, VlanProtocol};

use crate::Counters;

pub use reply::Link;

/// The kernel's refusal of a request.
#[derive(Debug)]
pub struct Refusal {
    /// The error number.
    pub source: io::Error,
    /// The kernel's extended error text.
    pub text: Option<String>,
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self { source, text: None }
    }
}

impl Refusal {
    pub(crate) fn malformed(what: &'static str) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, what).into()
    }

    /// Whether the kernel gave this error number.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// Network interfaces, by index. One implementation is the kernel's; tests have another.
pub trait Links: Send + Sync {
    /// A link's other names, and its table of VFs if `vfs`; without statistics, whose reading
    /// holds up the kernel's networking.
    fn link(&self, index: u32, vfs: bool) -> Result<Link, Refusal>;

    /// What a PF's VF has received and sent; `None` where nothing is counted. This reads the
    /// statistics of all its VFs.
    fn vf_counters(&self, index: u32, vf: VfIndex) -> Result<Option<Counters>, Refusal>;

    /// The link's addresses that are not link-local, as `ADDRESS/PREFIX`.
    fn addresses(&self, index: u32) -> Result<Vec<String>, Refusal>;

    /// Routes out of the link, but for those that the kernel makes for addresses and for
    /// multicast.
    fn routes(&self, index: u32) -> Result<Vec<String>, Refusal>;

    /// What the link's driver does in hardware.
    fn features(&self, index: u32) -> Result<BTreeSet<NetFeature>, Refusal>;

    /// Sets one thing of a PF's VF.
    fn set_vf(&self, index: u32, vf: VfIndex, setting: VfSetting) -> Result<(), Refusal>;

    /// Sets the link's own MAC.
    fn set_mac(&self, index: u32, mac: MacAddress) -> Result<(), Refusal>;
}

/// [`Links`] of this process's network namespace. Every call has a socket of its own.
#[derive(Clone, Copy, Debug)]
pub struct KernelLinks;

impl Links for KernelLinks {
    fn link(&self, index: u32, vfs: bool) -> Result<Link, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if vfs {
            message
                .attributes
                .push(LinkAttribute::ExtMask(vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats]));
        }
        let replies = Exchange::open()?.ask(RouteNetlinkMessage::GetLink(message))?;
        let reply = replies.first().ok_or_else(|| Refusal::malformed("no link in the reply"))?;
        Link::parse(&reply.payload).ok_or_else(|| Refusal::malformed("a link cut short"))
    }

    fn vf_counters(&self, index: u32, vf: VfIndex) -> Result<Option<Counters>, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Vf]));
        let replies = Exchange::open()?.ask(RouteNetlinkMessage::GetLink(message))?;
        let reply = replies.first().ok_or_else(|| Refusal::malformed("no link in the reply"))?;
        Ok(reply::counters(&reply.payload, vf))
    }

    fn addresses(&self, index: u32) -> Result<Vec<String>, Refusal> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        let replies = dump(&RouteNetlinkMessage::GetAddress(message))?;
        Ok(replies.iter().filter_map(|reply| reply::address(&reply.payload, index)).collect())
    }

    fn routes(&self, index: u32) -> Result<Vec<String>, Refusal> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.attributes.push(RouteAttribute::Oif(index));
            match dump(&RouteNetlinkMessage::GetRoute(message)) {
                Ok(replies) => routes
                    .extend(replies.iter().filter_map(|reply| reply::route(&reply.payload, index))),
                // The kernel has no such family.
                Err(refusal) if refusal.is(Errno::OPNOTSUPP) || refusal.is(Errno::AFNOSUPPORT) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(routes)
    }

    fn features(&self, index: u32) -> Result<BTreeSet<NetFeature>, Refusal> {
        features::features(index)
    }

    fn set_vf(&self, index: u32, vf: VfIndex, setting: VfSetting) -> Result<(), Refusal> {
        let attribute = LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![vf_info(vf, setting)])]);
        set_link(index, attribute)
    }

    fn set_mac(&self, index: u32, mac: MacAddress) -> Result<(), Refusal> {
        set_link(index, LinkAttribute::Address(mac.octets().to_vec()))
    }
}

fn set_link(index: u32, attribute: LinkAttribute) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(attribute);
    Exchange::open()?.ask(RouteNetlinkMessage::SetLink(message)).map(drop)
}

/// A dump, begun anew when something changed under it.
fn dump(message: &RouteNetlinkMessage) -> Result<Vec<reply::Message>, Refusal> {
    let mut outcome = Exchange::open()?.dump(message.clone());
    for _ in 0..4 {
        match outcome {
            Err(refusal) if refusal.is(Errno::INTR) => {
                outcome = Exchange::open()?.dump(message.clone());
            }
            _ => break,
        }
    }
    outcome
}

/// A setting as iproute2 sends it: 802.1Q as `IFLA_VF_VLAN`, 802.1ad as `IFLA_VF_VLAN_LIST`.
fn vf_info(vf: VfIndex, setting: VfSetting) -> VfInfo {
    let vf = u32::from(vf.0);
    match setting {
        VfSetting::Mac(mac) => VfInfo::Mac(VfInfoMac::new(vf, &mac.octets())),
        VfSetting::Vlan(Vlan { id, qos, protocol: VlanProtocol::Dot1Q }) => {
            VfInfo::Vlan(VfInfoVlan::new(vf, id.get().into(), qos.into()))
        }
        VfSetting::Vlan(Vlan { id, qos, protocol: VlanProtocol::Dot1Ad }) => {
            VfInfo::VlanList(vec![VfVlan::Info(VfVlanInfo::new(
                vf,
                id.get().into(),
                qos.into(),
                WireProtocol::Ieee8021Ad,
            ))])
        }
        VfSetting::Spoofchk(on) => VfInfo::SpoofCheck(VfInfoSpoofCheck::new(vf, on)),
        VfSetting::Trust(on) => VfInfo::Trust(VfInfoTrust::new(vf, on)),
        VfSetting::LinkState(state) => VfInfo::LinkState(VfInfoLinkState::new(
            vf,
            match state {
                LinkState::Auto => VfLinkState::Auto,
                LinkState::Enable => VfLinkState::Enable,
                LinkState::Disable => VfLinkState::Disable,
            },
        )),
        VfSetting::Rate { min, max } => VfInfo::Rate(VfInfoRate::new(vf, min, max)),
    }
}

/// One request and its replies.
struct Exchange {
    socket: Socket,
}

impl Exchange {
    fn open() -> Result<Self, Refusal> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self { socket })
    }

    fn ask(&self, message: RouteNetlinkMessage) -> Result<Vec<reply::Message>, Refusal> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)?;
        receive(&self.socket)
    }

    fn dump(&self, message: RouteNetlinkMessage) -> Result<Vec<reply::Message>, Refusal> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        receive(&self.socket)
    }

    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = 1;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        Ok(())
    }
}

/// Everything up to the acknowledgement or the end of the dump. A datagram is received whole
/// whatever its length (it is looked at with `MSG_PEEK | MSG_TRUNC` first).
fn receive(socket: &Socket) -> Result<Vec<reply::Message>, Refusal> {
    let mut replies = Vec::new();
    loop {
        let (datagram, sender) = socket.recv_from_full()?;
        if sender.port_number() == 0 && reply::read(&datagram, &mut replies)? {
            return Ok(replies);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_understands_every_setting() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: setting VFs needs root");
            return;
        }
        let mac = MacAddress::new([2, 0, 0, 0, 0, 1]);
        let tag = Vlan { qos: 3, ..Vlan::tagged(42.try_into().unwrap()) };
        for setting in [
            VfSetting::Mac(mac),
            VfSetting::Vlan(tag),
            VfSetting::Vlan(Vlan { protocol: VlanProtocol::Dot1Ad, ..tag }),
            VfSetting::Spoofchk(true),
            VfSetting::Trust(false),
            VfSetting::LinkState(LinkState::Disable),
            VfSetting::Rate { min: 0, max: 100 },
        ] {
            // The loopback has no VFs: what is understood is "not supported", what is not is
            // "invalid". Writing to it needs CAP_NET_ADMIN.
            let refusal = KernelLinks.set_vf(1, VfIndex(0), setting).unwrap_err();
            if refusal.is(Errno::PERM) {
                println!("skipped: no CAP_NET_ADMIN");
                return;
            }
            assert!(refusal.is(Errno::OPNOTSUPP), "{setting:?}: {refusal:?}");
        }
    }

    #[test]
    fn the_loopback_is_read_and_its_own_address_is_there() {
        let link = KernelLinks.link(1, true).unwrap();
        assert_eq!(link.vfs.len(), 0);
        let addresses = KernelLinks.addresses(1).unwrap();
        KernelLinks.routes(1).unwrap();
        assert!(addresses.is_empty() || addresses.contains(&"127.0.0.1/8".to_owned()));
    }

    #[test]
    fn a_link_that_is_not_there_is_refused_by_name() {
        let refusal = KernelLinks.link(u32::MAX >> 1, false).unwrap_err();
        assert!(refusal.is(Errno::NODEV), "{refusal:?}");
    }
}
