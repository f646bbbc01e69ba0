//! One VF on its way to a holder and back.
//!
//! [`prepare`] makes a VF ready for VFIO with the holder's MAC on it, [`hand_over`] sets only what
//! another daemon that does the rest cannot set, [`give_back`] makes the VF what it was, and
//! [`repair`] puts back what somebody has changed of a held one in between. All are written in
//! terms of [`Host`] alone. Each step looks first, does what is missing and looks again, so all
//! can be run again after a kill at any point and end in the same place:
//!
//! ```text
//! prepare    look ─ load driver ─ settings through the PF ─ override ─ unbind ─ bind ─ group
//! hand_over  look ─ settings but MAC and tag
//! give_back  look ─ wait for holder ─ settings ─ override ─ unbind ─ bind ─ netdev's MAC ─ verify
//! ```
//!
//! `prepare` and `hand_over` stop at the first error and leave undoing to `give_back`; `give_back`
//! goes on after errors and reports all. Only a kernel that does not come back stops it at once.

mod error;
mod give_back;
mod prepare;
mod settings;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vfnet_model::drift::Difference;
use vfnet_model::drivers::{self, Row, Support};
use vfnet_model::inventory::{HostUse, Incarnation, Pf, Vf};
use vfnet_model::vf::{Original, VfIndex, WantedSettings};
use vfnet_model::{DriverName, PciAddress};

use crate::Host;

pub use error::{Cause, LendError};
pub use give_back::{GiveBack, Outcome, give_back};
pub use prepare::{Prepared, hand_over, prepare};

/// All that must be on record to prepare a VF and to give it back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lending {
    /// The VF.
    pub vf: PciAddress,
    /// Its PF.
    pub pf: PciAddress,
    /// Its number within the PF.
    pub index: VfIndex,
    /// Which device of that address it is.
    pub incarnation: Incarnation,
    /// What it is given back as.
    pub original: Original,
    /// What the holder is to have. `None` for a plain `<hostdev>`: the VF is bound to VFIO, and
    /// nothing is set through the PF, then or later.
    pub wanted: Option<WantedSettings>,
    /// Whether binding to VFIO and back is done here. If not, the VF must be on a VFIO driver.
    pub managed: bool,
    /// The driver that the document names, instead of the one that fits best.
    pub driver: Option<DriverName>,
    /// Whether settings that are not wanted stay as the host has them, instead of going to the
    /// driver's baseline.
    pub keep_host_settings: bool,
}

/// How long the kernel is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadlines {
    /// Unbinding a driver.
    pub unbind: Duration,
    /// Probing for a driver.
    pub probe: Duration,
    /// Loading a module.
    pub load: Duration,
    /// A PF's driver that is busy, or shows a setting late.
    pub settle: Duration,
    /// A netdev to appear after its driver was bound.
    pub netdev: Duration,
    /// The last holder of a VFIO group to let go.
    pub holder: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            unbind: Duration::from_secs(30),
            probe: Duration::from_secs(30),
            load: Duration::from_secs(30),
            settle: Duration::from_secs(3),
            netdev: Duration::from_secs(10),
            holder: Duration::from_secs(5),
        }
    }
}

/// A step of [`prepare`] or [`give_back`], announced before it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Whether the VF is there, the same device, and free.
    Look,
    /// The last holder lets go of the VFIO group.
    Holder,
    /// The VFIO driver's module.
    LoadDriver,
    /// Settings through the PF.
    Settings,
    /// `driver_override`.
    Override,
    /// Away from the present driver.
    Unbind,
    /// To the new driver.
    Bind,
    /// IOMMU group and its device node.
    Group,
    /// The netdev's own MAC.
    Netdev,
    /// A last look at everything.
    Verify,
    /// A reset of the function, which is asked for by itself.
    Reset,
}

impl fmt::Display for Step {
    /// As a verb, to be followed by the VF.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Look => "use",
            Self::Holder => "take back",
            Self::LoadDriver => "load a VFIO driver for",
            Self::Settings => "configure",
            Self::Override => "set driver_override of",
            Self::Unbind => "unbind",
            Self::Bind => "bind",
            Self::Group => "use the IOMMU group of",
            Self::Netdev => "restore the netdev of",
            Self::Verify => "verify",
            Self::Reset => "reset",
        })
    }
}

/// Resets a VF's function, if it is still the device of the lending: the kernel resets whatever
/// has the address.
///
/// # Errors
///
/// When it is another device or gone, and when the kernel refuses or has not come back.
pub fn reset(host: &dyn Host, lending: &Lending, deadlines: &Deadlines) -> Result<(), LendError> {
    let work = Work::new(host, lending, deadlines);
    work.look(Step::Reset)?;
    host.reset(lending.vf, deadlines.unbind)
        .map_err(|source| work.failed(Step::Reset, source.into()))
}

/// Puts back what somebody else has changed of a VF while its holder has it; gives what that was,
/// nothing where all is as it should be. Writes only what differs, and nothing that would reset
/// the VF or move it to another driver under its holder.
///
/// # Errors
///
/// When it is another device or gone, when the kernel refuses, and with
/// [`LendError::is_for_its_end`] when what differs is not to be written while the VF is held.
pub fn repair(
    host: &dyn Host,
    lending: &Lending,
    deadlines: &Deadlines,
) -> Result<Vec<Difference>, LendError> {
    let work = Work::new(host, lending, deadlines);
    let vf = work.look(Step::Look)?;
    if !work.on_vfio(&vf) {
        return Err(work.failed(Step::Look, Cause::WrongDriver(vf.binding.driver)));
    }
    lending.wanted.as_ref().map_or(Ok(Vec::new()), |wanted| settings::repair(&work, wanted))
}

/// A lending at work: the host, and what is known of the PF.
struct Work<'a> {
    host: &'a dyn Host,
    lending: &'a Lending,
    deadlines: &'a Deadlines,
    pf: Option<Pf>,
    row: &'static Row,
}

impl<'a> Work<'a> {
    fn new(host: &'a dyn Host, lending: &'a Lending, deadlines: &'a Deadlines) -> Self {
        // A PF that cannot be read is only worse known; what needs it fails by itself.
        let pf = host.pf(lending.pf).ok().flatten();
        let row = drivers::row(pf.as_ref().and_then(|pf| pf.driver.as_ref()));
        Self { host, lending, deadlines, pf, row }
    }

    /// What the holder was to have, where the PF's driver can set anything: those that cannot set
    /// a MAC have no table of VFs, and then preparing has been refused before it began.
    fn wanted(&self) -> Option<&'a WantedSettings> {
        self.lending.wanted.as_ref().filter(|_| self.row.mac != Support::No)
    }

    /// The VF as it is now, if it is still the device of the lending.
    fn look(&self, step: Step) -> Result<Vf, LendError> {
        match self.host.vf(self.lending.vf) {
            Err(source) => Err(self.failed(step, Cause::Host(source))),
            Ok(None) => Err(self.failed(step, Cause::Gone)),
            Ok(Some(vf)) if vf.incarnation != self.lending.incarnation => {
                Err(self.failed(step, Cause::Replaced))
            }
            Ok(Some(vf)) => Ok(vf),
        }
    }

    fn failed(&self, step: Step, cause: Cause) -> LendError {
        LendError::new(step, self.lending.vf, self.pf.as_ref(), cause)
    }

    /// `driver_override`, written when it is another, or is not to be read.
    fn set_override(&self, vf: &Vf, driver: Option<&DriverName>) -> Result<(), LendError> {
        let is_known = !vf.uses.contains(&HostUse::Locked);
        if is_known && vf.binding.driver_override.as_ref() == driver {
            return Ok(());
        }
        self.host
            .set_driver_override(self.lending.vf, driver)
            .map_err(|source| self.failed(Step::Override, source.into()))
    }

    /// Takes the VF away from its driver, and sees that it has none.
    fn unbind(&self) -> Result<(), LendError> {
        self.host
            .unbind(self.lending.vf, self.deadlines.unbind)
            .map_err(|source| self.failed(Step::Unbind, source.into()))?;
        match self.look(Step::Unbind)?.binding.driver {
            None => Ok(()),
            Some(found) => Err(self.failed(Step::Unbind, Cause::StillBound(found))),
        }
    }

    /// Has the kernel probe, and gives the VF as it is then.
    fn probe(&self) -> Result<Vf, LendError> {
        self.host
            .probe(self.lending.vf, self.deadlines.probe)
            .map_err(|source| self.failed(Step::Bind, source.into()))?;
        self.look(Step::Bind)
    }

    fn on_vfio(&self, vf: &Vf) -> bool {
        vf.binding.driver.as_ref().is_some_and(|driver| self.host.is_vfio_driver(driver))
    }
}
