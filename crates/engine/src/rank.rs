//! Which of the VFs that can be lent is lent: what a network's `<vfnet:placement>` asks for, as
//! something that excludes a VF, or as its rank among the others.
//!
//! From the weightiest to the least: that the guest's interfaces on the network are apart, that
//! the PF has a link (always), that the card is at the guest's NUMA node, how PFs fill up, and the
//! order of the pool. The same state and the same wish give the same VF.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uuid::Uuid;
use vfnet_model::PciAddress;
use vfnet_model::inventory::{Inventory, Vf};
use vfnet_model::network::{Filling, PfName, Pin, Placement, Weight};

use crate::place::{MacOwners, Wish};
use crate::state::{GuestDefinition, State};

/// Where a VF is wanted from.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The network; `None` for a device that is named itself.
    pub network: Option<Uuid>,
    /// What it asks for.
    pub placement: &'a Placement,
    /// The NUMA nodes that the guest is at; `None` where it may be anywhere, or is not known.
    pub nodes: Option<&'a BTreeSet<u16>>,
}

impl Wanted<'_> {
    /// From anywhere.
    pub const ANYWHERE: Self = Self { network: None, placement: &Placement::ANY, nodes: None };
}

/// What speaks against a VF; of two, the lower one is lent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    nearness: Option<Nearness>,
    without_link: bool,
    node: Node,
    /// VFs of its PF that are lent, negative where that speaks for it.
    lent: i64,
    /// In the pool.
    place: usize,
}

/// How near a VF is to the nearest other one that its guest has on the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Nearness {
    Apart,
    OnCard,
    OnPf,
}

/// Where a VF's card is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Node {
    /// At one of the guest's NUMA nodes.
    Guests(u16),
    /// It does not matter.
    Any,
    /// Somewhere else.
    Other(Option<u16>),
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nearness = match self.nearness {
            None => None,
            Some(Nearness::Apart) => Some("apart from the guest's other VFs"),
            Some(Nearness::OnCard) => Some("on the card of another VF of the guest"),
            Some(Nearness::OnPf) => Some("on the PF of another VF of the guest"),
        };
        let node = match self.node {
            Node::Any => None,
            Node::Guests(node) => Some(format!("at the guest's NUMA node {node}")),
            Node::Other(Some(node)) => Some(format!("at NUMA node {node}, the guest is not")),
            Node::Other(None) => Some("at a NUMA node that is not known".to_owned()),
        };
        let lent = match self.lent {
            0 => None,
            lent => Some(format!("{} lent on its PF", lent.abs())),
        };
        let said: Vec<String> = [
            nearness.map(str::to_owned),
            self.without_link.then(|| "its PF has no link".to_owned()),
            node,
            lent,
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(&said.join(", "))
    }
}

/// What VFs are ranked by, for one wish.
#[derive(Debug)]
pub(crate) struct Ranking<'a> {
    inventory: &'a Inventory,
    wanted: Wanted<'a>,
    /// PFs of the VFs that the guest has on the network.
    legs: Vec<PciAddress>,
    /// VFs that are lent, by PF.
    lent: BTreeMap<PciAddress, i64>,
    /// Who has the MAC that is wanted.
    pub(crate) owners: MacOwners,
}

impl<'a> Ranking<'a> {
    pub(crate) fn new(state: &'a State, wish: &Wish<'a>) -> Self {
        let of_network = |claim: &&crate::claim::Claim| {
            claim.network.as_ref().map(|of| of.uuid) == wish.wanted.network
        };
        let claims = || state.claims.values();
        let own = claims().filter(of_network).filter(|claim| claim.owner.same_holder(wish.owner));
        let mut lent = BTreeMap::new();
        for claim in claims() {
            *lent.entry(claim.pf).or_default() += 1;
        }
        Self {
            inventory: &state.inventory,
            wanted: wish.wanted,
            legs: own.map(|claim| claim.pf).collect(),
            lent,
            owners: MacOwners::of(state, wish),
        }
    }

    pub(crate) fn rank(&self, vf: &Vf, place: usize) -> Rank {
        let Placement { numa, legs, guests, mtu: _, pin: _ } = self.wanted.placement;
        let lent = self.lent.get(&vf.pf).copied().unwrap_or(0);
        let pf = self.inventory.pfs.get(&vf.pf).and_then(|pf| pf.netdev.as_ref());
        Rank {
            nearness: self.nearness(vf).filter(|_| matters(*legs)),
            without_link: pf.is_none_or(|dev| !dev.carrier),
            node: if matters(*numa) { self.node(vf) } else { Node::Any },
            lent: match guests {
                None => 0,
                Some(Filling::Spread) => lent,
                Some(Filling::Pack) => -lent,
            },
            place,
        }
    }

    /// Why a VF is not lent at all for where it is.
    pub(crate) fn misplaced(&self, vf: &Vf) -> Option<String> {
        let Placement { numa, legs, mtu, .. } = self.wanted.placement;
        if let Some(wanted) = mtu
            && let Some(why) = self.too_short(vf, *wanted)
        {
            return Some(why);
        }
        if *legs == Some(Weight::Require)
            && let Some(nearness @ (Nearness::OnPf | Nearness::OnCard)) = self.nearness(vf)
        {
            let what = if nearness == Nearness::OnPf { "PF" } else { "card" };
            return Some(format!(
                "is on the {what} of another of the guest's VFs, and the network requires \
                 legs on cards of their own"
            ));
        }
        if *numa == Some(Weight::Require)
            && let Node::Other(node) = self.node(vf)
        {
            let guest = self.wanted.nodes.map(list).unwrap_or_default();
            let at = node.map_or_else(
                || "a NUMA node that is not known".to_owned(),
                |node| format!("NUMA node {node}"),
            );
            return Some(format!(
                "is at {at}, and the guest at {guest}, which the network requires"
            ));
        }
        None
    }

    /// Why a VF's frames are too short: they are as long as its PF's at the most.
    fn too_short(&self, vf: &Vf, wanted: u32) -> Option<String> {
        let pf = self.inventory.pfs.get(&vf.pf)?;
        let Some(dev) = &pf.netdev else {
            return Some(format!("its PF {} has no interface, so no MTU of {wanted}", vf.pf));
        };
        (dev.mtu < wanted).then(|| {
            let (name, has) = (&dev.name, dev.mtu);
            format!(
                "its PF {name} has MTU {has}, {wanted} is required (ip link set {name} mtu {wanted})"
            )
        })
    }

    fn nearness(&self, vf: &Vf) -> Option<Nearness> {
        let near = |pf: &PciAddress| match *pf == vf.pf {
            true => Nearness::OnPf,
            false if pf.same_slot(vf.pf) => Nearness::OnCard,
            false => Nearness::Apart,
        };
        self.legs.iter().map(near).max()
    }

    fn node(&self, vf: &Vf) -> Node {
        let Some(nodes) = self.wanted.nodes else { return Node::Any };
        let of_pf = || self.inventory.pfs.get(&vf.pf)?.numa_node;
        match vf.numa_node.or_else(of_pf) {
            Some(node) if nodes.contains(&node) => Node::Guests(node),
            // All is near on a host of one node, whose firmware need not say so.
            None if self.inventory.nodes.len() < 2 => Node::Any,
            node => Node::Other(node),
        }
    }
}

fn matters(weight: Option<Weight>) -> bool {
    weight.unwrap_or_default() > Weight::Ignore
}

/// `0`, `0, 2`.
fn list(nodes: &BTreeSet<u16>) -> String {
    nodes.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Why a VF is not the one that its port is pinned to.
pub(crate) fn not_the_one(inventory: &Inventory, vf: &Vf, placement: &Placement) -> Option<String> {
    let is_of = |name: &PfName| inventory.pfs.get(&vf.pf).is_some_and(|pf| name.is(pf));
    let pinned = match placement.pin.as_ref()? {
        Pin::Pf(pf) if !is_of(pf) => format!("PF {pf}"),
        Pin::Numbered(pf, index) if !is_of(pf) || *index != vf.index => {
            format!("VF {index} of PF {pf}")
        }
        Pin::Vf(address) if *address != vf.address => format!("VF {address}"),
        _ => return None,
    };
    Some(format!("is not of the pin: {pinned}"))
}

impl State {
    /// The NUMA nodes that a guest is at: those of its memory, else those of the processors that
    /// it may run on; `None` where it may be anywhere.
    pub fn nodes_of(&self, guest: &GuestDefinition) -> Option<BTreeSet<u16>> {
        if !guest.memory_nodes.is_empty() {
            return Some(guest.memory_nodes.clone());
        }
        if guest.processors.is_empty() {
            return None;
        }
        let nodes = self.inventory.nodes.iter();
        let with_one = nodes.filter(|(_, there)| !there.is_disjoint(&guest.processors));
        Some(with_one.map(|(node, _)| *node).collect())
            .filter(|nodes: &BTreeSet<u16>| !nodes.is_empty())
    }

    /// On how many cards and PFs, apart from the guest's other VFs, a NIC could have its own, where
    /// its network keeps a guest's interfaces apart.
    pub(crate) fn choice(
        &self,
        candidates: &[PciAddress],
        wish: &Wish<'_>,
    ) -> Option<(usize, usize)> {
        matters(wish.wanted.placement.legs).then(|| {
            let ranking = Ranking::new(self, wish);
            let apart = candidates.iter().filter_map(|address| {
                let vf = self.inventory.vfs.get(address)?;
                let near = matches!(ranking.nearness(vf), Some(Nearness::OnPf | Nearness::OnCard));
                (!near && self.why_not(vf.address, wish, &ranking).is_none()).then_some(vf.pf)
            });
            let pfs: BTreeSet<PciAddress> = apart.collect();
            // In the order of addresses, the functions of a slot are neighbours.
            let same_card = |pair: &[PciAddress]| pair[0].same_slot(pair[1]);
            let ordered: Vec<_> = pfs.into_iter().collect();
            let shared = ordered.windows(2).filter(|pair| same_card(pair)).count();
            (ordered.len() - shared, ordered.len())
        })
    }
}
