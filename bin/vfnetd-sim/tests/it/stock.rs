//! Stock libvirtd as it comes, in namespaces of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::Ran;
use crate::{VIRSH, until};

/// Mounts folders of `$1` where libvirtd keeps its state, so that it outlives the daemon and
/// touches nothing of this machine, and `$1/sys`, if it is there, where it looks for devices;
/// then becomes the daemon. `$2` is where it was unpacked.
const START: &str = r#"
set -e
for dir in /etc/libvirt /run /var/lib /var/cache /var/log; do
    mkdir -p "$1$dir"
    mount --bind "$1$dir" "$dir"
done
if [ -d "$1/sys" ]; then mount --rbind "$1/sys" /sys; fi
lib="$2/usr/lib/x86_64-linux-gnu"
export LIBVIRT_DRIVER_DIR="$lib/libvirt/connection-driver" LD_LIBRARY_PATH="$lib"
export PATH="$PATH:$2/usr/sbin"
exec "$2/usr/sbin/libvirtd" --config "$1/libvirtd.conf" --pid-file "$1/pid"
"#;

/// The daemon, in a folder of the test's. Ends with it.
pub(crate) struct Stock {
    dir: PathBuf,
    unpacked: PathBuf,
    child: Option<Child>,
}

/// What makes namespaces: as root, or as if.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--net"]).stdin(Stdio::null());
    command
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skipped(why: &str) -> Option<Stock> {
    println!("skipped: {why}");
    None
}

impl Stock {
    /// Started with `dir` for its files; `None` where that cannot be.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        let unpacked = target.join("stock-libvirt");
        if !unpacked.join("complete").exists() {
            return skipped("stock libvirt is not unpacked (cargo xtask stock-libvirt)");
        }
        let namespaces = unshare().arg("true").output();
        if !namespaces.is_ok_and(|ran| ran.status.success()) {
            return skipped("there are no namespaces for stock libvirt here");
        }
        std::fs::create_dir_all(dir).expect("a folder");
        let sockets = dir.display();
        let config = format!(
            "unix_sock_dir = \"{sockets}\"\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n"
        );
        std::fs::write(dir.join("libvirtd.conf"), config).expect("a file");
        let mut stock = Self { dir: dir.to_owned(), unpacked, child: None };
        stock.go_on();
        Some(stock)
    }

    pub(crate) fn go_on(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log"));
        let log = log.expect("a log");
        let mut child = unshare()
            .args(["sh", "-c", START, "sh"])
            .args([&self.dir, &self.unpacked])
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("unshare runs");
        until("stock libvirtd listens", || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "stock libvirtd ended with {ended:?}: {}", self.log());
            UnixStream::connect(self.socket()).is_ok()
        });
        self.child = Some(child);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("ended");
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("libvirt-sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// What virsh prints when it speaks to the daemon itself.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let uri = format!("network+unix:///system?socket={}", self.socket().display());
        let ran = Command::new(VIRSH)
            .args(["-q", "-c", &uri])
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output();
        let ran = Ran::from(ran.expect("virsh runs"));
        assert!(ran.status.success(), "virsh {args:?}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    }
}

impl Drop for Stock {
    #[expect(clippy::print_stderr, reason = "a failed test shows the daemon's log")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("stock libvirtd's log:\n{}", self.log());
        }
    }
}
