//! Processes that have VFs: each may open its VF's VFIO group while it lives, and its end is waited
//! for.

use std::path::PathBuf;
use std::time::Duration;

use vfnet_engine::{ClaimId, Input, Lessee};
use vfnet_model::explain;
use vfnet_qemu::process_id::ProcessId;
use vfnet_qemu::vfio;

use crate::engine_task::EngineHandle;
use crate::hands::blocking;

/// Pause before a process is looked for again, where that has failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A process and the VF that it has.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: ClaimId,
    pub(crate) lessee: Lessee,
    /// Its `/dev/vfio/N`, where there is one.
    pub(crate) node: Option<PathBuf>,
}

impl Lease {
    /// Tells the engine when it has begun, and when it has ended.
    pub(crate) async fn last(self, engine: EngineHandle) {
        let process = loop {
            match i32::try_from(self.lessee.pid).map_or(Ok(None), ProcessId::now) {
                // Another one has the number by now.
                Ok(found) => break found.filter(|it| it.start_time == self.lessee.start_time),
                Err(fault) => self.again(&fault).await,
            }
        };
        if let Some(process) = process {
            let begun = self.give().await;
            let has_it = begun.is_ok();
            engine.tell(Input::LeaseBegun(self.id, begun)).await;
            while has_it && let Err(fault) = process.ended().await {
                self.again(&fault).await;
            }
        }
        // Before the VF goes back, with which the node need not go.
        if let Err(fault) = self.take_back().await {
            tracing::warn!("cannot take a VFIO group back from {}: {fault}", self.lessee.program);
        }
        engine.tell(Input::LeaseEnded(self.id)).await;
    }

    async fn again(&self, fault: &std::io::Error) {
        let Lessee { program, pid, .. } = &self.lessee;
        tracing::warn!("cannot see whether {program} (pid {pid}) has ended: {}", explain(fault));
        tokio::time::sleep(AGAIN).await;
    }

    async fn give(&self) -> Result<(), String> {
        let Some(node) = self.node_of_another().cloned() else { return Ok(()) };
        let (uid, gid) = (self.lessee.uid, self.lessee.gid);
        let words = format!("{} cannot be given to user {uid}", node.display());
        let given = blocking(move || vfio::give(&node, uid, gid)).await?;
        given.map_err(|fault| format!("{words}: {fault}"))
    }

    async fn take_back(&self) -> Result<(), String> {
        let Some(node) = self.node_of_another().cloned() else { return Ok(()) };
        let uid = self.lessee.uid;
        blocking(move || vfio::take_back(&node, uid)).await?.map_err(|fault| fault.to_string())
    }

    /// Root's are root's already.
    fn node_of_another(&self) -> Option<&PathBuf> {
        self.node.as_ref().filter(|_| self.lessee.uid != 0)
    }
}
