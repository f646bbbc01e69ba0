//! What the launcher does before QEMU, and what is told when a start fails.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType};
use vfnet_qemu::launch::{Access, Credentials, LaunchSpec, ListenSocket, OpenFile};
use vfnet_qemu::supervisor::StartError;
use vfnet_qemu::{EndKind, clean_up};

use crate::bench::{Bench, PATIENCE, end, launcher, next, processes};

async fn refused(bench: &Bench, spec: &LaunchSpec) -> StartError {
    let error = bench.try_start(spec).await.map(|_| ()).unwrap_err();
    assert!(!bench.run_dir.is_locked().unwrap(), "nothing is left of {error}");
    clean_up(&bench.run_dir).unwrap();
    error
}

#[tokio::test]
async fn qemu_that_cannot_start_is_quoted() {
    let bench = Bench::new();
    let error = refused(&bench, &bench.spec("fail-at-start")).await;
    let StartError::Emulator(ended) = &error else { panic!("{error:?}") };
    assert_eq!(ended.kind, EndKind::Exited(1));
    assert!(error.to_string().contains("Could not open 'disk.img'"), "{error}");
}

#[tokio::test]
async fn the_words_of_an_earlier_start_are_not_told_again() {
    let bench = Bench::new();
    refused(&bench, &bench.spec("fail-at-start")).await;
    let (guest, mut events) = bench.start("").await;
    guest.destroy(Duration::ZERO).await.unwrap();
    assert_eq!(end(&mut events).await.said, "");
    assert!(bench.log().contains("disk.img"), "the log keeps both");
}

#[tokio::test]
async fn a_missing_emulator_and_a_missing_file_are_named() {
    let bench = Bench::new();
    let spec = LaunchSpec { program: "/no/such/qemu".into(), ..bench.spec("") };
    let error = refused(&bench, &spec).await;
    assert!(matches!(error, StartError::Launch { .. }), "{error:?}");
    assert!(error.to_string().contains("/no/such/qemu: No such file"), "{error}");

    let error = refused(&bench, &bench.spec_with_file(Path::new("/no/such/disk"))).await;
    assert!(error.to_string().contains("cannot open /no/such/disk: No such file"), "{error}");
    assert!(bench.log().contains("vfnet: cannot open /no/such/disk"), "{}", bench.log());
}

#[tokio::test]
async fn a_descriptor_number_that_is_taken_is_refused() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    std::fs::write(&disk, "x").unwrap();
    for fd in [100, 2] {
        let mut spec = bench.spec_with_file(&disk);
        spec.files[0].fd = fd;
        let error = refused(&bench, &spec).await;
        assert!(error.to_string().contains(&format!("as descriptor {fd}")), "{error}");
    }
}

#[tokio::test]
async fn a_monitor_that_never_answers_ends_the_start_and_the_process() {
    let bench = Bench::new();
    let limit = Duration::from_millis(300);
    let spec = bench.spec("never-answers");
    let started = vfnet_qemu::start(&launcher(), &bench.run_dir, &spec, limit).await;
    assert!(matches!(started, Err(StartError::Monitor { .. })), "{started:?}");
    assert!(!bench.run_dir.is_locked().unwrap());
}

#[tokio::test]
async fn a_running_guest_is_not_started_again_nor_disturbed_by_the_attempt() {
    let bench = Bench::new();
    let (guest, mut events) = bench.start("").await;
    let again = bench.try_start(&bench.spec("fail-at-start")).await;
    assert!(matches!(again, Err(StartError::Running { .. })), "{again:?}");
    guest.resume().await.unwrap();
    next(&mut events).await;
    guest.destroy(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn files_and_sockets_are_there_at_the_numbers_that_the_command_line_names() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    std::fs::write(&disk, "contents").unwrap();
    let mut spec = bench.spec_with_file(&disk);
    let serial = bench.path("serial.log");
    spec.files.push(OpenFile {
        path: serial.clone(),
        access: Access::Append,
        template: None,
        fd: 130,
    });
    let console = bench.path("console");
    spec.sockets.push(ListenSocket { path: console.clone(), fd: 125, owner: None });
    spec.args.extend(["-chardev".to_owned(), "socket,id=serial0,fd=125".to_owned()]);
    let (guest, _events) = bench.try_start(&spec).await.unwrap();

    let fds = format!("/proc/{}/fd", guest.process().pid);
    assert_eq!(std::fs::read_link(format!("{fds}/120")).unwrap(), disk);
    assert_eq!(std::fs::read_link(format!("{fds}/130")).unwrap(), serial);
    assert_eq!(std::fs::metadata(&serial).unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&console).unwrap().mode() & 0o077, 0);
    let mut line = String::new();
    BufReader::new(UnixStream::connect(&console).unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "qemu-stand-in console\r\n");

    // Standard streams, the lock, what was asked for, and the stand-in's own copies and
    // connections; nothing of the daemon's.
    let leaked = leaked_to_this_test();
    for fd in std::fs::read_dir(&fds).unwrap() {
        let leads_to = std::fs::read_link(fd.unwrap().path()).unwrap();
        let text = leads_to.display().to_string();
        assert!(
            ["socket:", "anon_inode:", "/dev/null"].iter().any(|known| text.starts_with(known))
                || [&disk, &serial, &spec.log].contains(&&leads_to)
                || leads_to == bench.run_dir.path().join("lock")
                || leaked.contains(&leads_to),
            "{text}"
        );
    }
    guest.destroy(PATIENCE).await.unwrap();
}

/// What the test itself was started with: open over exec, for it and for what it starts.
fn leaked_to_this_test() -> Vec<PathBuf> {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().map(|fd| fd.unwrap().file_name());
    let open_over_exec = |number: &OsString| {
        let info = std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(number));
        let info = info.unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t"));
        // O_CLOEXEC, in octal as the kernel prints it.
        flags.is_some_and(|flags| i64::from_str_radix(flags, 8).unwrap() & 0o2_000_000 == 0)
    };
    let lead_to = |number| std::fs::read_link(Path::new("/proc/self/fd").join(number)).unwrap();
    numbers.filter(open_over_exec).map(lead_to).collect()
}

#[tokio::test]
async fn qemu_runs_under_its_own_uid_with_its_limits_and_its_directory() {
    let bench = Bench::new();
    let Some(spec) = bench.spec_with_uid(64_123) else { return };
    // Less than any limit that the tests may run under.
    let spec = LaunchSpec { memlock: Some(3 << 16), ..spec };
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    let proc = format!("/proc/{}", guest.process().pid);
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    for line in [
        "Uid:\t64123\t64123\t64123\t64123",
        "Gid:\t64123\t64123\t64123\t64123",
        "Groups:\t64200 ",
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "Umask:\t0077",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
    let memlock = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
    assert!(memlock.contains("196608               196608"), "{memlock}");
    let own = std::fs::metadata(bench.run_dir.guest_dir()).unwrap();
    assert_eq!((own.uid(), own.mode() & 0o777), (64_123, 0o700));
    guest.destroy(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn qemu_runs_on_the_processors_that_its_document_names_or_not_at_all() {
    let bench = Bench::new();
    let allowed = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    };
    let ours = allowed("self");
    let last: u16 = ours.rsplit([',', '-']).next().unwrap().parse().unwrap();
    // A processor that is not there is passed over, as libvirt has it.
    let spec = LaunchSpec { cpus: vec![last, 1023], ..bench.spec("") };
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    assert_eq!(allowed(&guest.process().pid.to_string()), last.to_string());
    guest.destroy(PATIENCE).await.unwrap();

    let bench = Bench::new();
    let spec = LaunchSpec { cpus: vec![1022, 1023], ..bench.spec("") };
    let refused = bench.try_start(&spec).await.unwrap_err();
    let words = vfnet_model::explain(&refused);
    assert!(words.contains("processors 1022,1023"), "{words}");
}

#[tokio::test]
async fn a_guest_is_never_root_nor_in_roots_group() {
    let bench = Bench::new();
    let Some(spec) = bench.spec_with_uid(64_123) else { return };
    let credentials = |uid, gid, groups| Credentials { uid, gid, groups };
    for credentials in [
        credentials(0, 64_123, vec![]),
        credentials(64_123, 0, vec![]),
        credentials(64_123, 64_123, vec![64_200, 0]),
    ] {
        let spec = LaunchSpec { credentials: Some(credentials), ..spec.clone() };
        let error = refused(&bench, &spec).await;
        assert!(error.to_string().contains("never root"), "{error}");
    }
}

#[tokio::test]
async fn what_a_guest_left_in_its_directory_does_not_wait_for_the_next_run() {
    let bench = Bench::new();
    let guest_dir = bench.run_dir.guest_dir();
    std::fs::create_dir_all(&guest_dir).unwrap();
    let elsewhere = bench.path("elsewhere");
    std::fs::write(&elsewhere, "").unwrap();
    std::fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, guest_dir.join("channel0.sock")).unwrap();
    std::fs::set_permissions(&guest_dir, Permissions::from_mode(0o777)).unwrap();
    let mut spec = bench.spec("");
    let path = guest_dir.join("channel0.sock");
    spec.sockets.push(ListenSocket { path: path.clone(), fd: 111, owner: None });
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(std::fs::metadata(&guest_dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o644);
    guest.destroy(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn an_emulator_that_the_guests_uid_may_not_run_is_refused_in_words() {
    let bench = Bench::new();
    let Some(mut spec) = bench.spec_with_uid(64_123) else { return };
    let secret = bench.path("secret");
    std::fs::DirBuilder::new().mode(0o700).create(&secret).unwrap();
    spec.program = secret.join("qemu");
    std::fs::copy(processes(), &spec.program).unwrap();
    let error = refused(&bench, &spec).await;
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[tokio::test]
async fn a_vfio_device_is_the_guests_while_it_runs_and_roots_again_after() {
    let bench = Bench::new();
    let Some(mut spec) = bench.spec_with_uid(64_124) else { return };
    let device = bench.path("12");
    let null = rustix::fs::makedev(1, 3);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &device, FileType::CharacterDevice, mode, null).unwrap();
    let owner = || {
        let found = std::fs::metadata(&device).unwrap();
        (found.uid(), found.gid())
    };
    spec.vfio_devices = vec![device.clone(), bench.path("gone-before-the-end")];
    let gone = &spec.vfio_devices[1];
    rustix::fs::mknodat(CWD, gone, FileType::CharacterDevice, mode, null).unwrap();

    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    assert_eq!(owner(), (64_124, 64_124));
    std::fs::remove_file(gone).unwrap();
    guest.destroy(PATIENCE).await.unwrap();
    clean_up(&bench.run_dir).unwrap();
    assert_eq!(owner(), (0, 0));
}

#[tokio::test]
async fn a_vfio_device_that_the_next_guest_has_is_left_to_it() {
    let bench = Bench::new();
    let Some(mut spec) = bench.spec_with_uid(64_124) else { return };
    let device = bench.path("12");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, &device, FileType::CharacterDevice, mode, null).unwrap();
    spec.vfio_devices = vec![device.clone()];
    let (guest, _events) = bench.try_start(&spec).await.unwrap();
    guest.destroy(PATIENCE).await.unwrap();
    std::os::unix::fs::lchown(&device, Some(64_125), Some(64_125)).unwrap();
    clean_up(&bench.run_dir).unwrap();
    assert_eq!(std::fs::metadata(&device).unwrap().uid(), 64_125);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_copied_from_its_template_once() {
    let bench = Bench::new();
    let (template, vars) = (bench.path("VARS.fd"), bench.path("web1_VARS.fd"));
    std::fs::write(&template, "first").unwrap();
    let mut spec = bench.spec_with_file(&vars);
    spec.files[0].access = Access::ReadWrite;
    spec.files[0].template = Some(template.clone());
    for later in ["second", "third"] {
        let (guest, _events) = bench.try_start(&spec).await.unwrap();
        guest.destroy(PATIENCE).await.unwrap();
        std::fs::write(&template, later).unwrap();
        assert_eq!(std::fs::read_to_string(&vars).unwrap(), "first");
    }
}

#[tokio::test]
async fn a_device_node_that_is_none_is_not_given_away() {
    let bench = Bench::new();
    let not_a_device = bench.path("12");
    std::fs::File::create(&not_a_device).unwrap().write_all(b"x").unwrap();
    let uid = rustix::process::getuid().as_raw();
    let spec = LaunchSpec {
        vfio_devices: vec![not_a_device],
        credentials: Some(Credentials { uid: uid + 1, gid: uid + 1, groups: vec![] }),
        ..bench.spec("")
    };
    let error = refused(&bench, &spec).await;
    assert!(error.to_string().contains("not a character device"), "{error}");
}
