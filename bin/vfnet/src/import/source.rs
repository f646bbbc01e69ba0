//! The files that are taken over: what is there, read and paired up, and not judged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use uuid::Uuid;
use vfnet_model::port::{NetworkPort, Plug, PortOwner, print};
use vfnet_model::xml::elements::{passthrough_driver, pci_address, uuid, vlan_tags};
use vfnet_model::xml::{Document, DocumentError, Element, MAX_BYTES};

use crate::fault::Fault;
use crate::layout::{Layout, file};
use crate::moving::Kind;

/// A document, and the file that it comes from.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The document alone, without what is around it in the file.
    pub(super) text: String,
}

/// What there is of a network.
#[derive(Debug)]
pub(super) struct FoundNetwork {
    pub(super) name: String,
    pub(super) kept: Option<File>,
    pub(super) autostart: bool,
    /// Its document while it is active.
    pub(super) active: Option<File>,
    pub(super) ports: Vec<FoundPort>,
}

/// A port, by its file or by its running guest's.
#[derive(Debug)]
pub(super) struct FoundPort {
    pub(super) uuid: Uuid,
    pub(super) file: File,
}

/// What there is of a guest.
#[derive(Debug)]
pub(super) struct FoundGuest {
    pub(super) name: String,
    /// Its kept document, else that of the running guest.
    pub(super) file: File,
    pub(super) kept: bool,
    pub(super) autostart: bool,
    pub(super) runs: bool,
}

/// A file that cannot be read, or is not what its place says.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) why: String,
}

/// Everything that was found, by name.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) networks: Vec<FoundNetwork>,
    pub(super) guests: Vec<FoundGuest>,
    pub(super) unread: Vec<Unread>,
}

impl Source {
    /// Reads what is there. A directory that is absent has nothing in it; not all may be.
    pub(super) fn read(layout: &Layout) -> Result<Self, Fault> {
        let mut source = Self::default();
        let guests_dir = layout.guests();
        let active_dir = layout.active_networks();
        if !guests_dir.is_dir() && !active_dir.is_dir() {
            let source = io::ErrorKind::NotFound.into();
            return Err(Fault::Document { path: guests_dir, source });
        }
        let networks_dir = layout.networks();
        let mut kept = source.documents(Kind::Network, &networks_dir, &["network"])?;
        let mut active =
            source.documents(Kind::Network, &active_dir, &["networkstatus", "network"])?;
        for name in names(&kept, &active) {
            let ports = source.ports(&layout.ports(&name))?;
            source.networks.push(FoundNetwork {
                autostart: starts_with_the_host(&networks_dir, &name),
                kept: kept.remove(&name),
                active: active.remove(&name),
                ports,
                name,
            });
        }
        let mut kept = source.documents(Kind::Guest, &guests_dir, &["domain"])?;
        let mut running =
            source.documents(Kind::Guest, &layout.running_guests(), &["domstatus", "domain"])?;
        source.ports_of_running_guests(&running);
        for name in names(&kept, &running) {
            let (kept, running) = (kept.remove(&name), running.remove(&name));
            let (is_kept, runs) = (kept.is_some(), running.is_some());
            let autostart = starts_with_the_host(&guests_dir, &name);
            let Some(file) = kept.or(running) else { continue };
            source.guests.push(FoundGuest { name, file, kept: is_kept, autostart, runs });
        }
        Ok(source)
    }

    /// The documents of a directory, by the names that libvirt gives to their files. The
    /// document is what is found in the file by following `path`.
    fn documents(
        &mut self,
        kind: Kind,
        dir: &Path,
        path: &[&str],
    ) -> Result<BTreeMap<String, File>, Fault> {
        let fault = |source| Fault::Document { path: dir.to_owned(), source };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(fault(source)),
        };
        let mut documents = BTreeMap::new();
        for entry in entries {
            let at = entry.map_err(fault)?.path();
            let name = at.file_name().and_then(|name| name.to_str());
            let Some(name) = name.and_then(|name| name.strip_suffix(".xml")) else { continue };
            if name.starts_with('.') || at.is_dir() {
                continue;
            }
            let name = name.to_owned();
            let read = read(&at).map_err(|fault| fault.to_string());
            match read.and_then(|text| within(&text, path).map_err(|fault| fault.to_string())) {
                Ok(text) => {
                    documents.insert(name, File { path: at, text });
                }
                Err(why) => self.unread.push(Unread { kind, name, path: at, why }),
            }
        }
        Ok(documents)
    }

    fn ports(&mut self, dir: &Path) -> Result<Vec<FoundPort>, Fault> {
        let mut ports = Vec::new();
        for (name, file) in self.documents(Kind::Port, dir, &["networkport"])? {
            match name.parse() {
                Ok(uuid) => ports.push(FoundPort { uuid, file }),
                Err(fault) => {
                    let why = format!("its name is no UUID: {fault}");
                    self.unread.push(Unread { kind: Kind::Port, name, path: file.path, why });
                }
            }
        }
        Ok(ports)
    }

    /// Where libvirt's network daemon has lost its ports, its guests still know theirs.
    fn ports_of_running_guests(&mut self, running: &BTreeMap<String, File>) {
        for (name, file) in running {
            match ports_of(&file.text) {
                Ok(ports) => {
                    for (network, port) in ports {
                        self.add_port(&network, &port, &file.path);
                    }
                }
                Err(fault) => self.unread.push(Unread {
                    kind: Kind::Guest,
                    name: name.clone(),
                    path: file.path.clone(),
                    why: format!("its ports are not understood: {fault}"),
                }),
            }
        }
    }

    fn add_port(&mut self, network: &str, port: &NetworkPort, from: &Path) {
        let Some(network) = self.networks.iter_mut().find(|it| it.name == network) else {
            return self.unread.push(Unread {
                kind: Kind::Port,
                name: port.uuid.to_string(),
                path: from.to_owned(),
                why: format!("there is no network '{network}'"),
            });
        };
        if network.ports.iter().all(|known| known.uuid != port.uuid) {
            let file = File { path: from.to_owned(), text: print(port) };
            network.ports.push(FoundPort { uuid: port.uuid, file });
        }
    }
}

/// The names that either has, in order.
fn names(some: &BTreeMap<String, File>, more: &BTreeMap<String, File>) -> Vec<String> {
    let mut names: Vec<_> = some.keys().chain(more.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names
}

fn starts_with_the_host(documents: &Path, name: &str) -> bool {
    file(&Layout::autostart(documents), name).symlink_metadata().is_ok()
}

/// Reads a file, and nothing that has no end: opening a FIFO would wait for its writer.
fn read(path: &Path) -> io::Result<String> {
    // One byte more than is read is enough to see that it is too long.
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// The element that `path` leads to from the root, by itself.
fn within(text: &str, path: &[&str]) -> Result<String, DocumentError> {
    let document = Document::parse(text)?;
    let (root, below) = path.split_first().unwrap_or((&"", &[]));
    let mut element = document.root(root)?;
    for name in below {
        element = needed(&element, name)?;
    }
    Ok(element.raw_standalone())
}

fn needed<'d, 'a>(element: &Element<'d, 'a>, name: &str) -> Result<Element<'d, 'a>, DocumentError> {
    element
        .child(name)?
        .ok_or_else(|| element.invalid(format!("<{}> needs <{name}>", element.name())))
}

/// The ports of a running guest, each with its network's name, as its document shows them
/// (libvirt: `virDomainActualNetDef`).
fn ports_of(guest: &str) -> Result<Vec<(String, NetworkPort)>, DocumentError> {
    let document = Document::parse(guest)?;
    let domain = document.root("domain")?;
    let name = needed(&domain, "name")?;
    let not_a_name = |fault: vfnet_model::names::BadName| name.invalid(fault.to_string());
    let owner = PortOwner {
        name: name.text().parse().map_err(not_a_name)?,
        uuid: uuid(&needed(&domain, "uuid")?)?,
    };
    let Some(devices) = domain.child("devices")? else { return Ok(Vec::new()) };
    let mut ports = Vec::new();
    for interface in devices.children("interface") {
        let (Some(source), Some(actual)) = (interface.child("source")?, interface.child("actual")?)
        else {
            continue;
        };
        let (Some(network), Some(id)) = (source.attribute("network"), source.attribute("portid"))
        else {
            continue;
        };
        let id = id.parse().map_err(|_| source.invalid(format!("'{id}' is no UUID")))?;
        let plug = match actual.attribute("type") {
            Some("hostdev") => passed_through(&actual)?,
            Some("bridge") => Plug::Bridge(needed(&actual, "source")?.required_parsed("bridge")?),
            _ => continue,
        };
        let port = NetworkPort {
            uuid: id,
            owner: owner.clone(),
            group: source.attribute("portgroup").map(ToOwned::to_owned),
            mac: needed(&interface, "mac")?.required_parsed("address")?,
            virtual_port: None,
            bandwidth: None,
            vlan: actual.child("vlan")?.map(|element| vlan_tags(&element)).transpose()?,
            isolated: None,
            trust_guest_rx_filters: None,
            plug,
        };
        ports.push((network.to_owned(), port));
    }
    Ok(ports)
}

fn passed_through(actual: &Element<'_, '_>) -> Result<Plug, DocumentError> {
    Ok(Plug::HostdevPci {
        managed: actual.yes_no("managed")?.unwrap_or(false),
        driver: match actual.child("driver")? {
            Some(driver) => passthrough_driver(&driver)?,
            None => None,
        },
        address: pci_address(&needed(&needed(actual, "source")?, "address")?)?,
    })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_has_no_end_among_the_documents_is_said_and_not_waited_for() {
        let root = tempfile::tempdir().expect("a directory");
        let guests = root.path().join("etc/libvirt/qemu");
        fs::create_dir_all(guests.join("folder.xml")).expect("directories");
        mknodat(CWD, guests.join("fifo.xml"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
        std::os::unix::fs::symlink("/dev/zero", guests.join("zero.xml")).expect("a link");
        let huge = fs::File::create(guests.join("huge.xml")).expect("a file");
        huge.set_len(1 << 40).expect("a hole");
        let found = Source::read(&Layout::of_libvirt(root.path())).expect("a list");
        assert!(found.guests.is_empty(), "{found:?}");
        let mut unread: Vec<_> = found.unread.iter().map(|it| it.name.as_str()).collect();
        unread.sort_unstable();
        assert_eq!(unread, ["fifo", "huge", "zero"]);
    }
}
