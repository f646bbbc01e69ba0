//! What nobody should send harms nobody but the sender.

use vfnet_rpc::client::{Received, ReplyError, call};
use vfnet_rpc::error::{ErrorCode, WireError};
use vfnet_rpc::frame::Frame;
use vfnet_rpc::procedures::Access;
use vfnet_rpc::qemu;
use vfnet_rpc::remote::{self, AuthList, Call, NetworkLookupByName};
use vfnet_rpc::server::Incoming;
use vfnet_rpc::xdr::{List, Xdr};

use crate::client::Client;
use crate::host::{Host, network, text};

/// A call of any number in any program.
fn odd_call(program: u32, version: u32, procedure: i32, payload: &[u8]) -> Frame {
    let mut frame = call::<AuthList>(3, &());
    frame.header.program = program;
    frame.header.version = version;
    frame.header.procedure = procedure;
    frame.payload = payload.to_vec();
    frame
}

fn refusal(frame: Frame) -> WireError {
    match Incoming::from(frame) {
        Incoming::Refused(id, error) => {
            assert_eq!(id.serial, 3, "the refusal is for the caller");
            error
        }
        other => panic!("{other:?} is not refused"),
    }
}

#[test]
fn a_procedure_that_libvirt_has_and_we_have_not_is_not_supported() {
    for number in [26, 75, 302, 453] {
        let error = refusal(odd_call(remote::PROGRAM, 1, number, &[]));
        assert_eq!(error.known_code(), Some(ErrorCode::NoSupport), "{number}");
    }
}

#[test]
fn a_procedure_that_nobody_has_is_unknown() {
    for number in [i32::MIN, -1, 0, 315, 454, i32::MAX] {
        let error = refusal(odd_call(remote::PROGRAM, 1, number, &[]));
        assert_eq!(error.known_code(), Some(ErrorCode::Rpc), "{number}");
        assert_eq!(error.to_string(), format!("unknown procedure: {number}"));
    }
    let error = refusal(odd_call(vfnet_rpc::vfnet::PROGRAM, 1, 300, &[]));
    assert_eq!(error.known_code(), Some(ErrorCode::Rpc));
}

#[test]
fn another_program_or_version_is_refused() {
    for (program, version) in [(0x2000_8088, 1), (0, 0), (remote::PROGRAM, 2), (qemu::PROGRAM, 2)] {
        let error = refusal(odd_call(program, version, 1, &[]));
        assert_eq!(error.known_code(), Some(ErrorCode::Rpc));
    }
}

#[test]
fn arguments_that_are_too_short_too_long_or_odd_are_refused_by_name() {
    let sound = text("pool-a").to_bytes();
    let mut long = sound.clone();
    long.extend_from_slice(&[0; 4]);
    let mut padding = sound.clone();
    padding[11] = 1;
    let claims = [0, 0x3f, 0xff, 0xff];
    for payload in [&sound[..8], &long, &padding, &claims, &[]] {
        let error = refusal(odd_call(remote::PROGRAM, 1, 46, payload));
        assert_eq!(error.known_code(), Some(ErrorCode::Rpc));
        assert!(error.to_string().contains("NETWORK_LOOKUP_BY_NAME"), "{error}");
    }
}

#[test]
fn after_a_refused_call_the_next_one_is_served() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    client.send(&odd_call(remote::PROGRAM, 1, 46, b"\xff\xff\xff\xff"));
    let Some(Received::Reply(_, reply)) = client.receive() else { panic!("a refusal") };
    assert!(matches!(reply.of::<NetworkLookupByName>(), Err(ReplyError::Server(_))));
    assert_eq!(client.ask::<NetworkLookupByName>(&text("pool-a")), Ok(network()));
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let host = Host::start();
    let mut good = Client::connect(&host);
    let mut bad = Client::connect(&host);
    bad.send_bytes(b"GET / HTTP/1.1\r\nHost: metal1\r\n\r\n");
    assert_eq!(bad.receive(), None);
    assert_eq!(good.ask::<NetworkLookupByName>(&text("pool-a")), Ok(network()));
}

#[test]
fn passwords_in_a_guests_document_are_for_read_write_connections() {
    let domain = vfnet_rpc::objects::Domain { name: text("web1"), uuid: network().uuid, id: -1 };
    for (flags, access) in [(0, Access::Read), (2, Access::Read), (3, Access::Write)] {
        let args = remote::DomainFlags { domain: domain.clone(), flags };
        let frame = call::<remote::DomainGetXmlDesc>(1, &args);
        let Incoming::Remote(_, call) = Incoming::from(frame) else { panic!("a sound call") };
        assert_eq!(call.access(), access);
    }
}

fn access_of<P: vfnet_rpc::procedures::Procedure>(args: &P::Args) -> Access {
    let Incoming::Remote(_, call) = Incoming::from(call::<P>(1, args)) else {
        panic!("a sound call")
    };
    call.access()
}

#[test]
fn agents_and_programs_are_run_for_read_write_connections() {
    let domain = vfnet_rpc::objects::Domain { name: text("web1"), uuid: network().uuid, id: 1 };
    for (flags, access) in [(1, Access::Read), (8, Access::Write), (9, Access::Write)] {
        let args = remote::DomainFlags { domain: domain.clone(), flags };
        assert_eq!(access_of::<remote::DomainGetVcpusFlags>(&args), access);
    }
    for (source, access) in [(0, Access::Read), (1, Access::Write), (2, Access::Read)] {
        let args =
            remote::DomainInterfaceAddressesArgs { domain: domain.clone(), source, flags: 0 };
        assert_eq!(access_of::<remote::DomainInterfaceAddresses>(&args), access);
    }
}

#[test]
fn a_result_too_long_for_a_frame_becomes_an_error() {
    let frame = call::<remote::ConnectListDefinedDomains>(4, &16_384);
    let Incoming::Remote(id, Call::ConnectListDefinedDomains(_, answer)) = frame.into() else {
        panic!("a sound call");
    };
    let names = vec![text(&"x".repeat(1024 * 1024)); 40];
    let bytes = id.answer(Ok(answer.with(&List::new(names).expect("few enough"))));
    assert!(bytes.len() < 1024);
    let mut decoder = vfnet_rpc::frame::FrameDecoder::new();
    decoder.feed(&bytes);
    let frame = decoder.next_frame().expect("sound").expect("whole");
    let Received::Reply(_, reply) = frame.into() else { panic!("a reply") };
    assert!(matches!(
        reply.of::<remote::ConnectListDefinedDomains>(),
        Err(ReplyError::Server(error)) if error.known_code() == Some(ErrorCode::Rpc)
    ));
}
