//! What is behind a disk's image, and who opens it: real QEMU, under a uid of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use vfnet_model::guest::{Guest, parse, parse_device};
use vfnet_qemu::LaunchSpec;
use vfnet_qemu::command_line::hotplug;
use vfnet_qemu::launch::Credentials;
use vfnet_qemu::supervisor::StartError;

use crate::bench::{Bench, PATIENCE};
use crate::command_line_taken::{QEMU, installed, planned, qcow2_over, spec};

const UID: u32 = 64_150;

/// A bench with an image over `base.img`, both of them root's; `None` where there is no QEMU.
fn bench() -> Option<Bench> {
    if !installed() || !rustix::process::getuid().is_root() {
        return None;
    }
    let bench = Bench::new();
    let roots = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    let base = bench.path("base.img");
    roots(&base, &[0; 1 << 20]);
    // As a QEMU that somebody has taken over could have left it.
    roots(&bench.path("web1.qcow2"), &qcow2_over(base.as_os_str().as_encoded_bytes()));
    Some(bench)
}

fn named(bench: &Bench) -> String {
    let base = bench.path("base.img");
    format!(
        "<backingStore type='file'><format type='raw'/><source file='{}'/></backingStore>",
        base.display()
    )
}

fn disk(bench: &Bench, backing: &str) -> String {
    format!(
        "<disk type='file'><driver type='qcow2'/><source file='{}'/>{backing}
        <target dev='vda' bus='virtio'/></disk>",
        bench.path("web1.qcow2").display()
    )
}

/// A guest with these devices, and what runs it as another user.
fn guest_with(bench: &Bench, devices: &str) -> (Guest, LaunchSpec) {
    let mut guest = parse(&format!(
        "<domain type='qemu'><name>web1</name><memory unit='MiB'>64</memory>
        <os><type arch='x86_64' machine='q35'>hvm</type></os>
        <devices><emulator>{QEMU}</emulator>{devices}</devices></domain>"
    ))
    .unwrap();
    guest.fill_in(&mut || 1);
    let plan = planned(&guest, bench);
    let guest = plan.guest.clone();
    let credentials = Some(Credentials { uid: UID, gid: UID, groups: vec![] });
    (guest, LaunchSpec { credentials, ..spec(plan, bench) })
}

async fn started(bench: &Bench, backing: &str) -> Result<(), StartError> {
    let (_, spec) = guest_with(bench, &disk(bench, backing));
    let (guest, _events) = bench.try_start(&spec).await?;
    guest.destroy(PATIENCE).await.unwrap();
    Ok(())
}

#[tokio::test]
async fn what_an_image_names_is_opened_with_the_guests_rights_and_what_its_document_names_with_roots()
 {
    let Some(bench) = bench() else { return };
    let refused = started(&bench, "").await.unwrap_err().to_string();
    assert!(refused.contains("base.img': Permission denied"), "{refused}");
    started(&bench, &named(&bench)).await.unwrap();
    started(&bench, "<backingStore/>").await.unwrap();
}

#[tokio::test]
async fn a_disk_comes_to_a_running_guest_with_what_its_document_says_is_behind_it() {
    let Some(bench) = bench() else { return };
    let (document, spec) = guest_with(&bench, "");
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    for (backing, is_taken) in [(String::new(), false), (named(&bench), true)] {
        let mut device = parse_device(&disk(&bench, &backing)).unwrap();
        hotplug::place(&document, &[], false, &|_| false, &mut device).unwrap();
        let fdset = guest.free_fdset().await.unwrap();
        let plugging = hotplug::commands(&document, &device, None, fdset).unwrap();
        let plugged = guest.plug("virtio-disk0", &plugging).await;
        assert_eq!(plugged.is_ok(), is_taken, "{plugged:?}");
    }
    let nodes = guest.execute("query-named-block-nodes", json!({ "flat": true })).await.unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 4, "{nodes}");
    guest.destroy(PATIENCE).await.unwrap();
}
