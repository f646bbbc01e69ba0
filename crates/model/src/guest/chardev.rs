//! `<serial>`, `<console>` and `<channel>`.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::address::AddressType;
use super::print::Printing;
use super::words::{Text as _, served, words};
use crate::xml::{DocumentError, Element, Writer};

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

words! {
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

impl CharSource {
    fn read(element: Element<'_, '_>, path_optional: bool) -> Result<Self, DocumentError> {
        #[derive(Clone, Copy)]
        enum Type {
            Pty,
            File,
            Unix,
        }
        let kind = served(
            element,
            "type",
            &[("pty", Type::Pty), ("file", Type::File), ("unix", Type::Unix)],
        )?
        .ok_or_else(|| {
            element.invalid(format!("<{}> needs the attribute 'type'", element.name()))
        })?;
        // Of a running guest's document: the terminal that it was.
        let _of_another_run = element.attribute("tty");
        let source = element.child("source")?;
        let path = match source {
            Some(source) => source.path_attribute("path")?,
            None => None,
        };
        let missing = || element.invalid(format!("<source> of <{}> needs a path", element.name()));
        match kind {
            Type::Pty => Ok(Self::Pty),
            Type::File => {
                let append = match source {
                    Some(source) => source.on_off("append")?,
                    None => None,
                };
                Ok(Self::File { path: path.ok_or_else(missing)?, append: append.unwrap_or(false) })
            }
            Type::Unix => {
                let listen = match source {
                    Some(source) => source.one_of("mode", &[("bind", true), ("connect", false)])?,
                    None => None,
                };
                match (path, listen) {
                    (None, Some(true) | None) if path_optional => {
                        Ok(Self::Unix { path: None, listen: true })
                    }
                    (None, _) => Err(missing()),
                    (Some(path), listen) => {
                        Ok(Self::Unix { path: Some(path), listen: listen.unwrap_or(false) })
                    }
                }
            }
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Pty => "pty",
            Self::File { .. } => "file",
            Self::Unix { .. } => "unix",
        }
    }

    fn print(&self, w: &mut Writer, tty: Option<&String>) {
        match self {
            Self::Pty => {
                if let Some(tty) = tty {
                    w.tag("source").attr("path", tty).empty();
                }
            }
            Self::File { path, append } => {
                let append = append.then_some("on");
                w.tag("source").attr("path", path).attr_opt("append", append).empty();
            }
            Self::Unix { path, listen } => {
                let mode = if *listen { "bind" } else { "connect" };
                w.tag("source").attr("mode", mode).attr_opt("path", path.as_ref()).empty();
            }
        }
    }
}

impl Serial {
    /// Reads a serial port; without a number it gets that of its place.
    pub(super) fn read(element: Element<'_, '_>, place: usize) -> Result<Self, DocumentError> {
        let mut port = None;
        if let Some(target) = element.child("target")? {
            served(target, "type", &[("isa-serial", ())])?;
            if let Some(model) = target.child("model")? {
                served(model, "name", &[("isa-serial", ())])?;
            }
            port = target.number_up_to("port", 3)?;
        }
        let port = match port {
            Some(port) => u32::try_from(port).unwrap_or(u32::MAX),
            None => u32::try_from(place).unwrap_or(u32::MAX),
        };
        if port > 3 {
            return Err(element.unsupported("more than four serial ports"));
        }
        let source = CharSource::read(element, false)?;
        Ok(Self { source, port, placement: Placement::read(element, AddressType::None)? })
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        w.tag("serial").attr("type", self.source.word()).body(|w| {
            self.source.print(w, printing.tty(&self.placement));
            w.tag("target").attr("type", "isa-serial").attr("port", self.port).body(|w| {
                w.tag("model").attr("name", "isa-serial").empty();
            });
            self.placement.print(w, printing);
        });
    }
}

/// Reads the consoles, and makes the first console and the first serial port one, as libvirt
/// does: a console on a guest without serial ports makes a port, a port without a console makes
/// a console.
pub(super) fn read_consoles(
    devices: Element<'_, '_>,
    guest: &mut super::Guest,
) -> Result<(), DocumentError> {
    for (place, element) in devices.children("console").enumerate() {
        let mut target = ConsoleTarget::Serial;
        if let Some(child) = element.child("target")? {
            target = served(child, "type", ConsoleTarget::WORDS)?.unwrap_or(target);
            // Consoles are numbered by their place, as from libvirt.
            child.number_up_to("port", 255)?;
        }
        let source = CharSource::read(element, false)?;
        let address = match target {
            ConsoleTarget::Serial => AddressType::None,
            ConsoleTarget::Virtio => AddressType::VirtioSerial,
        };
        let placement = Placement::read(element, address)?;
        if target == ConsoleTarget::Serial {
            if place > 0 {
                return Err(element.unsupported("a serial console that is not the first console"));
            }
            if guest.serials.is_empty() {
                guest.serials.push(Serial { source, port: 0, placement });
            }
            continue;
        }
        let port = u32::try_from(place).unwrap_or(u32::MAX);
        guest.consoles.push(Console { source, target, port, placement });
    }
    let first_is_virtio = guest.consoles.first().is_some_and(|console| console.port == 0);
    if let Some(serial) = guest.serials.first().filter(|_| !first_is_virtio) {
        let (source, placement) = (serial.source.clone(), serial.placement.clone());
        let mirror = Console { source, target: ConsoleTarget::Serial, port: 0, placement };
        guest.consoles.insert(0, mirror);
    }
    Ok(())
}

impl Console {
    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        let tty = printing.tty(&self.placement);
        let shown = tty.filter(|_| self.source == CharSource::Pty);
        w.tag("console").attr("type", self.source.word()).attr_opt("tty", shown).body(|w| {
            self.source.print(w, tty);
            w.tag("target").attr("type", self.target).attr("port", self.port).empty();
            self.placement.print(w, printing);
        });
    }
}

impl Channel {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let target = element.child("target")?;
        let target = target.ok_or_else(|| element.invalid("<target> is missing"))?;
        served(target, "type", &[("virtio", ())])?
            .ok_or_else(|| target.invalid("<target> needs the attribute 'type'"))?;
        // Of a running guest's document: whether the guest's end was open.
        let _of_another_run = target.attribute("state");
        Ok(Self {
            source: CharSource::read(element, true)?,
            name: target.plain_word("name")?,
            placement: Placement::read(element, AddressType::VirtioSerial)?,
        })
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        w.tag("channel").attr("type", self.source.word()).body(|w| {
            self.source.print(w, printing.tty(&self.placement));
            w.tag("target").attr("type", "virtio").attr_opt("name", self.name.as_ref()).empty();
            self.placement.print(w, printing);
        });
    }
}
