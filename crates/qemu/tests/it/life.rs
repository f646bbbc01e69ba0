//! Start, commands, and every way to end.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use vfnet_qemu::supervisor::CleanUpError;
use vfnet_qemu::{EndKind, GuestError, GuestEvent, RunState, clean_up};

use crate::bench::{Bench, PATIENCE, end, kill, next};

#[tokio::test]
async fn a_guest_is_started_paused_resumed_paused_reset_and_told_of() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("").await;
    let GuestEvent::Started { process, state } = next(&mut events).await else { panic!() };
    assert_eq!((&process, state), (guest.process(), Some(RunState::Prelaunch)));
    assert_eq!(bench.run_dir.process().unwrap(), Some(process));

    guest.resume().await.unwrap();
    assert_eq!(next(&mut events).await, GuestEvent::Resumed);
    assert_eq!(guest.state().await.unwrap(), RunState::Running);
    guest.pause().await.unwrap();
    assert_eq!(next(&mut events).await, GuestEvent::Paused);
    assert_eq!(guest.state().await.unwrap(), RunState::Paused);
    guest.reset().await.unwrap();
    assert_eq!(next(&mut events).await, GuestEvent::Reset);

    guest.destroy(PATIENCE).await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::Terminated);
}

#[tokio::test]
async fn a_guest_that_powers_itself_off_is_noticed_and_can_be_cleaned_up_after() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("poweroff-when-resumed").await;
    assert!(matches!(clean_up(&bench.run_dir), Err(CleanUpError::Alive { .. })));
    guest.resume().await.unwrap();
    next(&mut events).await;
    let event = next(&mut events).await;
    assert!(
        matches!(&event, GuestEvent::ShutdownRequested { by_guest: true, reason }
            if reason == "guest-shutdown"),
        "{event:?}"
    );
    assert_eq!(end(&mut events).await.kind, EndKind::PoweredOff);
    assert!(!bench.run_dir.is_locked().unwrap());
    clean_up(&bench.run_dir).unwrap();
    clean_up(&bench.run_dir).unwrap();
    assert!(!bench.run_dir.path().exists());
}

#[tokio::test]
async fn the_power_button_ends_a_guest_that_heeds_it() {
    let bench = Bench::new();
    let (guest, _events) = bench.start("").await;
    guest.resume().await.unwrap();
    guest.power_down().await.unwrap();
    assert_eq!(guest.wait_ended(PATIENCE).await.unwrap().kind, EndKind::PoweredOff);
}

#[tokio::test]
async fn a_guest_that_ignores_the_power_button_is_destroyed() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("ignore-powerdown").await;
    guest.power_down().await.unwrap();
    let waited = guest.wait_ended(Duration::from_millis(50)).await;
    assert!(matches!(waited, Err(GuestError::StillThere { .. })), "{waited:?}");
    assert_eq!(guest.state().await.unwrap(), RunState::Prelaunch);

    guest.destroy(Duration::ZERO).await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::Terminated);
    let told = guest.resume().await;
    assert!(matches!(told, Err(GuestError::Ended(_))), "{told:?}");
}

#[tokio::test]
async fn a_crash_is_noticed_with_qemus_last_words() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("crash-when-resumed").await;
    guest.resume().await.unwrap();
    let ended = end(&mut events).await;
    assert_eq!(ended.kind, EndKind::Killed(Signal::ABORT.as_raw()));
    assert!(ended.said.contains("assertion failed: told to crash"), "{ended:?}");
}

#[tokio::test]
async fn a_guest_that_panics_is_told_from_one_that_powers_off() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("panic-when-resumed").await;
    guest.resume().await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::Panicked);
}

#[tokio::test]
async fn a_guest_has_ended_when_whatever_it_left_behind_has_ended() {
    let bench = Bench::new();
    let fifo = bench.path("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let (guest, _events) = bench.start(&format!("leave-a-child={}", fifo.display())).await;
    // The child has what QEMU had open, the lock among it.
    let waiting = guest.destroy(PATIENCE);
    let waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(early.is_err(), "{early:?}");
    assert!(bench.run_dir.is_locked().unwrap());
    clean_up(&bench.run_dir).unwrap_err();
    std::fs::write(&fifo, "go\n").unwrap();
    guest.wait_ended(PATIENCE).await.unwrap();
    clean_up(&bench.run_dir).unwrap();
}

#[tokio::test]
async fn qemu_killed_by_somebody_else_is_noticed_at_once() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("").await;
    kill(guest.process().pid, Signal::KILL);
    assert_eq!(end(&mut events).await.kind, EndKind::Killed(9));
    // Reaped: no zombie has the number.
    assert!(guest.process().open().unwrap().is_none());
}

#[tokio::test]
async fn a_guest_whose_events_nobody_reads_is_still_told_what_to_do_and_ends() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("").await;
    for _ in 0..200 {
        guest.resume().await.unwrap();
        guest.pause().await.unwrap();
    }
    guest.destroy(PATIENCE).await.unwrap();
    assert!(matches!(next(&mut events).await, GuestEvent::Started { .. }));
    assert_eq!(end(&mut events).await.kind, EndKind::Terminated);
}

#[tokio::test]
async fn a_guest_that_prints_without_end_fills_no_disk() {
    /// What a log may have been cut at, and what is printed until it is looked at again.
    const BOUND: u64 = 512 << 20;
    let bench = Bench::new();
    let (guest, _events) = bench.start("prints-when-resumed").await;
    guest.resume().await.unwrap();
    let (log, cut_off) = (bench.path("web1.log"), bench.path("web1.log.1"));
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut most = 0;
    let began = Instant::now();
    // Until it has been cut, and has grown again.
    while size(&cut_off) == 0 || size(&log) < 1 << 20 {
        assert!(began.elapsed() < PATIENCE, "{most} bytes are in the log");
        most = most.max(size(&log));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    guest.destroy(PATIENCE).await.unwrap();
    let kept = size(&cut_off);
    println!("{most} bytes in the log at most, {kept} kept of what was cut");
    assert!(most < BOUND && kept <= 32 << 20, "{most} bytes, and {kept} cut off");
}

#[tokio::test]
async fn a_monitor_that_breaks_is_connected_again_and_the_guest_lives() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("garbage-when-resumed").await;
    next(&mut events).await;
    let resumed = guest.resume().await;
    assert!(resumed.is_ok() || matches!(resumed, Err(GuestError::NoMonitor)), "{resumed:?}");
    assert_eq!(next(&mut events).await, GuestEvent::MonitorLost);
    assert_eq!(next(&mut events).await, GuestEvent::MonitorBack { state: RunState::Running });
    assert_eq!(guest.state().await.unwrap(), RunState::Running);
    guest.destroy(PATIENCE).await.unwrap();
}
