//! VFs are taken from under running guests by whoever is root on the host. The kernel waits for
//! guests that do not let go, and takes the VF of one that does.

use vfnet_host_sim::SimHost;
use vfnet_model::PciAddress;
use vfnet_rpc::vfnet::PortList;

use crate::client::Client;
use crate::daemon::{Daemon, guest};
use crate::until;

fn pf() -> PciAddress {
    "0000:01:00.0".parse().expect("an address")
}

/// The states of all ports.
fn ports(daemon: &Daemon) -> Vec<String> {
    let text = Client::of(daemon).ask::<PortList>(&()).expect("a list");
    let ports: Vec<vfnet_model::report::PortReport> = serde_json::from_str(&text).expect("ports");
    ports.into_iter().map(|port| port.state).collect()
}

/// Ways to take all VFs of the PF; whether the kernel has done it by now.
const WAYS: [fn(&SimHost) -> bool; 3] = [
    |host| host.remove_vfs(pf()).is_ok(),
    |host| host.reload_pf_driver(pf()),
    |host| host.unplug_pf(pf()),
];

#[test]
fn a_guest_that_keeps_its_vf_has_it_until_it_ends_and_nothing_is_left() {
    for take_away in WAYS {
        let Some(mut daemon) = Daemon::with_pool() else { return };
        daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
        daemon.define_guest(&guest("web2", "52:54:00:00:00:02"));
        daemon.says(&["start", "web1"]);
        let pid = daemon.guest_pid("web1");
        assert!(!take_away(&daemon.host()), "the kernel did not wait");
        for _death in 0..2 {
            until("the guest runs", || daemon.state_of("web1").starts_with("running"));
            assert_eq!(daemon.guest_pid("web1"), pid);
            assert_eq!(ports(&daemon), ["held"]);
            daemon.kill_and_go_on();
        }
        until("the guest is found", || daemon.state_of("web1").starts_with("running"));
        daemon.says(&["destroy", "web1"]);
        until("nothing is left", || ports(&daemon).is_empty());
        // The VFs of the next start are all there is.
        daemon.host().plug_pf(pf());
        daemon.host().pf_up(pf());
        daemon.says(&["net-destroy", "hw"]);
        daemon.says(&["net-start", "hw"]);
        daemon.says(&["start", "web2"]);
        assert_eq!(daemon.lent(), 1);
        daemon.says(&["destroy", "web2"]);
        assert_eq!(daemon.lent(), 0);
    }
}

#[test]
fn a_guest_that_lets_go_of_its_vf_runs_on_and_the_state_says_so() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.define_guest(&guest("web2", "52:54:00:00:00:02"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    let host = daemon.host();
    let vf = *host.facts().keys().next().expect("a VF");
    assert!(host.remove_vfs(pf()).is_err(), "the kernel did not wait");
    host.close_vfio(vf);
    until("it is told", || daemon.log().contains("vanished while held by guest web1"));
    assert_eq!(ports(&daemon), ["vanished"]);
    assert!(daemon.state_of("web1").starts_with("running"));
    assert_eq!(daemon.guest_pid("web1"), pid);

    // The next VF of that address is another one, and goes to another guest.
    host.make_vfs(pf(), 7).expect("made");
    daemon.kill_and_go_on();
    until("the guest is found", || daemon.state_of("web1").starts_with("running"));
    daemon.says(&["start", "web2"]);
    assert!(daemon.says(&["dumpxml", "web2"]).contains("slot='0x10' function='0x0'"));
    daemon.says(&["destroy", "web1"]);
    assert_eq!(daemon.host().facts()[&vf].admin_mac.to_string(), "52:54:00:00:00:02");
    assert_eq!(ports(&daemon), ["held"]);
    daemon.says(&["destroy", "web2"]);
    assert!(ports(&daemon).is_empty());
}
