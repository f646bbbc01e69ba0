//! Network interfaces, passthrough devices and the display's port.

use std::net::IpAddr;

use serde_json::json;
use vfnet_model::guest::{
    Attachment, Guest, Interface, InterfaceModel, LinkState, Placement, Teaming, Vnc,
};
use vfnet_model::{MacAddress, PciAddress};

use super::arguments::Arguments;
use super::devices::{Buses, pci_device};
use super::{BeforeRun, PlanError};

/// Checks what only the start can know of a pair of teamed interfaces.
pub(super) fn check(guest: &Guest, attachments: &[Attachment]) -> Result<(), PlanError> {
    for (interface, attachment) in guest.interfaces.iter().zip(attachments) {
        let vf = matches!(attachment, Attachment::Vf { .. });
        let fault = match &interface.teaming {
            Some(Teaming::Persistent) if vf => {
                "the persistent interface of a team became a VF; it needs a bridge"
            }
            Some(Teaming::Transient { .. }) if !vf => {
                "the transient interface of a team became none of a VF; it needs a hostdev network"
            }
            _ if !vf && interface.vlan.is_some() => "<vlan> of an interface on a bridge",
            _ => continue,
        };
        return Err(PlanError::Unsupported(fault.to_owned()));
    }
    Ok(())
}

/// Writes interfaces and host devices.
pub(super) fn write(
    guest: &Guest,
    attachments: &[Attachment],
    buses: &Buses,
    out: &mut Arguments,
    before_run: &mut BeforeRun,
) -> Result<(), PlanError> {
    for (interface, attachment) in guest.interfaces.iter().zip(attachments) {
        match attachment {
            Attachment::Vf { address, .. } => {
                let partner = match &interface.teaming {
                    Some(Teaming::Transient { persistent }) => Some(persistent.as_str()),
                    _ => None,
                };
                write_vfio(*address, interface.boot, partner, &interface.placement, buses, out);
            }
            Attachment::Bridge { tap, .. } => {
                let alias = interface.placement.alias.as_deref();
                let netdev = netdev_of(alias.unwrap_or_default());
                out.json(
                    "-netdev",
                    &json!({
                        "type": "tap", "id": netdev, "ifname": tap.as_str(), "script": "no",
                        "downscript": "no",
                    }),
                );
                let mac = interface.mac.ok_or_else(|| super::not_ready(guest, "a MAC address"))?;
                write_card(interface, mac, &netdev, buses, out);
                if interface.link == Some(LinkState::Down) {
                    before_run.links_down.extend(interface.placement.alias.clone());
                }
            }
        }
    }
    for hostdev in &guest.hostdevs {
        write_vfio(hostdev.address, hostdev.boot, None, &hostdev.placement, buses, out);
    }
    Ok(())
}

/// The host's end of the card of this alias.
pub(super) fn netdev_of(alias: &str) -> String {
    format!("host{alias}")
}

fn write_vfio(
    address: PciAddress,
    boot: Option<u32>,
    partner: Option<&str>,
    placement: &Placement,
    buses: &Buses,
    out: &mut Arguments,
) {
    let more = json!({
        "host": address.to_string(), "bootindex": boot, "failover_pair_id": partner,
    });
    pci_device(out, buses, "vfio-pci", placement, more);
}

fn write_card(
    interface: &Interface,
    mac: MacAddress,
    netdev: &str,
    buses: &Buses,
    out: &mut Arguments,
) {
    let driver = match interface.model {
        Some(InterfaceModel::Virtio) => "virtio-net-pci",
        Some(InterfaceModel::E1000) => "e1000",
        Some(InterfaceModel::E1000e) => "e1000e",
        Some(InterfaceModel::Igb) => "igb",
        Some(InterfaceModel::Rtl8139) | None => "rtl8139",
    };
    let failover = (interface.teaming == Some(Teaming::Persistent)).then_some(true);
    let more = json!({
        "netdev": netdev, "mac": mac.to_string(), "bootindex": interface.boot,
        "failover": failover,
    });
    pci_device(out, buses, driver, &interface.placement, more);
}

/// Writes the VNC server. Displays are counted from port 5900.
pub(super) fn write_vnc(vnc: &Vnc, out: &mut Arguments, before_run: &mut BeforeRun) {
    /// Displays tried until one is free.
    const DISPLAYS: u16 = 1000;
    let host = match vnc.listen {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(IpAddr::V4(address)) => address.to_string(),
        None => "127.0.0.1".to_owned(),
    };
    let mut value = match vnc.port {
        Some(port) => format!("{host}:{}", port.saturating_sub(5900)),
        None => format!("{host}:0,to={}", DISPLAYS - 1),
    };
    if vnc.password.is_some() {
        value.push_str(",password=on");
        before_run.vnc_password.clone_from(&vnc.password);
    }
    out.plain("-vnc", value);
    if let Some(keymap) = &vnc.keymap {
        out.plain("-k", keymap);
    }
}
