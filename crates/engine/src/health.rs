//! What becomes of the cards: what two looks at the host show is told, once, in words.

use vfnet_model::PciAddress;
use vfnet_model::inventory::{Inventory, Pf};

use crate::decision::{Announcement, Turn};

/// What has become of a PF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PfChange {
    /// Its card is there.
    Came,
    /// It is not any more.
    Went,
    /// It has a driver, or none.
    Driver(Option<vfnet_model::DriverName>),
    /// Its interface is up and has carrier, or not.
    Link(bool),
    /// So many errors of its PCI Express link more than before that the hardware did not correct
    /// (AER).
    Errors(u64),
}

impl Turn<'_> {
    /// Tells what is not as it was at the last look. At the first, nothing is.
    pub(crate) fn tell_of_pfs(&mut self, now: &Inventory) {
        let before = &self.state.inventory.pfs;
        let came = now.pfs.keys().filter(|pf| !before.contains_key(pf));
        let went = before.keys().filter(|pf| !now.pfs.contains_key(pf));
        let mut told: Vec<(PciAddress, PfChange)> = went.map(|pf| (*pf, PfChange::Went)).collect();
        told.extend(came.map(|pf| (*pf, PfChange::Came)));
        for (address, pf) in &now.pfs {
            let Some(before) = before.get(address) else { continue };
            if before.driver != pf.driver {
                told.push((*address, PfChange::Driver(pf.driver.clone())));
            } else if has_link(before) != has_link(pf) {
                told.push((*address, PfChange::Link(has_link(pf))));
            }
            match (before.errors, pf.errors) {
                (Some(before), Some(now)) if now > before => {
                    told.push((*address, PfChange::Errors(now - before)));
                }
                _ => {}
            }
        }
        for (pf, change) in told {
            let known = now.pfs.get(&pf).or_else(|| self.state.inventory.pfs.get(&pf));
            let dev = known.and_then(|pf| pf.netdev.as_ref());
            let shown = dev.map_or_else(|| pf.to_string(), |dev| format!("{} ({pf})", dev.name));
            self.announce(Announcement::PfChanged(shown, change));
        }
    }
}

fn has_link(pf: &Pf) -> bool {
    pf.netdev.as_ref().is_some_and(|dev| dev.up && dev.carrier)
}
