//! Lines of one kind that come without end are counted instead of written, so that whoever causes
//! them neither fills the log nor has others' lines pushed out of it.
//!
//! A kind is a place in the program, or a kind of announcement. Of each, so many lines are written
//! in a while; how many more there were is told afterwards, with one of them.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// For how long lines are counted.
pub(crate) const WHILE: Duration = Duration::from_secs(10);

/// Lines from one place in the program that are written in that time.
const OF_A_PLACE: u32 = 100;

/// Announcements of one kind that are written in that time: a host that starts may have as many
/// guests.
const OF_AN_EVENT: u32 = 1000;

/// Bytes kept of one line that was left out.
const TEXT: usize = 200;

static FLOODS: Mutex<Floods> = Mutex::new(Floods(BTreeMap::new()));

fn lock() -> MutexGuard<'static, Floods> {
    FLOODS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lines have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    /// File and line.
    Place(&'static str, u32),
    /// An announcement, as [`vfnet_model::event::Event::event`].
    Event(&'static str),
}

/// Lines of one kind.
#[derive(Debug)]
struct Flood {
    began: Instant,
    written: u32,
    left_out: u64,
    /// The first that was.
    like: String,
}

/// Every kind that has been. There are only as many as the program has.
#[derive(Debug)]
struct Floods(BTreeMap<Kind, Flood>);

impl Floods {
    /// Whether the next line of a kind is written.
    fn passes(&mut self, kind: Kind, now: Instant, text: impl FnOnce() -> String) -> bool {
        let fresh = Flood { began: now, written: 0, left_out: 0, like: String::new() };
        let flood = self.0.entry(kind).or_insert(fresh);
        if now.saturating_duration_since(flood.began) >= WHILE {
            (flood.began, flood.written) = (now, 0);
        }
        let most = match kind {
            Kind::Place(..) => OF_A_PLACE,
            Kind::Event(_) => OF_AN_EVENT,
        };
        if flood.written < most {
            flood.written += 1;
            return true;
        }
        if flood.left_out == 0 {
            flood.like = text();
            flood.like.truncate(flood.like.floor_char_boundary(TEXT));
        }
        flood.left_out += 1;
        false
    }

    /// How many lines of each kind have been left out since this was last asked, and one of them.
    fn left_out(&mut self) -> Vec<(u64, String)> {
        let flooded = self.0.values_mut().filter(|flood| flood.left_out > 0);
        flooded
            .map(|flood| (std::mem::take(&mut flood.left_out), std::mem::take(&mut flood.like)))
            .collect()
    }
}

/// Whether an announcement is to be written.
pub(crate) fn passes(event: &'static str, text: &str) -> bool {
    lock().passes(Kind::Event(event), Instant::now(), || text.to_owned())
}

/// Tells how many lines have been left out.
pub(crate) fn tell() {
    // Its lines are counted as well: not while it is locked.
    let left_out = lock().left_out();
    for (lines, like) in left_out {
        tracing::warn!("{lines} more lines were left out that are like: {like}");
    }
}

/// Leaves lines out, those for whoever looks for a fault excepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet;

/// Of lines that are counted otherwise.
pub(crate) const ANNOUNCED: &str = "announced";

impl<S: Subscriber> Layer<S> for Quiet {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == ANNOUNCED {
            return true;
        }
        let place = metadata.file().unwrap_or_else(|| metadata.target());
        let kind = Kind::Place(place, metadata.line().unwrap_or_default());
        lock().passes(kind, Instant::now(), || {
            let mut message = Message(String::new());
            event.record(&mut message);
            message.0
        })
    }
}

/// What a line says, with its fields behind it.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A string takes it all.
        let _taken = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_some_lines_are_written_and_the_rest_is_counted() {
        let mut floods = Floods(BTreeMap::new());
        let now = Instant::now();
        let kind = Kind::Place("a.rs", 1);
        let passed =
            (0..100_000).filter(|n| floods.passes(kind, now, || format!("line {n}"))).count();
        assert_eq!(passed, OF_A_PLACE as usize);
        assert!(floods.passes(Kind::Place("a.rs", 2), now, String::new), "others are written");
        let told = vec![(100_000 - u64::from(OF_A_PLACE), format!("line {OF_A_PLACE}"))];
        assert_eq!(floods.left_out(), told);
        assert_eq!(floods.left_out(), [], "each is told once");
        assert!(!floods.passes(kind, now, || "x".repeat(10_000)));
        assert_eq!(floods.left_out(), [(1, "x".repeat(TEXT))]);
        assert!(floods.passes(kind, now + WHILE, String::new), "it begins anew");
    }
}
