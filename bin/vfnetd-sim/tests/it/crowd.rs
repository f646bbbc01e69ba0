//! Many guests and many clients at once, and a daemon that is killed under them.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vfnet_rpc::flags::{domain_state, network_event};
use vfnet_rpc::remote::{
    ConnectGetHostname, ConnectNetworkEventRegisterAny, DomainCreate, DomainDefineXml,
    DomainDestroy, DomainFlags, DomainGetState, DomainLookupByName, NetworkCreate,
    NetworkDefineXml, NetworkEventRegister,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, guest};
use crate::limits::memory;
use crate::until;

/// The most memory that a daemon may ever have had, in KiB.
const MEMORY: usize = 256 * 1024;

/// VFs of each of the machine's PFs.
const VFS: usize = 7;

/// Connections that make calls.
const CALLERS: usize = 4;

/// How many guests and clients there are: all that is promised with `VFNET_DEEP=1`.
fn size() -> (usize, usize) {
    if std::env::var_os("VFNET_DEEP").is_some_and(|set| set == "1") {
        (200, 2000)
    } else {
        (24, 200)
    }
}

fn mac(number: usize) -> String {
    format!("52:54:00:00:{:02x}:{:02x}", number / 256, number % 256)
}

/// Clients of which every fourth listens for events, and the others are silent.
fn crowd(daemon: &Daemon, count: usize) -> Vec<UnixStream> {
    let client = |number| {
        let mut client = Client::of(daemon);
        if number % 4 == 0 {
            let args = NetworkEventRegister { event: network_event::LIFECYCLE, network: None };
            client.ask::<ConnectNetworkEventRegisterAny>(&args).expect("registered");
        }
        client.socket
    };
    (0..count).map(client).collect()
}

/// Does something with each guest, from several connections at once.
fn each(daemon: &Daemon, guests: usize, act: impl Fn(&mut Client, usize) + Sync) {
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let act = &act;
            scope.spawn(move || {
                let mut client = Client::of(daemon);
                (caller..guests).step_by(CALLERS).for_each(|number| act(&mut client, number));
            });
        }
    });
}

/// Those MACs of guests that VFs have, and how many VFs have one.
fn lent_macs(daemon: &Daemon) -> (BTreeSet<String>, usize) {
    let all = daemon.host().facts();
    let macs = all.values().map(|vf| vf.admin_mac.to_string());
    let macs: Vec<_> = macs.filter(|mac| mac.starts_with("52:54:00:00:")).collect();
    let count = macs.len();
    (macs.into_iter().collect(), count)
}

/// A daemon with VFs for so many guests, all of them in network hw.
fn with_room_for(guests: usize) -> Daemon {
    let pfs: Vec<_> = (0..guests.div_ceil(VFS)).map(|number| format!("ens{number}f0")).collect();
    let options: Vec<_> = pfs.iter().map(|pf| format!("--make={pf}=igb")).collect();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let mut daemon = Daemon::stopped(&options);
    daemon.file("vfnetd.toml", "max_clients = 3000\n");
    daemon.go_on();
    let pool: String = pfs
        .iter()
        .map(|pf| format!("<vfnet:pf dev='{pf}' vfs='{VFS}' autoprobe='yes'/>"))
        .collect();
    let network = format!(
        "<network xmlns:vfnet='urn:vfnet:network:1'><name>hw</name>\
         <forward mode='hostdev' managed='yes'><pf dev='{}'/></forward>\
         <vfnet:pool>{pool}</vfnet:pool></network>",
        pfs[0]
    );
    let mut client = Client::of(&daemon);
    let hw = client.ask::<NetworkDefineXml>(&Text::clipped(&network)).expect("defined");
    client.ask::<NetworkCreate>(&hw).expect("started");
    daemon
}

#[test]
fn every_guest_of_a_crowd_has_its_own_vf_and_keeps_it_when_the_daemon_is_killed() {
    let (guests, clients) = size();
    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: files.maximum, maximum: files.maximum };
    setrlimit(Resource::Nofile, raised).expect("files for all of them");
    let began = Instant::now();

    let mut daemon = with_room_for(guests);
    let free = daemon.host().facts();

    let before = crowd(&daemon, clients);
    each(&daemon, guests, |client, number| {
        let document = guest(&format!("web{number}"), &mac(number));
        let web = client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined");
        client.ask::<DomainCreate>(&web).expect("started");
    });
    let started = began.elapsed();
    let all: BTreeSet<_> = (0..guests).map(mac).collect();
    assert_eq!(lent_macs(&daemon), (all, guests));
    let lent = daemon.host().facts();
    let first = memory(&daemon, "VmHWM");

    daemon.kill_and_go_on();
    drop(before);
    let after = crowd(&daemon, clients);
    assert_eq!(daemon.host().facts(), lent, "the next daemon adopts them as they are");
    each(&daemon, guests, |client, number| {
        let name = Text::clipped(&format!("web{number}"));
        let web = client.ask::<DomainLookupByName>(&name).expect("known");
        assert!(web.id > 0, "web{number} does not run");
        client.ask::<DomainDestroy>(&web).expect("destroyed");
    });
    until("all VFs are back", || daemon.host().facts() == free);
    until("no guest's process is left", || !daemon.has_stand_in());
    let mut client = Client::of(&daemon);
    client.ask::<ConnectGetHostname>(&()).expect("served");
    let second = memory(&daemon, "VmHWM");
    drop(after);
    println!(
        "{guests} guests and {clients} clients: started within {started:?}, all over within {:?}; \
         memory {first} KiB at most, {second} KiB after the kill (bound {MEMORY})",
        began.elapsed()
    );
    assert!(first.max(second) < MEMORY, "{first} KiB, {second} KiB");
}

#[test]
fn guests_whose_starts_a_kill_cuts_short_run_or_are_off_and_no_vf_is_lent_twice() {
    const GUESTS: usize = 24;
    let mut daemon = with_room_for(GUESTS);
    let free = daemon.host().facts();
    let mut client = Client::of(&daemon);
    let guests: Vec<_> = (0..GUESTS)
        .map(|number| {
            let document = guest(&format!("web{number}"), &mac(number));
            client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined")
        })
        .collect();
    // How many have VFs when the daemon is killed, and how many of those have been said to run.
    let kills: &[(usize, usize)] = if size().0 > GUESTS {
        &[(1, 0), (4, 0), (8, 0), (12, 0), (16, 0), (20, 0), (24, 0), (24, 1), (24, 12), (24, 24)]
    } else {
        &[(2, 0), (24, 1)]
    };
    for &(at_work, started) in kills {
        let mut callers: Vec<_> = guests
            .iter()
            .map(|web| {
                let mut caller = Client::of(&daemon);
                caller.tell::<DomainCreate>(web);
                caller
            })
            .collect();
        until("some VFs are lent", || lent_macs(&daemon).1 >= at_work);
        for caller in callers.iter_mut().take(started) {
            caller.receive().expect("an answer");
        }
        daemon.kill_and_go_on();
        drop(callers);
        client = Client::of(&daemon);
        let mut running = BTreeSet::new();
        until("each guest runs or is off, and has a VF of its own or none", || {
            running.clear();
            let mut all_settled = true;
            for (number, web) in guests.iter().enumerate() {
                let args = DomainFlags { domain: web.clone(), flags: 0 };
                match client.ask::<DomainGetState>(&args).expect("known").state {
                    domain_state::RUNNING => drop(running.insert(mac(number))),
                    domain_state::SHUTOFF => {}
                    _ => all_settled = false,
                }
            }
            let (macs, count) = lent_macs(&daemon);
            all_settled && macs == running && count == running.len() && daemon.lent() == count
        });
        println!(
            "killed with {at_work} VFs lent and {started} starts answered: {} of {GUESTS} guests run",
            running.len()
        );
        assert!(running.len() >= started, "{started} were said to run");
        for web in guests.iter().enumerate().filter(|(n, _)| running.contains(&mac(*n))) {
            client.ask::<DomainDestroy>(web.1).expect("destroyed");
        }
        until("all VFs are back", || daemon.host().facts() == free);
        until("no guest's process is left", || !daemon.has_stand_in());
    }
}
