//! What a document says to people and to other programs: title, description, and the elements in
//! `<metadata>`, one by one (libvirt: `virNetworkSetMetadata`, `virDomainSetMetadata`).

use crate::xml::namespace::{from_namespace, into_namespace};
use crate::xml::{Document, DocumentError};

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// `<description>`.
    Description,
    /// `<title>`.
    Title,
    /// The element of this namespace in `<metadata>`.
    Element {
        /// URI of the namespace.
        uri: &'a str,
    },
}

/// A change of one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// A new description; `None` or an empty one removes it.
    Description(Option<&'a str>),
    /// A new title, of one line; `None` or an empty one removes it.
    Title(Option<&'a str>),
    /// A new element of a namespace, for the one that is there.
    SetElement {
        /// URI of the namespace.
        uri: &'a str,
        /// The prefix that it gets in the document (libvirt: `key`).
        prefix: &'a str,
        /// The element; what of it has no namespace is put into this one.
        xml: &'a str,
    },
    /// No element of a namespace any more.
    RemoveElement {
        /// URI of the namespace.
        uri: &'a str,
    },
}

/// Why metadata were not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetadataError {
    /// A title of several lines, or a prefix that is no name (VIR_ERR_INVALID_ARG 8).
    #[error("{0}")]
    Argument(&'static str),
    /// What was given is no XML element of that namespace, or the document with it could not be
    /// read.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// All of them, of one document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    /// `<title>`.
    pub title: Option<String>,
    /// `<description>`.
    pub description: Option<String>,
    /// `<metadata>`, as it was written.
    pub metadata: Option<String>,
}

impl Notes {
    /// The text of an item; of an element as its owner wrote it, its namespace left out.
    /// `None` where there is none.
    pub fn get(&self, item: Item<'_>) -> Option<String> {
        match item {
            Item::Description => self.description.clone(),
            Item::Title => self.title.clone(),
            Item::Element { uri } => {
                let document = Document::parse(self.metadata.as_ref()?).ok()?;
                let element = document.root("metadata").ok()?.children_of(uri).next()?;
                from_namespace(&element.raw_standalone(), uri).ok()
            }
        }
    }

    /// Changes an item; all else stays as it was written. Whether a document with it can still be
    /// read, the document's own parser has to say: a text may be too long, or have characters
    /// that XML does not.
    ///
    /// # Errors
    /// See [`MetadataError`]; nothing has been changed then.
    pub fn set(&mut self, change: Change<'_>) -> Result<(), MetadataError> {
        let kept = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        match change {
            Change::Description(text) => self.description = kept(text),
            Change::Title(Some(text)) if text.contains('\n') => {
                return Err(MetadataError::Argument("a title has one line"));
            }
            Change::Title(text) => self.title = kept(text),
            Change::SetElement { uri, prefix, xml } => {
                if !is_prefix(prefix) {
                    return Err(MetadataError::Argument(
                        "the key of a metadata element is a name of letters, digits, '-', '_', \
                         '.', at most 64 long",
                    ));
                }
                if uri.is_empty() {
                    return Err(MetadataError::Argument(
                        "a metadata element needs a namespace URI",
                    ));
                }
                let element = into_namespace(xml, prefix, uri)?;
                let rest = without(self.metadata.as_deref(), uri)?;
                self.metadata = Some(with(rest.as_deref().unwrap_or("<metadata/>"), &element));
            }
            Change::RemoveElement { uri } => {
                self.metadata = without(self.metadata.as_deref(), uri)?;
            }
        }
        Ok(())
    }
}

fn is_prefix(prefix: &str) -> bool {
    let begins = prefix.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    begins
        && prefix.len() <= 64
        && prefix.chars().all(name)
        && !prefix.to_ascii_lowercase().starts_with("xml")
}

/// `<metadata>` without its elements of a namespace, and the white space before them; `None`
/// when nothing is left in it.
fn without(metadata: Option<&str>, uri: &str) -> Result<Option<String>, DocumentError> {
    let Some(metadata) = metadata else { return Ok(None) };
    let document = Document::parse(metadata)?;
    let root = document.root("metadata")?;
    let (mut rest, mut from) = (String::new(), 0);
    for element in root.children_of(uri) {
        let range = element.range();
        rest.push_str(metadata[from..range.start].trim_end());
        from = range.end;
    }
    rest.push_str(&metadata[from..]);
    let left = Document::parse(&rest)?;
    Ok((!left.root("metadata")?.is_blank()).then_some(rest))
}

/// `<metadata>` with an element put behind the others, on a line of its own.
fn with(metadata: &str, element: &str) -> String {
    let (begin, end) = match metadata.strip_suffix("/>") {
        Some(begin) => (format!("{}>", begin.trim_end()), "</metadata>"),
        None => match metadata.rfind("</") {
            Some(end) => (metadata[..end].trim_end().to_owned(), &metadata[end..]),
            None => (metadata.to_owned(), ""),
        },
    };
    format!("{begin}\n    {element}\n  {end}")
}
