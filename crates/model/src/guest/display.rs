//! `<graphics>`, `<video>` and `<input>`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::address::AddressType;
use super::print::Printing;
use super::words::{Text as _, at, served, words};
use super::{Placement, VirtioOptions};
use crate::xml::{DocumentError, Element, Writer};

/// `<graphics type='vnc'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vnc {
    /// TCP port, at least 5900; `None` for the first free one (`autoport='yes'`).
    pub port: Option<u16>,
    /// Address to listen on; `None` for 127.0.0.1.
    pub listen: Option<IpAddr>,
    /// At most 8 bytes. Printed only by [`super::print_with_secrets`].
    pub password: Option<Password>,
    /// Keyboard layout, such as `en-us`.
    pub keymap: Option<String>,
}

/// A password. It does not show in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The password as text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `<video>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Video {
    /// The card.
    pub model: VideoModel,
    /// Video memory in KiB, where the card has a choice.
    pub vram_kib: Option<u32>,
    /// Screens, of the virtio card.
    pub heads: Option<u32>,
    /// Alias and address.
    pub placement: Placement,
}

words! {
    /// `<video><model type=…/>`.
    pub enum VideoModel {
        /// Standard VGA.
        Vga = "vga",
        /// Cirrus Logic GD5446.
        Cirrus = "cirrus",
        /// virtio-gpu with VGA.
        Virtio = "virtio",
        /// Linear framebuffer without VGA.
        Bochs = "bochs",
        /// None.
        None = "none",
    }
}

/// `<input>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// Where it hangs.
    pub bus: InputBus,
    /// `<driver>`, of bus virtio.
    #[serde(default)]
    pub virtio: VirtioOptions,
    /// Alias and address.
    pub placement: Placement,
}

words! {
    /// `<input type=…>`.
    pub enum InputKind {
        /// Absolute coordinates.
        Tablet = "tablet",
        /// Relative coordinates.
        Mouse = "mouse",
        /// Keys.
        Keyboard = "keyboard",
    }
}

words! {
    /// `<input bus=…>`.
    pub enum InputBus {
        /// Part of the machine; no tablet.
        Ps2 = "ps2",
        /// USB.
        Usb = "usb",
        /// virtio.
        Virtio = "virtio",
    }
}

/// Lowest TCP port of a VNC display: display 0.
const FIRST_PORT: u16 = 5900;

impl Vnc {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        served(element, "type", &[("vnc", ())])?
            .ok_or_else(|| element.invalid("<graphics> needs the attribute 'type'"))?;
        let port = element.parsed::<i32>("port").map_err(|fault| at(fault, "port"))?;
        let auto = element.yes_no("autoport")?;
        let port = match (port, auto) {
            (_, Some(true)) | (None | Some(-1), _) => None,
            (Some(port), _) => {
                let port = u16::try_from(port).ok().filter(|port| *port >= FIRST_PORT);
                Some(port.ok_or_else(|| {
                    at(element.unsupported("a VNC port outside 5900 to 65535"), "port")
                })?)
            }
        };
        let mut listen = address(element, "listen")?;
        if let Some(child) = element.child("listen")? {
            served(child, "type", &[("address", ())])?
                .ok_or_else(|| child.invalid("<listen> needs the attribute 'type'"))?;
            let inner = address(child, "address")?;
            if listen.is_some() && inner.is_some() && listen != inner {
                return Err(child.invalid("<listen> and the attribute 'listen' differ"));
            }
            listen = inner.or(listen);
        }
        let password = element.attribute("passwd").map(|text| Password(text.to_owned()));
        if password.as_ref().is_some_and(|it| !(1..=8).contains(&it.0.len())) {
            let fault = element.unsupported("a VNC password that is empty or longer than 8 bytes");
            return Err(at(fault, "passwd"));
        }
        Ok(Self { port, listen, password, keymap: element.plain_word("keymap")? })
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        let port = match (self.port, printing.live) {
            (None, Some(live)) => live.vnc_port,
            (port, _) => port,
        };
        let port = port.map_or(-1, i32::from);
        let listen = match (self.listen, printing.live) {
            (None, Some(_)) => Some(IpAddr::from([127, 0, 0, 1])),
            (listen, _) => listen,
        };
        w.tag("graphics")
            .attr("type", "vnc")
            .attr("port", port)
            .yes_no("autoport", self.port.is_none())
            .attr_opt("listen", listen)
            .attr_opt("keymap", self.keymap.as_ref())
            .attr_opt(
                "passwd",
                self.password.as_ref().filter(|_| printing.secrets).map(Password::reveal),
            )
            .body(|w| w.tag("listen").attr("type", "address").attr_opt("address", listen).empty());
    }
}

fn address(element: Element<'_, '_>, name: &str) -> Result<Option<IpAddr>, DocumentError> {
    let Some(text) = element.attribute(name) else { return Ok(None) };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => {
            Err(at(element.unsupported(format!("'{text}', which is not an IP address")), name))
        }
    }
}

impl Video {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let Some(child) = element.child("model")? else {
            let placement = Placement::read(element, AddressType::Pci)?;
            return Ok(Self { placement, ..Self::usual() });
        };
        let model = served(child, "type", VideoModel::WORDS)?
            .ok_or_else(|| child.invalid("<model> needs the attribute 'type'"))?;
        // The first is: those after it may say that they are not.
        served(child, "primary", &[("yes", ()), ("no", ())])?;
        let number = |name: &str, most: u64| {
            let number = child.number_up_to(name, most)?;
            Ok(number.and_then(|number| u32::try_from(number).ok()))
        };
        let vram_kib = match model {
            VideoModel::Vga | VideoModel::Cirrus | VideoModel::Bochs => {
                Some(number("vram", 512 << 10)?.unwrap_or(DEFAULT_VRAM_KIB).max(1024))
            }
            VideoModel::Virtio | VideoModel::None => None,
        };
        let heads = match model {
            VideoModel::None => None,
            VideoModel::Virtio => Some(number("heads", 16)?.unwrap_or(1).max(1)),
            _ => Some(number("heads", 1)?.unwrap_or(1).max(1)),
        };
        Ok(Self { model, vram_kib, heads, placement: Placement::read(element, AddressType::Pci)? })
    }

    /// The card of a guest that has a display and names no card.
    pub(super) fn usual() -> Self {
        Self {
            model: VideoModel::Vga,
            vram_kib: Some(DEFAULT_VRAM_KIB),
            heads: Some(1),
            placement: Placement::default(),
        }
    }

    pub(super) fn print(&self, w: &mut Writer, primary: bool, printing: Printing<'_>) {
        w.tag("video").body(|w| {
            let primary = (primary && self.model != VideoModel::None).then_some("yes");
            w.tag("model")
                .attr("type", self.model)
                .attr_opt("vram", self.vram_kib)
                .attr_opt("heads", self.heads)
                .attr_opt("primary", primary)
                .empty();
            self.placement.print(w, printing);
        });
    }
}

/// 16 MiB, enough for 2560×1600.
const DEFAULT_VRAM_KIB: u32 = 16 << 10;

impl Input {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let kind = served(element, "type", InputKind::WORDS)?
            .ok_or_else(|| element.invalid("<input> needs the attribute 'type'"))?;
        let usual = if kind == InputKind::Tablet { InputBus::Usb } else { InputBus::Ps2 };
        let bus = served(element, "bus", InputBus::WORDS)?.unwrap_or(usual);
        let address = match bus {
            InputBus::Ps2 if kind == InputKind::Tablet => {
                return Err(at(element.unsupported("a tablet on bus 'ps2'"), "bus"));
            }
            InputBus::Ps2 => AddressType::None,
            InputBus::Usb => AddressType::Usb,
            InputBus::Virtio => AddressType::Pci,
        };
        let virtio = VirtioOptions::read_alone(element, bus == InputBus::Virtio)?;
        Ok(Self { kind, bus, virtio, placement: Placement::read(element, address)? })
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        w.tag("input").attr("type", self.kind).attr("bus", self.bus).body(|w| {
            if !self.virtio.is_none() {
                self.virtio.print(w.tag("driver")).empty();
            }
            self.placement.print(w, printing);
        });
    }
}
