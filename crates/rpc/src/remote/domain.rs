//! What calls and events about guests carry.

use crate::objects::{Domain, OBJECTS_MAX};
use crate::typed_params::TypedParam;
use crate::xdr::{List, Text, xdr};

/// The most statistics of one guest.
const STATS_MAX: usize = 4096;

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
}
