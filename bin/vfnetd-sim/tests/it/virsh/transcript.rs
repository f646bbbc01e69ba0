//! Transcripts: what is typed, and what is printed.
//!
//! A transcript is a text for people in which lines that begin with two spaces are played: what
//! follows `$ ` (and `> `, its continuation) goes to one shell that lives as long as the
//! transcript, what follows is what it must print, `[1]` an exit status other than 0. The form is
//! that of the cram tool. Spaces at the end of lines and empty lines of the output do not count.
//!
//! `VFNET_BLESS=1` writes what was printed into the transcript.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::VIRSH;
use crate::daemon::{Daemon, Ran};

/// What every transcript's shell knows; `$DIR` is its directory.
///
/// `answer KEY …` is virsh on a terminal where its questions are answered with KEY.
///
/// `again virsh …` begins anew as long as virsh does not come to its end: 11.3 waits for ever for
/// a guest that is saved, where the answer was there before it had begun to wait.
///
/// `listen PROBE virsh …` starts a listener for events and repeats PROBE until it has printed an
/// event: one that comes right behind the answer to the registration may be lost by libvirt's
/// client. `heard TEXT` waits until the listener has printed it, and ends it; `quiet` ends it.
/// What it has printed goes through the sed script that both take; times are printed as WHEN,
/// MACs in names as MAC; virsh's word at its end, when an event comes in while it goes, is left
/// out; and the first event comes once, however often PROBE made it.
const PRELUDE: &str = r#"
exec 2>&1
set -o pipefail
virsh() { timeout 20 "$VIRSH" -c "$URI" "$@"; }
answer() {
    local key=$1; shift
    while sleep 0.05; do echo $key; done |
        timeout 20 script -q -e -E never -c "$VIRSH -c '$URI' ${*@Q}" /dev/null |
        tr -d '\r' | grep -v polkit
}
again() {
    local said status
    while said=$(timeout 3 "$VIRSH" -c "$URI" "${@:2}"); status=$?; [ $status -eq 124 ]; do :; done
    [ -z "$said" ] || echo "$said"
    return $status
}
limit() { SECONDS=0; }
check() { [ $SECONDS -lt 30 ] || { echo "not within 30 seconds: $*"; return 1; }; }
listen() {
    local probe=$1; shift 2
    : > heard
    timeout 40 stdbuf -oL "$VIRSH" -c "$URI" "$@" > heard 2>&1 & listener=$!
    limit
    until [ -s heard ] || ! kill -0 $listener 2> /dev/null; do
        $probe > /dev/null 2>&1 || true
        check "an event is heard" || return
    done
}
heard() {
    limit
    until grep -q -- "$1" heard || ! kill -0 $listener 2> /dev/null; do
        check "'$1' is heard" || break
    done
    quiet "$2"
}
quiet() {
    kill -INT $listener 2> /dev/null
    wait $listener
    sed -e '/^events received/d; /references were leaked/d; s/^[-0-9]* [0-9:.]*+0000:/WHEN:/' \
        -e 's/\(_[0-9a-f][0-9a-f]\)\{6\}:/_MAC:/' -e "$1" heard |
        awk 'NR == 1 { probe = $0; print } $0 != probe { told = 1 } NR > 1 && (told || $0 != probe)'
}
"#;

const END: &str = "--end-of-output--";

/// A piece of a transcript.
enum Part {
    Prose(String),
    Act(Act),
}

/// Something typed, and what comes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Act {
    /// The lines typed.
    pub(crate) typed: Vec<String>,
    /// The lines printed.
    pub(crate) printed: Vec<String>,
    /// 0 is success.
    pub(crate) status: i32,
}

pub(crate) struct Transcript {
    path: PathBuf,
    parts: Vec<Part>,
}

impl Transcript {
    pub(crate) fn read(name: &str) -> Self {
        let path = folder().join(format!("{name}.t"));
        let text = std::fs::read_to_string(&path).expect("a transcript");
        Self { parts: parse(&text), path }
    }

    pub(crate) fn acts(&self) -> impl Iterator<Item = &Act> {
        self.parts.iter().filter_map(|part| match part {
            Part::Act(act) => Some(act),
            Part::Prose(_) => None,
        })
    }

    /// Plays it against a daemon; whatever is not printed as it says is in the panic's message.
    pub(crate) fn play(mut self, daemon: &Daemon) {
        let output = run(daemon, self.acts());
        let mut played = played(&output, daemon);
        let mut wrong = String::new();
        for part in &mut self.parts {
            let Part::Act(act) = part else { continue };
            let (printed, status) = played.next().unwrap_or_default();
            let now = Act { typed: act.typed.clone(), printed, status };
            if now != *act {
                wrong.push_str(&format!("expected:\n{}printed:\n{}\n", shown(act), shown(&now)));
                *act = now;
            }
        }
        if std::env::var_os("VFNET_BLESS").is_some_and(|set| set == "1") {
            let text: String = self
                .parts
                .iter()
                .map(|part| match part {
                    Part::Prose(line) => format!("{line}\n"),
                    Part::Act(act) => shown(act),
                })
                .collect();
            std::fs::write(&self.path, text).expect("it can be written");
            return;
        }
        assert!(wrong.is_empty(), "{}:\n{wrong}", self.path.display());
    }
}

/// Where the transcripts are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/virsh")
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in text.lines() {
        let Some(played) = line.strip_prefix("  ") else {
            parts.push(Part::Prose(line.to_owned()));
            continue;
        };
        if let Some(typed) = played.strip_prefix("$ ") {
            let typed = vec![typed.to_owned()];
            parts.push(Part::Act(Act { typed, printed: Vec::new(), status: 0 }));
            continue;
        }
        let Some(Part::Act(act)) = parts.last_mut() else {
            panic!("'{line}' follows no command");
        };
        let status = played.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            act.status = status;
        } else if let Some(more) = played.strip_prefix("> ") {
            act.typed.push(more.to_owned());
        } else if played == ">" {
            act.typed.push(String::new());
        } else {
            act.printed.push(played.to_owned());
        }
    }
    parts
}

/// As a transcript has it.
fn shown(act: &Act) -> String {
    let mut text = String::new();
    for (number, line) in act.typed.iter().enumerate() {
        let mark = if number == 0 { "$" } else { ">" };
        text.push_str(format!("  {mark} {line}").trim_end());
        text.push('\n');
    }
    for line in &act.printed {
        text.push_str(&format!("  {line}\n"));
    }
    if act.status != 0 {
        text.push_str(&format!("  [{}]\n", act.status));
    }
    text
}

fn run<'a>(daemon: &Daemon, acts: impl Iterator<Item = &'a Act>) -> String {
    let mut script = PRELUDE.to_owned();
    for act in acts {
        script.push_str(&act.typed.join("\n"));
        script.push_str(&format!("\nprintf '\\n%s %s\\n' {END} $?\n"));
    }
    let script = daemon.file("transcript", &script);
    let dir = daemon.path("");
    let uri = |name: &str, socket: &Path| format!("{name}:///system?socket={}", socket.display());
    let (socket, read_only) = (daemon.socket(), daemon.read_only_socket());
    let ran: Ran = Command::new("timeout")
        .args(["100", "bash", &script])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("HOME", &dir)
        .env("DIR", &dir)
        .env("URI", daemon.uri())
        .env("READ_ONLY_URI", uri("qemu+unix", &read_only))
        .env("NETWORK_URI", uri("network+unix", &socket))
        .env("NODEDEV_URI", uri("nodedev+unix", &socket))
        .env("VIRSH", VIRSH)
        .current_dir(&dir)
        .output()
        .expect("bash runs")
        .into();
    assert!(ran.status.success(), "{:?} {} {}", ran.status, ran.stdout, ran.stderr);
    ran.stdout
}

/// What was printed, command by command.
fn played(output: &str, daemon: &Daemon) -> impl Iterator<Item = (Vec<String>, i32)> {
    let dir = daemon.path("").display().to_string();
    let output = output.replace(dir.trim_end_matches('/'), "DIR");
    let mut acts = Vec::new();
    let mut printed = Vec::new();
    for line in output.lines() {
        match line.strip_prefix(END) {
            Some(status) => {
                let status = status.trim().parse().expect("an exit status");
                acts.push((std::mem::take(&mut printed), status));
            }
            None if line.trim().is_empty() => {}
            None => printed.push(line.trim_end().to_owned()),
        }
    }
    acts.into_iter()
}
