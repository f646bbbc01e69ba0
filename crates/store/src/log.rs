//! SQLite's log of a file (`-wal`), looked at before SQLite does.
//!
//! SQLite reads the log up to the first frame that is not whole, and takes all behind it for
//! what a power cut left: right for the last transaction, and a silent loss where an earlier one
//! was damaged. The two can be told apart. A transaction is written only when the one before it
//! is on the disk, so that behind a frame which a power cut has spoiled there is no more than the
//! rest of its own transaction. Format: <https://sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

const HEAD: usize = 32;
const FRAME_HEAD: usize = 24;
/// The lowest bit says in which order the checksum takes bytes.
const MAGIC: u32 = 0x377f_0682;

/// How the file is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Synced {
    /// Each transaction before it is acknowledged: `synchronous = FULL`.
    EachTransaction,
    /// The log only before it is folded into the file: `synchronous = NORMAL`. A power cut voids
    /// the whole file, and a kill leaves what was written in its order.
    EachCheckpoint,
}

impl Synced {
    /// The value of `PRAGMA synchronous`.
    pub(crate) const fn pragma(self) -> &'static str {
        match self {
            Self::EachTransaction => "FULL",
            Self::EachCheckpoint => "NORMAL",
        }
    }
}

/// The log of a database.
pub(crate) fn of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// What is damaged in the log of a file, in words; `None` where nothing is, and no log, too, is
/// as it should be.
pub(crate) fn damage(file: &Path, synced: Synced) -> io::Result<Option<String>> {
    let log = match File::open(of(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        log => log?,
    };
    let mut log = BufReader::new(log);
    let Some(head) = portion(&mut log, HEAD)? else { return Ok(None) };
    // Made longer, and not written yet.
    if head.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let Some(frames) = Frames::behind(&head) else {
        return Ok(Some("the head of its log is not whole".to_owned()));
    };
    frames.damage(log, synced)
}

/// What frames are checked against.
struct Frames {
    order: fn([u8; 4]) -> u32,
    page: usize,
    salts: [u32; 2],
    /// What the next frame's checksum may begin with.
    sums: [[u32; 2]; 2],
}

/// One frame.
struct Frame {
    /// Whether it has the salts of its log: another one's are left from before.
    of_this_log: bool,
    /// Whether it ends a transaction.
    commits: bool,
    /// Whether its checksum is right behind the frame before it.
    whole: bool,
    /// Its checksum, as written and as it would be right: the one of a damaged frame that the
    /// next one was made from.
    sums: [[u32; 2]; 2],
}

impl Frames {
    fn behind(head: &[u8]) -> Option<Self> {
        let magic = big(head, 0);
        if magic | 1 != MAGIC | 1 {
            return None;
        }
        let order = if magic & 1 == 0 { u32::from_le_bytes } else { u32::from_be_bytes };
        let sum = sum(order, [0, 0], &head[..24]);
        let written = [big(head, 24), big(head, 28)];
        let page = usize::try_from(big(head, 8)).ok()?;
        let sound = sum == written && page.is_power_of_two() && (512..=65_536).contains(&page);
        sound.then(|| Self { order, page, salts: [big(head, 16), big(head, 20)], sums: [sum; 2] })
    }

    fn damage(mut self, mut log: impl Read, synced: Synced) -> io::Result<Option<String>> {
        let mut first_bad = None;
        let mut commits = 0_u32;
        let mut goes_on = false;
        let mut number = 0_u32;
        while let Some(bytes) = portion(&mut log, FRAME_HEAD + self.page)? {
            number += 1;
            let frame = self.frame(&bytes);
            self.sums = frame.sums;
            if first_bad.is_none() {
                if frame.of_this_log && frame.whole {
                    continue;
                }
                first_bad = Some(number);
                // One that would be right but for its salts is no other log's either.
                let was_ours = frame.of_this_log || frame.whole;
                if was_ours && frame.commits && synced == Synced::EachTransaction {
                    commits += 1;
                }
                continue;
            }
            if frame.of_this_log && frame.whole {
                goes_on |= commits > 0;
                commits += u32::from(frame.commits);
            }
        }
        let damaged = match synced {
            Synced::EachTransaction => commits > 0 && goes_on,
            Synced::EachCheckpoint => commits > 0,
        };
        let said = |bad: u32| format!("frame {bad} of its log is not whole, and others follow it");
        Ok(first_bad.filter(|_| damaged).map(said))
    }

    fn frame(&self, bytes: &[u8]) -> Frame {
        let right = self.sums.map(|from| {
            let of_head = sum(self.order, from, &bytes[..8]);
            sum(self.order, of_head, &bytes[FRAME_HEAD..])
        });
        let written = [big(bytes, 16), big(bytes, 20)];
        Frame {
            of_this_log: [big(bytes, 8), big(bytes, 12)] == self.salts,
            commits: big(bytes, 4) != 0,
            whole: right.contains(&written),
            sums: [written, right[0]],
        }
    }
}

/// So many bytes; `None` where fewer are left.
fn portion(log: &mut impl Read, bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut portion = vec![0; bytes];
    match log.read_exact(&mut portion) {
        Ok(()) => Ok(Some(portion)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn big(bytes: &[u8], at: usize) -> u32 {
    let [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    u32::from_be_bytes([a, b, c, d])
}

/// The checksum of the log, over an even number of words.
fn sum(order: fn([u8; 4]) -> u32, from: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let [mut a, mut b] = from;
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(order([pair[0], pair[1], pair[2], pair[3]])).wrapping_add(b);
        b = b.wrapping_add(order([pair[4], pair[5], pair[6], pair[7]])).wrapping_add(a);
    }
    [a, b]
}
