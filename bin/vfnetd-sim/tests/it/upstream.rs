//! Networks that vfnet does not serve, handed on to a stock network daemon: to a real one, and
//! to one that fails in every way.

mod stock;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use crate::daemon::{Daemon, HW};
use crate::{VIRSH, installed, until};
use stock::Stock;

/// A network of the stock daemon's that starts without firewall rules or dnsmasq.
const OPEN: &str = "<network><name>open</name><uuid>22222222-2222-4222-8222-222222222222</uuid>\
                    <forward mode='open'/><bridge name='virbr42'/></network>";

/// A network among guests alone.
const ISOLATED: &str = "<network><name>quiet</name><bridge name='virbr43'/></network>";

/// Tells the daemon of a stock network daemon at `socket`, with `more` in its configuration.
fn configure(daemon: &Daemon, socket: &Path, more: &str) {
    let config = format!("network_daemon = '{}'\n{more}", socket.display());
    daemon.file("vfnetd.toml", &config);
}

/// Both daemons, with network hw defined; `None` where there is no stock one or no virsh.
fn both() -> Option<(Daemon, Stock)> {
    if !installed(VIRSH) {
        return None;
    }
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    let stock = Stock::start(&daemon.path("stock"))?;
    configure(&daemon, &stock.socket(), "");
    daemon.go_on();
    daemon.define_network(HW);
    Some((daemon, stock))
}

fn names(daemon: &Daemon, filters: &[&str]) -> Vec<String> {
    let mut names = daemon.rows(&[&["net-list", "--name"], filters].concat());
    names.sort();
    names
}

#[test]
fn a_network_of_a_mode_that_vfnet_does_not_serve_lives_in_the_stock_daemon() {
    let Some((daemon, stock)) = both() else { return };
    daemon.define_network(OPEN);
    daemon.says(&["net-define", "--validate", &daemon.file("quiet.xml", ISOLATED)]);
    assert_eq!(stock.says(&["net-list", "--all", "--name"]).split_whitespace().count(), 2);
    assert_eq!(names(&daemon, &["--all"]), ["hw", "open", "quiet"]);
    assert_eq!(names(&daemon, &[]), [""; 0]);

    daemon.says(&["net-start", "open"]);
    daemon.says(&["net-autostart", "open"]);
    assert_eq!(names(&daemon, &[]), ["open"]);
    assert_eq!(names(&daemon, &["--all", "--autostart"]), ["open"]);
    assert_eq!(names(&daemon, &["--all", "--no-autostart"]), ["hw", "quiet"]);
    assert_eq!(
        daemon.rows(&["net-info", "open"]),
        [
            "Name: open",
            "UUID: 22222222-2222-4222-8222-222222222222",
            "Active: yes",
            "Persistent: yes",
            "Autostart: yes",
            "Bridge: virbr42",
        ]
    );
    let document = daemon.says(&["net-dumpxml", "open"]);
    assert_eq!(document, stock.says(&["net-dumpxml", "open"]));
    assert!(document.contains("<forward mode='open'/>"), "{document}");
    assert_eq!(daemon.says(&["net-name", "22222222-2222-4222-8222-222222222222"]), "open");
    daemon.says(&["net-desc", "open", "--config", "--title", "theirs"]);
    assert_eq!(stock.says(&["net-desc", "open", "--config", "--title"]), "theirs");
    assert_eq!(daemon.says(&["net-dhcp-leases", "open"]).lines().count(), 0);

    // Its refusals are the stock daemon's own.
    let refusal = daemon.refuses(&["net-start", "open"]);
    assert!(refusal.contains("network is already active"), "{refusal}");
    daemon.says(&["net-destroy", "open"]);
    daemon.says(&["net-undefine", "open"]);
    daemon.says(&["net-undefine", "quiet"]);
    assert_eq!(names(&daemon, &["--all"]), ["hw"]);
    assert_eq!(stock.says(&["net-list", "--all"]), "");
    daemon.says(&["net-create", &daemon.file("open.xml", OPEN)]);
    assert_eq!(stock.says(&["net-list", "--name", "--transient"]).trim(), "open");
    assert!(daemon.refuses(&["net-info", "neither"]).contains("no network"));
}

#[test]
fn ports_of_a_stock_network_are_the_stock_daemons() {
    let Some((daemon, stock)) = both() else { return };
    daemon.says(&["net-create", &daemon.file("open.xml", OPEN)]);
    let port = "33333333-3333-4333-8333-333333333333";
    let document = format!(
        "<networkport><uuid>{port}</uuid><owner><name>web1</name>\
         <uuid>44444444-4444-4444-8444-444444444444</uuid></owner>\
         <mac address='52:54:00:00:00:01'/></networkport>"
    );
    daemon.says(&["net-port-create", "open", &daemon.file("port.xml", &document)]);
    assert_eq!(daemon.says(&["net-port-list", "open"]), stock.says(&["net-port-list", "open"]));
    let plugged = daemon.says(&["net-port-dumpxml", "open", port]);
    assert!(plugged.contains("<plug type='network' bridge='virbr42'/>"), "{plugged}");
    assert!(
        daemon
            .refuses(&["net-port-create", "open", &daemon.path("port.xml").display().to_string()])
            .contains("exists")
    );
    daemon.says(&["net-port-delete", "open", port]);
    assert_eq!(stock.says(&["net-port-list", "open"]).trim(), "");
}

#[test]
fn a_network_is_never_on_both_sides() {
    let Some((daemon, stock)) = both() else { return };
    daemon.define_network(OPEN);
    let ours = |name: &str, uuid: &str| {
        format!("<network><name>{name}</name>{uuid}<forward mode='hostdev'/></network>")
    };
    let theirs = |name: &str, uuid: &str| format!("<network><name>{name}</name>{uuid}</network>");
    let of_open = "<uuid>22222222-2222-4222-8222-222222222222</uuid>";
    let of_hw = "<uuid>11111111-1111-4111-8111-111111111111</uuid>";
    for document in [
        ours("open", of_open),
        ours("open", ""),
        ours("other", of_open),
        theirs("hw", of_hw),
        theirs("hw", ""),
        theirs("other", of_hw),
    ] {
        for command in ["net-define", "net-create"] {
            let refusal = daemon.refuses(&[command, &daemon.file("network.xml", &document)]);
            assert!(refusal.contains("operation failed"), "{document}: {refusal}");
            assert!(refusal.contains("undefine it first"), "{document}: {refusal}");
        }
    }
    assert_eq!(names(&daemon, &["--all"]), ["hw", "open"]);

    // Behind vfnet's back.
    let hidden = daemon.file("hidden.xml", &theirs("hw", ""));
    stock.says(&["net-define", &hidden]);
    assert_eq!(names(&daemon, &["--all"]), ["hw", "open"]);
    assert!(daemon.says(&["net-dumpxml", "hw"]).contains("mode='hostdev'"));
    let uuid = stock.says(&["net-uuid", "hw"]);
    assert!(daemon.refuses(&["net-dumpxml", &uuid]).contains("no network"));
    assert_eq!(daemon.log().matches("is hidden by one of vfnet's").count(), 1);
}

/// A listener for one kind of event, and what it has heard.
struct Listener {
    child: Child,
    heard: mpsc::Receiver<String>,
}

impl Listener {
    fn start(daemon: &Daemon, kind: &str) -> Self {
        let mut child = daemon
            .virsh_command(&["net-event", "--loop", "--event", kind])
            .stdout(Stdio::piped())
            .spawn()
            .expect("virsh runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let (sender, heard) = mpsc::channel();
        std::thread::spawn(move || {
            lines.by_ref().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, heard }
    }

    /// Whether it has heard a line that starts so since the last time.
    fn has_heard(&self, what: &str) -> bool {
        self.heard.try_iter().any(|line| line.starts_with(what))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn what_happens_to_stock_networks_is_told_to_those_who_listen() {
    let Some((daemon, mut stock)) = both() else { return };
    daemon.define_network(OPEN);
    let lifecycle = Listener::start(&daemon, "lifecycle");
    let metadata = Listener::start(&daemon, "metadata-change");
    let started = "event 'lifecycle' for network open: Started";
    // A listener is registered some time after its start.
    until("a start is told", || {
        stock.says(&["net-start", "open"]);
        stock.says(&["net-destroy", "open"]);
        lifecycle.has_heard(started)
    });
    until("a change of metadata is told", || {
        daemon.says(&["net-desc", "open", "--config", "--title", "one"]);
        daemon.says(&["net-desc", "open", "--config", "--title", "other"]);
        metadata.has_heard("event 'metadata-change' for network open: ")
    });
    daemon.says(&["net-start", "hw"]);
    let own = "event 'lifecycle' for network hw: Started";
    until("a start of the own network is told", || lifecycle.has_heard(own));

    stock.kill();
    stock.go_on();
    until("events come again from the next stock daemon", || {
        daemon.says(&["net-start", "open"]);
        daemon.says(&["net-destroy", "open"]);
        lifecycle.has_heard(started)
    });
}

#[test]
fn the_stock_daemon_may_come_and_go() {
    let Some((daemon, mut stock)) = both() else { return };
    daemon.define_network(OPEN);
    stock.kill();
    assert_eq!(names(&daemon, &["--all"]), ["hw"]);
    daemon.says(&["net-start", "hw"]);
    let refusal = daemon.refuses(&["net-info", "open"]);
    assert!(refusal.contains("no network") && refusal.contains("stock"), "{refusal}");
    let refusal = daemon.refuses(&["net-define", &daemon.file("quiet.xml", ISOLATED)]);
    assert!(refusal.contains("stock network daemon"), "{refusal}");
    assert_eq!(daemon.log().matches("cannot be used").count(), 1, "{}", daemon.log());
    stock.go_on();
    daemon.says(&["net-info", "open"]);
    assert_eq!(names(&daemon, &["--all"]), ["hw", "open"]);
    assert!(daemon.log().contains("answers again"), "{}", daemon.log());
}
