//! Cards that come to a running guest and go from it; and a daemon that dies before and after
//! every effect of that, and before and after every write to the kernel.
//!
//! The guest of the kills boots nothing, and so lets go of nothing by itself. A reset ends what it
//! was asked for: QEMU takes out then what was to go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use vfnetd::steps::Step;

use super::lending::{file, guest};
use crate::daemon::{Daemon, vfnet, virsh, virsh_command};
use crate::documents::Guest;
use crate::host::{Facts, Host, Vf};
use crate::kills::NETWORK;
use crate::kills::ours::Ours;
use crate::program;
use crate::trail::{self, Point};
use crate::wait::wait_for;

/// As long as no course takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The guest that gets a card.
const GUEST: &str = "plugged";
const CARD_MAC: &str = "52:54:00:11:22:03";
/// The document of its card.
const CARD: &str = "/run/card.xml";

/// What the daemon is killed in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Course {
    Attach,
    Detach,
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words()[0])
    }
}

impl Course {
    const fn other(self) -> Self {
        match self {
            Self::Attach => Self::Detach,
            Self::Detach => Self::Attach,
        }
    }

    const fn words(self) -> [&'static str; 4] {
        match self {
            Self::Attach => ["attach-device", GUEST, CARD, "--live"],
            Self::Detach => ["detach-device", GUEST, CARD, "--live"],
        }
    }

    const fn steps(self) -> &'static [Step] {
        match self {
            Self::Attach => {
                &[Step::Record, Step::Prepare, Step::Plug, Step::Announce, Step::Answer]
            }
            Self::Detach => {
                &[Step::Record, Step::Unplug, Step::Announce, Step::GiveBack, Step::Answer]
            }
        }
    }

    /// Among [`trail::WRITES`].
    const fn writes(self) -> &'static [&'static str] {
        &["set MAC", "set VLAN", "set spoofchk", "set driver_override", "unbind", "probe"]
    }

    /// What it must pass, both before and after.
    fn required(self) -> BTreeSet<&'static str> {
        self.steps().iter().map(|step| step.name()).chain(self.writes().iter().copied()).collect()
    }

    /// Asks for it.
    fn begin(self) -> Result<Child> {
        let mut client = virsh_command(&self.words());
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        client.spawn().context("cannot run virsh")
    }
}

/// The guest, and the VFs of which it has one or none.
struct Plugs {
    bench: Ours,
    /// As vfnet has none.
    before: Vec<Facts>,
    /// Whether the guest had the card when all had come to rest.
    has_card: bool,
}

/// A kill at every point of an attach and of a detach, none left out: afterwards the card is in
/// the guest and its VF held, or neither, and the guest runs on.
pub(super) fn a_kill_at_every_point(host: &Host) -> Result<()> {
    let bench = Ours::lay_out(host)?;
    let pf = host.pf(0)?;
    for vf in &bench.vfs {
        // Something to set for the guest, and to set back.
        let index = vf.index.to_string();
        let of_vf = ["link", "set", &pf.netdev, "vf", &index];
        program::run("ip", &[&of_vf[..], &["spoofchk", "off"]].concat())?;
        program::run("ip", &[&of_vf[..], &["vlan", "42"]].concat())?;
    }
    let before = bench.vfs.iter().map(Vf::facts).collect::<Result<_>>()?;
    let mut plugs = Plugs { bench, before, has_card: false };
    file("card", &card(CARD_MAC, NETWORK))?;
    guest(GUEST, &Guest::idle(GUEST))?;
    virsh(&["start", GUEST])?;
    let mut left = BTreeMap::new();
    for course in [Course::Attach, Course::Detach] {
        let points = plugs.points_of(course).with_context(|| format!("{course}"))?;
        let names: BTreeSet<&str> = points.iter().map(|point| point.name.as_str()).collect();
        for step in course.required() {
            for side in ["before", "after"] {
                let point = format!("{side} {step}");
                ensure!(names.contains(&*point), "{course} has not passed '{point}': {names:?}");
            }
        }
        left.insert(course, VecDeque::from(points));
    }
    let points: usize = left.values().map(VecDeque::len).sum();
    let mut missed = 0;
    loop {
        // As the last one left it, where that will do: there is nothing to make ready then.
        let at_hand = if plugs.has_card { Course::Detach } else { Course::Attach };
        let Some((course, point)) = [at_hand, at_hand.other()]
            .into_iter()
            .find_map(|course| Some((course, left.get_mut(&course)?.pop_front()?)))
        else {
            break;
        };
        let hit =
            plugs.die_at(course, &point).with_context(|| format!("{course}, killed {point}"))?;
        if !hit {
            println!("{course}: not passed this time: {point}");
            missed += 1;
            continue;
        }
        let became = if plugs.has_card { "the guest has the card" } else { "nothing is left" };
        println!("{course}, killed {point}: {became}");
    }
    plugs.make_ready(Course::Attach)?;
    virsh(&["destroy", GUEST])?;
    println!("{} of {points} points hit: each time card and claim, or neither", points - missed);
    Ok(())
}

/// What the guest's QEMU has said last.
fn last_words() -> String {
    let log = fs::read_to_string(format!("/var/log/vfnet/{GUEST}.log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(8)..].join(" | ")
}

/// `<interface>` of a card on a network.
fn card(mac: &str, network: &str) -> String {
    format!(
        "<interface type='network'>\n  <mac address='{mac}'/>\n  <source network='{network}'/>\n\
         </interface>\n"
    )
}

impl Plugs {
    /// The points of a course that is not interrupted.
    fn points_of(&mut self, course: Course) -> Result<Vec<Point>> {
        self.make_ready(course)?;
        trail::forget()?;
        self.run(course)?;
        Ok(trail::passed())
    }

    /// Makes what a course begins with.
    fn make_ready(&mut self, course: Course) -> Result<()> {
        match (course, self.has_card) {
            (Course::Attach, true) => self.run(Course::Detach),
            (Course::Detach, false) => self.run(Course::Attach),
            (Course::Attach, false) | (Course::Detach, true) => Ok(()),
        }
    }

    /// Goes through a course to its end.
    fn run(&mut self, course: Course) -> Result<()> {
        let mut client = course.begin()?;
        see_through(course, &mut client)?;
        self.settle()?;
        ensure!(self.has_card == (course == Course::Attach), "{course} did not come to its end");
        Ok(())
    }

    /// False where the point, one of chance, was not passed.
    fn die_at(&mut self, course: Course, point: &Point) -> Result<bool> {
        self.make_ready(course)?;
        let mut last = self.bench.take_daemon()?;
        trail::forget()?;
        trail::die_at(point)?;
        let mut client = course.begin()?;
        see_through(course, &mut client)?;
        if !trail::is_hit(point, &mut last)? {
            self.bench.go_on_with(last);
            self.settle()?;
            return Ok(false);
        }
        let passed = trail::passed();
        if passed.last() != Some(point) {
            bail!("it died elsewhere: {:?}", passed.last());
        }
        trail::forget()?;
        self.bench.go_on_with(Daemon::start_watched()?);
        self.settle()?;
        Ok(true)
    }

    /// Waits until QEMU, the records, the document and the kernel say the same, and nothing is
    /// under way.
    fn settle(&mut self) -> Result<()> {
        let mut said = String::new();
        let mut has_card = self.has_card;
        wait_for("card and claim to be there, or neither", LIMIT, || match self.account() {
            Ok(account) => {
                said = format!("{account:?}");
                has_card = account.in_qemu;
                account.agrees() && trail::under_way(&trail::passed()).is_empty()
            }
            Err(fault) => {
                said = format!("{fault:#}");
                false
            }
        })
        .with_context(|| format!("{said}; {:?}", trail::under_way(&trail::passed())))?;
        self.has_card = has_card;
        Ok(())
    }

    fn account(&self) -> Result<Account> {
        if let Some(harm) = self.bench.harm()? {
            bail!("the bystander: {harm}");
        }
        let asked = peripherals();
        // In one process: they are slow to start here.
        let told = virsh(&[&format!(
            "domstate {GUEST}; qemu-monitor-command {GUEST} '{asked}'; dumpxml {GUEST}"
        )])?;
        let mut told = told.lines().filter(|line| !line.is_empty());
        let state = told.next().context("virsh says nothing")?;
        ensure!(state == "running", "the guest is '{state}'; its log ends with: {}", last_words());
        let devices = told.next().context("QEMU says nothing")?;
        let in_document = told.any(|line| line.contains(CARD_MAC));
        let in_qemu = has_card_among(devices)?;
        let (mut held, mut taken, mut changed) = (0, 0, 0);
        let known: Value = serde_json::from_str(&vfnet(&["--json", "vf", "ls"])?)?;
        for (vf, before) in self.bench.vfs.iter().zip(&self.before) {
            let mut reports = known.as_array().into_iter().flatten();
            let report = reports.find(|report| report["address"] == *vf.address);
            let report = report.with_context(|| format!("vfnet does not know {}", vf.address))?;
            let its = report["holder"] == format!("guest {GUEST}").as_str();
            held += usize::from(its && report["state"] == "held");
            let now = vf.facts()?;
            let has_mac = now.at_pf["address"] == CARD_MAC;
            taken += usize::from(has_mac && now.driver.as_deref() == Some("vfio-pci"));
            changed += usize::from(now != *before || report["state"] != "free");
        }
        Ok(Account { in_qemu, in_document, held, taken, changed })
    }
}

/// Has the client come to its end. What is to go goes at a reset, as long as QEMU has it: QEMU 10.0
/// aborts when it takes its last VFIO device apart amid the next reset ("Assertion `len ==
/// rc->children->len' failed", in `resettable_container_child_foreach`).
fn see_through(course: Course, client: &mut Child) -> Result<()> {
    let ended = wait_for("virsh to end", LIMIT, || {
        let is_asked = || trail::passed().iter().any(|point| point.name == "before unplug");
        // Of no avail where the daemon is dead by now, or QEMU not asked yet.
        if course == Course::Detach && is_asked() && has_card().unwrap_or(false) {
            drop(virsh(&["reset", GUEST]));
        }
        client.try_wait().is_ok_and(|status| status.is_some())
    });
    if ended.is_err() {
        client.kill()?;
        client.wait()?;
    }
    ended.map(drop)
}

/// Whether QEMU has the card.
fn has_card() -> Result<bool> {
    let told = virsh(&["qemu-monitor-command", GUEST, &peripherals()])?;
    has_card_among(&told)
}

/// What asks QEMU for the devices that came with names of ours.
fn peripherals() -> String {
    json!({ "execute": "qom-list", "arguments": { "path": "/machine/peripheral" } }).to_string()
}

/// Whether the card is among the devices that QEMU has told of.
fn has_card_among(told: &str) -> Result<bool> {
    let told: Value = serde_json::from_str(told)?;
    let devices = told["return"].as_array().context("QEMU has not said its devices")?;
    Ok(devices.iter().any(|it| it["name"].as_str().is_some_and(|it| it.starts_with("hostdev"))))
}

/// What everybody says of the card.
#[derive(Debug)]
struct Account {
    in_qemu: bool,
    in_document: bool,
    /// VFs that vfnet holds for the guest.
    held: usize,
    /// VFs with the card's MAC at the PF, on vfio-pci.
    taken: usize,
    /// VFs that are not as they were.
    changed: usize,
}

impl Account {
    fn agrees(&self) -> bool {
        let count = usize::from(self.in_qemu);
        self.in_document == self.in_qemu && [self.held, self.taken, self.changed] == [count; 3]
    }
}
