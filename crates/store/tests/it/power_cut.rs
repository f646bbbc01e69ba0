//! What a power cut may leave of the file of definitions, made from what SQLite wrote and when
//! it synced (`docs/decisions/0017-power-cuts-from-the-files.md`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vfnet_engine::{Entry, Key};

use crate::entries;
use crate::place::{Place, puts, spelled};

/// What disks write whole.
const SECTOR: usize = 512;
const LOG_HEAD: usize = 32;
const FRAME: usize = 24 + 4096;

/// The file and its log.
#[derive(Clone, Default)]
struct Disk {
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Disk {
    fn of(place: &Place) -> Self {
        let read = |path: PathBuf| fs::read(path).unwrap_or_default();
        Self { file: read(place.state_file()), log: read(log_of(&place.state_file())) }
    }

    /// What a store finds on it.
    fn found(&self, what: &str) -> BTreeMap<Key, String> {
        let place = Place::new();
        fs::create_dir(place.state_dir()).unwrap();
        fs::write(place.state_file(), &self.file).unwrap();
        fs::write(log_of(&place.state_file()), &self.log).unwrap();
        let opened = place.try_open();
        let (_store, loaded) = opened.unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
        assert_eq!(loaded.set_aside, Vec::<String>::new(), "{what}");
        spelled(&loaded.entries)
    }
}

fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Of two contents one after the other, what is there when only some sectors of the second one
/// were written: those for which `written` says so. The length is that of the last one written.
fn half(before: &[u8], after: &[u8], written: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut disk = before.to_vec();
    for (number, sector) in after.chunks(SECTOR).enumerate() {
        let at = number * SECTOR;
        if written(number) {
            let end = at + sector.len();
            disk.resize(disk.len().max(end), 0);
            disk[at..end].copy_from_slice(sector);
        }
    }
    disk
}

/// Chance that comes again with its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// One decision of several records: it is there as a whole or not at all.
fn decision(n: u32) -> [Entry; 3] {
    [entries::network(n), entries::large_guest(n, 3000), entries::guest(10_000 + n)]
}

#[test]
fn a_decision_whose_write_was_lost_or_torn_is_there_as_a_whole_or_not_at_all() {
    let place = Place::new();
    let (mut store, _) = place.open();
    let mut acknowledged = BTreeMap::new();
    let mut durable = Disk::of(&place);
    let mut chance = Chance(7);
    for n in 1..=3 {
        let decision = decision(n);
        store.commit(&puts(&decision)).unwrap();
        let after = Disk::of(&place);
        assert!(after.file == durable.file, "the file is left alone until a checkpoint");
        let mut both = acknowledged.clone();
        both.extend(spelled(&decision));

        let start = durable.log.len();
        let mut cuts = Vec::new();
        for frame in (start.max(LOG_HEAD)..after.log.len()).step_by(FRAME) {
            cuts.extend([0, 24, 2000, FRAME - 1].map(|within| frame + within));
        }
        cuts.push(after.log.len());
        for cut in cuts {
            let whole = cut == after.log.len();
            let log = after.log[..cut].to_vec();
            let disk = Disk { log, ..durable.clone() };
            let what = format!("decision {n}, log of {start} bytes cut at {cut}");
            let found = disk.found(&what);
            assert!(found == if whole { both.clone() } else { acknowledged.clone() }, "{what}");
            // The length was written, what is in it was not.
            let mut log = after.log[..cut].to_vec();
            log.resize(after.log.len(), 0);
            let found = Disk { log, ..durable.clone() }.found(&what);
            assert!(found == acknowledged || found == both, "{what}");
        }
        for _ in 0..20 {
            let seed = chance.next();
            let log = half(&durable.log, &after.log, |sector| {
                // What is synced stays; the sector at its end has both.
                sector * SECTOR < start || !Chance(seed + sector as u64).next().is_multiple_of(4)
            });
            let what = format!("decision {n}, sectors by seed {seed}");
            let found = Disk { log, ..durable.clone() }.found(&what);
            assert!(found == acknowledged || found == both, "{what}");
        }
        acknowledged = both;
        durable = after;
    }
}

#[test]
fn a_checkpoint_that_is_cut_short_loses_nothing() {
    let place = Place::new();
    let (mut store, _) = place.open();
    let mut before = Disk::of(&place);
    let mut acknowledged = BTreeMap::new();
    let mut chance = Chance(11);
    let mut folded: Option<Vec<u8>> = None;
    for n in 1..1000 {
        let decision = [entries::large_guest(n, 60_000), entries::network(n)];
        store.commit(&puts(&decision)).unwrap();
        let now = Disk::of(&place);
        let earlier = acknowledged.clone();
        acknowledged.extend(spelled(&decision));
        if let Some(folded) = folded {
            // The log is begun anew over the old one: its head is synced first.
            let head = half(&folded, &now.log, |sector| sector == 0);
            for _ in 0..10 {
                let seed = chance.next();
                let log = half(&head, &now.log, |sector| {
                    !Chance(seed + sector as u64).next().is_multiple_of(3)
                });
                let what = format!("a log begun anew, sectors by seed {seed}");
                let found = Disk { file: now.file.clone(), log }.found(&what);
                assert!(found == earlier || found == acknowledged, "{what}");
            }
            let kept = Disk { file: now.file.clone(), log: folded };
            assert!(kept.found("the old log") == earlier);
            return;
        }
        if now.file != before.file {
            // The log is synced before the first page goes to the file.
            for of_four in 0..=4 {
                let seed = chance.next();
                let file = half(&before.file, &now.file, |sector| {
                    Chance(seed + sector as u64).next() % 4 < of_four
                });
                let what = format!("a checkpoint, {of_four} of 4 sectors by seed {seed}");
                let found = Disk { file, log: now.log.clone() }.found(&what);
                assert!(found == acknowledged, "{what}");
            }
            folded = Some(now.log.clone());
        }
        before = now;
    }
    panic!("no checkpoint was made");
}
