//! `cargo xtask lab cuts`: the emulated host loses its power while definitions are written.
//!
//! QEMU is killed, which loses all that the host had in memory, and the disk ([`VolatileDisk`])
//! loses what it had in its cache: at a random moment, or, every other time, in the middle of a
//! random write or flush of the disk. What the host said until then is the journal that the next
//! boot is held to.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::hosts::lab_scenario;
use crate::lab::{Cut, Ended, Lab, make_disk};
use crate::sim::new_seed;
use crate::volatile_disk::VolatileDisk;

/// What the scenarios print once the power may go.
const WRITING: &str = "WRITING";
/// Writing goes on for at least and at most this long, in milliseconds.
const MOMENTS: (usize, usize) = (500, 12_000);
/// Or for at most so many writes and flushes of the disk.
const REQUESTS: usize = 300;
/// The disk lives in memory.
const DISK_BYTES: u64 = 64 << 20;
/// Where the disk is not written to so often.
const LONGEST: Duration = Duration::from_secs(60);
/// The time that one boot may take.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// How often, and when.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Power cuts
    #[arg(long, default_value_t = 20)]
    pub(crate) cuts: usize,
    /// What moments, changes and losses follow from; new ones by default
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Cuts the power so often; whether nothing was lost.
///
/// # Errors
///
/// When the host cannot be booted.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let seed = options.seed.map_or_else(new_seed, Ok)?;
    println!("seed {seed}: {} power cuts", options.cuts);
    let mut dice = Dice(seed);
    let lab = || Lab::new("cuts").limit(BOOT_LIMIT);
    let folder = lab().folder();
    let (share, image, socket) =
        (folder.join("share"), folder.join("disk.img"), folder.join("disk.sock"));
    fs::create_dir_all(&share)?;
    make_disk(&image, DISK_BYTES)?;
    let mut content = fs::read(&image)?;
    fs::remove_file(&image)?;
    let (mut changes, mut sectors) = (0, 0);
    let mut journal = String::new();
    for boot in 1..=options.cuts + 1 {
        fs::write(share.join("journal"), &journal)?;
        let disk = Arc::new(VolatileDisk::serve(content, &socket)?);
        let last = boot > options.cuts;
        let last_word = if last { " --last" } else { "" };
        let words = format!("cuts --boot {boot} --seed {seed} --journal /save/journal{last_word}");
        let args: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let (moment, cut) = moment(&mut dice, boot, &disk);
        let lab = lab().drive(disk.drive()).share(&share).cut(cut);
        let report = lab.run(&lab_scenario(), &args, |line| {
            if ["STATE ", "BEGIN ", "DONE "].iter().all(|word| !line.starts_with(word)) {
                println!("  {line}");
            }
        })?;
        match report.ended {
            Ended::Exit(code) => {
                println!("{} power cuts, {changes} changes acknowledged before them", boot - 1);
                println!("{sectors} sectors in the disk's cache, kept, lost or of an older write");
                return Ok(code == 0 && last);
            }
            Ended::PowerLost => {
                let cut = report.lines.iter().any(|line| line == WRITING);
                ensure!(cut, "the host died by itself\n{}", lab.last_words(false));
            }
        }
        let (left, cached) = disk.lose_power(&mut |below| dice.below(below));
        content = left;
        let done = report.lines.iter().filter(|line| line.starts_with("DONE ")).count();
        println!(
            "  cut {boot}: {moment}, {done} changes acknowledged, {cached} sectors in the disk's cache"
        );
        changes += done;
        sectors += cached;
        journal = report.lines.join("\n");
    }
    Ok(false)
}

/// When the power goes in this boot, in words too.
fn moment(dice: &mut Dice, boot: usize, disk: &Arc<VolatileDisk>) -> (String, Cut) {
    let (least, most) = MOMENTS;
    let after = Duration::from_millis((least + dice.below(most - least)) as u64);
    let requests = 1 + dice.below(REQUESTS);
    let disk = Arc::clone(disk);
    if boot.is_multiple_of(2) {
        let now = Box::new(move |since| since >= after);
        return (
            format!("{} ms after writing began", after.as_millis()),
            Cut { from: WRITING, now },
        );
    }
    let now = move |since| {
        disk.take_only(requests);
        disk.is_dead() || since > LONGEST
    };
    let words = format!("within write or flush {requests} of the disk");
    (words, Cut { from: WRITING, now: Box::new(now) })
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    /// A number below this one, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        usize::try_from(bits % (end as u64)).unwrap_or_default()
    }
}
