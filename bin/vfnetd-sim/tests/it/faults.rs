//! Kernel writes fail while a guest is started and ended.

use rustix::io::Errno;
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind};
use vfnet_rpc::vfnet::VfRestore;
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, guest};
use crate::until;

#[test]
fn a_step_that_fails_is_named_and_the_vf_is_as_it_was() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let before = daemon.host().facts();
    for (step, fault) in [
        (OpKind::SetMac, FaultKind::errno(Errno::BUSY)),
        (OpKind::SetMac, FaultKind::Ignored),
        (OpKind::Override, FaultKind::errno(Errno::INVAL)),
        (OpKind::Unbind, FaultKind::errno(Errno::BUSY)),
        (OpKind::Probe, FaultKind::errno(Errno::NODEV)),
        (OpKind::Probe, FaultKind::Ignored),
        (OpKind::LoadDriver, FaultKind::errno(Errno::NOEXEC)),
    ] {
        let host = daemon.host();
        host.fail(FaultPoint::next(step), fault);
        let ran = daemon.virsh(&["start", "web1"]);
        host.clear_faults();
        if ran.status.success() {
            // It found a way around.
            daemon.says(&["destroy", "web1"]);
        } else {
            assert!(ran.stderr.contains("0000:01:10.0"), "{step:?} {fault:?}: {}", ran.stderr);
        }
        assert_eq!(daemon.lent(), 0, "{step:?} {fault:?}");
        assert!(daemon.rows(&["list"]).is_empty(), "{step:?} {fault:?}");
        for (vf, now) in daemon.host().facts() {
            assert_eq!(now.admin_mac, before[&vf].admin_mac, "{step:?} {fault:?}: {vf}");
        }
    }
    daemon.says(&["start", "web1"]);
}

#[test]
fn a_vf_that_cannot_be_given_back_is_set_aside_until_it_is_restored() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let host = daemon.host();
    let vf = *host.facts().keys().next().expect("a VF");
    host.fail(FaultPoint::every(OpKind::Unbind).at(vf), FaultKind::errno(Errno::BUSY));
    daemon.says(&["destroy", "web1"]);
    let report = |daemon: &Daemon| {
        let vfs = Client::of(daemon).vfs();
        vfs.into_iter().find(|report| report.address == vf).expect("listed")
    };
    for _death in 0..2 {
        let set_aside = report(&daemon);
        assert_eq!(set_aside.state, "quarantined", "{set_aside:?}");
        assert!(set_aside.why.is_some_and(|why| !why.is_empty()));
        daemon.kill_and_go_on();
    }
    let restore = Text::clipped(&vf.to_string());
    let mut client = Client::of(&daemon);
    let told = client.ask::<VfRestore>(&restore).map(Text::into_string);
    assert_eq!(report(&daemon).state, "quarantined", "{told:?}");
    host.clear_faults();
    client.ask::<VfRestore>(&restore).expect("restored");
    assert_eq!(report(&daemon).state, "free");
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn autostart_waits_for_its_pf_to_be_up() {
    let Some(mut daemon) = Daemon::with_virsh() else { return };
    daemon.define_network(HW);
    daemon.says(&["net-autostart", "hw"]);
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["autostart", "web1"]);
    daemon.kill();
    let pf = "0000:01:00.0".parse().expect("an address");
    daemon.host().reboot();
    daemon.host().pf_down(pf);
    daemon.go_on();
    assert!(daemon.rows(&["list"]).is_empty());
    daemon.host().pf_up(pf);
    until("the guest runs", || daemon.rows(&["list", "--name"]) == ["web1"]);
}
