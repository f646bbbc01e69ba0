//! Pings, which tell a dead peer from a silent one.
//!
//! Either side may ping; the other answers at once, before anything that takes time. A server
//! begins only after the client has asked for
//! [`Feature::ProgramKeepalive`](crate::remote::Feature::ProgramKeepalive); libvirt's defaults
//! are a ping after 5 idle seconds, and the end after 5 that were not answered.

use crate::frame::{Frame, FrameKind, Header, Status};

/// The program's number, "keep" in ASCII.
pub const PROGRAM: u32 = 0x6b65_6570;
/// The program's version.
pub const VERSION: u32 = 1;

const PING: i32 = 1;
const PONG: i32 = 2;

/// A question or its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

impl Keepalive {
    /// The message to send.
    pub fn frame(self) -> Frame {
        let procedure = match self {
            Self::Ping => PING,
            Self::Pong => PONG,
        };
        let header = Header {
            program: PROGRAM,
            version: VERSION,
            procedure,
            kind: FrameKind::Message,
            serial: 0,
            status: Status::Ok,
        };
        Frame::new(header, Vec::new())
    }

    /// What a header of this program's messages means; `None` if nothing.
    pub fn read(header: &Header) -> Option<Self> {
        match (header.program, header.version, header.kind, header.procedure) {
            (PROGRAM, VERSION, FrameKind::Message, PING) => Some(Self::Ping),
            (PROGRAM, VERSION, FrameKind::Message, PONG) => Some(Self::Pong),
            _ => None,
        }
    }
}
