//! Memory: how much, of which NUMA nodes of the guest, and how the host keeps it.

use serde_json::json;
use vfnet_model::guest::{Allocation, Guest, MemoryMode, MemoryNodes, NumaCell};

use super::arguments::Arguments;

/// The machine's memory as one object, where it has to be one to have properties.
const WHOLE: &str = "pc.ram";

/// What of it belongs to `-machine`.
pub(super) fn of_machine(guest: &Guest) -> &'static str {
    let merged = guest.memory_backing.as_ref().is_none_or(|backing| !backing.nosharepages);
    match (merged, is_one_object(guest)) {
        (true, false) => "",
        (true, true) => ",memory-backend=pc.ram",
        (false, false) => ",mem-merge=off",
        (false, true) => ",mem-merge=off,memory-backend=pc.ram",
    }
}

/// Distances where none is said (ACPI: SLIT).
const NEAREST: u8 = 10;
const REMOTE: u8 = 20;

pub(super) fn write(guest: &Guest, out: &mut Arguments) {
    let cells = guest.cpu.as_ref().map(|cpu| &cpu.numa[..]).unwrap_or_default();
    let kib = match cells {
        [] => guest.memory_kib,
        cells => cells.iter().map(size_kib).fold(0, u64::saturating_add),
    };
    out.plain("-m", format!("size={kib}k"));
    if guest.memory_backing.as_ref().is_some_and(|backing| backing.locked) {
        out.plain("-overcommit", "mem-lock=on");
    }
    let prealloc = is_immediate(guest).then_some(true);
    if is_one_object(guest) {
        object(
            out,
            WHOLE,
            kib,
            prealloc,
            guest.numatune.as_ref().and_then(|it| it.memory.as_ref()),
        );
    }
    for cell in cells {
        let name = format!("ram-node{}", cell.id);
        let nodes = guest.numatune.as_ref().and_then(|it| it.of_cell(cell.id));
        object(out, &name, size_kib(cell), prealloc, nodes);
        let cpus: String =
            cell.cpus.to_string().split(',').map(|range| format!(",cpus={range}")).collect();
        out.plain("-numa", format!("node,nodeid={}{cpus},memdev={name}", cell.id));
    }
    if cells.iter().all(|cell| cell.distances.is_empty()) {
        return;
    }
    // All or none, to QEMU: one way is the other way, too, where that is not said.
    let said = |from: &NumaCell, to: &NumaCell| {
        from.distances.iter().find_map(|(id, value)| (*id == to.id).then_some(*value))
    };
    for (from, to) in cells.iter().flat_map(|from| cells.iter().map(move |to| (from, to))) {
        let usual = if from.id == to.id { NEAREST } else { REMOTE };
        let value = said(from, to).or_else(|| said(to, from)).unwrap_or(usual);
        out.plain("-numa", format!("dist,src={},dst={},val={value}", from.id, to.id));
    }
}

fn is_immediate(guest: &Guest) -> bool {
    let allocation = guest.memory_backing.as_ref().and_then(|backing| backing.allocation);
    allocation == Some(Allocation::Immediate)
}

fn is_one_object(guest: &Guest) -> bool {
    let placed = guest.numatune.as_ref().is_some_and(|it| it.memory.is_some());
    (placed || is_immediate(guest)) && guest.cpu.as_ref().is_none_or(|cpu| cpu.numa.is_empty())
}

/// Whole mebibytes, as libvirt rounds it up: the cells have to come to the machine's memory, whose
/// end QEMU aligns.
fn size_kib(cell: &NumaCell) -> u64 {
    cell.memory_kib.div_ceil(1024).saturating_mul(1024)
}

fn object(
    out: &mut Arguments,
    name: &str,
    kib: u64,
    prealloc: Option<bool>,
    nodes: Option<&MemoryNodes>,
) {
    let policy = nodes.map(|nodes| match nodes.mode {
        MemoryMode::Strict => "bind",
        MemoryMode::Preferred => "preferred",
        MemoryMode::Interleave => "interleave",
    });
    let nodes = nodes.map(|it| it.nodes.iter().collect::<Vec<_>>());
    let object = json!({
        "qom-type": "memory-backend-ram", "id": name, "size": kib.saturating_mul(1024),
        "prealloc": prealloc, "host-nodes": nodes, "policy": policy,
    });
    out.json("-object", &serde_json::Value::Object(super::devices::object(object)));
}
