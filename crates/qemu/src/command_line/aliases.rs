//! Names of devices in QEMU, as libvirt gives them, where the user gives none.

use vfnet_model::guest::{
    Address, Attachment, ConsoleTarget, ControllerKind, Disk, DiskBus, Guest, MachineFamily,
    Memballoon, PciModel, Placement,
};

/// Gives every device an alias. Drives have their addresses already.
pub(super) fn give(guest: &mut Guest, attachments: &[Attachment]) {
    let q35 = guest.os.family() == MachineFamily::Q35;
    let mut virtio_disks = 0;
    for disk in &mut guest.disks {
        let name = disk_alias(disk, &mut virtio_disks);
        name_it(&mut disk.placement, name);
    }
    for controller in &mut guest.controllers {
        let index = controller.index;
        let name = match &controller.kind {
            // QEMU's own names of what the machine has.
            ControllerKind::Pci { model: PciModel::PcieRoot, .. } => "pcie.0".to_owned(),
            ControllerKind::Pci { model: PciModel::PciRoot, .. } => "pci.0".to_owned(),
            ControllerKind::Sata if q35 && index == 0 => "ide".to_owned(),
            ControllerKind::Ide => "ide".to_owned(),
            ControllerKind::Pci { .. } => format!("pci.{index}"),
            ControllerKind::Usb { .. } if index == 0 => "usb".to_owned(),
            kind => format!("{}{index}", kind.word()),
        };
        let machines_own = matches!(
            controller.kind,
            ControllerKind::Pci { model: PciModel::PcieRoot | PciModel::PciRoot, .. }
        ) || name == "ide";
        if machines_own {
            controller.placement.alias = None;
        }
        name_it(&mut controller.placement, name);
    }
    let (mut cards, mut hostdevs) = (0, 0);
    for (interface, attachment) in guest.interfaces.iter_mut().zip(attachments) {
        let name = match attachment {
            Attachment::Vf { .. } => numbered("hostdev", &mut hostdevs),
            Attachment::Bridge { .. } => numbered("net", &mut cards),
        };
        name_it(&mut interface.placement, name);
    }
    for hostdev in &mut guest.hostdevs {
        name_it(&mut hostdev.placement, numbered("hostdev", &mut hostdevs));
    }
    for (place, serial) in guest.serials.iter_mut().enumerate() {
        name_it(&mut serial.placement, format!("serial{place}"));
    }
    let first_serial = guest.serials.first().map(|serial| serial.placement.clone());
    for (place, console) in guest.consoles.iter_mut().enumerate() {
        match (console.target, &first_serial) {
            (ConsoleTarget::Serial, Some(serial)) => console.placement.clone_from(serial),
            _ => name_it(&mut console.placement, format!("console{place}")),
        }
    }
    for (place, channel) in guest.channels.iter_mut().enumerate() {
        name_it(&mut channel.placement, format!("channel{place}"));
    }
    for (place, input) in guest.inputs.iter_mut().enumerate() {
        name_it(&mut input.placement, format!("input{place}"));
    }
    if let Some(video) = &mut guest.video {
        name_it(&mut video.placement, "video0".to_owned());
    }
    for (place, video) in (1..).zip(&mut guest.more_videos) {
        name_it(&mut video.placement, format!("video{place}"));
    }
    if let Some(Memballoon::Virtio(placement)) = &mut guest.memballoon {
        name_it(placement, "balloon0".to_owned());
    }
    for (place, rng) in guest.rngs.iter_mut().enumerate() {
        name_it(&mut rng.placement, format!("rng{place}"));
    }
}

fn name_it(placement: &mut Placement, name: String) {
    placement.alias.get_or_insert(name);
}

fn numbered(name: &str, next: &mut u32) -> String {
    let numbered = format!("{name}{next}");
    *next += 1;
    numbered
}

fn disk_alias(disk: &Disk, virtio_disks: &mut u32) -> String {
    match (disk.bus, &disk.placement.address) {
        (DiskBus::Ide | DiskBus::Sata, Some(Address::Drive { controller, bus, unit, .. })) => {
            format!("{}{controller}-{bus}-{unit}", disk.bus)
        }
        (DiskBus::Scsi, Some(Address::Drive { controller, bus, target, unit })) => {
            format!("scsi{controller}-{bus}-{target}-{unit}")
        }
        _ => numbered("virtio-disk", virtio_disks),
    }
}
