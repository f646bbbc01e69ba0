//! Coming back after the daemon ended, however it ended.

use std::collections::BTreeSet;

use uuid::Uuid;
use vfnet_model::inventory::Inventory;
use vfnet_model::network::PhysicalNetworks;

use crate::Engine;
use crate::claim::{ClaimState, Happening, Owner};
use crate::decision::{Decision, Effect, Turn, Urgency};
use crate::input::{Ended, Moment};
use crate::record::{Entry, Pending, Record};
use crate::state::{GuestRun, Phase};

/// What the store kept, and what was found.
#[derive(Debug)]
pub struct Remembered {
    /// Definitions; and, of this boot, what ran and what was lent.
    pub entries: Vec<Entry>,
    /// The host as it is now.
    pub inventory: Inventory,
    /// Which PFs are on which physical network, as configured.
    pub physical_networks: PhysicalNetworks,
    /// Guests whose lock is held: their process, or its launcher, lives.
    pub alive: BTreeSet<Uuid>,
}

impl Engine {
    /// Takes up where the last daemon left off: guests that live are adopted, those that ended
    /// are cleaned up after, unfinished claims go on or back; and in the first start of a boot,
    /// autostart is decided.
    pub fn recover(remembered: Remembered) -> (Self, Decision) {
        let mut engine = Self::default();
        engine.state.inventory = remembered.inventory.clone();
        engine.state.physical_networks = remembered.physical_networks;
        for entry in remembered.entries {
            engine.state.apply(Record::Put(Box::new(entry)));
        }
        let mut turn = Turn::new(&mut engine.state, Urgency::MustGoOn);
        turn.unfinished_edits();
        turn.claims_without_a_guest();
        turn.guests(&remembered.alive);
        turn.decide_autostart();
        turn.observed(Moment::default(), remembered.inventory);
        let decision = turn.finish();
        (engine, decision)
    }
}

impl Turn<'_> {
    fn unfinished_edits(&mut self) {
        let networks: Vec<_> = self.state.edits.keys().copied().collect();
        for network in networks {
            // It is granted in any case, and whoever asked is gone.
            let _granted = self.network_edit_finish(network, None);
        }
    }

    fn claims_without_a_guest(&mut self) {
        let claims: Vec<_> = self.state.claims.values().cloned().collect();
        for claim in claims {
            match claim.state {
                ClaimState::Releasing => self.effect(Effect::GiveBack(claim.id)),
                ClaimState::Preparing | ClaimState::Held { .. } | ClaimState::Vanished => {
                    let orphan = match &claim.owner {
                        Owner::Nic { guest, .. } | Owner::Hostdev { guest, .. } => {
                            !self.state.runs.contains_key(guest)
                        }
                        // Whoever asked for it never heard of it.
                        _ => claim.state == ClaimState::Preparing,
                    };
                    if orphan {
                        self.give_back(claim.id);
                    } else if matches!(claim.owner, Owner::Lease(_)) {
                        self.effect(Effect::BeginLease(claim.id));
                    }
                }
                _ => {}
            }
        }
    }

    fn guests(&mut self, alive: &BTreeSet<Uuid>) {
        let runs: Vec<_> = self.state.runs.values().cloned().collect();
        for run in runs {
            if alive.contains(&run.guest) {
                self.adopt(run);
            } else {
                self.end_of_a_lost_guest(run.guest);
            }
        }
    }

    /// A guest that lives has its VFs: where the record is older than that, it catches up.
    /// Until its process is found it has none that could be told to end.
    fn adopt(&mut self, run: GuestRun) {
        let guest = run.guest;
        self.unfinished_plugs(guest);
        let unfinished: Vec<_> = self
            .state
            .claims_of(guest)
            .filter(|claim| claim.state == ClaimState::Preparing)
            .map(|claim| (claim.id, claim.vf, claim.incarnation))
            .collect();
        for (id, vf, incarnation) in unfinished {
            let found = self.state.inventory.vfs.get(&vf);
            let found = found.filter(|found| found.incarnation == incarnation);
            let bound = found.and_then(|vf| Some((vf.binding.driver.clone()?, vf.iommu_group?)));
            let happening = match bound {
                Some((driver, group)) => Happening::Prepared { driver, group },
                None => Happening::Gone,
            };
            self.happen(id, happening);
        }
        let ends = run.phase == Phase::Ending || self.ends_with_its_client(guest);
        let phase = if ends { Phase::Ending } else { Phase::Launching };
        let run = self.state.runs.get(&guest).cloned().unwrap_or(run);
        self.put(Entry::Run(GuestRun { phase, pid: None, ..run }));
        self.effect(Effect::Adopt(guest));
    }

    fn end_of_a_lost_guest(&mut self, guest: Uuid) {
        let unfinished: Vec<_> = self
            .state
            .claims_of(guest)
            .filter(|claim| claim.state == ClaimState::Preparing)
            .map(|claim| claim.id)
            .collect();
        for claim in unfinished {
            self.give_back(claim);
        }
        self.guest_ended(guest, &Ended::Lost);
    }

    /// Once per boot, so that a daemon restart does not revive what an administrator stopped.
    fn decide_autostart(&mut self) {
        if self.state.autostarted {
            return;
        }
        self.put(Entry::Autostarted);
        let networks = self.state.networks.values().filter(|entry| entry.autostart);
        let guests = self.state.guests.values().filter(|entry| entry.autostart);
        let pending: Vec<_> = networks
            .map(|entry| (entry.uuid, Pending::Network))
            .chain(guests.map(|entry| (entry.uuid, Pending::Guest)))
            .collect();
        for (uuid, what) in pending {
            let active =
                self.state.live_networks.contains_key(&uuid) || self.state.runs.contains_key(&uuid);
            if !active {
                self.put(Entry::Pending(uuid, what));
            }
        }
    }
}
