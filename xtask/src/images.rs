//! The kernel and the initial RAM disks of the emulated host and of its guests.
//!
//! They live in a cache (`VFNET_LAB_CACHE`, by default `/var/tmp/vfnet-lab`): the kernel package
//! unpacked under `kernel-VERSION`, and what is made from it and from the files of `lab/` under
//! `images-KEY`, where KEY follows the contents. Each folder is built under another name and
//! then renamed, so one that exists is whole.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cpio::Archive;
use crate::packages;

const HOST_INIT: &str = include_str!("../../lab/host/init.sh");
const GUEST_INIT: &str = include_str!("../../lab/guest/init.sh");
const DEFAULT_CACHE: &str = "/var/tmp/vfnet-lab";
/// Debian 12's backported kernels; the package has igb, igbvf, vfio-pci, 9p and overlay.
const KERNEL_PACKAGES: &str = r"^linux-image-6\.12\..*deb12-amd64-unsigned$";
/// Raised when what is built from the same files changes.
const LAYOUT: u32 = 1;

const HOST_MODULES: &[&str] = &[
    "9pnet_virtio",
    "9p",
    "overlay",
    "virtio_blk",
    "ext4",
    "igb",
    "igbvf",
    "vfio_iommu_type1",
    "vfio-pci",
];
const HOST_APPLETS: &[&str] = &["sh", "mount", "insmod", "mkdir", "cp", "grep", "switch_root"];
const GUEST_MODULES: &[&str] = &["igbvf", "virtio_net"];
const GUEST_ACPI_MODULES: &[&str] = &["button", "evdev"];
const GUEST_APPLETS: &[&str] = &["sh", "mount", "insmod", "readlink", "sleep", "head", "poweroff"];

/// What a host boots from. The same paths hold inside the host, whose root is this machine's.
#[derive(Debug)]
pub(crate) struct Images {
    /// The host's kernel, as Debian packs it.
    pub(crate) kernel: PathBuf,
    /// The folder that becomes the host's `/lib/modules`.
    pub(crate) modules: PathBuf,
    pub(crate) host_initrd: PathBuf,
    /// The guest's kernel, uncompressed: started through its PVH entry.
    pub(crate) guest_kernel: PathBuf,
    pub(crate) guest_initrd: PathBuf,
}

impl Images {
    /// Finds the images in the cache, or fetches and builds them.
    ///
    /// # Errors
    ///
    /// When the kernel package cannot be fetched, or the cache cannot be written.
    pub(crate) fn ready() -> Result<Self> {
        let cache = std::env::var_os("VFNET_LAB_CACHE").map_or(DEFAULT_CACHE.into(), PathBuf::from);
        fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make the cache {}", cache.display()))?;
        let lock = fs::File::create(cache.join("lock")).with_context(|| {
            format!(
                "cannot write to the cache {}; VFNET_LAB_CACHE may name another folder",
                cache.display()
            )
        })?;
        lock.lock().context("cannot lock the cache")?;
        let kernel = Kernel::ready(&cache)?;
        let folder = cache.join(format!("images-{:016x}", kernel.key()?));
        if !folder.exists() {
            eprintln!("building the lab's images in {}", folder.display());
            build(&folder, |folder| kernel.make_images(folder))?;
        }
        Ok(Self {
            kernel: kernel.image(),
            modules: kernel.folder.join("lib/modules"),
            host_initrd: folder.join("host-initrd"),
            guest_kernel: folder.join("guest-vmlinux"),
            guest_initrd: folder.join("guest-initrd"),
        })
    }
}

/// An unpacked kernel package.
struct Kernel {
    folder: PathBuf,
    release: String,
}

impl Kernel {
    /// The kernel that the cache has, or else the newest that Debian offers.
    fn ready(cache: &Path) -> Result<Self> {
        for entry in cache.read_dir()? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(release) = name.strip_prefix("kernel-").filter(|r| !r.ends_with(".part")) {
                return Ok(Self { folder: cache.join(&name), release: release.to_owned() });
            }
        }
        let mut offered = packages::search(KERNEL_PACKAGES)?;
        offered.sort_by_key(|name| version_numbers(name));
        let package =
            offered.pop().context("Debian offers no kernel package 6.12 for Debian 12")?;
        eprintln!("fetching {package} (about 100 MB, once)");
        let release =
            package.trim_start_matches("linux-image-").trim_end_matches("-unsigned").to_owned();
        let folder = cache.join(format!("kernel-{release}"));
        build(&folder, |folder| {
            let deb = packages::download(&package, folder)?;
            run(Command::new("dpkg").arg("-x").arg(&deb).arg(folder))?;
            fs::remove_file(deb)?;
            run(Command::new(packages::find_command("depmod").context("no depmod")?)
                .arg("-b")
                .arg(folder)
                .arg(&release))
        })?;
        Ok(Self { folder, release })
    }

    fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// A number that changes with everything that the images are made from.
    fn key(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        (LAYOUT, HOST_INIT, GUEST_INIT, &self.release).hash(&mut hasher);
        (HOST_MODULES, HOST_APPLETS, GUEST_MODULES, GUEST_ACPI_MODULES, GUEST_APPLETS)
            .hash(&mut hasher);
        busybox()?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn make_images(&self, folder: &Path) -> Result<()> {
        let mut host = first_stage(HOST_INIT, HOST_APPLETS)?;
        self.add_modules(&mut host, "modules", HOST_MODULES)?;
        host.folder("vfnet-lab");
        fs::write(folder.join("host-initrd"), host.finish())?;

        let mut guest = first_stage(GUEST_INIT, GUEST_APPLETS)?;
        self.add_modules(&mut guest, "modules", GUEST_MODULES)?;
        self.add_modules(&mut guest, "acpi-modules", GUEST_ACPI_MODULES)?;
        fs::write(folder.join("guest-initrd"), guest.finish())?;

        let packed = fs::read(self.image())?;
        let payload = kernel_payload(&packed).context("the kernel is no bzImage")?;
        let vmlinux = unpack("zstd", &["-dc"], payload)?;
        ensure!(vmlinux.starts_with(b"\x7fELF"), "the unpacked kernel is no ELF file");
        fs::write(folder.join("guest-vmlinux"), vmlinux)?;
        Ok(())
    }

    /// Adds the modules and what they need, uncompressed, named in the order of loading.
    fn add_modules(&self, archive: &mut Archive, into: &str, names: &[&str]) -> Result<()> {
        archive.folder(into);
        let mut done: Vec<String> = Vec::new();
        for name in names {
            let output = Command::new(packages::find_command("modprobe").context("no modprobe")?)
                .args(["--show-depends", "-S", &self.release, "-d"])
                .arg(&self.folder)
                .arg(name)
                .output()?;
            ensure!(output.status.success(), "this kernel has no module {name}");
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let Some(path) = line.strip_prefix("insmod ") else { continue };
                let path = path.trim();
                if done.iter().any(|d| d == path) {
                    continue;
                }
                let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
                let module = unpack("xz", &["-dc"], &fs::read(path)?)?;
                let file = file.trim_end_matches(".xz");
                archive.file(&format!("{into}/{:02}-{file}", done.len()), &module);
                done.push(path.to_owned());
            }
        }
        Ok(())
    }
}

fn busybox() -> Result<Vec<u8>> {
    let path = packages::find_command("busybox").context("no busybox")?;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn first_stage(init: &str, applets: &[&str]) -> Result<Archive> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", &busybox()?);
    for applet in applets {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.file("init", init.as_bytes());
    Ok(archive)
}

/// Makes `folder` by `fill`, whole or not at all.
fn build(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut part = folder.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    fill(&part).with_context(|| format!("cannot build {}", folder.display()))?;
    fs::rename(&part, folder)?;
    Ok(())
}

/// The numbers in a package's name, for finding the newest.
fn version_numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// The compressed kernel inside a bzImage (kernel: Documentation/arch/x86/boot.rst,
/// `payload_offset` and `payload_length`). Its last four bytes are the unpacked size.
fn kernel_payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match image.get(0x1f1)? {
        0 => 4,
        n => usize::from(*n),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    let length = word(0x24c)?.checked_sub(4)?;
    image.get(start..start.checked_add(length)?)
}

fn unpack(program: &str, args: &[&str], packed: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(packages::find_command(program).context(program.to_owned())?)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, packed));
        child.wait_with_output()
    })?;
    ensure!(output.status.success(), "{program} cannot unpack");
    Ok(output.stdout)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{kernel_payload, version_numbers};

    #[test]
    fn the_newest_kernel_is_found_by_number_not_by_letter() {
        let mut names = ["linux-image-6.12.117+deb12-amd64", "linux-image-6.12.95+deb12-amd64"];
        names.sort_by_key(|n| version_numbers(n));
        assert_eq!(names.last(), Some(&"linux-image-6.12.117+deb12-amd64"));
    }

    #[test]
    fn what_is_no_kernel_has_no_payload() {
        assert_eq!(kernel_payload(b"short"), None);
        assert_eq!(kernel_payload(&[0; 4096]), None);
    }
}
