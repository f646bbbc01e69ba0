//! Carrying out what the engine decided, and telling it how that went.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;
use vfnet_engine::{
    Announcement, Claim, ClaimId, ClaimState, Effect, Failure, GivenBack, HeldBy, Input,
    LiveNetwork, NetworkHook, Owner, Repaired, State,
};
use vfnet_host::Host;
use vfnet_host::lend::{self, Deadlines, Lending};
use vfnet_model::network::{Form, print};
use vfnet_model::{PciAddress, explain};

use crate::dispatch::{network, port};
use crate::engine_task::{CarryOut, EngineHandle};
use crate::guests::{Guests, LaunchOrder};
use crate::history::History;
use crate::hooks::{Call, Event, Hooks};
use crate::leases::Lease;
use crate::observe::Observer;
use crate::{Happening, journal};

/// Wait after a start of autostart's that failed: what failing does to VFs changes the host, which
/// has autostart try again, and that at once would go on without end.
const AUTOSTART_AGAIN: Duration = Duration::from_secs(30);

/// When autostart tries again.
#[derive(Debug, Default)]
struct Retry {
    not_before: Option<Instant>,
    /// Somebody waits for that already.
    awaited: bool,
}

/// Everything that effects need.
#[derive(Clone)]
pub(crate) struct Hands {
    host: Arc<dyn Host>,
    engine: EngineHandle,
    observer: Observer,
    guests: Guests,
    hooks: Option<Hooks>,
    runtime: Handle,
    happenings: broadcast::Sender<Happening>,
    history: History,
    retry: Arc<Mutex<Retry>>,
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}

impl Hands {
    /// Hands that work on this host and these guests.
    pub(crate) fn new(
        host: Arc<dyn Host>,
        engine: EngineHandle,
        observer: Observer,
        guests: Guests,
        hooks: Option<Hooks>,
        runtime: Handle,
        happenings: broadcast::Sender<Happening>,
    ) -> Self {
        Self {
            host,
            engine,
            observer,
            guests,
            hooks,
            runtime,
            happenings,
            history: History::new(),
            retry: Arc::default(),
        }
    }

    /// Where what is announced is kept.
    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    fn prepare(&self, claim: &Claim, state: &State) {
        let call = self.port_call(Event::PortCreated, claim, state);
        let (host, engine, id) = (Arc::clone(&self.host), self.engine.clone(), claim.id);
        let lending = lending(claim);
        let who = claim.owner.to_string();
        self.runtime.spawn(async move {
            let outcome = blocking(move || {
                let vf = lending.vf;
                let mut progress = |step| tracing::debug!(%vf, %who, "{step} {vf}");
                lend::prepare(&*host, &lending, &Deadlines::default(), &mut progress)
                    .map(|ready| HeldBy { driver: ready.driver, group: ready.vfio_group })
                    .map_err(|fault| Failure {
                        stuck: fault.is_stuck().then(|| format!("to {} {vf}", fault.step)),
                        why: fault.explain(),
                        hook: false,
                    })
            });
            let mut outcome = outcome.await.unwrap_or_else(|why| Err(failure(why)));
            if let (Ok(_), Some(call)) = (&outcome, call)
                && let Err(fault) = call.run().await
            {
                outcome = Err(Failure { hook: true, ..failure(explain(&fault)) });
            }
            engine.tell(Input::Prepared(id, outcome)).await;
        });
    }

    fn hand_over(&self, claim: &Claim, state: &State) {
        let call = self.port_call(Event::PortCreated, claim, state);
        let (host, engine, id) = (Arc::clone(&self.host), self.engine.clone(), claim.id);
        let lending = lending(claim);
        let who = claim.owner.to_string();
        self.runtime.spawn(async move {
            let outcome = blocking(move || {
                let vf = lending.vf;
                let mut progress = |step| tracing::debug!(%vf, %who, "{step} {vf}");
                lend::hand_over(&*host, &lending, &Deadlines::default(), &mut progress).map_err(
                    |fault| Failure {
                        stuck: fault.is_stuck().then(|| format!("to {} {vf}", fault.step)),
                        why: fault.explain(),
                        hook: false,
                    },
                )
            });
            let mut outcome = outcome.await.unwrap_or_else(|why| Err(failure(why)));
            if let (Ok(()), Some(call)) = (&outcome, call)
                && let Err(fault) = call.run().await
            {
                outcome = Err(Failure { hook: true, ..failure(explain(&fault)) });
            }
            engine.tell(Input::HandedOver(id, outcome)).await;
        });
    }

    fn give_back(&self, claim: &Claim, state: &State) {
        let call = self.port_call(Event::PortDeleted, claim, state);
        let (host, engine, id) = (Arc::clone(&self.host), self.engine.clone(), claim.id);
        let lending = lending(claim);
        let vf = claim.vf;
        self.runtime.spawn(async move {
            let moments = engine.clone();
            let done = blocking(move || {
                let mut progress = |step| tracing::debug!(%vf, "{step} {vf}");
                let back = lend::give_back(&*host, &lending, &Deadlines::default(), &mut progress);
                for fault in &back.errors {
                    tracing::warn!(%vf, "giving back: {}", fault.explain());
                }
                let at = moments.moment();
                let seen = host.vf(vf).ok().flatten().map(Box::new);
                (outcome(back.outcome, vf), seen, at)
            })
            .await;
            if let Some(call) = call {
                call.run_and_log().await;
            }
            let (outcome, seen, at) =
                done.unwrap_or_else(|why| (GivenBack::Unclean(why), None, engine.moment()));
            engine.tell(Input::GivenBack { claim: id, outcome, seen, at }).await;
        });
    }

    fn repair(&self, claim: &Claim) {
        let (host, engine, id) = (Arc::clone(&self.host), self.engine.clone(), claim.id);
        let lending = lending(claim);
        self.runtime.spawn(async move {
            let outcome =
                blocking(move || match lend::repair(&*host, &lending, &Deadlines::default()) {
                    Ok(found) => Repaired::Done(found.iter().map(ToString::to_string).collect()),
                    Err(fault) if fault.is_for_its_end() => Repaired::NotWhileHeld(fault.explain()),
                    Err(fault) => {
                        tracing::warn!(vf = %lending.vf, "putting back: {}", fault.explain());
                        Repaired::Failed(fault.explain())
                    }
                });
            let outcome = outcome.await.unwrap_or_else(Repaired::Failed);
            engine.tell(Input::Repaired(id, outcome)).await;
        });
    }

    fn reset(&self, claim: &Claim) {
        let (host, engine, id) = (Arc::clone(&self.host), self.engine.clone(), claim.id);
        let lending = lending(claim);
        self.runtime.spawn(async move {
            let moments = engine.clone();
            let done = blocking(move || {
                let done = lend::reset(&*host, &lending, &Deadlines::default());
                let outcome = done.map_err(|fault| Failure {
                    stuck: fault.is_stuck().then(|| format!("to {} {}", fault.step, lending.vf)),
                    why: fault.explain(),
                    hook: false,
                });
                let at = moments.moment();
                let seen = host.vf(lending.vf).ok().flatten().map(Box::new);
                (outcome, seen, at)
            });
            let (outcome, seen, at) =
                done.await.unwrap_or_else(|why| (Err(failure(why)), None, engine.moment()));
            engine.tell(Input::WasReset { claim: id, outcome, seen, at }).await;
        });
    }

    /// What a port's hook scripts are called with; `None` where none are, and for what is no
    /// port of a network.
    fn port_call(&self, event: Event, claim: &Claim, state: &State) -> Option<Call> {
        let (hooks, of) = (self.hooks.as_ref()?, claim.network.as_ref()?);
        let port = port::of_claim(claim)?;
        // A network that was stopped by force has ports all the same.
        let network = match (state.live_networks.get(&of.uuid), state.network(of.uuid)) {
            (Some(live), _) => network::live_document(state, live),
            (None, Some(def)) => print(&def.network, Form::Inactive),
            (None, None) => String::new(),
        };
        Some(hooks.call(event, &of.name, &network, Some(&port)))
    }

    fn call_hook(&self, hook: NetworkHook, live: &LiveNetwork, state: &State) {
        let (engine, uuid) = (self.engine.clone(), live.uuid);
        let Some(hooks) = &self.hooks else { return };
        let event = match hook {
            NetworkHook::Start => Event::Start,
            NetworkHook::Started => Event::Started,
            NetworkHook::Updated => Event::Updated,
            NetworkHook::Stopped => Event::Stopped,
        };
        let call = hooks.call(event, live.name(), &network::live_document(state, live), None);
        let turn = hooks.turn(uuid);
        let observer = self.observer.clone();
        self.runtime.spawn(async move {
            let _until_this_is_over = turn.comes().await;
            match hook {
                NetworkHook::Updated | NetworkHook::Stopped => call.run_and_log().await,
                NetworkHook::Start | NetworkHook::Started => {
                    let outcome = call.run().await.map_err(|fault| explain(&fault));
                    // A script may have made VFs.
                    observer.look().await;
                    engine.tell(Input::HookRan { network: uuid, hook, outcome }).await;
                }
            }
        });
    }

    fn make_vfs(&self, network: Uuid, pf: PciAddress, count: u16, unprobed: bool) {
        let (host, engine) = (Arc::clone(&self.host), self.engine.clone());
        let observer = self.observer.clone();
        self.runtime.spawn(async move {
            let make = if unprobed { crate::vfs::make_unprobed } else { crate::vfs::make };
            let made = blocking(move || make(&*host, pf, count)).await;
            observer.look().await;
            engine.tell(Input::VfsMade(network, pf, made.and_then(|made| made))).await;
        });
    }

    fn restore_autoprobe(&self, pf: PciAddress) {
        let (host, engine) = (Arc::clone(&self.host), self.engine.clone());
        self.runtime.spawn(async move {
            let restored = blocking(move || {
                host.set_drivers_autoprobe(pf, true).map_err(|fault| explain(&fault))
            });
            let restored = restored.await.and_then(|restored| restored);
            match &restored {
                Ok(()) => tracing::info!("PF {pf}: the kernel looks for drivers for new VFs again"),
                Err(why) => tracing::warn!("PF {pf}: {why}; tried again at the next look"),
            }
            engine.tell(Input::AutoprobeRestored(pf, restored)).await;
        });
    }

    fn begin_lease(&self, claim: &Claim) {
        let Owner::Lease(lessee) = claim.owner.clone() else { return };
        let group = match claim.state {
            ClaimState::Held { group, .. } => Some(group),
            _ => None,
        };
        let lease = Lease { id: claim.id, lessee, node: self.guests.vfio_node(group) };
        self.runtime.spawn(lease.last(self.engine.clone()));
    }

    fn set_vfs(&self, pf: PciAddress, count: u16) {
        let (host, engine) = (Arc::clone(&self.host), self.engine.clone());
        let observer = self.observer.clone();
        self.runtime.spawn(async move {
            let set = blocking(move || crate::vfs::set(&*host, pf, count)).await;
            observer.look().await;
            engine.tell(Input::VfsSet(pf, set.and_then(|set| set))).await;
        });
    }

    fn start_pending(&self) {
        let mut retry = lock(&self.retry);
        if std::mem::replace(&mut retry.awaited, true) {
            return;
        }
        let not_before = retry.not_before;
        drop(retry);
        let (engine, retry) = (self.engine.clone(), Arc::clone(&self.retry));
        self.runtime.spawn(async move {
            if let Some(not_before) = not_before {
                sleep_until(not_before).await;
            }
            lock(&retry).awaited = false;
            engine.tell(Input::StartPending).await;
        });
    }

    fn launch(&self, order: LaunchOrder) {
        let (guests, engine) = (self.guests.clone(), self.engine.clone());
        guests.expect(&order);
        self.runtime.spawn(async move { guests.launch(order, engine).await });
    }

    fn adopt(&self, guest: Uuid, state: &State) {
        let Some(order) = LaunchOrder::from_state(state, guest, false) else { return };
        let (guests, engine) = (self.guests.clone(), self.engine.clone());
        guests.expect(&order);
        self.runtime.spawn(async move { guests.adopt(order, engine).await });
    }
}

impl CarryOut for Hands {
    fn carry_out(&self, effect: Effect, state: &State) {
        let claim = |id: &ClaimId| state.claims.get(id);
        match effect {
            Effect::Prepare(id) => {
                if let Some(claim) = claim(&id) {
                    self.prepare(claim, state);
                }
            }
            Effect::HandOver(id) => {
                if let Some(claim) = claim(&id) {
                    self.hand_over(claim, state);
                }
            }
            Effect::GiveBack(id) => {
                if let Some(claim) = claim(&id) {
                    self.give_back(claim, state);
                }
            }
            Effect::Repair(id) => {
                if let Some(claim) = claim(&id) {
                    self.repair(claim);
                }
            }
            Effect::Reset(id) => {
                if let Some(claim) = claim(&id) {
                    self.reset(claim);
                }
            }
            Effect::CallHook(hook, live) => self.call_hook(hook, &live, state),
            Effect::MakeVfs { network, pf, count, unprobed } => {
                self.make_vfs(network, pf, count, unprobed);
            }
            Effect::RestoreAutoprobe(pf) => self.restore_autoprobe(pf),
            Effect::SetVfs { pf, count } => self.set_vfs(pf, count),
            Effect::Launch { guest, paused, fresh_nvram } => {
                if let Some(order) = LaunchOrder::from_state(state, guest, paused) {
                    self.launch(if fresh_nvram { order.with_fresh_nvram() } else { order });
                }
            }
            Effect::Adopt(guest) => self.adopt(guest, state),
            Effect::Kill(guest) => {
                let guests = self.guests.clone();
                self.runtime.spawn(async move { guests.kill(guest).await });
            }
            Effect::Plug { guest, alias } => {
                let (guests, engine) = (self.guests.clone(), self.engine.clone());
                self.runtime.spawn(async move { guests.plug(guest, alias, engine).await });
            }
            Effect::Unplug { guest, alias } => {
                let (guests, engine) = (self.guests.clone(), self.engine.clone());
                self.runtime.spawn(async move { guests.unplug(guest, alias, engine).await });
            }
            Effect::BeginLease(id) => {
                if let Some(claim) = claim(&id) {
                    self.begin_lease(claim);
                }
            }
            Effect::StartPending => self.start_pending(),
            Effect::Announce(what) => {
                let told = journal::tell(&what);
                told.log();
                self.history.note(&told);
                if let Announcement::StartFailed(_) = &what {
                    lock(&self.retry).not_before = Some(Instant::now() + AUTOSTART_AGAIN);
                }
                // Nobody need be listening.
                let _listeners = self.happenings.send(Happening::Decided(what));
            }
            Effect::Answer(..) | Effect::AskAgain(..) => {}
        }
    }
}

fn lock(retry: &Mutex<Retry>) -> std::sync::MutexGuard<'_, Retry> {
    retry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs kernel work on a thread of its own; a panic in it is reported, not spread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|fault| format!("internal fault: {fault}"))
}

fn failure(why: String) -> Failure {
    Failure { why, stuck: None, hook: false }
}

fn lending(claim: &Claim) -> Lending {
    Lending {
        vf: claim.vf,
        pf: claim.pf,
        index: claim.index,
        incarnation: claim.incarnation,
        original: claim.original.clone(),
        wanted: claim.wanted.clone(),
        managed: claim.managed,
        driver: claim.driver.clone(),
        keep_host_settings: !claim.managed,
    }
}

fn outcome(outcome: lend::Outcome, vf: PciAddress) -> GivenBack {
    match outcome {
        lend::Outcome::Clean => GivenBack::Clean,
        lend::Outcome::Quarantine(why) => GivenBack::Unclean(why),
        lend::Outcome::StillOpen { who, why } => GivenBack::StillOpen { who, why },
        lend::Outcome::Stuck(step) => GivenBack::Stuck(format!("to {step} {vf}")),
        lend::Outcome::Vanished => GivenBack::Gone,
    }
}
