//! Flags and kinds of libvirt's API that travel as numbers, named as libvirt names them
//! without `VIR_`.

macro_rules! numbers {
    ($type:ty: $( $name:ident = $value:expr ),* $(,)?) => {
        $(
            #[doc = concat!("`VIR_", stringify!($name), "`")]
            pub const $name: $type = $value;
        )*
    };
}

/// Groups of numbers that clients know by position, in a module of their own.
macro_rules! kinds {
    ($( $(#[$meta:meta])* $module:ident: $type:ty { $( $name:ident = $value:expr ),* $(,)? } )*) => {$(
        $(#[$meta])*
        pub mod $module {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: $type = $value;
            )*
        }
    )*};
}

numbers! { u32:
    CONNECT_RO = 1,

    AFFECT_CURRENT = 0,
    AFFECT_LIVE = 1,
    AFFECT_CONFIG = 2,

    DOMAIN_DEVICE_MODIFY_FORCE = 4,

    CONNECT_LIST_NETWORKS_INACTIVE = 1,
    CONNECT_LIST_NETWORKS_ACTIVE = 2,
    CONNECT_LIST_NETWORKS_PERSISTENT = 4,
    CONNECT_LIST_NETWORKS_TRANSIENT = 8,
    CONNECT_LIST_NETWORKS_AUTOSTART = 16,
    CONNECT_LIST_NETWORKS_NO_AUTOSTART = 32,

    CONNECT_LIST_STORAGE_POOLS_INACTIVE = 1,
    CONNECT_LIST_STORAGE_POOLS_ACTIVE = 2,
    CONNECT_LIST_STORAGE_POOLS_PERSISTENT = 4,
    CONNECT_LIST_STORAGE_POOLS_TRANSIENT = 8,
    CONNECT_LIST_STORAGE_POOLS_AUTOSTART = 16,
    CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART = 32,
    CONNECT_LIST_STORAGE_POOLS_DIR = 64,
    CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT = 1 << 19,

    STORAGE_POOL_DEFINE_VALIDATE = 1,
    STORAGE_POOL_CREATE_WITH_BUILD = 1,
    STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE = 2,
    STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE = 4,
    STORAGE_POOL_CREATE_VALIDATE = 8,
    STORAGE_XML_INACTIVE = 1,
    STORAGE_VOL_GET_PHYSICAL = 1,

    CONNECT_LIST_DOMAINS_ACTIVE = 1,
    CONNECT_LIST_DOMAINS_INACTIVE = 2,
    CONNECT_LIST_DOMAINS_PERSISTENT = 4,
    CONNECT_LIST_DOMAINS_TRANSIENT = 8,
    CONNECT_LIST_DOMAINS_RUNNING = 16,
    CONNECT_LIST_DOMAINS_PAUSED = 32,
    CONNECT_LIST_DOMAINS_SHUTOFF = 64,
    CONNECT_LIST_DOMAINS_OTHER = 128,
    CONNECT_LIST_DOMAINS_MANAGEDSAVE = 256,
    CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE = 512,
    CONNECT_LIST_DOMAINS_AUTOSTART = 1024,
    CONNECT_LIST_DOMAINS_NO_AUTOSTART = 2048,
    CONNECT_LIST_DOMAINS_HAS_SNAPSHOT = 4096,
    CONNECT_LIST_DOMAINS_NO_SNAPSHOT = 8192,
    CONNECT_LIST_DOMAINS_HAS_CHECKPOINT = 16_384,
    CONNECT_LIST_DOMAINS_NO_CHECKPOINT = 32_768,

    CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM = 1,
    CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV = 1 << 1,
    CONNECT_LIST_NODE_DEVICES_CAP_NET = 1 << 4,
    CONNECT_LIST_NODE_DEVICES_CAPS = (1 << 24) - 1,
    CONNECT_LIST_NODE_DEVICES_PERSISTENT = 1 << 28,
    CONNECT_LIST_NODE_DEVICES_TRANSIENT = 1 << 29,
    CONNECT_LIST_NODE_DEVICES_INACTIVE = 1 << 30,
    CONNECT_LIST_NODE_DEVICES_ACTIVE = 1 << 31,
    NODE_DEVICE_XML_INACTIVE = 1,

    NETWORK_XML_INACTIVE = 1,
    NETWORK_DEFINE_VALIDATE = 1,
    NETWORK_CREATE_VALIDATE = 1,
    PORT_CREATE_RECLAIM = 1,
    PORT_CREATE_VALIDATE = 2,

    DOMAIN_XML_SECURE = 1,
    DOMAIN_XML_INACTIVE = 2,
    DOMAIN_XML_UPDATE_CPU = 4,
    DOMAIN_XML_MIGRATABLE = 8,
    DOMAIN_DEFINE_VALIDATE = 1,
    DOMAIN_START_PAUSED = 1,
    DOMAIN_START_AUTODESTROY = 2,
    DOMAIN_START_BYPASS_CACHE = 4,
    DOMAIN_START_FORCE_BOOT = 8,
    DOMAIN_START_VALIDATE = 16,
    DOMAIN_START_RESET_NVRAM = 32,
    DOMAIN_DESTROY_GRACEFUL = 1,
    DOMAIN_DESTROY_REMOVE_LOGS = 2,
    DOMAIN_UNDEFINE_MANAGED_SAVE = 1,
    DOMAIN_UNDEFINE_SNAPSHOTS_METADATA = 2,
    DOMAIN_UNDEFINE_NVRAM = 4,
    DOMAIN_UNDEFINE_KEEP_NVRAM = 8,
    DOMAIN_UNDEFINE_CHECKPOINTS_METADATA = 16,
    DOMAIN_UNDEFINE_TPM = 32,
    DOMAIN_UNDEFINE_KEEP_TPM = 64,
    DOMAIN_SHUTDOWN_ACPI_POWER_BTN = 1,
    DOMAIN_SHUTDOWN_GUEST_AGENT = 2,
    DOMAIN_SHUTDOWN_INITCTL = 4,
    DOMAIN_SHUTDOWN_SIGNAL = 8,
    DOMAIN_SHUTDOWN_PARAVIRT = 16,
    DOMAIN_REBOOT_ACPI_POWER_BTN = 1,
    DOMAIN_REBOOT_GUEST_AGENT = 2,
    DOMAIN_REBOOT_INITCTL = 4,
    DOMAIN_REBOOT_SIGNAL = 8,
    DOMAIN_REBOOT_PARAVIRT = 16,
    DOMAIN_MEM_MAXIMUM = 4,
    DOMAIN_VCPU_MAXIMUM = 4,
    DOMAIN_VCPU_GUEST = 8,
    DOMAIN_VCPU_HOTPLUGGABLE = 16,
    DOMAIN_SAVE_BYPASS_CACHE = 1,
    DOMAIN_SAVE_RUNNING = 2,
    DOMAIN_SAVE_PAUSED = 4,
    DOMAIN_STATS_STATE = 1,
    DOMAIN_STATS_CPU_TOTAL = 2,
    DOMAIN_STATS_BALLOON = 4,
    DOMAIN_STATS_VCPU = 8,
    DOMAIN_STATS_INTERFACE = 16,
    DOMAIN_STATS_BLOCK = 32,
    CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT = 1 << 29,
    CONNECT_GET_ALL_DOMAINS_STATS_BACKING = 1 << 30,
    CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS = 1 << 31,
    DOMAIN_QEMU_MONITOR_COMMAND_HMP = 1,
    CONSOLE_FORCE = 1,
    CONSOLE_SAFE = 2,
}

kinds! {
    /// `virStoragePoolState`
    storage_pool_state: u8 {
        INACTIVE = 0, BUILDING = 1, RUNNING = 2, DEGRADED = 3, INACCESSIBLE = 4,
    }
    /// `virDomainState`
    domain_state: i32 {
        NOSTATE = 0, RUNNING = 1, BLOCKED = 2, PAUSED = 3, SHUTDOWN = 4, SHUTOFF = 5,
        CRASHED = 6, PMSUSPENDED = 7,
    }
    /// `virDomainRunningReason`
    domain_running: i32 {
        UNKNOWN = 0, BOOTED = 1, MIGRATED = 2, RESTORED = 3, FROM_SNAPSHOT = 4, UNPAUSED = 5,
        MIGRATION_CANCELED = 6, SAVE_CANCELED = 7, WAKEUP = 8, CRASHED = 9,
    }
    /// `virDomainPausedReason`
    domain_paused: i32 {
        UNKNOWN = 0, USER = 1, MIGRATION = 2, SAVE = 3, DUMP = 4, IOERROR = 5, WATCHDOG = 6,
        FROM_SNAPSHOT = 7, SHUTTING_DOWN = 8, SNAPSHOT = 9, CRASHED = 10, STARTING_UP = 11,
    }
    /// `virDomainCrashedReason`
    domain_crashed: i32 { UNKNOWN = 0, PANICKED = 1, }
    /// `virDomainShutoffReason`
    domain_shutoff: i32 {
        UNKNOWN = 0, SHUTDOWN = 1, DESTROYED = 2, CRASHED = 3, MIGRATED = 4, SAVED = 5,
        FAILED = 6, FROM_SNAPSHOT = 7, DAEMON = 8,
    }
    /// `virDomainEventID`, as far as events of it are sent
    domain_event: i32 {
        LIFECYCLE = 0, REBOOT = 1, RTC_CHANGE = 2, WATCHDOG = 3, IO_ERROR = 4,
        IO_ERROR_REASON = 6, CONTROL_ERROR = 7, BALLOON_CHANGE = 13, DEVICE_REMOVED = 15,
        AGENT_LIFECYCLE = 18, DEVICE_ADDED = 19, DEVICE_REMOVAL_FAILED = 22,
        METADATA_CHANGE = 23,
    }
    /// `virDomainEventWatchdogAction`
    watchdog_action: i32 {
        NONE = 0, PAUSE = 1, RESET = 2, POWEROFF = 3, SHUTDOWN = 4, DEBUG = 5, INJECTNMI = 6,
    }
    /// `virDomainEventIOErrorAction`
    io_error_action: i32 { NONE = 0, PAUSE = 1, REPORT = 2, }
    /// `virConnectDomainEventAgentLifecycleState`
    agent_state: i32 { CONNECTED = 1, DISCONNECTED = 2, }
    /// `virConnectDomainEventAgentLifecycleReason`
    agent_reason: i32 { UNKNOWN = 0, DOMAIN_STARTED = 1, CHANNEL = 2, }
    /// `virDomainInterfaceAddressesSource`
    addresses_from: u32 { LEASE = 0, AGENT = 1, ARP = 2, }
    /// `virDomainMemoryStatTags`
    memory_stat: i32 {
        SWAP_IN = 0, SWAP_OUT = 1, MAJOR_FAULT = 2, MINOR_FAULT = 3, UNUSED = 4, AVAILABLE = 5,
        ACTUAL_BALLOON = 6, RSS = 7, USABLE = 8, LAST_UPDATE = 9, DISK_CACHES = 10,
    }
    /// `virDomainEventType`
    domain_lifecycle: i32 {
        DEFINED = 0, UNDEFINED = 1, STARTED = 2, SUSPENDED = 3, RESUMED = 4, STOPPED = 5,
        SHUTDOWN = 6, PMSUSPENDED = 7, CRASHED = 8,
    }
    /// Details of the changes in [`domain_lifecycle`], the change's name in front
    domain_lifecycle_detail: i32 {
        DEFINED_ADDED = 0, DEFINED_UPDATED = 1, UNDEFINED_REMOVED = 0, STARTED_BOOTED = 0,
        SUSPENDED_PAUSED = 0, SUSPENDED_IOERROR = 2, SUSPENDED_WATCHDOG = 3, RESUMED_UNPAUSED = 0, STOPPED_SHUTDOWN = 0, STOPPED_DESTROYED = 1,
        STOPPED_CRASHED = 2, STOPPED_FAILED = 5, SHUTDOWN_FINISHED = 0, SHUTDOWN_GUEST = 1,
        SHUTDOWN_HOST = 2, CRASHED_PANICKED = 0,
    }
    /// `virNetworkEventID`
    network_event: i32 { LIFECYCLE = 0, METADATA_CHANGE = 1, }
    /// `virNetworkEventLifecycleType`
    network_lifecycle: i32 { DEFINED = 0, UNDEFINED = 1, STARTED = 2, STOPPED = 3, }
    /// `virNodeDeviceEventID`
    node_device_event: i32 { LIFECYCLE = 0, UPDATE = 1, }
    /// `virNodeDeviceEventLifecycleType`
    node_device_lifecycle: i32 { CREATED = 0, DELETED = 1, DEFINED = 2, UNDEFINED = 3, }
    /// `virDomainMetadataType` and `virNetworkMetadataType`
    metadata: i32 { DESCRIPTION = 0, TITLE = 1, ELEMENT = 2, }
    /// `virNetworkUpdateCommand` and, with `SECTION_` in front, `virNetworkUpdateSection`
    network_update: u32 {
        MODIFY = 1, DELETE = 2, ADD_LAST = 3, ADD_FIRST = 4,
        SECTION_BRIDGE = 1, SECTION_DOMAIN = 2, SECTION_IP = 3, SECTION_IP_DHCP_HOST = 4,
        SECTION_IP_DHCP_RANGE = 5, SECTION_FORWARD = 6, SECTION_FORWARD_INTERFACE = 7,
        SECTION_FORWARD_PF = 8, SECTION_PORTGROUP = 9, SECTION_DNS_HOST = 10,
        SECTION_DNS_TXT = 11, SECTION_DNS_SRV = 12,
    }
}
