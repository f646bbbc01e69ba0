//! Elements of a few lines: what happens at the end of a run, balloon, entropy.

use serde::{Deserialize, Serialize};

use super::Placement;
use super::address::AddressType;
use super::print::Printing;
use super::words::{at, served, words};
use crate::xml::{DocumentError, Element, Writer};

words! {
    /// `<on_poweroff>`.
    pub enum OnPoweroff {
        /// The guest ends.
        Destroy = "destroy",
        /// It stays, stopped, until it is destroyed.
        Preserve = "preserve",
    }
}

words! {
    /// `<on_reboot>`.
    pub enum OnReboot {
        /// It boots again.
        Restart = "restart",
        /// It ends as if it had powered itself off.
        Destroy = "destroy",
    }
}

words! {
    /// `<on_crash>`. A guest can only report a crash through a panic device, which is not
    /// served, so that this takes effect for none yet.
    pub enum OnCrash {
        /// The guest ends.
        Destroy = "destroy",
        /// It boots again.
        Restart = "restart",
        /// It stays, stopped, until it is destroyed.
        Preserve = "preserve",
    }
}

/// `<pm>`: whether the guest is told that it can sleep; QEMU's default where it is not said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pm {
    /// `<suspend-to-mem>` (S3).
    pub suspend_to_mem: Option<bool>,
    /// `<suspend-to-disk>` (S4).
    pub suspend_to_disk: Option<bool>,
}

impl Pm {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let state = |name: &str| match element.child(name)? {
            Some(state) => state.yes_no("enabled"),
            None => Ok(None),
        };
        Ok(Self {
            suspend_to_mem: state("suspend-to-mem")?,
            suspend_to_disk: state("suspend-to-disk")?,
        })
    }

    pub(super) fn print(self, w: &mut Writer) {
        if self == Self::default() {
            return;
        }
        w.tag("pm").body(|w| {
            let states = [
                ("suspend-to-mem", self.suspend_to_mem),
                ("suspend-to-disk", self.suspend_to_disk),
            ];
            for (name, state) in states {
                if let Some(enabled) = state {
                    w.tag(name).yes_no("enabled", enabled).empty();
                }
            }
        });
    }
}

/// `<memballoon>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Memballoon {
    /// `model='virtio'`, with alias and address.
    Virtio(Placement),
    /// `model='none'`.
    None,
}

/// `<rng model='virtio'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rng {
    /// Where entropy comes from.
    pub backend: RngBackend,
    /// `<rate bytes=… period=…/>`: at most so many bytes in so many milliseconds.
    pub rate: Option<(u32, Option<u32>)>,
    /// Alias and address.
    pub placement: Placement,
}

/// `<backend>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RngBackend {
    /// A character device of the host: `/dev/random`, `/dev/urandom` or `/dev/hwrng`.
    Random(String),
    /// The host's `getrandom(2)`.
    Builtin,
}

impl Memballoon {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let some = served(element, "model", &[("virtio", true), ("none", false)])?
            .ok_or_else(|| element.invalid("<memballoon> needs the attribute 'model'"))?;
        if some {
            Ok(Self::Virtio(Placement::read(element, AddressType::Pci)?))
        } else {
            Ok(Self::None)
        }
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        match self {
            Self::Virtio(placement) => {
                w.tag("memballoon").attr("model", "virtio").body(|w| placement.print(w, printing));
            }
            Self::None => w.tag("memballoon").attr("model", "none").empty(),
        }
    }
}

impl Rng {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        served(element, "model", &[("virtio", ())])?
            .ok_or_else(|| element.invalid("<rng> needs the attribute 'model'"))?;
        let rate = match element.child("rate")? {
            Some(rate) => {
                let number = |name: &str| match rate.parsed::<u32>(name)? {
                    Some(0) => Err(at(rate.invalid(format!("'{name}' must be more than 0")), name)),
                    number => Ok(number),
                };
                let bytes = number("bytes")?
                    .ok_or_else(|| rate.invalid("<rate> needs the attribute 'bytes'"))?;
                Some((bytes, number("period")?))
            }
            None => None,
        };
        let backend = element.child("backend")?;
        let backend = backend.ok_or_else(|| element.invalid("<backend> is missing"))?;
        let builtin = served(backend, "model", &[("random", false), ("builtin", true)])?
            .ok_or_else(|| backend.invalid("<backend> needs the attribute 'model'"))?;
        let backend = if builtin {
            RngBackend::Builtin
        } else {
            let devices = ["/dev/random", "/dev/urandom", "/dev/hwrng"];
            let path = backend.text();
            match path.trim() {
                "" => RngBackend::Random("/dev/random".to_owned()),
                path if devices.contains(&path) => RngBackend::Random(path.to_owned()),
                path => {
                    let known = devices.join(", ");
                    let fault = format!("entropy from '{path}' (served: {known})");
                    return Err(backend.unsupported(fault));
                }
            }
        };
        Ok(Self { backend, rate, placement: Placement::read(element, AddressType::Pci)? })
    }

    pub(super) fn print(&self, w: &mut Writer, printing: Printing<'_>) {
        w.tag("rng").attr("model", "virtio").body(|w| {
            if let Some((bytes, period)) = self.rate {
                w.tag("rate").attr("bytes", bytes).attr_opt("period", period).empty();
            }
            match &self.backend {
                RngBackend::Random(path) => w.tag("backend").attr("model", "random").text(path),
                RngBackend::Builtin => w.tag("backend").attr("model", "builtin").empty(),
            }
            self.placement.print(w, printing);
        });
    }
}
