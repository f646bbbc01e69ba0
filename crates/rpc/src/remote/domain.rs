//! What calls and events about guests carry.

use crate::objects::{Domain, OBJECTS_MAX};
use crate::typed_params::TypedParam;
use crate::xdr::{List, Text, xdr};

/// The most statistics of one guest.
const STATS_MAX: usize = 4096;
/// The most statistics of one guest's memory.
const MEMORY_STATS_MAX: usize = 1024;
/// The most interfaces of one guest, and the most addresses of one interface.
const ADDRESSES_MAX: usize = 2048;

/// The most parameters of a save.
pub const SAVE_PARAMS_MAX: usize = 64;

xdr! {
    /// A document and flags.
    pub struct XmlFlags {
        /// The document.
        pub xml: Text,
        /// Flags of the call.
        pub flags: u32,
    }

    /// A guest and flags.
    pub struct DomainFlags {
        /// The guest.
        pub domain: Domain,
        /// Flags of the call.
        pub flags: u32,
    }

    /// `DOMAIN_SET_AUTOSTART`
    pub struct DomainAutostartArgs {
        /// The guest.
        pub domain: Domain,
        /// 0 is no.
        pub autostart: i32,
    }

    /// `DOMAIN_GET_INFO`
    pub struct DomainInfo {
        /// A state of [`domain_state`](crate::flags::domain_state).
        pub state: u8,
        /// KiB of memory that it may have.
        pub max_memory: u64,
        /// KiB of memory that it has.
        pub memory: u64,
        /// Virtual CPUs.
        pub vcpus: u16,
        /// Nanoseconds of CPU time used.
        pub cpu_time: u64,
    }

    /// `DOMAIN_GET_STATE`
    pub struct DomainState {
        /// A state of [`domain_state`](crate::flags::domain_state).
        pub state: i32,
        /// Its reason, numbered per state.
        pub reason: i32,
    }

    /// `DOMAIN_SET_MEMORY`
    pub struct DomainMemory {
        /// The guest.
        pub domain: Domain,
        /// KiB.
        pub memory: u64,
    }

    /// `DOMAIN_SET_MEMORY_FLAGS`
    pub struct DomainMemoryFlags {
        /// The guest.
        pub domain: Domain,
        /// KiB.
        pub memory: u64,
        /// Live or configuration, or the maximum.
        pub flags: u32,
    }

    /// `DOMAIN_SET_VCPUS`
    pub struct DomainVcpus {
        /// The guest.
        pub domain: Domain,
        /// How many.
        pub vcpus: u32,
    }

    /// `DOMAIN_SET_VCPUS_FLAGS`
    pub struct DomainVcpusFlags {
        /// The guest.
        pub domain: Domain,
        /// How many.
        pub vcpus: u32,
        /// Live or configuration, or the maximum.
        pub flags: u32,
    }

    /// `DOMAIN_MEMORY_STATS`
    pub struct DomainMemoryStatsArgs {
        /// The guest.
        pub domain: Domain,
        /// How many values the caller has room for.
        pub room: u32,
        /// Flags of the call.
        pub flags: u32,
    }

    /// One value of a guest's memory.
    pub struct DomainMemoryStat {
        /// A tag of [`memory_stat`](crate::flags::memory_stat).
        pub tag: i32,
        /// KiB, or a count.
        pub value: u64,
    }

    /// `DOMAIN_MEMORY_STATS`
    pub struct DomainMemoryValues {
        /// What is known.
        pub values: List<DomainMemoryStat, MEMORY_STATS_MAX>,
    }

    /// `DOMAIN_INTERFACE_STATS`
    pub struct DomainInterfaceStatsArgs {
        /// The guest.
        pub domain: Domain,
        /// The interface's name on the host, or its MAC.
        pub device: Text,
    }

    /// `DOMAIN_INTERFACE_STATS`: what the guest has received and sent; -1 is not known.
    pub struct DomainInterfaceCounters {
        /// Bytes received.
        pub rx_bytes: i64,
        /// Packets received.
        pub rx_packets: i64,
        /// Packets that arrived broken.
        pub rx_errors: i64,
        /// Packets that were not taken.
        pub rx_dropped: i64,
        /// Bytes sent.
        pub tx_bytes: i64,
        /// Packets sent.
        pub tx_packets: i64,
        /// Packets that could not be sent.
        pub tx_errors: i64,
        /// Packets that were dropped instead of sent.
        pub tx_dropped: i64,
    }

    /// `DOMAIN_INTERFACE_ADDRESSES`
    pub struct DomainInterfaceAddressesArgs {
        /// The guest.
        pub domain: Domain,
        /// A source of [`addresses_from`](crate::flags::addresses_from).
        pub source: u32,
        /// Flags of the call.
        pub flags: u32,
    }

    /// An address of a guest's interface.
    pub struct DomainIpAddress {
        /// 0 of IPv4, 1 of IPv6.
        pub kind: i32,
        /// The address.
        pub address: Text,
        /// Bits of its network.
        pub prefix: u32,
    }

    /// An interface as the guest knows it.
    pub struct DomainInterface {
        /// Its name in the guest.
        pub name: Text,
        /// Its MAC.
        pub mac: Option<Text>,
        /// Its addresses.
        pub addresses: List<DomainIpAddress, ADDRESSES_MAX>,
    }

    /// `DOMAIN_INTERFACE_ADDRESSES`
    pub struct DomainInterfaces {
        /// All of them.
        pub interfaces: List<DomainInterface, ADDRESSES_MAX>,
    }

    /// `DOMAIN_SAVE`
    pub struct DomainSaveArgs {
        /// The guest.
        pub domain: Domain,
        /// The file.
        pub to: Text,
    }

    /// `DOMAIN_SAVE_PARAMS`
    pub struct DomainSaveParamsArgs {
        /// The guest.
        pub domain: Domain,
        /// The file, its format and the like.
        pub params: List<TypedParam, SAVE_PARAMS_MAX>,
        /// As of `DOMAIN_SAVE_FLAGS`.
        pub flags: u32,
    }

    /// `DOMAIN_SAVE_FLAGS`
    pub struct DomainSaveFlagsArgs {
        /// The guest.
        pub domain: Domain,
        /// The file.
        pub to: Text,
        /// The document that it is to have when it comes back.
        pub xml: Option<Text>,
        /// Flags of the call.
        pub flags: u32,
    }

    /// A guest and a device of it.
    pub struct DomainDevice {
        /// The guest.
        pub domain: Domain,
        /// The device's document.
        pub xml: Text,
    }

    /// A guest, a device of it, and flags.
    pub struct DomainDeviceArgs {
        /// The guest.
        pub domain: Domain,
        /// The device's document; for `DOMAIN_DETACH_DEVICE_ALIAS` its alias.
        pub device: Text,
        /// [`AFFECT_LIVE`](crate::flags::AFFECT_LIVE),
        /// [`AFFECT_CONFIG`](crate::flags::AFFECT_CONFIG).
        pub flags: u32,
    }

    /// `DOMAIN_SET_METADATA`
    pub struct DomainSetMetadataArgs {
        /// The guest.
        pub domain: Domain,
        /// A kind of [`metadata`](crate::flags::metadata).
        pub kind: i32,
        /// The new value; absent to remove it.
        pub metadata: Option<Text>,
        /// Prefix for the element's namespace.
        pub key: Option<Text>,
        /// The element's namespace.
        pub uri: Option<Text>,
        /// Live or configuration.
        pub flags: u32,
    }

    /// `DOMAIN_GET_METADATA`
    pub struct DomainGetMetadataArgs {
        /// The guest.
        pub domain: Domain,
        /// A kind of [`metadata`](crate::flags::metadata).
        pub kind: i32,
        /// The element's namespace.
        pub uri: Option<Text>,
        /// Live or configuration.
        pub flags: u32,
    }

    /// `CONNECT_GET_ALL_DOMAIN_STATS`
    pub struct AllDomainStatsArgs {
        /// The guests; none for all.
        pub domains: List<Domain, OBJECTS_MAX>,
        /// Which groups of statistics; 0 for all.
        pub stats: u32,
        /// Filters.
        pub flags: u32,
    }

    /// One guest's statistics.
    pub struct DomainStats {
        /// The guest.
        pub domain: Domain,
        /// Its statistics.
        pub params: List<TypedParam, STATS_MAX>,
    }

    /// `DOMAIN_OPEN_CONSOLE`. The reply opens a stream, see [`stream`](crate::stream).
    pub struct OpenConsoleArgs {
        /// The guest.
        pub domain: Domain,
        /// Alias of the device; the first console without it.
        pub device: Option<Text>,
        /// [`CONSOLE_FORCE`](crate::flags::CONSOLE_FORCE),
        /// [`CONSOLE_SAFE`](crate::flags::CONSOLE_SAFE).
        pub flags: u32,
    }

    /// `CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY`
    pub struct DomainEventRegister {
        /// A kind of [`domain_event`](crate::flags::domain_event).
        pub event: i32,
        /// Only of this guest.
        pub domain: Option<Domain>,
    }

    /// A guest's change of state.
    pub struct DomainLifecycleBody {
        /// The guest.
        pub domain: Domain,
        /// A change of [`domain_lifecycle`](crate::flags::domain_lifecycle).
        pub event: i32,
        /// Its reason, numbered per change.
        pub detail: i32,
    }

    /// `DOMAIN_EVENT_CALLBACK_LIFECYCLE`
    pub struct DomainLifecycle {
        /// The registration.
        pub callback: i32,
        /// What happened.
        pub change: DomainLifecycleBody,
    }

    /// `DOMAIN_EVENT_CALLBACK_REBOOT`
    pub struct DomainRebooted {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
    }

    /// `DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED`
    pub struct DomainRemoved {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// The device's alias.
        pub alias: Text,
    }

    /// `DOMAIN_EVENT_CALLBACK_DEVICE_ADDED` and `DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED`
    pub struct DomainDeviceNamed {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// The device's alias.
        pub alias: Text,
    }

    /// `DOMAIN_EVENT_CALLBACK_RTC_CHANGE`
    pub struct DomainRtcChanged {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// Seconds that its clock is ahead of UTC.
        pub offset: i64,
    }

    /// `DOMAIN_EVENT_CALLBACK_WATCHDOG`
    pub struct DomainWatchdog {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// What was done, of [`watchdog_action`](crate::flags::watchdog_action).
        pub action: i32,
    }

    /// `DOMAIN_EVENT_CALLBACK_IO_ERROR`
    pub struct DomainIoError {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// The disk's source.
        pub source: Text,
        /// The disk's alias.
        pub alias: Text,
        /// What was done, of [`io_error_action`](crate::flags::io_error_action).
        pub action: i32,
    }

    /// `DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON`
    pub struct DomainIoErrorReason {
        /// As without a reason.
        pub error: DomainIoError,
        /// `enospc`, or nothing.
        pub reason: Text,
    }

    /// `DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE`
    pub struct DomainBalloonChanged {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// KiB that it has.
        pub actual: u64,
    }

    /// `DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE`
    pub struct DomainAgentLifecycle {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// 1 there, 2 gone.
        pub state: i32,
        /// 1 when the guest started, 2 its channel was opened or closed.
        pub reason: i32,
    }

    /// `DOMAIN_EVENT_CALLBACK_METADATA_CHANGE`
    pub struct DomainMetadataChange {
        /// The registration.
        pub callback: i32,
        /// The guest.
        pub domain: Domain,
        /// A kind of [`metadata`](crate::flags::metadata).
        pub kind: i32,
        /// The element's namespace.
        pub uri: Option<Text>,
    }
}
