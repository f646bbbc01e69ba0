//! Storage pools and their volumes, as far as they are directories and files: their documents
//! (libvirt: formatstorage), and what the head of a disk image says of it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::PoolName;
use crate::names::BadName;
use crate::xml::elements::uuid;
use crate::xml::{Document, DocumentError, Element, Kind, Writer};

/// The longest path of a directory, in bytes (Linux: `PATH_MAX`, with its final zero).
const PATH_MAX: usize = 4095;

/// Why a text is no [`Directory`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the absolute path of a directory, without '..' and control characters")]
pub struct BadDirectory(String);

/// An absolute path that names each directory once: no `..`, no doubled and no final `/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Directory(String);

impl Directory {
    /// The directory that a file is in, by the file's path, and its name there.
    pub fn of_file(path: &str) -> Option<(Self, &str)> {
        let (directory, name) = path.rsplit_once('/')?;
        let directory = if directory.is_empty() { "/" } else { directory };
        Some((directory.parse().ok()?, name))
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.0.trim_end_matches('/'))
    }
}

impl AsRef<Path> for Directory {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Directory {
    type Err = BadDirectory;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> =
            path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let is_bad = !path.starts_with('/')
            || path.len() > PATH_MAX
            || parts.contains(&"..")
            || path.contains(char::is_control);
        if is_bad {
            return Err(BadDirectory(path.to_owned()));
        }
        Ok(Self(format!("/{}", parts.join("/"))))
    }
}

impl TryFrom<String> for Directory {
    type Error = BadDirectory;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        path.parse()
    }
}

impl From<Directory> for String {
    fn from(directory: Directory) -> Self {
        directory.0
    }
}

/// A pool of type `dir`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Its identity.
    pub uuid: Uuid,
    /// The directory whose files are its volumes.
    pub directory: Directory,
}

/// Reads a pool's document; without `<uuid>`, the pool gets `fresh`.
///
/// What libvirt only tells (sizes) is taken and not kept, and so is `<permissions>`, which is for
/// the making of the directory.
///
/// # Errors
/// The first thing that is malformed, missing or not understood, with its path and line; a pool of
/// another type is [`Kind::Unsupported`].
pub fn parse_pool(text: &str, fresh: Uuid) -> Result<Pool, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("pool")?;
    match root.required("type")? {
        "dir" => {}
        other => {
            let message = format!("a pool of type '{other}': only directories ('dir') are served");
            return Err(root.unsupported(message));
        }
    }
    let pool = Pool {
        name: name(&root)?,
        uuid: root.child("uuid")?.map_or(Ok(fresh), |element| uuid(&element))?,
        directory: directory(&root)?,
    };
    for told in ["capacity", "allocation", "available"] {
        if let Some(told) = root.child(told)? {
            told.attribute("unit");
            told.text();
        }
    }
    root.child("source")?;
    document.refuse_rest()?;
    Ok(pool)
}

fn name(root: &Element<'_, '_>) -> Result<PoolName, DocumentError> {
    let Some(element) = root.child("name")? else {
        return Err(root.error(Kind::NoName, "the pool has no <name>"));
    };
    element.text().parse().map_err(|fault: BadName| {
        let kind = match fault {
            BadName::Empty { .. } => Kind::NoName,
            BadName::TooLong { .. } | BadName::Character { .. } => Kind::Invalid,
        };
        element.error(kind, fault.to_string())
    })
}

fn directory(root: &Element<'_, '_>) -> Result<Directory, DocumentError> {
    let needs = || root.invalid("a pool of type 'dir' needs <target> with <path>");
    let target = root.child("target")?.ok_or_else(needs)?;
    let path = target.child("path")?.ok_or_else(needs)?;
    if let Some(permissions) = target.child("permissions")? {
        for told in ["mode", "owner", "group", "label"] {
            permissions.child_text(told)?;
        }
    }
    path.text().parse().map_err(|fault: BadDirectory| path.invalid(fault.to_string()))
}

/// How full the file system of a pool is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// All of it.
    pub capacity: u64,
    /// What is in use.
    pub allocation: u64,
    /// What is free.
    pub available: u64,
}

/// A pool's document.
pub fn print_pool(pool: &Pool, usage: Usage) -> String {
    let mut w = Writer::new();
    w.tag("pool").attr("type", "dir").body(|w| {
        w.text("name", &pool.name);
        w.text("uuid", pool.uuid);
        bytes(w, "capacity", usage.capacity);
        bytes(w, "allocation", usage.allocation);
        bytes(w, "available", usage.available);
        w.tag("source").open_body(|_nothing| {});
        w.tag("target").body(|w| w.text("path", &pool.directory));
    });
    w.finish()
}

/// A file of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its name in its directory.
    pub name: String,
    /// Its path, which is its key as well.
    pub path: String,
    /// What its head says.
    pub image: Image,
    /// Bytes that it takes up on its file system.
    pub allocation: u64,
    /// Bytes from its beginning to its end.
    pub physical: u64,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Its group.
    pub group: u32,
}

/// A volume's document.
pub fn print_volume(volume: &Volume) -> String {
    let mut w = Writer::new();
    w.tag("volume").attr("type", "file").body(|w| {
        w.text("name", &volume.name);
        w.text("key", &volume.path);
        bytes(w, "capacity", volume.image.capacity);
        bytes(w, "allocation", volume.allocation);
        bytes(w, "physical", volume.physical);
        w.tag("target").body(|w| {
            w.text("path", &volume.path);
            w.tag("format").attr("type", volume.image.format.name()).empty();
            w.tag("permissions").body(|w| {
                w.text("mode", format_args!("{:04o}", volume.mode));
                w.text("owner", volume.owner);
                w.text("group", volume.group);
            });
        });
    });
    w.finish()
}

fn bytes(w: &mut Writer, name: &str, count: u64) {
    w.tag(name).attr("unit", "bytes").text(count);
}

/// What a disk image is, and how large the disk in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image {
    /// How the disk is written in it.
    pub format: Format,
    /// Bytes of the disk, as a guest sees it.
    pub capacity: u64,
}

/// A format of disk images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The disk's bytes as they are.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl Format {
    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl Image {
    /// How much of a file [`Image::of`] looks at.
    pub const HEAD: usize = 32;

    /// What a file is that begins with `head` and has `length` bytes. A guest may have written its
    /// beginning: whatever is not a whole header of qcow2 is raw (QEMU: `docs/interop/qcow2.rst`:
    /// magic, version, and at byte 24 the disk's size, which QEMU holds in a signed number).
    pub fn of(head: &[u8], length: u64) -> Self {
        let raw = Self { format: Format::Raw, capacity: length };
        let Some((header, _)) = head.split_first_chunk::<{ Self::HEAD }>() else { return raw };
        let (magic, rest) = header.split_at(4);
        let (version, rest) = rest.split_at(4);
        let (_backing_file_and_clusters, size) = rest.split_at(16);
        let is_known = magic == b"QFI\xfb" && matches!(version, [0, 0, 0, 2 | 3]);
        let size = size.try_into().map(u64::from_be_bytes);
        match size {
            Ok(capacity) if is_known && i64::try_from(capacity).is_ok() => {
                Self { format: Format::Qcow2, capacity }
            }
            _ => raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str =
        "<pool type='dir'><name>images</name><target><path>/a//b/./c/</path></target></pool>";

    fn qcow2(version: u32, size: u64) -> Vec<u8> {
        let mut head = b"QFI\xfb".to_vec();
        head.extend(version.to_be_bytes());
        head.extend([0; 16]);
        head.extend(size.to_be_bytes());
        head
    }

    #[test]
    fn a_pool_that_is_printed_is_read_as_the_same() {
        let fresh = Uuid::from_u128(7);
        let pool = parse_pool(POOL, fresh).unwrap();
        assert_eq!((pool.uuid, pool.directory.to_string().as_str()), (fresh, "/a/b/c"));
        let usage = Usage { capacity: 3, allocation: 2, available: 1 };
        let printed = print_pool(&pool, usage);
        assert!(printed.contains("<available unit='bytes'>1</available>"), "{printed}");
        assert_eq!(parse_pool(&printed, Uuid::nil()), Ok(pool));
    }

    #[test]
    fn what_is_no_directory_of_ours_is_refused_by_name() {
        for (from, to, path) in [
            ("'dir'", "'iscsi'", "/pool"),
            ("/a//b/./c/", "a/b", "/pool/target/path"),
            ("/a//b/./c/", "/a/../b", "/pool/target/path"),
            ("images", "im/ages", "/pool/name"),
            ("<target>", "<features/><target>", "/pool/features"),
            ("<path>", "<encryption/><path>", "/pool/target/encryption"),
        ] {
            let fault = parse_pool(&POOL.replace(from, to), Uuid::nil()).unwrap_err();
            assert_eq!(fault.path, path, "{fault}");
        }
    }

    #[test]
    fn a_file_is_found_by_its_directory_and_name() {
        let of = |path| Directory::of_file(path).map(|(dir, name)| (dir.to_string(), name));
        assert_eq!(of("/a//b/disk.img"), Some(("/a/b".to_owned(), "disk.img")));
        assert_eq!(of("/disk.img"), Some(("/".to_owned(), "disk.img")));
        assert_eq!(of("disk.img"), None);
        let root: Directory = "/".parse().unwrap();
        assert_eq!(root.file("disk.img"), "/disk.img");
    }

    #[test]
    fn a_whole_header_of_qcow2_says_the_disks_size() {
        for version in [2, 3] {
            let image = Image::of(&qcow2(version, 1 << 30), 196_608);
            assert_eq!(image, Image { format: Format::Qcow2, capacity: 1 << 30 });
        }
    }

    #[test]
    fn whatever_else_a_file_begins_with_is_raw() {
        let raw = Image { format: Format::Raw, capacity: 512 };
        let whole = qcow2(3, 1 << 30);
        for head in [
            &[][..],
            &whole[..31],
            &qcow2(1, 1 << 30),
            &qcow2(4, 1 << 30),
            &qcow2(3, u64::MAX),
            &[0xff; Image::HEAD],
        ] {
            assert_eq!(Image::of(head, 512), raw, "{head:?}");
        }
    }
}
