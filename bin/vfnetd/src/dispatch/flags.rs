//! Flags that a call about networks, ports or node devices may carry. A flag that is not known
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

/// Refuses a call with a flag that it does not know.
pub(super) fn check(call: &Call) -> Result<(), WireError> {
    use ErrorDomain::{Network, NodeDevice};
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
