//! An error and what caused it, on one line.

use std::error::Error;
use std::fmt::Write as _;

/// `what failed: why: why that`, from an error and its sources.
pub fn explain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        // Writing to a String does not fail.
        let _infallible = write!(line, ": {next}");
        cause = next.source();
    }
    line
}
