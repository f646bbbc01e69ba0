//! The same with QEMU itself, where it is installed: a paused guest without disk or kernel.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use vfnet_model::guest::CpuSet;
use vfnet_qemu::emulator::{EmulatorError, probe};
use vfnet_qemu::jail::Jail;
use vfnet_qemu::launch::{Access, Credentials, LaunchSpec, OpenFile};
use vfnet_qemu::{EndKind, GuestEvent, RunState, adopt};

use crate::adoption::orphan;
use crate::bench::{Bench, PATIENCE, end, launcher, next, processes};

#[expect(clippy::print_stdout, reason = "what was skipped is told")]
fn qemu() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/bin/qemu-system-x86_64");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not installed", path.display());
    None
}

fn spec(bench: &Bench, program: PathBuf) -> LaunchSpec {
    let mut spec = LaunchSpec { program, ..bench.spec("") };
    let append = spec.args.iter().position(|arg| arg == "-append").unwrap();
    spec.args.drain(append..append + 2);
    let machine =
        ["-nodefaults", "-no-user-config", "-display", "none", "-m", "64", "-M", "q35,accel=tcg"];
    spec.args.extend(machine.map(str::to_owned));
    let sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
    spec.args.extend(["-sandbox", sandbox].map(str::to_owned));
    if rustix::process::getuid().is_root() {
        spec.credentials = Some(Credentials { uid: 64_130, gid: 64_130, groups: vec![] });
    }
    spec
}

#[tokio::test]
async fn a_paused_guest_of_qemus_is_started_resumed_and_destroyed() {
    let Some(program) = qemu() else { return };
    let bench = Bench::new();
    let (guest, mut events) = bench.try_start(&spec(&bench, program)).await.unwrap();
    let started = next(&mut events).await;
    assert!(
        matches!(started, GuestEvent::Started { state: Some(RunState::Prelaunch), .. }),
        "{started:?}"
    );
    assert_eq!(guest.chardevs().await.unwrap()[0].label, "charmonitor");
    guest.resume().await.unwrap();
    assert_eq!(next(&mut events).await, GuestEvent::Resumed);
    guest.pause().await.unwrap();
    assert_eq!(next(&mut events).await, GuestEvent::Paused);
    guest.destroy(PATIENCE).await.unwrap();
    let ended = end(&mut events).await;
    assert_eq!(ended.kind, EndKind::Terminated);
    assert!(ended.said.contains("terminating on signal 15"), "{ended:?}");
}

#[tokio::test]
async fn qemu_itself_runs_in_a_jail_and_opens_no_file_that_it_was_not_given() {
    let Some(program) = qemu() else { return };
    let benches = [Bench::new(), Bench::new()];
    let mut guests = Vec::new();
    for (bench, uid) in benches.iter().zip(64_131..) {
        let mut spec = spec(bench, program.clone());
        let Some(credentials) = &mut spec.credentials else { return };
        (credentials.uid, credentials.gid) = (uid, uid);
        spec.jail = Jail::Namespace;
        let disk = bench.path("disk.img");
        std::fs::write(&disk, [0; 512]).unwrap();
        std::fs::set_permissions(&disk, Permissions::from_mode(0o600)).unwrap();
        let file = OpenFile { path: disk, access: Access::ReadWrite, template: None, fd: 120 };
        spec.files = vec![file];
        spec.args.extend(["-add-fd", "fd=120,set=1"].map(str::to_owned));
        guests.push(bench.try_start(&spec).await.unwrap());
    }
    let guest = &guests[0].0;
    let open = async |path: &Path| {
        let file = json!({ "driver": "file", "filename": path, "node-name": "its" });
        let opened = guest.execute("blockdev-add", file).await.map(drop);
        if opened.is_ok() {
            guest.execute("blockdev-del", json!({ "node-name": "its" })).await.unwrap();
        }
        opened.map_err(|fault| vfnet_model::explain(&fault))
    };
    open(Path::new("/dev/fdset/1")).await.unwrap();
    let other = &benches[1];
    for path in [other.path("disk.img"), other.path("web1.log"), benches[0].path("disk.img")] {
        let refused = open(&path).await.unwrap_err();
        assert!(refused.contains("Permission denied"), "{}: {refused}", path.display());
    }
    let pty = json!({ "id": "c1", "backend": { "type": "pty", "data": {} } });
    let pty = guest.execute("chardev-add", pty).await.unwrap();
    let pty = std::fs::metadata(pty["pty"].as_str().unwrap()).unwrap();
    assert_eq!(pty.uid(), 64_131, "it is one of the host's");
    for (guest, _events) in guests {
        guest.destroy(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn each_virtual_cpu_runs_where_the_document_has_it() {
    let Some(program) = qemu() else { return };
    let bench = Bench::new();
    let mut spec = spec(&bench, program);
    spec.args.extend(["-smp", "3"].map(str::to_owned));
    let uid = spec.credentials.as_ref().map(|user| user.uid);
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let mut there = (0..1024_u16).filter(|cpu| allowed.is_set(usize::from(*cpu)));
    let first = there.next().expect("a processor");
    let last = there.next_back().unwrap_or(first);
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    let document = |pins: &str| {
        vfnet_model::guest::parse(&format!(
            "<domain type='qemu'><name>web1</name><memory>65536</memory>\
             <vcpu cpuset='{first}'>3</vcpu><cputune>{pins}</cputune>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
        ))
        .unwrap()
    };
    let pins =
        format!("<vcpupin vcpu='1' cpuset='{last}'/><vcpupin vcpu='2' cpuset='{first},{last}'/>");
    guest.pin(&document(&pins), &launcher(), uid).await.unwrap();
    let cpus = guest.execute("query-cpus-fast", serde_json::Value::Null).await.unwrap();
    let on = |vcpu: usize| {
        let thread = &cpus[vcpu]["thread-id"];
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let set: CpuSet = allowed.unwrap().trim().parse().unwrap();
        set.iter().collect::<Vec<_>>()
    };
    let mut both = vec![first, last];
    both.dedup();
    assert_eq!([on(0), on(1), on(2)], [vec![first], vec![last], both]);

    let nowhere = "<vcpupin vcpu='0' cpuset='1023'/>";
    let refused = guest.pin(&document(nowhere), &launcher(), uid).await.unwrap_err().to_string();
    assert!(refused.contains("on processors 1023: Invalid argument"), "{refused}");
    // Another user's threads are not the guest's to pin, whatever its monitor says.
    if uid.is_some() {
        let refused = guest.pin(&document(&pins), &launcher(), Some(64_199)).await.unwrap_err();
        assert!(refused.to_string().contains("Operation not permitted"), "{refused}");
    }
    guest.destroy(PATIENCE).await.unwrap();
}

/// A disk whose boot sector powers the machine off, by the register that SeaBIOS gives q35's ACPI.
const POWERS_OFF: [u8; 10] = [
    0xba, 0x04, 0x06, // mov dx, 0x604
    0xb8, 0x00, 0x20, // mov ax, 0x2000: sleep, S5
    0xef, // out dx, ax
    0xf4, 0xeb, 0xfd, // hlt, for ever
];

#[tokio::test]
async fn a_guest_that_powers_itself_off_can_be_kept_and_begun_anew() {
    let Some(program) = qemu() else { return };
    let bench = Bench::new();
    let mut image = vec![0; 1 << 20];
    image[..POWERS_OFF.len()].copy_from_slice(&POWERS_OFF);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let disk = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(disk.path(), image).unwrap();
    let mut spec = spec(&bench, program);
    // The disk is named and opened by QEMU here.
    spec.credentials = None;
    let drive = format!("file={},format=raw,if=ide,snapshot=on", disk.path().display());
    spec.args.extend(["-drive".to_owned(), drive]);
    let (guest, mut events) = bench.try_start(&spec).await.unwrap();
    guest.execute("set-action", json!({ "shutdown": "pause" })).await.unwrap();
    guest.resume().await.unwrap();
    for _boot in 0..2 {
        let is_off = |event: &GuestEvent| {
            matches!(event, GuestEvent::ShutdownRequested { by_guest: true, .. })
        };
        while !is_off(&next(&mut events).await) {}
        while next(&mut events).await != GuestEvent::Paused {}
        assert_eq!(guest.state().await.unwrap(), RunState::Shutdown);
        guest.reset().await.unwrap();
        let began = std::time::Instant::now();
        while guest.resume().await.is_err() {
            assert!(began.elapsed() < PATIENCE, "it is not reset");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    guest.execute("set-action", json!({ "shutdown": "poweroff" })).await.unwrap();
    assert_eq!(end(&mut events).await.kind, EndKind::PoweredOff);
}

#[test]
fn a_guest_of_qemus_outlives_its_daemon_and_talks_to_the_next() {
    let Some(program) = qemu() else { return };
    let bench = Bench::new();
    orphan(&bench, &spec(&bench, program));
    // Each runtime is a daemon: its supervisor ends with it, and lets go of the monitor.
    for last in [false, false, true] {
        let daemon = tokio::runtime::Runtime::new().unwrap();
        daemon.block_on(async {
            let (guest, mut events) = adopt(&bench.run_dir, PATIENCE).await.unwrap();
            next(&mut events).await;
            guest.resume().await.unwrap();
            assert_eq!(next(&mut events).await, GuestEvent::Resumed);
            guest.pause().await.unwrap();
            assert_eq!(next(&mut events).await, GuestEvent::Paused);
            if last {
                guest.execute("quit", serde_json::Value::Null).await.unwrap();
                assert_eq!(end(&mut events).await.kind, EndKind::Terminated);
            }
        });
    }
}

#[tokio::test]
async fn qemus_own_words_are_in_the_error_of_a_failed_start() {
    let Some(program) = qemu() else { return };
    let bench = Bench::new();
    let mut spec = spec(&bench, program);
    spec.args.extend(["-drive", "file=/no/such/disk,if=none"].map(str::to_owned));
    let error = bench.try_start(&spec).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("Could not open '/no/such/disk'"), "{error}");
}

#[test]
fn an_emulator_is_asked_for_its_version_and_a_program_that_is_none_is_refused() {
    let version = probe(&processes()).unwrap();
    assert_eq!(version.to_string(), "10.0.2");
    assert_eq!(probe(&processes()).unwrap(), version);

    let error = probe(Path::new("/no/such/qemu")).unwrap_err();
    assert!(matches!(error, EmulatorError::Start { .. }), "{error}");
    let error = probe(Path::new("/bin/cat")).unwrap_err();
    assert!(matches!(error, EmulatorError::Answer { .. }), "{error}");
    if let Some(path) = qemu() {
        assert!(probe(&path).unwrap().major >= 7);
    }
}
