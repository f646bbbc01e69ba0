//! The host's PCI devices and network interfaces, for reading. What can be done to them is in
//! [`device`](super::device).

use vfnet_model::node_device::{Form, NodeDeviceName, Outline, Sort, print};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{
    CONNECT_LIST_NODE_DEVICES_ACTIVE as ACTIVE, CONNECT_LIST_NODE_DEVICES_CAP_NET as CAP_NET,
    CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV as CAP_PCI,
    CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM as CAP_SYSTEM, CONNECT_LIST_NODE_DEVICES_CAPS as CAPS,
    CONNECT_LIST_NODE_DEVICES_INACTIVE as INACTIVE,
    CONNECT_LIST_NODE_DEVICES_PERSISTENT as PERSISTENT,
    CONNECT_LIST_NODE_DEVICES_TRANSIENT as TRANSIENT, NODE_DEVICE_XML_INACTIVE,
};
use vfnet_rpc::objects::NodeDevice;
use vfnet_rpc::xdr::Text;

use super::text;
use crate::Daemon;

fn error(code: ErrorCode, detail: &str) -> WireError {
    WireError::new(ErrorDomain::NodeDevice, code, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unreadable(why: String) -> WireError {
    error(ErrorCode::OperationFailed, &format!("cannot read the host's devices: {why}"))
}

fn missing(name: &str) -> WireError {
    let detail = format!("no node device with matching name '{name}'");
    error(ErrorCode::NoNodeDevice, &detail)
}

async fn all(daemon: &Daemon) -> Result<Vec<(Sort, NodeDeviceName)>, WireError> {
    daemon.devices.read(|tree| tree.names()).await.map_err(unreadable)
}

async fn outline(daemon: &Daemon, name: &str) -> Result<Outline, WireError> {
    let wanted = name.to_owned();
    let found = daemon.devices.read(move |tree| tree.outline(&wanted)).await;
    found.map_err(unreadable)?.ok_or_else(|| missing(name))
}

/// To libvirt the machine itself is defined, and everything else comes and goes.
const fn persistent(sort: Sort) -> bool {
    matches!(sort, Sort::System)
}

/// Whether devices of a sort are among those that the flags ask for. All are active.
fn is_wanted(sort: Sort, flags: u32) -> bool {
    let capability = match sort {
        Sort::System => CAP_SYSTEM,
        Sort::Pci => CAP_PCI,
        Sort::Net => CAP_NET,
    };
    let lasting = if persistent(sort) { PERSISTENT } else { TRANSIENT };
    [(CAPS, capability), (PERSISTENT | TRANSIENT, lasting), (ACTIVE | INACTIVE, ACTIVE)]
        .into_iter()
        .all(|(group, own)| flags & group == 0 || flags & own != 0)
}

pub(super) async fn list_all(daemon: &Daemon, flags: u32) -> Result<Vec<NodeDevice>, WireError> {
    let all = all(daemon).await?;
    let wanted = all.iter().filter(|(sort, _)| is_wanted(*sort, flags));
    Ok(wanted.map(|(_, name)| NodeDevice { name: text(name.as_str()) }).collect())
}

/// Names of the devices with a capability, or of all.
pub(super) async fn names(
    daemon: &Daemon,
    capability: Option<&str>,
) -> Result<Vec<Text>, WireError> {
    let all = all(daemon).await?;
    let wanted =
        all.iter().filter(|(sort, _)| capability.is_none_or(|wanted| sort.capability() == wanted));
    Ok(wanted.map(|(_, name)| text(name.as_str())).collect())
}

pub(super) async fn by_name(daemon: &Daemon, name: &str) -> Result<NodeDevice, WireError> {
    let device = outline(daemon, name).await?;
    Ok(NodeDevice { name: text(device.name.as_str()) })
}

pub(super) async fn document(daemon: &Daemon, name: &str, flags: u32) -> Result<Text, WireError> {
    let wanted = name.to_owned();
    let found = daemon.devices.read(move |tree| tree.device(&wanted)).await;
    let device = found.map_err(unreadable)?.ok_or_else(|| missing(name))?;
    if flags & NODE_DEVICE_XML_INACTIVE == 0 {
        return Ok(text(print(&device, Form::Live)));
    }
    // Only what is defined has a document of its own.
    if device.parent.is_some() {
        let detail = format!("node device '{name}' is not persistent");
        return Err(error(ErrorCode::OperationInvalid, &detail));
    }
    Ok(text(print(&device, Form::Inactive)))
}

pub(super) async fn parent(daemon: &Daemon, name: &str) -> Result<Option<Text>, WireError> {
    Ok(outline(daemon, name).await?.parent.map(|parent| text(parent.as_str())))
}

/// The one capability that each device has here.
pub(super) async fn capabilities(daemon: &Daemon, name: &str) -> Result<Vec<Text>, WireError> {
    Ok(vec![text(outline(daemon, name).await?.kind.sort().capability())])
}

/// Whether it is defined, and so started by itself.
pub(super) async fn is_persistent(daemon: &Daemon, name: &str) -> Result<bool, WireError> {
    Ok(persistent(outline(daemon, name).await?.kind.sort()))
}
