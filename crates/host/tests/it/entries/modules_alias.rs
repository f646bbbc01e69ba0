//! What has to hold of whatever stands in `modules.alias`, and in a device's `modalias`.

use vfnet_host::linux::alias::{best_vfio_driver, is_vfio_driver};

/// A device's `modalias`, a line's end, then the file.
pub(crate) fn modules_alias(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((modalias, aliases)) = text.split_once('\n') else { return };
    if let Some(driver) = best_vfio_driver(aliases, modalias) {
        assert!(is_vfio_driver(aliases, &driver), "{driver} is none of the file's");
        // The one for a device is still the one when others are for no device.
        let more = format!("alias vfio_pci:nothing other\n{aliases}");
        assert_eq!(best_vfio_driver(&more, modalias).as_ref(), Some(&driver));
    }
}
