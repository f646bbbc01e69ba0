//! What a frame from a client means, and what a server sends unasked.

use crate::call_id::CallId;
use crate::error::{ErrorCode, ErrorDomain, WireError};
use crate::frame::{Frame, FrameKind, Header, Status};
use crate::keepalive::Keepalive;
use crate::procedures::{CallError, Event};
use crate::stream::StreamPart;
use crate::xdr::Xdr;
use crate::{qemu, remote, vfnet};

/// A frame from a client.
#[derive(Debug)]
pub enum Incoming {
    /// A call of libvirt's main program. Answer with [`CallId::answer`].
    Remote(CallId, remote::Call),
    /// A call of libvirt's program for QEMU. Answer with [`CallId::answer`].
    Qemu(CallId, qemu::Call),
    /// A call of vfnet's own program. Answer with [`CallId::answer`].
    Vfnet(CallId, vfnet::Call),
    /// A call that cannot be served: send the error with [`CallId::answer`].
    Refused(CallId, WireError),
    /// A part of a stream.
    Stream(CallId, StreamPart),
    /// A ping is to be answered with a pong; a pong answers ours.
    Keepalive(Keepalive),
    /// Nothing a client should send. It may be ignored or taken as a reason to hang up.
    Unexpected(Header),
}

impl From<Frame> for Incoming {
    fn from(frame: Frame) -> Self {
        let header = frame.header;
        let id = CallId::from(&header);
        match header.kind {
            FrameKind::Call | FrameKind::CallWithFds => call(id, &frame.payload),
            FrameKind::Stream | FrameKind::StreamHole => match StreamPart::read(frame) {
                Ok(Some(part)) => Self::Stream(id, part),
                Ok(None) | Err(_) => Self::Unexpected(header),
            },
            FrameKind::Message => {
                Keepalive::read(&header).map_or(Self::Unexpected(header), Self::Keepalive)
            }
            FrameKind::Reply | FrameKind::ReplyWithFds => Self::Unexpected(header),
        }
    }
}

fn call(id: CallId, payload: &[u8]) -> Incoming {
    let decoded = match (id.program, id.version) {
        (remote::PROGRAM, remote::VERSION) => {
            remote::Call::decode(id.procedure, payload).map(|call| Incoming::Remote(id, call))
        }
        (vfnet::PROGRAM, vfnet::VERSION) => {
            vfnet::Call::decode(id.procedure, payload).map(|call| Incoming::Vfnet(id, call))
        }
        (qemu::PROGRAM, qemu::VERSION) => {
            qemu::Call::decode(id.procedure, payload).map(|call| Incoming::Qemu(id, call))
        }
        (remote::PROGRAM | qemu::PROGRAM | vfnet::PROGRAM, version) => {
            return refused(id, &format!("program version {version} is not served"));
        }
        (program, _) => return refused(id, &format!("unknown program: {program:#x}")),
    };
    decoded.unwrap_or_else(|error| match error {
        CallError::Unknown { number } if in_protocol(id.program, number) => {
            let what = match remote::unserved(number) {
                Some(name) => name.to_owned(),
                None => format!("procedure {number}"),
            };
            Incoming::Refused(id, WireError::no_support(&what))
        }
        CallError::Unknown { .. } => refused(id, &error.to_string()),
        CallError::Args { name, source } => {
            refused(id, &format!("cannot decode arguments of {name}: {source}"))
        }
    })
}

/// Whether libvirt's protocol has a procedure of this number, served here or not. Numbers of
/// events cannot be called.
fn in_protocol(program: u32, number: i32) -> bool {
    match program {
        remote::PROGRAM => {
            (1..=remote::LAST_PROCEDURE).contains(&number) && !remote::RemoteEvent::has(number)
        }
        qemu::PROGRAM => (1..=qemu::LAST_PROCEDURE).contains(&number) && number != qemu::EVENT,
        _ => false,
    }
}

fn refused(id: CallId, detail: &str) -> Incoming {
    Incoming::Refused(id, WireError::new(ErrorDomain::Rpc, ErrorCode::Rpc, detail))
}

impl WireError {
    /// The answer to what the protocol has and this server has not. Clients look at its number
    /// and try an older procedure.
    pub fn no_support(what: &str) -> Self {
        Self::new(ErrorDomain::Remote, ErrorCode::NoSupport, what)
    }

    /// The answer to a call of [`Access::Write`](crate::procedures::Access::Write) on a
    /// read-only connection.
    pub fn read_only(procedure: &str) -> Self {
        let detail = format!("{procedure} is not for read-only connections");
        Self::new(ErrorDomain::Remote, ErrorCode::OperationDenied, &detail)
    }
}

/// An event, to be sent only after the reply to the registration that its body names.
pub fn event<E: Event>(body: &E::Body) -> Frame {
    let header = Header {
        program: E::PROGRAM,
        version: E::VERSION,
        procedure: E::NUMBER,
        kind: FrameKind::Message,
        serial: 0,
        status: Status::Ok,
    };
    Frame::new(header, body.to_bytes())
}
