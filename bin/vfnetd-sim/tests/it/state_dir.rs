//! Directories that cannot be used, or not any more.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::ListArgs;
use vfnet_rpc::remote::{
    ConnectListAllDomains, ConnectListAllNetworks, DomainCreate, DomainDefineXml, DomainDestroy,
    NetworkCreate, NetworkDefineXml,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest};

fn text(text: impl Into<String>) -> Text {
    Text::new(text).expect("short enough")
}

/// The daemon's command in a mount namespace of its own, after this has been done there; `None`
/// where there can be no such namespace.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn apart(daemon: &Daemon, setup: &str) -> Option<Command> {
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script]);
        command
    };
    let probe = shell("mount -t tmpfs tmpfs /mnt").output();
    if !probe.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: no mount namespace can be made here");
        return None;
    }
    let mut command = shell(&format!("{setup}; exec \"$0\" \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_vfnetd-sim")).current_dir(daemon.path(""));
    daemon.arguments(&mut command);
    Some(command)
}

#[test]
fn a_second_daemon_on_the_same_directories_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start();
    let second: Ran = daemon.command().output().expect("ran").into();
    assert_eq!(second.status.code(), Some(1));
    let said = format!("another vfnetd (pid {}) uses {}", daemon.pid(), daemon.path("").display());
    assert!(second.stderr.contains(&said), "{}", second.stderr);
    Client::of(&daemon).vfs();

    // With another run directory it is refused too.
    let mut elsewhere = daemon.command();
    elsewhere.arg("--run-dir").arg(daemon.path("elsewhere"));
    let third: Ran = elsewhere.output().expect("ran").into();
    assert!(!third.status.success());
    Client::of(&daemon).vfs();
}

#[test]
fn state_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut daemon = Daemon::start();
    Client::of(&daemon).ask::<NetworkDefineXml>(&text(HW)).expect("defined");
    daemon.kill();
    let path = daemon.path("state/state.db");
    let database = rusqlite::Connection::open(&path).expect("a database");
    database.pragma_update(None, "user_version", 9999).expect("set");
    drop(database);
    let before = std::fs::read(&path).expect("read");
    let ran: Ran = daemon.command().output().expect("ran").into();
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("9999") && ran.stderr.contains("state.db"), "{}", ran.stderr);
    assert!(before == std::fs::read(&path).expect("read"), "it was written to");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    std::fs::create_dir(daemon.path("state")).expect("a directory");
    let Some(mut command) = apart(&daemon, "mount -t tmpfs -o ro tmpfs state") else { return };
    let ran: Ran = command.output().expect("ran").into();
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("/state"), "{}", ran.stderr);
}

#[test]
fn on_a_full_disk_nothing_new_is_taken_and_everything_is_given_back() {
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    for name in ["state", "run"] {
        std::fs::create_dir(daemon.path(name)).expect("a directory");
    }
    let setup = "mount -t tmpfs -o size=1536k tmpfs state; mount -t tmpfs -o size=2m tmpfs run";
    let Some(command) = apart(&daemon, setup) else { return };
    let inside = |pid: u32, path: std::path::PathBuf| {
        let path = path.strip_prefix("/").expect("absolute").to_owned();
        std::path::Path::new("/proc").join(pid.to_string()).join("root").join(path)
    };
    let socket = daemon.socket();
    daemon.begin(command, |pid| inside(pid, socket.clone()));
    let pid = daemon.pid();
    let mut client = Client::open(&inside(pid, daemon.socket()));
    let hw = client.ask::<NetworkDefineXml>(&text(HW)).expect("defined");
    client.ask::<NetworkCreate>(&hw).expect("started");
    let web1 = guest("web1", "52:54:00:00:00:01");
    let web1 = client.ask::<DomainDefineXml>(&text(web1)).expect("defined");
    let web2 = guest("web2", "52:54:00:00:00:02");
    let web2 = client.ask::<DomainDefineXml>(&text(web2)).expect("defined");
    client.ask::<DomainCreate>(&web1).expect("started");
    assert_eq!(daemon.lent(), 1);

    let fills = ["state/fill", "run/fill"].map(|name| inside(pid, daemon.path(name)));
    for path in &fills {
        let mut file = File::create(path).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }
    let failed = Ok(ErrorCode::OperationFailed.number());
    let other = HW.replace("<name>hw", "<name>other").replace("11111111-1111", "21111111-1111");
    let big = other
        .replace("<forward", &format!("<description>{}</description><forward", "x".repeat(60_000)));
    assert_eq!(client.number::<NetworkDefineXml>(&text(big)), failed);
    assert_eq!(client.number::<DomainCreate>(&web2), failed);
    let all = ListArgs { need_results: 1, flags: 0 };
    assert_eq!(client.ask::<ConnectListAllNetworks>(&all).expect("a list").count, 1);
    assert_eq!(client.ask::<ConnectListAllDomains>(&all).expect("a list").count, 2);
    assert_eq!(daemon.lent(), 1);

    client.ask::<DomainDestroy>(&web1).expect("destroyed");
    assert_eq!(daemon.lent(), 0);

    for path in &fills {
        std::fs::remove_file(path).expect("removed");
    }
    client.ask::<DomainCreate>(&web2).expect("started");
    client.ask::<DomainDestroy>(&web2).expect("destroyed");
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn without_the_record_of_what_is_lent_no_vf_is_taken_from_a_guest() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.define_guest(&guest("web2", "52:54:00:00:00:02"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    daemon.kill();
    for name in ["live.db", "live.db-wal", "live.db-shm"] {
        std::fs::remove_file(daemon.path("run").join(name)).expect("removed");
    }
    daemon.go_on();
    daemon.says(&["net-start", "hw"]);
    daemon.says(&["start", "web2"]);
    assert!(daemon.says(&["dumpxml", "web2"]).contains("function='0x2'"));
    let refusal = daemon.refuses(&["start", "web1"]);
    assert!(refusal.contains("a guest runs in"), "{refusal}");
    assert_eq!(daemon.guest_pid("web1"), pid);
    assert_eq!(daemon.lent(), 2);
}

#[test]
fn a_guest_whose_live_document_is_not_understood_goes_on_and_can_be_ended() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    daemon.kill();
    let guests = std::fs::read_dir(daemon.path("run").join("guests")).expect("it is there");
    for dir in guests {
        let live = dir.expect("it can be listed").path().join("live.json");
        std::fs::write(live, "{}").expect("written");
    }
    daemon.go_on();
    assert_eq!(daemon.guest_pid("web1"), pid);
    daemon.says(&["destroy", "web1"]);
    assert_eq!(daemon.lent(), 0);
}
