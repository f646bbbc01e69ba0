//! libvirt's main program, as far as it is served: the table of its procedures and events.
//!
//! Numbers and shapes are those of libvirt 11.3 and were checked against its own client. A
//! number that the protocol has and this table has not is answered with `VIR_ERR_NO_SUPPORT`,
//! from which clients know how to fall back (see [`server`](crate::server)).
//!
//! To add a procedure: one line here, and a struct in one of the modules below if its
//! arguments or result are more than a single value.

mod connect;
mod domain;
mod network;
mod node_device;
mod storage;

pub use connect::{
    AuthType, CallbackArgs, CloseReason, ConnectOpenArgs, DomainCapabilitiesArgs, Feature,
    IDENTITY_PARAMS_MAX, ModelName, NodeInfo, SetIdentityArgs, XmlToNativeArgs,
};
pub use domain::{
    AllDomainStatsArgs, DomainAgentLifecycle, DomainAutostartArgs, DomainBalloonChanged,
    DomainDevice, DomainDeviceArgs, DomainDeviceNamed, DomainEventRegister, DomainFlags,
    DomainGetMetadataArgs, DomainInfo, DomainInterface, DomainInterfaceAddressesArgs,
    DomainInterfaceCounters, DomainInterfaceStatsArgs, DomainInterfaces, DomainIoError,
    DomainIoErrorReason, DomainIpAddress, DomainLifecycle, DomainLifecycleBody, DomainMemory,
    DomainMemoryFlags, DomainMemoryStat, DomainMemoryStatsArgs, DomainMemoryValues,
    DomainMetadataChange, DomainRebooted, DomainRemoved, DomainRtcChanged, DomainSaveArgs,
    DomainSaveFlagsArgs, DomainSaveParamsArgs, DomainSetMetadataArgs, DomainState, DomainStats,
    DomainVcpus, DomainVcpusFlags, DomainWatchdog, OpenConsoleArgs, SAVE_PARAMS_MAX, XmlFlags,
};
pub use network::{
    DhcpLease, DhcpLeasesArgs, NetworkAutostartArgs, NetworkEventRegister, NetworkFlags,
    NetworkGetMetadataArgs, NetworkLifecycle, NetworkMetadataChange, NetworkSetMetadataArgs,
    NetworkUpdateArgs, PORT_PARAMS_MAX, PortByUuid, PortCreateArgs, PortFlags, PortListArgs,
    PortParameters, PortParametersArgs, PortSetParametersArgs,
};
pub use node_device::{
    NodeDeviceDetachArgs, NodeDeviceEventRegister, NodeDeviceFlags, NodeDeviceLifecycle,
    NodeDeviceListArgs, NodeDeviceListCapsArgs, NodeDeviceNumArgs, NodeDeviceUpdate,
};
pub use storage::{
    StoragePoolAutostartArgs, StoragePoolFlags, StoragePoolInfo, StoragePoolListAllVolumesArgs,
    StoragePoolListVolumesArgs, StorageVolByName, StorageVolFlags, StorageVolInfo,
};

use uuid::Uuid;

use crate::objects::{
    Domain, ListArgs, Listed, NODE_DEVICES_MAX, Network, NetworkPort, NodeDevice, OBJECTS_MAX,
    StoragePool, StorageVol,
};
use crate::procedures::{Access, program};
use crate::xdr::{List, Text};

/// The program's number.
pub const PROGRAM: u32 = 0x2000_8086;
/// The program's version.
pub const VERSION: u32 = 1;
/// The highest number that libvirt 11.3 gives to a procedure or event.
pub const LAST_PROCEDURE: i32 = 453;

/// Names in the answer of a call that lists names.
type Names = List<Text, OBJECTS_MAX>;

program! {
    program PROGRAM, version VERSION;

    /// A decoded call of libvirt's main program.
    calls Call {
        // connections
        66 AuthList "AUTH_LIST" Read (()) -> List<u32, 20>;
        1 ConnectOpen "CONNECT_OPEN" Read (ConnectOpenArgs) -> ();
        2 ConnectClose "CONNECT_CLOSE" Read (()) -> ();
        60 ConnectSupportsFeature "CONNECT_SUPPORTS_FEATURE" Read (i32) -> i32;
        360 ConnectRegisterCloseCallback "CONNECT_REGISTER_CLOSE_CALLBACK" Read (()) -> ();
        361 ConnectUnregisterCloseCallback "CONNECT_UNREGISTER_CLOSE_CALLBACK" Read (()) -> ();
        419 ConnectSetIdentity "CONNECT_SET_IDENTITY" Write (SetIdentityArgs) -> ();
        149 ConnectIsSecure "CONNECT_IS_SECURE" Read (()) -> i32;
        3 ConnectGetType "CONNECT_GET_TYPE" Read (()) -> Text;
        4 ConnectGetVersion "CONNECT_GET_VERSION" Read (()) -> u64;
        157 ConnectGetLibVersion "CONNECT_GET_LIB_VERSION" Read (()) -> u64;
        59 ConnectGetHostname "CONNECT_GET_HOSTNAME" Read (()) -> Text;
        110 ConnectGetUri "CONNECT_GET_URI" Read (()) -> Text;
        203 ConnectGetSysinfo "CONNECT_GET_SYSINFO" Read (u32) -> Text;
        5 ConnectGetMaxVcpus "CONNECT_GET_MAX_VCPUS" Read (Option<Text>) -> i32;
        6 NodeGetInfo "NODE_GET_INFO" Read (()) -> NodeInfo;
        102 NodeGetFreeMemory "NODE_GET_FREE_MEMORY" Read (()) -> u64;
        7 ConnectGetCapabilities "CONNECT_GET_CAPABILITIES" Read (()) -> Text;
        // Runs a program that the client names.
        342 ConnectGetDomainCapabilities "CONNECT_GET_DOMAIN_CAPABILITIES" Write
            (DomainCapabilitiesArgs) -> Text;
        136 ConnectDomainXmlToNative "CONNECT_DOMAIN_XML_TO_NATIVE" Write
            (XmlToNativeArgs) -> Text;

        // networks
        283 ConnectListAllNetworks "CONNECT_LIST_ALL_NETWORKS" Read
            (ListArgs) -> Listed<Network, OBJECTS_MAX>;
        52 ConnectNumOfNetworks "CONNECT_NUM_OF_NETWORKS" Read (()) -> i32;
        38 ConnectListNetworks "CONNECT_LIST_NETWORKS" Read (i32) -> Names;
        50 ConnectNumOfDefinedNetworks "CONNECT_NUM_OF_DEFINED_NETWORKS" Read (()) -> i32;
        36 ConnectListDefinedNetworks "CONNECT_LIST_DEFINED_NETWORKS" Read (i32) -> Names;
        46 NetworkLookupByName "NETWORK_LOOKUP_BY_NAME" Read (Text) -> Network;
        47 NetworkLookupByUuid "NETWORK_LOOKUP_BY_UUID" Read (Uuid) -> Network;
        41 NetworkDefineXml "NETWORK_DEFINE_XML" Write (Text) -> Network;
        432 NetworkDefineXmlFlags "NETWORK_DEFINE_XML_FLAGS" Write (XmlFlags) -> Network;
        40 NetworkCreateXml "NETWORK_CREATE_XML" Write (Text) -> Network;
        437 NetworkCreateXmlFlags "NETWORK_CREATE_XML_FLAGS" Write (XmlFlags) -> Network;
        39 NetworkCreate "NETWORK_CREATE" Write (Network) -> ();
        42 NetworkDestroy "NETWORK_DESTROY" Write (Network) -> ();
        49 NetworkUndefine "NETWORK_UNDEFINE" Write (Network) -> ();
        291 NetworkUpdate "NETWORK_UPDATE" Write (NetworkUpdateArgs) -> ();
        43 NetworkGetXmlDesc "NETWORK_GET_XML_DESC" Read (NetworkFlags) -> Text;
        44 NetworkGetAutostart "NETWORK_GET_AUTOSTART" Read (Network) -> i32;
        48 NetworkSetAutostart "NETWORK_SET_AUTOSTART" Write (NetworkAutostartArgs) -> ();
        45 NetworkGetBridgeName "NETWORK_GET_BRIDGE_NAME" Read (Network) -> Text;
        152 NetworkIsActive "NETWORK_IS_ACTIVE" Read (Network) -> i32;
        153 NetworkIsPersistent "NETWORK_IS_PERSISTENT" Read (Network) -> i32;
        341 NetworkGetDhcpLeases "NETWORK_GET_DHCP_LEASES" Read
            (DhcpLeasesArgs) -> Listed<DhcpLease, NODE_DEVICES_MAX>;
        444 NetworkSetMetadata "NETWORK_SET_METADATA" Write (NetworkSetMetadataArgs) -> ();
        445 NetworkGetMetadata "NETWORK_GET_METADATA" Read (NetworkGetMetadataArgs) -> Text;
        313 ConnectNetworkEventRegisterAny "CONNECT_NETWORK_EVENT_REGISTER_ANY" Read
            (NetworkEventRegister) -> i32;
        314 ConnectNetworkEventDeregisterAny "CONNECT_NETWORK_EVENT_DEREGISTER_ANY" Read
            (CallbackArgs) -> ();

        // ports of networks
        404 NetworkListAllPorts "NETWORK_LIST_ALL_PORTS" Read
            (PortListArgs) -> Listed<NetworkPort, OBJECTS_MAX>;
        405 NetworkPortLookupByUuid "NETWORK_PORT_LOOKUP_BY_UUID" Read
            (PortByUuid) -> NetworkPort;
        406 NetworkPortCreateXml "NETWORK_PORT_CREATE_XML" Write (PortCreateArgs) -> NetworkPort;
        407 NetworkPortGetParameters "NETWORK_PORT_GET_PARAMETERS" Read
            (PortParametersArgs) -> PortParameters;
        408 NetworkPortSetParameters "NETWORK_PORT_SET_PARAMETERS" Write
            (PortSetParametersArgs) -> ();
        409 NetworkPortGetXmlDesc "NETWORK_PORT_GET_XML_DESC" Read (PortFlags) -> Text;
        410 NetworkPortDelete "NETWORK_PORT_DELETE" Write (PortFlags) -> ();

        // guests
        273 ConnectListAllDomains "CONNECT_LIST_ALL_DOMAINS" Read
            (ListArgs) -> Listed<Domain, OBJECTS_MAX>;
        51 ConnectNumOfDomains "CONNECT_NUM_OF_DOMAINS" Read (()) -> i32;
        37 ConnectListDomains "CONNECT_LIST_DOMAINS" Read (i32) -> List<i32, OBJECTS_MAX>;
        25 ConnectNumOfDefinedDomains "CONNECT_NUM_OF_DEFINED_DOMAINS" Read (()) -> i32;
        21 ConnectListDefinedDomains "CONNECT_LIST_DEFINED_DOMAINS" Read (i32) -> Names;
        22 DomainLookupById "DOMAIN_LOOKUP_BY_ID" Read (i32) -> Domain;
        23 DomainLookupByName "DOMAIN_LOOKUP_BY_NAME" Read (Text) -> Domain;
        24 DomainLookupByUuid "DOMAIN_LOOKUP_BY_UUID" Read (Uuid) -> Domain;
        11 DomainDefineXml "DOMAIN_DEFINE_XML" Write (Text) -> Domain;
        350 DomainDefineXmlFlags "DOMAIN_DEFINE_XML_FLAGS" Write (XmlFlags) -> Domain;
        10 DomainCreateXml "DOMAIN_CREATE_XML" Write (XmlFlags) -> Domain;
        9 DomainCreate "DOMAIN_CREATE" Write (Domain) -> ();
        196 DomainCreateWithFlags "DOMAIN_CREATE_WITH_FLAGS" Write (DomainFlags) -> Domain;
        12 DomainDestroy "DOMAIN_DESTROY" Write (Domain) -> ();
        234 DomainDestroyFlags "DOMAIN_DESTROY_FLAGS" Write (DomainFlags) -> ();
        35 DomainUndefine "DOMAIN_UNDEFINE" Write (Domain) -> ();
        231 DomainUndefineFlags "DOMAIN_UNDEFINE_FLAGS" Write (DomainFlags) -> ();
        33 DomainShutdown "DOMAIN_SHUTDOWN" Write (Domain) -> ();
        258 DomainShutdownFlags "DOMAIN_SHUTDOWN_FLAGS" Write (DomainFlags) -> ();
        27 DomainReboot "DOMAIN_REBOOT" Write (DomainFlags) -> ();
        245 DomainReset "DOMAIN_RESET" Write (DomainFlags) -> ();
        34 DomainSuspend "DOMAIN_SUSPEND" Write (Domain) -> ();
        28 DomainResume "DOMAIN_RESUME" Write (Domain) -> ();
        16 DomainGetInfo "DOMAIN_GET_INFO" Read (Domain) -> DomainInfo;
        212 DomainGetState "DOMAIN_GET_STATE" Read (DomainFlags) -> DomainState;
        14 DomainGetXmlDesc "DOMAIN_GET_XML_DESC" Read (DomainFlags) -> Text;
        150 DomainIsActive "DOMAIN_IS_ACTIVE" Read (Domain) -> i32;
        151 DomainIsPersistent "DOMAIN_IS_PERSISTENT" Read (Domain) -> i32;
        202 DomainIsUpdated "DOMAIN_IS_UPDATED" Read (Domain) -> i32;
        15 DomainGetAutostart "DOMAIN_GET_AUTOSTART" Read (Domain) -> i32;
        29 DomainSetAutostart "DOMAIN_SET_AUTOSTART" Write (DomainAutostartArgs) -> ();
        19 DomainGetOsType "DOMAIN_GET_OS_TYPE" Read (Domain) -> Text;
        17 DomainGetMaxMemory "DOMAIN_GET_MAX_MEMORY" Read (Domain) -> u64;
        18 DomainGetMaxVcpus "DOMAIN_GET_MAX_VCPUS" Read (Domain) -> i32;
        200 DomainGetVcpusFlags "DOMAIN_GET_VCPUS_FLAGS" Read (DomainFlags) -> i32;
        30 DomainSetMaxMemory "DOMAIN_SET_MAX_MEMORY" Write (DomainMemory) -> ();
        31 DomainSetMemory "DOMAIN_SET_MEMORY" Write (DomainMemory) -> ();
        204 DomainSetMemoryFlags "DOMAIN_SET_MEMORY_FLAGS" Write (DomainMemoryFlags) -> ();
        32 DomainSetVcpus "DOMAIN_SET_VCPUS" Write (DomainVcpus) -> ();
        199 DomainSetVcpusFlags "DOMAIN_SET_VCPUS_FLAGS" Write (DomainVcpusFlags) -> ();
        159 DomainMemoryStats "DOMAIN_MEMORY_STATS" Read
            (DomainMemoryStatsArgs) -> DomainMemoryValues;
        65 DomainInterfaceStats "DOMAIN_INTERFACE_STATS" Read
            (DomainInterfaceStatsArgs) -> DomainInterfaceCounters;
        353 DomainInterfaceAddresses "DOMAIN_INTERFACE_ADDRESSES" Read
            (DomainInterfaceAddressesArgs) -> DomainInterfaces;
        55 DomainSave "DOMAIN_SAVE" Write (DomainSaveArgs) -> ();
        232 DomainSaveFlags "DOMAIN_SAVE_FLAGS" Write (DomainSaveFlagsArgs) -> ();
        440 DomainSaveParams "DOMAIN_SAVE_PARAMS" Write (DomainSaveParamsArgs) -> ();
        182 DomainManagedSave "DOMAIN_MANAGED_SAVE" Write (DomainFlags) -> ();
        183 DomainHasManagedSaveImage "DOMAIN_HAS_MANAGED_SAVE_IMAGE" Read (DomainFlags) -> i32;
        187 DomainSnapshotNum "DOMAIN_SNAPSHOT_NUM" Read (DomainFlags) -> i32;
        8 DomainAttachDevice "DOMAIN_ATTACH_DEVICE" Write (DomainDevice) -> ();
        13 DomainDetachDevice "DOMAIN_DETACH_DEVICE" Write (DomainDevice) -> ();
        160 DomainAttachDeviceFlags "DOMAIN_ATTACH_DEVICE_FLAGS" Write (DomainDeviceArgs) -> ();
        161 DomainDetachDeviceFlags "DOMAIN_DETACH_DEVICE_FLAGS" Write (DomainDeviceArgs) -> ();
        174 DomainUpdateDeviceFlags "DOMAIN_UPDATE_DEVICE_FLAGS" Write (DomainDeviceArgs) -> ();
        392 DomainDetachDeviceAlias "DOMAIN_DETACH_DEVICE_ALIAS" Write (DomainDeviceArgs) -> ();
        264 DomainSetMetadata "DOMAIN_SET_METADATA" Write (DomainSetMetadataArgs) -> ();
        265 DomainGetMetadata "DOMAIN_GET_METADATA" Read (DomainGetMetadataArgs) -> Text;
        344 ConnectGetAllDomainStats "CONNECT_GET_ALL_DOMAIN_STATS" Read
            (AllDomainStatsArgs) -> List<DomainStats, OBJECTS_MAX>;
        201 DomainOpenConsole "DOMAIN_OPEN_CONSOLE" Write (OpenConsoleArgs) -> ();
        316 ConnectDomainEventCallbackRegisterAny "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY" Read
            (DomainEventRegister) -> i32;
        317 ConnectDomainEventCallbackDeregisterAny
            "CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY" Read (CallbackArgs) -> ();

        // storage pools, which are directories, and volumes, which are their files
        281 ConnectListAllStoragePools "CONNECT_LIST_ALL_STORAGE_POOLS" Read
            (ListArgs) -> Listed<StoragePool, OBJECTS_MAX>;
        84 StoragePoolLookupByName "STORAGE_POOL_LOOKUP_BY_NAME" Read (Text) -> StoragePool;
        85 StoragePoolLookupByUuid "STORAGE_POOL_LOOKUP_BY_UUID" Read (Uuid) -> StoragePool;
        86 StoragePoolLookupByVolume "STORAGE_POOL_LOOKUP_BY_VOLUME" Read
            (StorageVol) -> StoragePool;
        391 StoragePoolLookupByTargetPath "STORAGE_POOL_LOOKUP_BY_TARGET_PATH" Read
            (Text) -> StoragePool;
        77 StoragePoolDefineXml "STORAGE_POOL_DEFINE_XML" Write (XmlFlags) -> StoragePool;
        76 StoragePoolCreateXml "STORAGE_POOL_CREATE_XML" Write (XmlFlags) -> StoragePool;
        78 StoragePoolCreate "STORAGE_POOL_CREATE" Write (StoragePoolFlags) -> ();
        80 StoragePoolDestroy "STORAGE_POOL_DESTROY" Write (StoragePool) -> ();
        82 StoragePoolUndefine "STORAGE_POOL_UNDEFINE" Write (StoragePool) -> ();
        83 StoragePoolRefresh "STORAGE_POOL_REFRESH" Write (StoragePoolFlags) -> ();
        87 StoragePoolGetInfo "STORAGE_POOL_GET_INFO" Read (StoragePool) -> StoragePoolInfo;
        88 StoragePoolGetXmlDesc "STORAGE_POOL_GET_XML_DESC" Read (StoragePoolFlags) -> Text;
        89 StoragePoolGetAutostart "STORAGE_POOL_GET_AUTOSTART" Read (StoragePool) -> i32;
        90 StoragePoolSetAutostart "STORAGE_POOL_SET_AUTOSTART" Write
            (StoragePoolAutostartArgs) -> ();
        154 StoragePoolIsActive "STORAGE_POOL_IS_ACTIVE" Read (StoragePool) -> i32;
        155 StoragePoolIsPersistent "STORAGE_POOL_IS_PERSISTENT" Read (StoragePool) -> i32;
        91 StoragePoolNumOfVolumes "STORAGE_POOL_NUM_OF_VOLUMES" Read (StoragePool) -> i32;
        92 StoragePoolListVolumes "STORAGE_POOL_LIST_VOLUMES" Read
            (StoragePoolListVolumesArgs) -> Names;
        282 StoragePoolListAllVolumes "STORAGE_POOL_LIST_ALL_VOLUMES" Read
            (StoragePoolListAllVolumesArgs) -> Listed<StorageVol, OBJECTS_MAX>;
        95 StorageVolLookupByName "STORAGE_VOL_LOOKUP_BY_NAME" Read
            (StorageVolByName) -> StorageVol;
        96 StorageVolLookupByKey "STORAGE_VOL_LOOKUP_BY_KEY" Read (Text) -> StorageVol;
        97 StorageVolLookupByPath "STORAGE_VOL_LOOKUP_BY_PATH" Read (Text) -> StorageVol;
        98 StorageVolGetInfo "STORAGE_VOL_GET_INFO" Read (StorageVol) -> StorageVolInfo;
        378 StorageVolGetInfoFlags "STORAGE_VOL_GET_INFO_FLAGS" Read
            (StorageVolFlags) -> StorageVolInfo;
        99 StorageVolGetXmlDesc "STORAGE_VOL_GET_XML_DESC" Read (StorageVolFlags) -> Text;
        100 StorageVolGetPath "STORAGE_VOL_GET_PATH" Read (StorageVol) -> Text;

        // devices of the host
        285 ConnectListAllNodeDevices "CONNECT_LIST_ALL_NODE_DEVICES" Read
            (ListArgs) -> Listed<NodeDevice, NODE_DEVICES_MAX>;
        111 NodeNumOfDevices "NODE_NUM_OF_DEVICES" Read (NodeDeviceNumArgs) -> i32;
        112 NodeListDevices "NODE_LIST_DEVICES" Read
            (NodeDeviceListArgs) -> List<Text, NODE_DEVICES_MAX>;
        113 NodeDeviceLookupByName "NODE_DEVICE_LOOKUP_BY_NAME" Read (Text) -> NodeDevice;
        114 NodeDeviceGetXmlDesc "NODE_DEVICE_GET_XML_DESC" Read (NodeDeviceFlags) -> Text;
        115 NodeDeviceGetParent "NODE_DEVICE_GET_PARENT" Read (Text) -> Option<Text>;
        116 NodeDeviceNumOfCaps "NODE_DEVICE_NUM_OF_CAPS" Read (Text) -> i32;
        117 NodeDeviceListCaps "NODE_DEVICE_LIST_CAPS" Read
            (NodeDeviceListCapsArgs) -> List<Text, NODE_DEVICES_MAX>;
        118 NodeDeviceDettach "NODE_DEVICE_DETTACH" Write (Text) -> ();
        301 NodeDeviceDetachFlags "NODE_DEVICE_DETACH_FLAGS" Write (NodeDeviceDetachArgs) -> ();
        119 NodeDeviceReAttach "NODE_DEVICE_RE_ATTACH" Write (Text) -> ();
        120 NodeDeviceReset "NODE_DEVICE_RESET" Write (Text) -> ();
        433 NodeDeviceGetAutostart "NODE_DEVICE_GET_AUTOSTART" Read (Text) -> i32;
        435 NodeDeviceIsPersistent "NODE_DEVICE_IS_PERSISTENT" Read (Text) -> i32;
        436 NodeDeviceIsActive "NODE_DEVICE_IS_ACTIVE" Read (Text) -> i32;
        374 ConnectNodeDeviceEventRegisterAny "CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY" Read
            (NodeDeviceEventRegister) -> i32;
        375 ConnectNodeDeviceEventDeregisterAny "CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY" Read
            (CallbackArgs) -> ();
    }

    /// A decoded event of libvirt's main program.
    events RemoteEvent {
        315 NetworkEventLifecycle "NETWORK_EVENT_LIFECYCLE" (NetworkLifecycle);
        446 NetworkEventMetadataChange "NETWORK_EVENT_CALLBACK_METADATA_CHANGE"
            (NetworkMetadataChange);
        318 DomainEventLifecycle "DOMAIN_EVENT_CALLBACK_LIFECYCLE" (DomainLifecycle);
        319 DomainEventReboot "DOMAIN_EVENT_CALLBACK_REBOOT" (DomainRebooted);
        320 DomainEventRtcChange "DOMAIN_EVENT_CALLBACK_RTC_CHANGE" (DomainRtcChanged);
        321 DomainEventWatchdog "DOMAIN_EVENT_CALLBACK_WATCHDOG" (DomainWatchdog);
        322 DomainEventIoError "DOMAIN_EVENT_CALLBACK_IO_ERROR" (DomainIoError);
        324 DomainEventIoErrorReason "DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON"
            (DomainIoErrorReason);
        325 DomainEventControlError "DOMAIN_EVENT_CALLBACK_CONTROL_ERROR" (DomainRebooted);
        331 DomainEventBalloonChange "DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE"
            (DomainBalloonChanged);
        333 DomainEventDeviceRemoved "DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED" (DomainRemoved);
        348 DomainEventAgentLifecycle "DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE"
            (DomainAgentLifecycle);
        354 DomainEventDeviceAdded "DOMAIN_EVENT_CALLBACK_DEVICE_ADDED" (DomainDeviceNamed);
        367 DomainEventDeviceRemovalFailed "DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED"
            (DomainDeviceNamed);
        379 DomainEventMetadataChange "DOMAIN_EVENT_CALLBACK_METADATA_CHANGE"
            (DomainMetadataChange);
        376 NodeDeviceEventLifecycle "NODE_DEVICE_EVENT_LIFECYCLE" (NodeDeviceLifecycle);
        377 NodeDeviceEventUpdate "NODE_DEVICE_EVENT_UPDATE" (NodeDeviceUpdate);
        362 ConnectEventConnectionClosed "CONNECT_EVENT_CONNECTION_CLOSED" (i32);
    }
}

/// The name of a procedure that is not served, where libvirt's client has a command for it
/// beside commands that are, and what is there instead.
pub(crate) const fn unserved(number: i32) -> Option<&'static str> {
    Some(match number {
        308 => "DOMAIN_SET_MEMORY_STATS_PERIOD",
        450 => "DOMAIN_SET_AUTOSTART_ONCE",
        123 => "NODE_DEVICE_CREATE_XML",
        124 => "NODE_DEVICE_DESTROY",
        428 => "NODE_DEVICE_DEFINE_XML",
        429 => "NODE_DEVICE_UNDEFINE",
        430 => "NODE_DEVICE_CREATE",
        434 => "NODE_DEVICE_SET_AUTOSTART",
        447 => "NODE_DEVICE_UPDATE",
        75 => "CONNECT_FIND_STORAGE_POOL_SOURCES",
        79 => "STORAGE_POOL_BUILD: a pool is a directory that is there",
        81 => "STORAGE_POOL_DELETE: a pool's directory is left alone",
        93 => "STORAGE_VOL_CREATE_XML: a volume is a file that is there, made with qemu-img",
        125 => "STORAGE_VOL_CREATE_XML_FROM: a volume is a file that is there",
        94 => "STORAGE_VOL_DELETE: a volume's file is left alone",
        165 => "STORAGE_VOL_WIPE",
        208 => "STORAGE_VOL_UPLOAD",
        209 => "STORAGE_VOL_DOWNLOAD",
        259 => "STORAGE_VOL_WIPE_PATTERN",
        260 => "STORAGE_VOL_RESIZE",
        368 => "CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY",
        403 => "CONNECT_GET_STORAGE_POOL_CAPABILITIES",
        _ => return None,
    })
}

impl Call {
    /// Who may make this very call. Flags can ask for more than the procedure does: passwords
    /// in a guest's document, what another host would need, and what the agent in a guest is to be
    /// asked for are for read-write connections.
    pub fn access(&self) -> Access {
        match self {
            Self::DomainGetVcpusFlags(args, _)
                if args.flags & crate::flags::DOMAIN_VCPU_GUEST != 0 =>
            {
                Access::Write
            }
            Self::DomainInterfaceAddresses(args, _)
                if args.source == crate::flags::addresses_from::AGENT =>
            {
                Access::Write
            }
            Self::DomainGetXmlDesc(args, _)
                if args.flags
                    & (crate::flags::DOMAIN_XML_SECURE | crate::flags::DOMAIN_XML_MIGRATABLE)
                    != 0 =>
            {
                Access::Write
            }
            call => call.facts().access,
        }
    }

    /// The network that this call is about, where it names one as an object: its own calls, and
    /// those of its ports.
    pub fn network(&self) -> Option<&Network> {
        Some(match self {
            Self::NetworkCreate(network, _)
            | Self::NetworkDestroy(network, _)
            | Self::NetworkUndefine(network, _)
            | Self::NetworkGetAutostart(network, _)
            | Self::NetworkGetBridgeName(network, _)
            | Self::NetworkIsActive(network, _)
            | Self::NetworkIsPersistent(network, _) => network,
            Self::NetworkUpdate(args, _) => &args.network,
            Self::NetworkGetXmlDesc(args, _) => &args.network,
            Self::NetworkSetAutostart(args, _) => &args.network,
            Self::NetworkGetDhcpLeases(args, _) => &args.network,
            Self::NetworkSetMetadata(args, _) => &args.network,
            Self::NetworkGetMetadata(args, _) => &args.network,
            Self::NetworkListAllPorts(args, _) => &args.network,
            Self::NetworkPortLookupByUuid(args, _) => &args.network,
            Self::NetworkPortCreateXml(args, _) => &args.network,
            Self::NetworkPortGetParameters(args, _) => &args.port.network,
            Self::NetworkPortSetParameters(args, _) => &args.port.network,
            Self::NetworkPortGetXmlDesc(args, _) | Self::NetworkPortDelete(args, _) => {
                &args.port.network
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Received;
    use crate::frame::{FrameKind, Status};
    use crate::xdr::Xdr as _;

    fn network() -> Network {
        Network { name: Text::clipped("default"), uuid: Uuid::from_u128(7) }
    }

    #[test]
    fn every_call_about_a_network_tells_which() {
        let others = [
            "NETWORK_LOOKUP_BY_NAME",
            "NETWORK_LOOKUP_BY_UUID",
            "NETWORK_DEFINE_XML",
            "NETWORK_DEFINE_XML_FLAGS",
            "NETWORK_CREATE_XML",
            "NETWORK_CREATE_XML_FLAGS",
        ];
        let about_one = |name: &str| name.starts_with("NETWORK_") && !others.contains(&name);
        for facts in Call::PROCEDURES.iter().filter(|facts| about_one(facts.name)) {
            let mut payload = network().to_bytes();
            let call = (0..16).find_map(|_| {
                let call = Call::decode(facts.number, &payload).ok();
                payload.extend([0; 4]);
                call
            });
            let call = call.expect("a network, then zeros");
            assert_eq!(call.network(), Some(&network()), "{}", facts.name);
        }
    }

    #[test]
    fn a_call_that_is_handed_on_is_the_same_call_and_so_is_its_answer() {
        let args = NetworkFlags { network: network(), flags: 1 }.to_bytes();
        let call = Call::decode(43, &args).expect("sound");
        let frame = call.to_frame(9);
        assert_eq!((frame.header.procedure, frame.header.serial), (43, 9));
        assert_eq!(frame.payload, args);

        let mut header = frame.header;
        header.kind = FrameKind::Reply;
        let document = <Text>::clipped("<network/>").to_bytes();
        let answer = |status, payload| {
            let header = crate::frame::Header { status, ..header };
            match Received::from(crate::frame::Frame::new(header, payload)) {
                Received::Reply(_, reply) => reply,
                other => panic!("{other:?}"),
            }
        };
        let call = || Call::decode(43, &args).expect("sound");
        let relayed = call().relay(&answer(Status::Ok, document.clone())).expect("granted");
        assert_eq!(relayed.into_bytes(), document);

        let error = crate::error::WireError::no_support("it");
        let refused = call().relay(&answer(Status::Error, error.to_bytes()));
        assert_eq!(refused, Err(crate::client::ReplyError::Server(error)));
        let garbage = call().relay(&answer(Status::Ok, vec![0xff; 4]));
        assert!(matches!(garbage, Err(crate::client::ReplyError::Decode { .. })));
    }
}
