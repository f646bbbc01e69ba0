//! Devices that come to running guests and go from them: what the engine has decided about a
//! plug becomes commands of QEMU's monitor, and what QEMU says of its devices becomes inputs of
//! the engine.
//!
//! One at a time works on a guest's devices, from before QEMU is told until the engine is, so
//! that what was seen is what is told. What a device has on the host (its VFIO node, its tap) is
//! taken back before the engine hears that it is gone, so that its VF can go back then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::sleep;
use uuid::Uuid;
use vfnet_engine::{Input, Plug, PlugState, Plugging, Unplugging};
use vfnet_model::NetdevName;
use vfnet_model::explain;
use vfnet_model::guest::{Attachment, Device, Interface, LinkState};
use vfnet_qemu::command_line::{self, hotplug};
use vfnet_qemu::plugging::{self, PlugError, Unplug};

use super::order::{owner_of_taps, remove_taps, tap_of};
use super::{CommandError, Guests, LaunchOrder, Launched, LiveDocument, Places, Running};
use crate::engine_task::EngineHandle;

/// Wait before another look at the devices of a guest whose QEMU does not say which it has.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long whoever asks for a device back waits for the guest (libvirt: as long).
const UNPLUG_LIMIT: Duration = Duration::from_secs(5);

/// What of a running guest can come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// By alias.
    parts: BTreeMap<String, Part>,
    /// What the guest has said that it does not let go of, since it was last asked.
    kept: BTreeSet<String>,
    /// Held by whoever works on its devices.
    turn: Arc<Mutex<()>>,
    /// Whether somebody waits for the turn to look at them; whoever does will see all that has
    /// happened until then.
    look_waits: Arc<AtomicBool>,
}

/// A device of a running guest.
#[derive(Clone, Debug)]
struct Part {
    device: Device,
    /// What it is to the engine.
    what: vfnet_engine::Device,
    from_start: bool,
    attachment: Option<Attachment>,
    /// Its `/dev/vfio/N`.
    node: Option<PathBuf>,
}

impl Parts {
    /// Of a guest as it was launched.
    pub(super) fn of(order: &LaunchOrder, places: &Places, document: &LiveDocument) -> Self {
        let (mut nics, mut hostdevs) = (0.., 0..);
        let definition = &order.run.definition;
        let part = |device: Device| {
            let what = match &device {
                Device::Disk(_) => vfnet_engine::Device::Other,
                Device::Interface(_) => {
                    let place = nics.next()?;
                    vfnet_engine::Device::Nic(place, definition.nics.get(place)?.clone())
                }
                Device::Hostdev(_) => {
                    let place = hostdevs.next()?;
                    vfnet_engine::Device::Hostdev(place, definition.hostdevs.get(place)?.clone())
                }
            };
            let attachment = match &what {
                vfnet_engine::Device::Nic(place, _) => document.live.interfaces.get(*place),
                _ => None,
            };
            let attachment = attachment.cloned();
            let node = order.node(places, &what);
            let alias = device.placement().alias.clone()?;
            Some((alias, Part { device, what, from_start: true, attachment, node }))
        };
        Self { parts: document.guest.devices().filter_map(part).collect(), ..Self::default() }
    }

    /// Whose turn it is to work on the guest's devices.
    pub(super) fn turn(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.turn)
    }
}

impl Part {
    fn tap(&self) -> Option<&NetdevName> {
        self.attachment.as_ref().and_then(tap_of)
    }

    /// Of a plug that is on record.
    fn of_plug(order: &LaunchOrder, places: &Places, plug: &Plug) -> Result<Self, String> {
        let device: Device = serde_json::from_str(&plug.document)
            .map_err(|fault| format!("its record is not understood: {fault}"))?;
        let attachment = match (&device, &plug.device) {
            (Device::Interface(interface), vfnet_engine::Device::Nic(place, _)) => {
                Some(order.attachment(*place, interface)?)
            }
            _ => None,
        };
        let node = order.node(places, &plug.device);
        let (what, from_start) = (plug.device.clone(), plug.from_start);
        Ok(Self { device, what, from_start, attachment, node })
    }
}

impl Running {
    fn insert(&mut self, alias: &str, part: Part) {
        self.document.guest.add_device(part.device.clone());
        self.document.live.interfaces.extend(part.attachment.clone());
        self.parts.parts.insert(alias.to_owned(), part);
    }

    /// Of a guest that was found again: devices that it was started with, and has not any more.
    pub(super) fn forget_what_has_gone(&mut self, order: &LaunchOrder) {
        for (alias, plug) in &order.run.plugs {
            if plug.state == PlugState::Gone {
                self.remove(alias);
            }
        }
    }

    fn remove(&mut self, alias: &str) -> Option<Part> {
        let part = self.parts.parts.remove(alias)?;
        let has_it = |alias_of: &Option<String>| alias_of.as_deref() == Some(alias);
        let guest = &mut self.document.guest;
        let place = guest.interfaces.iter().position(|it| has_it(&it.placement.alias));
        if let Some(place) = place.filter(|place| *place < self.document.live.interfaces.len()) {
            self.document.live.interfaces.remove(place);
        }
        guest.remove_device(&part.device);
        Some(part)
    }
}

impl Guests {
    fn of(&self, guest: Uuid) -> Option<Running> {
        self.running().get(&guest).cloned()
    }

    /// The `/dev/vfio/N` of an IOMMU group, where there is a real one.
    pub(crate) fn vfio_node(&self, group: Option<u32>) -> Option<PathBuf> {
        Some(self.places.vfio.as_ref()?.join(group?.to_string()))
    }

    /// Whose turn it is to change a guest's devices: what a change is made from stays so until it
    /// is made.
    pub(crate) fn turn_to_change(&self, guest: Uuid) -> Arc<Mutex<()>> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = changes.get(&guest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Mutex::new(()));
        changes.insert(guest, Arc::downgrade(&turn));
        turn
    }

    /// What a device of a running guest is, and its record, where the guest was started with it.
    pub(crate) fn started_with(
        &self,
        guest: Uuid,
        alias: &str,
    ) -> Option<(vfnet_engine::Device, String)> {
        let running = self.of(guest)?;
        let part = running.parts.parts.get(alias).filter(|part| part.from_start)?;
        Some((part.what.clone(), serde_json::to_string(&part.device).ok()?))
    }

    /// The place of a running guest's interface among those of its run, and whether the guest was
    /// started with it.
    pub(crate) fn place_of(&self, guest: Uuid, alias: &str) -> Option<(usize, bool)> {
        let running = self.of(guest)?;
        let part = running.parts.parts.get(alias)?;
        match part.what {
            vfnet_engine::Device::Nic(place, _) => Some((place, part.from_start)),
            _ => None,
        }
    }

    /// Describes an interface of a running guest as it is now.
    pub(crate) async fn describe_interface(
        &self,
        guest: Uuid,
        alias: &str,
        interface: &Interface,
        engine: &EngineHandle,
    ) {
        let Some(running) = self.of(guest) else { return };
        let turn = running.parts.turn();
        let _turn = turn.lock().await;
        let Some((place, _)) = self.place_of(guest, alias) else { return };
        let order = engine.read(move |state| LaunchOrder::from_state(state, guest, false)).await;
        let Ok(Some(order)) = order else { return };
        let Ok(attachment) = order.attachment(place, interface) else { return };
        let run_dir = running.handle.run_dir().clone();
        let noted = tokio::task::spawn_blocking(move || order.note_in(&run_dir, None)).await;
        if let Err(fault) = noted.unwrap_or_else(|fault| Err(fault.to_string())) {
            tracing::warn!(%guest, "{fault}");
        }
        let mut running = self.running();
        let Some(running) = running.get_mut(&guest) else { return };
        let Running { document, parts, .. } = running;
        let its = |it: &Interface| it.placement.alias.as_deref() == Some(alias);
        let Some(at) = document.guest.interfaces.iter().position(its) else { return };
        document.guest.interfaces[at] = interface.clone();
        if let Some(live) = document.live.interfaces.get_mut(at) {
            *live = attachment.clone();
        }
        if let Some(part) = parts.parts.get_mut(alias) {
            part.device = Device::Interface(Box::new(interface.clone()));
            part.attachment = Some(attachment);
        }
    }

    /// Has QEMU's cards of interfaces on bridges, of all or of this alias, have the link that the
    /// guest's document says. A VF's is set at its PF.
    pub(crate) async fn set_links(
        &self,
        guest: Uuid,
        alias: Option<&str>,
    ) -> Result<(), CommandError> {
        let running = self.one(guest)?;
        let LiveDocument { guest, live } = &running.document;
        for (interface, became) in guest.interfaces.iter().zip(&live.interfaces) {
            let name = interface.placement.alias.as_deref();
            if matches!(became, Attachment::Bridge { .. })
                && (alias.is_none() || name == alias)
                && let Some(link) = interface.link
            {
                let up = link == LinkState::Up;
                let arguments = json!({ "name": name, "up": up });
                running.handle.execute("set_link", arguments).await?;
            }
        }
        Ok(())
    }

    /// Gives a guest the device of a plug, and tells the engine how that went.
    pub(crate) async fn plug(&self, guest: Uuid, alias: String, engine: EngineHandle) {
        let turn = self.of(guest).map(|running| running.parts.turn());
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        // As it is now that it is this plug's turn.
        let Some(running) = self.of(guest) else {
            let outcome = Plugging::Refused("it does not run".to_owned());
            engine.tell(Input::Plugged(guest, alias, outcome)).await;
            return;
        };
        // What was decided may have been overtaken by what QEMU has said meanwhile.
        let order = engine.read(move |state| LaunchOrder::from_state(state, guest, false)).await;
        let Ok(Some(order)) = order else { return };
        if order.run.plugs.get(&alias).is_none_or(|plug| plug.state != PlugState::Plugging) {
            return;
        }
        let outcome = self.plug_in(&order, &alias, &running).await;
        let unknown = matches!(outcome, Plugging::Unknown(_));
        engine.tell(Input::Plugged(guest, alias, outcome)).await;
        if unknown {
            self.look_soon(guest, &engine);
        }
    }

    async fn plug_in(&self, order: &LaunchOrder, alias: &str, running: &Running) -> Plugging {
        let (part, plugging) = match self.planned(order, alias, running).await {
            Ok(planned) => planned,
            Err(why) => return Plugging::Refused(why),
        };
        if let Err(why) = self.make_ready(order, running, &part).await {
            self.take_back(order.run.guest, running, alias, &part).await;
            return Plugging::Refused(why);
        }
        match running.handle.plug(alias, &plugging).await {
            Ok(()) => {
                if let Some(running) = self.running().get_mut(&order.run.guest) {
                    running.insert(alias, part);
                }
                Plugging::Done
            }
            Err(PlugError::Refused(why)) => {
                self.take_back(order.run.guest, running, alias, &part).await;
                Plugging::Refused(why)
            }
            Err(fault @ PlugError::Unknown(_)) => Plugging::Unknown(explain(&fault)),
        }
    }

    async fn planned(
        &self,
        order: &LaunchOrder,
        alias: &str,
        running: &Running,
    ) -> Result<(Part, hotplug::Plugging), String> {
        let plug = order.run.plugs.get(alias).ok_or("nothing is on record of it")?;
        let part = Part::of_plug(order, &self.places, plug)?;
        let fdset = match &part.device {
            Device::Disk(_) => running.handle.free_fdset().await.map_err(|it| explain(&it))?,
            _ => 1,
        };
        let guest = &running.document.guest;
        let attachment = part.attachment.as_ref();
        let plugging = hotplug::commands(guest, &part.device, attachment, fdset)
            .map_err(|fault| explain(&fault))?;
        Ok((part, plugging))
    }

    /// Makes what the device needs on the host, having written down that it is there.
    async fn make_ready(
        &self,
        order: &LaunchOrder,
        running: &Running,
        part: &Part,
    ) -> Result<(), String> {
        let run_dir = running.handle.run_dir().clone();
        let (part, order, uid) = (part.clone(), order.clone(), running.uid);
        let lock = self.places.vfio.is_some().then(|| {
            let mut interfaces = running.document.live.interfaces.clone();
            interfaces.extend(part.attachment.clone());
            let mut guest = running.document.guest.clone();
            guest.add_device(part.device.clone());
            command_line::locked_memory(&guest, &interfaces)
        });
        if let Some(Some(bytes)) = lock {
            let allowed = running.handle.may_lock(bytes);
            allowed.map_err(|fault| format!("cannot let QEMU lock its memory: {fault}"))?;
        }
        let made = tokio::task::spawn_blocking(move || {
            order.note_in(&run_dir, part.attachment.as_ref())?;
            if let Some(node) = &part.node {
                plugging::lend_node(&run_dir, node)
                    .map_err(|fault| format!("cannot lend {}: {fault}", node.display()))?;
            }
            order.make_tap(part.attachment.as_ref(), uid)?;
            if let Some(Attachment::Bridge { .. }) = &part.attachment {
                plugging::lend_tun(&run_dir)
                    .map_err(|fault| format!("cannot let it use its tap: {fault}"))?;
            }
            Ok(())
        });
        made.await.map_err(|fault| fault.to_string())?
    }

    /// Takes back what a device has on the host. What cannot be is told, and is taken back at the
    /// guest's end.
    async fn take_back(&self, guest: Uuid, running: &Running, alias: &str, part: &Part) {
        let shared = |is_its: &dyn Fn(&Part) -> bool| {
            self.running().get(&guest).is_some_and(|it| it.parts.parts.values().any(is_its))
        };
        let tap = part.tap().cloned().filter(|tap| !shared(&|other| other.tap() == Some(tap)));
        let node = part.node.clone().filter(|_| !shared(&|other| other.node == part.node));
        let run_dir = running.handle.run_dir().clone();
        let (owner, device, alias) =
            (owner_of_taps(running.uid), part.what.clone(), alias.to_owned());
        let taken = tokio::task::spawn_blocking(move || {
            if let Some(node) = node
                && let Err(fault) = plugging::return_node(&run_dir, &node)
            {
                tracing::warn!("cannot take back {}: {fault}", node.display());
            }
            let gone = remove_taps(tap.as_slice(), owner);
            if let Err(fault) = Launched::forget(&run_dir, &alias, &device, &gone) {
                tracing::warn!("a device that is gone stays noted: {fault}");
            }
        });
        if let Err(fault) = taken.await {
            tracing::error!(%guest, "taking back a device: {fault}");
        }
    }

    /// A device that QEMU does not have any more.
    async fn is_gone(&self, guest: Uuid, alias: &str) -> Option<Part> {
        let running = self.of(guest)?;
        let part = self.running().get_mut(&guest)?.remove(alias)?;
        running.handle.forget(&hotplug::remains(&part.device)).await;
        self.take_back(guest, &running, alias, &part).await;
        Some(part)
    }

    /// Asks a guest to let go of a device, and tells the engine how that went.
    pub(crate) async fn unplug(&self, guest: Uuid, alias: String, engine: EngineHandle) {
        let Some(running) = self.of(guest) else {
            let why = "QEMU's monitor does not answer yet".to_owned();
            engine.tell(Input::Unplugged(guest, alias, Unplugging::Refused(why))).await;
            return;
        };
        let turn = running.parts.turn();
        let _turn = turn.lock().await;
        if let Some(running) = self.running().get_mut(&guest) {
            running.parts.kept.remove(&alias);
        }
        let says_no = || {
            self.running().get(&guest).is_some_and(|running| running.parts.kept.contains(&alias))
        };
        let outcome = match running.handle.unplug(&alias, UNPLUG_LIMIT, says_no).await {
            Ok(Unplug::Gone) => {
                self.is_gone(guest, &alias).await;
                Unplugging::Gone
            }
            Ok(Unplug::NotYet) => Unplugging::NotYet,
            Ok(Unplug::Refused(why)) => Unplugging::Refused(why),
            Err(fault) => Unplugging::Refused(explain(&fault)),
        };
        if let Some(running) = self.running().get_mut(&guest) {
            running.parts.kept.remove(&alias);
        }
        engine.tell(Input::Unplugged(guest, alias, outcome)).await;
    }

    /// A guest has said that it does not let go of a device. Whoever waits for that hears it; if
    /// nobody does any more, the engine does.
    pub(super) fn keeps(&self, guest: Uuid, alias: String, engine: &EngineHandle) {
        if let Some(running) = self.running().get_mut(&guest)
            && running.parts.parts.contains_key(&alias)
        {
            running.parts.kept.insert(alias);
        }
        self.look_soon(guest, engine);
    }

    /// Has somebody look at a guest's devices, beside what happens to it meanwhile, until QEMU
    /// has said which it has.
    pub(super) fn look_soon(&self, guest: Uuid, engine: &EngineHandle) {
        let Some(waits) = self.of(guest).map(|running| running.parts.look_waits) else { return };
        if waits.swap(true, Ordering::SeqCst) {
            return;
        }
        let (guests, engine) = (self.clone(), engine.clone());
        tokio::spawn(async move {
            while !guests.look_at_devices(guest, &engine).await
                && !waits.swap(true, Ordering::SeqCst)
            {
                sleep(LOOK_AGAIN).await;
            }
        });
    }

    /// Looks which devices a guest has, and tells the engine what has come or gone meanwhile;
    /// false where QEMU does not say.
    pub(super) async fn look_at_devices(&self, guest: Uuid, engine: &EngineHandle) -> bool {
        let Some(running) = self.of(guest) else { return true };
        let turn = running.parts.turn();
        let _turn = turn.lock().await;
        running.parts.look_waits.store(false, Ordering::SeqCst);
        let kept = self.running().get_mut(&guest).map(|it| std::mem::take(&mut it.parts.kept));
        for alias in kept.into_iter().flatten() {
            let why = plugging::DOES_NOT_LET_GO.to_owned();
            engine.tell(Input::Unplugged(guest, alias, Unplugging::Refused(why))).await;
        }
        let order = engine.read(move |state| LaunchOrder::from_state(state, guest, false)).await;
        let Ok(Some(order)) = order else { return true };
        let Ok(there) = running.handle.devices().await else { return false };
        let there: BTreeSet<_> = there.into_iter().collect();
        let known = |alias: &String| {
            self.running().get(&guest).is_some_and(|it| it.parts.parts.contains_key(alias))
        };
        let has_come = |plug: &(&String, &Plug)| !known(plug.0) && plug.1.state != PlugState::Gone;
        for (alias, plug) in order.run.plugs.iter().filter(has_come) {
            match Part::of_plug(&order, &self.places, plug) {
                Ok(part) if there.contains(alias) => {
                    if let Some(running) = self.running().get_mut(&guest) {
                        running.insert(alias, part);
                    }
                }
                Ok(part) => {
                    running.handle.forget(&hotplug::remains(&part.device)).await;
                    self.take_back(guest, &running, alias, &part).await;
                }
                Err(why) => tracing::error!(%guest, %alias, "a device: {why}"),
            }
        }
        let parts: Vec<_> =
            self.of(guest).map(|it| it.parts.parts.into_keys().collect()).unwrap_or_default();
        for alias in parts.into_iter().filter(|alias| !there.contains(alias)) {
            let Some(part) = self.is_gone(guest, &alias).await else { continue };
            let document = serde_json::to_string(&part.device).unwrap_or_default();
            let from_start = part.from_start.then(|| Box::new((part.what, document)));
            engine.tell(Input::DeviceGone { guest, alias, from_start }).await;
        }
        engine.tell(Input::DevicesSeen(guest, there)).await;
        true
    }
}
