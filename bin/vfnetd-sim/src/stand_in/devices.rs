//! The stand-in's devices, as its monitor gives and takes them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Answer, Machine, Then};

/// What of the monitor is about devices and their other ends, besides `device_del`.
pub(super) const COMMANDS: &[&str] = &[
    "qom-list",
    "device_add",
    "netdev_add",
    "netdev_del",
    "blockdev-add",
    "blockdev-del",
    "set_link",
    "add-fd",
    "remove-fd",
    "query-fdsets",
];

/// Devices of the host that are passed through: opened and closed by their PCI address.
pub(crate) trait HostDevices: Send + Sync {
    /// Opens one.
    fn open(&self, host: &str) -> Result<(), String>;
    /// Closes it.
    fn close(&self, host: &str);
}

/// No host.
impl HostDevices for () {
    fn open(&self, _host: &str) -> Result<(), String> {
        Ok(())
    }

    fn close(&self, _host: &str) {}
}

/// Those that have an id.
pub(super) struct Devices {
    /// With the PCI address of those of the host.
    ids: Mutex<BTreeMap<String, Option<String>>>,
    host: Box<dyn HostDevices>,
    /// What the guest was asked last to let go of.
    asked: Mutex<String>,
}

impl Devices {
    pub(super) fn on(host: Box<dyn HostDevices>) -> Self {
        Self { ids: Mutex::default(), host, asked: Mutex::default() }
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one more.
    pub(super) fn add(&self, device: &Value) -> Result<(), String> {
        let id = device["id"].as_str();
        if let Some(id) = id.filter(|id| self.ids().contains_key(*id)) {
            return Err(format!("Duplicate device ID {id}"));
        }
        let vfio = (device["driver"] == "vfio-pci").then(|| device["host"].as_str()).flatten();
        if let Some(vfio) = vfio {
            self.host.open(vfio)?;
        }
        if let Some(id) = id {
            self.ids().insert(id.to_owned(), vfio.map(str::to_owned));
        }
        Ok(())
    }
}

pub(super) fn execute(devices: &Devices, command: &str, arguments: &Value) -> Answer {
    let done = |value| Ok((value, Then::Nothing));
    match command {
        "qom-list" => {
            let listed = |id: &String| json!({"name": id, "type": "child<device>"});
            done(devices.ids().keys().map(listed).collect())
        }
        "device_add" => match devices.add(arguments) {
            Ok(()) => done(json!({})),
            Err(desc) => Err(("GenericError", desc)),
        },
        "query-fdsets" => done(json!([])),
        _ => done(json!({})),
    }
}

/// What the monitor says with what happens to a device.
fn about(id: &str) -> Value {
    json!({"device": id, "path": format!("/machine/peripheral/{id}")})
}

/// The same, of the device that the guest was asked last to let go of.
pub(super) fn asked(machine: &Machine) -> Value {
    about(&machine.devices.asked())
}

/// The guest is asked to let go of a device.
pub(super) fn take(machine: &Machine, arguments: &Value) -> Answer {
    let id = arguments["id"].as_str().unwrap_or_default();
    let data = about(id);
    if !machine.devices.ids().contains_key(id) {
        return Err(("DeviceNotFound", format!("Device '{id}' not found")));
    }
    id.clone_into(&mut machine.devices.asked());
    if machine.told_to("keeps-its-devices") {
        return Ok((json!({}), Then::Nothing));
    }
    if machine.told_to("refuses-to-unplug") {
        return Ok((json!({}), Then::Say("DEVICE_UNPLUG_GUEST_ERROR", data)));
    }
    let host = machine.devices.ids().remove(id).flatten();
    if let Some(host) = host {
        machine.devices.host.close(&host);
    }
    Ok((json!({}), Then::Say("DEVICE_DELETED", data)))
}
