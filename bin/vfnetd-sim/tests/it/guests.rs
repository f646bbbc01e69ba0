//! Guests on a pool of seven VFs, with a stand-in for QEMU.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::daemon::{Daemon, HW, Ran, guest, guest_with};
use crate::{LIMIT, installed, until};

fn mac(number: usize) -> String {
    format!("52:54:00:00:00:{number:02x}")
}

/// A guest whose stand-in is told what to do by a word of the kernel's command line.
fn told(name: &str, word: &str) -> String {
    guest(name, "52:54:00:00:00:01").replace(
        "hvm</type>",
        &format!("hvm</type><kernel>/dev/null</kernel><cmdline>{word}</cmdline>"),
    )
}

#[test]
fn a_guest_gets_a_vf_shows_it_and_gives_it_back() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    assert_eq!(daemon.rows(&["list", "--all"]), ["- web1 shut off"]);
    assert_eq!(daemon.rows(&["domiflist", "web1"]), ["- network hw rtl8139 52:54:00:00:00:01"]);

    daemon.says(&["start", "web1"]);
    assert_eq!(daemon.rows(&["list"]), ["1 web1 running"]);
    assert_eq!(daemon.rows(&["domiflist", "web1"]), ["- hostdev - rtl8139 52:54:00:00:00:01"]);
    let live = daemon.says(&["dumpxml", "web1"]);
    let interface = "    <interface type='hostdev' managed='yes'>
      <mac address='52:54:00:00:00:01'/>
      <driver name='vfio'/>
      <source>
        <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>
      </source>
";
    assert!(live.contains(interface), "{live}");
    assert!(daemon.says(&["dumpxml", "--inactive", "web1"]).contains("<source network='hw'/>"));

    let ports = daemon.rows(&["net-port-list", "hw"]);
    assert_eq!(ports.len(), 1);
    let port = daemon.says(&["net-port-dumpxml", "hw", &ports[0]]);
    for piece in ["<name>web1</name>", "<mac address='52:54:00:00:00:01'/>", "function='0x0'"] {
        assert!(port.contains(piece), "{port}");
    }
    let facts = daemon.host().facts();
    let lent = facts.values().find(|vf| vf.admin_mac.to_string() == "52:54:00:00:00:01");
    let driver = lent.and_then(|vf| vf.driver.as_ref()).map(ToString::to_string);
    assert_eq!(driver.as_deref(), Some("vfio-pci"));

    daemon.says(&["destroy", "web1"]);
    assert_eq!(daemon.lent(), 0);
    assert!(daemon.rows(&["net-port-list", "hw"]).is_empty());
    assert_eq!(daemon.state_of("web1"), "shut off (destroyed)");
    daemon.says(&["undefine", "web1"]);
    assert!(daemon.rows(&["list", "--all"]).is_empty());
}

#[test]
fn the_eighth_guest_hears_who_has_each_of_seven_vfs_and_starts_when_one_is_back() {
    let Some(daemon) = Daemon::with_pool() else { return };
    for number in 1..=8 {
        daemon.define_guest(&guest(&format!("web{number}"), &mac(number)));
    }
    for number in 1..=7 {
        daemon.says(&["start", &format!("web{number}")]);
    }
    assert_eq!(daemon.lent(), 7);
    let refusal = daemon.refuses(&["start", "web8"]);
    assert!(refusal.contains("internal error"), "{refusal}");
    for (number, vf) in daemon.host().facts().keys().enumerate() {
        assert!(refusal.contains(&vf.to_string()), "{vf}: {refusal}");
        assert!(refusal.contains(&format!("web{}", number + 1)), "{number}: {refusal}");
    }
    assert_eq!(daemon.state_of("web8").split(' ').next(), Some("shut"));
    daemon.says(&["destroy", "web3"]);
    daemon.says(&["start", "web8"]);
    assert_eq!(daemon.lent(), 7);
    let macs: std::collections::BTreeSet<_> =
        daemon.host().facts().values().map(|vf| vf.admin_mac.to_string()).collect();
    assert!(macs.contains(&mac(8)) && !macs.contains(&mac(3)), "{macs:?}");
}

#[test]
fn a_mac_that_a_running_guest_has_is_refused_with_its_name() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.define_guest(&guest("web2", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let refusal = daemon.refuses(&["start", "web2"]);
    assert!(refusal.contains("52:54:00:00:00:01") && refusal.contains("web1"), "{refusal}");
    assert_eq!(daemon.lent(), 1);
    daemon.says(&["destroy", "web1"]);
    daemon.says(&["start", "web2"]);
}

#[test]
fn a_guest_that_does_not_start_says_why_and_leaves_no_vf_lent() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let no_emulator = guest("web1", "52:54:00:00:00:01")
        .replace("<devices>", "<devices><emulator>/nonexistent/qemu</emulator>");
    for (document, why) in [
        (no_emulator, "/nonexistent/qemu"),
        (told("web1", "fail-at-start"), "told to fail at start"),
    ] {
        daemon.define_guest(&document);
        let refusal = daemon.refuses(&["start", "web1"]);
        assert!(refusal.contains(why), "{refusal}");
        assert_eq!(daemon.lent(), 0);
        assert!(daemon.rows(&["list"]).is_empty());
        assert!(daemon.rows(&["net-port-list", "hw"]).is_empty());
        daemon.says(&["undefine", "web1"]);
    }
}

#[test]
fn a_guest_that_fails_by_itself_gives_its_vf_back_and_is_said_to_have_crashed() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&told("web1", "crash-when-resumed"));
    // The stand-in crashes right after it has said that it runs, or before it could.
    let _either = daemon.virsh(&["start", "web1"]);
    until("the VF is back", || daemon.lent() == 0 && daemon.rows(&["list"]).is_empty());
    daemon.says(&["undefine", "web1"]);

    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let pid = daemon.guest_pid("web1");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    until("the end is noticed", || daemon.rows(&["list"]).is_empty());
    assert_eq!(daemon.state_of("web1"), "shut off (crashed)");
    until("the VF is back", || daemon.lent() == 0);
}

#[test]
fn a_guest_is_suspended_resumed_reset_and_shut_down() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "--paused", "web1"]);
    until("it is paused", || daemon.state_of("web1").starts_with("paused"));
    for (command, state) in [
        ("resume", "running"),
        ("suspend", "paused (user)"),
        ("resume", "running"),
        ("reset", "running"),
        ("reboot", "running"),
        ("shutdown", "shut off (shutdown)"),
    ] {
        daemon.says(&[command, "web1"]);
        until(command, || daemon.state_of("web1").starts_with(state));
    }
    assert_eq!(daemon.lent(), 0);
    for command in ["suspend", "resume", "reset", "shutdown", "destroy"] {
        let refusal = daemon.refuses(&[command, "web1"]);
        assert!(refusal.contains("not valid"), "{command}: {refusal}");
    }
}

#[test]
fn a_guest_that_powers_itself_off_is_off_and_has_given_back() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&told("web1", "poweroff-when-resumed"));
    let _either = daemon.virsh(&["start", "web1"]);
    until("it is off", || daemon.state_of("web1") == "shut off (shutdown)");
    until("the VF is back", || daemon.lent() == 0);
}

#[test]
fn a_guest_that_ignores_the_power_button_is_destroyed_all_the_same() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&told("web1", "ignore-powerdown"));
    daemon.says(&["start", "web1"]);
    daemon.says(&["shutdown", "web1"]);
    assert_eq!(daemon.state_of("web1").split(' ').next(), Some("running"));
    daemon.says(&["destroy", "web1"]);
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn a_start_that_hangs_ends_when_its_guest_is_destroyed() {
    let Some(daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&told("web1", "never-answers"));
    let before = daemon.host().facts();
    let start = hanging_start(&daemon);

    let asked = Instant::now();
    daemon.says(&["destroy", "web1"]);
    assert!(asked.elapsed() < LIMIT, "the destroy waited for the start: {:?}", asked.elapsed());

    let started = Ran::from(start.wait_with_output().expect("virsh ends"));
    assert!(!started.status.success(), "{started:?}");
    assert!(started.stderr.contains("QEMU was killed"), "{started:?}");
    assert!(daemon.state_of("web1").starts_with("shut off"));
    assert_eq!(daemon.host().facts(), before);
}

#[test]
fn a_guest_whose_start_hung_is_destroyed_while_the_next_daemon_looks_for_it() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&told("web1", "never-answers"));
    let before = daemon.host().facts();
    let start = hanging_start(&daemon);
    daemon.kill_and_go_on();
    let started = Ran::from(start.wait_with_output().expect("virsh ends"));
    assert!(!started.status.success(), "{started:?}");
    assert_eq!(daemon.lent(), 1);

    let asked = Instant::now();
    daemon.says(&["destroy", "web1"]);
    assert!(asked.elapsed() < LIMIT, "the destroy waited for the search: {:?}", asked.elapsed());
    until("the VF is back", || daemon.host().facts() == before);
    assert!(daemon.state_of("web1").starts_with("shut off"));
}

/// A start of web1, which never answers; its stand-in is there, with its VF.
fn hanging_start(daemon: &Daemon) -> Child {
    let mut start = daemon.virsh_command(&["start", "web1"]);
    let start = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("virsh runs");
    until("the stand-in is there", || daemon.has_stand_in());
    assert_eq!(daemon.lent(), 1);
    start
}

#[test]
fn a_transient_guest_is_gone_when_it_ends() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let document = daemon.file("web1.xml", &guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["create", &document]);
    assert_eq!(daemon.rows(&["list", "--transient"]).len(), 1);
    daemon.says(&["shutdown", "web1"]);
    until("it is gone", || daemon.rows(&["list", "--all"]).is_empty());
    until("the VF is back", || daemon.lent() == 0);
}

#[test]
fn a_guest_with_two_cards_gets_two_vfs_or_none() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let nic = |number| {
        format!(
            "<interface type='network'><source network='hw'/><mac address='{}'/></interface>",
            mac(number)
        )
    };
    let cards = |numbers: std::ops::Range<usize>| numbers.map(nic).collect::<String>();
    daemon.define_guest(&guest_with("two", &cards(1..3)));
    daemon.define_guest(&guest_with("six", &cards(3..9)));
    daemon.says(&["start", "two"]);
    assert_eq!(daemon.rows(&["domiflist", "two"]).len(), 2);
    assert_eq!(daemon.lent(), 2);
    daemon.refuses(&["start", "six"]);
    assert_eq!(daemon.lent(), 2);
    daemon.says(&["destroy", "two"]);
    daemon.says(&["start", "six"]);
    assert_eq!(daemon.lent(), 6);
}

#[test]
fn a_console_is_typed_on_and_left() {
    const SCRIPT: &str = "/usr/bin/script";
    let Some(daemon) = Daemon::with_pool().filter(|_| installed(SCRIPT)) else { return };
    let path = daemon.path("console");
    let serial =
        format!("<serial type='unix'><source mode='bind' path='{}'/></serial>", path.display());
    daemon.define_guest(&guest_with("web1", &serial));
    daemon.says(&["start", "web1"]);
    let line = format!("/usr/bin/virsh -c '{}' console web1", daemon.uri());
    let mut terminal = Command::new(SCRIPT)
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let mut keys = terminal.stdin.take().expect("a pipe");
    let mut screen = terminal.stdout.take().expect("a pipe");
    let mut seen = String::new();
    let mut see = |wanted: &str| {
        let mut portion = [0; 1024];
        while !seen.contains(wanted) {
            let count = screen.read(&mut portion).expect("a screen");
            assert!(count > 0, "{wanted:?} is not in {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&portion[..count]));
        }
    };
    see("qemu-stand-in console");
    keys.write_all(b"who are you?\r").expect("typed");
    see("who are you?");
    keys.write_all(b"\x1d").expect("typed");
    assert!(terminal.wait().expect("ended").success());
    daemon.says(&["destroy", "web1"]);
}

#[test]
fn networks_and_guests_start_once_for_each_boot() {
    let Some(mut daemon) = Daemon::with_virsh() else { return };
    daemon.define_network(HW);
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["net-autostart", "hw"]);
    daemon.says(&["autostart", "web1"]);
    daemon.kill_and_go_on();
    assert!(daemon.rows(&["net-list"]).is_empty(), "nothing has booted");

    for _boot in 0..2 {
        daemon.kill();
        daemon.end_guests();
        daemon.host().reboot();
        daemon.go_on();
        until("the guest runs", || daemon.rows(&["list", "--name"]) == ["web1"]);
        assert_eq!(daemon.rows(&["net-list", "--name"]), ["hw"]);
        assert_eq!(daemon.lent(), 1);
    }

    daemon.says(&["destroy", "web1"]);
    daemon.says(&["net-destroy", "hw"]);
    daemon.kill_and_go_on();
    assert!(daemon.rows(&["list"]).is_empty(), "an administrator has stopped it");
    assert!(daemon.rows(&["net-list"]).is_empty(), "an administrator has stopped it");
}

#[test]
fn a_guest_that_ends_with_its_client_ends_though_the_daemon_is_killed() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    let mut virsh = daemon.virsh_command(&[]);
    let virsh = virsh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut virsh = virsh.expect("virsh runs");
    let mut typed = virsh.stdin.take().expect("piped");
    typed.write_all(b"start web1 --autodestroy\n").expect("typed");
    until("it runs", || daemon.state_of("web1").starts_with("running"));

    daemon.kill_and_go_on();
    until("it has ended", || daemon.rows(&["list", "--name"]).is_empty());
    assert_eq!(daemon.lent(), 0);
    drop(typed);
    virsh.kill().and_then(|()| virsh.wait()).expect("ended");
}

#[test]
fn a_reboot_that_an_earlier_daemon_was_asked_for_is_gone_on_with() {
    let Some(mut daemon) = Daemon::with_virsh() else { return };
    let agent = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>\
                 </channel>";
    let words = "hvm</type><kernel>/dev/null</kernel>\
                 <cmdline>ignore-powerdown with-agent</cmdline>";
    daemon.define_guest(&guest_with("web1", agent).replace("hvm</type>", words));
    daemon.says(&["start", "web1"]);
    daemon.says(&["reboot", "web1", "--mode", "acpi"]);

    daemon.kill_and_go_on();
    let off = r#"{"execute": "guest-shutdown"}"#;
    daemon.says(&["qemu-agent-command", "web1", "--async", off]);
    until("it has begun anew", || daemon.log().contains("guest web1: was reset"));
    until("it runs", || daemon.state_of("web1").starts_with("running"));
    daemon.says(&["shutdown", "web1", "--mode", "agent"]);
    until("it is off for good", || daemon.state_of("web1") == "shut off (shutdown)");
}

#[test]
fn virtual_cpus_come_to_a_running_guest_of_qemus_and_are_counted_by_the_next_daemon() {
    const QEMU: &str = "/usr/bin/qemu-system-x86_64";
    if !installed(QEMU) {
        return;
    }
    let Some(mut daemon) = Daemon::with_virsh() else { return };
    let emulator = format!("<emulator>{QEMU}</emulator>");
    let guest = guest_with("web1", &emulator).replace("<vcpu>1", "<vcpu current='2'>4");
    daemon.define_guest(&guest);
    daemon.says(&["start", "web1"]);
    let count = |daemon: &Daemon| daemon.says(&["vcpucount", "web1", "--active", "--live"]);
    assert_eq!(count(&daemon).trim(), "2");
    daemon.says(&["setvcpus", "web1", "4", "--live"]);
    assert_eq!(count(&daemon).trim(), "4");
    assert!(daemon.says(&["dumpxml", "web1"]).contains("<vcpu placement='static'>4</vcpu>"));
    assert!(daemon.says(&["domstats", "web1", "--vcpu"]).contains("vcpu.current=4"));

    daemon.kill_and_go_on();
    assert_eq!(count(&daemon).trim(), "4");
    let refused = daemon.refuses(&["setvcpus", "web1", "1", "--live"]);
    assert!(refused.contains("came to the guest while it runs"), "{refused}");
    // Nobody in it hears of it.
    let refused = daemon.refuses(&["setvcpus", "web1", "3", "--live"]);
    assert!(refused.contains("the guest keeps a virtual CPU"), "{refused}");
    assert_eq!(count(&daemon).trim(), "4");
    let kept = daemon.says(&["vcpucount", "web1", "--active", "--config"]);
    assert_eq!(kept.trim(), "2");
    daemon.says(&["destroy", "web1"]);
}
