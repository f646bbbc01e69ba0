//! What ties a reply, and the parts of a stream, to the call they belong to.

use crate::error::{ErrorAbout, ErrorCode, ErrorDomain, WireError};
use crate::frame::{Frame, FrameKind, Header, STREAM_PORTION, Status};
use crate::procedures::Payload;
use crate::xdr::{Text, Xdr};

/// One call on one connection. The stream that a call opens has the call's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId {
    /// The program called.
    pub program: u32,
    /// Its version, as the caller has it.
    pub version: u32,
    /// The procedure's number.
    pub procedure: i32,
    /// The caller's number for the call.
    pub serial: u32,
}

impl From<&Header> for CallId {
    fn from(header: &Header) -> Self {
        Self {
            program: header.program,
            version: header.version,
            procedure: header.procedure,
            serial: header.serial,
        }
    }
}

impl CallId {
    fn frame(self, kind: FrameKind, status: Status, payload: Vec<u8>) -> Frame {
        let Self { program, version, procedure, serial } = self;
        Frame::new(Header { program, version, procedure, kind, serial, status }, payload)
    }

    /// The reply's bytes, ready to be sent. A result that is too long for a frame becomes an
    /// error which says so.
    pub fn answer(self, result: Result<Payload, WireError>) -> Vec<u8> {
        let error = match result {
            Ok(payload) => {
                let reply = self.frame(FrameKind::Reply, Status::Ok, payload.into_bytes());
                match reply.encode() {
                    Ok(bytes) => return bytes,
                    Err(error) => {
                        WireError::new(ErrorDomain::Rpc, ErrorCode::Rpc, &error.to_string())
                    }
                }
            }
            Err(error) => error,
        };
        self.refusal(FrameKind::Reply, &error)
    }

    /// An error's bytes. One whose texts are too long together goes without them.
    fn refusal(self, kind: FrameKind, error: &WireError) -> Vec<u8> {
        let whole = self.frame(kind, Status::Error, error.to_bytes());
        whole.encode().unwrap_or_else(|_| {
            let message = Some(Text::clipped("an error with too long a text"));
            let bare = WireError { message, about: Box::new(ErrorAbout::none()), ..*error };
            let frame = self.frame(kind, Status::Error, bare.to_bytes());
            frame.encode().unwrap_or_default()
        })
    }

    /// Stream data, cut into portions that every peer takes. Nothing for no data: an empty
    /// portion would mean the end, see [`no_more_data`](Self::no_more_data).
    pub fn data(self, bytes: &[u8]) -> impl Iterator<Item = Frame> {
        bytes
            .chunks(STREAM_PORTION)
            .map(move |portion| self.frame(FrameKind::Stream, Status::Continue, portion.to_vec()))
    }

    /// Tells the stream's peer that this side has sent all it had.
    pub fn no_more_data(self) -> Frame {
        self.frame(FrameKind::Stream, Status::Continue, Vec::new())
    }

    /// Ends a stream. A client sends it first; a server confirms with the same, also when the
    /// client has aborted the stream.
    pub fn finish(self) -> Frame {
        self.frame(FrameKind::Stream, Status::Ok, Vec::new())
    }

    /// Ends a stream without waiting for its data; the client's way.
    pub fn abort(self) -> Frame {
        self.frame(FrameKind::Stream, Status::Error, Vec::new())
    }

    /// Ends a stream with an error; the server's way.
    pub fn fail(self, error: &WireError) -> Vec<u8> {
        self.refusal(FrameKind::Stream, error)
    }
}
