//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Emulated processors are slow and shared: looking more often would slow down what is awaited.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until `holds` is true, at most `limit`; says how long it took.
///
/// # Errors
///
/// When the limit passes, naming `what`.
pub fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<Duration> {
    wait_for_some(what, limit, || holds().then_some(())).map(|((), took)| took)
}

/// Like [`wait_for`], for a condition that yields a value.
///
/// # Errors
///
/// When the limit passes, naming `what`.
pub fn wait_for_some<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<(T, Duration)> {
    let started = Instant::now();
    loop {
        if let Some(value) = look() {
            return Ok((value, started.elapsed()));
        }
        if started.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
}
