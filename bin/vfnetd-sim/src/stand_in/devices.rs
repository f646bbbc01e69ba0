//! The stand-in's devices, as its monitor gives and takes them.

use std::collections::BTreeSet;
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

/// Those that have an id.
#[derive(Default)]
pub(super) struct Devices(Mutex<BTreeSet<String>>);

impl Devices {
    fn ids(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is a new one.
    pub(super) fn add(&self, device: &Value) -> bool {
        device["id"].as_str().is_none_or(|id| self.ids().insert(id.to_owned()))
    }
}

pub(super) fn execute(devices: &Devices, command: &str, arguments: &Value) -> Answer {
    let done = |value| Ok((value, Then::Nothing));
    match command {
        "qom-list" => {
            let listed = |id: &String| json!({"name": id, "type": "child<device>"});
            done(devices.ids().iter().map(listed).collect())
        }
        "device_add" if !devices.add(arguments) => {
            let desc = format!("Duplicate device ID {}", arguments["id"]);
            Err(("GenericError", desc))
        }
        "query-fdsets" => done(json!([])),
        _ => done(json!({})),
    }
}

/// The guest is asked to let go of a device.
pub(super) fn take(machine: &Machine, arguments: &Value) -> Answer {
    let id = arguments["id"].as_str().unwrap_or_default();
    let path = format!("/machine/peripheral/{id}");
    let data = json!({"device": id, "path": path});
    if !machine.devices.ids().contains(id) {
        return Err(("DeviceNotFound", format!("Device '{id}' not found")));
    }
    if machine.told_to("keeps-its-devices") {
        return Ok((json!({}), Then::Nothing));
    }
    if machine.told_to("refuses-to-unplug") {
        return Ok((json!({}), Then::Say("DEVICE_UNPLUG_GUEST_ERROR", data)));
    }
    machine.devices.ids().remove(id);
    Ok((json!({}), Then::Say("DEVICE_DELETED", data)))
}
