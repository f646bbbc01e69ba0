//! igb's answers to settings (kernel: drivers/net/ethernet/intel/igb/igb_main.c; seen on the
//! emulated host).

use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::{Host, HostError};
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::vf::{LinkState, VfIndex, VfSetting};
use vfnet_model::{MacAddress, Vlan, VlanProtocol};

use crate::{facts, mac, pf, seven, vf};

const SECOND: Duration = Duration::from_secs(1);

fn set(host: &SimHost, setting: VfSetting) -> Result<(), Errno> {
    host.set_vf(pf(), VfIndex(0), setting).map_err(|error| match error {
        HostError::Setting { source, .. } => Errno::from_io_error(&source).expect("a number"),
        other => panic!("{other}"),
    })
}

fn reload(host: &SimHost) {
    host.unbind(vf(), SECOND).expect("nobody uses it");
    host.probe(vf(), SECOND).expect("it is there");
}

fn tag(protocol: VlanProtocol, qos: u8) -> Vlan {
    Vlan { protocol, qos, ..Vlan::tagged(42.try_into().expect("a tag")) }
}

#[test]
fn a_vf_without_admin_mac_takes_a_random_one_at_every_probe_and_tells_its_pf() {
    let host = seven();
    let first = facts(&host);
    assert_eq!(first.netdev_mac, Some(first.admin_mac));
    assert!(!first.sticky && !first.mac_from_pf && !first.admin_mac.is_multicast());

    reload(&host);
    let second = facts(&host);
    assert_eq!(second.netdev_mac, Some(second.admin_mac));
    assert_ne!(first.admin_mac, second.admin_mac);
}

#[test]
fn an_admin_mac_reaches_the_netdev_at_the_next_probe_and_then_the_vf_cannot_change_it() {
    let host = seven();
    let own = facts(&host).netdev_mac;
    let admin = mac("52:54:00:00:00:01");
    set(&host, VfSetting::Mac(admin)).unwrap();
    assert_eq!(facts(&host).netdev_mac, own);

    reload(&host);
    assert_eq!(facts(&host).netdev_mac, Some(admin));
    assert!(facts(&host).mac_from_pf);
    // "VF 0 attempted to override administratively set MAC address"
    let refused = host.set_netdev_mac(vf(), mac("52:54:00:00:00:02"));
    assert!(matches!(refused, Err(HostError::Netlink { .. })));
    assert_eq!(facts(&host).netdev_mac, Some(admin));

    set(&host, VfSetting::Mac(MacAddress::ZERO)).unwrap();
    assert!(!facts(&host).sticky);
    host.set_netdev_mac(vf(), mac("52:54:00:00:00:02")).unwrap();
    assert_eq!(facts(&host).admin_mac, mac("52:54:00:00:00:02"));
}

#[test]
fn a_trusted_vf_may_change_an_admin_mac() {
    let host = seven();
    set(&host, VfSetting::Mac(mac("52:54:00:00:00:01"))).unwrap();
    set(&host, VfSetting::Trust(true)).unwrap();
    host.set_netdev_mac(vf(), mac("52:54:00:00:00:02")).unwrap();
    assert_eq!(facts(&host).admin_mac, mac("52:54:00:00:00:02"));
}

#[test]
fn a_holder_that_opens_the_vf_resets_it_which_forgets_a_mac_of_its_own_and_keeps_an_admin_mac() {
    let vfio = "vfio-pci".parse().unwrap();
    for (set_mac, kept) in [(false, false), (true, true)] {
        let host = seven();
        if set_mac {
            set(&host, VfSetting::Mac(mac("52:54:00:00:00:01"))).unwrap();
        }
        host.set_driver_override(vf(), Some(&vfio)).unwrap();
        reload(&host);
        host.open_vfio(vf(), "qemu (pid 1)").unwrap();
        assert_eq!(!facts(&host).admin_mac.is_zero(), kept);
    }
}

#[test]
fn what_igb_cannot_do_is_refused_with_its_error_number_and_changes_nothing() {
    let host = seven();
    let before = host.facts();
    let rate = |min, max| VfSetting::Rate { min, max };
    for (setting, errno) in [
        (VfSetting::Vlan(tag(VlanProtocol::Dot1Ad, 0)), Errno::PROTONOSUPPORT),
        (VfSetting::Vlan(tag(VlanProtocol::Dot1Q, 8)), Errno::INVAL),
        (rate(1, 100), Errno::INVAL),
        (rate(0, 1001), Errno::INVAL),
        (VfSetting::LinkState(LinkState::Enable), Errno::OPNOTSUPP),
        (VfSetting::Mac(mac("01:00:5e:00:00:01")), Errno::INVAL),
    ] {
        assert_eq!(set(&host, setting), Err(errno), "{setting:?}");
    }
    let missing = host.set_vf(pf(), VfIndex(7), VfSetting::Trust(true));
    assert!(matches!(missing, Err(HostError::Setting { .. })));
    assert_eq!(host.facts(), before);
}

#[test]
fn what_igb_can_do_reads_back() {
    let host = seven();
    for setting in [
        VfSetting::Vlan(tag(VlanProtocol::Dot1Q, 3)),
        VfSetting::Trust(true),
        VfSetting::Spoofchk(false),
        VfSetting::Rate { min: 0, max: 500 },
        VfSetting::Mac(mac("52:54:00:00:00:01")),
    ] {
        set(&host, setting).unwrap();
    }
    let row = host.vf_attributes(pf(), VfIndex(0)).unwrap();
    assert_eq!((row.vlan, row.trust), (tag(VlanProtocol::Dot1Q, 3), Some(true)));
    assert_eq!((row.spoofchk, row.max_tx_rate), (Some(false), Some(500)));
    // rtnl_fill_vfinfo reports link state even for drivers without one.
    assert_eq!((row.mac, row.link_state), (mac("52:54:00:00:00:01"), Some(LinkState::Auto)));
}

#[test]
fn one_mac_on_two_vfs_is_accepted() {
    let host = seven();
    for index in [0, 1] {
        let same = VfSetting::Mac(mac("52:54:00:00:00:01"));
        host.set_vf(pf(), VfIndex(index), same).unwrap();
    }
}

#[test]
fn a_pf_that_is_down_takes_a_mac_refuses_a_rate_and_does_not_answer_its_vfs() {
    let host = seven();
    host.pf_down(pf());
    set(&host, VfSetting::Mac(mac("52:54:00:00:00:01"))).unwrap();
    assert_eq!(set(&host, VfSetting::Rate { min: 0, max: 0 }), Err(Errno::INVAL));
    // "PF still in reset state. Is the PF interface up?"
    reload(&host);
    assert_ne!(facts(&host).netdev_mac, Some(mac("52:54:00:00:00:01")));
}

#[test]
fn a_card_that_can_do_everything_does() {
    let host = SimHost::builder().pf("p0", "0000:01:00.0", Driver::Generic).vfs(64).build();
    for setting in [
        VfSetting::Vlan(tag(VlanProtocol::Dot1Ad, 0)),
        VfSetting::Rate { min: 10, max: 100 },
        VfSetting::LinkState(LinkState::Disable),
    ] {
        set(&host, setting).unwrap();
    }
    assert_eq!(host.facts().len(), 64);
}
