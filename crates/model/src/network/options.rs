//! `<vfnet:vf>`: what the VFs of a network get besides MAC and tag.

use crate::vf::{LinkState, WantedSettings};
use crate::{MacAddress, Vlan, VlanId, VlanProtocol};

use super::Network;

/// `<vfnet:vf …/>` in `<vfnet:pool>` or in a `<portgroup>`. `None` leaves it to whatever is
/// further out: the network's, then the driver's baseline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VfOptions {
    /// `trust`.
    pub trust: Option<bool>,
    /// `spoofchk`.
    pub spoofchk: Option<bool>,
    /// `linkState`.
    pub link_state: Option<LinkState>,
    /// `minRate` in Mbit/s, 0 for none; not above `max_rate` where that is a limit.
    pub min_rate: Option<u32>,
    /// `maxRate` in Mbit/s, 0 for none.
    pub max_rate: Option<u32>,
    /// `vlanProto`, of the tag of ports that have one.
    pub vlan_protocol: Option<VlanProtocol>,
    /// `qos`, 0 to 7, of the tag of ports that have one.
    pub qos: Option<u8>,
}

impl VfOptions {
    /// These, and of `outer` what these leave out.
    #[must_use]
    pub fn or(self, outer: Self) -> Self {
        Self {
            trust: self.trust.or(outer.trust),
            spoofchk: self.spoofchk.or(outer.spoofchk),
            link_state: self.link_state.or(outer.link_state),
            min_rate: self.min_rate.or(outer.min_rate),
            max_rate: self.max_rate.or(outer.max_rate),
            vlan_protocol: self.vlan_protocol.or(outer.vlan_protocol),
            qos: self.qos.or(outer.qos),
        }
    }

    /// Lower and upper limit, when either is asked for; what is left out is no limit.
    pub fn rate(self) -> Option<(u32, u32)> {
        (self.min_rate.is_some() || self.max_rate.is_some())
            .then(|| (self.min_rate.unwrap_or(0), self.max_rate.unwrap_or(0)))
    }

    /// The tag on a VF's frames; identifier 0 is no tag, whatever else is asked for.
    pub fn tag(self, id: VlanId) -> Vlan {
        if id == VlanId::NONE {
            return Vlan::UNTAGGED;
        }
        Vlan { id, qos: self.qos.unwrap_or(0), protocol: self.vlan_protocol.unwrap_or_default() }
    }
}

impl Network {
    /// What VFs of a portgroup get; of the default group where none is named.
    pub fn vf_options(&self, portgroup: Option<&str>) -> VfOptions {
        let group = self.portgroup(portgroup).map_or(VfOptions::default(), |group| group.vf);
        group.or(self.pool().map_or(VfOptions::default(), |pool| pool.vf))
    }

    /// The tag of a port: its own, else its portgroup's, else the network's, with the priority
    /// and protocol of [`Network::vf_options`]. A trunk, which no served network of VFs has, is
    /// none.
    pub fn vlan_for(&self, own: Option<VlanId>, portgroup: Option<&str>) -> Option<Vlan> {
        let tags = || {
            let group = self.portgroup(portgroup).and_then(|group| group.vlan.as_ref());
            group.or(self.vlan.as_ref())?.single()
        };
        own.or_else(tags).map(|id| self.vf_options(portgroup).tag(id))
    }

    /// All that a port's VF is to have.
    pub fn wanted(
        &self,
        mac: MacAddress,
        own: Option<VlanId>,
        portgroup: Option<&str>,
    ) -> WantedSettings {
        let options = self.vf_options(portgroup);
        WantedSettings {
            mac,
            vlan: self.vlan_for(own, portgroup),
            spoofchk: options.spoofchk,
            trust: options.trust,
            link_state: options.link_state,
            rate: options.rate(),
        }
    }
}
