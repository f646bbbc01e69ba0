//! The daemon dies before and after every effect of a start, a destroy, and of making and deleting
//! a port, and before and after every write to the kernel that these make.
//!
//! An operation is run once to see which points it passes, and then once for each of them: the
//! lab's own daemon ends itself there (see [`crate::trail`]). Which steps an operation must pass
//! is written down here, so that a step that it stops taking, or takes elsewhere, is missed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use vfnetd::steps::Step;

use crate::daemon::{Daemon, virsh, virsh_command};
use crate::host::{Host, Vf};
use crate::kills::ours::Ours;
use crate::kills::{self, Operation, PORT_MAC};
use crate::program;
use crate::trail::{self, Point};
use crate::wait::wait_for;

/// Of a point of chance.
const MISSED: &str = "not passed this time";
/// As long as no course takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// What the daemon is killed in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Course {
    /// The operation, and all goes well.
    Of(Operation),
    /// A port is made on another VF than the first, whose PF refuses a setting.
    PortElsewhere,
    /// A daemon starts where guests run.
    Restart,
}

const COURSES: [Course; 6] = [
    Course::Of(Operation::Start),
    Course::Of(Operation::Destroy),
    Course::Of(Operation::PortCreate),
    Course::Of(Operation::PortDelete),
    Course::PortElsewhere,
    Course::Restart,
];

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Of(operation) => operation.name(),
            Self::PortElsewhere => "port create on the second VF",
            Self::Restart => "restart",
        })
    }
}

const START: Course = Course::Of(Operation::Start);
const DESTROY: Course = Course::Of(Operation::Destroy);
const CREATE: Course = Course::Of(Operation::PortCreate);
const DELETE: Course = Course::Of(Operation::PortDelete);

/// Where a step is passed. An effect that is not named here does not compile.
const fn courses(step: Step) -> &'static [Course] {
    match step {
        Step::Record | Step::Answer => &[START, DESTROY, CREATE, DELETE, Course::PortElsewhere],
        Step::Announce => &[START, DESTROY, Course::Restart],
        Step::Prepare | Step::Launch | Step::MakeReady | Step::StartProcess | Step::LetRun => {
            &[START]
        }
        Step::Kill | Step::CleanUp => &[DESTROY],
        Step::HandOver => &[CREATE, Course::PortElsewhere],
        Step::GiveBack => &[DESTROY, DELETE, Course::PortElsewhere],
        Step::AskAgain => &[Course::PortElsewhere],
        Step::Adopt => &[Course::Restart],
        // Of networks, of PFs, of devices detached by hand, of autostart, of drift, and (see
        // `super::plugs`) of cards that come and go: no guest's start or end, and no port's.
        Step::MakeVfs
        | Step::RestoreAutoprobe
        | Step::SetVfs
        | Step::CallHook
        | Step::StartPending
        | Step::Plug
        | Step::Unplug
        | Step::Reset
        | Step::Repair
        | Step::BeginLease => &[],
    }
}

/// Where a write to the kernel is made, among [`trail::WRITES`].
fn courses_of_write(write: &str) -> &'static [Course] {
    match write {
        "set MAC" | "set VLAN" | "set driver_override" | "unbind" | "probe" => {
            &[START, DESTROY, DELETE]
        }
        "set spoofchk" => &[START, DESTROY, CREATE, DELETE],
        "load driver" => &[START],
        "set netdev MAC" => &[DESTROY, DELETE],
        // What no NIC here asks for, and what belongs to the steps left out above.
        _ => &[],
    }
}

/// What a course must pass, both before and after.
fn required(course: Course) -> BTreeSet<&'static str> {
    let steps = Step::ALL.iter().filter(|step| courses(**step).contains(&course));
    let writes = trail::WRITES.iter().filter(|write| courses_of_write(write).contains(&course));
    steps.map(|step| step.name()).chain(writes.copied()).collect()
}

/// A kill at every point, none left out: nothing is left of what was begun, and the guest that
/// runs meanwhile is not touched.
pub(super) fn a_kill_at_every_point(host: &Host) -> Result<()> {
    let mut bench = Ours::lay_out(host)?;
    // Not as vfnet has it, so that there is something to set for a guest, and to set back.
    let pf = host.pf(0)?;
    for vf in &bench.vfs {
        let index = vf.index.to_string();
        let of_vf = ["link", "set", &pf.netdev, "vf", &index];
        program::run("ip", &[&of_vf[..], &["spoofchk", "off"]].concat())?;
        program::run("ip", &[&of_vf[..], &["vlan", "42"]].concat())?;
    }
    bench.before = bench.vfs.iter().map(Vf::facts).collect::<Result<_>>()?;
    let (mut all, mut missed) = (0, 0);
    for course in COURSES {
        let points = points_of(&mut bench, course).with_context(|| format!("{course}"))?;
        let names: BTreeSet<&str> = points.iter().map(|point| point.name.as_str()).collect();
        for step in required(course) {
            for side in ["before", "after"] {
                let point = format!("{side} {step}");
                ensure!(names.contains(&*point), "{course} has not passed '{point}': {names:?}");
            }
        }
        for point in &points {
            let became = die_at(&mut bench, course, point)
                .with_context(|| format!("{course}, killed {point}"))?;
            println!("{course}, killed {point}: {became}");
            missed += usize::from(became == MISSED);
        }
        all += points.len();
    }
    println!("{} of {all} points hit, nothing left", all - missed);
    Ok(())
}

/// The points of a course that is not interrupted.
fn points_of(bench: &mut Ours, course: Course) -> Result<Vec<Point>> {
    make_ready(bench, course)?;
    if course == Course::Restart {
        bench.take_daemon()?.kill()?;
    }
    trail::forget()?;
    match course {
        Course::Of(operation) => kills::run(operation, &|words| virsh(words))?,
        Course::PortElsewhere => kills::run(Operation::PortCreate, &|words| virsh(words))?,
        Course::Restart => bench.go_on_with(Daemon::start_watched()?),
    }
    // A daemon that has just begun to listen has nothing under way yet.
    let passed = wait_for("all points of the course to be passed", LIMIT, || is_run(course));
    if let Err(error) = passed {
        // Which is not is said by whoever asked.
        println!("{course}: {error:#}");
    }
    bench.settle()?;
    let points = trail::passed();
    recover(bench)?;
    Ok(points)
}

/// Whether a course has passed all that it must.
fn is_run(course: Course) -> bool {
    let points: BTreeSet<_> = trail::passed().into_iter().map(|point| point.name).collect();
    required(course).iter().all(|step| points.contains(&format!("after {step}")))
}

fn make_ready(bench: &Ours, course: Course) -> Result<()> {
    match course {
        Course::Of(operation) => {
            bench.make_ready_for(operation)?;
            if operation == Operation::PortDelete {
                outside_takes(&bench.vfs[0])?;
            }
        }
        Course::PortElsewhere => trail::refuse(bench.vfs[0].index)?,
        Course::Restart => bench.make_ready_for(Operation::Destroy)?,
    }
    bench.settle()
}

/// What another daemon does to the VF of its port.
fn outside_takes(vf: &Vf) -> Result<()> {
    vf.set_admin_mac(PORT_MAC)?;
    let index = vf.index.to_string();
    program::run("ip", &["link", "set", &vf.pf.netdev, "vf", &index, "vlan", "0"])?;
    vf.bind("vfio-pci")
}

fn die_at(bench: &mut Ours, course: Course, point: &Point) -> Result<&'static str> {
    make_ready(bench, course)?;
    let mut last = bench.take_daemon()?;
    if course == Course::Restart {
        last.kill()?;
        trail::forget()?;
        trail::die_at(point)?;
        // It may be dead before it takes connections, or soon after.
        match Daemon::start_watched() {
            Ok(mut daemon) => {
                if point.is_by_chance() {
                    wait_for("the daemon to die or to have its guests back", LIMIT, || {
                        daemon.has_ended() || is_run(course)
                    })?;
                }
                if !trail::is_hit(point, &mut daemon)? {
                    bench.go_on_with(daemon);
                    recover(bench)?;
                    return Ok(MISSED);
                }
            }
            Err(fault) if died_at(point) => drop(fault),
            Err(fault) => return Err(fault),
        }
    } else {
        trail::forget()?;
        trail::die_at(point)?;
        let operation = match course {
            Course::Of(operation) => operation,
            _ => Operation::PortCreate,
        };
        let mut client = kills::begin(operation, virsh_command(&[]))?;
        if point.is_by_chance() {
            client.wait()?;
        }
        let hit = trail::is_hit(point, &mut last)?;
        client.wait()?;
        if !hit {
            bench.go_on_with(last);
            recover(bench)?;
            return Ok(MISSED);
        }
    }
    if !died_at(point) {
        bail!("it died elsewhere: {:?}", trail::passed().last());
    }
    recover(bench)
}

/// Whether the last point passed is this one: the daemon that is dead now died of it.
fn died_at(point: &Point) -> bool {
    trail::passed().last() == Some(point)
}

fn recover(bench: &mut Ours) -> Result<&'static str> {
    trail::refuse_nothing()?;
    let (left, became) = bench.recover()?;
    ensure!(left.is_nothing(), "left behind: {left:?}");
    bench.settle()?;
    Ok(became)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vfnetd::steps::Step;

    use super::{COURSES, Course, required};
    use crate::trail::WRITES;

    #[test]
    fn every_effect_of_a_guest_or_a_port_has_a_point() {
        let all: BTreeSet<&str> = COURSES.into_iter().flat_map(required).collect();
        let elsewhere = [
            Step::MakeVfs,
            Step::RestoreAutoprobe,
            Step::SetVfs,
            Step::CallHook,
            Step::StartPending,
            Step::Plug,
            Step::Unplug,
            Step::Reset,
            Step::Repair,
            Step::BeginLease,
        ];
        for step in Step::ALL.iter().filter(|step| !elsewhere.contains(step)) {
            assert!(all.contains(step.name()), "'{}' has no point", step.name());
        }
        assert!(required(Course::Restart).contains("adopt"));
    }

    #[test]
    fn a_step_and_a_write_have_names_of_their_own() {
        let names: Vec<&str> =
            Step::ALL.iter().map(|step| step.name()).chain(WRITES.iter().copied()).collect();
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len());
    }
}
