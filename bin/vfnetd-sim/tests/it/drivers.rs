//! Guests on VFs of PFs that no machine at hand has.

use vfnet_host_sim::{Driver, ZeroMac};

use crate::daemon::{Daemon, HW, guest};
use crate::{VIRSH, installed};

const MAC: &str = "52:54:00:00:00:01";

#[test]
fn a_guest_has_its_mac_whichever_driver_the_pf_has_and_leaves_nothing_behind() {
    if !installed(VIRSH) {
        return;
    }
    for card in Driver::FULL {
        let daemon = Daemon::over(&[&format!("--make=ens1f0={}", card.name())]);
        daemon.define_network(HW);
        daemon.says(&["net-start", "hw"]);
        let before = daemon.host().facts();
        assert_eq!(before.len(), 7, "{card:?}");
        daemon.define_guest(&guest("web1", MAC));

        daemon.says(&["start", "web1"]);
        let held = daemon.host().facts();
        let held: Vec<_> = held.values().filter(|vf| vf.admin_mac.to_string() == MAC).collect();
        assert_eq!(held.len(), 1, "{card:?}");
        assert!(held[0].sticky && held[0].netdev_mac.is_none(), "{card:?}");

        daemon.says(&["destroy", "web1"]);
        assert!(daemon.rows(&["net-port-list", "hw"]).is_empty(), "{card:?}");
        let mut after = daemon.host().facts();
        // No MAC cannot be set again, so its own is.
        if matches!(card.personality().zero_mac, ZeroMac::Refused(_)) {
            for (at, vf) in &mut after {
                assert_eq!(vf.netdev_mac, before[at].netdev_mac, "{card:?}");
                (vf.admin_mac, vf.sticky) = (before[at].admin_mac, before[at].sticky);
                vf.mac_from_pf = before[at].mac_from_pf;
            }
        }
        assert_eq!(after, before, "{card:?}");
    }
}

#[test]
fn a_pf_that_makes_no_vfs_because_it_is_down_is_told() {
    if !installed(VIRSH) {
        return;
    }
    let daemon = Daemon::over(&["--make=ens1f0=bnxt_en,down"]);
    daemon.define_network(HW);
    let said = daemon.refuses(&["net-start", "hw"]);
    assert!(said.contains("ip link set ens1f0 up"), "{said}");
}
