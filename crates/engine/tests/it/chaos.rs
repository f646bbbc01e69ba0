//! Random lives of a host, drawn and shrunk by proptest: see [`crate::events`].

use proptest::prelude::*;

use crate::deep;
use crate::events::{Life, event};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if deep() { 2000 } else { 40 },
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn promises_hold_whatever_happens(
        seed in any::<u64>(),
        events in prop::collection::vec(event(), 1..if deep() { 120 } else { 60 }),
    ) {
        Life::new(seed, events).live(None, &mut None);
    }
}
