//! QEMU itself takes the command lines, over the launcher.
//!
//! Every guest is started paused, with empty files in the place of its disks, until its monitor
//! answers, and then ended. VFs and taps need a host that has them: the emulated host's tests
//! start guests with both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vfnet_model::guest::{Backing, CpuMode, DiskFormat, DiskSource, Guest, Hypervisor, parse};
use vfnet_qemu::command_line::{self, Plan, Resolved, plan};
use vfnet_qemu::launch::{Access, ListenSocket, OpenFile};
use vfnet_qemu::{GuestEvent, LaunchSpec, RunState};

use crate::bench::{Bench, PATIENCE, end, next};
use crate::guests::{attachments, corpus, fixtures, lines, with_devices};

pub(crate) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

#[expect(clippy::print_stdout, reason = "what was skipped is told")]
pub(crate) fn installed() -> bool {
    let installed = Path::new(QEMU).exists();
    if !installed {
        println!("skipped: {QEMU} is not installed");
    }
    installed
}

/// The guest with what this machine lacks replaced: files by empty ones, KVM by TCG, real
/// devices by nothing.
fn made_harmless(mut guest: Guest, bench: &Bench) -> Guest {
    let mut next = 0;
    guest.emulator = Some(QEMU.to_owned());
    guest.hypervisor = Hypervisor::Qemu;
    if let Some(cpu) = &mut guest.cpu
        && cpu.mode == CpuMode::HostPassthrough
    {
        cpu.mode = CpuMode::Maximum;
    }
    guest.interfaces.clear();
    guest.hostdevs.clear();
    guest.memory_kib = guest.memory_kib.min(64 << 10);
    guest.current_memory_kib = guest.current_memory_kib.min(guest.memory_kib);
    let empty = |name: String, bytes: u64| {
        let path = bench.path(&name);
        std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    for (place, disk) in guest.disks.iter_mut().enumerate() {
        if disk.source.is_some() {
            let path = empty(format!("disk, {place}"), 1 << 20);
            if disk.format == DiskFormat::Qcow2 {
                std::fs::write(&path, qcow2_over(b"")).unwrap();
            }
            disk.source = Some(DiskSource::File(path));
        }
        let (mut behind, mut depth) = (&mut disk.backing, 0);
        while let Backing::Image(image) = behind {
            let path = empty(format!("behind {place}, {depth}"), 1 << 20);
            if image.format == DiskFormat::Qcow2 {
                std::fs::write(&path, qcow2_over(b"/not there")).unwrap();
            }
            image.source = DiskSource::File(path);
            (behind, depth) = (&mut image.backing, depth + 1);
        }
        // The file system under a temporary directory may not do direct I/O.
        disk.cache = None;
        disk.io = None;
    }
    if let Some(loader) = &mut guest.os.loader {
        loader.path = empty("code".to_owned(), 2 << 20);
    }
    if let Some(nvram) = &mut guest.os.nvram {
        nvram.path = Some(empty("vars".to_owned(), 1 << 20));
        nvram.template = None;
    }
    guest.os.kernel = None;
    guest.os.initrd = None;
    guest.os.cmdline = None;
    let sources = (guest.serials.iter_mut().map(|it| &mut it.source))
        .chain(guest.consoles.iter_mut().map(|it| &mut it.source))
        .chain(guest.channels.iter_mut().map(|it| &mut it.source));
    for (place, source) in sources.enumerate() {
        use vfnet_model::guest::CharSource;
        match source {
            CharSource::File { path, .. } => *path = empty(format!("output, {place}"), 0),
            CharSource::Unix { path: Some(path), listen } => {
                *path = bench.path(&format!("s{place}")).into_os_string().into_string().unwrap();
                *listen = true;
            }
            CharSource::Pty | CharSource::Unix { path: None, .. } => {}
        }
    }
    guest.fill_in(&mut || {
        next += 1;
        next
    });
    guest
}

/// The smallest qcow2 (version 2) of 1 MiB, with the name of what it is a change of: header, empty
/// L1 table, refcount table and one block. QEMU: docs/interop/qcow2.rst.
pub(crate) fn qcow2_over(backing: &[u8]) -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let mut image = vec![0; 4 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &2_u32.to_be_bytes());
    if !backing.is_empty() {
        let name = 1 << 10;
        put(8, &(name as u64).to_be_bytes());
        put(16, &u32::try_from(backing.len()).unwrap().to_be_bytes());
        put(name, backing);
    }
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 20).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for cluster in 0..4 {
        put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes());
    }
    image
}

pub(crate) fn planned(guest: &Guest, bench: &Bench) -> Plan {
    let resolved = Resolved {
        interfaces: &[],
        qmp: &bench.run_dir.qmp_socket(),
        run_dir: &bench.run_dir.guest_dir(),
        spare_root_ports: vfnet_qemu::command_line::SPARE_ROOT_PORTS,
    };
    plan(guest, resolved).unwrap_or_else(|fault| panic!("{}: {fault}", guest.name))
}

pub(crate) fn spec(plan: Plan, bench: &Bench) -> LaunchSpec {
    let file = |file: command_line::OpenFile| OpenFile {
        path: file.path,
        access: match file.access {
            command_line::Access::Read => Access::Read,
            command_line::Access::ReadWrite => Access::ReadWrite,
            command_line::Access::Replace => Access::Replace,
            command_line::Access::Append => Access::Append,
        },
        template: file.template,
        fd: file.fd,
    };
    let socket = |socket: command_line::ListenSocket| ListenSocket {
        path: socket.path,
        fd: socket.fd,
        owner: None,
    };
    LaunchSpec {
        name: plan.guest.name,
        uuid: plan.guest.uuid.unwrap(),
        program: plan.program,
        args: plan.args.into_iter().map(|arg| arg.into_string().unwrap()).collect(),
        files: plan.files.into_iter().map(file).collect(),
        sockets: plan.sockets.into_iter().map(socket).collect(),
        ..bench.spec("")
    }
}

async fn taken(name: &str, guest: Guest) {
    let bench = Bench::new();
    let guest = made_harmless(guest, &bench);
    let plan = planned(&guest, &bench);
    is_taken(name, plan, &bench).await;
}

async fn is_taken(name: &str, plan: Plan, bench: &Bench) {
    let words = lines(&plan);
    let spec = spec(plan, bench);
    let (running, mut events) = match bench.try_start(&spec).await {
        Ok(started) => started,
        Err(fault) => panic!("{name}: {fault}\n{words}"),
    };
    let started = next(&mut events).await;
    let paused = matches!(
        started,
        GuestEvent::Started { state: Some(RunState::Prelaunch | RunState::Paused), .. }
    );
    assert!(paused, "{name}: {started:?}");
    running.destroy(PATIENCE).await.unwrap();
    end(&mut events).await;
}

#[tokio::test]
async fn qemu_takes_every_fixture() {
    if !installed() {
        return;
    }
    for (name, text) in fixtures() {
        taken(&name, parse(&text).unwrap()).await;
    }
}

/// How many documents of the corpus are taken, at least.
const TAKEN: usize = 62;
/// Documents of the corpus that it was counted of.
const OF: usize = 122;

/// What every release has to take.
const REQUIRED: [&str; 5] = ["net-hostdev", "hostdev-pci", "hostdev-vfio", "pcie-root", "q35"];
/// Of them those that nobody can: one has function 1 beside a function 0 that says that it is the
/// only one, which QEMU refuses as well; one is for a 32-bit machine.
const IMPOSSIBLE: [&str; 2] = ["q35-multifunction.xml", "hostdev-pci-address.xml"];

/// VFs and taps aside, which the emulated host's tests have.
#[tokio::test]
async fn qemu_takes_what_libvirts_users_write() {
    if !installed() {
        return;
    }
    let documents = corpus();
    let (mut accepted, mut reasons) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (name, text) in &documents {
        let fault = match parse(text) {
            Ok(mut guest) => {
                guest.fill_in(&mut || 7);
                match crate::guests::planned(&guest) {
                    Ok(_) => {
                        accepted.push((name, guest));
                        continue;
                    }
                    Err(fault) => fault.to_string(),
                }
            }
            Err(fault) => fault.to_string(),
        };
        let required = REQUIRED.iter().any(|family| name.starts_with(family));
        let excused = IMPOSSIBLE.contains(&name.as_str());
        assert!(!required || excused, "{name}: {fault}");
        // The element, not its line, which is another in every document.
        let reason = fault.split(", line ").next().unwrap_or(&fault).to_owned();
        *reasons.entry(reason).or_default() += 1;
    }
    let taken_of_them = accepted.len();
    for (name, guest) in accepted {
        taken(name, guest).await;
    }
    let of = documents.len();
    println!("{taken_of_them} of {of} documents are taken by QEMU; the others are refused for");
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (reason, count) in reasons {
        println!("{count:5}  {reason}");
    }
    assert!(of < OF || taken_of_them >= TAKEN, "only {taken_of_them} of {of} are taken");
}

#[tokio::test]
async fn qemu_takes_every_word_of_a_disk_and_a_card() {
    if !installed() {
        return;
    }
    for machine in ["pc", "q35"] {
        let mut buses = vec!["virtio", "scsi", "sata"];
        if machine == "pc" {
            buses.push("ide");
        }
        let disks: String = buses
            .iter()
            .enumerate()
            .map(|(place, bus)| {
                let (vd, cd) = (('a'..='z').nth(place).unwrap(), ('k'..='z').nth(place).unwrap());
                let disk = format!(
                    "<disk type='file'><driver type='qcow2' discard='unmap'/><source file='/x'/>\
                     <target dev='vd{vd}' bus='{bus}'/><serial>S {place}</serial>\
                     <boot order='{}'/></disk>",
                    place + 1
                );
                let cdrom =
                    format!("<disk device='cdrom'><target dev='sd{cd}' bus='{bus}'/></disk>");
                if *bus == "virtio" { disk } else { disk + &cdrom }
            })
            .collect();
        taken(machine, with_devices(machine, &disks)).await;
        for video in [
            "type='vga' vram='9216'",
            "type='cirrus' vram='9216'",
            "type='bochs' vram='32768'",
            "type='virtio' heads='2'",
        ] {
            let devices = format!(
                "<graphics type='vnc'/><video><model {video}/></video>\
                 <input type='tablet' bus='usb'/><input type='tablet' bus='virtio'/>\
                 <input type='mouse' bus='virtio'/><input type='keyboard' bus='usb'/>"
            );
            taken(video, with_devices(machine, &devices)).await;
        }
    }
}

/// Cards are plugged into a hub of QEMU's own where a host would have taps.
#[tokio::test]
async fn qemu_takes_every_card() {
    if !installed() {
        return;
    }
    let cards: String = ["virtio", "e1000", "e1000e", "igb", "rtl8139"]
        .iter()
        .map(|model| {
            let rest = match *model {
                "virtio" => "<teaming type='persistent'/><boot order='1'/>",
                _ => "",
            };
            format!(
                "<interface type='bridge'><source bridge='b'/><model type='{model}'/>{rest}\
                 </interface>"
            )
        })
        .collect();
    for machine in ["pc", "q35"] {
        let bench = Bench::new();
        let guest = with_devices(machine, &cards);
        let interfaces = attachments(&guest);
        let resolved = Resolved {
            interfaces: &interfaces,
            qmp: &bench.run_dir.qmp_socket(),
            run_dir: &bench.run_dir.guest_dir(),
            spare_root_ports: vfnet_qemu::command_line::SPARE_ROOT_PORTS,
        };
        let mut plan = plan(&guest, resolved).unwrap();
        for arg in &mut plan.args {
            let Ok(Value::Object(mut netdev)) = serde_json::from_str(arg.to_str().unwrap()) else {
                continue;
            };
            if netdev.get("type") == Some(&"tap".into()) {
                netdev.retain(|name, _| name == "id");
                netdev.insert("type".to_owned(), "hubport".into());
                netdev.insert("hubid".to_owned(), 0.into());
                *arg = Value::Object(netdev).to_string().into();
            }
        }
        is_taken(machine, plan, &bench).await;
    }
}

/// So that a test that opens a file by a path with a comma in it means what it says.
#[test]
fn the_files_of_these_tests_have_commas_in_their_names() {
    let bench = Bench::new();
    let disk = "<disk type='file'><source file='/x'/><target dev='vda'/></disk>";
    let guest = made_harmless(with_devices("pc", disk), &bench);
    let plan = planned(&guest, &bench);
    let path: &PathBuf = &plan.files[0].path;
    assert!(path.to_str().unwrap().contains(','), "{path:?}");
}
