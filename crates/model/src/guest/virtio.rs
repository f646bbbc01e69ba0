//! What a virtio device can be told besides (`<driver iommu=… ats=… packed=…/>`).

use serde::{Deserialize, Serialize};

use crate::xml::{DocumentError, Element, Tag};

/// QEMU's default where it is not said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VirtioOptions {
    /// Its addresses go through the guest's IOMMU.
    pub iommu: Option<bool>,
    /// It translates addresses ahead (PCI Address Translation Services).
    pub ats: Option<bool>,
    /// Its queues are packed (virtio 1.1).
    pub packed: Option<bool>,
}

impl VirtioOptions {
    /// Of `<driver>`.
    pub(super) fn read(driver: Element<'_, '_>) -> Result<Self, DocumentError> {
        Ok(Self {
            iommu: driver.on_off("iommu")?,
            ats: driver.on_off("ats")?,
            packed: driver.on_off("packed")?,
        })
    }

    /// Of a device whose `<driver>` says nothing else, and where `virtio` says that it is one.
    pub(super) fn read_alone(device: Element<'_, '_>, virtio: bool) -> Result<Self, DocumentError> {
        let Some(driver) = device.child("driver")? else { return Ok(Self::default()) };
        let options = Self::read(driver)?;
        if !virtio && !options.is_none() {
            return Err(driver.unsupported("virtio's options of another device"));
        }
        Ok(options)
    }

    /// Whether nothing is said.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    pub(super) fn print<'w>(self, tag: Tag<'w>) -> Tag<'w> {
        let word = |on: bool| if on { "on" } else { "off" };
        tag.attr_opt("iommu", self.iommu.map(word))
            .attr_opt("ats", self.ats.map(word))
            .attr_opt("packed", self.packed.map(word))
    }
}
