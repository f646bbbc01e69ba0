//! `vfnet export`: everything that the daemon keeps, as plain XML files, where a libvirt host
//! has them.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use vfnet_model::network::{Members, head};
use vfnet_rpc::flags;
use vfnet_rpc::objects::{Domain, ListArgs, Network};
use vfnet_rpc::remote::{
    ConnectListAllDomains, ConnectListAllNetworks, DomainFlags, DomainGetAutostart,
    DomainGetXmlDesc, DomainIsActive, DomainIsPersistent, DomainLookupByUuid, NetworkFlags,
    NetworkGetAutostart, NetworkGetXmlDesc, NetworkIsActive, NetworkIsPersistent,
    NetworkListAllPorts, NetworkPortGetXmlDesc, PortFlags, PortListArgs,
};

use crate::connection::Connection;
use crate::fault::{CallFault, Fault};
use crate::layout::{Layout, file};
use crate::moving::{Action, Item, Kind, Outcome, Report};
use crate::net::with_newline;
use crate::options::ExportOptions;
use crate::screen::Screen;

pub(crate) fn export(
    daemon: Connection,
    screen: &Screen,
    options: &ExportOptions,
) -> Result<(), Fault> {
    let mut export = Export {
        daemon,
        layout: Layout::of_directory(&options.dir),
        files: Vec::new(),
        report: Report::default(),
    };
    export.networks().map_err(Fault::call("read the networks"))?;
    export.guests().map_err(Fault::call("read the guests"))?;
    let Export { files, report, .. } = export;
    if !options.force {
        let there = files.iter().find(|it| it.path().symlink_metadata().is_ok());
        if let Some(there) = there {
            return Err(Fault::Exists { path: there.path().to_owned() });
        }
    }
    for it in files {
        it.write().map_err(|source| Fault::Write { path: it.path().to_owned(), source })?;
    }
    screen.report(&report, Report::view)?;
    match report.count(Outcome::Refused) {
        0 => Ok(()),
        refused => Err(Fault::Incomplete { refused }),
    }
}

/// A file to be written.
#[derive(Debug)]
enum Written {
    Document {
        path: PathBuf,
        text: String,
    },
    /// A link in the directory `autostart` beside a document.
    Autostart {
        path: PathBuf,
        document: PathBuf,
    },
}

impl Written {
    fn path(&self) -> &Path {
        match self {
            Self::Document { path, .. } | Self::Autostart { path, .. } => path,
        }
    }

    /// Whole or not at all.
    fn write(&self) -> io::Result<()> {
        let path = self.path();
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        fs::create_dir_all(dir)?;
        let fresh = dir.join(format!(".{}.new", name.display()));
        if let Err(fault) = fs::remove_file(&fresh)
            && fault.kind() != io::ErrorKind::NotFound
        {
            return Err(fault);
        }
        match self {
            Self::Document { text, .. } => {
                // It may hold a password.
                let mut file =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
            }
            Self::Autostart { document, .. } => symlink(document, &fresh)?,
        }
        fs::rename(&fresh, path)
    }
}

struct Export {
    daemon: Connection,
    layout: Layout,
    files: Vec<Written>,
    report: Report,
}

impl Export {
    fn networks(&mut self) -> Result<(), CallFault> {
        let all = ListArgs { need_results: 1, flags: 0 };
        let mut networks: Vec<_> =
            self.daemon.ask::<ConnectListAllNetworks>(&all)?.objects.into_iter().collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        for network in networks {
            if !self.is_file_name(Kind::Network, &network.name) {
                continue;
            }
            let dir = self.layout.networks();
            let text = self.network_document(&network, 0)?;
            if head(&text).is_ok_and(|head| !head.mode.is_served()) {
                let note = "it is the stock network daemon's, which keeps it";
                self.note(Outcome::Left, Kind::Network, &network.name, dir, Some(note));
                continue;
            }
            if self.daemon.ask::<NetworkIsPersistent>(&network)? != 0 {
                let text = self.network_document(&network, flags::NETWORK_XML_INACTIVE)?;
                let autostart = self.daemon.ask::<NetworkGetAutostart>(&network)? != 0;
                let note = note_for_libvirt(&text);
                self.add(Kind::Network, &network.name, &dir, text, note);
                if autostart {
                    self.add_autostart(&dir, &network.name);
                }
            }
            if self.daemon.ask::<NetworkIsActive>(&network)? != 0 {
                self.active(&network)?;
            }
        }
        Ok(())
    }

    fn network_document(&mut self, network: &Network, flags: u32) -> Result<String, CallFault> {
        let args = NetworkFlags { network: network.clone(), flags };
        Ok(with_newline(&self.daemon.ask::<NetworkGetXmlDesc>(&args)?))
    }

    /// What the network daemon of a libvirt host writes down of an active network: that it is
    /// active, and the ports of guests that other daemons run.
    fn active(&mut self, network: &Network) -> Result<(), CallFault> {
        let live = self.network_document(network, 0)?;
        let status = format!(
            "<networkstatus>\n<class_id bitmap='0-2'/>\n<floor sum='0'/>\n{live}</networkstatus>\n"
        );
        let path = file(&self.layout.active_networks(), &network.name);
        self.files.push(Written::Document { path, text: status });
        let args = PortListArgs { network: network.clone(), need_results: 1, flags: 0 };
        for port in self.daemon.ask::<NetworkListAllPorts>(&args)?.objects {
            let uuid = port.uuid.to_string();
            let text = self.daemon.ask::<NetworkPortGetXmlDesc>(&PortFlags { port, flags: 0 })?;
            if !self.is_own_guests(&text)? {
                let dir = self.layout.ports(&network.name);
                self.add(Kind::Port, &uuid, &dir, with_newline(&text), None);
            }
        }
        Ok(())
    }

    /// Whether a port's guest is one that the daemon itself runs, and not another daemon.
    fn is_own_guests(&mut self, port: &str) -> Result<bool, CallFault> {
        let Ok(port) = vfnet_model::port::parse(port) else { return Ok(false) };
        match self.daemon.ask::<DomainLookupByUuid>(&port.owner.uuid) {
            Ok(guest) => Ok(self.daemon.ask::<DomainIsActive>(&guest)? != 0),
            Err(CallFault::Reply(_)) => Ok(false),
            Err(lost) => Err(lost),
        }
    }

    fn guests(&mut self) -> Result<(), CallFault> {
        let all = ListArgs { need_results: 1, flags: 0 };
        let mut guests: Vec<_> =
            self.daemon.ask::<ConnectListAllDomains>(&all)?.objects.into_iter().collect();
        guests.sort_by(|a: &Domain, b| a.name.cmp(&b.name));
        let dir = self.layout.guests();
        for guest in guests {
            if !self.is_file_name(Kind::Guest, &guest.name) {
                continue;
            }
            if self.daemon.ask::<DomainIsPersistent>(&guest)? == 0 {
                let note = "it is forgotten when it ends, and has no document to keep";
                self.note(Outcome::Left, Kind::Guest, &guest.name, dir.clone(), Some(note));
                continue;
            }
            let flags = flags::DOMAIN_XML_INACTIVE | flags::DOMAIN_XML_SECURE;
            let autostart = self.daemon.ask::<DomainGetAutostart>(&guest)? != 0;
            let name = guest.name.to_string();
            let args = DomainFlags { domain: guest, flags };
            let text = with_newline(&self.daemon.ask::<DomainGetXmlDesc>(&args)?);
            self.add(Kind::Guest, &name, &dir, text, None);
            if autostart {
                self.add_autostart(&dir, &name);
            }
        }
        Ok(())
    }

    /// Names are the daemon's; one that leads elsewhere is not followed.
    fn is_file_name(&mut self, kind: Kind, name: &str) -> bool {
        let plain = !name.contains('/') && !name.starts_with('.');
        if !plain {
            let note = Some("a file cannot have this name");
            self.note(Outcome::Refused, kind, name, PathBuf::new(), note);
        }
        plain
    }

    fn note(
        &mut self,
        outcome: Outcome,
        kind: Kind,
        name: &str,
        file: PathBuf,
        note: Option<&str>,
    ) {
        let (name, note) = (name.to_owned(), note.map(ToOwned::to_owned));
        self.report.items.push(Item { outcome, action: Action::Export, kind, name, note, file });
    }

    fn add(&mut self, kind: Kind, name: &str, dir: &Path, text: String, note: Option<&str>) {
        let path = file(dir, name);
        self.note(Outcome::Done, kind, name, path.clone(), note);
        self.files.push(Written::Document { path, text });
    }

    fn add_autostart(&mut self, documents: &Path, name: &str) {
        let path = file(&Layout::autostart(documents), name);
        let document = file(Path::new(".."), name);
        self.files.push(Written::Autostart { path, document });
    }
}

/// What is to be known by whoever gives a network's document to stock libvirt.
fn note_for_libvirt(document: &str) -> Option<&'static str> {
    let network = vfnet_model::network::parse(document).ok()?;
    let pool = network.pool()?;
    match (&pool.members, document.contains(vfnet_model::network::NAMESPACE)) {
        (Members::Interfaces(_), _) => {
            Some("stock libvirt refuses a hostdev network of <interface>s: name them by <address>")
        }
        (Members::None, true) => {
            Some("stock libvirt ignores <vfnet:…>, and has an empty pool then: add <pf dev='…'/>")
        }
        (_, true) => Some("stock libvirt ignores <vfnet:…>: make the VFs otherwise there"),
        _ => None,
    }
}
