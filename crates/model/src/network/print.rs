//! From [`Network`] to text, in libvirt's order (libvirt: `virNetworkDefFormatBuf`).

use super::connection::{Devices, IpMask};
use super::{
    Direct, Forward, Ip, Members, NAMESPACE, Network, Placement, Pool, PoolPf, PortGroup,
    VfOptions, WhichPf,
};
use crate::vf::LinkState;
use crate::xml::Writer;
use crate::xml::connection::{write_bandwidth, write_virtual_port};
use crate::xml::elements::{write_passthrough_driver, write_pci_address, write_vlan};
use crate::{PciAddress, VlanProtocol};

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
    let pool = network.pool();
    let made = pool.map_or(&[][..], |pool| &pool.pfs);
    let vf = pool.map_or(VfOptions::default(), |pool| pool.vf);
    let placement = network.pool().map(|pool| pool.placement.clone()).unwrap_or_default();
    let says = |placement: &Placement, vf| {
        *placement != Placement::default() || vf != VfOptions::default()
    };
    let of_pool = !made.is_empty() || says(&placement, vf);
    let ours = of_pool || network.portgroups.iter().any(|it| says(&it.placement, it.vf));
    let mut w = Writer::new();
    w.tag("network")
        .attr_opt("xmlns:vfnet", ours.then_some(NAMESPACE))
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
                Forward::Direct(direct) => print_direct(w, direct),
            }
            if let Some(tags) = &network.vlan {
                write_vlan(w, tags);
            }
            if let Some(bandwidth) = &network.bandwidth {
                write_bandwidth(w, bandwidth);
            }
            if let Some(isolated) = network.isolated {
                w.tag("port").yes_no("isolated", isolated).empty();
            }
            for ip in &network.ips {
                print_ip(w, ip);
            }
            if let Some(port) = &network.virtual_port {
                write_virtual_port(w, port);
            }
            for group in &network.portgroups {
                print_portgroup(w, group);
            }
            if of_pool {
                w.tag("vfnet:pool").body(|w| {
                    for pf in made {
                        print_pf(w, pf);
                    }
                    placement.print(w);
                    print_vf_options(w, vf);
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

fn print_pf(w: &mut Writer, pf: &PoolPf) {
    let tag = w.tag("vfnet:pf");
    match &pf.which {
        WhichPf::Dev(dev) => tag.attr("dev", dev),
        WhichPf::Address(address) => tag.attr("address", address),
        WhichPf::Like(selector) => {
            selector.attributes().fold(tag, |tag, (name, value)| tag.attr(name, value))
        }
    }
    .attr_opt("vfRange", pf.range.as_ref())
    .attr_opt("vfs", pf.vfs)
    .yes_no_opt("autoprobe", pf.autoprobe)
    .empty();
}

fn print_portgroup(w: &mut Writer, group: &PortGroup) {
    w.tag("portgroup")
        .attr("name", &group.name)
        .attr_opt("default", group.default.then_some("yes"))
        .yes_no_opt("trustGuestRxFilters", group.trust_guest_rx_filters)
        .open_body(|w| {
            if let Some(tags) = &group.vlan {
                write_vlan(w, tags);
            }
            if let Some(port) = &group.virtual_port {
                write_virtual_port(w, port);
            }
            if let Some(bandwidth) = &group.bandwidth {
                write_bandwidth(w, bandwidth);
            }
            group.placement.print(w);
            print_vf_options(w, group.vf);
        });
}

fn print_vf_options(w: &mut Writer, options: VfOptions) {
    if options == VfOptions::default() {
        return;
    }
    w.tag("vfnet:vf")
        .yes_no_opt("trust", options.trust)
        .yes_no_opt("spoofchk", options.spoofchk)
        .attr_opt("linkState", options.link_state.map(LinkState::name))
        .attr_opt("minRate", options.min_rate)
        .attr_opt("maxRate", options.max_rate)
        .attr_opt("vlanProto", options.vlan_protocol.map(VlanProtocol::name))
        .attr_opt("qos", options.qos)
        .empty();
}

fn print_direct(w: &mut Writer, direct: &Direct) {
    let interfaces = match &direct.devices {
        Devices::Interfaces(devs) => &devs[..],
        Devices::Pf(_) => &[],
    };
    w.tag("forward").attr_opt("dev", interfaces.first()).attr("mode", direct.mode.name()).body(
        |w| {
            if let Devices::Pf(dev) = &direct.devices {
                w.tag("pf").attr("dev", dev).empty();
            }
            for dev in interfaces {
                w.tag("interface").attr("dev", dev).empty();
            }
        },
    );
}

fn print_ip(w: &mut Writer, ip: &Ip) {
    let family = if ip.address.is_ipv4() { "ipv4" } else { "ipv6" };
    let tag = w
        .tag("ip")
        .attr_opt("family", ip.family_written.then_some(family))
        .attr("address", ip.address);
    match ip.mask {
        None => tag,
        Some(IpMask::Netmask(netmask)) => tag.attr("netmask", netmask),
        Some(IpMask::Prefix(prefix)) => tag.attr("prefix", prefix),
    }
    .open_body(|_| {});
}
