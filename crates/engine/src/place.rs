//! Which VF, and why not the others.

use std::collections::BTreeMap;

use vfnet_model::drivers;
use vfnet_model::inventory::{HostUse, Inventory, Vf, VfioSupport};
use vfnet_model::vf::WantedSettings;
use vfnet_model::{MacAddress, PciAddress, Vlan};

use crate::claim::{Claim, ClaimState, Owner};
use crate::rank::{Rank, Ranking, Wanted, not_the_one};
use crate::refusal::{Alike, Because, Obstacle, Refusal, RefusalKind};
use crate::state::State;

/// What a VF is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Who is to hold it.
    pub owner: &'a Owner,
    /// What is to be set on it; `None` for a plain `<hostdev>`. A zero MAC stands for any.
    pub settings: Option<&'a WantedSettings>,
    /// Whether the owner's NICs of equal MAC are a `<teaming>` pair.
    pub teaming: bool,
    /// Whether vfnet binds the driver. If not, the VF must be on VFIO already.
    pub managed: bool,
    /// Where it is wanted from.
    pub wanted: Wanted<'a>,
}

impl Wish<'_> {
    fn mac(&self) -> Option<MacAddress> {
        self.settings.map(|settings| settings.mac).filter(|mac| !mac.is_zero())
    }

    fn tag(&self) -> u16 {
        tag(self.settings.and_then(|settings| settings.vlan))
    }
}

/// What keeps every VF of this host from being lent, if anything.
pub fn host_obstacle(inventory: &Inventory) -> Option<Refusal> {
    let refuse = |message: &str, hint: &str| {
        Some(Refusal::new(RefusalKind::Unsupported, message).hint(hint))
    };
    if !inventory.iommu {
        return refuse(
            "host doesn't support passthrough of host PCI devices: no IOMMU is on",
            "enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on on Intel; see vfnet doctor",
        );
    }
    if inventory.vfio == VfioSupport::Missing {
        return refuse(
            "host doesn't support passthrough of host PCI devices: the running kernel has no vfio-pci",
            "install the kernel's module package, or boot the kernel whose modules are installed",
        );
    }
    None
}

fn pf_is_down(state: &State, vf: &Vf) -> Option<String> {
    let pf = state.inventory.pfs.get(&vf.pf)?;
    let Some(dev) = &pf.netdev else {
        return Some(format!("its PF {} has no netdev here, so nothing can be set on it", vf.pf));
    };
    (!dev.up).then(|| format!("its PF {0} is down (ip link set {0} up)", dev.name))
}

/// The group is what VFIO hands over: its members go to one owner, and none of them may be at
/// work for the host.
fn group_is_shared(state: &State, vf: &Vf, owner: &Owner) -> Option<String> {
    let Some(group) = vf.iommu_group else {
        return Some("has no IOMMU group".to_owned());
    };
    let members = state.inventory.groups.get(&group)?;
    members.iter().filter(|member| member.address != vf.address && !member.bridge).find_map(
        |member| match state.claim_on(member.address) {
            Some(claim) if claim.owner.same_holder(owner) => None,
            Some(claim) => Some(format!(
                "shares IOMMU group {group} with {}, {}",
                member.address,
                claim.why_taken()
            )),
            None if !member.on_vfio => member.driver.as_ref().map(|driver| {
                format!(
                    "shares IOMMU group {group} with {}, which the host drives with {driver}",
                    member.address
                )
            }),
            None => {
                let uses = &state.inventory.vfs.get(&member.address)?.uses;
                let open = uses.iter().find(|used| matches!(used, HostUse::VfioOpen(_)))?;
                Some(format!("shares IOMMU group {group} with {}: {open}", member.address))
            }
        },
    )
}

fn not_on_vfio(state: &State, vf: &Vf, wish: &Wish<'_>) -> Option<String> {
    (!wish.managed && !state.is_on_vfio(vf)).then(|| {
        let driver = vf.binding.driver.as_ref().map_or("no driver", |driver| driver.as_str());
        format!("is on {driver}, and with managed='no' must have been bound to vfio-pci beforehand")
    })
}

/// What of the wish the PF's driver certainly does not set.
fn lacked(state: &State, vf: &Vf, wish: &Wish<'_>) -> Option<String> {
    let row = drivers::row(state.inventory.pfs.get(&vf.pf)?.driver.as_ref());
    let lacks = row.lacks(wish.settings?);
    let (driver, lacks) = (row.driver, Some(lacks.join(", ")).filter(|it| !it.is_empty())?);
    Some(format!("its PF's driver {driver} does not set {lacks} on VFs"))
}

/// Who has a MAC already, by PF: it has one owner per PF and VLAN, which the kernel does not guard
/// (igb accepts the same MAC on two VFs).
#[derive(Debug, Default)]
pub(crate) struct MacOwners(BTreeMap<PciAddress, Vec<MacOwner>>);

#[derive(Debug)]
struct MacOwner {
    /// The VF that somebody else has set it on, who may as well be lent that one.
    on: Option<PciAddress>,
    who: String,
}

impl MacOwners {
    /// All that stand against this wish: whoever was lent a VF for it, and what is in the PFs'
    /// tables of VFs that were lent to nobody.
    pub(crate) fn of(state: &State, wish: &Wish<'_>) -> Self {
        let mut owners = Self::lent(state, wish);
        if wish.mac().is_none() {
            return owners;
        }
        let set = state.inventory.vfs.values().filter(|vf| {
            let now = vf.attributes.as_ref();
            now.is_some_and(|now| Some(now.mac) == wish.mac() && now.vlan.id.get() == wish.tag())
                && state.claim_on(vf.address).is_none()
        });
        for vf in set {
            let used = vf.uses.first().map_or_else(String::new, |used| format!(" ({used})"));
            let who = format!("it is set on {}{used}", vf.address);
            owners.0.entry(vf.pf).or_default().push(MacOwner { on: Some(vf.address), who });
        }
        owners
    }

    /// Those alone who were lent a VF.
    pub(crate) fn lent(state: &State, wish: &Wish<'_>) -> Self {
        let mut owners: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let lent = state.claims.values().filter(|claim| {
            let wanted = claim.wanted.as_ref();
            wanted.is_some_and(|it| Some(it.mac) == wish.mac() && tag(it.vlan) == wish.tag())
                && !(claim.owner.same_holder(wish.owner) && wish.teaming)
        });
        for claim in lent {
            let port = match (&claim.owner, &claim.network) {
                // Nothing else ends it when the daemon that made it has forgotten it.
                (Owner::Port { .. }, Some(of)) => format!(" (port {})", of.port),
                _ => String::new(),
            };
            let who = format!("{} has it on {}{port}", claim.owner, claim.vf);
            owners.entry(claim.pf).or_default().push(MacOwner { on: None, who });
        }
        Self(owners)
    }

    /// Why a VF cannot have it, if so.
    pub(crate) fn clash(&self, vf: &Vf, wish: &Wish<'_>) -> Option<String> {
        let others = self.0.get(&vf.pf)?;
        let other = others.iter().find(|other| other.on != Some(vf.address))?;
        Some(format!("cannot have MAC {}: {} of the same PF", wish.mac()?, other.who))
    }
}

fn tag(vlan: Option<Vlan>) -> u16 {
    vlan.map_or(0, |vlan| vlan.id.get())
}

impl State {
    /// Whether a VF is bound to a VFIO driver.
    pub fn is_on_vfio(&self, vf: &Vf) -> bool {
        let member = vf
            .iommu_group
            .and_then(|group| self.inventory.groups.get(&group))
            .and_then(|members| members.iter().find(|member| member.address == vf.address));
        match member {
            Some(member) => member.on_vfio,
            None => vf.binding.driver.as_ref().is_some_and(|driver| driver.as_str() == "vfio-pci"),
        }
    }

    /// Why a VF cannot be lent for this wish now; `None` when it can.
    pub(crate) fn why_not(
        &self,
        address: PciAddress,
        wish: &Wish<'_>,
        ranking: &Ranking<'_>,
    ) -> Option<Because> {
        let because = |obstacle| move |reason: String| Because::new(address, obstacle, reason);
        let Some(vf) = self.inventory.vfs.get(&address) else {
            return Some(because(Obstacle::Host)("is not an SR-IOV VF of this host".to_owned()));
        };
        let taken = |claim: &Claim| match claim.state {
            ClaimState::Quarantined { .. } | ClaimState::Stuck { .. } | ClaimState::Vanished => {
                because(Obstacle::Broken)(claim.why_taken())
            }
            _ => because(Obstacle::Taken)(claim.why_taken()),
        };
        let used = || vf.uses.first().map(ToString::to_string);
        let host = || {
            self.is_drained(vf.pf)
                .or_else(|| pf_is_down(self, vf))
                .or_else(|| group_is_shared(self, vf, wish.owner))
                .or_else(|| not_on_vfio(self, vf, wish))
        };
        not_the_one(&self.inventory, vf, wish.wanted.placement)
            .map(because(Obstacle::Wish))
            .or_else(|| self.claim_on(address).map(taken))
            .or_else(|| self.is_changing(vf.pf).map(because(Obstacle::Host)))
            .or_else(|| used().map(because(Obstacle::Used)))
            .or_else(|| host().map(because(Obstacle::Host)))
            .or_else(|| lacked(self, vf, wish).map(because(Obstacle::Wish)))
            .or_else(|| ranking.owners.clash(vf, wish).map(because(Obstacle::Wish)))
            .or_else(|| ranking.misplaced(vf).map(because(Obstacle::Wish)))
    }

    /// Why nobody in particular could have a VF now.
    pub fn why_not_lent(&self, address: PciAddress) -> Option<String> {
        let wish = Wish {
            owner: &Owner::Administrator,
            settings: None,
            teaming: false,
            managed: true,
            wanted: Wanted::ANYWHERE,
        };
        self.why_not(address, &wish, &Ranking::new(self, &wish)).map(|because| because.reason)
    }

    /// Of candidates, those that can be lent, the one to take first; and why the others cannot.
    pub fn ranked(
        &self,
        candidates: &[PciAddress],
        wish: &Wish<'_>,
    ) -> (Vec<(Rank, PciAddress)>, Vec<Because>) {
        let ranking = Ranking::new(self, wish);
        let (mut usable, mut others) = (Vec::new(), Vec::new());
        for (place, address) in candidates.iter().enumerate() {
            match (self.why_not(*address, wish, &ranking), self.inventory.vfs.get(address)) {
                (Some(because), _) => others.push(because),
                (None, vf) => usable.extend(vf.map(|vf| (ranking.rank(vf, place), *address))),
            }
        }
        usable.sort_unstable();
        (usable, others)
    }

    /// Chooses among candidates; the refusal carries the reason for every one of them.
    pub(crate) fn choose(
        &self,
        what: &str,
        candidates: &[PciAddress],
        wish: &Wish<'_>,
    ) -> Result<PciAddress, Refusal> {
        if let Some(refusal) = host_obstacle(&self.inventory) {
            return Err(refusal);
        }
        let (usable, vfs) = self.ranked(candidates, wish);
        usable.first().map(|(_, vf)| *vf).ok_or_else(|| {
            let message = match candidates.len() {
                0 => format!("{what} has no VFs"),
                1 => format!("{what}: its VF cannot be lent"),
                all => format!("{what}: none of its {all} VFs can be lent"),
            };
            Refusal { vfs: self.alike(vfs), ..Refusal::new(RefusalKind::Exhausted, message) }
        })
    }

    /// The same, with what is told once of reasons that differ in a PF's name, or in what the host
    /// uses VFs for.
    pub(crate) fn alike(&self, mut reasons: Vec<Because>) -> Vec<Because> {
        for because in &mut reasons {
            let Some(vf) = self.inventory.vfs.get(&because.vf) else { continue };
            let used = vf.uses.first().filter(|_| because.obstacle == Obstacle::Used);
            because.alike = Some(match used.map(HostUse::sort) {
                Some((kind, name)) => Alike { kind: kind.to_owned(), name },
                None => self.of_any_pf(vf.pf, &because.reason),
            });
        }
        reasons
    }

    /// A reason as it would be told of a VF of any PF, and the PF's name if it says that.
    fn of_any_pf(&self, pf: PciAddress, reason: &str) -> Alike {
        let netdev = self.inventory.pfs.get(&pf).and_then(|pf| pf.netdev.as_ref());
        let name = netdev.map_or_else(|| pf.to_string(), |dev| dev.name.to_string());
        let names = [self.shown_pf(pf), pf.to_string(), name.clone()];
        let kind = names.iter().fold(reason.to_owned(), |said, name| said.replace(name, "…"));
        let name = if kind == reason { String::new() } else { name };
        Alike { kind, name }
    }
}
