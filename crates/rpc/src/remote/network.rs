//! What calls and events about networks and their ports carry.

use uuid::Uuid;

use crate::objects::{Network, NetworkPort};
use crate::typed_params::TypedParam;
use crate::xdr::{List, Text, xdr};

/// The most parameters of a port.
pub const PORT_PARAMS_MAX: usize = 16;

xdr! {
    /// A network and flags.
    pub struct NetworkFlags {
        /// The network.
        pub network: Network,
        /// Flags of the call.
        pub flags: u32,
    }

    /// `NETWORK_SET_AUTOSTART`
    pub struct NetworkAutostartArgs {
        /// The network.
        pub network: Network,
        /// 0 is no.
        pub autostart: i32,
    }

    /// `NETWORK_UPDATE`
    pub struct NetworkUpdateArgs {
        /// The network.
        pub network: Network,
        /// A command of [`network_update`](crate::flags::network_update).
        pub command: u32,
        /// A section of [`network_update`](crate::flags::network_update).
        pub section: u32,
        /// Which of several parents, -1 for whichever.
        pub parent_index: i32,
        /// The element.
        pub xml: Text,
        /// [`AFFECT_LIVE`](crate::flags::AFFECT_LIVE),
        /// [`AFFECT_CONFIG`](crate::flags::AFFECT_CONFIG).
        pub flags: u32,
    }

    /// `NETWORK_GET_DHCP_LEASES`
    pub struct DhcpLeasesArgs {
        /// The network.
        pub network: Network,
        /// Only of this interface.
        pub mac: Option<Text>,
        /// 0 when only the number is wanted.
        pub need_results: i32,
        /// None are known.
        pub flags: u32,
    }

    /// One lease of a network's own DHCP server.
    pub struct DhcpLease {
        /// The host's interface.
        pub interface: Text,
        /// Seconds since 1970 until which it holds.
        pub expiry: i64,
        /// 0 for IPv4, 1 for IPv6.
        pub kind: i32,
        /// The guest's MAC.
        pub mac: Option<Text>,
        /// The client's association, IPv6 only.
        pub iaid: Option<Text>,
        /// The address.
        pub address: Text,
        /// Bits of the network part.
        pub prefix: u32,
        /// The guest's name for itself.
        pub hostname: Option<Text>,
        /// The client's id.
        pub client: Option<Text>,
    }

    /// `NETWORK_SET_METADATA`
    pub struct NetworkSetMetadataArgs {
        /// The network.
        pub network: Network,
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

    /// `NETWORK_GET_METADATA`
    pub struct NetworkGetMetadataArgs {
        /// The network.
        pub network: Network,
        /// A kind of [`metadata`](crate::flags::metadata).
        pub kind: i32,
        /// The element's namespace.
        pub uri: Option<Text>,
        /// Live or configuration.
        pub flags: u32,
    }

    /// `CONNECT_NETWORK_EVENT_REGISTER_ANY`
    pub struct NetworkEventRegister {
        /// A kind of [`network_event`](crate::flags::network_event).
        pub event: i32,
        /// Only of this network.
        pub network: Option<Network>,
    }

    /// `NETWORK_EVENT_LIFECYCLE`
    pub struct NetworkLifecycle {
        /// The registration.
        pub callback: i32,
        /// The network.
        pub network: Network,
        /// A change of [`network_lifecycle`](crate::flags::network_lifecycle).
        pub event: i32,
        /// Always 0.
        pub detail: i32,
    }

    /// `NETWORK_EVENT_CALLBACK_METADATA_CHANGE`
    pub struct NetworkMetadataChange {
        /// The registration.
        pub callback: i32,
        /// The network.
        pub network: Network,
        /// A kind of [`metadata`](crate::flags::metadata).
        pub kind: i32,
        /// The element's namespace.
        pub uri: Option<Text>,
    }

    /// `NETWORK_LIST_ALL_PORTS`
    pub struct PortListArgs {
        /// The network.
        pub network: Network,
        /// 0 when only the number is wanted.
        pub need_results: i32,
        /// None are known.
        pub flags: u32,
    }

    /// `NETWORK_PORT_LOOKUP_BY_UUID`
    pub struct PortByUuid {
        /// The network.
        pub network: Network,
        /// The port's UUID.
        pub uuid: Uuid,
    }

    /// `NETWORK_PORT_CREATE_XML`
    pub struct PortCreateArgs {
        /// The network.
        pub network: Network,
        /// The port's document.
        pub xml: Text,
        /// [`PORT_CREATE_RECLAIM`](crate::flags::PORT_CREATE_RECLAIM),
        /// [`PORT_CREATE_VALIDATE`](crate::flags::PORT_CREATE_VALIDATE).
        pub flags: u32,
    }

    /// A port and flags.
    pub struct PortFlags {
        /// The port.
        pub port: NetworkPort,
        /// Flags of the call.
        pub flags: u32,
    }

    /// `NETWORK_PORT_GET_PARAMETERS`
    pub struct PortParametersArgs {
        /// The port.
        pub port: NetworkPort,
        /// How many the client has room for. Clients send 0 and take what comes.
        pub room: i32,
        /// None are known.
        pub flags: u32,
    }

    /// The answer to [`PortParametersArgs`].
    pub struct PortParameters {
        /// The parameters.
        pub params: List<TypedParam, PORT_PARAMS_MAX>,
        /// How many there are.
        pub count: i32,
    }

    /// `NETWORK_PORT_SET_PARAMETERS`
    pub struct PortSetParametersArgs {
        /// The port.
        pub port: NetworkPort,
        /// The parameters.
        pub params: List<TypedParam, PORT_PARAMS_MAX>,
        /// None are known.
        pub flags: u32,
    }
}
