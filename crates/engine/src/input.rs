//! What the engine is told.

use std::collections::BTreeSet;

use uuid::Uuid;
use vfnet_model::inventory::{Inventory, Vf};
use vfnet_model::network::Network;
use vfnet_model::pf::PfIdentity;
use vfnet_model::{DriverName, GuestName, MacAddress, NetdevName, NetworkName, PciAddress, VlanId};

use crate::claim::{ClaimId, Lessee};
use crate::decision::{NetworkHook, Urgency};
use crate::plugs::Device;
use crate::refusal::{Because, Refusal};
use crate::state::{Cause, GuestDefinition, NetworkDefinition, NicNeed};

/// Names a request, so that its answer finds the way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// A point in the order of looks at the host: a count, not a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

/// Something happened, or is asked for.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody asks; exactly one answer goes back ([`crate::Effect::Answer`]).
    Ask(Ticket, Request),
    /// The host was looked at.
    Observed {
        /// When the look began.
        began: Moment,
        /// What was seen.
        inventory: Box<Inventory>,
    },
    /// [`crate::Effect::Prepare`] has ended.
    Prepared(ClaimId, Result<HeldBy, Failure>),
    /// [`crate::Effect::HandOver`] has ended.
    HandedOver(ClaimId, Result<(), Failure>),
    /// [`crate::Effect::GiveBack`] has ended.
    GivenBack {
        /// The claim.
        claim: ClaimId,
        /// How it ended.
        outcome: GivenBack,
        /// The VF as it was seen afterwards, when it was.
        seen: Option<Box<Vf>>,
        /// When that was.
        at: Moment,
    },
    /// [`crate::Effect::Repair`] has ended.
    Repaired(ClaimId, Repaired),
    /// [`crate::Effect::Reset`] has ended.
    WasReset {
        /// The claim.
        claim: ClaimId,
        /// How it ended.
        outcome: Result<(), Failure>,
        /// The VF as it was seen afterwards, when it was.
        seen: Option<Box<Vf>>,
        /// When that was.
        at: Moment,
    },
    /// [`crate::Effect::MakeVfs`] of this PF for this network has ended.
    VfsMade(Uuid, PciAddress, Result<(), String>),
    /// [`crate::Effect::RestoreAutoprobe`] of this PF has ended.
    AutoprobeRestored(PciAddress, Result<(), String>),
    /// [`crate::Effect::SetVfs`] of this PF has ended.
    VfsSet(PciAddress, Result<(), String>),
    /// [`crate::Effect::CallHook`] of a start has ended; in words why the network must not start.
    HookRan {
        /// The network.
        network: Uuid,
        /// Which.
        hook: NetworkHook,
        /// How that went.
        outcome: Result<(), String>,
    },
    /// [`crate::Effect::Launch`] has ended: the guest runs under this process id, or why it does
    /// not.
    Launched(Uuid, Result<u32, String>),
    /// [`crate::Effect::Adopt`] has found the guest under this process id.
    Adopted(Uuid, u32),
    /// A running guest changed.
    GuestChanged(Uuid, GuestChange),
    /// [`crate::Effect::Plug`] of the device with this alias has ended.
    Plugged(Uuid, String, Plugging),
    /// [`crate::Effect::Unplug`] of the device with this alias has ended.
    Unplugged(Uuid, String, Unplugging),
    /// QEMU has let go of a device, asked or not.
    DeviceGone {
        /// The guest.
        guest: Uuid,
        /// The device's alias.
        alias: String,
        /// What it is, and its description, where the guest was started with it.
        from_start: Option<Box<(Device, String)>>,
    },
    /// The aliases of the devices that QEMU has, of a guest that was found again. Nothing was
    /// being plugged or unplugged while it was asked.
    DevicesSeen(Uuid, BTreeSet<String>),
    /// A guest's process has ended, its lock is free, and what it left has been removed.
    GuestEnded(Uuid, Ended),
    /// [`crate::Effect::BeginLease`] has given the process its VF, or why it could not.
    LeaseBegun(ClaimId, Result<(), String>),
    /// [`crate::Effect::BeginLease`] has seen the process end.
    LeaseEnded(ClaimId),
    /// [`crate::Effect::StartPending`]: whatever autostart has still to start and can by now.
    /// Of its own, because claims that cannot be recorded are not made.
    StartPending,
    /// Autostart has been waiting for long enough to say so.
    AutostartIsLate,
    /// A while has passed, and the host was just looked at.
    TimeHasPassed,
    /// No process has had the VF of another daemon's port open for the administrator's grace.
    PortUnused {
        /// The claim behind the port.
        claim: ClaimId,
        /// Whether the administrator has such ports taken back.
        reclaim: bool,
    },
}

impl Input {
    /// Whether its decision may be refused when it cannot be recorded: requests and autostart
    /// may, what has happened may not.
    pub const fn urgency(&self) -> Urgency {
        match self {
            Self::Ask(_, request) => request.urgency(),
            Self::StartPending => Urgency::MayBeRefused,
            _ => Urgency::MustGoOn,
        }
    }
}

/// What a prepared VF is bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldBy {
    /// The VFIO driver.
    pub driver: DriverName,
    /// The IOMMU group.
    pub group: u32,
}

/// Why a VF could not be prepared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// In words.
    pub why: String,
    /// The step that the kernel has not come back from, if that is why.
    pub stuck: Option<String>,
    /// Whether it is ready, and a hook script would not have it lent.
    pub hook: bool,
}

/// How putting back what somebody else has changed of a held VF ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repaired {
    /// Well; what was put back, in words, nothing where all was as it should be.
    Done(Vec<String>),
    /// Not, and another try may do better; why.
    Failed(String),
    /// Not, because that would harm the holder; why.
    NotWhileHeld(String),
}

/// How giving back a VF ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GivenBack {
    /// It is as it was.
    Clean,
    /// It is not, for these reasons.
    Unclean(String),
    /// Nothing was done to it, because a process has it open.
    StillOpen {
        /// Which.
        who: String,
        /// The same as a reason, with what to do about it.
        why: String,
    },
    /// The kernel has not come back from this step.
    Stuck(String),
    /// It is not there any more.
    Gone,
}

/// A change of a running guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestChange {
    /// Its processors stand still, for this reason.
    Paused(Cause),
    /// They run (again).
    Resumed,
    /// It is powered off: by itself, or from outside.
    ShuttingDown {
        /// By itself.
        by_guest: bool,
    },
    /// It was reset.
    Reset,
    /// Its kernel panicked.
    Panicked,
}

/// How a guest's process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The guest powered itself off, or did as it was asked to.
    PoweredOff,
    /// It was destroyed by request.
    Destroyed,
    /// QEMU crashed or was killed; its own last words.
    Crashed(String),
    /// It was gone when vfnet came back.
    Lost,
}

/// What can be asked for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Keep a network's document.
    NetworkDefine(Box<NetworkDefinition>),
    /// Start a network that is not kept.
    NetworkCreate(Box<NetworkDefinition>),
    /// Start a kept network.
    NetworkStart(Uuid),
    /// Stop a network. With `force`, also when VFs are held: claims stay on record.
    NetworkDestroy {
        /// Which.
        network: Uuid,
        /// Also when VFs are held.
        force: bool,
    },
    /// Forget a network's document.
    NetworkUndefine(Uuid),
    /// Start it when the host boots, or not.
    NetworkAutostart(Uuid, bool),
    /// Change the document of a network that stays what it is.
    NetworkEdit(Box<NetworkEdit>),
    /// Make a change of both the running and the kept network that is on record
    /// ([`crate::State::edits`]).
    NetworkEditFinish {
        /// The network.
        network: Uuid,
        /// What is announced, when it is a change of metadata.
        metadata: Option<Metadata>,
    },
    /// Keep a guest's document.
    GuestDefine(Box<GuestDefinition>),
    /// Start a guest that is not kept.
    GuestCreate {
        /// Its document.
        definition: Box<GuestDefinition>,
        /// Leave it paused.
        paused: bool,
        /// Have its UEFI variables made anew from their template.
        fresh_nvram: bool,
        /// It ends with whoever asks; so at the latest with this daemon.
        autodestroy: bool,
    },
    /// Start a kept guest.
    GuestStart {
        /// Which.
        guest: Uuid,
        /// Leave it paused.
        paused: bool,
        /// Have its UEFI variables made anew from their template.
        fresh_nvram: bool,
        /// It ends with whoever asks; so at the latest with this daemon.
        autodestroy: bool,
    },
    /// End a running guest now. Answered when its VFs are back.
    GuestDestroy(Uuid),
    /// Forget a guest's document.
    GuestUndefine(Uuid),
    /// Start it when the host boots, or not.
    GuestAutostart(Uuid, bool),
    /// Change documents of a guest, and none of its devices.
    GuestRevise(Box<Revision>),
    /// Change settings of an interface of a running guest.
    GuestChangeNic(Box<NicChange>),
    /// Give a running guest a device.
    GuestAttach(Box<Attach>),
    /// Ask a running guest to let go of a device. Answered when its VF is back, when the guest
    /// has said no, or when it has not said anything for a while.
    GuestDetach(Box<Detach>),
    /// Lend a VF to another daemon's guest.
    PortCreate(Box<PortRequest>),
    /// That daemon returns it.
    PortDelete {
        /// The network.
        network: Uuid,
        /// The port.
        port: Uuid,
    },
    /// Lend a VF to a process of this host.
    Lease(Box<LeaseRequest>),
    /// Bind a VF that nobody holds to VFIO, and leave it there.
    DeviceDetach {
        /// The VF.
        device: PciAddress,
        /// The VFIO driver, instead of the best one.
        driver: Option<DriverName>,
    },
    /// Give a VF that nobody holds to the host's driver.
    DeviceReattach(PciAddress),
    /// Reset a VF that nobody holds.
    DeviceReset(PciAddress),
    /// Try again to give back a VF, or set a left-over one to its driver's baseline.
    VfRestore(PciAddress),
    /// Lend none of a PF's VFs any more.
    PfDrain {
        /// The PF.
        pf: PciAddress,
        /// Why, in words for people; may be empty.
        why: String,
    },
    /// Lend them again.
    PfUndrain(PfIdentity),
    /// Have a PF make so many VFs in the place of those there are, which must all be free.
    PfSetVfs {
        /// The PF.
        pf: PciAddress,
        /// How many.
        count: u16,
        /// Whether it is to have so many whenever its card comes, also after a reboot.
        keep: bool,
    },
    /// Keep no number of VFs of a PF any more; those that there are stay.
    PfForgetVfs(PfIdentity),
}

/// A change of a network's document, running, kept or both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkEdit {
    /// The network.
    pub network: Uuid,
    /// The document of the running network.
    pub live: Option<Edited>,
    /// The kept one.
    pub config: Option<Edited>,
    /// What is announced, when it is a change of metadata.
    pub metadata: Option<Metadata>,
}

/// A document before and after a change. When there is another one by now, the change is refused
/// with [`crate::RefusalKind::ChangedMeanwhile`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edited {
    /// As it was read.
    pub before: Network,
    /// As it is to be.
    pub after: Network,
}

/// A guest's kept document before and after a change. When there is another one by now, the
/// change is refused with [`crate::RefusalKind::ChangedMeanwhile`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestEdit {
    /// As it was read.
    pub before: String,
    /// As it is to be; with the same identity and name.
    pub after: GuestDefinition,
}

/// A change of a guest's documents that leaves its devices as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// The guest.
    pub guest: Uuid,
    /// The document of the running guest.
    pub live: Option<GuestEdit>,
    /// The kept one.
    pub config: Option<GuestEdit>,
    /// What is announced, when it is a change of metadata.
    pub metadata: Option<Metadata>,
}

/// A device for a running guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attach {
    /// The guest.
    pub guest: Uuid,
    /// A name that no device of this run has had.
    pub alias: String,
    /// What it is; its place is given to it.
    pub device: Device,
    /// How whoever runs the guest describes it, with its alias and a free address in the guest.
    pub document: String,
    /// What becomes of the kept document when the guest has it.
    pub config: Option<GuestEdit>,
}

/// A device that a running guest is to let go of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detach {
    /// The guest.
    pub guest: Uuid,
    /// The device's alias.
    pub alias: String,
    /// What it is, and its description, where the guest was started with it.
    pub from_start: Option<(Device, String)>,
    /// What becomes of the kept document when the guest has been asked.
    pub config: Option<GuestEdit>,
}

/// An interface of a running guest that goes on with other settings: it keeps its MAC and comes
/// from where it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NicChange {
    /// The guest.
    pub guest: Uuid,
    /// The interface's place among the run's.
    pub nic: usize,
    /// What it needs.
    pub need: NicNeed,
    /// How whoever runs the guest describes it.
    pub described: Described,
    /// What becomes of the kept document when the settings are made.
    pub config: Option<GuestEdit>,
}

/// Where an interface of a running guest is described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Described {
    /// In the document that the guest was started with.
    Definition(GuestEdit),
    /// In that of its plug.
    Plug {
        /// The plug's.
        alias: String,
        /// The document.
        document: String,
    },
}

/// How telling QEMU of a device ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plugging {
    /// The guest has it.
    Done,
    /// QEMU does not have it, for this reason, and nothing is left of it there.
    Refused(String),
    /// Nobody knows, because QEMU does not answer.
    Unknown(String),
}

/// How asking a guest to let go of a device ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unplugging {
    /// QEMU does not have it any more.
    Gone,
    /// The guest was asked, and has not answered yet.
    NotYet,
    /// The guest or QEMU says no, for this reason.
    Refused(String),
}

/// What was changed of a network's metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Metadata {
    /// `<description>`.
    Description,
    /// `<title>`.
    Title,
    /// The element of this namespace.
    Element(String),
}

/// A port that another daemon asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortRequest {
    /// The network.
    pub network: Uuid,
    /// The identity that the client chose.
    pub port: Uuid,
    /// The guest's identity.
    pub owner: Uuid,
    /// The guest's name.
    pub owner_name: GuestName,
    /// The portgroup, if named.
    pub portgroup: Option<String>,
    /// The MAC that the client will set.
    pub mac: MacAddress,
    /// A tag of the port's own.
    pub vlan: Option<VlanId>,
    /// Whether the guest's own filters are trusted: kept for the port's document.
    pub trust_guest_rx_filters: Option<bool>,
    /// `<port isolated='…'/>`: kept for the port's document.
    pub isolated: Option<bool>,
    /// What the client says it has already, when it takes up a port that was forgotten.
    pub plug: Option<Plugged>,
    /// VFs that have failed for this request, and how.
    pub tried: Vec<Because>,
}

/// A VF that a process of this host is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseRequest {
    /// The network.
    pub network: NetworkName,
    /// The portgroup, if named.
    pub portgroup: Option<String>,
    /// The MAC that the VF gets.
    pub mac: MacAddress,
    /// The process.
    pub lessee: Lessee,
}

/// What a port's guest is connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plugged {
    /// A VF.
    Vf {
        /// Where it is.
        address: PciAddress,
        /// Whether its holder binds and unbinds drivers.
        managed: bool,
        /// The VFIO driver that was named.
        driver: Option<DriverName>,
    },
    /// A bridge.
    Bridge(NetdevName),
}

impl Request {
    const fn urgency(&self) -> Urgency {
        match self {
            Self::GuestDestroy(_)
            | Self::GuestDetach(_)
            | Self::PortDelete { .. }
            | Self::VfRestore(_)
            | Self::NetworkEditFinish { .. } => Urgency::MustGoOn,
            _ => Urgency::MayBeRefused,
        }
    }
}

/// What a request that was granted comes back with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Done.
    Done,
    /// A network, with what is to be said of its document besides.
    Network {
        /// Its identity.
        uuid: Uuid,
        /// Its name.
        name: NetworkName,
        /// Hardware that is absent, and the like.
        warnings: Vec<String>,
    },
    /// A guest.
    Guest {
        /// Its identity.
        uuid: Uuid,
        /// Its name.
        name: GuestName,
        /// Its number while it runs.
        id: Option<i32>,
    },
    /// A port, and the VF that it got.
    Port {
        /// Its identity.
        port: Uuid,
        /// Its VF.
        vf: PciAddress,
    },
    /// A VF, and its IOMMU group.
    Leased {
        /// The VF.
        vf: PciAddress,
        /// Its group: `/dev/vfio/GROUP`.
        group: u32,
    },
    /// A VF was restored, or why not yet.
    Restored(Result<PciAddress, Because>),
}

/// What goes back to whoever asked.
pub type Reply = Result<Answer, Refusal>;
