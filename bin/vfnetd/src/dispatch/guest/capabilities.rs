//! What guests can be given here, in libvirt's form (libvirt: formatdomaincaps): what their
//! documents may say, and this host has.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use vfnet_model::guest::{DiskBus, DiskDevice, Hypervisor, MAX_VCPUS, VideoModel};
use vfnet_model::xml::Writer;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::remote::DomainCapabilitiesArgs;
use vfnet_rpc::xdr::Text;

use super::super::text;
use super::error;
use crate::aside::aside;
use crate::{Daemon, wire_error};

/// Where distributions keep UEFI images that a document may name.
const FIRMWARE: [&str; 5] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
];

/// What is not served at all, of `<devices>` and of `<features>`.
const NO_DEVICES: [&str; 6] =
    ["filesystem", "redirdev", "tpm", "crypto", "panic", "launchSecurity"];
const NO_FEATURES: [&str; 7] =
    ["gic", "vmcoreinfo", "genid", "backup", "async-teardown", "s390-pv", "sev"];

pub(super) async fn of_guests(
    daemon: &Daemon,
    args: &DomainCapabilitiesArgs,
) -> Result<Text, WireError> {
    let invalid = |detail: &str| Err(wire_error::invalid(ErrorDomain::Qemu, detail));
    if args.flags != 0 {
        return invalid(&format!("flags {:#x} are not known", args.flags));
    }
    if let Some(arch) = args.arch.as_deref().filter(|arch| *arch != "x86_64") {
        return invalid(&format!("guests of architecture '{arch}' are not served, only x86_64"));
    }
    let machine = args.machine.as_deref().unwrap_or("pc");
    let families = ["pc-i440fx-", "pc-q35-"];
    if !["pc", "q35"].contains(&machine) && !families.iter().any(|it| machine.starts_with(it)) {
        return invalid(&format!("machines '{machine}' are not served, only pc and q35"));
    }
    let has_kvm = Path::new("/dev/kvm").exists();
    let hypervisor = match args.virt_type.as_deref() {
        Some("kvm") if !has_kvm => return invalid("this host has no KVM"),
        Some("kvm") => Hypervisor::Kvm,
        None if has_kvm => Hypervisor::Kvm,
        None | Some("qemu") => Hypervisor::Qemu,
        Some(other) => return invalid(&format!("guests of type '{other}' are not served")),
    };
    let emulator = args.emulator.as_deref().map_or(daemon.config.emulator.clone(), PathBuf::from);
    let probed = emulator.clone();
    let version = aside(move || vfnet_qemu::emulator::probe(&probed)).await?;
    version.map_err(|fault| error(ErrorCode::InvalidArg, &vfnet_model::explain(&fault)))?;
    Ok(text(document(&emulator, hypervisor, machine)))
}

fn document(emulator: &Path, hypervisor: Hypervisor, machine: &str) -> String {
    let mut w = Writer::new();
    w.tag("domainCapabilities").body(|w| {
        w.text("path", emulator.display());
        w.text("domain", hypervisor);
        w.text("machine", machine);
        w.text("arch", "x86_64");
        w.tag("vcpu").attr("max", MAX_VCPUS).empty();
        not(w, "iothreads");
        has(w, "os", |w| {
            // Images are named by their paths, none is chosen.
            w.tag("enum").attr("name", "firmware").empty();
            has(w, "loader", |w| {
                for path in FIRMWARE.iter().filter(|path| Path::new(path).exists()) {
                    w.text("value", path);
                }
                one_of(w, "type", ["pflash"]);
                one_of(w, "readonly", ["yes", "no"]);
                one_of(w, "secure", ["no"]);
            });
        });
        w.tag("cpu").body(|w| {
            let modes = [
                ("host-passthrough", hypervisor == Hypervisor::Kvm, "hostPassthroughMigratable"),
                ("maximum", true, "maximumMigratable"),
                ("host-model", true, ""),
                ("custom", true, ""),
            ];
            for (mode, is, migratable) in modes {
                let tag = w.tag("mode").attr("name", mode).attr("supported", yes(is));
                match migratable {
                    "" => tag.empty(),
                    _ if !is => tag.empty(),
                    name => tag.body(|w| one_of(w, name, ["on", "off"])),
                }
            }
        });
        not(w, "memoryBacking");
        w.tag("devices").body(devices);
        w.tag("features").body(|w| {
            for name in NO_FEATURES {
                not(w, name);
            }
        });
    });
    w.finish()
}

fn devices(w: &mut Writer) {
    has(w, "disk", |w| {
        one_of(w, "diskDevice", DiskDevice::ALL);
        one_of(w, "bus", DiskBus::ALL);
        one_of(w, "model", ["virtio"]);
    });
    has(w, "graphics", |w| one_of(w, "type", ["vnc"]));
    has(w, "video", |w| one_of(w, "modelType", VideoModel::ALL));
    has(w, "hostdev", |w| {
        one_of(w, "mode", ["subsystem"]);
        one_of(w, "startupPolicy", ["mandatory"]);
        one_of(w, "subsysType", ["pci"]);
        w.tag("enum").attr("name", "capsType").empty();
        one_of(w, "pciBackend", ["vfio"]);
    });
    has(w, "rng", |w| {
        one_of(w, "model", ["virtio"]);
        one_of(w, "backendModel", ["random", "builtin"]);
    });
    has(w, "channel", |w| one_of(w, "type", ["pty", "file", "unix"]));
    for name in NO_DEVICES {
        not(w, name);
    }
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn has(w: &mut Writer, name: &'static str, body: impl FnOnce(&mut Writer)) {
    w.tag(name).attr("supported", "yes").body(body);
}

fn not(w: &mut Writer, name: &'static str) {
    w.tag(name).attr("supported", "no").empty();
}

fn one_of<T: Display>(w: &mut Writer, name: &str, values: impl IntoIterator<Item = T>) {
    w.tag("enum").attr("name", name).body(|w| {
        for value in values {
            w.text("value", value);
        }
    });
}
