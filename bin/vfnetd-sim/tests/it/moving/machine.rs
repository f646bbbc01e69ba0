//! As much of a machine as stock libvirt's network driver looks at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The PF's netdev, and the PCI addresses of it and its VFs, as the simulated machine has them.
const PF: (&str, &str) = ("ens1f0", "0000:01:00.0");
const VFS: [&str; 3] = ["0000:01:10.0", "0000:01:10.2", "0000:01:10.4"];

/// Makes its sysfs in this directory.
pub(super) fn make(sys: &Path) {
    let (netdev, pf) = PF;
    let bus = sys.join("bus/pci/devices");
    let devices = sys.join("devices/pci0000:00");
    fs::create_dir_all(&bus).expect("a directory");
    fs::create_dir_all(devices.join(pf).join("net").join(netdev)).expect("a directory");
    fs::create_dir_all(sys.join("class/net")).expect("a directory");
    let link = |to: String, from: PathBuf| symlink(to, from).expect("a link");
    let on_bus = |device: &str| {
        link(format!("../../../devices/pci0000:00/{device}"), bus.join(device));
    };
    on_bus(pf);
    link(format!("../../devices/pci0000:00/{pf}/net/{netdev}"), sys.join("class/net").join(netdev));
    link("../..".to_owned(), devices.join(pf).join("net").join(netdev).join("device"));
    for (index, vf) in VFS.into_iter().enumerate() {
        fs::create_dir(devices.join(vf)).expect("a directory");
        on_bus(vf);
        link(format!("../{pf}"), devices.join(vf).join("physfn"));
        link(format!("../{vf}"), devices.join(pf).join(format!("virtfn{index}")));
    }
}
