//! `vfnet state`: the daemon's files, looked at and mended without it.

use std::fmt::Write as _;
use std::path::Path;

use vfnet_model::report::{PlanReport, PlanStep};
use vfnet_store::{Examination, Examined, Rebuilt, Salvage, StoreError};

use crate::fault::Fault;
use crate::options::{Planning, StateCommand};
use crate::screen::Screen;
use crate::views;

pub(crate) fn state(screen: &Screen, command: StateCommand) -> Result<(), Fault> {
    match command {
        StateCommand::Check(places) => {
            let found = vfnet_store::examine(&places.state_dir, &places.run_dir);
            screen.report(&found, examination)?;
            if found.is_sound() { Ok(()) } else { Err(Fault::Unsound) }
        }
        StateCommand::Rebuild { places, planning: Planning { plan: true } } => {
            let found = vfnet_store::examine(&places.state_dir, &places.run_dir);
            if found.in_use {
                let source = StoreError::InUse { dir: places.state_dir, pid: found.pid };
                return Err(Fault::Rebuild { source: source.into() });
            }
            let steps = found.files.iter().flat_map(would_be_rebuilt).collect();
            screen.report(&PlanReport { steps, waits: false }, views::plan)
        }
        StateCommand::Rebuild { places, .. } => {
            let rebuilt = vfnet_store::rebuild(&places.state_dir, &places.run_dir)
                .map_err(|source| Fault::Rebuild { source: source.into() })?;
            screen.report(&rebuilt, |rebuilt| {
                rebuilt_files(rebuilt, &places.state_dir, &places.run_dir)
            })
        }
    }
}

/// What would be done to a file: nothing, unless none of it can be used as it is.
fn would_be_rebuilt(file: &Examined) -> Vec<PlanStep> {
    if file.schema.is_some() || file.damage.is_empty() {
        return Vec::new();
    }
    let name = file.file.display();
    let step = |does: &str, says| PlanStep { does: does.to_owned(), vf: None, says };
    vec![
        step("keep", format!("keep {name}, which is damaged, as {name}.damaged-SECONDS")),
        step("make", format!("make {name} anew, with what can be read of it")),
    ]
}

fn examination(found: &Examination) -> String {
    let mut text = match (found.in_use, found.pid) {
        (true, Some(pid)) => format!("in use by vfnetd (pid {pid})\n"),
        (true, None) => "in use by vfnetd\n".to_owned(),
        (false, _) => "not in use\n".to_owned(),
    };
    for file in &found.files {
        examined(&mut text, file);
    }
    for contradiction in &found.contradictions {
        add(&mut text, contradiction);
    }
    text
}

fn examined(text: &mut String, file: &Examined) {
    let Examined { records, newest, damage, .. } = file;
    let state = match file.schema {
        None if damage.is_empty() => "not there; vfnetd will make it".to_owned(),
        None => "cannot be used".to_owned(),
        Some(version) if version < *newest => {
            format!("whole, of version {version}; the next start of vfnetd makes it {newest}")
        }
        Some(version) if damage.is_empty() => {
            format!("whole, of version {version}, with {records} records")
        }
        Some(version) => {
            let unreadable = damage.len();
            format!("of version {version}, with {records} records and {unreadable} unreadable ones")
        }
    };
    add(text, &format!("{}: {state}", file.file.display()));
    for damage in damage {
        add(text, &format!("  {damage}"));
    }
}

fn rebuilt_files(rebuilt: &Rebuilt, state_dir: &Path, run_dir: &Path) -> String {
    let mut text = String::new();
    salvage(&mut text, rebuilt.state.as_ref(), &state_dir.join(vfnet_store::STATE_FILE));
    salvage(&mut text, rebuilt.live.as_ref(), &run_dir.join(vfnet_store::LIVE_FILE));
    text
}

fn salvage(text: &mut String, salvage: Option<&Salvage>, file: &Path) {
    let file = file.display();
    let Some(Salvage { kept, saved, lost }) = salvage else {
        add(text, &format!("{file}: not damaged, left alone"));
        return;
    };
    add(text, &format!("{file}: made anew, with {saved} records (it was damaged: {})", kept.why));
    add(text, &format!("  the damaged one is {}", kept.file.display()));
    for lost in lost {
        add(text, &format!("  not saved: {lost}"));
    }
}

/// A line, of which a terminal obeys nothing.
fn add(text: &mut String, line: &str) {
    let line = vfnet_model::legible(line).replace('\n', "\u{fffd}");
    let _infallible = writeln!(text, "{line}");
}
