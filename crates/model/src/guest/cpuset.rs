//! `<vcpu cpuset=…>`: processors of the host.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One more than the highest processor that can be named (kernel: the size of glibc's
/// `cpu_set_t`).
const MOST: u16 = 1024;

/// Processors of the host, at least one, as libvirt writes them: `1-4,^3,8`, in which `^` takes
/// one out again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CpuSet(BTreeSet<u16>);

/// Why a text is no set of processors.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is no list of processors like 0-3,^2,8, each below {MOST}")]
pub struct CpuSetError(String);

impl CpuSet {
    /// Their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CpuSetError(text.chars().take(64).collect());
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u16>().ok().filter(|number| digits && *number < MOST);
            number.ok_or_else(wrong)
        };
        let mut set = BTreeSet::new();
        for part in text.split(',').map(str::trim) {
            if let Some(out) = part.strip_prefix('^') {
                set.remove(&number(out)?);
                continue;
            }
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(wrong());
            }
            set.extend(first..=last);
        }
        if set.is_empty() { Err(wrong()) } else { Ok(Self(set)) }
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_processors_is_read_and_written_in_its_shortest_form() {
        for (text, shortest) in [
            ("0", "0"),
            ("1-4,^3,8-20", "1-2,4,8-20"),
            ("3,1,2", "1-3"),
            (" 0 , 2 ", "0,2"),
            ("1023", "1023"),
        ] {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), shortest, "{text}");
        }
        for text in ["", ",", "1-", "-1", "+1", "4-1", "1024", "a", "0,^0", "1-2-3", "99999999"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }
}
