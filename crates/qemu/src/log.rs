//! A guest's log: everything QEMU prints, over all its starts, in one appended file.
//!
//! QEMU writes to the file itself, not through a pipe, so its words outlive the daemon. Each
//! start begins with a header line (time, command line). The file is rotated at a start when it
//! is larger than [`ROTATE_AT`], keeping [`KEPT`] old ones (`.1` is the newest). While a guest
//! runs nobody can be told to reopen it; then a file larger than [`CUT_AT`] is copied to `.1`,
//! up to twice that, and emptied (QEMU appends, so it goes on at the beginning); it is looked at
//! a second after QEMU has printed something. What is printed between copy and cut is lost: a guest that makes QEMU print
//! without end must not fill the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{OFlags, inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;
use vfnet_model::time::utc;
use vfnet_model::{GuestName, legible};

use crate::readiness;

/// Bytes above which a log is rotated when its guest starts.
pub const ROTATE_AT: u64 = 1 << 20;
/// Bytes above which a log is copied away and emptied under a running guest.
pub const CUT_AT: u64 = 16 << 20;
/// Old logs kept.
pub const KEPT: u32 = 3;

/// How a header line begins, so that the words of the last start can be found.
const HEADER: &str = "=== vfnet: ";
/// Bytes of the end of a log that are searched for QEMU's last words.
const TAIL: u64 = 64 << 10;
/// Last words: lines and bytes at most.
const WORDS: (usize, usize) = (20, 4096);

/// A guest's log in the directory of logs.
///
/// A name that would be too long for a file is cut and told apart by the UUID.
pub fn path(logs: &Path, name: &GuestName, uuid: &Uuid) -> PathBuf {
    let name = name.as_str();
    if name.len() <= 200 {
        return logs.join(format!("{name}.log"));
    }
    logs.join(format!("{}-{uuid}.log", &name[..name.floor_char_boundary(200)]))
}

/// Opens a log for a start: rotates it when it is large, and writes the header.
pub(crate) fn begin(path: &Path, started: &str) -> io::Result<File> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.len() > ROTATE_AT) {
        for number in (1..KEPT).rev() {
            if let Err(error) = std::fs::rename(old(path, number), old(path, number + 1))
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        std::fs::rename(path, old(path, 1))?;
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(path)?;
    #[expect(clippy::disallowed_methods, reason = "a line for people")]
    let line = format!("{HEADER}{} {}\n", utc(SystemTime::now()), on_one_line(started));
    file.write_all(line.as_bytes())?;
    Ok(file)
}

/// Tells that a log has grown, a while after it has; of a log that cannot be watched (the kernel
/// has `fs.inotify.max_user_instances`), that it may have, each time that the while is over.
#[derive(Debug)]
pub(crate) struct Growth {
    changes: Option<AsyncFd<OwnedFd>>,
    pause: Duration,
    /// When the next look is due, where one is.
    due: Option<Instant>,
}

impl Growth {
    /// From now on; what was printed before is told of, too.
    pub(crate) fn of(path: &Path, pause: Duration) -> Self {
        let changes = watch(path).inspect_err(|error| {
            tracing::debug!(path = %path.display(), %error, "a log is looked at every second");
        });
        Self { changes: changes.ok(), pause, due: Some(Instant::now() + pause) }
    }

    /// Waits until there may be more in the log. Nothing is lost when this is given up and called
    /// again.
    pub(crate) async fn heard(&mut self) {
        let due = match (self.due, &self.changes) {
            (Some(due), _) => due,
            (None, None) => Instant::now() + self.pause,
            (None, Some(changes)) => {
                // A descriptor of inotify is not closed by anybody else.
                if let Ok(mut ready) = changes.readable().await {
                    let mut buffer = [0; 4096];
                    while rustix::io::read(changes, &mut buffer).is_ok_and(|count| count > 0) {}
                    ready.clear_ready();
                }
                Instant::now() + self.pause
            }
        };
        self.due = Some(due);
        sleep_until(due).await;
        self.due = None;
    }
}

fn watch(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let changes = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
    readiness::watch(changes, Interest::READABLE)
}

/// Whether a log is to be [`cut`]. One that cannot be looked at is, so that this is said.
pub(crate) fn is_large(path: &Path) -> bool {
    std::fs::symlink_metadata(path).map_or(true, |found| found.len() > CUT_AT)
}

/// Copies a log away and empties it when it is larger than `limit` bytes.
pub(crate) fn cut(path: &Path, limit: u64) -> io::Result<bool> {
    let mut file =
        OpenOptions::new().read(true).write(true).custom_flags(no_follow()).open(path)?;
    if file.metadata()?.len() <= limit {
        return Ok(false);
    }
    let mut copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(old(path, 1))?;
    io::copy(&mut (&mut file).take(2 * limit), &mut copy)?;
    file.set_len(0)?;
    Ok(true)
}

/// QEMU's last words since its last start, at most 20 lines, without control characters.
pub fn last_words(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(words_in(&String::from_utf8_lossy(&bytes)))
}

fn words_in(tail: &str) -> String {
    let mut lines: Vec<&str> = tail
        .rsplit('\n')
        .take_while(|line| !line.starts_with(HEADER))
        .filter(|line| !line.trim().is_empty())
        .take(WORDS.0)
        .collect();
    lines.reverse();
    let text = lines.join("\n");
    let start = text.ceil_char_boundary(text.len().saturating_sub(WORDS.1));
    legible(&text[start..])
}

fn old(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

fn on_one_line(text: &str) -> String {
    legible(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_looked_at_when_it_has_grown_and_left_alone_when_not() {
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(150));
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("web1.log");
        let mut file = begin(&path, "qemu").unwrap();
        let mut growth = Growth::of(&path, short);
        growth.heard().await;
        assert!(tokio::time::timeout(long, growth.heard()).await.is_err(), "nothing was printed");
        for words in ["a", "b"] {
            file.write_all(words.as_bytes()).unwrap();
            // Given up before the while is over, it is told all the same.
            let given_up = tokio::time::timeout(Duration::ZERO, growth.heard()).await;
            assert!(given_up.is_err());
            growth.heard().await;
        }
        assert!(tokio::time::timeout(long, growth.heard()).await.is_err(), "all was told");

        let mut blind = Growth::of(&tmp.path().join("none"), short);
        blind.heard().await;
        blind.heard().await;
    }

    #[test]
    fn only_the_words_since_the_last_start_are_told() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("web1.log");
        begin(&path, "qemu -a").unwrap().write_all(b"old words\n").unwrap();
        begin(&path, "qemu\n-b").unwrap().write_all(b"no such disk\x1b[31m\n\nbye\n").unwrap();
        assert_eq!(last_words(&path).unwrap(), "no such disk\u{fffd}[31m\nbye");
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log.matches(HEADER).count(), 2);
        assert!(log.contains("Z qemu -b\n"), "{log}");
    }

    #[test]
    fn a_large_log_is_rotated_at_the_next_start_and_three_old_ones_are_kept() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("web1.log");
        for start in 1..=6 {
            let mut log = begin(&path, &format!("start {start}")).unwrap();
            log.write_all(&vec![b'x'; 1 + (1 << 20)]).unwrap();
        }
        for (number, start) in [(1, 5), (2, 4), (3, 3)] {
            let text = std::fs::read_to_string(old(&path, number)).unwrap();
            assert!(text.contains(&format!("start {start}")), "{number}");
        }
        assert!(!old(&path, 4).exists());
    }

    #[test]
    fn a_log_that_is_a_link_is_not_written_to() {
        let tmp = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (tmp.path().join("web1.log"), tmp.path().join("elsewhere"));
        std::fs::write(&elsewhere, "kept").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        begin(&path, "start").unwrap_err();
        cut(&path, 1).unwrap_err();
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"kept");
    }

    #[test]
    fn a_log_that_grows_under_a_running_guest_is_cut_and_appended_to() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("web1.log");
        let mut held_by_qemu = begin(&path, "start").unwrap();
        held_by_qemu.write_all(&[b'x'; 5000]).unwrap();
        assert!(!cut(&path, 10_000).unwrap());
        assert!(cut(&path, 1000).unwrap());
        held_by_qemu.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"after\n");
        assert!(old(&path, 1).metadata().unwrap().len() > 1000);
        assert_eq!(last_words(&path).unwrap(), "after");
    }

    #[test]
    fn words_without_end_are_cut_to_the_last_ones() {
        let long = format!("{HEADER}x\n{}", "ü".repeat(10_000));
        let words = words_in(&long);
        assert!(words.len() <= 4098 && words.ends_with('ü'), "{}", words.len());
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(words_in(&many).lines().next(), Some("line 80"));
    }
}
