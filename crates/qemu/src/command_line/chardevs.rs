//! Serial ports, consoles, channels, the monitor.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vfnet_model::guest::{Address, CharSource, ConsoleTarget, Guest, Placement};

use super::arguments::{Arguments, doubled_commas};
use super::devices::{Buses, object};
use super::{Access, PlanError};

/// The monitor, on the first of the sockets.
pub(super) fn write_monitor(path: &Path, out: &mut Arguments) -> Result<(), PlanError> {
    let fd = out.socket(path)?;
    out.plain("-chardev", format!("socket,id=charmonitor,fd={fd},server=on,wait=off"));
    out.plain("-mon", "chardev=charmonitor,id=monitor,mode=control");
    Ok(())
}

/// Gives channels without a path a socket in the run directory.
pub(super) fn place_sockets(guest: &mut Guest, run_dir: &Path) -> Result<(), PlanError> {
    for channel in &mut guest.channels {
        if let CharSource::Unix { path: path @ None, .. } = &mut channel.source {
            let name = channel.placement.alias.clone().unwrap_or_default();
            let socket: PathBuf = run_dir.join(format!("{name}.sock"));
            let socket = socket.into_os_string().into_string();
            *path = Some(socket.map_err(|path| {
                PlanError::Unsupported(format!("a run directory like {}", path.display()))
            })?);
        }
    }
    Ok(())
}

/// Writes the host's end of a device; returns its id.
fn write_source(
    source: &CharSource,
    placement: &Placement,
    out: &mut Arguments,
) -> Result<String, PlanError> {
    let id = format!("char{}", placement.alias.as_deref().unwrap_or_default());
    let value = match source {
        CharSource::Pty => format!("pty,id={id}"),
        CharSource::File { path, append } => {
            let access = if *append { Access::Append } else { Access::Replace };
            let file = out.file(path, access, None);
            // Without this QEMU truncates the file a second time, which is all that it changes.
            let append = if *append { ",append=on" } else { "" };
            format!("file,id={id},path={file}{append}")
        }
        CharSource::Unix { path, listen: true } => {
            let fd = out.socket(Path::new(path.as_deref().unwrap_or_default()))?;
            format!("socket,id={id},fd={fd},server=on,wait=off")
        }
        CharSource::Unix { path, listen: false } => {
            let path = doubled_commas(path.as_deref().unwrap_or_default());
            format!("socket,id={id},path={path}")
        }
    };
    out.plain("-chardev", value);
    Ok(id)
}

/// Writes serial ports, virtio consoles and channels.
pub(super) fn write(guest: &Guest, buses: &Buses, out: &mut Arguments) -> Result<(), PlanError> {
    for serial in &guest.serials {
        let chardev = write_source(&serial.source, &serial.placement, out)?;
        out.json(
            "-device",
            &json!({
                "driver": "isa-serial", "chardev": chardev, "id": serial.placement.alias,
                "index": serial.port,
            }),
        );
    }
    for console in guest.consoles.iter().filter(|it| it.target == ConsoleTarget::Virtio) {
        let chardev = write_source(&console.source, &console.placement, out)?;
        write_port("virtconsole", &chardev, None, &console.placement, buses, out);
    }
    for channel in &guest.channels {
        let chardev = write_source(&channel.source, &channel.placement, out)?;
        let name = channel.name.as_deref();
        write_port("virtserialport", &chardev, name, &channel.placement, buses, out);
    }
    Ok(())
}

fn write_port(
    driver: &str,
    chardev: &str,
    name: Option<&str>,
    placement: &Placement,
    buses: &Buses,
    out: &mut Arguments,
) {
    let Some(Address::VirtioSerial { controller, port, .. }) = placement.address else { return };
    let properties = object(json!({
        "driver": driver, "chardev": chardev, "name": name, "id": placement.alias,
        "bus": buses.virtio_serial(controller), "nr": port,
    }));
    out.json("-device", &Value::Object(properties));
}
