//! From [`NodeDevice`] to text, in libvirt's order (libvirt: `virNodeDeviceDefFormat`).

use super::{
    Capability, Medium, Net, NetLinkState, NodeDevice, Pci, PciBridge, PciExpress, PciId, PciLink,
    PciLinkSpeed, System, VirtFunctions,
};
use crate::PciAddress;
use crate::xml::Writer;
use crate::xml::elements::write_pci_address;

/// Which document of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The device as it is.
    Live,
    /// Without what only a running host has: path and driver (`--inactive`).
    Inactive,
}

/// Prints a device.
pub fn print(device: &NodeDevice, form: Form) -> String {
    let live = form == Form::Live;
    let mut w = Writer::new();
    w.tag("device").body(|w| {
        w.text("name", &device.name);
        w.text_opt("path", device.path.as_ref().filter(|_| live));
        w.text_opt("parent", device.parent.as_ref());
        if let Some(driver) = device.driver.as_ref().filter(|_| live) {
            w.tag("driver").body(|w| w.text("name", driver));
        }
        match &device.capability {
            Capability::System(system) => print_system(w, system),
            Capability::Pci(pci) => print_pci(w, pci),
            Capability::Net(net) => print_net(w, net),
        }
    });
    w.finish()
}

fn print_system(w: &mut Writer, system: &System) {
    w.tag("capability").attr("type", "system").body(|w| {
        w.text_opt("product", system.product.as_ref());
        w.tag("hardware").body(|w| {
            w.text_opt("vendor", system.hardware_vendor.as_ref());
            w.text_opt("version", system.hardware_version.as_ref());
            w.text_opt("serial", system.hardware_serial.as_ref());
            w.text("uuid", system.hardware_uuid);
        });
        w.tag("firmware").open_body(|w| {
            w.text_opt("vendor", system.firmware_vendor.as_ref());
            w.text_opt("version", system.firmware_version.as_ref());
            w.text_opt("release_date", system.firmware_release_date.as_ref());
        });
    });
}

fn print_pci(w: &mut Writer, pci: &Pci) {
    w.tag("capability").attr("type", "pci").body(|w| {
        w.text("class", format_args!("{:#08x}", pci.class));
        w.text("domain", pci.address.domain());
        w.text("bus", pci.address.bus());
        w.text("slot", pci.address.slot());
        w.text("function", pci.address.function());
        print_id(w, "product", &pci.product);
        print_id(w, "vendor", &pci.vendor);
        if let Some(pf) = pci.phys_function {
            let pf = [pf];
            w.tag("capability").attr("type", "phys_function").body(|w| print_addresses(w, &pf));
        }
        if let Some(vfs) = &pci.virt_functions {
            print_virt_functions(w, vfs);
        }
        if let Some(bridge) = pci.bridge {
            let kind = match bridge {
                PciBridge::Pci => "pci-bridge",
                PciBridge::Cardbus => "cardbus-bridge",
            };
            w.tag("capability").attr("type", kind).empty();
        }
        if let Some(group) = &pci.iommu_group {
            w.tag("iommuGroup")
                .attr("number", group.number)
                .body(|w| print_addresses(w, &group.members));
        }
        if let Some(node) = pci.numa_node {
            w.tag("numa").attr("node", node).empty();
        }
        if let Some(express) = &pci.express {
            print_express(w, express);
        }
    });
}

fn print_id(w: &mut Writer, element: &str, id: &PciId) {
    let tag = w.tag(element).attr("id", format_args!("{:#06x}", id.id));
    match &id.name {
        Some(name) => tag.text(name),
        None => tag.empty(),
    }
}

fn print_virt_functions(w: &mut Writer, vfs: &VirtFunctions) {
    let tag = w.tag("capability").attr("type", "virt_functions");
    match vfs.max_count {
        Some(max) => tag.attr("maxCount", max).body(|w| print_addresses(w, &vfs.functions)),
        None => tag.open_body(|w| print_addresses(w, &vfs.functions)),
    }
}

fn print_addresses(w: &mut Writer, addresses: &[PciAddress]) {
    for &address in addresses {
        write_pci_address(w, false, address);
    }
}

fn print_express(w: &mut Writer, express: &PciExpress) {
    w.tag("pci-express").body(|w| {
        if let Some(link) = express.capable {
            print_link(w, "cap", express.port, link);
        }
        if let Some(link) = express.status {
            print_link(w, "sta", None, link);
        }
    });
}

fn print_link(w: &mut Writer, validity: &str, port: Option<u32>, link: PciLink) {
    w.tag("link")
        .attr("validity", validity)
        .attr_opt("port", port)
        .attr_opt("speed", link.speed.map(PciLinkSpeed::name))
        .attr("width", link.width)
        .empty();
}

fn print_net(w: &mut Writer, net: &Net) {
    w.tag("capability").attr("type", "net").body(|w| {
        w.text("interface", &net.interface);
        w.text_opt("address", net.address.as_ref());
        if net.speed.is_some() || net.state.is_some() {
            w.tag("link")
                .attr_opt("speed", net.speed)
                .attr_opt("state", net.state.map(NetLinkState::name))
                .empty();
        }
        for feature in &net.features {
            w.tag("feature").attr("name", feature.name()).empty();
        }
        if let Some(medium) = net.medium {
            let kind = match medium {
                Medium::Ethernet => "80203",
                Medium::Wireless => "80211",
            };
            w.tag("capability").attr("type", kind).empty();
        }
    });
}
