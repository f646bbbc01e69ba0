//! What has to hold of whatever arrives on a connection.

use vfnet_rpc::client::Received;
use vfnet_rpc::frame::{Frame, FrameDecoder, FrameError};
use vfnet_rpc::server::Incoming;

/// A portion's length (a byte, 0 for all at once), then what arrives on a connection.
pub(crate) fn frames(bytes: &[u8]) {
    let Some((portion, bytes)) = bytes.split_first() else { return };
    let (frames, end) = cut(bytes, bytes.len().max(1));
    if *portion > 0 {
        let (in_portions, its_end) = cut(bytes, usize::from(*portion));
        assert_eq!((&in_portions, its_end), (&frames, end), "in portions of {portion}");
    }
    let mut rest = bytes;
    for frame in frames {
        let written = frame.encode().expect("what was read can be written");
        // Every descriptor comes with a byte of its own.
        let carriers = usize::try_from(frame.fds).expect("few");
        assert_eq!(written, rest[..written.len()], "other bytes than were read");
        rest = &rest[written.len() + carriers..];
        drop((Incoming::from(frame.clone()), Received::from(frame)));
    }
}

fn cut(bytes: &[u8], portion: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    for portion in bytes.chunks(portion) {
        decoder.feed(portion);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.pending(), 0, "nothing is kept of what is refused");
                    return (frames, Some(error));
                }
            }
        }
        assert!(decoder.pending() <= bytes.len());
    }
    (frames, None)
}
