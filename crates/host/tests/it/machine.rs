//! One igb-like PF with one VF, in memory, with a kernel that can be told to misbehave.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use vfnet_host::{Host, HostError};
use vfnet_model::inventory::{
    HostUse, Incarnation, Inventory, Pf, PfNetdev, Vf, VfNetdev, VfioSupport,
};
use vfnet_model::vf::{Binding, LinkState, VfAttributes, VfIndex, VfSetting};
use vfnet_model::{BootId, DriverName, MacAddress, PciAddress, Vlan};

/// Everything a test may look at or bend.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) vf: Option<Vf>,
    pub(crate) row: VfAttributes,
    pub(crate) pf_driver: &'static str,
    pub(crate) pf_up: bool,
    pub(crate) holder: Option<String>,
    /// Changes made so far.
    pub(crate) changes: usize,
    /// After that many changes the process is dead: every call fails, and changes nothing.
    pub(crate) dies_after: Option<usize>,
    /// Zero MACs are refused.
    pub(crate) refuses_zero: bool,
    /// VLANs are answered with success and not set.
    pub(crate) lies_about_vlan: bool,
    /// That many settings are answered with EAGAIN.
    pub(crate) busy: usize,
    /// Unbinding never returns.
    pub(crate) unbind_hangs: bool,
    /// For that many looks somebody else holds the device's lock.
    pub(crate) locked: usize,
    /// vfio-pci is not to be had.
    pub(crate) no_vfio: bool,
    /// Binding vfio-pci fails in silence.
    pub(crate) vfio_refuses: bool,
    next_random: u8,
}

pub(crate) struct Machine(pub(crate) Mutex<State>);

pub(crate) fn vf_address() -> PciAddress {
    "0000:01:10.1".parse().unwrap()
}

pub(crate) fn pf_address() -> PciAddress {
    "0000:01:00.0".parse().unwrap()
}

pub(crate) fn driver(name: &str) -> DriverName {
    name.parse().unwrap()
}

/// The MAC that igbvf made up when the machine was started.
pub(crate) const BORN_WITH: MacAddress = MacAddress::new([0xda, 0, 0, 0, 0, 0]);

impl Machine {
    /// A VF bound to igbvf, with a random MAC of its own, nothing set on it.
    pub(crate) fn new() -> Self {
        let mut state = State {
            vf: Some(Vf {
                address: vf_address(),
                pf: pf_address(),
                index: VfIndex(0),
                incarnation: Incarnation(11),
                id: (0x8086, 0x10ca),
                binding: Binding { driver: None, driver_override: None },
                iommu_group: Some(9),
                numa_node: None,
                netdev: None,
                attributes: None,
                uses: Vec::new(),
            }),
            row: VfAttributes {
                spoofchk: Some(true),
                trust: Some(false),
                link_state: Some(LinkState::Auto),
                min_tx_rate: Some(0),
                max_tx_rate: Some(0),
                ..VfAttributes::UNSET
            },
            pf_driver: "igb",
            pf_up: true,
            holder: None,
            changes: 0,
            dies_after: None,
            refuses_zero: false,
            lies_about_vlan: false,
            busy: 0,
            unbind_hangs: false,
            locked: 0,
            no_vfio: false,
            vfio_refuses: false,
            next_random: 0,
        };
        state.bind(driver("igbvf"));
        Self(Mutex::new(state))
    }

    pub(crate) fn bend(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.0.lock().unwrap());
    }

    /// What a user can see of the VF.
    pub(crate) fn seen(&self) -> Vf {
        self.vf(vf_address()).unwrap().unwrap()
    }

    fn change<T>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let mut state = self.0.lock().unwrap();
        state.alive()?;
        state.changes += 1;
        act(&mut state)
    }
}

impl State {
    fn alive(&self) -> Result<(), HostError> {
        if self.dies_after.is_some_and(|limit| self.changes >= limit) {
            return Err(HostError::Gone { what: "this process".to_owned() });
        }
        Ok(())
    }

    fn device(&mut self) -> Result<&mut Vf, HostError> {
        self.vf.as_mut().ok_or_else(|| HostError::Gone { what: "the VF".to_owned() })
    }

    fn bind(&mut self, to: DriverName) {
        let network = to.as_str() == "igbvf";
        if network && self.row.mac.is_zero() {
            self.row.mac = MacAddress::new([0xda, 0, 0, 0, 0, self.next_random]);
            self.next_random += 1;
        }
        let admin = self.row.mac.octets()[0] != 0xda;
        let netdev = network.then(|| VfNetdev {
            name: "ens1v0".parse().unwrap(),
            mac: self.row.mac,
            mac_from_pf: admin,
        });
        if let Some(vf) = self.vf.as_mut() {
            vf.binding.driver = Some(to);
            vf.netdev = netdev;
        }
    }
}

impl Host for Machine {
    fn boot_id(&self) -> Result<BootId, HostError> {
        Ok("b".parse().unwrap())
    }

    fn inventory(&self) -> Result<Inventory, HostError> {
        let vf = self.vf(vf_address())?;
        let state = self.0.lock().unwrap();
        let pf = Pf {
            address: pf_address(),
            netdev: Some(PfNetdev {
                permanent_mac: None,
                name: "ens1".parse().unwrap(),
                altnames: Vec::new(),
                mac: MacAddress::new([2; 6]),
                up: state.pf_up,
                carrier: state.pf_up,
                mtu: 1500,
                speed: None,
            }),
            driver: Some(driver(state.pf_driver)),
            id: (0x8086, 0x10c9),
            total_vfs: 7,
            num_vfs: 1,
            autoprobe: true,
            numa_node: None,
            errors: None,
        };
        Ok(Inventory {
            iommu: true,
            vfio: VfioSupport::Loaded,
            pfs: [(pf.address, pf)].into(),
            vfs: vf.map(|vf| (vf.address, vf)).into_iter().collect(),
            groups: [].into(),
            nodes: [].into(),
        })
    }

    fn vf(&self, _: PciAddress) -> Result<Option<Vf>, HostError> {
        let mut state = self.0.lock().unwrap();
        state.alive()?;
        let mut seen = state.vf.clone();
        if let Some(vf) = &mut seen {
            vf.attributes = Some(state.row.clone());
            if state.locked > 0 {
                state.locked -= 1;
                vf.binding.driver_override = None;
                vf.uses.push(HostUse::Locked);
            }
        }
        Ok(seen)
    }

    fn vf_attributes(&self, _: PciAddress, _: VfIndex) -> Result<VfAttributes, HostError> {
        let state = self.0.lock().unwrap();
        state.alive()?;
        Ok(state.row.clone())
    }

    fn set_vf(&self, pf: PciAddress, vf: VfIndex, setting: VfSetting) -> Result<(), HostError> {
        let refuse = |errno: i32| {
            Err(HostError::Setting {
                pf,
                vf,
                setting: setting.name(),
                text: None,
                source: io::Error::from_raw_os_error(errno),
            })
        };
        self.change(|state| {
            if state.busy > 0 {
                state.busy -= 1;
                return refuse(11);
            }
            match setting {
                VfSetting::Mac(mac) if mac.is_zero() && state.refuses_zero => return refuse(22),
                VfSetting::Mac(mac) => state.row.mac = mac,
                VfSetting::Vlan(_) if state.lies_about_vlan => {}
                VfSetting::Vlan(vlan) => state.row.vlan = vlan,
                VfSetting::Spoofchk(on) => state.row.spoofchk = Some(on),
                VfSetting::Trust(on) => state.row.trust = Some(on),
                VfSetting::LinkState(_) => return refuse(95),
                VfSetting::Rate { min, max } => {
                    state.row.min_tx_rate = Some(min);
                    state.row.max_tx_rate = Some(max);
                }
            }
            Ok(())
        })
    }

    fn set_drivers_autoprobe(&self, _: PciAddress, _: bool) -> Result<(), HostError> {
        self.change(|_| Ok(()))
    }

    fn set_num_vfs(&self, _: PciAddress, _: u16, _: Duration) -> Result<(), HostError> {
        self.change(|_| Ok(()))
    }

    fn set_driver_override(
        &self,
        _: PciAddress,
        driver: Option<&DriverName>,
    ) -> Result<(), HostError> {
        self.change(|state| {
            state.device()?.binding.driver_override = driver.cloned();
            Ok(())
        })
    }

    fn unbind(&self, _: PciAddress, limit: Duration) -> Result<(), HostError> {
        self.change(|state| {
            if state.unbind_hangs {
                return Err(HostError::Stuck { step: "unbind".to_owned(), limit });
            }
            let vf = state.device()?;
            vf.binding.driver = None;
            vf.netdev = None;
            Ok(())
        })
    }

    fn probe(&self, _: PciAddress, _: Duration) -> Result<(), HostError> {
        self.change(|state| {
            let refuses = state.vfio_refuses;
            let vf = state.device()?;
            if vf.binding.driver.is_some() {
                return Ok(());
            }
            let to = vf.binding.driver_override.clone().unwrap_or_else(|| driver("igbvf"));
            if !(refuses && to.as_str() == "vfio-pci") {
                state.bind(to);
            }
            Ok(())
        })
    }

    fn reset(&self, _: PciAddress, _: Duration) -> Result<(), HostError> {
        Ok(())
    }

    fn best_vfio_driver(&self, _: PciAddress) -> Result<DriverName, HostError> {
        Ok(driver("vfio-pci"))
    }

    fn load_driver(&self, _: &DriverName, _: Duration) -> Result<(), HostError> {
        if self.0.lock().unwrap().no_vfio {
            return Err(HostError::Process {
                program: "modprobe".to_owned(),
                said: "Module vfio-pci not found".to_owned(),
            });
        }
        Ok(())
    }

    fn is_vfio_driver(&self, driver: &DriverName) -> bool {
        driver.as_str() == "vfio-pci"
    }

    fn set_netdev_mac(&self, _: PciAddress, mac: MacAddress) -> Result<(), HostError> {
        self.change(|state| {
            let netdev = state.device()?.netdev.as_mut();
            let netdev = netdev.ok_or_else(|| HostError::Gone { what: "netdev".to_owned() })?;
            netdev.mac = mac;
            netdev.mac_from_pf = false;
            state.row.mac = mac;
            Ok(())
        })
    }

    fn vfio_group_holder(&self, _: u32) -> Result<Option<String>, HostError> {
        Ok(self.0.lock().unwrap().holder.clone())
    }

    fn wait(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        (0..=limit.as_millis() / 100).any(|_| done())
    }
}

/// An address on the VF's netdev.
pub(crate) fn address() -> HostUse {
    HostUse::Address("ens1v0".parse().unwrap(), "192.0.2.7/24".to_owned())
}

pub(crate) fn tag(id: u16) -> Vlan {
    Vlan::tagged(id.try_into().unwrap())
}
