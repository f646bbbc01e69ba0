//! Ports of another daemon's guests that no process has open, by the daemon's clock.

use vfnet_host::Host as _;
use vfnet_model::PciAddress;
use vfnet_model::doctor::{Check, Finding};
use vfnet_model::report::PortReport;
use vfnet_rpc::remote::{
    NetworkCreate, NetworkDefineXml, NetworkPortCreateXml, NetworkPortDelete, PortCreateArgs,
    PortFlags,
};
use vfnet_rpc::vfnet::{Doctor, PortList};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW};
use crate::until;

const WHO: &str = "qemu-system-x86 (pid 77)";

/// A daemon with these settings, and ports with VFs that their daemon has bound to vfio-pci.
fn with_ports(settings: &str, count: u8) -> (Daemon, Vec<(PortFlags, PciAddress)>) {
    let daemon = Daemon::configured(settings);
    let mut client = Client::of(&daemon);
    let hw = client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    client.ask::<NetworkCreate>(&hw).expect("started");
    let ports = (0..count)
        .map(|number| {
            let xml = format!(
                "<networkport><uuid>22222222-2222-4222-8222-2222222222{number:02x}</uuid><owner>\
                 <name>far</name><uuid>33333333-3333-4333-8333-333333333333</uuid></owner>\
                 <mac address='52:54:00:00:00:{number:02x}'/></networkport>"
            );
            let args = PortCreateArgs { network: hw.clone(), xml: Text::clipped(&xml), flags: 0 };
            let port = client.ask::<NetworkPortCreateXml>(&args).expect("made");
            let vf = listed(&daemon)[usize::from(number)].vf;
            bind(&daemon, vf);
            (PortFlags { port, flags: 0 }, vf)
        })
        .collect();
    (daemon, ports)
}

fn bind(daemon: &Daemon, vf: PciAddress) {
    let (host, limit) = (daemon.host(), crate::LIMIT);
    let vfio = "vfio-pci".parse().expect("a driver");
    host.load_driver(&vfio, limit).expect("loaded");
    host.set_driver_override(vf, Some(&vfio)).expect("set");
    host.unbind(vf, limit).expect("unbound");
    host.probe(vf, limit).expect("bound");
}

fn listed(daemon: &Daemon) -> Vec<PortReport> {
    let text = Client::of(daemon).ask::<PortList>(&()).expect("a list");
    serde_json::from_str(&text).expect("ports")
}

fn found(daemon: &Daemon) -> Option<Finding> {
    let text = Client::of(daemon).ask::<Doctor>(&()).expect("findings");
    let findings: Vec<Finding> = serde_json::from_str(&text).expect("findings");
    findings.into_iter().find(|finding| finding.check == Check::Ports)
}

#[test]
fn a_port_that_nobody_has_open_is_reported_and_its_grace_begins_anew_with_the_daemon() {
    let (mut daemon, ports) = with_ports("port_grace = 3\n", 2);
    let (open, unused) = (ports[0].1, ports[1].1);
    daemon.host().open_vfio(open, WHO).expect("opened");
    let told = format!("no process has its VF {unused} open");
    until("it is told", || daemon.log().contains(&told));
    assert!(!daemon.log().contains(&format!("no process has its VF {open} open")));
    let shown: Vec<_> = listed(&daemon).iter().map(|port| port.unused_for.is_some()).collect();
    assert_eq!(shown, [false, true]);
    let finding = found(&daemon).expect("a finding");
    assert!(finding.says.contains("22222222-2222-4222-8222-222222222201"), "{finding:?}");

    daemon.kill_and_go_on();
    assert_eq!(listed(&daemon)[1].unused_for, None);
    assert_eq!(found(&daemon), None);
    until("it is told again", || daemon.log().matches(&told).count() == 2);
    daemon.host().open_vfio(unused, WHO).expect("opened");
    until("it is in use", || listed(&daemon)[1].unused_for.is_none());
    let (states, claims): (Vec<_>, _) =
        (listed(&daemon).into_iter().map(|port| port.state).collect(), daemon.log());
    assert_eq!(states, ["lent", "lent"], "{claims}");
}

#[test]
fn a_port_that_nobody_has_open_is_taken_back_and_one_that_somebody_has_is_not() {
    let settings = "port_grace = 2\nunused_ports = 'reclaim'\n";
    let (daemon, ports) = with_ports(settings, 2);
    let [(kept, open), (lost, unused)] = &ports[..] else { panic!("two ports") };
    daemon.host().open_vfio(*open, WHO).expect("opened");
    until("the VF is back", || {
        Client::of(&daemon).vfs().iter().any(|vf| vf.address == *unused && vf.state == "free")
    });
    let left = listed(&daemon);
    assert_eq!(left.iter().map(|port| port.vf).collect::<Vec<_>>(), [*open]);
    assert!(daemon.log().contains("taken back"), "{}", daemon.log());
    let mut client = Client::of(&daemon);
    client.ask::<NetworkPortDelete>(lost).expect_err("it is gone");
    // A client that would delete a port under its guest is told so, and its port stays.
    client.ask::<NetworkPortDelete>(kept).expect_err("its guest has it open");
    assert_eq!(listed(&daemon)[0].state, "lent");
    daemon.host().close_vfio(*open);
    until("it is back in one way or another", || {
        client.ask::<NetworkPortDelete>(kept).is_ok() || listed(&daemon).is_empty()
    });
}
