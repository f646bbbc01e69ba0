//! What the engine answers with, and how a decision is built.

use std::collections::BTreeMap;

use uuid::Uuid;
use vfnet_model::{GuestName, NetworkName, PciAddress};

use crate::claim::{After, Claim, ClaimId, Happening};
use crate::guests::Start;
use crate::health::PfChange;
use crate::input::{Ended, Metadata, Reply, Request, Ticket};
use crate::record::{Entry, Home, Key, Record};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Cause, LiveNetwork, State};

/// What is to be written down, and then done.
#[derive(Debug)]
pub struct Decision {
    /// To be committed first, in order. Those at home in memory are not among them.
    pub records: Vec<Record>,
    /// To be carried out once the records are committed.
    pub effects: Vec<Effect>,
    /// What to do when they cannot be committed.
    pub urgency: Urgency,
    /// Who asked, when somebody did.
    pub asker: Option<Ticket>,
    pub(crate) undo: Vec<Record>,
}

/// Whether a decision that cannot be recorded is taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Take it back, and refuse the request.
    MayBeRefused,
    /// Carry it out all the same: what was lent goes back even on a full disk, and recovery
    /// copes with the older record.
    MustGoOn,
}

/// Something to be done outside.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send this to whoever asked.
    Answer(Ticket, Reply),
    /// Decide about this once more for whoever asked: as a request of its own, so that it may be
    /// refused when it cannot be recorded.
    AskAgain(Ticket, Box<Request>),
    /// Make a VF ready for its holder; then [`crate::Input::Prepared`].
    Prepare(ClaimId),
    /// Set on a VF what the other daemon that is to have it cannot set; then
    /// [`crate::Input::HandedOver`].
    HandOver(ClaimId),
    /// Give a VF back; then [`crate::Input::GivenBack`].
    GiveBack(ClaimId),
    /// Put back what somebody else has changed of a held VF; then [`crate::Input::Repaired`].
    Repair(ClaimId),
    /// Reset a VF's function; then [`crate::Input::WasReset`].
    Reset(ClaimId),
    /// Have a PF make VFs for a network; then [`crate::Input::VfsMade`].
    MakeVfs {
        /// The network.
        network: Uuid,
        /// The PF.
        pf: PciAddress,
        /// How many it is to have.
        count: u16,
        /// Whether the kernel must not look for drivers for them: that is to be switched off
        /// before, and on again after.
        unprobed: bool,
    },
    /// Have the kernel look for drivers for a PF's VFs again; then
    /// [`crate::Input::AutoprobeRestored`].
    RestoreAutoprobe(PciAddress),
    /// Have a PF make this number of VFs in the place of those there are; then
    /// [`crate::Input::VfsSet`].
    SetVfs {
        /// The PF.
        pf: PciAddress,
        /// How many it is to have.
        count: u16,
    },
    /// Call a network's hook scripts; after [`NetworkHook::Start`] and [`NetworkHook::Started`]
    /// then [`crate::Input::HookRan`], the others are not waited for.
    CallHook(NetworkHook, Box<LiveNetwork>),
    /// Start a guest's process; then [`crate::Input::Launched`].
    Launch {
        /// The guest.
        guest: Uuid,
        /// Leave it paused.
        paused: bool,
        /// Make its UEFI variables anew from their template.
        fresh_nvram: bool,
    },
    /// Find a guest's process again; then [`crate::Input::Adopted`], or
    /// [`crate::Input::GuestEnded`].
    Adopt(Uuid),
    /// End a guest's process; then [`crate::Input::GuestEnded`], or [`crate::Input::Launched`]
    /// with an error where it was still being started.
    Kill(Uuid),
    /// Tell QEMU of the device that a guest's plug describes; then [`crate::Input::Plugged`].
    Plug {
        /// The guest.
        guest: Uuid,
        /// The device's alias.
        alias: String,
    },
    /// Have QEMU ask a guest to let go of a device; then [`crate::Input::Unplugged`].
    Unplug {
        /// The guest.
        guest: Uuid,
        /// The device's alias.
        alias: String,
    },
    /// Let a process open its VF, then [`crate::Input::LeaseBegun`]; and wait for its end, then
    /// [`crate::Input::LeaseEnded`].
    BeginLease(ClaimId),
    /// Come back with [`crate::Input::StartPending`].
    StartPending,
    /// Tell everybody who listens.
    Announce(Announcement),
}

/// A moment in a network's life at which its hook scripts are called (libvirt: hooks.rst).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkHook {
    /// It is about to be started: nothing has been looked up or made yet.
    Start,
    /// Its pool is there, and it is about to be active.
    Started,
    /// Its document was changed while it is active.
    Updated,
    /// It is not active any more, or its start has failed.
    Stopped,
}

/// What happened, for logs and event listeners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Announcement {
    /// A network's document was kept.
    NetworkDefined(Uuid, NetworkName),
    /// A network's document was forgotten.
    NetworkUndefined(Uuid, NetworkName),
    /// A network was started.
    NetworkStarted(Uuid, NetworkName),
    /// A network was stopped.
    NetworkStopped(Uuid, NetworkName),
    /// A network's title, description or metadata were changed.
    NetworkMetadataChanged(Uuid, NetworkName, Metadata),
    /// A guest's document was kept; whether it is a new guest.
    GuestDefined(Uuid, GuestName, bool),
    /// A guest's document was forgotten.
    GuestUndefined(Uuid, GuestName),
    /// A guest was started.
    GuestStarted(Uuid, GuestName, i32),
    /// A guest that an earlier daemon started was found running.
    GuestAdopted(Uuid, GuestName, i32),
    /// A guest stands still, for this reason.
    GuestPaused(Uuid, GuestName, i32, Cause),
    /// A guest runs again.
    GuestResumed(Uuid, GuestName, i32),
    /// A guest is powered off: by itself, when true.
    GuestShuttingDown(Uuid, GuestName, i32, bool),
    /// A guest was reset.
    GuestReset(Uuid, GuestName, i32),
    /// A guest's kernel panicked.
    GuestPanicked(Uuid, GuestName, i32),
    /// A guest's title, description or metadata were changed.
    GuestMetadataChanged(Uuid, GuestName, i32, Metadata),
    /// A guest has ended and its VFs are back.
    GuestStopped(Uuid, GuestName, i32, Ended),
    /// A running guest has got the device of this alias.
    DeviceAdded(Uuid, GuestName, i32, String),
    /// A running guest has let go of the device of this alias.
    DeviceRemoved(Uuid, GuestName, i32, String),
    /// A guest that was asked to let go of a device has said no.
    DeviceRemovalFailed(Uuid, GuestName, i32, String),
    /// A guest that was asked to let go of a device has not answered yet.
    DeviceStays(Uuid, GuestName, i32, String),
    /// A VF could not be given back clean.
    VfQuarantined(PciAddress, String),
    /// The kernel has not come back from a step on a VF.
    VfStuck(PciAddress, String),
    /// A VF went away while held.
    VfVanished(PciAddress, String),
    /// A VF that had vanished is there again, the same device, and its holder's.
    VfReappeared(PciAddress, String),
    /// What somebody else had changed of a VF that is held was put back: whose it is, and what.
    VfRepaired(PciAddress, String, String),
    /// A held VF is otherwise than it should be, and is not put back any more: whose it is, and
    /// why.
    VfDrifted(PciAddress, String, String),
    /// Nobody has had the VF of another daemon's port open for the administrator's grace: the
    /// port, and whose it is.
    PortUnused(PciAddress, Uuid, String),
    /// Such a port is taken back, as the administrator has it.
    PortReclaimed(PciAddress, Uuid, String),
    /// A PF's VFs are not lent any more: which, and why.
    PfDrained(String, String),
    /// They are again.
    PfUndrained(String),
    /// A held VF was set as its network has it by now: whose it is, and what.
    VfSetAnew(PciAddress, String, String),
    /// It was not, and stays as it is: whose it is, and why.
    VfStaysAsSet(PciAddress, String, String),
    /// What has become of a PF: which, and what.
    PfChanged(String, PfChange),
    /// What is kept of a PF's VFs was made: which PF, and how many.
    VfsMade(String, u16),
    /// It was not: which PF, and why.
    VfsNotMade(String, String),
    /// A port was to be taken back or deleted, and stays, because this process has its VF open.
    PortInUse(PciAddress, Uuid, String),
    /// A start failed with nobody waiting for it.
    StartFailed(String),
    /// Autostart waits for something.
    AutostartWaits(String),
}

/// A decision being built: every record is applied at once, so that what follows sees it.
#[derive(Debug)]
pub(crate) struct Turn<'s> {
    pub(crate) state: &'s mut State,
    records: Vec<Record>,
    effects: Vec<Effect>,
    undo: Vec<Record>,
    pub(crate) urgency: Urgency,
    asker: Option<Ticket>,
}

/// A point to go back to within a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    records: usize,
    effects: usize,
    undo: usize,
}

impl<'s> Turn<'s> {
    pub(crate) const fn new(state: &'s mut State, urgency: Urgency) -> Self {
        Self {
            state,
            records: Vec::new(),
            effects: Vec::new(),
            undo: Vec::new(),
            urgency,
            asker: None,
        }
    }

    pub(crate) fn ask(&mut self, ticket: Ticket, request: Request) {
        self.asker = Some(ticket);
        let point = self.savepoint();
        let done = match request {
            Request::NetworkDefine(def) => self.network_define(*def),
            Request::NetworkCreate(def) => self.network_create(ticket, *def),
            Request::NetworkStart(network) => self.network_start(Some(ticket), network),
            Request::NetworkDestroy { network, force } => self.network_destroy(network, force),
            Request::NetworkUndefine(network) => self.network_undefine(network),
            Request::NetworkAutostart(network, on) => self.network_autostart(network, on),
            Request::NetworkEdit(edit) => self.network_edit(ticket, *edit),
            Request::NetworkEditFinish { network, metadata } => {
                self.network_edit_finish(network, metadata)
            }
            Request::GuestDefine(def) => self.guest_define(*def),
            Request::GuestCreate { definition, paused, fresh_nvram, autodestroy } => {
                self.guest_create(ticket, *definition, Start { paused, fresh_nvram, autodestroy })
            }
            Request::GuestStart { guest, paused, fresh_nvram, autodestroy } => {
                self.guest_start(Some(ticket), guest, Start { paused, fresh_nvram, autodestroy })
            }
            Request::GuestDestroy(guest) => self.guest_destroy(ticket, guest),
            Request::GuestUndefine(guest) => self.guest_undefine(guest),
            Request::GuestAutostart(guest, on) => self.guest_autostart(guest, on),
            Request::GuestRevise(revision) => self.guest_revise(*revision),
            Request::GuestChangeNic(change) => self.guest_change_nic(ticket, *change),
            Request::GuestAttach(attach) => self.guest_attach(ticket, *attach),
            Request::GuestDetach(detach) => self.guest_detach(ticket, *detach),
            Request::PortCreate(port) => self.port_create(ticket, *port),
            Request::PortDelete { network, port } => self.port_delete(ticket, network, port),
            Request::DeviceDetach { device, driver } => self.device_detach(ticket, device, driver),
            Request::DeviceReattach(device) => self.device_reattach(ticket, device),
            Request::DeviceReset(device) => self.device_reset(ticket, device),
            Request::VfRestore(vf) => self.vf_restore(ticket, vf),
            Request::PfDrain { pf, why } => self.pf_drain(pf, why),
            Request::PfUndrain(pf) => self.pf_undrain(pf),
            Request::PfSetVfs { pf, count, keep } => self.pf_set_vfs(ticket, pf, count, keep),
            Request::Lease(lease) => self.lease(ticket, *lease),
            Request::PfForgetVfs(pf) => self.pf_forget_vfs(pf),
        };
        match done {
            Ok(Some(answer)) => self.effect(Effect::Answer(ticket, Ok(answer))),
            Ok(None) => {}
            Err(refusal) => {
                self.back_to(point);
                self.effect(Effect::Answer(ticket, Err(refusal)));
            }
        }
    }

    pub(crate) fn put(&mut self, entry: Entry) {
        self.record(Record::Put(Box::new(entry)));
    }

    pub(crate) fn forget(&mut self, key: Key) {
        self.record(Record::Drop(key));
    }

    fn record(&mut self, record: Record) {
        self.undo.push(self.state.apply(record.clone()));
        self.records.push(record);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn announce(&mut self, what: Announcement) {
        self.effect(Effect::Announce(what));
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            records: self.records.len(),
            effects: self.effects.len(),
            undo: self.undo.len(),
        }
    }

    pub(crate) fn back_to(&mut self, point: Savepoint) {
        for record in self.undo.drain(point.undo..).rev() {
            self.state.apply(record);
        }
        self.records.truncate(point.records);
        self.effects.truncate(point.effects);
    }

    /// Lets something happen to a claim; true when it changed anything.
    pub(crate) fn happen(&mut self, id: ClaimId, happening: Happening) -> bool {
        let Some(claim) = self.state.claims.get(&id) else { return false };
        match claim.state.after(happening) {
            After::State(state) => {
                let claim = Claim { state, ..claim.clone() };
                self.put(Entry::Claim(claim));
                true
            }
            After::Free => {
                self.forget(Key::Claim(id));
                true
            }
            After::Nothing => false,
        }
    }

    pub(crate) fn finish(self) -> Decision {
        // Of several records of one entry the last says it all.
        let mut last: BTreeMap<Key, usize> = BTreeMap::new();
        for (place, record) in self.records.iter().enumerate() {
            last.insert(record.key(), place);
        }
        let records = self
            .records
            .into_iter()
            .enumerate()
            .filter(|(place, record)| {
                record.key().home() != Home::Memory && last.get(&record.key()) == Some(place)
            })
            .map(|(_, record)| record)
            .collect();
        Decision {
            records,
            effects: self.effects,
            urgency: self.urgency,
            asker: self.asker,
            undo: self.undo,
        }
    }
}

impl Decision {
    /// What an entry was before this decision.
    pub(crate) fn before(&self, key: Key) -> Option<&Entry> {
        let first = self.undo.iter().find(|record| record.key() == key)?;
        match first {
            Record::Put(entry) => Some(entry),
            Record::Drop(_) => None,
        }
    }

    /// What is said to whoever asked when the records cannot be committed.
    pub fn unrecorded(why: &str) -> Refusal {
        let message = format!("nothing was changed, because it cannot be recorded: {why}");
        Refusal::new(RefusalKind::NotRecorded, message)
            .hint("free some space, or mend the state directory, and try again")
    }
}
