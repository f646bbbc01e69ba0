//! What calls about storage pools and their volumes carry.

use crate::objects::{StoragePool, StorageVol};
use crate::xdr::{Text, xdr};

xdr! {
    /// A pool and flags.
    pub struct StoragePoolFlags {
        /// The pool.
        pub pool: StoragePool,
        /// Flags of the call.
        pub flags: u32,
    }

    /// `STORAGE_POOL_SET_AUTOSTART`
    pub struct StoragePoolAutostartArgs {
        /// The pool.
        pub pool: StoragePool,
        /// 0 is no.
        pub autostart: i32,
    }

    /// The answer to `STORAGE_POOL_GET_INFO`.
    pub struct StoragePoolInfo {
        /// A state of [`storage_pool_state`](crate::flags::storage_pool_state).
        pub state: u8,
        /// Bytes that fit.
        pub capacity: u64,
        /// Bytes in use.
        pub allocation: u64,
        /// Bytes that are free.
        pub available: u64,
    }

    /// `STORAGE_POOL_LIST_VOLUMES`
    pub struct StoragePoolListVolumesArgs {
        /// The pool.
        pub pool: StoragePool,
        /// How many names the client has room for.
        pub room: i32,
    }

    /// `STORAGE_POOL_LIST_ALL_VOLUMES`
    pub struct StoragePoolListAllVolumesArgs {
        /// The pool.
        pub pool: StoragePool,
        /// 0 when only the number is wanted.
        pub need_results: i32,
        /// None are known.
        pub flags: u32,
    }

    /// `STORAGE_VOL_LOOKUP_BY_NAME`
    pub struct StorageVolByName {
        /// The pool.
        pub pool: StoragePool,
        /// The volume's name.
        pub name: Text,
    }

    /// A volume and flags.
    pub struct StorageVolFlags {
        /// The volume.
        pub vol: StorageVol,
        /// Flags of the call.
        pub flags: u32,
    }

    /// The answer to `STORAGE_VOL_GET_INFO`.
    pub struct StorageVolInfo {
        /// 0 for a file, the one kind that is served.
        pub kind: u8,
        /// Bytes that a guest sees.
        pub capacity: u64,
        /// Bytes that it takes up.
        pub allocation: u64,
    }
}
