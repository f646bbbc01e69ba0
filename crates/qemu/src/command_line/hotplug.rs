//! One device for a guest that runs: where it goes, and what QEMU is told.
//!
//! It is the device's part of a command line, said over the monitor instead, so that a card that
//! was plugged in and one that the guest was started with are the same to it.

use serde_json::{Value, json};
use vfnet_model::guest::{Attachment, Device, DiskBus, Guest, InterfaceSource};

use super::arguments::Arguments;
use super::devices::{self, Buses};
use super::{BeforeRun, OpenFile, PlanError, network, pci};

/// What QEMU is told for a device, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Plugging {
    /// Files that it gets as descriptors beforehand.
    pub files: Vec<OpenFile>,
    /// Commands of its monitor; the last is `device_add`.
    pub commands: Vec<Command>,
    /// What takes back all but `device_add`, as far as it was done; also what is left to do when
    /// the device is gone. It may fail for what is not there.
    pub undo: Vec<Command>,
}

/// A command of QEMU's monitor.
#[derive(Clone, PartialEq, Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, an object.
    pub arguments: Value,
}

/// Gives a device an alias that `taken` does not know and a place of its own in a running guest.
/// What the document says of either is kept.
///
/// # Errors
///
/// When the guest has no place left for it.
pub fn place(
    guest: &Guest,
    attachments: &[Attachment],
    becomes_vf: bool,
    taken: &dyn Fn(&str) -> bool,
    device: &mut Device,
) -> Result<(), PlanError> {
    let name = match device {
        Device::Disk(disk) if disk.bus == DiskBus::Virtio => "virtio-disk",
        Device::Disk(disk) => {
            let what = format!("a disk on bus '{}' for a guest that runs", disk.bus);
            return Err(PlanError::Unsupported(what));
        }
        Device::Hostdev(_) => "hostdev",
        Device::Interface(_) if becomes_vf => "hostdev",
        Device::Interface(_) => "net",
    };
    let placement = device.placement_mut();
    if placement.alias.is_none() {
        placement.alias =
            (0..).map(|number: u32| format!("{name}{number}")).find(|alias| !taken(alias));
    }
    placement.address = Some(pci::place_for_one(guest, attachments, placement.address.as_ref())?);
    Ok(())
}

/// What QEMU is told to give a running guest a device that was [placed](place); what an interface
/// became is in `attachment`. Descriptors are numbered from `fdset` on, sets that QEMU has not.
///
/// # Errors
///
/// When it cannot be plugged in as it is.
pub fn commands(
    guest: &Guest,
    device: &Device,
    attachment: Option<&Attachment>,
    fdset: u32,
) -> Result<Plugging, PlanError> {
    let buses = Buses::of(guest);
    let mut alone = Guest { disks: vec![], interfaces: vec![], hostdevs: vec![], ..guest.clone() };
    alone.add_device(device.clone());
    let attachments: Vec<_> = attachment.cloned().into_iter().collect();
    if attachments.len() != alone.interfaces.len() {
        return Err(super::not_ready(guest, "what an interface became"));
    }
    network::check(&alone, &attachments)?;
    let mut out = Arguments::for_more(fdset);
    let mut before_run = BeforeRun::default();
    devices::write_disks(&alone, &buses, &mut out);
    network::write(&alone, &attachments, &buses, &mut out, &mut before_run)?;
    let mut commands = out.said()?;
    let links = before_run.links_down.into_iter();
    commands.extend(
        links.map(|name| Command {
            name: "set_link",
            arguments: json!({ "name": name, "up": false }),
        }),
    );
    Ok(Plugging { undo: undo(&commands), files: out.files, commands })
}

/// What is left at QEMU of a device that is gone: its other end.
pub fn remains(device: &Device) -> Vec<Command> {
    let alias = device.placement().alias.as_deref().unwrap_or_default();
    match device {
        Device::Interface(interface)
            if !matches!(interface.source, InterfaceSource::Hostdev { .. }) =>
        {
            vec![Command {
                name: "netdev_del",
                arguments: json!({ "id": network::netdev_of(alias) }),
            }]
        }
        Device::Disk(disk) if disk.source.is_some() => {
            let nodes = devices::nodes_of(&disk.target);
            nodes.iter().rev().map(|node| blockdev_del(node)).collect()
        }
        _ => Vec::new(),
    }
}

fn blockdev_del(node: &str) -> Command {
    Command { name: "blockdev-del", arguments: json!({ "node-name": node }) }
}

fn undo(commands: &[Command]) -> Vec<Command> {
    let undone = commands.iter().rev().filter_map(|command| match command.name {
        "netdev_add" => Some(Command {
            name: "netdev_del",
            arguments: json!({ "id": command.arguments["id"] }),
        }),
        "blockdev-add" => command.arguments["node-name"].as_str().map(blockdev_del),
        _ => None,
    });
    undone.collect()
}
