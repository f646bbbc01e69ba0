//! Which VFs there are (kernel: drivers/pci/iov.c), and what power cuts and removals do.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::{Host, HostError};
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::inventory::VfioSupport;
use vfnet_model::vf::VfIndex;

use crate::{driver, facts, pci, pf, seven, vf};

const TEN_SECONDS: Duration = Duration::from_secs(10);

fn numvfs(host: &SimHost, count: u16) -> Result<(), Errno> {
    host.set_num_vfs(pf(), count, TEN_SECONDS).map_err(|error| match error {
        HostError::File { source, .. } => Errno::from_io_error(&source).expect("a number"),
        other => panic!("{other}"),
    })
}

#[test]
fn vfs_are_where_the_card_puts_them_each_in_a_group_of_its_own() {
    let host = seven();
    let inventory = host.inventory().unwrap();
    let addresses: Vec<_> = inventory.vfs.keys().map(ToString::to_string).collect();
    assert_eq!(addresses[..2], ["0000:01:10.0", "0000:01:10.2"]);
    assert_eq!(addresses[6], "0000:01:11.4");
    let groups: BTreeSet<_> = inventory.vfs.values().map(|vf| vf.iommu_group).collect();
    assert_eq!(groups.len(), 7);
    let names = inventory.vfs.values().filter_map(|vf| vf.netdev.as_ref());
    assert_eq!(names.map(|dev| dev.name.as_str()).next(), Some("ens1f0v0"));
}

#[test]
fn numvfs_changes_only_between_zero_and_what_the_driver_allows() {
    let host = SimHost::builder().pf("p0", "0000:01:00.0", Driver::Igb).build();
    assert_eq!(numvfs(&host, 8), Err(Errno::RANGE));
    numvfs(&host, 3).unwrap();
    numvfs(&host, 3).unwrap();
    assert_eq!(numvfs(&host, 4), Err(Errno::BUSY));
    numvfs(&host, 0).unwrap();
    numvfs(&host, 7).unwrap();

    let more = SimHost::builder().pf("p0", "0000:01:00.0", Driver::Igb).total_vfs(8).build();
    assert_eq!(numvfs(&more, 8), Err(Errno::PERM));
    host.unbind(pf(), TEN_SECONDS).unwrap();
    assert_eq!(host.facts().len(), 0);
    assert_eq!(numvfs(&host, 1), Err(Errno::NOENT));
}

#[test]
fn making_vfs_takes_a_tenth_and_removing_them_a_second() {
    let host = SimHost::builder().pf("p0", "0000:01:00.0", Driver::Igb).build();
    let start = host.clock();
    numvfs(&host, 7).unwrap();
    assert_eq!(host.clock() - start, Duration::from_millis(100));
    numvfs(&host, 0).unwrap();
    assert_eq!(host.clock() - start, Duration::from_millis(1100));
}

#[test]
fn removing_vfs_waits_for_whoever_has_one_open_and_then_happens() {
    let host = seven();
    host.set_driver_override(vf(), Some(&driver("vfio-pci"))).unwrap();
    host.unbind(vf(), TEN_SECONDS).unwrap();
    host.probe(vf(), TEN_SECONDS).unwrap();
    host.open_vfio(vf(), "qemu (pid 1)").unwrap();

    assert!(matches!(host.set_num_vfs(pf(), 0, TEN_SECONDS), Err(HostError::Stuck { .. })));
    assert_eq!(host.facts().len(), 7);
    host.close_vfio(vf());
    assert_eq!(host.facts().len(), 0);
}

#[test]
fn with_autoprobe_off_a_vf_gets_a_driver_only_by_name() {
    let host =
        SimHost::builder().pf("p0", "0000:01:00.0", Driver::Igb).autoprobe_off().vfs(7).build();
    assert_eq!(facts(&host).driver, None);
    assert!(facts(&host).admin_mac.is_zero());
    host.probe(vf(), TEN_SECONDS).unwrap();
    assert_eq!(facts(&host).driver, None);
    host.set_driver_override(vf(), Some(&driver("igbvf"))).unwrap();
    host.probe(vf(), TEN_SECONDS).unwrap();
    assert_eq!(facts(&host).driver, Some(driver("igbvf")));
}

#[test]
fn after_a_power_cut_there_are_no_vfs_and_new_ones_have_other_macs() {
    let host = seven();
    let (boot, macs) = (host.boot_id().unwrap(), netdev_macs(&host));
    host.set_driver_override(vf(), Some(&driver("vfio-pci"))).unwrap();
    let incarnation = facts(&host).incarnation;

    host.reboot();
    assert_ne!(host.boot_id().unwrap(), boot);
    assert_eq!(host.facts().len(), 0);
    host.make_vfs(pf(), 7).unwrap();

    assert!(netdev_macs(&host).is_disjoint(&macs));
    assert_eq!(facts(&host).driver_override, None);
    assert_ne!(facts(&host).incarnation, incarnation);
}

fn netdev_macs(host: &SimHost) -> BTreeSet<String> {
    host.facts().values().filter_map(|vf| vf.netdev_mac).map(|mac| mac.to_string()).collect()
}

#[test]
fn equal_seeds_make_equal_machines() {
    let make = |seed| {
        let host = SimHost::builder().seed(seed);
        host.pf("p0", "0000:01:00.0", Driver::Igb).vfs(7).build().snapshot()
    };
    assert_eq!(make(5), make(5));
    assert_ne!(make(5), make(6));
}

#[test]
fn a_removed_vf_is_gone_for_every_question() {
    let host = seven();
    host.remove_vf(vf());
    assert_eq!(host.vf(vf()).unwrap(), None);
    assert!(matches!(host.unbind(vf(), TEN_SECONDS), Err(HostError::Gone { .. })));
    assert!(matches!(host.vf_attributes(pf(), VfIndex(0)), Err(HostError::Gone { .. })));
}

#[test]
fn two_pfs_of_one_card_have_their_vfs_in_turn() {
    let host = SimHost::builder()
        .pf("p0", "0000:01:00.0", Driver::Igb)
        .vfs(2)
        .pf("p1", "0000:01:00.1", Driver::Igb)
        .numa(1)
        .vfs(2)
        .build();
    let inventory = host.inventory().unwrap();
    let second = inventory.vfs_of(pci("0000:01:00.1"));
    assert_eq!(second[1].address, pci("0000:01:10.3"));
    assert_eq!(second[1].numa_node, Some(1));
}

#[test]
fn a_machine_may_lack_iommu_or_vfio() {
    let without =
        SimHost::builder().no_iommu().pf("p0", "0000:01:00.0", Driver::Igb).vfs(1).build();
    let inventory = without.inventory().unwrap();
    assert!(!inventory.iommu && inventory.groups.is_empty());
    assert_eq!(inventory.vfs[&vf()].iommu_group, None);

    let without = SimHost::builder().no_vfio().pf("p0", "0000:01:00.0", Driver::Igb).vfs(1).build();
    assert_eq!(without.inventory().unwrap().vfio, VfioSupport::Missing);
    let refused = without.load_driver(&driver("vfio-pci"), TEN_SECONDS);
    assert!(matches!(refused, Err(HostError::Process { .. })));
}
