//! From [`Guest`] to text, in libvirt's order.

use super::{Features, Guest, LiveGuest, Placement};
use crate::xml::Writer;

/// Which of its documents.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// What was defined (`--inactive`).
    Inactive,
    /// The running guest. The guest printed is the one that its command line came with, whose
    /// devices have addresses and aliases.
    Live(&'a LiveGuest),
}

/// What the devices need to know of the form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printing<'a> {
    pub(super) live: Option<&'a LiveGuest>,
    pub(super) secrets: bool,
}

impl<'a> Printing<'a> {
    /// The terminal that QEMU made for a device.
    pub(super) fn tty(self, placement: &Placement) -> Option<&'a String> {
        self.live?.ptys.get(placement.alias.as_ref()?)
    }
}

/// Prints a guest without its secrets.
pub fn print(guest: &Guest, form: Form<'_>) -> String {
    write(guest, form, false)
}

/// Prints a guest with its VNC password (`virsh dumpxml --security-info`).
pub fn print_with_secrets(guest: &Guest, form: Form<'_>) -> String {
    write(guest, form, true)
}

fn write(guest: &Guest, form: Form<'_>, secrets: bool) -> String {
    let live = match form {
        Form::Inactive => None,
        Form::Live(live) => Some(live),
    };
    let printing = Printing { live, secrets };
    let mut w = Writer::new();
    w.tag("domain").attr("type", guest.hypervisor).attr_opt("id", live.map(|live| live.id)).body(
        |w| {
            w.text("name", &guest.name);
            w.text_opt("uuid", guest.uuid);
            w.text_opt("title", guest.title.as_ref());
            w.text_opt("description", guest.description.as_ref());
            if let Some(metadata) = &guest.metadata {
                w.raw(metadata);
            }
            w.tag("memory").attr("unit", "KiB").text(guest.memory_kib);
            w.tag("currentMemory").attr("unit", "KiB").text(guest.current_memory_kib);
            if let Some(backing) = &guest.memory_backing {
                backing.print(w);
            }
            let current = Some(guest.current_vcpus).filter(|it| *it != guest.vcpus);
            let vcpu = w.tag("vcpu").attr("placement", "static");
            vcpu.attr_opt("cpuset", guest.cpuset.as_ref())
                .attr_opt("current", current)
                .text(guest.vcpus);
            if let Some(cputune) = &guest.cputune {
                cputune.print(w);
            }
            if let Some(numatune) = &guest.numatune {
                numatune.print(w);
            }
            w.tag("os").body(|w| guest.os.print(w));
            if guest.features != Features::default() {
                w.tag("features").body(|w| guest.features.print(w));
            }
            if let Some(cpu) = &guest.cpu {
                cpu.print(w);
            }
            guest.clock.print(w);
            w.text("on_poweroff", guest.on_poweroff);
            w.text("on_reboot", guest.on_reboot);
            w.text("on_crash", guest.on_crash);
            guest.pm.print(w);
            w.tag("devices").body(|w| write_devices(guest, w, printing));
            if guest.unlabelled {
                w.tag("seclabel").attr("type", "none").attr("model", "none").empty();
            }
        },
    );
    w.finish()
}

fn write_devices(guest: &Guest, w: &mut Writer, printing: Printing<'_>) {
    w.text_opt("emulator", guest.emulator.as_ref());
    for disk in &guest.disks {
        disk.print(w, printing);
    }
    for controller in &guest.controllers {
        controller.print(w, printing);
    }
    for (place, interface) in guest.interfaces.iter().enumerate() {
        let became = printing.live.and_then(|live| live.interfaces.get(place));
        interface.print(w, became, printing);
    }
    for serial in &guest.serials {
        serial.print(w, printing);
    }
    for console in &guest.consoles {
        console.print(w, printing);
    }
    for channel in &guest.channels {
        channel.print(w, printing);
    }
    for input in &guest.inputs {
        input.print(w, printing);
    }
    if let Some(vnc) = &guest.vnc {
        vnc.print(w, printing);
    }
    if let Some(video) = &guest.video {
        video.print(w, true, printing);
    }
    for video in &guest.more_videos {
        video.print(w, false, printing);
    }
    for hostdev in &guest.hostdevs {
        hostdev.print(w, printing);
    }
    if let Some(balloon) = &guest.memballoon {
        balloon.print(w, printing);
    }
    for rng in &guest.rngs {
        rng.print(w, printing);
    }
}
