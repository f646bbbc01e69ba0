//! How a client asks, and what a frame from a server means.
//!
//! ```
//! use vfnet_rpc::client::{Received, call};
//! use vfnet_rpc::remote::{self, NetworkLookupByName};
//! use vfnet_rpc::xdr::Text;
//!
//! let question = call::<NetworkLookupByName>(7, &Text::new("hw")?);
//! let bytes = question.encode().expect("far below the limit");
//! // ... to the socket; then, for each frame that the decoder yields:
//! # let frame = question;
//! match Received::from(frame) {
//!     Received::Reply(id, reply) if id.serial == 7 => {
//!         let network = reply.of::<NetworkLookupByName>();
//! #       drop(network);
//!     }
//!     Received::Event(event) => drop(event),
//!     _ => {}
//! }
//! # Ok::<(), vfnet_rpc::xdr::BoundError>(())
//! ```

use crate::call_id::CallId;
use crate::error::WireError;
use crate::frame::{Frame, FrameKind, Header, Status};
use crate::keepalive::Keepalive;
use crate::procedures::Procedure;
use crate::remote::{self, RemoteEvent};
use crate::stream::StreamPart;
use crate::xdr::{Xdr, XdrError};

/// A call. `serial` is the client's number for it; no two calls that are not answered yet, and
/// no two open streams, may have the same.
pub fn call<P: Procedure>(serial: u32, args: &P::Args) -> Frame {
    let header = Header {
        program: P::PROGRAM,
        version: P::VERSION,
        procedure: P::FACTS.number,
        kind: FrameKind::Call,
        serial,
        status: Status::Ok,
    };
    Frame::new(header, args.to_bytes())
}

/// A frame from a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The answer to a call.
    Reply(CallId, Reply),
    /// An event.
    Event(RemoteEvent),
    /// A part of a stream.
    Stream(CallId, StreamPart),
    /// A ping is to be answered with a pong; a pong answers ours.
    Keepalive(Keepalive),
    /// An event without a name here, or nothing a server should send.
    Unexpected(Header),
}

/// An answer that is not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    header: Header,
    payload: Vec<u8>,
}

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// The server says so. Its message is for people as it is.
    #[error("{0}")]
    Server(WireError),
    /// The answer is to another procedure.
    #[error("answer to procedure {procedure} where {expected} was called")]
    Other {
        /// The procedure answered.
        procedure: i32,
        /// The procedure called.
        expected: &'static str,
    },
    /// The answer cannot be read.
    #[error("cannot decode the answer to {name}")]
    Decode {
        /// The procedure's name.
        name: &'static str,
        /// Where and why.
        source: XdrError,
    },
}

impl Reply {
    /// The error, if the answer is one, whichever procedure was called.
    pub fn error(&self) -> Result<Option<WireError>, XdrError> {
        match self.header.status {
            Status::Error => WireError::from_bytes(&self.payload).map(Some),
            Status::Ok | Status::Continue => Ok(None),
        }
    }

    /// The result of procedure `P`, or why there is none.
    pub fn of<P: Procedure>(&self) -> Result<P::Reply, ReplyError> {
        let name = P::FACTS.name;
        let Header { program, procedure, status, .. } = self.header;
        if (program, procedure) != (P::PROGRAM, P::FACTS.number) {
            return Err(ReplyError::Other { procedure, expected: name });
        }
        let decode = |source| ReplyError::Decode { name, source };
        match status {
            Status::Error => {
                let error = WireError::from_bytes(&self.payload).map_err(decode)?;
                Err(ReplyError::Server(error))
            }
            Status::Ok | Status::Continue => P::Reply::from_bytes(&self.payload).map_err(decode),
        }
    }
}

impl From<Frame> for Received {
    fn from(frame: Frame) -> Self {
        let header = frame.header;
        let id = CallId::from(&header);
        let unexpected = Self::Unexpected(header);
        match header.kind {
            FrameKind::Reply | FrameKind::ReplyWithFds => {
                Self::Reply(id, Reply { header, payload: frame.payload })
            }
            FrameKind::Stream | FrameKind::StreamHole => match StreamPart::read(frame) {
                Ok(Some(part)) => Self::Stream(id, part),
                Ok(None) | Err(_) => unexpected,
            },
            FrameKind::Message if header.program == remote::PROGRAM => {
                match RemoteEvent::decode(header.procedure, &frame.payload) {
                    Ok(Some(event)) => Self::Event(event),
                    Ok(None) | Err(_) => unexpected,
                }
            }
            FrameKind::Message => Keepalive::read(&header).map_or(unexpected, Self::Keepalive),
            FrameKind::Call | FrameKind::CallWithFds => unexpected,
        }
    }
}
