//! A uid per guest, so that one guest's QEMU can touch nothing of another's.
//!
//! Which uids are taken is known by the caller (they are in the records of running guests);
//! the choice is pure. The group of the same number goes with the uid.

use std::collections::BTreeSet;

/// The uids that guests may have: `first`, `first + 1`, …, `count` of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UidRange {
    first: u32,
    count: u32,
}

/// Why a range of uids cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadUidRange {
    /// No uid in it.
    #[error("a range of guest uids cannot be empty")]
    Empty,
    /// Uid 0 is in it: QEMU would run as root.
    #[error("a range of guest uids cannot begin at 0")]
    Root,
    /// It goes past the last uid; 2³²-1 means "no uid" to the kernel.
    #[error("{count} uids from {first} on go past the last uid")]
    TooLong {
        /// First uid asked for.
        first: u32,
        /// Uids asked for.
        count: u32,
    },
}

impl UidRange {
    /// A range that a kernel can use, without root.
    pub fn new(first: u32, count: u32) -> Result<Self, BadUidRange> {
        if count == 0 {
            return Err(BadUidRange::Empty);
        }
        if first == 0 {
            return Err(BadUidRange::Root);
        }
        match first.checked_add(count) {
            Some(_) => Ok(Self { first, count }),
            None => Err(BadUidRange::TooLong { first, count }),
        }
    }

    /// The lowest uid of the range that is not in use; `None` when all are.
    pub fn lowest_free(&self, used: &BTreeSet<u32>) -> Option<u32> {
        (self.first..self.first + self.count).find(|uid| !used.contains(uid))
    }

    /// Whether a uid is one of these.
    pub fn contains(&self, uid: u32) -> bool {
        (self.first..self.first + self.count).contains(&uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_gets_the_lowest_free_uid_until_there_is_none() {
        let range = UidRange::new(70_000, 3).unwrap();
        let mut used = BTreeSet::new();
        for expected in [70_000, 70_001, 70_002] {
            let uid = range.lowest_free(&used).unwrap();
            assert_eq!(uid, expected);
            used.insert(uid);
        }
        assert_eq!(range.lowest_free(&used), None);
        used.remove(&70_001);
        assert_eq!(range.lowest_free(&used), Some(70_001));
    }

    #[test]
    fn root_and_the_kernels_no_uid_are_in_no_range() {
        assert_eq!(UidRange::new(0, 10), Err(BadUidRange::Root));
        assert_eq!(UidRange::new(5, 0), Err(BadUidRange::Empty));
        let past = BadUidRange::TooLong { first: u32::MAX, count: 1 };
        assert_eq!(UidRange::new(u32::MAX, 1), Err(past));
        assert!(!UidRange::new(u32::MAX - 1, 1).unwrap().contains(u32::MAX));
    }
}
