//! The host's devices as libvirt's clients list them, and their coming and going.
//!
//! Every call reads the host as it is. Only while somebody listens is a list remembered: whenever
//! the kernel announces a change it is compared with the list of that moment, and what differs is
//! told. What comes and goes again between two looks is not; what goes and comes again is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, broadcast};
use vfnet_host::{DeviceTree, HostError};
use vfnet_model::node_device::{Kind, NodeDeviceName, Outline};

use crate::aside::aside;

/// Lots of changes that a slow listener may be behind.
const LOTS: usize = 256;

/// Something happened to a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DeviceChange {
    /// It is there now.
    Created(NodeDeviceName),
    /// It is no longer there.
    Deleted(NodeDeviceName),
    /// Its driver, or the set of its VFs, is another.
    Updated(NodeDeviceName),
}

/// What one look found to have changed, in the order in which it is told.
pub(crate) type Changes = Arc<[DeviceChange]>;

/// The devices. Clones share everything.
#[derive(Clone)]
pub struct Devices(Arc<Shared>);

struct Shared {
    tree: Arc<dyn DeviceTree>,
    changes: broadcast::Sender<Changes>,
    /// Beside this one, everybody who listens has one.
    listening: Arc<()>,
    /// All devices, as of the last look.
    known: Mutex<Option<Vec<Outline>>>,
}

/// Keeps changes being looked for.
#[derive(Clone, Debug)]
pub(crate) struct Listening(#[expect(dead_code, reason = "it is counted")] Arc<()>);

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

impl Devices {
    pub(crate) fn new(tree: Arc<dyn DeviceTree>) -> Self {
        Self(Arc::new(Shared {
            tree,
            changes: broadcast::Sender::new(LOTS),
            listening: Arc::new(()),
            known: Mutex::default(),
        }))
    }

    /// Reads on a thread that may take its time.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn DeviceTree) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, String> {
        let tree = Arc::clone(&self.0.tree);
        match aside(move || read(&*tree)).await {
            Ok(outcome) => outcome.map_err(|fault| vfnet_model::explain(&fault)),
            Err(fault) => Err(format!("internal fault: {fault}")),
        }
    }

    /// Where changes can be heard, as long as somebody keeps a [`Listening`].
    pub(crate) fn changes(&self) -> broadcast::Receiver<Changes> {
        self.0.changes.subscribe()
    }

    /// Has changes from now on be told.
    pub(crate) async fn listen(&self) -> Listening {
        let mut known = self.0.known.lock().await;
        if !self.is_listened_to() {
            *known = self.look().await;
        }
        Listening(Arc::clone(&self.0.listening))
    }

    /// Tells what has changed since the last look, if anybody listens.
    pub(crate) async fn compare(&self) {
        let mut known = self.0.known.lock().await;
        if !self.is_listened_to() {
            *known = None;
            return;
        }
        let Some(now) = self.look().await else { return };
        if let Some(before) = &*known {
            let changes = differences(before, &now);
            if !changes.is_empty() {
                // Whoever listened may have gone away meanwhile.
                let _listeners = self.0.changes.send(changes.into());
            }
        }
        *known = Some(now);
    }

    fn is_listened_to(&self) -> bool {
        Arc::strong_count(&self.0.listening) > 1
    }

    async fn look(&self) -> Option<Vec<Outline>> {
        self.read(|tree| tree.outlines())
            .await
            .inspect_err(|why| tracing::error!("cannot list the host's devices: {why}"))
            .ok()
    }
}

/// What is gone, from the leaves to the root; what is new, the other way round; what is another.
fn differences(before: &[Outline], now: &[Outline]) -> Vec<DeviceChange> {
    let by_name = |outlines| -> BTreeMap<_, _> {
        let outlines: &[Outline] = outlines;
        outlines.iter().map(|outline| (&outline.name, outline)).collect()
    };
    let (old, new) = (by_name(before), by_name(now));
    let stays = |it: &Outline, others: &BTreeMap<_, &Outline>| {
        others.get(&it.name).is_some_and(|other| other.incarnation == it.incarnation)
    };
    let deleted: Vec<_> = before.iter().rev().filter(|it| !stays(it, &new)).collect();
    let created: Vec<_> = now.iter().filter(|it| !stays(it, &old)).collect();
    let pfs: BTreeSet<NodeDeviceName> =
        deleted.iter().chain(&created).filter_map(|vf| pf_of(vf)).collect();
    let updated = now
        .iter()
        .filter(|it| stays(it, &old) && (old.get(&it.name) != Some(it) || pfs.contains(&it.name)));
    let deleted = deleted.iter().map(|it| DeviceChange::Deleted(it.name.clone()));
    let created = created.iter().map(|it| DeviceChange::Created(it.name.clone()));
    let updated = updated.map(|it| DeviceChange::Updated(it.name.clone()));
    deleted.chain(created).chain(updated).collect()
}

fn pf_of(outline: &Outline) -> Option<NodeDeviceName> {
    match &outline.kind {
        Kind::Pci { phys_function, .. } => phys_function.map(NodeDeviceName::pci),
        Kind::System | Kind::Net => None,
    }
}

#[cfg(test)]
mod tests {
    use vfnet_model::inventory::Incarnation;

    use super::*;

    fn pci(address: &str, driver: &str, pf: Option<&str>) -> Outline {
        Outline {
            name: NodeDeviceName::pci(address.parse().unwrap()),
            parent: Some(NodeDeviceName::computer()),
            kind: Kind::Pci {
                driver: driver.parse().ok(),
                phys_function: pf.map(|pf| pf.parse().unwrap()),
            },
            incarnation: Incarnation(1),
        }
    }

    fn net(name: &str) -> Outline {
        Outline {
            name: NodeDeviceName::net(&name.parse().unwrap(), None),
            parent: Some(NodeDeviceName::computer()),
            kind: Kind::Net,
            incarnation: Incarnation(1),
        }
    }

    fn told(before: &[Outline], now: &[Outline]) -> Vec<String> {
        let told = differences(before, now);
        told.iter()
            .map(|change| match change {
                DeviceChange::Created(name) => format!("+{name}"),
                DeviceChange::Deleted(name) => format!("-{name}"),
                DeviceChange::Updated(name) => format!("~{name}"),
            })
            .collect()
    }

    const PF: &str = "0000:01:00.0";
    const VF: &str = "0000:01:10.0";

    #[test]
    fn a_device_is_told_of_before_what_hangs_on_it_and_is_gone_after_it() {
        let without = [pci(PF, "igb", None), net("ens1")];
        let with = [pci(PF, "igb", None), pci(VF, "igbvf", Some(PF)), net("ens1"), net("ens1v0")];
        let pf = "~pci_0000_01_00_0";
        assert_eq!(told(&without, &with), ["+pci_0000_01_10_0", "+net_ens1v0", pf]);
        assert_eq!(told(&with, &without), ["-net_ens1v0", "-pci_0000_01_10_0", pf]);
        assert_eq!(told(&with, &with), [""; 0]);
    }

    #[test]
    fn a_netdev_with_another_name_is_another_device() {
        assert_eq!(told(&[net("eth0")], &[net("ens1")]), ["-net_eth0", "+net_ens1"]);
    }

    #[test]
    fn a_device_that_was_made_anew_between_two_looks_is_another_device() {
        let before = [pci(PF, "igb", None), pci(VF, "igbvf", Some(PF))];
        let mut now = before.clone();
        now[1].incarnation = Incarnation(2);
        let vf = "pci_0000_01_10_0";
        let expected = [format!("-{vf}"), format!("+{vf}"), "~pci_0000_01_00_0".to_owned()];
        assert_eq!(told(&before, &now), expected);
    }

    #[test]
    fn a_device_with_another_driver_is_updated() {
        let before = [pci(VF, "igbvf", Some(PF))];
        let now = [pci(VF, "vfio-pci", Some(PF))];
        assert_eq!(told(&before, &now), ["~pci_0000_01_10_0"]);
    }
}
