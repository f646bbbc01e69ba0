//! A disk whose cache forgets: what was written and not flushed is lost, or not, sector by sector,
//! when the power goes.
//!
//! It lives in this program, and QEMU reaches it over a Unix socket by NBD (NetworkBlockDevice/nbd:
//! doc/proto.md, fixed newstyle handshake, simple replies). A write is answered at once, and is
//! read back as written; a flush makes all writes before it stable. [`VolatileDisk::lose_power`]
//! then decides for every sector written since, by dice, which of the versions that it has had
//! since the last flush is on the disk. That is what a drive with a write cache may do, and more
//! than most do.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};

/// The unit that is written whole or not at all.
const SECTOR: usize = 512;
/// So many sectors at the disk's beginning are one unit: ext4 has its superblock there, which it
/// writes in place, past its journal, and which a file system that is mounted without fsck cannot
/// do without.
const SUPERBLOCK: usize = 4096 / SECTOR;
/// More is never asked for by QEMU, whose largest request over NBD is 32 MiB.
const LARGEST: usize = 32 << 20;

const GREETING: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const FIXED_NEWSTYLE: u16 = 1;
const OPT_ABORT: u32 = 2;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_UNSUPPORTED: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
/// There are flags; a flush is understood, and "force unit access" too.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const FORCE_UNIT_ACCESS: u16 = 1;
const INVALID: u32 = 22;

type Sector = [u8; SECTOR];

/// What the disk holds.
#[derive(Debug)]
struct Plates {
    /// What survives.
    stable: Vec<u8>,
    /// All versions since the last flush of each sector that was written, in order.
    written: BTreeMap<usize, Vec<Sector>>,
    /// Writes and flushes that it still takes, once that is limited; after the last it does not
    /// answer any more.
    takes: Option<usize>,
}

/// The disk.
#[derive(Debug)]
pub(crate) struct VolatileDisk {
    plates: Arc<Mutex<Plates>>,
    socket: PathBuf,
}

impl VolatileDisk {
    /// A disk with this content, served on a socket from now on.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made.
    pub(crate) fn serve(content: Vec<u8>, socket: &Path) -> Result<Self> {
        if socket.exists() {
            std::fs::remove_file(socket)?;
        }
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let plates =
            Arc::new(Mutex::new(Plates { stable: content, written: BTreeMap::new(), takes: None }));
        let served = Arc::clone(&plates);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // QEMU is killed in the middle of whatever it says.
                let _cut = client.and_then(|client| serve(&client, &served));
            }
        });
        Ok(Self { plates, socket: socket.to_owned() })
    }

    /// Where it is served, for QEMU's `-drive file=`.
    pub(crate) fn drive(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }

    /// Has the disk take so many more writes and flushes. The last of them is not answered, nor is
    /// anything after it: the power goes while it is under way.
    pub(crate) fn take_only(&self, requests: usize) {
        lock(&self.plates).takes.get_or_insert(requests);
    }

    /// Whether it does not answer any more.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.plates).takes == Some(0)
    }

    /// What is on the disk after a power cut, and how many sectors were in its cache. `dice` gives
    /// a number below the one that it is given.
    pub(crate) fn lose_power(&self, dice: &mut dyn FnMut(usize) -> usize) -> (Vec<u8>, usize) {
        let mut plates = lock(&self.plates);
        let written = std::mem::take(&mut plates.written);
        let count = written.len();
        let mut superblock = None;
        for (place, versions) in written {
            let survives = match place < SUPERBLOCK {
                true => *superblock.get_or_insert_with(|| dice(versions.len() + 1)),
                false => dice(versions.len() + 1),
            };
            if let Some(version) = survives.checked_sub(1).and_then(|nth| versions.get(nth)) {
                plates.stable[place * SECTOR..][..SECTOR].copy_from_slice(version);
            }
        }
        (plates.stable.clone(), count)
    }
}

fn lock(plates: &Mutex<Plates>) -> MutexGuard<'_, Plates> {
    plates.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plates {
    /// Whether these bytes are whole sectors of the disk.
    fn has(&self, offset: u64, length: usize) -> Option<usize> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(length)?;
        let whole = offset.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR);
        (whole && end <= self.stable.len()).then_some(offset)
    }

    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let mut bytes = self.stable[offset..offset + length].to_vec();
        let (first, end) = (offset / SECTOR, (offset + length) / SECTOR);
        for (place, versions) in self.written.range(first..end) {
            if let Some(last) = versions.last() {
                bytes[(place - first) * SECTOR..][..SECTOR].copy_from_slice(last);
            }
        }
        bytes
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (place, sector) in bytes.chunks_exact(SECTOR).enumerate() {
            let mut version = [0; SECTOR];
            version.copy_from_slice(sector);
            self.written.entry(offset / SECTOR + place).or_default().push(version);
        }
    }

    fn flush(&mut self) {
        for (place, versions) in std::mem::take(&mut self.written) {
            if let Some(last) = versions.last() {
                self.stable[place * SECTOR..][..SECTOR].copy_from_slice(last);
            }
        }
    }
}

/// Serves one client to its end.
fn serve(client: &UnixStream, plates: &Mutex<Plates>) -> io::Result<()> {
    let (mut input, mut output) = (BufReader::new(client), BufWriter::new(client));
    if !greet(&mut input, &mut output, lock(plates).stable.len() as u64)? {
        return Ok(());
    }
    loop {
        if number::<4>(&mut input)? != u64::from(REQUEST) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (flags, request) = (short(&mut input)?, short(&mut input)?);
        let (cookie, offset) = (number::<8>(&mut input)?, number::<8>(&mut input)?);
        let length = usize::try_from(number::<4>(&mut input)?).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        if request == WRITE {
            bytes = take(&mut input, length)?;
        }
        let mut fault = 0;
        {
            let mut plates = lock(plates);
            if let Some(takes @ 1..) = plates.takes.filter(|_| [WRITE, FLUSH].contains(&request)) {
                plates.takes = Some(takes - 1);
                if takes == 1 && request == WRITE {
                    // In the cache, or half of it.
                    if let Some(offset) = plates.has(offset, length) {
                        plates.write(offset, &bytes);
                    }
                }
            }
            if plates.takes == Some(0) {
                drop(plates);
                // Whoever waits for the answer goes with the power.
                loop {
                    std::thread::park();
                }
            }
            match (request, plates.has(offset, length)) {
                (READ, Some(offset)) if length <= LARGEST => bytes = plates.read(offset, length),
                (WRITE, Some(offset)) => {
                    plates.write(offset, &bytes);
                    bytes.clear();
                    if flags & FORCE_UNIT_ACCESS != 0 {
                        // Flushing more than asked for loses less, never more.
                        plates.flush();
                    }
                }
                (FLUSH, _) => plates.flush(),
                (DISCONNECT, _) => return Ok(()),
                _ => {
                    bytes.clear();
                    fault = INVALID;
                }
            }
        }
        output.write_all(&REPLY.to_be_bytes())?;
        output.write_all(&fault.to_be_bytes())?;
        output.write_all(&cookie.to_be_bytes())?;
        output.write_all(&bytes)?;
        output.flush()?;
    }
}

/// The handshake; whether the client goes on.
fn greet(input: &mut impl Read, output: &mut impl Write, size: u64) -> io::Result<bool> {
    output.write_all(&GREETING.to_be_bytes())?;
    output.write_all(&OPTION.to_be_bytes())?;
    output.write_all(&FIXED_NEWSTYLE.to_be_bytes())?;
    output.flush()?;
    number::<4>(input)?;
    loop {
        if number::<8>(input)? != OPTION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = u32::try_from(number::<4>(input)?).unwrap_or_default();
        let length = usize::try_from(number::<4>(input)?).unwrap_or(usize::MAX);
        take(input, length)?;
        let mut reply = |kind: u32, data: &[u8]| -> io::Result<()> {
            output.write_all(&OPTION_REPLY.to_be_bytes())?;
            output.write_all(&option.to_be_bytes())?;
            output.write_all(&kind.to_be_bytes())?;
            output.write_all(&u32::try_from(data.len()).unwrap_or_default().to_be_bytes())?;
            output.write_all(data)?;
            output.flush()
        };
        match option {
            OPT_GO => {
                let mut info = INFO_EXPORT.to_be_bytes().to_vec();
                info.extend(size.to_be_bytes());
                info.extend(EXPORT_FLAGS.to_be_bytes());
                reply(REP_INFO, &info)?;
                reply(REP_ACK, &[])?;
                return Ok(true);
            }
            OPT_ABORT => {
                reply(REP_ACK, &[])?;
                return Ok(false);
            }
            _ => reply(REP_UNSUPPORTED, &[])?,
        }
    }
}

/// A number of so many bytes, the highest first.
fn number<const N: usize>(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn short(input: &mut impl Read) -> io::Result<u16> {
    Ok(u16::try_from(number::<2>(input)?).unwrap_or_default())
}

/// So many bytes, unless they are more than anybody sends.
fn take(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use super::{Plates, SECTOR, SUPERBLOCK, VolatileDisk};

    fn disk(sectors: usize) -> VolatileDisk {
        let plates =
            Plates { stable: vec![0; sectors * SECTOR], written: BTreeMap::new(), takes: None };
        VolatileDisk { plates: Arc::new(Mutex::new(plates)), socket: PathBuf::new() }
    }

    #[test]
    fn what_was_flushed_survives_and_what_was_not_may_be_lost() {
        let disk = disk(SUPERBLOCK + 2);
        let at = SUPERBLOCK * SECTOR;
        let mut plates = disk.plates.lock().expect("a lock");
        plates.write(at, &[1; SECTOR]);
        plates.flush();
        plates.write(at, &[2; 2 * SECTOR]);
        assert_eq!(plates.read(at, 2 * SECTOR), [2; 2 * SECTOR]);
        drop(plates);
        // The first sector as it was before, the second one new.
        let mut thrown = [0, 1].into_iter();
        let (left, cached) = disk.lose_power(&mut |_| thrown.next().expect("two sectors"));
        assert_eq!(left[at..][..SECTOR], [1; SECTOR]);
        assert_eq!(left[at + SECTOR..], [2; SECTOR]);
        assert_eq!(cached, 2);
    }

    #[test]
    fn the_superblock_is_not_torn() {
        let disk = disk(SUPERBLOCK);
        disk.plates.lock().expect("a lock").write(0, &[1; SUPERBLOCK * SECTOR]);
        let mut thrown = [1].into_iter();
        let (left, _) = disk.lose_power(&mut |_| thrown.next().expect("one unit"));
        assert_eq!(left, [1; SUPERBLOCK * SECTOR]);
    }

    #[test]
    fn any_version_since_the_last_flush_may_be_the_one_on_the_disk() {
        let disk = disk(1);
        let mut plates = disk.plates.lock().expect("a lock");
        plates.write(0, &[1; SECTOR]);
        plates.write(0, &[2; SECTOR]);
        drop(plates);
        assert_eq!(disk.lose_power(&mut |_| 1).0, [1; SECTOR]);
        assert_eq!(disk.lose_power(&mut |_| 0).0, [1; SECTOR]);
    }

    #[test]
    fn a_disk_whose_power_is_to_go_takes_what_it_was_told_to() {
        let disk = disk(1);
        assert!(!disk.is_dead());
        disk.take_only(0);
        disk.take_only(9);
        assert!(disk.is_dead());
    }

    #[test]
    fn what_is_not_on_the_disk_is_refused() {
        let plates = Plates { stable: vec![0; SECTOR], written: BTreeMap::new(), takes: None };
        assert_eq!(plates.has(0, SECTOR), Some(0));
        assert_eq!(plates.has(0, 2 * SECTOR), None);
        assert_eq!(plates.has(u64::MAX, SECTOR), None);
        assert_eq!(plates.has(1, SECTOR), None);
    }
}
