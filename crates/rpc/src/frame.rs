//! Frames: what the bytes of a connection are cut into.
//!
//! ```text
//! length (of everything, itself included)                     4 bytes
//! program  version  procedure  kind  serial  status       6 x 4 bytes
//! number of descriptors, only in the two kinds WITH_FDS       4 bytes
//! payload
//! ```
//!
//! [`FrameDecoder`] is fed with whatever arrives and yields whole frames. The first four bytes
//! decide how long a frame may grow, never how much memory is taken. A frame that cannot be
//! right leaves no way to find the next one, so after an error the connection has to be closed.

use crate::xdr::{Reader, Xdr, XdrError};

/// The longest frame without its length word, in bytes.
pub const FRAME_MAX: usize = 32 * 1024 * 1024;
/// The longest payload, in bytes.
pub const PAYLOAD_MAX: usize = FRAME_MAX - HEADER_LEN;
/// The most descriptors that travel with one frame.
pub const FDS_MAX: u32 = 32;
/// Stream data is sent in portions of at most this many bytes, which every client takes.
pub const STREAM_PORTION: usize = 262_120;

const LENGTH_LEN: usize = 4;
const HEADER_LEN: usize = 24;
/// Below this much, consumed bytes at the front are not worth moving the rest.
const COMPACT_AT: usize = 64 * 1024;

/// Numbers on the wire that are one of a few names.
macro_rules! wire_enum {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident as $expected:literal {
            $( $(#[$variant_meta:meta])* $variant:ident = $number:literal ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant = $number, )*
        }

        impl $name {
            /// The number on the wire.
            pub fn number(self) -> u32 {
                match self {
                    $( Self::$variant => $number, )*
                }
            }
        }

        impl Xdr for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.number().put(out);
            }

            fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
                let at = input.at();
                match u32::get(input)? {
                    $( $number => Ok(Self::$variant), )*
                    value => Err(XdrError::Value { at, value, expected: $expected }),
                }
            }
        }
    )*};
}

wire_enum! {
    /// What a frame is for.
    pub enum FrameKind as "kind of frame" {
        /// A client asks.
        Call = 0,
        /// The server answers.
        Reply = 1,
        /// Unasked: an event, a ping.
        Message = 2,
        /// A part of a stream.
        Stream = 3,
        /// A call with descriptors behind it.
        CallWithFds = 4,
        /// A reply with descriptors behind it.
        ReplyWithFds = 5,
        /// A hole in a sparse stream.
        StreamHole = 6,
    }

    /// How a frame's payload is to be read.
    pub enum Status as "status" {
        /// As the procedure's type; in a stream: its end.
        Ok = 0,
        /// As an error.
        Error = 1,
        /// As stream data, with more to come. Empty: the sender has no more.
        Continue = 2,
    }
}

impl FrameKind {
    fn has_fds(self) -> bool {
        matches!(self, Self::CallWithFds | Self::ReplyWithFds)
    }
}

/// The 24 bytes that say what a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The program that numbers the procedures.
    pub program: u32,
    /// The program's version.
    pub version: u32,
    /// The procedure's number.
    pub procedure: i32,
    /// What the frame is for.
    pub kind: FrameKind,
    /// The caller's number for this call; 0 in messages.
    pub serial: u32,
    /// How to read the payload.
    pub status: Status,
}

impl Xdr for Header {
    fn put(&self, out: &mut Vec<u8>) {
        self.program.put(out);
        self.version.put(out);
        self.procedure.put(out);
        self.kind.put(out);
        self.serial.put(out);
        self.status.put(out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(Self {
            program: Xdr::get(input)?,
            version: Xdr::get(input)?,
            procedure: Xdr::get(input)?,
            kind: Xdr::get(input)?,
            serial: Xdr::get(input)?,
            status: Xdr::get(input)?,
        })
    }
}

/// One whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it belongs to.
    pub header: Header,
    /// How many descriptors came with it. The transport has them.
    pub fds: u32,
    /// The bytes behind the header.
    pub payload: Vec<u8>,
}

/// Why bytes are no frame, or a frame cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length too small for a header.
    #[error("frame of {length} bytes is too short")]
    TooShort {
        /// The length word.
        length: u32,
    },
    /// A length over the protocol's limit.
    #[error("frame of {length} bytes is over the limit of {FRAME_MAX}")]
    TooLong {
        /// The length, its own word included.
        length: usize,
    },
    /// A header with values that do not exist.
    #[error("bad frame header")]
    Header(#[source] XdrError),
    /// More descriptors than may travel together.
    #[error("{count} descriptors with one frame, at most {FDS_MAX} may be")]
    TooManyFds {
        /// What the peer claims.
        count: u32,
    },
}

impl Frame {
    /// A frame without descriptors.
    pub fn new(header: Header, payload: Vec<u8>) -> Self {
        Self { header, fds: 0, payload }
    }

    /// The frame's bytes. Descriptors, each with one zero byte, are sent behind them.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let fds = self.header.kind.has_fds();
        if fds && self.fds > FDS_MAX {
            return Err(FrameError::TooManyFds { count: self.fds });
        }
        let body = HEADER_LEN + if fds { 4 } else { 0 } + self.payload.len();
        let too_long = FrameError::TooLong { length: LENGTH_LEN + body };
        if body > FRAME_MAX {
            return Err(too_long);
        }
        let mut out = Vec::with_capacity(LENGTH_LEN + body);
        u32::try_from(LENGTH_LEN + body).map_err(|_| too_long)?.put(&mut out);
        self.header.put(&mut out);
        if fds {
            self.fds.put(&mut out);
        }
        out.extend_from_slice(&self.payload);
        Ok(out)
    }
}

/// Cuts a connection's bytes into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    bytes: Vec<u8>,
    /// Most bytes of a frame, its length word not counted.
    limit: usize,
    /// Bytes at the front that belong to frames already yielded.
    consumed: usize,
    broken: Option<FrameError>,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameDecoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self::limited(FRAME_MAX)
    }

    /// One that refuses longer frames than the protocol would, for peers who are not trusted
    /// with as much memory.
    pub fn limited(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit: limit.min(FRAME_MAX), consumed: 0, broken: None }
    }

    /// Refuses frames longer than this from the next one on, and no shorter ones.
    pub fn allow(&mut self, limit: usize) {
        self.limit = limit.min(FRAME_MAX);
    }

    /// Takes bytes that have arrived. Ask [`next_frame`](Self::next_frame) until it has no more
    /// before feeding again: that bounds what is kept to one frame and one portion.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Lets go of what has been yielded, so that a long frame takes memory only while it comes.
    fn compact(&mut self) {
        if self.consumed == self.bytes.len() || self.consumed >= COMPACT_AT {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
            self.bytes.shrink_to(COMPACT_AT);
        }
    }

    /// Bytes kept that are no whole frame yet. At the end of a connection, anything but 0 means
    /// that the peer stopped in the middle of a frame.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// The next whole frame; `None` when more bytes are needed. An error is for ever.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let cut = self.cut();
        match &cut {
            Ok(_) => self.compact(),
            Err(error) => {
                self.broken = Some(error.clone());
                self.bytes = Vec::new();
                self.consumed = 0;
            }
        }
        cut
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let bytes = &self.bytes[self.consumed..];
        let Some((word, body)) = bytes.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*word);
        let total = usize::try_from(length).unwrap_or(usize::MAX);
        if total < LENGTH_LEN + HEADER_LEN {
            return Err(FrameError::TooShort { length });
        }
        if total > LENGTH_LEN + self.limit {
            return Err(FrameError::TooLong { length: total });
        }
        // Header and descriptor count are judged before the payload is waited for.
        if body.len() < HEADER_LEN {
            return Ok(None);
        }
        let mut input = Reader::new(&body[..body.len().min(total - LENGTH_LEN)]);
        let header = Header::get(&mut input).map_err(FrameError::Header)?;
        let mut fds = 0;
        if header.kind.has_fds() {
            if total < LENGTH_LEN + HEADER_LEN + 4 {
                return Err(FrameError::TooShort { length });
            }
            let Ok(count) = u32::get(&mut input) else {
                return Ok(None);
            };
            if count > FDS_MAX {
                return Err(FrameError::TooManyFds { count });
            }
            fds = count;
        }
        // Each descriptor comes behind the frame with one byte of its own.
        let carriers = usize::try_from(fds).unwrap_or(usize::MAX);
        if bytes.len() < total + carriers {
            return Ok(None);
        }
        let payload = bytes[LENGTH_LEN + input.at()..total].to_vec();
        self.consumed += total + carriers;
        Ok(Some(Frame { header, fds, payload }))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_limited_decoder_refuses_a_longer_frame_before_it_is_there() {
        let mut decoder = super::FrameDecoder::limited(1000);
        decoder.feed(&1005_u32.to_be_bytes());
        let refused = decoder.next_frame().expect_err("1001 bytes and the length word");
        assert_eq!(refused, super::FrameError::TooLong { length: 1005 });
        let mut decoder = super::FrameDecoder::limited(1000);
        decoder.feed(&1004_u32.to_be_bytes());
        assert_eq!(decoder.next_frame(), Ok(None));
    }

    #[test]
    fn a_long_frame_takes_no_memory_once_it_is_yielded() {
        let mut decoder = FrameDecoder::new();
        let frame = Frame::new(header(FrameKind::Call, 1), vec![0; 8 * 1024 * 1024]);
        decoder.feed(&frame.encode().expect("within the limit"));
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
        assert!(decoder.bytes.capacity() <= COMPACT_AT, "{}", decoder.bytes.capacity());
    }

    #[test]
    fn a_decoder_that_is_allowed_more_takes_it_from_the_next_frame_on() {
        let mut decoder = FrameDecoder::limited(HEADER_LEN);
        let long = Frame::new(header(FrameKind::Call, 2), vec![0; 4]).encode().expect("small");
        decoder.feed(&AUTH_LIST);
        decoder.feed(&long);
        assert!(decoder.next_frame().expect("sound").is_some());
        decoder.allow(FRAME_MAX);
        assert!(decoder.next_frame().expect("allowed").is_some());
    }

    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn header(kind: FrameKind, serial: u32) -> Header {
        Header { program: 0x2000_8086, version: 1, procedure: 66, kind, serial, status: Status::Ok }
    }

    /// AUTH_LIST as a client's first call has it on the wire.
    const AUTH_LIST: [u8; 28] = [
        0, 0, 0, 28, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0,
    ];

    #[test]
    fn the_first_call_of_a_client_has_these_bytes() {
        let frame = Frame::new(header(FrameKind::Call, 0), Vec::new());
        assert_eq!(frame.encode().expect("small"), AUTH_LIST);
        let mut decoder = FrameDecoder::new();
        decoder.feed(&AUTH_LIST);
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
        assert_eq!(decoder.next_frame(), Ok(None));
    }

    #[test]
    fn a_frame_that_trickles_in_is_yielded_with_its_last_byte() {
        let mut decoder = FrameDecoder::new();
        for byte in &AUTH_LIST[..27] {
            decoder.feed(&[*byte]);
            assert_eq!(decoder.next_frame(), Ok(None));
        }
        assert_eq!(decoder.pending(), 27);
        decoder.feed(&AUTH_LIST[27..]);
        assert!(decoder.next_frame().expect("sound").is_some());
        assert_eq!(decoder.pending(), 0);
    }

    #[test]
    fn a_length_too_small_or_too_large_ends_the_connection() {
        for length in [0, 4, 27, 0x0200_0005, u32::MAX] {
            let mut decoder = FrameDecoder::new();
            decoder.feed(&length.to_be_bytes());
            let error = decoder.next_frame().expect_err("no such length");
            decoder.feed(&AUTH_LIST);
            assert_eq!(decoder.next_frame(), Err(error), "{length}");
        }
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let mut decoder = FrameDecoder::new();
        decoder.feed(&0x0200_0004_u32.to_be_bytes());
        decoder.feed(&AUTH_LIST[4..]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.bytes.capacity() < 1024);
    }

    #[test]
    fn a_kind_or_status_that_does_not_exist_ends_the_connection() {
        for (at, value) in [(19, 7), (27, 3)] {
            let mut bytes = AUTH_LIST;
            bytes[at] = value;
            let mut decoder = FrameDecoder::new();
            decoder.feed(&bytes);
            assert!(matches!(decoder.next_frame(), Err(FrameError::Header(_))));
        }
    }

    #[test]
    fn descriptors_are_counted_and_their_carrier_bytes_skipped() {
        let frame = Frame { fds: 2, ..Frame::new(header(FrameKind::CallWithFds, 3), vec![9; 4]) };
        let mut bytes = frame.encode().expect("small");
        assert_eq!(bytes[28..32], [0, 0, 0, 2]);
        let mut decoder = FrameDecoder::new();
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame(), Ok(None));
        bytes = vec![0, 0];
        bytes.extend_from_slice(&AUTH_LIST);
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
        assert!(decoder.next_frame().expect("sound").is_some());
    }

    #[test]
    fn too_many_descriptors_end_the_connection() {
        let mut bytes = AUTH_LIST.to_vec();
        bytes[3] = 32;
        bytes[19] = 4;
        bytes.extend_from_slice(&33_u32.to_be_bytes());
        let mut decoder = FrameDecoder::new();
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooManyFds { count: 33 }));
    }

    #[test]
    fn a_frame_over_the_limit_is_not_sent() {
        let frame = Frame::new(header(FrameKind::Reply, 1), vec![0; PAYLOAD_MAX + 1]);
        assert!(matches!(frame.encode(), Err(FrameError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
            portion in 1_usize..90,
        ) {
            let frames: Vec<_> = (0..).zip(&payloads)
                .map(|(serial, payload)| Frame::new(header(FrameKind::Stream, serial), payload.clone()))
                .collect();
            let bytes: Vec<u8> = frames.iter().flat_map(|f| f.encode().expect("small")).collect();
            let mut decoder = FrameDecoder::new();
            let mut seen = Vec::new();
            for part in bytes.chunks(portion) {
                decoder.feed(part);
                while let Some(frame) = decoder.next_frame().expect("sound") {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = FrameDecoder::new();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}
