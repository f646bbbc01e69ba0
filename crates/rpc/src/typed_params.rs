//! Named values of seven types, libvirt's way to pass what may grow.

use crate::xdr::{Reader, Text, Xdr, XdrError, xdr};

xdr! {
    /// One named value.
    pub struct TypedParam {
        /// Its name, such as `unix-user-id` or `inbound.average`.
        pub field: Text,
        /// Its value.
        pub value: ParamValue,
    }
}

/// A value and its type.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// VIR_TYPED_PARAM_INT, 1
    Int(i32),
    /// VIR_TYPED_PARAM_UINT, 2
    UInt(u32),
    /// VIR_TYPED_PARAM_LLONG, 3
    Long(i64),
    /// VIR_TYPED_PARAM_ULLONG, 4
    ULong(u64),
    /// VIR_TYPED_PARAM_DOUBLE, 5
    Double(f64),
    /// VIR_TYPED_PARAM_BOOLEAN, 6; a C int, so that any value but 0 means true
    Boolean(i32),
    /// VIR_TYPED_PARAM_STRING, 7
    String(Text),
}

impl ParamValue {
    /// The value as a number that is not negative, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::UInt(value) => Some(u64::from(*value)),
            Self::Long(value) => u64::try_from(*value).ok(),
            Self::ULong(value) => Some(*value),
            Self::Double(_) | Self::Boolean(_) | Self::String(_) => None,
        }
    }

    /// The value as text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Xdr for ParamValue {
    fn put(&self, out: &mut Vec<u8>) {
        fn typed(number: u32, value: &impl Xdr, out: &mut Vec<u8>) {
            number.put(out);
            value.put(out);
        }
        match self {
            Self::Int(value) => typed(1, value, out),
            Self::UInt(value) => typed(2, value, out),
            Self::Long(value) => typed(3, value, out),
            Self::ULong(value) => typed(4, value, out),
            Self::Double(value) => typed(5, value, out),
            Self::Boolean(value) => typed(6, value, out),
            Self::String(value) => typed(7, value, out),
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        let at = input.at();
        Ok(match u32::get(input)? {
            1 => Self::Int(Xdr::get(input)?),
            2 => Self::UInt(Xdr::get(input)?),
            3 => Self::Long(Xdr::get(input)?),
            4 => Self::ULong(Xdr::get(input)?),
            5 => Self::Double(Xdr::get(input)?),
            6 => Self::Boolean(Xdr::get(input)?),
            7 => Self::String(Xdr::get(input)?),
            value => return Err(XdrError::Value { at, value, expected: "type of parameter" }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_oneof};
    use proptest::strategy::BoxedStrategy;

    use super::*;
    use crate::xdr::sample::{Sample, keeps_its_promise, survives_garbage};

    impl Sample for ParamValue {
        fn strategy() -> BoxedStrategy<Self> {
            prop_oneof![
                i32::strategy().prop_map(Self::Int),
                u32::strategy().prop_map(Self::UInt),
                i64::strategy().prop_map(Self::Long),
                u64::strategy().prop_map(Self::ULong),
                f64::strategy().prop_map(Self::Double),
                i32::strategy().prop_map(Self::Boolean),
                Text::strategy().prop_map(Self::String),
            ]
            .boxed()
        }
    }

    #[test]
    fn a_parameter_keeps_its_type() {
        keeps_its_promise::<TypedParam>("typed parameter");
        survives_garbage::<TypedParam>("typed parameter");
    }

    #[test]
    fn an_identity_has_these_bytes() {
        let user = TypedParam {
            field: Text::new("unix-user-id").expect("short"),
            value: ParamValue::ULong(5),
        };
        let mut bytes = b"\0\0\0\x0cunix-user-id".to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(user.to_bytes(), bytes);
    }

    #[test]
    fn a_type_that_does_not_exist_is_refused() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
        assert_eq!(
            TypedParam::from_bytes(&bytes),
            Err(XdrError::Value { at: 4, value: 8, expected: "type of parameter" })
        );
    }
}
