//! The guides' commands, run as they stand there, over a simulated host with the cards that each
//! page names. With `VFNET_BLESS=1` the pages get the output of now.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::Daemon;
use crate::{VIRSH, installed};

fn guides() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let pages = fs::read_dir(dir).expect("guides").map(|page| page.expect("a page").path());
    let mut pages: Vec<_> = pages.filter(|page| !page.ends_with("README.md")).collect();
    pages.sort();
    pages
}

/// A page with its commands' output as it is now.
fn run(page: &str) -> String {
    let host = between(page, "<!-- host: ", " -->").expect("a page says which host it is about");
    let cards: Vec<_> = host.split(' ').map(|card| format!("--make={card}")).collect();
    let cards: Vec<_> = cards.iter().map(String::as_str).collect();
    let daemon = Daemon::over(&cards);
    fs::create_dir(daemon.path("here")).expect("a directory");
    fs::create_dir(daemon.path("bin")).expect("a directory");
    let vfnet = daemon.path("bin/vfnet");
    symlink(env!("CARGO_BIN_EXE_vfnet-cli"), vfnet).expect("a link");

    let (mut text, mut name) = (String::new(), None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let file = line.rsplit_once(".xml`").and_then(|(before, _)| before.rsplit_once('`'));
        name = file.map(|(_, stem)| format!("{stem}.xml")).or(name);
        let block = line.strip_prefix("```").filter(|kind| !kind.is_empty());
        let Some(kind) = block else { continue };
        let inside: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "xml" => {
                let document = inside.join("\n");
                let file = name.take().expect("a document has a name");
                fs::write(daemon.path("here").join(file), &document).expect("written");
                text.push_str(&document);
                text.push('\n');
            }
            "console" => {
                for command in inside.iter().filter_map(|line| line.strip_prefix("$ ")) {
                    text.push_str(&format!("$ {command}\n{}", output(&daemon, command)));
                }
            }
            other => panic!("a block of {other}"),
        }
        text.push_str("```\n");
    }
    daemon.end_guests();
    text
}

/// What a terminal would show of a command.
fn output(daemon: &Daemon, command: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let shown = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(daemon.path("here"))
        .env("PATH", format!("{}:{path}", daemon.path("bin").display()))
        .env("VFNET_SOCKET", daemon.socket())
        .env("LIBVIRT_DEFAULT_URI", daemon.uri())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("a shell");
    let shown = String::from_utf8(shown.stdout).expect("text");
    let lines = shown.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(|line| format!("{line}\n")).collect();
    if command.starts_with("vfnet exec") {
        // Its VF is on its way back when it ends.
        crate::until("the VF is back", || {
            let ports = crate::client::Client::of(daemon).vfs();
            ports.iter().all(|vf| !vf.holder.as_deref().unwrap_or("").contains("(pid "))
        });
    }
    lines.concat()
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

#[test]
fn every_command_of_a_guide_does_what_the_guide_says() {
    if !installed(VIRSH) {
        return;
    }
    for path in guides() {
        let page = fs::read_to_string(&path).expect("a page");
        let now = run(&page);
        if std::env::var_os("VFNET_BLESS").is_some() {
            fs::write(&path, &now).expect("written");
            continue;
        }
        for (line, now) in page.lines().zip(now.lines()) {
            assert_eq!(line, now, "of {}; VFNET_BLESS=1 writes it anew", path.display());
        }
        assert_eq!(page.lines().count(), now.lines().count(), "lines of {}", path.display());
    }
}
