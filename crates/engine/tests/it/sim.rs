//! Whole lives from seeds, as many as there is time for: `cargo xtask sim`.
//!
//! A seed stands for a host, for all that happens to it and for the order of what goes on side by
//! side ([`Life::of`]), so that a seed that breaks a promise breaks it again. Its events are then
//! taken away as far as the same promise stays broken.

use std::cell::Cell as Flag;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bugs::Bug;
use crate::coverage::Coverage;
use crate::events::{Event, Life};

mod cells;

/// Lives that are lived again to make one shorter.
const MOST_TRIES: usize = 600;

/// What is asked for, in words as `first=7 seeds=100`.
#[derive(Clone, Copy, Debug)]
struct Options {
    first: u64,
    seeds: u64,
    time: Option<Duration>,
    events: usize,
    json: bool,
}

impl Options {
    fn read(words: &str) -> Self {
        let mut options = Self { first: 1, seeds: u64::MAX, time: None, events: 60, json: false };
        for word in words.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, "0"));
            let number = || value.parse::<u64>().expect("a number");
            match name {
                "first" => options.first = number(),
                "seeds" => options.seeds = number(),
                "seconds" => options.time = Some(Duration::from_secs(number())),
                "steps" => options.events = value.parse().expect("a number"),
                "json" => options.json = true,
                other => panic!("no option {other}"),
            }
        }
        if options.seeds == u64::MAX && options.time.is_none() {
            options.seeds = 1_000;
        }
        options
    }
}

/// What many lives came to.
#[derive(Default)]
struct Tally {
    lives: u64,
    steps: u64,
    coverage: Coverage,
    /// For each promise that was broken, the first seed that did.
    broken: BTreeMap<String, (u64, Broken)>,
}

/// A promise that was broken, with the story of it.
#[derive(Clone, Debug)]
struct Broken(String);

impl Broken {
    /// Which promise: what is said of it, without whom it hit.
    fn promise(&self) -> String {
        let line = self.0.lines().next().unwrap_or_default();
        let word = |word: &&str| !word.chars().any(|letter| letter.is_ascii_digit());
        let said = line.split_once(": Write").map_or(line, |(said, _)| said);
        said.split_whitespace().filter(word).take(6).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

thread_local! {
    static QUIET: Flag<bool> = const { Flag::new(false) };
}

/// One life, and what broke in it.
fn lived(life: &Life, bug: Option<Bug>) -> (u64, Coverage, Option<Broken>) {
    let mut world = None;
    QUIET.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(|| life.live(bug, &mut world)));
    QUIET.set(false);
    let broken = done.err().map(|payload| {
        let said = payload.downcast_ref::<String>().cloned();
        let said = said.or_else(|| payload.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        let story = world.as_ref().map(|world| world.story.join("\n  ")).unwrap_or_default();
        let said = said.unwrap_or_else(|| "the simulator failed".to_owned());
        let said = said.split("\nafter:\n").next().unwrap_or_default().to_owned();
        Broken(format!("{said}\nafter:\n  {story}"))
    });
    let (steps, coverage) = world.map(|world| (world.steps, world.coverage)).unwrap_or_default();
    (steps, coverage, broken)
}

/// What a broken promise says is told with its seed, not as it happens.
fn hush() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !QUIET.get() {
            loud(panic);
        }
    }));
}

/// Lives seeds until they or the time are over, also when promises are broken.
fn run(options: Options, progress: &(dyn Fn(&Tally) + Sync)) -> Tally {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = options.time.is_some_and(|time| began.elapsed() >= time);
                    if number >= options.seeds || late {
                        return;
                    }
                    let seed = options.first.wrapping_add(number);
                    let (steps, coverage, broken) = lived(&Life::of(seed, options.events), None);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.lives += 1;
                    tally.steps += steps;
                    tally.coverage.add(&coverage);
                    if let Some(broken) = broken {
                        let first = tally.broken.entry(broken.promise());
                        let first = first.or_insert_with(|| (seed, broken.clone()));
                        if seed < first.0 {
                            *first = (seed, broken);
                        }
                    }
                    progress(&tally);
                }
            });
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Takes events away, many at once and then single ones, as long as the same promise is broken.
fn shrunk(life: &Life, broken: Broken, bug: Option<Bug>) -> (Life, Broken) {
    let promise = broken.promise();
    let (mut life, mut broken) = (life.clone(), broken);
    let mut tries = 0;
    let mut piece = life.events.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        let mut any = false;
        while from < life.events.len() && tries < MOST_TRIES {
            tries += 1;
            let to = (from + piece).min(life.events.len());
            let rest: Vec<Event> = [&life.events[..from], &life.events[to..]].concat();
            let shorter = life.with(rest);
            match lived(&shorter, bug).2 {
                Some(same) if same.promise() == promise => {
                    (life, broken, any) = (shorter, same, true);
                }
                _ => from = to,
            }
        }
        if tries >= MOST_TRIES {
            break;
        }
        if piece > 1 || !any {
            piece /= 2;
        }
    }
    (life, broken)
}

/// How many seeds it takes to find a planted bug, and the promise that it breaks.
fn found(bug: Bug, within: u64) -> Option<(u64, Broken)> {
    (1..=within).find_map(|seed| Some((seed, lived(&Life::of(seed, 60), Some(bug)).2?)))
}

#[test]
#[ignore = "as long as it is told to: cargo xtask sim"]
fn whole_lives() {
    hush();
    let options = Options::read(&std::env::var("VFNET_SIM").unwrap_or_default());
    let began = Instant::now();
    let told = AtomicU64::new(0);
    let progress = |tally: &Tally| {
        let seconds = began.elapsed().as_secs();
        if !options.json && told.fetch_max(seconds / 10, Ordering::Relaxed) < seconds / 10 {
            let broken: Vec<_> = tally.broken.values().map(|(seed, _)| seed).collect();
            println!(
                "{seconds} s: {} lives, {} steps, broken {broken:?}",
                tally.lives, tally.steps
            );
        }
    };
    let tally = run(options, &progress);
    let Tally { lives, steps, coverage, broken } = &tally;
    let time = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = *steps as f64 / time;
    let missing = cells::missing(coverage, *lives);
    let last = options.first.wrapping_add(*lives).wrapping_sub(1);
    if options.json {
        let failed: Vec<_> = broken.values().map(|(seed, _)| seed).collect();
        println!(
            "{{\"first\":{},\"last\":{last},\"lives\":{lives},\"steps\":{steps},\
             \"seconds\":{time:.1},\"steps_per_second\":{rate:.0},\"cells\":{},\
             \"required_missing\":{},\"broken_seeds\":{failed:?}}}",
            options.first,
            coverage.cells.len(),
            missing.len(),
        );
    } else {
        cells::print(coverage);
        println!(
            "seeds {} to {last}, up to {} events each: {lives} lives, {steps} effective steps in \
             {time:.1} s, {rate:.0} a second; {} cells, of which {} are required of long runs",
            options.first,
            options.events,
            coverage.cells.len(),
            cells::required().count()
        );
    }
    for (seed, broken) in broken.values() {
        let life = Life::of(*seed, options.events);
        println!("\nseed {seed} breaks a promise; making its {} events fewer", life.events.len());
        let (short, story) = shrunk(&life, broken.clone(), None);
        println!("{} events are left:", short.events.len());
        for event in &short.events {
            println!("  {event:?}");
        }
        println!("{story}");
        println!("again: cargo xtask sim --first {seed} --seeds 1 --steps {}", options.events);
    }
    assert!(broken.is_empty(), "{} promises are broken", broken.len());
    assert!(missing.is_empty(), "after {lives} lives never reached:\n{}", missing.join("\n"));
}

#[test]
#[ignore = "takes a while: cargo xtask sim --mutations"]
fn planted_bugs_are_found() {
    hush();
    let mut missed = Vec::new();
    println!("{:>5}  {:>6}  planted bug: broken promise", "seeds", "events");
    for (bug, wrong) in Bug::ALL {
        match found(bug, bug.within()) {
            Some((seed, broken)) => {
                let (life, broken) = shrunk(&Life::of(seed, 60), broken, Some(bug));
                let promise = broken.0.lines().next().unwrap_or_default().to_owned();
                println!("{seed:>5}  {:>6}  {wrong}: {promise}", life.events.len());
            }
            None => missed.push((wrong, bug.within())),
        }
    }
    assert!(missed.is_empty(), "not found within so many seeds: {missed:?}");
}

/// The others take more seeds than there is time for here.
#[test]
fn plain_bugs_are_found_within_a_few_seeds() {
    hush();
    let plain = [
        Bug::EffectsBeforeRecords,
        Bug::ClaimNotRecorded,
        Bug::FreeWhileReleasing,
        Bug::RefusedAndNotTakenBack,
        Bug::UnsavedForgotten,
        Bug::KillForgotten,
    ];
    for bug in plain {
        assert!(found(bug, 30).is_some(), "{bug:?} is not found");
    }
}

#[test]
fn a_seed_lives_the_same_life_twice() {
    for seed in 1..4 {
        let stories = [(); 2].map(|()| {
            let mut world = None;
            Life::of(seed, 60).live(None, &mut world);
            world.expect("it has been lived").story
        });
        assert_eq!(stories[0], stories[1], "seed {seed}");
    }
}
