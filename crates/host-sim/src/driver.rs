//! How PF drivers differ, as data.
//!
//! Facts are read from Linux 6.12 (`drivers/net/ethernet/intel/igb/igb_main.c`,
//! `drivers/net/ethernet/intel/igbvf/netdev.c`) and, for igb, seen on the emulated host.

use serde::{Deserialize, Serialize};

/// The driver of a simulated PF.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// Intel 82576, the card that QEMU emulates.
    Igb,
    /// A card that can do all that netlink can say, with up to 64 VFs.
    Generic,
}

/// What a PF driver does, and what it refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Personality {
    /// The PF's driver.
    pub pf_driver: &'static str,
    /// The host's driver for its VFs.
    pub vf_driver: &'static str,
    /// The VFIO driver made for its VFs, when there is one.
    pub vfio_variant: Option<&'static str>,
    /// PCI vendor and device number of the PF.
    pub pf_id: (u16, u16),
    /// PCI vendor and device number of the VFs.
    pub vf_id: (u16, u16),
    /// What `sriov_totalvfs` reads unless the builder says otherwise.
    pub total_vfs: u16,
    /// More VFs than this are refused with EPERM by the driver itself.
    pub most_vfs: u16,
    /// Whether 802.1ad tags are taken; else EPROTONOSUPPORT.
    pub dot1ad: bool,
    /// Whether link state can be set; else EOPNOTSUPP.
    pub link_state: bool,
    /// Whether a lower rate limit is taken; else EINVAL.
    pub min_rate: bool,
    /// Link speed in Mbit/s; an upper rate limit above it is EINVAL.
    pub speed: u32,
    /// Whether rates are refused (EINVAL) while the PF has no carrier.
    pub rate_needs_carrier: bool,
    /// Spoof checking of a new VF.
    pub spoofchk: bool,
    /// Whether VF and PF talk through a mailbox that only works while the PF is up.
    pub mailbox_needs_pf_up: bool,
}

const IGB: Personality = Personality {
    pf_driver: "igb",
    vf_driver: "igbvf",
    vfio_variant: None,
    pf_id: (0x8086, 0x10c9),
    vf_id: (0x8086, 0x10ca),
    // `igb_probe_vfs`: pci_sriov_set_totalvfs(pdev, 7), though the card itself says 8.
    total_vfs: 7,
    most_vfs: 7,
    dot1ad: false,
    link_state: false,
    min_rate: false,
    speed: 1000,
    rate_needs_carrier: true,
    spoofchk: true,
    mailbox_needs_pf_up: true,
};

const GENERIC: Personality = Personality {
    pf_driver: "generic_pf",
    vf_driver: "generic_vf",
    vfio_variant: None,
    pf_id: (0x1b36, 0x00f0),
    vf_id: (0x1b36, 0x00f1),
    total_vfs: 64,
    most_vfs: 64,
    dot1ad: true,
    link_state: true,
    min_rate: true,
    speed: 100_000,
    rate_needs_carrier: false,
    spoofchk: false,
    mailbox_needs_pf_up: false,
};

impl Driver {
    /// Its row.
    pub const fn personality(self) -> &'static Personality {
        match self {
            Self::Igb => &IGB,
            Self::Generic => &GENERIC,
        }
    }
}
