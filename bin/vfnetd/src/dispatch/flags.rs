//! Flags that a call about networks, ports, node devices, storage or guests may carry. A flag that is not known
//! asks for something else than what would be done, so the call is refused, as libvirt does.

use vfnet_rpc::error::{ErrorDomain, WireError};
use vfnet_rpc::flags as f;
use vfnet_rpc::remote::Call;

use crate::wire_error;

const NETWORK_LISTS: u32 = f::CONNECT_LIST_NETWORKS_INACTIVE
    | f::CONNECT_LIST_NETWORKS_ACTIVE
    | f::CONNECT_LIST_NETWORKS_PERSISTENT
    | f::CONNECT_LIST_NETWORKS_TRANSIENT
    | f::CONNECT_LIST_NETWORKS_AUTOSTART
    | f::CONNECT_LIST_NETWORKS_NO_AUTOSTART;

const NODE_DEVICE_LISTS: u32 = f::CONNECT_LIST_NODE_DEVICES_CAPS
    | f::CONNECT_LIST_NODE_DEVICES_PERSISTENT
    | f::CONNECT_LIST_NODE_DEVICES_TRANSIENT
    | f::CONNECT_LIST_NODE_DEVICES_INACTIVE
    | f::CONNECT_LIST_NODE_DEVICES_ACTIVE;

/// The bits of all types of pools that libvirt knows.
pub(super) const STORAGE_POOL_TYPES: u32 =
    (f::CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT << 1) - f::CONNECT_LIST_STORAGE_POOLS_DIR;

const STORAGE_POOL_LISTS: u32 = (f::CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT << 1) - 1;

/// Known, and refused by name.
pub(super) const BUILD_POOL: u32 = f::STORAGE_POOL_CREATE_WITH_BUILD
    | f::STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE
    | f::STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE;

const GUEST_LISTS: u32 = (f::CONNECT_LIST_DOMAINS_NO_CHECKPOINT << 1) - 1;

const START: u32 = f::DOMAIN_START_PAUSED
    | f::DOMAIN_START_AUTODESTROY
    | f::DOMAIN_START_BYPASS_CACHE
    | f::DOMAIN_START_FORCE_BOOT
    | f::DOMAIN_START_VALIDATE
    | f::DOMAIN_START_RESET_NVRAM;

const UNDEFINE: u32 = (f::DOMAIN_UNDEFINE_KEEP_TPM << 1) - 1;

/// As well those of a reboot.
const SHUTDOWN: u32 = (f::DOMAIN_SHUTDOWN_PARAVIRT << 1) - 1;

const SAVE: u32 = f::DOMAIN_SAVE_BYPASS_CACHE | f::DOMAIN_SAVE_RUNNING | f::DOMAIN_SAVE_PAUSED;

const AFFECT: u32 = f::AFFECT_LIVE | f::AFFECT_CONFIG;

/// Refuses a call with a flag that it does not know.
pub(super) fn check(call: &Call) -> Result<(), WireError> {
    use ErrorDomain::{Network, NodeDevice, Qemu, Storage};
    let (domain, given, known) = match call {
        Call::ConnectListAllNetworks(args, _) => (Network, args.flags, NETWORK_LISTS),
        Call::NetworkDefineXmlFlags(args, _) => (Network, args.flags, f::NETWORK_DEFINE_VALIDATE),
        Call::NetworkCreateXmlFlags(args, _) => (Network, args.flags, f::NETWORK_CREATE_VALIDATE),
        Call::NetworkUpdate(args, _) => (Network, args.flags, f::AFFECT_LIVE | f::AFFECT_CONFIG),
        Call::NetworkGetMetadata(args, _) => {
            (Network, args.flags, f::AFFECT_LIVE | f::AFFECT_CONFIG)
        }
        Call::NetworkSetMetadata(args, _) => {
            (Network, args.flags, f::AFFECT_LIVE | f::AFFECT_CONFIG)
        }
        Call::NetworkGetXmlDesc(args, _) => (Network, args.flags, f::NETWORK_XML_INACTIVE),
        Call::NetworkGetDhcpLeases(args, _) => (Network, args.flags, 0),
        Call::NetworkListAllPorts(args, _) => (Network, args.flags, 0),
        Call::NetworkPortCreateXml(args, _) => {
            (Network, args.flags, f::PORT_CREATE_RECLAIM | f::PORT_CREATE_VALIDATE)
        }
        Call::NetworkPortGetXmlDesc(args, _) => (Network, args.flags, 0),
        Call::NetworkPortGetParameters(args, _) => (Network, args.flags, 0),
        Call::NetworkPortSetParameters(args, _) => (Network, args.flags, 0),
        Call::NetworkPortDelete(args, _) => (Network, args.flags, 0),
        Call::ConnectListAllNodeDevices(args, _) => (NodeDevice, args.flags, NODE_DEVICE_LISTS),
        Call::NodeNumOfDevices(args, _) => (NodeDevice, args.flags, 0),
        Call::NodeListDevices(args, _) => (NodeDevice, args.flags, 0),
        Call::NodeDeviceGetXmlDesc(args, _) => {
            (NodeDevice, args.flags, f::NODE_DEVICE_XML_INACTIVE)
        }
        Call::NodeDeviceDetachFlags(args, _) => (NodeDevice, args.flags, 0),
        Call::ConnectListAllStoragePools(args, _) => (Storage, args.flags, STORAGE_POOL_LISTS),
        Call::StoragePoolDefineXml(args, _) => {
            (Storage, args.flags, f::STORAGE_POOL_DEFINE_VALIDATE)
        }
        Call::StoragePoolCreateXml(args, _) => {
            (Storage, args.flags, BUILD_POOL | f::STORAGE_POOL_CREATE_VALIDATE)
        }
        Call::StoragePoolCreate(args, _) => (Storage, args.flags, BUILD_POOL),
        Call::StoragePoolRefresh(args, _) => (Storage, args.flags, 0),
        Call::StoragePoolGetXmlDesc(args, _) => (Storage, args.flags, f::STORAGE_XML_INACTIVE),
        Call::StoragePoolListAllVolumes(args, _) => (Storage, args.flags, 0),
        Call::StorageVolGetInfoFlags(args, _) => (Storage, args.flags, f::STORAGE_VOL_GET_PHYSICAL),
        Call::StorageVolGetXmlDesc(args, _) => (Storage, args.flags, 0),
        Call::ConnectListAllDomains(args, _) => (Qemu, args.flags, GUEST_LISTS),
        Call::DomainDefineXmlFlags(args, _) => (Qemu, args.flags, f::DOMAIN_DEFINE_VALIDATE),
        Call::DomainUndefineFlags(args, _) => (Qemu, args.flags, UNDEFINE),
        Call::DomainCreateXml(args, _) => (Qemu, args.flags, START),
        Call::DomainCreateWithFlags(args, _) => (Qemu, args.flags, START),
        Call::DomainDestroyFlags(args, _) => {
            (Qemu, args.flags, f::DOMAIN_DESTROY_GRACEFUL | f::DOMAIN_DESTROY_REMOVE_LOGS)
        }
        Call::DomainShutdownFlags(args, _) => (Qemu, args.flags, SHUTDOWN),
        Call::DomainReboot(args, _) => (Qemu, args.flags, SHUTDOWN),
        Call::DomainReset(args, _) => (Qemu, args.flags, 0),
        Call::DomainSaveFlags(args, _) => (Qemu, args.flags, SAVE),
        Call::DomainSaveParams(args, _) => (Qemu, args.flags, SAVE),
        Call::DomainManagedSave(args, _) => (Qemu, args.flags, SAVE),
        Call::DomainGetState(args, _) => (Qemu, args.flags, 0),
        Call::DomainGetXmlDesc(args, _) => (Qemu, args.flags, (f::DOMAIN_XML_MIGRATABLE << 1) - 1),
        Call::DomainGetVcpusFlags(args, _) => {
            let known = AFFECT | f::DOMAIN_VCPU_MAXIMUM | f::DOMAIN_VCPU_GUEST;
            (Qemu, args.flags, known)
        }
        Call::DomainSetVcpusFlags(args, _) => {
            let known = AFFECT | f::DOMAIN_VCPU_MAXIMUM | f::DOMAIN_VCPU_GUEST;
            (Qemu, args.flags, known | f::DOMAIN_VCPU_HOTPLUGGABLE)
        }
        Call::DomainSetMemoryFlags(args, _) => (Qemu, args.flags, AFFECT | f::DOMAIN_MEM_MAXIMUM),
        Call::DomainSetMetadata(args, _) => (Qemu, args.flags, AFFECT),
        Call::DomainGetMetadata(args, _) => (Qemu, args.flags, AFFECT),
        Call::DomainAttachDeviceFlags(args, _) => (Qemu, args.flags, AFFECT),
        Call::DomainDetachDeviceFlags(args, _) => (Qemu, args.flags, AFFECT),
        Call::DomainDetachDeviceAlias(args, _) => (Qemu, args.flags, AFFECT),
        Call::DomainUpdateDeviceFlags(args, _) => {
            (Qemu, args.flags, AFFECT | f::DOMAIN_DEVICE_MODIFY_FORCE)
        }
        Call::DomainHasManagedSaveImage(args, _) => (Qemu, args.flags, 0),
        Call::DomainSnapshotNum(args, _) => (Qemu, args.flags, 0xffff),
        Call::DomainMemoryStats(args, _) => (Qemu, args.flags, 0),
        Call::DomainInterfaceAddresses(args, _) => (Qemu, args.flags, 0),
        _ => return Ok(()),
    };
    match given & !known {
        0 => Ok(()),
        unknown => {
            let detail = format!("flags {unknown:#x} of {} are not known", call.facts().name);
            Err(wire_error::invalid(domain, &detail))
        }
    }
}
