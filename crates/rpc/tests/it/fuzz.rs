//! The fuzzer's entry points, in the ordinary tests: over the corpus, near it, and anywhere.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::sample::{Index, select};
use vfnet_rpc::remote::{Call, RemoteEvent};

use crate::entries::frames::frames;
use crate::entries::payloads::payloads;

/// The corpus of one target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&dir).expect("a corpus").flatten();
    let samples: Vec<_> = files.map(|file| std::fs::read(file.path()).expect("a sample")).collect();
    assert!(samples.len() >= 8, "{} has lost its samples", dir.display());
    samples
}

/// A sample with bytes changed, put in or cut off, and perhaps another behind it.
fn near(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), prop_oneof![any::<u8>(), select(vec![0, 1, 4, 0x7f, 0xff])]);
    let pair = (select(corpus(target)), select(corpus(target)));
    (pair, vec(change, 0..6), any::<Index>(), 0..4_u8).prop_map(
        |((mut bytes, other), changes, at, how)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            match how {
                0 => bytes.truncate(at.index(bytes.len())),
                1 => bytes.insert(at.index(bytes.len()), 0),
                2 => bytes.extend_from_slice(&other[1..]),
                _ => {}
            }
            bytes
        },
    )
}

#[test]
fn what_was_found_once_is_read_or_refused() {
    corpus("frames").iter().for_each(|bytes| frames(bytes));
    corpus("payloads").iter().for_each(|bytes| payloads(bytes));
}

#[test]
fn the_corpus_is_of_what_clients_and_servers_say() {
    let is_sound = |bytes: &Vec<u8>| {
        let (number, payload) = bytes.split_first_chunk().expect("a number");
        let number = i32::from_be_bytes(*number);
        let is_event = matches!(RemoteEvent::decode(number, payload), Ok(Some(_)));
        is_event || Call::decode(number, payload).is_ok()
    };
    let samples = corpus("payloads");
    let sound = samples.iter().filter(|bytes| is_sound(bytes)).count();
    assert!(sound >= samples.len() / 2, "{sound} of {}", samples.len());
}

proptest! {
    #[test]
    fn what_is_nearly_a_conversation_is_read_or_refused(bytes in near("frames")) {
        frames(&bytes);
    }

    #[test]
    fn what_are_nearly_arguments_is_read_or_refused(bytes in near("payloads")) {
        payloads(&bytes);
    }

    #[test]
    fn anything_is_read_or_refused(bytes in vec(any::<u8>(), 0..512)) {
        frames(&bytes);
        payloads(&bytes);
    }

    #[test]
    fn every_number_takes_its_arguments_or_refuses_them(
        number in 0..460_i32,
        payload in vec(prop_oneof![4 => select(vec![0_u8]), 1 => any::<u8>()], 0..160),
    ) {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.extend(payload);
        payloads(&bytes);
    }
}
