//! What commands print.

use std::path::Path;

use insta::assert_snapshot;

use crate::daemon::{Daemon, WEB1};
use crate::{good, run, run_with};

#[test]
fn networks_and_guests_are_listed() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    assert_snapshot!(good(&socket, &["net", "ls"]), @r"
    NAME  STATE   AUTOSTART  PERSISTENT  UUID
    hw    active  yes        yes         00000000-0000-0000-0000-0000000000a1
    ");
    assert_eq!(
        good(&socket, &["net", "ls", "--inactive"]),
        "No inactive networks.
"
    );
    assert_snapshot!(good(&socket, &["guest", "ls", "--all"]), @r"
    ID  NAME  STATE     AUTOSTART  PERSISTENT  UUID
    3   web1  running   no         yes         00000000-0000-0000-0000-0000000000c3
    -   web8  shut off  no         yes         00000000-0000-0000-0000-0000000000c8
    ");
}

#[test]
fn programs_get_json() {
    let daemon = Daemon::start();
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&good(&daemon.socket(), args)).expect("JSON")
    };
    assert_eq!(json(&["--json", "net", "ls"])[0]["name"], "hw");
    assert_eq!(json(&["guest", "ls", "--all", "--json"])[1]["state"], "shut off");
    assert_eq!(json(&["vf", "ls", "--json"])[0]["iommu_group"], 30);
    assert_eq!(json(&["status", "--json"])["pid"], 1);
    assert_eq!(json(&["guest", "start", "web1", "--json"])["id"], 3);
}

#[test]
fn a_name_and_a_uuid_mean_the_same() {
    let daemon = Daemon::start();
    let by_name = good(&daemon.socket(), &["guest", "show", "web1"]);
    assert!(by_name.contains("running"));
    assert_eq!(good(&daemon.socket(), &["guest", "show", &WEB1.to_string()]), by_name);
}

#[test]
fn a_document_comes_from_a_file_or_from_stdin() {
    let daemon = Daemon::start();
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("hw.xml");
    let xml = "<network><name>hw</name></network>";
    std::fs::write(&file, xml).expect("writable");
    let path = file.to_str().expect("UTF-8");
    assert_eq!(good(&daemon.socket(), &["net", "define", path]), "network hw defined\n");
    let ran = run_with(&daemon.socket(), &["net", "define", "-"], xml);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "network hw defined\n"));
}

#[test]
fn a_document_is_printed_with_one_newline_behind_it() {
    let daemon = Daemon::start();
    let printed = good(&daemon.socket(), &["net", "dumpxml", "hw", "--inactive"]);
    assert_eq!(printed, "<network flags='1'/>\n");
}

#[test]
fn a_vf_is_restored_by_address_or_by_interface() {
    let daemon = Daemon::start();
    for vf in ["0000:01:10.0", "ens1f0v0"] {
        assert_eq!(good(&daemon.socket(), &["vf", "restore", vf]), "0000:01:10.0: free\n");
    }
}

#[test]
fn a_shutdown_is_waited_for() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    let done = good(&socket, &["guest", "shutdown", "web8", "--wait", "60"]);
    assert_eq!(done, "guest web8 shut down\n");
    let ran = run(&socket, &["guest", "shutdown", "web1", "--wait", "0"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("has not shut down within 0 s"), "{}", ran.stderr);
}

#[test]
fn help_and_completions_need_no_daemon() {
    let nowhere = Path::new("/nonexistent/socket");
    assert!(good(nowhere, &["completions", "bash"]).contains("_vfnet"));
    assert!(good(nowhere, &["--help"]).contains("3  the daemon cannot be reached"));
    assert!(good(nowhere, &["net", "define", "-h"]).contains("<forward mode='hostdev'"));
}
