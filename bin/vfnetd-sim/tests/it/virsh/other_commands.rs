//! virsh's commands for what vfnet does not have, or has for guests only: each ends, and says
//! what is wrong.

use std::process::Command;

use super::commands::{commands_of, options_in};
use crate::VIRSH;
use crate::daemon::{Daemon, Ran, guest_with};

/// Commands that virsh has a thread make while it waits in a loop, which the thread ends. When it
/// ends the loop before that has begun, as may be on a busy machine, virsh waits for ever for what
/// it has had (virsh 11.3: `virshWatchJob`).
const IN_A_THREAD: [&str; 4] = ["dump", "managedsave", "migrate", "save"];

/// How often such a command is tried.
const TRIES: usize = 3;

/// Groups of commands, as `virsh help` calls them.
const GROUPS: [&str; 12] = [
    "domain",
    "monitor",
    "events",
    "host",
    "checkpoint",
    "interface",
    "filter",
    "secret",
    "snapshot",
    "backup",
    "pool",
    "volume",
];

/// Seconds after which a command hangs.
const LIMIT: &str = "20";

/// What virsh says when the daemon has hung up on it, or sent what it cannot read.
const LOST: [&str; 5] = [
    "client socket is closed",
    "End of file",
    "Cannot recv data",
    "nable to decode",
    "onnection to the server",
];

/// Commands in which virsh says nothing of a guest that has not what they show.
const SILENT: [&str; 1] = ["ttyconsole"];

/// A command line that virsh takes: every option that it insists on has some value.
struct Attempt {
    command: String,
    args: Vec<String>,
}

/// The options that a command's synopsis has without brackets, with values.
fn attempt(help: &str, daemon: &Daemon, file: &str) -> Option<Attempt> {
    let synopsis = help.split_once("  SYNOPSIS\n")?.1.lines().next()?;
    let mut words = synopsis.split_whitespace();
    let command = words.next()?.to_owned();
    let required: Vec<_> = words
        .take_while(|word| !word.starts_with('['))
        .filter_map(|word| word.strip_prefix('<')?.split('>').next())
        .collect();
    let options = options_in(help);
    let is_number = |name: &str| options.iter().any(|known| known.name == name && known.is_number);
    let value = |name: &str| match name {
        "domain" => "web1".to_owned(),
        "file" | "xml" | "cpufile" => file.to_owned(),
        "desturi" => daemon.uri(),
        "secret" => "11111111-1111-4111-8111-111111111111".to_owned(),
        "cpulist" => "0".to_owned(),
        "target" => "mem".to_owned(),
        name if is_number(name) => "1".to_owned(),
        _ => "dummy".to_owned(),
    };
    let args = required.iter().flat_map(|name| [format!("--{name}"), value(name)]).collect();
    Some(Attempt { command, args })
}

fn attempts(daemon: &Daemon) -> Vec<Attempt> {
    let file = daemon.file("dummy.xml", "<dummy/>");
    let topics: Vec<_> = GROUPS
        .iter()
        .flat_map(|group| commands_of(group))
        .map(|command| format!("help {command}"))
        .collect();
    let ran: Ran = Command::new(VIRSH)
        .arg(topics.join(";"))
        .env("LC_ALL", "C")
        .output()
        .expect("virsh runs")
        .into();
    assert!(ran.status.success(), "{}", ran.stderr);
    let each = ran.stdout.split("  NAME\n").skip(1);
    each.map(|help| attempt(help, daemon, &file).expect("a synopsis")).collect()
}

/// Whether a command's end is one that a person understands.
fn fault(command: &str, ran: &Ran) -> Option<&'static str> {
    let mut said = ran.stderr.lines().filter_map(|line| line.strip_prefix("error: "));
    if hangs(ran) {
        Some("did not end")
    } else if LOST.iter().any(|text| ran.stderr.contains(text)) {
        Some("lost the daemon")
    } else if ran.status.success()
        || SILENT.contains(&command)
        || said.next_back().is_some_and(|words| !words.is_empty())
    {
        None
    } else {
        Some("failed without a word")
    }
}

pub(super) fn check(daemon: &Daemon) {
    daemon.define_guest(&guest_with("web1", ""));
    let pid = daemon.pid();
    let attempts = attempts(daemon);
    let half = attempts.len().div_ceil(2);
    let (faults, unsupported) = std::thread::scope(|scope| {
        let halves: Vec<_> = attempts
            .chunks(half)
            .map(|attempts| scope.spawn(|| run_all(attempts, daemon)))
            .collect();
        halves.into_iter().fold((String::new(), 0), |(mut text, count), half| {
            let (faults, unsupported) = half.join().expect("no panic");
            text.push_str(&faults);
            (text, count + unsupported)
        })
    });
    assert!(faults.is_empty(), "{faults}");
    // Most of what virsh can do is no business of vfnet's.
    assert!(unsupported > attempts.len() / 3, "{unsupported} of {}", attempts.len());
    assert_eq!(daemon.pid(), pid);
    daemon.says(&["list", "--all"]);
}

fn hangs(ran: &Ran) -> bool {
    ran.status.code() == Some(124)
}

fn run(command: &str, args: &[String], daemon: &Daemon) -> Ran {
    let mut virsh = Command::new("timeout");
    virsh.args([LIMIT, VIRSH, "-c", &daemon.uri(), command]).args(args);
    virsh.env("LC_ALL", "C").env("EDITOR", "true").env("HOME", daemon.path(""));
    virsh.stdin(std::process::Stdio::null()).current_dir(daemon.path(""));
    virsh.output().expect("virsh runs").into()
}

/// What is wrong with the commands' ends, and how many ended with error 3.
fn run_all(attempts: &[Attempt], daemon: &Daemon) -> (String, usize) {
    let mut faults = String::new();
    let mut unsupported = 0;
    for Attempt { command, args } in attempts {
        let tries = if IN_A_THREAD.contains(&command.as_str()) { TRIES } else { 1 };
        let mut ran = run(command, args, daemon);
        for _ in 1..tries {
            if hangs(&ran) {
                ran = run(command, args, daemon);
            }
        }
        if ran.stderr.contains("not supported by the connection driver") {
            unsupported += 1;
        }
        if let Some(fault) = fault(command, &ran) {
            faults.push_str(&format!("{command} {args:?} {fault}: {ran:?}\n"));
        }
    }
    (faults, unsupported)
}
