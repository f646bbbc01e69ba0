//! A machine in a file outlives the programs that use it.

use vfnet_host::Host;
use vfnet_host_sim::{Driver, SimHost, StateFileError};
use vfnet_model::vf::{VfIndex, VfSetting};

use crate::{driver, facts, pf, vf};

#[test]
fn a_machine_in_a_file_is_the_same_for_all_who_have_it_open_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    let builder = SimHost::builder().pf("p0", "0000:01:00.0", Driver::Igb).vfs(7);
    let one = builder.build_at(&path).unwrap();
    let other = SimHost::open(&path).unwrap();
    assert_eq!(one.snapshot(), other.snapshot());

    one.set_vf(pf(), VfIndex(0), VfSetting::Trust(true)).unwrap();
    assert!(facts(&other).trust);
    other.pf_down(pf());
    assert!(!one.inventory().unwrap().pfs[&pf()].netdev.as_ref().unwrap().up);

    let last = one.snapshot();
    drop((one, other));
    assert_eq!(SimHost::open(&path).unwrap().snapshot(), last);
}

#[test]
fn a_machine_is_not_built_over_another_nor_opened_from_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    assert!(matches!(SimHost::open(&path), Err(StateFileError::File { .. })));
    SimHost::builder().build_at(&path).unwrap();
    let again = SimHost::builder().build_at(&path);
    assert!(matches!(again, Err(StateFileError::File { doing: "write", .. })));
    std::fs::write(&path, "{}").unwrap();
    assert!(matches!(SimHost::open(&path), Err(StateFileError::Content { .. })));
}

#[test]
fn a_group_opened_by_a_process_is_closed_when_that_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    let builder = SimHost::builder().vfio_loaded().pf("p0", "0000:01:00.0", Driver::Igb).vfs(1);
    let host = builder.build_at(&path).unwrap();
    let second = std::time::Duration::from_secs(1);
    host.set_driver_override(vf(), Some(&driver("vfio-pci"))).unwrap();
    host.unbind(vf(), second).unwrap();
    host.probe(vf(), second).unwrap();
    host.open_vfio_myself(vf(), "qemu").unwrap();
    assert_eq!(facts(&host).uses.len(), 1);

    // As if that process had been another, which is no more: nobody started at tick 1.
    let text = std::fs::read_to_string(&path).unwrap();
    let at = text.find("\"started\":").unwrap() + "\"started\":".len();
    let end = at + text[at..].find('}').unwrap();
    std::fs::write(&path, format!("{}1{}", &text[..at], &text[end..])).unwrap();
    assert_eq!(facts(&SimHost::open(&path).unwrap()).uses, []);
}
