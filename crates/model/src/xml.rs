//! Reading and writing documents.
//!
//! [`Document`] and [`Element`] read. Whoever parses an element *takes* the attributes and
//! children that it understands; [`Document::refuse_rest`] then refuses the first thing that
//! nobody took, so that nothing a user wrote is ever dropped in silence. [`Writer`] prints in
//! libvirt's style: two spaces, single quotes, `<empty/>`. Elements that several documents have
//! in common are read and written in [`elements`].

pub(crate) mod connection;
pub mod elements;
pub(crate) mod namespace;
mod read;
mod write;

pub use read::{
    Document, DocumentError, Element, Kind, MAX_ATTRIBUTES, MAX_BYTES, MAX_DEPTH, MAX_NAMESPACES,
};
pub use write::{Tag, Writer, escape, escape_attribute};
