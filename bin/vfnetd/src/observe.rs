//! Looking at the host: one look at a time, and every look that begins after it was asked for
//! serves all who asked.
//!
//! A look asks the kernel for much, by files of sysfs and netlink. What waits for a device's lock is
//! read by a child (`vfnet_host::reader`), but the kernel's lock of all network interfaces is
//! waited for here, and somebody's driver may hold that. So a look is given a limit, after which
//! whoever asked goes by the look before, and no other is begun until it has come back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vfnet_engine::{Input, Moment};
use vfnet_host::{Host, HostError};
use vfnet_model::inventory::Inventory;

use crate::engine_task::EngineHandle;

/// How long a look may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(20);

type Looking = JoinHandle<Result<Inventory, HostError>>;

/// Has the engine see the host as it is.
#[derive(Clone)]
pub struct Observer {
    inventory: Arc<dyn Fn() -> Result<Inventory, HostError> + Send + Sync>,
    limit: Duration,
    engine: EngineHandle,
    looks: Arc<Mutex<Looks>>,
}

#[derive(Debug, Default)]
struct Looks {
    /// When the last look that reached the engine began.
    last: Moment,
    /// One that hangs, and when it began.
    hanging: Option<(Moment, Looking)>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Observer {
    /// An observer of this host.
    pub fn new(host: Arc<dyn Host>, engine: EngineHandle) -> Self {
        Self {
            inventory: Arc::new(move || host.inventory()),
            limit: LIMIT,
            engine,
            looks: Arc::default(),
        }
    }

    /// Returns once the engine has seen the host as it is now; or, with false, after a look that
    /// failed or hangs, which is logged: the engine then goes by the look before.
    pub async fn look(&self) -> bool {
        let asked = self.engine.moment();
        let mut looks = self.looks.lock().await;
        if looks.last > asked {
            return true;
        }
        if looks.hanging.as_ref().is_some_and(|(_, it)| !it.is_finished()) {
            return false;
        }
        if let Some((began, came_back)) = looks.hanging.take() {
            tracing::info!("the look at the host that hung has come back");
            self.seen(&mut looks, began, came_back.await).await;
        }
        let began = self.engine.moment();
        tracing::debug!("looking at the host");
        let inventory = Arc::clone(&self.inventory);
        let mut looking = tokio::task::spawn_blocking(move || inventory());
        if let Ok(done) = timeout(self.limit, &mut looking).await {
            self.seen(&mut looks, began, done).await;
        } else {
            tracing::error!(
                "a look at the host has not come back within {} s: the kernel does not answer; what \
                 was seen before is gone by until it does",
                self.limit.as_secs()
            );
            looks.hanging = Some((began, looking));
        }
        looks.last > asked
    }

    async fn seen(
        &self,
        looks: &mut Looks,
        began: Moment,
        done: Result<Result<Inventory, HostError>, tokio::task::JoinError>,
    ) {
        match done {
            Ok(Ok(inventory)) => {
                self.engine.tell(Input::Observed { began, inventory: Box::new(inventory) }).await;
                looks.last = began;
            }
            Ok(Err(fault)) => {
                tracing::error!("cannot look at the host: {}", vfnet_model::explain(&fault));
            }
            Err(fault) => tracing::error!("looking at the host failed: {fault}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};

    use super::*;
    use crate::engine_task::mailbox;

    #[test]
    fn a_look_that_hangs_holds_up_nobody_and_is_not_joined_by_another() {
        let (release, released) = mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let begun = Arc::new(AtomicUsize::new(0));
        let back = Arc::new(Barrier::new(2));
        let (handle, _mailbox) = mailbox();
        let (count, leaving) = (Arc::clone(&begun), Arc::clone(&back));
        let observer = Observer {
            inventory: Arc::new(move || {
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    released.lock().unwrap().recv().unwrap();
                    leaving.wait();
                }
                Ok(Inventory::default())
            }),
            limit: Duration::from_millis(20),
            engine: handle,
            looks: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(observer.look());
        runtime.block_on(observer.look());
        assert_eq!(begun.load(Ordering::SeqCst), 1, "a second look joined the one that hangs");
        release.send(()).unwrap();
        back.wait();
        while begun.load(Ordering::SeqCst) == 1 {
            runtime.block_on(observer.look());
        }
        assert!(runtime.block_on(observer.looks.lock()).hanging.is_none());
    }
}
