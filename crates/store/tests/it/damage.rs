//! Damage at random: whatever it is, it is found or it does not matter. Nothing panics, no record
//! comes back as it was not written, and a damaged file is still there as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use vfnet_engine::{Entry, Key};
use vfnet_store::StoreError;

use crate::entries;
use crate::place::{Place, puts, spelled};

/// The files of a place, by where they are in it.
type Files = BTreeMap<&'static str, Vec<u8>>;

const NAMES: [&str; 4] = ["state/state.db", "state/state.db-wal", "run/live.db", "run/live.db-wal"];

/// As a daemon leaves its files that ends by itself.
static FOLDED: LazyLock<Files> = LazyLock::new(|| files(Place::filled().path()));

/// As a daemon leaves them that is killed, and what was in them after each commit.
static KILLED: LazyLock<(Files, Vec<BTreeMap<Key, String>>)> = LazyLock::new(|| {
    let place = Place::new();
    let (mut store, _) = place.open();
    let mut after = vec![BTreeMap::new()];
    for n in 1..=4 {
        let both = [entries::large_guest(n, 5000), Entry::Claim(entries::claim(n.into()))];
        let mut there = after.last().cloned().unwrap_or_default();
        there.extend(spelled(&both));
        store.commit(&puts(&both)).unwrap();
        after.push(there);
    }
    (files(place.path()), after)
});

fn files(dir: &Path) -> Files {
    NAMES.iter().filter_map(|name| Some((*name, fs::read(dir.join(name)).ok()?))).collect()
}

fn laid_out(files: &Files) -> Place {
    let place = Place::new();
    fs::create_dir(place.state_dir()).unwrap();
    fs::create_dir(place.run_dir()).unwrap();
    for (name, bytes) in files {
        fs::write(place.path().join(name), bytes).unwrap();
    }
    place
}

#[derive(Clone, Debug)]
enum Damage {
    Bit(usize, u8),
    Bytes(usize, Vec<u8>),
    Zeros(usize, usize),
    Swapped(usize, usize),
    Cut(usize),
    Longer(usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Self::Bit(at, bit)),
            // Heads of pages, where there is most to be spoiled.
            2 => (any::<usize>(), 0..100_usize, 0..8_u8)
                .prop_map(|(page, at, bit)| Self::Bit((page % 64) * 4096 + at, bit)),
            2 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..64))
                .prop_map(|(at, bytes)| Self::Bytes(at, bytes)),
            1 => (any::<usize>(), 1..8192_usize).prop_map(|(at, bytes)| Self::Zeros(at, bytes)),
            1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Self::Swapped(a, b)),
            1 => any::<usize>().prop_map(Self::Cut),
            1 => (1..9000_usize).prop_map(Self::Longer),
        ]
    }

    /// In a log: what is cut off it was never written, to all that can be seen.
    fn of_one_frame() -> impl Strategy<Value = Self> {
        prop_oneof![
            3 => (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Self::Bit(at, bit)),
            // Frames and their parts begin at multiples of 8.
            2 => (0..1_000_000_usize, any::<[u8; 8]>())
                .prop_map(|(at, bytes)| Self::Bytes(at * 8, bytes.to_vec())),
            1 => (1..9000_usize).prop_map(Self::Longer),
        ]
    }

    fn to(&self, file: &mut Vec<u8>) {
        let len = file.len();
        match self {
            Self::Bit(at, bit) => file[at % len] ^= 1 << bit,
            Self::Bytes(at, bytes) => {
                let at = at % len;
                let end = (at + bytes.len()).min(len);
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Self::Zeros(at, bytes) => {
                let at = at % len;
                file[at..(at + bytes).min(len)].fill(0);
            }
            Self::Swapped(a, b) => {
                let pages = len / 4096;
                for byte in 0..4096 {
                    file.swap(a % pages * 4096 + byte, b % pages * 4096 + byte);
                }
            }
            Self::Cut(at) => file.truncate(at % len),
            Self::Longer(bytes) => file.resize(len + bytes, 0x5a),
        }
    }
}

/// What was read, and how many rows were not; `None` where a file was refused as damaged, and
/// left as it was.
fn outcome(damaged: &Files) -> Option<(BTreeMap<Key, String>, usize)> {
    let place = laid_out(damaged);
    match place.try_open() {
        Ok((_store, loaded)) => {
            if let Some(kept) = loaded.kept_aside {
                let bytes = fs::read(&kept.file).unwrap();
                assert!(Some(&bytes) == damaged.get("run/live.db"), "it was kept as it was");
                return None;
            }
            Some((spelled(&loaded.entries), loaded.set_aside.len()))
        }
        Err(refusal) => {
            assert!(
                matches!(
                    refusal,
                    StoreError::Corrupt { .. }
                        | StoreError::Foreign { .. }
                        | StoreError::Newer { .. }
                        | StoreError::Unwritable { .. }
                ),
                "{refusal:?}"
            );
            let after = files(place.path());
            for name in ["state/state.db", "state/state.db-wal"] {
                // SQLite makes an empty log for a file without one.
                let of = |files: &Files| files.get(name).cloned().unwrap_or_default();
                assert!(of(&after) == of(damaged), "{name} was written to: {refusal}");
            }
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn damage_to_a_file_is_found_or_does_not_matter(
        live in any::<bool>(),
        damage in Damage::any(),
    ) {
        let name = if live { "run/live.db" } else { "state/state.db" };
        let written = spelled(&entries::all());
        let mut files = FOLDED.clone();
        damage.to(files.get_mut(name).unwrap());
        // An empty file is a new one.
        prop_assume!(!files[name].is_empty());
        let Some((read, set_aside)) = outcome(&files) else { return Ok(()) };
        for (key, entry) in &read {
            prop_assert_eq!(Some(entry), written.get(key));
        }
        prop_assert_eq!(read.len() + set_aside, written.len());
    }

    #[test]
    fn damage_to_a_log_costs_no_more_than_its_last_transaction(
        live in any::<bool>(),
        damage in Damage::of_one_frame(),
    ) {
        let name = if live { "run/live.db-wal" } else { "state/state.db-wal" };
        let (killed, after) = &*KILLED;
        let mut files = killed.clone();
        damage.to(files.get_mut(name).unwrap());
        let Some((read, set_aside)) = outcome(&files) else { return Ok(()) };
        prop_assert_eq!(set_aside, 0);
        let of = |guests: bool, all: &BTreeMap<Key, String>| -> BTreeMap<Key, String> {
            let is = |key: &Key| matches!(key, Key::Guest(_)) == guests;
            all.iter().filter(|(key, _)| is(key)).map(|(k, v)| (*k, v.clone())).collect()
        };
        let [.., last_but_one, last] = &after[..] else { panic!("nothing was written") };
        for guests in [true, false] {
            let read = of(guests, &read);
            prop_assert!(read == of(guests, last) || read == of(guests, last_but_one));
        }
    }
}

/// The damaged file and what SQLite keeps beside it.
fn beside(kept: &Path) -> Vec<PathBuf> {
    let mut log = kept.as_os_str().to_owned();
    log.push("-wal");
    vec![kept.to_owned(), log.into()]
}

#[test]
fn a_damaged_record_of_what_is_lent_is_kept_aside_with_its_log_and_a_new_one_begun() {
    let (killed, _) = &*KILLED;
    let mut files = killed.clone();
    files.get_mut("run/live.db-wal").unwrap()[5000] ^= 1;
    let place = laid_out(&files);
    let (mut store, loaded) = place.open();
    let kept = loaded.kept_aside.expect("it is damaged");
    assert!(kept.why.contains("its log"), "{}", kept.why);
    assert!(kept.file.to_str().unwrap().contains("live.db.damaged-"), "{}", kept.file.display());
    for (name, path) in ["run/live.db", "run/live.db-wal"].into_iter().zip(beside(&kept.file)) {
        assert!(fs::read(path).unwrap() == files[name], "{name}");
    }
    assert!(loaded.entries.iter().all(|entry| matches!(entry, Entry::Guest(_))));
    store.commit(&puts(&[Entry::Autostarted])).unwrap();
    drop(store);
    let (_store, loaded) = place.open();
    assert!(loaded.kept_aside.is_none());
    assert!(loaded.entries.iter().any(|entry| matches!(entry, Entry::Autostarted)));
}

#[test]
fn damage_twice_in_a_second_keeps_both_files() {
    let place = Place::filled();
    for _ in 0..2 {
        drop(place.open());
        fs::write(place.live_file(), vec![0x5a; 8192]).unwrap();
    }
    fs::write(place.live_file(), vec![0x5b; 8192]).unwrap();
    drop(place.open());
    fs::write(place.live_file(), vec![0x5c; 8192]).unwrap();
    drop(place.open());
    let kept = fs::read_dir(place.run_dir()).unwrap().flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().contains("damaged"));
    assert_eq!(kept.count(), 2 + 1);
}
