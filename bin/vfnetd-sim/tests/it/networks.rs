//! Networks from definition to removal, as virsh sees them.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use vfnet_model::report::ExplainReport;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::remote::{NetworkCreateXml, NetworkDefineXml, NetworkFlags, NetworkGetXmlDesc};
use vfnet_rpc::vfnet::{Explain, ExplainArgs};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, guest};
use crate::{VIRSH, installed, until};

const LIVE_HW: &str = "\
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>hw</name>
  <uuid>11111111-1111-4111-8111-111111111111</uuid>
  <forward mode='hostdev' managed='yes'>
    <pf dev='ens1f0'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x4'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x6'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x0'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x2'/>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x11' function='0x4'/>
  </forward>
  <vfnet:pool>
    <vfnet:pf dev='ens1f0' vfs='7' autoprobe='yes'/>
  </vfnet:pool>
</network>
";

#[test]
fn a_network_is_defined_started_stopped_and_removed() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    daemon.define_network(HW);
    assert_eq!(daemon.rows(&["net-list", "--all"]), ["hw inactive no yes"]);
    assert_eq!(daemon.host().facts().len(), 0);

    daemon.says(&["net-start", "hw"]);
    assert_eq!(daemon.host().facts().len(), 7);
    assert_eq!(daemon.rows(&["net-list"]), ["hw active no yes"]);
    assert_eq!(daemon.virsh(&["net-dumpxml", "hw"]).stdout, LIVE_HW);
    assert_eq!(daemon.virsh(&["net-dumpxml", "--inactive", "hw"]).stdout, HW);
    daemon.says(&["net-autostart", "hw"]);
    assert_eq!(
        daemon.rows(&["net-info", "hw"]),
        [
            "Name: hw",
            "UUID: 11111111-1111-4111-8111-111111111111",
            "Active: yes",
            "Persistent: yes",
            "Autostart: yes",
        ]
    );
    assert_eq!(daemon.says(&["net-uuid", "hw"]), "11111111-1111-4111-8111-111111111111");
    assert_eq!(daemon.says(&["net-name", "11111111-1111-4111-8111-111111111111"]), "hw");
    daemon.says(&["net-autostart", "--disable", "hw"]);

    daemon.says(&["net-destroy", "hw"]);
    assert_eq!(daemon.rows(&["net-list", "--all"]), ["hw inactive no yes"]);
    daemon.says(&["net-undefine", "hw"]);
    assert!(daemon.rows(&["net-list", "--all"]).is_empty());
}

#[test]
fn lists_are_filtered_as_asked() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let other = |name: &str| {
        format!(
            "<network><name>{name}</name><forward mode='bridge'/><bridge name='br0'/></network>"
        )
    };
    daemon.define_network(&other("kept"));
    daemon.says(&["net-create", &daemon.file("passing.xml", &other("passing"))]);
    daemon.says(&["net-autostart", "kept"]);
    for (filters, expected) in [
        (&["--all"][..], &["hw", "kept", "passing"][..]),
        (&[], &["hw", "passing"]),
        (&["--inactive"], &["kept"]),
        (&["--persistent", "--all"], &["hw", "kept"]),
        (&["--transient"], &["passing"]),
        (&["--autostart", "--all"], &["kept"]),
        (&["--no-autostart", "--all"], &["hw", "passing"]),
        (&["--autostart"], &[]),
    ] {
        let mut args = vec!["net-list", "--name"];
        args.extend(filters);
        let mut names = daemon.rows(&args);
        names.sort();
        assert_eq!(names, expected, "{filters:?}");
    }
    daemon.says(&["net-destroy", "passing"]);
    assert!(daemon.refuses(&["net-info", "passing"]).contains("no network"));
}

#[test]
fn a_new_version_of_a_running_network_waits_for_its_next_start() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let editor = "sed -i 's/<name>hw/<title>edited<\\/title>&/'";
    let edited = daemon
        .virsh_command(&["net-edit", "hw"])
        .env("EDITOR", editor)
        .output()
        .expect("virsh runs");
    assert!(edited.status.success(), "{edited:?}");
    assert!(!daemon.says(&["net-dumpxml", "hw"]).contains("edited"));
    assert!(daemon.says(&["net-dumpxml", "--inactive", "hw"]).contains("<title>edited</title>"));
    daemon.says(&["net-destroy", "hw"]);
    daemon.says(&["net-start", "hw"]);
    assert!(daemon.says(&["net-dumpxml", "hw"]).contains("<title>edited</title>"));
}

#[test]
fn a_live_document_of_a_pool_of_addresses_defines_the_same_pool_again() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    daemon.host().make_vfs("0000:01:00.0".parse().expect("an address"), 7).expect("made");
    for member in [
        "<address type='pci' domain='0' bus='1' slot='0x10' function='2'/>",
        "<interface dev='ens1f0v1'/>",
    ] {
        let document = format!(
            "<network><name>one</name><forward mode='hostdev' managed='yes'>{member}</forward></network>"
        );
        daemon.says(&["net-define", "--validate", &daemon.file("one.xml", &document)]);
        daemon.says(&["net-start", "one"]);
        let live = daemon.says(&["net-dumpxml", "one"]);
        let vf =
            "    <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>\n";
        assert!(live.contains(vf), "{live}");
        daemon.says(&["net-destroy", "one"]);
        daemon.says(&["net-undefine", "one"]);
    }
}

#[test]
fn connections_are_counted_while_vfs_are_lent() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    assert!(daemon.says(&["net-dumpxml", "hw"]).contains("connections='1'"));
    let refusal = daemon.refuses(&["net-destroy", "hw"]);
    assert!(refusal.contains("not valid") && refusal.contains("web1"), "{refusal}");
    daemon.says(&["destroy", "web1"]);
    assert!(!daemon.says(&["net-dumpxml", "hw"]).contains("connections"));
    daemon.says(&["net-destroy", "hw"]);
}

#[test]
fn hardware_that_is_absent_is_a_warning_when_defined_and_an_error_when_started() {
    let Some(daemon) = Daemon::with_virsh() else { return };
    for (name, member, why) in [
        ("gone", "<pf dev='ens9f9'/>", "there is no SR-IOV PF 'ens9f9'"),
        ("lo", "<interface dev='lo'/>", "'lo' is not the netdev of an SR-IOV Virtual Function"),
        (
            "pf",
            "<address type='pci' domain='0' bus='1' slot='0' function='0'/>",
            "0000:01:00.0 is not an SR-IOV Virtual Function",
        ),
    ] {
        let document = format!(
            "<network><name>{name}</name><forward mode='hostdev'>{member}</forward></network>"
        );
        daemon.define_network(&document);
        assert!(daemon.log().contains(why), "{why}");
        let args = ExplainArgs { network: Text::clipped(name), guest: None };
        let report = Client::of(&daemon).ask::<Explain>(&args).expect("a report");
        let report: ExplainReport = serde_json::from_str(&report).expect("JSON");
        assert!(report.obstacle.is_some_and(|words| words.contains(why)), "{why}");
        let refusal = daemon.refuses(&["net-start", name]);
        assert!(refusal.contains(why), "{refusal}");
        assert_eq!(daemon.rows(&["net-list", "--all", "--name"]).len(), 1);
        daemon.says(&["net-undefine", name]);
    }
}

#[test]
fn events_of_networks_and_guests_reach_those_who_wait_for_them() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let event = first_event(&daemon, &["net-event", "--event", "lifecycle"], |daemon| {
        daemon.says(&["net-destroy", "hw"]);
        daemon.says(&["net-start", "hw"]);
    });
    let is = ["Stopped", "Started"].map(|what| format!("event 'lifecycle' for network hw: {what}"));
    assert!(is.contains(&event), "{event}");

    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let event = first_event(&daemon, &["event", "--all"], |daemon| {
        daemon.says(&["start", "web1"]);
        daemon.says(&["destroy", "web1"]);
    });
    let is = ["Started Booted", "Stopped Destroyed"]
        .map(|what| format!("event 'lifecycle' for domain 'web1': {what}"));
    assert!(is.contains(&event), "{event}");
}

/// What a listener prints that ends with the first event after it has registered, whenever that
/// is.
fn first_event(daemon: &Daemon, listen: &[&str], act: impl Fn(&Daemon)) -> String {
    let mut listener =
        daemon.virsh_command(listen).stdout(Stdio::piped()).spawn().expect("virsh runs");
    until("an event is seen", || {
        act(daemon);
        listener.try_wait().expect("a child").is_some()
    });
    let output = listener.wait_with_output().expect("ended");
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_vf_whose_group_the_host_still_drives_is_not_lent() {
    if !installed(VIRSH) {
        return;
    }
    let daemon = Daemon::over(&["--make=ens1f0=igb,groups=7"]);
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let refusal = daemon.refuses(&["start", "web1"]);
    assert!(refusal.contains("shares IOMMU group"), "{refusal}");
}

#[test]
fn a_host_that_cannot_pass_devices_through_says_why() {
    if !installed(VIRSH) {
        return;
    }
    for (machine, why) in [
        (&["--make=ens1f0=igb", "--no-iommu"][..], "no IOMMU is on"),
        (&["--make=ens1f0=igb", "--no-vfio"], "the running kernel has no vfio-pci"),
        (&["--make=ens1f0=igb,down"], "its PF ens1f0 is down"),
    ] {
        let daemon = Daemon::over(machine);
        daemon.define_network(HW);
        daemon.says(&["net-start", "hw"]);
        daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
        let refusal = daemon.refuses(&["start", "web1"]);
        assert!(refusal.contains(why), "{machine:?}: {refusal}");
        assert_eq!(daemon.lent(), 0);
    }
}

#[test]
fn a_document_without_a_uuid_is_no_new_version_of_the_network_of_its_name() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let document = |title: &str| {
        let pool = "<forward mode='hostdev' managed='yes'><pf dev='ens1f0'/></forward>";
        Text::clipped(&format!("<network><name>n</name><title>{title}</title>{pool}</network>"))
    };
    let first = client.ask::<NetworkDefineXml>(&document("one")).expect("defined");
    let failed = Ok(ErrorCode::OperationFailed.number());
    assert_eq!(client.number::<NetworkDefineXml>(&document("two")), failed);
    assert_eq!(client.number::<NetworkCreateXml>(&document("two")), failed);
    let args = NetworkFlags { network: first, flags: 0 };
    let kept = client.ask::<NetworkGetXmlDesc>(&args).expect("a document");
    assert!(kept.contains("<title>one</title>"), "{}", &*kept);
}

#[test]
fn a_network_that_is_not_kept_has_an_inactive_document_that_can_be_defined() {
    let daemon = Daemon::over(&["--make=ens1f0=igb:2"]);
    let mut client = Client::of(&daemon);
    let pool = "<forward mode='hostdev' managed='yes'><pf dev='ens1f0'/></forward>";
    let document = Text::clipped(&format!("<network><name>n</name>{pool}</network>"));
    let network = client.ask::<NetworkCreateXml>(&document).expect("created");
    let args = NetworkFlags { network, flags: vfnet_rpc::flags::NETWORK_XML_INACTIVE };
    let inactive = client.ask::<NetworkGetXmlDesc>(&args).expect("a document");
    assert!(!inactive.contains("<address"), "{}", &*inactive);
    client.ask::<NetworkDefineXml>(&inactive).expect("defined");
}

#[test]
fn a_hangup_ends_nothing() {
    let daemon = Daemon::start();
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::HUP).expect("told");
    until("the daemon says that there is nothing to reload", || {
        daemon.log().contains("nothing to reload")
    });
    Client::of(&daemon).vfs();
}
