//! Guests that run though they, or their VFs, are not on record: the record was lost or damaged.
//!
//! A guest's lock says that it lives; what it is, its `live.json` says, and where that cannot be
//! read, its kept document and the kernel: who has which VFIO group open, which MAC a VF has.
//! What is found is put on record before anything is decided, so that these guests are adopted
//! like all others, and their VFs go back when they end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

use uuid::Uuid;
use vfnet_engine::claim::NetworkOf;
use vfnet_engine::{
    Cause, Claim, ClaimId, ClaimState, Entry, Executor, GuestDefinition, GuestRun, NicSource,
    Owner, Pending, Phase,
};
use vfnet_model::inventory::{HostUse, Inventory, Vf};
use vfnet_model::vf::{Original, WantedSettings};
use vfnet_model::{PciAddress, explain};
use vfnet_qemu::RunDir;

use super::order::{Launched, OnRecord};
use super::{Guests, Places};

/// What is on record, as far as strangers are looked for in it.
struct Known<'a> {
    entries: &'a [Entry],
    inventory: &'a Inventory,
    runs: BTreeSet<Uuid>,
    claimed: BTreeSet<PciAddress>,
    last_claim: u64,
    last_id: i32,
    slots: BTreeSet<u16>,
}

impl Guests {
    /// What has to be put on record, besides what is there, for every guest that lives to be
    /// adopted with its VFs. Where the record of this boot is gone as a whole while guests run,
    /// autostart is taken to be decided, so that no guest is revived which an administrator
    /// stopped, and networks that start with the host are started again.
    pub fn strangers(&self, entries: &[Entry], inventory: &Inventory) -> Vec<Entry> {
        let dirs = RunDir::all(&self.places.run).unwrap_or_else(|fault| {
            tracing::error!("guests that are not on record go unseen: {}", explain(&fault));
            Vec::new()
        });
        let mut known = Known::of(entries, inventory);
        let mut found = Vec::new();
        for dir in dirs {
            if !matches!(dir.is_locked(), Ok(true)) {
                continue;
            }
            let record = match Launched::load(&dir) {
                Ok(Launched { record: Some(record), .. }) => {
                    Some(known.unless_others_have(record, &dir))
                }
                _ => known.by_the_kernel(&dir, &self.places),
            };
            match record {
                Some(record) => found.extend(known.missing(record)),
                None => tracing::error!(
                    "a guest runs in {}, and nothing says what it is: its VFs are lent to nobody, \
                     and stay as they are when it ends",
                    dir.path().display()
                ),
            }
        }
        let lost = !entries.iter().any(|entry| matches!(entry, Entry::Autostarted));
        if lost && !found.is_empty() {
            found.extend(known.after_the_loss(&found));
        }
        found
    }
}

impl<'a> Known<'a> {
    fn of(entries: &'a [Entry], inventory: &'a Inventory) -> Self {
        let mut known = Self {
            entries,
            inventory,
            runs: BTreeSet::new(),
            claimed: BTreeSet::new(),
            last_claim: 0,
            last_id: 0,
            slots: BTreeSet::new(),
        };
        for entry in entries {
            known.take(entry);
        }
        known
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Run(run) => {
                self.runs.insert(run.guest);
                self.slots.insert(run.uid_slot);
                self.last_id = self.last_id.max(run.id);
            }
            Entry::Claim(claim) => {
                self.claimed.insert(claim.vf);
                self.last_claim = self.last_claim.max(claim.id.0);
            }
            _ => {}
        }
    }

    /// What a guest had when it was written down, without VFs that another process has open:
    /// those have gone to somebody else since.
    fn unless_others_have(&self, record: OnRecord, dir: &RunDir) -> OnRecord {
        let process = dir.process().ok().flatten();
        let holder = process.map(|process| format!("(pid {})", process.pid));
        let has_another = |claim: &Claim| {
            let uses = self.inventory.vfs.get(&claim.vf).map(|vf| &vf.uses[..]).unwrap_or_default();
            uses.iter().any(|it| {
                let HostUse::VfioOpen(who) = it else { return false };
                holder.as_ref().is_none_or(|holder| !who.ends_with(holder))
            })
        };
        let (others, claims): (Vec<_>, _) = record.claims.into_iter().partition(has_another);
        for claim in others {
            let name = &record.run.definition.name;
            tracing::warn!("guest {name}: had {}, which another process has open", claim.vf);
        }
        OnRecord { claims, ..record }
    }

    /// Of a guest that lives, what is not on record.
    fn missing(&mut self, OnRecord { run, claims }: OnRecord) -> Vec<Entry> {
        let name = run.definition.name.clone();
        let mut missing = Vec::new();
        if !self.runs.contains(&run.guest) {
            tracing::warn!("guest {name}: runs, and was not on record");
            missing.push(Entry::Run(GuestRun { phase: Phase::Launching, pid: None, ..run }));
        }
        for claim in claims {
            if self.claimed.contains(&claim.vf) {
                continue;
            }
            tracing::warn!("guest {name}: has {}, which was not on record", claim.vf);
            self.last_claim += 1;
            missing.push(Entry::Claim(self.as_it_is(claim)));
        }
        for entry in &missing {
            self.take(entry);
        }
        missing
    }

    /// A claim with a number of its own. What the VF was before counts for that device only.
    fn as_it_is(&self, claim: Claim) -> Claim {
        let same = |vf: &&Vf| vf.incarnation == claim.incarnation;
        let original = match self.inventory.vfs.get(&claim.vf).filter(same) {
            Some(_) => claim.original,
            None => Original::Unknown,
        };
        Claim { id: ClaimId(self.last_claim), original, ..claim }
    }

    /// What a guest is and has by its kept document and by what its process has open.
    fn by_the_kernel(&self, dir: &RunDir, places: &Places) -> Option<OnRecord> {
        let name = dir.path().file_name()?.to_str()?;
        let guest: Uuid = name.get(name.len().checked_sub(36)?..)?.parse().ok()?;
        let run = |entry: &Entry| match entry {
            Entry::Run(run) if run.guest == guest => Some(run.clone()),
            _ => None,
        };
        let kept = |entry: &Entry| match entry {
            Entry::Guest(kept) if kept.uuid == guest => Some(kept.definition.clone()),
            _ => None,
        };
        let run = match self.entries.iter().find_map(run) {
            Some(run) => run,
            None => GuestRun {
                guest,
                id: self.last_id + 1,
                definition: self.entries.iter().find_map(kept)?,
                uid_slot: self.slot(dir, places)?,
                phase: Phase::Launching,
                pid: None,
                autodestroy: false,
                cause: Cause::Started,
                plugs: BTreeMap::new(),
            },
        };
        let pid = dir.process().ok().flatten()?.pid;
        let holder = format!("(pid {pid})");
        let holds = |vf: &&Vf| {
            vf.uses.iter().any(|it| matches!(it, HostUse::VfioOpen(who) if who.ends_with(&holder)))
        };
        let claims = self.inventory.vfs.values().filter(holds);
        let claims = claims.filter_map(|vf| self.claim(vf, &run.definition)).collect();
        Some(OnRecord { run, claims })
    }

    /// The place of a guest's user id, which owns its directory.
    fn slot(&self, dir: &RunDir, places: &Places) -> Option<u16> {
        let Some(uids) = places.uids else {
            return (0..u16::MAX).find(|slot| !self.slots.contains(slot));
        };
        let owner = std::fs::metadata(dir.guest_dir()).ok()?.uid();
        (0..u16::MAX).find(|slot| uids.at(*slot) == Some(owner))
    }

    /// The claim of a guest on a VF that it has open, where its document tells what for.
    fn claim(&self, vf: &Vf, guest: &GuestDefinition) -> Option<Claim> {
        let mac = vf.attributes.as_ref().map(|attributes| attributes.mac);
        let name = || guest.name.clone();
        let nic = guest.nics.iter().position(|nic| match &nic.source {
            NicSource::Network { .. } => Some(nic.mac) == mac,
            NicSource::Device(need) => need.address == vf.address,
            NicSource::Bridge(_) => false,
        });
        let hostdev = guest.hostdevs.iter().position(|need| need.address == vf.address);
        let (owner, need) = match (nic, hostdev) {
            (Some(nic), _) => {
                let need = guest.nics.get(nic)?;
                (Owner::Nic { guest: guest.uuid, name: name(), nic }, Some(need))
            }
            (None, Some(hostdev)) => {
                (Owner::Hostdev { guest: guest.uuid, name: name(), hostdev }, None)
            }
            (None, None) => {
                let vf = vf.address;
                tracing::error!("guest {}: has {vf}, its document does not say why", guest.name);
                return None;
            }
        };
        let network = need.and_then(|nic| match &nic.source {
            NicSource::Network { name, portgroup } => Some(NetworkOf {
                uuid: self.network(name)?,
                name: name.clone(),
                port: Uuid::new_v4(),
                portgroup: portgroup.clone(),
                trust_guest_rx_filters: None,
                isolated: None,
            }),
            _ => None,
        });
        // What its network wished for is not known; what it has it was given.
        let seen = vf.attributes.as_ref();
        let wanted = |mac| WantedSettings {
            mac,
            vlan: seen.map(|it| it.vlan),
            spoofchk: seen.and_then(|it| it.spoofchk),
            trust: seen.and_then(|it| it.trust),
            link_state: seen.and_then(|it| it.link_state),
            rate: seen.and_then(|it| it.min_tx_rate.zip(it.max_tx_rate)),
        };
        Some(Claim {
            id: ClaimId(0),
            owner,
            executor: Executor::Vfnet,
            network,
            vf: vf.address,
            pf: vf.pf,
            index: vf.index,
            incarnation: vf.incarnation,
            iommu_group: vf.iommu_group,
            netdev: None,
            original: Original::Unknown,
            wanted: need.map(|nic| wanted(nic.mac)),
            managed: true,
            driver: None,
            state: ClaimState::Held { driver: vf.binding.driver.clone()?, group: vf.iommu_group? },
            drift: None,
        })
    }

    fn network(&self, name: &vfnet_model::NetworkName) -> Option<Uuid> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Network(kept) if kept.definition.network.name == *name => Some(kept.uuid),
            _ => None,
        })
    }

    /// What else has to be on record where all of it was lost: networks that are to run, those
    /// that guests have VFs of among them.
    fn after_the_loss(&self, found: &[Entry]) -> Vec<Entry> {
        let used: BTreeSet<Uuid> = found
            .iter()
            .filter_map(|entry| match entry {
                Entry::Claim(claim) => claim.network.as_ref().map(|network| network.uuid),
                _ => None,
            })
            .collect();
        let to_run: BTreeMap<Uuid, Entry> = self
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Network(kept) if kept.autostart || used.contains(&kept.uuid) => {
                    Some((kept.uuid, Entry::Pending(kept.uuid, Pending::Network)))
                }
                _ => None,
            })
            .collect();
        to_run.into_values().chain([Entry::Autostarted]).collect()
    }
}
