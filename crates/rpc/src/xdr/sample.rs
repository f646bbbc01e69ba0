//! Samples of every type on the wire, and the promise that each keeps.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::strategy::{BoxedStrategy, Just};
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use super::{List, Opaque, Text, Xdr};

/// A type that can be made up.
pub(crate) trait Sample: Sized + Debug + 'static {
    fn strategy() -> BoxedStrategy<Self>;
}

macro_rules! any_value {
    ($($type:ty),*) => {$(
        impl Sample for $type {
            fn strategy() -> BoxedStrategy<Self> {
                any::<$type>().boxed()
            }
        }
    )*};
}

any_value!(i32, u32, i64, u64, u8, u16, bool);

impl Sample for () {
    fn strategy() -> BoxedStrategy<Self> {
        Just(()).boxed()
    }
}

impl Sample for f64 {
    fn strategy() -> BoxedStrategy<Self> {
        proptest::num::f64::NORMAL.boxed()
    }
}

impl Sample for Uuid {
    fn strategy() -> BoxedStrategy<Self> {
        any::<[u8; 16]>().prop_map(Self::from_bytes).boxed()
    }
}

impl<T: Sample> Sample for Box<T> {
    fn strategy() -> BoxedStrategy<Self> {
        T::strategy().prop_map(Self::new).boxed()
    }
}

impl<T: Sample + Clone> Sample for Option<T> {
    fn strategy() -> BoxedStrategy<Self> {
        proptest::option::of(T::strategy()).boxed()
    }
}

impl<const MAX: usize> Sample for Text<MAX> {
    fn strategy() -> BoxedStrategy<Self> {
        vec(any::<char>(), 0..12).prop_map(|text| Self::clipped(&String::from_iter(text))).boxed()
    }
}

impl<T: Sample, const MAX: usize> Sample for List<T, MAX> {
    fn strategy() -> BoxedStrategy<Self> {
        vec(T::strategy(), 0..=MAX.min(4))
            .prop_filter_map("within MAX", |v| Self::new(v).ok())
            .boxed()
    }
}

impl<const MAX: usize> Sample for Opaque<MAX> {
    fn strategy() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..=MAX.min(9))
            .prop_filter_map("within MAX", |v| Self::new(v).ok())
            .boxed()
    }
}

/// What was put is got, in whole words; a part of it is refused, and so is more than it.
pub(crate) fn keeps_its_promise<T: Sample + Xdr + PartialEq>(name: &str) {
    let mut runner = TestRunner::new(Config { cases: 48, ..Config::default() });
    let result = runner.run(&T::strategy(), |value| {
        let mut bytes = value.to_bytes();
        proptest::prop_assert_eq!(bytes.len() % 4, 0);
        proptest::prop_assert_eq!(T::from_bytes(&bytes), Ok(value));
        for end in 0..bytes.len() {
            proptest::prop_assert!(T::from_bytes(&bytes[..end]).is_err(), "cut at {}", end);
        }
        bytes.push(0);
        proptest::prop_assert!(T::from_bytes(&bytes).is_err(), "one byte more");
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{name}: {failure}");
    }
}

/// Whatever arrives is read or refused.
pub(crate) fn survives_garbage<T: Xdr + Debug>(name: &str) {
    let mut runner = TestRunner::new(Config { cases: 8, ..Config::default() });
    let garbage = vec(proptest::prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..96);
    let result = runner.run(&garbage, |bytes| {
        if let Ok(value) = T::from_bytes(&bytes) {
            proptest::prop_assert_eq!(value.to_bytes(), bytes);
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{name}: {failure}");
    }
}
