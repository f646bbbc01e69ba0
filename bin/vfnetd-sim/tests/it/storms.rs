//! More than anybody can take in, from the kernel, from guests and from clients: what the daemon
//! leaves out it counts, and it goes on serving.

use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use vfnet_rpc::client::{Received, call};
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{
    ConnectGetHostname, DomainCreate, DomainDefineXml, DomainDestroy, DomainIsActive,
    DomainOpenConsole, NetworkDefineXml, NetworkLookupByName, OpenConsoleArgs,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, guest_with};
use crate::limits::{memory, rate};
use crate::until;

/// Lines of the daemon's log that have this in them.
fn lines(daemon: &Daemon, what: &str) -> usize {
    daemon.log().lines().filter(|line| line.contains(what)).count()
}

fn start(client: &mut Client, document: &str) -> Domain {
    let guest = client.ask::<DomainDefineXml>(&Text::clipped(document)).expect("defined");
    client.ask::<DomainCreate>(&guest).expect("started");
    guest
}

/// A guest that has not ended before its FIFO is written to, however often it is destroyed.
fn endless(daemon: &Daemon, client: &mut Client) -> Domain {
    let fifo = daemon.path("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let word = format!("<cmdline>leave-a-child={}</cmdline>", fifo.display());
    let kernel = format!("hvm</type><kernel>/dev/null</kernel>{word}");
    start(client, &guest_with("web1", "").replace("hvm</type>", &kernel))
}

/// Has it end.
fn let_end(daemon: &Daemon, guest: &Domain) {
    std::fs::write(daemon.path("fifo"), "go\n").expect("it is read");
    let mut client = Client::of(daemon);
    until("it has ended", || client.ask::<DomainIsActive>(guest).expect("known") == 0);
}

#[test]
fn a_client_that_comes_back_again_and_again_with_calls_that_cannot_end_has_a_place_each_time() {
    let daemon = Daemon::configured("max_clients = 3\n");
    let guest = endless(&daemon, &mut Client::of(&daemon));
    let before = memory(&daemon, "VmRSS");
    for _time in 0..100 {
        let mut client = Client::of(&daemon);
        for _call in 0..5 {
            client.tell::<DomainDestroy>(&guest);
        }
    }
    let mut client = Client::of(&daemon);
    let refused = client.ask::<DomainDestroy>(&guest).expect_err("too many wait for that");
    assert!(refused.to_string().contains("64 calls wait for the end"), "{refused}");
    let after = memory(&daemon, "VmRSS");
    assert!(after < before + 16 * 1024, "{before} KiB, then {after} KiB");
    let_end(&daemon, &guest);
}

#[test]
fn a_client_whose_calls_do_not_end_is_read_no_further() {
    let daemon = Daemon::start();
    let guest = endless(&daemon, &mut Client::of(&daemon));
    let mut client = Client::of(&daemon);
    for _call in 0..5 {
        client.tell::<DomainDestroy>(&guest);
    }
    client.socket.set_write_timeout(Some(Duration::from_millis(200))).expect("set");
    let question = call::<NetworkLookupByName>(9, &Text::clipped("hw")).encode().expect("a frame");
    let questions = question.repeat(1000);
    let mut taken = 0;
    while taken < 1 << 30
        && let Ok(count) = client.socket.write(&questions)
    {
        taken += count;
    }
    assert!(taken < 2 << 20, "{taken} bytes are taken though nothing is answered");
    Client::of(&daemon).ask::<ConnectGetHostname>(&()).expect("others are served");
    drop(client);
    let_end(&daemon, &guest);
}

#[test]
fn a_client_has_so_many_consoles_open_and_others_have_theirs() {
    let daemon = Daemon::start();
    let path = daemon.path("console");
    let serial =
        format!("<serial type='unix'><source mode='bind' path='{}'/></serial>", path.display());
    let mut client = Client::of(&daemon);
    let guest = start(&mut client, &guest_with("web1", &serial));
    let console = OpenConsoleArgs { domain: guest.clone(), device: None, flags: 0 };
    let open = |client: &mut Client| {
        client.tell::<DomainOpenConsole>(&console);
        loop {
            match client.receive() {
                Some(Received::Reply(_, reply)) => return reply.of::<DomainOpenConsole>(),
                // What is seen on those that are open.
                Some(Received::Stream(..)) => {}
                other => panic!("{other:?} instead of the reply"),
            }
        }
    };
    for _console in 0..16 {
        open(&mut client).expect("opened");
    }
    let refused = open(&mut client).expect_err("too many");
    assert!(refused.to_string().contains("as many consoles open as one may have"), "{refused}");
    open(&mut Client::of(&daemon)).expect("opened");
}

#[test]
fn ten_thousand_uevents_in_a_second_are_a_few_looks_at_the_host_and_clients_are_served() {
    const LOOK: &str = "looking at the host";
    let daemon = Daemon::over(&["--make=ens1f0=igb:7", "-v"]);
    let mut client = Client::of(&daemon);
    let alone = rate(&mut client);
    let (rest, looks) = (memory(&daemon, "VmHWM"), lines(&daemon, LOOK));
    let event = "change@/devices/pci0000:00/0000:00:01.0/0000:01:10.0/net/ens1f0v0\n";
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let (beside, announced) = std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut fifo = File::options().write(true).open(daemon.path("machine.uevents"));
            let fifo = fifo.as_mut().expect("the daemon reads it");
            let burst = event.repeat(100);
            let mut bursts = 0;
            while !over.load(Ordering::Relaxed) {
                fifo.write_all(burst.as_bytes()).expect("taken");
                bursts += 1;
                let next = began + Duration::from_millis(10) * bursts;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            bursts * 100
        });
        let beside = rate(&mut client);
        over.store(true, Ordering::Relaxed);
        (beside, storm.join().expect("ended"))
    });
    let took = began.elapsed();
    let looks = lines(&daemon, LOOK) - looks;
    let most = memory(&daemon, "VmHWM");
    println!(
        "{announced} announcements within {took:?}: {looks} looks; calls a second: {alone:.0} \
         alone, {beside:.0} beside; memory {rest} KiB, {most} KiB at most"
    );
    assert!(f64::from(announced) > 9_000.0 * took.as_secs_f64(), "{announced} within {took:?}");
    let moments = usize::try_from(took.as_millis() / 100).expect("few");
    assert!((1..=moments + 2).contains(&looks), "{looks} looks within {took:?}");
    assert!(beside > alone / 4.0, "{beside:.0} calls a second, {alone:.0} alone");
    assert!(most < rest + 8 * 1024, "{rest} KiB, then {most} KiB");

    let pf = "0000:01:00.0".parse().expect("an address");
    daemon.host().remove_vfs(pf).expect("removed");
    until("what comes after the storm is seen", || client.vfs().is_empty());
}

#[test]
fn guests_whose_monitors_flood_cost_little_and_hold_up_nobody() {
    const GUESTS: usize = 2;
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let alone = rate(&mut client);
    let rest = memory(&daemon, "VmHWM");
    let began = Instant::now();
    let document = |number| guest_with(&format!("floods-when-resumed{number}"), "");
    let guests = [0, 1].map(|number: usize| start(&mut client, &document(number)));
    let beside = rate(&mut client);
    for guest in &guests {
        client.ask::<DomainDestroy>(guest).expect("destroyed");
    }
    let took = began.elapsed();
    let most = memory(&daemon, "VmHWM");
    let said = lines(&daemon, "guest floods");
    println!(
        "{GUESTS} flooding guests for {took:?}: {said} lines in the log; calls a second: \
         {alone:.0} alone, {beside:.0} beside; memory {rest} KiB, {most} KiB at most"
    );
    // Three kinds of change, each at most at one turn in a tenth of a second.
    let turns = 32 + usize::try_from(took.as_millis() / 100).expect("few");
    assert!(said < GUESTS * (3 * turns + 20), "{said} lines within {took:?}");
    assert!(beside > alone / 5.0, "{beside:.0} calls a second, {alone:.0} alone");
    assert!(most < rest + GUESTS * 4 * 1024, "{rest} KiB, then {most} KiB");
}

#[test]
fn lines_that_clients_cause_without_end_are_counted_instead_of_written() {
    let mut daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let warned = "is defined, but as things are";
    let document = Text::clipped(&HW.replace("ens1f0", "ens9f0"));
    for _definition in 0..400 {
        client.ask::<NetworkDefineXml>(&document).expect("defined");
    }
    drop(client);
    assert!(daemon.terminate().success());
    let log = daemon.log();
    let (mut written, mut left_out) = (0, 0);
    for line in log.lines().filter(|line| line.contains(warned)) {
        match line.split_once(" more lines were left out that are like: ") {
            Some((before, _)) => {
                let count = before.rsplit(' ').next().and_then(|word| word.parse().ok());
                left_out += count.unwrap_or(0);
            }
            None => written += 1,
        }
    }
    assert_eq!(written + left_out, 400, "each is written or counted: {log}");
    assert!(written <= 300 && left_out > 0, "{written} lines, {left_out} left out");
}
