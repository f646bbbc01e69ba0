//! Which VFIO driver fits a device: `modules.alias` of the running kernel.

use vfnet_model::DriverName;

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
