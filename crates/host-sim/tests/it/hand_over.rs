//! A VF that another daemon is to have is given what that daemon cannot set, and no more; and it
//! comes back as it was, whatever that daemon has done and wherever the program dies.

use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::Host;
use vfnet_host::lend::{Deadlines, Lending, Outcome, give_back, hand_over, prepare};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::vf::{Original, VfSetting, WantedSettings};
use vfnet_model::{DriverName, MacAddress, Vlan};

use crate::{facts, mac, pf, seven, vf};

const SECOND: Duration = Duration::from_secs(1);

fn guests() -> MacAddress {
    mac("52:54:00:00:00:01")
}

fn lending(host: &SimHost, wished: &WantedSettings) -> Lending {
    let seen = host.vf(vf()).expect("it can be read").expect("it is there");
    Lending {
        vf: vf(),
        pf: pf(),
        index: seen.index,
        incarnation: seen.incarnation,
        original: Original::seen(&seen, false),
        wanted: Some(WantedSettings { vlan: Some(Vlan::UNTAGGED), ..wished.clone() }),
        managed: true,
        driver: None,
        keep_host_settings: false,
    }
}

fn trusted() -> WantedSettings {
    WantedSettings { trust: Some(true), spoofchk: Some(false), ..WantedSettings::mac(guests()) }
}

/// As stock libvirt does it, and leaves it when the guest's host daemon dies.
fn other_daemon_takes_it(host: &SimHost) {
    let vfio: DriverName = "vfio-pci".parse().expect("a driver name");
    host.load_driver(&vfio, SECOND).expect("loaded");
    host.set_driver_override(vf(), Some(&vfio)).expect("set");
    host.unbind(vf(), SECOND).expect("unbound");
    host.probe(vf(), SECOND).expect("bound");
    let index = host.vf(vf()).expect("read").expect("there").index;
    for setting in [VfSetting::Mac(guests()), VfSetting::Vlan(Vlan::UNTAGGED)] {
        host.set_vf(pf(), index, setting).expect("the card takes it");
    }
}

fn handed(host: &SimHost, lending: &Lending) -> Result<(), String> {
    hand_over(host, lending, &Deadlines::default(), &mut |_| {}).map_err(|fault| fault.explain())
}

fn back(host: &SimHost, lending: &Lending) -> Outcome {
    give_back(host, lending, &Deadlines::default(), &mut |_| {}).outcome
}

#[test]
fn trust_and_spoof_checking_are_set_and_mac_tag_and_driver_left() {
    for driver in [Driver::Igb, Driver::Ixgbe, Driver::I40e, Driver::Ice, Driver::Mlx5] {
        let host = SimHost::builder().vfio_loaded().pf("ens1f0", "0000:01:00.0", driver);
        let host = host.vfs(7).build();
        let before = facts(&host);
        let lending = lending(&host, &trusted());
        handed(&host, &lending).unwrap_or_else(|why| panic!("{driver:?}: {why}"));
        let after = facts(&host);
        assert_eq!((after.trust, after.spoofchk), (true, false), "{driver:?}");
        assert_eq!(
            (after.admin_mac, after.sticky, after.vlan, &after.driver, &after.driver_override),
            (before.admin_mac, before.sticky, before.vlan, &before.driver, &before.driver_override),
            "{driver:?}"
        );
        other_daemon_takes_it(&host);
        assert_eq!(back(&host, &lending), Outcome::Clean, "{driver:?}");
        assert_eq!(facts(&host), before, "{driver:?}");
    }
}

#[test]
fn what_is_right_already_is_not_written() {
    let host = seven();
    host.clear_trace();
    handed(&host, &lending(&host, &WantedSettings::mac(guests()))).expect("handed over");
    assert!(host.trace().is_empty());
}

#[test]
fn a_setting_that_the_card_refuses_ends_it_and_nothing_stays() {
    let host = seven();
    let before = facts(&host);
    let lending = lending(&host, &trusted());
    host.fail(FaultPoint::next(OpKind::SetSpoofchk), FaultKind::errno(Errno::IO));
    let why = handed(&host, &lending).expect_err("spoof checking was refused");
    assert!(why.contains("spoofchk"), "{why}");
    assert_eq!(back(&host, &lending), Outcome::Clean);
    assert_eq!(facts(&host), before);
}

#[test]
fn a_vf_that_the_host_uses_is_not_handed_over() {
    let host = seven();
    let lending = lending(&host, &trusted());
    host.change_netdev(vf(), |dev| dev.addresses = vec!["10.0.0.1".into()]);
    host.clear_trace();
    handed(&host, &lending).expect_err("it is in use");
    assert!(host.trace().is_empty());
}

#[test]
fn what_an_earlier_guest_told_the_pf_does_not_keep_a_vf_without_driver_from_coming_back() {
    let host = SimHost::builder().vfio_loaded().pf("ens1f0", "0000:01:00.0", Driver::Bnxt).vfs(1);
    let host = host.autoprobe_off().build();
    let first = lending(&host, &WantedSettings::mac(mac("52:54:00:00:00:06")));
    prepare(&host, &first, &Deadlines::default(), &mut |_| {}).expect("it is free");
    host.open_vfio(vf(), "qemu (pid 1)").expect("it is prepared");
    host.close_vfio(vf());
    assert_eq!(back(&host, &first), Outcome::Clean);

    let second = lending(&host, &WantedSettings::mac(guests()));
    handed(&host, &second).expect("it is free");
    other_daemon_takes_it(&host);
    assert_eq!(back(&host, &second), Outcome::Clean);
}
