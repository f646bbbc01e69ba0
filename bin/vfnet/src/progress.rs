//! A sign of life on stderr while a person waits.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const FRAME: Duration = Duration::from_millis(120);

/// Turns while it exists; leaves no trace. Nothing where stderr is no terminal.
#[derive(Debug)]
pub(crate) struct Waiting(ProgressBar);

impl Waiting {
    pub(crate) fn until(what: String) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(what);
        bar.enable_steady_tick(FRAME);
        Self(bar)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
