//! What the lab's own daemon notes and obeys: the points that it passes, and the one to die at.
//!
//! That daemon (`vfnetd-lab`) is vfnetd with a witness of its steps and with a host that notes
//! each write to the kernel. Of nothing here is there any trace in the daemon that is installed.
//!
//! A point is the moment `before` or `after` a step ([`vfnetd::steps::Step`]) or a write
//! ([`WRITES`]): `before prepare`, `after unbind`. Points passed are lines of a file that a kill
//! does not lose.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Signal, getpid, kill_process};
use vfnet_host::{Counters, Host, HostError};
use vfnet_model::inventory::{Inventory, Pf, Vf};
use vfnet_model::vf::{VfAttributes, VfIndex, VfSetting};
use vfnet_model::{BootId, DriverName, MacAddress, PciAddress};
use vfnetd::steps::{Step, Witness};

use crate::daemon::Daemon;
use crate::wait::wait_for;

/// As long as no course takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const TRAIL: &str = "/run/vfnetd-lab.trail";
const DEATH: &str = "/run/vfnetd-lab.death";
const REFUSAL: &str = "/run/vfnetd-lab.refusal";

/// What is written to the kernel for one VF.
pub const WRITES: &[&str] = &[
    "set MAC",
    "set VLAN",
    "set spoofchk",
    "set trust",
    "set link state",
    "set rate",
    "set sriov_numvfs",
    "set sriov_drivers_autoprobe",
    "set driver_override",
    "unbind",
    "probe",
    "reset function",
    "load driver",
    "set netdev MAC",
];

/// A moment in the daemon's work; orders the `nth` time that it is passed, counted from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point {
    /// `before` or `after` a step or a write.
    pub name: String,
    /// Which time.
    pub nth: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nth {
            1 => f.write_str(&self.name),
            nth => write!(f, "{} (number {nth})", self.name),
        }
    }
}

impl Point {
    /// Whether a course that passes it once need not pass it again: a repair follows a look at the
    /// host, which comes when it comes.
    pub fn is_by_chance(&self) -> bool {
        // A guest that idles is reset by its firmware from time to time, which is announced.
        self.name.ends_with(" repair") || (self.name.ends_with(" announce") && self.nth > 1)
    }
}

/// Waits until the daemon has died at a point. False where it lives on, whose clients have their
/// answer: the point is one of chance.
pub fn is_hit(point: &Point, daemon: &mut Daemon) -> Result<bool> {
    if point.is_by_chance() {
        wait_for("the daemon to die or to rest", LIMIT, || {
            daemon.has_ended() || under_way(&passed()).is_empty()
        })?;
        if live()? {
            return Ok(false);
        }
    }
    daemon.ended().context("the point was not hit")?;
    Ok(true)
}

/// Forgets the points passed so far.
pub fn forget() -> Result<()> {
    File::create(TRAIL)?;
    Ok(())
}

/// The points passed since the last [`forget`], in order.
pub fn passed() -> Vec<Point> {
    let text = fs::read_to_string(TRAIL).unwrap_or_default();
    let mut points: Vec<Point> = Vec::new();
    for name in text.lines() {
        let nth = points.iter().filter(|earlier| earlier.name == name).count() + 1;
        points.push(Point { name: name.to_owned(), nth });
    }
    points
}

/// What was begun and has not ended, in the order in which it began.
pub fn under_way(points: &[Point]) -> Vec<&str> {
    let mut open: Vec<&str> = Vec::new();
    for point in points {
        if let Some(step) = point.name.strip_prefix("before ") {
            open.push(step);
        } else if let Some(step) = point.name.strip_prefix("after ")
            && let Some(place) = open.iter().rposition(|begun| *begun == step)
        {
            open.remove(place);
        }
    }
    open
}

/// Has the daemon die at a point; the times that it is passed are counted from the last
/// [`forget`].
pub fn die_at(point: &Point) -> Result<()> {
    fs::write(DEATH, format!("{} {}", point.nth, point.name))?;
    Ok(())
}

/// Has the daemon live. False where it is too late: it dies, or is dead already.
pub fn live() -> Result<bool> {
    remove(DEATH)
}

/// Has all settings of the VF with this number refused.
pub fn refuse(vf: u32) -> Result<()> {
    fs::write(REFUSAL, vf.to_string())?;
    Ok(())
}

/// Has none refused any more.
pub fn refuse_nothing() -> Result<()> {
    remove(REFUSAL)?;
    Ok(())
}

/// Whether it was there to be removed.
fn remove(path: &str) -> Result<bool> {
    match fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
            Err(fault).with_context(|| format!("cannot remove {path}"))
        }
        outcome => Ok(outcome.is_ok()),
    }
}

/// The daemon's side of it.
#[derive(Debug)]
pub struct Trail {
    file: Mutex<File>,
}

impl Trail {
    /// Goes on with the file that is there.
    ///
    /// # Errors
    ///
    /// When it cannot be written to.
    pub fn open() -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(TRAIL)?;
        Ok(Self { file: Mutex::new(file) })
    }

    fn pass(&self, side: &str, what: &str) {
        let name = format!("{side} {what}");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A daemon that cannot note a point is found out by the point that is missing.
        let _noted = writeln!(file, "{name}");
        // Of the daemon and its scenario, whoever removes the file decides.
        if is_here(&name) && fs::remove_file(DEATH).is_ok() {
            let _killed = kill_process(getpid(), Signal::KILL);
        }
    }

    fn around<T>(&self, what: &str, write: impl FnOnce() -> T) -> T {
        self.pass("before", what);
        let outcome = write();
        self.pass("after", what);
        outcome
    }
}

/// Whether the point just noted is the one to die at.
fn is_here(name: &str) -> bool {
    let Ok(death) = fs::read_to_string(DEATH) else { return false };
    let Some((nth, wanted)) = death.split_once(' ') else { return false };
    let times = || passed().iter().filter(|point| point.name == name).count();
    wanted == name && nth.parse() == Ok(times())
}

impl Witness for Trail {
    fn begins(&self, step: Step) {
        self.pass("before", step.name());
    }

    fn ends(&self, step: Step) {
        self.pass("after", step.name());
    }
}

/// A host whose every write leaves a trail.
pub struct Watched {
    /// The host.
    pub host: Arc<dyn Host>,
    /// Its trail.
    pub trail: Arc<Trail>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Host for Watched {
    fn boot_id(&self) -> Result<BootId, HostError> {
        self.host.boot_id()
    }

    fn inventory(&self) -> Result<Inventory, HostError> {
        self.host.inventory()
    }

    fn vf(&self, vf: PciAddress) -> Result<Option<Vf>, HostError> {
        self.host.vf(vf)
    }

    fn pf(&self, pf: PciAddress) -> Result<Option<Pf>, HostError> {
        self.host.pf(pf)
    }

    fn vf_attributes(&self, pf: PciAddress, vf: VfIndex) -> Result<VfAttributes, HostError> {
        self.host.vf_attributes(pf, vf)
    }

    fn vf_counters(&self, pf: PciAddress, vf: VfIndex) -> Result<Option<Counters>, HostError> {
        self.host.vf_counters(pf, vf)
    }

    fn set_vf(&self, pf: PciAddress, vf: VfIndex, setting: VfSetting) -> Result<(), HostError> {
        if fs::read_to_string(REFUSAL).is_ok_and(|refused| refused == vf.to_string()) {
            let source = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(HostError::Setting { pf, vf, setting: setting.name(), text: None, source });
        }
        let what = format!("set {}", setting.name());
        self.trail.around(&what, || self.host.set_vf(pf, vf, setting))
    }

    fn set_num_vfs(&self, pf: PciAddress, count: u16, deadline: Duration) -> Result<(), HostError> {
        self.trail.around("set sriov_numvfs", || self.host.set_num_vfs(pf, count, deadline))
    }

    fn set_drivers_autoprobe(&self, pf: PciAddress, on: bool) -> Result<(), HostError> {
        self.trail.around("set sriov_drivers_autoprobe", || self.host.set_drivers_autoprobe(pf, on))
    }

    fn set_driver_override(
        &self,
        device: PciAddress,
        driver: Option<&DriverName>,
    ) -> Result<(), HostError> {
        self.trail.around("set driver_override", || self.host.set_driver_override(device, driver))
    }

    fn unbind(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        self.trail.around("unbind", || self.host.unbind(device, deadline))
    }

    fn probe(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        self.trail.around("probe", || self.host.probe(device, deadline))
    }

    fn reset(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        self.trail.around("reset function", || self.host.reset(device, deadline))
    }

    fn best_vfio_driver(&self, device: PciAddress) -> Result<DriverName, HostError> {
        self.host.best_vfio_driver(device)
    }

    fn load_driver(&self, driver: &DriverName, deadline: Duration) -> Result<(), HostError> {
        self.trail.around("load driver", || self.host.load_driver(driver, deadline))
    }

    fn is_vfio_driver(&self, driver: &DriverName) -> bool {
        self.host.is_vfio_driver(driver)
    }

    fn set_netdev_mac(&self, device: PciAddress, mac: MacAddress) -> Result<(), HostError> {
        self.trail.around("set netdev MAC", || self.host.set_netdev_mac(device, mac))
    }

    fn vfio_group_holder(&self, group: u32) -> Result<Option<String>, HostError> {
        self.host.vfio_group_holder(group)
    }

    fn sees_open_files(&self) -> bool {
        self.host.sees_open_files()
    }

    fn vfio_group_ready(&self, group: u32) -> bool {
        self.host.vfio_group_ready(group)
    }

    fn wait(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        self.host.wait(limit, done)
    }
}

#[cfg(test)]
mod tests {
    use super::{Point, under_way};

    #[test]
    fn what_has_begun_and_not_ended_is_under_way() {
        let passed = ["before prepare", "before unbind", "after unbind", "before probe"];
        let points: Vec<Point> =
            passed.iter().map(|name| Point { name: (*name).to_owned(), nth: 1 }).collect();
        assert_eq!(under_way(&points), ["prepare", "probe"]);
        assert_eq!(under_way(&points[..0]), [""; 0]);
    }
}
