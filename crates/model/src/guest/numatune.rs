//! `<numatune>`: the host's NUMA nodes that a guest's memory is from.

use serde::{Deserialize, Serialize};

use super::CpuSet;
use super::words::{served, words};
use crate::xml::{DocumentError, Element, Writer};

/// `<numatune>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NumaTune {
    /// `<memory>`: of the whole guest, where no cell says otherwise.
    pub memory: Option<MemoryNodes>,
    /// `<memnode>`, by the guest's NUMA cell.
    pub cells: Vec<(u32, MemoryNodes)>,
}

/// `mode` and `nodeset`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemoryNodes {
    /// How the nodes are used.
    pub mode: MemoryMode,
    /// Their numbers.
    pub nodes: CpuSet,
}

words! {
    /// `mode` of `<memory>` and `<memnode>` (kernel: `set_mempolicy(2)`).
    pub enum MemoryMode {
        /// From these nodes, or not at all.
        Strict = "strict",
        /// From this node as long as it has some.
        Preferred = "preferred",
        /// From these in turn, page by page.
        Interleave = "interleave",
    }
}

impl NumaTune {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let memory = element.child("memory")?;
        let mut cells: Vec<(u32, MemoryNodes)> = Vec::new();
        for memnode in element.children("memnode") {
            let cell = memnode.required_parsed("cellid")?;
            if cells.iter().any(|(other, _)| *other == cell) {
                return Err(memnode.invalid(format!("more than one <memnode> of cell {cell}")));
            }
            cells.push((cell, MemoryNodes::read(memnode)?));
        }
        let memory = match memory {
            Some(memory) => {
                served(memory, "placement", &[("static", ())])?;
                Some(MemoryNodes::read(memory)?)
            }
            None => None,
        };
        Ok(Self { memory, cells })
    }

    /// libvirt leaves an empty one out, too.
    pub(super) fn says_something(&self) -> bool {
        *self != Self::default()
    }

    /// The nodes of a cell of the guest.
    pub fn of_cell(&self, cell: u32) -> Option<&MemoryNodes> {
        let own = self.cells.iter().find(|(id, _)| *id == cell).map(|(_, nodes)| nodes);
        own.or(self.memory.as_ref())
    }

    /// Every node that is named.
    pub fn nodes(&self) -> impl Iterator<Item = u16> {
        let cells = self.cells.iter().map(|(_, nodes)| nodes);
        self.memory.iter().chain(cells).flat_map(|it| it.nodes.iter())
    }

    pub(super) fn print(&self, w: &mut Writer) {
        w.tag("numatune").body(|w| {
            if let Some(MemoryNodes { mode, nodes }) = &self.memory {
                w.tag("memory").attr("mode", mode).attr("nodeset", nodes).empty();
            }
            for (cell, MemoryNodes { mode, nodes }) in &self.cells {
                let tag = w.tag("memnode").attr("cellid", cell);
                tag.attr("mode", mode).attr("nodeset", nodes).empty();
            }
        });
    }
}

impl MemoryNodes {
    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let mode = served(element, "mode", MemoryMode::WORDS)?.unwrap_or(MemoryMode::Strict);
        let text = element.required("nodeset")?;
        let nodes: CpuSet = text.parse().map_err(|_| {
            element.invalid(format!("nodeset='{text}' is no list of NUMA nodes like 0-1,3"))
        })?;
        if mode == MemoryMode::Preferred && nodes.iter().count() > 1 {
            return Err(element.invalid("mode='preferred' is of one node"));
        }
        Ok(Self { mode, nodes })
    }
}
