//! Scenarios, and how they share the boots of the emulated host.
//!
//! A *group* is what one emulated host sees from an empty disk on. Its scenarios run one after
//! the other, each on a cleared bench, in the first boot. The last scenario of a group may have
//! several *parts*: after each but the last the host loses its power as it is, and the next
//! part runs in the next boot, with the same disk.
//!
//! The output is read by `cargo xtask test`: `ok NAME SECONDS s`, `FAILED NAME: why`, and at
//! the end `N passed, N failed`.

use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::daemon;
use crate::host::Host;

/// One stretch of a scenario, within one boot.
pub type Part = fn(&Host) -> Result<()>;

/// A promise, tried.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What holds, in words joined by hyphens.
    pub name: &'static str,
    /// One part for each boot that the scenario takes.
    pub parts: &'static [Part],
}

/// Scenarios that share a host.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The name of the host, too.
    pub name: &'static str,
    /// SR-IOV cards in the host.
    pub pfs: u8,
    /// Whether the host's kernel switches the IOMMU on.
    pub iommu: bool,
    /// Left out unless all scenarios are asked for (`cargo xtask test --deep`).
    pub deep: bool,
    /// In the order in which they run.
    pub scenarios: &'static [Scenario],
}

impl Group {
    fn boots(&self) -> usize {
        self.scenarios.iter().map(|s| s.parts.len()).max().unwrap_or(0)
    }
}

/// The groups as `cargo xtask test` reads them.
pub fn catalogue(groups: &[Group]) -> Value {
    let group = |g: &Group| {
        let names: Vec<&str> = g.scenarios.iter().map(|s| s.name).collect();
        let boots = g.boots();
        json!({
            "name": g.name, "pfs": g.pfs, "iommu": g.iommu, "deep": g.deep, "boots": boots,
            "scenarios": names,
        })
    };
    groups.iter().map(group).collect()
}

/// The groups as a person reads them.
pub fn list(groups: &[Group]) {
    for group in groups {
        let deep = if group.deep { ", only with --deep" } else { "" };
        println!("{} ({} PF, {} boot{deep})", group.name, group.pfs, group.boots());
        for scenario in group.scenarios {
            println!("  {}", scenario.name);
        }
    }
}

/// Runs the part for this boot of every scenario named, directly or by its group. Returns
/// whether all of them held; does not return when there is a part for a next boot, but cuts
/// the host's power.
///
/// # Errors
///
/// When a name is unknown.
pub fn run(groups: &[Group], names: &[String], boot: usize) -> Result<bool> {
    let chosen = choose(groups, names)?;
    let host = Host::new(boot);
    let (mut passed, mut failed) = (0, 0);
    let mut goes_on = false;
    for scenario in chosen {
        let Some(part) = boot.checked_sub(1).and_then(|i| scenario.parts.get(i)) else { continue };
        let started = Instant::now();
        if let Err(error) = attempt(&host, part, boot) {
            println!("FAILED {}: {error:#}", scenario.name);
            print_last_words();
            failed += 1;
        } else if boot < scenario.parts.len() {
            println!("part {boot} of {} done, power cut next", scenario.name);
            goes_on = true;
        } else {
            println!("ok {} {:.1} s", scenario.name, started.elapsed().as_secs_f64());
            passed += 1;
        }
    }
    println!("{passed} passed, {failed} failed");
    if goes_on {
        cut_power()?;
    }
    Ok(failed == 0)
}

fn choose(groups: &[Group], names: &[String]) -> Result<Vec<Scenario>> {
    let mut chosen = Vec::new();
    for name in names {
        let before = chosen.len();
        for group in groups {
            let wanted = group.scenarios.iter().filter(|s| group.name == name || s.name == name);
            chosen.extend(wanted.copied());
        }
        if chosen.len() == before {
            bail!("there is no scenario or group {name}");
        }
    }
    Ok(chosen)
}

fn attempt(host: &Host, part: &Part, boot: usize) -> Result<()> {
    if boot == 1 {
        host.clear().context("cannot clear the bench")?;
    }
    catch_unwind(AssertUnwindSafe(|| part(host))).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("panic: {}", words.unwrap_or("without a word")))
    })
}

/// The ends of the daemon's and the kernel's logs.
pub fn print_last_words() {
    let log = fs::read(daemon::LOG).unwrap_or_default();
    let kernel = crate::program::run("dmesg", &[]).unwrap_or_default();
    for (name, text) in [("vfnetd", &*String::from_utf8_lossy(&log)), ("kernel", &kernel)] {
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(15)..] {
            println!("  {name}: {line}");
        }
    }
}

/// Takes the power away, with nothing written back; does not return when it succeeds.
pub(crate) fn cut_power() -> Result<()> {
    println!("POWER-CUT");
    let stdout = std::io::stdout();
    stdout.lock().flush()?;
    if rustix::termios::isatty(&stdout) {
        rustix::termios::tcdrain(&stdout)?;
    }
    fs::write("/proc/sysrq-trigger", "b")?;
    bail!("the kernel did not take the power away")
}

#[cfg(test)]
mod tests {
    use super::{Group, Host, Scenario, choose};
    use crate::scenarios::GROUPS;

    fn holds(_: &Host) -> anyhow::Result<()> {
        Ok(())
    }

    const TWO: &[Group] = &[Group {
        name: "pair",
        pfs: 1,
        iommu: true,
        deep: false,
        scenarios: &[
            Scenario { name: "first", parts: &[holds] },
            Scenario { name: "second", parts: &[holds, holds] },
        ],
    }];

    #[test]
    fn a_group_stands_for_its_scenarios_and_an_unknown_name_is_refused() {
        let chosen = |name: &str| choose(TWO, &[name.to_owned()]).map(|c| c.len());
        assert_eq!(chosen("pair").ok(), Some(2));
        assert_eq!(chosen("second").ok(), Some(1));
        assert_eq!(chosen("third").ok(), None);
    }

    #[test]
    fn only_the_last_scenario_of_a_group_takes_several_boots() {
        for group in GROUPS {
            for scenario in group.scenarios.iter().rev().skip(1) {
                assert_eq!(scenario.parts.len(), 1, "{}", scenario.name);
            }
        }
    }

    #[test]
    fn names_are_used_once() {
        let mut names: Vec<&str> = GROUPS.iter().map(|g| g.name).collect();
        names.extend(GROUPS.iter().flat_map(|g| g.scenarios).map(|s| s.name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
