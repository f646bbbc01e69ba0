//! What the protocol promises on one connection: pings, goodbyes, events by registration, calls
//! beside one another, and the table of procedures.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use vfnet_rpc::client::{Received, Reply, ReplyError};
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags::{CONNECT_RO, domain_event, network_event, node_device_event};
use vfnet_rpc::frame::{Frame, FrameKind, Header, Status};
use vfnet_rpc::keepalive::Keepalive;
use vfnet_rpc::objects::{Domain, Network};
use vfnet_rpc::procedures::{Access, ProcedureFacts};
use vfnet_rpc::remote::{
    self, Call, CallbackArgs, CloseReason, ConnectClose, ConnectDomainEventCallbackDeregisterAny,
    ConnectDomainEventCallbackRegisterAny, ConnectGetHostname, ConnectNetworkEventDeregisterAny,
    ConnectNetworkEventRegisterAny, ConnectNodeDeviceEventRegisterAny, ConnectOpen,
    ConnectOpenArgs, ConnectRegisterCloseCallback, ConnectSetIdentity, ConnectSupportsFeature,
    ConnectUnregisterCloseCallback, DomainCreate, DomainDefineXml, DomainDestroy,
    DomainEventRegister, Feature, NetworkDefineXml, NetworkEventRegister, NetworkUndefine,
    NodeDeviceEventRegister, RemoteEvent, SetIdentityArgs,
};
use vfnet_rpc::typed_params::{ParamValue, TypedParam};
use vfnet_rpc::xdr::{List, Text};
use vfnet_rpc::{qemu, vfnet};

use crate::bindings::{PYTHON, installed_for_python};
use crate::client::Client;
use crate::daemon::{Daemon, Ran, guest_with};
use crate::{installed, until};

fn network(name: &str) -> Text {
    Text::clipped(&format!("<network><name>{name}</name><forward mode='hostdev'/></network>"))
}

/// Guests whose start does not end by itself.
fn hanging_guests(client: &mut Client, count: usize) -> Vec<Domain> {
    let mut define = |number| {
        let document = guest_with(&format!("never-answers-{number}"), "");
        client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined")
    };
    (0..count).map(&mut define).collect()
}

fn pong() -> Vec<u8> {
    Keepalive::Pong.frame().encode().expect("a frame")
}

/// The next reply, whichever call it is to; events and pings in front of it are dropped.
fn reply(client: &mut Client) -> (u32, Reply) {
    loop {
        match client.receive().expect("a frame") {
            Received::Reply(id, reply) => return (id.serial, reply),
            Received::Event(_) | Received::Keepalive(_) => {}
            other => panic!("{other:?} instead of a reply"),
        }
    }
}

#[test]
fn an_idle_client_is_pinged_and_given_up_when_it_does_not_answer() {
    let daemon = Daemon::configured("keepalive_interval = 1\nkeepalive_count = 2\n");
    let asks = |client: &mut Client| {
        let number = Feature::ProgramKeepalive.number();
        assert_eq!(client.ask::<ConnectSupportsFeature>(&number).expect("answered"), 1);
    };
    let mut never_asked = Client::of(&daemon);
    let mut dead = Client::of(&daemon);
    asks(&mut dead);
    let mut alive = Client::of(&daemon);
    asks(&mut alive);
    // The living outlives the dead, which has no answer to two.
    for _ping in 0..4 {
        assert_eq!(alive.receive(), Some(Received::Keepalive(Keepalive::Ping)));
        alive.send(&pong());
    }
    for _ping in 0..2 {
        assert_eq!(dead.receive(), Some(Received::Keepalive(Keepalive::Ping)));
    }
    assert_eq!(dead.receive(), None);
    alive.ask::<ConnectGetHostname>(&()).expect("still served");
    never_asked.socket.set_nonblocking(true).expect("set");
    assert!(!readable(&never_asked), "a client that never asked for pings was sent something");
    never_asked.socket.set_nonblocking(false).expect("set");
    never_asked.ask::<ConnectGetHostname>(&()).expect("still served");
}

fn readable(client: &Client) -> bool {
    use std::io::Read as _;
    let read = (&client.socket).read(&mut [0; 1]);
    !matches!(read, Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn pings_are_answered_past_calls_that_wait_and_a_fast_call_overtakes_slow_ones() {
    let daemon = Daemon::configured("max_client_requests = 3\n");
    let mut client = Client::of(&daemon);
    let mut other = Client::of(&daemon);
    let guests = hanging_guests(&mut client, 3);
    let first = client.tell::<DomainCreate>(&guests[0]);
    let second = client.tell::<DomainCreate>(&guests[1]);
    // Beside two that hang there is room for one.
    client.ask::<ConnectGetHostname>(&()).expect("answered beside them");
    let third = client.tell::<DomainCreate>(&guests[2]);
    let waits = client.tell::<ConnectGetHostname>(&());
    client.send(&Keepalive::Ping.frame().encode().expect("a frame"));
    assert_eq!(client.receive(), Some(Received::Keepalive(Keepalive::Pong)));
    // The first that ends makes room for the call that waits.
    let destroyed = || other.ask::<DomainDestroy>(&guests[1]).is_ok();
    until("the second guest is there and destroyed", destroyed);
    let mut replies = [reply(&mut client), reply(&mut client)];
    replies.sort_by_key(|(serial, _)| *serial);
    assert_eq!([replies[0].0, replies[1].0], [second, waits]);
    assert!(matches!(replies[0].1.of::<DomainCreate>(), Err(ReplyError::Server(_))));
    replies[1].1.of::<ConnectGetHostname>().expect("a name");
    for (guest, serial) in [(&guests[2], third), (&guests[0], first)] {
        until("it is there and destroyed", || other.ask::<DomainDestroy>(guest).is_ok());
        let (answered, answer) = reply(&mut client);
        assert_eq!(answered, serial);
        assert!(matches!(answer.of::<DomainCreate>(), Err(ReplyError::Server(_))));
    }
}

#[test]
fn a_client_that_leaves_calls_behind_leaves_its_place() {
    let daemon = Daemon::configured("max_clients = 2\nmax_client_requests = 2\n");
    let mut other = Client::of(&daemon);
    let guests = hanging_guests(&mut other, 2);
    for _client in 0..3 {
        let mut client = Client::of(&daemon);
        for guest in guests.iter().cycle().take(40) {
            client.tell::<DomainCreate>(guest);
        }
        drop(client);
    }
    // The last place is free again, and what was asked for went on.
    Client::of(&daemon).ask::<ConnectGetHostname>(&()).expect("served");
    for guest in &guests {
        until("it is there and destroyed", || other.ask::<DomainDestroy>(guest).is_ok());
    }
}

#[test]
fn whoever_registered_for_it_is_told_of_the_end_and_nobody_else() {
    let mut daemon = Daemon::start();
    let mut told = Client::of(&daemon);
    told.ask::<ConnectRegisterCloseCallback>(&()).expect("registered");
    let mut no_more = Client::of(&daemon);
    no_more.ask::<ConnectRegisterCloseCallback>(&()).expect("registered");
    no_more.ask::<ConnectUnregisterCloseCallback>(&()).expect("unregistered");
    let never = Client::of(&daemon);
    assert!(daemon.terminate().success());
    let closed = RemoteEvent::ConnectEventConnectionClosed(CloseReason::Eof.number());
    assert_eq!(told.receive(), Some(Received::Event(closed)));
    for mut client in [told, no_more, never] {
        assert_eq!(client.receive(), None);
    }
}

#[test]
fn the_daemon_ends_though_calls_are_under_way_and_clients_do_not_read() {
    let mut daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let guests = hanging_guests(&mut client, 1);
    client.tell::<DomainCreate>(&guests[0]);
    assert!(daemon.terminate().success());
    while client.receive().is_some() {}
}

/// Says why its connection was closed, once.
const CLOSED: &str = r#"
import sys
import libvirt

libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(sys.argv[1])
reasons = []
conn.registerCloseCallback(lambda conn, reason, opaque: reasons.append((reason, opaque)), 'mine')
print('ready', flush=True)
while not reasons:
    libvirt.virEventRunDefaultImpl()
assert reasons == [(libvirt.VIR_CONNECT_CLOSE_REASON_EOF, 'mine')], reasons
print('closed')
"#;

#[test]
fn the_python_binding_calls_back_when_the_daemon_ends() {
    use std::io::{BufRead as _, BufReader, Read as _};
    if !installed(PYTHON) || !installed_for_python() {
        return;
    }
    let mut daemon = Daemon::start();
    let mut python = Command::new("timeout")
        .args(["60", PYTHON, "-c", CLOSED, &daemon.uri()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut said = BufReader::new(python.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    assert!(daemon.terminate().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("the rest");
    assert!(python.wait().expect("ended").success());
    assert_eq!(rest, "closed\n");
}

/// Registers for networks' lifecycle; the callback's number.
fn listen(client: &mut Client, network: Option<&Network>) -> i32 {
    let event = network_event::LIFECYCLE;
    let args = NetworkEventRegister { event, network: network.cloned() };
    client.ask::<ConnectNetworkEventRegisterAny>(&args).expect("registered")
}

/// Which registration heard of which network, until the answer to a call.
fn heard(client: &mut Client) -> BTreeMap<i32, Vec<String>> {
    let mut heard: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let last = client.tell::<ConnectGetHostname>(&());
    loop {
        match client.receive().expect("a frame") {
            Received::Event(RemoteEvent::NetworkEventLifecycle(it)) => {
                heard.entry(it.callback).or_default().push(it.network.name.as_str().to_owned());
            }
            Received::Reply(id, _) if id.serial == last => return heard,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_registration_hears_its_own_and_nothing_after_it_is_ended() {
    let daemon = Daemon::start();
    let mut actor = Client::of(&daemon);
    let [a, b] = ["a", "b"].map(|name| actor.ask::<NetworkDefineXml>(&network(name)).expect("it"));
    let mut client = Client::of(&daemon);
    let of_a = listen(&mut client, Some(&a));
    let of_b = listen(&mut client, Some(&b));
    let of_all = listen(&mut client, None);
    let guests = DomainEventRegister { event: domain_event::LIFECYCLE, domain: None };
    let of_guests = client.ask::<ConnectDomainEventCallbackRegisterAny>(&guests).expect("it");
    let mut change = |network: &Network| {
        let name = network.name.as_str();
        let document = format!(
            "<network><name>{name}</name><uuid>{}</uuid><forward mode='hostdev'/></network>",
            network.uuid
        );
        actor.ask::<NetworkDefineXml>(&Text::clipped(&document)).expect("defined again");
    };
    change(&a);
    change(&b);
    let mut everything = BTreeMap::new();
    let mut hear = |client: &mut Client, wanted: usize| {
        until("the events come", || {
            for (callback, names) in heard(client) {
                everything.entry(callback).or_insert_with(Vec::new).extend(names);
            }
            everything.values().map(Vec::len).sum::<usize>() >= wanted
        });
        std::mem::take(&mut everything)
    };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let both = BTreeMap::from([
        (of_a, names(&["a"])),
        (of_b, names(&["b"])),
        (of_all, names(&["a", "b"])),
    ]);
    assert_eq!(hear(&mut client, 4), both);

    let end = |callback| CallbackArgs { callback };
    client.ask::<ConnectNetworkEventDeregisterAny>(&end(of_all)).expect("ended");
    change(&a);
    change(&b);
    let own = BTreeMap::from([(of_a, names(&["a"])), (of_b, names(&["b"]))]);
    assert_eq!(hear(&mut client, 2), own);

    // A number that is not, is no more, or is another kind's.
    let unknown = Ok(ErrorCode::InvalidArg.number());
    for callback in [of_all, of_guests, 0, -1, i32::MAX] {
        let args = end(callback);
        assert_eq!(client.number::<ConnectNetworkEventDeregisterAny>(&args), unknown, "{callback}");
    }
    client.ask::<ConnectDomainEventCallbackDeregisterAny>(&end(of_guests)).expect("ended");
    change(&a);
    assert_eq!(hear(&mut client, 1), BTreeMap::from([(of_a, names(&["a"]))]));
}

#[test]
fn an_event_comes_after_the_answer_that_names_its_registration() {
    let daemon = Daemon::start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut actor = Client::of(&daemon);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let it = actor.ask::<NetworkDefineXml>(&network("a")).expect("defined");
                actor.ask::<NetworkUndefine>(&it).expect("undefined");
            }
        });
        let mut client = Client::of(&daemon);
        let mut known = Vec::new();
        for _registration in 0..50 {
            let event = network_event::LIFECYCLE;
            let args = NetworkEventRegister { event, network: None };
            let serial = client.tell::<ConnectNetworkEventRegisterAny>(&args);
            loop {
                match client.receive().expect("a frame") {
                    Received::Event(RemoteEvent::NetworkEventLifecycle(it)) => {
                        assert!(known.contains(&it.callback), "{} is not known", it.callback);
                    }
                    Received::Reply(id, reply) if id.serial == serial => {
                        known.push(reply.of::<ConnectNetworkEventRegisterAny>().expect("a number"));
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn registrations_for_events_that_are_not_are_refused_and_old_ways_to_register_not_supported() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let unknown = Ok(ErrorCode::InvalidArg.number());
    let args = NetworkEventRegister { event: 99, network: None };
    assert_eq!(client.number::<ConnectNetworkEventRegisterAny>(&args), unknown);
    let args = NodeDeviceEventRegister { event: 99, device: None };
    assert_eq!(client.number::<ConnectNodeDeviceEventRegisterAny>(&args), unknown);
    for event in [node_device_event::LIFECYCLE, node_device_event::UPDATE] {
        let args = NodeDeviceEventRegister { event, device: None };
        client.ask::<ConnectNodeDeviceEventRegisterAny>(&args).expect("registered");
    }
    for number in [105, 106, 167, 168] {
        let answer = raw(&mut client, remote::PROGRAM, number, Vec::new());
        assert_eq!(answer, Some(ErrorCode::NoSupport.number()), "{number}");
    }
}

/// Calls by number; the error's number, if it is one.
fn raw(client: &mut Client, program: u32, procedure: i32, payload: Vec<u8>) -> Option<i32> {
    let (kind, status) = (FrameKind::Call, Status::Ok);
    let header = Header { program, version: 1, procedure, kind, serial: 77, status };
    client.send(&Frame::new(header, payload).encode().expect("a frame"));
    let Some(Received::Reply(id, reply)) = client.receive() else { panic!("no reply") };
    assert_eq!((id.procedure, id.serial), (procedure, 77));
    // Whichever type the result has: errors are read alike.
    match reply.error() {
        Ok(error) => error.map(|error| error.code),
        Err(fault) => panic!("{procedure}: {fault}"),
    }
}

/// Arguments of zeros, as many as a procedure takes.
fn zeros(program: u32, number: i32) -> Vec<u8> {
    let takes = |bytes: &Vec<u8>| match program {
        remote::PROGRAM => Call::decode(number, bytes).is_ok(),
        qemu::PROGRAM => qemu::Call::decode(number, bytes).is_ok(),
        _ => vfnet::Call::decode(number, bytes).is_ok(),
    };
    (0..64).map(|words| vec![0; words * 4]).find(takes).expect("few enough")
}

fn table() -> impl Iterator<Item = (u32, &'static ProcedureFacts)> {
    let own = vfnet::Call::PROCEDURES.iter().map(|facts| (vfnet::PROGRAM, facts));
    let of_qemu = qemu::Call::PROCEDURES.iter().map(|facts| (qemu::PROGRAM, facts));
    Call::PROCEDURES.iter().map(|facts| (remote::PROGRAM, facts)).chain(of_qemu).chain(own)
}

#[test]
fn whoever_may_only_read_is_refused_every_change_of_the_table() {
    let us = rustix::process::getuid().as_raw();
    let daemon = Daemon::configured(&format!("read_only_users = [{us}]\n"));
    let denied = Some(ErrorCode::OperationDenied.number());
    for socket in [daemon.read_only_socket(), daemon.socket()] {
        let mut client = Client::open(&socket);
        let mut refused = 0;
        for (program, facts) in table().filter(|(_, facts)| facts.access == Access::Write) {
            let answer = raw(&mut client, program, facts.number, zeros(program, facts.number));
            assert_eq!(answer, denied, "{}", facts.name);
            refused += 1;
        }
        assert!(refused > 30, "{refused}");
        client.ask::<ConnectGetHostname>(&()).expect("reading is granted");
    }
}

#[test]
fn a_client_that_wants_to_read_only_is_held_to_it() {
    let daemon = Daemon::start();
    let mut client = Client::connect(&daemon.socket());
    let name = Some(Text::clipped("qemu:///system"));
    client.ask::<ConnectOpen>(&ConnectOpenArgs { name, flags: CONNECT_RO }).expect("opened");
    let denied = Ok(ErrorCode::OperationDenied.number());
    assert_eq!(client.number::<NetworkDefineXml>(&network("a")), denied);
    Client::of(&daemon).ask::<NetworkDefineXml>(&network("a")).expect("others may");
}

#[test]
fn the_printed_table_says_what_is_answered_with_error_3_and_what_is_served() {
    let daemon = Daemon::start();
    let printed = daemon.command().arg("--list-procedures").output().expect("it runs");
    let printed = Ran::from(printed);
    assert!(printed.status.success(), "{printed:?}");
    let rows: BTreeMap<_, _> = printed
        .stdout
        .lines()
        .map(|row| {
            let words: Vec<_> = row.split_whitespace().map(str::to_owned).collect();
            let [program, number, name, access, state @ ..] = &words[..] else { panic!("{row}") };
            let number: i32 = number.parse().expect("a number");
            ((program.clone(), number), (name.clone(), access.clone(), state.join(" ")))
        })
        .collect();
    assert_eq!(rows.len(), table().count());
    let mut wrong = Vec::new();
    for (program, facts) in table() {
        let name = match program {
            remote::PROGRAM => "remote",
            qemu::PROGRAM => "qemu",
            _ => "vfnet",
        };
        let (printed, access, state) = &rows[&(name.to_owned(), facts.number)];
        assert_eq!(printed, facts.name);
        assert_eq!(access, if facts.access == Access::Write { "write" } else { "read" });
        let mut client = Client::of(&daemon);
        let answer = raw(&mut client, program, facts.number, zeros(program, facts.number));
        let is_served = answer != Some(ErrorCode::NoSupport.number());
        let expected = if is_served { "served" } else { "error 3" };
        if state != expected {
            wrong.push(format!("{} {}: {expected}", facts.number, facts.name));
        }
    }
    assert!(wrong.is_empty(), "vfnetd::procedures does not know:\n{}", wrong.join("\n"));
}

#[test]
fn a_client_that_says_goodbye_hears_the_answers_that_are_ready_and_the_end() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let asked = client.tell::<ConnectSupportsFeature>(&Feature::FdPassing.number());
    let closed = client.tell::<ConnectClose>(&());
    let (serial, answer) = reply(&mut client);
    assert_eq!(serial, asked);
    assert_eq!(answer.of::<ConnectSupportsFeature>(), Ok(0), "descriptors are not offered");
    let (serial, answer) = reply(&mut client);
    assert_eq!((serial, answer.of::<ConnectClose>()), (closed, Ok(())));
    client.socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    assert_eq!(client.receive(), None);
}

fn speaks_for(uid: u64) -> SetIdentityArgs {
    let user = TypedParam { field: Text::clipped("unix-user-id"), value: ParamValue::ULong(uid) };
    SetIdentityArgs { params: List::new(vec![user]).expect("few"), flags: 0 }
}

#[test]
fn root_that_speaks_for_a_reader_is_held_to_reading() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let daemon = Daemon::configured("read_only_users = [1005]\n");
    let denied = Ok(ErrorCode::OperationDenied.number());
    let mut client = Client::of(&daemon);
    client.ask::<ConnectSetIdentity>(&speaks_for(1006)).expect("root may");
    client.ask::<NetworkDefineXml>(&network("a")).expect("no reader");
    client.ask::<ConnectSetIdentity>(&speaks_for(1005)).expect("root may");
    assert_eq!(client.number::<NetworkDefineXml>(&network("b")), denied);
}

/// Says the error number that CONNECT_SET_IDENTITY is answered with.
const IMPOSTOR: &str = r#"
import socket, struct, sys
def call(client, number, serial, body):
    frame = struct.pack('>IIIIII', 0x20008086, 1, number, 0, serial, 0) + body
    client.sendall(struct.pack('>I', 4 + len(frame)) + frame)
    head = client.recv(4, socket.MSG_WAITALL)
    return client.recv(struct.unpack('>I', head)[0] - 4, socket.MSG_WAITALL)
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
call(client, 66, 1, b'')
call(client, 1, 2, struct.pack('>III', 1, 14, 0)[:8] + b'qemu:///system\0\0' + struct.pack('>I', 0))
reply = call(client, 419, 3, struct.pack('>II', 0, 0))
print(struct.unpack('>I', reply[24:28])[0])
"#;

#[test]
fn nobody_but_root_speaks_for_others() {
    if !rustix::process::getuid().is_root() || !installed("/usr/bin/setpriv") {
        return;
    }
    let daemon = Daemon::start();
    for (path, mode) in [(daemon.path(""), 0o755), (daemon.socket(), 0o666)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("others may come in");
    }
    let ran = Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["timeout", "30", "/usr/bin/python3", "-c", IMPOSTOR])
        .arg(daemon.socket())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "88\n", "{ran:?}");
}
