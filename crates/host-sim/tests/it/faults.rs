//! Faults and deaths happen where they were asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::{Host, HostError};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind, SimCrash, SimHost, Verdict};
use vfnet_model::vf::{VfIndex, VfSetting};

use crate::{facts, pci, pf, seven, vf};

const SECOND: Duration = Duration::from_secs(1);
const TRUST: VfSetting = VfSetting::Trust(true);

#[test]
fn a_fault_hits_the_operation_device_and_times_it_was_asked_for() {
    let host = seven();
    let point = FaultPoint::next(OpKind::SetTrust).at(vf()).after(1).times(2);
    host.fail(point, FaultKind::errno(Errno::BUSY));
    host.set_vf(pf(), VfIndex(1), TRUST).unwrap();
    let failed = [(); 4].map(|()| host.set_vf(pf(), VfIndex(0), TRUST).is_err());
    assert_eq!(failed, [false, true, true, false]);
}

#[test]
fn an_ignored_write_answers_success() {
    let host = seven();
    host.fail(FaultPoint::next(OpKind::SetTrust), FaultKind::Ignored);
    host.set_vf(pf(), VfIndex(0), TRUST).unwrap();
    assert!(!facts(&host).trust);
}

#[test]
fn a_bind_that_never_returns_leaves_the_vf_stuck_for_every_later_step() {
    let host = seven();
    host.unbind(vf(), SECOND).unwrap();
    host.fail(FaultPoint::next(OpKind::Probe), FaultKind::Stuck);
    let before = host.clock();
    assert!(matches!(host.probe(vf(), SECOND), Err(HostError::Stuck { limit: SECOND, .. })));
    assert_eq!(host.clock() - before, SECOND);
    assert!(matches!(host.set_driver_override(vf(), None), Err(HostError::Stuck { .. })));

    host.release(vf());
    assert!(!facts(&host).stuck);
    assert!(facts(&host).driver.is_some());
}

#[test]
fn a_slow_step_happens_after_its_caller_has_given_up() {
    let host = seven();
    host.fail(FaultPoint::next(OpKind::Unbind), FaultKind::Slow(3 * SECOND));
    assert!(matches!(host.unbind(vf(), SECOND), Err(HostError::Stuck { .. })));
    assert!(facts(&host).driver.is_some());
    assert!(host.wait(5 * SECOND, &mut || facts(&host).driver.is_none()));
}

#[test]
fn waiting_takes_virtual_time_only() {
    let host = seven();
    let before = host.clock();
    assert!(!host.wait(3600 * SECOND, &mut || false));
    assert_eq!(host.clock() - before, 3600 * SECOND);
}

#[test]
fn a_vf_can_vanish_at_any_step() {
    let host = seven();
    host.fail(FaultPoint::next(OpKind::Unbind), FaultKind::Vanish);
    assert!(matches!(host.unbind(vf(), SECOND), Err(HostError::Gone { .. })));
    assert_eq!(host.vf(vf()).unwrap(), None);
}

/// What the program that does two settings died of.
fn two_settings(host: &SimHost) -> Option<SimCrash> {
    let died = catch_unwind(AssertUnwindSafe(|| {
        for index in [0, 1] {
            host.set_vf(pf(), VfIndex(index), TRUST).expect("igb takes it");
        }
    }));
    died.err().map(|payload| *payload.downcast::<SimCrash>().expect("nothing else fails"))
}

fn trusted(host: &SimHost) -> usize {
    host.facts().values().filter(|vf| vf.trust).count()
}

#[test]
fn a_program_dies_before_or_after_the_write_it_was_told_to() {
    let host = seven();
    host.crash_before(2);
    let crash = two_settings(&host).unwrap();
    assert_eq!((crash.write.device, crash.written), (Some(pci("0000:01:10.2")), false));
    assert_eq!(trusted(&host), 1);

    let host = seven();
    host.crash_after(1);
    assert!(two_settings(&host).unwrap().written);
    assert_eq!(trusted(&host), 1);
    // The dead write no more.
    assert!(!two_settings(&host).unwrap().written);
    assert_eq!(host.trace().len(), 1);
    host.revive();
    assert_eq!(two_settings(&host), None);
    assert_eq!(trusted(&host), 2);
}

#[test]
fn the_world_can_change_between_two_writes() {
    let host = seven();
    let world = host.clone();
    host.on_write(Box::new(move |write| {
        if write.device == Some(pci("0000:01:10.2")) {
            world.remove_vf(pci("0000:01:10.2"));
        }
        Verdict::Proceed
    }));
    host.set_vf(pf(), VfIndex(0), TRUST).unwrap();
    assert!(host.set_vf(pf(), VfIndex(1), TRUST).is_err());
}
