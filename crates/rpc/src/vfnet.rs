//! vfnet's own program: what libvirt has no call for.
//!
//! It lives on the same socket, beside libvirt's main program. Arguments are XDR; a result is
//! one string with a JSON document, whose types belong to the daemon and are documented there:
//! a document may gain members without a new version. New procedures take the next number;
//! a number never changes its meaning. A change that breaks clients gets a new
//! [`VERSION`].

use crate::procedures::program;
use crate::xdr::{Opaque, STRING_MAX, Text, xdr};

/// The program's number.
pub const PROGRAM: u32 = 0x2076_666e;
/// The program's version.
pub const VERSION: u32 = 1;

/// A JSON document.
pub type Json = Text;

xdr! {
    /// `EXPLAIN`
    pub struct ExplainArgs {
        /// The network's name.
        pub network: Text,
        /// The document of a guest that would ask for its VFs.
        pub guest: Option<Text>,
    }
}

xdr! {
    /// `PF_SET_VFS`, `PF_KEEP_VFS`
    pub struct PfSetVfsArgs {
        /// The PF's address.
        pub pf: Text,
        /// How many VFs it is to have.
        pub vfs: u32,
    }
}

xdr! {
    /// `LEASE`
    pub struct LeaseArgs {
        /// The network's name.
        pub network: Text,
        /// The portgroup, where one is meant.
        pub portgroup: Option<Text>,
        /// The MAC that the VF is to have; made up where there is none.
        pub mac: Option<Text>,
        /// What the calling process is about to run, for people.
        pub program: Text,
    }
}

xdr! {
    /// `PF_DRAIN`
    pub struct PfDrainArgs {
        /// The PF's address.
        pub pf: Text,
        /// Why, in words; empty for none.
        pub why: Text,
    }
}

xdr! {
    /// `PLAN`
    pub struct PlanArgs {
        /// The program of the call that is not to be made: [`PROGRAM`] or libvirt's.
        pub program: u32,
        /// Its number.
        pub procedure: i32,
        /// Its arguments, encoded: a document, and a little more.
        pub payload: Opaque<{ STRING_MAX + 4096 }>,
    }
}

xdr! {
    /// `EVENTS`
    pub struct EventsArgs {
        /// The number of the last event that is known; 0 for none.
        pub after: u64,
        /// Whether to wait a while for one where there is none.
        pub wait: bool,
    }
}

program! {
    program PROGRAM, version VERSION;

    /// A decoded call of vfnet's own program.
    calls Call {
        1 DaemonInfo "DAEMON_INFO" Read (()) -> Json;
        2 Inventory "INVENTORY" Read (()) -> Json;
        3 Explain "EXPLAIN" Read (ExplainArgs) -> Json;
        4 VfRestore "VF_RESTORE" Write (Text) -> Json;
        5 NetworkDestroyForced "NETWORK_DESTROY_FORCED" Write (Text) -> Json;
        6 Doctor "DOCTOR" Read (()) -> Json;
        7 PortList "PORT_LIST" Read (()) -> Json;
        8 GuestShow "GUEST_SHOW" Read (Text) -> Json;
        9 Claims "CLAIMS" Read (()) -> Json;
        10 Events "EVENTS" Read (EventsArgs) -> Json;
        11 PfSetVfs "PF_SET_VFS" Write (PfSetVfsArgs) -> Json;
        12 Plan "PLAN" Write (PlanArgs) -> Json;
        13 PfDrain "PF_DRAIN" Write (PfDrainArgs) -> Json;
        14 PfUndrain "PF_UNDRAIN" Write (Text) -> Json;
        15 Lease "LEASE" Write (LeaseArgs) -> Json;
        16 PfKeepVfs "PF_KEEP_VFS" Write (PfSetVfsArgs) -> Json;
        17 PfForgetVfs "PF_FORGET_VFS" Write (Text) -> Json;
    }
}

impl Call {
    /// Who may make this call.
    pub fn access(&self) -> crate::procedures::Access {
        self.facts().access
    }
}
