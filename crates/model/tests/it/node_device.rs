//! Node-device documents.

use vfnet_model::node_device::{
    Capability, Form, IommuGroup, Medium, Net, NetFeature, NetLinkState, NodeDevice,
    NodeDeviceName, Pci, PciBridge, PciExpress, PciId, PciLink, PciLinkSpeed, System,
    VirtFunctions, print,
};
use vfnet_model::{NetdevName, PciAddress};

use crate::corpus::{fixtures, folder};

fn at(address: &str) -> PciAddress {
    address.parse().unwrap()
}

fn id(id: u16, name: &str) -> PciId {
    PciId { id, name: Some(name.to_owned()) }
}

/// A PCI device of Intel's that has nothing but its identity.
fn intel(address: &str, product: PciId) -> Pci {
    Pci {
        class: 0xff_ffff,
        address: at(address),
        product,
        vendor: id(0x8086, "Intel Corporation"),
        phys_function: None,
        virt_functions: None,
        bridge: None,
        iommu_group: None,
        numa_node: None,
        express: None,
    }
}

fn device(parent: &str, pci: Pci) -> NodeDevice {
    NodeDevice {
        name: NodeDeviceName::pci(pci.address),
        path: None,
        parent: Some(NodeDeviceName::pci(at(parent))),
        driver: None,
        capability: Capability::Pci(Box::new(pci)),
    }
}

fn group(number: u32, members: &[&str]) -> Option<IommuGroup> {
    Some(IommuGroup { number, members: members.iter().map(|member| at(member)).collect() })
}

const LINK_DOWN: PciLink = PciLink { speed: None, width: 0 };

fn four_lanes() -> PciLink {
    PciLink { speed: Some(PciLinkSpeed::Gt2_5), width: 4 }
}

/// The 82576 VF of the corpus.
fn vf_82576() -> Pci {
    Pci {
        iommu_group: group(31, &["0000:02:10.7"]),
        numa_node: Some(0),
        express: Some(PciExpress {
            capable: Some(four_lanes()),
            port: Some(0),
            status: Some(LINK_DOWN),
        }),
        ..intel("0000:02:10.7", id(0x10ca, "82576 Virtual Function"))
    }
}

fn corpus_device(file: &str) -> NodeDevice {
    match file {
        "computer.xml" => NodeDevice {
            name: NodeDeviceName::computer(),
            path: None,
            parent: None,
            driver: None,
            capability: Capability::System(System {
                product: None,
                hardware_vendor: Some("LENOVO".to_owned()),
                hardware_version: Some("ThinkPad T60p".to_owned()),
                hardware_serial: Some("123123".to_owned()),
                hardware_uuid: "12345678-1234-1234-9596-a088b277d677".parse().unwrap(),
                firmware_vendor: Some("LENOVO".to_owned()),
                firmware_version: Some("79ETE1WW (2.21 )".to_owned()),
                firmware_release_date: Some("02/05/2008".to_owned()),
            }),
        },
        "pci_0000_02_10_7_sriov.xml" => {
            device("0000:00:04.0", Pci { phys_function: Some(at("0000:02:00.1")), ..vf_82576() })
        }
        "pci_0000_02_10_7_sriov_vfs.xml" => {
            let functions = ["0000:02:00.2", "0000:02:00.3", "0000:02:00.4", "0000:02:00.5"];
            let vfs = VirtFunctions { max_count: None, functions: functions.map(at).to_vec() };
            device("0000:00:04.0", Pci { virt_functions: Some(vfs), ..vf_82576() })
        }
        "pci_8086_10c9_sriov_pf.xml" => device(
            "0000:00:04.0",
            Pci {
                iommu_group: group(12, &["0000:02:00.0", "0000:02:00.1"]),
                numa_node: Some(0),
                ..intel("0000:02:00.0", id(0x10c9, "82576 Gigabit Network Connection"))
            },
        ),
        "pci_82579LM_network_adapter.xml" => NodeDevice {
            parent: Some(NodeDeviceName::computer()),
            driver: Some("e1000e".parse().unwrap()),
            ..device(
                "0000:00:00.0",
                Pci {
                    virt_functions: Some(VirtFunctions { max_count: None, functions: vec![] }),
                    ..intel("0000:00:19.0", id(0x1502, "82579LM Gigabit Network Connection"))
                },
            )
        },
        other => panic!("the corpus has changed: {other}"),
    }
}

/// The NIC of the corpus. Its name and its parent's are of an older rule than today's.
fn corpus_nic() -> NodeDevice {
    let features = {
        use NetFeature::{
            Gro, Gso, Rdma, Rx, Rxhash, Rxvlan, Sg, Switchdev, Tso, Tx, Txudptnl, Txvlan,
        };
        [Rx, Tx, Sg, Tso, Gso, Gro, Rxvlan, Txvlan, Rxhash, Rdma, Txudptnl, Switchdev].into()
    };
    let net = Net {
        interface: "eth0".parse().unwrap(),
        address: Some("00:13:02:b9:f9:d3".to_owned()),
        speed: None,
        state: None,
        features,
        medium: Some(Medium::Wireless),
    };
    NodeDevice {
        name: NodeDeviceName::net(&net.interface, net.address.as_deref()),
        path: None,
        parent: None,
        driver: None,
        capability: Capability::Net(net),
    }
}

#[test]
fn the_devices_of_the_corpus_print_as_libvirt_prints_them() {
    for (file, text) in folder("nodedev").into_iter().flatten() {
        if file == "net_00_13_02_b9_f9_d3.xml" {
            let printed = print(&corpus_nic(), Form::Live);
            let capability =
                |text: &str| text.find("  <capability").map(|at| text[at..].to_owned());
            assert_eq!(capability(&printed).unwrap(), capability(&text).unwrap(), "{file}");
        } else {
            assert_eq!(print(&corpus_device(&file), Form::Live), text, "{file}");
        }
    }
}

fn nic() -> NodeDevice {
    let interface: NetdevName = "ens1f0v0".parse().unwrap();
    let mac = "52:54:00:12:34:56";
    NodeDevice {
        name: NodeDeviceName::net(&interface, Some(mac)),
        path: Some("/sys/devices/pci0000:00/0000:00:04.0/0000:02:10.0/net/ens1f0v0".to_owned()),
        parent: Some(NodeDeviceName::pci(at("0000:02:10.0"))),
        driver: None,
        capability: Capability::Net(Net {
            interface,
            address: Some(mac.to_owned()),
            speed: Some(1000),
            state: Some(NetLinkState::Up),
            features: [
                NetFeature::Switchdev,
                NetFeature::Rx,
                NetFeature::Txudptnl,
                NetFeature::Rdma,
                NetFeature::Lro,
            ]
            .into(),
            medium: Some(Medium::Ethernet),
        }),
    }
}

fn pf() -> NodeDevice {
    let vfs = VirtFunctions {
        max_count: Some(7),
        functions: vec![at("0000:02:10.0"), at("0000:02:10.2")],
    };
    NodeDevice {
        path: Some("/sys/devices/pci0000:00/0000:00:04.0/0000:02:00.0".to_owned()),
        driver: Some("igb".parse().unwrap()),
        ..device(
            "0000:00:04.0",
            Pci {
                class: 0x02_0000,
                virt_functions: Some(vfs),
                product: PciId { id: 0x10c9, name: None },
                numa_node: Some(1),
                express: Some(PciExpress {
                    capable: Some(PciLink { speed: Some(PciLinkSpeed::Gt16), width: 8 }),
                    port: Some(2),
                    status: Some(four_lanes()),
                }),
                ..intel("0000:02:00.0", id(0, ""))
            },
        )
    }
}

fn bridge() -> NodeDevice {
    device(
        "0000:00:00.0",
        Pci {
            class: 0x06_0400,
            bridge: Some(PciBridge::Pci),
            iommu_group: group(2, &["0000:00:04.0"]),
            express: Some(PciExpress::default()),
            ..intel("0000:00:04.0", id(0x3420, "Root Port <0>"))
        },
    )
}

fn pf_without_vfs() -> NodeDevice {
    device(
        "0000:00:04.0",
        Pci {
            virt_functions: Some(VirtFunctions { max_count: Some(63), functions: vec![] }),
            ..intel("0000:02:00.1", id(0x1572, "Ethernet Controller X710"))
        },
    )
}

#[test]
fn each_part_of_a_device_prints_in_its_place() {
    let mut printed = [
        ("bridge.xml", print(&bridge(), Form::Live)),
        ("nic.xml", print(&nic(), Form::Live)),
        ("pf.xml", print(&pf(), Form::Live)),
        ("pf-inactive.xml", print(&pf(), Form::Inactive)),
        ("pf-without-vfs.xml", print(&pf_without_vfs(), Form::Live)),
    ];
    printed.sort();
    let fixtures = fixtures("node_device");
    assert_eq!(fixtures.len(), printed.len());
    for ((file, printed), (fixture, text)) in printed.iter().zip(&fixtures) {
        assert_eq!(file, fixture);
        assert_eq!(printed, text, "{file}");
    }
}

#[test]
fn a_device_is_named_after_what_the_kernel_calls_it() {
    let dev = |name: &str| name.parse::<NetdevName>().unwrap();
    let mac = "52:54:00:0a:0b:0c";
    assert_eq!(NodeDeviceName::computer().as_str(), "computer");
    assert_eq!(NodeDeviceName::pci(at("0000:02:10.7")).as_str(), "pci_0000_02_10_7");
    assert_eq!(NodeDeviceName::pci(at("0001:af:00.0")).as_str(), "pci_0001_af_00_0");
    assert_eq!(NodeDeviceName::net(&dev("eth0"), Some(mac)).as_str(), "net_eth0_52_54_00_0a_0b_0c");
    assert_eq!(
        NodeDeviceName::net(&dev("enp2s0.42"), Some(mac)).as_str(),
        "net_enp2s0_42_52_54_00_0a_0b_0c"
    );
    assert_eq!(NodeDeviceName::net(&dev("tun0"), None).as_str(), "net_tun0");
}
