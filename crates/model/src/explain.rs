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

/// Text as a terminal may show it, whoever wrote it: control characters, which a terminal obeys,
/// and those that change the direction of writing (Unicode Standard Annex 9, section 2), by which
/// a name can look like another, become U+FFFD. Lines stay.
pub fn legible(text: &str) -> String {
    let is_bidi = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|c: char| (c.is_control() && c != '\n') || is_bidi(c), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_and_all_else_is() {
        assert_eq!(
            legible("a\x1b[2Jb\r\u{9b}c\u{7f}\0"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(legible("web\u{202e}1\u{2066}"), "web\u{fffd}1\u{fffd}");
        let plain = "gäste 客 زائر\nline";
        assert_eq!(legible(plain), plain);
    }
}
