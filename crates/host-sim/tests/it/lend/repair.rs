//! What somebody types on a VF that is held is put back, with every driver, or it is said why not.

use rustix::io::Errno;
use vfnet_host::Host;
use vfnet_host::lend::{Deadlines, LendError, Lending, repair};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, OpKind, SimHost};
use vfnet_model::drift::Difference;
use vfnet_model::drivers::{Row, row};
use vfnet_model::vf::{VfIndex, VfSetting, WantedSettings};

use super::start::{Before, machine};
use super::{QEMU, lending, prepare_on, set, tag};
use crate::{facts, mac, pf, vf};

const HOLDERS: &str = "52:54:00:00:00:09";

fn repair_on(host: &SimHost, lending: &Lending) -> Result<Vec<Difference>, LendError> {
    repair(host, lending, &Deadlines::default())
}

/// VF 0, held with this wish.
fn held(driver: Driver, wanted: Option<WantedSettings>) -> (SimHost, Lending) {
    let host = machine((driver, Before::Untouched));
    let lending = lending(&host, wanted);
    prepare_on(&host, &lending).expect("it can be held");
    host.open_vfio(vf(), QEMU).expect("it is prepared");
    host.advance(std::time::Duration::from_secs(1));
    host.clear_trace();
    (host, lending)
}

fn plain() -> Option<WantedSettings> {
    Some(WantedSettings::mac(mac(HOLDERS)))
}

/// What vfnet believes of a driver.
fn row_of(driver: Driver) -> &'static Row {
    row(Some(&crate::driver(driver.personality().pf_driver)))
}

/// Drivers that can give a VF a MAC.
fn with_settings() -> impl Iterator<Item = Driver> {
    Driver::ALL.into_iter().filter(|card| card.personality().mac)
}

#[test]
fn a_vf_that_nobody_touched_is_not_written_to() {
    for driver in with_settings() {
        let (host, lending) = held(driver, plain());
        assert_eq!(repair_on(&host, &lending).expect("nothing is to be done"), [], "{driver:?}");
        assert!(host.trace().is_empty(), "{driver:?}");
    }
}

#[test]
fn a_tag_and_spoof_checking_that_were_typed_are_put_back_and_nothing_else_is_written() {
    for driver in with_settings() {
        let card = driver.personality();
        let (host, lending) = held(driver, plain());
        let before = facts(&host);
        let mut typed = Vec::new();
        if card.vlan && !card.settings_reset && !row_of(driver).vlan_resets_vf {
            typed.push(VfSetting::Vlan(tag(7)));
        }
        if card.spoofchk.is_some() {
            typed.push(VfSetting::Spoofchk(!before.spoofchk));
        }
        for setting in &typed {
            set(&host, *setting);
        }
        host.clear_trace();
        let found = repair_on(&host, &lending).expect("it can be put back");
        assert_eq!(found.len(), typed.len(), "{driver:?}: {found:?}");
        assert_eq!(facts(&host), before, "{driver:?}");
        assert_eq!(host.trace().len(), typed.len(), "{driver:?}");
    }
}

#[test]
fn what_was_typed_is_put_back_where_that_does_not_reset_the_vf() {
    let typed = [
        ("MAC", VfSetting::Mac(mac("02:00:00:00:00:77"))),
        ("VLAN", VfSetting::Vlan(tag(7))),
        ("trust", VfSetting::Trust(true)),
    ];
    for (driver, (name, setting)) in
        with_settings().flat_map(|driver| typed.map(|typed| (driver, typed)))
    {
        let (card, row) = (driver.personality(), row_of(driver));
        let (has, resets) = match setting {
            VfSetting::Vlan(_) => (card.vlan, row.vlan_resets_vf),
            VfSetting::Trust(_) => (card.trust, row.trust_resets_vf),
            _ => (true, row.mac_resets_vf),
        };
        if !has {
            continue;
        }
        let (host, lending) = held(driver, plain());
        let before = facts(&host);
        set(&host, setting);
        host.clear_trace();
        let outcome = repair_on(&host, &lending);
        if resets {
            let error = outcome.expect_err("it would be reset");
            assert!(error.is_for_its_end(), "{driver:?}: {error:?}");
            assert!(error.explain().contains(name), "{driver:?}: {error:?}");
            assert!(host.trace().is_empty(), "{driver:?} was written to");
        } else {
            assert!(!card.settings_reset, "the table does not know that {driver:?} resets");
            assert_eq!(outcome.expect("it can be put back")[0].setting, name);
            assert_eq!(facts(&host), before, "{driver:?}");
        }
    }
}

#[test]
fn what_can_be_put_back_is_beside_what_would_reset_the_vf() {
    let (host, lending) = held(Driver::Ice, plain());
    set(&host, VfSetting::Mac(mac("02:00:00:00:00:77")));
    set(&host, VfSetting::Spoofchk(false));
    let error = repair_on(&host, &lending).expect_err("the MAC stays");
    assert!(error.explain().contains("MAC 02:00:00:00:00:77 instead of 52:54:00:00:00:09"));
    assert!(facts(&host).spoofchk);
}

#[test]
fn a_driver_that_says_yes_and_does_nothing_is_found_out() {
    let (host, lending) = held(Driver::Igb, plain());
    set(&host, VfSetting::Vlan(tag(7)));
    host.fail(FaultPoint::next(OpKind::SetVlan), FaultKind::Ignored);
    let error = repair_on(&host, &lending).expect_err("nothing was done");
    assert!(!error.is_for_its_end());
    assert_eq!(repair_on(&host, &lending).expect("now it is").len(), 1);
}

#[test]
fn a_driver_that_is_busy_is_waited_for() {
    let (host, lending) = held(Driver::Ice, plain());
    set(&host, VfSetting::Spoofchk(false));
    host.fail(FaultPoint::next(OpKind::SetSpoofchk), FaultKind::errno(Errno::BUSY));
    assert_eq!(repair_on(&host, &lending).expect("later it is not busy").len(), 1);
}

#[test]
fn a_vf_that_was_taken_from_vfio_is_not_bound_again() {
    for wanted in [plain(), None] {
        let (host, lending) = held(Driver::Igb, wanted);
        host.close_vfio(vf());
        host.unbind(vf(), std::time::Duration::from_secs(1)).expect("nobody has it open");
        host.clear_trace();
        let error = repair_on(&host, &lending).expect_err("it has no driver");
        assert!(error.is_for_its_end() && host.trace().is_empty(), "{error:?}");
    }
}

#[test]
fn a_device_in_the_place_of_the_held_one_is_left_alone() {
    let (host, lending) = held(Driver::Igb, plain());
    host.close_vfio(vf());
    host.remove_vfs(pf()).expect("nobody has them open");
    host.make_vfs(pf(), 7).expect("it can have seven");
    host.clear_trace();
    assert!(repair_on(&host, &lending).expect_err("another device").is_vanished());
    assert!(host.trace().is_empty());
}

#[test]
fn what_a_plain_hostdev_has_at_its_pf_is_the_hosts() {
    let (host, lending) = held(Driver::Igb, None);
    host.set_vf(pf(), VfIndex(0), VfSetting::Vlan(tag(7))).expect("the card takes it");
    assert_eq!(repair_on(&host, &lending).expect("nothing is to be done"), []);
}
