//! `cargo xtask bench`: vfnet beside bare system calls (the floor) and stock libvirt, in turn, in
//! one emulated host. A ratio of two medians of one run holds on any machine; seconds do not.

mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::{Ended, Lab, workspace};
use crate::stages::cargo;
use crate::{images, packages, stock_libvirt};

/// What the program in the host says before each value.
const MEASURED: &str = "MEASURED ";
const LIMIT: Duration = Duration::from_secs(5400);

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// One turn, a few rounds: minutes. The report goes to target/bench
    #[arg(long)]
    quick: bool,
    /// Folder of the report [default: docs/benchmarks, with --quick target/bench]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Values by side and by what was measured, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Measured(BTreeMap<(String, String), Vec<f64>>);

impl Measured {
    fn add(&mut self, line: &str) -> Result<()> {
        let value: Value = serde_json::from_str(line).context("not a value")?;
        let text =
            |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        let number = value["value"].as_f64().context("no value")?;
        self.0.entry((text("of")?, text("what")?)).or_default().push(number);
        Ok(())
    }

    /// Median, 99th percentile and number of the values.
    fn of(&self, side: &str, what: &str) -> Option<Summary> {
        let mut values = self.0.get(&(side.to_owned(), what.to_owned()))?.clone();
        values.sort_by(f64::total_cmp);
        Some(Summary {
            median: quantile(&values, 0.5)?,
            p99: quantile(&values, 0.99)?,
            count: values.len(),
        })
    }
}

/// Of some values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Summary {
    median: f64,
    p99: f64,
    count: usize,
}

/// By nearest rank; of sorted values.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    // The share of a count is within it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=len")]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

/// Runs all sides and writes the report.
///
/// # Errors
///
/// When a side fails: a value that is missing is no value.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure()?;
    if let Err(error) = stock_libvirt::ready() {
        println!("stock libvirt is not there, and is not compared with: {error:#}");
    }
    let measured = measure(options.quick)?;
    let folder = match (&options.out, options.quick) {
        (Some(folder), _) => folder.clone(),
        (None, true) => workspace().join("target/bench"),
        (None, false) => workspace().join("docs/benchmarks"),
    };
    fs::create_dir_all(&folder)?;
    let report = report::Report::of(&measured, options.quick)?;
    fs::write(folder.join("report.md"), report.markdown())?;
    fs::write(folder.join("ratios.svg"), report.plot())?;
    println!("\n{}", report.markdown());
    println!("{}", folder.join("report.md").display());
    Ok(())
}

fn measure(quick: bool) -> Result<Measured> {
    println!("building for release");
    let packages = ["vfnetd", "vfnet", "vfnet-lab-scenarios"];
    let args = packages.iter().flat_map(|package| ["-p", package]);
    let status = cargo().args(["build", "--quiet", "--release"]).args(args).status()?;
    ensure!(status.success(), "cargo build failed");
    images::Images::ready()?;
    let lab = Lab::new("measures").limit(LIMIT);
    let disk = lab.folder().join("disk.img");
    if disk.exists() {
        fs::remove_file(&disk)?;
    }
    let lab = lab.disk(disk);
    let mut args = vec!["bench".to_owned()];
    args.extend(quick.then(|| "--quick".to_owned()));
    let program = workspace().join("target/release/lab-scenario");
    let report = lab.run(&program, &args, |line| {
        if !line.starts_with(MEASURED) {
            println!("  {line}");
        }
    })?;
    ensure!(
        report.ended == Ended::Exit(0),
        "the host has not come to an end of it\n{}",
        lab.last_words(false)
    );
    let mut measured = Measured::default();
    for line in report.lines.iter().filter_map(|line| line.strip_prefix(MEASURED)) {
        measured.add(line).with_context(|| format!("of the line {line}"))?;
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::{Measured, Summary, quantile};

    #[test]
    fn values_are_summed_up_by_side_and_by_what_was_measured() {
        let mut measured = Measured::default();
        for value in [3, 1, 2] {
            let line =
                format!("{{\"of\":\"vfnet\",\"what\":\"start\",\"unit\":\"s\",\"value\":{value}}}");
            measured.add(&line).expect("a value");
        }
        assert!(measured.add("{\"of\":\"vfnet\"}").is_err());
        let summary = Summary { median: 2.0, p99: 3.0, count: 3 };
        assert_eq!(measured.of("vfnet", "start"), Some(summary));
        assert_eq!(measured.of("floor", "start"), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(100.0));
        assert_eq!(quantile(&values, 0.99), Some(198.0));
        assert_eq!(quantile(&values[..1], 0.99), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
