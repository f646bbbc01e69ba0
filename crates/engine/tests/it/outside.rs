//! What a stock libvirt daemon does to the VF of a port, behind vfnet's back.

use std::time::Duration;

use vfnet_host::{Host, HostError};
use vfnet_host_sim::SimHost;
use vfnet_model::vf::VfSetting;
use vfnet_model::{DriverName, MacAddress, PciAddress, Vlan};

const SECOND: Duration = Duration::from_secs(1);

/// MAC and tag, then vfio-pci; and it leaves the VF like that.
pub(crate) fn take(host: &SimHost, vf: PciAddress, mac: MacAddress) {
    try_to_take(host, vf, mac).expect("the kernel lets it");
}

/// The same, as far as the kernel lets it.
pub(crate) fn try_to_take(
    host: &SimHost,
    vf: PciAddress,
    mac: MacAddress,
) -> Result<(), HostError> {
    try_to_set(host, vf, mac, Vlan::UNTAGGED)?;
    try_to_bind_to_vfio(host, vf)
}

pub(crate) fn set(host: &SimHost, vf: PciAddress, mac: MacAddress, vlan: Vlan) {
    try_to_set(host, vf, mac, vlan).expect("the card takes it");
}

fn try_to_set(
    host: &SimHost,
    vf: PciAddress,
    mac: MacAddress,
    vlan: Vlan,
) -> Result<(), HostError> {
    let Some(seen) = host.vf(vf)? else { return Ok(()) };
    for setting in [VfSetting::Mac(mac), VfSetting::Vlan(vlan)] {
        host.set_vf(seen.pf, seen.index, setting)?;
    }
    Ok(())
}

pub(crate) fn bind_to_vfio(host: &SimHost, vf: PciAddress) {
    try_to_bind_to_vfio(host, vf).expect("the kernel lets it");
}

fn try_to_bind_to_vfio(host: &SimHost, vf: PciAddress) -> Result<(), HostError> {
    let vfio: DriverName = "vfio-pci".parse().expect("a driver name");
    host.load_driver(&vfio, SECOND)?;
    host.set_driver_override(vf, Some(&vfio))?;
    host.unbind(vf, SECOND)?;
    host.probe(vf, SECOND)
}

/// The guest has ended: MAC and tag back, as libvirt has it (the VF's own MAC becomes the admin
/// MAC), then the host's driver.
pub(crate) fn give_up(host: &SimHost, vf: PciAddress, own: MacAddress) {
    try_to_give_up(host, vf, own).expect("the kernel lets it");
}

/// The same, as far as the kernel lets it.
pub(crate) fn try_to_give_up(
    host: &SimHost,
    vf: PciAddress,
    own: MacAddress,
) -> Result<(), HostError> {
    try_to_set(host, vf, own, Vlan::UNTAGGED)?;
    host.set_driver_override(vf, None)?;
    host.unbind(vf, SECOND)?;
    host.probe(vf, SECOND)
}
