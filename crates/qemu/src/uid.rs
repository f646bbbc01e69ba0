//! A uid per guest, so that one guest's QEMU can touch nothing of another's. The group of the
//! same number goes with the uid.

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

    /// The uid at a place in the range, from 0; `None` past its end.
    pub fn at(&self, place: u16) -> Option<u32> {
        let place = u32::from(place);
        (place < self.count).then(|| self.first + place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_it_was_said_to_end() {
        let range = UidRange::new(70_000, 3).unwrap();
        assert_eq!([0, 2, 3].map(|place| range.at(place)), [Some(70_000), Some(70_002), None]);
    }

    #[test]
    fn root_and_the_kernels_no_uid_are_in_no_range() {
        assert_eq!(UidRange::new(0, 10), Err(BadUidRange::Root));
        assert_eq!(UidRange::new(5, 0), Err(BadUidRange::Empty));
        let past = BadUidRange::TooLong { first: u32::MAX, count: 1 };
        assert_eq!(UidRange::new(u32::MAX, 1), Err(past));
        assert_eq!(UidRange::new(u32::MAX - 1, 1).unwrap().at(1), None);
    }
}
