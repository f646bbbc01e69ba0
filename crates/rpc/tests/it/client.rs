//! Our own client against our own server, over a real socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use vfnet_rpc::client::{Received, ReplyError, call};
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::frame::{Frame, FrameDecoder, FrameKind};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::procedures::Procedure;
use vfnet_rpc::remote::{
    ConnectNetworkEventRegisterAny, DomainCreateWithFlags, DomainFlags, DomainLookupByName,
    DomainOpenConsole, NetworkEventRegister, NetworkLookupByName, OpenConsoleArgs, RemoteEvent,
};
use vfnet_rpc::stream::StreamPart;
use vfnet_rpc::vfnet;

use crate::host::{Host, network, text};

pub(crate) struct Client {
    socket: UnixStream,
    decoder: FrameDecoder,
    serial: u32,
}

impl Client {
    pub(crate) fn connect(host: &Host) -> Self {
        let socket = UnixStream::connect(host.socket()).expect("server listens");
        Self { socket, decoder: FrameDecoder::new(), serial: 0 }
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.encode().expect("small"));
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("server reads");
    }

    /// The next frame; `None` when the server has hung up.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("sound frame") {
                return Some(frame.into());
            }
            let mut portion = [0; 4096];
            match self.socket.read(&mut portion) {
                Ok(count @ 1..) => self.decoder.feed(&portion[..count]),
                _ => return None,
            }
        }
    }

    pub(crate) fn ask<P: Procedure>(&mut self, args: &P::Args) -> Result<P::Reply, ReplyError> {
        self.serial += 1;
        self.send(&call::<P>(self.serial, args));
        match self.receive() {
            Some(Received::Reply(id, reply)) if id.serial == self.serial => reply.of::<P>(),
            other => panic!("{other:?} instead of the reply"),
        }
    }
}

#[test]
fn a_call_brings_its_result_or_the_servers_error() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    assert_eq!(client.ask::<NetworkLookupByName>(&text("pool-a")), Ok(network()));
    let Err(ReplyError::Server(error)) = client.ask::<NetworkLookupByName>(&text("nowhere")) else {
        panic!("there is no such network");
    };
    assert_eq!(error.known_code(), Some(ErrorCode::NoNetwork));
    assert_eq!(error.to_string(), "Network not found: no 'nowhere' here");
}

#[test]
fn what_is_in_the_table_but_not_served_says_so() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    let domain = client.ask::<DomainLookupByName>(&text("web1")).expect("it is there");
    let Err(ReplyError::Server(error)) =
        client.ask::<DomainCreateWithFlags>(&DomainFlags { domain, flags: 0 })
    else {
        panic!("this host does not start guests");
    };
    assert_eq!(error.known_code(), Some(ErrorCode::NoSupport));
}

#[test]
fn vfnets_program_is_on_the_same_socket() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    let json = client.ask::<vfnet::DaemonInfo>(&()).expect("served");
    assert_eq!(json, r#"{"version":"0.1.0"}"#);
}

#[test]
fn an_event_follows_the_answer_to_its_registration() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    let register = NetworkEventRegister { event: 0, network: None };
    let callback = client.ask::<ConnectNetworkEventRegisterAny>(&register).expect("registered");
    let Some(Received::Event(RemoteEvent::NetworkEventLifecycle(change))) = client.receive() else {
        panic!("an event is sent at once");
    };
    assert_eq!((change.callback, change.network), (callback, network()));
}

#[test]
fn a_console_carries_bytes_both_ways_until_the_client_finishes() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    let domain = client.ask::<DomainLookupByName>(&text("web1")).expect("it is there");
    let open = call::<DomainOpenConsole>(9, &OpenConsoleArgs { domain, device: None, flags: 0 });
    client.send(&open);
    let Some(Received::Reply(id, reply)) = client.receive() else { panic!("the call's reply") };
    reply.of::<DomainOpenConsole>().expect("console opened");
    let part = |part| Some(Received::Stream(id, part));
    assert_eq!(client.receive(), part(StreamPart::Data(b"login: ".to_vec())));
    assert_eq!(client.receive(), part(StreamPart::NoMoreData));
    for frame in id.data(b"root\n") {
        client.send(&frame);
    }
    assert_eq!(client.receive(), part(StreamPart::Data(b"root\n".to_vec())));
    client.send(&id.finish());
    assert_eq!(client.receive(), part(StreamPart::Finish));
}

#[test]
fn a_ping_is_answered() {
    let host = Host::start();
    let mut client = Client::connect(&host);
    client.send(&Keepalive::Ping.frame());
    assert_eq!(client.receive(), Some(Received::Keepalive(Keepalive::Pong)));
}

#[test]
fn long_stream_data_is_cut_into_portions() {
    let id = vfnet_rpc::call_id::CallId { program: 1, version: 1, procedure: 1, serial: 1 };
    let bytes = vec![7; 600_000];
    let frames: Vec<_> = id.data(&bytes).collect();
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| frame.header.kind == FrameKind::Stream));
    let whole: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
    assert_eq!(whole, bytes);
    assert_eq!(id.data(&[]).count(), 0);
}
