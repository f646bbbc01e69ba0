//! Power cuts while definitions are written: what was acknowledged is there, whole, and of what
//! was not, all or nothing.
//!
//! `cargo xtask lab cuts` takes the power away and keeps the journal: what the writers printed
//! until then. In the next boot the definitions are compared with it, and writing goes on. The
//! writers are `definitions.py`, one for networks and one for guests, each with a connection of
//! its own; one of the networks is active, and an update of it changes two files.
//!
//! Lines: `STATE {…}` all definitions now, `WRITING` the power may go, `BEGIN`, `DONE` of a change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::daemon::{Daemon, STATE_DIR, URI, vfnet, virsh};
use crate::documents::{Guest, network_of_pf};
use crate::host::Host;
use crate::program;
use crate::wait::wait_for;

const PYTHON: &str = "/usr/bin/python3";
const NETWORK: &str = "hw";
const GUEST: &str = "auto";
const GUEST_MAC: &str = "52:54:00:11:22:33";
const VFS: usize = 2;
const LIMIT: Duration = Duration::from_secs(120);

type Definitions = BTreeMap<String, Value>;

/// What the last boot knew: definitions, and changes that were under way.
#[derive(Clone, PartialEq, Debug, Default)]
struct Journal {
    definitions: Definitions,
    /// By number: of what, and what it was to be.
    under_way: BTreeMap<String, (String, Value)>,
    acknowledged: usize,
}

impl Journal {
    /// Lines of the last boot, the last of which the power cut may have shortened.
    fn of(lines: &str) -> Result<Self> {
        let mut journal = Self::default();
        for line in lines.lines() {
            match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                ["STATE", ..] => {
                    let state = line.trim_start_matches("STATE ");
                    journal = Self { definitions: serde_json::from_str(state)?, ..Self::default() };
                }
                ["BEGIN", number, of, value] => {
                    // A line that is cut is of a change that has not begun yet.
                    let Ok(value) = serde_json::from_str(value) else { continue };
                    journal.under_way.insert(number.to_owned(), (of.to_owned(), value));
                }
                ["DONE", number] => {
                    let Some((of, value)) = journal.under_way.remove(number) else { continue };
                    journal.acknowledged += 1;
                    if value.is_null() {
                        journal.definitions.remove(&of);
                    } else {
                        journal.definitions.insert(of, value);
                    }
                }
                _ => {}
            }
        }
        Ok(journal)
    }

    /// What is neither as acknowledged nor as it was about to become, in words.
    fn compare(&self, found: &Definitions) -> Vec<String> {
        let mut names: Vec<&String> = self.definitions.keys().chain(found.keys()).collect();
        names.sort();
        names.dedup();
        let mut wrong = Vec::new();
        for name in names {
            let is = found.get(name).cloned().unwrap_or_default();
            let was = self.definitions.get(name).cloned().unwrap_or_default();
            let may_be = self.under_way.values().any(|(of, value)| of == name && *value == is);
            if is != was && !may_be {
                wrong.push(format!("{name} was acknowledged as {was}, is {is}"));
            }
        }
        wrong
    }
}

/// One boot: compares with the journal of the last one, and writes on, unless it is `last`.
///
/// # Errors
///
/// When anything acknowledged is not there, anything else is, or autostart does not come.
pub fn run(host: &Host, journal: &Path, seed: u64, last: bool) -> Result<()> {
    let lines = fs::read_to_string(journal).context("cannot read the journal")?;
    let daemon = if lines.is_empty() { set_up(host)? } else { compare(host, &lines)? };
    let state: Value = serde_json::from_str(&definitions()?)?;
    println!("STATE {state}");
    if last {
        daemon.stop()?;
        return Ok(());
    }
    let write = |kind: &str| {
        let seed = format!("{seed}.{}", host.boot());
        let mut command = Command::new(PYTHON);
        command.arg(script()).args([URI, "write", kind, &seed]).stdin(Stdio::null());
        command.spawn().context("cannot run python3")
    };
    let mut networks = write("networks")?;
    let mut guests = write("guests")?;
    println!("WRITING");
    // They end with the power, or because they were refused something.
    let ended = wait_for("the power to go", LIMIT, || {
        [&mut networks, &mut guests].iter_mut().any(|it| it.try_wait().is_ok_and(|it| it.is_some()))
    });
    ended?;
    bail!("a writer has ended, and the power has not gone");
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/definitions.py")
}

/// All definitions, as one JSON object.
fn definitions() -> Result<String> {
    program::run(PYTHON, &[&script().to_string_lossy(), URI, "read"])
}

/// A network that makes its VFs and a guest on it, both started by themselves from now on.
fn set_up(host: &Host) -> Result<Daemon> {
    host.clear()?;
    let pf = host.pf(0)?;
    pf.raise()?;
    let daemon = Daemon::start()?;
    let pool = format!(
        "<vfnet:pool xmlns:vfnet='urn:vfnet:network:1'><vfnet:pf dev='{}' vfs='{VFS}'/>\
         </vfnet:pool></network>",
        pf.netdev
    );
    let document = network_of_pf(NETWORK, &pf.netdev).replace("</network>", &pool);
    fs::write("/run/network.xml", document)?;
    virsh(&["net-define", "/run/network.xml"])?;
    virsh(&["net-start", NETWORK])?;
    virsh(&["net-autostart", NETWORK])?;
    let guest = Guest::idle(GUEST).nic(GUEST_MAC, NETWORK).xml(Path::new("/run/auto.console"))?;
    fs::write("/run/guest.xml", guest)?;
    virsh(&["define", "/run/guest.xml"])?;
    virsh(&["autostart", GUEST])?;
    Ok(daemon)
}

fn compare(host: &Host, lines: &str) -> Result<Daemon> {
    let journal = Journal::of(lines)?;
    let checked = vfnet(&["state", "check", "--state-dir", STATE_DIR])?;
    print!("{checked}");
    let daemon = Daemon::start()?;
    let found: Definitions = serde_json::from_str(&definitions()?)?;
    let wrong = journal.compare(&found);
    ensure!(wrong.is_empty(), "after the power cut:\n{}", wrong.join("\n"));
    let pf = host.pf(0)?;
    pf.raise()?;
    wait_for("the network and the guest to come up by themselves", LIMIT, || {
        let is = |words: &[&str], what: &str| virsh(words).is_ok_and(|said| said.trim() == what);
        is(&["net-list", "--name"], NETWORK) && is(&["domstate", GUEST], "running")
    })?;
    let macs: Vec<String> = pf.vfs()?.iter().filter_map(|vf| vf.admin_mac().ok()).collect();
    ensure!(macs.len() == VFS, "the network has made {} VFs", macs.len());
    ensure!(macs.iter().any(|mac| mac == GUEST_MAC), "no VF has the guest's MAC: {macs:?}");
    println!(
        "boot {}: {} acknowledged changes are there, {} under way are whole or not there",
        host.boot(),
        journal.acknowledged,
        journal.under_way.len()
    );
    Ok(daemon)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Definitions, Journal};

    const LINES: &str = "STATE {\"network/a\":{\"title\":\"1\"}}\n\
         WRITING\n\
         BEGIN network-1 network/a {\"title\":\"2\"}\n\
         BEGIN guest-1 guest/b {\"title\":\"3\"}\n\
         DONE network-1\n\
         BEGIN network-2 network/a null\n\
         BEGIN guest-2 guest/c {\"tit";

    fn found(of: &[(&str, &str)]) -> Definitions {
        of.iter().map(|(name, title)| ((*name).to_owned(), json!({ "title": title }))).collect()
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_under_way_may_be() {
        let journal = Journal::of(LINES).expect("a journal");
        assert_eq!(journal.acknowledged, 1);
        for whole in [
            found(&[("network/a", "2")]),
            found(&[("network/a", "2"), ("guest/b", "3")]),
            found(&[("guest/b", "3")]),
            found(&[]),
        ] {
            assert_eq!(journal.compare(&whole), [""; 0], "{whole:?}");
        }
    }

    #[test]
    fn what_is_old_half_or_nobodys_is_told() {
        let journal = Journal::of(LINES).expect("a journal");
        for wrong in [
            found(&[("network/a", "1")]),
            found(&[("network/a", "2"), ("guest/b", "half")]),
            found(&[("network/a", "2"), ("guest/c", "4")]),
        ] {
            assert_eq!(journal.compare(&wrong).len(), 1, "{wrong:?}");
        }
    }
}
