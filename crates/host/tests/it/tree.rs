//! A made-up `/sys`, `/proc` and `/dev` in a temporary directory, and links to go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use vfnet_host::linux::LinuxHost;
use vfnet_host::netlink::{Link, Links, Refusal};
use vfnet_host::reader::Reading;
use vfnet_host::writer::Writer;
use vfnet_host::{Counters, HostError};
use vfnet_model::node_device::NetFeature;
use vfnet_model::vf::{VfAttributes, VfIndex, VfSetting};
use vfnet_model::{DriverName, MacAddress, PciAddress};

pub(crate) const PF: &str = "0000:01:00.0";
const PF_IFINDEX: u32 = 100;

/// A machine with one igb PF.
pub(crate) struct Tree {
    dir: TempDir,
    pub(crate) links: FakeLinks,
    pub(crate) writer: FakeWriter,
}

pub(crate) fn vf(index: u16) -> PciAddress {
    format!("0000:01:10.{index}").parse().unwrap()
}

impl Tree {
    /// A PF with that many VFs: each unbound, in a group of its own (20, 21, …).
    pub(crate) fn with_vfs(count: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = Self { dir, links: FakeLinks::default(), writer: FakeWriter::default() };
        tree.file("proc/sys/kernel/osrelease", "6.1.0\n");
        tree.file("proc/sys/kernel/random/boot_id", "6f5e0000-0000-4000-8000-0000000000aa\n");
        tree.file("sys/class/iommu/dmar0/x", "");
        tree.file("sys/bus/pci/drivers/igb/bind", "");
        tree.device(PF, "0x10c9");
        tree.file(&device(PF, "sriov_totalvfs"), "7\n");
        tree.file(&device(PF, "sriov_drivers_autoprobe"), "1\n");
        tree.bind(PF, "igb");
        tree.netdev(PF, "ens1", PF_IFINDEX);
        for index in 0..count {
            let address = vf(index).to_string();
            tree.device(&address, "0x10ca");
            tree.link(&device(&address, "physfn"), &format!("../{PF}"));
            tree.link(&device(PF, &format!("virtfn{index}")), &format!("../{address}"));
            tree.group(&address, 20 + u32::from(index));
            let mut links = tree.links.0.lock().unwrap();
            let link = links.entry(PF_IFINDEX).or_default();
            link.link.num_vfs = count.into();
            link.link.vfs.insert(VfIndex(index), VfAttributes::UNSET);
        }
        tree
    }

    pub(crate) fn host(&self) -> LinuxHost {
        LinuxHost::new(self.dir.path(), Box::new(self.writer.clone()), Box::new(self.links.clone()))
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
        symlink(to, path).unwrap();
    }

    fn device(&self, address: &str, id: &str) {
        self.file(&device(address, "vendor"), "0x8086\n");
        self.file(&device(address, "device"), format!("{id}\n"));
        self.file(&device(address, "class"), "0x020000\n");
        self.file(&device(address, "numa_node"), "-1\n");
        self.file(&device(address, "driver_override"), "(null)\n");
        let modalias = format!("pci:v00008086d0000{}sv0sd0bc02sc00i00\n", &id[2..].to_uppercase());
        self.file(&device(address, "modalias"), modalias);
    }

    pub(crate) fn bind(&self, address: &str, driver: &str) {
        fs::create_dir_all(self.path(&format!("sys/bus/pci/drivers/{driver}"))).unwrap();
        self.link(&device(address, "driver"), &format!("../../drivers/{driver}"));
    }

    pub(crate) fn group(&self, address: &str, group: u32) {
        self.link(
            &device(address, "iommu_group"),
            &format!("../../../../kernel/iommu_groups/{group}"),
        );
        self.file(&format!("sys/kernel/iommu_groups/{group}/devices/{address}"), "");
    }

    pub(crate) fn netdev(&self, address: &str, name: &str, ifindex: u32) {
        let net = |file: &str| device(address, &format!("net/{name}/{file}"));
        self.file(&net("ifindex"), format!("{ifindex}\n"));
        self.file(&net("address"), "02:00:00:00:00:0a\n");
        self.file(&net("addr_assign_type"), "1\n");
        self.file(&net("flags"), "0x1003\n");
        self.file(&net("carrier"), "1\n");
        self.file(&net("mtu"), "1500\n");
        self.links.0.lock().unwrap().entry(ifindex).or_default();
    }

    /// A process that has a file open.
    pub(crate) fn opener(&self, pid: u32, name: &str, node: &str) {
        self.file(&format!("proc/{pid}/comm"), format!("{name}\n"));
        self.link(&format!("proc/{pid}/fd/3"), node);
    }
}

pub(crate) fn device(address: &str, file: &str) -> String {
    format!("sys/bus/pci/devices/{address}/{file}")
}

/// A link, and what goes through it.
#[derive(Clone, Default, Debug)]
pub(crate) struct FakeLink {
    pub(crate) link: Link,
    pub(crate) addresses: Vec<String>,
    pub(crate) routes: Vec<String>,
    pub(crate) set: Vec<(VfIndex, VfSetting)>,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) features: BTreeSet<NetFeature>,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct FakeLinks(pub(crate) Arc<Mutex<BTreeMap<u32, FakeLink>>>);

impl FakeLinks {
    pub(crate) fn pf<T>(&self, act: impl FnOnce(&mut FakeLink) -> T) -> T {
        self.with(PF_IFINDEX, act).unwrap()
    }

    pub(crate) fn with<T>(
        &self,
        index: u32,
        act: impl FnOnce(&mut FakeLink) -> T,
    ) -> Result<T, Refusal> {
        let nodev = || std::io::Error::from_raw_os_error(19).into();
        self.0.lock().unwrap().get_mut(&index).map(act).ok_or_else(nodev)
    }
}

impl Links for FakeLinks {
    fn link(&self, index: u32, vfs: bool) -> Result<Link, Refusal> {
        self.with(index, |link| {
            let mut link = link.link.clone();
            if !vfs {
                link.vfs.clear();
            }
            link
        })
    }

    fn vf_counters(&self, _index: u32, _vf: VfIndex) -> Result<Option<Counters>, Refusal> {
        Ok(None)
    }

    fn addresses(&self, index: u32) -> Result<Vec<String>, Refusal> {
        self.with(index, |link| link.addresses.clone())
    }

    fn routes(&self, index: u32) -> Result<Vec<String>, Refusal> {
        self.with(index, |link| link.routes.clone())
    }

    fn features(&self, index: u32) -> Result<BTreeSet<NetFeature>, Refusal> {
        self.with(index, |link| link.features.clone())
    }

    fn set_vf(&self, index: u32, vf: VfIndex, setting: VfSetting) -> Result<(), Refusal> {
        self.with(index, |link| link.set.push((vf, setting)))
    }

    fn set_mac(&self, index: u32, mac: MacAddress) -> Result<(), Refusal> {
        self.with(index, |link| link.mac = Some(mac))
    }
}

/// Remembers what was written; answers with an error number where told to.
#[derive(Clone, Default, Debug)]
pub(crate) struct FakeWriter {
    pub(crate) written: Arc<Mutex<Vec<String>>>,
    pub(crate) errno: Arc<Mutex<Option<i32>>>,
    pub(crate) unfinished: Arc<Mutex<Vec<String>>>,
    /// Devices whose lock somebody holds.
    pub(crate) locked: Arc<Mutex<Vec<&'static str>>>,
}

impl Writer for FakeWriter {
    fn write(&self, path: &Path, value: &str, _: Duration) -> Result<(), HostError> {
        let text = path.display().to_string();
        let from = text.find("/sys/").unwrap_or(0);
        self.written.lock().unwrap().push(format!("{} {value}", &text[from..]));
        match *self.errno.lock().unwrap() {
            None => Ok(()),
            Some(errno) => Err(HostError::File {
                doing: "write to".to_owned(),
                path: text,
                source: std::io::Error::from_raw_os_error(errno),
            }),
        }
    }

    fn modprobe(&self, module: &DriverName, _: Duration) -> Result<(), HostError> {
        self.written.lock().unwrap().push(format!("modprobe {module}"));
        Ok(())
    }

    fn read(&self, path: &Path) -> Reading {
        let locked = self.locked.lock().unwrap();
        if locked.iter().any(|device| path.display().to_string().contains(device)) {
            return Reading::Locked;
        }
        Reading::Done(std::fs::read(path))
    }

    fn unfinished(&self) -> Vec<String> {
        self.unfinished.lock().unwrap().clone()
    }
}
