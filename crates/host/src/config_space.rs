//! PCI configuration space (sysfs: `config`), as far as node devices show it: the header's type,
//! and the PCI Express capability (PCI Express Base Specification, "PCI Express Capability
//! Structure"; kernel: `include/uapi/linux/pci_regs.h`).

use vfnet_model::node_device::{PciBridge, PciExpress, PciLink, PciLinkSpeed};

/// What can be read of a device's configuration space: all of it for root, 64 bytes for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigSpace<'a>(pub(crate) &'a [u8]);

const STATUS: usize = 0x06;
const STATUS_HAS_CAPABILITIES: u8 = 0x10;
const HEADER_TYPE: usize = 0x0e;
/// The other bits of the header's type; the highest is "has several functions".
const HEADER_KIND: u8 = 0x7f;
const CAPABILITIES: usize = 0x34;

const PCI_EXPRESS: u8 = 0x10;
const EXPRESS_FLAGS: usize = 0x02;
const EXPRESS_LINK_CAPABLE: usize = 0x0c;
const EXPRESS_LINK_STATUS: usize = 0x12;
/// Length of conventional PCI's configuration space.
const CONVENTIONAL: usize = 256;
/// Sorts of PCI Express devices that sit in the root complex and have no link.
const INTEGRATED_ENDPOINT: u16 = 0x9;
const EVENT_COLLECTOR: u16 = 0xa;

/// As many capabilities as fit, so that a chain that bites its tail ends.
const MOST_CAPABILITIES: usize = 48;

impl ConfigSpace<'_> {
    /// Which sort of bridge it is, if one.
    pub(crate) fn bridge(self) -> Option<PciBridge> {
        match self.byte(HEADER_TYPE)? & HEADER_KIND {
            1 => Some(PciBridge::Pci),
            2 => Some(PciBridge::Cardbus),
            _ => None,
        }
    }

    /// The PCI Express capability, if there is one. A device without it is taken for PCI Express
    /// all the same when it has more than conventional PCI's configuration space, as host bridges
    /// do (libvirt does so too).
    pub(crate) fn express(self) -> Option<PciExpress> {
        let Some(at) = self.capability(PCI_EXPRESS) else {
            return (self.0.len() > CONVENTIONAL).then(PciExpress::default);
        };
        let kind = (self.half(at + EXPRESS_FLAGS)? >> 4) & 0xf;
        if matches!(kind, INTEGRATED_ENDPOINT | EVENT_COLLECTOR) {
            return Some(PciExpress::default());
        }
        let low = self.half(at + EXPRESS_LINK_CAPABLE)?;
        let port = self.byte(at + EXPRESS_LINK_CAPABLE + 3)?;
        let status = self.half(at + EXPRESS_LINK_STATUS)?;
        Some(PciExpress {
            capable: Some(link(low)),
            port: Some(port.into()),
            status: Some(link(status)),
        })
    }

    fn capability(self, wanted: u8) -> Option<usize> {
        if self.byte(STATUS)? & STATUS_HAS_CAPABILITIES == 0 {
            return None;
        }
        let mut at = self.byte(CAPABILITIES)?;
        for _ in 0..MOST_CAPABILITIES {
            // The two lowest bits are reserved; the header is no capability.
            let place = usize::from(at & 0xfc);
            if place < 0x40 {
                return None;
            }
            if self.byte(place)? == wanted {
                return Some(place);
            }
            at = self.byte(place + 1)?;
        }
        None
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn half(self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte(at)?, self.byte(at + 1)?]))
    }
}

/// Speed in the lowest four bits, lanes in the six above, of both registers.
fn link(register: u16) -> PciLink {
    PciLink {
        speed: PciLinkSpeed::from_register((register & 0xf).into()),
        width: u32::from((register >> 4) & 0x3f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An endpoint with a power management capability before its PCI Express one.
    fn endpoint(kind: u8) -> Vec<u8> {
        let mut config = vec![0; 256];
        config[STATUS] = STATUS_HAS_CAPABILITIES;
        config[CAPABILITIES] = 0x40;
        config[0x40..0x42].copy_from_slice(&[0x01, 0xa0]);
        config[0xa0..0xa4].copy_from_slice(&[PCI_EXPRESS, 0, 2 | (kind << 4), 0]);
        config[0xac..0xb0].copy_from_slice(&[0x81, 0, 0, 3]);
        config[0xb2..0xb4].copy_from_slice(&[0x42, 0]);
        config
    }

    #[test]
    fn a_link_is_read_from_its_registers() {
        let express = ConfigSpace(&endpoint(0)).express().unwrap();
        assert_eq!(express.port, Some(3));
        assert_eq!(express.capable, Some(PciLink { speed: Some(PciLinkSpeed::Gt2_5), width: 8 }));
        assert_eq!(express.status, Some(PciLink { speed: Some(PciLinkSpeed::Gt5), width: 4 }));
    }

    #[test]
    fn what_is_in_the_root_complex_has_no_link() {
        for kind in [9, 10] {
            assert_eq!(ConfigSpace(&endpoint(kind)).express(), Some(PciExpress::default()));
        }
    }

    #[test]
    fn what_has_the_space_of_pci_express_has_no_link_without_its_capability() {
        assert_eq!(ConfigSpace(&[0; 256]).express(), None);
        assert_eq!(ConfigSpace(&[0; 4096]).express(), Some(PciExpress::default()));
    }

    #[test]
    fn a_header_says_which_bridge_it_is_of() {
        let mut config = endpoint(0);
        for (kind, bridge) in
            [(0, None), (0x80, None), (0x81, Some(PciBridge::Pci)), (2, Some(PciBridge::Cardbus))]
        {
            config[HEADER_TYPE] = kind;
            assert_eq!(ConfigSpace(&config).bridge(), bridge);
        }
    }

    #[test]
    fn a_space_cut_short_or_in_a_circle_has_no_capability() {
        let config = endpoint(0);
        for len in [0, 7, 0x34, 64, 0xa1, 0xb3] {
            assert_eq!(ConfigSpace(&config[..len]).express(), None, "{len}");
        }
        let mut circle = config;
        circle[0x41] = 0x40;
        assert_eq!(ConfigSpace(&circle).express(), None);
    }
}
