//! From text to [`Network`].

use super::Network;
use crate::xml::{Document, DocumentError};

/// Reads a network document.
pub fn parse(text: &str) -> Result<Network, DocumentError> {
    let document = Document::parse(text)?;
    let _root = document.root("network")?;
    document.refuse_rest()?;
    Err(DocumentError::whole(crate::xml::Kind::Unsupported, "networks"))
}
