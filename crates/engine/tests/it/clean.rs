//! What VFs are while nobody lends them: as they were made, or as the administrator has them.

use std::time::Duration;

use vfnet_engine::{Claim, Input, Owner};
use vfnet_host_sim::VfFacts;
use vfnet_model::PciAddress;
use vfnet_model::inventory::Incarnation;
use vfnet_model::vf::Original;

use crate::world::World;

/// Some drivers make a VF's netdev late, and udev names it then.
const NETDEVS_TAKE: Duration = Duration::from_secs(10);

impl World {
    /// What a VF is as nobody lends it may change by creation only.
    pub(crate) fn remember_clean_vfs(&mut self) {
        let known =
            |(vf, facts): (PciAddress, VfFacts)| self.clean.contains_key(&(vf, facts.incarnation));
        if !self.host.facts().into_iter().all(known) {
            self.host.advance(NETDEVS_TAKE);
        }
        for (vf, facts) in self.host.facts() {
            self.clean.entry((vf, facts.incarnation)).or_insert(facts);
        }
    }

    /// Where a PF's driver was busy and left a VF's row out, one on VFIO is taken for what an
    /// earlier holder left ([`Original::seen`]), and goes to the host's driver.
    pub(crate) fn forgive_unread_rows(&mut self) {
        let unread = |vf| {
            let seen = self.state().inventory.vfs.get(&vf);
            seen.is_some_and(|seen| seen.attributes.is_none() && self.state().is_on_vfio(seen))
        };
        let unknown = |claim: &&Claim| claim.original == Original::Unknown && unread(claim.vf);
        let claims = self.state().claims.values().filter(unknown);
        let vfs: Vec<_> = claims.map(|claim| (claim.vf, claim.incarnation)).collect();
        self.left_over.extend(vfs);
    }

    /// What the administrator has made of a VF is what it is from then on.
    pub(crate) fn administrator_has(
        &self,
        input: &Input,
    ) -> Option<((PciAddress, Incarnation), VfFacts)> {
        let (Input::WasReset { claim: id, outcome: Ok(()), .. }
        | Input::GivenBack { claim: id, .. }) = input
        else {
            return None;
        };
        let claim = self.state().claims.get(id)?;
        let restored = matches!(input, Input::GivenBack { .. });
        if claim.owner != Owner::Administrator || (restored && claim.original != Original::Unknown)
        {
            return None;
        }
        let late = |facts: &VfFacts| {
            let own = facts.driver.as_ref().is_some_and(|driver| !driver.is_vfio());
            own && facts.netdev_mac.is_none()
        };
        if self.host.facts().get(&claim.vf).is_some_and(late) {
            self.host.advance(NETDEVS_TAKE);
        }
        let facts = self.host.facts().remove(&claim.vf)?;
        let same = facts.incarnation == claim.incarnation;
        same.then_some(((claim.vf, claim.incarnation), facts))
    }
}
