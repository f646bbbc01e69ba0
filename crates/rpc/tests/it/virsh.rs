//! libvirt's own client against our server: what it prints shows what it understood.
//!
//! Where `virsh` is not installed these tests say so and pass.

use std::process::{Command, Output, Stdio};

use crate::host::Host;

#[expect(clippy::disallowed_methods, reason = "the peer under test is a program")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").env_remove("DISPLAY").stdin(Stdio::null());
    command
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skip(missing: &str) {
    println!("skipped: {missing} is not installed");
}

fn installed() -> bool {
    let found = command("virsh").arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        skip("virsh");
    }
    found
}

fn uri(host: &Host) -> String {
    format!("qemu+unix:///system?socket={}", host.socket().display())
}

fn virsh(host: &Host, args: &str) -> Output {
    let mut command = command("virsh");
    command.args(["-k", "1", "-c", &uri(host)]).args(args.split_whitespace());
    command.current_dir(host.dir()).output().expect("virsh runs")
}

/// Each command ends well and prints each of the words.
fn prints(table: &[(&str, &[&str])]) {
    if !installed() {
        return;
    }
    let host = Host::start();
    for (name, content) in [("n.xml", "<network/>"), ("d.xml", "<domain/>"), ("p.xml", "<x/>")] {
        std::fs::write(host.dir().join(name), content).expect("file written");
    }
    for (args, words) in table {
        let output = virsh(&host, args);
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "virsh {args}: {err}");
        // Columns are of no matter here.
        let seen = out.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in *words {
            assert!(seen.contains(word), "virsh {args}: {word:?} is not in {seen:?}; {err}");
        }
    }
}

#[test]
fn virsh_lists_our_networks_by_name() {
    if !installed() {
        return;
    }
    let host = Host::start();
    let output = virsh(&host, "net-list --all --name");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "pool-a");
}

#[test]
fn virsh_prints_our_error_as_it_is() {
    if !installed() {
        return;
    }
    let host = Host::start();
    let output = virsh(&host, "net-dumpxml nowhere");
    assert!(!output.status.success());
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("error: Network not found: no 'nowhere' here"), "{err}");
}

#[test]
fn virsh_understands_what_we_say_of_the_host() {
    prints(&[
        ("hostname", &["metal1"]),
        ("capabilities", &["<capabilities/>"]),
        ("domcapabilities --machine q35", &["<machine>q35</machine>"]),
        ("maxvcpus", &["255"]),
        ("sysinfo", &["smbios"]),
        ("domxml-to-native qemu-argv d.xml", &["qemu-argv"]),
        ("version", &["Running hypervisor: QEMU 10.0.2"]),
        (
            "nodeinfo",
            &[
                "CPU model: x86_64",
                "CPU(s): 8",
                "CPU frequency: 2400 MHz",
                "Core(s) per socket: 4",
                "Thread(s) per core: 2",
                "Memory size: 1048576 KiB",
            ],
        ),
    ]);
}

#[test]
fn virsh_understands_our_networks_and_ports() {
    prints(&[
        ("net-list --all", &["pool-a active yes yes"]),
        ("net-info pool-a", &["Active: yes", "Persistent: yes", "Autostart: yes", "Bridge: br0"]),
        ("net-uuid pool-a", &["00000000-0000-0000-0000-0000000000a1"]),
        ("net-name 00000000-0000-0000-0000-0000000000a1", &["pool-a"]),
        ("net-dumpxml pool-a", &["<name>pool-a</name>"]),
        ("net-define n.xml", &["Network pool-a defined"]),
        ("net-define --validate n.xml", &["Network pool-a defined"]),
        ("net-create n.xml", &["Network pool-a created"]),
        ("net-create --validate n.xml", &["Network pool-a created"]),
        ("net-start pool-a", &["started"]),
        ("net-autostart pool-a", &["autostarted"]),
        ("net-destroy pool-a", &["destroyed"]),
        ("net-undefine pool-a", &["undefined"]),
        ("net-update pool-a add-last portgroup p.xml", &["Updated network pool-a"]),
        ("net-dhcp-leases pool-a", &["52:54:00:00:00:01 ipv4 192.0.2.9/24 web1"]),
        ("net-desc pool-a", &["a pool"]),
        ("net-desc pool-a new words", &["updated"]),
        ("net-port-list pool-a", &["00000000-0000-0000-0000-0000000000b2"]),
        ("net-port-dumpxml pool-a 00000000-0000-0000-0000-0000000000b2", &["<networkport/>"]),
        ("net-port-create pool-a p.xml", &["created"]),
        ("net-port-delete pool-a 00000000-0000-0000-0000-0000000000b2", &["deleted"]),
    ]);
}

#[test]
fn virsh_understands_our_guests() {
    prints(&[
        ("list --all", &["7 web1 running"]),
        ("domstate --reason web1", &["running (booted)"]),
        ("domid web1", &["7"]),
        ("domuuid web1", &["00000000-0000-0000-0000-0000000000c3"]),
        ("domname 7", &["web1"]),
        (
            "dominfo web1",
            &[
                "Id: 7",
                "OS Type: hvm",
                "State: running",
                "CPU(s): 3",
                "CPU time: 5.0s",
                "Max memory: 2048 KiB",
                "Used memory: 1024 KiB",
                "Persistent: yes",
                "Autostart: enable",
                "Managed save: no",
            ],
        ),
        ("dumpxml web1", &["<name>web1</name>"]),
        ("ttyconsole web1", &["/dev/pts/9"]),
        ("define d.xml", &["web1"]),
        ("define --validate d.xml", &["web1"]),
        ("create d.xml", &["web1"]),
        ("shutdown web1", &["being shutdown"]),
        ("shutdown --mode acpi web1", &["being shutdown"]),
        ("reboot web1", &["being rebooted"]),
        ("reset web1", &["was reset"]),
        ("suspend web1", &["suspended"]),
        ("resume web1", &["resumed"]),
        ("destroy web1", &["destroyed"]),
        ("destroy --graceful web1", &["destroyed"]),
        ("undefine web1", &["undefined"]),
        ("autostart web1", &["autostarted"]),
        ("attach-device web1 p.xml", &["attached"]),
        ("detach-device web1 p.xml", &["detached"]),
        ("update-device web1 p.xml", &["updated"]),
        ("detach-device-alias web1 ua-x", &["detach request sent"]),
        ("desc web1", &["a guest"]),
        ("desc web1 new words", &["updated"]),
        ("domstats web1", &["state.state=1"]),
    ]);
}

#[test]
fn virsh_understands_our_devices() {
    prints(&[
        ("nodedev-list", &["pci_0000_81_10_1"]),
        ("nodedev-dumpxml pci_0000_81_10_1", &["<device/>"]),
        (
            "nodedev-info pci_0000_81_10_1",
            &["Parent: computer", "Active: yes", "Persistent: no", "Autostart: no"],
        ),
        ("nodedev-detach pci_0000_81_10_1", &["detached"]),
        ("nodedev-detach --driver vfio pci_0000_81_10_1", &["detached"]),
        ("nodedev-reattach pci_0000_81_10_1", &["re-attached"]),
        ("nodedev-reset pci_0000_81_10_1", &["reset"]),
    ]);
}

#[test]
fn virsh_understands_our_events() {
    prints(&[
        ("net-event --timeout 20 --event lifecycle", &["for network pool-a: Started"]),
        ("net-event --timeout 20 --event metadata-change", &["pool-a", "urn:x"]),
        ("event --timeout 20 --event lifecycle", &["for domain 'web1': Stopped Destroyed"]),
        ("event --timeout 20 --event reboot", &["domain 'web1'"]),
        ("event --timeout 20 --event device-removed", &["hostdev0"]),
        ("nodedev-event --timeout 20 --event lifecycle", &["pci_0000_81_10_1: Deleted"]),
        ("nodedev-event --timeout 20 --event update", &["pci_0000_81_10_1"]),
    ]);
}

#[test]
fn virsh_shows_our_console_until_it_ends() {
    if !installed() {
        return;
    }
    let host = Host::start();
    // virsh wants a terminal here.
    let line = format!("virsh -c '{}' console web1", uri(&host));
    let Ok(output) = command("script").args(["-qec", &line, "/dev/null"]).output() else {
        skip("script");
        return;
    };
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(seen.contains("login: "), "{seen}");
}

/// What virsh has no command for, asked through libvirt's Python binding: expression, its value.
const ASKED_IN_PYTHON: &[(&str, &str)] = &[
    ("c.listNetworks()", "['pool-a']"),
    ("c.listDefinedNetworks()", "['pool-a']"),
    ("c.listDomainsID()", "[7]"),
    ("c.listDefinedDomains()", "['web1']"),
    ("c.numOfDomains()", "1"),
    ("c.numOfDefinedDomains()", "1"),
    ("c.listDevices('net')", "['pci_0000_81_10_1']"),
    ("c.isSecure()", "1"),
    ("c.getFreeMemory()", "1073741824"),
    ("c.setIdentity({'user-name': 'root', 'unix-user-id': 0}, 0)", "0"),
    ("c.lookupByID(7).name()", "'web1'"),
    ("d.isUpdated()", "0"),
    ("d.maxVcpus()", "3"),
    ("d.vcpusFlags(2)", "2"),
    ("d.setMemory(1024)", "0"),
    ("d.setMemoryFlags(1024, 1)", "0"),
    ("d.attachDevice('<x/>')", "0"),
    ("d.detachDevice('<x/>')", "0"),
    ("v.listCaps()", "['pci']"),
    ("p.UUIDString()", "'00000000-0000-0000-0000-0000000000b2'"),
    ("p.parameters(0)", "{'inbound.average': 1000}"),
    ("p.setParameters({'inbound.average': 1000}, 0)", "0"),
];

#[test]
fn python_understands_what_virsh_does_not_ask() {
    let python = "/usr/bin/python3";
    if !command(python).args(["-c", "import libvirt"]).status().is_ok_and(|s| s.success()) {
        skip("libvirt's Python binding");
        return;
    }
    let host = Host::start();
    let mut script = format!(
        "import libvirt\nc = libvirt.open({:?})\nd = c.lookupByName('web1')\n\
         n = c.networkLookupByName('pool-a')\nv = c.nodeDeviceLookupByName('pci_0000_81_10_1')\n\
         p = n.portLookupByUUIDString('00000000-0000-0000-0000-0000000000b2')\n\
         s = c.newStream()\nd.openConsole(None, s, 0)\nassert s.recv(7) == b'login: '\n\
         s.abort()\n",
        uri(&host)
    );
    for (asked, _) in ASKED_IN_PYTHON {
        script.push_str(&format!("print(repr({asked}))\n"));
    }
    let output = command(python).args(["-c", &script]).output().expect("python runs");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    let mut lines = out.lines();
    for (asked, value) in ASKED_IN_PYTHON {
        assert_eq!(lines.next(), Some(*value), "{asked}: {err}");
    }
}
