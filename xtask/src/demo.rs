//! `cargo xtask demo`: the story of the RFC, told on an emulated host.
//!
//! Every value in the closing table was observed in this run.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Ended, Lab, workspace};
use crate::packages;

const TELL: &str = include_str!("../../lab/demo/own-macs.sh");
const VFS: usize = 7;

/// Tells the story; about a minute.
///
/// # Errors
///
/// When a host cannot be booted, or does not show what it should.
pub(crate) fn demo() -> Result<()> {
    packages::ensure()?;
    let lab = Lab::new("demo");
    let folder = lab.folder();
    fs::create_dir_all(&folder)?;
    let script = folder.join("own-macs.sh");
    fs::write(&script, TELL)?;

    println!("An SR-IOV card gives its virtual functions a new MAC at every boot of the host.\n");
    let mut boots = Vec::new();
    for boot in 1..=2 {
        println!("Booting the emulated host (boot {boot})");
        let mut macs = vec![String::new(); VFS];
        let report = lab.run(&script, &[], |line| match own_mac(line) {
            Some((index, mac)) if index < VFS => mac.clone_into(&mut macs[index]),
            _ => println!("  {line}"),
        })?;
        ensure!(report.ended == Ended::Exit(0), "boot {boot} ended with {:?}", report.ended);
        ensure!(macs.iter().all(|mac| !mac.is_empty()), "not every VF showed a MAC: {macs:?}");
        println!("  up after {:.1} s, {VFS} VFs made", report.boot.as_secs_f64());
        boots.push(macs);
    }
    let (first, second) = (boots.first().context("a boot")?, boots.get(1).context("a boot")?);
    println!();
    table(["VF", "own MAC, first boot", "own MAC, second boot", ""], |row| {
        for (index, (before, after)) in first.iter().zip(second).enumerate() {
            let verdict = if before == after { "the same" } else { "changed" };
            row([&index.to_string(), before, after, verdict]);
        }
    });
    println!("\nLogs of both boots: {}", folder.strip_prefix(workspace())?.display());
    Ok(())
}

/// `OWN-MAC <index> <mac>`, as the script in the host prints it.
fn own_mac(line: &str) -> Option<(usize, &str)> {
    let (index, mac) = line.strip_prefix("OWN-MAC ")?.split_once(' ')?;
    Some((index.parse().ok()?, mac))
}

/// Prints a table whose columns are as wide as their contents.
fn table<const N: usize>(head: [&str; N], fill: impl FnOnce(&mut dyn FnMut([&str; N]))) {
    let mut rows = vec![head.map(str::to_owned)];
    fill(&mut |row: [&str; N]| rows.push(row.map(str::to_owned)));
    let widths: Vec<usize> =
        (0..N).map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0)).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("  {}", cells.join("   ").trim_end());
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            println!("  {}", rules.join("───"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::own_mac;

    #[test]
    fn a_mac_is_read_from_its_line_alone() {
        assert_eq!(own_mac("OWN-MAC 3 02:00:00:00:00:01"), Some((3, "02:00:00:00:00:01")));
        assert_eq!(own_mac("something else"), None);
    }
}
