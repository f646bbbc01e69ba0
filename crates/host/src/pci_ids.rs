//! Names of PCI vendors and products, from the file of the PCI ID repository (pciutils: `pci.ids`).

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Where distributions have the file, below the root.
const PLACES: [&str; 2] = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];

/// The file, and where in it each vendor's products are.
#[derive(Debug, Default)]
pub(crate) struct PciIds {
    text: String,
    vendors: HashMap<u16, Vendor>,
}

/// Lines of the file: the vendor's own, and those below it.
#[derive(Debug)]
struct Vendor {
    line: Range<usize>,
    products: Range<usize>,
}

impl PciIds {
    /// The machine's; without names where it has none.
    pub(crate) fn of(root: &Path) -> Self {
        let text = PLACES.iter().find_map(|place| fs::read(root.join(place)).ok());
        Self::parse(
            text.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default(),
        )
    }

    fn parse(text: String) -> Self {
        let mut vendors: HashMap<u16, Vendor> = HashMap::new();
        let mut current = None;
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let end = start + line.len();
            if line.starts_with('\t') {
                if let Some(vendor) = current.and_then(|id| vendors.get_mut(&id)) {
                    vendor.products.end = end;
                }
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                // A class starts with `C ` and has no vendor's products.
                current = entry(line).map(|(id, _)| id);
                if let Some(id) = current {
                    vendors.insert(id, Vendor { line: start..end, products: end..end });
                }
            }
            start = end;
        }
        Self { text, vendors }
    }

    /// The vendor's name.
    pub(crate) fn vendor(&self, vendor: u16) -> Option<&str> {
        let line = self.text.get(self.vendors.get(&vendor)?.line.clone())?;
        entry(line).map(|(_, name)| name)
    }

    /// The product's name.
    pub(crate) fn product(&self, vendor: u16, product: u16) -> Option<&str> {
        let products = self.text.get(self.vendors.get(&vendor)?.products.clone())?;
        // Two tabs are a subsystem.
        products.lines().find_map(|line| match entry(line.strip_prefix('\t')?)? {
            (id, name) if id == product => Some(name),
            _ => None,
        })
    }
}

/// `ID  NAME`.
fn entry(line: &str) -> Option<(u16, &str)> {
    let (id, name) = line.split_once("  ")?;
    let id = (id.len() == 4).then(|| u16::from_str_radix(id, 16).ok())??;
    Some((id, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# A comment
8086  Intel Corporation
\t10c9  82576 Gigabit Network Connection
\t\t103c 31ef  NC362i
\t\t10ca 0001  A subsystem of it
# Between
\t10ca  82576 Virtual Function
1af4  Red Hat, Inc.
\t1041  Virtio 1.0 network device
C 02  Network controller
\t00  Ethernet controller
";

    #[test]
    fn names_are_those_of_the_vendor_and_its_product() {
        let ids = PciIds::parse(FILE.to_owned());
        assert_eq!(ids.vendor(0x8086), Some("Intel Corporation"));
        assert_eq!(ids.product(0x8086, 0x10c9), Some("82576 Gigabit Network Connection"));
        assert_eq!(ids.product(0x8086, 0x10ca), Some("82576 Virtual Function"));
        assert_eq!(ids.product(0x1af4, 0x1041), Some("Virtio 1.0 network device"));
    }

    #[test]
    fn what_the_file_does_not_have_has_no_name() {
        let ids = PciIds::parse(FILE.to_owned());
        assert_eq!(ids.vendor(0x0002), None);
        assert_eq!(ids.product(0x8086, 0x103c), None);
        assert_eq!(ids.product(0x1af4, 0x10c9), None);
        for broken in ["", "\t10c9  x", "80860  x", "8086 x", "\t\t\n\n8086"] {
            assert_eq!(PciIds::parse(broken.to_owned()).vendor(0x8086), None, "{broken:?}");
        }
    }
}
