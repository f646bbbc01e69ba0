//! Any network that can be printed is read back as it was.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use vfnet_model::network::{
    Form, Forward, Live, MakeVfs, Members, Network, Pool, PoolDriver, PortGroup, parse, print,
};
use vfnet_model::{NetdevName, PciAddress, Uuid, VlanId};

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

fn vlan() -> impl Strategy<Value = Option<VlanId>> {
    option::of((0..=4095_u16).prop_map(|id| id.try_into().unwrap()))
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

fn forward() -> impl Strategy<Value = Forward> {
    let made = btree_map(netdev(), option::of(1..=u16::MAX), 0..3)
        .prop_map(|pfs| pfs.into_iter().map(|(pf, vfs)| MakeVfs { pf, vfs }).collect());
    let pool = (any::<bool>(), driver(), members(), made).prop_map(
        |(managed, driver, members, make_vfs)| {
            Forward::Hostdev(Pool { managed, driver, members, make_vfs })
        },
    );
    prop_oneof![4 => pool, 1 => netdev().prop_map(Forward::Bridge)]
}

/// Text with everything that a document has to escape.
fn text(alphabet: &'static str) -> impl Strategy<Value = String> {
    vec(proptest::sample::select(alphabet.chars().collect::<Vec<_>>()), 1..12)
        .prop_map(|chars| chars.into_iter().collect())
}

fn portgroups(tagged: bool) -> impl Strategy<Value = Vec<PortGroup>> {
    let group = (option::of(any::<bool>()), vlan());
    (btree_map(text("ab <>&'\"\t\r\né"), group, 0..4), any::<prop::sample::Index>()).prop_map(
        move |(groups, default)| {
            // One past the end: none is the default.
            let default = default.index(groups.len() + 1);
            groups
                .into_iter()
                .enumerate()
                .map(|(place, (name, (trust, vlan)))| PortGroup {
                    name,
                    default: place == default,
                    trust_guest_rx_filters: trust,
                    vlan: vlan.filter(|_| tagged),
                })
                .collect()
        },
    )
}

fn network() -> impl Strategy<Value = Network> {
    let metadata = proptest::sample::select(vec![
        "<metadata/>",
        "<metadata>\n    <a:b xmlns:a='urn:a'>\r &amp; <!-- c --> </a:b>\n  </metadata>",
        "<metadata xmlns:a=\"urn:a\"><a:b/></metadata>",
    ]);
    forward().prop_flat_map(move |forward| {
        let tagged = matches!(forward, Forward::Hostdev(_));
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
            portgroups(tagged),
        );
        (texts, rest, Just(forward)).prop_map(
            move |(
                (name, title, description, metadata),
                (uuid, trust, vlan, portgroups),
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
                    vlan: vlan.filter(|_| tagged),
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
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[<>/a-z'= ]{0,60}") {
        let _either = parse(&text);
        let _either = parse(&format!("<network><name>n</name>{text}</network>"));
    }
}
