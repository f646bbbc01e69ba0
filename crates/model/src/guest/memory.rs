//! `<memoryBacking>`.

use serde::{Deserialize, Serialize};

use super::words::{served, words};
use crate::xml::{DocumentError, Element, Writer};

/// `<memoryBacking>`: anonymous private memory, as all guests have.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MemoryBacking {
    /// `<nosharepages/>`: the kernel does not look for equal pages (KSM).
    pub nosharepages: bool,
    /// `<locked/>`: it is never swapped out; QEMU may lock as much as it likes.
    pub locked: bool,
    /// `<source type='anonymous'/>` was written.
    pub anonymous: bool,
    /// `<access mode='private'/>` was written.
    pub private: bool,
    /// `<allocation mode=…/>`.
    pub allocation: Option<Allocation>,
}

words! {
    /// `<allocation mode=…>`.
    pub enum Allocation {
        /// When the guest first touches it.
        Ondemand = "ondemand",
        /// All of it before the guest runs.
        Immediate = "immediate",
    }
}

impl MemoryBacking {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let said = |name: &str, attribute: &str, word: &str| match element.child(name)? {
            Some(child) => served(child, attribute, &[(word, ())]).map(|it| it.is_some()),
            None => Ok(false),
        };
        Ok(Self {
            nosharepages: element.child("nosharepages")?.is_some(),
            locked: element.child("locked")?.is_some(),
            anonymous: said("source", "type", "anonymous")?,
            private: said("access", "mode", "private")?,
            allocation: match element.child("allocation")? {
                Some(allocation) => served(allocation, "mode", Allocation::WORDS)?,
                None => None,
            },
        })
    }

    pub(super) fn print(&self, w: &mut Writer) {
        w.tag("memoryBacking").body(|w| {
            if self.nosharepages {
                w.tag("nosharepages").empty();
            }
            if self.locked {
                w.tag("locked").empty();
            }
            if self.anonymous {
                w.tag("source").attr("type", "anonymous").empty();
            }
            if self.private {
                w.tag("access").attr("mode", "private").empty();
            }
            if let Some(mode) = self.allocation {
                w.tag("allocation").attr("mode", mode).empty();
            }
        });
    }
}
