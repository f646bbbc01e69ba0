//! Guests that end with the client that started them (libvirt: autodestroy).
//!
//! That a guest is one is on record, so that the next daemon, whose clients are others, ends it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;
use vfnet_engine::{Request, State};

use crate::engine_task::EngineHandle;

/// The guests of one client. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct EndsWithClient(Arc<Mutex<Guests>>);

#[derive(Debug, Default)]
struct Guests {
    /// Each with the number of its run: one that was started since is not meant.
    runs: Vec<(Uuid, i32)>,
    is_gone: bool,
}

impl EndsWithClient {
    /// Adds a guest that has been started; at once ended when the client has gone meanwhile.
    pub(crate) fn add(&self, guest: Uuid, id: i32, engine: &EngineHandle) {
        let mut guests = self.lock();
        guests.runs.push((guest, id));
        if guests.is_gone {
            end(std::mem::take(&mut guests.runs), engine.clone());
        }
    }

    /// The client has gone.
    pub(crate) fn client_is_gone(&self, engine: &EngineHandle) {
        let mut guests = self.lock();
        guests.is_gone = true;
        end(std::mem::take(&mut guests.runs), engine.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(runs: Vec<(Uuid, i32)>, engine: EngineHandle) {
    if runs.is_empty() {
        return;
    }
    tokio::spawn(async move {
        for (guest, id) in runs {
            let it_runs = move |state: &State| state.runs.get(&guest).is_some_and(|it| it.id == id);
            if engine.read(it_runs).await != Ok(true) {
                continue;
            }
            tracing::info!(%guest, "its client has gone: it ends");
            if let Err(refusal) = engine.ask(Request::GuestDestroy(guest)).await {
                tracing::debug!(%guest, "not ended with its client: {refusal}");
            }
        }
    });
}
