//! `--plan`, and the number of a PF's VFs, as the command line has them: whatever is planned,
//! nothing is changed.

use std::process::{Command, Stdio};

use rustix::io::Errno;
use serde_json::Value;
use vfnet_host_sim::{FaultKind, FaultPoint, OpKind, VfFacts};
use vfnet_rpc::remote::{NodeDeviceDettach, NodeDeviceReset};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest, guest_with};

const MAC: &str = "52:54:00:00:00:01";

fn vfnet(daemon: &Daemon, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    command.args(args).env("VFNET_SOCKET", daemon.socket()).stdin(Stdio::null());
    command.output().expect("vfnet runs").into()
}

/// What a command that is granted prints.
fn says(daemon: &Daemon, args: &[&str]) -> String {
    let ran = vfnet(daemon, args);
    assert!(ran.status.success(), "vfnet {args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// All that the daemon and its machine can be asked.
fn picture(daemon: &Daemon) -> (Vec<String>, Vec<(String, VfFacts)>) {
    let lists: [&[&str]; 5] = [
        &["net", "ls", "--all", "--json"],
        &["guest", "ls", "--all", "--json"],
        &["vf", "ls", "--json"],
        &["pf", "ls", "--json"],
        &["port", "ls", "--json"],
    ];
    let facts = daemon.host().facts();
    let facts = facts.into_iter().map(|(vf, facts)| (vf.to_string(), facts)).collect();
    (lists.map(|list| says(daemon, list)).to_vec(), facts)
}

/// What is planned of a command, which changes nothing.
fn plan(daemon: &Daemon, args: &[&str]) -> String {
    let before = picture(daemon);
    let planned = says(daemon, &[args, &["--plan"]].concat());
    assert_eq!(picture(daemon), before, "vfnet {args:?} --plan");
    planned
}

/// A daemon with network hw of seven VFs, and guest web1 with one of them, which does not run.
fn site() -> Daemon {
    let daemon = Daemon::start();
    let network = daemon.file("hw.xml", HW);
    says(&daemon, &["net", "define", &network]);
    says(&daemon, &["net", "start", "hw"]);
    let web1 = daemon.file("web1.xml", &guest("web1", MAC));
    says(&daemon, &["guest", "define", &web1]);
    daemon
}

#[test]
fn every_command_that_changes_something_can_be_planned_and_then_changes_nothing() {
    let daemon = Daemon::start();
    let (network, web1) = (daemon.file("hw.xml", HW), daemon.file("web1.xml", &guest("web1", MAC)));
    for command in [&["net", "define", &network][..], &["guest", "define", &web1]] {
        assert!(plan(&daemon, command).contains("is kept"), "{command:?}");
        says(&daemon, command);
    }
    for (command, said) in [
        (&["net", "start", "hw"][..], "have PF ens1f0 (0000:01:00.0) make 7 VFs"),
        (&["net", "create", &network], "network hw is active"),
        (&["net", "autostart", "hw"], "network hw is kept, and starts with the host"),
        (&["net", "undefine", "hw"], "network hw is forgotten"),
        (&["guest", "autostart", "web1"], "guest web1 is kept, and starts with the host"),
        (&["guest", "undefine", "web1"], "guest web1 is forgotten"),
        (&["pf", "set", "ens1f0", "--vfs", "3"], "have PF ens1f0 (0000:01:00.0) make 3 VFs"),
    ] {
        let planned = plan(&daemon, command);
        assert!(planned.contains(said), "{command:?}: {planned}");
        assert!(planned.ends_with("This is only planned: nothing has been done.\n"), "{planned}");
    }
    says(&daemon, &["net", "start", "hw"]);
    for (command, said) in [
        (&["guest", "start", "web1"][..], "start the process of guest web1"),
        (&["guest", "create", &web1], "start the process of guest web1"),
        (&["net", "destroy", "hw"], "network hw is not active"),
        (&["pf", "set", "ens1f0", "--vfs", "0"], "hit: network hw lends"),
    ] {
        assert!(plan(&daemon, command).contains(said), "{command:?}");
    }
    says(&daemon, &["guest", "start", "web1"]);
    for (command, said) in [
        (&["guest", "shutdown", "web1"][..], "press the power button of guest web1"),
        (&["guest", "reboot", "web1"], "power button, to begin anew, of guest web1"),
        (&["guest", "reset", "web1"], "press the reset button of guest web1"),
        (&["guest", "suspend", "web1"], "stop the processors of guest web1"),
        (&["guest", "destroy", "web1"], "end the process of guest web1"),
        (&["net", "destroy", "--force", "hw"], "0000:01:10.0 held by guest web1"),
    ] {
        assert!(plan(&daemon, command).contains(said), "{command:?}");
    }
    says(&daemon, &["guest", "suspend", "web1"]);
    let resumed = plan(&daemon, &["guest", "resume", "web1"]);
    assert!(resumed.contains("let the processors run of guest web1"), "{resumed}");
}

#[test]
fn the_plan_of_a_start_is_what_the_start_then_does() {
    let daemon = site();
    assert_eq!(
        plan(&daemon, &["guest", "start", "web1"]),
        "  1. record: 0000:01:10.0 being prepared for guest web1\n\
         \x20 2. record: guest web1: its VFs are being prepared\n\
         \x20 3. make 0000:01:10.0 (VF 0 of PF ens1f0 (0000:01:00.0)) ready for interface 1 of \
         guest web1: MAC 52:54:00:00:00:01; bind it to the VFIO driver for it, from igbvf\n\
         \x20 4. record: 0000:01:10.0 held by guest web1\n\
         \x20 5. record: guest web1: its process is being started\n\
         \x20 6. start the process of guest web1\n\
         \x20 7. record: guest web1: it runs\n\
         This is only planned: nothing has been done.\n"
    );
    let json = plan(&daemon, &["guest", "start", "web1", "--json"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["steps"][2]["does"], "prepare");
    says(&daemon, &["guest", "start", "web1"]);
    let shown = says(&daemon, &["guest", "show", "web1", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(report["steps"][2]["vf"], shown["ports"][0]["vf"]);
}

#[test]
fn what_would_be_refused_is_refused_in_the_same_words_and_with_the_same_exit_code() {
    let daemon = site();
    says(&daemon, &["guest", "start", "web1"]);
    let broken = daemon.file("broken.xml", "<network>");
    let nat = "<network><name>nat</name><forward mode='nat'/><ip address='10.0.0.1'/></network>";
    let nat = daemon.file("nat.xml", nat);
    for command in [
        &["net", "destroy", "hw"][..],
        &["net", "start", "hw"],
        &["net", "start", "nowhere"],
        &["net", "define", &broken],
        &["net", "define", &nat],
        &["guest", "start", "web1"],
        &["guest", "destroy", "nobody"],
        &["vf", "restore", "0000:01:10.0"],
        &["pf", "set", "ens1f0", "--vfs", "3"],
        &["pf", "set", "ens1f0", "--vfs", "99"],
        &["pf", "set", "ens9", "--vfs", "1"],
    ] {
        let planned = vfnet(&daemon, &[command, &["--plan"]].concat());
        let done = vfnet(&daemon, command);
        assert!(!done.status.success(), "{command:?}");
        assert_eq!(planned.status.code(), done.status.code(), "{command:?}");
        assert_eq!(planned.stderr, done.stderr, "{command:?}");
    }
}

#[test]
fn the_number_of_vfs_is_changed_unless_somebody_has_one() {
    let daemon = site();
    assert_eq!(says(&daemon, &["pf", "set", "ens1f0", "--vfs", "3"]), "ens1f0: 3 of 7 VFs, kept\n");
    assert_eq!(daemon.host().facts().len(), 3);
    says(&daemon, &["guest", "start", "web1"]);
    let refused = vfnet(&daemon, &["pf", "set", "0000:01:00.0", "--vfs", "7"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        refused.stderr,
        "vfnet: cannot change the number of VFs of 0000:01:00.0: Requested operation is not \
         valid: the number of VFs of PF ens1f0 (0000:01:00.0) is not changed from 3 to 7, which \
         takes them all away first: 0000:01:10.0 held by guest web1\n"
    );
    assert_eq!(daemon.host().facts().len(), 3);
    says(&daemon, &["guest", "destroy", "web1"]);
    says(&daemon, &["pf", "set", "ens1f0", "--vfs", "0"]);
    assert_eq!(daemon.host().facts().len(), 0);
}

#[test]
fn a_rebuild_of_the_state_is_planned_without_the_daemon() {
    let mut daemon = site();
    let places = [
        "--state-dir".to_owned(),
        daemon.path("state").display().to_string(),
        "--run-dir".to_owned(),
        daemon.path("run").display().to_string(),
    ];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let rebuild = [&["state", "rebuild", "--plan"][..], &places].concat();
    let beside = vfnet(&daemon, &rebuild);
    assert_eq!(beside.status.code(), Some(1));
    assert!(beside.stderr.contains("cannot rebuild the state"), "{}", beside.stderr);
    daemon.kill();
    assert!(says(&daemon, &rebuild).starts_with("nothing would be done\n"));
    let damage = vec![0xa5; 8192];
    let file = daemon.path("state/state.db");
    std::fs::write(&file, &damage).expect("written");
    std::fs::write(daemon.path("state/state.db-wal"), []).expect("written");
    let planned = says(&daemon, &rebuild);
    assert!(planned.contains("state.db anew, with what can be read of it"), "{planned}");
    assert_eq!(std::fs::read(&file).expect("read"), damage);
}

#[test]
fn what_the_kernel_refuses_of_a_number_is_said_in_words_with_the_number_that_is_left() {
    let daemon = site();
    let pf = "0000:01:00.0".parse().expect("an address");
    for (errno, words) in [
        (Errno::NOMEM, "boot with pci=realloc"),
        (Errno::NOSPC, "no interrupt vectors left"),
        (Errno::PERM, "more than its driver allows"),
    ] {
        says(&daemon, &["pf", "set", "ens1f0", "--vfs", "7"]);
        // Going to none succeeds, coming from there does not.
        daemon
            .host()
            .fail(FaultPoint::next(OpKind::NumVfs).at(pf).after(1), FaultKind::errno(errno));
        let refused = vfnet(&daemon, &["pf", "set", "ens1f0", "--vfs", "3"]);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert!(refused.stderr.contains("it has 0 VFs now"), "{}", refused.stderr);
        assert_eq!(daemon.host().facts().len(), 0);
    }
}

#[test]
fn a_pf_is_not_detached_and_who_would_lose_a_vf_is_named() {
    let daemon = site();
    says(&daemon, &["guest", "start", "web1"]);
    let mut client = Client::of(&daemon);
    let name = Text::new("pci_0000_01_00_0").expect("a name");
    let detach = client.ask::<NodeDeviceDettach>(&name).expect_err("refused").to_string();
    let reset = client.ask::<NodeDeviceReset>(&name).expect_err("refused").to_string();
    for why in [detach, reset] {
        assert!(why.contains("is a PF, whose VFs are lent"), "{why}");
        assert!(why.contains("0000:01:10.0 held by guest web1"), "{why}");
    }
}

#[test]
fn a_plan_of_forgetting_a_guest_says_which_file_would_be_deleted_and_deletes_none() {
    let daemon = Daemon::start();
    let nvram = daemon.file("VARS.fd", "variables");
    let os = format!(
        "<os><type machine='q35'>hvm</type><loader readonly='yes' type='pflash'>/usr/share/CODE.fd\
         </loader><nvram>{nvram}</nvram></os>"
    );
    let document = guest_with("uefi", "").replace("<os><type machine='q35'>hvm</type></os>", &os);
    says(&daemon, &["guest", "define", &daemon.file("uefi.xml", &document)]);
    let planned = plan(&daemon, &["guest", "undefine", "uefi", "--nvram"]);
    assert!(planned.contains(&format!("delete {nvram}")), "{planned}");
    assert_eq!(std::fs::read(&nvram).expect("there"), b"variables");
    let unsaid = vfnet(&daemon, &["guest", "undefine", "uefi", "--plan"]);
    assert_eq!(unsaid.status.code(), Some(1), "{}", unsaid.stdout);
    assert!(unsaid.stderr.contains("say --nvram"), "{}", unsaid.stderr);
}
