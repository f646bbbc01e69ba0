//! What can go wrong on the way, and how to mend it.

use vfnet_model::inventory::{HostUse, Pf};
use vfnet_model::{DriverName, PciAddress};

use super::Step;
use crate::HostError;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} VF {vf}")]
pub struct LendError {
    /// The step.
    pub step: Step,
    /// The VF.
    pub vf: PciAddress,
    /// Why.
    #[source]
    pub cause: Cause,
    /// What an administrator can do about it.
    pub mend: Option<String>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The kernel refused, or has not come back.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The VF has gone.
    #[error("the VF is not there any more")]
    Gone,
    /// The VF has gone, and another device has its address.
    #[error("another device has taken the VF's address since")]
    Replaced,
    /// The host uses it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InUse(Vec<HostUse>),
    /// The PF is down, and with its driver a VF then does not work.
    #[error("PF {0} is down")]
    PfDown(String),
    /// The PF's driver cannot give the VF what it is to have.
    #[error("the PF's driver {driver} cannot set: {}", .wishes.join(", "))]
    Lacks {
        /// The PF's driver.
        driver: &'static str,
        /// What it lacks.
        wishes: Vec<&'static str>,
    },
    /// The VF is in no IOMMU group.
    #[error("the VF is in no IOMMU group: no IOMMU is on")]
    NoIommu,
    /// The IOMMU group has no device node.
    #[error("/dev/vfio/{0} is not there")]
    NoGroupNode(u32),
    /// With `managed='no'`, the VF must be on a VFIO driver already.
    #[error("managed='no', but the VF is {}", bound(.0.as_ref()))]
    NotOnVfio(Option<DriverName>),
    /// The driver that was named does not hand devices to VFIO.
    #[error("{0} is not a VFIO driver")]
    NotAVfioDriver(DriverName),
    /// The driver let go in name only.
    #[error("the VF is still bound to {0}")]
    StillBound(DriverName),
    /// The kernel probed, and bound another driver or none.
    #[error("the VF is {} instead of to {wanted}", bound(found.as_ref()))]
    NotBound {
        /// The driver that was to have it.
        wanted: DriverName,
        /// The driver that has it.
        found: Option<DriverName>,
    },
    /// The VF should have no driver, or any but a VFIO one.
    #[error("the VF is {}", bound(.0.as_ref()))]
    WrongDriver(Option<DriverName>),
    /// `driver_override` reads otherwise than it should.
    #[error("driver_override is {}, not {}", or_none(found.as_ref()), or_none(wanted.as_ref()))]
    WrongOverride {
        /// What it should be.
        wanted: Option<DriverName>,
        /// What it is.
        found: Option<DriverName>,
    },
    /// The PF's driver said yes and did nothing.
    #[error("the PF's driver shows {setting} {found} after being told {wanted}")]
    NotTaken {
        /// What was set.
        setting: &'static str,
        /// To what.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// It is otherwise than it should be, and setting it would reset the VF under its holder.
    #[error(
        "it has {setting} {found} instead of {wanted}, and setting that would reset it under its \
         holder"
    )]
    WouldReset {
        /// What.
        setting: &'static str,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The driver was bound and made no netdev.
    #[error("its driver has made no netdev")]
    NoNetdev,
    /// The netdev has another MAC than it was given.
    #[error("its netdev has the MAC {found}, not {wanted}")]
    NetdevMac {
        /// What it should have.
        wanted: String,
        /// What it has.
        found: String,
    },
    /// The PF still has the last holder's MAC for it, so the VF cannot be given its own.
    #[error("the PF still has the last holder's MAC for it")]
    HoldersMac,
    /// Somebody still has the VFIO group open.
    #[error("it is still open in {0}")]
    HeldOpen(String),
}

fn bound(driver: Option<&DriverName>) -> String {
    driver.map_or_else(|| "bound to no driver".to_owned(), |driver| format!("bound to {driver}"))
}

fn or_none(driver: Option<&DriverName>) -> &str {
    driver.map_or("(none)", DriverName::as_str)
}

impl LendError {
    pub(super) fn new(step: Step, vf: PciAddress, pf: Option<&Pf>, cause: Cause) -> Self {
        let mend = mend(&cause, step, vf, pf);
        Self { step, vf, cause, mend }
    }

    /// Whether the kernel has not come back, so that nothing more can be done to the VF.
    pub const fn is_stuck(&self) -> bool {
        matches!(self.cause, Cause::Host(HostError::Stuck { .. }))
    }

    /// Whether the device of the lending is no more.
    pub const fn is_vanished(&self) -> bool {
        matches!(self.cause, Cause::Gone | Cause::Replaced)
    }

    /// Whether another try while the VF is held would end no better.
    pub const fn is_for_its_end(&self) -> bool {
        matches!(self.cause, Cause::WouldReset { .. } | Cause::WrongDriver(_))
    }

    /// The error, its causes and the remedy on one line.
    pub fn explain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        if let Some(mend) = &self.mend {
            text.push_str(" (");
            text.push_str(mend);
            text.push(')');
        }
        text
    }
}

fn mend(cause: &Cause, step: Step, vf: PciAddress, pf: Option<&Pf>) -> Option<String> {
    let netdev = pf.and_then(|pf| pf.netdev.as_ref());
    let raise = netdev
        .filter(|netdev| !netdev.up)
        .map(|netdev| format!("the PF is down; raise it: ip link set {} up", netdev.name));
    match cause {
        Cause::PfDown(name) => Some(format!("raise it: ip link set {name} up")),
        Cause::NoIommu => Some(
            "boot with intel_iommu=on or amd_iommu=on, and enable VT-d or AMD-Vi in the firmware"
                .to_owned(),
        ),
        Cause::NotOnVfio(_) => {
            Some(format!("bind it: driverctl --nosave set-override {vf} vfio-pci"))
        }
        Cause::NoGroupNode(_) => Some("is the module vfio loaded, and udev at work?".to_owned()),
        Cause::NotBound { .. } => Some(format!("the kernel's reason: dmesg | grep {vf}")),
        Cause::HeldOpen(_) => Some("end that process, then: vfnet vf restore".to_owned()),
        Cause::Host(HostError::Setting { .. }) => raise,
        Cause::Host(HostError::Process { .. } | HostError::Gone { .. })
            if step == Step::LoadDriver =>
        {
            Some(
                "has the running kernel such a driver? vfio-pci's option is CONFIG_VFIO_PCI"
                    .to_owned(),
            )
        }
        _ => None,
    }
}
