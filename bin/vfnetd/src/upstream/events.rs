//! What happens to the stock daemon's networks, told to those who listen here.
//!
//! While anybody listens, one connection to the stock daemon is registered for the events of
//! all networks. When it is lost it is made again, and what happened meanwhile is not known.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use vfnet_rpc::client::ReplyError;
use vfnet_rpc::flags::network_event;
use vfnet_rpc::objects::Network;
use vfnet_rpc::remote::{ConnectNetworkEventRegisterAny, NetworkEventRegister, RemoteEvent};

use super::connection::{Connection, ConnectionError};
use super::{GLANCE, Inner, Upstream, UpstreamError};

/// Pause between attempts to hear from the stock daemon.
const RETRY: Duration = Duration::from_secs(2);

/// Events that wait until they are told.
const UNTOLD: usize = 64;

/// How far the relay is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relay {
    /// Nobody listens, or not for long.
    Idle,
    /// Events come.
    On,
    /// They do not; it goes on trying.
    Failed,
}

/// Somebody listens. Dropped when they do no more.
#[derive(Debug)]
pub(crate) struct Listening {
    listeners: watch::Sender<usize>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.listeners.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Upstream {
    /// Has events come, and waits until they do, unless the stock daemon does not answer;
    /// `None` where there is none.
    pub(crate) async fn listen(&self) -> Option<Listening> {
        let inner = self.inner.as_ref()?;
        inner.listeners.send_modify(|count| *count += 1);
        let listening = Listening { listeners: inner.listeners.clone() };
        if !inner.is_paused() {
            let mut relay = inner.relay.subscribe();
            // Later or never, and then those who listen hear of our networks alone.
            let _late = timeout(GLANCE, relay.wait_for(|relay| *relay != Relay::Idle)).await;
        }
        Some(listening)
    }

    /// The next event of one of their networks, with an unspecified callback number. Never,
    /// where there is no stock daemon.
    pub(crate) fn events(&self) -> Events {
        Events(self.inner.as_ref().map(|inner| inner.events.subscribe()))
    }
}

/// Events of the stock daemon's networks.
#[derive(Debug)]
pub(crate) struct Events(Option<tokio::sync::broadcast::Receiver<RemoteEvent>>);

impl Events {
    /// The next one; `None` when some were missed.
    pub(crate) async fn next(&mut self) -> Option<RemoteEvent> {
        match &mut self.0 {
            Some(events) => events.recv().await.ok(),
            None => std::future::pending().await,
        }
    }
}

/// Relays as long as the daemon runs.
pub(super) async fn relay(inner: Arc<Inner>) {
    let mut listeners = inner.listeners.subscribe();
    loop {
        if listeners.wait_for(|count| *count > 0).await.is_err() {
            return;
        }
        let (sender, mut events) = mpsc::channel(UNTOLD);
        let opened = timeout(inner.patience, open(&inner, sender)).await;
        let silent =
            || UpstreamError::Silent { socket: inner.socket.clone(), limit: inner.patience };
        let connection = match opened.map_err(|_| silent()).and_then(|opened| opened) {
            Ok(connection) => connection,
            Err(fault) => {
                inner.note(fault);
                inner.relay.send_replace(Relay::Failed);
                tokio::time::sleep(RETRY).await;
                if *listeners.borrow() == 0 {
                    inner.relay.send_replace(Relay::Idle);
                }
                continue;
            }
        };
        inner.note_well();
        inner.relay.send_replace(Relay::On);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => tell(&inner, event).await,
                    None => {
                        inner.relay.send_replace(Relay::Failed);
                        break;
                    }
                },
                true = async { listeners.wait_for(|count| *count == 0).await.is_ok() } => {
                    inner.relay.send_replace(Relay::Idle);
                    // Whoever came meanwhile has not seen that it is idle.
                    if *inner.listeners.borrow() == 0 {
                        break;
                    }
                    inner.relay.send_replace(Relay::On);
                }
            }
        }
        drop(connection);
    }
}

async fn open(
    inner: &Inner,
    events: mpsc::Sender<RemoteEvent>,
) -> Result<Connection, UpstreamError> {
    let failed = |source: ConnectionError| UpstreamError::Connection {
        socket: inner.socket.clone(),
        source,
    };
    let connection = Connection::open(&inner.socket, events).await.map_err(failed)?;
    for event in [network_event::LIFECYCLE, network_event::METADATA_CHANGE] {
        let all = NetworkEventRegister { event, network: None };
        let registered = connection.call::<ConnectNetworkEventRegisterAny>(&all).await;
        let refused = |fault: ReplyError| inner.reply_error(fault);
        registered.map_err(failed)?.map_err(refused)?;
    }
    Ok(connection)
}

/// Tells those who listen, unless the network is one that ours hide.
async fn tell(inner: &Inner, event: RemoteEvent) {
    let network: &Network = match &event {
        RemoteEvent::NetworkEventLifecycle(event) => &event.network,
        RemoteEvent::NetworkEventMetadataChange(event) => &event.network,
        _ => return,
    };
    if !inner.visible(vec![network.clone()]).await.is_empty() {
        // Those who listened may have gone at this moment.
        let _nobody = inner.events.send(event);
    }
}
