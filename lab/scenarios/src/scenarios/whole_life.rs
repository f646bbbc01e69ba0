//! A guest from its definition to its end, with nothing but virsh.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::lending::{
    LIMIT, ensure_as_before, facts_of, file, in_bridge, mac, network, seven, with_bridge,
};
use crate::daemon::{Daemon, URI, virsh};
use crate::documents::{Guest, address, network_of, network_of_pf};
use crate::guest::{BOOT_LIMIT, gone_nics, seen_nics};
use crate::host::Host;
use crate::program;
use crate::wait::wait_for;

const GUEST: &str = "g";

/// A guest with a NIC of each kind of pool boots, and its igbvf reports the MACs of the document.
/// A card comes, the guest says its MAC; it goes, and the guest says that too. Whoever listens
/// hears of it. The guest is spoken to on its console, told there to power itself off, and all is
/// as it was.
pub(super) fn nothing_but_virsh(host: &Host) -> Result<()> {
    let (pf, mut vfs) = seven(host)?;
    let other = host.pf(1)?;
    other.raise()?;
    let others = other.make_vfs(2)?;
    vfs.extend(others.iter().cloned());
    let before = facts_of(&vfs)?;
    let _daemon = Daemon::start()?;
    let member = format!("<pf dev='{}'/>", pf.netdev);
    network("by-pf", &network_of("by-pf", &member, "<vlan><tag id='42'/></vlan>"))?;
    network("by-address", &network_of("by-address", &address(&others[0])?, ""))?;
    let netdev = others[1].netdev().context("a VF without netdev")?;
    network("by-dev", &network_of("by-dev", &format!("<interface dev='{netdev}'/>"), ""))?;
    network("more", &network_of_pf("more", &pf.netdev))?;
    let document = Guest::booting(GUEST, "vflab.console")
        .nic(&mac(1), "by-pf")
        .nic(&mac(2), "by-address")
        .nic(&mac(3), "by-dev");
    let unused = Path::new("/run/unused.console");
    let to_a_file =
        format!("<serial type='file'>\n      <source path='{}'/>\n    </serial>", unused.display());
    let document = document.xml(unused)?.replace(&to_a_file, "<serial type='pty'/>");
    virsh(&["define", &file(GUEST, &document)?])?;
    let events = Listener::start()?;
    virsh(&["start", GUEST])?;
    let mut console = Console::open()?;

    let at_pf = vfs[0].at_pf()?;
    ensure!(at_pf["address"] == mac(1).as_str(), "at the PF: {at_pf}");
    ensure!(at_pf["vlan_list"][0]["vlan"] == 42, "at the PF: {at_pf}");
    let live = virsh(&["dumpxml", GUEST])?;
    ensure!(live.contains("<interface type='hostdev' managed='yes'>"), "{live}");

    let mut seen = Vec::new();
    let all_seen = wait_for("the guest to report three NICs", BOOT_LIMIT, || {
        seen = seen_nics(&console.said);
        seen.len() >= 3
    });
    let took = all_seen.with_context(|| format!("it reported {seen:?}"))?;
    for number in 1..=3 {
        let found = seen.iter().any(|nic| nic.mac == mac(number) && nic.driver == "igbvf");
        ensure!(found, "{} is not among {seen:?}", mac(number));
    }
    println!("the guest reported its NICs after {:.1} s", took.as_secs_f64());

    let fourth = mac(4);
    virsh(&["attach-interface", GUEST, "network", "more", "--mac", &fourth, "--live"])?;
    ensure!(vfs[1].admin_mac()? == fourth, "at the PF: {}", vfs[1].at_pf()?);
    let took = wait_for("the guest to report the NIC that has come", BOOT_LIMIT, || {
        seen_nics(&console.said).iter().any(|nic| nic.mac == fourth && nic.driver == "igbvf")
    })?;
    println!("the guest reported the NIC that has come after {:.1} s", took.as_secs_f64());
    virsh(&["detach-interface", GUEST, "hostdev", "--mac", &fourth, "--live"])?;
    wait_for("the guest to report the NIC that has gone", BOOT_LIMIT, || {
        gone_nics(&console.said).contains(&fourth)
    })?;
    wait_for("the VF to be back", LIMIT, || vfs[1].facts().is_ok_and(|now| now == before[1]))?;
    let live = virsh(&["dumpxml", GUEST])?;
    ensure!(!live.contains(&fourth), "{live}");

    a_card_on_a_bridge_comes_and_goes(&console)?;

    console.is_heard("hello")?;
    console.leave()?;
    console = Console::open()?;
    console.is_heard("again")?;
    console.types("poweroff\r")?;
    wait_for("the guest to power itself off", BOOT_LIMIT, || {
        virsh(&["domstate", GUEST, "--reason"])
            .is_ok_and(|state| state.contains("shut off (shutdown)"))
    })?;
    console.ended()?;
    for words in [
        "'lifecycle' for domain 'g': Started",
        "'device-added' for domain 'g': hostdev",
        "'device-removed' for domain 'g': hostdev",
        "'lifecycle' for domain 'g': Stopped Shutdown",
    ] {
        wait_for(words, LIMIT, || events.heard().contains(words))
            .with_context(|| format!("virsh event has said:\n{}", events.heard()))?;
    }
    ensure_as_before(&vfs, &before)
}

/// One more card comes, on a bridge; its link goes down and up; it goes, and its tap with it.
fn a_card_on_a_bridge_comes_and_goes(console: &Console) -> Result<()> {
    let card = mac(5);
    with_bridge("br-lab", || {
        virsh(&[
            "attach-interface",
            GUEST,
            "bridge",
            "br-lab",
            "--model",
            "virtio",
            "--mac",
            &card,
            "--live",
        ])?;
        wait_for("the guest to report the card on the bridge", BOOT_LIMIT, || {
            let seen = seen_nics(&console.said);
            seen.iter().any(|nic| nic.mac == card && nic.driver == "virtio_net")
        })?;
        let taps = in_bridge("br-lab")?;
        ensure!(taps.len() == 1, "in the bridge: {taps:?}");
        for state in ["down", "up"] {
            virsh(&["domif-setlink", GUEST, &card, state])?;
            let link = virsh(&["domif-getlink", GUEST, &card])?;
            ensure!(link.contains(state), "its link is {link}");
        }
        virsh(&["detach-interface", GUEST, "bridge", "--mac", &card, "--live"])?;
        wait_for("the guest to report that the card has gone", BOOT_LIMIT, || {
            gone_nics(&console.said).contains(&card)
        })?;
        wait_for("the tap to be gone", LIMIT, || {
            in_bridge("br-lab").is_ok_and(|taps| taps.is_empty())
        })?;
        let live = virsh(&["dumpxml", GUEST])?;
        ensure!(!live.contains(&card), "{live}");
        Ok(())
    })
}

/// `virsh event`, until it is dropped.
struct Listener {
    child: Child,
}

impl Listener {
    const WORDS: &str = "/run/events";

    /// Waits until it listens.
    fn start() -> Result<Self> {
        let words = File::create(Self::WORDS)?;
        // A file is no terminal: what is said there would be kept back.
        let child = Command::new("stdbuf")
            .args(["-oL", "virsh", "-c", URI, "event", "--all", "--loop"])
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words)
            .spawn()
            .context("cannot run virsh event")?;
        let listener = Self { child };
        // It says nothing before the first event: one is made until it does.
        wait_for("virsh event to listen", LIMIT, || {
            drop(virsh(&["define", &format!("/run/{GUEST}.xml")]));
            listener.heard().contains("Defined")
        })?;
        Ok(listener)
    }

    fn heard(&self) -> String {
        fs::read_to_string(Self::WORDS).unwrap_or_default()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `virsh console`, on a terminal of its own.
struct Console {
    child: Child,
    keyboard: ChildStdin,
    /// What was shown.
    said: PathBuf,
}

impl Console {
    fn open() -> Result<Self> {
        let said = PathBuf::from("/run/console.screen");
        File::create(&said)?;
        let virsh = format!("virsh -c '{URI}' console {GUEST}");
        let mut child = Command::new("script")
            .args(["-q", "-f", "-e", "-E", "never", "-c", &virsh])
            .arg(&said)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run script")?;
        let keyboard = child.stdin.take().context("a terminal without a keyboard")?;
        let console = Self { child, keyboard, said };
        wait_for("virsh console to be there", program::LIMIT, || {
            fs::read_to_string(&console.said).is_ok_and(|said| said.contains("Escape character"))
        })?;
        Ok(console)
    }

    fn types(&mut self, text: &str) -> Result<()> {
        self.keyboard.write_all(text.as_bytes())?;
        self.keyboard.flush()?;
        Ok(())
    }

    /// A word is said to the guest, which says that it has heard it.
    fn is_heard(&mut self, word: &str) -> Result<()> {
        self.types(&format!("{word}\r"))?;
        let answer = format!("GUEST-HEARD {word}");
        wait_for(&answer, BOOT_LIMIT, || {
            let said = fs::read(&self.said).unwrap_or_default();
            String::from_utf8_lossy(&said).contains(&answer)
        })?;
        Ok(())
    }

    /// As a person does: with ^].
    fn leave(mut self) -> Result<()> {
        self.types("\u{1d}")?;
        self.ended()
    }

    fn ended(mut self) -> Result<()> {
        let status = program::wait_for_the_end("virsh console", &mut self.child)?;
        ensure!(status.success(), "virsh console ended with {status}");
        Ok(())
    }
}
