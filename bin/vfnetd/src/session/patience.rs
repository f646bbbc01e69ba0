//! How long a client may be silent.
//!
//! A connection has to be opened soon after it was made, and sooner where others wait for its
//! place; a frame that was begun has to go on; and a client that has said that it understands
//! pings is pinged when it is idle, and given up when it answers none of some. Who has opened
//! and never asked for pings may be idle for ever.

use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may take to be opened where others wait for its place.
const CROWDED: Duration = Duration::from_secs(1);

/// How long a frame that was begun may stand still.
const STANDSTILL: Duration = Duration::from_secs(30);

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Until a connection is open.
    pub(super) handshake: Duration,
    /// Idle time until a ping, and between pings; `None` for no pings.
    pub(super) interval: Option<Duration>,
    /// Pings without an answer until the end.
    pub(super) count: u32,
}

/// What is to be done about a client's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    HangUp(&'static str),
}

/// What is known of one client.
#[derive(Debug)]
pub(super) struct Patience {
    pace: Pace,
    began: Instant,
    heard: Instant,
    /// When the last of the pings was sent that are not answered.
    pinged: Option<Instant>,
    is_open: bool,
    in_frame: bool,
    wants_pings: bool,
    unanswered: u32,
}

impl Patience {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            began: now,
            heard: now,
            pinged: None,
            is_open: false,
            in_frame: false,
            wants_pings: false,
            unanswered: 0,
        }
    }

    /// Something has come, or could not come because nobody read or asked.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
        self.unanswered = 0;
    }

    /// Whether what has come so far ends in the middle of a frame.
    pub(super) fn in_frame(&mut self, in_frame: bool) {
        self.in_frame = in_frame;
    }

    pub(super) fn opened(&mut self) {
        self.is_open = true;
    }

    /// The client understands pings.
    pub(super) fn wants_pings(&mut self) {
        self.wants_pings = true;
    }

    /// When to ask what is [`due`](Self::due), if ever.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let open_by = (!self.is_open).then(|| {
            let crowded = self.began + CROWDED;
            // Places may run out at any moment after that.
            if now < crowded { crowded } else { now + CROWDED }
        });
        let go_on_by = self.in_frame.then(|| self.heard + STANDSTILL);
        let ping_at = self.ping_at();
        [open_by, go_on_by, ping_at].into_iter().flatten().min()
    }

    /// What the client's silence calls for; `crowded` where others wait for its place.
    pub(super) fn due(&mut self, now: Instant, crowded: bool) -> Due {
        let limit = if crowded { self.pace.handshake.min(CROWDED) } else { self.pace.handshake };
        if !self.is_open && now >= self.began + limit {
            return Due::HangUp("it does not open its connection");
        }
        if self.in_frame && now >= self.heard + STANDSTILL {
            return Due::HangUp("it stopped in the middle of a call");
        }
        if self.ping_at().is_some_and(|at| now >= at) {
            if self.unanswered >= self.pace.count {
                return Due::HangUp("it does not answer pings");
            }
            self.unanswered += 1;
            self.pinged = Some(now);
            return Due::Ping;
        }
        Due::Nothing
    }

    fn ping_at(&self) -> Option<Instant> {
        let interval = self.pace.interval.filter(|_| self.wants_pings)?;
        Some(self.pinged.unwrap_or(self.heard) + interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: Pace = Pace {
        handshake: Duration::from_secs(10),
        interval: Some(Duration::from_secs(5)),
        count: 5,
    };

    /// What is done about a client's silence, and after how many seconds of it.
    fn silence(patience: &mut Patience, from: Instant, crowded: bool) -> Vec<(u64, Due)> {
        let mut done = Vec::new();
        let mut now = from;
        while let Some(next) = patience.next(now).filter(|next| *next < from + SECOND * 3600) {
            assert!(next > now, "time goes on");
            now = next;
            match patience.due(now, crowded) {
                Due::Nothing => {}
                Due::Ping => done.push(((now - from).as_secs(), Due::Ping)),
                end @ Due::HangUp(_) => {
                    done.push(((now - from).as_secs(), end));
                    break;
                }
            }
        }
        done
    }

    #[test]
    fn a_connection_is_opened_in_time_and_sooner_where_others_wait() {
        let now = Instant::now();
        let end = Due::HangUp("it does not open its connection");
        assert_eq!(silence(&mut Patience::new(PACE, now), now, false), [(10, end)]);
        assert_eq!(silence(&mut Patience::new(PACE, now), now, true), [(1, end)]);
    }

    #[test]
    fn who_is_open_and_never_asked_for_pings_may_be_idle_for_ever() {
        let now = Instant::now();
        let mut patience = Patience::new(PACE, now);
        patience.opened();
        assert_eq!(silence(&mut patience, now, true), []);
        assert_eq!(patience.next(now), None);
    }

    #[test]
    fn a_frame_that_was_begun_has_to_go_on() {
        let now = Instant::now();
        let mut patience = Patience::new(PACE, now);
        patience.opened();
        patience.in_frame(true);
        let end = Due::HangUp("it stopped in the middle of a call");
        assert_eq!(silence(&mut patience, now, false), [(30, end)]);
    }

    #[test]
    fn an_idle_client_is_pinged_five_times_and_then_given_up() {
        let now = Instant::now();
        let mut patience = Patience::new(PACE, now);
        patience.opened();
        patience.wants_pings();
        let mut expected: Vec<_> = (1..=5).map(|n| (n * 5, Due::Ping)).collect();
        expected.push((30, Due::HangUp("it does not answer pings")));
        assert_eq!(silence(&mut patience, now, false), expected);
    }

    #[test]
    fn whoever_answers_a_ping_begins_anew() {
        let mut now = Instant::now();
        let mut patience = Patience::new(PACE, now);
        patience.opened();
        patience.wants_pings();
        for _idle in 0..100 {
            now += SECOND * 5;
            assert_eq!(patience.due(now, false), Due::Ping);
            patience.heard(now);
        }
    }

    #[test]
    fn a_daemon_that_was_held_up_gives_its_clients_time_to_answer() {
        let now = Instant::now();
        let mut patience = Patience::new(PACE, now);
        patience.opened();
        patience.wants_pings();
        let late = now + SECOND * 100;
        assert_eq!(patience.due(late, false), Due::Ping);
        assert_eq!(patience.due(late, false), Due::Nothing);
        assert_eq!(patience.next(late), Some(late + SECOND * 5));
    }

    #[test]
    fn without_an_interval_nobody_is_pinged() {
        let now = Instant::now();
        let mut patience = Patience::new(Pace { interval: None, ..PACE }, now);
        patience.opened();
        patience.wants_pings();
        assert_eq!(silence(&mut patience, now, false), []);
    }
}
