//! What one client may take, and that others have theirs beside it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vfnet_rpc::client::{Received, call};
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::flags::network_event;
use vfnet_rpc::frame::{FRAME_MAX, PAYLOAD_MAX};
use vfnet_rpc::remote::{
    AuthList, ConnectGetHostname, ConnectGetLibVersion, ConnectNetworkEventRegisterAny,
    NetworkDefineXml, NetworkEventRegister, NetworkLookupByName, NetworkUndefine, RemoteEvent,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::Daemon;
use crate::{LIMIT, installed, until};

fn network(name: &str) -> Text {
    Text::clipped(&format!("<network><name>{name}</name><forward mode='hostdev'/></network>"))
}

/// Whether the daemon has closed a connection, whatever is left to be read of it.
fn is_closed(socket: &UnixStream) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

#[test]
fn a_frame_of_32_mib_is_answered_and_one_byte_more_ends_the_connection() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let mut frame = call::<NetworkLookupByName>(7, &Text::clipped("hw"));
    frame.payload = vec![0; PAYLOAD_MAX];
    client.send(&frame.encode().expect("the longest frame"));
    let Some(Received::Reply(id, reply)) = client.receive() else { panic!("no answer") };
    assert_eq!(id.serial, 7);
    let code = reply.error().expect("an error").map(|error| error.code);
    assert_eq!(code, Some(ErrorCode::Rpc.number()), "no procedure takes that much");
    client.ask::<ConnectGetHostname>(&()).expect("the connection goes on");

    let too_long = u32::try_from(4 + FRAME_MAX + 1).expect("a length");
    client.send(&too_long.to_be_bytes());
    assert!(client.receive().is_none());
}

#[test]
fn whoever_may_only_read_or_has_not_opened_yet_has_short_frames() {
    let daemon = Daemon::start();
    for mut client in [
        Client::open(&daemon.read_only_socket()),
        Client::connect(&daemon.read_only_socket()),
        Client::connect(&daemon.socket()),
    ] {
        client.send(&(100 * 1024_u32).to_be_bytes());
        assert!(client.receive().is_none());
    }
}

#[test]
fn connections_that_are_not_opened_are_closed_and_do_not_keep_others_out() {
    let daemon = Daemon::configured("max_clients = 4\nhandshake_timeout = 2\n");
    let greeting = call::<AuthList>(1, &()).encode().expect("a frame");
    let silent: Vec<_> = (0..24)
        .map(|number| {
            let mut client = Client::connect(&daemon.socket());
            client.send(&greeting[..number]);
            client
        })
        .collect();
    // They have all the places, and go one after the other.
    Client::of(&daemon).ask::<ConnectGetHostname>(&()).expect("served");
    until("all are closed", || silent.iter().all(|client| is_closed(&client.socket)));
}

#[test]
fn a_connection_that_is_not_opened_has_its_time_where_nobody_waits() {
    let daemon = Daemon::configured("handshake_timeout = 2\n");
    let began = Instant::now();
    let mut client = Client::connect(&daemon.socket());
    assert!(client.receive().is_none());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Connects three times, and says how many of them are greeted.
const THREE: &str = r#"
import socket, sys
greeting = bytes.fromhex('0000001c20008086000000010000004200000000' + '00000000' + '00000000')
clients = []
for _ in range(3):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    clients.append(client)
greeted = 0
for client in clients:
    try:
        client.send(greeting)
        greeted += bool(client.recv(1000))
    except OSError:
        pass
print(greeted)
"#;

#[test]
fn one_user_has_a_share_of_the_read_only_places() {
    if !rustix::process::getuid().is_root() || !installed("/usr/bin/setpriv") {
        return;
    }
    let daemon = Daemon::configured("max_read_only_clients_per_user = 2\n");
    let here = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(daemon.path(""), here).expect("others may come in");
    let ran = Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["timeout", "30", "/usr/bin/python3", "-c", THREE])
        .arg(daemon.read_only_socket())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "2\n", "{ran:?}");
    let _others: Vec<_> = (0..3).map(|_| Client::open(&daemon.read_only_socket())).collect();
}

fn listen(client: &mut Client) {
    let args = NetworkEventRegister { event: network_event::LIFECYCLE, network: None };
    client.ask::<ConnectNetworkEventRegisterAny>(&args).expect("registered");
}

#[test]
fn a_client_that_does_not_read_its_events_is_hung_up_on_and_others_hear_all_of_theirs() {
    let daemon = Daemon::start();
    let mut deaf = Client::of(&daemon);
    for _registration in 0..500 {
        listen(&mut deaf);
    }
    let mut client = Client::of(&daemon);
    listen(&mut client);
    let mut heard = 0;
    let mut hear = |client: &mut Client| match client.receive() {
        Some(Received::Event(RemoteEvent::NetworkEventLifecycle(_))) => heard += 1,
        Some(Received::Reply(..)) => {}
        other => panic!("{other:?}"),
    };
    let mut actor = Client::of(&daemon);
    let mut done = 0;
    until("the deaf client is hung up on", || {
        for _round in 0..50 {
            let it = actor.ask::<NetworkDefineXml>(&network("a")).expect("defined");
            hear(&mut client);
            actor.ask::<NetworkUndefine>(&it).expect("undefined");
            hear(&mut client);
            done += 2;
        }
        is_closed(&deaf.socket)
    });
    assert_eq!(heard, done);
    client.ask::<ConnectGetHostname>(&()).expect("still served");
}

/// How often a second a client can make a call that does nothing, while it can for so long.
pub(crate) fn rate(client: &mut Client) -> f64 {
    let began = Instant::now();
    let mut calls = 0_u32;
    while began.elapsed() < Duration::from_secs(2) {
        client.ask::<ConnectGetLibVersion>(&()).expect("answered");
        calls += 1;
    }
    f64::from(calls) / began.elapsed().as_secs_f64()
}

/// A line of the daemon's status, in KiB.
pub(crate) fn memory(daemon: &Daemon, line: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
    let status = status.expect("a status");
    let line = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
    line.expect("a size").trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Goes through what a hostile client may do, again and again; how often.
fn attack(socket: &Path, over: &AtomicBool) -> usize {
    let greeting = call::<AuthList>(1, &()).encode().expect("a frame");
    let mut wrong = call::<AuthList>(1, &());
    wrong.header.program = 0x2000_8087;
    let wrong = wrong.encode().expect("a frame");
    let oversized = [&0x0200_0005_u32.to_be_bytes()[..], &[0; 4096]].concat();
    let mut held = Vec::new();
    let mut attacks = 0;
    while !over.load(Ordering::Relaxed) {
        for (bytes, holds) in [
            (&oversized[..], false),
            (&wrong[..], false),
            (&greeting[..11], true),
            (b"GET / HTTP/1.1\r\nHost: vfnet\r\n\r\n", false),
            (&greeting[..], true),
        ] {
            let Ok(mut socket) = UnixStream::connect(socket) else { continue };
            let _hung_up = socket.write_all(bytes);
            if holds && held.len() < 50 {
                held.push(socket);
            }
            attacks += 1;
            // A rate that leaves both processors to those who are measured.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    attacks
}

#[test]
fn hostile_clients_cost_bounded_memory_and_leave_others_their_speed() {
    /// The most memory that the daemon may ever have had, in KiB.
    const MEMORY: usize = 128 * 1024;
    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: files.maximum, maximum: files.maximum };
    setrlimit(Resource::Nofile, raised).expect("files for all of them");

    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let before = rate(&mut client);
    let at_rest = memory(&daemon, "VmRSS");

    // Half a long call, and then silence: more of them than may be read at once.
    let mut long = call::<NetworkDefineXml>(9, &Text::clipped("x"));
    long.payload = vec![0; PAYLOAD_MAX];
    let long = long.encode().expect("a frame");
    let _half: Vec<_> = (0..40)
        .map(|_| {
            let mut half = Client::of(&daemon);
            half.socket.set_write_timeout(Some(Duration::from_millis(20))).expect("set");
            let _not_read = half.socket.write_all(&long[..2 * 1024 * 1024]);
            half
        })
        .collect();
    // Events that nobody reads.
    let _deaf: Vec<_> = (0..8)
        .map(|_| {
            let mut deaf = Client::of(&daemon);
            (0..100).for_each(|_| listen(&mut deaf));
            deaf
        })
        .collect();
    let mut actor = Client::of(&daemon);
    // Connections that say nothing.
    let silent: Vec<_> = (0..2000)
        .map(|number| {
            let own = [daemon.socket(), daemon.read_only_socket()];
            UnixStream::connect(&own[number % 2]).expect("connected, or in the queue")
        })
        .collect();
    let over = AtomicBool::new(false);
    let (beside, attacks, changes) = std::thread::scope(|scope| {
        let sockets = [daemon.socket(), daemon.read_only_socket()];
        let attackers = sockets.map(|socket| {
            let over = &over;
            let attacker = move || attack(&socket, over);
            [scope.spawn(attacker.clone()), scope.spawn(attacker)]
        });
        let changes = scope.spawn(|| {
            let mut changes = 0;
            while !over.load(Ordering::Relaxed) {
                let it = actor.ask::<NetworkDefineXml>(&network("a")).expect("defined");
                actor.ask::<NetworkUndefine>(&it).expect("undefined");
                changes += 2;
                std::thread::sleep(Duration::from_millis(5));
            }
            changes
        });
        let beside = rate(&mut client);
        // In its turn behind those who are silent.
        let began = Instant::now();
        let mut newcomer = Client::of(&daemon);
        newcomer.ask::<ConnectGetHostname>(&()).expect("served");
        assert!(began.elapsed() < LIMIT, "a newcomer waited {:?}", began.elapsed());
        over.store(true, Ordering::Relaxed);
        let attacks = attackers.into_iter().flatten();
        let attacks = attacks.map(|attacker| attacker.join().expect("ended")).sum::<usize>();
        (beside, attacks, changes.join().expect("ended"))
    });
    let most = memory(&daemon, "VmHWM");
    drop(silent);
    let after = rate(&mut client);

    println!(
        "memory: {at_rest} KiB at rest, {most} KiB at most (bound {MEMORY}); null calls a \
         second: {before:.0} before, {beside:.0} beside 2000 silent connections, {attacks} \
         attacks and {changes} events for the deaf, {after:.0} after"
    );
    assert!(most < MEMORY, "{most} KiB, and {at_rest} KiB at rest");
    // Other work on this machine comes and goes, too.
    let alone = before.min(after);
    assert!(beside > alone / 3.0, "{beside:.0} calls a second beside them, {alone:.0} without");
}
