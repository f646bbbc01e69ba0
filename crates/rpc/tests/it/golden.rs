//! Frames written out by hand: what is on the wire, to the byte.

use vfnet_rpc::client::call;
use vfnet_rpc::error::WireError;
use vfnet_rpc::flags::network_lifecycle;
use vfnet_rpc::frame::Frame;
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::objects::{ListArgs, Listed, Network};
use vfnet_rpc::remote::{
    Call, ConnectClose, ConnectListAllNetworks, ConnectOpen, ConnectOpenArgs,
    NetworkEventLifecycle, NetworkLifecycle,
};
use vfnet_rpc::server::{Incoming, event};
use vfnet_rpc::xdr::List;

use crate::host::text;

const REMOTE: &str = "20008086 00000001";
const UUID: &str = "00010203 04050607 08090a0b 0c0d0e0f";

fn hex(words: &str) -> Vec<u8> {
    let digits: String = words.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"))
        .collect()
}

fn bytes(frame: &Frame) -> Vec<u8> {
    frame.encode().expect("small")
}

fn network() -> Network {
    let uuid = uuid::Uuid::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    Network { name: text("hw"), uuid }
}

#[test]
fn opening_a_connection() {
    let open =
        call::<ConnectOpen>(2, &ConnectOpenArgs { name: Some(text("qemu:///system")), flags: 1 });
    let expected = format!(
        "00000038 {REMOTE} 00000001 00000000 00000002 00000000
         00000001 0000000e 71656d75 3a2f2f2f 73797374 656d0000 00000001"
    );
    assert_eq!(bytes(&open), hex(&expected));
}

#[test]
fn an_answer_without_a_result() {
    let Incoming::Remote(id, Call::ConnectClose((), answer)) =
        Incoming::from(call::<ConnectClose>(9, &()))
    else {
        panic!("a sound call");
    };
    let expected = format!("0000001c {REMOTE} 00000002 00000001 00000009 00000000");
    assert_eq!(id.answer(Ok(answer.done())), hex(&expected));
}

#[test]
fn a_list_and_its_answer() {
    let args = ListArgs { need_results: 1, flags: 0 };
    let question = call::<ConnectListAllNetworks>(4, &args);
    let expected =
        format!("00000024 {REMOTE} 0000011b 00000000 00000004 00000000 00000001 00000000");
    assert_eq!(bytes(&question), hex(&expected));

    let Incoming::Remote(id, Call::ConnectListAllNetworks(args, answer)) = question.into() else {
        panic!("a sound call");
    };
    let networks = List::new(vec![network()]).expect("one");
    let expected = format!(
        "0000003c {REMOTE} 0000011b 00000001 00000004 00000000
         00000001 00000002 68770000 {UUID} 00000001"
    );
    assert_eq!(id.answer(Ok(answer.with(&Listed::answer(&args, networks)))), hex(&expected));
}

#[test]
fn an_error() {
    let Incoming::Remote(id, _) = Incoming::from(call::<ConnectClose>(9, &())) else {
        panic!("a sound call");
    };
    let mut error = WireError::no_support("x");
    error.message = Some(text("x"));
    error.about.str1 = None;
    error.about.str2 = None;
    let expected = format!(
        "00000050 {REMOTE} 00000002 00000001 00000009 00000001
         00000003 0000000d 00000001 00000001 78000000 00000002
         00000000 00000000 00000000 00000000 ffffffff ffffffff 00000000"
    );
    assert_eq!(id.answer(Err(error)), hex(&expected));
}

#[test]
fn an_event() {
    let started = event::<NetworkEventLifecycle>(&NetworkLifecycle {
        callback: 5,
        network: network(),
        event: network_lifecycle::STARTED,
        detail: 0,
    });
    let expected = format!(
        "00000040 {REMOTE} 0000013b 00000002 00000000 00000000
         00000005 00000002 68770000 {UUID} 00000002 00000000"
    );
    assert_eq!(bytes(&started), hex(&expected));
}

#[test]
fn stream_data_and_its_end() {
    let Incoming::Remote(id, _) = Incoming::from(call::<ConnectClose>(9, &())) else {
        panic!("a sound call");
    };
    let data: Vec<u8> = id.data(b"hi").flat_map(|frame| bytes(&frame)).collect();
    let expected = format!("0000001e {REMOTE} 00000002 00000003 00000009 00000002 6869");
    assert_eq!(data, hex(&expected));
    let expected = format!("0000001c {REMOTE} 00000002 00000003 00000009 00000002");
    assert_eq!(bytes(&id.no_more_data()), hex(&expected));
    let expected = format!("0000001c {REMOTE} 00000002 00000003 00000009 00000000");
    assert_eq!(bytes(&id.finish()), hex(&expected));
}

#[test]
fn a_ping_and_its_answer() {
    let ping = "0000001c 6b656570 00000001 00000001 00000002 00000000 00000000";
    let pong = "0000001c 6b656570 00000001 00000002 00000002 00000000 00000000";
    assert_eq!(bytes(&Keepalive::Ping.frame()), hex(ping));
    assert_eq!(bytes(&Keepalive::Pong.frame()), hex(pong));
}
