//! Making VFs, and another number of them.

use std::time::Duration;

use vfnet_host::Host;
use vfnet_model::{PciAddress, explain};

/// How long a PF's driver may take to make its VFs (i40e: 22 s for 64).
const MAKING: Duration = Duration::from_secs(120);

/// How long the VFs may take until their drivers are done with them (ixgbe: 3 s for 32).
const SETTLING: Duration = Duration::from_secs(30);

/// Has a PF make VFs and waits until they can be used. Fewer than asked for is an error here,
/// though to the kernel it is not; in words.
pub(crate) fn make(host: &dyn Host, pf: PciAddress, count: u16) -> Result<(), String> {
    host.set_num_vfs(pf, count, MAKING).map_err(|fault| {
        format!("PF {pf} cannot make {count} VFs: {}{}", explain(&fault), hint(&fault))
    })?;
    let mut made = 0;
    let mut down = None;
    let settled = host.wait(SETTLING, &mut || {
        let Ok(now) = host.inventory() else { return false };
        let vfs = now.vfs_of(pf);
        made = vfs.len();
        let netdev = now.pfs.get(&pf).and_then(|pf| pf.netdev.as_ref());
        down = netdev.filter(|netdev| !netdev.up).map(|netdev| netdev.name.clone());
        let autoprobe = now.pfs.get(&pf).is_some_and(|pf| pf.autoprobe);
        let ready = vfs.iter().all(|vf| {
            let probed = vf.binding.driver.is_none() || vf.netdev.is_some();
            probed && (vf.binding.driver.is_some() || !autoprobe)
        });
        made == usize::from(count) && ready
    });
    if !settled && made < usize::from(count) {
        // bnxt_en says success and makes none (kernel: bnxt_sriov_configure).
        let raise = down.map(|name| format!(" (it is down; raise it: ip link set {name} up)"));
        let raise = raise.unwrap_or_default();
        return Err(format!("PF {pf} was to make {count} VFs and made {made}{raise}"));
    }
    Ok(())
}

/// [`make`], without the kernel looking for drivers for the VFs. That it may, it does before, and it
/// is to again.
pub(crate) fn make_unprobed(host: &dyn Host, pf: PciAddress, count: u16) -> Result<(), String> {
    host.set_drivers_autoprobe(pf, false).map_err(|fault| {
        format!("the host's drivers cannot be kept from the VFs of PF {pf}: {}", explain(&fault))
    })?;
    let made = make(host, pf, count);
    if let Err(fault) = host.set_drivers_autoprobe(pf, true) {
        // It is on record, and tried again; the VFs are as they should be.
        tracing::warn!("PF {pf}: {}", explain(&fault));
    }
    made
}

/// Has a PF make this number of VFs in the place of those it has, by way of 0, and waits until
/// they can be used; in words why not, and what it has then.
pub(crate) fn set(host: &dyn Host, pf: PciAddress, count: u16) -> Result<(), String> {
    let cannot = |why: String| format!("the number of VFs of PF {pf} is not changed: {why}");
    let now = host.inventory().map_err(|fault| cannot(explain(&fault)))?;
    let vfs = now.vfs_of(pf);
    // The engine has gone by an earlier look, and the kernel does not ask.
    if let Some((vf, used)) = vfs.iter().find_map(|vf| Some((vf.address, vf.uses.first()?))) {
        return Err(cannot(format!("{vf} {used}")));
    }
    if now.pfs.get(&pf).is_some_and(|pf| pf.num_vfs > 0) {
        host.set_num_vfs(pf, 0, MAKING)
            .map_err(|fault| cannot(format!("{}{}", explain(&fault), hint(&fault))))?;
    }
    if count == 0 {
        return Ok(());
    }
    make(host, pf, count).map_err(|why| match host.inventory() {
        Ok(now) => {
            let left = now.pfs.get(&pf).map_or(0, |pf| pf.num_vfs);
            format!("{why}; it has {left} VFs now")
        }
        Err(_) => why,
    })
}

/// What the kernel's error numbers mean here (field research: `sriov_numvfs_store`).
fn hint(fault: &vfnet_host::HostError) -> &'static str {
    let vfnet_host::HostError::File { source, .. } = fault else { return "" };
    match source.kind() {
        std::io::ErrorKind::OutOfMemory => {
            " (no room for the VFs' memory or bus numbers: boot with pci=realloc, or enable \
             SR-IOV and above-4G decoding in the firmware)"
        }
        std::io::ErrorKind::StorageFull => " (the device has no interrupt vectors left for them)",
        std::io::ErrorKind::PermissionDenied => " (more than its driver allows)",
        std::io::ErrorKind::ResourceBusy => " (it has some already: set sriov_numvfs to 0 first)",
        _ => "",
    }
}
