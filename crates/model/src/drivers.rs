//! What the drivers of physical functions can do to their VFs, as data.
//!
//! One [`Row`] per driver. The engine reads it when a network is defined, so that an impossible
//! wish is refused then; the host reads it when a VF is prepared and given back. Facts are from
//! the kernel's source (Linux 6.12, the `.ndo_set_vf_*` handlers of each driver) unless a row
//! says that it was run.

use crate::vf::{LinkState, VfAttributes, WantedSettings};
use crate::{DriverName, MacAddress, PciAddress, Vlan, VlanProtocol};

/// Whether a driver has a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// Yes.
    Yes,
    /// No: the kernel answers EOPNOTSUPP, or the driver refuses every value but the default.
    No,
    /// Depends on firmware, mode or link; only trying tells.
    Depends,
}

/// What setting a VF's admin MAC to zero does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZeroMac {
    /// Clears it: the VF may choose its own again.
    Accepted,
    /// Refused; the VF's own MAC is the nearest, and where it had none [`parked_mac`].
    Refused,
    /// Refused (EPERM) unless spoof checking is off.
    SpoofchkMustBeOff,
    /// Not known: zero is tried, then what is nearest.
    Unknown,
}

/// One PF driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The driver's name, as in `/sys/bus/pci/drivers`; empty in [`UNKNOWN`].
    pub driver: &'static str,
    /// Whether `sriov_numvfs` can be written (`.sriov_configure`).
    pub makes_vfs: Support,
    /// The most VFs that the driver allows, where that is below `sriov_totalvfs`.
    pub max_vfs: Option<u16>,
    /// Admin MAC (`ndo_set_vf_mac`).
    pub mac: Support,
    /// What a zero MAC does.
    pub zero_mac: ZeroMac,
    /// Whether setting the MAC resets the VF under its driver, which then takes it at once, and
    /// tells the PF what it had last when there is none.
    pub mac_resets_vf: bool,
    /// Whether setting the MAC that the PF's table shows may do nothing, although the VF chose it
    /// and can change it.
    pub same_mac_ignored: bool,
    /// Whether the PF's table shows, when no MAC is set, the one that the VF's last driver told
    /// it, a guest's included.
    pub remembers_own_mac: bool,
    /// VLAN tag (`ndo_set_vf_vlan`), 802.1Q.
    pub vlan: Support,
    /// Whether another tag resets the VF under its driver.
    pub vlan_resets_vf: bool,
    /// 802.1p priority other than 0.
    pub qos: Support,
    /// EtherType 802.1ad.
    pub dot1ad: Support,
    /// Whether another EtherType for the same VLAN identifier is accepted and ignored, so that
    /// the tag must be taken off first.
    pub retag_needs_clearing: bool,
    /// Spoof checking (`ndo_set_vf_spoofchk`).
    pub spoofchk: Support,
    /// How spoof checking is on a new VF.
    pub spoofchk_default: bool,
    /// Trust (`ndo_set_vf_trust`).
    pub trust: Support,
    /// Whether changing trust resets the VF under its driver.
    pub trust_resets_vf: bool,
    /// Link state (`ndo_set_vf_link_state`).
    pub link_state: Support,
    /// Lower limit of transmission.
    pub min_rate: Support,
    /// Upper limit of transmission.
    pub max_rate: Support,
    /// Whether a VF works only while the PF is administratively up (mailbox, or firmware).
    pub needs_pf_up: bool,
    /// Whether a setting may be answered with success and not be made, so that each is read
    /// back at once.
    pub lies: bool,
}

/// A driver nobody has described: anything may be missing, and nothing is believed.
pub const UNKNOWN: Row = Row {
    driver: "",
    makes_vfs: Support::Depends,
    max_vfs: None,
    mac: Support::Depends,
    zero_mac: ZeroMac::Unknown,
    mac_resets_vf: true,
    same_mac_ignored: true,
    // Believing it of a driver that does not would take the holder's MAC for cleared.
    remembers_own_mac: false,
    vlan: Support::Depends,
    vlan_resets_vf: true,
    qos: Support::Depends,
    dot1ad: Support::Depends,
    retag_needs_clearing: true,
    spoofchk: Support::Depends,
    spoofchk_default: true,
    trust: Support::Depends,
    trust_resets_vf: true,
    link_state: Support::Depends,
    min_rate: Support::Depends,
    max_rate: Support::Depends,
    needs_pf_up: true,
    lies: true,
};

/// What most drivers have in common: MAC, VLAN, spoof checking and trust, no resets, no lies.
const USUAL: Row = Row {
    driver: "",
    makes_vfs: Support::Yes,
    max_vfs: None,
    mac: Support::Yes,
    zero_mac: ZeroMac::Accepted,
    mac_resets_vf: false,
    same_mac_ignored: false,
    remembers_own_mac: false,
    vlan: Support::Yes,
    vlan_resets_vf: false,
    qos: Support::Yes,
    dot1ad: Support::No,
    retag_needs_clearing: false,
    spoofchk: Support::Yes,
    spoofchk_default: true,
    trust: Support::Yes,
    trust_resets_vf: false,
    link_state: Support::Yes,
    min_rate: Support::No,
    max_rate: Support::Yes,
    needs_pf_up: false,
    lies: false,
};

/// No settings through the PF at all.
const BARE: Row = Row {
    mac: Support::No,
    vlan: Support::No,
    qos: Support::No,
    spoofchk: Support::No,
    trust: Support::No,
    link_state: Support::No,
    max_rate: Support::No,
    ..USUAL
};

/// Every described driver.
pub const ROWS: &[Row] = &[
    // kernel: intel/igb/igb_main.c (igb_ndo_set_vf_mac: zero clears IGB_VF_FLAG_PF_SET_MAC;
    // igb_ndo_set_vf_bw refuses a minimum). Run, as QEMU emulates it: 802.1ad answers
    // EPROTONOSUPPORT, link state EOPNOTSUPP; a MAC set while the PF is down is stored, but the
    // VF's driver then finds no mailbox.
    Row { driver: "igb", max_vfs: Some(7), link_state: Support::No, needs_pf_up: true, ..USUAL },
    // kernel: intel/ixgbe/ixgbe_sriov.c (63 VFs, 31 or 15 with traffic classes; the maximum
    // rate is taken only while the link is up at 10 Gbit/s).
    Row {
        driver: "ixgbe",
        max_vfs: Some(63),
        max_rate: Support::Depends,
        needs_pf_up: true,
        ..USUAL
    },
    // kernel: intel/i40e/i40e_virtchnl_pf.c (MAC, another tag and trust end in i40e_vc_reset_vf;
    // EAGAIN while another VF operation runs).
    Row {
        driver: "i40e",
        mac_resets_vf: true,
        vlan_resets_vf: true,
        trust_resets_vf: true,
        ..USUAL
    },
    // kernel: intel/ice/ice_sriov.c (MAC, another tag and trust reset the VF, the tag in
    // ice_set_vf_port_vlan; 802.1ad in double VLAN mode;
    // trust answers EOPNOTSUPP in switchdev mode; EBUSY while the VF is not ready; ice_set_vf_mac
    // returns early for the MAC that the VF has).
    Row {
        driver: "ice",
        mac_resets_vf: true,
        same_mac_ignored: true,
        vlan_resets_vf: true,
        trust_resets_vf: true,
        dot1ad: Support::Depends,
        trust: Support::Depends,
        min_rate: Support::Yes,
        ..USUAL
    },
    // kernel: mellanox/mlx4/cmd.c (mlx4_set_vf_mac: EPERM for an invalid MAC with spoofchk on;
    // VFs come from module parameters).
    Row {
        driver: "mlx4_core",
        makes_vfs: Support::No,
        zero_mac: ZeroMac::SpoofchkMustBeOff,
        dot1ad: Support::Depends,
        spoofchk_default: false,
        trust: Support::No,
        min_rate: Support::Depends,
        max_rate: Support::Depends,
        ..USUAL
    },
    // kernel: mellanox/mlx5/core/esw/legacy.c, en_main.c (in switchdev mode a tag, spoofchk and
    // trust are refused, and VLAN 0 succeeds).
    Row {
        driver: "mlx5_core",
        vlan: Support::Depends,
        qos: Support::Depends,
        spoofchk: Support::Depends,
        spoofchk_default: false,
        trust: Support::Depends,
        min_rate: Support::Yes,
        ..USUAL
    },
    // kernel: broadcom/bnxt/bnxt_sriov.c (trust ignores the firmware's answer; the same VLAN
    // with another EtherType returns 0 without a change; the PF must be up; bnxt_get_vf_config
    // shows vf_mac_addr, which bnxt_vf_configure_mac had from the VF, where none is set).
    Row {
        driver: "bnxt_en",
        remembers_own_mac: true,
        dot1ad: Support::Depends,
        retag_needs_clearing: true,
        spoofchk: Support::Depends,
        spoofchk_default: false,
        trust: Support::Depends,
        min_rate: Support::Yes,
        needs_pf_up: true,
        lies: true,
        ..USUAL
    },
    // kernel: qlogic/qede/qede_main.c (qede_set_vf_mac: EINVAL unless is_valid_ether_addr;
    // qlogic/qed/qed_sriov.c: trust decides where a MAC is kept, so trust comes first).
    Row { driver: "qede", zero_mac: ZeroMac::Refused, min_rate: Support::Yes, ..USUAL },
    // kernel: sfc/ef10_sriov.c (efx_ef10_sriov_set_vf_vlan refuses a priority; no trust).
    Row {
        driver: "sfc",
        qos: Support::No,
        spoofchk: Support::Depends,
        trust: Support::No,
        max_rate: Support::No,
        ..USUAL
    },
    // kernel: cisco/enic/enic_main.c (MAC and port profile only; VFs are made in UCS).
    Row { driver: "enic", makes_vfs: Support::No, mac: Support::Yes, ..BARE },
    // kernel: netronome/nfp/nfp_net_sriov.c (each setting needs a capability of the firmware, and
    // is off in the configuration table that the firmware brings).
    Row {
        driver: "nfp",
        makes_vfs: Support::Depends,
        mac: Support::Depends,
        vlan: Support::Depends,
        qos: Support::Depends,
        dot1ad: Support::Depends,
        spoofchk: Support::Depends,
        spoofchk_default: false,
        trust: Support::Depends,
        link_state: Support::Depends,
        min_rate: Support::Depends,
        max_rate: Support::Depends,
        ..USUAL
    },
    // kernel: huawei/hinic/hinic_sriov.c (hinic_ndo_set_vf_mac: EINVAL for zero).
    Row { driver: "hinic", zero_mac: ZeroMac::Refused, min_rate: Support::Depends, ..USUAL },
    // kernel: broadcom/bnx2x/bnx2x_sriov.c (zero refused, no trust, no rates; bnx2x_vf_ndo_prep:
    // EINVAL while the PF is down).
    Row {
        driver: "bnx2x",
        zero_mac: ZeroMac::Refused,
        trust: Support::No,
        max_rate: Support::No,
        needs_pf_up: true,
        ..USUAL
    },
    // kernel: net/virtio_net.c has no ndo_set_vf_*; virtio_pci makes VFs.
    Row { driver: "virtio-pci", ..BARE },
    // kernel: amazon/ena/ena_netdev.c: VFs, and no setting of them.
    Row { driver: "ena", ..BARE },
];

/// The row of a driver, [`UNKNOWN`] when nobody described it.
pub fn row(driver: Option<&DriverName>) -> &'static Row {
    driver
        .and_then(|driver| ROWS.iter().find(|row| row.driver == driver.as_str()))
        .unwrap_or(&UNKNOWN)
}

/// A VF that nobody has touched, in so far as its driver reports it: no MAC, no tag, spoof
/// checking as the driver has it by default, no trust, link state automatic, no limits.
pub fn baseline(row: &Row, observed: &VfAttributes) -> VfAttributes {
    VfAttributes {
        mac: MacAddress::ZERO,
        vlan: Vlan::UNTAGGED,
        spoofchk: observed.spoofchk.map(|_| row.spoofchk_default),
        trust: observed.trust.map(|_| false),
        link_state: observed.link_state.map(|_| LinkState::Auto),
        min_tx_rate: observed.min_tx_rate.map(|_| 0),
        max_tx_rate: observed.max_tx_rate.map(|_| 0),
    }
}

/// The address that stands for "none" where a driver refuses zero: locally administered, and
/// different for every VF of a host (`02:76`, then domain, bus, and slot with function).
pub fn parked_mac(vf: PciAddress) -> MacAddress {
    let [domain_high, domain_low] = vf.domain().to_be_bytes();
    MacAddress::new([0x02, 0x76, domain_high, domain_low, vf.bus(), vf.slot() << 3 | vf.function()])
}

impl Row {
    /// The wishes that this driver certainly cannot fulfil, in words; empty when all may work.
    pub fn lacks(&self, wanted: &WantedSettings) -> Vec<&'static str> {
        let tag = wanted.vlan.filter(|tag| *tag != Vlan::UNTAGGED);
        let (min, max) = wanted.rate.unwrap_or((0, 0));
        [
            (self.mac, !wanted.mac.is_zero(), "MAC"),
            (self.vlan, tag.is_some(), "VLAN tag"),
            (self.qos, tag.is_some_and(|tag| tag.qos != 0), "VLAN priority"),
            (
                self.dot1ad,
                tag.is_some_and(|tag| tag.protocol == VlanProtocol::Dot1Ad),
                "VLAN protocol 802.1ad",
            ),
            (
                self.spoofchk,
                wanted.spoofchk.is_some_and(|on| on != self.spoofchk_default),
                "spoofchk",
            ),
            (self.trust, wanted.trust == Some(true), "trust"),
            (
                self.link_state,
                wanted.link_state.is_some_and(|state| state != LinkState::Auto),
                "link state",
            ),
            (self.min_rate, min != 0, "minimum rate"),
            (self.max_rate, max != 0, "maximum rate"),
        ]
        .into_iter()
        .filter(|(support, wished, _)| *wished && *support == Support::No)
        .map(|(_, _, name)| name)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_one_row() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(row.driver.parse::<DriverName>().is_ok(), "{row:?}");
            assert!(ROWS[at + 1..].iter().all(|other| other.driver != row.driver), "{row:?}");
        }
    }

    #[test]
    fn a_driver_nobody_described_is_not_believed() {
        let row = row(Some(&"newnic".parse().unwrap()));
        assert!(row.lies && row.zero_mac == ZeroMac::Unknown);
        assert!(row.lacks(&WantedSettings::mac(MacAddress::new([2; 6]))).is_empty());
    }

    #[test]
    fn what_a_driver_lacks_is_named() {
        let igb = row(Some(&"igb".parse().unwrap()));
        let wanted = WantedSettings {
            vlan: Some(Vlan {
                protocol: VlanProtocol::Dot1Ad,
                ..Vlan::tagged(42.try_into().unwrap())
            }),
            link_state: Some(LinkState::Enable),
            trust: Some(true),
            rate: Some((5, 10)),
            ..WantedSettings::mac(MacAddress::new([2; 6]))
        };
        assert_eq!(igb.lacks(&wanted), ["VLAN protocol 802.1ad", "link state", "minimum rate"]);
    }

    #[test]
    fn a_wish_for_what_is_there_anyway_needs_no_support() {
        let enic = row(Some(&"enic".parse().unwrap()));
        let wanted = WantedSettings {
            vlan: Some(Vlan::UNTAGGED),
            link_state: Some(LinkState::Auto),
            trust: Some(false),
            rate: Some((0, 0)),
            ..WantedSettings::mac(MacAddress::new([2; 6]))
        };
        assert!(enic.lacks(&wanted).is_empty());
    }

    #[test]
    fn the_baseline_has_only_what_the_driver_reports() {
        let observed = VfAttributes { trust: Some(true), ..VfAttributes::UNSET };
        let base = baseline(&UNKNOWN, &observed);
        assert_eq!(base, VfAttributes { trust: Some(false), ..VfAttributes::UNSET });
    }

    #[test]
    fn parked_addresses_are_unicast_local_and_differ_between_vfs() {
        let a = parked_mac("0000:01:10.1".parse().unwrap());
        let b = parked_mac("0000:01:10.2".parse().unwrap());
        assert_ne!(a, b);
        assert!(!a.is_multicast() && a.octets()[0] & 2 != 0);
    }
}
