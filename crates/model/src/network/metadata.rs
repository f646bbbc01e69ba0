//! A network's title, description and `<metadata>`, one by one.

use super::{Form, Network, parse, print};
use crate::metadata::Notes;
pub use crate::metadata::{Change, Item, MetadataError};
use crate::xml::DocumentError;

/// The text of an item; of an element as its owner wrote it, its namespace left out.
/// `None` where the network does not have it.
pub fn get(network: &Network, item: Item<'_>) -> Option<String> {
    notes(network).get(item)
}

/// Changes an item; all else stays as it was written.
///
/// # Errors
/// See [`MetadataError`]; nothing has been changed then.
pub fn set(network: &mut Network, change: Change<'_>) -> Result<(), MetadataError> {
    let mut notes = notes(network);
    notes.set(change)?;
    let Notes { title, description, metadata } = notes;
    let changed = Network { title, description, metadata, ..network.clone() };
    // Too large, too deep or a character that XML does not have: what is kept can be read again.
    *network = parse(&print(&changed, Form::Inactive))
        .map_err(|fault| DocumentError { line: 0, ..fault })?;
    Ok(())
}

fn notes(network: &Network) -> Notes {
    let Network { title, description, metadata, .. } = network;
    Notes { title: title.clone(), description: description.clone(), metadata: metadata.clone() }
}
