//! What is said, and which exit code programs see, when it does not work.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::daemon::Daemon;
use crate::{Ran, command, good, run, run_with};

#[test]
fn a_refused_start_has_a_line_for_each_of_seven_vfs() {
    let daemon = Daemon::start();
    let ran = run(&daemon.socket(), &["guest", "start", "web8"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert_snapshot!(ran.stderr, @r"
    vfnet: cannot start guest 'web8': network 'hw': none of its 7 VFs can be lent
      0000:01:10.0  held by guest web1
      0000:01:10.2  held by guest web2
      0000:01:10.4  held by guest web3
      0000:01:10.6  held by guest web4
      0000:01:11.0  held by guest web5
      0000:01:11.2  held by guest web6
      0000:01:11.4  held by guest web7
    ");
}

#[test]
fn a_network_in_use_says_by_whom_and_how_to_stop_it_all_the_same() {
    let daemon = Daemon::start();
    let ran = run(&daemon.socket(), &["net", "destroy", "hw"]);
    assert_eq!(ran.code, Some(1));
    assert_snapshot!(ran.stderr, @r"
    vfnet: cannot stop network 'hw': Requested operation is not valid: network 'hw' is in use: 0000:01:10.0 held by guest web1
      hint: to stop it all the same: vfnet net destroy --force hw
    ");
}

#[test]
fn what_is_not_there_is_exit_code_4() {
    let daemon = Daemon::start();
    for args in [
        ["net", "show", "nowhere"],
        ["guest", "start", "nobody"],
        ["guest", "show", "6e4b3c58-0000-4000-8000-000000000000"],
        ["vf", "restore", "eth9"],
    ] {
        let ran = run(&daemon.socket(), &args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""), "{args:?}");
        let hint = ran.stderr.lines().nth(1).unwrap_or_default();
        assert!(hint.starts_with("  hint: vfnet ") && hint.contains(" lists "), "{}", ran.stderr);
    }
}

#[test]
fn nonsense_is_exit_code_2() {
    let daemon = Daemon::start();
    for args in [
        &["net", "frobnicate"][..],
        &["guest", "start"],
        &["net", "ls", "--all=3"],
        &["import"],
        &["import", "--root", "/"],
        &["import", "/here", "--from-libvirt"],
        &["export"],
        &[],
    ] {
        assert_eq!(run(&daemon.socket(), args).code, Some(2), "{args:?}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_exit_code_3_and_a_word_on_how_to_start_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for args in [&["doctor"][..], &["net", "start", "hw"]] {
        let ran = run(&dir.path().join("libvirt-sock"), args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
        assert!(ran.stderr.starts_with("vfnet: cannot reach the daemon at "), "{}", ran.stderr);
        assert!(ran.stderr.contains("systemctl start vfnetd"), "{}", ran.stderr);
    }
}

#[test]
fn a_daemon_that_hangs_up_is_exit_code_3() {
    let daemon = Daemon::start();
    let ran = run(&daemon.socket(), &["guest", "reset", "web1"]);
    assert_eq!(ran.code, Some(3));
    assert_eq!(ran.stderr, "vfnet: cannot reset guest 'web1': the daemon hung up\n");
}

#[test]
fn a_host_that_is_not_ready_is_exit_code_1_with_findings() {
    let daemon = Daemon::start();
    let ran = run(&daemon.socket(), &["doctor"]);
    assert_eq!(ran.code, Some(1));
    assert_snapshot!(ran.stdout, @r"
    problem  IOMMU  there is no IOMMU
                    turn it on
    ");
    assert_eq!(ran.stderr, "vfnet: this host is not ready to lend VFs\n");
}

#[test]
fn a_document_that_is_refused_or_missing_says_why() {
    let daemon = Daemon::start();
    let ran = run_with(&daemon.socket(), &["net", "define", "-"], "<network/>");
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stderr, "vfnet: cannot define the network: XML error: line 1: missing name\n");
    let ran = run(&daemon.socket(), &["net", "define", "/nonexistent/hw.xml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("vfnet: cannot read /nonexistent/hw.xml: "), "{}", ran.stderr);
}

#[test]
fn a_document_that_is_too_long_or_no_text_is_not_sent() {
    let daemon = Daemon::start();
    let ran = run_with(&daemon.socket(), &["net", "define", "-"], &" ".repeat(4 * 1024 * 1024 + 1));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("over the protocol's limit"), "{}", ran.stderr);
    let ran = run_with(&daemon.socket(), &["net", "define", "-"], "<network>\0</network>");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("zero byte"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let daemon = Daemon::start();
    for args in [&["vf", "ls"][..], &["vf", "ls", "--json"], &["--help"], &["completions", "zsh"]] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let child = command(&daemon.socket(), args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("vfnet runs");
        let ran = Ran::from(child.wait_with_output().expect("vfnet ends"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn who_may_only_read_can_list_but_not_start() {
    let daemon = Daemon::start_read_only();
    // To root every socket is permitted, and nobody may not enter every build directory. Copied
    // by a process of its own: a file that other tests' children inherit open for writing
    // cannot be executed.
    let program = daemon.socket().with_file_name("vfnet");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_vfnet")).arg(&program).status();
    assert!(copied.expect("cp runs").success());
    let run_as_nobody = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).env("VFNET_SOCKET", daemon.socket());
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        Ran::from(command.output().expect("vfnet runs"))
    };
    let ran = run_as_nobody(&["vf", "ls"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("0000:01:10.0"), "{}", ran.stdout);
    let ran = run_as_nobody(&["guest", "start", "web1"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("a member of group vfnet"), "{}", ran.stderr);
}

#[test]
fn the_socket_on_the_command_line_wins() {
    let daemon = Daemon::start();
    let path = daemon.socket();
    let nowhere = std::path::Path::new("/nonexistent/socket");
    let args = ["status", "--socket", path.to_str().expect("UTF-8")];
    assert!(good(nowhere, &args).starts_with("version   0.1.0\n"));
}
