//! What is to go wrong, and where.

use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vfnet_model::PciAddress;
use vfnet_model::vf::VfSetting;

/// A kind of host operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OpKind {
    /// Admin MAC.
    SetMac,
    /// VLAN.
    SetVlan,
    /// Spoof checking.
    SetSpoofchk,
    /// Trust.
    SetTrust,
    /// Link state.
    SetLinkState,
    /// Rates.
    SetRate,
    /// `sriov_numvfs`.
    NumVfs,
    /// `sriov_drivers_autoprobe`.
    Autoprobe,
    /// `driver_override`.
    Override,
    /// `unbind`.
    Unbind,
    /// `drivers_probe`.
    Probe,
    /// `reset`.
    Reset,
    /// modprobe.
    LoadDriver,
    /// MAC of the VF's own netdev.
    NetdevMac,
    /// Reading one VF.
    ReadVf,
    /// Reading a VF's row in its PF's table.
    ReadAttributes,
    /// Reading the whole machine.
    ReadInventory,
}

impl OpKind {
    pub(crate) const fn of(setting: VfSetting) -> Self {
        match setting {
            VfSetting::Mac(_) => Self::SetMac,
            VfSetting::Vlan(_) => Self::SetVlan,
            VfSetting::Spoofchk(_) => Self::SetSpoofchk,
            VfSetting::Trust(_) => Self::SetTrust,
            VfSetting::LinkState(_) => Self::SetLinkState,
            VfSetting::Rate { .. } => Self::SetRate,
        }
    }
}

/// Which operations a fault hits: by kind, by device, and by count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultPoint {
    op: OpKind,
    device: Option<PciAddress>,
    spared: u32,
    times: Option<u32>,
}

impl FaultPoint {
    /// Every operation of this kind, from now on.
    pub const fn every(op: OpKind) -> Self {
        Self { op, device: None, spared: 0, times: None }
    }

    /// The next operation of this kind.
    pub const fn next(op: OpKind) -> Self {
        Self { op, device: None, spared: 0, times: Some(1) }
    }

    /// Only on this device: a VF, or a PF for its `sriov_numvfs`.
    #[must_use]
    pub const fn at(mut self, device: PciAddress) -> Self {
        self.device = Some(device);
        self
    }

    /// Spares the first `count` of them.
    #[must_use]
    pub const fn after(mut self, count: u32) -> Self {
        self.spared = count;
        self
    }

    /// Hits `count` of them, then no more.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        self.times = Some(count);
        self
    }
}

/// What happens to an operation that a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FaultKind {
    /// The kernel answers this error number, and nothing changes.
    Error(i32),
    /// The kernel does not come back, and the device's lock stays held
    /// (see [`SimHost::release`](crate::SimHost::release)).
    Stuck,
    /// The kernel answers success, and nothing changes.
    Ignored,
    /// The VF is removed just before.
    Vanish,
    /// The kernel takes so long.
    Slow(Duration),
}

impl FaultKind {
    /// An error number.
    pub const fn errno(errno: Errno) -> Self {
        Self::Error(errno.raw_os_error())
    }
}

/// The faults that are still to come, in the order they were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Faults {
    due: Vec<(FaultPoint, FaultKind)>,
    hits: Vec<(OpKind, FaultKind)>,
}

impl Faults {
    pub(crate) fn add(&mut self, point: FaultPoint, kind: FaultKind) {
        self.due.push((point, kind));
    }

    pub(crate) fn clear(&mut self) {
        self.due.clear();
    }

    /// What has hit since this was asked last.
    pub(crate) fn take_hits(&mut self) -> Vec<(OpKind, FaultKind)> {
        std::mem::take(&mut self.hits)
    }

    /// The fault that hits this operation, counted as used.
    pub(crate) fn hit(&mut self, op: OpKind, device: Option<PciAddress>) -> Option<FaultKind> {
        let mut hit = None;
        self.due.retain_mut(|(point, kind)| {
            let meant = point.op == op && (point.device.is_none() || point.device == device);
            if !meant || hit.is_some() {
                return true;
            }
            if point.spared > 0 {
                point.spared -= 1;
                return true;
            }
            hit = Some(*kind);
            match &mut point.times {
                None => true,
                Some(left) => {
                    *left = left.saturating_sub(1);
                    *left > 0
                }
            }
        });
        self.hits.extend(hit.map(|kind| (op, kind)));
        hit
    }
}
