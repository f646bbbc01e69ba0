//! What somebody types on a VF under a running guest, and how that is told.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use vfnet_host::Host as _;
use vfnet_model::event::{Event, Severity};
use vfnet_model::vf::VfSetting;
use vfnet_model::{MacAddress, PciAddress, Vlan};
use vfnet_rpc::remote::{DomainCreateXml, NetworkCreate, NetworkDefineXml, XmlFlags};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest};
use crate::until;

const MAC: &str = "52:54:00:00:00:01";

fn vfnet(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    command.arg("--socket").arg(daemon.socket()).args(args).stdin(Stdio::null());
    command
}

fn says(daemon: &Daemon, args: &[&str]) -> String {
    let ran: Ran = vfnet(daemon, args).output().expect("vfnet runs").into();
    assert!(ran.status.success(), "{args:?}: {}", ran.stderr);
    ran.stdout
}

/// A guest that runs on the daemon's first VF.
fn with_guest(daemon: &Daemon) -> PciAddress {
    let mut client = Client::of(daemon);
    let hw = client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    client.ask::<NetworkCreate>(&hw).expect("started");
    let xml = Text::clipped(&guest("web1", MAC));
    client.ask::<DomainCreateXml>(&XmlFlags { xml, flags: 0 }).expect("started");
    let mac = MAC.parse::<MacAddress>().expect("a MAC");
    let facts = daemon.host().facts();
    let (vf, _) = facts.iter().find(|(_, vf)| vf.admin_mac == mac).expect("a VF has it");
    *vf
}

fn types(daemon: &Daemon, vf: PciAddress, setting: VfSetting) {
    let seen = daemon.host().vf(vf).expect("readable").expect("there");
    daemon.host().set_vf(seen.pf, seen.index, setting).expect("the card takes it");
}

fn events(daemon: &Daemon) -> Vec<Event> {
    let text = says(daemon, &["events", "--no-follow", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

fn repairs(daemon: &Daemon) -> Vec<Event> {
    events(daemon).into_iter().filter(|event| event.event == "vf-repaired").collect()
}

struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn what_is_typed_is_put_back_at_once_and_whoever_follows_events_hears_of_it() {
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    // Nothing but what the kernel announces.
    daemon.file("vfnetd.toml", "look_interval = 0\n");
    daemon.go_on();
    let vf = with_guest(&daemon);
    let before = daemon.host().facts()[&vf].clone();
    let mut command = vfnet(&daemon, &["events", "--json"]);
    let mut following = Following(command.stdout(Stdio::piped()).spawn().expect("vfnet runs"));
    let lines = BufReader::new(following.0.stdout.take().expect("piped")).lines();
    let other = MacAddress::new([2, 0, 0, 0, 0, 0x77]);
    // One after the other: what is typed into a repair that reads back fails that repair.
    for (setting, number) in [
        (VfSetting::Mac(other), 1),
        (VfSetting::Vlan(Vlan::tagged(7.try_into().expect("a tag"))), 2),
        (VfSetting::Spoofchk(false), 3),
    ] {
        types(&daemon, vf, setting);
        until("it is as before", || daemon.host().facts()[&vf] == before);
        until("it is told", || repairs(&daemon).len() == number);
    }
    let told: Vec<Event> = lines
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("an event"))
        .filter(|event: &Event| event.event == "vf-repaired")
        .take(3)
        .collect();
    assert_eq!(told, repairs(&daemon));
    for (event, what) in told.iter().zip([
        "MAC 02:00:00:00:00:77 instead of 52:54:00:00:00:01",
        "VLAN 7 (802.1Q) instead of none",
        "spoofchk off instead of on",
    ]) {
        assert!(event.text.contains(what), "{event:?}");
        assert_eq!((event.vf, event.severity), (Some(vf), Severity::Warning));
        assert!(daemon.log().contains(&event.text));
    }
    let text = says(&daemon, &["events", "--no-follow", "-n", "1"]);
    let last = told.last().expect("three");
    assert_eq!(text, format!("{}  warning  {}\n", last.time, last.text));
}

#[test]
fn what_would_reset_the_vf_is_left_shown_and_set_aside_when_the_guest_ends() {
    let mut daemon = Daemon::over(&["--make=ens1f0=i40e"]);
    let vf = with_guest(&daemon);
    types(&daemon, vf, VfSetting::Mac(MacAddress::new([2, 0, 0, 0, 0, 0x77])));
    let drifted = |daemon: &Daemon| {
        events(daemon).into_iter().filter(|event| event.event == "vf-drifted").count()
    };
    until("it is told", || drifted(&daemon) == 1);
    let how = "changed by somebody else: cannot configure VF";
    assert!(says(&daemon, &["vf", "ls"]).contains(how));
    assert!(says(&daemon, &["port", "ls"]).contains("held, changed by somebody else"));
    daemon.kill_and_go_on();
    assert!(says(&daemon, &["vf", "ls"]).contains(how), "forgotten over a restart");
    assert!(repairs(&daemon).is_empty());
    says(&daemon, &["guest", "destroy", "web1"]);
    assert!(says(&daemon, &["vf", "ls"]).contains("quarantined (changed by somebody else"));
    says(&daemon, &["vf", "restore", &vf.to_string()]);
    assert!(!says(&daemon, &["vf", "ls"]).contains("quarantined"));
}

#[test]
fn who_may_only_read_may_read_events() {
    let daemon = Daemon::start();
    with_guest(&daemon);
    let ran: Ran = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"))
        .arg("--socket")
        .arg(daemon.read_only_socket())
        .args(["events", "--no-follow"])
        .output()
        .expect("vfnet runs")
        .into();
    assert!(ran.stdout.contains("network hw: started"), "{ran:?}");
    assert!(ran.stdout.contains("guest web1: runs as number 1"), "{ran:?}");
}
