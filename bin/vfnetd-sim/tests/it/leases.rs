//! `vfnet exec`: real programs that have VFs of the simulated host.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use vfnet_host::Host as _;
use vfnet_rpc::vfnet::{Lease, LeaseArgs};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, Ran, guest};
use crate::{VIRSH, installed, until};

fn exec(daemon: &Daemon, options: &[&str], program: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    command.arg("--socket").arg(daemon.socket()).args(["exec", "--network", "hw"]);
    command.args(options).arg("--").args(program);
    command
}

fn ran(mut command: Command) -> Ran {
    command.output().expect("vfnet runs").into()
}

/// A program that has a VF until it ends.
struct Sleeper(Child);

impl Sleeper {
    fn start(daemon: &Daemon, mac: &str) -> Self {
        let lent = daemon.lent();
        let mut command = exec(daemon, &["--mac", mac], &["sleep", "600"]);
        let child = Self(command.stdin(Stdio::null()).spawn().expect("vfnet runs"));
        let became = format!("/proc/{}/comm", child.0.id());
        until("it sleeps", || {
            std::fs::read_to_string(&became).is_ok_and(|name| name.trim() == "sleep")
        });
        assert_eq!(daemon.lent(), lent + 1);
        child
    }

    fn kill(mut self) -> ExitStatus {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Of a test that has failed.
        if matches!(self.0.try_wait(), Ok(None)) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

#[test]
fn a_program_is_told_what_it_has_and_its_exit_code_is_the_commands() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let clean = daemon.host().facts();
    let says = "echo {bdf} {sysfs} {vfio-group} {mac} {else}; \
                echo $VFNET_NETWORK $VFNET_BDF $VFNET_SYSFS $VFNET_VFIO_GROUP $VFNET_MAC; exit 7";
    let ran = ran(exec(&daemon, &["--mac", "52:54:00:00:00:01"], &["sh", "-c", says]));
    assert_eq!(ran.status.code(), Some(7), "{ran:?}");
    let vf = "0000:01:10.0 /sys/bus/pci/devices/0000:01:10.0";
    let seen = daemon.host().inventory().expect("a look");
    let group = seen.vfs[&"0000:01:10.0".parse().expect("an address")].iommu_group;
    let mac = "52:54:00:00:00:01";
    let group = group.map(|group| group.to_string()).unwrap_or_default();
    assert_eq!(
        ran.stdout,
        format!("{vf} {group} {mac} {{else}}\nhw {vf} {group} {mac}\n"),
        "{ran:?}"
    );
    until("it is back", || daemon.lent() == 0);
    assert_eq!(daemon.host().facts(), clean);
}

#[test]
fn a_vf_goes_back_when_its_program_is_killed_and_the_daemon_may_die_meanwhile() {
    let Some(mut daemon) = Daemon::with_pool() else { return };
    let clean = daemon.host().facts();
    let first = Sleeper::start(&daemon, "52:54:00:00:00:01");
    let second = Sleeper::start(&daemon, "52:54:00:00:00:02");

    let pid = second.0.id();
    let shown = Client::of(&daemon).vfs();
    let holder = format!("sleep (pid {pid})");
    assert!(shown.iter().any(|vf| vf.holder.as_deref() == Some(holder.as_str())), "{shown:?}");
    let refused = daemon.refuses(&["net-destroy", "hw"]);
    assert!(refused.contains(&holder), "{refused}");

    assert_eq!(first.kill().signal(), Some(9));
    until("the first is back", || daemon.lent() == 1);

    daemon.kill_and_go_on();
    assert_eq!(daemon.lent(), 1, "the second lives");
    daemon.kill();
    second.kill();
    daemon.go_on();
    until("the second is back", || daemon.lent() == 0);
    assert_eq!(daemon.host().facts(), clean);
}

#[test]
fn what_cannot_be_lent_or_run_is_said_and_nothing_is_left_lent() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let missing = ran(exec(&daemon, &[], &["/nowhere/to/be/found", "{bdf}"]));
    assert_eq!(missing.status.code(), Some(127), "{missing:?}");
    assert!(
        missing.stderr.contains("cannot run /nowhere/to/be/found: No such file"),
        "{missing:?}"
    );
    let refused = ran(exec(&daemon, &[], &["/dev/null"]));
    assert_eq!(refused.status.code(), Some(126), "{refused:?}");
    until("both are back", || daemon.lent() == 0);

    daemon.define_guest(&guest("web1", "52:54:00:00:00:01"));
    daemon.says(&["start", "web1"]);
    let clash = ran(exec(&daemon, &["--mac", "52:54:00:00:00:01"], &["true"]));
    assert_eq!(clash.status.code(), Some(1), "{clash:?}");
    assert!(clash.stderr.contains("guest web1"), "{clash:?}");
    daemon.says(&["destroy", "web1"]);

    let group = ran(exec(&daemon, &["--portgroup", "gold"], &["true"]));
    assert!(group.stderr.contains("gold"), "{group:?}");
    let broken = ran(exec(&daemon, &["--mac", "52:54:00:00:00"], &["true"]));
    assert_eq!(broken.status.code(), Some(2), "{broken:?}");
    let nothing = ran(exec(&daemon, &[], &[]));
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_vfnet-cli"));
    elsewhere.arg("--socket").arg(daemon.socket());
    elsewhere.args(["exec", "--network", "nowhere", "--", "true"]);
    assert_eq!(ran(elsewhere).status.code(), Some(4));
    assert_eq!(daemon.lent(), 0);
}

#[test]
fn the_process_that_asks_has_the_vf_whatever_it_says_and_only_who_may_write_asks() {
    let Some(daemon) = Daemon::with_pool() else { return };
    let args = LeaseArgs {
        network: Text::clipped("hw"),
        portgroup: None,
        mac: None,
        program: Text::clipped("another (pid 1)"),
    };
    let mut client = Client::of(&daemon);
    client.ask::<Lease>(&args).expect("lent");
    let holder = format!("another (pid 1) (pid {})", std::process::id());
    let vfs = client.vfs();
    let of_this = |mac: &str| mac.starts_with("52:54:00");
    let lent = vfs.iter().find(|vf| vf.holder.as_deref() == Some(holder.as_str()));
    let lent = lent.unwrap_or_else(|| panic!("{vfs:?}"));
    assert!(lent.mac.is_some_and(|mac| of_this(&mac.to_string())), "one is made up: {lent:?}");

    let two_lines = LeaseArgs { program: Text::clipped("a\nb"), ..args.clone() };
    client.ask::<Lease>(&two_lines).expect_err("one line");
    let mut reader = Client::open(&daemon.read_only_socket());
    reader.ask::<Lease>(&args).expect_err("who may only read");
    assert_eq!(daemon.lent(), 1);
}

#[test]
fn made_up_macs_begin_as_is_configured() {
    if !installed(VIRSH) {
        return;
    }
    let daemon = Daemon::configured("mac_prefix = '0a:00:5E'\n");
    daemon.define_network(HW);
    daemon.says(&["net-start", "hw"]);
    let told = ran(exec(&daemon, &[], &["echo", "{mac}"]));
    assert!(told.stdout.starts_with("0a:00:5e:"), "{told:?}");
    daemon.define_guest(
        &guest("web1", "52:54:00:00:00:01").replace("<mac address='52:54:00:00:00:01'/>", ""),
    );
    let kept = daemon.says(&["dumpxml", "web1"]);
    assert!(kept.contains("<mac address='0a:00:5e:"), "{kept}");
    assert_eq!(daemon.says(&["dumpxml", "web1"]), kept);
}
