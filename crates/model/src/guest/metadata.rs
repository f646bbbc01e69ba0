//! A guest's title, description and `<metadata>`, one by one.

use super::{Form, Guest, parse, print_with_secrets};
use crate::metadata::Notes;
pub use crate::metadata::{Change, Item, MetadataError};
use crate::xml::DocumentError;

/// The text of an item; of an element as its owner wrote it, its namespace left out.
/// `None` where the guest does not have it.
pub fn get(guest: &Guest, item: Item<'_>) -> Option<String> {
    notes(guest).get(item)
}

/// Changes an item; all else stays as it was written.
///
/// # Errors
/// See [`MetadataError`]; nothing has been changed then.
pub fn set(guest: &mut Guest, change: Change<'_>) -> Result<(), MetadataError> {
    let mut notes = notes(guest);
    notes.set(change)?;
    let Notes { title, description, metadata } = notes;
    let changed = Guest { title, description, metadata, ..guest.clone() };
    // Too large, too deep or a character that XML does not have: what is kept can be read again.
    *guest = parse(&print_with_secrets(&changed, Form::Inactive))
        .map_err(|fault| DocumentError { line: 0, ..fault })?;
    Ok(())
}

fn notes(guest: &Guest) -> Notes {
    let Guest { title, description, metadata, .. } = guest;
    Notes { title: title.clone(), description: description.clone(), metadata: metadata.clone() }
}
