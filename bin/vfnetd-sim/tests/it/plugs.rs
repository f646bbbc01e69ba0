//! Devices that came to a running guest or went from it, and a daemon that is killed afterwards or
//! meanwhile.

use crate::daemon::{Daemon, guest, guest_with};
use crate::until;

const CARD: &str = "<interface type='network'><source network='hw'/>\
                    <mac address='52:54:00:00:00:02'/></interface>";

/// A guest that runs with one VF.
fn running() -> Option<Daemon> {
    let daemon = Daemon::with_pool()?;
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    daemon.file("card.xml", CARD);
    Some(daemon)
}

fn is_found(daemon: &Daemon) {
    until("the guest is found", || daemon.state_of("web1").starts_with("running"));
}

fn with_its_card(daemon: &Daemon, what: &str) -> String {
    let card = daemon.path("card.xml").display().to_string();
    daemon.says(&[what, "web1", &card, "--live"])
}

#[test]
fn what_has_come_and_what_has_gone_is_known_to_the_next_daemon() {
    let Some(mut daemon) = running() else { return };
    with_its_card(&daemon, "attach-device");
    daemon.kill_and_go_on();
    is_found(&daemon);
    until("the card is found", || daemon.says(&["dumpxml", "web1"]).contains("00:00:00:02"));
    assert_eq!(daemon.lent(), 2);

    with_its_card(&daemon, "detach-device");
    assert_eq!(daemon.lent(), 1);
    daemon.kill_and_go_on();
    is_found(&daemon);
    assert_eq!(daemon.lent(), 1);
    assert!(!daemon.log().contains("not on record"), "{}", daemon.log());
    assert!(!daemon.says(&["dumpxml", "web1"]).contains("00:00:00:02"));

    // The one that it was started with goes, too.
    daemon.says(&["detach-interface", "web1", "hostdev", "--live"]);
    daemon.kill_and_go_on();
    is_found(&daemon);
    assert!(!daemon.says(&["dumpxml", "web1"]).contains("<interface"));
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn a_card_that_has_gone_to_another_guest_is_that_guests_though_all_records_are_lost() {
    let Some(mut daemon) = running() else { return };
    daemon.says(&["detach-interface", "web1", "hostdev", "--live"]);
    daemon.define_guest(&guest("web2", "52:54:00:00:00:03"));
    daemon.says(&["start", "web2"]);
    assert_eq!(daemon.lent(), 1);
    daemon.kill();
    std::fs::write(daemon.path("run/live.db"), "no database").expect("written over");
    daemon.go_on();
    is_found(&daemon);
    until("the other is found", || daemon.state_of("web2").starts_with("running"));
    assert_eq!(daemon.lent(), 1);
    let macs: Vec<_> =
        daemon.host().facts().values().map(|facts| facts.admin_mac.to_string()).collect();
    assert!(macs.contains(&"52:54:00:00:00:03".to_owned()), "{macs:?}");
    assert!(!macs.contains(&"52:54:00:00:00:01".to_owned()), "{macs:?}");
    daemon.says(&["destroy", "web2"]);
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn another_tag_is_in_the_document_that_the_next_daemon_shows() {
    let Some(mut daemon) = running() else { return };
    let tagged = CARD
        .replace("00:00:00:02", "00:00:00:01")
        .replace("</interface>", "<vlan><tag id='42'/></vlan></interface>");
    daemon.file("tagged.xml", &tagged);
    let document = daemon.path("tagged.xml").display().to_string();
    daemon.says(&["update-device", "web1", &document, "--live"]);
    daemon.kill_and_go_on();
    is_found(&daemon);
    assert!(daemon.says(&["dumpxml", "web1"]).contains("<tag id='42'/>"));
}

#[test]
fn a_guest_that_says_no_late_is_heard_and_can_be_asked_again() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let nic = "<interface type='network'><source network='hw'/>\
               <mac address='52:54:00:00:00:01'/></interface>";
    let kernel = "hvm</type><kernel>/dev/null</kernel><cmdline>keeps-its-devices, says-so-when-pressed</cmdline>";
    daemon.define_guest(&guest_with("web1", nic).replace("hvm</type>", kernel));
    daemon.says(&["start", "web1"]);
    for time in 1..=2 {
        daemon.says(&["detach-interface", "web1", "hostdev", "--live"]);
        daemon.says(&["shutdown", "web1"]);
        until("its no is heard", || {
            daemon.log().matches("does not let go of the device hostdev0").count() >= time
        });
    }
    assert_eq!(daemon.lent(), 1);
}
