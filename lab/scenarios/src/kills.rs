//! What kills of a daemon are judged by: a guest that runs through all of them, VFs that are
//! nobody's, and the kernel's account of both.

pub mod ours;
pub mod theirs;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::documents::{Guest, network_of_pf};
use crate::host::{Facts, Host, Vf};
use crate::program;
use crate::wait::{wait_for, wait_for_some};

/// The guest that is started and destroyed.
pub const GUEST: &str = "g";
/// The guest that nobody touches.
pub const BYSTANDER: &str = "stays";
/// The network of both.
pub const NETWORK: &str = "hw";
/// The port that is made and deleted.
pub const PORT: &str = "22222222-2222-4222-8222-222222222202";
/// The MAC of the port's owner.
pub const PORT_MAC: &str = "52:54:00:11:22:02";
const GUEST_MAC: &str = "52:54:00:11:22:01";
const BYSTANDER_MAC: &str = "52:54:00:11:22:09";
const VFS: u8 = 3;
const QEMU_LIMIT: Duration = Duration::from_secs(120);

/// What a daemon is killed in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// Of the guest.
    Start,
    /// Of the guest, while it runs.
    Destroy,
    /// For the guest of another daemon.
    PortCreate,
    /// Of that port.
    PortDelete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Start, Self::Destroy, Self::PortCreate, Self::PortDelete];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Destroy => "destroy",
            Self::PortCreate => "port create",
            Self::PortDelete => "port delete",
        }
    }

    /// The same in the words of virsh.
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Start => &["start", GUEST],
            Self::Destroy => &["destroy", GUEST],
            Self::PortCreate => &["net-port-create", NETWORK, "/run/kills-port.xml"],
            Self::PortDelete => &["net-port-delete", NETWORK, PORT],
        }
    }
}

/// The documents, as files; and the PF with its VFs.
pub fn lay_out(host: &Host) -> Result<Vec<Vf>> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(VFS)?;
    fs::write("/run/kills-network.xml", network_of_pf(NETWORK, &pf.netdev))?;
    for (name, mac) in [(GUEST, GUEST_MAC), (BYSTANDER, BYSTANDER_MAC)] {
        let console = format!("/run/kills-{name}.console");
        let document = Guest::idle(name).nic(mac, NETWORK).xml(Path::new(&console))?;
        fs::write(format!("/run/kills-{name}.xml"), document)?;
    }
    let port = format!(
        "<networkport>\n  <uuid>{PORT}</uuid>\n  <owner>\n    <name>far</name>\n    \
         <uuid>33333333-3333-4333-8333-333333333302</uuid>\n  </owner>\n  \
         <mac address='{PORT_MAC}'/>\n</networkport>\n"
    );
    fs::write("/run/kills-port.xml", port)?;
    Ok(vfs)
}

/// Defines network and guests, and starts the bystander.
pub fn populate(virsh: &dyn Fn(&[&str]) -> Result<String>) -> Result<()> {
    virsh(&["net-define", "/run/kills-network.xml"])?;
    virsh(&["net-start", NETWORK])?;
    for name in [GUEST, BYSTANDER] {
        virsh(&["define", &format!("/run/kills-{name}.xml")])?;
    }
    virsh(&["start", BYSTANDER])?;
    Ok(())
}

/// A guest that runs through every kill, and what the kernel says of it.
#[derive(Debug)]
pub struct Bystander {
    pid: String,
    started: String,
    vf: Vf,
    facts: Facts,
}

impl Bystander {
    /// The only guest that runs, with the only VF that is lent.
    pub fn find(vfs: &[Vf]) -> Result<Self> {
        let (pid, _) = wait_for_some("the bystander's process alone", QEMU_LIMIT, || {
            let mut found = guests_running().ok()?;
            found.pop().filter(|_| found.is_empty())
        })?;
        let vf = vfs.iter().find(|vf| vf.driver().as_deref() == Some("vfio-pci"));
        let vf = vf.context("the bystander has no VF")?.clone();
        let facts = vf.facts()?;
        ensure!(vf.admin_mac()? == BYSTANDER_MAC, "the bystander's VF: {facts:?}");
        let started = start_time(&pid).context("the bystander has ended")?;
        Ok(Self { pid, started, vf, facts })
    }

    /// What has been done to it, if anything.
    pub fn harm(&self) -> Result<Option<String>> {
        if start_time(&self.pid).as_ref() != Some(&self.started) {
            return Ok(Some(format!("its process {} has ended", self.pid)));
        }
        let now = self.vf.facts()?;
        Ok((now != self.facts).then(|| format!("its VF was {:?}, is {now:?}", self.facts)))
    }

    /// Its process.
    pub fn pid(&self) -> &str {
        &self.pid
    }

    /// The VFs that are not its.
    pub fn others(&self, vfs: &[Vf]) -> Vec<Vf> {
        vfs.iter().filter(|vf| **vf != self.vf).cloned().collect()
    }
}

/// Process ids of QEMU.
pub fn guests_running() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in Path::new("/proc").read_dir()? {
        let pid = entry?.file_name().to_string_lossy().into_owned();
        let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { continue };
        if program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("qemu-system"))
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// When a process started, in clock ticks since the boot: with its id, its identity.
fn start_time(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1;
    // A zombie has ended, too.
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    fields.nth(18).filter(|_| state != "Z").map(str::to_owned)
}

/// What a killed daemon has left behind, once it runs again and the guest and the port are gone
/// as far as it knows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Left {
    /// VFs that are on vfio-pci, or on no driver.
    pub bound: usize,
    /// Claims or ports.
    pub claims: usize,
    /// VFs that have a MAC of the guest or of the port's owner.
    pub macs: usize,
    /// Processes of the guest.
    pub processes: usize,
    /// VFs of which anything is not as it was before.
    pub changed: Vec<String>,
    /// What was done to the bystander.
    pub harm: Option<String>,
}

impl Left {
    /// Looks at the VFs that nobody has, which were as `before`.
    pub fn look(
        vfs: &[Vf],
        before: &[Facts],
        bystander: &Bystander,
        claims: usize,
    ) -> Result<Self> {
        let mut left = Self { claims, harm: bystander.harm()?, ..Self::default() };
        for (vf, before) in vfs.iter().zip(before) {
            let now = vf.facts()?;
            left.bound += usize::from(now.driver != before.driver);
            let mac = now.at_pf["address"].as_str();
            left.macs += usize::from([Some(GUEST_MAC), Some(PORT_MAC)].contains(&mac));
            if now != *before {
                left.changed.push(format!("{} was {before:?}, is {now:?}", vf.address));
            }
        }
        let strangers = guests_running()?.into_iter().filter(|pid| *pid != bystander.pid);
        left.processes = strangers.count();
        Ok(left)
    }

    /// Nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Runs an operation to its end.
pub fn run(operation: Operation, virsh: &dyn Fn(&[&str]) -> Result<String>) -> Result<()> {
    virsh(operation.words()).with_context(|| operation.name())?;
    Ok(())
}

/// Starts an operation, silently.
pub fn begin(operation: Operation, mut virsh: Command) -> Result<Child> {
    virsh.args(operation.words());
    virsh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    virsh.spawn().context("cannot run virsh")
}

/// virsh that has its connection and waits to be told what to do: how long it takes to start is
/// no part of an operation.
#[derive(Debug)]
pub struct Client {
    child: Child,
    input: ChildStdin,
}

impl Client {
    const WORDS: &str = "/run/kills-client.words";

    /// Starts virsh, and waits until it is connected: it shows what it is told only then.
    pub fn connect(mut virsh: Command) -> Result<Self> {
        virsh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(Self::WORDS)?);
        let mut child = virsh.spawn().context("cannot run virsh")?;
        let mut input = child.stdin.take().context("virsh has no standard input")?;
        let mut output = child.stdout.take().context("virsh has no standard output")?;
        writeln!(input, "echo connected")?;
        let (connected, shows) = mpsc::channel();
        std::thread::spawn(move || {
            let mut shown = Vec::new();
            while !String::from_utf8_lossy(&shown).contains("connected") {
                let mut portion = [0; 256];
                match output.read(&mut portion) {
                    Ok(0) | Err(_) => return Ok(0),
                    Ok(count) => shown.extend(&portion[..count]),
                }
            }
            if connected.send(()).is_err() {
                return Ok(0);
            }
            // What else it says goes nowhere, but has to be taken.
            std::io::copy(&mut output, &mut std::io::sink())
        });
        if shows.recv_timeout(program::LIMIT).is_err() {
            child.kill()?;
            child.wait()?;
            bail!("virsh is not connected: {}", fs::read_to_string(Self::WORDS)?);
        }
        Ok(Self { child, input })
    }

    /// Tells it what to do, and to end then.
    pub fn begin(mut self, operation: Operation) -> Result<Child> {
        writeln!(self.input, "{}", operation.words().join(" "))?;
        Ok(self.child)
    }

    /// What the last client had to complain of.
    pub fn complaints() -> Result<String> {
        Ok(fs::read_to_string(Self::WORDS)?.trim().to_owned())
    }
}

/// Waits until a guest that was destroyed by hand has ended.
pub fn wait_for_the_end_of(pid: &str) -> Result<()> {
    wait_for("a guest to end", QEMU_LIMIT, || start_time(pid).is_none())?;
    Ok(())
}
