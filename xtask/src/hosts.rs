//! Groups of scenarios, each in emulated hosts of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{Ended, Lab, workspace};
use crate::stages::{Tally, built, cargo};
use crate::stock_libvirt;

/// What the scenarios print before they take the power away.
const POWER_CUT: &str = "POWER-CUT";
/// The time that one boot of a group may take.
const BOOT_LIMIT: Duration = Duration::from_secs(3000);

/// Scenarios that share a host, as `lab-scenario list --json` tells of them.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) deep: bool,
    pub(crate) scenarios: Vec<String>,
    pfs: u8,
    iommu: bool,
    boots: u64,
}

/// Builds what runs in the hosts.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn build() -> Result<()> {
    let packages = ["vfnetd", "vfnet", "vfnet-lab-scenarios"];
    let args = packages.iter().flat_map(|p| ["-p", p]);
    let status = cargo().arg("build").arg("--quiet").args(args).status()?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// All groups.
///
/// # Errors
///
/// When the scenarios were not built.
pub(crate) fn groups() -> Result<Vec<Group>> {
    let output = std::process::Command::new(lab_scenario())
        .args(["list", "--json"])
        .output()
        .context("cannot run lab-scenario")?;
    let value: Value = serde_json::from_slice(&output.stdout)?;
    value.as_array().context("no list of groups")?.iter().map(Group::from_json).collect()
}

impl Group {
    fn from_json(value: &Value) -> Result<Self> {
        let scenarios = value["scenarios"].as_array().context("a group without scenarios")?;
        Ok(Self {
            name: value["name"].as_str().context("a group without a name")?.to_owned(),
            deep: value["deep"].as_bool().context("a group without a depth")?,
            scenarios: scenarios.iter().filter_map(|s| Some(s.as_str()?.to_owned())).collect(),
            pfs: value["pfs"].as_u64().unwrap_or(1).try_into()?,
            iommu: value["iommu"]
                .as_bool()
                .context("a group that does not say whether it has an IOMMU")?,
            boots: value["boots"].as_u64().context("a group without boots")?,
        })
    }

    /// Boots hosts for this group and runs the scenarios `only`, or all of them.
    ///
    /// A host that dies fails every scenario that it has not reported on.
    pub(crate) fn run(&self, only: &[String]) -> Result<Tally> {
        let lab = Lab::new(&self.name).pfs(self.pfs).iommu(self.iommu).limit(BOOT_LIMIT);
        let folder = lab.folder();
        let disk = folder.join("disk.img");
        if disk.exists() {
            fs::remove_file(&disk)?;
        }
        let lab = lab.disk(disk);
        let names = if only.is_empty() { std::slice::from_ref(&self.name) } else { only };
        let expected = if only.is_empty() { self.scenarios.len() } else { only.len() };
        let mut tally = Tally::default();
        for boot in 1..=self.boots {
            let mut args = vec!["run".to_owned(), "--boot".to_owned(), boot.to_string()];
            args.extend_from_slice(names);
            let say = |line: &str| println!("  {}: {line}", self.name);
            let report = match lab.run(&lab_scenario(), &args, say) {
                Ok(report) => report,
                Err(error) => {
                    println!("  host {}: {error:#}", self.name);
                    break;
                }
            };
            for line in &report.lines {
                tally.passed += u64::from(line.starts_with("ok "));
                tally.failed += u64::from(line.starts_with("FAILED "));
            }
            println!(
                "  host {} boot {boot}: up after {:.1} s, off after {:.1} s",
                self.name,
                report.boot.as_secs_f64(),
                report.total.as_secs_f64()
            );
            let cut = report.lines.last().is_some_and(|line| line == POWER_CUT);
            match report.ended {
                Ended::PowerLost if cut && boot < self.boots => {}
                Ended::PowerLost => {
                    println!(
                        "  host {} died; its last words:\n{}",
                        self.name,
                        lab.last_words(false)
                    );
                    break;
                }
                Ended::Exit(_) => break,
            }
        }
        tally.failed += (expected as u64).saturating_sub(tally.passed + tally.failed);
        Ok(tally)
    }
}

/// Runs the scenarios or groups named.
///
/// # Errors
///
/// When a name is unknown, or a host cannot be booted.
pub(crate) fn run_named(names: &[String]) -> Result<Tally> {
    if let Err(error) = stock_libvirt::ready() {
        println!("stock libvirt is not there, and is not compared with: {error:#}");
    }
    let groups = groups()?;
    let mut tally = Tally::default();
    for name in names {
        let Some(group) = groups.iter().find(|g| g.name == *name || g.scenarios.contains(name))
        else {
            bail!("there is no scenario or group {name}; see cargo xtask lab list");
        };
        let only = if group.name == *name { &[] } else { std::slice::from_ref(name) };
        tally += group.run(only)?;
    }
    Ok(tally)
}

/// The program that runs scenarios inside the host.
pub(crate) fn lab_scenario() -> PathBuf {
    built("lab-scenario")
}

/// Says what there is to run.
///
/// # Errors
///
/// When the scenarios were not built.
pub(crate) fn list() -> Result<()> {
    for group in groups()? {
        let deep = if group.deep { ", with --deep only" } else { "" };
        println!("{} ({} boot(s){deep})", group.name, group.boots);
        for scenario in group.scenarios {
            println!("  {scenario}");
        }
    }
    println!("run one with: cargo xtask lab scenario NAME (in {})", workspace().display());
    Ok(())
}
