//! What a person sees of something that takes minutes: steps with the time they began at, what
//! programs print, and what is being waited for.
//!
//! On a terminal the wait is a line with a counter that turns into its result. Elsewhere every
//! line is final, and there are no colors.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two frames of the counter.
const FRAME: Duration = Duration::from_millis(120);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Waits shorter than this are not worth a line of their own.
const SHORT: Duration = Duration::from_secs(1);

/// The screen; its counter stops when it is dropped.
pub(crate) struct Screen {
    state: Arc<Mutex<State>>,
    /// Told or dropped, it ends the thread that draws the counter.
    stop: Option<mpsc::Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

struct State {
    started: Instant,
    is_terminal: bool,
    has_colors: bool,
    /// What is waited for, and since when.
    waiting: Option<(String, Instant)>,
    frame: usize,
}

impl Screen {
    /// A screen whose times count from `started`.
    pub(crate) fn new(started: Instant) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let has_colors = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let state = State { started, is_terminal, has_colors, waiting: None, frame: 0 };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = mpsc::channel();
        let ticker = is_terminal.then(|| {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                while stopped.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
                    lock(&state).draw();
                }
            })
        });
        Self { state, stop: Some(stop), ticker }
    }

    /// A chapter.
    pub(crate) fn title(&self, text: &str) {
        let mut state = lock(&self.state);
        state.end_wait();
        let title = state.styled("1", text);
        state.line(&format!("\n{title}\n"));
    }

    /// What is done now, and why.
    pub(crate) fn step(&self, text: &str) {
        let mut state = lock(&self.state);
        state.end_wait();
        let time = state.styled("2", &format!("{:>5}", clock(state.started.elapsed())));
        let text = state.styled("1", text);
        state.line(&format!("{time}  {text}"));
    }

    /// A line that some program printed.
    pub(crate) fn show(&self, text: &str) {
        let mut state = lock(&self.state);
        state.end_wait();
        state.line(&format!("         {text}"));
    }

    /// What is waited for from now on, until anything else is shown.
    pub(crate) fn wait(&self, what: &str) {
        let mut state = lock(&self.state);
        state.end_wait();
        if !state.is_terminal {
            state.line(&format!("       … waiting for {what}"));
        }
        state.waiting = Some((what.to_owned(), Instant::now()));
        state.draw();
    }

    /// Nothing is waited for any more.
    pub(crate) fn done(&self) {
        lock(&self.state).end_wait();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.done();
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            drop(ticker.join());
        }
    }
}

impl State {
    fn line(&mut self, text: &str) {
        println!("{text}");
    }

    /// Draws the counter's next frame.
    fn draw(&mut self) {
        let Some((what, since)) = self.waiting.as_ref().filter(|_| self.is_terminal) else {
            return;
        };
        let symbol = FRAMES[self.frame % FRAMES.len()];
        let took = since.elapsed().as_secs();
        print!("\r\u{1b}[K       {symbol} waiting for {what} … {took} s");
        // A terminal that is gone ends the program soon enough.
        drop(std::io::stdout().flush());
        self.frame += 1;
    }

    /// Turns the counter into the line that stays: what was waited for, and for how long.
    fn end_wait(&mut self) {
        let Some((what, since)) = self.waiting.take() else { return };
        let took = since.elapsed();
        let mut text = String::new();
        if self.is_terminal {
            text.push_str("\r\u{1b}[K");
        }
        if took >= SHORT {
            let done = if self.is_terminal {
                format!("       ✓ waited {} s for {what}", took.as_secs())
            } else {
                format!("         {} s", took.as_secs())
            };
            let _ = writeln!(text, "{}", self.styled("2", &done));
        }
        print!("{text}");
        drop(std::io::stdout().flush());
    }

    /// `text` in an SGR style (ECMA-48), where there are colors.
    fn styled(&self, style: &str, text: &str) -> String {
        if self.has_colors { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Minutes and seconds: `2:05`.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// Minutes and seconds in words: `2 min 5 s`, or `5 s`.
pub(crate) fn minutes(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{clock, minutes};

    #[test]
    fn times_are_told_as_people_do() {
        assert_eq!(clock(Duration::from_secs(125)), "2:05");
        assert_eq!(minutes(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(minutes(Duration::from_secs(59)), "59 s");
    }
}
