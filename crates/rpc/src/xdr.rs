//! XDR (RFC 4506) as libvirt uses it: big-endian, everything in units of four bytes.
//!
//! [`Xdr`] is what a type on the wire can do; [`Reader`] walks over received bytes and never
//! beyond them. Memory is taken for bytes that have arrived, never for a count that a peer
//! merely claims. What has a limit in the protocol has it in its type: [`Text`], [`List`],
//! [`Opaque`].

mod bounded;
#[cfg(test)]
pub(crate) mod sample;

pub use bounded::{BoundError, List, Opaque, STRING_MAX, Text};

use uuid::Uuid;

/// Why bytes could not be read as the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XdrError {
    /// The bytes end in the middle of a value.
    #[error("{wanted} more bytes expected at offset {at}, {left} left")]
    Truncated {
        /// Offset of the value's part that is missing.
        at: usize,
        /// Bytes that the value still needs.
        wanted: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// Bytes are left over behind the last value.
    #[error("{left} bytes left over at offset {at}")]
    Trailing {
        /// Offset of the first byte too many.
        at: usize,
        /// How many there are.
        left: usize,
    },
    /// A length or count is over the protocol's limit.
    #[error("length {claimed} at offset {at} is over the limit of {limit}")]
    TooLong {
        /// Offset of the length word.
        at: usize,
        /// What the peer claims.
        claimed: u32,
        /// What the protocol allows.
        limit: usize,
    },
    /// Padding that is not zero.
    #[error("padding at offset {at} is not zero")]
    Padding {
        /// Offset of the padding.
        at: usize,
    },
    /// A word outside the values its type has.
    #[error("{value} at offset {at} is no {expected}")]
    Value {
        /// Offset of the word.
        at: usize,
        /// The word, as an unsigned number.
        value: u32,
        /// The name of the type that was expected.
        expected: &'static str,
    },
    /// A string that is not UTF-8, or has a zero byte in it.
    #[error("string at offset {at} is not text")]
    NotText {
        /// Offset of the first byte of the string.
        at: usize,
    },
}

/// A value with a form on the wire.
pub trait Xdr: Sized {
    /// Appends the value's bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads one value.
    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError>;

    /// The value's bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Reads one value which has to fill `bytes` exactly.
    fn from_bytes(bytes: &[u8]) -> Result<Self, XdrError> {
        let mut input = Reader::new(bytes);
        let value = Self::get(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// Bytes being read.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Offset of the next byte, for errors.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], XdrError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(XdrError::Truncated { at: self.at, wanted: count, left: self.rest.len() });
        };
        self.rest = rest;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// The next `count` bytes and the zeros that fill them up to a unit of four.
    pub fn take_padded(&mut self, count: usize) -> Result<&'a [u8], XdrError> {
        let bytes = self.take(count)?;
        let at = self.at;
        if self.take(padding(count))?.iter().any(|byte| *byte != 0) {
            return Err(XdrError::Padding { at });
        }
        Ok(bytes)
    }

    /// A length word of at most `limit`.
    pub fn length(&mut self, limit: usize) -> Result<usize, XdrError> {
        let at = self.at;
        let claimed = u32::get(self)?;
        match usize::try_from(claimed) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(XdrError::TooLong { at, claimed, limit }),
        }
    }

    /// Ends reading: nothing may be left.
    pub fn finish(self) -> Result<(), XdrError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(XdrError::Trailing { at: self.at, left: self.rest.len() })
    }
}

/// Zero bytes behind `length` bytes of opaque data.
fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

/// Appends bytes and their padding, without a length word.
pub fn put_padded(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.resize(out.len() + padding(bytes.len()), 0);
}

macro_rules! big_endian {
    ($($number:ty),*) => {$(
        impl Xdr for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
                Ok(Self::from_be_bytes(input.array()?))
            }
        }
    )*};
}

big_endian!(i32, u32, i64, u64, f64);

/// Numbers shorter than a word travel as a word.
macro_rules! in_a_word {
    ($($number:ty = $name:literal),*) => {$(
        impl Xdr for $number {
            fn put(&self, out: &mut Vec<u8>) {
                u32::from(*self).put(out);
            }

            fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
                let at = input.at();
                let value = u32::get(input)?;
                Self::try_from(value).map_err(|_| XdrError::Value { at, value, expected: $name })
            }
        }
    )*};
}

in_a_word!(u8 = "unsigned char", u16 = "unsigned short");

impl Xdr for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u32::from(*self).put(out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        let at = input.at();
        match u32::get(input)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(XdrError::Value { at, value, expected: "boolean" }),
        }
    }
}

impl Xdr for () {
    fn put(&self, _out: &mut Vec<u8>) {}

    fn get(_input: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(())
    }
}

impl<T: Xdr> Xdr for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        if bool::get(input)? { T::get(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Xdr> Xdr for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        T::get(input).map(Self::new)
    }
}

impl Xdr for Uuid {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(Self::from_bytes(input.array()?))
    }
}

/// Structs whose form on the wire is their fields in order.
macro_rules! xdr {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $crate::xdr::Xdr for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $( self.$field.put(out); )*
            }

            fn get(
                input: &mut $crate::xdr::Reader<'_>,
            ) -> Result<Self, $crate::xdr::XdrError> {
                $( let $field = $crate::xdr::Xdr::get(input)?; )*
                Ok(Self { $( $field, )* })
            }
        }

        #[cfg(test)]
        impl $crate::xdr::sample::Sample for $name {
            fn strategy() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                ( $( <$type as $crate::xdr::sample::Sample>::strategy(), )* )
                    .prop_map(|( $( $field, )* )| Self { $( $field, )* })
                    .boxed()
            }
        }
    )*};
}
pub(crate) use xdr;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_big_endian() {
        assert_eq!(0x2000_8086_u32.to_bytes(), [0x20, 0x00, 0x80, 0x86]);
        assert_eq!((-1_i32).to_bytes(), [0xff; 4]);
        assert_eq!(1_u64.to_bytes(), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(7_u8.to_bytes(), [0, 0, 0, 7]);
    }

    #[test]
    fn text_is_padded_to_four_bytes() {
        let text = Text::<16>::new("web1x").expect("short enough");
        assert_eq!(text.to_bytes(), *b"\0\0\0\x05web1x\0\0\0");
    }

    #[test]
    fn padding_that_is_not_zero_is_refused() {
        let error = Text::<16>::from_bytes(b"\0\0\0\x05web1x\0\0\x01");
        assert_eq!(error, Err(XdrError::Padding { at: 9 }));
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let claims_max = [0xff, 0xff, 0xff, 0xff];
        let limit = 16_384;
        assert_eq!(
            List::<u32, 16_384>::from_bytes(&claims_max),
            Err(XdrError::TooLong { at: 0, claimed: u32::MAX, limit })
        );
        let claims_limit = [0, 0, 0x40, 0, 0, 0, 0, 9];
        assert_eq!(
            List::<u32, 16_384>::from_bytes(&claims_limit),
            Err(XdrError::Truncated { at: 8, wanted: 4, left: 0 })
        );
        assert_eq!(
            Text::<STRING_MAX>::from_bytes(&[0, 0x40, 0, 0, b'a']),
            Err(XdrError::Truncated { at: 4, wanted: STRING_MAX, left: 1 })
        );
    }

    #[test]
    fn a_boolean_is_zero_or_one() {
        assert_eq!(
            Option::<u32>::from_bytes(&[0, 0, 0, 2, 0, 0, 0, 0]),
            Err(XdrError::Value { at: 0, value: 2, expected: "boolean" })
        );
    }

    #[test]
    fn a_short_number_does_not_overflow() {
        assert_eq!(
            u8::from_bytes(&[0, 0, 1, 0]),
            Err(XdrError::Value { at: 0, value: 256, expected: "unsigned char" })
        );
    }

    #[test]
    fn a_zero_byte_or_broken_utf8_is_no_text() {
        assert_eq!(Text::<16>::from_bytes(b"\0\0\0\x04a\0bc"), Err(XdrError::NotText { at: 4 }));
        assert_eq!(Text::<16>::from_bytes(b"\0\0\0\x04a\xffbc"), Err(XdrError::NotText { at: 4 }));
        assert_eq!(Text::<16>::new("a\0b"), Err(BoundError::ZeroByte));
        assert_eq!(Text::<2>::new("abc"), Err(BoundError::TooLong { length: 3, limit: 2 }));
    }

    #[test]
    fn bytes_behind_the_value_are_refused() {
        assert_eq!(u32::from_bytes(&[0, 0, 0, 1, 0]), Err(XdrError::Trailing { at: 4, left: 1 }));
    }
}
