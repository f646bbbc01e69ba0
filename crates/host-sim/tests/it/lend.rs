//! A VF that is lent comes back as it was, wherever the program dies and whatever fails, with
//! every driver.
//!
//! `VFNET_DEEP=1` tries every start with every driver; else the drivers that are only simulated by
//! what they can do, and the faults, have a few.

mod repair;
mod start;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;
use start::{
    Before, Case, cases, everything, few_cases, forgive, machine, machine_of, override_driver,
    rebind, wanted, wishes, within,
};
use vfnet_host::Host;
use vfnet_host::lend::{Deadlines, GiveBack, LendError, Lending, Outcome, Prepared};
use vfnet_host::lend::{give_back, hand_over, prepare};
use vfnet_host_sim::{Driver, FaultKind, FaultPoint, Kernel, OpKind, Operation, SimCrash, SimHost};
use vfnet_model::vf::{LinkState, Original, VfAttributes, VfIndex, VfSetting, WantedSettings};
use vfnet_model::{MacAddress, Vlan, VlanProtocol};

use crate::{driver, facts, mac, pf, vf};

const QEMU: &str = "qemu (pid 1)";

/// Sets something as an administrator does, and lets a reset end.
fn set(host: &SimHost, setting: VfSetting) {
    host.set_vf(pf(), VfIndex(0), setting).expect("the card takes it");
    host.advance(Duration::from_secs(1));
}

fn tag(id: u16) -> Vlan {
    Vlan::tagged(id.try_into().expect("a VLAN identifier"))
}

fn lending(host: &SimHost, wanted: Option<WantedSettings>) -> Lending {
    let seen = host.vf(vf()).expect("it can be read").expect("it is there");
    let on_vfio = seen.binding.driver.as_ref().is_some_and(|driver| host.is_vfio_driver(driver));
    Lending {
        vf: vf(),
        pf: pf(),
        index: seen.index,
        incarnation: seen.incarnation,
        original: Original::seen(&seen, on_vfio),
        wanted,
        managed: true,
        driver: None,
        keep_host_settings: false,
    }
}

fn prepare_on(host: &SimHost, lending: &Lending) -> Result<Prepared, LendError> {
    prepare(host, lending, &Deadlines::default(), &mut |_| {})
}

fn give_back_on(host: &SimHost, lending: &Lending) -> GiveBack {
    give_back(host, lending, &Deadlines::default(), &mut |_| {})
}

/// The holder opens the VF, and goes.
fn use_and_leave(host: &SimHost) {
    host.open_vfio(vf(), QEMU).expect("the VF is prepared");
    host.close_vfio(vf());
}

/// Whether the program lived through it.
fn survives(host: &SimHost, program: impl FnOnce(&SimHost)) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| program(host)));
    if let Err(payload) = outcome
        && !payload.is::<SimCrash>()
    {
        resume_unwind(payload);
    }
    let lived = !host.crashed();
    host.revive();
    lived
}

/// Dies before and after each kernel write of `program` in turn, and has `check` look at what
/// became of the machine.
fn at_every_crash_point(
    start: &Kernel,
    mut program: impl FnMut(&SimHost),
    mut check: impl FnMut(&SimHost, &str),
) {
    for n in 1.. {
        for after in [false, true] {
            let host = SimHost::new(start.clone());
            host.clear_trace();
            if after {
                host.crash_after(n);
            } else {
                host.crash_before(n);
            }
            if survives(&host, &mut program) {
                assert!(n > 1, "the program wrote nothing");
                return;
            }
            let trace: Vec<_> = host.trace().iter().map(ToString::to_string).collect();
            check(
                &host,
                &format!("died {} write {n}; {trace:#?}", ["before", "after"][usize::from(after)]),
            );
        }
    }
}

fn assert_comes_back(host: &SimHost, lending: &Lending, before: &Kernel, case: &str) {
    let outcome = give_back_on(host, lending);
    assert_eq!(outcome.outcome, Outcome::Clean, "{case}: {:#?}", outcome.errors);
    assert_same(host, &SimHost::new(before.clone()), case);

    host.clear_trace();
    assert_eq!(give_back_on(host, lending).outcome, Outcome::Clean, "{case}: once more");
    assert_same(host, &SimHost::new(before.clone()), &format!("{case}: once more"));
    let ambiguous = lending.wanted.as_ref().map(|wanted| wanted.mac) == facts(host).netdev_mac;
    // A MAC that is the holder's and the VF's own may be set or not; it is cleared to be sure.
    assert!(ambiguous || host.trace().is_empty(), "{case}: once more, there is nothing to do");
}

fn assert_same(host: &SimHost, other: &SimHost, case: &str) {
    let (mut found, wanted) = (host.facts(), other.facts());
    if let (Some(found), Some(wanted)) = (found.get_mut(&vf()), wanted.get(&vf())) {
        forgive(found, wanted, host);
        assert_eq!(found, wanted, "{case}");
    }
    assert_eq!(found, wanted, "{case}: other VFs");
}

#[test]
fn a_prepared_vf_reads_as_was_wanted_and_comes_back_as_it_was() {
    for before in cases() {
        for wanted in wishes(before).into_iter().flatten() {
            let host = machine(before);
            let start = host.snapshot();
            let lending = lending(&host, Some(wanted.clone()));
            let case = format!("{before:?}: {wanted:?}");

            prepare_on(&host, &lending).unwrap_or_else(|error| panic!("{case}: {error:#?}"));
            let held = facts(&host);
            assert_eq!((held.admin_mac, held.sticky), (wanted.mac, true), "{case}");
            assert_eq!(held.driver, Some(host.best_vfio_driver(vf()).unwrap()), "{case}");
            let card = before.0.personality();
            let read = host.vf_attributes(pf(), VfIndex(0)).unwrap();
            let (min, max) = wanted.rate.unwrap_or_default();
            let expected = VfAttributes {
                mac: wanted.mac,
                vlan: wanted.vlan.unwrap_or(Vlan::UNTAGGED),
                spoofchk: card.spoofchk.map(|on| wanted.spoofchk.unwrap_or(on)),
                trust: card.trust.then(|| wanted.trust.unwrap_or(false)),
                link_state: Some(wanted.link_state.unwrap_or(LinkState::Auto)),
                min_tx_rate: Some(min),
                max_tx_rate: Some(max),
            };
            // An unknown driver's spoof checking is on to be sure.
            let expected = match before.0 {
                Driver::Generic => {
                    VfAttributes { spoofchk: Some(wanted.spoofchk.unwrap_or(true)), ..expected }
                }
                _ => expected,
            };
            assert_eq!(read, expected, "{case}");
            use_and_leave(&host);

            assert_comes_back(&host, &lending, &start, &case);
        }
    }
}

#[test]
fn a_vf_whose_pf_has_no_table_is_refused_a_mac_and_comes_back() {
    for driver in [Driver::Virtio, Driver::Ena] {
        let host = SimHost::builder().vfio_loaded().pf("ens1f0", "0000:01:00.0", driver).vfs(1);
        let host = host.build();
        let before = host.facts();
        let wanted = WantedSettings::mac(mac("52:54:00:aa:bb:cc"));
        let lending = lending(&host, Some(wanted));
        prepare_on(&host, &lending).expect_err("it has no MAC to set");
        assert_eq!(give_back_on(&host, &lending).outcome, Outcome::Clean);
        assert_eq!(host.facts(), before);
    }
}

#[test]
fn what_a_driver_cannot_set_is_refused_before_anything_is_changed() {
    let beyond = |mac| WantedSettings {
        mac,
        vlan: Some(Vlan { qos: 5, protocol: VlanProtocol::Dot1Ad, ..tag(7) }),
        spoofchk: Some(false),
        trust: Some(true),
        link_state: Some(LinkState::Disable),
        rate: Some((10, 500)),
    };
    // Each lacks something for certain.
    for card in [
        Driver::Igb,
        Driver::Ixgbe,
        Driver::I40e,
        Driver::Mlx4,
        Driver::Mlx5,
        Driver::Qede,
        Driver::Sfc,
        Driver::Enic,
        Driver::Hinic,
        Driver::Bnx2x,
        Driver::Virtio,
        Driver::Ena,
    ] {
        let host = machine((card, Before::Untouched));
        let before = host.snapshot();
        let lending = lending(&host, Some(beyond(start::guest())));

        let error = prepare_on(&host, &lending).expect_err("not all of it can be set");

        assert!(error.explain().contains(card.name()), "{}", error.explain());
        assert_eq!(host.snapshot(), before, "{card:?}");
    }
}

#[test]
fn a_vf_comes_back_as_it_was_wherever_prepare_dies() {
    for before in cases() {
        for wanted in wishes(before) {
            let host = machine(before);
            let start = host.snapshot();
            let lending = lending(&host, wanted);
            let program = |host: &SimHost| {
                prepare_on(host, &lending).expect("nothing fails");
            };
            if before_writes_nothing(before, &lending) {
                continue;
            }
            at_every_crash_point(&start, program, |host, case| {
                assert_comes_back(host, &lending, &start, &format!("{before:?}: {case}"));
            });
        }
    }
}

/// A plain hostdev that is on vfio-pci already needs nothing.
fn before_writes_nothing((_, before): Case, lending: &Lending) -> bool {
    matches!(before, Before::Vfio) && lending.wanted.is_none()
}

#[test]
fn a_vf_is_prepared_in_the_end_wherever_prepare_died_before() {
    for before in cases() {
        let host = machine(before);
        let start = host.snapshot();
        let lending = lending(&host, wanted(before.0));
        let reference = SimHost::new(start.clone());
        prepare_on(&reference, &lending).unwrap();

        let program = |host: &SimHost| {
            prepare_on(host, &lending).expect("nothing fails");
        };
        at_every_crash_point(&start, program, |host, case| {
            prepare_on(host, &lending).unwrap();
            assert_same(host, &reference, &format!("{before:?}: {case}"));
        });
    }
}

#[test]
fn a_vf_comes_back_as_it_was_wherever_give_back_dies() {
    for before in cases() {
        for wanted in wishes(before) {
            let host = machine(before);
            let start = host.snapshot();
            let lending = lending(&host, wanted);
            prepare_on(&host, &lending).unwrap();
            use_and_leave(&host);
            if before_writes_nothing(before, &lending) {
                continue;
            }
            let program = |host: &SimHost| {
                give_back_on(host, &lending);
            };
            at_every_crash_point(&host.snapshot(), program, |host, case| {
                assert_comes_back(host, &lending, &start, &format!("{before:?}: {case}"));
            });
        }
    }
}

const FAULTS: [FaultKind; 6] = [
    FaultKind::errno(Errno::IO),
    FaultKind::errno(Errno::BUSY),
    FaultKind::Ignored,
    FaultKind::Slow(Duration::from_secs(2)),
    FaultKind::Stuck,
    FaultKind::Vanish,
];

const OPERATIONS: [OpKind; 13] = [
    OpKind::SetMac,
    OpKind::SetVlan,
    OpKind::SetSpoofchk,
    OpKind::SetTrust,
    OpKind::SetRate,
    OpKind::SetLinkState,
    OpKind::Override,
    OpKind::Unbind,
    OpKind::Probe,
    OpKind::NetdevMac,
    OpKind::LoadDriver,
    OpKind::ReadVf,
    OpKind::ReadAttributes,
];

/// Every fault at each of the first two times of every operation, for good or once.
fn every_fault() -> impl Iterator<Item = (FaultPoint, FaultKind)> {
    OPERATIONS.into_iter().flat_map(|op| {
        FAULTS.into_iter().flat_map(move |kind| {
            (0..2).flat_map(move |spared| {
                let once = FaultPoint::next(op).after(spared);
                [(once, kind), (FaultPoint::every(op).after(spared), kind)]
            })
        })
    })
}

#[test]
fn prepare_does_what_it_says_or_fails_and_the_vf_comes_back() {
    for before in few_cases() {
        let host = machine(before);
        let start = host.snapshot();
        let lending = lending(&host, everything(before.0));
        let reference = SimHost::new(start.clone());
        prepare_on(&reference, &lending).unwrap();

        for (point, kind) in every_fault() {
            let case = format!("{before:?}: {kind:?} at {point:?}");
            let host = SimHost::new(start.clone());
            host.fail(point, kind);
            match prepare_on(&host, &lending) {
                Ok(_) => assert_same(&host, &reference, &case),
                Err(error) => assert!(!error.explain().is_empty(), "{case}"),
            }
            host.clear_faults();
            host.release(vf());
            if host.facts().contains_key(&vf()) {
                assert_comes_back(&host, &lending, &start, &case);
            } else {
                assert_eq!(give_back_on(&host, &lending).outcome, Outcome::Vanished, "{case}");
            }
        }
    }
}

#[test]
fn give_back_restores_all_or_says_what_is_wrong_and_can_be_run_again() {
    for before in few_cases() {
        let host = machine(before);
        let start = host.snapshot();
        let lending = lending(&host, everything(before.0));
        prepare_on(&host, &lending).unwrap();
        use_and_leave(&host);
        let held = host.snapshot();

        for (point, kind) in every_fault() {
            let case = format!("{before:?}: {kind:?} at {point:?}");
            let host = SimHost::new(held.clone());
            host.fail(point, kind);
            let given = give_back_on(&host, &lending);
            match given.outcome {
                Outcome::Clean => {
                    assert_same(&host, &SimHost::new(start.clone()), &case);
                }
                Outcome::Vanished => assert!(!host.facts().contains_key(&vf()), "{case}"),
                Outcome::Quarantine(_) | Outcome::StillOpen { .. } | Outcome::Stuck(_) => {
                    assert!(!given.errors.is_empty(), "{case}");
                }
            }
            host.clear_faults();
            host.release(vf());
            if host.facts().contains_key(&vf()) {
                assert_comes_back(&host, &lending, &start, &case);
            }
        }
    }
}

#[test]
fn a_pf_that_is_not_told_the_vfs_own_mac_again_is_no_clean_end() {
    let host = machine((Driver::Igb, Before::OwnMac));
    let start = host.snapshot();
    let lending = lending(&host, wanted(Driver::Igb));
    // The VF never leaves its driver, so its netdev has its own MAC all the time.
    host.fail(FaultPoint::every(OpKind::Unbind), FaultKind::errno(Errno::IO));
    prepare_on(&host, &lending).expect_err("the VF cannot be unbound");
    host.clear_faults();
    let failed = host.snapshot();

    for kind in [FaultKind::errno(Errno::IO), FaultKind::Ignored] {
        for point in [FaultPoint::every(OpKind::NetdevMac), FaultPoint::next(OpKind::NetdevMac)] {
            let case = format!("{kind:?} at {point:?}");
            let host = SimHost::new(failed.clone());
            host.fail(point, kind);

            let given = give_back_on(&host, &lending);

            assert_eq!(facts(&host).admin_mac, MacAddress::ZERO, "{case}: it has forgotten it");
            assert!(matches!(given.outcome, Outcome::Quarantine(_)), "{case}: {given:#?}");
            host.clear_faults();
            assert_comes_back(&host, &lending, &start, &case);
        }
    }
}

#[test]
fn a_vf_of_unknown_past_is_not_free_with_its_holders_mac_whatever_fails_to_be_cleared_at_first() {
    for card in Driver::ALL {
        let host = machine((card, Before::Untouched));
        let Some(wanted) = wanted(card) else { continue };
        let holders = wanted.mac;
        let known = lending(&host, Some(wanted));
        prepare_on(&host, &known).unwrap();
        use_and_leave(&host);
        let left = host.snapshot();
        let lending = Lending { original: Original::Unknown, ..known };
        for kind in [FaultKind::errno(Errno::IO), FaultKind::Ignored] {
            for spared in 0..3 {
                let case = format!("{card:?}, {kind:?} after {spared}");
                let host = SimHost::new(left.clone());
                host.fail(FaultPoint::next(OpKind::SetMac).after(spared), kind);

                let given = give_back_on(&host, &lending);

                let found = facts(&host);
                let macs = [Some(found.admin_mac), found.netdev_mac];
                let clean = given.outcome == Outcome::Clean;
                assert!(!clean || !macs.contains(&Some(holders)), "{case}: {found:?}");
                let once_more = give_back_on(&host, &lending);
                assert_eq!(once_more.outcome, Outcome::Clean, "{case}: {:#?}", once_more.errors);
                let found = facts(&host);
                let macs = [Some(found.admin_mac), found.netdev_mac];
                assert!(!macs.contains(&Some(holders)), "{case}: {found:?}");
            }
        }
    }
}

#[test]
fn a_vf_whose_override_somebody_who_died_has_not_finished_writing_is_not_said_to_be_back() {
    let host = machine((Driver::Igb, Before::Untouched));
    let start = host.snapshot();
    let lending = lending(&host, wanted(Driver::Igb));
    host.fail(FaultPoint::next(OpKind::Override), FaultKind::Stuck);
    prepare_on(&host, &lending).expect_err("the write does not end");

    let given = give_back_on(&host, &lending);

    assert!(matches!(given.outcome, Outcome::Stuck(_)), "{given:#?}");
    host.release(vf());
    assert_comes_back(&host, &lending, &start, "after the kernel came back");
}

#[test]
fn a_vf_that_is_still_open_is_not_touched() {
    let host = machine((Driver::Igb, Before::Untouched));
    let start = host.snapshot();
    let lending = lending(&host, wanted(Driver::Igb));
    prepare_on(&host, &lending).unwrap();
    host.open_vfio(vf(), QEMU).unwrap();
    host.clear_trace();

    let given = give_back_on(&host, &lending);

    assert!(matches!(given.outcome, Outcome::StillOpen { who, .. } if who.contains(QEMU)));
    assert_eq!(host.trace(), []);
    host.close_vfio(vf());
    assert_comes_back(&host, &lending, &start, "after the holder left");
}

#[test]
fn a_pf_that_went_down_meanwhile_does_not_keep_the_vf_from_coming_back() {
    let host = machine((Driver::Igb, Before::Untouched));
    let before = facts(&host);
    let lending = lending(&host, wanted(Driver::Igb));
    prepare_on(&host, &lending).unwrap();
    host.pf_down(pf());

    let given = give_back_on(&host, &lending);

    assert_eq!(given.outcome, Outcome::Clean, "{:#?}", given.errors);
    let after = facts(&host);
    assert_eq!((after.netdev_mac, after.sticky), (before.netdev_mac, false));
}

#[test]
fn a_guest_may_have_the_mac_that_the_vf_had_itself() {
    for card in [Driver::Igb, Driver::Generic] {
        let host = machine((card, Before::OwnMac));
        let start = host.snapshot();
        let own = facts(&host).admin_mac;
        let lending = lending(&host, Some(WantedSettings::mac(own)));
        prepare_on(&host, &lending).unwrap();
        assert!(facts(&host).sticky);
        use_and_leave(&host);
        assert_comes_back(&host, &lending, &start, &format!("{card:?}"));
    }
}

#[test]
fn an_unmanaged_vf_keeps_its_driver_and_only_its_settings_come_and_go() {
    for card in [Driver::Igb, Driver::Generic] {
        let host = machine((card, Before::Vfio));
        let start = host.snapshot();
        let lending = Lending { managed: false, ..lending(&host, wanted(card)) };
        let program = |host: &SimHost| {
            prepare_on(host, &lending).expect("it is on vfio-pci");
            use_and_leave(host);
            assert_eq!(give_back_on(host, &lending).outcome, Outcome::Clean);
        };
        at_every_crash_point(&start, program, |host, case| {
            let bound =
                host.trace().iter().any(|write| !matches!(write.operation, Operation::Set(_)));
            assert!(!bound, "{case}");
            assert_comes_back(host, &lending, &start, case);
        });
    }
}

fn hand_over_on(host: &SimHost, lending: &Lending) -> Result<(), LendError> {
    hand_over(host, lending, &Deadlines::default(), &mut |_| {})
}

/// What libvirt does with a VF that it was handed: it binds it and sets its MAC, and afterwards
/// puts the MAC back that it saw, if the driver lets it, and binds the old driver.
fn as_libvirt_does(host: &SimHost, wanted: &WantedSettings) {
    let shown = host.vf_attributes(pf(), VfIndex(0)).expect("it is there").mac;
    set(host, VfSetting::Mac(wanted.mac));
    override_driver(host, "vfio-pci");
    rebind(host);
    use_and_leave(host);
    let put_back = host.set_vf(pf(), VfIndex(0), VfSetting::Mac(shown));
    assert!(put_back.is_ok() || shown.is_zero(), "only a zero MAC is refused");
    host.advance(Duration::from_secs(1));
    host.set_driver_override(vf(), None).expect("the VF is there");
    rebind(host);
}

#[test]
fn a_vf_that_was_handed_over_comes_back_wherever_that_dies_and_whatever_its_holder_did() {
    let cases = settable_cases().into_iter().filter(|(_, before)| {
        matches!(before, Before::Untouched | Before::AdminMac | Before::OwnMac | Before::Configured)
    });
    for before in cases {
        let host = machine(before);
        let start = host.snapshot();
        let lending = lending(&host, everything(before.0));
        let Some(wanted) = &lending.wanted else { continue };
        hand_over_on(&host, &lending).unwrap_or_else(|error| panic!("{before:?}: {error:#?}"));
        as_libvirt_does(&host, wanted);
        assert_comes_back(&host, &lending, &start, &format!("{before:?}"));

        let nothing = {
            let host = SimHost::new(start.clone());
            hand_over_on(&host, &lending).expect("nothing fails");
            host.trace().is_empty()
        };
        if nothing {
            continue;
        }
        let program = |host: &SimHost| hand_over_on(host, &lending).expect("nothing fails");
        at_every_crash_point(&start, program, |host, case| {
            assert_comes_back(host, &lending, &start, &format!("{before:?}: {case}"));
        });
    }
}

#[test]
fn an_unmanaged_vf_that_is_not_on_vfio_is_refused_and_not_touched() {
    let host = machine((Driver::Igb, Before::Untouched));
    let lending = Lending { managed: false, ..lending(&host, wanted(Driver::Igb)) };
    let error = prepare_on(&host, &lending).unwrap_err();
    assert!(error.explain().contains("igbvf"), "{}", error.explain());
    assert_eq!(host.trace(), []);
}

#[test]
fn what_makes_a_vf_unusable_is_told_before_anything_is_changed() {
    let pf_down = machine((Driver::Igb, Before::Untouched));
    pf_down.pf_down(pf());
    let used = machine((Driver::Igb, Before::Untouched));
    used.change_netdev(vf(), |netdev| netdev.addresses.push("192.0.2.1/24".into()));
    let elsewhere = machine((Driver::Igb, Before::Untouched));
    elsewhere.change_netdev(vf(), |netdev| netdev.elsewhere = true);
    let no_iommu =
        SimHost::builder().no_iommu().pf("p0", "0000:01:00.0", Driver::Igb).vfs(1).build();
    let no_vfio = SimHost::builder().no_vfio().pf("p0", "0000:01:00.0", Driver::Igb).vfs(1).build();
    for (host, word) in [
        (pf_down, "ip link set ens1f0 up"),
        (used, "192.0.2.1/24"),
        (elsewhere, "namespace"),
        (no_iommu, "intel_iommu=on"),
        (no_vfio, "vfio-pci"),
    ] {
        let before = host.facts();
        let error = prepare_on(&host, &lending(&host, wanted(Driver::Igb))).unwrap_err();
        assert!(error.explain().contains(word), "{}", error.explain());
        assert_eq!(host.facts(), before, "{word}");
    }
}

#[test]
fn a_vf_that_is_lent_again_and_again_comes_back_to_its_first_state() {
    for case in settable_cases() {
        let host = machine(case);
        let start = host.snapshot();
        for round in 0..5_u8 {
            let guest = MacAddress::new([0x52, 0x54, 0, 0, 1, round]);
            let lending = lending(&host, Some(WantedSettings::mac(guest)));
            prepare_on(&host, &lending).unwrap();
            use_and_leave(&host);
            assert_comes_back(&host, &lending, &start, &format!("{case:?}, round {round}"));
        }
    }
}

#[test]
fn an_admin_mac_that_the_vf_has_not_taken_yet_is_put_back_and_taken_by_its_driver() {
    let host = machine((Driver::Igb, Before::Untouched));
    set(&host, VfSetting::Mac(mac("52:54:00:00:00:01")));
    let lending = lending(&host, wanted(Driver::Igb));
    prepare_on(&host, &lending).unwrap();

    let given = give_back_on(&host, &lending);

    assert_eq!(given.outcome, Outcome::Clean);
    assert_eq!(facts(&host).admin_mac, mac("52:54:00:00:00:01"));
    assert_eq!(facts(&host).netdev_mac, Some(mac("52:54:00:00:00:01")));
    assert_eq!(facts(&host).driver, Some(driver("igbvf")));
}

#[test]
fn a_device_made_anew_is_not_given_back_as_the_old_one() {
    let host = machine((Driver::Igb, Before::Untouched));
    let lending = lending(&host, wanted(Driver::Igb));
    prepare_on(&host, &lending).unwrap();
    host.remove_vfs(pf()).unwrap();
    host.make_vfs(pf(), 7).unwrap();
    host.clear_trace();

    assert_eq!(give_back_on(&host, &lending).outcome, Outcome::Vanished);
    assert_eq!(host.trace(), []);
}

fn settable_cases() -> Vec<Case> {
    cases().into_iter().filter(|(card, _)| card.personality().mac).collect()
}

fn any_wanted() -> impl Strategy<Value = WantedSettings> {
    let vlan =
        prop::option::of((1..4095_u16, 0..8_u8).prop_map(|(id, qos)| Vlan { qos, ..tag(id) }));
    let flag = || prop::option::of(any::<bool>());
    let rate = prop::option::of((1..1000_u32).prop_map(|max| (0, max)));
    (any::<[u8; 5]>(), vlan, flag(), flag(), rate).prop_map(
        |(octets, vlan, spoofchk, trust, rate)| {
            let [b, c, d, e, f] = octets;
            let mac = MacAddress::new([0x52, b, c, d, e, f]);
            WantedSettings { mac, vlan, spoofchk, trust, link_state: None, rate }
        },
    )
}

proptest! {
    #[test]
    fn a_vf_survives_any_row_of_deaths(
        seed in any::<u64>(),
        before in prop::sample::select(settable_cases()),
        wanted in any_wanted(),
        deaths in prop::collection::vec((1..10_usize, any::<bool>(), any::<bool>()), 0..6),
    ) {
        let host = machine_of(seed, before);
        let start = host.snapshot();
        let lending = lending(&host, Some(within(before.0.personality(), &wanted)));
        for (n, after, preparing) in deaths {
            if after {
                host.crash_after(n);
            } else {
                host.crash_before(n);
            }
            survives(&host, |host| {
                if preparing {
                    prepare_on(host, &lending).expect("nothing fails");
                    use_and_leave(host);
                } else {
                    let given = give_back_on(host, &lending);
                    assert_eq!(given.outcome, Outcome::Clean, "{:#?}", given.errors);
                }
            });
        }
        assert_comes_back(&host, &lending, &start, "in the end");
    }
}
