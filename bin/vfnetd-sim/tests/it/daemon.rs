//! A daemon over a simulated machine of its own, in a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vfnet_host_sim::SimHost;

use crate::client::Client;
use crate::{VIRSH, installed, until};

/// A network whose seven VFs are made at its start.
pub(crate) const HW: &str = "\
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>hw</name>
  <uuid>11111111-1111-4111-8111-111111111111</uuid>
  <forward mode='hostdev' managed='yes'>
    <pf dev='ens1f0'/>
  </forward>
  <vfnet:pool>
    <vfnet:pf dev='ens1f0' vfs='7' autoprobe='yes'/>
  </vfnet:pool>
</network>
";

/// A guest with these devices.
pub(crate) fn guest_with(name: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"
    )
}

/// A guest with one interface in network hw.
pub(crate) fn guest(name: &str, mac: &str) -> String {
    let nic = format!(
        "<interface type='network'><source network='hw'/><mac address='{mac}'/></interface>"
    );
    guest_with(name, &nic)
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The daemon. Its end is the end of its guests.
pub(crate) struct Daemon {
    dir: TempDir,
    machine: Vec<String>,
    child: Option<Child>,
}

impl Daemon {
    /// Over a machine with one igb PF, ens1f0, without VFs.
    pub(crate) fn start() -> Self {
        Self::over(&["--make=ens1f0=igb"])
    }

    /// Over a machine made as these options say.
    pub(crate) fn over(machine: &[&str]) -> Self {
        let mut daemon = Self::stopped(machine);
        daemon.go_on();
        daemon
    }

    /// As [`start`](Self::start), with these settings in its configuration file.
    pub(crate) fn configured(settings: &str) -> Self {
        let mut daemon = Self::stopped(&["--make=ens1f0=igb"]);
        daemon.file("vfnetd.toml", settings);
        daemon.go_on();
        daemon
    }

    /// As [`start`](Self::start), with virsh to talk to it; `None` where there is none.
    pub(crate) fn with_virsh() -> Option<Self> {
        installed(VIRSH).then(Self::start)
    }

    /// As [`with_virsh`](Self::with_virsh), with network hw started.
    pub(crate) fn with_pool() -> Option<Self> {
        let daemon = Self::with_virsh()?;
        daemon.define_network(HW);
        daemon.says(&["net-start", "hw"]);
        Some(daemon)
    }

    /// Not started yet.
    pub(crate) fn stopped(machine: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory");
        // Nothing in it, and nothing of this machine's own configuration.
        std::fs::write(dir.path().join("vfnetd.toml"), "").expect("a file");
        let machine = machine.iter().map(|&option| option.to_owned()).collect();
        Self { dir, machine, child: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file for a command to read.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/libvirt-sock")
    }

    pub(crate) fn read_only_socket(&self) -> PathBuf {
        self.path("run/libvirt-sock-ro")
    }

    /// The command that starts a daemon here.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfnetd-sim"));
        self.arguments(&mut command);
        command
    }

    /// Puts the daemon's options on a command.
    pub(crate) fn arguments(&self, command: &mut Command) {
        command.args(&self.machine).stdin(Stdio::null());
        for (option, name) in [
            ("--host", "machine"),
            ("--state-dir", "state"),
            ("--run-dir", "run"),
            ("--log-dir", "log"),
            ("--config", "vfnetd.toml"),
        ] {
            command.arg(option).arg(self.path(name));
        }
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) fn go_on(&mut self) {
        let command = self.command();
        let socket = self.socket();
        self.begin(command, |_| socket.clone());
    }

    /// Starts the daemon by a command, and waits until it answers where `socket` says.
    pub(crate) fn begin(&mut self, mut command: Command, socket: impl Fn(u32) -> PathBuf) {
        let log = File::options().create(true).append(true).open(self.path("vfnetd.log"));
        let log = log.expect("a log");
        let mut child =
            command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("started");
        let socket = socket(child.id());
        until("the daemon listens", || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "the daemon ended with {ended:?}: {}", self.log());
            Client::is_answered(&socket)
        });
        self.child = Some(child);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// Waits for the daemon's end, which has been brought about.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.take().expect("running").wait().expect("ended")
    }

    /// SIGKILL, and a new daemon.
    pub(crate) fn kill_and_go_on(&mut self) {
        self.kill();
        self.go_on();
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("vfnetd.log")).unwrap_or_default()
    }

    /// Its machine.
    pub(crate) fn host(&self) -> SimHost {
        SimHost::open(&self.path("machine")).expect("the simulated machine")
    }

    pub(crate) fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket().display())
    }

    pub(crate) fn virsh_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(VIRSH);
        command.args(["-q", "-c", &self.uri()]).args(args);
        command.env("LC_ALL", "C").env("HOME", self.dir.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn virsh(&self, args: &[&str]) -> Ran {
        self.virsh_command(args).output().expect("virsh runs").into()
    }

    /// What virsh prints of a command that is granted.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let ran = self.virsh(args);
        assert!(ran.status.success(), "virsh {args:?}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// Why virsh says a command was refused.
    pub(crate) fn refuses(&self, args: &[&str]) -> String {
        let ran = self.virsh(args);
        assert!(!ran.status.success(), "virsh {args:?}: {}", ran.stdout);
        ran.stderr.trim_end().to_owned()
    }

    /// The columns of a table, without spaces that only align them.
    pub(crate) fn rows(&self, args: &[&str]) -> Vec<String> {
        let table = self.says(args);
        let words = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
        table.lines().map(words).filter(|row| !row.is_empty()).collect()
    }

    pub(crate) fn define_network(&self, document: &str) -> String {
        self.says(&["net-define", &self.file("network.xml", document)])
    }

    pub(crate) fn define_guest(&self, document: &str) -> String {
        self.says(&["define", &self.file("guest.xml", document)])
    }

    /// The state and its reason, as virsh says them.
    pub(crate) fn state_of(&self, guest: &str) -> String {
        self.says(&["domstate", guest, "--reason"])
    }

    /// The process of a running guest.
    pub(crate) fn guest_pid(&self, guest: &str) -> Pid {
        let dirs = std::fs::read_dir(self.path("run/guests")).expect("run directories");
        let of_guest = dirs
            .flatten()
            .find(|dir| dir.file_name().to_string_lossy().starts_with(&format!("{guest}-")));
        pid_in(&of_guest.expect("a run directory").path()).expect("a pid")
    }

    /// Whether any guest's process is beyond its launcher.
    pub(crate) fn has_stand_in(&self) -> bool {
        let dir = self.path("machine.qemu").display().to_string();
        processes_of(self.dir.path()).iter().any(|pid| {
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            line.is_ok_and(|line| line.starts_with(dir.as_bytes()))
        })
    }

    /// VFs that are not in the hands of the host.
    pub(crate) fn lent(&self) -> usize {
        let facts = self.host().facts();
        let at_home = |driver: &str| driver == "igbvf" || driver == "generic_vf";
        facts
            .values()
            .filter(|vf| {
                !vf.driver.as_ref().is_some_and(|driver| at_home(driver.as_str()))
                    || vf.driver_override.is_some()
            })
            .count()
    }

    /// Ends all guests with the machine, as a power cut does: what is on its way to become one
    /// included.
    pub(crate) fn end_guests(&self) {
        until("all guests end", || {
            let guests = processes_of(self.dir.path());
            for pid in &guests {
                // It may end at this moment by itself.
                let _ended = kill_process(*pid, Signal::KILL);
            }
            guests.is_empty()
        });
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "a failed test shows the daemon's log")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ended = child.kill().and_then(|()| child.wait());
        }
        self.end_guests();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn pid_in(run_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(run_dir.join("pid")).ok()?;
    Pid::from_raw(text.split_whitespace().next()?.parse().ok()?)
}

/// Launchers and stand-ins of the daemon in this directory, which no other process names in
/// this way.
fn processes_of(dir: &Path) -> Vec<Pid> {
    let dir = dir.display();
    let starts = [format!("{dir}/machine.qemu"), format!("/proc/self/exe\0launch\0{dir}/")];
    let all = std::fs::read_dir("/proc").expect("processes");
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        starts.iter().any(|start| line.starts_with(start.as_bytes()))
    })
    .filter_map(Pid::from_raw)
    .collect()
}
