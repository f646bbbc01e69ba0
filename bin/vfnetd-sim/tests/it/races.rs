//! Many at once.

use std::collections::BTreeSet;
use std::time::Duration;

use vfnet_rpc::client::call;
use vfnet_rpc::remote::{DomainCreate, DomainDefineXml, DomainDestroy};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, guest};
use crate::until;

#[test]
fn ten_clients_fight_over_seven_vfs_and_no_vf_is_lent_twice() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let mut client = Client::of(&daemon);
    let guests: Vec<_> = (1..=10)
        .map(|number| {
            let document = guest(&format!("web{number}"), &format!("52:54:00:00:00:{number:02x}"));
            client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined")
        })
        .collect();
    for _round in 0..3 {
        let started: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = guests
                .iter()
                .map(|guest| {
                    let mut client = Client::of(&daemon);
                    scope.spawn(move || usize::from(client.ask::<DomainCreate>(guest).is_ok()))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("answered")).sum()
        });
        assert_eq!(started, 7);
        let facts = daemon.host().facts();
        let macs: BTreeSet<_> = facts.values().map(|vf| vf.admin_mac).collect();
        assert_eq!(macs.len(), 7, "{macs:?}");
        assert_eq!(daemon.lent(), 7);
        std::thread::scope(|scope| {
            for guest in &guests {
                let mut client = Client::of(&daemon);
                // Three of them do not run.
                scope.spawn(move || drop(client.ask::<DomainDestroy>(guest)));
            }
        });
        assert_eq!(daemon.lent(), 0);
    }
}

#[test]
fn one_guest_started_by_many_starts_once() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let document = guest("web1", "52:54:00:00:00:01");
    let web1 = Client::of(&daemon).ask::<DomainDefineXml>(&Text::clipped(&document));
    let web1 = web1.expect("defined");
    let granted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (mut client, web1) = (Client::of(&daemon), &web1);
                scope.spawn(move || usize::from(client.ask::<DomainCreate>(web1).is_ok()))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("answered")).sum()
    });
    assert_eq!(granted, 1);
    assert_eq!(daemon.lent(), 1);
}

#[test]
fn a_daemon_killed_at_any_moment_of_a_start_or_an_end_loses_no_vf() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    let document = guest("web1", "52:54:00:00:00:01");
    let web1 = Client::of(&daemon).ask::<DomainDefineXml>(&Text::clipped(&document));
    let web1 = web1.expect("defined");
    let start = call::<DomainCreate>(9, &web1).encode().expect("a frame");
    let destroy = call::<DomainDestroy>(9, &web1).encode().expect("a frame");
    for moment in 0..16_u64 {
        for question in [&start, &destroy] {
            let mut client = Client::of(&daemon);
            client.send(question);
            // Whichever step it is then at: the test holds for all.
            std::thread::sleep(Duration::from_millis(moment * 3));
            daemon.kill_and_go_on();
            until("the guest runs or not", || {
                let state = daemon.state_of("web1");
                match state.split(' ').next() {
                    Some("running") => daemon.lent() == 1,
                    Some("shut") => daemon.lent() == 0,
                    _ => false,
                }
            });
        }
    }
}

#[test]
fn what_a_client_asked_for_is_done_though_it_goes_away() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let mut client = Client::of(&daemon);
    let document = guest("web1", "52:54:00:00:00:01");
    let web1 = client.ask::<DomainDefineXml>(&Text::clipped(&document)).expect("defined");
    let question = call::<DomainCreate>(99, &web1);
    client.send(&question.encode().expect("a frame"));
    drop(client);
    until("the guest runs", || daemon.state_of("web1").starts_with("running"));
    assert_eq!(daemon.lent(), 1);
}
