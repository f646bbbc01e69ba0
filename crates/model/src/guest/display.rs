//! `<graphics>`, `<video>` and `<input>`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Placement;
use super::words::words;

/// `<graphics type='vnc'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vnc {
    /// TCP port, at least 5900; `None` for the first free one (`autoport='yes'`).
    pub port: Option<u16>,
    /// Address to listen on; `None` for 127.0.0.1.
    pub listen: Option<IpAddr>,
    /// At most 8 bytes. Printed only by [`super::print_with_secrets`].
    pub password: Option<String>,
    /// Keyboard layout, such as `en-us`.
    pub keymap: Option<String>,
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
