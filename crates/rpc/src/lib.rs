//! The wire of libvirt: XDR, frames, procedures, both sides of it.
//!
//! Bytes in, typed values out, and back. This crate opens no socket, starts no task and knows
//! nothing of networks, guests or devices beyond their form on the wire.
//!
//! Read first: [`frame::FrameDecoder`], which cuts bytes into frames;
//! [`server::Incoming`], what a frame means to a server; and [`remote`], the table of
//! procedures that everything else follows from. How the tables work is in [`procedures`],
//! how a client asks in [`client`].
//!
//! ```
//! use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
//! use vfnet_rpc::frame::FrameDecoder;
//! use vfnet_rpc::procedures::Payload;
//! use vfnet_rpc::remote::{AuthType, Call};
//! use vfnet_rpc::server::Incoming;
//! use vfnet_rpc::xdr::{List, Text};
//!
//! fn serve(call: Call) -> Result<Payload, WireError> {
//!     match call {
//!         Call::AuthList((), answer) => {
//!             let types = List::new(vec![AuthType::None.number()]).unwrap_or_default();
//!             Ok(answer.with(&types))
//!         }
//!         Call::NetworkLookupByName(name, _) => {
//!             Err(WireError::new(ErrorDomain::Network, ErrorCode::NoNetwork, &name))
//!         }
//!         call => Err(WireError::no_support(call.facts().name)),
//!     }
//! }
//!
//! fn on_bytes(decoder: &mut FrameDecoder, bytes: &[u8], send: &mut dyn FnMut(Vec<u8>)) {
//!     decoder.feed(bytes);
//!     while let Ok(Some(frame)) = decoder.next_frame() {
//!         match Incoming::from(frame) {
//!             Incoming::Remote(id, call) => send(id.answer(serve(call))),
//!             Incoming::Refused(id, error) => send(id.answer(Err(error))),
//!             _ => {}
//!         }
//!     }
//! }
//! # let mut sent = Vec::new();
//! # let call = vfnet_rpc::client::call::<vfnet_rpc::remote::AuthList>(0, &());
//! # on_bytes(&mut FrameDecoder::new(), &call.encode().expect("small"), &mut |b| sent.push(b));
//! # assert_eq!(sent[0][28..], [0, 0, 0, 1, 0, 0, 0, 0]);
//! ```

pub mod call_id;
pub mod client;
pub mod error;
pub mod flags;
pub mod frame;
pub mod keepalive;
pub mod objects;
pub mod procedures;
pub mod qemu;
pub mod remote;
pub mod server;
pub mod stream;
pub mod typed_params;
pub mod vfnet;
pub mod xdr;
