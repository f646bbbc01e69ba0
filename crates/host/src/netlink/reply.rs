//! Replies of the kernel, read without trusting a length in them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_TYPE_MASK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR};
use netlink_packet_core::{NlaBuffer, NlasIterator};
use rustix::io::Errno;
use vfnet_model::vf::{LinkState, VfAttributes, VfIndex};
use vfnet_model::{MacAddress, NetdevName, Vlan, VlanProtocol};

use super::Refusal;
use crate::Counters;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_MIN_TYPE: u16 = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;

const IFLA_NUM_VF: u16 = 21;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;

const IFLA_VF_INFO: u16 = 1;
const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_VLAN: u16 = 2;
const IFLA_VF_SPOOFCHK: u16 = 4;
const IFLA_VF_LINK_STATE: u16 = 5;
const IFLA_VF_RATE: u16 = 6;
const IFLA_VF_STATS: u16 = 8;
const IFLA_VF_TRUST: u16 = 9;
const IFLA_VF_VLAN_LIST: u16 = 12;

const IFLA_VF_STATS_RX_PACKETS: u16 = 0;
const IFLA_VF_STATS_TX_PACKETS: u16 = 1;
const IFLA_VF_STATS_RX_BYTES: u16 = 2;
const IFLA_VF_STATS_TX_BYTES: u16 = 3;
const IFLA_VF_STATS_RX_DROPPED: u16 = 7;
const IFLA_VF_STATS_TX_DROPPED: u16 = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTN_UNICAST: u8 = 1;
const RTPROT_KERNEL: u8 = 2;
const AF_INET: u8 = 2;

/// One message of a reply, without its header.
#[derive(Debug)]
pub struct Message {
    /// What follows the 16 bytes of the header.
    pub payload: Vec<u8>,
}

/// Takes the messages of a datagram; true when the last was among them.
///
/// # Errors
///
/// The kernel's refusal, or a message that is cut short.
pub fn read(mut datagram: &[u8], replies: &mut Vec<Message>) -> Result<bool, Refusal> {
    while !datagram.is_empty() {
        let cut = || Refusal::malformed("a netlink message cut short");
        let len = number(datagram, 0).ok_or_else(cut)? as usize;
        let kind = half(datagram, 4).ok_or_else(cut)?;
        let flags = half(datagram, 6).ok_or_else(cut)?;
        let payload = datagram.get(16..len).ok_or_else(cut)?;
        if flags & NLM_F_DUMP_INTR != 0 {
            return Err(io::Error::from(Errno::INTR).into());
        }
        match kind {
            NLMSG_ERROR => return error(payload, flags).map(|()| true),
            NLMSG_DONE => {
                // The error of a dump that broke off, or 0.
                let code = number(payload, 0).unwrap_or(0);
                return match code.cast_signed() {
                    code if code < 0 => {
                        Err(io::Error::from_raw_os_error(code.saturating_neg()).into())
                    }
                    _ => Ok(true),
                };
            }
            kind if kind < NLMSG_MIN_TYPE => {}
            _ => replies.push(Message { payload: payload.to_vec() }),
        }
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// An acknowledgement, or an error with the kernel's words after the request it quotes.
fn error(payload: &[u8], flags: u16) -> Result<(), Refusal> {
    let cut = || Refusal::malformed("a netlink error cut short");
    let code = number(payload, 0).ok_or_else(cut)?.cast_signed();
    if code == 0 {
        return Ok(());
    }
    let quoted = if flags & NLM_F_CAPPED != 0 {
        16
    } else {
        (number(payload, 4).ok_or_else(cut)? as usize).next_multiple_of(4)
    };
    let tail = if flags & NLM_F_ACK_TLVS != 0 { payload.get(4 + quoted..) } else { None };
    let text = attributes(tail.unwrap_or_default())
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, text)| text_of(text));
    Err(Refusal { source: io::Error::from_raw_os_error(code.saturating_neg()), text })
}

/// A link, in so far as this program asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Its other names.
    pub altnames: Vec<NetdevName>,
    /// The MAC that its card was made with (since Linux 5.6).
    pub permanent_mac: Option<MacAddress>,
    /// How many VFs the kernel says it has.
    pub num_vfs: u32,
    /// Its table of VFs. Shorter than `num_vfs` when the reply had no room for all.
    pub vfs: BTreeMap<VfIndex, VfAttributes>,
}

impl Link {
    /// Reads the payload of an `RTM_NEWLINK`; `None` when it has not even a header.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut link = Self::default();
        for (kind, value) in attributes(payload.get(16..)?) {
            match kind {
                IFLA_PERM_ADDRESS => {
                    link.permanent_mac = <[u8; 6]>::try_from(value).ok().map(MacAddress::new);
                }
                IFLA_NUM_VF => link.num_vfs = number(value, 0).unwrap_or(0),
                IFLA_VFINFO_LIST => {
                    link.vfs = attributes(value)
                        .filter(|(kind, _)| *kind == IFLA_VF_INFO)
                        .map_while(|(_, row)| vf(row))
                        .collect();
                }
                IFLA_PROP_LIST => {
                    link.altnames = attributes(value)
                        .filter(|(kind, _)| *kind == IFLA_ALT_IFNAME)
                        .filter_map(|(_, name)| text_of(name).parse().ok())
                        .collect();
                }
                _ => {}
            }
        }
        Some(link)
    }
}

/// One row of the table; `None` when what every driver reports is missing.
fn vf(row: &[u8]) -> Option<(VfIndex, VfAttributes)> {
    let mut index = None;
    let mut vf = VfAttributes::UNSET;
    for (kind, value) in attributes(row) {
        // Every attribute begins with the VF's number. What a driver does not report is -1
        // (kernel: rtnl_fill_vfinfo).
        let flag = || number(value, 4).filter(|flag| *flag != u32::MAX).map(|flag| flag != 0);
        match kind {
            IFLA_VF_MAC => {
                index = number(value, 0).and_then(|index| index.try_into().ok()).map(VfIndex);
                vf.mac = MacAddress::new(value.get(4..10)?.try_into().ok()?);
            }
            IFLA_VF_VLAN => vf.vlan = vlan(value, vf.vlan.protocol)?,
            IFLA_VF_VLAN_LIST => {
                if let Some((_, value)) = attributes(value).next() {
                    let wire = value.get(12..14)?.try_into().ok().map(u16::from_be_bytes)?;
                    let ad = wire == 0x88a8;
                    let protocol = if ad { VlanProtocol::Dot1Ad } else { VlanProtocol::Dot1Q };
                    vf.vlan = vlan(value, protocol)?;
                }
            }
            IFLA_VF_SPOOFCHK => vf.spoofchk = flag(),
            IFLA_VF_TRUST => vf.trust = flag(),
            IFLA_VF_LINK_STATE => {
                vf.link_state = match number(value, 4)? {
                    0 => Some(LinkState::Auto),
                    1 => Some(LinkState::Enable),
                    2 => Some(LinkState::Disable),
                    _ => None,
                }
            }
            IFLA_VF_RATE => {
                vf.min_tx_rate = number(value, 4);
                vf.max_tx_rate = number(value, 8);
            }
            _ => {}
        }
    }
    Some((index?, vf))
}

/// The counters of a VF in the payload of an `RTM_NEWLINK`. The kernel writes noughts where the
/// driver counts nothing (`rtnl_fill_vfinfo`): all of them are none.
pub fn counters(payload: &[u8], vf: VfIndex) -> Option<Counters> {
    let mut rows = attributes(payload.get(16..)?)
        .filter(|(kind, _)| *kind == IFLA_VFINFO_LIST)
        .flat_map(|(_, list)| attributes(list))
        .filter(|(kind, _)| *kind == IFLA_VF_INFO);
    let is_its = |row: &[u8]| {
        attributes(row)
            .find(|(kind, _)| *kind == IFLA_VF_MAC)
            .is_some_and(|(_, value)| number(value, 0) == Some(u32::from(vf.0)))
    };
    let (_, row) = rows.find(|(_, row)| is_its(row))?;
    let (_, stats) = attributes(row).find(|(kind, _)| *kind == IFLA_VF_STATS)?;
    let mut counters = Counters::default();
    let mut counts = false;
    for (kind, value) in attributes(stats) {
        let Ok(value) = <[u8; 8]>::try_from(value) else { continue };
        let count = u64::from_ne_bytes(value);
        counts |= count != 0;
        let counter = match kind {
            IFLA_VF_STATS_RX_PACKETS => &mut counters.rx_packets,
            IFLA_VF_STATS_TX_PACKETS => &mut counters.tx_packets,
            IFLA_VF_STATS_RX_BYTES => &mut counters.rx_bytes,
            IFLA_VF_STATS_TX_BYTES => &mut counters.tx_bytes,
            IFLA_VF_STATS_RX_DROPPED => &mut counters.rx_dropped,
            IFLA_VF_STATS_TX_DROPPED => &mut counters.tx_dropped,
            _ => continue,
        };
        *counter = Some(count);
    }
    counts.then_some(counters)
}

/// VF number, identifier, priority: 4 bytes each, in `ifla_vf_vlan` and `ifla_vf_vlan_info`.
fn vlan(value: &[u8], protocol: VlanProtocol) -> Option<Vlan> {
    let id = u16::try_from(number(value, 4)?).ok()?.try_into().ok()?;
    let qos = u8::try_from(number(value, 8)?).ok()?;
    Some(Vlan { id, qos, protocol })
}

/// An address of the link, `None` when it is another's or link-local.
pub fn address(payload: &[u8], index: u32) -> Option<String> {
    let prefix = *payload.get(1)?;
    if number(payload, 4)? != index {
        return None;
    }
    let found = |wanted| {
        attributes(payload.get(8..)?)
            .find(|(kind, _)| *kind == wanted)
            .and_then(|(_, value)| ip(value))
    };
    // IFA_ADDRESS is the peer's on a point-to-point link.
    let address = found(IFA_LOCAL).or_else(|| found(IFA_ADDRESS))?;
    (!is_link_local(address)).then(|| format!("{address}/{prefix}"))
}

/// A route out of the link, `None` for those that come by themselves: of an address, of
/// fe80::/64, of multicast.
pub fn route(payload: &[u8], index: u32) -> Option<String> {
    let header = payload.get(..12)?;
    let (family, prefix, protocol, kind) = (header[0], header[1], header[5], header[7]);
    if kind != RTN_UNICAST || protocol == RTPROT_KERNEL {
        return None;
    }
    let (mut to, mut via) = (None, None);
    for (kind, value) in attributes(&payload[12..]) {
        match kind {
            // A route over several links has none, and was chosen by the kernel's filter.
            RTA_OIF if number(value, 0)? != index => return None,
            RTA_DST => to = ip(value),
            RTA_GATEWAY => via = ip(value),
            _ => {}
        }
    }
    if to.is_some_and(|to| is_link_local(to) || to.is_multicast()) {
        return None;
    }
    let to = to.map_or_else(
        || if family == AF_INET { "0.0.0.0/0" } else { "::/0" }.to_owned(),
        |to| format!("{to}/{prefix}"),
    );
    Some(via.map_or_else(|| to.clone(), |via| format!("{to} via {via}")))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

/// The value of the first attribute of a kind.
pub(super) fn value(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Types (without flags) and values, up to the first that does not fit.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute: NlaBuffer<&[u8]> = attribute.ok()?;
        let (kind, len) = (attribute.kind() & NLA_TYPE_MASK, usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..len)?))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    /// A row as rtnl_fill_vfinfo writes it, of a driver that reports neither trust nor rates.
    fn row(index: u32, spoofchk: u32) -> Vec<u8> {
        let mut mac = numbers(&[index]);
        mac.extend([2, 0, 0, 0, 1, u8::try_from(index).unwrap()]);
        mac.resize(36, 0);
        let mut tagged = numbers(&[index, 42, 3]);
        tagged.extend([0x88, 0xa8, 0, 0]);
        [
            attribute(IFLA_VF_MAC, &mac),
            attribute(13, &[0xff; 32]),
            attribute(IFLA_VF_VLAN, &numbers(&[index, 42, 3])),
            attribute(3, &numbers(&[index, 0])),
            attribute(IFLA_VF_SPOOFCHK, &numbers(&[index, spoofchk])),
            attribute(IFLA_VF_LINK_STATE, &numbers(&[index, 2])),
            attribute(IFLA_VF_TRUST, &numbers(&[index, u32::MAX])),
            attribute(IFLA_VF_VLAN_LIST, &attribute(1, &tagged)),
        ]
        .concat()
    }

    fn link(vfs: u32, claimed: u32) -> Vec<u8> {
        let rows: Vec<u8> =
            (0..vfs).flat_map(|index| attribute(IFLA_VF_INFO, &row(index, 1))).collect();
        [
            vec![0; 16],
            attribute(3, b"ens1\0"),
            attribute(IFLA_NUM_VF, &numbers(&[claimed])),
            attribute(IFLA_PERM_ADDRESS, &[0, 0x1b, 0x21, 0xaa, 0xbb, 0xcc]),
            attribute(IFLA_VFINFO_LIST, &rows),
            attribute(0x8000 | IFLA_PROP_LIST, &attribute(IFLA_ALT_IFNAME, b"enp1s0f0\0")),
        ]
        .concat()
    }

    #[test]
    fn tables_of_7_64_and_256_vfs_are_read_whole() {
        for count in [7, 64, 256] {
            let link = Link::parse(&link(count, count)).unwrap();
            assert_eq!(link.num_vfs, count);
            assert_eq!(u32::try_from(link.vfs.len()).unwrap(), count);
            assert_eq!(link.altnames, ["enp1s0f0".parse().unwrap()]);
            assert_eq!(link.permanent_mac, Some("00:1b:21:aa:bb:cc".parse().unwrap()));
            let last = &link.vfs[&VfIndex(u16::try_from(count - 1).unwrap())];
            assert_eq!(last.mac.octets()[5], u8::try_from(count - 1).unwrap());
        }
    }

    #[test]
    fn a_setting_the_driver_does_not_report_is_unknown_and_not_off() {
        let (_, vf) = vf(&row(0, u32::MAX)).unwrap();
        assert_eq!((vf.spoofchk, vf.trust, vf.max_tx_rate), (None, None, None));
        assert_eq!(vf.link_state, Some(LinkState::Disable));
        assert_eq!(
            (vf.vlan.id.get(), vf.vlan.qos, vf.vlan.protocol),
            (42, 3, VlanProtocol::Dot1Ad)
        );
    }

    #[test]
    fn a_table_cut_short_has_the_rows_that_are_there() {
        let link = Link::parse(&link(3, 9)).unwrap();
        assert_eq!((link.num_vfs, link.vfs.len()), (9, 3));
    }

    #[test]
    fn a_vfs_counters_are_its_own_and_noughts_alone_are_none() {
        let row = |index: u32, counts: [u64; 3]| {
            let stats: Vec<u8> = [IFLA_VF_STATS_RX_PACKETS, IFLA_VF_STATS_TX_BYTES, 8]
                .into_iter()
                .zip(counts)
                .flat_map(|(kind, count)| attribute(kind, &count.to_ne_bytes()))
                .collect();
            [row(index, 1), attribute(IFLA_VF_STATS, &stats)].concat()
        };
        let rows = [row(0, [7, 700, 1]), row(1, [0; 3]), self::row(2, 1)];
        let rows: Vec<u8> = rows.iter().flat_map(|row| attribute(IFLA_VF_INFO, row)).collect();
        let link = [vec![0; 16], attribute(IFLA_VFINFO_LIST, &rows)].concat();
        let known = Counters {
            rx_packets: Some(7),
            tx_bytes: Some(700),
            tx_dropped: Some(1),
            ..Counters::default()
        };
        assert_eq!(counters(&link, VfIndex(0)), Some(known));
        for uncounted in [1, 2, 3] {
            assert_eq!(counters(&link, VfIndex(uncounted)), None);
        }
    }

    #[test]
    fn no_prefix_and_no_bent_byte_of_a_reply_does_harm() {
        let whole = link(2, 2);
        let mut message = numbers(&[16 + u32::try_from(whole.len()).unwrap(), 16, 1, 0]);
        message.extend(&whole);
        for end in 0..message.len() {
            drop(read(&message[..end], &mut Vec::new()));
            drop(Link::parse(&message[..end]));
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bent = message.clone();
                bent[end] = byte;
                drop(read(&bent, &mut Vec::new()));
                drop(Link::parse(&bent[16..]));
                let _counters = counters(&bent[16..], VfIndex(1));
                drop((address(&bent, 1), route(&bent, 1)));
            }
        }
    }

    #[test]
    fn the_kernels_words_are_found_behind_a_quoted_request() {
        let said = attribute(NLMSGERR_ATTR_MSG, b"VF is not ready\0");
        let code = (-22_i32).cast_unsigned();
        let capped = [numbers(&[code, 40, 19, 1, 0]), said.clone()].concat();
        let full = [numbers(&[code, 24, 19, 1, 0, 7, 7]), said].concat();
        for (payload, flags) in [(capped, NLM_F_ACK_TLVS | NLM_F_CAPPED), (full, NLM_F_ACK_TLVS)] {
            let refusal = error(&payload, flags).unwrap_err();
            assert_eq!(refusal.source.raw_os_error(), Some(22));
            assert_eq!(refusal.text.as_deref(), Some("VF is not ready"));
        }
    }

    fn address_message(index: u32, prefix: u8, address: &[u8]) -> Vec<u8> {
        let header = [vec![0, prefix, 0, 0], numbers(&[index])].concat();
        [header, attribute(IFA_ADDRESS, address)].concat()
    }

    #[test]
    fn link_local_addresses_do_not_count() {
        let fe80: Ipv6Addr = "fe80::1".parse().unwrap();
        let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(address(&address_message(3, 64, &fe80.octets()), 3), None);
        assert_eq!(address(&address_message(3, 24, &[169, 254, 0, 1]), 3), None);
        assert_eq!(address(&address_message(4, 24, &[192, 0, 2, 1]), 3), None);
        assert_eq!(
            address(&address_message(3, 24, &[192, 0, 2, 1]), 3).as_deref(),
            Some("192.0.2.1/24")
        );
        assert_eq!(
            address(&address_message(3, 64, &global.octets()), 3).as_deref(),
            Some("2001:db8::1/64")
        );
    }

    #[test]
    fn only_routes_that_somebody_made_count() {
        let message = |family, prefix, protocol, to: &[u8]| {
            let header = vec![family, prefix, 0, 0, 254, protocol, 0, RTN_UNICAST, 0, 0, 0, 0];
            let to = if to.is_empty() { Vec::new() } else { attribute(RTA_DST, to) };
            [header, to, attribute(RTA_OIF, &numbers(&[3]))].concat()
        };
        assert_eq!(route(&message(2, 24, RTPROT_KERNEL, &[192, 0, 2, 0]), 3), None);
        let fe80: Ipv6Addr = "fe80::".parse().unwrap();
        let many: Ipv6Addr = "ff00::".parse().unwrap();
        assert_eq!(route(&message(10, 64, 3, &fe80.octets()), 3), None);
        assert_eq!(route(&message(10, 8, 3, &many.octets()), 3), None);
        assert_eq!(route(&message(2, 24, 3, &[192, 0, 2, 0]), 4), None);
        assert_eq!(route(&message(2, 24, 3, &[192, 0, 2, 0]), 3).as_deref(), Some("192.0.2.0/24"));
        assert_eq!(route(&message(2, 0, 3, &[]), 3).as_deref(), Some("0.0.0.0/0"));
    }
}
