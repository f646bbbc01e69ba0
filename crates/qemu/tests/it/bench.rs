//! A directory with all that one guest needs, and guests described by what their stand-in does.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::mpsc;
use vfnet_model::Uuid;
use vfnet_qemu::command_line::FIRST_FD;
use vfnet_qemu::jail::Jail;
use vfnet_qemu::launch::{Access, Credentials, LaunchSpec, ListenSocket, OpenFile};
use vfnet_qemu::supervisor::StartError;
use vfnet_qemu::{Ended, Guest, GuestEvent, Launcher, RunDir};

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    tmp: tempfile::TempDir,
    pub(crate) run_dir: RunDir,
}

pub(crate) type Started = (Guest, mpsc::Receiver<GuestEvent>);

impl Bench {
    pub(crate) fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        // Other users get to what is open to them in it.
        std::fs::set_permissions(tmp.path(), Permissions::from_mode(0o755)).unwrap();
        let run_dir = RunDir::of(&tmp.path().join("guests"), &"web1".parse().unwrap(), &uuid());
        Self { tmp, run_dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("web1.log")).unwrap_or_default()
    }

    /// A paused guest of the stand-in's, told what to do by its words.
    pub(crate) fn spec(&self, words: &str) -> LaunchSpec {
        let uuid = uuid().to_string();
        let args = [
            "-name",
            "guest=web1",
            "-uuid",
            &uuid,
            "-S",
            "-append",
            words,
            "-chardev",
            "socket,id=charmonitor,fd=100,server=on,wait=off",
            "-mon",
            "chardev=charmonitor,id=monitor,mode=control",
        ];
        LaunchSpec {
            name: "web1".parse().unwrap(),
            uuid: self::uuid(),
            program: processes(),
            args: args.map(str::to_owned).to_vec(),
            environment: BTreeMap::new(),
            credentials: None,
            memlock: None,
            cpus: Vec::new(),
            log: self.path("web1.log"),
            files: Vec::new(),
            sockets: vec![ListenSocket {
                path: self.run_dir.qmp_socket(),
                fd: FIRST_FD,
                owner: None,
            }],
            vfio_devices: Vec::new(),
            run: 1,
            jail: Jail::None,
            devices: Vec::new(),
        }
    }

    /// The same with a file handed over as descriptor 120.
    pub(crate) fn spec_with_file(&self, path: &Path) -> LaunchSpec {
        let file = OpenFile { path: path.into(), access: Access::Read, template: None, fd: 120 };
        LaunchSpec { files: vec![file], ..self.spec("") }
    }

    /// The same under a uid of its own, with a program that this uid can reach; `None` where
    /// that takes more rights than the tests have.
    pub(crate) fn spec_with_uid(&self, uid: u32) -> Option<LaunchSpec> {
        if !rustix::process::getuid().is_root() {
            #[expect(clippy::print_stdout, reason = "what was skipped is told")]
            {
                println!("skipped: another uid takes root");
            }
            return None;
        }
        let program = self.path("qemu");
        std::fs::copy(processes(), &program).unwrap();
        let credentials = Some(Credentials { uid, gid: uid, groups: vec![64_200] });
        Some(LaunchSpec { program, credentials, ..self.spec("") })
    }

    pub(crate) async fn start(&self, words: &str) -> Started {
        self.try_start(&self.spec(words)).await.unwrap()
    }

    pub(crate) async fn try_start(&self, spec: &LaunchSpec) -> Result<Started, StartError> {
        vfnet_qemu::start(&launcher(), &self.run_dir, spec, PATIENCE).await
    }
}

/// A guest outlives the daemon, and so would it a test that failed.
impl Drop for Bench {
    fn drop(&mut self) {
        if let Ok(Some(process)) = self.run_dir.process()
            && let Ok(Some(pidfd)) = process.open()
        {
            pidfd_send_signal(&pidfd, Signal::KILL).ok();
        }
    }
}

fn uuid() -> Uuid {
    "5a1d1c0e-8f3c-4ad8-9d0b-6a7f3e1c2b01".parse().unwrap()
}

/// The example program `guest-processes`, which is built with the tests.
pub(crate) fn processes() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/guest-processes");
    assert!(path.exists(), "{} is built by `cargo test` and nextest", path.display());
    path
}

pub(crate) fn launcher() -> Launcher {
    Launcher { program: processes(), args: vec!["launch".into()] }
}

/// The next event that is not `Other`.
pub(crate) async fn next(events: &mut mpsc::Receiver<GuestEvent>) -> GuestEvent {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv());
        match event.await.expect("an event in time").expect("events until the end") {
            GuestEvent::Other(_) => {}
            event => return event,
        }
    }
}

/// The end, whatever else is told before.
pub(crate) async fn end(events: &mut mpsc::Receiver<GuestEvent>) -> Ended {
    loop {
        if let GuestEvent::Ended(ended) = next(events).await {
            assert!(events.recv().await.is_none(), "the end is the last event");
            return ended;
        }
    }
}

/// Kills a process from outside, as an administrator or the kernel would.
pub(crate) fn kill(pid: i32, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
