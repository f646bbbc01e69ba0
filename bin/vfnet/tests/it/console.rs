//! The console: bytes both ways, and a terminal that is as it was before.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::daemon::Daemon;
use crate::{command, run, run_with};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < LIMIT, "waiting for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pipe_is_sent_to_the_guest_and_its_end_leaves() {
    let daemon = Daemon::start();
    let ran = run_with(&daemon.socket(), &["guest", "console", "web1"], "root\n");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout, "login: root\n");
}

#[test]
fn more_than_any_buffer_holds_comes_back_whole() {
    let daemon = Daemon::start();
    let input = "0123456789abcde\n".repeat(64 * 1024);
    let mut child = command(&daemon.socket(), &["guest", "console", "web1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vfnet runs");
    let mut stdin = child.stdin.take().expect("piped");
    let sent = input.clone();
    let writer = thread::spawn(move || stdin.write_all(sent.as_bytes()));
    let output = child.wait_with_output().expect("vfnet ends");
    writer.join().expect("no panic").expect("vfnet reads all");
    let heard = String::from_utf8(output.stdout).expect("text");
    assert_eq!(heard.strip_prefix("login: ").map(str::len), Some(input.len()));
    assert!(heard.ends_with(&input));
}

#[test]
fn the_end_of_the_guest_leaves() {
    let daemon = Daemon::start();
    let mut child = command(&daemon.socket(), &["guest", "console", "web1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vfnet runs");
    // Stays open: it is the guest that ends it.
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"poweroff\n").expect("vfnet reads");
    assert!(child.wait().expect("vfnet ends").success());
    drop(stdin);
}

#[test]
fn a_start_can_lead_to_the_console() {
    let daemon = Daemon::start();
    let ran = run(&daemon.socket(), &["guest", "start", "web1", "--console"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "guest web1 started\nlogin: "));
}

/// `vfnet guest console` on a terminal of its own.
struct OnTerminal {
    child: Child,
    keys: File,
    terminal: File,
}

impl OnTerminal {
    fn open(daemon: &Daemon) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("named").into_string().expect("UTF-8");
        let terminal = File::options().read(true).write(true).open(name).expect("its other end");
        let child = command(&daemon.socket(), &["guest", "console", "web1"])
            .stdin(terminal.try_clone().expect("descriptor"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vfnet runs");
        let console = Self { child, keys: master.into(), terminal };
        wait_until("raw mode", || !console.waits_for_lines());
        console
    }

    fn waits_for_lines(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn ends(mut self) -> String {
        wait_until("the end of vfnet", || self.child.try_wait().expect("a child").is_some());
        assert!(self.waits_for_lines(), "the terminal is still raw");
        let mut shown = String::new();
        let mut stdout = self.child.stdout.take().expect("piped");
        stdout.read_to_string(&mut shown).expect("text");
        assert!(self.child.wait().expect("ended").success());
        shown
    }
}

#[test]
fn escape_leaves_the_console_and_the_terminal_as_it_was() {
    let daemon = Daemon::start();
    let mut console = OnTerminal::open(&daemon);
    // ^C is the guest's, not ours.
    console.keys.write_all(b"\x03\x1d").expect("typed");
    assert!(console.ends().starts_with("login: "));
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let daemon = Daemon::start();
    let console = OnTerminal::open(&daemon);
    let pid = Pid::from_child(&console.child);
    kill_process(pid, Signal::TERM).expect("it runs");
    console.ends();
}
