//! Which VFs exist: `sriov_numvfs`.
//!
//! kernel: `drivers/pci/iov.c`.

use std::collections::BTreeMap;

use rustix::io::Errno;
use vfnet_model::PciAddress;
use vfnet_model::inventory::Incarnation;
use vfnet_model::vf::VfIndex;

use super::{Kernel, OtherState, Row, VfState};
use crate::driver::PfUp;

/// First VF offset and VF stride of the SR-IOV capability, of the 82576 as QEMU has it: a PF at
/// 01:00.0 has VFs at 01:10.0, 01:10.2, ….
const VF_OFFSET: u32 = 0x80;
const VF_STRIDE: u32 = 2;

impl Kernel {
    /// Whether `sriov_numvfs_store` refuses, before anything takes time.
    pub(crate) fn refuses_num_vfs(&self, pf: PciAddress, count: u16) -> Result<(), Errno> {
        let state = self.pfs.get(&pf).ok_or(Errno::NOENT)?;
        if count > state.total_vfs {
            return Err(Errno::RANGE);
        }
        if count == state.num_vfs {
            return Ok(());
        }
        if state.driver.is_none() {
            return Err(Errno::NOENT);
        }
        if count > 0 && state.num_vfs > 0 {
            return Err(Errno::BUSY);
        }
        // No sriov_configure (kernel: sriov_numvfs_store).
        if !state.personality().makes_vfs {
            return Err(Errno::NOENT);
        }
        // The driver's own limit, in its sriov_configure.
        if count > state.personality().most_vfs {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    pub(crate) fn num_vfs_now(&mut self, pf: PciAddress, count: u16) -> Result<(), Errno> {
        self.refuses_num_vfs(pf, count)?;
        let state = &self.pfs[&pf];
        // bnxt_sriov_configure: "Reject SRIOV config request since if is down!", and 0 VFs made is
        // no error of sriov_numvfs_store.
        let passed_over = state.personality().pf_up == PfUp::Everything && !state.up;
        if state.num_vfs == count || passed_over {
            return Ok(());
        }
        self.make_vfs(pf, count)
    }

    /// New VFs, whoever wants them.
    pub(crate) fn make_vfs(&mut self, pf: PciAddress, count: u16) -> Result<(), Errno> {
        self.drop_vfs(pf);
        for index in 0..count {
            self.add_vf(pf, index)?;
        }
        if let Some(state) = self.pfs.get_mut(&pf) {
            state.num_vfs = count;
        }
        Ok(())
    }

    fn add_vf(&mut self, pf: PciAddress, index: u16) -> Result<(), Errno> {
        let state = &self.pfs[&pf];
        let address = vf_address(pf, index).ok_or(Errno::NOMEM)?;
        let mut row = Row::new(state.personality());
        if !state.personality().mac {
            // The device's own, for good.
            (row.mac, row.sticky) = (self.chance.mac(), true);
        }
        let state = &self.pfs[&pf];
        let place = index / state.group_size.max(1);
        let sibling = place * state.group_size.max(1);
        let beside = state.beside.get(&place).cloned().unwrap_or_default();
        let group = match self.vf_address(pf, VfIndex(sibling)) {
            Some(first) => self.vfs[&first].group,
            None => self.iommu.then(|| {
                self.next_group += 1;
                self.next_group
            }),
        };
        for device in beside {
            let boot = device.driver.clone();
            let entry = self.others.entry(device.address).or_insert_with(|| OtherState {
                device,
                driver: boot,
                driver_override: None,
                group,
            });
            entry.group = group;
        }
        self.next_incarnation += 1;
        let vf = VfState {
            pf,
            index: VfIndex(index),
            incarnation: Incarnation(self.next_incarnation),
            driver: None,
            driver_override: None,
            group,
            row,
            netdev: None,
            rdma: None,
            reset_until: self.clock,
        };
        self.vfs.insert(address, vf);
        self.probe_now(address);
        Ok(())
    }

    pub(super) fn drop_vfs(&mut self, pf: PciAddress) {
        let vfs: Vec<_> =
            self.vfs.iter().filter(|(_, vf)| vf.pf == pf).map(|(&at, _)| at).collect();
        for vf in vfs {
            self.drop_vf(vf);
        }
        if let Some(state) = self.pfs.get_mut(&pf) {
            state.num_vfs = 0;
        }
    }

    /// The device is gone, whoever has it.
    pub(super) fn drop_vf(&mut self, address: PciAddress) {
        let Some(vf) = self.vfs.remove(&address) else { return };
        self.pending.remove(&address);
        self.forget_events(address);
        if let Some(group) = vf.group {
            self.is_no_longer_open(group, address);
        }
    }

    /// VFs of a PF, by number.
    pub(super) fn vfs_of(&self, pf: PciAddress) -> BTreeMap<VfIndex, PciAddress> {
        let own = self.vfs.iter().filter(|(_, vf)| vf.pf == pf);
        own.map(|(&at, vf)| (vf.index, at)).collect()
    }
}

/// `pci_iov_virtfn_bus` and `pci_iov_virtfn_devfn`; `None` past the last bus.
fn vf_address(pf: PciAddress, index: u16) -> Option<PciAddress> {
    let id = u32::from(pf.bus()) << 8 | u32::from(pf.slot()) << 3 | u32::from(pf.function());
    let id = id + VF_OFFSET + VF_STRIDE * u32::from(index);
    let bus = u8::try_from(id >> 8).ok()?;
    let slot = u8::try_from((id >> 3) & 0x1f).ok()?;
    let function = u8::try_from(id & 7).ok()?;
    PciAddress::new(pf.domain(), bus, slot, function).ok()
}
