//! Which VFIO driver fits a device: `modules.alias` of the running kernel.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfnet_model::DriverName;

/// What `modules.alias` says of VFIO drivers: a few lines of its megabyte, which is read again when
/// the file is another.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    file: Option<(PathBuf, Identity)>,
    lines: Arc<str>,
}

/// Inode, length, and when it was changed.
type Identity = (u64, u64, i64, i64);

impl Aliases {
    /// The lines; none where the file is not to be read.
    pub(super) fn of(&mut self, path: &Path) -> Arc<str> {
        let file = fs::metadata(path).ok().map(|found| (path.to_owned(), identity(&found)));
        if file.is_none() || file != self.file {
            let bytes = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let of_vfio = text.lines().filter(|line| vfio_alias(line).is_some());
            self.lines = of_vfio.flat_map(|line| [line, "\n"]).collect::<String>().into();
            self.file = file;
        }
        Arc::clone(&self.lines)
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.ino(), file.len(), file.ctime(), file.ctime_nsec())
}

/// The most specific driver among the lines `alias vfio_pci:PATTERN MODULE` for a device with
/// this `modalias` (`pci:v00008086d…`): the one with the fewest wildcards.
pub fn best_vfio_driver(aliases: &str, modalias: &str) -> Option<DriverName> {
    let device = modalias.strip_prefix("pci:")?;
    aliases
        .lines()
        .filter_map(vfio_alias)
        .filter(|(pattern, _)| matches(pattern.as_bytes(), device.as_bytes()))
        .min_by_key(|(pattern, _)| pattern.bytes().filter(|byte| *byte == b'*').count())
        .and_then(|(_, module)| driver_of(module))
}

/// Whether a driver is one of those modules.
pub fn is_vfio_driver(aliases: &str, driver: &DriverName) -> bool {
    aliases
        .lines()
        .filter_map(vfio_alias)
        .any(|(_, module)| driver_of(module).as_ref() == Some(driver))
}

fn vfio_alias(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("alias vfio_pci:")?.split_once(' ')
}

/// Modules are named with `_`; of the drivers only vfio-pci is named otherwise than its module.
fn driver_of(module: &str) -> Option<DriverName> {
    if module == "vfio_pci" { "vfio-pci".parse().ok() } else { module.trim().parse().ok() }
}

/// Whether a pattern with `*` for any characters matches a text. Linear in memory; takes back
/// only the last `*`, which is enough.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIASES: &str = "\
# Aliases extracted from modules themselves.
alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core
alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci
alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci
alias vfio_pci:
";

    #[test]
    fn the_driver_made_for_a_device_comes_before_the_one_for_all() {
        let best = |id| best_vfio_driver(ALIASES, &format!("pci:{id}sv0sd0bc02sc00i00"));
        assert_eq!(best("v000015B3d0000101E"), "mlx5_vfio_pci".parse().ok());
        assert_eq!(best("v00008086d000010CA"), "vfio-pci".parse().ok());
        assert_eq!(best_vfio_driver("", "pci:v0d0"), None);
    }

    #[test]
    fn of_the_file_the_lines_of_vfio_are_kept_until_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("modules.alias");
        let mut aliases = Aliases::default();
        assert_eq!(&*aliases.of(&path), "");
        fs::write(&path, ALIASES).expect("a file");
        assert_eq!(aliases.of(&path).lines().count(), 2);
        fs::write(&path, "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n").expect("a file");
        assert_eq!(aliases.of(&path).lines().count(), 1);
        fs::remove_file(&path).expect("no file");
        assert_eq!(&*aliases.of(&path), "");
    }

    #[test]
    fn a_network_driver_is_no_vfio_driver() {
        assert!(is_vfio_driver(ALIASES, &"mlx5_vfio_pci".parse().unwrap()));
        assert!(!is_vfio_driver(ALIASES, &"mlx5_core".parse().unwrap()));
    }

    #[test]
    fn stars_stand_for_anything() {
        assert!(matches(b"a*b*c", b"aXXbYbZc"));
        assert!(matches(b"*", b"") && matches(b"", b""));
        assert!(!matches(b"a*b", b"aXXc") && !matches(b"", b"a"));
    }
}
