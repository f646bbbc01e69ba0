//! Streams: bytes both ways beside the calls of a connection, as a console needs them.
//!
//! A call such as [`DomainOpenConsole`](crate::remote::DomainOpenConsole) is answered first;
//! a good answer opens the stream, whose id is the call's. Then:
//!
//! ```text
//!   both        Data ...            until one side ends it
//!   server      NoMoreData          the console is closed; the client finishes
//!   client      Finish  or  Abort   the server confirms with `CallId::finish`
//!   server      `CallId::fail`      the stream is over, nothing confirms it
//! ```
//!
//! Parts for a stream that is over are normal, the peer's last words cross ours: drop them.

use crate::error::WireError;
use crate::frame::{Frame, FrameKind, Status};
use crate::xdr::{Xdr, XdrError, xdr};

xdr! {
    /// A hole in a sparse stream.
    pub struct Hole {
        /// Its bytes.
        pub length: i64,
        /// None are known.
        pub flags: u32,
    }
}

/// One part of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamPart {
    /// Bytes.
    Data(Vec<u8>),
    /// The peer has sent all it had.
    NoMoreData,
    /// The peer ends the stream, or confirms that it has ended.
    Finish,
    /// The peer gives the stream up; a server says why.
    Abort(Option<WireError>),
    /// A hole; only in streams of files.
    Hole(Hole),
}

impl StreamPart {
    /// Reads a frame of kind [`Stream`](FrameKind::Stream) or
    /// [`StreamHole`](FrameKind::StreamHole); `None` for another kind.
    pub fn read(frame: Frame) -> Result<Option<Self>, XdrError> {
        let part = match (frame.header.kind, frame.header.status) {
            (FrameKind::StreamHole, _) => Self::Hole(Hole::from_bytes(&frame.payload)?),
            (FrameKind::Stream, Status::Ok) => Self::Finish,
            (FrameKind::Stream, Status::Continue) if frame.payload.is_empty() => Self::NoMoreData,
            (FrameKind::Stream, Status::Continue) => Self::Data(frame.payload),
            (FrameKind::Stream, Status::Error) if frame.payload.is_empty() => Self::Abort(None),
            (FrameKind::Stream, Status::Error) => {
                Self::Abort(Some(WireError::from_bytes(&frame.payload)?))
            }
            _ => return Ok(None),
        };
        Ok(Some(part))
    }
}
