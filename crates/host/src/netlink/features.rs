//! What a network interface's driver does in hardware: ethtool's netlink interface (kernel:
//! `Documentation/networking/ethtool-netlink.rst`), which is a generic netlink family.

use std::collections::BTreeSet;
use std::io;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use vfnet_model::node_device::NetFeature;

use super::{Refusal, receive, reply};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;

/// The family that knows the families.
const CONTROLLER: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const ETHTOOL: &[u8] = b"ethtool\0";
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

const NLA_F_NESTED: u16 = 1 << 15;

/// Length of the headers of netlink and of generic netlink.
const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// The kernel's features (kernel: `netdev_features_strings`) and the flags of the old ethtool
/// that stand for them, which is what libvirt shows (kernel: `ethtool_get_feature_mask`).
const FEATURES: &[(&str, NetFeature)] = &[
    ("rx-checksum", NetFeature::Rx),
    ("tx-checksum-ipv4", NetFeature::Tx),
    ("tx-checksum-ip-generic", NetFeature::Tx),
    ("tx-checksum-ipv6", NetFeature::Tx),
    ("tx-checksum-fcoe-crc", NetFeature::Tx),
    ("tx-checksum-sctp", NetFeature::Tx),
    ("tx-scatter-gather", NetFeature::Sg),
    ("tx-scatter-gather-fraglist", NetFeature::Sg),
    ("tx-tcp-segmentation", NetFeature::Tso),
    ("tx-tcp-ecn-segmentation", NetFeature::Tso),
    ("tx-tcp-mangleid-segmentation", NetFeature::Tso),
    ("tx-tcp6-segmentation", NetFeature::Tso),
    ("tx-generic-segmentation", NetFeature::Gso),
    ("rx-gro", NetFeature::Gro),
    ("rx-lro", NetFeature::Lro),
    ("rx-vlan-hw-parse", NetFeature::Rxvlan),
    ("tx-vlan-hw-insert", NetFeature::Txvlan),
    ("rx-ntuple-filter", NetFeature::Ntuple),
    ("rx-hashing", NetFeature::Rxhash),
    ("tx-udp_tnl-segmentation", NetFeature::Txudptnl),
];

/// The features of an interface that are on.
pub(super) fn features(index: u32) -> Result<BTreeSet<NetFeature>, Refusal> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    let name = attribute(CTRL_ATTR_FAMILY_NAME, ETHTOOL);
    let families = ask(&socket, CONTROLLER, CTRL_CMD_GETFAMILY, &name)?;
    let family = body(&families)
        .find_map(|body| reply::value(body, CTRL_ATTR_FAMILY_ID))
        .and_then(|id| Some(u16::from_ne_bytes(id.try_into().ok()?)))
        .ok_or_else(|| Refusal::from(io::Error::from(Errno::NOENT)))?;
    let device = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    let header = attribute(ETHTOOL_A_FEATURES_HEADER | NLA_F_NESTED, &device);
    let replies = ask(&socket, family, ETHTOOL_MSG_FEATURES_GET, &header)?;
    Ok(body(&replies).flat_map(active).collect())
}

fn ask(
    socket: &Socket,
    family: u16,
    command: u8,
    attributes: &[u8],
) -> Result<Vec<reply::Message>, Refusal> {
    let len = NETLINK_HEADER + GENERIC_HEADER + attributes.len();
    let len = u32::try_from(len).map_err(|_| Refusal::malformed("too long a request"))?;
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(family.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(attributes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    receive(socket)
}

/// What is in the replies behind generic netlink's header.
fn body(replies: &[reply::Message]) -> impl Iterator<Item = &[u8]> {
    replies.iter().filter_map(|reply| reply.payload.get(GENERIC_HEADER..))
}

/// An attribute of up to 64 KiB, which all of these are.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The bits that are set, by name: this bit set comes without a mask, and has no others.
fn active(body: &[u8]) -> BTreeSet<NetFeature> {
    let bits = reply::value(body, ETHTOOL_A_FEATURES_ACTIVE)
        .and_then(|set| reply::value(set, ETHTOOL_A_BITSET_BITS))
        .unwrap_or_default();
    reply::attributes(bits)
        .filter(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS_BIT)
        .filter_map(|(_, bit)| reply::value(bit, ETHTOOL_A_BITSET_BIT_NAME))
        .filter_map(|name| {
            let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
            FEATURES.iter().find(|(known, _)| *known == name).map(|(_, feature)| *feature)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(name: &str) -> Vec<u8> {
        let name = attribute(ETHTOOL_A_BITSET_BIT_NAME, format!("{name}\0").as_bytes());
        attribute(ETHTOOL_A_BITSET_BITS_BIT | NLA_F_NESTED, &name)
    }

    #[test]
    fn features_are_those_of_the_old_ethtool() {
        let bits: Vec<u8> =
            ["tx-checksum-ipv6", "tx-checksum-ipv4", "rx-gro", "rx-fcs", "tx-udp_tnl-segmentation"]
                .iter()
                .flat_map(|name| bit(name))
                .collect();
        let set = attribute(ETHTOOL_A_BITSET_BITS | NLA_F_NESTED, &bits);
        let body = attribute(ETHTOOL_A_FEATURES_ACTIVE | NLA_F_NESTED, &set);
        let expected = [NetFeature::Tx, NetFeature::Gro, NetFeature::Txudptnl];
        assert_eq!(active(&body), BTreeSet::from(expected));
        for len in 0..body.len() {
            assert!(active(&body[..len]).len() <= expected.len(), "cut to {len}");
        }
    }

    #[test]
    fn the_kernel_tells_the_features_of_the_loopback() {
        match features(1) {
            Ok(features) => assert!(features.contains(&NetFeature::Gso), "{features:?}"),
            Err(refusal) if refusal.is(Errno::NOENT) => {
                println!("skipped: this kernel has no ethtool netlink");
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}
