//! Names that people give, and what virsh asks besides.

use std::process::{Command, Stdio};

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::ListArgs;
use vfnet_rpc::remote::{
    ConnectListAllDomains, DomainCreate, DomainDefineXml, DomainDestroy, DomainUndefine,
    NetworkCreate, NetworkDefineXml,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest};

#[test]
fn guests_with_strange_names_run_or_are_refused() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let hw = client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    client.ask::<NetworkCreate>(&hw).expect("started");
    let long = "n".repeat(200);
    for name in ["web 1", "grün", "a,b=c", "'; rm -rf x", "&lt;x&gt;", "-S", "...", "%s%n", &long]
    {
        let document = guest(name, "52:54:00:00:00:01");
        let web = client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined");
        client.ask::<DomainCreate>(&web).unwrap_or_else(|error| panic!("{name}: {error}"));
        client.ask::<DomainDestroy>(&web).expect("destroyed");
        client.ask::<DomainUndefine>(&web).expect("removed");
        assert_eq!(daemon.lent(), 0);
    }
    let too_long = "n".repeat(10_000);
    for name in ["", "a/b", "../../x", "a\nb", ".", "..", &too_long] {
        let document = guest(name, "52:54:00:00:00:01");
        let number = client.number::<DomainDefineXml>(&Text::clipped(&document));
        let number = number.unwrap_or_else(|answer| panic!("{name}: {answer}"));
        let meant = [ErrorCode::XmlError, ErrorCode::XmlDetail, ErrorCode::NoName];
        assert!(meant.iter().any(|code| code.number() == number), "{name}: {number}");
    }
    let all = ListArgs { need_results: 1, flags: 0 };
    assert_eq!(client.ask::<ConnectListAllDomains>(&all).expect("a list").count, 0);
}

#[test]
fn a_name_that_turns_text_around_is_shown_as_what_it_is() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let name = "web\u{202e}1\u{2066}";
    let document = guest(name, "52:54:00:00:00:01");
    client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined");
    let vfnet = |args: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
        command.arg("--socket").arg(daemon.socket()).args(args).stdin(Stdio::null());
        command.output().expect("vfnet runs").into()
    };
    for args in [&["guest", "ls", "--all"][..], &["guest", "show", name], &["guest", "start", name]]
    {
        let Ran { stdout, stderr, .. } = vfnet(args);
        let said = stdout + &stderr;
        assert!(said.contains("web\u{fffd}1\u{fffd}"), "{args:?}: {said:?}");
        assert!(!said.contains('\u{202e}') && !said.contains('\u{2066}'), "{args:?}: {said:?}");
    }
    // A program gets the name as it is.
    assert!(vfnet(&["guest", "ls", "--all", "--json"]).stdout.contains(name));
}

#[test]
fn virsh_is_told_what_it_asks_about_host_and_guest() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    assert_eq!(daemon.says(&["domid", "web1"]), "1");
    let uuid = daemon.says(&["domuuid", "web1"]);
    assert_eq!(daemon.says(&["domname", &uuid]), "web1");
    let info = daemon.rows(&["dominfo", "web1"]);
    for row in ["Name: web1", "State: running", "CPU(s): 1", "Max memory: 65536 KiB"] {
        assert!(info.iter().any(|line| line == row), "{row}: {info:?}");
    }
    assert!(daemon.says(&["version"]).contains("Running hypervisor: QEMU 10.0.2"));
    assert!(daemon.says(&["capabilities"]).contains("machine.qemu</emulator>"));
    assert!(daemon.says(&["nodeinfo"]).contains("CPU(s):"));
    assert!(!daemon.says(&["hostname"]).is_empty());
    assert_eq!(daemon.virsh(&["-r", "list", "--name"]).status.code(), Some(0));
    // Not served, and said so.
    let refusal = daemon.refuses(&["snapshot-create", "web1"]);
    assert!(refusal.contains("not supported"), "{refusal}");
}

#[test]
fn what_is_undefined_while_it_runs_runs_on_and_is_gone_afterwards() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    daemon.says(&["undefine", "web1"]);
    daemon.says(&["net-undefine", "hw"]);
    daemon.kill_and_go_on();
    assert_eq!(daemon.rows(&["list", "--transient", "--name"]), ["web1"]);
    assert_eq!(daemon.rows(&["net-list", "--transient", "--name"]), ["hw"]);
    daemon.says(&["destroy", "web1"]);
    daemon.says(&["net-destroy", "hw"]);
    assert!(daemon.rows(&["list", "--all"]).is_empty());
    assert!(daemon.rows(&["net-list", "--all"]).is_empty());
}

#[test]
fn definitions_outlive_the_daemon_and_the_boot() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let documents = |daemon: &Daemon| {
        let net = daemon.says(&["net-dumpxml", "--inactive", "hw"]);
        (net, daemon.says(&["dumpxml", "--inactive", "web1"]))
    };
    let before = documents(&daemon);
    daemon.says(&["start", "web1"]);
    daemon.kill();
    daemon.end_guests();
    daemon.host().reboot();
    daemon.go_on();
    assert_eq!(documents(&daemon), before);
    assert_eq!(daemon.rows(&["list", "--all"]), ["- web1 shut off"]);
    assert_eq!(daemon.rows(&["net-list", "--all"]), ["hw inactive no yes"]);
    daemon.says(&["net-start", "hw"]);
    daemon.says(&["start", "web1"]);
    assert_eq!(daemon.lent(), 1);
}
