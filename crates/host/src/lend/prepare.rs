//! From free to ready for VFIO.

use vfnet_model::DriverName;
use vfnet_model::inventory::{HostUse, Vf};

use super::{Cause, Deadlines, LendError, Lending, Step, Work, settings};
use crate::Host;

/// A VF that can be handed to its holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// The VFIO driver that has it.
    pub driver: DriverName,
    /// The N of `/dev/vfio/N`; good for this boot only.
    pub vfio_group: u32,
}

/// Makes a VF ready: settings through the PF, then the VFIO driver.
///
/// # Errors
///
/// Stops at the first step that fails. Up to [`Step::LoadDriver`] nothing has been changed;
/// afterwards [`super::give_back`] undoes what was done.
pub fn prepare(
    host: &dyn Host,
    lending: &Lending,
    deadlines: &Deadlines,
    progress: &mut dyn FnMut(Step),
) -> Result<Prepared, LendError> {
    let work = Work::new(host, lending, deadlines);

    progress(Step::Look);
    let vf = look(&work)?;
    admit(&work, &vf)?;

    let driver = if lending.managed {
        progress(Step::LoadDriver);
        let failed = |source| work.failed(Step::LoadDriver, Cause::Host(source));
        let driver = match &lending.driver {
            Some(driver) => driver.clone(),
            None => host.best_vfio_driver(lending.vf).map_err(failed)?,
        };
        host.load_driver(&driver, deadlines.load).map_err(failed)?;
        Some(driver)
    } else {
        None
    };

    if let Some(wanted) = &lending.wanted {
        progress(Step::Settings);
        settings::lend(&work, wanted)?;
    }

    let driver = match driver {
        Some(driver) => {
            bind(&work, &driver, progress)?;
            driver
        }
        None => vf.binding.driver.ok_or_else(|| work.failed(Step::Look, Cause::NotOnVfio(None)))?,
    };

    progress(Step::Group);
    let group = work
        .look(Step::Group)?
        .iommu_group
        .ok_or_else(|| work.failed(Step::Group, Cause::NoIommu))?;
    if !host.wait(deadlines.settle, &mut || host.vfio_group_ready(group)) {
        return Err(work.failed(Step::Group, Cause::NoGroupNode(group)));
    }
    Ok(Prepared { driver, vfio_group: group })
}

/// Makes a VF ready for another daemon, which binds it and sets its MAC and tag by itself: sets
/// what that one cannot (trust, spoof checking, rates, link state), everything unwanted to the
/// driver's baseline.
///
/// # Errors
///
/// Stops at the first step that fails; [`super::give_back`] undoes what was done.
pub fn hand_over(
    host: &dyn Host,
    lending: &Lending,
    deadlines: &Deadlines,
    progress: &mut dyn FnMut(Step),
) -> Result<(), LendError> {
    let work = Work::new(host, lending, deadlines);
    progress(Step::Look);
    let vf = look(&work)?;
    admit(&work, &vf)?;
    if let Some(wanted) = &lending.wanted {
        progress(Step::Settings);
        settings::hand_over(&work, wanted)?;
    }
    Ok(())
}

/// The VF, whose driver may have been bound a moment ago and not have made its netdev yet (iavf
/// does so when the PF has answered).
fn look(work: &Work<'_>) -> Result<Vf, LendError> {
    let mut seen = work.look(Step::Look)?;
    let only = |vf: &Vf| vf.uses.iter().all(|host| matches!(host, HostUse::NoNetdev(_)));
    if !seen.uses.is_empty() && only(&seen) {
        let mut next = Ok(seen.clone());
        work.host.wait(work.deadlines.settle, &mut || {
            next = work.look(Step::Look);
            !matches!(&next, Ok(vf) if !vf.uses.is_empty() && only(vf))
        });
        seen = next?;
    }
    Ok(seen)
}

/// Everything that can be refused before anything is changed.
fn admit(work: &Work<'_>, vf: &Vf) -> Result<(), LendError> {
    let refuse = |cause| Err(work.failed(Step::Look, cause));
    if !vf.uses.is_empty() {
        return refuse(Cause::InUse(vf.uses.clone()));
    }
    if vf.iommu_group.is_none() {
        return refuse(Cause::NoIommu);
    }
    if !work.lending.managed && !work.on_vfio(vf) {
        return refuse(Cause::NotOnVfio(vf.binding.driver.clone()));
    }
    let wishes = work.lending.wanted.as_ref().map(|wanted| work.row.lacks(wanted));
    if let Some(wishes) = wishes.filter(|wishes| !wishes.is_empty()) {
        return refuse(Cause::Lacks { driver: work.row.driver, wishes });
    }
    if work.lending.wanted.is_some()
        && work.row.needs_pf_up
        && let Some(netdev) = work.pf.as_ref().and_then(|pf| pf.netdev.as_ref())
        && !netdev.up
    {
        return refuse(Cause::PfDown(netdev.name.to_string()));
    }
    Ok(())
}

fn bind(
    work: &Work<'_>,
    driver: &DriverName,
    progress: &mut dyn FnMut(Step),
) -> Result<(), LendError> {
    progress(Step::Override);
    let vf = work.look(Step::Override)?;
    work.set_override(&vf, Some(driver))?;

    if vf.binding.driver.as_ref() != Some(driver) {
        if vf.binding.driver.is_some() {
            progress(Step::Unbind);
            work.unbind()?;
        }
        progress(Step::Bind);
        let vf = work.probe()?;
        if vf.binding.driver.as_ref() != Some(driver) {
            let found = vf.binding.driver;
            return Err(work.failed(Step::Bind, Cause::NotBound { wanted: driver.clone(), found }));
        }
    }
    if work.host.is_vfio_driver(driver) {
        Ok(())
    } else {
        Err(work.failed(Step::Bind, Cause::NotAVfioDriver(driver.clone())))
    }
}
