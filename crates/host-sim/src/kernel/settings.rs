//! What a PF's driver does with a setting of a VF, and a VF's driver with a MAC.

use rustix::io::Errno;
use vfnet_host::HostError;
use vfnet_model::vf::{VfIndex, VfSetting};
use vfnet_model::{MacAddress, PciAddress, VlanProtocol};

use super::{Kernel, gone};

impl Kernel {
    /// One RTM_SETLINK with one setting.
    pub(crate) fn set_vf(
        &mut self,
        pf: PciAddress,
        index: VfIndex,
        setting: VfSetting,
    ) -> Result<(), HostError> {
        self.pf_with_netdev(pf)?;
        self.apply(pf, index, setting).map_err(|errno| setting_refused(pf, index, setting, errno))
    }

    fn apply(&mut self, pf: PciAddress, index: VfIndex, setting: VfSetting) -> Result<(), Errno> {
        let state = &self.pfs[&pf];
        let (personality, carrier) = (state.personality(), state.up && state.carrier);
        // Every driver's ndo_set_vf_*: `if (vf >= adapter->vfs_allocated_count) return -EINVAL`.
        let at = self.vf_address(pf, index).ok_or(Errno::INVAL)?;
        let row = &mut self.vfs.get_mut(&at).ok_or(Errno::INVAL)?.row;
        match setting {
            VfSetting::Mac(mac) if mac.is_multicast() => return Err(Errno::INVAL),
            VfSetting::Mac(mac) => {
                // Zero clears the flag "for libvirt" (igb_ndo_set_vf_mac); nobody looks whether
                // another VF has the MAC.
                row.mac = mac;
                row.sticky = !mac.is_zero();
            }
            VfSetting::Vlan(vlan) => {
                if vlan.qos > 7 {
                    return Err(Errno::INVAL);
                }
                if vlan.protocol == VlanProtocol::Dot1Ad && !personality.dot1ad {
                    return Err(Errno::PROTONOSUPPORT);
                }
                row.vlan = vlan;
            }
            VfSetting::Spoofchk(on) => row.spoofchk = on,
            VfSetting::Trust(on) => row.trust = on,
            VfSetting::LinkState(_) if !personality.link_state => return Err(Errno::OPNOTSUPP),
            VfSetting::LinkState(link_state) => row.link_state = link_state,
            VfSetting::Rate { min, max } => {
                // igb_ndo_set_vf_bw: no lower limit, link up (E1000_STATUS_LU), at most its speed.
                let no_carrier = personality.rate_needs_carrier && !carrier;
                if min > 0 && !personality.min_rate || no_carrier || max > personality.speed {
                    return Err(Errno::INVAL);
                }
                row.min_rate = min;
                row.max_rate = max;
            }
        }
        Ok(())
    }

    /// `ndo_set_mac_address` of the VF's own netdev.
    pub(crate) fn set_netdev_mac(
        &mut self,
        device: PciAddress,
        mac: MacAddress,
    ) -> Result<(), HostError> {
        let refused = |errno: Errno| HostError::Netlink {
            doing: format!("set MAC {mac} of the netdev of {device}"),
            text: None,
            source: errno.into(),
        };
        let no_netdev = || gone(format!("netdev of {device}"));
        let vf = self.vfs.get_mut(&device).ok_or_else(no_netdev)?;
        let netdev = vf.netdev.as_mut().filter(|dev| !dev.elsewhere).ok_or_else(no_netdev)?;
        if mac.is_zero() || mac.is_multicast() {
            return Err(refused(Errno::ADDRNOTAVAIL));
        }
        if netdev.mac == mac {
            // The driver is not asked (kernel: dev_set_mac_address), so a PF that has forgotten
            // the MAC does not learn it again.
            netdev.mac_from_pf = false;
            return Ok(());
        }
        if self.pfs[&vf.pf].answers_mailbox() {
            if vf.row.sticky && !vf.row.trust {
                // igb_set_vf_mac_addr: "attempted to override administratively set MAC address".
                // igbvf then falls back to perm_addr, and is content when that was asked for.
                netdev.mac = netdev.perm.unwrap_or(netdev.mac);
                return if netdev.mac == mac { Ok(()) } else { Err(refused(Errno::ADDRNOTAVAIL)) };
            }
            vf.row.mac = mac;
        }
        netdev.mac = mac;
        netdev.mac_from_pf = false;
        Ok(())
    }
}

pub(crate) fn setting_refused(
    pf: PciAddress,
    vf: VfIndex,
    setting: VfSetting,
    errno: Errno,
) -> HostError {
    HostError::Setting { pf, vf, setting: setting.name(), text: None, source: errno.into() }
}
