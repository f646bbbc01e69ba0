//! A simulated machine in one line of a command line.

use std::str::FromStr;

use clap::Args;
use vfnet_host_sim::{Driver, HostBuilder, SimHost, UnknownDriver};
use vfnet_model::{NetdevName, PciAddress};

/// What a machine is made of that does not exist yet.
#[derive(Args, Clone, Debug)]
pub(crate) struct Machine {
    /// A PF: NAME=DRIVER[:VFS][,down][,at=ADDRESS][,total=N][,groups=N][,numa=N][,no-autoprobe]
    ///
    /// DRIVER is a PF's driver (igb, ixgbe, i40e, ice, mlx5_core, bnxt_en, qede, …) or generic;
    /// VFS are there after boot, and are lost at a reboot; `groups` is how many VFs share an
    /// IOMMU group.
    #[arg(long = "make", value_name = "PF")]
    pfs: Vec<PfLine>,
    /// The machine has no IOMMU
    #[arg(long)]
    no_iommu: bool,
    /// The machine's kernel has no vfio-pci
    #[arg(long)]
    no_vfio: bool,
}

/// A PF as [`Machine`] describes it.
#[derive(Clone, Debug)]
struct PfLine {
    name: NetdevName,
    driver: Driver,
    vfs: u16,
    at: Option<PciAddress>,
    down: bool,
    autoprobe: bool,
    total: Option<u16>,
    groups: Option<u16>,
    numa: Option<u16>,
}

impl Machine {
    /// The machine, not booted yet.
    pub(crate) fn builder(&self) -> HostBuilder {
        let mut machine = SimHost::builder();
        if self.no_iommu {
            machine = machine.no_iommu();
        }
        if self.no_vfio {
            machine = machine.no_vfio();
        }
        for (bus, pf) in (1..).zip(&self.pfs) {
            machine = pf.add_to(machine, bus);
        }
        machine
    }
}

impl PfLine {
    fn add_to(&self, machine: HostBuilder, bus: u8) -> HostBuilder {
        let address = self.at.map_or_else(|| format!("0000:{bus:02x}:00.0"), |at| at.to_string());
        let mut pf = machine.pf(self.name.as_str(), &address, self.driver).vfs(self.vfs);
        if self.down {
            pf = pf.down();
        }
        if !self.autoprobe {
            pf = pf.autoprobe_off();
        }
        if let Some(count) = self.total {
            pf = pf.total_vfs(count);
        }
        if let Some(vfs) = self.groups {
            pf = pf.groups_of(vfs);
        }
        if let Some(node) = self.numa {
            pf = pf.numa(node);
        }
        pf.done()
    }
}

impl FromStr for PfLine {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut parts = line.split(',');
        let card = parts.next().unwrap_or_default();
        let (name, card) = card.split_once('=').ok_or("NAME=DRIVER is wanted")?;
        let (driver, vfs) = card.split_once(':').unwrap_or((card, "0"));
        let mut pf = Self {
            name: parsed("a net device's name", name)?,
            driver: driver.parse().map_err(|unknown: UnknownDriver| unknown.to_string())?,
            vfs: parsed("a number of VFs", vfs)?,
            at: None,
            down: false,
            autoprobe: true,
            total: None,
            groups: None,
            numa: None,
        };
        for part in parts {
            match part.split_once('=') {
                None if part == "down" => pf.down = true,
                None if part == "no-autoprobe" => pf.autoprobe = false,
                Some(("at", at)) => pf.at = Some(parsed("a PCI address", at)?),
                Some(("total", count)) => pf.total = Some(parsed("a number of VFs", count)?),
                Some(("groups", count)) => pf.groups = Some(parsed("a number of VFs", count)?),
                Some(("numa", node)) => pf.numa = Some(parsed("a NUMA node", node)?),
                _ => return Err(format!("'{part}' is not known")),
            }
        }
        Ok(pf)
    }
}

fn parsed<T: FromStr>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not {what}"))
}
