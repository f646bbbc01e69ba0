//! The machine's devices as libvirt's clients list them.

use vfnet_host::DeviceTree as _;
use vfnet_model::node_device::{Form, NetFeature, print};

use crate::tree::Tree;

const PORT: &str = "sys/devices/pci0000:80/0000:80:01.0";
const PF: &str = "sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0";
const VF: &str = "sys/devices/pci0000:80/0000:80:01.0/0000:81:10.0";

/// A root port with an igb PF that has one VF, and interfaces.
fn machine() -> Tree {
    let tree = Tree::with_vfs(0);
    // Its PF is a directory, which in a kernel's sysfs would be a link.
    std::fs::remove_dir_all(tree.path("sys/bus/pci/devices")).unwrap();
    pci(&tree, PORT, "0x060400", "0x1b36", "0x000c");
    pci(&tree, PF, "0x020000", "0x8086", "0x10c9");
    pci(&tree, VF, "0x020000", "0x8086", "0x10ca");
    tree.file(&format!("{PORT}/config"), config(1, 4));
    tree.file(&format!("{PF}/config"), config(0, 0));
    tree.file(&format!("{PF}/numa_node"), "1\n");
    tree.file(&format!("{PF}/sriov_totalvfs"), "7\n");
    tree.link(&format!("{PF}/virtfn0"), "../0000:81:10.0");
    tree.link(&format!("{VF}/physfn"), "../0000:81:00.0");
    tree.link(&format!("{PF}/driver"), "../../../../bus/pci/drivers/igb");
    tree.link(&format!("{PF}/iommu_group"), "../../../../kernel/iommu_groups/12");
    tree.file("sys/kernel/iommu_groups/12/devices/0000:81:00.0", "");
    tree.file("sys/kernel/iommu_groups/12/devices/0000:80:01.0", "");
    net(&tree, &format!("{PF}/net/ens1"), "52:54:00:00:00:0a", "", 7);
    net(&tree, "sys/devices/virtual/net/lo", "00:00:00:00:00:00", "", 1);
    net(&tree, "sys/devices/virtual/net/br0", "52:54:00:00:00:0b", "DEVTYPE=bridge\n", 8);
    net(&tree, "sys/devices/virtual/net/tun-0", "", "", 9);
    tree.file("sys/class/net/bonding_masters", "");
    tree.file("usr/share/misc/pci.ids", "8086  Intel Corporation\n\t10c9  82576 NIC\n");
    tree.file("sys/class/dmi/id/sys_vendor", "QEMU\n");
    tree.file("sys/class/dmi/id/product_uuid", "12345678-1234-1234-9596-a088b277d677\n");
    tree
}

fn pci(tree: &Tree, path: &str, class: &str, vendor: &str, device: &str) {
    for (name, value) in
        [("class", class), ("vendor", vendor), ("device", device), ("numa_node", "-1")]
    {
        tree.file(&format!("{path}/{name}"), format!("{value}\n"));
    }
    let address = path.rsplit('/').next().unwrap();
    tree.link(&format!("sys/bus/pci/devices/{address}"), &format!("../../../{}", &path[4..]));
}

fn net(tree: &Tree, path: &str, address: &str, kind: &str, index: u32) {
    let name = path.rsplit('/').next().unwrap();
    tree.file(&format!("{path}/uevent"), format!("{kind}INTERFACE={name}\nIFINDEX={index}\n"));
    tree.file(&format!("{path}/address"), format!("{address}\n"));
    tree.file(&format!("{path}/operstate"), "up\n");
    tree.file(&format!("{path}/speed"), if name == "lo" { "-1\n" } else { "1000\n" });
    tree.file(&format!("{path}/ifindex"), format!("{index}\n"));
    tree.link(&format!("sys/class/net/{name}"), &format!("../../{}", &path[4..]));
    let mut links = tree.links.0.lock().unwrap();
    links.entry(index).or_default().features = [NetFeature::Tx, NetFeature::Gro].into();
}

/// A PCI Express device of a kind, with a link of four lanes at 2.5 GT/s.
fn config(header: u8, kind: u8) -> Vec<u8> {
    let mut config = vec![0; 256];
    config[0x06] = 0x10;
    config[0x0e] = header;
    config[0x34] = 0x40;
    config[0x40] = 0x10;
    config[0x42] = 2 | (kind << 4);
    config[0x4c] = 0x41;
    config[0x52] = 0x41;
    config
}

#[test]
fn devices_are_listed_below_what_they_hang_on() {
    let tree = machine();
    let outlines = tree.host().outlines().unwrap();
    let listed: Vec<_> = outlines
        .iter()
        .map(|it| format!("{} < {}", it.name, it.parent.as_ref().map_or("", |p| p.as_str())))
        .collect();
    assert_eq!(
        listed,
        [
            "computer < ",
            "pci_0000_80_01_0 < computer",
            "pci_0000_81_00_0 < pci_0000_80_01_0",
            "pci_0000_81_10_0 < pci_0000_80_01_0",
            "net_ens1_52_54_00_00_00_0a < pci_0000_81_00_0",
            "net_lo_00_00_00_00_00_00 < computer",
            "net_tun_0 < computer",
        ]
    );
}

#[test]
fn the_list_of_names_is_that_of_the_devices() {
    let tree = machine();
    let host = tree.host();
    let outlines = host.outlines().unwrap();
    let expected: Vec<_> = outlines.into_iter().map(|it| (it.kind.sort(), it.name)).collect();
    assert_eq!(host.names().unwrap(), expected);
}

#[test]
fn every_device_that_is_listed_is_found_by_its_name() {
    let tree = machine();
    let host = tree.host();
    for outline in host.outlines().unwrap() {
        let name = outline.name.as_str();
        assert_eq!(host.outline(name).unwrap().as_ref(), Some(&outline));
        assert_eq!(host.device(name).unwrap().unwrap().name, outline.name);
    }
    for missing in [
        "",
        "pci_0000_81_00_1",
        "pci_0000_81_0_0",
        "net_lo",
        "net_..",
        "net_../lo_00_00_00_00_00_00",
        "net_.._52_54_00_00_00_0a",
        "net_br0_52_54_00_00_00_0b",
    ] {
        assert_eq!(host.outline(missing).unwrap(), None, "{missing}");
        assert_eq!(host.device(missing).unwrap(), None, "{missing}");
    }
}

fn document(name: &str) -> String {
    let tree = machine();
    print(&tree.host().device(name).unwrap().unwrap(), Form::Live)
}

#[test]
fn a_pf_is_described_with_its_vfs() {
    assert_eq!(
        document("pci_0000_81_00_0"),
        "<device>
  <name>pci_0000_81_00_0</name>
  <path>/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0</path>
  <parent>pci_0000_80_01_0</parent>
  <driver>
    <name>igb</name>
  </driver>
  <capability type='pci'>
    <class>0x020000</class>
    <domain>0</domain>
    <bus>129</bus>
    <slot>0</slot>
    <function>0</function>
    <product id='0x10c9'>82576 NIC</product>
    <vendor id='0x8086'>Intel Corporation</vendor>
    <capability type='virt_functions' maxCount='7'>
      <address domain='0x0000' bus='0x81' slot='0x10' function='0x0'/>
    </capability>
    <iommuGroup number='12'>
      <address domain='0x0000' bus='0x80' slot='0x01' function='0x0'/>
      <address domain='0x0000' bus='0x81' slot='0x00' function='0x0'/>
    </iommuGroup>
    <numa node='1'/>
    <pci-express>
      <link validity='cap' port='0' speed='2.5' width='4'/>
      <link validity='sta' speed='2.5' width='4'/>
    </pci-express>
  </capability>
</device>
"
    );
}

#[test]
fn a_vf_names_its_pf_and_a_port_is_a_bridge() {
    let vf = document("pci_0000_81_10_0");
    assert!(vf.contains("<capability type='phys_function'>"), "{vf}");
    assert!(vf.contains("<product id='0x10ca'/>"), "{vf}");
    assert!(!vf.contains("virt_functions"), "{vf}");
    let port = document("pci_0000_80_01_0");
    assert!(port.contains("<capability type='pci-bridge'/>"), "{port}");
}

#[test]
fn an_interface_is_described_with_its_link_and_what_it_can_do() {
    assert_eq!(
        document("net_ens1_52_54_00_00_00_0a"),
        "<device>
  <name>net_ens1_52_54_00_00_00_0a</name>
  <path>/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/net/ens1</path>
  <parent>pci_0000_81_00_0</parent>
  <capability type='net'>
    <interface>ens1</interface>
    <address>52:54:00:00:00:0a</address>
    <link speed='1000' state='up'/>
    <feature name='tx'/>
    <feature name='gro'/>
    <capability type='80203'/>
  </capability>
</device>
"
    );
    let lo = document("net_lo_00_00_00_00_00_00");
    assert!(lo.contains("<link state='up'/>"), "{lo}");
}

#[test]
fn the_machine_is_described_by_its_firmware() {
    let computer = document("computer");
    assert!(computer.contains("<vendor>QEMU</vendor>"), "{computer}");
    assert!(computer.contains("<uuid>12345678-1234-1234-9596-a088b277d677</uuid>"), "{computer}");
}
