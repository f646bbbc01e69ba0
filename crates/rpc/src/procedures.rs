//! How a table of procedures becomes types.
//!
//! A program's table names every procedure once: number, Rust name, libvirt's name, who may
//! call it, arguments, result. From it follow a marker type per procedure ([`Procedure`]), an
//! enum of decoded calls with the right [`Answer`] in each, an enum of events, and a list for
//! documentation ([`ProcedureFacts`]). The tables are in [`remote`](crate::remote) and
//! [`vfnet`](crate::vfnet).

use std::fmt;
use std::marker::PhantomData;

use crate::xdr::{Xdr, XdrError};

/// Who may call a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read-only connections too.
    Read,
    /// Read-write connections only.
    Write,
}

/// What the table says of one procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcedureFacts {
    /// Its number in its program.
    pub number: i32,
    /// Its name in the protocol, without the program's prefix.
    pub name: &'static str,
    /// Who may call it.
    pub access: Access,
}

/// One procedure.
pub trait Procedure {
    /// The program it belongs to.
    const PROGRAM: u32;
    /// The program's version.
    const VERSION: u32;
    /// What the table says of it.
    const FACTS: ProcedureFacts;
    /// What a call carries.
    type Args: Xdr;
    /// What a reply carries.
    type Reply: Xdr;
}

/// One kind of event: a message that the server sends unasked.
pub trait Event {
    /// The program it belongs to.
    const PROGRAM: u32;
    /// The program's version.
    const VERSION: u32;
    /// Its number in its program.
    const NUMBER: i32;
    /// What it carries.
    type Body: Xdr;
}

/// The encoded result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The one right way to answer a call of procedure `P`.
pub struct Answer<P>(PhantomData<fn() -> P>);

impl<P: Procedure> Answer<P> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }

    /// Encodes the result.
    pub fn with(self, reply: &P::Reply) -> Payload {
        Payload(reply.to_bytes())
    }
}

impl<P: Procedure<Reply = ()>> Answer<P> {
    /// Says that it is done, for procedures without a result.
    pub fn done(self) -> Payload {
        self.with(&())
    }
}

impl<P: Procedure> fmt::Debug for Answer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", P::FACTS.name)
    }
}

/// A call that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The table does not have the number.
    #[error("unknown procedure: {number}")]
    Unknown {
        /// The number.
        number: i32,
    },
    /// The arguments are not what the procedure takes.
    #[error("cannot decode arguments of {name}")]
    Args {
        /// The procedure's name.
        name: &'static str,
        /// Where and why.
        source: XdrError,
    },
}

/// Turns a program's table into types; see the module's head.
macro_rules! program {
    (
        $(#[$meta:meta])*
        program $program:expr, version $version:expr;
        $(#[$call_meta:meta])*
        calls $calls:ident {
            $( $number:literal $name:ident $wire:literal $access:ident ($args:ty) -> $reply:ty; )*
        }
        $(
            $(#[$event_meta:meta])*
            events $events:ident {
                $( $event_number:literal $event:ident $event_wire:literal ($body:ty); )*
            }
        )?
    ) => {
        $(#[$call_meta])*
        #[derive(Debug)]
        pub enum $calls {
            $(
                #[doc = concat!("`", $wire, "`, ", $number)]
                $name($args, $crate::procedures::Answer<$name>),
            )*
        }

        impl $calls {
            /// The table, in its own order.
            pub const PROCEDURES: &[$crate::procedures::ProcedureFacts] =
                &[ $( <$name as $crate::procedures::Procedure>::FACTS, )* ];

            /// Decodes a call of procedure `number` from its payload.
            pub fn decode(
                number: i32,
                payload: &[u8],
            ) -> Result<Self, $crate::procedures::CallError> {
                use $crate::procedures::{Answer, CallError};
                match number {
                    $(
                        $number => $crate::xdr::Xdr::from_bytes(payload)
                            .map(|args| Self::$name(args, Answer::new()))
                            .map_err(|source| CallError::Args { name: $wire, source }),
                    )*
                    _ => Err(CallError::Unknown { number }),
                }
            }

            /// What the table says of this call's procedure.
            pub fn facts(&self) -> $crate::procedures::ProcedureFacts {
                match self {
                    $( Self::$name(..) => <$name as $crate::procedures::Procedure>::FACTS, )*
                }
            }

            /// The same call as a client makes it, for a server that hands it on to another.
            pub fn to_frame(&self, serial: u32) -> $crate::frame::Frame {
                match self {
                    $( Self::$name(args, _) => $crate::client::call::<$name>(serial, args), )*
                }
            }

            /// What another server has answered to this very call, as the answer to it. The
            /// other's errors are errors here, as they are.
            pub fn relay(
                self,
                reply: &$crate::client::Reply,
            ) -> Result<$crate::procedures::Payload, $crate::client::ReplyError> {
                match self {
                    $( Self::$name(_, answer) => {
                        reply.of::<$name>().map(|result| answer.with(&result))
                    } )*
                }
            }
        }

        $(
            #[doc = concat!("`", $wire, "`, ", $number)]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl $crate::procedures::Procedure for $name {
                const PROGRAM: u32 = $program;
                const VERSION: u32 = $version;
                const FACTS: $crate::procedures::ProcedureFacts =
                    $crate::procedures::ProcedureFacts {
                        number: $number,
                        name: $wire,
                        access: $crate::procedures::Access::$access,
                    };
                type Args = $args;
                type Reply = $reply;
            }
        )*

        $(
            $(#[$event_meta])*
            #[derive(Debug, Clone, PartialEq)]
            pub enum $events {
                $(
                    #[doc = concat!("`", $event_wire, "`, ", $event_number)]
                    $event($body),
                )*
            }

            impl $events {
                /// Whether messages of this number are in the table.
                pub fn has(number: i32) -> bool {
                    matches!(number, $( $event_number )|*)
                }

                /// Decodes a message; `None` when the table does not have its number.
                pub fn decode(
                    number: i32,
                    payload: &[u8],
                ) -> Result<Option<Self>, $crate::xdr::XdrError> {
                    match number {
                        $(
                            $event_number => $crate::xdr::Xdr::from_bytes(payload)
                                .map(|body| Some(Self::$event(body))),
                        )*
                        _ => Ok(None),
                    }
                }
            }

            $(
                #[doc = concat!("`", $event_wire, "`, ", $event_number)]
                #[derive(Debug, Clone, Copy)]
                pub struct $event;

                impl $crate::procedures::Event for $event {
                    const PROGRAM: u32 = $program;
                    const VERSION: u32 = $version;
                    const NUMBER: i32 = $event_number;
                    type Body = $body;
                }
            )*
        )?

        #[cfg(test)]
        mod shapes {
            use super::*;
            use $crate::xdr::sample::{keeps_its_promise, survives_garbage};

            #[test]
            fn every_call_survives_the_wire() {
                $( keeps_its_promise::<$args>(concat!($wire, " arguments")); )*
            }

            #[test]
            fn every_reply_survives_the_wire() {
                $( keeps_its_promise::<$reply>(concat!($wire, " reply")); )*
            }

            #[test]
            fn no_payload_brings_a_decoder_down() {
                $(
                    survives_garbage::<$args>(concat!($wire, " arguments"));
                    survives_garbage::<$reply>(concat!($wire, " reply"));
                )*
            }

            #[test]
            fn every_procedure_is_named_once() {
                let mut numbers: Vec<_> = $calls::PROCEDURES.iter().map(|p| p.number).collect();
                let mut names: Vec<_> = $calls::PROCEDURES.iter().map(|p| p.name).collect();
                numbers.sort_unstable();
                names.sort_unstable();
                assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
                assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
            }

            $(
                #[test]
                fn every_event_survives_the_wire() {
                    $(
                        keeps_its_promise::<$body>($event_wire);
                        survives_garbage::<$body>($event_wire);
                    )*
                    $( assert!(!$calls::PROCEDURES.iter().any(|p| p.number == $event_number)); )*
                    assert!($events::decode(0, &[]).expect("no such event").is_none());
                }
            )?
        }
    };
}
pub(crate) use program;
