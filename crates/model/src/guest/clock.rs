//! `<clock>`.

use serde::{Deserialize, Serialize};

use super::words::words;

/// `<clock>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Clock {
    /// What the guest's clock shows at start.
    pub offset: ClockOffset,
    /// `<timer>` elements.
    pub timers: Timers,
}

words! {
    /// `<clock offset=…>`.
    pub enum ClockOffset {
        /// UTC.
        Utc = "utc",
        /// The host's local time.
        Localtime = "localtime",
    }
}

/// `<timer>` elements, each at most once.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Timers {
    /// `<timer name='rtc' tickpolicy=…/>`.
    pub rtc: Option<RtcPolicy>,
    /// `<timer name='pit' tickpolicy=…/>`.
    pub pit: Option<PitPolicy>,
    /// `<timer name='hpet' present=…/>`.
    pub hpet: Option<bool>,
    /// `<timer name='kvmclock' present=…/>`.
    pub kvmclock: Option<bool>,
    /// `<timer name='hypervclock' present=…/>`.
    pub hypervclock: Option<bool>,
    /// `<timer name='tsc' frequency=…/>`, in Hz.
    pub tsc_hz: Option<u64>,
}

words! {
    /// What becomes of ticks of the RTC that the guest missed.
    pub enum RtcPolicy {
        /// Delivered faster until caught up.
        Catchup = "catchup",
        /// Delivered late.
        Delay = "delay",
    }
}

words! {
    /// What becomes of ticks of the PIT that the guest missed.
    pub enum PitPolicy {
        /// Delivered late.
        Delay = "delay",
        /// Not delivered.
        Discard = "discard",
    }
}
