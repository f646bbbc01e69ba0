//! Whether this machine can lend VFs, told to a person.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use vfnet_model::DriverName;
use vfnet_model::doctor::{Check, Finding, State};
use vfnet_model::drivers::{self, Support, Tested};
use vfnet_model::inventory::{Inventory, Pf, VfioSupport};

use crate::process::{Purpose, command};

/// The oldest QEMU whose options are used.
const QEMU_MIN: u32 = 7;
/// What to do about a driver that nobody has described.
const UNKNOWN_MEND: &str = "tell of it in an issue of the project: the driver's name, ethtool -i of \
                            its interface, and vfnet vf ls before, while and after a guest has a VF";

/// Looks at everything that must be right before a guest gets a VF. `root` is where `/sys`,
/// `/proc` and `/dev` are, `emulator` the QEMU that guests are started with.
pub fn examine(root: &Path, inventory: &Inventory, emulator: &Path) -> Vec<Finding> {
    let mut findings = vec![iommu(root, inventory), vfio(inventory), cards(inventory)];
    findings.extend(inventory.pfs.values().map(|pf| vfs(pf, inventory)));
    let drivers: BTreeSet<_> = inventory.pfs.values().filter_map(|pf| pf.driver.as_ref()).collect();
    findings.extend(drivers.into_iter().map(driver));
    findings.push(kvm(root));
    findings.push(qemu(emulator, version(emulator).as_deref()));
    findings
}

fn finding(check: Check, state: State, says: impl Into<String>, mend: Option<String>) -> Finding {
    Finding { check, state, says: says.into(), mend, details: Vec::new() }
}

fn driver(name: &DriverName) -> Finding {
    let row = drivers::row(Some(name));
    let mut details = row.quirks();
    details.push(row.provenance());
    let (state, known, mend) = match row.tested {
        Tested::Not => (State::Warning, "is unknown to vfnet, and ", Some(UNKNOWN_MEND.to_owned())),
        _ => (State::Ok, "", None),
    };
    let says = format!("{name} {known}{}", row.abilities());
    Finding { details, ..finding(Check::Drivers, state, says, mend) }
}

fn iommu(root: &Path, inventory: &Inventory) -> Finding {
    if inventory.iommu {
        return finding(Check::Iommu, State::Ok, "the IOMMU is on", None);
    }
    let table = |name| root.join("sys/firmware/acpi/tables").join(name).exists();
    let cpu = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let mend = if table("DMAR") {
        "boot the kernel with intel_iommu=on"
    } else if table("IVRS") {
        "boot the kernel with amd_iommu=on"
    } else if cpu.contains("AuthenticAMD") {
        "enable the IOMMU (AMD-Vi) in the firmware's settings"
    } else if cpu.contains("GenuineIntel") {
        "enable VT-d in the firmware's settings, and boot the kernel with intel_iommu=on"
    } else {
        "enable the IOMMU in the firmware's settings"
    };
    finding(Check::Iommu, State::Problem, "no IOMMU is on", Some(mend.to_owned()))
}

fn vfio(inventory: &Inventory) -> Finding {
    match inventory.vfio {
        VfioSupport::Loaded => finding(Check::Vfio, State::Ok, "vfio-pci is loaded", None),
        VfioSupport::Loadable => {
            finding(Check::Vfio, State::Ok, "vfio-pci is loaded when it is needed", None)
        }
        VfioSupport::Missing => finding(
            Check::Vfio,
            State::Problem,
            "the running kernel has no vfio-pci",
            Some("install the kernel's extra modules, or a kernel with CONFIG_VFIO_PCI".to_owned()),
        ),
    }
}

fn cards(inventory: &Inventory) -> Finding {
    if inventory.pfs.is_empty() {
        return finding(
            Check::Cards,
            State::Problem,
            "no card here can make VFs",
            Some("enable SR-IOV in the firmware's settings and on the card".to_owned()),
        );
    }
    let count = inventory.pfs.len();
    let says = format!("{count} SR-IOV {}", if count == 1 { "card" } else { "cards" });
    finding(Check::Cards, State::Ok, says, None)
}

fn vfs(pf: &Pf, inventory: &Inventory) -> Finding {
    let name = pf.netdev.as_ref().map_or_else(
        || pf.address.to_string(),
        |netdev| format!("{} ({})", netdev.name, pf.address),
    );
    let warn = |says: String, mend: String| finding(Check::Vfs, State::Warning, says, Some(mend));
    let Some(driver) = &pf.driver else {
        let (address, made) = (pf.address, pf.num_vfs);
        let says = match made {
            0 => format!("{name} has no driver, and so no VFs, {} at most", pf.total_vfs),
            _ => format!("{name} has no driver, so nothing can be set on the {made} VFs it has"),
        };
        let mend = format!(
            "modprobe the driver that lspci -k -s {address} names; if it does not take the card, \
             dmesg | grep {address} says why"
        );
        return warn(says, mend);
    };
    if pf.num_vfs == 0 {
        let row = drivers::row(Some(driver));
        let most = row.max_vfs.map_or(pf.total_vfs, |most| most.min(pf.total_vfs));
        let mend = if row.makes_vfs == Support::No {
            format!("{driver} takes the number of VFs as a module parameter or from the card")
        } else {
            let dev = pf.netdev.as_ref().map_or("…", |netdev| netdev.name.as_str());
            format!(
                "let a network make them: <vfnet:pf dev='{dev}' vfs='{most}'/>; or: \
                 echo {most} > /sys/bus/pci/devices/{}/sriov_numvfs",
                pf.address
            )
        };
        return warn(format!("{name}, driver {driver}, has no VFs yet, {most} at most"), mend);
    }
    let says = format!("{name}, driver {driver}: {} of {} VFs made", pf.num_vfs, pf.total_vfs);
    match &pf.netdev {
        Some(netdev) if !netdev.up => {
            warn(format!("{says}, but it is down"), format!("ip link set {} up", netdev.name))
        }
        Some(netdev) if !netdev.carrier => {
            warn(format!("{says}, but it has no carrier"), "check cable and switch".to_owned())
        }
        None => warn(
            format!("{says}, but its interface is not in this network namespace"),
            "bring it back: VFs are configured through it".to_owned(),
        ),
        Some(_) => {
            let grouped = inventory.vfs_of(pf.address).iter().all(|vf| vf.iommu_group.is_some());
            if grouped {
                finding(Check::Vfs, State::Ok, says, None)
            } else {
                warn(format!("{says}, not all in an IOMMU group"), "see IOMMU".to_owned())
            }
        }
    }
}

fn kvm(root: &Path) -> Finding {
    match fs::File::options().read(true).write(true).open(root.join("dev/kvm")) {
        Ok(_) => finding(Check::Kvm, State::Ok, "/dev/kvm can be opened", None),
        Err(error) => finding(
            Check::Kvm,
            State::Warning,
            format!(
                "/dev/kvm: {error}; guests of type kvm cannot run, those of type qemu are slow"
            ),
            Some("enable virtualization (VT-x, AMD-V) in the firmware's settings".to_owned()),
        ),
    }
}

fn qemu(emulator: &Path, version: Option<&str>) -> Finding {
    let Some(version) = version else {
        return finding(
            Check::Qemu,
            State::Problem,
            format!("{} cannot be run", emulator.display()),
            Some("install QEMU (Debian: qemu-system-x86)".to_owned()),
        );
    };
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major: u32| major < QEMU_MIN) {
        let mend = format!("install version {QEMU_MIN} or newer");
        return finding(Check::Qemu, State::Warning, format!("QEMU {version} is old"), Some(mend));
    }
    finding(Check::Qemu, State::Ok, format!("QEMU {version}"), None)
}

/// "10.0.2", from "QEMU emulator version 10.0.2 (Debian …)".
fn version(emulator: &Path) -> Option<String> {
    let output = command(emulator, Purpose::System)
        .arg("--version")
        .stdout(Stdio::piped())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().skip_while(|word| *word != "version").nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(findings: &[Finding], check: Check) -> &Finding {
        findings.iter().find(|finding| finding.check == check).unwrap()
    }

    #[test]
    fn an_empty_machine_is_told_what_it_lacks() {
        let root = tempfile::tempdir().unwrap();
        let findings = examine(root.path(), &Inventory::default(), Path::new("/no/such/emulator"));
        for check in [Check::Iommu, Check::Vfio, Check::Cards, Check::Qemu] {
            assert_eq!(find(&findings, check).state, State::Problem, "{check:?}");
            assert!(find(&findings, check).mend.is_some(), "{check:?}");
        }
        assert_eq!(find(&findings, Check::Kvm).state, State::Warning);
    }

    #[test]
    fn the_iommus_remedy_is_the_one_for_this_machine() {
        for (file, says) in [
            ("sys/firmware/acpi/tables/DMAR", "intel_iommu=on"),
            ("sys/firmware/acpi/tables/IVRS", "amd_iommu=on"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
            let mend = iommu(root.path(), &Inventory::default()).mend.unwrap();
            assert!(mend.contains(says), "{mend}");
        }
    }

    fn pf(driver: Option<&str>, num_vfs: u16) -> Pf {
        Pf {
            address: "0000:01:00.0".parse().unwrap(),
            netdev: None,
            driver: driver.map(|name| name.parse().unwrap()),
            id: (0x8086, 0x10c9),
            total_vfs: 64,
            num_vfs,
            autoprobe: true,
            numa_node: None,
            errors: None,
        }
    }

    fn told(pf: Pf, check: Check) -> Finding {
        let pfs = [(pf.address, pf)].into();
        let inventory = Inventory { pfs, ..Inventory::default() };
        let root = tempfile::tempdir().unwrap();
        find(&examine(root.path(), &inventory, Path::new("/no/such/emulator")), check).clone()
    }

    #[test]
    fn of_a_driver_that_nobody_described_is_said_what_is_assumed_and_where_to_tell() {
        let unknown = told(pf(Some("newnic"), 0), Check::Drivers);
        assert_eq!(unknown.state, State::Warning);
        assert!(unknown.says.starts_with("newnic is unknown to vfnet, and may set"), "{unknown:?}");
        assert!(unknown.mend.unwrap().contains("issue of the project"));
        for assumed in [
            "a VF is reset for another MAC, VLAN tag, trust, so not under a guest",
            "nobody has described it: everything is tried, and read back",
        ] {
            assert!(unknown.details.iter().any(|it| it == assumed), "{assumed}");
        }
        let known = told(pf(Some("igb"), 0), Check::Drivers);
        assert_eq!((known.state, known.mend), (State::Ok, None));
        assert!(known.says.starts_with("igb sets MAC"), "{}", known.says);
    }

    #[test]
    fn a_pf_without_a_driver_has_a_line_of_its_own_and_of_its_vfs() {
        let bare = told(pf(None, 0), Check::Vfs);
        assert_eq!(bare.state, State::Warning);
        assert_eq!(bare.says, "0000:01:00.0 has no driver, and so no VFs, 64 at most");
        assert!(bare.mend.unwrap().contains("lspci -k -s 0000:01:00.0"));
        let left = told(pf(None, 3), Check::Vfs);
        let says = "0000:01:00.0 has no driver, so nothing can be set on the 3 VFs it has";
        assert_eq!((left.state, left.says.as_str()), (State::Warning, says));
    }

    #[test]
    fn an_old_emulator_is_a_warning() {
        let of = |version| qemu(Path::new("qemu"), Some(version)).state;
        assert_eq!((of("6.2.0"), of("10.0.2")), (State::Warning, State::Ok));
    }
}
