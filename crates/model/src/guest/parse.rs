//! From text to [`Guest`]: the top of the document, and what must hold over all of it.

use std::collections::HashSet;

use super::words::{Text as _, at, served, served_text};
use super::{
    Clock, ConsoleTarget, Controller, ControllerKind, CpuSet, CpuTune, Disk, DiskBus, Features,
    Guest, Hypervisor, Input, MAX_VCPUS, MachineFamily, Memballoon, MemoryBacking, NumaTune,
    OnCrash, OnPoweroff, OnReboot, Os, PciModel, Placement, Pm, Serial, Teaming, Video, VideoModel,
    Vnc, chardev, cpu, interface,
};
use crate::xml::{Document, DocumentError, Element, Kind};

/// Reads a guest document.
///
/// Faults are [`Kind::Unsupported`] for what is not served, else what libvirt would say of it.
/// What libvirt adds to a document of its own accord and the guest can see (a serial port for a
/// console, a driver for a disk) is added here; what is drawn by lot is added by
/// [`Guest::fill_in`].
pub fn parse(text: &str) -> Result<Guest, DocumentError> {
    let document = Document::parse(text)?;
    let root = document.root("domain")?;
    let guest = read(root)?;
    document.refuse_rest()?;
    agrees(root, &guest)?;
    Ok(guest)
}

fn read(root: Element<'_, '_>) -> Result<Guest, DocumentError> {
    let hypervisor = served(root, "type", Hypervisor::WORDS)?
        .ok_or_else(|| root.invalid("<domain> needs the attribute 'type'"))?;
    // The number of the run that the document was printed of.
    let _id_of_another_run = root.attribute("id");
    let name = root.child("name")?;
    let name = match &name {
        Some(element) => element.text(),
        None => return Err(root.error(Kind::NoName, "<name> is missing")),
    };
    let name = name.parse().map_err(|fault: crate::names::BadName| {
        let kind = match fault {
            crate::names::BadName::Empty { .. } => Kind::NoName,
            _ => Kind::Detail,
        };
        root.error(kind, fault.to_string())
    })?;
    let uuid =
        match root.child("uuid")? {
            Some(element) => Some(element.text().trim().parse().map_err(|fault| {
                element.error(Kind::Internal, format!("malformed uuid: {fault}"))
            })?),
            None => None,
        };
    let title = root.child_text("title")?;
    if title.as_ref().is_some_and(|title| title.contains('\n')) {
        return Err(root.invalid("<title> must be one line"));
    }
    let memory_kib = match root.child("memory")? {
        Some(element) => kib(element)?,
        None => 0,
    };
    if memory_kib == 0 {
        return Err(root.invalid("<memory> must say more than 0"));
    }
    let current_memory_kib = match root.child("currentMemory")? {
        Some(element) => kib(element)?,
        None => 0,
    };
    let current_memory_kib = match current_memory_kib {
        0 => memory_kib,
        kib => kib.min(memory_kib),
    };
    let os = Os::read(root.child("os")?.ok_or_else(|| root.invalid("<os> is missing"))?)?;
    let features = match root.child("features")? {
        Some(element) => Features::read(element)?,
        None => Features::default(),
    };
    let (vcpus, current_vcpus, cpuset) = vcpus(root)?;
    let mut guest = Guest {
        hypervisor,
        name,
        uuid,
        title,
        description: root.child_text("description")?,
        metadata: root.child("metadata")?.map(|element| element.raw_standalone()),
        memory_kib,
        current_memory_kib,
        vcpus,
        current_vcpus,
        cpuset,
        os,
        features,
        cpu: root.child("cpu")?.map(cpu::read).transpose()?,
        clock: match root.child("clock")? {
            Some(element) => Clock::read(element)?,
            None => Clock::utc(),
        },
        on_poweroff: word(root, "on_poweroff", OnPoweroff::WORDS)?.unwrap_or(OnPoweroff::Destroy),
        on_reboot: word(root, "on_reboot", OnReboot::WORDS)?.unwrap_or(OnReboot::Restart),
        on_crash: word(root, "on_crash", OnCrash::WORDS)?.unwrap_or(OnCrash::Destroy),
        pm: root.child("pm")?.map(Pm::read).transpose()?.unwrap_or_default(),
        memory_backing: root.child("memoryBacking")?.map(MemoryBacking::read).transpose()?,
        cputune: root
            .child("cputune")?
            .map(|element| CpuTune::read(element, vcpus))
            .transpose()?
            .filter(CpuTune::says_something),
        numatune: root
            .child("numatune")?
            .map(NumaTune::read)
            .transpose()?
            .filter(NumaTune::says_something),
        emulator: None,
        disks: Vec::new(),
        controllers: Vec::new(),
        interfaces: Vec::new(),
        serials: Vec::new(),
        consoles: Vec::new(),
        channels: Vec::new(),
        inputs: Vec::new(),
        vnc: None,
        video: None,
        more_videos: Vec::new(),
        hostdevs: Vec::new(),
        memballoon: None,
        rngs: Vec::new(),
        unlabelled: unlabelled(root)?,
    };
    // What a guest's NUMA cells have is all that it has (libvirt: the same).
    if let Some(cpu) = guest.cpu.as_ref().filter(|cpu| !cpu.numa.is_empty()) {
        let whole = guest.current_memory_kib == guest.memory_kib;
        guest.memory_kib = cpu.numa.iter().map(|cell| cell.memory_kib).fold(0, u64::saturating_add);
        let current = if whole { guest.memory_kib } else { guest.current_memory_kib };
        guest.current_memory_kib = current.min(guest.memory_kib);
    }
    if let Some(devices) = root.child("devices")? {
        read_devices(devices, &mut guest)?;
    }
    Ok(guest)
}

fn read_devices(devices: Element<'_, '_>, guest: &mut Guest) -> Result<(), DocumentError> {
    if let Some(emulator) = devices.child("emulator")? {
        guest.emulator = Some(emulator.absolute_path()?);
    }
    for element in devices.children("disk") {
        guest.disks.push(Disk::read(element)?);
    }
    for element in devices.children("controller") {
        let controller = Controller::read(element, &guest.controllers)?;
        guest.controllers.push(controller);
    }
    for element in devices.children("interface") {
        guest.interfaces.push(interface::read_interface(element)?);
    }
    for element in devices.children("serial") {
        let next = guest.serials.len();
        guest.serials.push(Serial::read(element, next)?);
    }
    chardev::read_consoles(devices, guest)?;
    for element in devices.children("channel") {
        guest.channels.push(super::Channel::read(element)?);
    }
    for element in devices.children("input") {
        guest.inputs.push(Input::read(element)?);
    }
    if let Some(element) = single(devices, "graphics")? {
        guest.vnc = Some(Vnc::read(element)?);
    }
    read_videos(devices, guest)?;
    for element in devices.children("hostdev") {
        guest.hostdevs.push(interface::read_hostdev(element)?);
    }
    if let Some(element) = devices.child("memballoon")? {
        guest.memballoon = Some(Memballoon::read(element)?);
    }
    for element in devices.children("rng") {
        guest.rngs.push(super::Rng::read(element)?);
    }
    Ok(())
}

/// The graphics cards: the first, or the one that says so, is the primary.
fn read_videos(devices: Element<'_, '_>, guest: &mut Guest) -> Result<(), DocumentError> {
    let mut videos = Vec::new();
    for element in devices.children("video") {
        let primary = match element.child("model")? {
            Some(model) => model.yes_no("primary")? == Some(true),
            None => false,
        };
        let video = Video::read(element)?;
        if primary {
            videos.insert(0, (element, video));
        } else {
            videos.push((element, video));
        }
    }
    let mut videos = videos.into_iter();
    guest.video = videos.next().map(|(_, video)| video);
    let primary_is_none = guest.video.as_ref().is_some_and(|it| it.model == VideoModel::None);
    for (element, video) in videos {
        // Without VGA, which a guest has once.
        let can_be_second = matches!(video.model, VideoModel::Virtio | VideoModel::Bochs);
        if !can_be_second || primary_is_none {
            let fault = format!("a further graphics card '{}'", video.model);
            return Err(element.unsupported(fault));
        }
        guest.more_videos.push(video);
    }
    Ok(())
}

/// The one element of which libvirt would take several.
fn single<'d, 'a>(
    devices: Element<'d, 'a>,
    name: &str,
) -> Result<Option<Element<'d, 'a>>, DocumentError> {
    let mut found = devices.children(name);
    let first = found.next();
    match found.next() {
        Some(second) => Err(second.unsupported(format!("more than one <{name}>"))),
        None => Ok(first),
    }
}

fn word<T: Copy>(
    root: Element<'_, '_>,
    name: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, DocumentError> {
    root.child(name)?.map(|element| served_text(element, words)).transpose()
}

/// Units of `<memory>`; without one it is KiB (libvirt: virScaleInteger).
const UNITS: [(&str, u64); 18] = [
    ("b", 1),
    ("byte", 1),
    ("bytes", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("p", 1 << 50),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
];

/// Largest amount of memory, in bytes: what an x86 machine can address.
const MOST_MEMORY: u64 = 1 << 52;

fn kib(element: Element<'_, '_>) -> Result<u64, DocumentError> {
    amount(element, &element.text())
}

/// `memory` of a NUMA cell.
pub(super) fn cell_kib(cell: Element<'_, '_>) -> Result<u64, DocumentError> {
    let text = cell.attribute("memory");
    let text = text.ok_or_else(|| cell.invalid("<cell> needs the attribute 'memory'"))?;
    match amount(cell, text)? {
        0 => Err(at(cell.invalid("a NUMA cell without memory"), "memory")),
        kib => Ok(kib),
    }
}

fn amount(element: Element<'_, '_>, text: &str) -> Result<u64, DocumentError> {
    let unit = element.attribute("unit").unwrap_or("KiB");
    let scale = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, scale)| *scale)
        .ok_or_else(|| element.invalid(format!("unknown unit '{unit}'")))?;
    let number: u64 = text
        .trim()
        .parse()
        .map_err(|fault| element.invalid(format!("invalid amount '{}': {fault}", text.trim())))?;
    number
        .checked_mul(scale)
        .filter(|bytes| *bytes <= MOST_MEMORY)
        .map(|bytes| bytes.div_ceil(1024))
        .ok_or_else(|| element.invalid(format!("{} {unit} is too much memory", text.trim())))
}

/// How many at most, how many from the start, and which of the host's run them.
fn vcpus(root: Element<'_, '_>) -> Result<(u32, u32, Option<CpuSet>), DocumentError> {
    let Some(element) = root.child("vcpu")? else { return Ok((1, 1, None)) };
    served(element, "placement", &[("static", ())])?;
    let text = element.text();
    let count: u32 = text
        .trim()
        .parse()
        .map_err(|fault| element.invalid(format!("invalid number '{}': {fault}", text.trim())))?;
    let current = element.parsed::<u32>("current")?.unwrap_or(count);
    let cpuset = element.parsed("cpuset").map_err(|fault| at(fault, "cpuset"))?;
    match count {
        0 => Err(element.invalid("<vcpu> must say more than 0")),
        1..=MAX_VCPUS if (1..=count).contains(&current) => Ok((count, current, cpuset)),
        1..=MAX_VCPUS => Err(element.invalid(format!("current='{current}' of {count}"))),
        _ => Err(element.unsupported(format!("{count} virtual CPUs (at most {MAX_VCPUS})"))),
    }
}

fn unlabelled(root: Element<'_, '_>) -> Result<bool, DocumentError> {
    let mut found = false;
    for element in root.children("seclabel") {
        served(element, "type", &[("none", ())])?
            .ok_or_else(|| element.unsupported("<seclabel> other than type='none'"))?;
        element.attribute("model");
        found = true;
    }
    Ok(found)
}

/// Most devices of a guest: more than any machine has places for.
const MOST_DEVICES: usize = 1024;

/// What no single element can know.
fn agrees(root: Element<'_, '_>, guest: &Guest) -> Result<(), DocumentError> {
    use super::CpuMode;
    if guest.hypervisor == Hypervisor::Qemu
        && guest.cpu.as_ref().is_some_and(|cpu| cpu.mode == CpuMode::HostPassthrough)
    {
        return Err(root.unsupported("CPU mode 'host-passthrough' without KVM"));
    }
    if let Some(topology) = guest.cpu.as_ref().and_then(|cpu| cpu.topology)
        && topology.cpus() != Some(guest.vcpus)
    {
        return Err(root.unsupported(format!(
            "the CPU topology does not come to {} virtual CPUs",
            guest.vcpus
        )));
    }
    let mut assigned = HashSet::new();
    for cell in guest.cpu.iter().flat_map(|cpu| &cpu.numa) {
        for cpu in cell.cpus.iter() {
            if u32::from(cpu) >= guest.vcpus || !assigned.insert(cpu) {
                return Err(root.invalid(format!(
                    "virtual CPU {cpu} of NUMA cell {} is not there, or another cell's",
                    cell.id
                )));
            }
        }
    }
    let cells = guest.cpu.iter().flat_map(|cpu| &cpu.numa).map(|cell| cell.id);
    let cells: HashSet<u32> = cells.collect();
    for (cell, _) in guest.numatune.iter().flat_map(|it| &it.cells) {
        if !cells.contains(cell) {
            return Err(root.invalid(format!("<memnode> of NUMA cell {cell}, which is not there")));
        }
    }
    if guest.placements().count() > MOST_DEVICES {
        return Err(root.unsupported(format!("more than {MOST_DEVICES} devices")));
    }
    boot_agrees(root, guest)?;
    aliases_agree(root, guest)?;
    teams_agree(root, guest)?;
    let mut targets = HashSet::new();
    for disk in &guest.disks {
        if !targets.insert(&disk.target) {
            return Err(root.invalid(format!("target '{}' is on two disks", disk.target)));
        }
    }
    let mut ports = HashSet::new();
    for serial in &guest.serials {
        if !ports.insert(serial.port) {
            return Err(root.invalid(format!("two serial ports are number {}", serial.port)));
        }
    }
    disks_agree(root, guest)?;
    controllers_agree(root, guest)
}

fn boot_agrees(root: Element<'_, '_>, guest: &Guest) -> Result<(), DocumentError> {
    let orders = guest
        .disks
        .iter()
        .map(|disk| disk.boot)
        .chain(guest.interfaces.iter().map(|interface| interface.boot))
        .chain(guest.hostdevs.iter().map(|hostdev| hostdev.boot))
        .flatten();
    let mut seen = HashSet::new();
    for order in orders {
        if !guest.os.boot.is_empty() {
            return Err(root.unsupported(
                "per-device <boot order> cannot be used together with <os><boot dev>",
            ));
        }
        if !seen.insert(order) {
            return Err(root.unsupported(format!("boot order {order} is used for two devices")));
        }
    }
    Ok(())
}

fn aliases_agree(root: Element<'_, '_>, guest: &Guest) -> Result<(), DocumentError> {
    let mut seen = HashSet::new();
    for alias in guest.placements().filter_map(|placement| placement.alias.as_ref()) {
        if !seen.insert(alias) {
            return Err(root.invalid(format!("alias '{alias}' is used for two devices")));
        }
    }
    Ok(())
}

fn teams_agree(root: Element<'_, '_>, guest: &Guest) -> Result<(), DocumentError> {
    for interface in &guest.interfaces {
        let Some(Teaming::Transient { persistent }) = &interface.teaming else { continue };
        let partner = guest.interfaces.iter().any(|other| {
            other.teaming == Some(Teaming::Persistent)
                && other.placement.alias.as_ref() == Some(persistent)
        });
        if !partner {
            return Err(root.unsupported(format!(
                "no interface with <teaming type='persistent'/> has the alias '{persistent}'"
            )));
        }
    }
    Ok(())
}

fn controllers_agree(root: Element<'_, '_>, guest: &Guest) -> Result<(), DocumentError> {
    let is = |it: &&Controller, of: PciModel| matches!(it.kind, ControllerKind::Pci { model, .. } if model == of);
    let switches = guest.controllers.iter().filter(|it| is(it, PciModel::PcieSwitchUpstreamPort));
    let first_switch = switches.map(|it| it.index).min();
    let mut ports =
        guest.controllers.iter().filter(|it| is(it, PciModel::PcieSwitchDownstreamPort));
    if let Some(port) = ports.find(|it| first_switch.is_none_or(|first| it.index < first)) {
        return Err(root.unsupported(format!(
            "port {} of a PCI Express switch without a switch's upstream port before it",
            port.index
        )));
    }
    let mut seen = HashSet::new();
    for controller in &guest.controllers {
        let companion = controller.kind.companion_from();
        if !seen.insert((controller.kind.word(), controller.index, companion)) {
            return Err(root.invalid(format!(
                "two {} controllers have the index {}",
                controller.kind.word(),
                controller.index
            )));
        }
        let family = guest.os.family();
        let foreign = match &controller.kind {
            ControllerKind::Pci { model: PciModel::PciRoot | PciModel::PciBridge, .. }
            | ControllerKind::Ide => family == MachineFamily::Q35,
            ControllerKind::Pci { .. } => family == MachineFamily::Pc,
            _ => false,
        };
        if foreign {
            return Err(root.unsupported(format!(
                "a controller '{}' on machine '{}'",
                controller.kind.model_word().unwrap_or(controller.kind.word()),
                guest.os.machine.as_deref().unwrap_or("pc"),
            )));
        }
    }
    Ok(())
}

fn disks_agree(root: Element<'_, '_>, guest: &Guest) -> Result<(), DocumentError> {
    let on_ide = guest.disks.iter().find(|disk| disk.bus == DiskBus::Ide);
    match on_ide.filter(|_| guest.os.family() == MachineFamily::Q35) {
        Some(disk) => Err(root.unsupported(format!(
            "disk '{}' on bus 'ide' on machine '{}', which has no IDE controller",
            disk.target,
            guest.os.machine.as_deref().unwrap_or("pc"),
        ))),
        None => Ok(()),
    }
}

impl Guest {
    /// Alias and address of every device that can have them.
    pub(crate) fn placements(&self) -> impl Iterator<Item = &Placement> {
        let balloon = match &self.memballoon {
            Some(Memballoon::Virtio(placement)) => Some(placement),
            _ => None,
        };
        // The first console may be a view of the first serial port, with its alias.
        let consoles = self.consoles.iter().filter(|it| it.target != ConsoleTarget::Serial);
        (self.disks.iter().map(|it| &it.placement))
            .chain(self.controllers.iter().map(|it| &it.placement))
            .chain(self.interfaces.iter().map(|it| &it.placement))
            .chain(self.serials.iter().map(|it| &it.placement))
            .chain(consoles.map(|it| &it.placement))
            .chain(self.channels.iter().map(|it| &it.placement))
            .chain(self.inputs.iter().map(|it| &it.placement))
            .chain(self.video.iter().chain(&self.more_videos).map(|it| &it.placement))
            .chain(self.hostdevs.iter().map(|it| &it.placement))
            .chain(balloon)
            .chain(self.rngs.iter().map(|it| &it.placement))
    }
}
