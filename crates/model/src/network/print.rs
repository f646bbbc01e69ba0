//! From [`Network`] to text, in libvirt's order (libvirt: `virNetworkDefFormatBuf`).

use super::{Forward, Members, NAMESPACE, Network, Pool, PortGroup};
use crate::PciAddress;
use crate::xml::Writer;
use crate::xml::elements::{write_passthrough_driver, write_pci_address, write_vlan};

/// What an active network has besides its document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Ports in use; printed as `connections` when not 0.
    pub connections: usize,
    /// The VFs that the pool resolved to, printed after its members; those that the document
    /// lists itself are not printed twice.
    pub vfs: Vec<PciAddress>,
}

/// Which of its documents.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// What was defined (`--inactive`).
    Inactive,
    /// The running network.
    Live(&'a Live),
}

/// Prints a network. `network.uuid` is printed when it is set.
pub fn print(network: &Network, form: Form<'_>) -> String {
    let (connections, vfs) = match form {
        Form::Inactive => (None, &[][..]),
        Form::Live(live) => (Some(live.connections).filter(|&n| n > 0), &live.vfs[..]),
    };
    let made = network.pool().map_or(&[][..], |pool| &pool.make_vfs);
    let mut w = Writer::new();
    w.tag("network")
        .attr_opt("xmlns:vfnet", (!made.is_empty()).then_some(NAMESPACE))
        .attr_opt("connections", connections)
        .yes_no_opt("trustGuestRxFilters", network.trust_guest_rx_filters)
        .body(|w| {
            w.text("name", &network.name);
            w.text_opt("uuid", network.uuid);
            w.text_opt("title", network.title.as_ref());
            w.text_opt("description", network.description.as_ref());
            if let Some(metadata) = &network.metadata {
                w.raw(metadata);
            }
            match &network.forward {
                Forward::Hostdev(pool) => print_pool(w, pool, vfs),
                Forward::Bridge(bridge) => {
                    w.tag("forward").attr("mode", "bridge").empty();
                    w.tag("bridge").attr("name", bridge).empty();
                }
            }
            if let Some(id) = network.vlan {
                write_vlan(w, id);
            }
            for group in &network.portgroups {
                print_portgroup(w, group);
            }
            if !made.is_empty() {
                w.tag("vfnet:pool").body(|w| {
                    for pf in made {
                        w.tag("vfnet:pf").attr("dev", &pf.pf).attr_opt("vfs", pf.vfs).empty();
                    }
                });
            }
        });
    w.finish()
}

fn print_pool(w: &mut Writer, pool: &Pool, vfs: &[PciAddress]) {
    w.tag("forward").attr("mode", "hostdev").yes_no("managed", pool.managed).body(|w| {
        if let Some(driver) = &pool.driver {
            write_passthrough_driver(w, driver);
        }
        let mut listed = &[][..];
        match &pool.members {
            Members::None => {}
            Members::Pf(dev) => w.tag("pf").attr("dev", dev).empty(),
            Members::Interfaces(devs) => {
                for dev in devs {
                    w.tag("interface").attr("dev", dev).empty();
                }
            }
            Members::Addresses(addresses) => listed = addresses,
        }
        let resolved = vfs.iter().filter(|vf| !listed.contains(vf));
        for &address in listed.iter().chain(resolved) {
            write_pci_address(w, true, address);
        }
    });
}

fn print_portgroup(w: &mut Writer, group: &PortGroup) {
    w.tag("portgroup")
        .attr("name", &group.name)
        .attr_opt("default", group.default.then_some("yes"))
        .yes_no_opt("trustGuestRxFilters", group.trust_guest_rx_filters)
        .open_body(|w| {
            if let Some(id) = group.vlan {
                write_vlan(w, id);
            }
        });
}
