//! What a guest's document asks of vfnet.

use vfnet_model::guest::{Guest, Hostdev, Interface, InterfaceSource, LinkState, NumaTune};

use crate::refusal::{Refusal, RefusalKind};
use crate::state::{GuestDefinition, HostdevNeed, NicNeed, NicSource};

impl GuestDefinition {
    /// From a document that has been filled in: with UUID and MACs.
    pub fn from_document(guest: &Guest, xml: String) -> Result<Self, Refusal> {
        let missing = |what: &str| {
            let message = format!("guest '{}' has no {what}", guest.name);
            Refusal::new(RefusalKind::InvalidArgument, message)
        };
        Ok(Self {
            uuid: guest.uuid.ok_or_else(|| missing("uuid"))?,
            name: guest.name.clone(),
            xml,
            nics: guest
                .interfaces
                .iter()
                .map(|interface| nic(interface).ok_or_else(|| missing("MAC on an interface")))
                .collect::<Result<_, _>>()?,
            hostdevs: guest.hostdevs.iter().map(hostdev).collect(),
            memory_nodes: guest.numatune.iter().flat_map(NumaTune::nodes).collect(),
            processors: guest.processors(),
        })
    }
}

fn nic(interface: &Interface) -> Option<NicNeed> {
    Some(NicNeed {
        source: match &interface.source {
            InterfaceSource::Network { network, portgroup } => {
                NicSource::Network { name: network.clone(), portgroup: portgroup.clone() }
            }
            InterfaceSource::Bridge { bridge } => NicSource::Bridge(bridge.clone()),
            InterfaceSource::Hostdev { address, managed, driver, .. } => {
                NicSource::Device(HostdevNeed {
                    address: *address,
                    managed: *managed,
                    driver: driver.model.clone(),
                })
            }
        },
        mac: interface.mac?,
        vlan: interface.vlan,
        teaming: interface.teaming.is_some(),
        link_up: interface.link.map(|link| link == LinkState::Up),
    })
}

fn hostdev(hostdev: &Hostdev) -> HostdevNeed {
    HostdevNeed {
        address: hostdev.address,
        managed: hostdev.managed,
        driver: hostdev.driver.model.clone(),
    }
}
