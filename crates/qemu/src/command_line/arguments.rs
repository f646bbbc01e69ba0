//! Arguments, descriptors and sockets as they are collected.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::hotplug::Command;
use super::{Access, FIRST_FD, ListenSocket, OpenFile, PlanError};

/// Most bytes of a socket's path (`sun_path` without its final 0).
const LONGEST_SOCKET_PATH: usize = 107;

/// What is collected while a guest's devices are gone through.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) args: Vec<OsString>,
    pub(super) files: Vec<OpenFile>,
    pub(super) sockets: Vec<ListenSocket>,
    /// Sets of descriptors that QEMU has already.
    fdsets: u32,
}

impl Arguments {
    /// Of a device for a QEMU that runs and has sets of descriptors below `fdset`.
    pub(super) fn for_more(fdset: u32) -> Self {
        Self { fdsets: fdset.saturating_sub(1), ..Self::default() }
    }

    /// The same as commands of QEMU's monitor. Descriptors are not named: they are sent.
    pub(super) fn said(&self) -> Result<Vec<Command>, PlanError> {
        let options = self.args.chunks_exact(2).filter_map(|pair| {
            let (option, value) = (pair.first()?.to_str()?, pair.get(1)?.to_str()?);
            let name = match option {
                "-netdev" => "netdev_add",
                "-blockdev" => "blockdev-add",
                "-device" => "device_add",
                _ => return None,
            };
            Some((name, value))
        });
        let said = options.map(|(name, value)| {
            let arguments = serde_json::from_str(value);
            let fault = |fault| PlanError::Unsupported(format!("a device of {value}: {fault}"));
            arguments.map(|arguments| Command { name, arguments }).map_err(fault)
        });
        said.collect()
    }

    /// A switch without value.
    pub(super) fn switch(&mut self, option: &str) {
        self.args.push(option.into());
    }

    /// A value that QEMU takes as it is (`-append`), or that is made of QEMU's own words.
    pub(super) fn plain(&mut self, option: &str, value: impl Into<OsString>) {
        self.args.push(option.into());
        self.args.push(value.into());
    }

    /// A value as JSON, in which no text of the user's can end a string.
    pub(super) fn json(&mut self, option: &str, value: &Value) {
        self.plain(option, value.to_string());
    }

    /// A file for QEMU; returns its name on the command line.
    pub(super) fn file(&mut self, path: &str, access: Access, template: Option<&String>) -> String {
        let fd = self.next_fd();
        let files = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let fdset = self.fdsets.saturating_add(files).saturating_add(1);
        self.plain("-add-fd", format!("set={fdset},fd={fd}"));
        let (path, template) = (PathBuf::from(path), template.map(PathBuf::from));
        self.files.push(OpenFile { path, access, fdset, fd, template });
        format!("/dev/fdset/{fdset}")
    }

    /// A listening socket for QEMU; returns its descriptor.
    pub(super) fn socket(&mut self, path: &Path) -> Result<i32, PlanError> {
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(PlanError::Unsupported(format!(
                "the socket path {} is longer than {LONGEST_SOCKET_PATH} bytes",
                path.display()
            )));
        }
        let fd = self.next_fd();
        self.sockets.push(ListenSocket { path: path.to_owned(), fd });
        Ok(fd)
    }

    fn next_fd(&self) -> i32 {
        let given = self.files.len() + self.sockets.len();
        FIRST_FD.saturating_add(i32::try_from(given).unwrap_or(i32::MAX))
    }
}

/// Text within an option that QEMU splits at commas (`-chardev`, `-name`).
pub(super) fn doubled_commas(text: &str) -> String {
    text.replace(',', ",,")
}
