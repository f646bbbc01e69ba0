//! The bench itself: that the emulated host is what the other scenarios take it for. Nothing
//! here needs vfnet.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::guest::BareGuest;
use crate::host::{Host, Vf};

const MAC: &str = "02:11:22:33:44:55";

/// Seven VFs, each with a driver, a MAC that its PF knows, and an IOMMU group of its own.
pub(super) fn seven_vfs(host: &Host) -> Result<()> {
    ensure!(host.pfs()?.len() == 2, "PFs: {:?}", host.pfs()?);
    let pf = host.pf(0)?;
    pf.raise()?;
    let vfs = pf.make_vfs(7)?;
    let groups: BTreeSet<String> = vfs.iter().filter_map(Vf::iommu_group).collect();
    ensure!(groups.len() == 7, "IOMMU groups: {groups:?}");
    for vf in &vfs {
        ensure!(vf.driver().as_deref() == Some("igbvf"), "{vf:?} is on {:?}", vf.driver());
        ensure!(vf.admin_mac()? == vf.own_mac()?, "{vf:?} has a MAC that the PF does not know");
    }
    Ok(())
}

/// A guest of bare QEMU reports the MAC that was set at the PF.
pub(super) fn bare_guest(host: &Host) -> Result<()> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let vf = pf.make_vfs(7)?.swap_remove(3);
    vf.set_admin_mac(MAC)?;
    vf.bind("vfio-pci")?;
    let (nic, took) = BareGuest::start(&vf)?.nic()?;
    ensure!(nic.mac == MAC && nic.driver == "igbvf", "the guest sees {nic:?}");
    println!("the guest reported {} after {:.1} s", nic.mac, took.as_secs_f64());
    Ok(())
}

/// First boot: the VFs' own MACs are noted.
pub(super) fn note_own_macs(host: &Host) -> Result<()> {
    host.note("own-macs", &own_macs(host)?)
}

/// Second boot: none of the VFs' own MACs is one of the first boot.
pub(super) fn compare_own_macs(host: &Host) -> Result<()> {
    let before = host.noted("own-macs").context("the disk did not keep the note")?;
    let after = own_macs(host)?;
    ensure!(after.lines().count() == 7, "MACs: {after}");
    let kept = after.lines().filter(|mac| before.contains(mac)).count();
    ensure!(kept == 0, "{kept} VFs have the MAC that they had before boot {}", host.boot());
    Ok(())
}

fn own_macs(host: &Host) -> Result<String> {
    let pf = host.pf(0)?;
    pf.raise()?;
    let mut macs = String::new();
    for vf in pf.make_vfs(7)? {
        macs.push_str(&vf.own_mac()?);
        macs.push('\n');
    }
    Ok(macs)
}
