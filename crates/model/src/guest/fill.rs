//! What a guest gets that its document left out.

use uuid::{Builder, Uuid};

use super::{
    BootDevice, Guest, Input, InputBus, InputKind, InterfaceModel, InterfaceSource, Memballoon,
    Placement, Video, VirtioOptions,
};
use crate::MacPrefix;

/// Where Debian's, Fedora's and SUSE's packages put QEMU.
pub const DEFAULT_EMULATOR: &str = "/usr/bin/qemu-system-x86_64";

/// Where variable stores are kept that the document gives no path.
const NVRAM_DIR: &str = "/var/lib/vfnet/nvram";

impl Guest {
    /// Adds what the document left out, as libvirt does when a guest is defined: UUID, MACs
    /// (52:54:00 and three random octets, different within the guest), emulator, machine, boot
    /// order, card model, keyboard and mouse, balloon, a card for the display, a path of the
    /// variable store. What is there stays; a second call changes nothing.
    pub fn fill_in(&mut self, random: &mut dyn FnMut() -> u64) {
        self.fill_in_with(MacPrefix::QEMU, random);
    }

    /// The same with another beginning of MACs.
    pub fn fill_in_with(&mut self, prefix: MacPrefix, random: &mut dyn FnMut() -> u64) {
        self.uuid.get_or_insert_with(|| drawn_uuid(random));
        self.emulator.get_or_insert_with(|| DEFAULT_EMULATOR.to_owned());
        self.os.machine.get_or_insert_with(|| "pc".to_owned());
        if let Some(nvram) = &mut self.os.nvram {
            nvram.path.get_or_insert_with(|| format!("{NVRAM_DIR}/{}_VARS.fd", self.name));
        }
        let by_device = self.disks.iter().any(|disk| disk.boot.is_some())
            || self.interfaces.iter().any(|interface| interface.boot.is_some())
            || self.hostdevs.iter().any(|hostdev| hostdev.boot.is_some());
        if self.os.boot.is_empty() && !by_device {
            self.os.boot.push(BootDevice::Hd);
        }
        for place in 0..self.interfaces.len() {
            if self.interfaces[place].mac.is_none() {
                let mac = loop {
                    let mac = prefix.drawn(random());
                    if self.interfaces.iter().all(|other| other.mac != Some(mac)) {
                        break mac;
                    }
                };
                self.interfaces[place].mac = Some(mac);
            }
            let interface = &mut self.interfaces[place];
            if !matches!(interface.source, InterfaceSource::Hostdev { .. }) {
                interface.model.get_or_insert(InterfaceModel::Rtl8139);
            }
        }
        for kind in [InputKind::Mouse, InputKind::Keyboard] {
            let there = |input: &Input| input.bus == InputBus::Ps2 && input.kind == kind;
            if !self.inputs.iter().any(there) {
                let placement = Placement::default();
                let (bus, virtio) = (InputBus::Ps2, VirtioOptions::default());
                self.inputs.push(Input { kind, bus, virtio, placement });
            }
        }
        if self.vnc.is_some() {
            self.video.get_or_insert_with(Video::usual);
        }
        self.memballoon.get_or_insert_with(|| Memballoon::Virtio(Placement::default()));
    }
}

fn drawn_uuid(random: &mut dyn FnMut() -> u64) -> Uuid {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&random().to_be_bytes());
    octets[8..].copy_from_slice(&random().to_be_bytes());
    Builder::from_random_bytes(octets).into_uuid()
}
