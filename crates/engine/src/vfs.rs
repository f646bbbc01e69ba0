//! Claims: taking a VF for an owner, and what comes of it.

use std::collections::BTreeSet;

use uuid::Uuid;
use vfnet_model::inventory::{Inventory, Vf};
use vfnet_model::network::Placement;
use vfnet_model::vf::{Original, WantedSettings};
use vfnet_model::{DriverName, MacAddress, PciAddress};

use crate::claim::{Claim, ClaimId, ClaimState, Executor, Happening, NetworkOf, Owner};
use crate::decision::{Announcement, Effect, Turn, Urgency};
use crate::devices::administrators;
use crate::drift::as_marked;
use crate::input::{Answer, Failure, GivenBack, HeldBy, Moment, Ticket};
use crate::place::Wish;
use crate::ports::is_handed_over;
use crate::rank::Wanted;
use crate::record::{Entry, Key};
use crate::refusal::{Because, Obstacle, Refusal, RefusalKind};
use crate::state::Phase;

/// A VF asked for: from a network's pool, or this one.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) owner: Owner,
    pub(crate) executor: Executor,
    /// In words, for the refusal.
    pub(crate) what: String,
    pub(crate) candidates: Vec<PciAddress>,
    /// Which of them.
    pub(crate) placement: Placement,
    /// The NUMA nodes that the owner is at, where they are known.
    pub(crate) nodes: Option<BTreeSet<u16>>,
    pub(crate) network: Option<(Uuid, vfnet_model::NetworkName, Option<String>)>,
    /// The port's identity, where a client chose one.
    pub(crate) port: Option<Uuid>,
    /// `None` for a plain `<hostdev>`.
    pub(crate) wanted: Option<WantedSettings>,
    pub(crate) teaming: bool,
    pub(crate) managed: bool,
    pub(crate) driver: Option<DriverName>,
}

impl Asked {
    pub(crate) fn wish(&self) -> Wish<'_> {
        Wish {
            owner: &self.owner,
            settings: self.wanted.as_ref(),
            teaming: self.teaming,
            managed: self.managed,
            wanted: Wanted {
                network: self.network.as_ref().map(|(uuid, ..)| *uuid),
                placement: &self.placement,
                nodes: self.nodes.as_ref(),
            },
        }
    }
}

impl Turn<'_> {
    /// Takes a VF. The claim is recorded as being prepared; nothing has been done to the VF yet.
    pub(crate) fn claim(&mut self, asked: Asked) -> Result<ClaimId, Refusal> {
        let address = self.state.choose(&asked.what, &asked.candidates, &asked.wish())?;
        self.claim_this(asked, address, ClaimState::Preparing)
    }

    /// Takes this VF, whatever stands in the way.
    pub(crate) fn claim_this(
        &mut self,
        asked: Asked,
        address: PciAddress,
        state: ClaimState,
    ) -> Result<ClaimId, Refusal> {
        let gone = || Refusal::new(RefusalKind::NoDevice, format!("{address} is not there"));
        let vf = self.state.inventory.vfs.get(&address).ok_or_else(gone)?;
        let id = ClaimId(self.state.last_claim + 1);
        let network = asked.network.map(|(uuid, name, portgroup)| {
            let port = asked.port.unwrap_or_else(|| port_identity(uuid, &asked.owner, id));
            NetworkOf { uuid, name, port, portgroup, trust_guest_rx_filters: None, isolated: None }
        });
        let claim = Claim {
            id,
            owner: asked.owner,
            executor: asked.executor,
            network,
            vf: address,
            pf: vf.pf,
            index: vf.index,
            incarnation: vf.incarnation,
            iommu_group: vf.iommu_group,
            netdev: vf.netdev.as_ref().map(|dev| dev.name.clone()),
            original: Original::seen(vf, self.state.is_on_vfio(vf)),
            wanted: asked.wanted,
            managed: asked.managed,
            driver: asked.driver,
            state,
            drift: None,
        };
        self.put(Entry::Claim(claim));
        Ok(id)
    }

    /// Starts giving back a claim's VF; true while there is something to wait for.
    pub(crate) fn give_back(&mut self, id: ClaimId) -> bool {
        if self.happen(id, Happening::GiveBack) && self.state.claims.contains_key(&id) {
            // One at a time works on a VF: the end of a repair goes on with this.
            if !self.state.is_being_repaired(id) {
                self.effect(Effect::GiveBack(id));
            }
            return true;
        }
        false
    }

    pub(crate) fn prepared(&mut self, id: ClaimId, outcome: Result<HeldBy, Failure>) {
        let Some(claim) = self.state.claims.get(&id) else { return };
        if claim.owner == Owner::Administrator {
            return self.device_is_on_vfio(id, outcome);
        }
        if matches!(claim.owner, Owner::Lease(_)) {
            return self.lease_is_prepared(id, outcome);
        }
        let Some(guest) = claim.owner.guest() else { return };
        match outcome {
            Ok(HeldBy { driver, group }) => {
                self.happen(id, Happening::Prepared { driver, group });
                self.vf_is_ready(guest);
            }
            Err(Failure { why, stuck, hook }) => {
                let Some(claim) = self.state.claims.get(&id) else { return };
                let mut refusal = Refusal::new(
                    if hook { RefusalKind::HookFailed } else { RefusalKind::OperationFailed },
                    format!("cannot prepare a VF for {}", claim.owner),
                );
                refusal.vfs.push(Because::new(claim.vf, Obstacle::Host, why));
                match stuck {
                    Some(step) => self.stuck(id, step),
                    None => {
                        self.give_back(id);
                    }
                }
                if !self.plug_has_no_vf(id, &refusal) {
                    self.start_failed(guest, refusal);
                }
            }
        }
    }

    pub(crate) fn given_back(&mut self, id: ClaimId, outcome: GivenBack) {
        let Some(claim) = self.state.claims.get(&id) else { return };
        let guest = match claim.owner {
            Owner::Nic { guest, .. } | Owner::Hostdev { guest, .. } => Some(guest),
            _ => None,
        };
        let vf = claim.vf;
        let outcome = match as_marked(claim, outcome) {
            GivenBack::StillOpen { who, .. } if is_handed_over(claim) => {
                return self.port_stays(id, who);
            }
            outcome => outcome,
        };
        let result = match outcome {
            GivenBack::Clean => {
                self.happen(id, Happening::Clean);
                Ok(vf)
            }
            GivenBack::Gone => {
                self.happen(id, Happening::Gone);
                Ok(vf)
            }
            GivenBack::Unclean(reason) | GivenBack::StillOpen { why: reason, .. } => {
                self.happen(id, Happening::Unclean(reason.clone()));
                self.announce(Announcement::VfQuarantined(vf, reason.clone()));
                Err(Because::new(vf, Obstacle::Broken, reason))
            }
            GivenBack::Stuck(step) => {
                self.stuck(id, step.clone());
                let reason = format!("the kernel has not finished {step}");
                Err(Because::new(vf, Obstacle::Broken, reason))
            }
        };
        if let Some(ticket) = self.state.vf_jobs.get(&id).copied() {
            self.forget(Key::VfJob(id));
            self.effect(Effect::Answer(ticket, Ok(Answer::Restored(result))));
        }
        if let Some(guest) = guest {
            self.plugs_that_are_over(guest);
            self.maybe_ended(guest);
        }
    }

    pub(crate) fn stuck(&mut self, id: ClaimId, step: String) {
        let Some(vf) = self.state.claims.get(&id).map(|claim| claim.vf) else { return };
        if self.happen(id, Happening::Stuck(step.clone())) {
            self.announce(Announcement::VfStuck(vf, step));
        }
    }

    pub(crate) fn vf_restore(
        &mut self,
        ticket: Ticket,
        vf: PciAddress,
    ) -> Result<Option<Answer>, Refusal> {
        let id = match self.state.claim_on(vf).cloned() {
            Some(claim) => {
                let over = matches!(
                    claim.state,
                    ClaimState::Quarantined { .. } | ClaimState::Stuck { .. }
                );
                if !over {
                    let why = claim.why_taken();
                    return Err(Refusal::invalid(format!("{vf} needs no restoring: it is {why}")));
                }
                self.group_is_at_rest(vf, "restored")?;
                // Its guest may have been started again meanwhile, and has nothing to do with it.
                let id = claim.id;
                self.put(Entry::Claim(Claim { owner: Owner::Administrator, drift: None, ..claim }));
                self.happen(id, Happening::Restore);
                id
            }
            None => self.adopt_leftover(vf)?,
        };
        self.put(Entry::VfJob(id, ticket));
        self.effect(Effect::GiveBack(id));
        Ok(None)
    }

    /// A free VF that some other tool left on VFIO or with a MAC goes to its driver's baseline.
    fn adopt_leftover(&mut self, address: PciAddress) -> Result<ClaimId, Refusal> {
        let missing = || {
            Refusal::new(
                RefusalKind::NoDevice,
                format!("{address} is not an SR-IOV VF of this host"),
            )
        };
        let vf = self.state.inventory.vfs.get(&address).ok_or_else(missing)?;
        let used = vf.uses.first().map(ToString::to_string);
        if let Some(used) = used.or_else(|| self.state.is_changing(vf.pf)) {
            return Err(Refusal::invalid(format!("{address} is not restored: {used}")));
        }
        if Original::seen(vf, self.state.is_on_vfio(vf)) != Original::Unknown {
            return Err(Refusal::invalid(format!(
                "{address} needs no restoring: it is free and clean"
            )));
        }
        self.group_is_at_rest(address, "restored")?;
        let claim = administrators(self.state, vf, Original::Unknown, ClaimState::Releasing);
        let id = claim.id;
        // Unlike what was lent, it is claimed only now.
        self.urgency = Urgency::MayBeRefused;
        let wanted = Some(WantedSettings::mac(MacAddress::ZERO));
        self.put(Entry::Claim(Claim { wanted, ..claim }));
        Ok(id)
    }

    /// Refuses to give a VF back to the host under another one of its group that is in use.
    pub(crate) fn group_is_at_rest(
        &self,
        address: PciAddress,
        done: &'static str,
    ) -> Result<(), Refusal> {
        match self.state.used_beside(address) {
            None => Ok(()),
            Some(other) => Err(group_is_taken(address, done, other)),
        }
    }

    /// Takes in what one VF looks like after it was given back, or the administrator is done with it.
    pub(crate) fn saw_returned(&mut self, id: ClaimId, seen: Option<Box<Vf>>, at: Moment) {
        let (Some(claim), Some(vf)) = (self.state.claims.get(&id), seen) else { return };
        let alone = self.state.seen_alone.get(&claim.vf);
        if at < self.state.last_look || alone.is_some_and(|later| at < *later) {
            return;
        }
        let members = vf.iommu_group.and_then(|group| self.state.inventory.groups.get_mut(&group));
        if let Some(member) =
            members.into_iter().flatten().find(|member| member.address == vf.address)
        {
            member.on_vfio = vf.binding.driver.as_ref().is_some_and(DriverName::is_vfio);
            member.driver.clone_from(&vf.binding.driver);
        }
        self.state.seen_alone.insert(claim.vf, at);
        self.state.inventory.vfs.insert(claim.vf, *vf);
    }

    /// Takes in what the host looks like now.
    pub(crate) fn observed(&mut self, began: Moment, mut inventory: Inventory) {
        self.state.last_look = began;
        self.state.seen_alone.retain(|_, at| *at > began);
        for vf in self.state.seen_alone.keys() {
            let alone = self.state.inventory.vfs.get(vf);
            let whole = inventory.vfs.get_mut(vf);
            if let (Some(alone), Some(whole)) = (alone, whole)
                && alone.incarnation == whole.incarnation
            {
                let on_vfio = alone.binding.driver.as_ref().is_some_and(DriverName::is_vfio);
                let members = alone.iommu_group.and_then(|group| inventory.groups.get_mut(&group));
                for member in members.into_iter().flatten().filter(|member| member.address == *vf) {
                    member.driver.clone_from(&alone.binding.driver);
                    member.on_vfio = on_vfio;
                }
                whole.clone_from(alone);
            }
        }
        self.tell_of_pfs(&inventory);
        self.state.inventory = inventory;
        let gone: Vec<_> = self
            .state
            .claims
            .values()
            .filter(|claim| {
                let there = self.state.inventory.vfs.get(&claim.vf).map(|vf| vf.incarnation);
                match claim.state {
                    ClaimState::Held { .. } | ClaimState::Lent => there != Some(claim.incarnation),
                    // One look may miss a VF; another device in its place is proof.
                    ClaimState::Quarantined { .. } | ClaimState::Stuck { .. } => {
                        there.is_some_and(|there| there != claim.incarnation)
                    }
                    // These find out by themselves, or know already.
                    ClaimState::Preparing | ClaimState::Releasing | ClaimState::Vanished => false,
                }
            })
            .cloned()
            .collect();
        for claim in gone {
            self.vanished(&claim);
        }
        self.reappeared();
        self.repair_what_drifted();
        self.restore_autoprobe();
        self.make_kept_vfs();
        self.try_pending();
    }

    /// What one look has missed is its holder's again, when the next one sees the same device.
    fn reappeared(&mut self) {
        let vanished =
            self.state.claims.values().filter(|claim| claim.state == ClaimState::Vanished);
        let seen: Vec<_> = vanished
            .filter_map(|claim| {
                let vf = self.state.inventory.vfs.get(&claim.vf)?;
                let same = vf.incarnation == claim.incarnation;
                let happening = match claim.executor {
                    Executor::Outside => Happening::HandedOver,
                    Executor::Vfnet if self.state.is_on_vfio(vf) => Happening::Prepared {
                        driver: vf.binding.driver.clone()?,
                        group: vf.iommu_group?,
                    },
                    Executor::Vfnet => return None,
                };
                same.then_some((claim.id, happening))
            })
            .collect();
        for (id, happening) in seen {
            if self.happen(id, happening)
                && let Some(claim) = self.state.claims.get(&id)
            {
                let (vf, owner) = (claim.vf, claim.owner.to_string());
                self.announce(Announcement::VfReappeared(vf, owner));
            }
        }
    }

    fn vanished(&mut self, claim: &Claim) {
        // Another one that has gone may have ended its guest's start, and this one is on its way
        // back, which finds out by itself.
        let now = self.state.claims.get(&claim.id).map(|claim| &claim.state);
        if now != Some(&claim.state) {
            return;
        }
        if !self.happen(claim.id, Happening::Gone) || !self.state.claims.contains_key(&claim.id) {
            return;
        }
        self.announce(Announcement::VfVanished(claim.vf, claim.owner.to_string()));
        // A guest that runs goes on without it; one that has not begun does not begin.
        let Some(guest) = claim.owner.guest() else { return };
        if self.state.runs.get(&guest).is_some_and(|run| run.phase == Phase::Preparing) {
            let mut refusal =
                Refusal::new(RefusalKind::OperationFailed, format!("cannot start {}", claim.owner));
            let reason = "is not there any more".to_owned();
            refusal.vfs.push(Because::new(claim.vf, Obstacle::Host, reason));
            self.start_failed(guest, refusal);
        }
    }
}

pub(crate) fn group_is_taken(vf: PciAddress, done: &'static str, other: &Claim) -> Refusal {
    Refusal::invalid(format!(
        "{vf} is not {done}: it shares its IOMMU group with {}, {}",
        other.vf,
        other.why_taken()
    ))
}

/// A port's identity where no client chose one: unique in this boot, and made without chance,
/// from the owner's identity and the claim's number (UUID version 8).
pub(crate) fn port_identity(network: Uuid, owner: &Owner, id: ClaimId) -> Uuid {
    let (a, b) = owner.guest().unwrap_or(network).as_u64_pair();
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&a.to_be_bytes());
    octets[8..].copy_from_slice(&(b ^ id.0).to_be_bytes());
    Uuid::new_v8(octets)
}
