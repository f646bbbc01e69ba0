//! What a hostdev network's pool comes to on this host.
//!
//! PFs and VFs that the document names are looked up when the network starts, and are the same
//! devices from then on, whatever their interfaces are called. Those that it chooses by what they
//! are it has at any time: a PF that appears later is in the pool of a running network at once,
//! and one that goes takes nothing but its own VFs with it. Which VFs there are is always asked of
//! the last look at the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vfnet_model::drivers;
use vfnet_model::inventory::Pf;
use vfnet_model::network::{Forward, LentPf, Members, PfSelector, Pool, WhichPf};
use vfnet_model::vf::VfIndex;
use vfnet_model::{MacAddress, PciAddress};

use crate::refusal::{Refusal, RefusalKind};
use crate::state::{LiveNetwork, NetworkDefinition, State};

/// PFs that a message names; the others are counted.
const NAMED: usize = 12;

/// The VFs that a PF is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) count: u16,
    /// Whether the kernel may look for drivers for them.
    pub(crate) autoprobe: bool,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drivers = if self.autoprobe { "with" } else { "without" };
        write!(f, "{} VFs {drivers} the host's drivers", self.count)
    }
}

/// What a document comes to on this host now: the PFs and VFs that it names, by address, and how
/// many VFs PFs are to have.
pub(crate) fn resolve(
    state: &State,
    definition: NetworkDefinition,
) -> Result<(LiveNetwork, BTreeMap<PciAddress, Wanted>), Refusal> {
    let (mut pfs, mut vfs, mut wanted) = (Vec::new(), Vec::new(), BTreeMap::new());
    if let Forward::Hostdev(pool) = &definition.network.forward {
        let found = members(state, pool, &mut vfs)
            .and_then(|first| further(state, pool, first, &mut wanted))
            .map_err(|refusal| {
                let message = format!("network '{}': {}", definition.network.name, refusal.message);
                Refusal { message, ..refusal }
            });
        pfs = found?;
    }
    let uuid = definition.uuid;
    Ok((LiveNetwork { uuid, definition, pfs, vfs }, wanted))
}

/// What `<forward>` names.
fn members(
    state: &State,
    pool: &Pool,
    vfs: &mut Vec<PciAddress>,
) -> Result<Option<LentPf>, Refusal> {
    let no_vf = |what: String| missing(format!("{what} an SR-IOV Virtual Function"));
    match &pool.members {
        Members::None => {}
        Members::Pf(name) => {
            let pf = the_pf(state, &WhichPf::Dev(name.clone()))?;
            return Ok(Some(LentPf { address: pf.address, range: None }));
        }
        Members::Addresses(addresses) => {
            for address in addresses {
                if !state.inventory.vfs.contains_key(address) {
                    return Err(no_vf(format!("{address} is not")));
                }
                vfs.push(*address);
            }
        }
        Members::Interfaces(names) => {
            for name in names {
                let vf = state
                    .inventory
                    .vf_by_netdev(name)
                    .ok_or_else(|| no_vf(format!("'{name}' is not the netdev of")))?;
                vfs.push(vf.address);
            }
        }
    }
    Ok(None)
}

/// What `<vfnet:pf>` names, behind what `<forward>` does.
fn further(
    state: &State,
    pool: &Pool,
    first: Option<LentPf>,
    wanted: &mut BTreeMap<PciAddress, Wanted>,
) -> Result<Vec<LentPf>, Refusal> {
    let mut pfs: Vec<_> = first.into_iter().collect();
    for further in &pool.pfs {
        let found: Vec<&Pf> = match &further.which {
            WhichPf::Dev(_) | WhichPf::Address(_) => {
                let pf = the_pf(state, &further.which)?;
                let lent = LentPf { address: pf.address, range: further.range.clone() };
                if !pfs.contains(&lent) {
                    pfs.push(lent);
                }
                vec![pf]
            }
            WhichPf::Like(selector) => {
                let found: Vec<_> = chosen(state, selector).collect();
                if found.is_empty() {
                    return Err(nothing_like(state, selector));
                }
                found
            }
        };
        for (pf, count) in found.iter().zip(std::iter::repeat(further.vfs)) {
            let Some(count) = count else { continue };
            let shown = state.shown_pf(pf.address);
            if count > pf.total_vfs {
                let allowed = pf.total_vfs;
                return Err(missing(format!(
                    "PF {shown} allows {allowed} VFs, {count} are wanted"
                )));
            }
            let these = Wanted { count, autoprobe: further.autoprobe.unwrap_or(false) };
            if let Some(others) = wanted.insert(pf.address, these)
                && others != these
            {
                let message = format!("PF {shown} is to have {others}, and {these}");
                return Err(Refusal::invalid(message));
            }
        }
    }
    Ok(pfs)
}

fn missing(what: String) -> Refusal {
    Refusal::new(RefusalKind::Exhausted, what)
}

/// The PF that is named.
fn the_pf<'s>(state: &'s State, which: &WhichPf) -> Result<&'s Pf, Refusal> {
    let found = match which {
        WhichPf::Dev(name) => state.inventory.pf_by_netdev(name),
        WhichPf::Address(address) => state.inventory.pfs.get(address),
        WhichPf::Like(_) => None,
    };
    found.ok_or_else(|| {
        let name = match which {
            WhichPf::Dev(name) => name.to_string(),
            WhichPf::Address(address) => address.to_string(),
            WhichPf::Like(_) => which.to_string(),
        };
        missing(format!("there is no SR-IOV PF '{name}'"))
            .hint("vfnet pf ls lists the PFs of this host")
    })
}

/// The PFs that are like this now.
fn chosen<'s>(state: &'s State, selector: &PfSelector) -> impl Iterator<Item = &'s Pf> {
    state.inventory.pfs.values().filter(|pf| selector.takes(pf, &state.physical_networks))
}

/// What was looked for, and what there is.
fn nothing_like(state: &State, selector: &PfSelector) -> Refusal {
    let like = WhichPf::Like(selector.clone());
    if let Some(name) = &selector.physnet
        && !state.physical_networks.contains_key(name)
    {
        let known: Vec<_> = state.physical_networks.keys().map(ToString::to_string).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("physical network '{name}' is not configured ({known})");
        return missing(message).hint("physical_networks in vfnetd.toml says which PFs are on it");
    }
    let mut here: Vec<_> = state.inventory.pfs.values().map(|pf| described(state, pf)).collect();
    let more = here.len().saturating_sub(NAMED);
    here.truncate(NAMED);
    let here = match here.as_slice() {
        [] => "no PFs".to_owned(),
        here if more > 0 => format!("{}; and {more} more PFs", here.join("; ")),
        here => here.join("; "),
    };
    missing(format!("no SR-IOV PF has {like}; this host has {here}"))
}

/// A PF with all that it can be chosen by.
fn described(state: &State, pf: &Pf) -> String {
    let (vendor, device) = pf.id;
    let mut says = vec![format!("{vendor:04x}:{device:04x}")];
    says.push(pf.driver.as_ref().map_or("no driver".to_owned(), ToString::to_string));
    says.extend(pf.numa_node.map(|node| format!("NUMA node {node}")));
    says.extend(state.physical_networks_of(pf).map(|name| format!("physical network {name}")));
    format!("{} {}", state.shown_pf(pf.address), says.join(", "))
}

impl State {
    /// The physical networks that a PF is cabled to, as the configuration has it.
    pub fn physical_networks_of<'s>(&'s self, pf: &'s Pf) -> impl Iterator<Item = String> + 's {
        let of = self.physical_networks.iter();
        of.filter(|(_, pfs)| pfs.iter().any(|name| name.is(pf))).map(|(name, _)| name.to_string())
    }

    /// The PFs of an active network's pool that it names or that it chooses now, with which of
    /// their VFs are in it; one that several elements mean more than once.
    pub fn lent_pfs(&self, live: &LiveNetwork) -> Vec<LentPf> {
        let like = |which: &WhichPf| match which {
            WhichPf::Like(selector) => Some(selector.clone()),
            WhichPf::Dev(_) | WhichPf::Address(_) => None,
        };
        let elements = live.definition.network.pool().map_or(&[][..], |pool| &pool.pfs);
        let now = elements.iter().filter_map(|pf| Some((like(&pf.which)?, &pf.range)));
        let mut pfs = live.pfs.clone();
        for (selector, range) in now {
            let of = chosen(self, &selector);
            pfs.extend(of.map(|pf| LentPf { address: pf.address, range: range.clone() }));
        }
        pfs
    }

    /// Whether some VFs of a PF are in an active network's pool, as it names or chooses PFs.
    pub fn lends_pf(&self, live: &LiveNetwork, pf: PciAddress) -> bool {
        let of_pf = |vf: &PciAddress| self.inventory.vfs.get(vf).is_some_and(|vf| vf.pf == pf);
        self.lent_pfs(live).iter().any(|lent| lent.address == pf) || live.vfs.iter().any(of_pf)
    }

    /// Whether a VF is in the pool by its PF.
    pub(crate) fn lends_by_pf(&self, live: &LiveNetwork, pf: PciAddress, vf: VfIndex) -> bool {
        self.lent_pfs(live).iter().any(|lent| lent.has(pf, vf))
    }

    /// The VFs of an active network's pool that exist now, in pool order.
    pub fn pool(&self, live: &LiveNetwork) -> Vec<PciAddress> {
        let of_pfs = self.lent_pfs(live).into_iter().flat_map(|lent| {
            let vfs = self.inventory.vfs_of(lent.address);
            vfs.into_iter().filter(move |vf| lent.has(vf.pf, vf.index)).map(|vf| vf.address)
        });
        let named = live.vfs.iter().copied().filter(|vf| self.inventory.vfs.contains_key(vf));
        let mut seen = BTreeSet::new();
        of_pfs.chain(named).filter(|vf| seen.insert(*vf)).collect()
    }

    /// Why a network that is about to run would have no VFs, though its document names some;
    /// `None` when it has, or names none.
    pub(crate) fn empty_pool(&self, live: &LiveNetwork) -> Option<Refusal> {
        let pool = live.definition.network.pool()?;
        let names_some = pool.members != Members::None || !pool.pfs.is_empty();
        if !names_some || !self.pool(live).is_empty() {
            return None;
        }
        let mut message = format!("network '{}' has no usable VFs", live.name());
        let mut pfs: Vec<String> = Vec::new();
        for LentPf { address, range } in self.lent_pfs(live) {
            let shown = self.shown_pf(address);
            pfs.push(match range {
                None => format!("{shown} has none"),
                Some(range) => {
                    let there = self.inventory.vfs_of(address).len();
                    format!("{shown} has {there}, none of them of {range}")
                }
            });
        }
        pfs.dedup();
        if !pfs.is_empty() {
            message = format!("{message}: {}", pfs.join(", "));
        }
        Some(
            Refusal::new(RefusalKind::Exhausted, message)
                .hint("make some with <vfnet:pf vfs='N'/> in the network, or through sriov_numvfs"),
        )
    }

    /// Whether autostart has PFs for a network: all that it names, and of those that it chooses
    /// one by each choice, are up. In words what is waited for.
    pub(crate) fn pfs_are_up(&self, def: &NetworkDefinition) -> Result<(), String> {
        let (live, _) = resolve(self, def.clone()).map_err(|refusal| refusal.to_string())?;
        let up = |pf: &Pf| pf.netdev.as_ref().is_some_and(|dev| dev.up);
        let waits = |what: String| Err(format!("network '{}' waits for {what}", live.name()));
        for LentPf { address, .. } in &live.pfs {
            if !self.inventory.pfs.get(address).is_some_and(up) {
                return waits(format!("PF {} to be up", self.shown_pf(*address)));
            }
        }
        for pf in live.definition.network.pool().map_or(&[][..], |pool| &pool.pfs) {
            if let WhichPf::Like(selector) = &pf.which
                && !chosen(self, selector).any(up)
            {
                return waits(format!("a PF with {} to be up", pf.which));
            }
        }
        Ok(())
    }

    /// Which of a network's hardware is absent now, in words. Definitions are written before
    /// cards are there, so that only a start is refused for it.
    pub fn missing_hardware(&self, def: &NetworkDefinition) -> Option<String> {
        resolve(self, def.clone()).err().map(|refusal| refusal.to_string())
    }

    /// Refuses wishes of a document that the drivers of all its pool's PFs lack for certain. Of
    /// what cannot be looked up now, nothing is known.
    pub(crate) fn no_driver_lacks(&self, def: &NetworkDefinition) -> Result<(), Refusal> {
        let Ok((live, _)) = resolve(self, def.clone()) else { return Ok(()) };
        let pfs = self.inventory.pfs.values().filter(|pf| self.lends_pf(&live, pf.address));
        let pfs: Vec<_> = pfs.filter(|pf| pf.driver.is_some()).collect();
        let document = &def.network;
        let groups = document.portgroups.iter().map(|group| Some(group.name.as_str()));
        for group in std::iter::once(None).chain(groups) {
            // A MAC is its ports' wish.
            let wanted = document.wanted(MacAddress::ZERO, None, group);
            let lacks = |pf: &&Pf| drivers::row(pf.driver.as_ref()).lacks(&wanted);
            let Some(pf) = pfs.first().filter(|_| pfs.iter().all(|pf| !lacks(pf).is_empty()))
            else {
                continue;
            };
            let driver = pf.driver.as_ref().map_or("none", |driver| driver.as_str());
            let of_group = group.map_or_else(String::new, |name| format!(", portgroup '{name}'"));
            let message = format!(
                "network '{}'{of_group} wants what driver {driver} of PF {} does not set on VFs: {}",
                document.name,
                self.shown_pf(pf.address),
                lacks(pf).join(", ")
            );
            return Err(Refusal::new(RefusalKind::Unsupported, message)
                .hint("vfnet doctor says what each driver sets"));
        }
        Ok(())
    }
}
