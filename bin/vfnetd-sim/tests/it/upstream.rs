//! Networks that vfnet does not serve, handed on to a stock network daemon: to a real one, and
//! to one that fails in every way.

mod fake;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use vfnet_model::doctor::Finding;
use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::ListArgs;
use vfnet_rpc::remote::{
    ConnectListAllDomains, ConnectListAllNetworks, ConnectNetworkEventRegisterAny,
    NetworkDefineXml, NetworkEventRegister, NetworkFlags, NetworkGetXmlDesc, NetworkLookupByName,
    NetworkUndefine,
};
use vfnet_rpc::vfnet::Doctor;
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest};
use crate::stock::Stock;
use crate::{VIRSH, installed, until};
use fake::{Fake, Mood, default};

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

    daemon.says(&["net-update", "open", "add", "portgroup", "<portgroup name='gold'/>", "--live"]);
    assert!(stock.says(&["net-dumpxml", "open"]).contains("gold"));
    let edited = |script: &str| {
        let mut edit = daemon.virsh_command(&["net-edit", "open"]);
        edit.env("EDITOR", format!("sed -i \"{script}\"")).output().expect("virsh runs")
    };
    let ran = Ran::from(edited("s/virbr42/virbr44/"));
    assert!(ran.status.success(), "{}", ran.stderr);
    assert!(stock.says(&["net-dumpxml", "--inactive", "open"]).contains("virbr44"));
    // virsh asks whether to edit again; what matters is that nothing has changed.
    let refused = Ran::from(edited("s/mode=.open/mode=\\x27hostdev/"));
    assert!(refused.stderr.contains("Failed"), "{}", refused.stderr);
    assert!(stock.says(&["net-dumpxml", "--inactive", "open"]).contains("mode='open'"));

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

/// The daemon with network hw before a fake stock daemon, whose calls may take this many
/// seconds.
fn before(mood: Mood, patience: u32) -> (Daemon, Fake) {
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
    let fake = Fake::start(&daemon.path("stock-sock"), mood);
    configure(&daemon, fake.socket(), &format!("network_daemon_patience = {patience}\n"));
    daemon.go_on();
    let mut client = Client::of(&daemon);
    client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
    (daemon, fake)
}

fn listed(client: &mut Client) -> Vec<String> {
    let args = ListArgs { need_results: 1, flags: 0 };
    let listed = client.ask::<ConnectListAllNetworks>(&args).expect("a list");
    listed.objects.iter().map(|network| network.name.to_string()).collect()
}

fn document_of_default() -> NetworkFlags {
    NetworkFlags { network: default(), flags: 0 }
}

#[test]
fn a_stock_daemon_that_hangs_holds_up_calls_about_its_networks_alone() {
    let (daemon, fake) = before(Mood::Hanging, 5);
    let socket = daemon.socket();
    let hanging = std::thread::spawn(move || {
        Client::open(&socket).number::<NetworkGetXmlDesc>(&document_of_default())
    });
    let mut client = Client::of(&daemon);
    let hw = Text::clipped("hw");
    // However many: a stock daemon that hangs may take part of them.
    let began = Instant::now();
    for _ in 0..50 {
        let network = client.ask::<NetworkLookupByName>(&hw).expect("there");
        client.ask::<NetworkGetXmlDesc>(&NetworkFlags { network, flags: 0 }).expect("a document");
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!hanging.is_finished());
    assert_eq!(listed(&mut client), ["hw"]);
    let timeout = ErrorCode::OperationTimeout.number();
    assert_eq!(hanging.join().expect("no panic"), Ok(timeout));

    // Right after that nobody waits for lists, definitions or the registration of listeners.
    let began = Instant::now();
    assert_eq!(listed(&mut client), ["hw"]);
    client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined again");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    fake.becomes(Mood::Well);
    client.ask::<NetworkGetXmlDesc>(&document_of_default()).expect("an answer");
    assert_eq!(listed(&mut client), ["hw", "default"]);
}

#[test]
fn a_stock_daemon_in_any_state_leaves_our_networks_alone_and_is_used_again_when_it_is_well() {
    let (daemon, fake) = before(Mood::Well, 1);
    let mut client = Client::of(&daemon);
    assert_eq!(listed(&mut client), ["hw", "default"]);
    let missing = ErrorCode::NoNetwork.number();
    for mood in [Mood::Mute, Mood::Hanging, Mood::Dying, Mood::Babbling, Mood::Confused, Mood::Well]
    {
        fake.becomes(mood);
        assert_eq!(client.number::<NetworkLookupByName>(&Text::clipped("nowhere")), Ok(missing));
        let answer = client.ask::<NetworkGetXmlDesc>(&document_of_default());
        assert_eq!(answer.is_ok(), mood == Mood::Well, "{mood:?}: {answer:?}");
        let expected = if mood == Mood::Well { &["hw", "default"][..] } else { &["hw"] };
        assert_eq!(listed(&mut client), expected, "{mood:?}");
    }
}

#[test]
fn what_is_no_stock_daemon_is_not_used() {
    for (mood, why) in [(Mood::Locked, "wants authentication"), (Mood::OtherKind, "'QEMU'")] {
        let (daemon, fake) = before(mood, 5);
        let mut client = Client::of(&daemon);
        assert_eq!(listed(&mut client), ["hw"]);
        let refusal = client.ask::<NetworkGetXmlDesc>(&document_of_default());
        let refusal = refusal.expect_err("not used").to_string();
        assert!(refusal.contains(why), "{refusal}");
        fake.becomes(Mood::Well);
        client.ask::<NetworkGetXmlDesc>(&document_of_default()).expect("an answer");
    }
}

#[test]
fn who_listens_is_answered_though_the_stock_daemon_is_not() {
    let (daemon, _fake) = before(Mood::Mute, 30);
    let mut client = Client::of(&daemon);
    let all = NetworkEventRegister { event: 0, network: None };
    client.ask::<ConnectNetworkEventRegisterAny>(&all).expect("registered");
}

/// What the command line prints.
fn vfnet(daemon: &Daemon, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    command.args(args).env("VFNET_SOCKET", daemon.socket()).stdin(Stdio::null());
    let ran = Ran::from(command.output().expect("vfnet runs"));
    assert!(ran.status.success(), "vfnet {args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

#[test]
fn the_command_line_has_stock_networks_too() {
    let Some((daemon, _stock)) = both() else { return };
    let open = daemon.file("open.xml", OPEN);
    vfnet(&daemon, &["net", "define", &open]);
    vfnet(&daemon, &["net", "start", "open"]);
    let listed = vfnet(&daemon, &["net", "ls", "--all"]);
    assert!(listed.contains("hw") && listed.contains("open"), "{listed}");
    let shown = vfnet(&daemon, &["net", "show", "open"]);
    assert!(shown.contains("22222222-2222-4222-8222-222222222222"), "{shown}");
    assert!(vfnet(&daemon, &["net", "dumpxml", "open"]).contains("mode='open'"));
    vfnet(&daemon, &["net", "destroy", "open"]);
    vfnet(&daemon, &["net", "undefine", "open"]);
    assert!(!vfnet(&daemon, &["net", "ls", "--all"]).contains("open"));
}

#[test]
fn a_plan_never_reaches_the_stock_daemon() {
    let (daemon, _fake) = before(Mood::Well, 30);
    let open = daemon.file("open.xml", OPEN);
    for command in [
        &["net", "define", &open][..],
        &["net", "create", &open],
        &["net", "destroy", "default"],
        &["net", "destroy", "--force", "default"],
    ] {
        let mut vfnet = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
        vfnet.args(command).arg("--plan").env("VFNET_SOCKET", daemon.socket());
        let refused = Ran::from(vfnet.stdin(Stdio::null()).output().expect("vfnet runs"));
        assert_ne!(refused.status.code(), Some(0), "{command:?}: {}", refused.stdout);
        assert!(!refused.stderr.contains("not here"), "{command:?}: {}", refused.stderr);
    }
}

#[test]
fn the_doctor_says_whether_the_stock_daemon_answers() {
    let (daemon, fake) = before(Mood::Well, 30);
    let socket = fake.socket().display();
    let doctor = || {
        let found = Client::of(&daemon).ask::<Doctor>(&()).expect("findings");
        serde_json::from_str::<Vec<Finding>>(&found).expect("JSON").pop().expect("a finding")
    };
    let found = doctor();
    assert_eq!(found.says, format!("the stock daemon at {socket} answers"));
    fake.becomes(Mood::Dying);
    let found = doctor();
    assert!(found.says.contains("it has hung up") && found.mend.is_some(), "{found:?}");
}

#[test]
fn an_export_leaves_the_stock_daemons_networks_to_it() {
    let (daemon, _fake) = before(Mood::Well, 30);
    let exported = daemon.path("exported");
    let printed = vfnet(&daemon, &["export", &exported.display().to_string()]);
    assert!(printed.contains("the stock network daemon's"), "{printed}");
    let networks = std::fs::read_dir(exported.join("qemu/networks")).expect("a folder");
    let files: Vec<_> = networks.flatten().map(|file| file.file_name()).collect();
    assert_eq!(files, ["hw.xml"]);
}

#[test]
fn a_host_that_keeps_its_guests_has_its_networks_taken_over_alone() {
    let daemon = Daemon::start();
    let host = daemon.path("host");
    std::fs::create_dir_all(host.join("etc/libvirt/qemu/networks")).expect("a folder");
    daemon.file("host/etc/libvirt/qemu/networks/hw.xml", HW);
    daemon.file("host/etc/libvirt/qemu/web1.xml", &guest("web1", "52:54:00:00:00:01"));
    let host = host.display().to_string();
    vfnet(&daemon, &["import", "--from-libvirt", "--root", &host, "--networks"]);
    let mut client = Client::of(&daemon);
    assert_eq!(listed(&mut client), ["hw"]);
    let all = ListArgs { need_results: 1, flags: 0 };
    assert_eq!(client.ask::<ConnectListAllDomains>(&all).expect("a list").count, 0);
}

#[test]
fn who_may_only_read_reads_the_stock_daemons_networks_and_changes_none() {
    let (daemon, _fake) = before(Mood::Well, 30);
    let mut client = Client::open(&daemon.read_only_socket());
    client.ask::<NetworkGetXmlDesc>(&document_of_default()).expect("a document");
    let denied = ErrorCode::OperationDenied.number();
    assert_eq!(client.number::<NetworkUndefine>(&default()), Ok(denied));
    assert_eq!(client.number::<NetworkDefineXml>(&Text::clipped(OPEN)), Ok(denied));
}

#[test]
fn a_daemon_that_is_its_own_stock_daemon_does_not_start() {
    for option in [None, Some("--network-socket")] {
        let daemon = Daemon::stopped(&["--make=ens1f0=igb"]);
        let own = option.map_or_else(|| daemon.socket(), |_| daemon.path("net-sock"));
        let alias = daemon.path("alias");
        std::os::unix::fs::symlink(&own, &alias).expect("a link");
        configure(&daemon, &alias, "");
        let mut command = daemon.command();
        command.args(option.iter().map(std::ffi::OsStr::new));
        command.args(option.map(|_| own.as_os_str()));
        let ended = command.output().expect("it runs");
        assert!(!ended.status.success());
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(log.contains("this vfnetd itself listens"), "{log}");
    }
}

#[test]
fn two_daemons_that_name_each_other_ask_each_other_nothing() {
    let mut one = Daemon::stopped(&["--make=ens1f0=igb"]);
    let mut other = Daemon::stopped(&["--make=ens1f0=igb"]);
    configure(&one, &other.socket(), "");
    configure(&other, &one.socket(), "");
    one.go_on();
    other.go_on();
    for daemon in [&one, &other] {
        let mut client = Client::of(daemon);
        client.ask::<NetworkDefineXml>(&Text::clipped(HW)).expect("defined");
        assert_eq!(listed(&mut client), ["hw"]);
        let missing = ErrorCode::NoNetwork.number();
        assert_eq!(client.number::<NetworkLookupByName>(&Text::clipped("nowhere")), Ok(missing));
        assert!(daemon.log().contains("not a stock network daemon"), "{}", daemon.log());
    }
}
