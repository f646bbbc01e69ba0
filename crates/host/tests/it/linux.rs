//! What `LinuxHost` makes of a machine's files.

use std::fs;
use std::time::Duration;

use vfnet_host::Host;
use vfnet_model::inventory::{HostUse, VfioSupport};
use vfnet_model::vf::VfIndex;
use vfnet_model::{DriverName, NetdevName, PciAddress};

use crate::tree::{PF, Tree, device, vf};

fn name(text: &str) -> NetdevName {
    text.parse().unwrap()
}

fn driver(text: &str) -> DriverName {
    text.parse().unwrap()
}

fn pf() -> PciAddress {
    PF.parse().unwrap()
}

#[test]
fn pfs_and_vfs_are_found_with_their_numbers() {
    for count in [3, 7] {
        let tree = Tree::with_vfs(count);
        let inventory = tree.host().inventory().unwrap();
        let pf = &inventory.pfs[&pf()];
        assert_eq!((pf.total_vfs, pf.num_vfs, pf.autoprobe), (7, count, true));
        assert_eq!((pf.id, pf.driver.clone()), ((0x8086, 0x10c9), Some(driver("igb"))));
        let netdev = pf.netdev.as_ref().unwrap();
        assert_eq!((netdev.name.as_str(), netdev.up, netdev.mtu), ("ens1", true, 1500));
        let vfs = inventory.vfs_of(pf.address);
        let numbers: Vec<u16> = vfs.iter().map(|vf| vf.index.0).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        for vf in vfs {
            assert_eq!(vf.iommu_group, Some(20 + u32::from(vf.index.0)));
            assert!(vf.attributes.is_some() && vf.uses.is_empty() && vf.numa_node.is_none());
            assert_eq!(vf.binding.driver_override, None);
        }
        assert!(inventory.iommu);
    }
}

#[test]
fn a_pfs_uncorrected_errors_are_added_up_and_what_makes_no_sense_is_none() {
    let tree = Tree::with_vfs(1);
    let errors = || tree.host().inventory().unwrap().pfs[&pf()].errors;
    assert_eq!(errors(), None, "the device does not count");
    let counts = |sum: &str, of: &str| format!("Undefined 0\nDLP 2\nTLP 0\nTOTAL_ERR_{of} {sum}\n");
    tree.file(&device(PF, "aer_dev_fatal"), counts("2", "FATAL"));
    tree.file(&device(PF, "aer_dev_nonfatal"), counts("40", "NONFATAL"));
    assert_eq!(errors(), Some(42));
    for (fatal, nonfatal) in [("-1", "0"), ("2", "x"), ("", "")] {
        tree.file(&device(PF, "aer_dev_fatal"), counts(fatal, "FATAL"));
        tree.file(&device(PF, "aer_dev_nonfatal"), counts(nonfatal, "NONFATAL"));
        assert_eq!(errors(), None, "{fatal:?} {nonfatal:?}");
    }
    tree.file(&device(PF, "aer_dev_fatal"), b"\xff\xfe");
    assert_eq!(errors(), None);
}

#[test]
fn a_links_speed_is_read_where_the_driver_knows_it() {
    let tree = Tree::with_vfs(1);
    let speed = || {
        let pf = tree.host().inventory().unwrap().pfs[&pf()].clone();
        pf.netdev.expect("its interface").speed
    };
    assert_eq!(speed(), None, "the driver has none");
    let file = device(PF, "net/ens1/speed");
    // -1 is SPEED_UNKNOWN, which is 4294967295 where it is printed without its sign.
    for (text, known) in [
        ("25000\n", Some(25_000)),
        ("-1\n", None),
        ("4294967295\n", None),
        ("4294968296\n", None),
        ("fast\n", None),
        ("", None),
    ] {
        tree.file(&file, text);
        assert_eq!(speed(), known, "{text:?}");
    }
    // Without a link, reading it is an error.
    fs::remove_file(tree.path(&file)).unwrap();
    fs::create_dir(tree.path(&file)).unwrap();
    assert_eq!(speed(), None, "no link");
}

#[test]
fn one_vf_reads_as_it_does_among_all() {
    let tree = Tree::with_vfs(3);
    tree.bind(&vf(1).to_string(), "igbvf");
    tree.netdev(&vf(1).to_string(), "ens1v1", 7);
    let host = tree.host();
    let inventory = host.inventory().unwrap();
    for index in 0..3 {
        assert_eq!(host.vf(vf(index)).unwrap().as_ref(), inventory.vfs.get(&vf(index)));
    }
    assert_eq!(host.pf(pf()).unwrap().as_ref(), inventory.pfs.get(&pf()));
    assert_eq!(host.vf(pf()).unwrap(), None);
    assert_eq!(host.vf("0000:09:09.0".parse().unwrap()).unwrap(), None);
}

#[test]
fn a_driver_override_is_read() {
    let tree = Tree::with_vfs(1);
    tree.file(&device("0000:01:10.0", "driver_override"), "vfio-pci\n");
    let seen = tree.host().vf(vf(0)).unwrap().unwrap();
    assert_eq!(seen.binding.driver_override, Some(driver("vfio-pci")));
}

#[test]
fn no_locked_file_of_a_stuck_device_is_read() {
    let tree = Tree::with_vfs(1);
    tree.file(&device("0000:01:10.0", "driver_override"), "vfio-pci\n");
    *tree.writer.unfinished.lock().unwrap() = vec!["/sys/x/unbind 0000:01:10.0".to_owned()];
    let seen = tree.host().vf(vf(0)).unwrap().unwrap();
    assert_eq!(seen.binding.driver_override, None);
    assert_eq!(seen.uses, [HostUse::Locked], "it says that it was not read");
}

#[test]
fn a_vf_whose_lock_somebody_holds_is_in_use_and_the_others_are_read() {
    let tree = Tree::with_vfs(2);
    tree.file(&device("0000:01:10.1", "driver_override"), "vfio-pci\n");
    *tree.writer.locked.lock().unwrap() = vec!["0000:01:10.0"];
    let vfs = tree.host().inventory().unwrap().vfs;
    assert_eq!(vfs[&vf(0)].uses, [HostUse::Locked]);
    assert!(!vfs[&vf(1)].uses.contains(&HostUse::Locked));
    assert_eq!(vfs[&vf(1)].binding.driver_override, Some(driver("vfio-pci")));
}

#[test]
fn a_vf_whose_pf_is_being_told_another_number_of_vfs_is_in_use() {
    let tree = Tree::with_vfs(2);
    let write = tree.path(&device(PF, "sriov_numvfs"));
    *tree.writer.unfinished.lock().unwrap() = vec![format!("{} 0", write.display())];
    for vf in tree.host().inventory().unwrap().vfs.values() {
        assert!(vf.uses.contains(&HostUse::Changing), "{vf:?}");
    }
}

#[test]
fn a_vf_that_whoever_removes_them_all_has_not_come_to_yet_is_in_use() {
    let tree = Tree::with_vfs(2);
    // A guest has the first one open, so that the kernel waits with its link gone.
    fs::remove_file(tree.path(&device(PF, "virtfn0"))).unwrap();
    let vfs = tree.host().inventory().unwrap().vfs;
    assert_eq!(vfs.keys().collect::<Vec<_>>(), [&vf(1)]);
    assert!(vfs[&vf(1)].uses.contains(&HostUse::Changing), "{vfs:?}");
    assert_eq!(tree.host().vf(vf(0)).unwrap(), None);
}

#[test]
fn a_host_that_hides_what_processes_have_open_says_so() {
    let tree = Tree::with_vfs(1);
    assert!(!tree.host().sees_open_files());
    fs::create_dir_all(tree.path("proc/1/fd")).unwrap();
    assert!(tree.host().sees_open_files());
}

#[test]
fn a_group_with_several_members_shows_them_all() {
    let tree = Tree::with_vfs(2);
    tree.group("0000:01:10.1", 20);
    tree.group(PF, 20);
    tree.file(&device(PF, "class"), "0x060400\n");
    tree.bind("0000:01:10.1", "vfio-pci");
    let groups = tree.host().inventory().unwrap().groups;
    let members = &groups[&20];
    let of = |address: &str| members.iter().find(|m| m.address.to_string() == address).unwrap();
    assert_eq!(members.len(), 3);
    assert!(of(PF).bridge && !of(PF).on_vfio);
    assert!(of("0000:01:10.1").on_vfio && !of("0000:01:10.1").bridge);
    assert_eq!(of("0000:01:10.0").driver, None);
}

#[test]
fn a_renamed_netdev_and_its_other_names_are_found() {
    let tree = Tree::with_vfs(1);
    tree.links.pf(|link| link.link.altnames = vec![name("enp1s0f0")]);
    let old = tree.path(&device(PF, "net/ens1"));
    fs::rename(&old, old.with_file_name("uplink")).unwrap();
    let inventory = tree.host().inventory().unwrap();
    assert_eq!(inventory.pf_by_netdev(&name("uplink")).unwrap().address, pf());
    assert_eq!(inventory.pf_by_netdev(&name("enp1s0f0")).unwrap().address, pf());
    assert!(inventory.pf_by_netdev(&name("ens1")).is_none());
}

#[test]
fn a_vf_whose_netdev_goes_away_while_it_is_read_is_still_there() {
    let tree = Tree::with_vfs(2);
    tree.bind("0000:01:10.0", "igbvf");
    tree.netdev("0000:01:10.0", "v0", 10);
    // What is left of it for a moment: a name and a number.
    for file in ["address", "addr_assign_type", "flags"] {
        fs::remove_file(tree.path(&device("0000:01:10.0", &format!("net/v0/{file}")))).unwrap();
    }
    let inventory = tree.host().inventory().unwrap();
    let seen = inventory.vfs.get(&vf(0)).expect("a VF that is there");
    assert_eq!(seen.netdev, None);
    assert_eq!(seen.uses, [HostUse::NoNetdev(driver("igbvf"))]);
    assert!(inventory.vfs.contains_key(&vf(1)));
}

#[test]
fn every_use_by_the_host_is_seen() {
    let tree = Tree::with_vfs(5);
    for (index, ifindex) in [(0, 10), (1, 11), (2, 12)] {
        let address = vf(index).to_string();
        tree.bind(&address, "igbvf");
        tree.netdev(&address, &format!("v{index}"), ifindex);
    }
    tree.links
        .with(10, |link| {
            link.addresses.push("192.0.2.7/24".to_owned());
            link.routes.push("0.0.0.0/0 via 192.0.2.1".to_owned());
        })
        .unwrap();
    tree.link(&device("0000:01:10.1", "net/v1/master"), "../../br0");
    tree.link(&device("0000:01:10.1", "net/v1/upper_br0"), "../../br0");
    tree.link(&device("0000:01:10.1", "net/v1/upper_macvtap0"), "../../macvtap0");
    tree.bind("0000:01:10.3", "igbvf");
    tree.bind("0000:01:10.4", "vfio-pci");
    tree.opener(77, "qemu-system-x86", "/dev/vfio/24");

    let vfs = tree.host().inventory().unwrap().vfs;
    let uses = |index| vfs[&vf(index)].uses.clone();
    assert_eq!(
        uses(0),
        [
            HostUse::Address(name("v0"), "192.0.2.7/24".to_owned()),
            HostUse::Route(name("v0"), "0.0.0.0/0 via 192.0.2.1".to_owned()),
        ]
    );
    assert_eq!(
        uses(1),
        [HostUse::Upper(name("v1"), name("macvtap0")), HostUse::Master(name("v1"), name("br0"))]
    );
    assert_eq!(uses(2), []);
    assert_eq!(uses(3), [HostUse::NoNetdev(driver("igbvf"))]);
    assert_eq!(uses(4), [HostUse::VfioOpen("qemu-system-x86 (pid 77)".to_owned())]);
}

#[test]
fn an_rdma_user_is_seen() {
    let tree = Tree::with_vfs(1);
    tree.bind("0000:01:10.0", "mlx5_core");
    tree.netdev("0000:01:10.0", "v0", 10);
    tree.file(&device("0000:01:10.0", "infiniband/mlx5_2/x"), "");
    tree.file(&device("0000:01:10.0", "infiniband_verbs/uverbs2/x"), "");
    assert_eq!(tree.host().vf(vf(0)).unwrap().unwrap().uses, []);
    tree.opener(8, "ib_write_bw", "/dev/infiniband/uverbs2");
    assert_eq!(
        tree.host().vf(vf(0)).unwrap().unwrap().uses,
        [HostUse::Rdma("ib_write_bw (pid 8)".to_owned())]
    );
}

#[test]
fn the_holder_of_a_group_or_of_its_devices_is_named() {
    let tree = Tree::with_vfs(2);
    assert_eq!(tree.host().vfio_group_holder(20).unwrap(), None);
    tree.opener(9, "crosvm", "/dev/vfio/20");
    assert_eq!(tree.host().vfio_group_holder(20).unwrap().unwrap(), "crosvm (pid 9)");
    tree.file(&device("0000:01:10.1", "vfio-dev/vfio3/x"), "");
    tree.opener(10, "ch", "/dev/vfio/devices/vfio3");
    assert_eq!(tree.host().vfio_group_holder(21).unwrap().unwrap(), "ch (pid 10)");
}

#[test]
fn a_vf_that_makes_no_sense_does_not_hide_the_others() {
    let weird: [(&str, Vec<u8>); 6] = [
        ("vendor", b"garbage".to_vec()),
        ("vendor", vec![b'7'; 100_000]),
        ("device", b"0x123456789abcdef".to_vec()),
        ("numa_node", b"\xff\xfe".to_vec()),
        ("numa_node", b"99999999999999".to_vec()),
        ("driver_override", b"../../etc".to_vec()),
    ];
    for (file, text) in weird {
        let tree = Tree::with_vfs(3);
        tree.file(&device("0000:01:10.1", file), &text);
        let inventory = tree.host().inventory().unwrap();
        assert_eq!(inventory.vfs.len(), 2, "{file} {:?}", &text[..text.len().min(20)]);
        tree.host().vf(vf(1)).unwrap_err();
    }
}

#[test]
fn files_that_are_missing_are_an_error_or_nothing_and_no_panic() {
    for file in ["numa_node", "driver_override", "class"] {
        let tree = Tree::with_vfs(1);
        fs::remove_file(tree.path(&device("0000:01:10.0", file))).unwrap();
        assert!(tree.host().vf(vf(0)).unwrap().is_some(), "{file}");
    }
    let tree = Tree::with_vfs(1);
    fs::remove_file(tree.path(&device("0000:01:10.0", "vendor"))).unwrap();
    tree.host().vf(vf(0)).unwrap_err();
    fs::remove_dir_all(tree.path("sys")).unwrap();
    assert_eq!(tree.host().inventory().unwrap().pfs.len(), 0);
}

#[test]
fn a_vf_made_anew_is_another_one() {
    let tree = Tree::with_vfs(1);
    let before = tree.host().vf(vf(0)).unwrap().unwrap().incarnation;
    let dir = tree.path("sys/bus/pci/devices/0000:01:10.0");
    fs::rename(&dir, dir.with_file_name("old")).unwrap();
    let again = Tree::with_vfs(1);
    fs::create_dir(&dir).unwrap();
    for file in ["vendor", "device", "numa_node", "class"] {
        let path = device("0000:01:10.0", file);
        fs::copy(again.path(&path), tree.path(&path)).unwrap();
    }
    tree.link(&device("0000:01:10.0", "physfn"), &format!("../{PF}"));
    assert_ne!(tree.host().vf(vf(0)).unwrap().unwrap().incarnation, before);
}

#[test]
fn a_row_that_the_kernels_reply_left_out_is_unknown() {
    let tree = Tree::with_vfs(2);
    tree.links.pf(|link| link.link.vfs.remove(&VfIndex(1)));
    let vfs = tree.host().inventory().unwrap().vfs;
    assert!(vfs[&vf(0)].attributes.is_some() && vfs[&vf(1)].attributes.is_none());
    tree.host().vf_attributes(pf(), VfIndex(1)).unwrap_err();
}

#[test]
fn drivers_are_bound_by_the_files_meant_for_it() {
    let tree = Tree::with_vfs(1);
    let limit = Duration::from_secs(1);
    let host = tree.host();
    host.unbind(vf(0), limit).unwrap();
    tree.bind("0000:01:10.0", "igbvf");
    host.set_driver_override(vf(0), Some(&driver("vfio-pci"))).unwrap();
    host.unbind(vf(0), limit).unwrap();
    host.probe(vf(0), limit).unwrap();
    host.set_driver_override(vf(0), None).unwrap();
    host.set_drivers_autoprobe(pf(), false).unwrap();
    host.set_num_vfs(pf(), 3, limit).unwrap();
    host.set_drivers_autoprobe(pf(), true).unwrap();
    let device = "/sys/bus/pci/devices/0000:01:10.0";
    assert_eq!(
        *tree.writer.written.lock().unwrap(),
        [
            format!("{device}/driver_override vfio-pci"),
            format!("{device}/driver/unbind 0000:01:10.0"),
            "/sys/bus/pci/drivers_probe 0000:01:10.0".to_owned(),
            format!("{device}/driver_override \n"),
            format!("/sys/bus/pci/devices/{PF}/sriov_drivers_autoprobe 0"),
            format!("/sys/bus/pci/devices/{PF}/sriov_numvfs 3"),
            format!("/sys/bus/pci/devices/{PF}/sriov_drivers_autoprobe 1"),
        ]
    );
}

#[test]
fn a_probe_that_finds_no_driver_is_no_error_and_others_are() {
    let tree = Tree::with_vfs(1);
    *tree.writer.errno.lock().unwrap() = Some(22);
    tree.host().probe(vf(0), Duration::from_secs(1)).unwrap();
    *tree.writer.errno.lock().unwrap() = Some(16);
    assert!(tree.host().probe(vf(0), Duration::from_secs(1)).is_err());
}

#[test]
fn the_module_is_loaded_when_its_driver_is_missing() {
    let tree = Tree::with_vfs(1);
    let host = tree.host();
    let (vfio, limit) = (driver("vfio-pci"), Duration::from_secs(1));
    assert!(host.load_driver(&vfio, limit).is_err(), "it is not there after modprobe either");
    assert_eq!(*tree.writer.written.lock().unwrap(), ["modprobe vfio-pci"]);
    tree.file("sys/bus/pci/drivers/vfio-pci/bind", "");
    host.load_driver(&vfio, limit).unwrap();
    assert_eq!(tree.writer.written.lock().unwrap().len(), 1);
}

#[test]
fn the_running_kernels_modules_decide_over_vfio() {
    let tree = Tree::with_vfs(1);
    let vfio = |tree: &Tree| tree.host().inventory().unwrap().vfio;
    assert_eq!(vfio(&tree), VfioSupport::Missing);
    tree.file(
        "lib/modules/6.1.0/modules.dep",
        "kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/vfio.ko\n",
    );
    assert_eq!(vfio(&tree), VfioSupport::Loadable);
    tree.file("sys/bus/pci/drivers/vfio-pci/bind", "");
    assert_eq!(vfio(&tree), VfioSupport::Loaded);

    assert_eq!(tree.host().best_vfio_driver(vf(0)).unwrap(), driver("vfio-pci"));
    tree.file(
        "lib/modules/6.1.0/modules.alias",
        "alias vfio_pci:v00008086d000010CAsv*sd*bc*sc*i* igb_vfio_pci\n",
    );
    assert_eq!(tree.host().best_vfio_driver(vf(0)).unwrap(), driver("igb_vfio_pci"));
    assert!(tree.host().is_vfio_driver(&driver("igb_vfio_pci")));
    assert!(!tree.host().is_vfio_driver(&driver("igbvf")));
}

#[test]
fn boot_id_and_group_node_are_found() {
    let tree = Tree::with_vfs(1);
    assert!(tree.host().boot_id().unwrap().as_str().starts_with("6f5e"));
    assert!(!tree.host().vfio_group_ready(20));
    tree.file("dev/vfio/20", "");
    assert!(tree.host().vfio_group_ready(20));
}

#[test]
fn waiting_ends_when_it_is_so_or_when_the_limit_has_passed() {
    let host = Tree::with_vfs(0).host();
    let mut looks = 0;
    assert!(host.wait(Duration::from_secs(20), &mut || {
        looks += 1;
        looks == 3
    }));
    assert!(!host.wait(Duration::from_millis(1), &mut || false));
}
