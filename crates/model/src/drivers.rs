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

/// How far a row was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tested {
    /// Run, with this.
    Run(&'static str),
    /// Never run; VFs are lent and given back in tests on a simulation of the whole driver, made
    /// from the same source.
    Simulated,
    /// Never run; in tests on a simulation of what it can do.
    Outlined,
    /// Nobody has described it.
    Not,
}

/// One PF driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The driver's name, as in `/sys/bus/pci/drivers`; empty in [`UNKNOWN`].
    pub driver: &'static str,
    /// Where it is from: a file of Linux 6.12 below `drivers/net/ethernet`, or its path; empty in
    /// [`UNKNOWN`].
    pub source: &'static str,
    /// How far it was tried.
    pub tested: Tested,
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
    source: "",
    tested: Tested::Not,
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
    source: "",
    tested: Tested::Outlined,
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
    Row {
        driver: "igb",
        source: "intel/igb/igb_main.c",
        tested: Tested::Run("the 82576 that QEMU emulates"),
        max_vfs: Some(7),
        link_state: Support::No,
        needs_pf_up: true,
        ..USUAL
    },
    // kernel: intel/ixgbe/ixgbe_sriov.c (63 VFs, 31 or 15 with traffic classes; the maximum
    // rate is taken only while the link is up at 10 Gbit/s).
    Row {
        driver: "ixgbe",
        source: "intel/ixgbe/ixgbe_sriov.c",
        tested: Tested::Simulated,
        max_vfs: Some(63),
        max_rate: Support::Depends,
        needs_pf_up: true,
        ..USUAL
    },
    // kernel: intel/i40e/i40e_virtchnl_pf.c (MAC, another tag and trust end in i40e_vc_reset_vf;
    // EAGAIN while another VF operation runs).
    Row {
        driver: "i40e",
        source: "intel/i40e/i40e_virtchnl_pf.c",
        tested: Tested::Simulated,
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
        source: "intel/ice/ice_sriov.c",
        tested: Tested::Simulated,
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
        source: "mellanox/mlx4/cmd.c",
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
        source: "mellanox/mlx5/core/esw/legacy.c",
        tested: Tested::Simulated,
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
        source: "broadcom/bnxt/bnxt_sriov.c",
        tested: Tested::Simulated,
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
    Row {
        driver: "qede",
        source: "qlogic/qede/qede_main.c",
        tested: Tested::Simulated,
        zero_mac: ZeroMac::Refused,
        min_rate: Support::Yes,
        ..USUAL
    },
    // kernel: sfc/ef10_sriov.c (efx_ef10_sriov_set_vf_vlan refuses a priority; no trust).
    Row {
        driver: "sfc",
        source: "sfc/ef10_sriov.c",
        qos: Support::No,
        spoofchk: Support::Depends,
        trust: Support::No,
        max_rate: Support::No,
        ..USUAL
    },
    // kernel: cisco/enic/enic_main.c (MAC and port profile only; VFs are made in UCS).
    Row {
        driver: "enic",
        source: "cisco/enic/enic_main.c",
        makes_vfs: Support::No,
        mac: Support::Yes,
        ..BARE
    },
    // kernel: netronome/nfp/nfp_net_sriov.c (each setting needs a capability of the firmware, and
    // is off in the configuration table that the firmware brings).
    Row {
        driver: "nfp",
        source: "netronome/nfp/nfp_net_sriov.c",
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
    Row {
        driver: "hinic",
        source: "huawei/hinic/hinic_sriov.c",
        zero_mac: ZeroMac::Refused,
        min_rate: Support::Depends,
        ..USUAL
    },
    // kernel: broadcom/bnx2x/bnx2x_sriov.c (zero refused, no trust, no rates; bnx2x_vf_ndo_prep:
    // EINVAL while the PF is down).
    Row {
        driver: "bnx2x",
        source: "broadcom/bnx2x/bnx2x_sriov.c",
        zero_mac: ZeroMac::Refused,
        trust: Support::No,
        max_rate: Support::No,
        needs_pf_up: true,
        ..USUAL
    },
    // kernel: net/virtio_net.c has no ndo_set_vf_*; virtio_pci makes VFs.
    Row { driver: "virtio-pci", source: "drivers/net/virtio_net.c", ..BARE },
    // kernel: amazon/ena/ena_netdev.c: VFs, and no setting of them.
    Row { driver: "ena", source: "amazon/ena/ena_netdev.c", ..BARE },
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
    /// Where it is from and how far it was tried, in words.
    pub fn provenance(&self) -> String {
        let source = match self.source {
            "" => return "nobody has described it: everything is tried, and read back".to_owned(),
            path if path.starts_with("drivers/") => path.to_owned(),
            file => format!("drivers/net/ethernet/{file}"),
        };
        let tested = match self.tested {
            Tested::Run(what) => format!("run with {what}"),
            Tested::Simulated => "never run; tried on a simulation of the driver".to_owned(),
            Tested::Outlined => "never run; tried on a simulation of what it can do".to_owned(),
            Tested::Not => "never tried".to_owned(),
        };
        format!("from Linux 6.12, {source}; {tested}")
    }

    /// What can be set on its VFs, what cannot, and what only trying tells, in words.
    pub fn abilities(&self) -> String {
        let of = |asked: Support| {
            let names = self.settings().into_iter().filter(|(support, _)| *support == asked);
            names.map(|(_, name)| name).collect::<Vec<_>>().join(", ")
        };
        let parts = [
            ("sets ", of(Support::Yes)),
            ("does not set ", of(Support::No)),
            ("may set, by firmware, mode or link: ", of(Support::Depends)),
        ];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        parts.map(|(verb, names)| format!("{verb}{names}")).collect::<Vec<_>>().join("; ")
    }

    /// What vfnet goes about in another way than usual, in words.
    pub fn quirks(&self) -> Vec<String> {
        let resets = [
            (self.mac_resets_vf, "MAC"),
            (self.vlan_resets_vf, "VLAN tag"),
            (self.trust_resets_vf, "trust"),
        ];
        let resets = resets.into_iter().filter(|(it, _)| *it).map(|(_, name)| name);
        let resets = resets.collect::<Vec<_>>().join(", ");
        let zero_mac = match self.zero_mac {
            ZeroMac::Accepted => None,
            ZeroMac::Refused => Some("a MAC cannot be taken away again, only changed"),
            ZeroMac::SpoofchkMustBeOff => {
                Some("a MAC can be taken away only while spoof checking is off")
            }
            ZeroMac::Unknown => Some("whether a MAC can be taken away again is tried"),
        };
        let quirks = [
            self.max_vfs.map(|most| format!("makes {most} VFs at most")),
            (self.makes_vfs == Support::No).then(|| "makes no VFs by sriov_numvfs".to_owned()),
            self.needs_pf_up.then(|| "its VFs work only while the PF is up".to_owned()),
            (!resets.is_empty())
                .then(|| format!("a VF is reset for another {resets}, so not under a guest")),
            zero_mac.map(str::to_owned),
            self.remembers_own_mac
                .then(|| "goes on showing the MAC that a guest's driver told it".to_owned()),
            self.retag_needs_clearing
                .then(|| "a tag is taken off before another protocol is set".to_owned()),
            self.lies.then(|| "says success to what it does not do: all is read back".to_owned()),
        ];
        quirks.into_iter().flatten().collect()
    }

    fn settings(&self) -> [(Support, &'static str); 9] {
        [
            (self.mac, "MAC"),
            (self.vlan, "VLAN tag"),
            (self.qos, "VLAN priority"),
            (self.dot1ad, "802.1ad"),
            (self.spoofchk, "spoof checking"),
            (self.trust, "trust"),
            (self.link_state, "link state"),
            (self.min_rate, "minimum rate"),
            (self.max_rate, "maximum rate"),
        ]
    }

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
    fn every_row_says_where_it_is_from_and_how_it_was_tried() {
        for row in ROWS {
            assert!(row.source.ends_with(".c") && row.tested != Tested::Not, "{row:?}");
            assert!(row.provenance().contains("from Linux 6.12, drivers/"), "{row:?}");
        }
        let run = ROWS.iter().filter(|row| matches!(row.tested, Tested::Run(_)));
        assert_eq!(run.map(|row| row.driver).collect::<Vec<_>>(), ["igb"]);
        assert!(UNKNOWN.provenance().contains("nobody has described it"));
    }

    #[test]
    fn a_row_can_be_read() {
        let igb = row(Some(&"igb".parse().unwrap()));
        assert_eq!(
            igb.abilities(),
            "sets MAC, VLAN tag, VLAN priority, spoof checking, trust, maximum rate; does not set \
             802.1ad, link state, minimum rate"
        );
        assert_eq!(igb.quirks(), ["makes 7 VFs at most", "its VFs work only while the PF is up"]);
        let ice = row(Some(&"ice".parse().unwrap()));
        assert!(ice.abilities().contains("may set, by firmware, mode or link: 802.1ad, trust"));
        assert!(ice.quirks()[0].contains("for another MAC, VLAN tag, trust"), "{:?}", ice.quirks());
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
