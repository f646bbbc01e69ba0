//! What calls and events about the host's devices carry.

use crate::objects::NodeDevice;
use crate::xdr::{Text, xdr};

xdr! {
    /// `NODE_NUM_OF_DEVICES`
    pub struct NodeDeviceNumArgs {
        /// Only with this capability, such as `net` or `pci`.
        pub capability: Option<Text>,
        /// None are known.
        pub flags: u32,
    }

    /// `NODE_LIST_DEVICES`
    pub struct NodeDeviceListArgs {
        /// Only with this capability.
        pub capability: Option<Text>,
        /// How many names the client has room for.
        pub room: i32,
        /// None are known.
        pub flags: u32,
    }

    /// `NODE_DEVICE_LIST_CAPS`
    pub struct NodeDeviceListCapsArgs {
        /// The device's name.
        pub name: Text,
        /// How many names the client has room for.
        pub room: i32,
    }

    /// A device's name and flags.
    pub struct NodeDeviceFlags {
        /// The device's name.
        pub name: Text,
        /// Flags of the call.
        pub flags: u32,
    }

    /// `NODE_DEVICE_DETACH_FLAGS`
    pub struct NodeDeviceDetachArgs {
        /// The device's name.
        pub name: Text,
        /// The driver to bind; absent for the best.
        pub driver: Option<Text>,
        /// None are known.
        pub flags: u32,
    }

    /// `CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY`
    pub struct NodeDeviceEventRegister {
        /// A kind of [`node_device_event`](crate::flags::node_device_event).
        pub event: i32,
        /// Only of this device.
        pub device: Option<NodeDevice>,
    }

    /// `NODE_DEVICE_EVENT_LIFECYCLE`
    pub struct NodeDeviceLifecycle {
        /// The registration.
        pub callback: i32,
        /// The device.
        pub device: NodeDevice,
        /// A change of [`node_device_lifecycle`](crate::flags::node_device_lifecycle).
        pub event: i32,
        /// Always 0.
        pub detail: i32,
    }

    /// `NODE_DEVICE_EVENT_UPDATE`
    pub struct NodeDeviceUpdate {
        /// The registration.
        pub callback: i32,
        /// The device.
        pub device: NodeDevice,
    }
}
