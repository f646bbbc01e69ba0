use insta::assert_snapshot;
use vfnet_model::PciAddress;
use vfnet_model::vf::VfIndex;

use super::*;

const WIDE: Option<u16> = Some(160);
const NARROW: Option<u16> = Some(80);

fn address(text: &str) -> PciAddress {
    text.parse().expect("PCI address")
}

fn vf(index: u16, state: &str) -> VfReport {
    VfReport {
        address: address(&format!("0000:01:10.{}", index * 2)),
        pf: address("0000:01:00.0"),
        pf_netdev: Some("ens1f0".parse().expect("name")),
        index: VfIndex(index),
        netdev: None,
        mac: Some(format!("02:11:22:33:44:0{index}").parse().expect("MAC")),
        netdev_mac: None,
        vlan: Some(Vlan::UNTAGGED),
        driver: Some("igbvf".parse().expect("name")),
        iommu_group: Some(u32::from(index) + 30),
        numa_node: Some(0),
        state: state.to_owned(),
        holder: None,
        why: None,
        network: None,
        drift: None,
    }
}

fn inventory() -> InventoryReport {
    let pf = PfReport {
        drained: None,
        errors: None,
        kept_vfs: None,
        speed: None,
        physical_networks: Vec::new(),
        address: address("0000:01:00.0"),
        netdev: Some("ens1f0".parse().expect("name")),
        mac: Some("02:11:22:33:44:ff".parse().expect("MAC")),
        up: true,
        carrier: true,
        driver: Some("igb".parse().expect("name")),
        num_vfs: 4,
        total_vfs: 7,
        lent: 1,
        numa_node: Some(0),
        networks: vec!["hw".parse().expect("name"), "hw-gold".parse().expect("name")],
    };
    let down = PfReport {
        address: address("0000:02:00.0"),
        netdev: None,
        up: false,
        carrier: false,
        driver: None,
        num_vfs: 0,
        lent: 0,
        numa_node: None,
        networks: Vec::new(),
        ..pf.clone()
    };
    let held = VfReport {
        vlan: Some(Vlan { qos: 3, ..Vlan::tagged(VlanId::try_from(42).expect("below 4096")) }),
        driver: Some("vfio-pci".parse().expect("name")),
        holder: Some("guest web1".to_owned()),
        ..vf(1, "held")
    };
    let unusable = VfReport {
        why: Some("its interface ens1f0v2 has the address 192.0.2.7/24".to_owned()),
        numa_node: None,
        iommu_group: None,
        ..vf(2, "unusable")
    };
    let quarantined = VfReport {
        why: Some(
            "quarantined (cannot set its MAC); to try again: vfnet vf restore 0000:01:10.6"
                .to_owned(),
        ),
        driver: None,
        ..vf(3, "quarantined")
    };
    InventoryReport {
        obstacle: None,
        pfs: vec![pf, down],
        vfs: vec![vf(0, "free"), held, unusable, quarantined],
        absent: Vec::new(),
    }
}

fn port() -> PortReport {
    PortReport {
        port: Some(Uuid::from_u128(0xb2)),
        network: Some("hw".parse().expect("name")),
        owner: "guest web1".to_owned(),
        guest: Some(Uuid::from_u128(0xc3)),
        mac: Some("52:54:00:6b:3c:58".parse().expect("MAC")),
        vlan: Some(Vlan::tagged(VlanId::try_from(42).expect("below 4096"))),
        vf: address("0000:01:10.2"),
        netdev: Some("ens1f0v1".parse().expect("name")),
        state: "held".to_owned(),
        unused_for: None,
        drift: None,
    }
}

#[test]
fn a_vf_that_somebody_else_has_changed_says_how() {
    let drift =
        Some("cannot configure VF 0000:01:10.2: it has MAC 02:… instead of 52:…".to_owned());
    let held =
        VfReport { holder: Some("guest web1".to_owned()), drift: drift.clone(), ..vf(1, "held") };
    assert_snapshot!(vf_state(&held), @"held by guest web1, changed by somebody else: cannot configure VF 0000:01:10.2: it has MAC 02:… instead of 52:…");
    let text = ports(&[PortReport { drift, ..port() }], WIDE);
    assert!(text.contains("held, changed by somebody else  guest web1"), "{text}");
}

#[test]
fn a_port_that_no_process_has_open_says_for_how_long() {
    let unused = |seconds| {
        let owner = "guest far of another daemon".to_owned();
        PortReport { state: "lent".to_owned(), unused_for: Some(seconds), owner, ..port() }
    };
    assert_snapshot!(ports(&[unused(59), unused(60), unused(7200)], WIDE), @r"
    NETWORK  VF            NETDEV    MAC                VLAN  STATE                     OWNER
    hw       0000:01:10.2  ens1f0v1  52:54:00:6b:3c:58  42    lent, not open for 59 s   guest far of another daemon
    hw       0000:01:10.2  ens1f0v1  52:54:00:6b:3c:58  42    lent, not open for 1 min  guest far of another daemon
    hw       0000:01:10.2  ens1f0v1  52:54:00:6b:3c:58  42    lent, not open for 2 h    guest far of another daemon
    ");
}

#[test]
fn a_wide_terminal_shows_why_beside_each_vf() {
    assert_snapshot!(vfs(&inventory(), WIDE), @r"
    VF            PF      #  MAC                VLAN      DRIVER    GROUP  NUMA  STATE
    0000:01:10.0  ens1f0  0  02:11:22:33:44:00  -         igbvf     30     0     free
    0000:01:10.2  ens1f0  1  02:11:22:33:44:01  42 qos 3  vfio-pci  31     0     held by guest web1
    0000:01:10.4  ens1f0  2  02:11:22:33:44:02  -         igbvf     -      -     its interface ens1f0v2 has the address 192.0.2.7/24
    0000:01:10.6  ens1f0  3  02:11:22:33:44:03  -         -         33     0     quarantined (cannot set its MAC); to try again: vfnet vf restore 0000:01:10.6
    ");
}

#[test]
fn reasons_wrap_in_their_own_column_while_there_is_room() {
    assert_snapshot!(vfs(&inventory(), Some(116)), @r"
    VF            PF      #  MAC                VLAN      DRIVER    GROUP  NUMA  STATE
    0000:01:10.0  ens1f0  0  02:11:22:33:44:00  -         igbvf     30     0     free
    0000:01:10.2  ens1f0  1  02:11:22:33:44:01  42 qos 3  vfio-pci  31     0     held by guest web1
    0000:01:10.4  ens1f0  2  02:11:22:33:44:02  -         igbvf     -      -     its interface ens1f0v2 has the address
                                                                                 192.0.2.7/24
    0000:01:10.6  ens1f0  3  02:11:22:33:44:03  -         -         33     0     quarantined (cannot set its MAC); to
                                                                                 try again: vfnet vf restore
                                                                                 0000:01:10.6
    ");
}

#[test]
fn a_narrow_terminal_shows_long_reasons_below() {
    let mut report = inventory();
    report.vfs[1].vlan = None;
    let text = vfs(&report, NARROW);
    assert_snapshot!(text, @r"
    VF            PF      #  MAC                VLAN  DRIVER    GROUP  NUMA  STATE
    0000:01:10.0  ens1f0  0  02:11:22:33:44:00  -     igbvf     30     0     free
    0000:01:10.2  ens1f0  1  02:11:22:33:44:01  -     vfio-pci  31     0
        held by guest web1
    0000:01:10.4  ens1f0  2  02:11:22:33:44:02  -     igbvf     -      -
        its interface ens1f0v2 has the address 192.0.2.7/24
    0000:01:10.6  ens1f0  3  02:11:22:33:44:03  -     -         33     0
        quarantined (cannot set its MAC); to try again: vfnet vf restore
        0000:01:10.6
    ");
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_pipe_gets_one_line_per_vf() {
    let text = vfs(&inventory(), None);
    assert_eq!(text.lines().count(), 1 + 4);
    assert!(text.ends_with("restore 0000:01:10.6\n"));
}

#[test]
fn no_vfs_says_how_to_make_some_and_what_keeps_them_from_being_lent() {
    let report = InventoryReport {
        obstacle: Some("the IOMMU is off".to_owned()),
        pfs: Vec::new(),
        vfs: Vec::new(),
        absent: Vec::new(),
    };
    assert_snapshot!(vfs(&report, WIDE), @r"
    No VFs. Make some with <vfnet:pf vfs='N'> in a network, or:
      echo 7 > /sys/class/net/PF/device/sriov_numvfs

    No VF can be lent: the IOMMU is off
    ");
    assert_snapshot!(pfs(&report, WIDE), @r"
    No PFs: no card here can make VFs. `vfnet doctor` says more.

    No VF can be lent: the IOMMU is off
    ");
}

#[test]
fn pfs_show_their_vfs_and_networks() {
    assert_snapshot!(pfs(&inventory(), WIDE), @r"
    PF      ADDRESS       MAC                LINK  DRIVER  NUMA  VFS     LENT  NETWORKS
    ens1f0  0000:01:00.0  02:11:22:33:44:ff  up    igb     0     4 of 7  1     hw, hw-gold
    -       0000:02:00.0  02:11:22:33:44:ff  down  -       -     0 of 7  0     -
    ");
}

#[test]
fn pfs_that_are_not_here_are_told_behind_those_that_are() {
    let mut report = inventory();
    report.pfs[0].speed = Some(2500);
    let pf = |identity: &str, drained: Option<&str>, kept_vfs| AbsentPf {
        identity: identity.parse().expect("an identity"),
        drained: drained.map(str::to_owned),
        kept_vfs,
    };
    report.absent = vec![
        pf("mac:02:11:22:33:44:01", Some("new cable"), Some(8)),
        pf("pci:0000:07:00.0", Some(""), None),
    ];
    let text = pfs(&report, WIDE);
    assert!(text.contains("  up, 2.5 Gbit/s  "), "{text}");
    let end = "\nnot here: PF mac:02:11:22:33:44:01: drained: new cable, 8 VFs kept\n\
               not here: PF pci:0000:07:00.0: drained\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn programs_read_the_report_as_the_model_has_it() {
    let json = serde_json::to_string_pretty(&inventory().vfs[1]).expect("serializable");
    assert_snapshot!(json, @r#"
    {
      "address": "0000:01:10.2",
      "pf": "0000:01:00.0",
      "pf_netdev": "ens1f0",
      "index": 1,
      "netdev": null,
      "mac": "02:11:22:33:44:01",
      "netdev_mac": null,
      "vlan": {
        "id": 42,
        "qos": 3,
        "protocol": "802.1Q"
      },
      "driver": "vfio-pci",
      "iommu_group": 31,
      "numa_node": 0,
      "state": "held",
      "holder": "guest web1",
      "why": null,
      "network": null
    }
    "#);
}

#[test]
fn a_network_shows_who_has_its_vfs() {
    let network = NetworkRow {
        name: "hw".to_owned(),
        uuid: Uuid::from_u128(0xa1),
        active: true,
        persistent: true,
        autostart: false,
    };
    let detail = NetworkDetail { network: network.clone(), ports: vec![port()] };
    assert_snapshot!(super::network(&detail, WIDE), @r"
    name        hw
    uuid        00000000-0000-0000-0000-0000000000a1
    state       active
    autostart   no
    persistent  yes
    ports       1

    NETWORK  VF            NETDEV    MAC                VLAN  STATE  OWNER
    hw       0000:01:10.2  ens1f0v1  52:54:00:6b:3c:58  42    held   guest web1
    ");
    assert_snapshot!(networks(&[network], NARROW), @r"
    NAME  STATE   AUTOSTART  PERSISTENT  UUID
    hw    active  no         yes         00000000-0000-0000-0000-0000000000a1
    ");
    assert_snapshot!(serde_json::to_string(&detail.network).expect("serializable"), @r#"{"name":"hw","uuid":"00000000-0000-0000-0000-0000000000a1","active":true,"persistent":true,"autostart":false}"#);
}

#[test]
fn a_guest_shows_its_vfs() {
    let report = GuestReport {
        name: "web1".parse().expect("name"),
        uuid: Uuid::from_u128(0xc3),
        id: Some(3),
        state: "running".to_owned(),
        pid: Some(4711),
        persistent: true,
        autostart: true,
        ports: vec![port()],
    };
    assert_snapshot!(guest(&report, NARROW), @r"
    name        web1
    uuid        00000000-0000-0000-0000-0000000000c3
    id          3
    state       running
    QEMU's pid  4711
    autostart   yes
    persistent  yes

    NETWORK  VF            NETDEV    MAC                VLAN  STATE  OWNER
    hw       0000:01:10.2  ens1f0v1  52:54:00:6b:3c:58  42    held   guest web1
    ");
}

fn excluded(vf: &str, count: usize, rest: bool, reason: &str) -> ExcludedVfs {
    ExcludedVfs { vf: address(vf), count, rest, reason: reason.to_owned() }
}

#[test]
fn an_explanation_says_whose_turn_it_is_and_why_not_the_others() {
    let usable = |vf: &str, why: &str| (address(vf), why.to_owned());
    let mut interface = ExplainedInterface {
        mac: Some("52:54:00:00:00:01".parse().expect("a MAC")),
        portgroup: Some("gold".to_owned()),
        usable: vec![
            usable("0000:02:10.0", "at the guest's NUMA node 1"),
            usable("0000:01:10.2", ""),
        ],
        others: vec![excluded("0000:01:10.0", 1, false, "held by guest web1")],
    };
    let mut report = ExplainReport {
        network: "hw".parse().expect("name"),
        obstacle: None,
        vfs: Vec::new(),
        interfaces: vec![interface.clone()],
    };
    assert_snapshot!(explanation(&report, NARROW), @r"
    Interface 52:54:00:00:00:01 of portgroup gold would get 0000:02:10.0.

    VF            TURN  WHY
    0000:02:10.0  1     at the guest's NUMA node 1
    0000:01:10.2  2
    0000:01:10.0  no    held by guest web1
    ");
    let many = (0..8).flat_map(|slot| (0..8).map(move |function| (slot, function)));
    interface = ExplainedInterface {
        mac: None,
        portgroup: None,
        usable: many.map(|(slot, vf)| usable(&format!("0000:01:{slot:02x}.{vf}"), "")).collect(),
        others: vec![
            excluded("0000:05:00.0", 64, false, "its PF ens5f0 is down (ip link set ens5f0 up)"),
            excluded("0000:06:00.3", 1, false, "held by guest web1"),
            excluded("0000:06:00.4", 1900, true, "are taken as well"),
        ],
    };
    report.interfaces = vec![interface];
    assert_snapshot!(explanation(&report, NARROW), @r"
    VF                        TURN   WHY
    0000:01:00.0              1
    0000:01:00.1              2
    0000:01:00.2              3
    0000:01:00.3              4
    0000:01:00.4              5
    0000:01:00.5              6
    0000:01:00.6              7
    0000:01:00.7              8
    0000:01:01.0              9
    0000:01:01.1              10
    0000:01:01.2              11
    0000:01:01.3              12
    52 more                   later
    0000:05:00.0 and 63 more  no     its PF ens5f0 is down (ip link set ens5f0 up)
    0000:06:00.3              no     held by guest web1
    1900 more                 no     are taken as well
    ");
}

#[test]
fn findings_say_what_to_do_and_colour_is_for_terminals() {
    let report = [
        Finding {
            check: Check::Iommu,
            state: State::Ok,
            says: "the IOMMU is on".to_owned(),
            mend: None,
            details: Vec::new(),
        },
        Finding {
            check: Check::Vfs,
            state: State::Problem,
            says: "ens1f0 has no VFs".to_owned(),
            mend: Some("echo 7 > /sys/class/net/ens1f0/device/sriov_numvfs".to_owned()),
            details: vec!["makes 7 VFs at most".to_owned()],
        },
        Finding {
            check: Check::Drivers,
            state: State::Ok,
            says: "igb sets MAC".to_owned(),
            mend: None,
            details: vec!["its VFs work only while the PF is up".to_owned()],
        },
    ];
    let mut screen = Screen { json: false, width: None, colour: false };
    assert_snapshot!(findings(&report, &screen), @r"
    ok       IOMMU   the IOMMU is on
    problem  VFs     ens1f0 has no VFs
                     echo 7 > /sys/class/net/ens1f0/device/sriov_numvfs
                     makes 7 VFs at most
    ok       driver  igb sets MAC
                     its VFs work only while the PF is up
    ");
    screen.colour = true;
    assert!(findings(&report, &screen).contains("\x1b[31mproblem\x1b[0m  VFs"));
}
