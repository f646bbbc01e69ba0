//! Devices that come to guests and go from them: to and from one that runs, and in the document
//! that is kept.
//!
//! What is asked for is made into what the guest's documents are to be, and into a device that
//! has its alias and its place in the guest; one change of a guest's devices is under way at a
//! time, so that two never get the same. What becomes of VFs is for the engine.

use uuid::Uuid;
use vfnet_engine::{
    Attach, Described, Detach, GuestDefinition, GuestEdit, NicChange, Refusal, RefusalKind,
    Request, Revision, State,
};
use vfnet_model::guest::{
    Attachment, Device, Guest, Interface, InterfaceSource, NotFound, Placement, parse_device,
};
use vfnet_model::network::Forward;
use vfnet_model::{MacPrefix, NetworkName};
use vfnet_qemu::command_line::hotplug;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::objects::Domain;

use super::documents::{Documents, reread, running};
use super::edits::{TRIES, chosen, definition};
use super::{error, read, refused};
use crate::guests::LiveDocument;
use crate::{Daemon, wire_error};

/// How a client names a device of a guest.
#[derive(Debug)]
pub(super) enum Named {
    /// By a document that describes it.
    Document(Box<Device>),
    /// By its alias.
    Alias(String),
}

impl From<Device> for Named {
    fn from(device: Device) -> Self {
        Self::Document(Box::new(device))
    }
}

/// A device in the guest that runs, and in the document that is kept, as far as either is changed.
struct Change {
    /// As it is in the document that is kept: with what its own left out.
    device: Device,
    live: Option<Live>,
    config: Option<GuestEdit>,
}

/// A device that is ready to be plugged in.
struct Live {
    alias: String,
    what: vfnet_engine::Device,
    document: String,
}

/// Reads the document of one device.
pub(super) async fn described(xml: &str) -> Result<Device, WireError> {
    super::super::parsed(xml, parse_device)
        .await?
        .map_err(|fault| wire_error::document(ErrorDomain::Domain, &fault))
}

/// Gives a guest a device.
pub(super) async fn attach(
    daemon: &Daemon,
    guest: &Domain,
    xml: &str,
    flags: u32,
) -> Result<(), WireError> {
    let device = described(xml).await?;
    let turn = daemon.guests.turn_to_change(guest.uuid);
    let _turn = turn.lock().await;
    attach_in_turn(daemon, guest, device, flags).await
}

async fn attach_in_turn(
    daemon: &Daemon,
    guest: &Domain,
    mut device: Device,
    mut flags: u32,
) -> Result<(), WireError> {
    daemon.observer.look().await;
    let mut tries = 0;
    loop {
        let Change { device: filled, live, config } =
            with(daemon, guest, flags, device.clone()).await?;
        let request = match live {
            Some(Live { alias, what, document }) => {
                let guest = guest.uuid;
                Request::GuestAttach(Box::new(Attach {
                    guest,
                    alias,
                    device: what,
                    document,
                    config,
                }))
            }
            None => only_kept(guest, config),
        };
        match daemon.engine.ask(request).await {
            Ok(_) => return Ok(()),
            Err(refusal) => flags = left_to_do(refusal, flags, &mut tries)?,
        }
        // The same in both.
        if flags == f::AFFECT_CONFIG {
            device = filled;
        }
    }
}

/// Takes a device from a guest. One that runs is asked to let go of it, and waited for a while;
/// that it has is an event.
pub(super) async fn detach(
    daemon: &Daemon,
    guest: &Domain,
    named: Named,
    flags: u32,
) -> Result<(), WireError> {
    let turn = daemon.guests.turn_to_change(guest.uuid);
    let _turn = turn.lock().await;
    detach_in_turn(daemon, guest, &named, flags).await
}

async fn detach_in_turn(
    daemon: &Daemon,
    guest: &Domain,
    named: &Named,
    mut flags: u32,
) -> Result<(), WireError> {
    let mut tries = 0;
    loop {
        let Documents { live, config } = chosen(daemon, guest, flags).await?;
        let config = config.map(|before| without(before, named)).transpose()?;
        let request = match live {
            Some(_) => {
                let LiveDocument { guest: running, .. } = live_document(daemon, guest).await?;
                let alias = found(&running, named)?.placement().alias.clone();
                let alias = alias.ok_or_else(|| missing("the device has no alias"))?;
                let from_start = daemon.guests.started_with(guest.uuid, &alias);
                let guest = guest.uuid;
                Request::GuestDetach(Box::new(Detach { guest, alias, from_start, config }))
            }
            None => only_kept(guest, config),
        };
        match daemon.engine.ask(request).await {
            Ok(_) => return Ok(()),
            Err(refusal) => flags = left_to_do(refusal, flags, &mut tries)?,
        }
    }
}

/// Whom a change still is to be made for that was refused because something else was changed
/// meanwhile: `flags`, or the kept document alone.
fn left_to_do(refusal: Refusal, flags: u32, tries: &mut usize) -> Result<u32, WireError> {
    let left = match refusal.kind {
        RefusalKind::ChangedMeanwhile => flags,
        RefusalKind::KeptChangedMeanwhile => f::AFFECT_CONFIG,
        _ => return Err(refused(refusal)),
    };
    *tries += 1;
    if *tries > TRIES { Err(refused(refusal)) } else { Ok(left) }
}

/// Changes an interface of a guest. What the VF of one that runs can be set to under it, it is set
/// to; another network, or a portgroup that cannot be set, is a detach and an attach.
pub(super) async fn update(
    daemon: &Daemon,
    guest: &Domain,
    xml: &str,
    mut flags: u32,
) -> Result<(), WireError> {
    let given = match described(xml).await? {
        Device::Interface(given) => *given,
        other => return Err(unsupported(&format!("changing a {}", other.word()))),
    };
    let turn = daemon.guests.turn_to_change(guest.uuid);
    let _turn = turn.lock().await;
    let mut tries = 0;
    loop {
        let Documents { live, config } = chosen(daemon, guest, flags).await?;
        let mut wanted = given.clone();
        let old = match &live {
            Some(_) => Some(running_interface(daemon, guest, &mut wanted).await?),
            None => None,
        };
        let kept = config.map(|before| {
            let (mut after, place) = interface_of(&before, &wanted)?;
            let mut now = wanted.clone();
            now.placement.alias.take_if(|alias| !alias.starts_with("ua-"));
            inherit(&mut now, &after.interfaces[place]);
            after.interfaces[place] = now;
            Ok::<_, WireError>(GuestEdit { before, after: definition(&after)? })
        });
        let config = kept.transpose()?;
        let (Some(before), Some(old)) = (live, old) else {
            match daemon.engine.ask(only_kept(guest, config)).await {
                Ok(_) => return Ok(()),
                Err(refusal) => flags = left_to_do(refusal, flags, &mut tries)?,
            }
            continue;
        };
        let mut now = wanted.clone();
        inherit(&mut now, &old);
        if let Some(what) = fixed(&old, &now) {
            return Err(unsupported(&format!("changing the {what} of an interface in use")));
        }
        let moved = origin(&old) != origin(&now);
        let asked = match moved {
            true => Err(None),
            false => set(daemon, guest, before, &old, &now, config.clone()).await?.map_err(Some),
        };
        let refusal = match asked {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        match refusal {
            Some(refusal) if !moves_portgroup(&old, &now, &refusal) => {
                flags = left_to_do(refusal, flags, &mut tries)?;
                continue;
            }
            _ => replug(daemon, guest, old, now).await?,
        }
        if config.is_none() {
            return Ok(());
        }
        flags = f::AFFECT_CONFIG;
    }
}

/// The interface of a running guest that is to be changed. The guest's document shows what it
/// became: whoever gives that back with a change means it, and not another VF or bridge.
async fn running_interface(
    daemon: &Daemon,
    guest: &Domain,
    wanted: &mut Interface,
) -> Result<Interface, WireError> {
    let LiveDocument { guest: running, live } = live_document(daemon, guest).await?;
    let old = match found(&running, &Device::Interface(Box::new(wanted.clone())).into())? {
        Device::Interface(old) => *old,
        _ => return Err(missing("the interface")),
    };
    let its = |it: &Interface| it.placement.alias == old.placement.alias;
    let place = running.interfaces.iter().position(its);
    let became = place.and_then(|place| live.interfaces.get(place));
    let is_shown = match (became, &wanted.source) {
        (Some(Attachment::Vf { address, .. }), InterfaceSource::Hostdev { address: shown, .. }) => {
            address == shown
        }
        (Some(Attachment::Bridge { bridge, .. }), InterfaceSource::Bridge { bridge: shown }) => {
            bridge == shown
        }
        _ => false,
    };
    if is_shown && matches!(old.source, InterfaceSource::Network { .. }) {
        wanted.source = old.source.clone();
        if let Some(Attachment::Vf { vlan, .. }) = became
            && wanted.vlan == *vlan
        {
            wanted.vlan = old.vlan;
        }
    }
    Ok(old)
}

/// Sets the VF of a running guest's interface as the interface now wants it, or says why not.
async fn set(
    daemon: &Daemon,
    guest: &Domain,
    before: String,
    old: &Interface,
    now: &Interface,
    config: Option<GuestEdit>,
) -> Result<Result<(), Refusal>, WireError> {
    let alias = now.placement.alias.clone().ok_or_else(|| missing("the interface's alias"))?;
    let place = daemon.guests.place_of(guest.uuid, &alias);
    let (nic, from_start) = place.ok_or_else(|| missing("the interface"))?;
    let mut alone = reread(&before)?;
    alone.interfaces = vec![now.clone()];
    let need = definition(&alone)?.nics.pop().ok_or_else(|| missing("what it needs"))?;
    let described = if from_start {
        let (mut after, place) = interface_of(&before, now)?;
        let mut kept = now.clone();
        kept.placement = after.interfaces[place].placement.clone();
        after.interfaces[place] = kept;
        Described::Definition(GuestEdit { before, after: definition(&after)? })
    } else {
        let device = Device::Interface(Box::new(now.clone()));
        Described::Plug { alias: alias.clone(), document: recorded(&device)? }
    };
    let change = NicChange { guest: guest.uuid, nic, need, described, config };
    let done = daemon.engine.ask(Request::GuestChangeNic(Box::new(change))).await;
    if done.is_ok() {
        daemon.guests.describe_interface(guest.uuid, &alias, now, &daemon.engine).await;
        if old.link != now.link {
            let set = daemon.guests.set_links(guest.uuid, Some(&alias)).await;
            set.map_err(|fault| wire_error::command(&fault))?;
        }
    }
    Ok(done.map(drop))
}

/// Takes an interface from a running guest, and gives it the other one instead; the old one again
/// where that cannot be.
async fn replug(
    daemon: &Daemon,
    guest: &Domain,
    old: Interface,
    now: Interface,
) -> Result<(), WireError> {
    let alias = old.placement.alias.clone().ok_or_else(|| missing("the interface's alias"))?;
    detach_in_turn(daemon, guest, &Named::Alias(alias.clone()), f::AFFECT_LIVE).await?;
    let running = live_document(daemon, guest).await?.guest;
    if found(&running, &Named::Alias(alias)).is_ok() {
        let message = "the guest was asked to let go of the interface, and has not yet; \
                       once it has, attach it with its other settings";
        return Err(error(ErrorCode::OperationTimeout, message));
    }
    let anew = |interface: Interface| {
        let mut device = Device::Interface(Box::new(interface));
        *device.placement_mut() = Placement::default();
        device
    };
    let Err(fault) = attach_in_turn(daemon, guest, anew(now), f::AFFECT_LIVE).await else {
        return Ok(());
    };
    match attach_in_turn(daemon, guest, anew(old), f::AFFECT_LIVE).await {
        Ok(()) => Err(fault),
        Err(again) => {
            let words = |fault: WireError| fault.message.map(|it| it.to_string());
            let message = format!(
                "{}; the guest has lost the interface, which could not be given back: {}",
                words(fault).unwrap_or_default(),
                words(again).unwrap_or_default()
            );
            Err(error(ErrorCode::OperationFailed, &message))
        }
    }
}

/// A guest's document, read, and which of its interfaces has this MAC.
fn interface_of(xml: &str, wanted: &Interface) -> Result<(Guest, usize), WireError> {
    let guest = reread(xml)?;
    let its = |it: &Interface| it.mac == wanted.mac;
    let mut places = guest.interfaces.iter().enumerate().filter(|(_, it)| its(it));
    let known = Device::Interface(Box::new(wanted.clone())).known_by();
    let (Some((place, _)), None) = (places.next(), places.next()) else {
        return Err(missing(&format!("the guest has no, or more than one, {known}")));
    };
    Ok((guest, place))
}

/// What the document of a change left out is as it was.
fn inherit(now: &mut Interface, old: &Interface) {
    now.mac = now.mac.or(old.mac);
    now.model = now.model.or(old.model);
    now.target = now.target.take().or_else(|| old.target.clone());
    now.link = now.link.or(old.link);
    now.boot = now.boot.or(old.boot);
    now.teaming = now.teaming.take().or_else(|| old.teaming.clone());
    let Placement { alias, address, .. } = &mut now.placement;
    *alias = alias.take().or_else(|| old.placement.alias.clone());
    *address = address.take().or_else(|| old.placement.address.clone());
}

/// What of an interface cannot be another while a guest has it, where it is to be.
fn fixed(old: &Interface, now: &Interface) -> Option<&'static str> {
    [
        ("model", old.model != now.model),
        ("driver", old.userspace_backend != now.userspace_backend),
        ("target", old.target != now.target),
        ("boot order", old.boot != now.boot),
        ("teaming", old.teaming != now.teaming),
        ("address or alias", old.placement != now.placement),
    ]
    .into_iter()
    .find_map(|(what, differs)| differs.then_some(what))
}

/// Where an interface comes from, its portgroup aside.
fn origin(interface: &Interface) -> InterfaceSource {
    match &interface.source {
        InterfaceSource::Network { network, .. } => {
            InterfaceSource::Network { network: network.clone(), portgroup: None }
        }
        other => other.clone(),
    }
}

/// Whether an interface changes its portgroup, which its VF cannot be set for under the guest.
fn moves_portgroup(old: &Interface, now: &Interface, refusal: &Refusal) -> bool {
    old.source != now.source && refusal.kind == RefusalKind::Unsupported
}

fn unsupported(what: &str) -> WireError {
    error(ErrorCode::OperationUnsupported, &format!("{what} is not supported"))
}

fn recorded(device: &Device) -> Result<String, WireError> {
    let told = |fault: serde_json::Error| error(ErrorCode::InternalError, &fault.to_string());
    serde_json::to_string(device).map_err(told)
}

fn only_kept(guest: &Domain, config: Option<GuestEdit>) -> Request {
    let revision = Revision { guest: guest.uuid, live: None, config, metadata: None };
    Request::GuestRevise(Box::new(revision))
}

async fn live_document(daemon: &Daemon, guest: &Domain) -> Result<LiveDocument, WireError> {
    running(daemon, guest.uuid).await.ok_or_else(|| {
        error(ErrorCode::OperationInvalid, "the guest's QEMU does not answer yet; try again")
    })
}

/// The documents that the flags choose, with the device.
async fn with(
    daemon: &Daemon,
    guest: &Domain,
    flags: u32,
    mut device: Device,
) -> Result<Change, WireError> {
    let Documents { live, config } = chosen(daemon, guest, flags).await?;
    let running = match live {
        Some(_) => Some(live_document(daemon, guest).await?),
        None => None,
    };
    // What is made up for it is the same in both.
    if let Some(LiveDocument { guest, .. }) = &running {
        device = added(guest, device, daemon.config.mac_prefix)?.1;
    }
    let config = match config {
        Some(before) => {
            let (after, filled) = added(&reread(&before)?, device, daemon.config.mac_prefix)?;
            device = filled;
            Some(GuestEdit { before, after: definition(&after)? })
        }
        None => None,
    };
    let live = match running {
        Some(running) => Some(ready(daemon, guest.uuid, running, device.clone()).await?),
        None => None,
    };
    Ok(Change { device, live, config })
}

/// A guest with one device more, and that device with what its document left out.
fn added(guest: &Guest, device: Device, prefix: MacPrefix) -> Result<(Guest, Device), WireError> {
    if let Some(why) = clash(guest, &device) {
        return Err(error(ErrorCode::OperationInvalid, &why));
    }
    let mut guest = guest.clone();
    let word = device.word();
    guest.add_device(device);
    guest.fill_in_with(prefix, &mut || Uuid::new_v4().as_u64_pair().0);
    let device = guest.devices().filter(|it| it.word() == word).last();
    let device = device.ok_or_else(|| missing("the device"))?;
    Ok((guest, device))
}

/// What of a guest's devices keeps it from getting another.
fn clash(guest: &Guest, device: &Device) -> Option<String> {
    let address = |device: &Device| match device {
        Device::Hostdev(hostdev) => Some(hostdev.address),
        Device::Interface(interface) => match &interface.source {
            InterfaceSource::Hostdev { address, .. } => Some(*address),
            _ => None,
        },
        Device::Disk(_) => None,
    };
    let alias = &device.placement().alias;
    guest.devices().find_map(|other| match (&other, device) {
        (Device::Disk(there), Device::Disk(new)) if there.target == new.target => {
            Some(format!("the guest has a disk '{}' already", new.target))
        }
        (Device::Interface(there), Device::Interface(new))
            if there.mac == new.mac && there.teaming.is_none() =>
        {
            let mac = new.mac?;
            Some(format!("the guest has an interface with MAC {mac} already"))
        }
        _ if alias.is_some() && other.placement().alias == *alias => {
            let alias = alias.as_deref().unwrap_or_default();
            Some(format!("the guest has a device with alias '{alias}' already"))
        }
        _ => {
            let same = address(&other).filter(|there| address(device) == Some(*there));
            same.map(|there| format!("the guest has the host's device {there} already"))
        }
    })
}

/// Gives the device of a guest that runs its alias and its place, and says what it needs.
async fn ready(
    daemon: &Daemon,
    guest: Uuid,
    running: LiveDocument,
    mut device: Device,
) -> Result<Live, WireError> {
    let LiveDocument { guest: before, live } = running;
    // What is on the way to the guest, and what has gone from it, keeps its name.
    let network = match &device {
        Device::Interface(interface) => match &interface.source {
            InterfaceSource::Network { network, .. } => Some(network.clone()),
            _ => None,
        },
        _ => None,
    };
    let look = move |state: &State| {
        let plugs = state.runs.get(&guest).map(|run| run.plugs.clone()).unwrap_or_default();
        (plugs, network.is_none_or(|name| lends_vfs(state, &name)))
    };
    let (plugs, lends) = read(daemon, guest, look).await?;
    let becomes_vf = match &device {
        Device::Interface(interface) => match &interface.source {
            InterfaceSource::Network { .. } => lends,
            InterfaceSource::Hostdev { .. } => true,
            InterfaceSource::Bridge { .. } => false,
        },
        _ => false,
    };
    let known: Vec<_> = before.devices().filter_map(|it| it.placement().alias.clone()).collect();
    let taken = |alias: &str| plugs.contains_key(alias) || known.iter().any(|it| it == alias);
    hotplug::place(&before, &live.interfaces, becomes_vf, &taken, &mut device)
        .map_err(|fault| error(ErrorCode::OperationUnsupported, &vfnet_model::explain(&fault)))?;
    let alias = device.placement().alias.clone().ok_or_else(|| missing("the device's alias"))?;

    let (with, _) = added(&before, device.clone(), daemon.config.mac_prefix)?;
    let GuestDefinition { nics, hostdevs, .. } = definition(&with)?;
    let what = match &device {
        Device::Interface(_) => nics.last().map(|need| vfnet_engine::Device::Nic(0, need.clone())),
        Device::Hostdev(_) => {
            hostdevs.last().map(|need| vfnet_engine::Device::Hostdev(0, need.clone()))
        }
        Device::Disk(_) => Some(vfnet_engine::Device::Other),
    };
    let what = what.ok_or_else(|| missing("what the device needs"))?;
    let document = recorded(&device)?;
    Ok(Live { alias, what, document })
}

fn lends_vfs(state: &State, name: &NetworkName) -> bool {
    let live = state.live_networks.values().find(|live| live.name() == name);
    live.is_some_and(|live| matches!(live.definition.network.forward, Forward::Hostdev(_)))
}

/// A kept document without the device.
fn without(before: String, named: &Named) -> Result<GuestEdit, WireError> {
    let mut guest = reread(&before)?;
    let named = match named {
        // The alias is the running guest's, unless the user gave it.
        Named::Document(device) => {
            let mut device = device.clone();
            device.placement_mut().alias.take_if(|alias| !alias.starts_with("ua-"));
            &Named::Document(device)
        }
        Named::Alias(_) => named,
    };
    let device = found(&guest, named)?;
    guest.remove_device(&device);
    Ok(GuestEdit { before, after: definition(&guest)? })
}

fn found(guest: &Guest, named: &Named) -> Result<Device, WireError> {
    match named {
        Named::Document(device) => guest.find_device(device).map_err(|fault| match &fault {
            NotFound::None(_) => missing(&fault.to_string()),
            NotFound::Several(_) => error(ErrorCode::OperationFailed, &fault.to_string()),
        }),
        Named::Alias(alias) => guest
            .devices()
            .find(|device| device.placement().alias.as_ref() == Some(alias))
            .ok_or_else(|| missing(&format!("the guest has no device with alias '{alias}'"))),
    }
}

fn missing(what: &str) -> WireError {
    error(ErrorCode::DeviceMissing, what)
}
