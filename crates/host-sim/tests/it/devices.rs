//! The simulated machine as libvirt's clients list it.

use vfnet_host::DeviceTree as _;
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::node_device::{Form, print};

fn names(host: &SimHost) -> Vec<String> {
    host.outlines()
        .expect("they can be listed")
        .iter()
        .map(|outline| outline.name.to_string())
        .collect()
}

#[test]
fn vfs_and_their_netdevs_are_devices_while_they_are_there() {
    let host = SimHost::builder().pf("ens1", "0000:01:00.0", Driver::Igb).build();
    let before = names(&host);
    assert_eq!(before[..3], ["computer", "pci_0000_00_01_0", "pci_0000_01_00_0"]);
    host.make_vfs("0000:01:00.0".parse().unwrap(), 2).unwrap();
    let made: Vec<_> = names(&host).into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(made[..2], ["pci_0000_01_10_0", "pci_0000_01_10_2"]);
    assert!(made[2..].iter().all(|name| name.starts_with("net_")) && made.len() == 4, "{made:?}");
    host.remove_vfs("0000:01:00.0".parse().unwrap()).unwrap();
    assert_eq!(names(&host), before);
}

#[test]
fn every_device_has_a_document_and_a_parent_that_is_there() {
    let host = SimHost::builder().pf("ens1", "0000:01:00.0", Driver::Igb).vfs(7).build();
    let all = names(&host);
    for outline in host.outlines().unwrap() {
        let name = outline.name.as_str();
        assert_eq!(host.outline(name).unwrap().as_ref(), Some(&outline));
        let device = host.device(name).unwrap().unwrap();
        assert!(print(&device, Form::Live).contains(&format!("<name>{name}</name>")));
        assert_eq!(device.parent, outline.parent);
        assert!(outline.parent.is_none_or(|parent| all.contains(&parent.to_string())), "{name}");
    }
    assert_eq!(host.outline("pci_0000_7f_00_0").unwrap(), None);
}
