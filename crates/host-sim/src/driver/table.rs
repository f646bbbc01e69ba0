//! The drivers. Unless one says otherwise, what is said was read in Linux 6.12 and never run.

use rustix::io::Errno;

use super::{AdminMac, OwnMac, Personality, PfUp, Rates, ZeroMac};

/// No lower limit, any upper one up to the link's speed.
const UPPER: Option<Rates> = Some(Rates { min: false, above: 0, need_carrier: false });

/// Both limits.
const BOTH: Option<Rates> = Some(Rates { min: true, above: 0, need_carrier: false });

/// drivers/net/ethernet/intel/igb/igb_main.c, igbvf/netdev.c; run on the emulated host.
/// `igb_probe_vfs`: `pci_sriov_set_totalvfs(pdev, 7)`, though the card itself says 8.
pub(super) const IGB: Personality = Personality {
    pf_driver: "igb",
    vf_driver: "igbvf",
    vfio_variant: None,
    pf_id: (0x8086, 0x10c9),
    vf_id: (0x8086, 0x10ca),
    total_vfs: 7,
    most_vfs: 7,
    makes_vfs: true,
    mac: true,
    zero_mac: ZeroMac::Clears,
    same_mac_ignored: false,
    own_mac: OwnMac::Table,
    admin_mac: AdminMac::Locks(Errno::ADDRNOTAVAIL),
    takes_mac_at_once: false,
    settings_reset: false,
    busy: None,
    vlan: true,
    qos: true,
    dot1ad: false,
    retag_ignored: false,
    spoofchk: Some(true),
    trust: true,
    link_state: false,
    rates: Some(Rates { min: false, above: 0, need_carrier: true }),
    speed: 1000,
    counts: false,
    pf_up: PfUp::Mailbox,
    late_netdev: false,
};

/// intel/ixgbe/ixgbe_sriov.c: `ixgbe_ndo_set_vf_bw` wants a link of exactly 10 Gbit/s and more
/// than 10 Mbit/s.
pub(super) const IXGBE: Personality = Personality {
    pf_driver: "ixgbe",
    vf_driver: "ixgbevf",
    pf_id: (0x8086, 0x10fb),
    vf_id: (0x8086, 0x10ed),
    total_vfs: 63,
    most_vfs: 63,
    admin_mac: AdminMac::Binds(Errno::PERM),
    link_state: true,
    rates: Some(Rates { min: false, above: 10, need_carrier: true }),
    speed: 10_000,
    counts: true,
    ..IGB
};

/// `intel/i40e/i40e_virtchnl_pf.c`: `i40e_vc_reset_vf` after MAC, tag and trust
/// (`i40e_ndo_set_vf_port_vlan`, as `ice_set_vf_port_vlan`);
/// `__I40E_VIRTCHNL_OP_PENDING` makes setters and `i40e_ndo_get_vf_config` answer EAGAIN, and the
/// VF is then missing from the table. intel/iavf/iavf_virtchnl.c: a VF that was reset asks for its
/// MAC again; iavf makes its netdev from a work queue.
pub(super) const I40E: Personality = Personality {
    pf_driver: "i40e",
    vf_driver: "iavf",
    pf_id: (0x8086, 0x1572),
    vf_id: (0x8086, 0x154c),
    total_vfs: 64,
    most_vfs: 64,
    takes_mac_at_once: true,
    settings_reset: true,
    busy: Some(Errno::AGAIN),
    rates: UPPER,
    speed: 10_000,
    pf_up: PfUp::NotNeeded,
    late_netdev: true,
    ..IXGBE
};

/// intel/ice/ice_sriov.c: as i40e, with EBUSY (`ice_check_vf_ready_for_cfg`); `ice_set_vf_mac`
/// leaves early when the MAC is the VF's already, whoever chose it; `hw_lan_addr` survives the VF's
/// driver. Single VLAN mode.
pub(super) const ICE: Personality = Personality {
    pf_driver: "ice",
    pf_id: (0x8086, 0x1592),
    vf_id: (0x8086, 0x1889),
    same_mac_ignored: true,
    own_mac: OwnMac::TableForGood,
    busy: Some(Errno::BUSY),
    rates: BOTH,
    speed: 100_000,
    ..I40E
};

/// mellanox/mlx5/core/esw/legacy.c, `eswitch.c`, `en_main.c`: the table has what the PF has set
/// and nothing else, and a VF may change its MAC.
pub(super) const MLX5: Personality = Personality {
    pf_driver: "mlx5_core",
    vf_driver: "mlx5_core",
    vfio_variant: Some("mlx5_vfio_pci"),
    pf_id: (0x15b3, 0x101d),
    vf_id: (0x15b3, 0x101e),
    total_vfs: 64,
    most_vfs: 64,
    own_mac: OwnMac::Hidden,
    admin_mac: AdminMac::Advises,
    spoofchk: Some(false),
    link_state: true,
    rates: BOTH,
    speed: 100_000,
    counts: true,
    pf_up: PfUp::NotNeeded,
    ..IGB
};

/// mellanox/mlx4/cmd.c, main.c: `mlx4_set_vf_mac` EPERM; `num_vfs` is a module parameter.
pub(super) const MLX4: Personality = Personality {
    pf_driver: "mlx4_core",
    vf_driver: "mlx4_core",
    vfio_variant: None,
    pf_id: (0x15b3, 0x1003),
    vf_id: (0x15b3, 0x1004),
    makes_vfs: false,
    zero_mac: ZeroMac::RefusedWithSpoofchk(Errno::PERM),
    trust: false,
    rates: BOTH,
    speed: 40_000,
    ..MLX5
};

/// `broadcom/bnxt/bnxt_sriov.c`: `bnxt_vf_ndo_prep` EINVAL while the PF is down, for reading too;
/// `bnxt_vf_configure_mac` keeps the VF's own MAC in `vf_mac_addr`, and `bnxt_get_vf_config` shows
/// that when no other is set; `bnxt_set_vf_vlan` compares numbers only. bnxt.c: `bnxt_update_vf_mac`.
pub(super) const BNXT: Personality = Personality {
    pf_driver: "bnxt_en",
    vf_driver: "bnxt_en",
    pf_id: (0x14e4, 0x16d7),
    vf_id: (0x14e4, 0x16dc),
    total_vfs: 64,
    most_vfs: 64,
    own_mac: OwnMac::Beside,
    admin_mac: AdminMac::Binds(Errno::ADDRNOTAVAIL),
    takes_mac_at_once: true,
    dot1ad: true,
    retag_ignored: true,
    spoofchk: Some(false),
    link_state: true,
    rates: BOTH,
    speed: 25_000,
    pf_up: PfUp::Everything,
    ..IGB
};

/// `qlogic/qede/qede_main.c`, `qlogic/qed/qed_sriov.c`: a forced MAC is one from the bulletin board.
pub(super) const QEDE: Personality = Personality {
    pf_driver: "qede",
    vf_driver: "qede",
    pf_id: (0x1077, 0x8070),
    vf_id: (0x1077, 0x8090),
    total_vfs: 64,
    most_vfs: 64,
    zero_mac: ZeroMac::Refused(Errno::INVAL),
    own_mac: OwnMac::Hidden,
    admin_mac: AdminMac::Binds(Errno::INVAL),
    link_state: true,
    rates: BOTH,
    speed: 25_000,
    pf_up: PfUp::NotNeeded,
    ..IGB
};

/// `sfc/ef10_sriov.c`.
pub(super) const SFC: Personality = Personality {
    pf_driver: "sfc",
    vf_driver: "sfc",
    pf_id: (0x1924, 0x0b03),
    vf_id: (0x1924, 0x1b03),
    own_mac: OwnMac::Hidden,
    admin_mac: AdminMac::Advises,
    qos: false,
    trust: false,
    link_state: true,
    rates: None,
    pf_up: PfUp::NotNeeded,
    ..IGB
};

/// `cisco/enic/enic_main.c`.
pub(super) const ENIC: Personality = Personality {
    pf_driver: "enic",
    vf_driver: "enic",
    pf_id: (0x1137, 0x0043),
    vf_id: (0x1137, 0x0071),
    makes_vfs: false,
    vlan: false,
    spoofchk: None,
    link_state: false,
    ..SFC
};

/// `netronome/nfp/nfp_net_sriov.c`, a firmware with every capability.
pub(super) const NFP: Personality = Personality {
    pf_driver: "nfp",
    vf_driver: "nfp_netvf",
    pf_id: (0x19ee, 0x4000),
    vf_id: (0x19ee, 0x6003),
    dot1ad: true,
    rates: BOTH,
    speed: 25_000,
    ..MLX5_LIKE
};

/// A VF's own MAC hidden, the admin's binding.
const MLX5_LIKE: Personality = Personality {
    vfio_variant: None,
    admin_mac: AdminMac::Binds(Errno::PERM),
    counts: false,
    ..MLX5
};

/// `huawei/hinic/hinic_sriov.c`.
pub(super) const HINIC: Personality = Personality {
    pf_driver: "hinic",
    vf_driver: "hinic",
    pf_id: (0x19e5, 0x1822),
    vf_id: (0x19e5, 0x375e),
    zero_mac: ZeroMac::Refused(Errno::INVAL),
    spoofchk: Some(true),
    ..MLX5_LIKE
};

/// `broadcom/bnx2x/bnx2x_sriov.c`.
pub(super) const BNX2X: Personality = Personality {
    pf_driver: "bnx2x",
    vf_driver: "bnx2x",
    pf_id: (0x14e4, 0x16a1),
    vf_id: (0x14e4, 0x16a9),
    zero_mac: ZeroMac::Refused(Errno::INVAL),
    spoofchk: Some(true),
    trust: false,
    rates: None,
    pf_up: PfUp::Everything,
    ..MLX5_LIKE
};

/// `virtio/virtio_pci_common.c`; `net/virtio_net.c` has no `ndo_set_vf_*`.
pub(super) const VIRTIO: Personality = Personality {
    pf_driver: "virtio-pci",
    vf_driver: "virtio-pci",
    vfio_variant: Some("virtio_vfio_pci"),
    pf_id: (0x1af4, 0x1041),
    vf_id: (0x1af4, 0x1041),
    mac: false,
    vlan: false,
    spoofchk: None,
    trust: false,
    link_state: false,
    rates: None,
    ..MLX5_LIKE
};

/// `amazon/ena/ena_netdev.c`: `pci_sriov_configure_simple`.
pub(super) const ENA: Personality = Personality {
    pf_driver: "ena",
    vf_driver: "ena",
    vfio_variant: None,
    pf_id: (0x1d0f, 0x0ec2),
    vf_id: (0x1d0f, 0xec20),
    ..VIRTIO
};

/// Nobody's.
pub(super) const GENERIC: Personality = Personality {
    pf_driver: "generic_pf",
    vf_driver: "generic_vf",
    vfio_variant: None,
    pf_id: (0x1b36, 0x00f0),
    vf_id: (0x1b36, 0x00f1),
    total_vfs: 64,
    most_vfs: 64,
    dot1ad: true,
    spoofchk: Some(false),
    link_state: true,
    rates: BOTH,
    speed: 100_000,
    pf_up: PfUp::NotNeeded,
    ..IGB
};
