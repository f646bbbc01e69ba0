//! The connection and the host behind it.

use std::path::Path;

use vfnet_model::xml::Writer;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::remote::{ModelName, NodeInfo};

use crate::Daemon;
use crate::aside::aside;

/// The version of libvirt whose behaviour clients may expect: 11.3.0, as libvirt counts it.
pub(super) const LIBVIRT_VERSION: u64 = 11_003_000;

/// Machines that guest documents may name (the aliases; QEMU knows more).
const MACHINES: [&str; 2] = ["pc", "q35"];

/// QEMU's version, as libvirt counts it.
pub(super) async fn emulator_version(daemon: &Daemon) -> Result<u64, WireError> {
    let path = daemon.config.emulator.clone();
    let version = aside(move || vfnet_qemu::emulator::probe(&path)).await?;
    let version = version.map_err(|fault| {
        let detail = vfnet_model::explain(&fault);
        WireError::new(ErrorDomain::Qemu, ErrorCode::OperationFailed, &detail)
    })?;
    Ok(version.as_number())
}

pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) fn max_vcpus() -> i32 {
    i32::try_from(vfnet_model::guest::MAX_VCPUS).unwrap_or(i32::MAX)
}

/// A line `KEY: N kB` of `/proc/meminfo`, in KiB.
fn meminfo(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Free memory in bytes.
pub(super) fn free_memory() -> u64 {
    meminfo("MemFree").saturating_mul(1024)
}

/// Processors and memory. The processors count as one socket; MHz is 0 for unknown.
pub(super) fn node_info() -> NodeInfo {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpus = i32::try_from(cpus).unwrap_or(i32::MAX);
    NodeInfo {
        model: ModelName::new(std::env::consts::ARCH),
        memory: meminfo("MemTotal"),
        cpus,
        mhz: 0,
        nodes: 1,
        sockets: 1,
        cores: cpus,
        threads: 1,
    }
}

/// What guests can be run here, in libvirt's form.
pub(super) fn capabilities(daemon: &Daemon) -> String {
    let uuid = std::fs::read_to_string("/sys/class/dmi/id/product_uuid").ok();
    let mut w = Writer::new();
    w.tag("capabilities").body(|w| {
        w.tag("host").body(|w| {
            w.text_opt("uuid", uuid.as_deref().map(|uuid| uuid.trim().to_lowercase()));
            w.tag("cpu").body(|w| w.text("arch", std::env::consts::ARCH));
        });
        w.tag("guest").body(|w| {
            w.text("os_type", "hvm");
            w.tag("arch").attr("name", "x86_64").body(|w| {
                w.text("wordsize", 64);
                w.text("emulator", daemon.config.emulator.display());
                for machine in MACHINES {
                    w.text("machine", machine);
                }
                w.tag("domain").attr("type", "qemu").empty();
                if Path::new("/dev/kvm").exists() {
                    w.tag("domain").attr("type", "kvm").empty();
                }
            });
            w.tag("features").body(|w| {
                w.tag("acpi").attr("default", "on").attr("toggle", "yes").empty();
                w.tag("apic").attr("default", "on").attr("toggle", "no").empty();
            });
        });
    });
    w.finish()
}
