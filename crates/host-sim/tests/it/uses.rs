//! What the host does with VFs, and IOMMU groups.

use std::time::Duration;

use vfnet_host::Host;
use vfnet_host_sim::{Driver, NetdevState, OtherDevice, SimHost, VfioOpenError};
use vfnet_model::inventory::HostUse;

use crate::{driver, facts, pci, seven, vf};

const SECOND: Duration = Duration::from_secs(1);

fn uses_after(change: impl FnOnce(&mut NetdevState)) -> Vec<HostUse> {
    let host = seven();
    assert!(host.change_netdev(vf(), change));
    facts(&host).uses
}

#[test]
fn every_use_of_a_netdev_shows_but_a_link_local_address() {
    assert_eq!(uses_after(|dev| dev.addresses.push("fe80::1/64".into())), []);
    let address = uses_after(|dev| dev.addresses.push("192.0.2.1/24".into()));
    assert!(matches!(&address[..], [HostUse::Address(_, text)] if text == "192.0.2.1/24"));
    let bridge = uses_after(|dev| dev.master = Some("br0".parse().unwrap()));
    assert!(matches!(&bridge[..], [HostUse::Master(..)]));
    let macvtap = uses_after(|dev| dev.uppers.push("macvtap0".parse().unwrap()));
    assert!(matches!(&macvtap[..], [HostUse::Upper(..)]));
    let route = uses_after(|dev| dev.routes.push("198.51.100.0/24".into()));
    assert!(matches!(&route[..], [HostUse::Route(..)]));
}

#[test]
fn a_netdev_in_another_namespace_is_not_seen_and_its_driver_is() {
    let host = seven();
    host.change_netdev(vf(), |dev| dev.elsewhere = true);
    let seen = host.vf(vf()).unwrap().unwrap();
    assert_eq!(seen.netdev, None);
    assert_eq!(seen.uses, [HostUse::NoNetdev(driver("igbvf"))]);
}

fn to_vfio(host: &SimHost, device: &str) {
    let device = pci(device);
    host.set_driver_override(device, Some(&driver("vfio-pci"))).expect("it is there");
    host.unbind(device, SECOND).expect("nobody uses it");
    host.probe(device, SECOND).expect("it is there");
}

#[test]
fn an_open_group_shows_at_all_its_vfs_and_is_open_to_one() {
    let host = SimHost::builder()
        .vfio_loaded()
        .pf("p0", "0000:01:00.0", Driver::Igb)
        .groups_of(2)
        .vfs(4)
        .build();
    to_vfio(&host, "0000:01:10.0");
    to_vfio(&host, "0000:01:10.2");
    host.open_vfio(vf(), "qemu (pid 1)").unwrap();

    let group = host.vf(vf()).unwrap().unwrap().iommu_group.unwrap();
    assert_eq!(host.vfio_group_holder(group).unwrap().as_deref(), Some("qemu (pid 1)"));
    let sibling = host.vf(pci("0000:01:10.2")).unwrap().unwrap();
    assert_eq!(sibling.uses, [HostUse::VfioOpen("qemu (pid 1)".into())]);
    assert_eq!(
        host.open_vfio(pci("0000:01:10.2"), "qemu (pid 2)"),
        Err(VfioOpenError::Busy { group, holder: "qemu (pid 1)".into() })
    );
}

#[test]
fn a_group_is_open_until_its_last_open_vf_is_closed_or_gone() {
    let host = SimHost::builder()
        .vfio_loaded()
        .pf("p0", "0000:01:00.0", Driver::Igb)
        .groups_of(2)
        .vfs(2)
        .build();
    let group = host.vf(vf()).unwrap().unwrap().iommu_group.unwrap();
    let holder = || host.vfio_group_holder(group).unwrap();
    for device in ["0000:01:10.0", "0000:01:10.2"] {
        to_vfio(&host, device);
    }
    for device in ["0000:01:10.0", "0000:01:10.2"] {
        host.open_vfio(pci(device), "qemu (pid 1)").unwrap();
    }
    host.close_vfio(pci("0000:01:10.0"));
    assert_eq!(holder().as_deref(), Some("qemu (pid 1)"));
    host.remove_vf(pci("0000:01:10.2"));
    assert_eq!(holder(), None);
}

#[test]
fn a_group_is_viable_when_every_endpoint_in_it_is_on_vfio_or_unbound() {
    let other =
        OtherDevice { address: pci("0000:03:00.0"), driver: Some(driver("ahci")), bridge: false };
    let bridge = OtherDevice {
        address: pci("0000:02:00.0"),
        driver: Some(driver("pcieport")),
        bridge: true,
    };
    let host = SimHost::builder()
        .vfio_loaded()
        .pf("p0", "0000:01:00.0", Driver::Igb)
        .beside(0, other)
        .beside(0, bridge)
        .vfs(1)
        .build();
    let group = host.vf(vf()).unwrap().unwrap().iommu_group.unwrap();
    assert_eq!(host.inventory().unwrap().groups[&group].len(), 3);

    to_vfio(&host, "0000:01:10.0");
    let refused = host.open_vfio(vf(), "qemu (pid 1)");
    assert!(
        matches!(refused, Err(VfioOpenError::NotViable { member, .. }) if member == pci("0000:03:00.0"))
    );
    host.unbind(pci("0000:03:00.0"), SECOND).unwrap();
    host.open_vfio(vf(), "qemu (pid 1)").unwrap();
}

#[test]
fn vfio_takes_a_device_only_by_override_and_only_when_it_is_loaded() {
    let host = SimHost::builder().pf("p0", "0000:01:00.0", Driver::Igb).vfs(1).build();
    to_vfio(&host, "0000:01:10.0");
    assert_eq!(facts(&host).driver, None);
    // A driver that is loaded looks at every device.
    host.load_driver(&host.best_vfio_driver(vf()).unwrap(), SECOND).unwrap();
    assert_eq!(facts(&host).driver, Some(driver("vfio-pci")));
}
