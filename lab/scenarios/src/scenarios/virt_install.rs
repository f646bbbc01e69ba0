//! A guest made by virt-install.

use std::fs::{self, File};

use anyhow::{Context as _, Result, ensure};

use super::lending::{LIMIT, console, ensure_as_before, facts_of, mac, network, seven};
use crate::daemon::{Daemon, URI, virsh};
use crate::documents::network_of_pf;
use crate::guest::{BOOT_LIMIT, KERNEL_ARGUMENTS, MACHINE, MEMORY_MIB, images, seen_nics};
use crate::host::Host;
use crate::program;
use crate::wait::wait_for;

const GUEST: &str = "v";
const IMAGES: &str = "/run/images";

/// It finds the image's directory, defines a guest on a network of VFs and starts it; the guest
/// boots and reports the MAC that it was given. At its end all is as it was.
pub(super) fn a_guest_on_a_network(host: &Host) -> Result<()> {
    let (pf, vfs) = seven(host)?;
    let before = facts_of(&vfs)?;
    let _daemon = Daemon::start()?;
    network("hw", &network_of_pf("hw", &pf.netdev))?;
    fs::create_dir_all(IMAGES)?;
    let disk = format!("{IMAGES}/disk.img");
    File::create(&disk)?.set_len(1 << 20)?;
    let (kernel, initrd) = images()?;
    let (kernel, initrd) = (kernel.display(), initrd.display());
    let console = console(GUEST);
    program::run(
        "virt-install",
        &[
            &["--connect", URI, "--name", GUEST, "--virt-type", "qemu", "--osinfo", "generic"][..],
            &["--memory", &MEMORY_MIB.to_string(), "--machine", MACHINE, "--cpu", "mode=maximum"],
            &["--import", "--disk", &format!("path={disk},bus=virtio")],
            &["--boot", &format!("kernel={kernel},initrd={initrd},kernel_args={KERNEL_ARGUMENTS}")],
            &["--network", &format!("network=hw,mac={}", mac(1))],
            &["--serial", &format!("file,path={}", console.display())],
            &["--graphics", "none", "--controller", "usb,model=none", "--memballoon", "none"],
            &["--noautoconsole"],
        ]
        .concat(),
    )?;
    let at_pf = vfs[0].at_pf()?;
    ensure!(at_pf["address"] == mac(1).as_str(), "at the PF: {at_pf}");
    let pools = virsh(&["pool-list", "--autostart", "--name"])?;
    ensure!(pools.trim() == "images", "{pools}");
    let kept = virsh(&["dumpxml", GUEST, "--inactive"])?;
    ensure!(kept.contains(&disk), "{kept}");

    let took = wait_for("the guest to report its NIC", BOOT_LIMIT, || {
        seen_nics(&console).iter().any(|nic| nic.mac == mac(1) && nic.driver == "igbvf")
    });
    let took = took.with_context(|| format!("it reported {:?}", seen_nics(&console)))?;
    println!("the guest reported its NIC after {:.1} s", took.as_secs_f64());
    virsh(&["destroy", GUEST])?;
    wait_for("the VF to be back", LIMIT, || vfs[0].facts().is_ok_and(|now| now == before[0]))?;
    ensure_as_before(&vfs, &before)
}
