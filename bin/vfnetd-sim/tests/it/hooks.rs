//! The administrator's hook scripts, as they see networks and ports, and as those wait for them.

use std::os::unix::fs::OpenOptionsExt as _;

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::remote::{NetworkCreate, NetworkCreateXml, NetworkDefineXml};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, guest};
use crate::{VIRSH, installed, until};

/// A daemon that calls this script, each time with its arguments in `$@`, `$dir` its directory,
/// `$uri` the daemon's, and `$in` what it was told on stdin.
fn with_script(script: &str, timeout: u64) -> Option<Daemon> {
    if !installed(VIRSH) {
        return None;
    }
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    let dir = daemon.path("hooks").display().to_string();
    std::fs::create_dir(&dir).expect("a directory");
    let uri = daemon.uri();
    let content = format!("#!/bin/sh\ndir={dir}\nuri='{uri}'\nin=$(cat)\n{script}\n");
    let path = format!("{dir}/network");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path);
    std::io::Write::write_all(&mut file.expect("a file"), content.as_bytes()).expect("room");
    let config = format!("network_hooks = '{dir}'\nhook_timeout = {timeout}\n");
    daemon.file("vfnetd.toml", &config);
    daemon.go_on();
    Some(daemon)
}

/// What the script has written to a file.
fn told(daemon: &Daemon, name: &str) -> String {
    std::fs::read_to_string(daemon.path("hooks").join(name)).unwrap_or_default()
}

/// Keeps the operations in `log`, and what came on stdin with each.
const NOTE: &str = "echo \"$@\" >> $dir/log; echo \"$in\" > $dir/$2";

#[test]
fn scripts_are_called_through_the_life_of_a_network_and_its_ports() {
    let Some(daemon) = with_script(NOTE, 30) else { return };
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    daemon.says(&["destroy", "web1"]);
    let group = "<portgroup name='slow'/>";
    daemon.says(&["net-update", "hw", "add", "portgroup", group, "--live"]);
    daemon.says(&["net-destroy", "hw"]);
    until("the last call", || told(&daemon, "log").contains("stopped"));
    assert_eq!(
        told(&daemon, "log"),
        "hw start begin -\nhw started begin -\nhw port-created begin -\nhw port-deleted begin -\n\
         hw updated begin -\n\
         hw stopped end -\n"
    );
    let start = told(&daemon, "start");
    assert!(start.starts_with("<hookData>\n  <network"), "{start}");
    assert!(!start.contains("<address"), "its VFs are not looked up yet: {start}");
    assert!(told(&daemon, "started").contains("slot='0x10' function='0x0'/>"));
    assert!(told(&daemon, "updated").contains("<portgroup name='slow'>"));
    let port = told(&daemon, "port-created");
    assert!(port.contains("connections='1'"), "{port}");
    assert!(port.contains("  <networkport>\n") && port.contains("<name>web1</name>"), "{port}");
    assert!(port.contains("<mac address='52:54:00:00:00:01'/>"), "{port}");
    assert!(port.contains("<plug type='hostdev-pci' managed='yes'>"), "{port}");
    assert!(port.ends_with("</networkport>\n</hookData>\n"), "{port}");
}

#[test]
fn a_script_that_says_no_keeps_a_network_from_starting_and_is_told_that_it_stopped() {
    for operation in ["start", "started"] {
        let script =
            format!("{NOTE}; [ $2 = {operation} ] && {{ echo not today >&2; exit 1; }}; :");
        let Some(daemon) = with_script(&script, 30) else { return };
        let mut client = Client::of(&daemon);
        let hw = client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
        let number = client.number::<NetworkCreate>(&hw);
        assert_eq!(number, Ok(ErrorCode::HookScriptFailed.number()));
        until("it is told", || told(&daemon, "log").contains("hw stopped end -"));
        let why = daemon.refuses(&["net-start", "hw"]);
        assert!(
            why.contains("Hook script execution failed") && why.contains(": not today"),
            "{why}"
        );
        assert_eq!(daemon.rows(&["net-list", "--all"]), ["hw inactive no yes"]);
    }
}

#[test]
fn a_script_that_hangs_delays_its_own_network_alone_and_is_killed() {
    let script = format!("{NOTE}; [ $1 = hw ] && [ $2 = start ] && sleep 3600; :");
    let Some(daemon) = with_script(&script, 4) else { return };
    daemon.define_network(HW);
    let mut slow = daemon
        .virsh_command(&["net-start", "hw"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("virsh runs");
    until("the script hangs", || told(&daemon, "log").contains("hw start begin -"));
    let other = "<network><name>other</name><forward mode='bridge'/><bridge name='br0'/></network>";
    let mut client = Client::of(&daemon);
    client.ask::<NetworkCreateXml>(&Text::clipped(other)).expect("started");
    assert!(slow.try_wait().expect("a child").is_none(), "the other one did not wait");
    let twice = daemon.refuses(&["net-start", "hw"]);
    assert!(twice.contains("is being started"), "{twice}");
    let ended = slow.wait_with_output().expect("ended");
    let why = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(why.contains("took longer than 4 s"), "{why}");
    assert_eq!(daemon.rows(&["net-list", "--name"]), ["other"]);
}

#[test]
fn a_port_that_a_script_refuses_is_not_lent_and_its_vf_is_free_again() {
    let script = format!("{NOTE}; [ $2 = port-created ] && {{ echo no room >&2; exit 7; }}; :");
    let Some(daemon) = with_script(&script, 30) else { return };
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let why = daemon.refuses(&["start", "web1"]);
    assert!(why.contains("Hook script execution failed") && why.contains("no room"), "{why}");
    assert_eq!(daemon.lent(), 0);
    let port = "<networkport><uuid>22222222-2222-4222-8222-222222222201</uuid>\
         <owner><name>far</name><uuid>33333333-3333-4333-8333-333333333333</uuid></owner>\
         <mac address='52:54:00:00:00:02'/></networkport>";
    let why = daemon.refuses(&["net-port-create", "hw", &daemon.file("port.xml", port)]);
    assert!(why.contains("Hook script execution failed") && why.contains("no room"), "{why}");
    until("the VF is back", || Client::of(&daemon).vfs().iter().all(|vf| vf.state == "free"));
    assert!(told(&daemon, "port-deleted").contains("<name>far</name>"));
}

#[test]
fn a_kill_while_a_script_runs_leaves_no_vf_behind() {
    let hang = "[ $2 = port-created ] && { touch $dir/hangs; sleep 5; }; :";
    let Some(mut daemon) = with_script(&format!("{NOTE}; {hang}"), 30) else { return };
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let mut starts = daemon
        .virsh_command(&["start", "web1"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("virsh runs");
    until("the script hangs", || daemon.path("hooks/hangs").exists());
    daemon.kill_and_go_on();
    assert!(!starts.wait().expect("ended").success());
    until("the VF is back", || Client::of(&daemon).vfs().iter().all(|vf| vf.state == "free"));
    assert_eq!(daemon.lent(), 0);
    assert!(told(&daemon, "log").contains("hw port-deleted begin -"));
}

#[test]
fn a_script_may_ask_the_daemon_that_waits_for_it() {
    let ask = "[ $2 = start ] && timeout 20 virsh -q -c $uri net-list --all --name > $dir/asked; :";
    let Some(daemon) = with_script(ask, 30) else { return };
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    assert_eq!(told(&daemon, "asked").trim(), "hw");
}

#[test]
fn what_a_script_says_no_to_when_it_is_too_late_is_logged_and_stands() {
    let Some(daemon) = with_script("[ $2 = updated ] && { echo too late >&2; exit 1; }; :", 30)
    else {
        return;
    };
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    daemon.says(&["net-update", "hw", "add", "portgroup", "<portgroup name='slow'/>", "--live"]);
    until("it is logged", || daemon.log().contains("too late"));
    assert!(daemon.says(&["net-dumpxml", "hw"]).contains("<portgroup name='slow'>"));
}
