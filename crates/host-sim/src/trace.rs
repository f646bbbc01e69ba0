//! Kernel writes that the program under test made, in order.

use std::fmt;

use serde::{Deserialize, Serialize};
use vfnet_model::vf::{LinkState, VfSetting};
use vfnet_model::{DriverName, MacAddress, PciAddress};

/// One write to the kernel. Displays as `0000:01:10.0: bind vfio-pci`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Write {
    /// The device it changes: for settings through the PF, the VF (the PF when there is none of
    /// that number). `None` for modprobe.
    pub device: Option<PciAddress>,
    /// What is written.
    pub operation: Operation,
}

/// See [`Write`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Operation {
    /// A setting of a VF through its PF.
    Set(VfSetting),
    /// `sriov_numvfs`.
    NumVfs(u16),
    /// `sriov_drivers_autoprobe`.
    Autoprobe(bool),
    /// `driver_override`.
    Override(Option<DriverName>),
    /// `unbind` from this driver.
    Unbind(DriverName),
    /// `drivers_probe`, and the driver that will be found.
    Probe(Option<DriverName>),
    /// `reset`.
    Reset,
    /// modprobe.
    LoadDriver(DriverName),
    /// The VF's own netdev's MAC.
    NetdevMac(MacAddress),
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Some(device) => write!(f, "{device}: {}", self.operation),
            None => self.operation.fmt(f),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(VfSetting::Mac(mac)) => write!(f, "admin MAC {mac}"),
            Self::Set(VfSetting::Vlan(vlan)) => {
                write!(f, "VLAN {} qos {} {}", vlan.id, vlan.qos, vlan.protocol.name())
            }
            Self::Set(VfSetting::Spoofchk(on)) => write!(f, "spoofchk {}", on_off(*on)),
            Self::Set(VfSetting::Trust(on)) => write!(f, "trust {}", on_off(*on)),
            Self::Set(VfSetting::LinkState(state)) => f.write_str(match state {
                LinkState::Auto => "link state auto",
                LinkState::Enable => "link state enable",
                LinkState::Disable => "link state disable",
            }),
            Self::Set(VfSetting::Rate { min, max }) => write!(f, "rate {min} to {max} Mbit/s"),
            Self::NumVfs(count) => write!(f, "numvfs {count}"),
            Self::Autoprobe(on) => write!(f, "autoprobe {}", on_off(*on)),
            Self::Override(Some(driver)) => write!(f, "driver_override {driver}"),
            Self::Override(None) => f.write_str("driver_override cleared"),
            Self::Unbind(driver) => write!(f, "unbind {driver}"),
            Self::Probe(Some(driver)) => write!(f, "bind {driver}"),
            Self::Probe(None) => f.write_str("probe, no driver"),
            Self::Reset => f.write_str("reset"),
            Self::LoadDriver(driver) => write!(f, "modprobe {driver}"),
            Self::NetdevMac(mac) => write!(f, "netdev MAC {mac}"),
        }
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
