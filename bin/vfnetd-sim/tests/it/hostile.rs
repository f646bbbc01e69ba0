//! Clients that mean harm, or are broken, harm themselves only.

use std::fs::Permissions;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use vfnet_rpc::client::{ReplyError, call};
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::ListArgs;
use vfnet_rpc::remote::{
    AuthList, ConnectGetDomainCapabilities, ConnectGetHostname, ConnectListAllNetworks,
    ConnectOpen, DomainCapabilitiesArgs, DomainCreate, DomainDefineXml, DomainDestroy, DomainFlags,
    DomainGetXmlDesc, DomainOpenConsole, NetworkCreate, NetworkDefineXml, NetworkDestroy,
    NetworkGetAutostart, NetworkLookupByName, NetworkUndefine, OpenConsoleArgs,
};
use vfnet_rpc::vfnet::{NetworkDestroyForced, VfRestore};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, guest_with};

fn text(text: impl Into<String>) -> Text {
    Text::new(text).expect("short enough")
}

/// What a guest's document keeps to itself.
const SECRET: &str = "s3cr3tvn";

/// Every file below a directory.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"))
    {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn a_guests_password_is_in_nothing_that_others_can_read() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let vnc = format!("<graphics type='vnc' passwd='{SECRET}'/>");
    let document = guest_with("web1", &vnc);
    let web = client.ask::<DomainDefineXml>(&text(document)).expect("defined");
    client.ask::<DomainCreate>(&web).expect("started");

    let has_it = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
    };
    let mut all = Vec::new();
    files(&daemon.path(""), &mut all);
    let told: Vec<_> = all.into_iter().filter(|path| has_it(path)).collect();
    assert!(told.iter().any(|path| path.ends_with("live.json")), "it was looked for: {told:?}");
    for path in told {
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
        assert!(!path.ends_with("launch.json"), "what QEMU is told when it starts");
    }
    // Anybody reads these.
    for process in std::fs::read_dir("/proc").expect("processes").flatten() {
        let path = process.path().join("cmdline");
        assert!(!has_it(&path), "{}", path.display());
    }
    client.ask::<DomainDestroy>(&web).expect("destroyed");
}

#[test]
fn a_file_that_qemu_calls_its_terminal_is_told_to_nobody_and_not_opened() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let document = guest_with("name-a-disk", "<serial type='pty'/>");
    let web = client.ask::<DomainDefineXml>(&text(document)).expect("defined");
    client.ask::<DomainCreate>(&web).expect("started");
    let live = client.ask::<DomainGetXmlDesc>(&DomainFlags { domain: web.clone(), flags: 0 });
    let live = live.expect("a document").to_string();
    assert!(live.contains("<serial type='pty'>") && !live.contains("/dev/sda"), "{live}");
    let console = OpenConsoleArgs { domain: web.clone(), device: None, flags: 0 };
    let refused = client.number::<DomainOpenConsole>(&console).expect("there is no console");
    assert_eq!(refused, ErrorCode::InvalidArg.number());
    client.ask::<DomainDestroy>(&web).expect("destroyed");
}

/// Others are served as if nothing were.
fn serves(daemon: &Daemon) {
    let mut client = Client::of(daemon);
    client.ask::<ConnectGetHostname>(&()).expect("a name");
    let list = client.ask::<ConnectListAllNetworks>(&ListArgs { need_results: 1, flags: 0 });
    list.expect("a list");
}

#[test]
fn the_read_only_socket_reads_and_refuses_every_change() {
    let daemon = Daemon::start();
    let hw = Client::of(&daemon).ask::<NetworkDefineXml>(&text(HW)).expect("defined");
    let mut client = Client::open(&daemon.read_only_socket());
    assert_eq!(client.ask::<NetworkLookupByName>(&text("hw")).expect("found"), hw);
    assert_eq!(client.ask::<NetworkGetAutostart>(&hw).expect("read"), 0);
    assert_eq!(client.vfs(), []);
    let denied = Ok(ErrorCode::OperationDenied.number());
    assert_eq!(client.number::<NetworkDefineXml>(&text(HW)), denied);
    assert_eq!(client.number::<NetworkCreate>(&hw), denied);
    assert_eq!(client.number::<NetworkDestroy>(&hw), denied);
    assert_eq!(client.number::<NetworkUndefine>(&hw), denied);
    assert_eq!(client.number::<NetworkDestroyForced>(&text("hw")), denied);
    assert_eq!(client.number::<VfRestore>(&text("0000:01:10.0")), denied);
}

#[test]
fn garbage_and_lies_about_lengths_end_their_connection_only() {
    let daemon = Daemon::start();
    let greeting = call::<AuthList>(1, &()).encode().expect("a frame");
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![0xff; 4096],
        u32::MAX.to_be_bytes().to_vec(),
        (33 * 1024 * 1024_u32).to_be_bytes().to_vec(),
        3_u32.to_be_bytes().to_vec(),
        // A sound frame, and then none.
        [greeting.clone(), vec![0; 28]].concat(),
    ] {
        let mut client = Client::connect(&daemon.socket());
        // The daemon may hang up before it has all of it.
        let _cut = client.socket.write_all(&bytes);
        let _cut = client.socket.shutdown(Shutdown::Write);
        while client.receive().is_some() {}
        serves(&daemon);
    }
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_frame_holds_up_nobody() {
    let daemon = Daemon::start();
    let frame = call::<AuthList>(1, &()).encode().expect("a frame");
    let halves: Vec<_> = (0..frame.len())
        .map(|end| {
            let mut client = Client::connect(&daemon.socket());
            client.send(&frame[..end]);
            client
        })
        .collect();
    serves(&daemon);
    for half in &halves {
        half.socket.shutdown(Shutdown::Write).expect("shut");
    }
    serves(&daemon);
}

#[test]
fn a_huge_frame_that_is_promised_takes_no_memory_until_it_comes() {
    let daemon = Daemon::start();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
        let status = status.expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    };
    let before = resident();
    let promises: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Client::connect(&daemon.socket());
            // At once: the daemon may hang up as soon as it has read the length.
            let length = (32 * 1024 * 1024_u32).to_be_bytes();
            client.send(&[&length[..], &[0; 8]].concat());
            client
        })
        .collect();
    serves(&daemon);
    assert!(resident() < before + 64 * 1024, "{before} kB, then {} kB", resident());
    drop(promises);
}

#[test]
fn two_hundred_quick_connections_are_all_served() {
    let daemon = Daemon::start();
    for _ in 0..200 {
        drop(UnixStream::connect(daemon.socket()).expect("connected"));
    }
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(&daemon.socket())).collect();
    for client in &mut clients {
        client.ask::<AuthList>(&()).expect("greeted");
    }
    serves(&daemon);
}

#[test]
fn connections_of_those_who_may_only_read_keep_no_administrator_out() {
    let daemon = Daemon::start();
    // Those for whom there is no place wait in the socket's queue.
    let held: Vec<_> =
        (0..600).map(|_| UnixStream::connect(daemon.read_only_socket()).expect("queued")).collect();
    let _administrators: Vec<_> = (0..5).map(|_| Client::of(&daemon)).collect();
    serves(&daemon);
    drop(held);
    Client::open(&daemon.read_only_socket()).vfs();
}

#[test]
fn who_may_only_read_has_no_program_run() {
    let daemon = Daemon::start();
    let trace = daemon.path("trace");
    let script = format!("#!/bin/sh\necho > '{}'\n", trace.display());
    let program = daemon.file("program", &script);
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("a program");
    let args = DomainCapabilitiesArgs {
        emulator: Some(text(&program)),
        arch: None,
        machine: None,
        virt_type: None,
        flags: 0,
    };
    let mut reader = Client::open(&daemon.read_only_socket());
    let refused = reader.ask::<ConnectGetDomainCapabilities>(&args).expect_err("refused");
    assert!(refused.to_string().contains("read-only"), "{refused}");
    assert!(!trace.exists(), "it was run");
    // Of whoever may do anything it is, to say its version.
    let refused = Client::of(&daemon).ask::<ConnectGetDomainCapabilities>(&args);
    assert!(refused.expect_err("it says none").to_string().contains("is no QEMU"));
    assert!(trace.exists());
}

#[test]
fn a_client_that_asks_and_does_not_listen_holds_up_nobody() {
    let daemon = Daemon::start();
    let mut deaf = Client::of(&daemon);
    deaf.socket.set_write_timeout(Some(std::time::Duration::from_millis(200))).expect("set");
    let question = call::<NetworkLookupByName>(9, &text("x".repeat(1000)));
    let question = question.encode().expect("a frame");
    // Until nobody takes any more.
    for _ in 0..100_000 {
        if deaf.socket.write_all(&question).is_err() {
            break;
        }
    }
    serves(&daemon);
}

#[test]
fn calls_before_the_connection_is_open_are_refused() {
    let daemon = Daemon::start();
    let mut client = Client::connect(&daemon.socket());
    let refused = client.ask::<NetworkDefineXml>(&text(HW));
    assert!(matches!(refused, Err(ReplyError::Server(_))), "{refused:?}");
    let open = vfnet_rpc::remote::ConnectOpenArgs { name: Some(text("xen:///")), flags: 0 };
    assert!(client.ask::<ConnectOpen>(&open).is_err());
    serves(&daemon);
}

#[test]
fn documents_made_to_hurt_are_refused_quickly() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let entities = (1..30).fold(String::from("<!ENTITY e0 'x'>"), |text, level| {
        let below = level - 1;
        text + &format!("<!ENTITY e{level} '&e{below};&e{below};&e{below};&e{below};'>")
    });
    let billion = format!("<!DOCTYPE network [{entities}]><network><name>&e29;</name></network>");
    let outside = "<!DOCTYPE n [<!ENTITY f SYSTEM 'file:///etc/passwd'>]>\
                   <network><name>&f;</name></network>";
    let deep =
        "<network>".to_owned() + &"<a>".repeat(50_000) + &"</a>".repeat(50_000) + "</network>";
    let wide = format!(
        "<network><name>n</name><description>{}</description></network>",
        "x".repeat(3_900_000)
    );
    let many = format!(
        "<network><name>n</name><forward mode='hostdev'>{}</forward></network>",
        "<address type='pci' domain='0' bus='1' slot='1' function='0'/>".repeat(20_000)
    );
    let attributes: String = (0..50_000).map(|n| format!(" a{n}='1'")).collect();
    let attributes = format!("<network{attributes}><name>n</name></network>");
    let began = std::time::Instant::now();
    for document in [billion, outside.to_owned(), deep, wide, many, attributes] {
        let document = text(document);
        client.number::<NetworkDefineXml>(&document).expect("refused");
        client.number::<DomainDefineXml>(&document).expect("refused");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    serves(&daemon);
}

#[test]
fn a_document_of_five_megabytes_does_not_get_through() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let mut frame = call::<NetworkDefineXml>(9, &text("x"));
    let length: u32 = 5 * 1024 * 1024;
    frame.payload = [&length.to_be_bytes()[..], &vec![b'x'; length as usize]].concat();
    client.send(&frame.encode().expect("a frame"));
    let answer = client.receive();
    assert!(format!("{answer:?}").contains("Error") || answer.is_none(), "{answer:?}");
    serves(&daemon);
}
