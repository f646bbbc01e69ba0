//! `kill -9` at random moments of starts, destroys, and of ports made and deleted: vfnet, and stock
//! libvirt by the same dice.
//!
//! An operation is begun, and the daemon killed after a share of the time that the operation takes
//! when it is not interrupted. The share follows from the seed, the turn and the try alone, so
//! both daemons are killed at the same shares. A kill that hit nothing under way is idle: it is
//! not counted, and tried again, or it is the next operation's turn. What is under way in vfnet the lab's own daemon has
//! noted ([`crate::trail`]); stock libvirt is at work until it has answered.
//!
//! The last line about each daemon is `ROUNDS {…}`, for `cargo xtask`.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::daemon::virsh_command;
use crate::host::Host;
use crate::kills::ours::Ours;
use crate::kills::theirs::Theirs;
use crate::kills::{Client, Left, Operation};
use crate::program::wait_for_the_end;
use crate::stock;
use crate::trail;

/// Idle hits in a row until it is the next operation's turn: of some, most is waiting.
const TRIES: u64 = 10;

/// Idle hits for each round until something is wrong with the moments.
const MOST_IDLE: usize = 40;

/// A daemon that is killed.
trait Killed {
    const NAME: &'static str;

    fn make_ready_for(&self, operation: Operation) -> Result<()>;
    fn virsh(&self) -> Result<Command>;
    /// Waits until an operation that was answered is over.
    fn settle(&self) -> Result<()>;
    fn kill(&mut self) -> Result<()>;
    /// What the kill hit, if anything; whether virsh had its answer by then.
    fn hit(&self, answered: bool) -> Option<String>;
    fn recover(&mut self) -> Result<(Left, String)>;
    /// Whatever was left, so that the next round begins clean.
    fn clean(&mut self, left: &Left) -> Result<()>;
}

impl Killed for Ours {
    const NAME: &'static str = "vfnet";

    fn make_ready_for(&self, operation: Operation) -> Result<()> {
        Self::make_ready_for(self, operation)?;
        Self::settle(self)?;
        trail::forget()
    }

    fn virsh(&self) -> Result<Command> {
        Ok(virsh_command(&[]))
    }

    fn settle(&self) -> Result<()> {
        Self::settle(self)
    }

    fn kill(&mut self) -> Result<()> {
        self.take_daemon()?.kill()
    }

    fn hit(&self, _answered: bool) -> Option<String> {
        let points = trail::passed();
        let under_way = trail::under_way(&points);
        (!under_way.is_empty()).then(|| under_way.join(", "))
    }

    fn recover(&mut self) -> Result<(Left, String)> {
        let (left, became) = Self::recover(self)?;
        Ok((left, became.to_owned()))
    }

    fn clean(&mut self, left: &Left) -> Result<()> {
        bail!("vfnet has left something behind: {left:?}")
    }
}

impl Killed for Theirs {
    const NAME: &'static str = "stock libvirt";

    fn make_ready_for(&self, operation: Operation) -> Result<()> {
        Self::make_ready_for(self, operation)
    }

    fn virsh(&self) -> Result<Command> {
        Ok(self.daemon()?.virsh_command())
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        Self::kill(self)
    }

    fn hit(&self, answered: bool) -> Option<String> {
        (!answered).then(|| "not answered yet".to_owned())
    }

    fn recover(&mut self) -> Result<(Left, String)> {
        Self::recover(self)
    }

    fn clean(&mut self, _left: &Left) -> Result<()> {
        self.clean_by_hand()
    }
}

/// Rounds of one daemon.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    idle: usize,
    bound: usize,
    claims: usize,
    macs: usize,
    processes: usize,
    changed: usize,
    harmed: usize,
    hits: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, left: &Left) {
        let one_if = usize::from;
        self.bound += one_if(left.bound > 0);
        self.claims += one_if(left.claims > 0);
        self.macs += one_if(left.macs > 0);
        self.processes += one_if(left.processes > 0);
        self.changed += one_if(!left.changed.is_empty());
        self.harmed += one_if(left.harm.is_some());
    }

    fn print(&self, of: &str) {
        let told = json!({
            "of": of, "rounds": self.rounds, "idle": self.idle, "bound": self.bound,
            "claims": self.claims, "macs": self.macs, "processes": self.processes,
            "changed": self.changed, "harmed": self.harmed, "hits": self.hits,
        });
        println!("ROUNDS {told}");
    }
}

/// So many rounds of vfnet, then of stock libvirt where it is there.
///
/// # Errors
///
/// When vfnet leaves anything behind or harms a guest, or stock libvirt does not run.
pub fn run(host: &Host, seed: u64, rounds: usize, stock_rounds: usize) -> Result<()> {
    println!("seed {seed}: {rounds} rounds, {stock_rounds} of stock libvirt");
    if rounds > 0 {
        host.clear()?;
        let mut ours = Ours::lay_out(host)?;
        let mut tally = Tally::default();
        let held = play(&mut ours, seed, rounds, &mut tally);
        tally.print(Ours::NAME);
        held?;
    }
    if stock_rounds == 0 {
        return Ok(());
    }
    host.clear()?;
    let Some(mut theirs) = Theirs::lay_out(host)? else {
        println!("skipped: stock libvirt is not unpacked (cargo xtask stock-libvirt)");
        return Ok(());
    };
    let mut tally = Tally::default();
    let played = play(&mut theirs, seed, stock_rounds, &mut tally);
    tally.print(Theirs::NAME);
    if let Err(error) = played {
        // It is compared with, and not tested: what of it has run is told.
        println!("stock libvirt, ended after {} rounds: {error:#}", tally.rounds);
        println!("{}", last_lines(stock::LOG));
    }
    Ok(())
}

fn last_lines(log: &str) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn play<K: Killed>(subject: &mut K, seed: u64, rounds: usize, tally: &mut Tally) -> Result<()> {
    let mut lengths = BTreeMap::new();
    for operation in Operation::ALL {
        let length = length_of(subject, operation)?;
        println!("{}: {} takes {} ms", K::NAME, operation.name(), length.as_millis());
        lengths.insert(operation, length);
    }
    for (turn, operation) in (1..).zip(Operation::ALL.into_iter().cycle()) {
        if tally.rounds == rounds {
            break;
        }
        ensure!(tally.idle < rounds * MOST_IDLE, "{} kills have hit nothing", tally.idle);
        let round = tally.rounds + 1;
        for attempt in 0..TRIES {
            let share = share(seed, turn, attempt);
            subject.make_ready_for(operation)?;
            let mut client = Client::connect(subject.virsh()?)?.begin(operation)?;
            std::thread::sleep(lengths[&operation].mul_f64(share));
            let answered = client.try_wait()?.is_some();
            subject.kill()?;
            wait_for_the_end("virsh to see that its daemon is dead", &mut client)?;
            let hit = subject.hit(answered);
            let (left, became) = subject.recover()?;
            let rest =
                if left.is_nothing() { "nothing left".to_owned() } else { format!("{left:?}") };
            let told = hit.as_deref().unwrap_or("idle, not counted");
            println!(
                "{} round {round}: {} killed at {:.0} %: {told}; then: {became}; {rest}",
                K::NAME,
                operation.name(),
                share * 100.0
            );
            let Some(hit) = hit else {
                tally.idle += 1;
                if !left.is_nothing() {
                    subject.clean(&left)?;
                }
                continue;
            };
            tally.rounds += 1;
            tally.count(&left);
            *tally.hits.entry(format!("{}: {hit}", operation.name())).or_default() += 1;
            if !left.is_nothing() {
                subject.clean(&left)?;
            }
            break;
        }
    }
    Ok(())
}

/// How long an operation takes that is not interrupted: the second time, when everything that is
/// read is in memory.
fn length_of<K: Killed>(subject: &mut K, operation: Operation) -> Result<Duration> {
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        subject.make_ready_for(operation)?;
        let client = Client::connect(subject.virsh()?)?;
        let started = Instant::now();
        wait_for_the_end(operation.name(), &mut client.begin(operation)?)?;
        subject.settle()?;
        took = started.elapsed();
        let words = Client::complaints()?;
        ensure!(words.is_empty(), "{}: {}: {words}", K::NAME, operation.name());
        let (left, _) = subject.recover()?;
        ensure!(left.is_nothing(), "{}: {} leaves {left:?}", K::NAME, operation.name());
    }
    Ok(took)
}

/// A share of an operation's time, from 0 to 1 (SplitMix64).
fn share(seed: u64, turn: u64, attempt: u64) -> f64 {
    let mut bits = seed
        .wrapping_add(turn.wrapping_mul(TRIES).wrapping_add(attempt).wrapping_add(1))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    // 32 bits are told apart by a double.
    let high = u32::try_from(bits >> 32).unwrap_or(u32::MAX);
    f64::from(high) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn moments_follow_from_the_seed_and_spread_over_the_operation() {
        assert_eq!(share(7, 1, 0), share(7, 1, 0));
        let shares: Vec<f64> = (0..100).map(|round| share(7, round, 0)).collect();
        let early = shares.iter().filter(|share| **share < 0.5).count();
        assert!((30..70).contains(&early), "{early} of 100 in the first half");
    }
}
