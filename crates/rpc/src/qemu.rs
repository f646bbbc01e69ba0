//! libvirt's program for what only QEMU has: its monitor, and the agent in the guest.
//!
//! Numbers and shapes are those of libvirt 11.3.

use crate::objects::Domain;
use crate::procedures::program;
use crate::xdr::{Text, xdr};

/// The program's number.
pub const PROGRAM: u32 = 0x2000_8087;
/// The program's version.
pub const VERSION: u32 = 1;
/// The highest number that libvirt 11.3 gives to a procedure or event of it.
pub const LAST_PROCEDURE: i32 = 7;
/// The number of its one event.
pub const EVENT: i32 = 6;

xdr! {
    /// `DOMAIN_MONITOR_COMMAND`
    pub struct MonitorCommandArgs {
        /// The guest.
        pub domain: Domain,
        /// A QMP command, or a line for people.
        pub command: Text,
        /// [`DOMAIN_QEMU_MONITOR_COMMAND_HMP`](crate::flags::DOMAIN_QEMU_MONITOR_COMMAND_HMP)
        /// for the latter.
        pub flags: u32,
    }

    /// `DOMAIN_AGENT_COMMAND`
    pub struct AgentCommandArgs {
        /// The guest.
        pub domain: Domain,
        /// A command of the agent's protocol, which is QMP's.
        pub command: Text,
        /// Seconds that it may take; -2 for ever, -1 as long as is usual, 0 at once.
        pub timeout: i32,
        /// None are known.
        pub flags: u32,
    }
}

program! {
    program PROGRAM, version VERSION;

    /// A decoded call of libvirt's program for QEMU.
    calls Call {
        1 MonitorCommand "QEMU_DOMAIN_MONITOR_COMMAND" Write (MonitorCommandArgs) -> Text;
        3 AgentCommand "QEMU_DOMAIN_AGENT_COMMAND" Write (AgentCommandArgs) -> Option<Text>;
    }
}

impl Call {
    /// Who may make this call.
    pub fn access(&self) -> crate::procedures::Access {
        self.facts().access
    }
}
