//! An emulated SR-IOV host: boots it, runs a program in it as root, and tells how that ended.
//!
//! The host is a QEMU machine with an IOMMU and one or more emulated Intel 82576 cards (`igb`,
//! seven VFs each). Its root is this machine's, read-only under an overlay, so what was just
//! built is simply there. Everything is emulated: no KVM is needed or used.
//!
//! The first serial port carries the kernel's console (`console.log`), the second the output
//! of the program, which is streamed to the caller and kept in `output.log`. A line
//! [`UP`] marks the end of the boot, a line [`EXIT`] the program's exit code; a host that ends
//! without the latter lost its power.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::images::Images;
use crate::packages;

const STAGE2: &str = include_str!("../../lab/host/stage2.sh");
const UP: &str = "VFLAB-UP";
const EXIT: &str = "VFLAB-EXIT ";
/// A host that is not up by then will not come up.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// More would put the cards' windows where QEMU 10.0.2 loses half of their address.
const MEMORY_LIMIT_MIB: u32 = 2800;
const DISK_BYTES: u64 = 256 << 20;

/// A host to be booted.
#[derive(Debug)]
pub(crate) struct Lab {
    name: String,
    pfs: u8,
    iommu: bool,
    memory_mib: u32,
    limit: Duration,
    disk: Option<PathBuf>,
    drive: Option<String>,
    share: Option<PathBuf>,
    cut: Option<Cut>,
}

/// When the power goes.
pub(crate) struct Cut {
    /// The line of the program's from which time is counted.
    pub(crate) from: &'static str,
    /// Whether it goes now, so long after that line. Asked again and again.
    pub(crate) now: Box<dyn Fn(Duration) -> bool>,
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cut").field("from", &self.from).finish_non_exhaustive()
    }
}

/// How often it is asked whether the power goes.
const CUT_PAUSE: Duration = Duration::from_millis(20);

/// How the program in the host ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Exit(i32),
    /// The host went away under the program: a power cut (wanted or not).
    PowerLost,
}

/// What one boot of the host came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) ended: Ended,
    /// From power-on to the start of the program.
    pub(crate) boot: Duration,
    /// From power-on to power-off.
    pub(crate) total: Duration,
    /// What the program wrote, line by line.
    pub(crate) lines: Vec<String>,
    pub(crate) console: PathBuf,
}

impl Lab {
    /// A host with one PF; its logs go to `target/lab/NAME`.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            pfs: 1,
            iommu: true,
            memory_mib: 2600,
            limit: Duration::from_secs(900),
            disk: None,
            drive: None,
            share: None,
            cut: None,
        }
    }

    /// The number of PFs, each behind a root port of its own.
    pub(crate) fn pfs(mut self, pfs: u8) -> Self {
        self.pfs = pfs;
        self
    }

    /// Whether the host's kernel switches the IOMMU on.
    pub(crate) fn iommu(mut self, on: bool) -> Self {
        self.iommu = on;
        self
    }

    /// The host's memory in MiB.
    pub(crate) fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// How long the program may run, boot included.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A disk image, mounted at `/disk`, whose contents outlive the boot; made when absent.
    pub(crate) fn disk(mut self, image: impl Into<PathBuf>) -> Self {
        self.disk = Some(image.into());
        self
    }

    /// A disk that is served somewhere, as QEMU's `-drive file=` names it, instead of an image.
    /// Flushes reach it, and nothing but them is written through.
    pub(crate) fn drive(mut self, served: String) -> Self {
        self.drive = Some(served);
        self
    }

    /// Takes the power away: QEMU is killed.
    pub(crate) fn cut(mut self, cut: Cut) -> Self {
        self.cut = Some(cut);
        self
    }

    /// A folder of this machine that the host may write to, at `/save`.
    pub(crate) fn share(mut self, folder: impl Into<PathBuf>) -> Self {
        self.share = Some(folder.into());
        self
    }

    /// The folder of this host's logs.
    pub(crate) fn folder(&self) -> PathBuf {
        workspace().join("target/lab").join(&self.name)
    }

    /// Boots the host, runs `program`, and hands each line that it writes to `on_line`.
    ///
    /// # Errors
    ///
    /// When the host cannot be booted or does not end within its limit. A program that fails
    /// is no error here, see [`Ended`].
    pub(crate) fn run(
        &self,
        program: &Path,
        args: &[String],
        mut on_line: impl FnMut(&str),
    ) -> Result<Report> {
        let started = Instant::now();
        let mut qemu = self.start(&command_script(program, args), Terminal::Lines)?;
        let lines = qemu.lines()?;
        let mut output = File::create(self.folder().join("output.log"))?;
        let mut report = Report {
            ended: Ended::PowerLost,
            boot: Duration::ZERO,
            total: Duration::ZERO,
            lines: Vec::new(),
            console: self.console(),
        };
        let (mut up, mut pending_blank) = (false, false);
        // Since when the power may go.
        let mut at_risk: Option<(&Cut, Instant)> = None;
        loop {
            let limit = if up { self.limit } else { BOOT_LIMIT };
            let mut patience = limit.saturating_sub(started.elapsed());
            if let Some((cut, since)) = at_risk {
                if (cut.now)(since.elapsed()) {
                    qemu.child.kill().context("cannot kill QEMU")?;
                    // What the host had said by then is still to be read.
                    at_risk = None;
                } else {
                    patience = patience.min(CUT_PAUSE);
                }
            }
            let line = match lines.recv_timeout(patience) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout)
                    if at_risk.is_some() && started.elapsed() < limit =>
                {
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    drop(qemu);
                    let what = if up { "is still at work" } else { "is not up" };
                    bail!("the host {what} after {} s\n{}", limit.as_secs(), self.last_words(up));
                }
            };
            // The empty line that ends a last line without an end of its own.
            let blank = std::mem::replace(&mut pending_blank, line.is_empty());
            writeln!(output, "{:8.2} {line}", started.elapsed().as_secs_f64())?;
            if line == UP {
                up = true;
                report.boot = started.elapsed();
            } else if let Some(code) = line.strip_prefix(EXIT) {
                report.ended = Ended::Exit(code.trim().parse().context("no exit code")?);
            } else {
                if blank {
                    on_line("");
                    report.lines.push(String::new());
                }
                if !line.is_empty() {
                    if let Some(cut) = self.cut.as_ref().filter(|cut| cut.from == line) {
                        at_risk = Some((cut, Instant::now()));
                    }
                    on_line(&line);
                    report.lines.push(line);
                }
            }
        }
        let status = qemu.wait()?;
        report.total = started.elapsed();
        ensure!(up, "the host ended ({status}) before it was up\n{}", self.last_words(false));
        Ok(report)
    }

    /// Boots the host and opens a shell in it on this terminal.
    ///
    /// # Errors
    ///
    /// When the host cannot be booted.
    pub(crate) fn shell(&self) -> Result<()> {
        eprintln!(
            "booting a host with {} PF(s); leave its shell with \"exit\" or Ctrl-D, \
             switch it off at once with Ctrl-A X",
            self.pfs
        );
        let mut qemu = self.start("", Terminal::Shell)?;
        let status = qemu.wait()?;
        ensure!(status.success(), "the host ended with {status}\n{}", self.last_words(false));
        Ok(())
    }

    fn console(&self) -> PathBuf {
        self.folder().join("console.log")
    }

    /// The end of the log that tells why the host is where it is.
    pub(crate) fn last_words(&self, was_up: bool) -> String {
        let path = if was_up { self.folder().join("output.log") } else { self.console() };
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        let mut words = format!("last lines of {}:\n", path.display());
        for line in &lines[lines.len().saturating_sub(25)..] {
            words.push_str("  ");
            words.push_str(line.trim_end());
            words.push('\n');
        }
        words
    }

    fn start(&self, script: &str, terminal: Terminal) -> Result<Qemu> {
        ensure!(
            self.memory_mib <= MEMORY_LIMIT_MIB,
            "a host has at most {MEMORY_LIMIT_MIB} MiB, or its VFs lose their registers"
        );
        packages::ensure()?;
        let images = Images::ready()?;
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("a host named {} is running already", self.name);
        }
        if let Some(disk) = self.disk.as_deref().filter(|d| !d.exists()) {
            make_disk(disk, DISK_BYTES)?;
        }
        let initrd = folder.join("initrd");
        self.write_initrd(&initrd, &images, script, terminal)?;
        let mut command = Command::new(packages::find_command("setpriv").context("no setpriv")?);
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(self.qemu_args(&images, &initrd, terminal)?);
        command.stderr(File::create(folder.join("qemu.log"))?);
        if let Terminal::Lines = terminal {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        let child = command.spawn().context("cannot start QEMU")?;
        Ok(Qemu { child, _lock: lock })
    }

    /// The host's initrd with the second stage, the program and its environment added.
    fn write_initrd(
        &self,
        path: &Path,
        images: &Images,
        script: &str,
        terminal: Terminal,
    ) -> Result<()> {
        let mut environment = String::new();
        let mut export = |name: &str, value: &str| {
            let _ = writeln!(environment, "export {name}={}", quoted(value));
        };
        export("VFNET_LAB_MODULES", &images.modules.to_string_lossy());
        export("VFNET_LAB_GUEST_KERNEL", &images.guest_kernel.to_string_lossy());
        export("VFNET_LAB_GUEST_INITRD", &images.guest_initrd.to_string_lossy());
        export("TERM", &std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()));
        export("RUST_BACKTRACE", "1");
        if let Terminal::Shell = terminal {
            export("VFNET_LAB_SHELL", "1");
            export("VFNET_LAB_TERMINAL", terminal_size().as_deref().unwrap_or("24 80"));
        }
        let _ = writeln!(environment, "cd {}", quoted(&workspace().to_string_lossy()));

        let mut extra = crate::cpio::Archive::default();
        extra.folder("vfnet-lab");
        extra.file("vfnet-lab/stage2.sh", STAGE2.as_bytes());
        extra.file("vfnet-lab/environment", environment.as_bytes());
        extra.file("vfnet-lab/command", script.as_bytes());
        let mut bytes = fs::read(&images.host_initrd)?;
        bytes.extend(extra.finish());
        fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    fn qemu_args(&self, images: &Images, initrd: &Path, terminal: Terminal) -> Result<Vec<String>> {
        let share = if self.share.is_some() { " vflab.save" } else { "" };
        let mux = if let Terminal::Shell = terminal { ",mux=on" } else { "" };
        let mut args = Vec::new();
        let mut arg = |name: &str, value: String| args.extend([name.to_owned(), value]);
        arg("-machine", "q35,kernel-irqchip=off".to_owned());
        arg("-accel", "tcg,tb-size=1024".to_owned());
        arg("-cpu", "max".to_owned());
        // With two virtual CPUs, long runs under multi-threaded emulation end in RCU stalls.
        arg("-smp", "1".to_owned());
        arg("-m", self.memory_mib.to_string());
        // For a machine without one stock libvirt makes up another at each start.
        arg("-uuid", "2f1c3d6a-5d0c-4f0e-9b57-6a3f0d1c8e21".to_owned());
        // QEMU 10.0.2 loses the upper half of a VF's 64-bit BAR: keep all of them below 4 GiB,
        // here and with pref32-reserve on the root ports.
        arg("-global", "q35-pcihost.pci-hole64-size=0".to_owned());
        args.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
        let mut arg = |name: &str, value: String| args.extend([name.to_owned(), value]);
        arg("-display", "none".to_owned());
        arg("-kernel", path_text(&images.kernel)?);
        arg("-initrd", path_text(initrd)?);
        arg(
            "-append",
            // no_timer_check: on a busy machine the emulated timer ticks too late for that test.
            format!(
                "console=ttyS0 intel_iommu={} iommu=pt no_timer_check quiet panic=-1 \
                 mitigations=off{share}",
                if self.iommu { "on" } else { "off" }
            ),
        );
        arg("-chardev", format!("file,id=console,path={}", path_text(&self.console())?));
        arg("-serial", "chardev:console".to_owned());
        arg("-chardev", format!("stdio,id=output,signal=off{mux}"));
        arg("-serial", "chardev:output".to_owned());
        if let Terminal::Shell = terminal {
            arg("-mon", "chardev=output".to_owned());
        }
        arg("-device", "intel-iommu,intremap=on".to_owned());
        arg(
            "-virtfs",
            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
                .to_owned(),
        );
        if let Some(folder) = &self.share {
            fs::create_dir_all(folder)?;
            let path = path_text(folder)?;
            arg("-virtfs", format!("local,path={path},mount_tag=save,security_model=none"));
        }
        if let Some(disk) = &self.disk {
            let path = path_text(disk)?;
            arg("-drive", format!("file={path},format=raw,if=virtio,cache=writethrough"));
        }
        if let Some(drive) = &self.drive {
            let drive = drive.replace(',', ",,");
            arg("-drive", format!("file={drive},format=raw,if=virtio,cache=writeback"));
        }
        for i in 0..self.pfs {
            let slot = i + 1;
            arg(
                "-device",
                format!(
                    "pcie-root-port,id=port{i},bus=pcie.0,chassis={slot},slot={slot},pref32-reserve=4M"
                ),
            );
            arg("-device", format!("igb,bus=port{i},mac=52:54:00:aa:00:{i:02x}"));
        }
        Ok(args)
    }
}

/// What the second serial port is to the caller.
#[derive(Clone, Copy, Debug)]
enum Terminal {
    Lines,
    Shell,
}

/// The running emulator; ended when dropped.
struct Qemu {
    child: Child,
    /// Keeps other hosts of this name away.
    _lock: File,
}

impl Qemu {
    /// The lines that the host writes, until it ends.
    fn lines(&mut self) -> Result<mpsc::Receiver<String>> {
        let stdout = self.child.stdout.take().context("QEMU has no standard output")?;
        let (sender, receiver) = mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                bytes.clear();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(receiver)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Rows and columns of this terminal.
fn terminal_size() -> Option<String> {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).output().ok()?;
    let size = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (size.contains(' ') && size != "0 0").then_some(size)
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Makes a disk image of that size, with an empty file system.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn make_disk(path: &Path, bytes: u64) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(path)
        .and_then(|f| f.set_len(bytes))
        .with_context(|| format!("cannot make the disk {}", path.display()))?;
    let status = Command::new(packages::find_command("mkfs.ext4").context("no mkfs.ext4")?)
        .args(["-q", "-F"])
        .arg(path)
        .status()?;
    ensure!(status.success(), "cannot make a file system on {}", path.display());
    Ok(())
}

/// The shell line that runs the program; scripts that are not executable go to bash.
fn command_script(program: &Path, args: &[String]) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = fs::metadata(program).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    let mut script = String::from("exec");
    if program.is_file() && !executable {
        script.push_str(" bash");
    }
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    for word in std::iter::once(&*program.to_string_lossy()).chain(args.iter().map(String::as_str))
    {
        script.push(' ');
        script.push_str(&quoted(word));
    }
    script.push('\n');
    script
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A path as QEMU's option syntax takes it, where a comma is doubled.
fn path_text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is not UTF-8")?.replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{command_script, quoted};

    #[test]
    fn a_word_with_quotes_reaches_the_program_as_it_is() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        let script = command_script(Path::new("true"), &["a b".to_owned(), "$x".to_owned()]);
        assert_eq!(script, "exec 'true' 'a b' '$x'\n");
    }
}
