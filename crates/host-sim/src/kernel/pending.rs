//! Operations under a device's lock: they take time, wait for one another, and may never end.
//!
//! The kernel holds the device's lock for unbind, probe, driver_override and numvfs, so that what
//! comes later waits behind what is stuck. Whoever asked may have given up long before; the step
//! happens all the same when its turn comes.

use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vfnet_model::{DriverName, PciAddress};

use super::Kernel;

/// Something that is done under a device's lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    Unbind,
    Probe,
    Override(Option<DriverName>),
    NumVfs(u16),
    Reset,
    /// The slot is emptied.
    Unplug,
}

/// Something that happens to a device by itself, whoever has its lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A VF's driver makes its netdev.
    Netdev(PciAddress),
    /// udev renames a VF's netdev.
    Rename(PciAddress),
}

/// What holds a step up, besides the steps before it and open VFIO groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Pause {
    None,
    For(Duration),
    Forever,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    id: u64,
    step: Step,
    /// When it may happen; `None` for never.
    not_before: Option<Duration>,
}

impl Kernel {
    /// Does `step`, letting up to `limit` pass; `None` when it is not done by then.
    pub(crate) fn perform(
        &mut self,
        device: PciAddress,
        step: Step,
        pause: Pause,
        limit: Duration,
    ) -> Option<Result<(), Errno>> {
        let not_before = match pause {
            Pause::None => Some(self.clock),
            Pause::For(time) => Some(self.clock + time),
            Pause::Forever => None,
        };
        self.next_step += 1;
        let id = self.next_step;
        self.pending.entry(device).or_default().push(Pending { id, step, not_before });
        self.advance_until(self.clock + limit, id)
    }

    /// Lets time pass; what falls due happens in its order.
    pub(crate) fn advance(&mut self, time: Duration) {
        // No step has the id 0.
        self.advance_until(self.clock + time, 0);
    }

    /// Lets go of what a fault holds up.
    pub(crate) fn release(&mut self, device: PciAddress) {
        let now = self.clock;
        for pending in self.pending.get_mut(&device).into_iter().flatten() {
            pending.not_before = Some(pending.not_before.unwrap_or(now).min(now));
        }
        self.advance(Duration::ZERO);
    }

    pub(crate) fn is_stuck(&self, device: PciAddress) -> bool {
        self.pending.contains_key(&device)
    }

    fn advance_until(&mut self, end: Duration, wanted: u64) -> Option<Result<(), Errno>> {
        loop {
            self.happen();
            while let Some(device) = self.first_ready() {
                let (id, outcome) = self.finish_first(device);
                if id == wanted {
                    return Some(outcome);
                }
            }
            let heads = self.pending.values().filter_map(|queue| queue.first()?.not_before);
            let events = self.events.iter().map(|&(due, _)| due);
            match heads.chain(events).filter(|&due| due > self.clock && due <= end).min() {
                Some(due) => self.clock = due,
                None => {
                    self.clock = end;
                    return None;
                }
            }
        }
    }

    /// Has something happen after a time.
    pub(super) fn later(&mut self, time: Duration, event: Event) {
        self.events.push((self.clock + time, event));
    }

    /// What was to happen to a device that is gone, or has another driver now.
    pub(super) fn forget_events(&mut self, device: PciAddress) {
        self.events.retain(|&(_, Event::Netdev(of) | Event::Rename(of))| of != device);
    }

    fn happen(&mut self) {
        let now = self.clock;
        while let Some(at) = self.events.iter().position(|&(due, _)| due <= now) {
            match self.events.remove(at).1 {
                Event::Netdev(device) => self.make_netdev(device),
                Event::Rename(device) => self.rename_netdev(device),
            }
        }
    }

    fn first_ready(&self) -> Option<PciAddress> {
        self.pending.iter().find_map(|(&device, queue)| {
            let first = queue.first()?;
            let due = first.not_before.is_some_and(|due| due <= self.clock);
            (due && !self.is_blocked(device, &first.step)).then_some(device)
        })
    }

    /// `vfio_unregister_group_dev` waits without limit for whoever has the device open, holding
    /// the device's lock, and `sriov_numvfs_store` the PF's meanwhile.
    fn is_blocked(&self, device: PciAddress, step: &Step) -> bool {
        match step {
            Step::Unplug => self.vfs_blocked(device),
            Step::Unbind if self.pfs.contains_key(&device) => self.vfs_blocked(device),
            Step::Unbind => self.is_open(device),
            Step::NumVfs(0) => self.vfs_blocked(device),
            Step::NumVfs(_) | Step::Probe | Step::Override(_) | Step::Reset => false,
        }
    }

    fn vfs_blocked(&self, pf: PciAddress) -> bool {
        self.vfs_of(pf).values().any(|&vf| self.is_open(vf) || self.is_stuck(vf))
    }

    fn is_open(&self, device: PciAddress) -> bool {
        let on_vfio = self.driver_of(device).is_some_and(Self::is_vfio);
        on_vfio && self.group_of(device).is_some_and(|group| self.open_groups.contains_key(&group))
    }

    fn finish_first(&mut self, device: PciAddress) -> (u64, Result<(), Errno>) {
        let Some(queue) = self.pending.get_mut(&device) else { return (0, Ok(())) };
        let Pending { id, step, .. } = queue.remove(0);
        if queue.is_empty() {
            self.pending.remove(&device);
        }
        let outcome = match step {
            _ if !self.exists(device) => Err(Errno::NODEV),
            Step::Unbind => {
                self.unbind_now(device);
                Ok(())
            }
            Step::Probe => {
                self.probe_now(device);
                Ok(())
            }
            Step::Override(driver) => {
                self.override_now(device, driver);
                Ok(())
            }
            Step::Reset => {
                self.reset_function(device);
                Ok(())
            }
            Step::NumVfs(count) => self.num_vfs_now(device, count),
            Step::Unplug => {
                self.drop_vfs(device);
                if let Some(pf) = self.pfs.remove(&device) {
                    self.pulled_out.insert(device, pf);
                }
                Ok(())
            }
        };
        (id, outcome)
    }
}
