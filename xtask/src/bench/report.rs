//! The report: a table of medians and ratios, what was to be reached, and a plot.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Measured, Summary};

const FLOOR: &str = "floor";
const VFNET: &str = "vfnet";
const STOCK: &str = "stock libvirt";

/// A bound on vfnet's median.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// Of that side's, at most.
    AtMost(&'static str, f64),
    /// Of that side's, at least.
    AtLeast(&'static str, f64),
    /// In the unit of the row, at most.
    Plain(f64),
}

/// What is measured, and in which unit.
struct Row {
    what: &'static str,
    unit: &'static str,
    goals: &'static [Goal],
}

const fn row(what: &'static str, unit: &'static str, goals: &'static [Goal]) -> Row {
    Row { what, unit, goals }
}

const ROWS: &[Row] = &[
    row("start of a guest", "s", &[Goal::AtMost(FLOOR, 1.15), Goal::AtMost(STOCK, 0.5)]),
    row("QEMU alone", "s", &[]),
    row("destroy of a guest", "s", &[Goal::AtMost(FLOOR, 1.15)]),
    row("seven starts at once", "s", &[Goal::AtMost(STOCK, 0.5)]),
    row("virsh that asks for nothing", "s", &[]),
    row("port pairs, one client", "/s", &[Goal::AtLeast(STOCK, 3.0)]),
    row("CPU of the daemon per port pair, one client", "s", &[Goal::AtMost(STOCK, 0.2)]),
    row("port pairs, 7 clients", "/s", &[]),
    row("CPU of the daemon per port pair, 7 clients", "s", &[]),
    row("null calls", "/s", &[]),
    row("null call", "s", &[]),
    row("list node devices", "s", &[Goal::AtMost(STOCK, 0.2)]),
    row("all documents of node devices", "s", &[Goal::AtMost(STOCK, 0.3)]),
    row("start to first answer, cold", "s", &[Goal::AtMost(STOCK, 0.1)]),
    row("start to first answer, definitions and 7 guests", "s", &[]),
    row("end of the daemon, 7 guests", "s", &[]),
    row("no answer amid a restart, definitions and 7 guests", "s", &[]),
    row("resident memory, 7 guests", "MiB", &[Goal::AtMost(STOCK, 0.35)]),
    row("most resident memory, 7 guests", "MiB", &[]),
    row("wake-ups, idle, 7 guests", "/min", &[Goal::Plain(6.0)]),
    row("CPU, idle, 7 guests", "s/min", &[]),
];

/// What one run has come to.
pub(super) struct Report<'a> {
    measured: &'a Measured,
    quick: bool,
    where_and_when: String,
}

impl<'a> Report<'a> {
    pub(super) fn of(measured: &'a Measured, quick: bool) -> Result<Self> {
        Ok(Self { measured, quick, where_and_when: where_and_when()? })
    }

    fn median(&self, side: &str, row: &Row) -> Option<f64> {
        Some(self.measured.of(side, row.what)?.median)
    }

    fn ratio(&self, row: &Row, to: &str) -> Option<f64> {
        let ratio = self.median(VFNET, row)? / self.median(to, row)?;
        ratio.is_finite().then_some(ratio)
    }

    /// What was to be reached, and whether it is.
    fn verdicts(&self, row: &Row) -> Vec<(String, Option<bool>)> {
        let verdict = |goal: &Goal| match *goal {
            Goal::AtMost(side, bound) => {
                (format!("≤ {bound} × {side}"), self.ratio(row, side).map(|it| it <= bound))
            }
            Goal::AtLeast(side, bound) => {
                (format!("≥ {bound} × {side}"), self.ratio(row, side).map(|it| it >= bound))
            }
            Goal::Plain(bound) => {
                let median = self.median(VFNET, row);
                (format!("≤ {bound} {}", row.unit), median.map(|it| it <= bound))
            }
        };
        row.goals.iter().map(verdict).collect()
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# vfnet beside stock libvirt\n\n\
             Made by `cargo xtask bench{}`. {}\n\n\
             All sides take turns in one emulated host, which has one processor and no KVM: seconds \
             are of that host, ratios hold anywhere. *Floor* is bare system calls and a bare QEMU: \
             no records, no checks, no client. What *vfnet* and *stock libvirt* take is as virsh or \
             a Python client sees it, the start of virsh included. Guests have 256 MiB, which a VF \
             pins. Both daemons keep their definitions on the same disk.\n\n\
             | | unit | floor | vfnet | stock libvirt | ÷ floor | ÷ stock | to reach | reached |\n\
             |---|---|---:|---:|---:|---:|---:|---|---|\n",
            if self.quick { " --quick" } else { "" },
            self.where_and_when,
        );
        for row in ROWS {
            let cell = |side| self.measured.of(side, row.what).map_or("–".to_owned(), shown);
            let ratio = |to| self.ratio(row, to).map_or("–".to_owned(), |it| format!("{it:.2}"));
            let (wanted, reached): (Vec<_>, Vec<_>) = self
                .verdicts(row)
                .into_iter()
                .map(|(wanted, reached)| {
                    (wanted, reached.map_or("not measured", |yes| if yes { "yes" } else { "no" }))
                })
                .unzip();
            // Writing to a String does not fail.
            let _written = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.what,
                row.unit,
                cell(FLOOR),
                cell(VFNET),
                cell(STOCK),
                ratio(FLOOR),
                ratio(STOCK),
                wanted.join(", "),
                reached.join(", "),
            );
        }
        text.push_str(
            "\nMedian, and in brackets the 99th percentile where there are more values than one. \
             ![vfnet's share of what stock libvirt takes](ratios.svg)\n",
        );
        text
    }

    /// Bars on a logarithmic scale: what vfnet takes of what stock libvirt takes.
    pub(super) fn plot(&self) -> String {
        const LABEL: f64 = 360.0;
        const WIDTH: f64 = 480.0;
        const HEIGHT: f64 = 22.0;
        let costs = ROWS.iter().filter(|row| !row.unit.starts_with('/'));
        let bars: Vec<(&str, f64)> =
            costs.filter_map(|row| Some((row.what, self.ratio(row, STOCK)?))).collect();
        let bars: Vec<_> = bars.into_iter().filter(|(_, ratio)| *ratio > 0.0).collect();
        let most = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max).log10().ceil();
        let powers =
            [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0].into_iter().take_while(|power| *power <= most);
        let at = |ratio: f64| LABEL + WIDTH * (ratio.log10() + 2.0).max(0.0) / (2.0 + most);
        let height = HEIGHT * (bars.len() as f64 + 2.0);
        let mut svg = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{}' height='{height}' \
             font-family='sans-serif' font-size='12'>\n\
             <rect width='100%' height='100%' fill='white'/>\n\
             <text x='8' y='15' font-weight='bold'>What vfnet takes, of what stock libvirt takes \
             (logarithmic; less is better)</text>\n",
            LABEL + WIDTH + 60.0
        );
        for power in powers {
            let share = 10_f64.powf(power);
            let x = at(share);
            let _written = writeln!(
                svg,
                "<line x1='{x:.0}' x2='{x:.0}' y1='{HEIGHT}' y2='{:.0}' stroke='#bbb'/>\
                 <text x='{x:.0}' y='{:.0}' text-anchor='middle' fill='#555'>{share} ×</text>",
                height - HEIGHT,
                height - 6.0
            );
        }
        for (place, (what, ratio)) in bars.iter().enumerate() {
            let y = HEIGHT * (place as f64 + 1.0);
            let (from, to) = (at(ratio.min(1.0)), at(ratio.max(1.0)));
            let color = if *ratio <= 1.0 { "#3a7d44" } else { "#b5482a" };
            let _written = writeln!(
                svg,
                "<text x='{:.0}' y='{:.0}' text-anchor='end'>{what}</text>\
                 <rect x='{from:.0}' y='{:.0}' width='{:.0}' height='14' fill='{color}'/>\
                 <text x='{:.0}' y='{:.0}'>{ratio:.2}</text>",
                LABEL - 8.0,
                y + 15.0,
                y + 4.0,
                (to - from).max(1.0),
                to + 4.0,
                y + 15.0
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn shown(Summary { median, p99, count }: Summary) -> String {
    let number = |value: f64| match value.abs() {
        0.0 => "0".to_owned(),
        big if big >= 100.0 => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        small if small >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    };
    if count == 1 { number(median) } else { format!("{} ({})", number(median), number(p99)) }
}

/// Date, machine and versions.
fn where_and_when() -> Result<String> {
    let says = |program: &str, args: &[&str]| -> Result<String> {
        let output = Command::new(program)
            .args(args)
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let qemu = says("qemu-system-x86_64", &["--version"])?;
    Ok(format!(
        "{}, on {cores} cores of {}; {}; virsh {}; commit {}.",
        says("date", &["--utc", "+%Y-%m-%d"])?,
        model.map_or("an unknown processor", |(_, name)| name),
        qemu.lines().next().unwrap_or("QEMU"),
        says("virsh", &["--version"])?,
        says("git", &["rev-parse", "--short", "HEAD"])?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let mut measured = Measured::default();
        for (of, what, value) in [
            (FLOOR, "start of a guest", 1.0),
            (VFNET, "start of a guest", 1.1),
            (STOCK, "start of a guest", 2.0),
            (VFNET, "port pairs, one client", 10.0),
            (STOCK, "port pairs, one client", 5.0),
            (VFNET, "wake-ups, idle, 7 guests", 6.0),
        ] {
            let line = serde_json::json!({"of": of, "what": what, "unit": "", "value": value});
            measured.add(&line.to_string()).expect("a value");
        }
        measured
    }

    #[test]
    fn what_is_reached_follows_from_the_ratios() {
        let measured = measured();
        let report = Report { measured: &measured, quick: true, where_and_when: String::new() };
        let text = report.markdown();
        let line = |what: &str| {
            let found = text.lines().find(|line| line.starts_with(&format!("| {what} |")));
            found.expect("a row").to_owned()
        };
        assert!(
            line("start of a guest")
                .ends_with("| 1.10 | 0.55 | ≤ 1.15 × floor, ≤ 0.5 × stock libvirt | yes, no |"),
            "{text}"
        );
        assert!(
            line("port pairs, one client").ends_with("| 2.00 | ≥ 3 × stock libvirt | no |"),
            "{text}"
        );
        assert!(line("wake-ups, idle, 7 guests").ends_with("| ≤ 6 /min | yes |"), "{text}");
        assert!(
            line("destroy of a guest").ends_with("| ≤ 1.15 × floor | not measured |"),
            "{text}"
        );
    }

    #[test]
    fn the_plot_has_a_bar_for_what_both_sides_were_measured_at() {
        let measured = measured();
        let report = Report { measured: &measured, quick: true, where_and_when: String::new() };
        let svg = report.plot();
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.contains("start of a guest") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
