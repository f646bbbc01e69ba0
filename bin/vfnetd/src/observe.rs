//! Looking at the host: one look at a time, and every look that begins after it was asked for
//! serves all who asked.

use std::sync::Arc;

use tokio::sync::Mutex;
use vfnet_engine::{Input, Moment};
use vfnet_host::Host;

use crate::engine_task::EngineHandle;

/// Has the engine see the host as it is.
#[derive(Clone)]
pub struct Observer {
    host: Arc<dyn Host>,
    engine: EngineHandle,
    /// When the last look that reached the engine began.
    last: Arc<Mutex<Moment>>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Observer {
    /// An observer of this host.
    pub fn new(host: Arc<dyn Host>, engine: EngineHandle) -> Self {
        Self { host, engine, last: Arc::default() }
    }

    /// Returns once the engine has seen the host as it is now, or after a look that failed,
    /// which is logged: the engine then goes by the look before.
    pub async fn look(&self) {
        let asked = self.engine.moment();
        let mut last = self.last.lock().await;
        if *last > asked {
            return;
        }
        let began = self.engine.moment();
        let host = Arc::clone(&self.host);
        match tokio::task::spawn_blocking(move || host.inventory()).await {
            Ok(Ok(inventory)) => {
                self.engine.tell(Input::Observed { began, inventory: Box::new(inventory) }).await;
                *last = began;
            }
            Ok(Err(fault)) => {
                tracing::error!("cannot look at the host: {}", vfnet_model::explain(&fault));
            }
            Err(fault) => tracing::error!("looking at the host failed: {fault}"),
        }
    }
}
