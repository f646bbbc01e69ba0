//! Events of the stock network daemon's networks, for one client.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use vfnet_rpc::frame::Frame;
use vfnet_rpc::remote::RemoteEvent;

use super::outbox::Outbox;
use crate::upstream::{Listening, Upstream};

/// They come, as long as this is kept.
#[derive(Debug)]
pub(super) struct Relayed {
    _listening: Listening,
    task: AbortHandle,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relayed {
    /// Has them come, in the messages that `messages` makes of each; `behind` is told when the
    /// client has read so little that it has missed one. `None` where there is no stock daemon.
    pub(super) async fn start(
        upstream: &Upstream,
        outbox: Outbox,
        behind: Arc<Notify>,
        messages: impl Fn(&RemoteEvent) -> Vec<Frame> + Send + 'static,
    ) -> Option<Self> {
        let mut events = upstream.events();
        let listening = upstream.listen().await?;
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                for frame in messages(&event) {
                    if let Ok(bytes) = frame.encode() {
                        outbox.send(bytes).await;
                    }
                }
            }
            behind.notify_one();
        });
        Some(Self { _listening: listening, task: task.abort_handle() })
    }
}
