//! Guard rails: who would be hit, where the kernel protects nobody. Drivers ask before they take VFs
//! away whether one is assigned (`pci_vfs_assigned`), and VFIO never says so: `echo 0 >
//! sriov_numvfs` goes through under a running guest. VFIO then waits without end for QEMU to let go,
//! with the PF's lock held and all PCI hotplug standing still, while QEMU may unplug the guest's NIC.
//!
//! A refusal names holders, not VFs: a guest with thirty VFs is one line, and of hundreds of
//! guests the first few are named and the others counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uuid::Uuid;
use vfnet_model::PciAddress;
use vfnet_model::pf::PfIdentity;
use vfnet_model::report::AbsentPf;

use crate::decision::{Announcement, Effect, Turn};
use crate::input::{Answer, Ticket};
use crate::record::{Entry, Key, PfJob};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{LiveNetwork, State};

type Outcome = Result<Option<Answer>, Refusal>;

/// Holders that a message names; the others are counted.
const NAMED: usize = 24;

/// Those who would be hit.
#[derive(Debug, Default)]
pub(crate) struct Hit {
    holders: Vec<Holder>,
}

/// A first VF, why it is not free, and how many more the same holds of.
#[derive(Debug)]
struct Holder {
    vf: Option<PciAddress>,
    why: String,
    more: usize,
}

impl Hit {
    /// The holders of these VFs, in their order.
    pub(crate) fn of(vfs: impl Iterator<Item = (PciAddress, String)>) -> Self {
        let mut holders: Vec<Holder> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (vf, why) in vfs {
            match known.get(&why).and_then(|place| holders.get_mut(*place)) {
                Some(holder) => holder.more += 1,
                None => {
                    known.insert(why.clone(), holders.len());
                    holders.push(Holder { vf: Some(vf), why, more: 0 });
                }
            }
        }
        Self { holders }
    }

    /// And these, who have no VF.
    pub(crate) fn and(mut self, others: impl Iterator<Item = String>) -> Self {
        self.holders.extend(others.map(|why| Holder { vf: None, why, more: 0 }));
        self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Holder { vf, why, more }) in self.holders.iter().take(NAMED).enumerate() {
            f.write_str(if place == 0 { "" } else { "; " })?;
            if let Some(vf) = vf {
                write!(f, "{vf} ")?;
            }
            f.write_str(why)?;
            if *more > 0 {
                write!(f, ", and {more} more")?;
            }
        }
        match self.holders.len().saturating_sub(NAMED) {
            0 => Ok(()),
            left => write!(f, "; and {left} more holders"),
        }
    }
}

impl State {
    /// Who would be hit if a PF lost its VFs: every claim on them, also on those that one look has
    /// missed, and whatever of the host's uses them.
    pub(crate) fn hit_with(&self, pf: PciAddress) -> Hit {
        let claimed = self
            .claims
            .values()
            .filter(|claim| claim.pf == pf)
            .map(|claim| (claim.vf, claim.why_taken()));
        let vfs = self.inventory.vfs_of(pf);
        let free = vfs.iter().filter(|vf| self.claim_on(vf.address).is_none());
        let used = free.filter_map(|vf| Some((vf.address, vf.uses.first()?.to_string())));
        Hit::of(claimed.chain(used))
    }

    /// Who would be hit if a network were stopped.
    pub(crate) fn hit_with_network(&self, network: Uuid) -> Hit {
        let claims = self.claims_on_network(network);
        Hit::of(claims.map(|claim| (claim.vf, claim.why_taken()))).and(
            self.bridge_ports_of(network).map(|port| {
                format!("port {} of guest {} of another daemon", port.port, port.owner_name)
            }),
        )
    }

    /// Why no VF of a PF can be had now, when their number is being changed.
    pub(crate) fn is_changing(&self, pf: PciAddress) -> Option<String> {
        let job = self.pf_jobs.get(&pf)?;
        Some(format!("the number of VFs of its PF {pf} is being changed to {}", job.count))
    }

    /// The PF that is meant: where it is named by its address, whichever is there.
    pub(crate) fn known_pf(&self, pf: PfIdentity) -> (PfIdentity, String) {
        let PfIdentity::Address(address) = pf else { return (pf, pf.to_string()) };
        match self.inventory.pfs.get(&address) {
            Some(found) => (PfIdentity::of(found), self.shown_pf(address)),
            None => (pf, pf.to_string()),
        }
    }

    /// The refusal of something that does not hold of a PF: for one that is named by an address
    /// where none is, that.
    pub(crate) fn no_pf_or(&self, pf: PfIdentity, otherwise: String) -> Refusal {
        match pf {
            PfIdentity::Address(address) if !self.inventory.pfs.contains_key(&address) => {
                no_pf(address)
                    .hint("vfnet pf ls lists PFs, and by what those that are not here are known")
            }
            _ => Refusal::invalid(otherwise),
        }
    }

    /// PFs that are not here now, of which something is on record: why it is drained, and how many
    /// VFs are kept of it.
    pub fn absent_pfs(&self) -> Vec<AbsentPf> {
        let here: BTreeSet<_> = self.inventory.pfs.values().map(PfIdentity::of).collect();
        let known: BTreeSet<_> = self.drains.keys().chain(self.kept_vfs.keys()).copied().collect();
        known
            .difference(&here)
            .map(|pf| AbsentPf {
                identity: *pf,
                drained: self.drains.get(pf).map(|drain| drain.why.clone()),
                kept_vfs: self.kept_vfs.get(pf).map(|kept| kept.count),
            })
            .collect()
    }

    /// A PF as people know it: `ens1f0 (0000:01:00.0)`.
    pub(crate) fn shown_pf(&self, pf: PciAddress) -> String {
        let netdev = self.inventory.pfs.get(&pf).and_then(|pf| pf.netdev.as_ref());
        netdev.map_or_else(|| pf.to_string(), |dev| format!("{} ({pf})", dev.name))
    }
}

impl Turn<'_> {
    /// Has a PF make another number of VFs: of free ones only, since the kernel does it by way of
    /// 0. While it is at work its VFs are nobody's to take ([`State::is_changing`]); nothing is on
    /// record of it, because nothing of anybody's can be lost by it.
    pub(crate) fn pf_set_vfs(
        &mut self,
        ticket: Ticket,
        pf: PciAddress,
        count: u16,
        keep: bool,
    ) -> Outcome {
        let shown = self.state.shown_pf(pf);
        let Some(found) = self.state.inventory.pfs.get(&pf) else {
            return Err(no_pf(pf));
        };
        if count > found.total_vfs {
            let message = format!("PF {shown} allows {} VFs, {count} are wanted", found.total_vfs);
            return Err(Refusal::new(RefusalKind::InvalidArgument, message));
        }
        if let Some(job) = self.state.pf_jobs.get(&pf) {
            let message =
                format!("the number of VFs of PF {shown} is being changed to {}", job.count);
            return Err(Refusal::invalid(message));
        }
        let making = |live: &&LiveNetwork| self.state.lends_pf(live, pf);
        let mut jobs = self.state.network_jobs.values().map(|job| &job.live);
        if let Some(network) = jobs.find(making) {
            let message = format!(
                "the number of VFs of PF {shown} is not changed: network '{}' is being started",
                network.name()
            );
            return Err(Refusal::invalid(message));
        }
        let identity = PfIdentity::of(found);
        if found.num_vfs == count {
            if keep {
                self.keep_vfs(identity, count);
            }
            return Ok(Some(Answer::Done));
        }
        let hit = self.state.hit_with(pf);
        if !hit.is_empty() {
            let message = format!(
                "the number of VFs of PF {shown} is not changed from {} to {count}, which takes \
                 them all away first: {hit}",
                found.num_vfs
            );
            return Err(Refusal::invalid(message));
        }
        let kept_before = keep.then(|| self.state.kept_vfs_of(pf).unwrap_or_default());
        if keep {
            self.keep_vfs(identity, count);
        }
        self.state.met_pfs.insert(identity);
        self.put(Entry::PfJob(pf, PfJob { ticket: Some(ticket), count, kept_before }));
        self.effect(Effect::SetVfs { pf, count });
        Ok(None)
    }

    pub(crate) fn vfs_set(&mut self, pf: PciAddress, outcome: Result<(), String>) {
        let Some(job) = self.state.pf_jobs.get(&pf).copied() else { return };
        self.forget(Key::PfJob(pf));
        if let (Err(_), Some(count)) = (&outcome, job.kept_before)
            && let Some(found) = self.state.inventory.pfs.get(&pf)
        {
            self.keep_vfs(PfIdentity::of(found), count);
        }
        match (job.ticket, outcome) {
            (Some(ticket), outcome) => {
                let failed = |why| Refusal::new(RefusalKind::OperationFailed, why);
                let answer = outcome.map(|()| Answer::Done).map_err(failed);
                self.effect(Effect::Answer(ticket, answer));
            }
            (None, Ok(())) => {
                self.announce(Announcement::VfsMade(self.state.shown_pf(pf), job.count));
            }
            (None, Err(why)) => {
                self.announce(Announcement::VfsNotMade(self.state.shown_pf(pf), why));
            }
        }
        // There may be room now for what autostart has still to start.
        self.try_pending();
    }
}

pub(crate) fn no_pf(pf: PciAddress) -> Refusal {
    let message = format!("{pf} is not an SR-IOV PF of this host");
    Refusal::new(RefusalKind::NoDevice, message).hint("vfnet pf ls lists the PFs of this host")
}

/// Refuses to unbind or reset a PF, as `virsh nodedev-detach` asks for it.
pub(crate) fn refuse_pf(state: &State, pf: PciAddress) -> Refusal {
    let message =
        format!("PCI device {pf} is a PF, whose VFs are lent: vfnet detaches and resets VFs only");
    let hit = state.hit_with(pf);
    let message = if hit.is_empty() {
        message
    } else {
        format!("{message}; without it these would be hit: {hit}")
    };
    Refusal::new(RefusalKind::Unsupported, message)
}
