//! Controllers, disks and the smaller devices.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vfnet_model::guest::{
    Address, Backing, Cache, Controller, ControllerKind, Disk, DiskBus, DiskDevice, DiskFormat,
    DiskSource, Guest, InputBus, InputKind, MachineFamily, Memballoon, PciModel, Placement,
    RngBackend, UsbModel, VideoModel, VirtioOptions,
};

use super::arguments::Arguments;
use super::{Access, PlanError};

/// Ports of a SATA controller, and LUNs that libvirt puts on one SCSI controller.
const SATA_PORTS: u32 = 6;
const SCSI_UNITS: u32 = 7;
/// Channels of the IDE controller, and drives on each of them.
const IDE_CHANNELS: u32 = 2;
const IDE_UNITS: u32 = 2;

/// Adds what the devices need that the document does not name: disk, USB and virtio-serial
/// controllers, and addresses on them.
pub(super) fn add_controllers(guest: &mut Guest) -> Result<(), PlanError> {
    place_drives(guest)?;
    place_ports(guest)?;
    place_usb(guest)?;
    for controller in &mut guest.controllers {
        if let ControllerKind::Usb { model: model @ None, .. } = &mut controller.kind {
            *model = Some(usual_usb(guest.os.family()));
        }
    }
    Ok(())
}

const fn usual_usb(family: MachineFamily) -> UsbModel {
    match family {
        MachineFamily::Pc => UsbModel::Piix3Uhci,
        MachineFamily::Q35 => UsbModel::QemuXhci,
    }
}

fn need(guest: &mut Guest, index: u32, kind: ControllerKind) {
    let there = |it: &Controller| it.kind.word() == kind.word() && it.index == index;
    if !guest.controllers.iter().any(there) {
        guest.controllers.push(Controller { index, kind, placement: Placement::default() });
    }
}

fn place_drives(guest: &mut Guest) -> Result<(), PlanError> {
    let mut taken = BTreeSet::new();
    for disk in &guest.disks {
        if let Some(Address::Drive { controller, bus, target, unit }) = disk.placement.address {
            let fits = match disk.bus {
                DiskBus::Ide => {
                    let there = bus < IDE_CHANNELS && unit < IDE_UNITS;
                    controller == 0 && target == 0 && there
                }
                DiskBus::Sata => bus == 0 && target == 0 && unit < SATA_PORTS,
                DiskBus::Scsi | DiskBus::Virtio => bus == 0 && target < 256,
            };
            let free = taken.insert((disk.bus.word(), controller, bus, target, unit));
            if !fits || !free || controller > 254 {
                return Err(PlanError::Unsupported(format!(
                    "the address of disk '{}' is taken or impossible",
                    disk.target
                )));
            }
        }
    }
    for disk in &mut guest.disks {
        let (controllers, buses, units) = match disk.bus {
            DiskBus::Virtio => continue,
            DiskBus::Ide => (0..=0, IDE_CHANNELS, IDE_UNITS),
            DiskBus::Sata => (0..=254, 1, SATA_PORTS),
            DiskBus::Scsi => (0..=254, 1, SCSI_UNITS),
        };
        if disk.placement.address.is_none() {
            let (controller, bus, unit) = controllers
                .flat_map(|controller| (0..buses).map(move |bus| (controller, bus)))
                .flat_map(|(controller, bus)| (0..units).map(move |unit| (controller, bus, unit)))
                .find(|&(controller, bus, unit)| {
                    taken.insert((disk.bus.word(), controller, bus, 0, unit))
                })
                .ok_or_else(|| {
                    PlanError::Unsupported(format!("so many disks on bus '{}'", disk.bus))
                })?;
            disk.placement.address = Some(Address::Drive { controller, bus, target: 0, unit });
        }
    }
    let needed: Vec<_> = guest
        .disks
        .iter()
        .filter_map(|disk| match (disk.bus, &disk.placement.address) {
            (DiskBus::Ide, Some(Address::Drive { controller, .. })) => {
                Some((*controller, ControllerKind::Ide))
            }
            (DiskBus::Sata, Some(Address::Drive { controller, .. })) => {
                Some((*controller, ControllerKind::Sata))
            }
            (DiskBus::Scsi, Some(Address::Drive { controller, .. })) => {
                Some((*controller, ControllerKind::Scsi))
            }
            _ => None,
        })
        .collect();
    for (index, kind) in needed {
        need(guest, index, kind);
    }
    Ok(())
}

/// Ports of a virtio-serial controller, where the document does not say (QEMU: `max_ports`).
const SERIAL_PORTS: u32 = 31;

/// Channels and virtio consoles, on a further controller when the ports of one are taken. Port 0
/// is left free, as guests expect their first console there.
fn place_ports(guest: &mut Guest) -> Result<(), PlanError> {
    use vfnet_model::guest::ConsoleTarget;
    let ports_of = |index: u32| {
        let of = |it: &Controller| match it.kind {
            ControllerKind::VirtioSerial { ports, .. } if it.index == index => ports,
            _ => None,
        };
        guest.controllers.iter().find_map(of).unwrap_or(SERIAL_PORTS)
    };
    let ports: Vec<u32> = (0..=254).map(ports_of).collect();
    let consoles = guest.consoles.iter_mut().filter(|it| it.target == ConsoleTarget::Virtio);
    let mut placements: Vec<_> = consoles
        .map(|it| &mut it.placement)
        .chain(guest.channels.iter_mut().map(|it| &mut it.placement))
        .collect();
    let mut taken = BTreeSet::new();
    for placement in &placements {
        if let Some(Address::VirtioSerial { controller, port, .. }) = placement.address
            && !taken.insert((controller, port))
        {
            return Err(PlanError::Unsupported(format!(
                "port {port} of virtio-serial controller {controller} is taken"
            )));
        }
    }
    for placement in &mut placements {
        if placement.address.is_none() {
            let (controller, port) = (0..)
                .zip(&ports)
                .flat_map(|(controller, ports)| (1..*ports).map(move |port| (controller, port)))
                .find(|place| taken.insert(*place))
                .ok_or_else(|| PlanError::Unsupported("so many channels".to_owned()))?;
            placement.address = Some(Address::VirtioSerial { controller, bus: 0, port });
        }
    }
    for controller in taken.into_iter().map(|(controller, _)| controller).collect::<BTreeSet<_>>() {
        need(guest, controller, ControllerKind::VirtioSerial { ports: None, vectors: None });
    }
    Ok(())
}

/// Ports of a USB controller as QEMU makes it.
fn usb_ports(guest: &Guest, index: u32) -> u32 {
    let usual = usual_usb(guest.os.family());
    let of = |it: &Controller| match it.kind {
        ControllerKind::Usb { model, ports }
            if it.index == index && it.kind.companion_from().is_none() =>
        {
            Some((model.unwrap_or(usual), ports))
        }
        _ => None,
    };
    match guest.controllers.iter().find_map(of).unwrap_or((usual, None)) {
        (UsbModel::Piix3Uhci, _) => 2,
        (UsbModel::QemuXhci | UsbModel::NecXhci, ports) => ports.unwrap_or(4),
        (UsbModel::Ich9Ehci1, _) => 6,
        (UsbModel::None | UsbModel::Ich9Uhci1 | UsbModel::Ich9Uhci2 | UsbModel::Ich9Uhci3, _) => 0,
    }
}

/// USB devices, on a further controller when the ports of one are taken.
fn place_usb(guest: &mut Guest) -> Result<(), PlanError> {
    let ports: Vec<u32> = (0..=254).map(|index| usb_ports(guest, index)).collect();
    let mut taken = BTreeSet::new();
    let mut usb: Vec<_> = guest.inputs.iter_mut().filter(|it| it.bus == InputBus::Usb).collect();
    if usb.is_empty() {
        return Ok(());
    }
    for input in &usb {
        if let Some(Address::Usb { bus, port }) = input.placement.address
            && (!taken.insert((bus, port)) || port == 0)
        {
            return Err(PlanError::Unsupported(format!("USB port {port} of bus {bus} is taken")));
        }
    }
    for input in &mut usb {
        if input.placement.address.is_none() {
            let (bus, port) = (0..)
                .zip(&ports)
                .flat_map(|(bus, ports)| (1..=*ports).map(move |port| (bus, port)))
                .find(|place| taken.insert(*place))
                .ok_or_else(|| PlanError::Unsupported("so many USB devices".to_owned()))?;
            input.placement.address = Some(Address::Usb { bus, port });
        }
    }
    for bus in taken.into_iter().map(|(bus, _)| bus).collect::<BTreeSet<_>>() {
        need(guest, bus, ControllerKind::Usb { model: None, ports: None });
    }
    let none = |it: &Controller| {
        matches!(it.kind, ControllerKind::Usb { model: Some(UsbModel::None), .. })
    };
    if guest.controllers.iter().any(none) {
        return Err(PlanError::Unsupported("a USB device without a USB controller".to_owned()));
    }
    Ok(())
}

/// The bus name and address of a PCI device, as properties of it.
pub(super) fn pci(properties: &mut Map<String, Value>, placement: &Placement, buses: &Buses) {
    if let Some(Address::Pci { at, multifunction }) = &placement.address {
        properties.insert("bus".into(), buses.pci(at.bus()).into());
        properties.insert("addr".into(), format!("{:#x}.{:#x}", at.slot(), at.function()).into());
        if let Some(multifunction) = multifunction {
            properties.insert("multifunction".into(), (*multifunction).into());
        }
    }
}

/// Names of QEMU's buses.
#[derive(Debug, Default)]
pub(super) struct Buses {
    /// Aliases of controllers, by type and index.
    aliases: BTreeMap<(&'static str, u32), String>,
}

impl Buses {
    pub(super) fn of(guest: &Guest) -> Self {
        let alias = |it: &Controller| it.placement.alias.clone().unwrap_or_default();
        let key = |it: &Controller| (it.kind.word(), it.index);
        // A companion has no bus of its own.
        let buses = guest.controllers.iter().filter(|it| it.kind.companion_from().is_none());
        Self { aliases: buses.map(|it| (key(it), alias(it))).collect() }
    }

    fn pci(&self, index: u8) -> String {
        self.controller("pci", index.into())
    }

    fn controller(&self, kind: &'static str, index: u32) -> String {
        self.aliases.get(&(kind, index)).cloned().unwrap_or_default()
    }

    /// virtio-serial bus of that number.
    pub(super) fn virtio_serial(&self, index: u32) -> String {
        format!("{}.0", self.controller("virtio-serial", index))
    }
}

/// A `-device` with its id and PCI place.
pub(super) fn pci_device(
    out: &mut Arguments,
    buses: &Buses,
    driver: &str,
    placement: &Placement,
    more: Value,
) {
    let mut properties = object(more);
    properties.insert("driver".into(), driver.into());
    properties.insert("id".into(), placement.alias.clone().into());
    pci(&mut properties, placement, buses);
    out.json("-device", &Value::Object(properties));
}

/// Properties of a virtio device and what else it is told.
fn with_options(mut properties: Value, options: VirtioOptions) -> Value {
    let states =
        [("iommu_platform", options.iommu), ("ats", options.ats), ("packed", options.packed)];
    for (name, state) in states {
        if let Some(on) = state {
            properties[name] = on.into();
        }
    }
    properties
}

/// Properties without those that are null.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

pub(super) fn write_controllers(guest: &Guest, buses: &Buses, out: &mut Arguments) {
    let q35 = guest.os.family() == MachineFamily::Q35;
    for controller in &guest.controllers {
        let placement = &controller.placement;
        match &controller.kind {
            ControllerKind::Pci { model, chassis, port, hotplug, .. } => {
                let Some(device) = controller.kind.pci_device() else { continue };
                let more = match model {
                    PciModel::PciBridge => json!({"chassis_nr": chassis}),
                    _ => json!({"chassis": chassis, "port": port, "hotplug": hotplug}),
                };
                pci_device(out, buses, device, placement, more);
            }
            ControllerKind::Usb { model: Some(UsbModel::Piix3Uhci), .. } => {
                pci_device(out, buses, "piix3-usb-uhci", placement, json!({}));
            }
            ControllerKind::Usb { model: Some(model), ports } => {
                let driver = match model {
                    UsbModel::NecXhci => "nec-usb-xhci",
                    UsbModel::QemuXhci => "qemu-xhci",
                    UsbModel::Ich9Ehci1 => "ich9-usb-ehci1",
                    UsbModel::Ich9Uhci1 => "ich9-usb-uhci1",
                    UsbModel::Ich9Uhci2 => "ich9-usb-uhci2",
                    UsbModel::Ich9Uhci3 => "ich9-usb-uhci3",
                    UsbModel::Piix3Uhci | UsbModel::None => continue,
                };
                let Some(first) = model.companion_from() else {
                    pci_device(out, buses, driver, placement, json!({"p2": ports, "p3": ports}));
                    continue;
                };
                // It shares its alias with its master, and has no id of its own.
                let master = format!("{}.0", buses.controller("usb", controller.index));
                let more = json!({"driver": driver, "masterbus": master, "firstport": first});
                let mut properties = object(more);
                pci(&mut properties, placement, buses);
                out.json("-device", &Value::Object(properties));
            }
            ControllerKind::Sata if q35 && controller.index == 0 => {}
            ControllerKind::Sata => pci_device(out, buses, "ahci", placement, json!({})),
            ControllerKind::Scsi => {
                pci_device(out, buses, "virtio-scsi-pci", placement, json!({}));
            }
            ControllerKind::VirtioSerial { ports, vectors } => {
                let more = json!({"max_ports": ports, "vectors": vectors});
                pci_device(out, buses, "virtio-serial-pci", placement, more);
            }
            ControllerKind::Usb { model: None, .. } | ControllerKind::Ide => {}
        }
    }
}

pub(super) fn write_disks(guest: &Guest, buses: &Buses, out: &mut Arguments) {
    for disk in &guest.disks {
        let drive = disk.source.as_ref().map(|source| write_blockdev(disk, source, out));
        let write_cache = match disk.cache {
            Some(Cache::Writethrough | Cache::Directsync) => Some("off"),
            Some(Cache::None | Cache::Writeback | Cache::Unsafe) => Some("on"),
            Some(Cache::Default) | None => None,
        };
        let cdrom = disk.device == DiskDevice::Cdrom;
        let write_cache = write_cache.filter(|_| !cdrom);
        let ide = matches!(disk.bus, DiskBus::Ide | DiskBus::Sata);
        let (model, product) = if ide { (&disk.product, &None) } else { (&None, &disk.product) };
        let common = json!({
            "drive": drive, "bootindex": disk.boot, "serial": disk.serial,
            "write-cache": write_cache, "id": disk.placement.alias,
            "model": model, "product": product, "vendor": disk.vendor,
        });
        match (disk.bus, &disk.placement.address) {
            (DiskBus::Virtio, _) => {
                let more = with_options(common, disk.virtio);
                pci_device(out, buses, "virtio-blk-pci", &disk.placement, more);
            }
            (
                DiskBus::Ide | DiskBus::Sata,
                Some(Address::Drive { controller, bus: channel, unit, .. }),
            ) => {
                let mut properties = object(common);
                let driver = if cdrom { "ide-cd" } else { "ide-hd" };
                properties.insert("driver".into(), driver.into());
                let name = buses.controller(disk.bus.word(), *controller);
                let bus = if disk.bus == DiskBus::Ide {
                    properties.insert("unit".into(), (*unit).into());
                    format!("{name}.{channel}")
                } else {
                    format!("{name}.{unit}")
                };
                properties.insert("bus".into(), bus.into());
                out.json("-device", &Value::Object(properties));
            }
            (DiskBus::Scsi, Some(Address::Drive { controller, target, unit, .. })) => {
                let mut properties = object(common);
                let driver = if cdrom { "scsi-cd" } else { "scsi-hd" };
                properties.insert("driver".into(), driver.into());
                let bus = format!("{}.0", buses.controller("scsi", *controller));
                properties.insert("bus".into(), bus.into());
                properties.insert("channel".into(), 0.into());
                properties.insert("scsi-id".into(), (*target).into());
                properties.insert("lun".into(), (*unit).into());
                out.json("-device", &Value::Object(properties));
            }
            (DiskBus::Ide | DiskBus::Sata | DiskBus::Scsi, _) => {}
        }
    }
}

/// The nodes behind the disk of this target: its bytes, and its format on top of them.
pub(super) fn nodes_of(target: &str) -> [String; 2] {
    [format!("{target}-storage"), format!("{target}-format")]
}

/// The disk's bytes and its format; returns the node that the device uses.
fn write_blockdev(disk: &Disk, source: &DiskSource, out: &mut Arguments) -> String {
    let (driver, path) = driver_of(source);
    let access = if disk.readonly { Access::Read } else { Access::ReadWrite };
    let file = out.file(path, access, None);
    let cache = match disk.cache {
        Some(Cache::None | Cache::Directsync) => Some(json!({"direct": true, "no-flush": false})),
        Some(Cache::Unsafe) => Some(json!({"direct": false, "no-flush": true})),
        Some(Cache::Writethrough | Cache::Writeback) => {
            Some(json!({"direct": false, "no-flush": false}))
        }
        Some(Cache::Default) | None => None,
    };
    let [storage, format] = nodes_of(&disk.target);
    let discard = disk.discard.map(|discard| discard.word());
    out.json(
        "-blockdev",
        &Value::Object(object(json!({
            "driver": driver, "filename": file, "node-name": storage, "read-only": disk.readonly,
            "aio": disk.io.map(|io| io.word()),
            "cache": cache, "discard": discard,
        }))),
    );
    let driver = match disk.format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    };
    let backing = backing_of(disk.format, &disk.backing, &cache, out);
    let mut image = object(json!({
        "driver": driver, "file": storage, "node-name": format, "read-only": disk.readonly,
        "cache": cache, "discard": discard,
    }));
    image.extend(backing.map(|backing| ("backing".to_owned(), backing)));
    out.json("-blockdev", &Value::Object(image));
    format
}

fn driver_of(source: &DiskSource) -> (&'static str, &str) {
    match source {
        DiskSource::File(path) => ("file", path),
        DiskSource::Block(path) => ("host_device", path),
    }
}

/// What is behind an image, as nodes that go with it and have no names. Null where nothing is,
/// which keeps QEMU from looking.
fn backing_of(
    format: DiskFormat,
    backing: &Backing,
    cache: &Option<Value>,
    out: &mut Arguments,
) -> Option<Value> {
    let image = match backing {
        _ if format == DiskFormat::Raw => return None,
        Backing::Unsaid => return None,
        Backing::Nothing => return Some(Value::Null),
        Backing::Image(image) => image,
    };
    let (driver, path) = driver_of(&image.source);
    let filename = out.file(path, Access::Read, None);
    let storage = object(json!({
        "driver": driver, "filename": filename, "read-only": true, "cache": cache,
    }));
    let mut node = object(json!({
        "driver": image.format.word(), "file": storage, "read-only": true, "cache": cache,
    }));
    let behind = backing_of(image.format, &image.backing, cache, out);
    node.extend(behind.map(|behind| ("backing".to_owned(), behind)));
    Some(Value::Object(node))
}

/// Input, graphics card, balloon and entropy.
pub(super) fn write_small(guest: &Guest, buses: &Buses, out: &mut Arguments) {
    for input in &guest.inputs {
        let driver = match (input.bus, input.kind) {
            (InputBus::Ps2, _) => continue,
            (InputBus::Usb, InputKind::Tablet) => "usb-tablet",
            (InputBus::Usb, InputKind::Mouse) => "usb-mouse",
            (InputBus::Usb, InputKind::Keyboard) => "usb-kbd",
            (InputBus::Virtio, InputKind::Tablet) => "virtio-tablet-pci",
            (InputBus::Virtio, InputKind::Mouse) => "virtio-mouse-pci",
            (InputBus::Virtio, InputKind::Keyboard) => "virtio-keyboard-pci",
        };
        if let Some(Address::Usb { bus, port }) = input.placement.address {
            let bus = format!("{}.0", buses.controller("usb", bus));
            out.json(
                "-device",
                &json!({
                    "driver": driver, "id": input.placement.alias, "bus": bus,
                    "port": port.to_string(),
                }),
            );
        } else {
            let more = with_options(json!({}), input.virtio);
            pci_device(out, buses, driver, &input.placement, more);
        }
    }
    for (place, video) in guest.video.iter().chain(&guest.more_videos).enumerate() {
        let bytes = video.vram_kib.map(|kib| u64::from(kib) * 1024);
        let mib = video.vram_kib.map(|kib| kib.div_ceil(1024).next_power_of_two());
        let (driver, more) = match video.model {
            VideoModel::Virtio if place > 0 => {
                ("virtio-gpu-pci", json!({"max_outputs": video.heads}))
            }
            VideoModel::Vga => ("VGA", json!({"vgamem_mb": mib})),
            // libvirt, too, leaves Cirrus its own memory: older documents ask for impossible ones.
            VideoModel::Cirrus => ("cirrus-vga", json!({})),
            VideoModel::Virtio => ("virtio-vga", json!({"max_outputs": video.heads})),
            VideoModel::Bochs => ("bochs-display", json!({"vgamem": bytes})),
            VideoModel::None => ("", json!({})),
        };
        if !driver.is_empty() {
            pci_device(out, buses, driver, &video.placement, more);
        }
    }
    if let Some(Memballoon::Virtio(placement)) = &guest.memballoon {
        pci_device(out, buses, "virtio-balloon-pci", placement, json!({}));
    }
    for (place, rng) in guest.rngs.iter().enumerate() {
        let id = format!("objrng{place}");
        match &rng.backend {
            RngBackend::Random(path) => {
                let file = out.file(path, Access::Read, None);
                let object = json!({"qom-type": "rng-random", "id": id, "filename": file});
                out.json("-object", &object);
            }
            RngBackend::Builtin => {
                out.json("-object", &json!({"qom-type": "rng-builtin", "id": id}));
            }
        }
        let (bytes, period) = match rng.rate {
            Some((bytes, period)) => (Some(bytes), Some(period.unwrap_or(1000))),
            None => (None, None),
        };
        let more = json!({"rng": id, "max-bytes": bytes, "period": period});
        pci_device(out, buses, "virtio-rng-pci", &rng.placement, more);
    }
}
