//! vfnet, to be killed: the lab's own daemon over a bench with a bystander.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Bystander, GUEST, Left, NETWORK, Operation, PORT, lay_out, populate, run};
use crate::daemon::{Daemon, vfnet, virsh};
use crate::host::{Facts, Host, Vf};
use crate::trail;
use crate::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(120);

/// The bench, with or without a daemon at the moment.
#[derive(Debug)]
pub struct Ours {
    daemon: Option<Daemon>,
    bystander: Bystander,
    /// The VFs that are not the bystander's.
    pub vfs: Vec<Vf>,
    /// What they were before anything happened to them.
    pub before: Vec<Facts>,
}

impl Ours {
    /// Lays it out on a cleared host.
    pub fn lay_out(host: &Host) -> Result<Self> {
        let vfs = lay_out(host)?;
        trail::live()?;
        trail::refuse_nothing()?;
        let daemon = Daemon::start_watched()?;
        populate(&|words| virsh(words))?;
        let bystander = Bystander::find(&vfs)?;
        let vfs = bystander.others(&vfs);
        let before = vfs.iter().map(Vf::facts).collect::<Result<_>>()?;
        Ok(Self { daemon: Some(daemon), bystander, vfs, before })
    }

    /// Takes the daemon, to be killed or awaited.
    pub fn take_daemon(&mut self) -> Result<Daemon> {
        self.daemon.take().context("there is no daemon")
    }

    /// Goes on with another daemon.
    pub fn go_on_with(&mut self, daemon: Daemon) {
        self.daemon = Some(daemon);
    }

    /// Makes what an operation begins with.
    pub fn make_ready_for(&self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Start | Operation::PortCreate => Ok(()),
            Operation::Destroy => run(Operation::Start, &|words| virsh(words)),
            Operation::PortDelete => run(Operation::PortCreate, &|words| virsh(words)),
        }
    }

    /// Waits until nothing that was begun since the trail was forgotten is under way.
    pub fn settle(&self) -> Result<()> {
        wait_for("the daemon to end what it began", LIMIT, || {
            trail::under_way(&trail::passed()).is_empty()
        })
        .with_context(|| format!("under way: {:?}", trail::under_way(&trail::passed())))?;
        Ok(())
    }

    /// Starts a daemon after a kill, ends what the last one began, and looks at what is left of
    /// it. Also says what became of the guest or the port.
    pub fn recover(&mut self) -> Result<(Left, &'static str)> {
        if self.daemon.is_none() {
            // What the last one had begun will never end.
            trail::forget()?;
            self.daemon = Some(Daemon::start_watched()?);
        }
        let mut state = String::new();
        wait_for("the guest to run or to be off", LIMIT, || {
            let shown = vfnet(&["--json", "guest", "show", GUEST]).unwrap_or_default();
            let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
            state = shown["state"].as_str().unwrap_or_default().to_owned();
            state == "running" || state == "shut off"
        })
        .with_context(|| format!("the guest is '{state}'"))?;
        let has_port = virsh(&["net-port-list", NETWORK])?.contains(PORT);
        let became = match (&*state, has_port) {
            ("running", _) => "the guest runs",
            (_, true) => "the port is there",
            _ => "as before",
        };
        if state == "running" {
            run(Operation::Destroy, &|words| virsh(words))?;
        }
        if has_port {
            run(Operation::PortDelete, &|words| virsh(words))?;
        }
        // What nobody waits for ends by itself: a VF of a guest that did not come up.
        let mut left = None;
        let ended = wait_for("all to be as before", LIMIT, || {
            let now = self.look();
            let at_rest = now.as_ref().is_ok_and(|now| now.is_nothing() || now.harm.is_some());
            left = Some(now);
            at_rest
        });
        // Said by what is left.
        drop(ended);
        Ok((left.context("nobody has looked")??, became))
    }

    /// What has been done to the bystander, if anything.
    pub fn harm(&self) -> Result<Option<String>> {
        self.bystander.harm()
    }

    /// What is left of anything but the bystander.
    fn look(&self) -> Result<Left> {
        Left::look(&self.vfs, &self.before, &self.bystander, self.claims()?)
    }

    /// Claims that vfnet has on VFs that are not the bystander's; and the bystander's is held.
    fn claims(&self) -> Result<usize> {
        let report: Value = serde_json::from_str(&vfnet(&["--json", "vf", "ls"])?)?;
        let report = report.as_array().context("a report without VFs")?;
        let is_ours = |told: &Value| self.vfs.iter().any(|vf| told["address"] == *vf.address);
        let (ours, others): (Vec<_>, Vec<_>) = report.iter().partition(|told| is_ours(told));
        ensure!(ours.len() == self.vfs.len(), "vfnet knows {} VFs", report.len());
        let held = others.iter().all(|told| told["state"] == "held");
        ensure!(held, "the bystander's VF is not held: {others:?}");
        Ok(ours.iter().filter(|told| told["state"] != "free").count())
    }
}
