//! What happens to the machine without the program under test: power, administrators, guests.

use std::collections::BTreeSet;
use std::time::Duration;

use vfnet_model::{DriverName, PciAddress};

use super::binding::name;
use super::{Holder, Kernel, NetdevState, OpenGroup, Pause, Step, VFIO_PCI};

/// Why a VFIO group cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VfioOpenError {
    /// The device is not on a VFIO driver, or there is no such device or IOMMU.
    #[error("{0} is not on a VFIO driver")]
    NotOnVfio(PciAddress),
    /// Somebody else has it.
    #[error("group {group} is open by {holder}")]
    Busy {
        /// The group.
        group: u32,
        /// Who.
        holder: String,
    },
    /// Another endpoint of the group has a host driver.
    #[error("group {group} is not viable: {member} is bound to {driver}")]
    NotViable {
        /// The group.
        group: u32,
        /// The endpoint.
        member: PciAddress,
        /// Its driver.
        driver: DriverName,
    },
}

impl Kernel {
    /// Power off and on: VFs, bindings and modules are as the firmware and the boot scripts leave
    /// them, which is without VFs, unless a module parameter makes them. IOMMU groups have other
    /// numbers.
    pub(crate) fn reboot(&mut self) {
        self.boot_id = self.chance.boot_id();
        self.clock += Duration::from_secs(60);
        self.loaded = self.loaded_at_boot.clone();
        self.open_groups.clear();
        self.pending.clear();
        self.events.clear();
        self.vfs.clear();
        self.next_group = u32::try_from(self.chance.next() % 64).unwrap_or_default();
        for pf in self.pfs.values_mut() {
            pf.num_vfs = 0;
            pf.autoprobe = pf.autoprobe_at_boot;
            pf.driver = Some(name(pf.personality().pf_driver));
        }
        for other in self.others.values_mut() {
            other.driver = other.device.driver.clone();
            other.driver_override = None;
            other.group = None;
        }
        self.make_boot_vfs();
    }

    /// The VFs that module parameters make.
    pub(crate) fn make_boot_vfs(&mut self) {
        let pfs: Vec<_> = self.pfs.iter().map(|(&at, pf)| (at, pf.vfs_at_boot)).collect();
        for (pf, count) in pfs.into_iter().filter(|&(_, count)| count > 0) {
            // Past the last bus there is no room for more; the kernel says so and goes on.
            let _ = self.make_vfs(pf, count);
        }
    }

    /// Opens a device's VFIO group and the device, which resets the function.
    pub(crate) fn open_vfio(
        &mut self,
        device: PciAddress,
        who: Holder,
    ) -> Result<(), VfioOpenError> {
        let on_vfio = self.driver_of(device).is_some_and(Self::is_vfio);
        let group = self.group_of(device).filter(|_| on_vfio);
        let group = group.ok_or(VfioOpenError::NotOnVfio(device))?;
        if let Some(open) = self.open_groups.get(&group)
            && open.holder != who
        {
            return Err(VfioOpenError::Busy { group, holder: open.holder.name.clone() });
        }
        let members = self.groups().remove(&group).unwrap_or_default();
        let in_the_way = members.into_iter().find(|member| !member.bridge && !member.on_vfio);
        if let Some(member) = in_the_way
            && let Some(driver) = member.driver
        {
            return Err(VfioOpenError::NotViable { group, member: member.address, driver });
        }
        let nobody = OpenGroup { holder: who, devices: BTreeSet::new() };
        self.open_groups.entry(group).or_insert(nobody).devices.insert(device);
        self.reset_function(device);
        // The guest's driver tells the PF which MAC it has been given.
        if let Some(vf) = self.vfs.get_mut(&device)
            && vf.row.sticky
        {
            vf.row.learn(self.pfs[&vf.pf].personality(), vf.row.mac);
        }
        Ok(())
    }

    /// Closes a device, and its VFIO group with the last one; what waited for that goes on.
    pub(crate) fn close_vfio(&mut self, device: PciAddress) {
        if let Some(group) = self.group_of(device) {
            self.is_no_longer_open(group, device);
        }
        self.reset_function(device);
        self.advance(Duration::ZERO);
    }

    pub(super) fn is_no_longer_open(&mut self, group: u32, device: PciAddress) {
        if let Some(open) = self.open_groups.get_mut(&group) {
            open.devices.remove(&device);
            if open.devices.is_empty() {
                self.open_groups.remove(&group);
            }
        }
    }

    /// Closes what ended processes had open, as the kernel does.
    pub(crate) fn reap(&mut self) {
        let ended = |holder: &Holder| holder.process.is_some_and(|process| !process.is_alive());
        let open = self.open_groups.values().filter(|open| ended(&open.holder));
        let devices: Vec<_> = open.flat_map(|open| open.devices.iter().copied()).collect();
        for device in devices {
            self.close_vfio(device);
        }
    }

    pub(crate) fn group_of(&self, device: PciAddress) -> Option<u32> {
        let vf = self.vfs.get(&device).and_then(|vf| vf.group);
        vf.or_else(|| self.others.get(&device).and_then(|other| other.group))
    }

    /// Takes a VF away, as hot removal does. The PF still counts it.
    pub(crate) fn remove_vf(&mut self, vf: PciAddress) {
        self.drop_vf(vf);
        self.advance(Duration::ZERO);
    }

    /// An operation on another VF of the PF goes on for so long.
    pub(crate) fn occupy(&mut self, pf: PciAddress, time: Duration) {
        let until = self.clock + time;
        if let Some(state) = self.pfs.get_mut(&pf) {
            state.busy_until = until;
        }
    }

    /// `rmmod` and `modprobe` of a PF's driver; whether both were done within the limit.
    pub(crate) fn reload_pf(&mut self, pf: PciAddress, limit: Duration) -> bool {
        let unbound = self.perform(pf, Step::Unbind, Pause::None, limit).is_some();
        let bound = self.perform(pf, Step::Probe, Pause::None, limit).is_some();
        let count = self.pfs.get(&pf).map_or(0, |state| state.vfs_at_boot);
        unbound && bound && (count == 0 || self.make_vfs(pf, count).is_ok())
    }

    /// A PF comes back that was pulled out; its driver is there, and makes the VFs that a module
    /// parameter asks for.
    pub(crate) fn plug(&mut self, pf: PciAddress) {
        let Some(mut state) = self.pulled_out.remove(&pf) else { return };
        let count = state.vfs_at_boot;
        state.driver = Some(name(state.personality().pf_driver));
        state.autoprobe = state.autoprobe_at_boot;
        (state.num_vfs, state.busy_until) = (0, self.clock);
        self.pfs.insert(pf, state);
        if count > 0 {
            // Past the last bus there is no room for more; the kernel says so and goes on.
            let _ = self.make_vfs(pf, count);
        }
    }

    pub(crate) fn netdev_mut(&mut self, vf: PciAddress) -> Option<&mut NetdevState> {
        self.vfs.get_mut(&vf)?.netdev.as_mut()
    }

    pub(crate) fn set_vfio_modules(&mut self, loaded: bool, loadable: bool) {
        let vfio = name(VFIO_PCI);
        for (set, wanted) in [(&mut self.loaded, loaded), (&mut self.loadable, loadable)] {
            if wanted {
                set.insert(vfio.clone());
            } else {
                set.remove(&vfio);
            }
        }
        self.loaded_at_boot = self.loaded.clone();
    }
}
