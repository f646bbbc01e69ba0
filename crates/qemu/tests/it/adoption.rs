//! Guests outlive the daemon that started them.
#![expect(clippy::disallowed_methods, reason = "a daemon is started here to be killed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use vfnet_qemu::launch::LaunchSpec;
use vfnet_qemu::supervisor::AdoptError;
use vfnet_qemu::{EndKind, GuestEvent, RunState, adopt, clean_up};

use crate::bench::{Bench, PATIENCE, end, kill, next, processes};

/// A daemon that has been told to start a guest.
fn daemon(bench: &Bench, spec: &LaunchSpec) -> Child {
    let mut daemon = Command::new(processes())
        .arg("daemon")
        .arg(bench.run_dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let json = serde_json::to_vec(spec).unwrap();
    daemon.stdin.take().unwrap().write_all(&json).unwrap();
    daemon
}

/// A guest whose daemon has been killed with SIGKILL after the start.
pub(crate) fn orphan(bench: &Bench, spec: &LaunchSpec) {
    let mut daemon = daemon(bench, spec);
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[tokio::test]
async fn a_guest_outlives_its_daemon_and_is_taken_up_by_the_next() {
    let bench = Bench::new();
    orphan(&bench, &bench.spec(""));
    assert!(bench.run_dir.is_locked().unwrap());
    let process = bench.run_dir.process().unwrap().unwrap();

    let (guest, mut events) = adopt(&bench.run_dir, PATIENCE).await.unwrap();
    let started = GuestEvent::Started { process, state: Some(RunState::Prelaunch) };
    assert_eq!(next(&mut events).await, started);
    guest.resume().await.unwrap();
    assert_eq!(next(&mut events).await, GuestEvent::Resumed);
    guest.destroy(PATIENCE).await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::Terminated);
    clean_up(&bench.run_dir).unwrap();
}

#[tokio::test]
async fn how_an_adopted_guest_ended_is_told_as_far_as_anybody_knows() {
    let bench = Bench::new();
    orphan(&bench, &bench.spec(""));
    let (guest, mut events) = adopt(&bench.run_dir, PATIENCE).await.unwrap();
    guest.power_down().await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::PoweredOff);

    orphan(&bench, &bench.spec("crash-when-resumed"));
    let (guest, mut events) = adopt(&bench.run_dir, PATIENCE).await.unwrap();
    guest.resume().await.unwrap();
    let ended = end(&mut events).await;
    assert_eq!(ended.kind, EndKind::Unknown);
    assert!(ended.said.contains("told to crash"), "{ended:?}");
}

#[tokio::test]
async fn a_guest_that_ended_while_no_daemon_was_there_is_told_with_its_words() {
    let bench = Bench::new();
    orphan(&bench, &bench.spec(""));
    kill(bench.run_dir.process().unwrap().unwrap().pid, Signal::KILL);
    tokio::time::timeout(PATIENCE, async {
        while bench.run_dir.is_locked().unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let adopted = adopt(&bench.run_dir, PATIENCE).await;
    assert!(matches!(adopted, Err(AdoptError::Ended { .. })), "{adopted:?}");
    // And one that was never started at all.
    clean_up(&bench.run_dir).unwrap();
    let adopted = adopt(&bench.run_dir, PATIENCE).await;
    assert!(matches!(adopted, Err(AdoptError::Ended { .. })), "{adopted:?}");
}

#[tokio::test]
async fn whenever_a_daemon_is_killed_during_a_start_the_guest_is_adopted_or_gone() {
    let (mut adopted, mut gone) = (0, 0);
    for millis in [0, 1, 2, 3, 5, 8, 12, 20, 40] {
        let bench = Bench::new();
        let mut daemon = daemon(&bench, &bench.spec(""));
        tokio::time::sleep(Duration::from_millis(millis)).await;
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        match adopt(&bench.run_dir, PATIENCE).await {
            Ok((guest, _events)) => {
                assert_eq!(guest.state().await.unwrap(), RunState::Prelaunch);
                guest.destroy(PATIENCE).await.unwrap();
                adopted += 1;
            }
            Err(AdoptError::Ended { .. }) => gone += 1,
            Err(error) => panic!("killed after {millis} ms: {error}"),
        }
        clean_up(&bench.run_dir).unwrap();
    }
    println!("adopted {adopted}, gone {gone}");
    assert_eq!(adopted + gone, 9);
}

#[tokio::test]
async fn a_guest_whose_monitor_is_silent_is_adopted_and_can_be_destroyed() {
    let bench = Bench::new();
    let mut daemon = daemon(&bench, &bench.spec("never-answers"));
    tokio::time::timeout(PATIENCE, async {
        while !bench.run_dir.qmp_socket().exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let (guest, mut events) = adopt(&bench.run_dir, Duration::from_millis(200)).await.unwrap();
    assert!(matches!(next(&mut events).await, GuestEvent::Started { state: None, .. }));
    assert!(guest.resume().await.is_err());
    guest.destroy(Duration::ZERO).await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::Terminated);
}

#[tokio::test]
async fn a_pid_file_that_names_another_process_is_not_believed() {
    let bench = Bench::new();
    orphan(&bench, &bench.spec(""));
    let process = bench.run_dir.process().unwrap().unwrap();
    let pid_file = bench.run_dir.path().join("pid");
    let wrong = format!("1 {} {}\n", process.start_time, process.boot);
    std::fs::write(&pid_file, wrong).unwrap();
    let adopted = adopt(&bench.run_dir, Duration::from_millis(100)).await;
    assert!(matches!(adopted, Err(AdoptError::Stranger { .. })), "{adopted:?}");

    std::fs::write(&pid_file, format!("{process}\n")).unwrap();
    let (guest, _events) = adopt(&bench.run_dir, PATIENCE).await.unwrap();
    guest.destroy(Duration::ZERO).await.unwrap();
}
