//! Strings, arrays and byte blocks that carry the protocol's limit in their type.

use std::fmt;
use std::ops::Deref;

use super::{Reader, Xdr, XdrError, put_padded};

/// The longest string of the protocol, in bytes.
pub const STRING_MAX: usize = 4 * 1024 * 1024;

/// Why a value does not fit its type on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// Longer than the protocol allows.
    #[error("{length} is over the protocol's limit of {limit}")]
    TooLong {
        /// Bytes of a string or block, elements of a list.
        length: usize,
        /// The limit, in the same unit.
        limit: usize,
    },
    /// Peers take strings as ending at the first zero byte.
    #[error("text with a zero byte")]
    ZeroByte,
}

fn within(length: usize, limit: usize) -> Result<(), BoundError> {
    if length > limit { Err(BoundError::TooLong { length, limit }) } else { Ok(()) }
}

/// Writes a length that was checked against a limit below 2^32.
fn put_length(length: usize, out: &mut Vec<u8>) {
    u32::try_from(length).unwrap_or(u32::MAX).put(out);
}

/// A string of at most `MAX` bytes, UTF-8, without zero bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text<const MAX: usize = STRING_MAX>(String);

impl<const MAX: usize> Text<MAX> {
    /// Takes a string that fits.
    pub fn new(text: impl Into<String>) -> Result<Self, BoundError> {
        let text = text.into();
        within(text.len(), MAX)?;
        if text.contains('\0') {
            return Err(BoundError::ZeroByte);
        }
        Ok(Self(text))
    }

    /// Takes what fits of any string: zero bytes are left out, and the end if it is too long.
    /// For messages to people, where a part is better than nothing.
    pub fn clipped(text: &str) -> Self {
        let mut text = text.replace('\0', "");
        text.truncate(text.floor_char_boundary(MAX));
        Self(text)
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The string, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> PartialEq<str> for Text<MAX> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl<const MAX: usize> PartialEq<&str> for Text<MAX> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = BoundError;

    fn try_from(text: String) -> Result<Self, BoundError> {
        Self::new(text)
    }
}

impl<const MAX: usize> TryFrom<&str> for Text<MAX> {
    type Error = BoundError;

    fn try_from(text: &str) -> Result<Self, BoundError> {
        Self::new(text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> Xdr for Text<MAX> {
    fn put(&self, out: &mut Vec<u8>) {
        put_length(self.0.len(), out);
        put_padded(self.0.as_bytes(), out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        let length = input.length(MAX)?;
        let at = input.at();
        let bytes = input.take_padded(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.contains(&0) => Ok(Self(text.to_owned())),
            _ => Err(XdrError::NotText { at }),
        }
    }
}

/// An array of at most `MAX` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes elements if they are not too many.
    pub fn new(elements: Vec<T>) -> Result<Self, BoundError> {
        within(elements.len(), MAX)?;
        Ok(Self(elements))
    }

    /// An array without elements.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The elements, owned.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = BoundError;

    fn try_from(elements: Vec<T>) -> Result<Self, BoundError> {
        Self::new(elements)
    }
}

impl<T, const MAX: usize> IntoIterator for List<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Xdr, const MAX: usize> Xdr for List<T, MAX> {
    fn put(&self, out: &mut Vec<u8>) {
        put_length(self.0.len(), out);
        for element in &self.0 {
            element.put(out);
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        let count = input.length(MAX)?;
        // Grown by what arrives: a claimed count reserves nothing.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(T::get(input)?);
        }
        Ok(Self(elements))
    }
}

/// At most `MAX` bytes of any value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opaque<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Opaque<MAX> {
    /// Takes bytes if they are not too many.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BoundError> {
        within(bytes.len(), MAX)?;
        Ok(Self(bytes))
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> Deref for Opaque<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> Xdr for Opaque<MAX> {
    fn put(&self, out: &mut Vec<u8>) {
        put_length(self.0.len(), out);
        put_padded(&self.0, out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        let length = input.length(MAX)?;
        Ok(Self(input.take_padded(length)?.to_vec()))
    }
}
