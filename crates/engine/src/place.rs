//! Which VF, and why not the others.

use vfnet_model::inventory::{HostUse, Inventory, Vf, VfioSupport};
use vfnet_model::{MacAddress, PciAddress, Vlan};

use crate::claim::{Claim, Owner};
use crate::refusal::{Because, Refusal, RefusalKind};
use crate::state::{GuestDefinition, LiveNetwork, NicNeed, NicSource, State};

/// What a VF is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Who is to hold it.
    pub owner: &'a Owner,
    /// The MAC it is to have; `None` for a plain `<hostdev>`.
    pub mac: Option<MacAddress>,
    /// The tag it is to have.
    pub vlan: Option<Vlan>,
    /// Whether the owner's NICs of equal MAC are a `<teaming>` pair.
    pub teaming: bool,
    /// Whether vfnet binds the driver. If not, the VF must be on VFIO already.
    pub managed: bool,
}

/// Picks a VF among candidates, which are all usable and in pool order.
pub type Placement = fn(&State, &[PciAddress], &Wish<'_>) -> Option<PciAddress>;

/// The first one.
pub fn first_fit(_: &State, usable: &[PciAddress], _: &Wish<'_>) -> Option<PciAddress> {
    usable.first().copied()
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

/// Why a VF cannot be lent for this wish now; `None` when it can.
pub fn why_not(state: &State, address: PciAddress, wish: &Wish<'_>) -> Option<String> {
    let Some(vf) = state.inventory.vfs.get(&address) else {
        return Some("is not an SR-IOV VF of this host".to_owned());
    };
    state
        .claim_on(address)
        .map(Claim::why_taken)
        .or_else(|| state.is_changing(vf.pf))
        .or_else(|| vf.uses.first().map(ToString::to_string))
        .or_else(|| pf_is_down(state, vf))
        .or_else(|| group_is_shared(state, vf, wish.owner))
        .or_else(|| not_on_vfio(state, vf, wish))
        .or_else(|| mac_clash(state, vf, wish))
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

/// A MAC has one owner per PF and VLAN; the kernel does not guard that (igb accepts the same
/// MAC on two VFs).
pub(crate) fn mac_clash(state: &State, vf: &Vf, wish: &Wish<'_>) -> Option<String> {
    let mac = wish.mac?;
    let tag = |vlan: Option<Vlan>| vlan.map_or(0, |vlan| vlan.id.get());
    let other = state.claims.values().find(|claim| {
        let wanted = claim.wanted.as_ref();
        claim.pf == vf.pf
            && wanted.is_some_and(|wanted| wanted.mac == mac && tag(wanted.vlan) == tag(wish.vlan))
            && !(claim.owner.same_holder(wish.owner) && wish.teaming)
    })?;
    let port = match (&other.owner, &other.network) {
        // Nothing else ends it when the daemon that made it has forgotten it.
        (Owner::Port { .. }, Some(of)) => format!(" (port {})", of.port),
        _ => String::new(),
    };
    Some(format!(
        "cannot have MAC {mac}: {} has it on {}{port} of the same PF",
        other.owner, other.vf
    ))
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

    /// How a network would serve a guest's first NIC on it now, or anybody where no guest is
    /// given: for each VF of its pool, in the order in which they are tried, why not.
    pub fn explain(
        &self,
        live: &LiveNetwork,
        guest: Option<&GuestDefinition>,
    ) -> Vec<(PciAddress, Option<String>)> {
        let asks = |nic: &&NicNeed| matches!(&nic.source, NicSource::Network { name, .. } if name == live.name());
        let nic = guest.and_then(|guest| guest.nics.iter().find(asks));
        let owner = guest.map_or(Owner::Administrator, |guest| Owner::Nic {
            guest: guest.uuid,
            name: guest.name.clone(),
            nic: 0,
        });
        let portgroup = nic.and_then(|nic| match &nic.source {
            NicSource::Network { portgroup, .. } => portgroup.as_deref(),
            _ => None,
        });
        let document = &live.definition.network;
        let wish = Wish {
            owner: &owner,
            mac: nic.map(|nic| nic.mac),
            vlan: document.vlan_for(nic.and_then(|nic| nic.vlan), portgroup),
            teaming: nic.is_some_and(|nic| nic.teaming),
            managed: document.pool().is_none_or(|pool| pool.managed),
        };
        self.pool(live).into_iter().map(|vf| (vf, why_not(self, vf, &wish))).collect()
    }

    /// Chooses among candidates; the refusal carries the reason for every one of them.
    pub(crate) fn choose(
        &self,
        what: &str,
        candidates: &[PciAddress],
        wish: &Wish<'_>,
        placement: Placement,
    ) -> Result<PciAddress, Refusal> {
        if let Some(refusal) = host_obstacle(&self.inventory) {
            return Err(refusal);
        }
        let mut usable = Vec::new();
        let mut vfs = Vec::new();
        for vf in candidates {
            match why_not(self, *vf, wish) {
                None => usable.push(*vf),
                Some(reason) => vfs.push(Because { vf: *vf, reason }),
            }
        }
        placement(self, &usable, wish).ok_or_else(|| {
            let message = match candidates.len() {
                0 => format!("{what} has no VFs"),
                1 => format!("{what}: its VF cannot be lent"),
                all => format!("{what}: none of its {all} VFs can be lent"),
            };
            Refusal { vfs, ..Refusal::new(RefusalKind::Exhausted, message) }
        })
    }
}
