//! What the administrator does to single VFs, as `virsh nodedev-detach`, `-reattach` and `-reset`
//! ask for it: VFIO or the host's driver for a VF that nobody holds, and nothing through its PF.
//!
//! While the kernel works on it the VF is claimed, so that it is lent to nobody; afterwards it is
//! free, on whichever driver it then has. A detached VF can be lent by any network that has it,
//! and is on VFIO again when it comes back.

use vfnet_model::inventory::Vf;
use vfnet_model::vf::Original;
use vfnet_model::{DriverName, PciAddress};

use crate::claim::{Claim, ClaimId, ClaimState, Executor, Happening, Owner};
use crate::decision::{Effect, Turn, Urgency};
use crate::guards::refuse_pf;
use crate::input::{Answer, Failure, HeldBy, Ticket};
use crate::place::host_obstacle;
use crate::record::{Entry, Key};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::State;
use crate::vfs::group_is_taken;

type Outcome = Result<Option<Answer>, Refusal>;

impl Turn<'_> {
    /// Binds a VF to VFIO, by the named driver or the best one.
    pub(crate) fn device_detach(
        &mut self,
        ticket: Ticket,
        address: PciAddress,
        driver: Option<DriverName>,
    ) -> Outcome {
        let vf = idle_vf(self.state, address)?;
        if let Some(refusal) = host_obstacle(&self.state.inventory) {
            return Err(refusal);
        }
        if let Some(used) = vf.uses.first() {
            return Err(Refusal::invalid(format!("{address} is not detached: {used}")));
        }
        let there = match &driver {
            Some(driver) => vf.binding.driver.as_ref() == Some(driver),
            None => self.state.is_on_vfio(vf),
        };
        if there {
            return Ok(Some(Answer::Done));
        }
        nobody_has_its_group(self.state, vf, "detached")?;
        let original = Original::seen(vf, self.state.is_on_vfio(vf));
        let claim = administrators(self.state, vf, original, ClaimState::Preparing);
        let id = claim.id;
        self.put(Entry::Claim(Claim { driver, ..claim }));
        self.put(Entry::VfJob(id, ticket));
        self.effect(Effect::Prepare(id));
        Ok(None)
    }

    /// Gives a VF on VFIO to the driver that the kernel picks.
    pub(crate) fn device_reattach(&mut self, ticket: Ticket, address: PciAddress) -> Outcome {
        let vf = idle_vf(self.state, address)?;
        if let Some(used) = vf.uses.first() {
            return Err(Refusal::invalid(format!("{address} is not reattached: {used}")));
        }
        let at_home = vf.binding.driver.is_some() && !self.state.is_on_vfio(vf);
        if at_home && vf.binding.driver_override.is_none() {
            return Ok(Some(Answer::Done));
        }
        self.group_is_at_rest(address, "reattached")?;
        let claim = administrators(self.state, vf, Original::Unknown, ClaimState::Releasing);
        let id = claim.id;
        // Unlike what was lent, it is claimed only now.
        self.urgency = Urgency::MayBeRefused;
        self.put(Entry::Claim(claim));
        self.put(Entry::VfJob(id, ticket));
        self.effect(Effect::GiveBack(id));
        Ok(None)
    }

    /// Resets a VF's function. Its driver would not be asked, so that the host's must be off.
    pub(crate) fn device_reset(&mut self, ticket: Ticket, address: PciAddress) -> Outcome {
        let vf = idle_vf(self.state, address)?;
        if let Some(used) = vf.uses.first() {
            return Err(Refusal::invalid(format!("{address} is not reset: {used}")));
        }
        if let Some(driver) = &vf.binding.driver
            && !self.state.is_on_vfio(vf)
        {
            let message = format!("{address} is not reset: the host drives it with {driver}");
            return Err(Refusal::invalid(message).hint("detach it first: virsh nodedev-detach"));
        }
        nobody_has_its_group(self.state, vf, "reset")?;
        let original = Original::seen(vf, self.state.is_on_vfio(vf));
        let claim = administrators(self.state, vf, original, ClaimState::Preparing);
        let id = claim.id;
        self.put(Entry::Claim(claim));
        self.put(Entry::VfJob(id, ticket));
        self.effect(Effect::Reset(id));
        Ok(None)
    }

    /// Binding to VFIO has ended. The function is reset, so that the MAC of the host's driver is
    /// forgotten and the VF is not taken for what an earlier holder left
    /// ([`Original::seen`]).
    pub(crate) fn device_is_on_vfio(&mut self, id: ClaimId, outcome: Result<HeldBy, Failure>) {
        match outcome {
            Ok(_) => self.effect(Effect::Reset(id)),
            Err(failure) => self.device_is_done(id, Err(failure)),
        }
    }

    /// Detaching or resetting has ended: the VF is free as it then is, or goes back.
    pub(crate) fn device_is_done(&mut self, id: ClaimId, outcome: Result<(), Failure>) {
        if !self.state.claims.contains_key(&id) {
            return;
        }
        let reply = match outcome {
            Ok(()) => {
                self.happen(id, Happening::Done);
                Ok(Answer::Done)
            }
            Err(Failure { why, stuck, .. }) => {
                match stuck {
                    Some(step) => self.stuck(id, step),
                    None => {
                        self.give_back(id);
                    }
                }
                Err(Refusal::new(RefusalKind::OperationFailed, why))
            }
        };
        if let Some(ticket) = self.state.vf_jobs.get(&id).copied() {
            self.forget(Key::VfJob(id));
            self.effect(Effect::Answer(ticket, reply));
        }
    }
}

/// A VF that nobody holds.
fn idle_vf(state: &State, address: PciAddress) -> Result<&Vf, Refusal> {
    if state.inventory.pfs.contains_key(&address) {
        return Err(refuse_pf(state, address));
    }
    let Some(vf) = state.inventory.vfs.get(&address) else {
        let message = format!(
            "PCI device {address} is not an SR-IOV VF of this host: vfnet detaches and resets VFs \
             only"
        );
        return Err(Refusal::new(RefusalKind::Unsupported, message));
    };
    let taken = state.claim_on(address).map(Claim::why_taken);
    match taken.or_else(|| state.is_changing(vf.pf)) {
        Some(why) => Err(Refusal::invalid(format!("PCI device {address} is in use: {why}"))),
        None => Ok(vf),
    }
}

/// Refuses while somebody has another VF of the group, or it is on its way back from them.
fn nobody_has_its_group(state: &State, vf: &Vf, done: &'static str) -> Result<(), Refusal> {
    let mut claims = state.claims_beside(vf.address);
    match claims.find(|claim| claim.owner != Owner::Administrator) {
        None => Ok(()),
        Some(other) => Err(group_is_taken(vf.address, done, other)),
    }
}

/// A claim for as long as the kernel works on a VF for the administrator.
pub(crate) fn administrators(state: &State, vf: &Vf, original: Original, at: ClaimState) -> Claim {
    Claim {
        id: ClaimId(state.last_claim + 1),
        owner: Owner::Administrator,
        executor: Executor::Vfnet,
        network: None,
        vf: vf.address,
        pf: vf.pf,
        index: vf.index,
        incarnation: vf.incarnation,
        iommu_group: vf.iommu_group,
        netdev: vf.netdev.as_ref().map(|dev| dev.name.clone()),
        original,
        wanted: None,
        managed: true,
        driver: None,
        state: at,
        drift: None,
    }
}
