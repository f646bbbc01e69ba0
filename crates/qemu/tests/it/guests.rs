//! Guests to make command lines of: the model's fixtures, and the corpus beside the repository.

use std::fs;
use std::path::{Path, PathBuf};

use vfnet_model::guest::{Attachment, Guest, InterfaceSource, parse};
use vfnet_qemu::command_line::{Plan, PlanError, Resolved, plan};

/// The model's own documents as (file name, text).
pub(crate) fn fixtures() -> Vec<(String, String)> {
    documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/guest"))
}

/// Documents of libvirt's users; none, and a line that says so, where they are absent.
#[expect(clippy::print_stdout, reason = "what was skipped is told")]
pub(crate) fn corpus() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/domain");
    if root.is_dir() {
        return documents(&root);
    }
    println!("skipped: {} is absent", root.display());
    Vec::new()
}

fn documents(root: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(root).unwrap_or_else(|fault| panic!("{}: {fault}", root.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// A guest as it is when it is started.
pub(crate) fn ready(text: &str) -> Guest {
    let mut guest = parse(text).unwrap();
    let mut next = 0;
    guest.fill_in(&mut || {
        next += 1;
        next
    });
    guest
}

/// A guest of the machine with these devices.
pub(crate) fn with_devices(machine: &str, devices: &str) -> Guest {
    ready(&format!(
        "<domain type='qemu'><name>g</name><memory>65536</memory>\
         <os><type machine='{machine}'>hvm</type></os><features><acpi/></features>\
         <devices>{devices}</devices></domain>"
    ))
}

/// What its interfaces become: a VF on the network `hw`, else a tap.
/// Networks of the fixtures, and of the corpus.
fn lends_vfs(network: &str) -> bool {
    network == "hw" || network.starts_with("hostdev;")
}

pub(crate) fn attachments(guest: &Guest) -> Vec<Attachment> {
    let vf = |place: usize| Attachment::Vf {
        address: format!("0000:01:10.{place}").parse().unwrap(),
        managed: true,
        model: None,
        vlan: None,
    };
    guest
        .interfaces
        .iter()
        .enumerate()
        .map(|(place, interface)| match &interface.source {
            InterfaceSource::Network { network, .. } if lends_vfs(network.as_str()) => vf(place),
            InterfaceSource::Hostdev { .. } => vf(place),
            _ => Attachment::Bridge {
                bridge: "br0".parse().unwrap(),
                tap: format!("tap{place}").parse().unwrap(),
                port: None,
            },
        })
        .collect()
}

pub(crate) fn planned(guest: &Guest) -> Result<Plan, PlanError> {
    let interfaces = attachments(guest);
    let resolved = Resolved {
        interfaces: &interfaces,
        qmp: Path::new("/run/g/qmp"),
        run_dir: Path::new("/run/g/guest"),
        spare_root_ports: vfnet_qemu::command_line::SPARE_ROOT_PORTS,
    };
    plan(guest, resolved)
}

/// Its arguments, an option and its value to a line.
pub(crate) fn lines(plan: &Plan) -> String {
    let mut text = String::new();
    for arg in &plan.args {
        let arg = arg.to_str().unwrap();
        if arg.starts_with('-') && !text.is_empty() {
            text.push('\n');
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(arg);
    }
    text
}
