//! Storage pools over kills, boots and disks that take nothing.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::{ListArgs, StoragePool, StorageVol};
use vfnet_rpc::remote::{
    ConnectListAllStoragePools, StoragePoolAutostartArgs, StoragePoolCreate, StoragePoolCreateXml,
    StoragePoolDefineXml, StoragePoolFlags, StoragePoolGetXmlDesc, StoragePoolIsActive,
    StoragePoolListAllVolumes, StoragePoolListAllVolumesArgs, StoragePoolListVolumes,
    StoragePoolListVolumesArgs, StoragePoolLookupByTargetPath, StoragePoolNumOfVolumes,
    StoragePoolRefresh, StoragePoolSetAutostart, StorageVolFlags, StorageVolGetInfoFlags,
    StorageVolGetXmlDesc, XmlFlags,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::Daemon;
use crate::until;

fn document(name: &str, path: &Path) -> XmlFlags {
    let xml = format!(
        "<pool type='dir'><name>{name}</name><target><path>{}</path></target></pool>",
        path.display()
    );
    XmlFlags { xml: Text::clipped(&xml), flags: 0 }
}

/// Names of the pools, those that are active with a star.
fn pools(client: &mut Client) -> Vec<String> {
    let all = ListArgs { need_results: 1, flags: 0 };
    let all = client.ask::<ConnectListAllStoragePools>(&all).expect("a list").objects;
    let mut names: Vec<_> = all
        .iter()
        .map(|pool| {
            let active = client.ask::<StoragePoolIsActive>(pool).expect("an answer") != 0;
            format!("{}{}", pool.name.as_str(), if active { "*" } else { "" })
        })
        .collect();
    names.sort();
    names
}

/// A daemon with pools `kept` (active, with autostart), `idle` and `passing` (transient).
fn with_pools() -> (Daemon, [StoragePool; 3]) {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let document = |name: &str| {
        std::fs::create_dir(daemon.path(name)).expect("a directory");
        document(name, &daemon.path(name))
    };
    let kept = client.ask::<StoragePoolDefineXml>(&document("kept")).expect("defined");
    let start = StoragePoolFlags { pool: kept.clone(), flags: 0 };
    client.ask::<StoragePoolCreate>(&start).expect("started");
    let autostart = StoragePoolAutostartArgs { pool: kept.clone(), autostart: 1 };
    client.ask::<StoragePoolSetAutostart>(&autostart).expect("set");
    let idle = client.ask::<StoragePoolDefineXml>(&document("idle")).expect("defined");
    let passing = client.ask::<StoragePoolCreateXml>(&document("passing")).expect("created");
    (daemon, [kept, idle, passing])
}

#[test]
fn pools_outlive_the_daemon_as_they_are_and_a_boot_leaves_those_that_are_kept() {
    let (mut daemon, [kept, idle, _]) = with_pools();
    daemon.kill_and_go_on();
    assert_eq!(pools(&mut Client::of(&daemon)), ["idle", "kept*", "passing*"]);
    // Stopped by hand, it stays so until the host boots.
    let mut client = Client::of(&daemon);
    client.ask::<vfnet_rpc::remote::StoragePoolDestroy>(&kept).expect("stopped");
    client.ask::<StoragePoolCreate>(&StoragePoolFlags { pool: idle, flags: 0 }).expect("started");
    daemon.kill_and_go_on();
    assert_eq!(pools(&mut Client::of(&daemon)), ["idle*", "kept", "passing*"]);
    daemon.kill();
    daemon.host().reboot();
    daemon.go_on();
    assert_eq!(pools(&mut Client::of(&daemon)), ["idle", "kept*"]);
}

#[test]
fn a_pool_whose_directory_is_gone_at_boot_is_said_and_not_started() {
    let (mut daemon, _) = with_pools();
    daemon.kill();
    std::fs::remove_dir(daemon.path("kept")).expect("removed");
    daemon.host().reboot();
    daemon.go_on();
    assert_eq!(pools(&mut Client::of(&daemon)), ["idle", "kept"]);
    assert!(daemon.log().contains("storage pool 'kept' is not started"), "{}", daemon.log());
}

#[test]
fn a_pool_that_was_answered_is_there_after_a_kill_at_any_moment() {
    let mut daemon = Daemon::start();
    let mut answered = 0;
    for round in 0..8 {
        let mut client = Client::of(&daemon);
        let defined = AtomicUsize::new(answered);
        let directory = daemon.path("");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    let number = defined.load(Ordering::Relaxed);
                    let name = format!("pool{number:04}");
                    let call = document(&name, &directory.join(&name));
                    if !client.is_told::<StoragePoolDefineXml>(&call) {
                        return;
                    }
                    defined.store(number + 1, Ordering::Relaxed);
                }
            });
            until("some are defined", || defined.load(Ordering::Relaxed) >= answered + 3);
            std::thread::sleep(Duration::from_micros(700 * round));
            daemon.kill();
        });
        answered = defined.into_inner();
        daemon.go_on();
        let found = pools(&mut Client::of(&daemon)).len();
        assert!((answered..=answered + 1).contains(&found), "{found} instead of {answered}");
        answered = found;
    }
}

#[test]
fn damaged_lists_of_pools_are_set_aside_and_said_and_the_daemon_starts() {
    let (mut daemon, _) = with_pools();
    daemon.kill();
    for file in ["state/storage-pools.json", "run/storage-pools.json"] {
        std::fs::write(daemon.path(file), "[{\"name\":\"../x\"").expect("written");
    }
    daemon.go_on();
    assert_eq!(pools(&mut Client::of(&daemon)), [""; 0]);
    assert!(daemon.log().contains("storage-pools.json was damaged"), "{}", daemon.log());
    assert!(daemon.path("state/storage-pools.json.damaged").exists());
}

#[test]
fn a_pool_that_cannot_be_recorded_is_refused_and_not_there() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let images = document("images", &daemon.path(""));
    for dir in ["state", "run"] {
        // Where the new file would be written.
        std::fs::create_dir(daemon.path(dir).join("storage-pools.json.new")).expect("in the way");
    }
    let failed = Ok(ErrorCode::OperationFailed.number());
    assert_eq!(client.number::<StoragePoolDefineXml>(&images), failed);
    assert_eq!(client.number::<StoragePoolCreateXml>(&images), failed);
    assert_eq!(pools(&mut client), [""; 0]);
    std::fs::remove_dir(daemon.path("state/storage-pools.json.new")).expect("out of the way");
    client.ask::<StoragePoolDefineXml>(&images).expect("defined");
}

#[test]
fn a_pool_is_found_by_its_directory_and_lists_its_files_by_every_call() {
    let (daemon, [kept, ..]) = with_pools();
    for name in ["b.img", "a.img"] {
        std::fs::write(daemon.path("kept").join(name), [0; 512]).expect("a file");
    }
    let mut client = Client::of(&daemon);
    let path = format!("{}//", daemon.path("kept").display());
    let by_path = client.ask::<StoragePoolLookupByTargetPath>(&Text::clipped(&path));
    assert_eq!(by_path, Ok(kept.clone()));
    let nowhere = client.number::<StoragePoolLookupByTargetPath>(&Text::clipped("/nowhere"));
    assert_eq!(nowhere, Ok(ErrorCode::NoStoragePool.number()));
    assert_eq!(client.ask::<StoragePoolNumOfVolumes>(&kept), Ok(2));
    let room = |room| StoragePoolListVolumesArgs { pool: kept.clone(), room };
    let names = client.ask::<StoragePoolListVolumes>(&room(1)).expect("a list");
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a.img"]);
    let all = StoragePoolListAllVolumesArgs { pool: kept, need_results: 0, flags: 0 };
    let all = client.ask::<StoragePoolListAllVolumes>(&all).expect("a number");
    assert_eq!((all.objects.len(), all.count), (0, 2));
}

#[test]
fn a_call_about_storage_with_a_flag_that_it_does_not_know_is_refused() {
    const UNKNOWN: u32 = 1 << 27;
    let (daemon, [pool, ..]) = with_pools();
    let mut client = Client::of(&daemon);
    let named = |text: &str| Text::clipped(text);
    let vol = StorageVol { pool: pool.name.clone(), name: named("a"), key: named("a") };
    let vol = StorageVolFlags { vol, flags: UNKNOWN };
    let xml = XmlFlags { flags: UNKNOWN, ..document("more", &daemon.path("")) };
    let list = ListArgs { need_results: 1, flags: UNKNOWN };
    let flags = StoragePoolFlags { pool: pool.clone(), flags: UNKNOWN };
    let volumes = StoragePoolListAllVolumesArgs { pool, need_results: 1, flags: UNKNOWN };
    let refused = [
        client.number::<ConnectListAllStoragePools>(&list),
        client.number::<StoragePoolDefineXml>(&xml),
        client.number::<StoragePoolCreateXml>(&xml),
        client.number::<StoragePoolCreate>(&flags),
        client.number::<StoragePoolRefresh>(&flags),
        client.number::<StoragePoolGetXmlDesc>(&flags),
        client.number::<StoragePoolListAllVolumes>(&volumes),
        client.number::<StorageVolGetInfoFlags>(&vol),
        client.number::<StorageVolGetXmlDesc>(&vol),
    ];
    for (place, number) in refused.into_iter().enumerate() {
        assert_eq!(number, Ok(ErrorCode::InvalidArg.number()), "call {place}");
    }
}
