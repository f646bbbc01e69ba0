//! How PF drivers differ, as data.
//!
//! A [`Personality`] is what a driver does, which `vfnet_model::drivers` does not decide: that
//! table is what vfnet believes, written apart from this one, so that a wrong row there shows as
//! a VF that does not come back. Facts are read from Linux 6.12; [`table`] names the files. Only
//! igb was also run, as QEMU emulates it.

mod table;

use std::str::FromStr;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The driver of a simulated PF.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// Intel 82576, the card that QEMU emulates.
    Igb,
    /// Intel 82599.
    Ixgbe,
    /// Intel X710.
    I40e,
    /// Intel E810.
    Ice,
    /// NVIDIA ConnectX-3: VFs from module parameters.
    Mlx4,
    /// NVIDIA ConnectX-6 Dx, its e-switch in legacy mode.
    Mlx5,
    /// Broadcom BCM57414.
    Bnxt,
    /// Marvell `FastLinQ` 41000.
    Qede,
    /// Solarflare SFC9250.
    Sfc,
    /// Cisco VIC: VFs from the chassis' management.
    Enic,
    /// Netronome Agilio.
    Nfp,
    /// Huawei Hi1822.
    Hinic,
    /// Broadcom BCM57840.
    Bnx2x,
    /// A virtio network device with SR-IOV: no settings through the PF.
    Virtio,
    /// Amazon's: no settings through the PF.
    Ena,
    /// A card that can do all that netlink can say, with up to 64 VFs.
    Generic,
}

/// What setting a zero MAC does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZeroMac {
    /// None is set any more.
    Clears,
    /// Refused.
    Refused(Errno),
    /// Refused while spoof checking is on.
    RefusedWithSpoofchk(Errno),
}

/// Where the MAC goes that a VF has chosen itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnMac {
    /// Into the PF's table, until the function is reset.
    Table,
    /// Into the PF's table, where it survives resets, and is handed to the VF's next driver.
    TableForGood,
    /// Into a place beside the admin MAC, and shows when none of those is set, whoever told it.
    Beside,
    /// Nowhere that the PF shows.
    Hidden,
}

/// What a VF may do about its MAC once the PF has set one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminMac {
    /// Nothing unless it is trusted, not even set the one it has; its driver then falls back to
    /// the one it was given.
    Locks(Errno),
    /// Nothing but set that one, unless it is trusted.
    Binds(Errno),
    /// What it wants.
    Advises,
}

/// Which limits of transmission are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// A lower one; else EINVAL.
    pub min: bool,
    /// Upper ones have to be above this, unless they are 0.
    pub above: u32,
    /// Whether they are refused (EINVAL) while the PF has no carrier.
    pub need_carrier: bool,
}

/// What needs the PF to be administratively up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PfUp {
    /// Nothing.
    NotNeeded,
    /// The mailbox between VF and PF.
    Mailbox,
    /// Setting anything (else EINVAL), reading the PF's table (else it is empty), and making and
    /// removing VFs (else success, and nothing is done).
    Everything,
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
    /// Whether `sriov_numvfs` can be written; else ENOENT, and VFs are there from boot.
    pub makes_vfs: bool,
    /// Whether there is a MAC, and with it a table of VFs, at all.
    pub mac: bool,
    /// What a zero MAC does.
    pub zero_mac: ZeroMac,
    /// Whether setting the MAC that shows answers success and does nothing, even where the VF
    /// has chosen it.
    pub same_mac_ignored: bool,
    /// Where a VF's own MAC goes.
    pub own_mac: OwnMac,
    /// What an admin MAC means for the VF.
    pub admin_mac: AdminMac,
    /// Whether the VF's driver takes a new admin MAC at once, not only when it starts.
    pub takes_mac_at_once: bool,
    /// Whether setting another MAC, tag or trust resets the VF.
    pub settings_reset: bool,
    /// The error while another operation runs, or the VF is being reset.
    pub busy: Option<Errno>,
    /// Whether there is a tag; else EOPNOTSUPP.
    pub vlan: bool,
    /// Whether a priority other than 0 is taken; else EINVAL.
    pub qos: bool,
    /// Whether 802.1ad tags are taken; else EPROTONOSUPPORT.
    pub dot1ad: bool,
    /// Whether the same tag of another protocol answers success and is not taken.
    pub retag_ignored: bool,
    /// Spoof checking of a new VF; `None`: EOPNOTSUPP, and none is reported.
    pub spoofchk: Option<bool>,
    /// Whether there is trust; else EOPNOTSUPP, and none is reported.
    pub trust: bool,
    /// Whether link state can be set; else EOPNOTSUPP.
    pub link_state: bool,
    /// Limits of transmission; `None`: EOPNOTSUPP.
    pub rates: Option<Rates>,
    /// Link speed in Mbit/s; an upper limit above it is EINVAL.
    pub speed: u32,
    /// Whether what a VF receives and sends is counted (`ndo_get_vf_stats`).
    pub counts: bool,
    /// What needs the PF to be up.
    pub pf_up: PfUp,
    /// Whether the VF's driver makes its netdev some time after it was bound.
    pub late_netdev: bool,
}

impl Driver {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::Igb,
        Self::Ixgbe,
        Self::I40e,
        Self::Ice,
        Self::Mlx4,
        Self::Mlx5,
        Self::Bnxt,
        Self::Qede,
        Self::Sfc,
        Self::Enic,
        Self::Nfp,
        Self::Hinic,
        Self::Bnx2x,
        Self::Virtio,
        Self::Ena,
        Self::Generic,
    ];

    /// Those that are simulated with their own ways of failing, and not only by what they can do.
    pub const FULL: [Self; 7] =
        [Self::Igb, Self::Ixgbe, Self::I40e, Self::Ice, Self::Mlx5, Self::Bnxt, Self::Qede];

    /// Its row.
    pub const fn personality(self) -> &'static Personality {
        match self {
            Self::Igb => &table::IGB,
            Self::Ixgbe => &table::IXGBE,
            Self::I40e => &table::I40E,
            Self::Ice => &table::ICE,
            Self::Mlx4 => &table::MLX4,
            Self::Mlx5 => &table::MLX5,
            Self::Bnxt => &table::BNXT,
            Self::Qede => &table::QEDE,
            Self::Sfc => &table::SFC,
            Self::Enic => &table::ENIC,
            Self::Nfp => &table::NFP,
            Self::Hinic => &table::HINIC,
            Self::Bnx2x => &table::BNX2X,
            Self::Virtio => &table::VIRTIO,
            Self::Ena => &table::ENA,
            Self::Generic => &table::GENERIC,
        }
    }

    /// The name of the PF's driver, as in `/sys/bus/pci/drivers`; of the one that does not exist,
    /// `generic`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            known => known.personality().pf_driver,
        }
    }
}

/// No simulated driver has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no simulated driver '{0}': {all}", all = Driver::ALL.map(Driver::name).join(", "))]
pub struct UnknownDriver(String);

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, UnknownDriver> {
        let found = Self::ALL.into_iter().find(|driver| driver.name() == name);
        found.ok_or_else(|| UnknownDriver(name.to_owned()))
    }
}
