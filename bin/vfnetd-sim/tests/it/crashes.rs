//! The daemon is killed, and kernel work does not come back.

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Signal, kill_process};
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};
use vfnet_rpc::vfnet::VfRestore;
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, guest};
use crate::until;

#[test]
fn a_guest_lives_through_the_daemons_death_and_is_served_by_the_next_one() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let (pid, document) = (daemon.guest_pid("web1"), daemon.says(&["dumpxml", "web1"]));
    for _death in 0..3 {
        daemon.kill_and_go_on();
        until("the guest is found", || {
            daemon.state_of("web1").starts_with("running")
                && daemon.says(&["dumpxml", "web1"]) == document
        });
        assert_eq!(daemon.guest_pid("web1"), pid);
        assert_eq!(daemon.lent(), 1);
        assert!(daemon.refuses(&["start", "web1"]).contains("already active"));
    }
    daemon.says(&["suspend", "web1"]);
    daemon.kill_and_go_on();
    until("it is still paused", || daemon.state_of("web1") == "paused (user)");
    daemon.says(&["destroy", "web1"]);
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn a_guest_that_was_started_paused_and_resumed_is_found_running() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "--paused", "web1"]);
    daemon.kill_and_go_on();
    until("it is still paused", || daemon.state_of("web1") == "paused (user)");
    daemon.says(&["resume", "web1"]);
    daemon.kill_and_go_on();
    until("it runs", || daemon.state_of("web1").starts_with("running"));
}

#[test]
fn a_guest_that_ends_while_no_daemon_runs_has_its_vf_given_back_by_the_next_one() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    daemon.kill();
    assert_eq!(daemon.lent(), 1);
    daemon.end_guests();
    daemon.go_on();
    until("the VF is back", || daemon.lent() == 0 && daemon.rows(&["list"]).is_empty());
    daemon.says(&["start", "web1"]);
}

#[test]
fn told_to_end_the_daemon_ends_well_and_leaves_its_guests() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    let status = daemon.terminate();
    assert!(status.success() && status.signal().is_none(), "{status}");
    daemon.go_on();
    until("the guest is found", || daemon.state_of("web1").starts_with("running"));
    assert_eq!(daemon.guest_pid("web1"), pid);
}

#[test]
fn a_bind_that_never_returns_is_shown_and_harms_nobody_else() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let vf = *daemon.host().facts().keys().next().expect("a VF");
    daemon.host().fail(FaultPoint::next(OpKind::Probe).at(vf), FaultKind::Stuck);

    let refusal = daemon.refuses(&["start", "web1"]);
    assert!(refusal.contains(&vf.to_string()), "{refusal}");
    let stuck = |daemon: &Daemon| {
        let vfs = Client::of(daemon).vfs();
        vfs.into_iter().find(|report| report.address == vf).expect("listed").state == "stuck"
    };
    assert!(stuck(&daemon));
    // The MAC is on the VF that is stuck, and on the same PF nobody else can have it.
    let refusal = daemon.refuses(&["start", "web1"]);
    assert!(refusal.contains("the kernel has not finished"), "{refusal}");
    daemon.define_guest(&guest("web2", "52:54:00:00:00:02"));
    daemon.says(&["start", "web2"]);
    assert!(daemon.says(&["dumpxml", "web2"]).contains("function='0x2'"));

    daemon.kill_and_go_on();
    until("the guest is found", || daemon.state_of("web2").starts_with("running"));
    until("the VF shows as stuck", || stuck(&daemon));

    daemon.host().release(vf);
    let mut client = Client::of(&daemon);
    until("the VF is restored", || {
        client.ask::<VfRestore>(&Text::clipped(&vf.to_string())).is_ok() && !stuck(&daemon)
    });
    daemon.says(&["start", "web1"]);
    daemon.says(&["destroy", "web1"]);
    daemon.says(&["destroy", "web2"]);
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn a_vf_that_vanishes_under_a_guest_is_not_lent_again() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let vf = *daemon.host().facts().keys().next().expect("a VF");
    daemon.host().remove_vf(vf);
    until("it is noticed", || daemon.log().contains("vanished"));
    daemon.says(&["destroy", "web1"]);
    daemon.says(&["start", "web1"]);
    assert!(daemon.says(&["dumpxml", "web1"]).contains("function='0x2'"));
}

#[test]
fn vfs_that_another_tool_removes_and_makes_are_seen_without_a_restart() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let pf = "0000:01:00.0".parse().expect("an address");
    daemon.host().remove_vfs(pf).expect("removed");
    let refusal = daemon.refuses(&["start", "web1"]);
    assert!(refusal.contains("has no VFs"), "{refusal}");
    daemon.host().make_vfs(pf, 2).expect("made");
    daemon.says(&["start", "web1"]);
}

impl Daemon {
    /// SIGTERM, and its end.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        kill_process(pid.expect("a pid"), Signal::TERM).expect("told");
        self.ended()
    }
}
