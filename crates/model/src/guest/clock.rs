//! `<clock>`.

use serde::{Deserialize, Serialize};

use super::words::{Text as _, at, served, words};
use crate::xml::{DocumentError, Element, Writer};

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

impl Clock {
    /// UTC, with the machine's usual timers.
    pub fn utc() -> Self {
        Self { offset: ClockOffset::Utc, timers: Timers::default() }
    }

    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let offset = served(element, "offset", ClockOffset::WORDS)?.unwrap_or(ClockOffset::Utc);
        let mut timers = Timers::default();
        for timer in element.children("timer") {
            let name = timer.required("name")?;
            let needs = |what: &str| timer.unsupported(format!("timer '{name}' without '{what}'"));
            let policy = || needs("tickpolicy");
            let present = || timer.yes_no("present")?.ok_or_else(|| needs("present"));
            let again = match name {
                "rtc" => timers
                    .rtc
                    .replace(served(timer, "tickpolicy", RtcPolicy::WORDS)?.ok_or_else(policy)?)
                    .is_some(),
                "pit" => timers
                    .pit
                    .replace(served(timer, "tickpolicy", PitPolicy::WORDS)?.ok_or_else(policy)?)
                    .is_some(),
                "hpet" => timers.hpet.replace(present()?).is_some(),
                "kvmclock" => timers.kvmclock.replace(present()?).is_some(),
                "hypervclock" => timers.hypervclock.replace(present()?).is_some(),
                "tsc" => timers
                    .tsc_hz
                    .replace(
                        timer
                            .number_up_to("frequency", u64::from(u32::MAX) * 1000)?
                            .filter(|hz| *hz > 0)
                            .ok_or_else(|| needs("frequency"))?,
                    )
                    .is_some(),
                _ => return Err(at(timer.unsupported(format!("timer '{name}'")), "name")),
            };
            if again {
                return Err(timer.invalid(format!("timer '{name}' is given twice")));
            }
        }
        Ok(Self { offset, timers })
    }

    pub(super) fn print(&self, w: &mut Writer) {
        w.tag("clock").attr("offset", self.offset).body(|w| {
            let Timers { rtc, pit, hpet, kvmclock, hypervclock, tsc_hz } = &self.timers;
            if let Some(policy) = rtc {
                w.tag("timer").attr("name", "rtc").attr("tickpolicy", policy).empty();
            }
            if let Some(policy) = pit {
                w.tag("timer").attr("name", "pit").attr("tickpolicy", policy).empty();
            }
            let presence = [("hpet", hpet), ("kvmclock", kvmclock), ("hypervclock", hypervclock)];
            for (name, present) in presence {
                if let Some(present) = present {
                    w.tag("timer").attr("name", name).yes_no("present", *present).empty();
                }
            }
            if let Some(hz) = tsc_hz {
                w.tag("timer").attr("name", "tsc").attr("frequency", hz).empty();
            }
        });
    }
}
