//! Any network that can be printed is read back as it was.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use vfnet_model::network::connection::{
    Bandwidth, Devices, Direct, DirectMode, Ip, IpMask, Rate, VirtualPort, VirtualPortKind,
};
use vfnet_model::network::metadata::{Change, Item, get, set};
use vfnet_model::network::{
    CardId, Filling, Form, Forward, Live, Members, Network, PciId, PfName, PfSelector, Pin,
    Placement, Pool, PoolDriver, PoolPf, PortGroup, VfOptions, VfRange, Weight, WhichPf, head,
    parse, print,
};
use vfnet_model::vf::{LinkState, VfIndex};
use vfnet_model::vlan::{NativeMode, TrunkTag};
use vfnet_model::{NetdevName, PciAddress, Uuid, VlanId, VlanProtocol, VlanTags};

fn netdev() -> impl Strategy<Value = NetdevName> {
    "[a-z][a-z0-9<&'._-]{0,14}".prop_map(|name| name.parse().unwrap())
}

fn address() -> impl Strategy<Value = PciAddress> {
    (any::<u16>(), any::<u8>(), 0..=0x1f_u8, 0..=7_u8)
        .prop_filter("0000:00:00.0 is the host bridge", |&parts| parts != (0, 0, 0, 0))
        .prop_map(|(domain, bus, slot, function)| {
            PciAddress::new(domain, bus, slot, function).unwrap()
        })
}

fn tag() -> impl Strategy<Value = VlanId> {
    (0..=4095_u16).prop_map(|id| id.try_into().unwrap())
}

pub(crate) fn vlan() -> BoxedStrategy<Option<VlanTags>> {
    let mode = proptest::sample::select(vec![NativeMode::Tagged, NativeMode::Untagged]);
    let trunk = (vec(tag(), 1..4), option::of((mode, any::<prop::sample::Index>()))).prop_map(
        |(ids, native)| {
            let native = native.map(|(mode, place)| (place.index(ids.len()), mode));
            let tags = ids.into_iter().enumerate().map(|(place, id)| TrunkTag {
                id,
                native: native.and_then(|(at, mode)| (at == place).then_some(mode)),
            });
            VlanTags::Trunk(tags.collect())
        },
    );
    option::of(prop_oneof![2 => tag().prop_map(VlanTags::One), 1 => trunk]).boxed()
}

pub(crate) fn virtual_port() -> BoxedStrategy<VirtualPort> {
    let uuid = || option::of(any::<u128>().prop_map(Uuid::from_u128));
    let bg = (option::of(any::<u8>()), option::of(0..1_u32 << 24), option::of(any::<u8>()), uuid());
    let bg = bg.prop_map(|(manager_id, type_id, type_id_version, instance_id)| VirtualPort {
        kind: Some(VirtualPortKind::Qbg),
        manager_id,
        type_id,
        type_id_version,
        instance_id,
        ..VirtualPort::default()
    });
    let of_switch =
        (option::of(text("ab <>&'é")), uuid()).prop_map(|(profile_id, interface_id)| {
            let kind = Some(VirtualPortKind::OpenVswitch);
            VirtualPort { kind, profile_id, interface_id, ..VirtualPort::default() }
        });
    prop_oneof![bg, of_switch].boxed()
}

pub(crate) fn bandwidth(of_port: bool) -> BoxedStrategy<Bandwidth> {
    let number = || option::of(any::<u64>());
    let rate = || {
        (any::<u64>(), number(), number()).prop_map(|(average, peak, burst)| Rate {
            average: Some(average),
            peak,
            floor: None,
            burst,
        })
    };
    let class = option::of(any::<u32>());
    (class, option::of(rate()), option::of(rate()), number())
        .prop_map(move |(class_id, inbound, outbound, floor)| Bandwidth {
            class_id: class_id.filter(|_| of_port),
            inbound: inbound.map(|rate| Rate { floor: floor.filter(|_| of_port), ..rate }),
            outbound,
        })
        .boxed()
}

fn vf_options() -> BoxedStrategy<VfOptions> {
    let states = vec![LinkState::Auto, LinkState::Enable, LinkState::Disable];
    let protocols = vec![VlanProtocol::Dot1Q, VlanProtocol::Dot1Ad];
    (
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        option::of(proptest::sample::select(states)),
        // No lower limit above an upper one, whoever says them.
        option::of(0..1000_u32),
        option::of(prop_oneof![Just(0), 1000..=u32::MAX]),
        option::of(proptest::sample::select(protocols)),
        option::of(0..=7_u8),
    )
        .prop_map(|(trust, spoofchk, link_state, min_rate, max_rate, vlan_protocol, qos)| {
            VfOptions { trust, spoofchk, link_state, min_rate, max_rate, vlan_protocol, qos }
        })
        .boxed()
}

fn ip() -> BoxedStrategy<Ip> {
    let mask = |most: u8| option::of((0..=most).prop_map(IpMask::Prefix));
    let netmask = any::<u32>().prop_map(|mask| Some(IpMask::Netmask(Ipv4Addr::from(mask).into())));
    let v4 =
        (any::<u32>().prop_map(|it| Ipv4Addr::from(it).into()), prop_oneof![mask(32), netmask]);
    let v6 = (any::<u128>().prop_map(|it| Ipv6Addr::from(it).into()), mask(128));
    (any::<bool>(), prop_oneof![v4, v6])
        .prop_map(|(family_written, (address, mask))| Ip { family_written, address, mask })
        .boxed()
}

fn direct() -> BoxedStrategy<Direct> {
    let interfaces =
        btree_set(netdev(), 0..4).prop_map(|devs| Devices::Interfaces(devs.into_iter().collect()));
    let devices = prop_oneof![interfaces, netdev().prop_map(Devices::Pf)];
    (proptest::sample::select(DirectMode::ALL.to_vec()), devices)
        .prop_map(|(mode, devices)| Direct { mode, devices })
        .boxed()
}

fn members() -> impl Strategy<Value = Members> {
    prop_oneof![
        Just(Members::None),
        netdev().prop_map(Members::Pf),
        btree_set(address(), 1..5).prop_map(|set| Members::Addresses(set.into_iter().collect())),
        btree_set(netdev(), 1..5).prop_map(|set| Members::Interfaces(set.into_iter().collect())),
    ]
}

fn driver() -> impl Strategy<Value = Option<PoolDriver>> {
    let model = "[a-z0-9_-]{1,20}".prop_map(|name| name.parse().unwrap());
    (any::<bool>(), option::of(model)).prop_map(|(vfio, model)| {
        Some(PoolDriver { vfio, model }).filter(|driver| *driver != PoolDriver::default())
    })
}

fn which_pf() -> impl Strategy<Value = WhichPf> {
    let id = || any::<u16>().prop_map(PciId);
    let card = (id(), option::of(id())).prop_map(|(vendor, device)| CardId { vendor, device });
    let driver = "[a-z0-9_-]{1,20}".prop_map(|name| name.parse().unwrap());
    let physnet = "[a-z<&' ]{1,9}x".prop_map(|name| name.parse().unwrap());
    let selector =
        (option::of(card), option::of(driver), option::of(any::<u16>()), option::of(physnet))
            .prop_map(|(card, driver, numa, physnet)| PfSelector { card, driver, numa, physnet })
            .prop_filter("chooses by nothing", |selector| *selector != PfSelector::default());
    prop_oneof![
        netdev().prop_map(WhichPf::Dev),
        address().prop_map(WhichPf::Address),
        selector.prop_map(WhichPf::Like)
    ]
}

fn pfs() -> impl Strategy<Value = Vec<PoolPf>> {
    let range = vec((0..400_u16, 0..9_u16), 1..4).prop_map(|parts| {
        let parts: Vec<_> =
            parts.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
        parts.join(",").parse().unwrap()
    });
    let autoprobe = option::of(any::<bool>());
    let pf = (which_pf(), option::of(range), option::of(1..=u16::MAX), autoprobe).prop_map(
        |(which, range, vfs, autoprobe): (_, Option<VfRange>, _, _)| {
            let reached = range.as_ref().map_or(0, |range| range.last() + 1);
            let vfs = vfs.map(|vfs: u16| vfs.max(reached));
            PoolPf { which, range, vfs, autoprobe: autoprobe.filter(|_| vfs.is_some()) }
        },
    );
    vec(pf, 0..4).prop_map(|mut pfs: Vec<PoolPf>| {
        let mut seen = std::collections::HashSet::new();
        pfs.retain(|pf| seen.insert(pf.which.clone()));
        pfs
    })
}

fn placement() -> impl Strategy<Value = Placement> {
    let weight = || {
        option::of(proptest::sample::select(vec![Weight::Ignore, Weight::Prefer, Weight::Require]))
    };
    let filling = proptest::sample::select(vec![Filling::Spread, Filling::Pack]);
    let pf = || prop_oneof![netdev().prop_map(PfName::Dev), address().prop_map(PfName::Address)];
    let pin = prop_oneof![
        pf().prop_map(Pin::Pf),
        (pf(), any::<u16>()).prop_map(|(pf, vf)| Pin::Numbered(pf, VfIndex(vf))),
        address().prop_map(Pin::Vf),
    ];
    (weight(), weight(), option::of(filling), option::of(68..=65_535_u32), option::of(pin))
        .prop_map(|(numa, legs, guests, mtu, pin)| Placement { numa, legs, guests, mtu, pin })
}

fn forward() -> BoxedStrategy<Forward> {
    let pool = (any::<bool>(), driver(), members(), pfs(), placement(), vf_options()).prop_map(
        |(managed, driver, members, pfs, placement, vf)| {
            Forward::Hostdev(Pool { managed, driver, members, pfs, placement, vf })
        },
    );
    let bridge = netdev().prop_map(Forward::Bridge);
    prop_oneof![4 => pool, 1 => bridge, 2 => direct().prop_map(Forward::Direct)].boxed()
}

/// Text with everything that a document has to escape.
fn text(alphabet: &'static str) -> impl Strategy<Value = String> {
    vec(proptest::sample::select(alphabet.chars().collect::<Vec<_>>()), 1..12)
        .prop_map(|chars| chars.into_iter().collect())
}

fn portgroups(of_vfs: bool) -> BoxedStrategy<Vec<PortGroup>> {
    let group = (
        option::of(any::<bool>()),
        vlan(),
        option::of(virtual_port()),
        option::of(bandwidth(false)),
        placement(),
        vf_options(),
    );
    (btree_map(text("ab <>&'\"\t\r\né"), group, 0..4), any::<prop::sample::Index>())
        .prop_map(move |(groups, default)| {
            // One past the end: none is the default.
            let default = default.index(groups.len() + 1);
            let group = |(place, (name, (trust, vlan, virtual_port, bandwidth, placement, vf)))| {
                PortGroup {
                    name,
                    default: place == default,
                    trust_guest_rx_filters: trust,
                    vlan,
                    virtual_port,
                    bandwidth,
                    placement: if of_vfs { placement } else { Placement::default() },
                    vf: if of_vfs { vf } else { VfOptions::default() },
                }
            };
            groups.into_iter().enumerate().map(group).collect()
        })
        .boxed()
}

fn network() -> impl Strategy<Value = Network> {
    let metadata = proptest::sample::select(vec![
        "<metadata/>",
        "<metadata>\n    <a:b xmlns:a='urn:a'>\r &amp; <!-- c --> </a:b>\n  </metadata>",
        "<metadata xmlns:a=\"urn:a\"><a:b/></metadata>",
    ]);
    forward().prop_flat_map(move |forward| {
        let of_vfs = matches!(forward, Forward::Hostdev(_));
        let texts = (
            text("ab <>&'\"\t\ré").prop_map(|name| name.replace(['\t', '\r'], "_")),
            option::of(text("ab <>&'\"\t\ré")),
            option::of(text("ab <>&'\"\t\r\né")),
            option::of(metadata.clone()),
        );
        let rest = (
            option::of(any::<u128>().prop_map(Uuid::from_u128)),
            option::of(any::<bool>()),
            vlan(),
            portgroups(of_vfs),
            (option::of(bandwidth(false)), option::of(any::<bool>()), vec(ip(), 0..3)),
            option::of(virtual_port()),
        );
        (texts, rest, Just(forward)).prop_map(
            move |(
                (name, title, description, metadata),
                (uuid, trust, vlan, portgroups, (bandwidth, isolated, ips), virtual_port),
                forward,
            )| {
                Network {
                    name: name.parse().unwrap(),
                    uuid,
                    title,
                    description,
                    metadata: metadata.map(str::to_owned),
                    trust_guest_rx_filters: trust,
                    forward,
                    vlan,
                    bandwidth,
                    isolated,
                    ips,
                    virtual_port,
                    portgroups,
                }
            },
        )
    })
}

proptest! {
    #[test]
    fn a_printed_network_is_read_as_it_was(network in network(), connections in 0..3_usize) {
        prop_assert_eq!(&parse(&print(&network, Form::Inactive)).unwrap(), &network);
        let live = Live { connections, vfs: Vec::new() };
        prop_assert_eq!(&parse(&print(&network, Form::Live(&live))).unwrap(), &network);
        let head = head(&print(&network, Form::Inactive)).unwrap();
        prop_assert_eq!((&head.name, head.uuid), (&network.name, network.uuid));
        prop_assert!(head.mode.is_served() || network.served().is_err());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[<>/a-z'= ]{0,60}") {
        let _either = parse(&text);
        let _either = parse(&format!("<network><name>n</name>{text}</network>"));
    }

    #[test]
    fn what_is_kept_as_metadata_is_read_back(
        xml in "<(p:)?a( xmlns(:p)?='urn:[pq]')?( (p:)?x=\"[>'é]\")?(/>|>(<b ?/>|<!--<c>-->|<p:d></p:d >|t)*</(p:)?a>)",
        before in option::of(r"<metadata( xmlns:p='urn:p')?>(\n |<q:e xmlns:q='urn:[pq]'/>){0,3}</metadata >|<metadata />"),
        prefix in "[pr]",
    ) {
        let whole = "<network><name>n</name><forward mode='hostdev'/>";
        let before = before.unwrap_or_default();
        let mut network = parse(&format!("{whole}{before}</network>")).unwrap();
        let kept = network.clone();
        let change = Change::SetElement { uri: "urn:p", prefix: &prefix, xml: &xml };
        match set(&mut network, change) {
            Err(_) => prop_assert_eq!(network, kept),
            Ok(()) => {
                prop_assert_eq!(&parse(&print(&network, Form::Inactive)).unwrap(), &network);
                let item = Item::Element { uri: "urn:p" };
                let given = get(&network, item).unwrap();
                // What is given back is kept as the same again.
                let change = Change::SetElement { uri: "urn:p", prefix: &prefix, xml: &given };
                set(&mut network, change).unwrap();
                prop_assert_eq!(get(&network, item).unwrap(), given);
            }
        }
    }
}
