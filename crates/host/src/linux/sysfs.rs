//! Files below a root directory: the kernel's, or a test's made-up ones.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use vfnet_model::PciAddress;

use crate::HostError;

/// Attributes have a page at most.
const ATTRIBUTE_MAX: u64 = 4096;

/// A directory of attributes, `/sys/bus/pci/devices/X` for one.
#[derive(Clone, Debug)]
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn dir(&self, name: impl AsRef<Path>) -> Self {
        Self(self.0.join(name))
    }

    pub(super) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// An attribute without white space around it; `None` when it is not there, or has no value
    /// now (some answer EINVAL then: `carrier` of a link that is down).
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, HostError> {
        let mut bytes = Vec::new();
        let found = File::open(self.0.join(name))
            .and_then(|file| file.take(ATTRIBUTE_MAX + 1).read_to_end(&mut bytes))
            .map(|_| bytes);
        self.text(name, found)
    }

    /// The same of what reading the attribute came to.
    pub(super) fn text(
        &self,
        name: &str,
        found: io::Result<Vec<u8>>,
    ) -> Result<Option<String>, HostError> {
        match found {
            Ok(bytes) if bytes.len() as u64 > ATTRIBUTE_MAX => {
                Err(self.unexpected(name, "more than a page", "an attribute of a page at most"))
            }
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.trim().to_owned())),
                Err(_) => Err(self.unexpected(name, "no text", "text")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(source) => Err(HostError::File {
                doing: "read".to_owned(),
                path: self.0.join(name).display().to_string(),
                source,
            }),
        }
    }

    /// An attribute as a value; `None` when it is not there.
    pub(super) fn value<T: FromStr>(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<T>, HostError> {
        self.read(name)?
            .map(|text| text.parse().map_err(|_| self.unexpected(name, &text, expected)))
            .transpose()
    }

    /// A number with `0x` before it.
    pub(super) fn hex(&self, name: &str) -> Result<Option<u32>, HostError> {
        let Some(text) = self.read(name)? else { return Ok(None) };
        let digits = text.strip_prefix("0x").unwrap_or("");
        u32::from_str_radix(digits, 16)
            .map(Some)
            .map_err(|_| self.unexpected(name, &text, "a number like 0x8086"))
    }

    /// The last part of where a symbolic link points; `None` when there is none, or it is no name
    /// of that kind.
    pub(super) fn link<T: FromStr>(&self, name: &str) -> Option<T> {
        fs::read_link(self.0.join(name)).ok()?.file_name()?.to_str()?.parse().ok()
    }

    /// The names in the directory, sorted; none when it is not there.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// The PCI devices in the directory.
    pub(super) fn devices(&self) -> Vec<PciAddress> {
        self.names().iter().filter_map(|name| name.parse().ok()).collect()
    }

    pub(super) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.join(name.as_ref())
    }

    pub(super) fn unexpected(&self, name: &str, found: &str, expected: &'static str) -> HostError {
        let path = self.0.join(name).display().to_string();
        HostError::Unexpected { path, found: found.chars().take(60).collect(), expected }
    }

    pub(super) fn missing(&self, name: &str) -> HostError {
        HostError::Gone { what: self.0.join(name).display().to_string() }
    }
}
