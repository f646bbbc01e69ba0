//! What a stock libvirt daemon does to the VF of a port, behind vfnet's back.

use std::time::Duration;

use vfnet_host::Host;
use vfnet_host_sim::SimHost;
use vfnet_model::vf::VfSetting;
use vfnet_model::{DriverName, MacAddress, PciAddress, Vlan};

const SECOND: Duration = Duration::from_secs(1);

/// MAC and tag, then vfio-pci; and it leaves the VF like that.
pub(crate) fn take(host: &SimHost, vf: PciAddress, mac: MacAddress) {
    set(host, vf, mac, Vlan::UNTAGGED);
    bind_to_vfio(host, vf);
}

pub(crate) fn set(host: &SimHost, vf: PciAddress, mac: MacAddress, vlan: Vlan) {
    let seen = host.vf(vf).expect("it can be read").expect("it is there");
    for setting in [VfSetting::Mac(mac), VfSetting::Vlan(vlan)] {
        host.set_vf(seen.pf, seen.index, setting).expect("the card takes it");
    }
}

pub(crate) fn bind_to_vfio(host: &SimHost, vf: PciAddress) {
    let vfio: DriverName = "vfio-pci".parse().expect("a driver name");
    host.load_driver(&vfio, SECOND).expect("the kernel has it");
    host.set_driver_override(vf, Some(&vfio)).expect("it is there");
    host.unbind(vf, SECOND).expect("nobody uses it");
    host.probe(vf, SECOND).expect("it is there");
}

/// The guest has ended: MAC and tag back, as libvirt has it (the VF's own MAC becomes the admin
/// MAC), then the host's driver.
pub(crate) fn give_up(host: &SimHost, vf: PciAddress, own: MacAddress) {
    set(host, vf, own, Vlan::UNTAGGED);
    host.set_driver_override(vf, None).expect("it is there");
    host.unbind(vf, SECOND).expect("nobody uses it");
    host.probe(vf, SECOND).expect("it is there");
}
