//! Stock libvirt, to be killed: the same bench, cleaned by hand where it leaves something.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    BYSTANDER, Bystander, GUEST, Left, NETWORK, Operation, guests_running, lay_out, populate, run,
    wait_for_the_end_of,
};
use crate::host::{Facts, Host, Vf};
use crate::stock::{Serves, StockLibvirt};
use crate::wait::wait_for;

/// How long it may take to come to what it comes to: its own work ends within a second.
const PATIENCE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(120);

/// The bench.
#[derive(Debug)]
pub struct Theirs {
    daemon: Option<StockLibvirt>,
    bystander: Bystander,
    /// The bystander's ports, by their lines in the list.
    its_ports: String,
    vfs: Vec<Vf>,
    before: Vec<Facts>,
}

impl Theirs {
    /// Lays it out on a cleared host; `None` where there is no stock libvirt.
    pub fn lay_out(host: &Host) -> Result<Option<Self>> {
        let vfs = lay_out(host)?;
        let Some(daemon) = StockLibvirt::start(Serves::Guests)? else { return Ok(None) };
        populate(&|words| daemon.virsh(words))?;
        let bystander = Bystander::find(&vfs)?;
        let its_ports = daemon.virsh(&["net-port-list", NETWORK])?;
        let vfs = bystander.others(&vfs);
        let before = facts(&vfs)?;
        Ok(Some(Self { daemon: Some(daemon), bystander, its_ports, vfs, before }))
    }

    /// The daemon that runs.
    pub fn daemon(&self) -> Result<&StockLibvirt> {
        self.daemon.as_ref().context("there is no stock libvirtd")
    }

    fn virsh(&self, words: &[&str]) -> Result<String> {
        self.daemon()?.virsh(words)
    }

    /// Makes what an operation begins with.
    pub fn make_ready_for(&self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Start | Operation::PortCreate => Ok(()),
            Operation::Destroy => run(Operation::Start, &|words| self.virsh(words)),
            Operation::PortDelete => run(Operation::PortCreate, &|words| self.virsh(words)),
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("there is no stock libvirtd")?.kill()
    }

    /// Starts it again, ends what it says it had begun, and looks at what is left.
    pub fn recover(&mut self) -> Result<(Left, String)> {
        if self.daemon.is_none() {
            self.restart()?;
        }
        let state = self.virsh(&["domstate", GUEST])?.trim().to_owned();
        if state != "shut off" {
            // What it refuses is left behind, and counted.
            drop(self.virsh(Operation::Destroy.words()));
        }
        if self.virsh(&["net-port-list", NETWORK])?.contains(super::PORT) {
            drop(self.virsh(Operation::PortDelete.words()));
        }
        let mut left = self.look()?;
        let ended = wait_for("all to be as before", PATIENCE, || match self.look() {
            Ok(now) => {
                left = now;
                left.is_nothing()
            }
            Err(_) => false,
        });
        // Said by what is left.
        drop(ended);
        Ok((left, state))
    }

    fn restart(&mut self) -> Result<()> {
        self.daemon = StockLibvirt::start(Serves::Guests)?;
        // It takes connections before it has its guests.
        wait_for("stock libvirtd to list its guests", LIMIT, || {
            self.virsh(&["domstate", GUEST]).is_ok()
        })?;
        Ok(())
    }

    fn ports(&self) -> Result<Vec<String>> {
        let listed = self.virsh(&["net-port-list", NETWORK])?;
        let words = listed.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(words.filter(|line| !self.its_ports.contains(line)).map(str::to_owned).collect())
    }

    fn look(&self) -> Result<Left> {
        let mut left = Left::look(&self.vfs, &self.before, &self.bystander, self.ports()?.len())?;
        if left.harm.is_none() && self.virsh(&["domstate", BYSTANDER])?.trim() != "running" {
            left.harm = Some("stock libvirtd does not know that it runs".to_owned());
        }
        Ok(left)
    }

    /// Puts right by hand what was left, so that the next round begins clean.
    pub fn clean_by_hand(&mut self) -> Result<()> {
        for pid in guests_running()?.into_iter().filter(|pid| *pid != self.bystander.pid()) {
            let process = pid.parse().ok().and_then(Pid::from_raw).context("no process id")?;
            kill_process(process, Signal::KILL)?;
            wait_for_the_end_of(&pid)?;
        }
        for port in self.ports()? {
            self.virsh(&["net-port-delete", NETWORK, &port])?;
        }
        self.kill()?;
        for vf in &self.vfs {
            let wanted = self.before[0].driver.as_deref().context("no driver to go back to")?;
            if vf.driver().as_deref() != Some(wanted) {
                vf.bind(wanted)?;
            }
            vf.set_admin_mac("00:00:00:00:00:00")?;
            // With no override, as before, and a MAC that its driver has told the PF.
            fs::write(format!("/sys/bus/pci/devices/{}/driver_override", vf.address), "\n")?;
            fs::write("/sys/bus/pci/drivers/igbvf/unbind", &vf.address)?;
            fs::write("/sys/bus/pci/drivers_probe", &vf.address)?;
            wait_for("the VF's netdev", LIMIT, || vf.netdev().is_some())?;
            let kept = format!("/run/libvirt/hostdevmgr/{}_vf{}", vf.pf.netdev, vf.index);
            drop(fs::remove_file(kept));
        }
        self.restart()?;
        self.before = facts(&self.vfs)?;
        Ok(())
    }
}

fn facts(vfs: &[Vf]) -> Result<Vec<Facts>> {
    vfs.iter().map(Vf::facts).collect()
}
