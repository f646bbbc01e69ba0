//! Which of the networks that can be written down vfnet runs.

use super::{Bandwidth, Direct, DirectMode, Forward, Network, VirtualPort};
use crate::VlanTags;
use crate::xml::{DocumentError, Kind};

/// Why a VF has no bandwidth.
const NO_BANDWIDTH: &str = "<bandwidth>: the host does not see the traffic of a VF";
/// Why anything else has none.
const NO_LIMITS: &str = "<bandwidth>: vfnet sets no such limits";
/// Why a port has no virtual port.
pub(crate) const NO_VIRTUALPORT: &str =
    "<virtualport>: Open vSwitch, 802.1Qbg and 802.1Qbh are not served";
/// Why a port is not isolated.
pub(crate) const NO_ISOLATION: &str = "<port>: ports cannot be isolated from each other";
/// Why a port has no trunk.
pub(crate) const NO_TRUNK: &str = "a VLAN trunk cannot be set on a VF, which has one tag";

/// Refuses an element that is read, but not served.
pub(crate) fn unsupported(path: impl Into<String>, message: impl Into<String>) -> DocumentError {
    let error = DocumentError::whole(Kind::Unsupported, message);
    DocumentError { path: path.into(), ..error }
}

impl Network {
    /// Whether vfnet runs such a network.
    ///
    /// # Errors
    /// The first thing of it that vfnet does not do, named with its path in the document.
    pub fn served(&self) -> Result<(), DocumentError> {
        let tagged = match &self.forward {
            Forward::Hostdev(_) => true,
            Forward::Bridge(_) => false,
            Forward::Direct(direct) => return Err(no_direct(direct)),
        };
        port_wishes(
            "/network",
            tagged,
            self.vlan.as_ref(),
            self.virtual_port.as_ref(),
            self.bandwidth.as_ref(),
        )?;
        if self.isolated == Some(true) {
            return Err(unsupported("/network/port", NO_ISOLATION));
        }
        if !self.ips.is_empty() {
            let message = "<ip>: the host has no address in such a network";
            return Err(unsupported("/network/ip", message));
        }
        for (place, group) in self.portgroups.iter().enumerate() {
            let path = match &self.portgroups[..] {
                [_] => "/network/portgroup".to_owned(),
                _ => format!("/network/portgroup[{}]", place + 1),
            };
            port_wishes(
                &path,
                tagged,
                group.vlan.as_ref(),
                group.virtual_port.as_ref(),
                group.bandwidth.as_ref(),
            )?;
        }
        Ok(())
    }
}

fn no_direct(direct: &Direct) -> DocumentError {
    let message = match (direct.mode, direct.devices.is_none()) {
        (DirectMode::Bridge, true) => {
            "forward mode 'bridge' needs <bridge name='…'/>, an existing bridge of the host"
                .to_owned()
        }
        (DirectMode::Bridge, false) => {
            "forward mode 'bridge' over devices (macvtap) is not served".to_owned()
        }
        (mode, _) => {
            format!("forward mode '{}': 'hostdev' and 'bridge' are served", mode.name())
        }
    };
    unsupported("/network/forward", message)
}

/// Why there is no bandwidth, on what is known to be a VF or on anything else.
pub(crate) const fn no_bandwidth(on_vf: bool) -> &'static str {
    if on_vf { NO_BANDWIDTH } else { NO_LIMITS }
}

fn port_wishes(
    path: &str,
    tagged: bool,
    vlan: Option<&VlanTags>,
    virtual_port: Option<&VirtualPort>,
    bandwidth: Option<&Bandwidth>,
) -> Result<(), DocumentError> {
    let refusal = match vlan {
        Some(_) if !tagged => Some(("vlan", "<vlan>: tags are set on VFs only, not on a bridge")),
        Some(VlanTags::Trunk(_)) => Some(("vlan", NO_TRUNK)),
        _ => None,
    };
    let refusal = refusal
        .or_else(|| virtual_port.map(|_| ("virtualport", NO_VIRTUALPORT)))
        .or_else(|| bandwidth.map(|_| ("bandwidth", no_bandwidth(tagged))));
    match refusal {
        Some((element, why)) => Err(unsupported(format!("{path}/{element}"), why)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::network::parse;

    #[test]
    fn only_a_vfs_traffic_is_said_to_be_out_of_the_hosts_sight() {
        for (forward, says) in [
            ("<forward mode='hostdev'><pf dev='p'/></forward>", "the traffic of a VF"),
            ("<forward mode='bridge'/><bridge name='br0'/>", "sets no such limits"),
        ] {
            let limit = "<bandwidth><inbound average='1'/></bandwidth>";
            let text = format!("<network><name>n</name>{forward}{limit}</network>");
            let refusal = parse(&text).expect("read").served().expect_err("refused").to_string();
            assert!(refusal.contains(says), "{refusal}");
        }
    }
}
