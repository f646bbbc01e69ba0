//! The commands and options that virsh says it has, and what the transcripts show of them:
//! `docs/virsh.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use vfnet_rpc::error::{ErrorCode, message_for};

use super::transcript::{Act, Transcript};
use crate::VIRSH;
use crate::daemon::Ran;

const BEGIN: &str = "<!-- commands: made from the transcripts, rewrite with VFNET_BLESS=1 -->\n";
const END: &str = "<!-- end of commands -->";

/// Groups of commands that have to be shown: their keyword for `virsh help`, and their heading.
const GROUPS: [(&str, &str); 2] = [("network", "Networks"), ("nodedev", "Node devices")];

/// Commands of other groups.
const CONNECTION: [&str; 7] =
    ["connect", "uri", "version", "hostname", "nodeinfo", "capabilities", "domcapabilities"];

/// Commands for storage pools and volumes.
const STORAGE: [&str; 22] = [
    "pool-list",
    "pool-define",
    "pool-define-as",
    "pool-create",
    "pool-create-as",
    "pool-start",
    "pool-destroy",
    "pool-undefine",
    "pool-autostart",
    "pool-refresh",
    "pool-info",
    "pool-dumpxml",
    "pool-edit",
    "pool-name",
    "pool-uuid",
    "vol-list",
    "vol-info",
    "vol-dumpxml",
    "vol-path",
    "vol-key",
    "vol-name",
    "vol-pool",
];

/// Commands for guests.
const GUESTS: [&str; 47] = [
    "list",
    "define",
    "undefine",
    "create",
    "start",
    "destroy",
    "shutdown",
    "reboot",
    "reset",
    "suspend",
    "resume",
    "save",
    "managedsave",
    "console",
    "autostart",
    "dominfo",
    "domstate",
    "domid",
    "domuuid",
    "domname",
    "dumpxml",
    "edit",
    "desc",
    "metadata",
    "setmem",
    "setmaxmem",
    "setvcpus",
    "vcpucount",
    "domiflist",
    "domblklist",
    "domifaddr",
    "domifstat",
    "domstats",
    "dommemstat",
    "vncdisplay",
    "domdisplay",
    "qemu-monitor-command",
    "qemu-agent-command",
    "event",
    "attach-device",
    "detach-device",
    "detach-device-alias",
    "attach-interface",
    "detach-interface",
    "update-device",
    "domif-setlink",
    "domif-getlink",
];

/// An option as `virsh help COMMAND` lists it.
pub(super) struct Opt {
    pub(super) name: String,
    /// Also known by its place.
    positional: bool,
    has_value: bool,
    pub(super) is_number: bool,
    repeats: bool,
}

/// A command with its options as they were typed.
#[derive(PartialEq, Eq, Debug)]
struct Typed(Vec<String>);

/// What is shown of a command or an option.
#[derive(Default)]
struct Shown {
    served: bool,
    /// The refusals by libvirt's numbers; those of virsh itself have none.
    refusals: BTreeMap<Option<i32>, String>,
    transcripts: BTreeSet<String>,
}

impl Shown {
    fn add(&mut self, transcript: &str, refusal: Option<&str>) {
        self.transcripts.insert(transcript.to_owned());
        match refusal {
            None => self.served = true,
            Some(refusal) => {
                self.refusals.insert(number(refusal), refusal.to_owned());
            }
        }
    }

    fn state(&self) -> String {
        if self.served {
            return "served".to_owned();
        }
        // Why it is not served says more than what was wrong with a single attempt.
        let missing = self.refusals.get_key_value(&Some(ErrorCode::NoSupport.number()));
        match missing.or(self.refusals.last_key_value()) {
            Some((Some(number), refusal)) => format!("refused with {number}: {refusal}"),
            Some((None, refusal)) => format!("refused by virsh: {refusal}"),
            None => "not served".to_owned(),
        }
    }
}

/// libvirt's number of an error, by the text in front of its detail.
fn number(refusal: &str) -> Option<i32> {
    let known = (0..200).filter_map(ErrorCode::from_number);
    let mut numbers = known.filter(|code| {
        let text = message_for(*code, "{}");
        text.split_once("{}")
            .is_some_and(|(before, _)| !before.is_empty() && refusal.starts_with(before))
    });
    numbers.next().map(ErrorCode::number)
}

fn help(topic: &str) -> String {
    let ran: Ran = Command::new(VIRSH)
        .args(["help", topic])
        .env("LC_ALL", "C")
        .output()
        .expect("virsh runs")
        .into();
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout
}

/// The commands of a group.
pub(super) fn commands_of(group: &str) -> Vec<String> {
    let text = help(group);
    let lines = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    lines.map(str::to_owned).collect()
}

fn options_of(command: &str) -> Vec<Opt> {
    options_in(&help(command))
}

/// The options that a command's help lists.
pub(super) fn options_in(text: &str) -> Vec<Opt> {
    let lines = text.split_once("  OPTIONS\n").map_or("", |(_, options)| options).lines();
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let first = words.next()?;
            let name = first.trim_start_matches('[').trim_end_matches(']').strip_prefix("--")?;
            let value = words.next().filter(|word| word.starts_with('<'));
            Some(Opt {
                name: name.to_owned(),
                positional: first.starts_with('['),
                has_value: value.is_some(),
                is_number: value == Some("<number>"),
                repeats: value.is_some_and(|value| value.ends_with("...")),
            })
        })
        .collect()
}

/// The words of shell text; an operator is a word of its own that begins with a line feed.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ' | '\n') => words.push(String::new()),
            (None, '|' | ';' | '&' | '<' | '>' | '(' | ')') => {
                words.extend(["\n".to_owned(), String::new()]);
            }
            (_, c) => words.last_mut().expect("at least one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The commands of virsh in what was typed.
fn typed(act: &Act) -> Vec<Typed> {
    let words = words(&act.typed.join("\n"));
    let mut all = Vec::new();
    for part in words.split(|word| word == "\n") {
        let begins = |word: &&String| ["virsh", "answer", "typed"].contains(&word.as_str());
        let mut words = part.iter().skip_while(|word| !begins(word));
        if words.next().is_some_and(|word| word == "answer") {
            words.next();
        }
        let mut words = words.peekable();
        while let Some(global) = words.next_if(|word| word.starts_with('-')) {
            if global == "-c" {
                words.next();
            }
        }
        let words: Vec<_> = words.cloned().collect();
        match words.as_slice() {
            [] => {}
            [several] if several.contains(' ') => {
                let each = several.split(';');
                all.extend(
                    each.map(|one| Typed(one.split_whitespace().map(str::to_owned).collect())),
                );
            }
            words => all.push(Typed(words.to_vec())),
        }
    }
    all
}

impl Typed {
    /// The options that it names, or gives by their places.
    fn options<'o>(&self, known: &'o [Opt]) -> Vec<&'o str> {
        let mut given: Vec<&Opt> = Vec::new();
        let mut words = self.0.iter().skip(1);
        while let Some(word) = words.next() {
            if let Some(name) = word.strip_prefix("--") {
                let Some(option) = known.iter().find(|option| option.name == name) else {
                    continue;
                };
                if option.has_value {
                    words.next();
                }
                given.push(option);
            } else {
                let is_new = |option: &&Opt| given.iter().all(|other| other.name != option.name);
                let mut places = known.iter().filter(|option| option.positional);
                given.extend(places.find(|option| option.repeats || is_new(option)));
            }
        }
        given.into_iter().map(|option| option.name.as_str()).collect()
    }
}

/// What the transcripts show, by command and option; the option `""` is the command itself.
fn shown(
    transcripts: &[&str],
    known: &BTreeMap<String, Vec<Opt>>,
) -> BTreeMap<(String, String), Shown> {
    let mut all: BTreeMap<(String, String), Shown> = BTreeMap::new();
    for name in transcripts {
        for act in Transcript::read(name).acts() {
            let mut errors = act.printed.iter().filter_map(|line| line.strip_prefix("error: "));
            let silent = act.status != 0 && act.printed.is_empty();
            let refusal = errors.next_back().or(silent.then_some("nothing said"));
            let mut typed = typed(act);
            let last = typed.pop();
            let served = typed.iter().map(|typed| (typed, None));
            for (typed, refusal) in served.chain(last.iter().map(|typed| (typed, refusal))) {
                let Some(options) = known.get(&typed.0[0]) else { continue };
                for option in [""].into_iter().chain(typed.options(options)) {
                    let key = (typed.0[0].clone(), option.to_owned());
                    all.entry(key).or_default().add(name, refusal);
                }
            }
        }
    }
    all
}

/// The part of the document that is made.
fn document(transcripts: &[&str]) -> String {
    let mut groups: Vec<_> =
        GROUPS.iter().map(|(group, heading)| (*heading, commands_of(group))).collect();
    groups.push(("Guests", GUESTS.map(str::to_owned).to_vec()));
    groups.push(("Storage", STORAGE.map(str::to_owned).to_vec()));
    groups.push(("The connection", CONNECTION.map(str::to_owned).to_vec()));
    let commands = groups.iter().flat_map(|(_, commands)| commands);
    let known = commands.map(|command| (command.clone(), options_of(command))).collect();
    let shown = shown(transcripts, &known);
    let mut text = String::new();
    let mut missing = Vec::new();
    for (heading, commands) in groups {
        text.push_str(&format!(
            "\n## {heading}\n\n| Command | Option | State | Refusals shown | Shown in |\n\
             |---|---|---|---|---|\n"
        ));
        for command in commands {
            let options = known[&command].iter().map(|option| option.name.as_str());
            for option in [""].into_iter().chain(options) {
                let Some(shown) = shown.get(&(command.clone(), option.to_owned())) else {
                    missing.push(format!("{command} --{option}"));
                    continue;
                };
                let first = match option {
                    "" => format!("`{command}` |"),
                    option => format!("| `--{option}`"),
                };
                let numbers: Vec<_> =
                    shown.refusals.keys().flatten().map(ToString::to_string).collect();
                let transcripts: Vec<_> = shown.transcripts.iter().map(String::as_str).collect();
                text.push_str(&format!(
                    "| {first} | {} | {} | {} |\n",
                    shown.state().replace('|', "\\|").replace('<', "\\<"),
                    numbers.join(", "),
                    transcripts.join(", "),
                ));
            }
        }
    }
    assert!(missing.is_empty(), "no transcript shows {missing:#?}");
    text.push('\n');
    text
}

/// Holds `docs/virsh.md` to what the transcripts show, which is all that virsh has.
pub(super) fn check(transcripts: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/virsh.md");
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let (before, rest) = text.split_once(BEGIN).expect("the tables' begin is marked");
    let (found, after) = rest.split_once(END).expect("the tables' end is marked");
    let made = document(transcripts);
    if std::env::var_os("VFNET_BLESS").is_some_and(|set| set == "1") {
        let text = format!("{before}{BEGIN}{made}{END}{after}");
        std::fs::write(&path, text).expect("it can be written");
        return;
    }
    assert_eq!(found, made, "rewrite the tables with VFNET_BLESS=1");
}

#[test]
fn commands_are_found_in_shell_text() {
    let act = |typed: &str| Act {
        typed: typed.lines().map(str::to_owned).collect(),
        printed: Vec::new(),
        status: 0,
    };
    let found = |text: &str| -> Vec<String> {
        typed(&act(text)).into_iter().map(|typed| typed.0.join(" ")).collect()
    };
    assert_eq!(found("virsh net-list --all"), ["net-list --all"]);
    assert_eq!(found("virsh -c \"$URI\" net-list | wc -l"), ["net-list"]);
    assert_eq!(found("echo virtual; virsh uri"), ["uri"]);
    assert_eq!(found("virsh \"connect $URI; uri\" > file"), ["connect $URI", "uri"]);
    assert_eq!(found("EDITOR='sed -i' answer n net-edit hw"), ["net-edit hw"]);
    assert_eq!(found("typed console web1"), ["console web1"]);
    assert_eq!(found("listen 'virsh uri' virsh net-event --loop"), ["net-event --loop"]);
}
