//! Arguments, descriptors and sockets as they are collected.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Access, FIRST_FD, ListenSocket, OpenFile, PlanError};

/// Most bytes of a socket's path (`sun_path` without its final 0).
const LONGEST_SOCKET_PATH: usize = 107;

/// What is collected while a guest's devices are gone through.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) args: Vec<OsString>,
    pub(super) files: Vec<OpenFile>,
    pub(super) sockets: Vec<ListenSocket>,
}

impl Arguments {
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
        let fdset = u32::try_from(self.files.len()).unwrap_or(u32::MAX).saturating_add(1);
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
