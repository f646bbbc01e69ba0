//! Drivers and devices (kernel: drivers/base/dd.c, drivers/pci/pci-driver.c).

use std::time::Duration;

use vfnet_host::{Host, HostError};

use crate::{driver, facts, seven, vf};

const SECOND: Duration = Duration::from_secs(1);

fn to_vfio(host: &impl Host) {
    host.set_driver_override(vf(), Some(&driver("vfio-pci"))).expect("the VF is there");
    host.unbind(vf(), SECOND).expect("nobody uses it");
    host.probe(vf(), SECOND).expect("the VF is there");
}

#[test]
fn a_vf_goes_to_vfio_by_override_and_back_without_it() {
    let host = seven();
    assert_eq!(facts(&host).driver, Some(driver("igbvf")));
    to_vfio(&host);
    assert_eq!(facts(&host).driver, Some(driver("vfio-pci")));
    assert_eq!(facts(&host).netdev_mac, None);

    host.set_driver_override(vf(), None).unwrap();
    host.unbind(vf(), SECOND).unwrap();
    host.probe(vf(), SECOND).unwrap();

    assert_eq!(facts(&host).driver, Some(driver("igbvf")));
    assert!(facts(&host).netdev_mac.is_some());
    let trace: Vec<_> = host.trace().iter().map(ToString::to_string).collect();
    assert_eq!(
        trace,
        [
            "0000:01:10.0: driver_override vfio-pci",
            "0000:01:10.0: unbind igbvf",
            "0000:01:10.0: bind vfio-pci",
            "0000:01:10.0: driver_override cleared",
            "0000:01:10.0: unbind vfio-pci",
            "0000:01:10.0: bind igbvf",
        ]
    );
}

#[test]
fn unbinding_from_vfio_while_the_group_is_open_never_returns_until_it_is_closed() {
    let host = seven();
    to_vfio(&host);
    host.open_vfio(vf(), "qemu (pid 1)").unwrap();

    assert!(matches!(host.unbind(vf(), SECOND), Err(HostError::Stuck { .. })));
    assert!(facts(&host).stuck);
    assert!(matches!(host.probe(vf(), SECOND), Err(HostError::Stuck { .. })));
    assert_eq!(facts(&host).driver, Some(driver("vfio-pci")));

    host.close_vfio(vf());
    assert!(!facts(&host).stuck);
    // The unbind and then the probe that nobody waits for any more, with the override still set.
    assert_eq!(facts(&host).driver, Some(driver("vfio-pci")));
}
