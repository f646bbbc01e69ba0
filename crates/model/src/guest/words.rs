//! Attributes that are one of a few words.

use crate::xml::{DocumentError, Element, Kind};

/// Defines an enum whose variants are words of the document.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $type:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $type {
            pub(crate) const WORDS: &'static [(&'static str, Self)] =
                &[$(($word, Self::$variant)),+];

            /// The word in the document.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}
pub(crate) use words;

/// An attribute of which only some words are served: the others are refused as unsupported.
pub(super) fn served<T: Copy>(
    element: Element<'_, '_>,
    attribute: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, DocumentError> {
    element
        .attribute(attribute)
        .map(|text| one_of(element, Some(attribute), text, words))
        .transpose()
}

/// Text of an element of which only some words are served.
pub(super) fn served_text<T: Copy>(
    element: Element<'_, '_>,
    words: &[(&str, T)],
) -> Result<T, DocumentError> {
    one_of(element, None, element.text().trim(), words)
}

fn one_of<T: Copy>(
    element: Element<'_, '_>,
    attribute: Option<&str>,
    text: &str,
    words: &[(&str, T)],
) -> Result<T, DocumentError> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let known = known.join(", ");
    let name = element.name();
    let (what, at) = match attribute {
        Some(attribute) => (format!("{attribute}='{text}' of <{name}>"), format!("/@{attribute}")),
        None => (format!("<{name}>{text}</{name}>"), String::new()),
    };
    let mut fault = element.error(Kind::Unsupported, format!("{what} (served: {known})"));
    fault.path.push_str(&at);
    Err(fault)
}
