//! What has to hold of whatever comes from where QEMU's monitor should be.

use vfnet_qemu::qmp::{BadLine, Lines, Message};

/// A portion's length (a byte, 0 for all at once), then what arrives on the monitor's socket.
pub(crate) fn monitor_lines(bytes: &[u8]) {
    let Some((portion, bytes)) = bytes.split_first() else { return };
    let whole = told(bytes, bytes.len().max(1));
    let ends = bytes.split(|byte| *byte == b'\n').count() - 1;
    assert!(whole.len() <= ends, "{} messages in {ends} lines", whole.len());
    if *portion > 0 {
        assert_eq!(told(bytes, usize::from(*portion)), whole, "in portions of {portion}");
    }
}

/// The messages, as they are shown; what is wrong with a line in words.
fn told(bytes: &[u8], portion: usize) -> Vec<String> {
    let mut lines = Lines::default();
    let mut told = Vec::new();
    for portion in bytes.chunks(portion) {
        lines.push(portion);
        while let Some(message) = lines.next_message() {
            told.push(words(message));
        }
    }
    told
}

fn words(message: Result<Message, BadLine>) -> String {
    match message {
        Ok(message) => format!("{message:?}"),
        Err(fault) => {
            let words = fault.to_string();
            assert!(words.len() < 4096, "a line is quoted whole");
            words
        }
    }
}
