//! What a PF's driver does with a setting of a VF, and a VF's driver with a MAC.

use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::HostError;
use vfnet_model::vf::{VfIndex, VfSetting};
use vfnet_model::{MacAddress, PciAddress, Vlan, VlanProtocol};

use super::{Kernel, Row, gone};
use crate::driver::{AdminMac, OwnMac, Personality, PfUp, ZeroMac};

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
        self.ready(pf, index)?;
        let state = &self.pfs[&pf];
        let (personality, carrier) = (state.personality(), state.up && state.carrier);
        // Every driver's ndo_set_vf_*: `if (vf >= adapter->vfs_allocated_count) return -EINVAL`.
        let at = self.vf_address(pf, index).ok_or(Errno::INVAL)?;
        let row = &mut self.vfs.get_mut(&at).ok_or(Errno::INVAL)?.row;
        let before = row.clone();
        match setting {
            VfSetting::Mac(mac) => row.set_mac(personality, mac)?,
            VfSetting::Vlan(vlan) => row.set_vlan(personality, vlan)?,
            VfSetting::Spoofchk(_) if personality.spoofchk.is_none() => {
                return Err(Errno::OPNOTSUPP);
            }
            VfSetting::Spoofchk(on) => row.spoofchk = on,
            VfSetting::Trust(_) if !personality.trust => return Err(Errno::OPNOTSUPP),
            VfSetting::Trust(on) => row.trust = on,
            VfSetting::LinkState(_) if !personality.link_state => return Err(Errno::OPNOTSUPP),
            VfSetting::LinkState(link_state) => row.link_state = link_state,
            VfSetting::Rate { min, max } => row.set_rate(personality, carrier, (min, max))?,
        }
        let changed = *row != before;
        match setting {
            VfSetting::Mac(_) if changed => self.mac_was_set(at),
            VfSetting::Vlan(_) | VfSetting::Trust(_) if changed && personality.settings_reset => {
                self.reset_by_pf(at);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the PF's driver has time for a VF; waits as long as the drivers do (kernel:
    /// `i40e_check_vf_init_timeout`, `ice_wait_on_vf_reset`: 15 times 20 ms).
    pub(super) fn ready(&mut self, pf: PciAddress, index: VfIndex) -> Result<(), Errno> {
        const PATIENCE: Duration = Duration::from_millis(300);
        let Some(state) = self.pfs.get(&pf) else { return Ok(()) };
        if state.personality().pf_up == PfUp::Everything && !state.up {
            return Err(Errno::INVAL);
        }
        let Some(busy) = state.personality().busy else { return Ok(()) };
        if state.busy_until > self.clock || self.is_stuck(pf) {
            return Err(busy);
        }
        let at = self.vf_address(pf, index);
        let until = at.and_then(|at| self.vfs.get(&at)).map_or(self.clock, |vf| vf.reset_until);
        let left = until.saturating_sub(self.clock);
        self.advance(left.min(PATIENCE));
        if left > PATIENCE { Err(busy) } else { Ok(()) }
    }

    fn mac_was_set(&mut self, device: PciAddress) {
        let Some(vf) = self.vfs.get(&device) else { return };
        let personality = self.personality_of(vf);
        if personality.settings_reset {
            self.reset_by_pf(device);
        } else if personality.takes_mac_at_once {
            self.take_admin_mac(device);
        }
    }

    /// The PF's driver resets the VF, and a host driver that has it asks for everything anew.
    fn reset_by_pf(&mut self, device: PciAddress) {
        // Once in a while longer than the PF's driver waits for.
        let takes = Duration::from_millis(20 + self.chance.next() % 400);
        if let Some(vf) = self.vfs.get_mut(&device) {
            vf.reset_until = self.clock + takes;
        }
        self.reset_function(device);
        self.take_admin_mac(device);
    }

    /// A VF's host driver hears of its admin MAC; without one it tells the PF what it has
    /// (kernel: iavf, VIRTCHNL_OP_GET_VF_RESOURCES).
    fn take_admin_mac(&mut self, device: PciAddress) {
        let Some(vf) = self.vfs.get_mut(&device) else { return };
        let personality = self.pfs[&vf.pf].personality();
        let Some(netdev) = &mut vf.netdev else { return };
        if vf.row.sticky {
            netdev.mac = vf.row.mac;
            netdev.perm = Some(vf.row.mac);
        } else {
            vf.row.learn(personality, netdev.mac);
        }
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
        let pf = &self.pfs[&vf.pf];
        if pf.answers_mailbox() {
            let bound = vf.row.sticky && !vf.row.trust;
            match pf.personality().admin_mac {
                AdminMac::Locks(errno) if bound => {
                    // igb_set_vf_mac_addr: "attempted to override administratively set MAC
                    // address". igbvf then falls back to perm_addr, and is content when that was
                    // asked for.
                    netdev.mac = netdev.perm.unwrap_or(netdev.mac);
                    return if netdev.mac == mac { Ok(()) } else { Err(refused(errno)) };
                }
                AdminMac::Binds(errno) if bound && mac != vf.row.mac => {
                    return Err(refused(errno));
                }
                _ => vf.row.learn(pf.personality(), mac),
            }
        }
        netdev.mac = mac;
        netdev.mac_from_pf = false;
        Ok(())
    }
}

impl Row {
    fn set_mac(&mut self, personality: &Personality, mac: MacAddress) -> Result<(), Errno> {
        if !personality.mac {
            return Err(Errno::OPNOTSUPP);
        }
        if mac.is_multicast() {
            return Err(Errno::INVAL);
        }
        match personality.zero_mac {
            ZeroMac::Refused(errno) if mac.is_zero() => return Err(errno),
            ZeroMac::RefusedWithSpoofchk(errno) if mac.is_zero() && self.spoofchk => {
                return Err(errno);
            }
            _ => {}
        }
        if personality.same_mac_ignored && self.mac == mac {
            return Ok(());
        }
        // Zero clears the flag "for libvirt" (igb_ndo_set_vf_mac); nobody looks whether another
        // VF has the MAC.
        self.mac = mac;
        self.sticky = !mac.is_zero();
        Ok(())
    }

    fn set_vlan(&mut self, personality: &Personality, vlan: Vlan) -> Result<(), Errno> {
        if !personality.vlan {
            return Err(Errno::OPNOTSUPP);
        }
        if vlan.qos > 7 || vlan.qos > 0 && !personality.qos {
            return Err(Errno::INVAL);
        }
        if vlan.protocol == VlanProtocol::Dot1Ad && !personality.dot1ad {
            return Err(Errno::PROTONOSUPPORT);
        }
        let same = (self.vlan.id, self.vlan.qos) == (vlan.id, vlan.qos);
        if !(same && personality.retag_ignored) {
            self.vlan = vlan;
        }
        Ok(())
    }

    fn set_rate(
        &mut self,
        personality: &Personality,
        carrier: bool,
        (min, max): (u32, u32),
    ) -> Result<(), Errno> {
        let rates = personality.rates.ok_or(Errno::OPNOTSUPP)?;
        let no_carrier = rates.need_carrier && !carrier;
        let too_little = max > 0 && max <= rates.above;
        if min > 0 && !rates.min || no_carrier || too_little || max > personality.speed {
            return Err(Errno::INVAL);
        }
        (self.min_rate, self.max_rate) = (min, max);
        Ok(())
    }

    /// The VF tells the PF its own MAC.
    pub(super) const fn learn(&mut self, personality: &Personality, mac: MacAddress) {
        match personality.own_mac {
            OwnMac::Table | OwnMac::TableForGood => self.mac = mac,
            OwnMac::Beside => self.beside = mac,
            OwnMac::Hidden => {}
        }
    }

    /// The MAC that the PF's table has.
    pub(crate) fn shown_mac(&self) -> MacAddress {
        if self.sticky || self.beside.is_zero() { self.mac } else { self.beside }
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
