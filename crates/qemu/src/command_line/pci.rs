//! Where PCI devices sit in the guest.
//!
//! Addresses that the document gives are kept. The others are handed out in a fixed order,
//! network interfaces and passthrough devices first, so that a guest's cards stay where they are
//! when it gets another disk.
//!
//! On q35 every PCI Express device gets a root port of its own, and conventional PCI devices sit
//! on the root complex. On pc all sit on the one bus as long as it has slots, and behind bridges
//! after that.

use std::collections::{BTreeMap, BTreeSet};

use vfnet_model::PciAddress;
use vfnet_model::guest::{
    Address, Attachment, Controller, ControllerKind, DiskBus, Guest, InputBus, InterfaceModel,
    MachineFamily, Memballoon, PciModel, Placement, UsbModel,
};

use super::PlanError;

/// Root ports left free on a q35 guest where nobody says otherwise.
pub const SPARE_ROOT_PORTS: u8 = 4;

/// Slots of the root bus that the machine's own devices have: the host bridge, and the south
/// bridge of either chipset.
const HOST_BRIDGE: u8 = 0;
const PIIX3: u8 = 1;
const ICH9: u8 = 0x1f;

/// Where ICH9 has its USB controllers.
const ICH9_USB: u8 = 0x1d;

/// First slot for root ports on q35, and for devices on pc: after the graphics card.
const FIRST_ROOT_PORT: u8 = 2;
const FIRST_PC_DEVICE: u8 = 3;

/// First slot for conventional devices on the root complex of q35; root ports, eight to a slot,
/// do not get that far.
const FIRST_CONVENTIONAL: u8 = 0x10;

/// What kind of place a device wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// A root port where there are any.
    Express,
    /// A slot of the root bus.
    Conventional,
    /// The slot that firmware and guests expect the graphics card in.
    Graphics,
    /// A function of the south bridge.
    Fixed(u8, u8),
    /// This function of the slot that the USB controllers of this index share.
    Usb(u32, u8),
    /// A slot of this bus, a switch's own.
    Switch(u8),
}

/// Gives every PCI device of the guest an address, and adds the controllers of the buses.
pub(super) fn place(
    guest: &mut Guest,
    attachments: &[Attachment],
    spare_root_ports: u8,
) -> Result<(), PlanError> {
    let family = guest.os.family();
    let mut slots = Slots::new(family);
    let root = match family {
        MachineFamily::Pc => PciModel::PciRoot,
        MachineFamily::Q35 => PciModel::PcieRoot,
    };
    let is_root =
        |it: &Controller| matches!(it.kind, ControllerKind::Pci { model, .. } if model == root);
    if !guest.controllers.iter().any(is_root) {
        guest.controllers.push(pci_controller(0, root));
    }
    let below = match family {
        MachineFamily::Pc => PciModel::PciBridge,
        MachineFamily::Q35 => PciModel::PcieRootPort,
    };
    let mut ports: Vec<Controller> = Vec::new();
    guest.controllers.retain(|controller| {
        let port = matches!(controller.kind, ControllerKind::Pci { model, .. } if model == below);
        if port {
            ports.push(controller.clone());
        }
        !port
    });
    ports.sort_by_key(|port| port.index);
    let switches: Vec<u32> = guest
        .controllers
        .iter()
        .filter(|it| matches!(it.kind, ControllerKind::Pci { .. }))
        .map(|it| it.index)
        .collect();
    let next_index = |ports: &[Controller]| next_index(ports, &switches);

    for placement in ports.iter().map(|port| &port.placement) {
        if let Some(Address::Pci { at, .. }) = &placement.address {
            if at.bus() != 0 {
                return Err(PlanError::Unsupported(format!("a {below} at {at}, off the root")));
            }
            slots.reserve(*at)?;
        }
    }
    let mut wishes = wishes(guest, attachments);
    // Slots of USB controllers, by their index.
    let mut shared = BTreeMap::new();
    for (placement, wish) in &mut wishes {
        if let Wish::Fixed(slot, function) = *wish {
            let own = pci_address(0, slot, function)?;
            if *placement.address.get_or_insert_with(|| own.clone()) == own {
                continue;
            }
            return Err(PlanError::Unsupported(
                "a controller of the machine's own at another address".to_owned(),
            ));
        }
        let Some(Address::Pci { at, .. }) = &placement.address else { continue };
        slots.reserve(*at)?;
        if let Wish::Usb(index, _) = *wish {
            shared.insert(index, (at.bus(), at.slot()));
        }
        let there = |ports: &[Controller]| {
            let bus = u32::from(at.bus());
            switches.contains(&bus) || ports.iter().any(|port| port.index == bus)
        };
        while !there(&ports) {
            let next = next_index(&ports);
            ports.push(pci_controller(next, below));
        }
    }
    for (placement, wish) in &mut wishes {
        let Wish::Usb(index, function) = *wish else { continue };
        if placement.address.is_some() {
            continue;
        }
        let (bus, slot) = match shared.get(&index) {
            Some(place) => *place,
            None => (0, slots.free_for_usb(index)?),
        };
        shared.insert(index, (bus, slot));
        let address = pci_address(bus, slot, function)?;
        if let Address::Pci { at, .. } = &address {
            slots.reserve(*at)?;
        }
        placement.address = Some(address);
    }
    if family == MachineFamily::Pc {
        let unplaced = wishes.iter().filter(|(placement, _)| placement.address.is_none()).count();
        place_bridges(&mut ports, unplaced, &mut slots)?;
    }
    for (placement, wish) in &mut wishes {
        if placement.address.is_some() {
            continue;
        }
        let (bus, slot) = match (*wish, family) {
            (Wish::Express, MachineFamily::Q35) => {
                let free = ports
                    .iter()
                    .filter_map(|port| u8::try_from(port.index).ok())
                    .find(|bus| slots.is_free(*bus, 0));
                let bus = match free {
                    Some(bus) => bus,
                    None => {
                        let index = next_index(&ports);
                        ports.push(pci_controller(index, PciModel::PcieRootPort));
                        u8::try_from(index).map_err(|_| full())?
                    }
                };
                (bus, 0)
            }
            (Wish::Switch(bus), _) => {
                (bus, (0..=0x1f).find(|slot| slots.is_free(bus, *slot)).ok_or_else(full)?)
            }
            (Wish::Graphics, _) => (0, slots.free_from(slots.graphics())?),
            (_, MachineFamily::Q35) => (0, slots.free_from(FIRST_CONVENTIONAL)?),
            (_, MachineFamily::Pc) => slots.free_on_pc(&ports)?,
        };
        let address = pci_address(bus, slot, 0)?;
        if let Address::Pci { at, .. } = &address {
            slots.reserve(*at)?;
        }
        placement.address = Some(address);
    }
    if family == MachineFamily::Q35 {
        let free = |ports: &[Controller]| {
            let hot = ports.iter().filter(|port| is_hot(port));
            let buses = hot.filter_map(|port| u8::try_from(port.index).ok());
            buses.filter(|bus| slots.is_free(*bus, 0)).count()
        };
        while free(&ports) < usize::from(spare_root_ports) {
            let index = next_index(&ports);
            ports.push(pci_controller(index, PciModel::PcieRootPort));
        }
        place_root_ports(&mut ports, &mut slots)?;
    }
    share_slots(
        wishes
            .into_iter()
            .map(|(placement, _)| placement)
            .chain(ports.iter_mut().map(|port| &mut port.placement)),
    )?;
    guest.controllers.extend(ports);
    switches_agree(guest)?;
    number_downstream_ports(guest)?;
    // A bus comes before what is on it.
    guest.controllers.sort_by_key(|it| match it.kind {
        ControllerKind::Pci { model: PciModel::PcieSwitchUpstreamPort, .. } => (1, it.index),
        ControllerKind::Pci { model: PciModel::PcieSwitchDownstreamPort, .. } => (2, it.index),
        ControllerKind::Pci { .. } => (0, it.index),
        _ => (3, 0),
    });
    Ok(())
}

/// A place for one more device in a guest that runs: the one that it wishes for, else a root port
/// that nothing is in on q35, a slot of the bus that all are on on pc.
pub(super) fn place_for_one(
    guest: &Guest,
    attachments: &[Attachment],
    wished: Option<&Address>,
) -> Result<Address, PlanError> {
    let mut guest = guest.clone();
    let family = guest.os.family();
    let mut slots = Slots::new(family);
    let below = match family {
        MachineFamily::Pc => PciModel::PciBridge,
        MachineFamily::Q35 => PciModel::PcieRootPort,
    };
    let is_below = |it: &&Controller| {
        let its = matches!(it.kind, ControllerKind::Pci { model, .. } if model == below);
        its && is_hot(it)
    };
    let ports: Vec<_> = guest.controllers.iter().filter(is_below).cloned().collect();
    let placements = ports.iter().map(|port| port.placement.clone());
    let placements: Vec<_> = placements
        .chain(wishes(&mut guest, attachments).into_iter().map(|(placement, _)| placement.clone()))
        .collect();
    for placement in placements {
        if let Some(Address::Pci { at, .. }) = placement.address
            && !slots.is_machines(at)
        {
            slots.reserve(at)?;
        }
    }
    if let Some(Address::Pci { at, .. }) = wished {
        let hot = at.bus() > 0 || family == MachineFamily::Pc;
        if !hot || (at.bus() > 0 && !ports.iter().any(|port| port.index == u32::from(at.bus()))) {
            let what = format!("PCI address {at}, where nothing can be plugged in");
            return Err(PlanError::Unsupported(what));
        }
        slots.reserve(*at)?;
        return pci_address(at.bus(), at.slot(), at.function());
    }
    let (bus, slot) = match family {
        MachineFamily::Pc => slots.free_on_pc(&ports)?,
        MachineFamily::Q35 => {
            let buses = ports.iter().filter_map(|port| u8::try_from(port.index).ok());
            let free = buses.into_iter().find(|bus| slots.is_free(*bus, 0));
            let none = || {
                let what =
                    "another device in a guest whose PCIe root ports all have one".to_owned();
                PlanError::Unsupported(what)
            };
            (free.ok_or_else(none)?, 0)
        }
    };
    pci_address(bus, slot, 0)
}

/// Makes as many bridges as are needed for so many devices, at the end of the root bus, so that
/// they move no device.
fn place_bridges(
    bridges: &mut Vec<Controller>,
    devices: usize,
    slots: &mut Slots,
) -> Result<(), PlanError> {
    let on = |slots: &Slots, bus: u8, first: u8| {
        (first..=0x1f).filter(|slot| slots.is_free(bus, *slot)).count()
    };
    loop {
        for bridge in bridges.iter_mut() {
            let index = u8::try_from(bridge.index).map_err(|_| full())?;
            if let ControllerKind::Pci { chassis, .. } = &mut bridge.kind {
                chassis.get_or_insert(index);
            }
            if bridge.placement.address.is_none() {
                let slot = (FIRST_PC_DEVICE..=0x1f).rev().find(|slot| slots.is_free(0, *slot));
                let address = pci_address(0, slot.ok_or_else(full)?, 0)?;
                if let Address::Pci { at, .. } = &address {
                    slots.reserve(*at)?;
                }
                bridge.placement.address = Some(address);
            }
        }
        let behind: usize = bridges
            .iter()
            .filter_map(|bridge| u8::try_from(bridge.index).ok())
            .map(|bus| on(slots, bus, 1))
            .sum();
        if devices <= on(slots, 0, FIRST_PC_DEVICE) + behind {
            return Ok(());
        }
        let index = next_index(bridges, &[]);
        bridges.push(pci_controller(index, PciModel::PciBridge));
    }
}

fn place_root_ports(ports: &mut [Controller], slots: &mut Slots) -> Result<(), PlanError> {
    for port in ports.iter_mut() {
        if port.placement.address.is_none() {
            let (slot, function) = slots.free_function()?;
            let address = pci_address(0, slot, function)?;
            if let Address::Pci { at, .. } = &address {
                slots.reserve(*at)?;
            }
            port.placement.address = Some(address);
        }
        let ControllerKind::Pci { chassis, port: number, .. } = &mut port.kind else { continue };
        let index = u8::try_from(port.index).map_err(|_| full())?;
        chassis.get_or_insert(index);
        if let Some(Address::Pci { at, .. }) = &port.placement.address {
            number.get_or_insert(at.slot() << 3 | at.function());
        }
    }
    Ok(())
}

/// Whether devices come to a port and go from it while the guest runs.
fn is_hot(port: &Controller) -> bool {
    !matches!(port.kind, ControllerKind::Pci { hotplug: Some(false), .. })
}

/// A switch is behind a root port, and its ports are on its own bus.
fn switches_agree(guest: &Guest) -> Result<(), PlanError> {
    let buses_of = |of: PciModel| -> Vec<u32> {
        let its =
            |it: &&Controller| matches!(it.kind, ControllerKind::Pci { model, .. } if model == of);
        guest.controllers.iter().filter(its).map(|it| it.index).collect()
    };
    let ways_in = buses_of(PciModel::PcieSwitchUpstreamPort);
    let roots = buses_of(PciModel::PcieRootPort);
    for it in &guest.controllers {
        let (ControllerKind::Pci { model, .. }, Some(Address::Pci { at, .. })) =
            (&it.kind, &it.placement.address)
        else {
            continue;
        };
        let fits = match model {
            PciModel::PcieSwitchUpstreamPort => roots.contains(&u32::from(at.bus())),
            PciModel::PcieSwitchDownstreamPort => ways_in.contains(&u32::from(at.bus())),
            _ => true,
        };
        if !fits {
            return Err(PlanError::Unsupported(format!("a {model} at {at}")));
        }
    }
    Ok(())
}

fn number_downstream_ports(guest: &mut Guest) -> Result<(), PlanError> {
    for it in &mut guest.controllers {
        let ControllerKind::Pci {
            model: PciModel::PcieSwitchDownstreamPort, chassis, port, ..
        } = &mut it.kind
        else {
            continue;
        };
        chassis.get_or_insert(u8::try_from(it.index).map_err(|_| full())?);
        if let Some(Address::Pci { at, .. }) = &it.placement.address {
            port.get_or_insert(at.slot());
        }
    }
    Ok(())
}

/// Function 0 of a slot says whether there are others.
fn share_slots<'g>(placements: impl Iterator<Item = &'g mut Placement>) -> Result<(), PlanError> {
    let mut of_slot: BTreeMap<(u8, u8), Vec<&mut Address>> = BTreeMap::new();
    for address in placements.filter_map(|placement| placement.address.as_mut()) {
        if let Address::Pci { at, .. } = address {
            of_slot.entry((at.bus(), at.slot())).or_default().push(address);
        }
    }
    for addresses in of_slot.into_values().filter(|addresses| addresses.len() > 1) {
        for address in addresses {
            if let Address::Pci { at, multifunction } = address
                && at.function() == 0
                && !*multifunction.get_or_insert(true)
            {
                return Err(PlanError::Unsupported(format!(
                    "other functions beside {at}, which is not multifunction"
                )));
            }
        }
    }
    Ok(())
}

/// Every PCI device in the order in which addresses are handed out, and what it wants.
fn wishes<'g>(guest: &'g mut Guest, attachments: &[Attachment]) -> Vec<(&'g mut Placement, Wish)> {
    let family = guest.os.family();
    let upstream: Vec<u32> = guest
        .controllers
        .iter()
        .filter(|it| {
            let model = PciModel::PcieSwitchUpstreamPort;
            matches!(it.kind, ControllerKind::Pci { model: of, .. } if of == model)
        })
        .map(|it| it.index)
        .collect();
    let mut wishes = Vec::new();
    for (interface, attachment) in guest.interfaces.iter_mut().zip(attachments) {
        let conventional = matches!(attachment, Attachment::Bridge { .. })
            && matches!(
                interface.model,
                Some(InterfaceModel::E1000 | InterfaceModel::Rtl8139) | None
            );
        let wish = if conventional { Wish::Conventional } else { Wish::Express };
        wishes.push((&mut interface.placement, wish));
    }
    for hostdev in &mut guest.hostdevs {
        wishes.push((&mut hostdev.placement, Wish::Express));
    }
    let function_0: BTreeSet<u32> = guest
        .controllers
        .iter()
        .filter(|it| it.kind.companion_from() == Some(0))
        .map(|it| it.index)
        .collect();
    for controller in &mut guest.controllers {
        let index = controller.index;
        let wish = match (&controller.kind, family, index) {
            (ControllerKind::Pci { model: PciModel::PcieSwitchUpstreamPort, .. }, ..) => {
                Wish::Express
            }
            // A port is the switch's whose number is the next below its own.
            (ControllerKind::Pci { model: PciModel::PcieSwitchDownstreamPort, .. }, ..) => {
                let switch = upstream.iter().filter(|switch| **switch < index).max();
                Wish::Switch(switch.and_then(|switch| u8::try_from(*switch).ok()).unwrap_or(0))
            }
            (ControllerKind::Pci { .. }, ..)
            | (ControllerKind::Usb { model: Some(UsbModel::None), .. }, ..) => continue,
            (
                ControllerKind::Usb { model: Some(UsbModel::Piix3Uhci), .. },
                MachineFamily::Pc,
                0,
            ) => Wish::Fixed(PIIX3, 2),
            (ControllerKind::Usb { model: Some(UsbModel::Piix3Uhci), .. }, ..) => {
                Wish::Conventional
            }
            // Where they are in the chipset. A slot without function 0 is not looked into.
            (ControllerKind::Usb { model: Some(UsbModel::Ich9Ehci1), .. }, ..) => {
                Wish::Usb(index, if function_0.contains(&index) { 7 } else { 0 })
            }
            (ControllerKind::Usb { model: Some(UsbModel::Ich9Uhci1), .. }, ..) => {
                Wish::Usb(index, 0)
            }
            (ControllerKind::Usb { model: Some(UsbModel::Ich9Uhci2), .. }, ..) => {
                Wish::Usb(index, 1)
            }
            (ControllerKind::Usb { model: Some(UsbModel::Ich9Uhci3), .. }, ..) => {
                Wish::Usb(index, 2)
            }
            (ControllerKind::Ide, ..) => Wish::Fixed(PIIX3, 1),
            (ControllerKind::Sata, MachineFamily::Q35, 0) => Wish::Fixed(ICH9, 2),
            _ => Wish::Express,
        };
        wishes.push((&mut controller.placement, wish));
    }
    for disk in guest.disks.iter_mut().filter(|disk| disk.bus == DiskBus::Virtio) {
        wishes.push((&mut disk.placement, Wish::Express));
    }
    if let Some(Memballoon::Virtio(placement)) = &mut guest.memballoon {
        wishes.push((placement, Wish::Express));
    }
    for rng in &mut guest.rngs {
        wishes.push((&mut rng.placement, Wish::Express));
    }
    for input in guest.inputs.iter_mut().filter(|input| input.bus == InputBus::Virtio) {
        wishes.push((&mut input.placement, Wish::Express));
    }
    if let Some(video) = &mut guest.video
        && video.model != vfnet_model::guest::VideoModel::None
    {
        wishes.push((&mut video.placement, Wish::Graphics));
    }
    for video in &mut guest.more_videos {
        wishes.push((&mut video.placement, Wish::Conventional));
    }
    wishes
}

/// Which slots and functions are taken.
#[derive(Debug)]
struct Slots {
    family: MachineFamily,
    /// Functions taken, a bit each, by bus and slot.
    taken: BTreeMap<(u8, u8), u8>,
}

impl Slots {
    fn new(family: MachineFamily) -> Self {
        Self { family, taken: BTreeMap::new() }
    }

    const fn graphics(&self) -> u8 {
        match self.family {
            MachineFamily::Pc => 2,
            MachineFamily::Q35 => 1,
        }
    }

    /// Whether it is a place that only the machine's own devices have.
    fn is_machines(&self, at: PciAddress) -> bool {
        let own = match self.family {
            MachineFamily::Pc => PIIX3,
            MachineFamily::Q35 => ICH9,
        };
        at.bus() == 0 && (at.slot() == HOST_BRIDGE || at.slot() == own)
    }

    fn reserve(&mut self, at: PciAddress) -> Result<(), PlanError> {
        let function = 1 << at.function();
        let taken = self.taken.entry((at.bus(), at.slot())).or_default();
        if *taken & function != 0 || self.is_machines(at) {
            return Err(PlanError::Unsupported(format!("PCI address {at} is taken")));
        }
        *self.taken.entry((at.bus(), at.slot())).or_default() |= function;
        Ok(())
    }

    fn is_free(&self, bus: u8, slot: u8) -> bool {
        self.taken.get(&(bus, slot)).is_none_or(|taken| *taken == 0)
            && PciAddress::new(0, bus, slot, 0).is_ok_and(|at| !self.is_machines(at))
    }

    /// The slot that the first USB controllers of q35 have in the chipset, else any.
    fn free_for_usb(&self, index: u32) -> Result<u8, PlanError> {
        match self.family {
            MachineFamily::Q35 if index == 0 && self.is_free(0, ICH9_USB) => Ok(ICH9_USB),
            MachineFamily::Q35 => self.free_from(FIRST_CONVENTIONAL),
            MachineFamily::Pc => self.free_from(FIRST_PC_DEVICE),
        }
    }

    fn free_from(&self, first: u8) -> Result<u8, PlanError> {
        (first..=0x1f).find(|slot| self.is_free(0, *slot)).ok_or_else(full)
    }

    /// The next slot of the root bus, or of a bridge. Slot 0 of a bridge is its own.
    fn free_on_pc(&self, bridges: &[Controller]) -> Result<(u8, u8), PlanError> {
        let behind = bridges.iter().filter_map(|it| u8::try_from(it.index).ok());
        let behind = behind.flat_map(|bus| (1..=0x1f).map(move |slot| (bus, slot)));
        (FIRST_PC_DEVICE..=0x1f)
            .map(|slot| (0, slot))
            .chain(behind)
            .find(|(bus, slot)| self.is_free(*bus, *slot))
            .ok_or_else(full)
    }

    /// The next function for a root port: function 0 of a slot comes first.
    fn free_function(&self) -> Result<(u8, u8), PlanError> {
        (FIRST_ROOT_PORT..FIRST_CONVENTIONAL)
            .flat_map(|slot| (0..8).map(move |function| (slot, function)))
            .find(|(slot, function)| {
                let taken = self.taken.get(&(0, *slot)).copied().unwrap_or(0);
                taken & 1 << function == 0
            })
            .ok_or_else(full)
    }
}

fn full() -> PlanError {
    PlanError::Unsupported("more devices than the guest has PCI slots".to_owned())
}

fn pci_address(bus: u8, slot: u8, function: u8) -> Result<Address, PlanError> {
    let at = PciAddress::new(0, bus, slot, function).map_err(|_| full())?;
    Ok(Address::Pci { at, multifunction: None })
}

fn pci_controller(index: u32, model: PciModel) -> Controller {
    let kind =
        ControllerKind::Pci { model, chassis: None, port: None, hotplug: None, intel: false };
    Controller { index, kind, placement: Placement::default() }
}

/// The lowest number from 1 that no port has, and none of the others.
fn next_index(ports: &[Controller], others: &[u32]) -> u32 {
    let taken =
        |index: &u32| others.contains(index) || ports.iter().any(|port| port.index == *index);
    (1..).find(|index| !taken(index)).unwrap_or(u32::MAX)
}
