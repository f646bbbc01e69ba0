//! Networks over several PFs, as libvirt's client defines and sees them.

use std::process::Command;

use vfnet_host::Host as _;

use crate::daemon::{Daemon, Ran, guest};
use crate::{VIRSH, installed, until};

const POOL: &str = "\
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>hw</name>
  <uuid>11111111-1111-4111-8111-111111111111</uuid>
  <forward mode='hostdev' managed='yes'/>
  <vfnet:pool>
    <vfnet:pf physnet='blue' vfRange='1-2'/>
    <vfnet:pf address='0000:02:00.0' vfRange='0'/>
  </vfnet:pool>
</network>
";

#[test]
fn a_pool_of_chosen_pfs_is_started_printed_and_lent_by_libvirts_client() {
    if !installed(VIRSH) {
        return;
    }
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb:3", "--make=ens2f0=igb:3,numa=1"]);
    daemon.file("vfnetd.toml", "[physical_networks]\nblue = ['ens1f0', '0000:07:00.0']\n");
    daemon.go_on();
    daemon.define_network(POOL);
    assert_eq!(daemon.says(&["net-dumpxml", "--inactive", "hw"]).trim_end(), POOL.trim_end());
    daemon.says(&["net-start", "hw"]);
    let live = daemon.says(&["net-dumpxml", "hw"]);
    let vfs: Vec<_> = live.lines().filter(|line| line.contains("<address type='pci'")).collect();
    assert_eq!(vfs.len(), 3, "{live}");
    for (bus, slot, function) in [("01", "10", 2), ("01", "10", 4), ("02", "10", 0)] {
        let vf = format!("bus='0x{bus}' slot='0x{slot}' function='0x{function}'");
        assert!(vfs.iter().any(|line| line.contains(&vf)), "{vf} is missing: {live}");
    }
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let first = "bus='0x02' slot='0x10' function='0x0'";
    assert!(daemon.says(&["dumpxml", "web1"]).contains(first), "a named PF comes first");

    daemon.kill_and_go_on();
    until("the guest is found", || daemon.state_of("web1").starts_with("running"));
    let again = daemon.says(&["net-dumpxml", "hw"]);
    assert_eq!(again.replace(" connections='1'", ""), live);
    daemon.says(&["destroy", "web1"]);
}

#[test]
fn a_choice_that_fits_no_card_is_refused_at_start_with_what_the_host_has() {
    if !installed(VIRSH) {
        return;
    }
    let daemon = Daemon::over(&["--make=ens1f0=igb:3"]);
    daemon.define_network(&POOL.replace("physnet='blue'", "vendor='0x15b3'"));
    until("it is told", || daemon.log().contains("no SR-IOV PF has vendor='0x15b3'"));
    let refusal = daemon.refuses(&["net-start", "hw"]);
    let says = "this host has ens1f0 (0000:01:00.0) 8086:10c9, igb";
    assert!(refusal.contains(says), "{refusal}");
}

#[test]
fn vfs_that_a_network_makes_have_no_driver_before_and_after_a_guest() {
    if !installed(VIRSH) {
        return;
    }
    let daemon = Daemon::start();
    daemon.define_network(
        &POOL
            .replace("physnet='blue' vfRange='1-2'", "dev='ens1f0' vfs='2'")
            .replace("    <vfnet:pf address='0000:02:00.0' vfRange='0'/>\n", ""),
    );
    daemon.says(&["net-start", "hw"]);
    let drivers = || -> Vec<_> {
        let facts = daemon.host().facts();
        facts.values().map(|vf| vf.driver.as_ref().map(ToString::to_string)).collect()
    };
    assert_eq!(drivers(), [None, None]);
    assert!(daemon.host().inventory().expect("read").pfs.values().all(|pf| pf.autoprobe));
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    assert_eq!(drivers(), [Some("vfio-pci".to_owned()), None]);
    daemon.says(&["destroy", "web1"]);
    assert_eq!(drivers(), [None, None]);
}

#[test]
fn a_host_is_drawn_and_the_doctor_tells_what_its_drivers_can_do() {
    let mut daemon = Daemon::stopped(&["--make=ens1f0=igb:3", "--make=ens2f0=ice:2,numa=1"]);
    daemon.file("vfnetd.toml", "[physical_networks]\nblue = ['ens2f0']\n");
    daemon.go_on();
    let vfnet = |args: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
        command.arg("--socket").arg(daemon.socket()).args(args);
        command.env("LC_ALL", "C.UTF-8").output().expect("vfnet runs").into()
    };
    let drawn = vfnet(&["topology"]).stdout;
    assert!(drawn.starts_with("host  2 PFs, 5 VFs, 0 lent\n├─ NUMA node 1\n"), "{drawn}");
    assert!(drawn.contains("└─ ens1f0  0000:01:00.0  igb  up, 1 Gbit/s  3 of 7 VFs"), "{drawn}");
    assert!(drawn.contains("ice  up, 100 Gbit/s  2 of 64 VFs  cabled to blue\n"), "{drawn}");
    assert!(drawn.contains("      └─ VF"), "{drawn}");
    let tree = vfnet(&["topology", "--json"]).stdout;
    let tree: serde_json::Value = serde_json::from_str(&tree).expect("JSON");
    let pf = |node: usize| &tree["nodes"][node]["cards"][0]["pfs"][0];
    assert_eq!(pf(0)["vfs"].as_array().map(Vec::len), Some(2));
    assert_eq!((&pf(0)["speed"], &pf(1)["speed"]), (&100_000.into(), &1000.into()), "{tree}");
    assert_eq!(pf(0)["physical_networks"][0], "blue", "{tree}");
    assert_eq!(pf(1).get("physical_networks"), None, "{tree}");

    let findings = vfnet(&["doctor"]).stdout;
    for told in [
        "driver  igb sets MAC, VLAN tag, VLAN priority, spoof checking, trust, maximum rate; does",
        "from Linux 6.12, drivers/net/ethernet/intel/igb/igb_main.c; run with the 82576 that QEMU",
        "driver  ice sets",
        "a VF is reset for another MAC, VLAN tag, trust, so not under a guest",
    ] {
        assert!(findings.contains(told), "'{told}' is not in:\n{findings}");
    }
}

#[test]
fn kept_vfs_are_made_after_a_boot_and_shown_beside_what_there_is() {
    let mut daemon = Daemon::start();
    let vfnet = |daemon: &Daemon, args: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
        command.arg("--socket").arg(daemon.socket()).args(args);
        command.output().expect("vfnet runs").into()
    };
    let kept = vfnet(&daemon, &["pf", "set", "ens1f0", "--vfs", "3"]);
    assert_eq!(kept.stdout, "ens1f0: 3 of 7 VFs, kept\n", "{kept:?}");
    let once = vfnet(&daemon, &["pf", "set", "ens1f0", "--vfs", "5", "--once"]);
    assert_eq!(once.stdout, "ens1f0: 5 of 7 VFs, 3 kept\n", "{once:?}");
    daemon.kill();
    daemon.host().reboot();
    daemon.go_on();
    until("they are made", || vfnet(&daemon, &["pf", "ls"]).stdout.contains("3 of 7, kept"));
    let events = vfnet(&daemon, &["events", "--no-follow"]).stdout;
    assert!(events.contains("PF ens1f0 (0000:01:00.0): its 3 kept VFs made"), "{events}");

    let plan = vfnet(&daemon, &["pf", "set", "ens1f0", "--vfs", "2", "--plan"]);
    assert!(plan.status.success(), "{plan:?}");
    let forgotten = vfnet(&daemon, &["pf", "forget", "ens1f0"]);
    assert_eq!(forgotten.stdout, "ens1f0: 3 of 7 VFs\n", "{forgotten:?}");
    let again = vfnet(&daemon, &["pf", "forget", "ens1f0"]);
    assert!(!again.status.success() && again.stderr.contains("no VFs are kept"), "{again:?}");
}

#[test]
fn a_drained_pf_is_shown_explained_told_and_drained_after_a_restart() {
    if !installed(VIRSH) {
        return;
    }
    let Some(mut daemon) = Daemon::with_pool() else { return };
    let vfnet = |daemon: &Daemon, args: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
        command.arg("--socket").arg(daemon.socket()).args(args);
        command.output().expect("vfnet runs").into()
    };
    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.define_guest(&guest("web2", "52:54:00:00:00:02"));
    daemon.says(&["start", "web1"]);
    let drained = vfnet(&daemon, &["pf", "drain", "ens1f0", "--why", "new cable on Friday"]);
    assert_eq!(drained.stdout, "ens1f0: drained, 1 of its VFs lent\n", "{drained:?}");

    daemon.kill_and_go_on();
    until("the guest is found", || daemon.state_of("web1").starts_with("running"));
    let why = "its PF ens1f0 (0000:01:00.0) is drained: new cable on Friday";
    assert!(daemon.refuses(&["start", "web2"]).contains(why));
    assert!(
        vfnet(&daemon, &["pf", "ls"]).stdout.contains("up, 1 Gbit/s, drained: new cable on Friday")
    );
    assert!(vfnet(&daemon, &["net", "explain", "hw"]).stdout.contains(why));
    assert!(daemon.state_of("web1").starts_with("running"));

    let again = vfnet(&daemon, &["pf", "undrain", "ens1f0"]);
    assert_eq!(again.stdout, "ens1f0: not drained\n", "{again:?}");
    let events = vfnet(&daemon, &["events", "--no-follow"]).stdout;
    assert!(events.contains("PF ens1f0 (0000:01:00.0): not drained any more"), "{events}");
    daemon.says(&["start", "web2"]);
    let two_lines = vfnet(&daemon, &["pf", "drain", "ens1f0", "--why", "a\nb"]);
    assert!(two_lines.stderr.contains("one line"), "{two_lines:?}");
    daemon.says(&["destroy", "web1"]);
    daemon.says(&["destroy", "web2"]);

    // What is on record of a card that was taken out is shown, and can be taken back.
    vfnet(&daemon, &["pf", "drain", "ens1f0", "--why", "sent in"]);
    assert!(daemon.host().unplug_pf("0000:01:00.0".parse().expect("an address")));
    let listed = vfnet(&daemon, &["pf", "ls"]).stdout;
    let gone = listed.lines().find(|line| line.starts_with("not here: PF mac:")).expect("a line");
    assert!(gone.ends_with(": drained: sent in"), "{gone}");
    let drawn = vfnet(&daemon, &["topology"]).stdout;
    assert!(drawn.contains(gone.trim_start_matches("not here: ")), "{drawn}");
    let identity = gone.split(' ').nth(3).expect("what it is known by").trim_end_matches(':');
    let listed = vfnet(&daemon, &["pf", "ls", "--json"]).stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["identity"], identity, "{listed}");
    let again = vfnet(&daemon, &["pf", "undrain", identity]);
    assert_eq!(again.stdout, format!("{identity}: not drained\n"), "{again:?}");
    assert!(!vfnet(&daemon, &["pf", "ls"]).stdout.contains("not here"));
    let twice = vfnet(&daemon, &["pf", "undrain", identity]);
    assert!(twice.stderr.contains("is not drained"), "{twice:?}");
}
