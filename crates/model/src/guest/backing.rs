//! `<backingStore>`: what a qcow2 image is a change of.
//!
//! A document says it, or nobody: what an image's own header names could have been written there
//! by a QEMU that somebody has taken over.

use serde::{Deserialize, Serialize};

use super::disk::read_source;
use super::words::served;
use super::{DiskFormat, DiskSource};
use crate::xml::{DocumentError, Element, Writer};

/// What is behind an image.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Backing {
    /// Nothing is said: what the image names, QEMU opens by itself, with the rights that it has.
    #[default]
    Unsaid,
    /// `<backingStore/>`: nothing, whatever the image names.
    Nothing,
    /// An image, which is read only.
    Image(Box<BackingImage>),
}

/// An image behind another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackingImage {
    /// Where its bytes are.
    pub source: DiskSource,
    /// Their format.
    pub format: DiskFormat,
    /// What is behind it.
    pub backing: Backing,
}

impl Backing {
    /// Of a disk, or of an image behind one, of this format.
    pub(super) fn read(
        element: Element<'_, '_>,
        format: DiskFormat,
    ) -> Result<Self, DocumentError> {
        let Some(store) = element.child("backingStore")? else { return Ok(Self::Unsaid) };
        store.understood();
        let Some(block) = served(store, "type", &[("file", false), ("block", true)])? else {
            return Ok(Self::Nothing);
        };
        // Of a running guest's document, as of its <source>.
        let _node_of_another_run = store.attribute("index");
        if format == DiskFormat::Raw {
            return Err(store.invalid("a raw image has nothing behind it"));
        }
        let source = read_source(store, block)?;
        let source = source.ok_or_else(|| store.invalid("<source> is missing"))?;
        let format = store.child("format")?;
        let format = format.ok_or_else(|| store.invalid("<format> is missing"))?;
        let format = served(format, "type", DiskFormat::WORDS)?
            .ok_or_else(|| format.invalid("<format> needs the attribute 'type'"))?;
        let backing = Self::read(store, format)?;
        Ok(Self::Image(Box::new(BackingImage { source, format, backing })))
    }

    pub(super) fn print(&self, w: &mut Writer) {
        match self {
            Self::Unsaid => {}
            Self::Nothing => w.tag("backingStore").empty(),
            Self::Image(image) => {
                w.tag("backingStore").attr("type", image.source.kind()).body(|w| {
                    w.tag("format").attr("type", image.format).empty();
                    image.source.print(w);
                    image.backing.print(w);
                });
            }
        }
    }
}
