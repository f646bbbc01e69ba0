//! The simulated kernel behaves as the real one does, as far as is known.

mod binding;
mod devices;
mod drivers;
mod faults;
mod file;
mod hand_over;
mod lend;
mod settings;
mod sriov;
mod uses;
mod world;

use vfnet_host_sim::{Driver, SimHost, VfFacts};
use vfnet_model::{DriverName, MacAddress, PciAddress};

fn pci(text: &str) -> PciAddress {
    text.parse().expect("a PCI address")
}

fn mac(text: &str) -> MacAddress {
    text.parse().expect("a MAC address")
}

fn driver(text: &str) -> DriverName {
    text.parse().expect("a driver name")
}

fn pf() -> PciAddress {
    pci("0000:01:00.0")
}

/// VF 0 of [`pf`].
fn vf() -> PciAddress {
    pci("0000:01:10.0")
}

/// A host with one igb PF and seven VFs, vfio-pci loaded.
fn seven() -> SimHost {
    SimHost::builder().vfio_loaded().pf("ens1f0", "0000:01:00.0", Driver::Igb).vfs(7).build()
}

fn facts(host: &SimHost) -> VfFacts {
    host.facts().remove(&vf()).expect("VF 0 is there")
}
