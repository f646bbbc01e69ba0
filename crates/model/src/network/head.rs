//! The little that is read of any network of libvirt's, to tell whose it is.

use uuid::Uuid;

use super::parse::{name, title, uuid};
use crate::NetworkName;
use crate::xml::{Document, DocumentError};

/// What identifies a network document, and its mode. Nothing else of it has been looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its name.
    pub name: NetworkName,
    /// Its UUID, when it says one.
    pub uuid: Option<Uuid>,
    /// Its title.
    pub title: Option<String>,
    /// How guests are connected.
    pub mode: Mode,
}

/// `mode` of `<forward>`, as far as it decides who serves a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// No `<forward>`, or mode `none`: guests among themselves.
    Isolated,
    /// `nat`, also where `<forward>` says no mode.
    Nat,
    /// `route`.
    Route,
    /// `open`.
    Open,
    /// `bridge` onto an existing bridge of the host.
    Bridge,
    /// `bridge` over devices, or of a virtual switch.
    BridgeOverDevices,
    /// `private`.
    Private,
    /// `vepa`.
    Vepa,
    /// `passthrough`.
    Passthrough,
    /// `hostdev`, the RFC's `hardware`.
    Hostdev,
}

impl Mode {
    /// Whether vfnet runs networks of this mode; one of them may still ask for more than it
    /// serves (see [`Network::served`](super::Network::served)).
    pub const fn is_served(self) -> bool {
        matches!(self, Self::Bridge | Self::Hostdev)
    }
}

/// Reads name, UUID, title and mode of a network document.
///
/// # Errors
/// What is wrong with those, or a document that is not well-formed or no network.
pub fn head(text: &str) -> Result<Head, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("network")?;
    let mode = match root.child("forward")? {
        None => Mode::Isolated,
        Some(forward) => match forward.attribute("mode") {
            None | Some("nat") => Mode::Nat,
            Some("none") => Mode::Isolated,
            Some("route") => Mode::Route,
            Some("open") => Mode::Open,
            Some("private") => Mode::Private,
            Some("vepa") => Mode::Vepa,
            Some("passthrough") => Mode::Passthrough,
            Some("hostdev" | "hardware") => Mode::Hostdev,
            Some("bridge") => {
                let over_devices = forward.attribute("dev").is_some()
                    || forward.children("interface").next().is_some()
                    || root.children("virtualport").next().is_some();
                let bridge = root.child("bridge")?.and_then(|bridge| bridge.attribute("name"));
                if bridge.is_none() || over_devices {
                    Mode::BridgeOverDevices
                } else {
                    Mode::Bridge
                }
            }
            Some(mode) => {
                return Err(forward.unsupported(format!("unknown forward mode '{mode}'")));
            }
        },
    };
    Ok(Head { name: name(&root)?, uuid: uuid(&root)?, title: title(&root)?, mode })
}
