//! From what a guest needs to claims: which VFs are asked for, and in which order.
//!
//! What can be one device only is claimed first, so that no pool gives it away. Interfaces that
//! their network keeps apart follow, next the one that has the fewest cards, then the fewest PFs,
//! left to go to: a choice is made late by whoever has one.

use vfnet_model::network::{Forward, Placement};
use vfnet_model::{MacAddress, NetworkName};

use crate::claim::{ClaimId, Executor, Owner};
use crate::decision::{Turn, Urgency};
use crate::networks::port_settings;
use crate::rank::Rank;
use crate::refusal::{Because, Refusal, RefusalKind};
use crate::state::{GuestDefinition, HostdevNeed, LiveNetwork, NicNeed, NicSource, State};
use crate::vfs::Asked;

/// How a network would serve one interface, or anybody where it is of no guest.
#[derive(Debug)]
pub struct Explained {
    /// The interface.
    pub nic: Option<NicNeed>,
    /// The VFs that can be lent, the one that would be first.
    pub usable: Vec<(Rank, vfnet_model::PciAddress)>,
    /// Why the others cannot be.
    pub others: Vec<Because>,
}

impl Turn<'_> {
    /// Takes all the VFs that a guest needs, or none: what was taken is taken back with the turn.
    pub(crate) fn claim_for_guest(
        &mut self,
        def: &GuestDefinition,
    ) -> Result<Vec<ClaimId>, Refusal> {
        let mut claims = Vec::new();
        for (place, hostdev) in def.hostdevs.iter().enumerate() {
            let asked = self.state.asked_for_hostdev(def, place, hostdev);
            claims.push(self.claim(asked)?);
        }
        let mut left: Vec<usize> = (0..def.nics.len()).collect();
        while let Some((_, asked)) = self.state.next_nic(def, &mut left) {
            if let Some(asked) = asked? {
                claims.push(self.claim(asked)?);
            }
        }
        Ok(claims)
    }

    /// Takes the VF behind an `<interface>`, when it needs one.
    pub(crate) fn claim_for_nic(
        &mut self,
        def: &GuestDefinition,
        place: usize,
        nic: &NicNeed,
    ) -> Result<Option<ClaimId>, Refusal> {
        let asked = self.state.asked_for_nic(def, place, nic)?;
        asked.map(|asked| self.claim(asked)).transpose()
    }

    /// Takes the device of a `<hostdev>`.
    pub(crate) fn claim_for_hostdev(
        &mut self,
        def: &GuestDefinition,
        place: usize,
        hostdev: &HostdevNeed,
    ) -> Result<ClaimId, Refusal> {
        self.claim(self.state.asked_for_hostdev(def, place, hostdev))
    }
}

/// After all whose choice matters.
const LAST: (usize, usize) = (usize::MAX, usize::MAX);

type AskedFor = Result<Option<Asked>, Refusal>;

impl State {
    /// Of a guest's interfaces that are left, the one whose VF is to be taken next.
    fn next_nic(&self, def: &GuestDefinition, left: &mut Vec<usize>) -> Option<(usize, AskedFor)> {
        let asks = left.iter().map(|place| {
            let nic = def.nics.get(*place)?;
            let asked = self.asked_for_nic(def, *place, nic);
            let choice = match (&nic.source, &asked) {
                (NicSource::Device(_), _) => (0, 0),
                (_, Ok(Some(asked))) => {
                    let choice = self.choice(&asked.candidates, &asked.wish());
                    choice.map_or(LAST, |(cards, pfs)| (cards + 1, pfs))
                }
                _ => LAST,
            };
            Some((choice, asked))
        });
        let asks: Option<Vec<_>> = asks.collect();
        // Of equal ones the first in the document.
        let (at, (_, asked)) =
            asks?.into_iter().enumerate().min_by_key(|(_, (choice, _))| *choice)?;
        Some((left.remove(at), asked))
    }

    /// What an `<interface>` asks for, when it needs a VF.
    fn asked_for_nic(&self, def: &GuestDefinition, place: usize, nic: &NicNeed) -> AskedFor {
        let owner = Owner::Nic { guest: def.uuid, name: def.name.clone(), nic: place };
        match &nic.source {
            NicSource::Bridge(_) => Ok(None),
            NicSource::Device(hostdev) => Ok(Some(asked_for_device(owner, hostdev, Some(nic)))),
            NicSource::Network { name, portgroup } => {
                let live = self.live_network(name)?;
                self.asked_of_network(live, def, owner, nic, portgroup.as_deref())
            }
        }
    }

    fn asked_for_hostdev(
        &self,
        def: &GuestDefinition,
        place: usize,
        hostdev: &HostdevNeed,
    ) -> Asked {
        let owner = Owner::Hostdev { guest: def.uuid, name: def.name.clone(), hostdev: place };
        asked_for_device(owner, hostdev, None)
    }

    pub(crate) fn live_network(&self, name: &NetworkName) -> Result<&LiveNetwork, Refusal> {
        let unknown = || {
            let message = format!("no network with matching name '{name}'");
            Refusal::new(RefusalKind::NoNetwork, message)
        };
        let uuid = self.network_named(name).ok_or_else(unknown)?;
        self.live_networks.get(&uuid).ok_or_else(|| {
            Refusal::invalid(format!("network '{name}' is not active"))
                .hint(format!("vfnet net start {name}"))
        })
    }

    fn asked_of_network(
        &self,
        live: &LiveNetwork,
        def: &GuestDefinition,
        owner: Owner,
        nic: &NicNeed,
        portgroup: Option<&str>,
    ) -> AskedFor {
        let document = &live.definition.network;
        let Forward::Hostdev(pool) = &document.forward else { return Ok(None) };
        let wanted = nic.with_link(port_settings(document, nic.mac, nic.vlan, portgroup)?);
        Ok(Some(Asked {
            owner,
            executor: Executor::Vfnet,
            what: format!("network '{}'", live.name()),
            candidates: self.pool(live),
            placement: document.placement(portgroup),
            nodes: self.nodes_of(def),
            network: Some((live.uuid, live.name().clone(), portgroup.map(ToOwned::to_owned))),
            port: None,
            wanted: Some(wanted),
            teaming: nic.teaming,
            managed: pool.managed,
            driver: pool.driver.as_ref().and_then(|driver| driver.model.clone()),
        }))
    }

    /// How a network would serve each of a guest's interfaces on it now, in the order in which
    /// they would be served; or, where no guest is given, anybody.
    ///
    /// # Errors
    ///
    /// Where the network could serve none of them, whatever is free.
    pub fn explain(
        &self,
        live: &LiveNetwork,
        guest: Option<&GuestDefinition>,
    ) -> Result<Vec<Explained>, Refusal> {
        let Some(def) = guest else { return Ok(vec![self.explain_to_anybody(live)]) };
        let mut copy = self.clone();
        let mut turn = Turn::new(&mut copy, Urgency::MayBeRefused);
        let mut explained = Vec::new();
        for (place, hostdev) in def.hostdevs.iter().enumerate() {
            // What is not there for it is for the start to say.
            drop(turn.claim_for_hostdev(def, place, hostdev));
        }
        let mut left: Vec<usize> = (0..def.nics.len()).collect();
        while let Some((place, asked)) = turn.state.next_nic(def, &mut left) {
            let of_network = matches!(&def.nics[place].source, NicSource::Network { name, .. } if name == live.name());
            let asked = match asked {
                Err(refusal) if of_network => return Err(refusal),
                Err(_) | Ok(None) => continue,
                Ok(Some(asked)) => asked,
            };
            if of_network {
                let (usable, others) = turn.state.ranked(&asked.candidates, &asked.wish());
                let others = turn.state.alike(others);
                explained.push(Explained { nic: def.nics.get(place).cloned(), usable, others });
            }
            drop(turn.claim(asked));
        }
        if explained.is_empty() { Ok(vec![self.explain_to_anybody(live)]) } else { Ok(explained) }
    }

    fn explain_to_anybody(&self, live: &LiveNetwork) -> Explained {
        let document = &live.definition.network;
        let placement = Placement { pin: None, ..document.placement(None) };
        // Of no MAC in particular.
        let settings = document.wanted(MacAddress::ZERO, None, None);
        let wish = crate::place::Wish {
            owner: &Owner::Administrator,
            settings: Some(&settings),
            teaming: false,
            managed: document.pool().is_none_or(|pool| pool.managed),
            wanted: crate::rank::Wanted {
                network: Some(live.uuid),
                placement: &placement,
                nodes: None,
            },
        };
        let (usable, others) = self.ranked(&self.pool(live), &wish);
        Explained { nic: None, usable, others: self.alike(others) }
    }
}

fn asked_for_device(owner: Owner, hostdev: &HostdevNeed, nic: Option<&NicNeed>) -> Asked {
    Asked {
        owner,
        executor: Executor::Vfnet,
        what: format!("device {}", hostdev.address),
        candidates: vec![hostdev.address],
        placement: Placement::ANY,
        nodes: None,
        network: None,
        port: None,
        wanted: nic.map(NicNeed::of_device),
        teaming: nic.is_some_and(|nic| nic.teaming),
        managed: hostdev.managed,
        driver: hostdev.driver.clone(),
    }
}
