//! Killed at any moment, the store has what it acknowledged.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use vfnet_engine::{ClaimId, Entry, Key};

use crate::entries;
use crate::place::{Place, puts, spelled};

const DIR: &str = "VFNET_STORE_TEST_DIR";

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let place = Place::new();
    for acknowledged in [1, 3, 20, 57, 120] {
        let last = run_until(place.path(), acknowledged);
        let (_store, loaded) = place.open();
        assert_eq!(loaded.set_aside, Vec::<String>::new());
        let there = spelled(&loaded.entries);
        for n in 1..=last {
            assert!(there.contains_key(&Key::Guest(entries::uuid(n))), "guest {n} of {last}");
            assert!(there.contains_key(&Key::Claim(ClaimId(n.into()))), "claim {n} of {last}");
        }
        // One more may have been written and not acknowledged; its definition goes first.
        let guests = there.keys().filter(|key| matches!(key, Key::Guest(_))).count();
        let claims = there.keys().filter(|key| matches!(key, Key::Claim(_))).count();
        let last = usize::try_from(last).unwrap();
        assert!((last..=last + 1).contains(&guests), "{guests} guests, {last} acknowledged");
        assert!((last..=guests).contains(&claims), "{claims} claims, {last} acknowledged");
    }
}

/// Lets a child commit until it has acknowledged that many, kills it, and gives the number of
/// the last one that it acknowledged.
fn run_until(dir: &Path, acknowledged: u32) -> u32 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::commits_until_killed", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut seen = 0;
    while seen < acknowledged {
        let line = lines.next().expect("the child goes on until it is killed").unwrap();
        if let Some((_, number)) = line.trim_end_matches('.').split_once("committed ") {
            last = number.parse().unwrap();
            seen += 1;
        }
    }
    child.kill().unwrap();
    for line in lines.map_while(Result::ok) {
        // The last line may have been cut off.
        if let Some(number) = line.strip_prefix("committed ").and_then(|n| n.strip_suffix('.')) {
            last = number.parse().unwrap();
        }
    }
    child.wait().unwrap();
    last
}

#[test]
#[ignore = "runs for ever: a child of the test above"]
fn commits_until_killed() {
    let dir = std::env::var_os(DIR).expect("started by the test above");
    let dir = Path::new(&dir);
    let boot = crate::place::boot(1);
    let (mut store, loaded) =
        vfnet_store::Store::open(&dir.join("state"), &dir.join("run"), &boot).unwrap();
    let guests = loaded.entries.iter().filter(|entry| matches!(entry, Entry::Guest(_))).count();
    for n in u32::try_from(guests).unwrap().. {
        if n > 0 {
            let both = [entries::guest(n), Entry::Claim(entries::claim(n.into()))];
            store.commit(&puts(&both)).unwrap();
            println!("committed {n}.");
        }
    }
}
