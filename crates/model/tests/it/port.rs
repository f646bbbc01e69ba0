//! Port documents.

use proptest::option;
use proptest::prelude::*;
use vfnet_model::network::{DirectMode, PoolDriver};
use vfnet_model::port::{NetworkPort, Plug, PortOwner, parse, print};
use vfnet_model::xml::Kind::{Internal, Invalid, Malformed, Unsupported};
use vfnet_model::{MacAddress, PciAddress, Uuid};

use crate::corpus::{fixtures, folder};
use crate::network_random::{bandwidth, virtual_port, vlan};

#[test]
fn a_port_prints_as_it_was_written() {
    for (name, text) in fixtures("port") {
        let port = parse(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(print(&port), text, "{name}");
    }
}

#[test]
fn the_corpus_prints_as_it_was_written() {
    for (name, text) in folder("networkport").into_iter().flatten() {
        let port = parse(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(print(&port), text, "{name}");
    }
}

#[test]
fn the_corpus_is_lent_or_refused_by_name() {
    let refused = [
        ("plug-bridge.xml", "<bandwidth>"),
        ("plug-direct.xml", "'direct'"),
        ("plug-network.xml", "'network'"),
    ];
    for (name, text) in folder("networkport").into_iter().flatten() {
        let served = parse(&text).unwrap().served();
        match (refused.iter().find(|(refused, _)| *refused == name), served) {
            (None, Ok(())) => println!("{name}: served"),
            (Some((_, word)), Err(fault)) => {
                println!("{name}: refused, {fault}");
                assert_eq!(fault.kind, Unsupported, "{name}: {fault}");
                assert!(fault.message.contains(word), "{name}: {fault}");
            }
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
}

const UUID: &str = "<uuid>3f0c2f5a-33a1-4d7e-9a55-6f2f2f9d7701</uuid>";
const MAC: &str = "<mac address='52:54:00:00:00:01'/>";

fn port(rest: &str) -> String {
    format!("<networkport>{UUID}<owner><name>g</name>{UUID}</owner>{rest}</networkport>")
}

#[test]
fn a_port_needs_its_identity_its_owner_and_a_mac() {
    let owner = format!("<owner><name>g</name>{UUID}</owner>");
    for (text, kind, word) in [
        (String::new(), Malformed, "not well-formed"),
        ("<network/>".to_owned(), Invalid, "<network>"),
        (format!("<networkport>{owner}{MAC}</networkport>"), Internal, "<uuid>"),
        (format!("<networkport><uuid>1</uuid>{owner}{MAC}</networkport>"), Internal, "'1'"),
        (format!("<networkport>{UUID}{MAC}</networkport>"), Internal, "<owner>"),
        (format!("<networkport>{UUID}<owner>{UUID}</owner></networkport>"), Internal, "<name>"),
        (
            format!("<networkport>{UUID}<owner><name>g</name></owner></networkport>"),
            Internal,
            "<owner> needs <uuid>",
        ),
        (
            format!("<networkport>{UUID}<owner><name>a/b</name>{UUID}</owner></networkport>"),
            Internal,
            "invalid char",
        ),
        (port(""), Internal, "<mac>"),
        (port("<mac/>"), Internal, "'address'"),
        (port("<mac address='52:54'/>"), Internal, "'52:54'"),
        (port("<mac address='01:00:5e:00:00:01'/>"), Invalid, "01:00:5e:00:00:01"),
        (port("<mac address='ff:ff:ff:ff:ff:ff'/>"), Invalid, "ff:ff:ff:ff:ff:ff"),
        (port("<mac address='00:00:00:00:00:00'/>"), Invalid, "00:00:00:00:00:00"),
    ] {
        let fault = parse(&text).unwrap_err();
        assert_eq!(fault.kind, kind, "{text}\n{fault}");
        assert!(fault.message.contains(word), "{text}\n{fault}");
    }
}

#[test]
fn a_wish_that_the_port_cannot_grant_is_refused() {
    let given = "<plug type='hostdev-pci'>";
    for (piece, kind, word) in [
        ("<virtualport type='802.1Qbg'/>", Unsupported, "<virtualport>"),
        ("<bandwidth/>", Unsupported, "<bandwidth>"),
        ("<port isolated='yes'/>", Unsupported, "<port>"),
        ("<port isolated='perhaps'/>", Invalid, "'perhaps'"),
        ("<vlan><tag id='4096'/></vlan>", Invalid, "4096"),
        ("<vlan trunk='yes'><tag id='1'/></vlan>", Unsupported, "trunk"),
        ("<rxfilters trustGuest='1'/>", Invalid, "'1'"),
        ("<plug type='network' bridge='b'/>", Unsupported, "'network'"),
        ("<plug type='direct' dev='e' mode='vepa'/>", Unsupported, "'direct'"),
        ("<plug type='direct' mode='vepa'/>", Invalid, "'dev'"),
        ("<plug type='direct' dev='e'/>", Invalid, "'mode'"),
        ("<plug type='direct' dev='e' mode='tin'/>", Invalid, "'tin'"),
        ("<plug type='network'/>", Invalid, "'bridge'"),
        ("<plug type='tin'/>", Invalid, "'tin'"),
        ("<plug type='bridge'/>", Invalid, "'bridge'"),
        ("<plug type='bridge' bridge='b' macTableManager='kernel'/>", Unsupported, "'macTable"),
        (&format!("{given}</plug>"), Invalid, "<address>"),
        (&format!("{given}<address/></plug>"), Invalid, "empty"),
        (&format!("{given}<address type='usb' bus='1'/></plug>"), Invalid, "'usb'"),
        (&format!("{given}<driver name='xen'/><address bus='1'/></plug>"), Unsupported, "'xen'"),
        ("<plug/><plug/>", Invalid, "more than one <plug>"),
        ("<plug type='none' managed='yes'/>", Unsupported, "'managed'"),
        ("<surprise/>", Unsupported, "<surprise>"),
    ] {
        let text = port(&format!("{MAC}{piece}"));
        let fault = parse(&text).and_then(|port| port.served()).unwrap_err();
        assert_eq!(fault.kind, kind, "{text}\n{fault}");
        assert!(fault.message.contains(word), "{text}\n{fault}");
    }
}

#[test]
fn a_port_that_asks_for_nothing_special_may_say_so() {
    let said = parse(&port(&format!("{MAC}<plug type='none'/><group/>")));
    assert_eq!(said, parse(&port(MAC)));
    parse(&port(&format!("{MAC}<port isolated='no'/>"))).unwrap().served().unwrap();
}

fn plug() -> impl Strategy<Value = Plug> {
    let address = (any::<u16>(), 1..=255_u8, 0..=0x1f_u8, 0..=7_u8)
        .prop_map(|(domain, bus, slot, function)| PciAddress::new(domain, bus, slot, function));
    let given = (any::<bool>(), any::<bool>(), address).prop_map(|(managed, vfio, address)| {
        let driver = vfio.then_some(PoolDriver { vfio, model: None });
        Plug::HostdevPci { managed, driver, address: address.unwrap() }
    });
    let bridge = "[a-z][a-z0-9]{0,14}".prop_map(|name| Plug::Bridge(name.parse().unwrap()));
    let dev = || "[a-z][a-z0-9]{0,14}".prop_map(|name| name.parse().unwrap());
    let direct = (dev(), proptest::sample::select(DirectMode::ALL.to_vec()))
        .prop_map(|(dev, mode)| Plug::Direct { dev, mode });
    prop_oneof![Just(Plug::None), given, bridge, dev().prop_map(Plug::Network), direct]
}

proptest! {
    #[test]
    fn a_printed_port_is_read_as_it_was(
        uuids in any::<[u128; 2]>(),
        name in "[a-z<>&' é]{1,9}",
        group in option::of("[a-z<>&' é]{1,9}"),
        mac in any::<[u8; 5]>(),
        vlan in vlan(),
        (virtual_port, bandwidth) in (option::of(virtual_port()), option::of(bandwidth(true))),
        isolated in option::of(any::<bool>()),
        trust in option::of(any::<bool>()),
        plug in plug(),
    ) {
        let port = NetworkPort {
            uuid: Uuid::from_u128(uuids[0]),
            owner: PortOwner { name: name.parse().unwrap(), uuid: Uuid::from_u128(uuids[1]) },
            group,
            mac: MacAddress::new([0x52, mac[0], mac[1], mac[2], mac[3], mac[4]]),
            virtual_port,
            bandwidth,
            vlan,
            isolated,
            trust_guest_rx_filters: trust,
            plug,
        };
        prop_assert_eq!(parse(&print(&port)).unwrap(), port);
    }
}
