//! From text to [`Guest`].

use super::Guest;
use crate::xml::{Document, DocumentError, Kind};

/// Reads a guest document.
///
/// Faults are [`Kind::Unsupported`] for what is not served, else what libvirt would say of it.
pub fn parse(text: &str) -> Result<Guest, DocumentError> {
    let document = Document::parse(text)?;
    let _root = document.root("domain")?;
    document.refuse_rest()?;
    Err(DocumentError::whole(Kind::Unsupported, "guests"))
}
