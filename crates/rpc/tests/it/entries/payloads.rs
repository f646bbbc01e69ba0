//! What has to hold of whatever stands where arguments, or an event's body, should.

use vfnet_rpc::error::WireError;
use vfnet_rpc::remote::{Call, RemoteEvent};
use vfnet_rpc::xdr::Xdr;
use vfnet_rpc::{qemu, vfnet};

/// A number (4 bytes), then a procedure's arguments, or an event's body.
pub(crate) fn payloads(bytes: &[u8]) {
    let Some((number, payload)) = bytes.split_first_chunk() else { return };
    let number = i32::from_be_bytes(*number);
    if let Ok(call) = Call::decode(number, payload) {
        assert_eq!(call.facts().number, number);
        assert_eq!(call.to_frame(1).payload, payload, "{call:?}");
    }
    if let Ok(call) = vfnet::Call::decode(number, payload) {
        assert_eq!(call.facts().number, number);
    }
    if let Ok(call) = qemu::Call::decode(number, payload) {
        assert_eq!(call.facts().number, number);
    }
    drop(RemoteEvent::decode(number, payload));
    if let Ok(error) = WireError::from_bytes(payload) {
        assert_eq!(error.to_bytes(), payload, "{error:?}");
    }
}
