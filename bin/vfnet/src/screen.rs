//! Where results go: stdout, as text for people or JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use vfnet_model::legible;

use crate::fault::Fault;

/// What stdout is, and what is wanted of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Whether JSON is wanted.
    pub(crate) json: bool,
    /// Columns of the terminal; `None` where lines may be of any length.
    pub(crate) width: Option<u16>,
    /// Whether colours are welcome.
    pub(crate) colour: bool,
}

impl Screen {
    pub(crate) fn of_stdout(json: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = rustix::termios::tcgetwinsize(&stdout)
            .ok()
            .map(|size| size.ws_col)
            .filter(|&columns| terminal && columns > 0);
        // https://no-color.org: present and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, width, colour: terminal && !plain }
    }

    pub(crate) fn show(&self, text: &str) -> Result<(), Fault> {
        self.show_bytes(text.as_bytes())
    }

    pub(crate) fn show_bytes(&self, bytes: &[u8]) -> Result<(), Fault> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Fault::Output)
    }

    /// A report: JSON where it is wanted, else as `view` tells it. What is quoted in it may be
    /// anything; the terminal obeys none of it.
    pub(crate) fn report<T: Serialize + ?Sized>(
        &self,
        report: &T,
        view: impl FnOnce(&T) -> String,
    ) -> Result<(), Fault> {
        self.report_in_colour(report, |report| legible(&view(report)))
    }

    /// The same where `view` has coloured words, and has made legible what is quoted beside them.
    pub(crate) fn report_in_colour<T: Serialize + ?Sized>(
        &self,
        report: &T,
        view: impl FnOnce(&T) -> String,
    ) -> Result<(), Fault> {
        if !self.json {
            return self.show(&view(report));
        }
        let mut text = json(report)?;
        text.push('\n');
        self.show(&text)
    }

    /// One report of many: JSON on a line of its own where that is wanted, else as `view` tells it.
    pub(crate) fn line<T: Serialize>(
        &self,
        report: &T,
        view: impl FnOnce(&T) -> String,
    ) -> Result<(), Fault> {
        if !self.json {
            return self.show(&view(report));
        }
        let mut text = serde_json::to_string(report).map_err(|source| Fault::Report { source })?;
        text.push('\n');
        self.show(&text)
    }
}

fn json<T: Serialize + ?Sized>(report: &T) -> Result<String, Fault> {
    serde_json::to_string_pretty(report).map_err(|source| Fault::Report { source })
}
