//! Directories that cannot be used, or not any more.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
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
use crate::until;

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

/// The daemon is killed, this is done to its run directory, and the next one finds web1 again
/// with its VF, lends others meanwhile, and takes it back.
fn web1_is_found_again(harm: impl FnOnce(&Path)) {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.define_guest(&guest("web2", "52:54:00:00:00:02"));
    let clean = daemon.host().facts();
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    daemon.kill();
    harm(&daemon.path("run"));
    daemon.go_on();
    assert_eq!(daemon.guest_pid("web1"), pid);
    until("web1 is adopted", || daemon.virsh(&["domstate", "web1"]).stdout.contains("running"));
    until("network hw runs again", || daemon.says(&["net-list", "--name"]).contains("hw"));
    daemon.says(&["start", "web2"]);
    assert!(daemon.says(&["dumpxml", "web2"]).contains("function='0x2'"));
    assert!(daemon.says(&["dumpxml", "web1"]).contains("52:54:00:00:00:01"));
    assert_eq!(daemon.lent(), 2);
    daemon.says(&["destroy", "web1"]);
    daemon.says(&["destroy", "web2"]);
    assert_eq!(daemon.lent(), 0);
    assert_eq!(daemon.host().facts(), clean);
    daemon.kill_and_go_on();
    assert_eq!(daemon.rows(&["list", "--name"]), Vec::<String>::new());
}

#[test]
fn without_the_record_of_what_is_lent_guests_are_found_with_their_vfs() {
    web1_is_found_again(|run| {
        for name in ["live.db", "live.db-wal", "live.db-shm"] {
            std::fs::remove_file(run.join(name)).expect("removed");
        }
    });
}

#[test]
fn a_damaged_record_of_what_is_lent_is_kept_and_guests_are_found_with_their_vfs() {
    web1_is_found_again(|run| {
        for name in ["live.db", "live.db-wal"] {
            let path = run.join(name);
            let bytes = std::fs::read(&path).expect("read");
            std::fs::write(path, vec![0xa5; bytes.len()]).expect("written");
        }
    });
}

#[test]
fn guests_are_found_by_what_they_have_open_where_nothing_written_down_can_be_read() {
    web1_is_found_again(|run| {
        std::fs::write(run.join("live.db"), vec![0xa5; 8192]).expect("written");
        for dir in std::fs::read_dir(run.join("guests")).expect("it is there") {
            let live = dir.expect("it can be listed").path().join("live.json");
            std::fs::write(live, [0xa5; 100]).expect("written");
        }
    });
}

#[test]
fn a_claim_that_was_damaged_is_made_good_from_the_guest_that_has_the_vf() {
    web1_is_found_again(|run| {
        let database = rusqlite::Connection::open(run.join("live.db")).expect("a database");
        database.execute("UPDATE claim SET vf = 'nowhere'", []).expect("set");
    });
}

#[test]
fn damaged_definitions_are_refused_with_what_to_do_and_guests_go_on() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    daemon.kill();
    let paths = ["state/state.db", "state/state.db-wal"].map(|name| daemon.path(name));
    let whole = paths.each_ref().map(|path| std::fs::read(path).expect("read"));
    let spoiled = whole.each_ref().map(|bytes| vec![0xa5; bytes.len()]);
    let put = |contents: &[Vec<u8>]| {
        for (path, bytes) in paths.iter().zip(contents) {
            std::fs::write(path, bytes).expect("written");
        }
    };
    put(&spoiled);
    let ran: Ran = daemon.command().output().expect("ran").into();
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("vfnet state rebuild"), "{}", ran.stderr);
    assert_eq!(paths.each_ref().map(|path| std::fs::read(path).expect("read")), spoiled);
    put(&whole);
    daemon.go_on();
    assert_eq!(daemon.guest_pid("web1"), pid);
}

#[test]
fn a_guest_whose_live_document_is_not_understood_goes_on_and_can_be_ended() {
    for document in ["{}", "", "{\"version\": 99, \"guest\": \"of another form\"}"] {
        goes_on_with_the_live_document(document);
    }
}

fn goes_on_with_the_live_document(document: &str) {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    daemon.kill();
    let mut guests = std::fs::read_dir(daemon.path("run").join("guests")).expect("it is there");
    let dir = guests.next().expect("one guest").expect("it can be listed").path();
    std::fs::write(dir.join("live.json"), document).expect("written");
    daemon.go_on();
    assert_eq!(daemon.guest_pid("web1"), pid);
    until("it is found", || daemon.virsh(&["domstate", "web1"]).stdout.contains("running"));
    let anew = std::fs::read_to_string(dir.join("live.json")).expect("it is there");
    assert!(anew.contains("hostdev0"), "it is not written anew: {anew}");
    assert!(daemon.says(&["dumpxml", "web1"]).contains("<alias name='hostdev0'/>"));
    daemon.says(&["destroy", "web1"]);
    assert_eq!(daemon.lent(), 0);
}

/// `vfnet state COMMAND` on the daemon's directories.
fn vfnet_state(daemon: &Daemon, command: &str) -> Ran {
    vfnet_command(daemon, command).output().expect("ran").into()
}

fn vfnet_command(daemon: &Daemon, command: &str) -> Command {
    let mut vfnet = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    vfnet.args(["state", command, "--state-dir"]).arg(daemon.path("state"));
    vfnet.arg("--run-dir").arg(daemon.path("run"));
    vfnet
}

#[test]
fn state_is_checked_beside_the_daemon_and_after_its_end() {
    let mut daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    client.ask::<NetworkDefineXml>(&text(HW)).expect("defined");
    let ran = vfnet_state(&daemon, "check");
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(&format!("in use by vfnetd (pid {})", daemon.pid())));
    assert!(ran.stdout.contains("state.db: whole, of version 4, with 1 records"), "{}", ran.stdout);

    let mut json = vfnet_command(&daemon, "check");
    let json: Ran = json.arg("--json").output().expect("ran").into();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("json");
    assert_eq!((&json["pid"], &json["in_use"]), (&daemon.pid().into(), &true.into()));
    assert_eq!(json["files"][0]["records"], 1);

    let refused = vfnet_state(&daemon, "rebuild");
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("guests run on"), "{}", refused.stderr);

    daemon.kill();
    let ran = vfnet_state(&daemon, "check");
    assert!(ran.status.success() && ran.stdout.contains("not in use"), "{}", ran.stdout);
    std::fs::write(daemon.path("run/live.db-wal"), [0xa5; 5000]).expect("written");
    let ran = vfnet_state(&daemon, "check");
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stdout.contains("the head of its log is not whole"), "{}", ran.stdout);
}

#[test]
fn a_host_whose_state_was_spoiled_gets_going_again_without_stopping_a_guest() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    let clean = daemon.host().facts();
    for (name, mac) in [("web1", "52:54:00:00:00:01"), ("web2", "52:54:00:00:00:02")] {
        daemon.define_guest(&guest(name, mac));
        daemon.says(&["start", name]);
    }
    let pids = ["web1", "web2"].map(|name| daemon.guest_pid(name));
    daemon.kill();
    for name in ["state/state.db", "state/state.db-wal", "run/live.db", "run/live.db-wal"] {
        let spoilt = Command::new("dd")
            .args(["if=/dev/urandom", "bs=512", "count=9", "conv=notrunc", "status=none"])
            .arg(format!("of={}", daemon.path(name).display()))
            .status();
        assert!(spoilt.expect("dd runs").success(), "{name}");
    }
    let refused: Ran = daemon.command().output().expect("ran").into();
    assert!(refused.stderr.contains("vfnet state rebuild"), "{}", refused.stderr);

    let ran = vfnet_state(&daemon, "rebuild");
    assert!(ran.status.success(), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("made anew").count(), 2, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches(".db.damaged-").count(), 2, "{}", ran.stdout);
    daemon.go_on();
    for (name, pid) in ["web1", "web2"].into_iter().zip(pids) {
        assert_eq!(daemon.guest_pid(name), pid);
        until("it is adopted", || daemon.virsh(&["domstate", name]).stdout.contains("running"));
    }
    assert!(vfnet_state(&daemon, "check").status.success());
    for name in ["web1", "web2"] {
        daemon.says(&["destroy", name]);
    }
    assert_eq!(daemon.lent(), 0);
    assert_eq!(daemon.host().facts(), clean);
}
