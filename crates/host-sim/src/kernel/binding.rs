//! Drivers and devices: matching, probing, unbinding.
//!
//! kernel: `drivers/base/dd.c`, `drivers/pci/pci-driver.c`.

use std::collections::BTreeSet;
use std::time::Duration;

use vfnet_model::{DriverName, MacAddress, PciAddress};

use super::pending::Event;
use super::{Kernel, NetdevState, OtherState, VFIO_PCI, VfState};
use crate::driver::OwnMac;

pub(super) fn name(driver: &str) -> DriverName {
    driver.parse().expect("a driver of the table has a valid name")
}

impl Kernel {
    /// The driver that `drivers_probe` would bind now, if the device has none.
    pub(crate) fn match_driver(&self, device: PciAddress) -> Option<DriverName> {
        let driver = if let Some(vf) = self.vfs.get(&device) {
            self.match_vf(vf)?
        } else if let Some(other) = self.others.get(&device) {
            match_other(other)?
        } else {
            let pf = self.pfs.get(&device)?;
            if pf.driver.is_some() {
                return None;
            }
            name(pf.personality().pf_driver)
        };
        self.loaded.contains(&driver).then_some(driver)
    }

    fn match_vf(&self, vf: &VfState) -> Option<DriverName> {
        let pf = &self.pfs[&vf.pf];
        let own = pf.personality();
        if vf.driver.is_some() {
            return None;
        }
        match &vf.driver_override {
            // `vfio_iommu_group_get`: without an IOMMU vfio-pci's probe fails.
            Some(wanted) if Self::is_vfio(wanted) => self.iommu.then(|| wanted.clone()),
            // Any other driver is tried for its name alone, and its probe fails.
            Some(wanted) => (wanted.as_str() == own.vf_driver).then(|| wanted.clone()),
            // `pci_device_can_probe`: sriov_drivers_autoprobe 0 stops later probes too, unless
            // there is an override. vfio-pci has no ids of its own.
            None => pf.autoprobe.then(|| name(own.vf_driver)),
        }
    }

    pub(super) fn probe_now(&mut self, device: PciAddress) {
        let Some(driver) = self.match_driver(device) else { return };
        if let Some(vf) = self.vfs.get_mut(&device) {
            vf.driver = Some(driver.clone());
            if Self::is_vfio(&driver) {
                return;
            }
            if self.pfs[&vf.pf].personality().late_netdev {
                let takes = Duration::from_millis(50 + self.chance.next() % 500);
                self.later(takes, Event::Netdev(device));
            } else {
                self.make_netdev(device);
            }
        } else if let Some(other) = self.others.get_mut(&device) {
            other.driver = Some(driver);
        } else if let Some(pf) = self.pfs.get_mut(&device) {
            pf.driver = Some(driver);
        }
    }

    /// The VF's network driver starts: the PF sees a reset and forgets a MAC that the VF chose
    /// (`igb_vf_reset_event`), then hands out the one it has; without one the VF takes a random
    /// one and tells the PF (`igbvf_probe`, `e1000_init_hw_vf`). A PF that is down hears and says
    /// nothing ("PF still in reset state. Is the PF interface up?").
    pub(super) fn make_netdev(&mut self, device: PciAddress) {
        let random = self.chance.mac();
        let Some(vf) = self.vfs.get_mut(&device) else { return };
        let pf = &self.pfs[&vf.pf];
        let personality = pf.personality();
        let mut perm = None;
        if pf.answers_mailbox() {
            let kept = personality.own_mac == OwnMac::TableForGood && !vf.row.mac.is_zero();
            if vf.row.sticky || kept {
                perm = Some(vf.row.mac);
                vf.row.learn(personality, vf.row.mac);
            } else {
                vf.row.learn(personality, random);
            }
        }
        let name = |text: String| text.parse().expect("a PF's name and a number are a name");
        let last = name(format!("{}v{}", pf.name, vf.index));
        let first = if self.udev.is_some() { name(format!("eth{}", vf.index)) } else { last };
        vf.netdev = Some(NetdevState {
            name: first,
            mac: perm.unwrap_or(random),
            perm,
            mac_from_pf: perm.is_some(),
            addresses: Vec::new(),
            routes: Vec::new(),
            master: None,
            uppers: Vec::new(),
            elsewhere: false,
        });
        if let Some(time) = self.udev {
            self.later(time, Event::Rename(device));
        }
    }

    /// udev gives a VF's netdev its lasting name.
    pub(super) fn rename_netdev(&mut self, device: PciAddress) {
        let Some(vf) = self.vfs.get_mut(&device) else { return };
        let name = format!("{}v{}", self.pfs[&vf.pf].name, vf.index);
        if let Some(netdev) = &mut vf.netdev {
            netdev.name = name.parse().expect("a PF's name and a number are a name");
        }
    }

    pub(super) fn unbind_now(&mut self, device: PciAddress) {
        if let Some(vf) = self.vfs.get_mut(&device) {
            vf.driver = None;
            vf.netdev = None;
            self.forget_events(device);
        } else if let Some(other) = self.others.get_mut(&device) {
            other.driver = None;
        } else if self.pfs.contains_key(&device) {
            // `igb_remove`: igb_disable_sriov; drivers whose VFs a module parameter makes do so too.
            self.drop_vfs(device);
            if let Some(pf) = self.pfs.get_mut(&device) {
                pf.driver = None;
            }
        }
    }

    /// A function-level reset, as when a VFIO device is opened.
    pub(super) fn reset_function(&mut self, device: PciAddress) {
        if let Some(vf) = self.vfs.get_mut(&device)
            && !vf.row.sticky
            && self.pfs[&vf.pf].personality().own_mac != OwnMac::TableForGood
        {
            vf.row.mac = MacAddress::ZERO;
        }
    }

    pub(super) fn override_now(&mut self, device: PciAddress, driver: Option<DriverName>) {
        if let Some(vf) = self.vfs.get_mut(&device) {
            vf.driver_override = driver;
        } else if let Some(other) = self.others.get_mut(&device) {
            other.driver_override = driver;
        }
    }

    /// Whether the driver is there afterwards. A driver that comes probes every device without
    /// one (`driver_attach`).
    pub(crate) fn load_driver(&mut self, driver: &DriverName) -> bool {
        if self.loaded.contains(driver) {
            return true;
        }
        if !self.loadable.contains(driver) {
            return false;
        }
        self.loaded.insert(driver.clone());
        let devices: BTreeSet<_> = self.vfs.keys().chain(self.others.keys()).copied().collect();
        for device in devices {
            if self.match_driver(device).as_ref() == Some(driver) {
                self.probe_now(device);
            }
        }
        true
    }

    pub(crate) fn driver_of(&self, device: PciAddress) -> Option<&DriverName> {
        let vf = self.vfs.get(&device).and_then(|vf| vf.driver.as_ref());
        let other = self.others.get(&device).and_then(|other| other.driver.as_ref());
        vf.or(other).or_else(|| self.pfs.get(&device).and_then(|pf| pf.driver.as_ref()))
    }

    pub(crate) fn best_vfio_driver(&self, device: PciAddress) -> DriverName {
        let variant = self.vfs.get(&device).and_then(|vf| self.personality_of(vf).vfio_variant);
        name(variant.unwrap_or(VFIO_PCI))
    }
}

fn match_other(other: &OtherState) -> Option<DriverName> {
    if other.driver.is_some() {
        return None;
    }
    match &other.driver_override {
        Some(wanted) if Kernel::is_vfio(wanted) => Some(wanted.clone()),
        Some(wanted) => (other.device.driver.as_ref() == Some(wanted)).then(|| wanted.clone()),
        None => other.device.driver.clone(),
    }
}
