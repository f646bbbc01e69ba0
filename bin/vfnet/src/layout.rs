//! Where a libvirt host keeps its documents, and a directory that was exported to
//! (libvirt: `virNetworkObj*`, `virDomainObj*`): the same below two directories.

use std::path::{Path, PathBuf};

/// The two directories.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    config: PathBuf,
    running: PathBuf,
}

impl Layout {
    /// A libvirt host whose root directory is at `root`.
    pub(crate) fn of_libvirt(root: &Path) -> Self {
        Self { config: root.join("etc/libvirt"), running: root.join("run/libvirt") }
    }

    /// A directory that was exported to, or is to be.
    pub(crate) fn of_directory(dir: &Path) -> Self {
        Self { config: dir.to_owned(), running: dir.join("running") }
    }

    /// Documents of kept networks.
    pub(crate) fn networks(&self) -> PathBuf {
        self.config.join("qemu/networks")
    }

    /// Documents of kept guests.
    pub(crate) fn guests(&self) -> PathBuf {
        self.config.join("qemu")
    }

    /// What of these starts with the host, as links beside them.
    pub(crate) fn autostart(documents: &Path) -> PathBuf {
        documents.join("autostart")
    }

    /// What is known of active networks.
    pub(crate) fn active_networks(&self) -> PathBuf {
        self.running.join("network")
    }

    /// Ports of an active network.
    pub(crate) fn ports(&self, network: &str) -> PathBuf {
        self.active_networks().join(network).join("ports")
    }

    /// What is known of running guests.
    pub(crate) fn running_guests(&self) -> PathBuf {
        self.running.join("qemu")
    }
}

/// The file of a document.
pub(crate) fn file(documents: &Path, name: &str) -> PathBuf {
    documents.join(format!("{name}.xml"))
}
