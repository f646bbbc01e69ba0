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

            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

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

/// Reading of attributes and text that several elements share.
pub(super) trait Text<'d> {
    /// A number from 0 to `most`.
    fn number_up_to(&self, name: &str, most: u64) -> Result<Option<u64>, DocumentError>;

    /// An attribute made of letters, digits and `_.+-` (a name of QEMU's own).
    fn plain_word(&self, name: &str) -> Result<Option<String>, DocumentError>;

    /// An attribute that is an absolute path.
    fn path_attribute(&self, name: &str) -> Result<Option<String>, DocumentError>;

    /// Text that is an absolute path.
    fn absolute_path(&self) -> Result<String, DocumentError>;
}

impl<'d> Text<'d> for Element<'d, '_> {
    fn number_up_to(&self, name: &str, most: u64) -> Result<Option<u64>, DocumentError> {
        match self.number(name).map_err(|fault| at(fault, name))? {
            Some(number) if number > most => {
                let fault = format!("{number} is too much for '{name}', at most {most}");
                Err(at(self.invalid(fault), name))
            }
            number => Ok(number),
        }
    }

    fn plain_word(&self, name: &str) -> Result<Option<String>, DocumentError> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        if is_plain_word(text) {
            Ok(Some(text.to_owned()))
        } else {
            Err(at(self.invalid(format!("invalid value '{text}' of '{name}'")), name))
        }
    }

    fn path_attribute(&self, name: &str) -> Result<Option<String>, DocumentError> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        if is_absolute(text) {
            Ok(Some(text.to_owned()))
        } else {
            Err(at(self.invalid(format!("'{text}' is not an absolute path")), name))
        }
    }

    fn absolute_path(&self) -> Result<String, DocumentError> {
        let text = self.text();
        if is_absolute(&text) {
            Ok(text)
        } else {
            Err(self.invalid(format!("'{text}' is not an absolute path")))
        }
    }
}

/// A fault of an attribute rather than of its element.
pub(super) fn at(mut fault: DocumentError, attribute: &str) -> DocumentError {
    fault.path.push_str("/@");
    fault.path.push_str(attribute);
    fault
}

/// Letters, digits and `_.+-`, at least one and at most 255.
pub(super) fn is_plain_word(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
}

fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 4095
}
