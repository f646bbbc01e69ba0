//! `<serial>`, `<console>` and `<channel>`.

use serde::{Deserialize, Serialize};

use super::Placement;

/// The host's end of a character device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CharSource {
    /// A pseudo-terminal that QEMU makes.
    Pty,
    /// Output goes to a file.
    File {
        /// Absolute path.
        path: String,
        /// Whether what is in it stays (`append='on'`).
        append: bool,
    },
    /// A unix socket.
    Unix {
        /// Absolute path; `None` for one in the guest's run directory.
        path: Option<String>,
        /// Whether QEMU listens (`mode='bind'`) or connects.
        listen: bool,
    },
}

/// `<serial>`: a 16550 of the ISA bus.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Serial {
    /// The host's end.
    pub source: CharSource,
    /// COM port, 0 to 3.
    pub port: u32,
    /// Alias; serial ports have no address.
    pub placement: Placement,
}

/// `<console>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Console {
    /// The host's end; that of the serial port where it mirrors one.
    pub source: CharSource,
    /// What the guest sees.
    pub target: ConsoleTarget,
    /// Number among the consoles.
    pub port: u32,
    /// Alias and address.
    pub placement: Placement,
}

super::words::words! {
    /// `<console><target type=…>`.
    pub enum ConsoleTarget {
        /// Another view of the first serial port.
        Serial = "serial",
        /// A console of virtio-serial.
        Virtio = "virtio",
    }
}

/// `<channel>` of virtio-serial, such as the guest agent's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// The host's end.
    pub source: CharSource,
    /// Name that the guest finds it by, such as `org.qemu.guest_agent.0`.
    pub name: Option<String>,
    /// Alias and address.
    pub placement: Placement,
}
