//! Machine, CPU, memory, clock and firmware.

use serde_json::json;
use vfnet_model::guest::{
    AddressBits, BootDevice, ClockOffset, CpuCache, CpuMode, DiskDevice, FeaturePolicy, Guest,
    Hypervisor, MachineFamily, OnCrash, OnPoweroff, OnReboot, PitPolicy, RtcPolicy,
};

use super::arguments::{Arguments, doubled_commas};
use super::{Access, memory};

/// Everything before the devices.
pub(super) fn write(guest: &Guest, out: &mut Arguments) {
    out.plain("-name", format!("guest={},debug-threads=on", doubled_commas(guest.name.as_str())));
    out.switch("-S");
    out.switch("-no-user-config");
    out.switch("-nodefaults");
    out.plain("-display", "none");
    out.plain("-msg", "timestamp=on");
    out.plain(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    write_machine(guest, out);
    if let Some(cpu) = cpu(guest) {
        out.plain("-cpu", cpu);
    }
    memory::write(guest, out);
    out.plain("-smp", smp(guest));
    if let Some(uuid) = guest.uuid {
        out.plain("-uuid", uuid.to_string());
    }
    write_clock(guest, out);
    write_pm(guest, out);
    out.plain("-action", actions(guest));
    out.plain("-boot", "strict=on");
    // By path: QEMU reads them with fopen(3), which knows no descriptor sets, so that the uid
    // that it runs as must be able to read them.
    let os = &guest.os;
    for (option, value) in
        [("-kernel", &os.kernel), ("-initrd", &os.initrd), ("-append", &os.cmdline)]
    {
        if let Some(value) = value {
            out.plain(option, value);
        }
    }
}

fn write_machine(guest: &Guest, out: &mut Arguments) {
    let mut machine = guest.os.machine.clone().unwrap_or_else(|| "pc".to_owned());
    machine.push_str(",usb=off,dump-guest-core=off");
    let switches = [
        (!guest.features.acpi).then_some(",acpi=off"),
        guest.features.vmport.map(|on| if on { ",vmport=on" } else { ",vmport=off" }),
        guest.clock.timers.hpet.map(|on| if on { ",hpet=on" } else { ",hpet=off" }),
        guest.features.smm.map(|on| if on { ",smm=on" } else { ",smm=off" }),
    ];
    machine.extend(switches.into_iter().flatten());
    machine.push_str(memory::of_machine(guest));
    let os = &guest.os;
    if let Some(loader) = &os.loader {
        let access = if loader.readonly { Access::Read } else { Access::ReadWrite };
        let image = out.file(&loader.path, access, None);
        flash(out, "pflash0", &image, loader.readonly);
        machine.push_str(",pflash0=pflash0-format");
    }
    if let Some(nvram) = &os.nvram
        && let Some(path) = &nvram.path
    {
        let image = out.file(path, Access::ReadWrite, nvram.template.as_ref());
        flash(out, "pflash1", &image, false);
        machine.push_str(",pflash1=pflash1-format");
    }
    out.plain("-machine", machine);
    out.plain(
        "-accel",
        match guest.hypervisor {
            Hypervisor::Qemu => "tcg",
            Hypervisor::Kvm => "kvm",
        },
    );
}

fn flash(out: &mut Arguments, name: &str, image: &str, readonly: bool) {
    let storage = format!("{name}-storage");
    out.json(
        "-blockdev",
        &json!({
            "driver": "file", "filename": image, "node-name": storage, "read-only": readonly,
        }),
    );
    out.json(
        "-blockdev",
        &json!({
            "driver": "raw", "file": storage, "node-name": format!("{name}-format"),
            "read-only": readonly,
        }),
    );
}

/// Flags that libvirt knows and QEMU cannot give, so that taking them away is nothing to do. Where
/// one is required, QEMU refuses in its own words.
const NEVER_IN_QEMU: [&str; 6] = ["cmt", "mbm_local", "mbm_total", "osxsave", "ospke", "pconfig"];

/// The CPU as QEMU names it; `None` for the machine's own with nothing to change.
fn cpu(guest: &Guest) -> Option<String> {
    let kvm = guest.hypervisor == Hypervisor::Kvm;
    let mut out = String::new();
    if let Some(cpu) = &guest.cpu {
        match &cpu.mode {
            CpuMode::HostPassthrough => out.push_str("host"),
            CpuMode::HostModel if kvm => out.push_str("host,migratable=on"),
            CpuMode::HostModel | CpuMode::Maximum => out.push_str("max"),
            CpuMode::Custom(Some(model)) => out.push_str(model),
            CpuMode::Custom(None) => {}
        }
        match cpu.migratable {
            Some(true) => out.push_str(",migratable=on"),
            Some(false) => out.push_str(",migratable=off"),
            None => {}
        }
    }
    let model_given = !out.is_empty();
    let mut flag = |name: &str, on: bool| {
        out.push(',');
        out.push_str(name);
        out.push_str(if on { "=on" } else { "=off" });
    };
    if let Some(hyperv) = &guest.features.hyperv {
        for (name, on) in &hyperv.states {
            flag(&format!("hv-{name}"), *on);
        }
        if let Some(on) = hyperv.stimer_direct {
            flag("hv-stimer-direct", on);
        }
    }
    let features = &guest.features;
    for (name, state) in [("kvm-pv-eoi", features.apic_eoi), ("kvm-pv-unhalt", features.pvspinlock)]
    {
        if let Some(on) = state {
            flag(name, on);
        }
    }
    if guest.features.kvm_hidden == Some(true) {
        flag("kvm", false);
    }
    let timers = &guest.clock.timers;
    for (name, present) in [("kvmclock", timers.kvmclock), ("hv-time", timers.hypervclock)] {
        if let Some(present) = present {
            flag(name, present);
        }
    }
    if let Some(cpu) = &guest.cpu {
        for feature in &cpu.features {
            let wanted = feature.policy != FeaturePolicy::Disable;
            let needed = matches!(feature.policy, FeaturePolicy::Force | FeaturePolicy::Require);
            if needed || !NEVER_IN_QEMU.contains(&feature.name.as_str()) {
                flag(&feature.name, wanted);
            }
        }
        if let Some(cache) = cpu.cache {
            // Other models have no host's caches to show.
            if matches!(cpu.mode, CpuMode::HostPassthrough | CpuMode::Maximum) {
                flag("host-cache-info", cache == CpuCache::Passthrough);
            }
            match cache {
                CpuCache::Emulate { level: Some(_) } => flag("l3-cache", true),
                CpuCache::Disable => flag("l3-cache", false),
                CpuCache::Emulate { level: None } | CpuCache::Passthrough => {}
            }
        }
        match cpu.address_bits {
            Some(AddressBits::Passthrough) => flag("host-phys-bits", true),
            // QEMU's number, also for a model whose default is the host's.
            Some(AddressBits::Emulate(None)) => flag("host-phys-bits", false),
            Some(AddressBits::Emulate(Some(_))) | None => {}
        }
        if cpu.enforce {
            flag("enforce", true);
        }
    }
    if let Some(retries) = guest.features.hyperv.as_ref().and_then(|it| it.spinlock_retries) {
        out.push_str(&format!(",hv-spinlocks={retries:#x}"));
    }
    if let Some(AddressBits::Emulate(Some(bits))) =
        guest.cpu.as_ref().and_then(|it| it.address_bits)
    {
        out.push_str(&format!(",phys-bits={bits}"));
    }
    if let Some(hz) = timers.tsc_hz {
        out.push_str(&format!(",tsc-frequency={hz}"));
    }
    match (model_given, out.is_empty()) {
        (_, true) => None,
        (true, false) => Some(out),
        // The model of the machine types, to which something is changed.
        (false, false) => Some(format!("qemu64{out}")),
    }
}

fn smp(guest: &Guest) -> String {
    let count = match guest.current_vcpus {
        all if all == guest.vcpus => all.to_string(),
        current => format!("{current},maxcpus={}", guest.vcpus),
    };
    match guest.cpu.as_ref().and_then(|cpu| cpu.topology) {
        Some(it) => format!(
            "{count},sockets={},dies={},cores={},threads={}",
            it.sockets, it.dies, it.cores, it.threads
        ),
        None => format!("{count},sockets={},cores=1,threads=1", guest.vcpus),
    }
}

fn write_clock(guest: &Guest, out: &mut Arguments) {
    let clock = &guest.clock;
    let base = match clock.offset {
        ClockOffset::Utc => "base=utc",
        ClockOffset::Localtime => "base=localtime",
    };
    let policy = match clock.timers.rtc {
        Some(RtcPolicy::Catchup) => ",driftfix=slew",
        Some(RtcPolicy::Delay) => ",driftfix=none",
        None => "",
    };
    out.plain("-rtc", format!("{base}{policy}"));
    // Only KVM's PIT has a choice; QEMU's own always delivers late.
    if let (Some(policy), Hypervisor::Kvm) = (clock.timers.pit, guest.hypervisor) {
        let policy = match policy {
            PitPolicy::Delay => "delay",
            PitPolicy::Discard => "discard",
        };
        out.plain("-global", format!("kvm-pit.lost_tick_policy={policy}"));
    }
}

/// Whether the guest is told that it can sleep.
fn write_pm(guest: &Guest, out: &mut Arguments) {
    let device = match guest.os.family() {
        MachineFamily::Pc => "PIIX4_PM",
        MachineFamily::Q35 => "ICH9-LPC",
    };
    let states =
        [("disable_s3", guest.pm.suspend_to_mem), ("disable_s4", guest.pm.suspend_to_disk)];
    for (property, state) in states {
        if let Some(enabled) = state {
            out.plain("-global", format!("{device}.{property}={}", u8::from(!enabled)));
        }
    }
}

/// What QEMU does by itself when the guest ends or resets, so that it is done whether or not a
/// daemon is there.
fn actions(guest: &Guest) -> String {
    let reboot = match guest.on_reboot {
        OnReboot::Restart => "reset",
        OnReboot::Destroy => "shutdown",
    };
    let shutdown = match guest.on_poweroff {
        OnPoweroff::Destroy => "poweroff",
        OnPoweroff::Preserve => "pause",
    };
    let panic = match guest.on_crash {
        OnCrash::Destroy => "exit-failure",
        OnCrash::Restart => "none",
        OnCrash::Preserve => "pause",
    };
    format!("reboot={reboot},shutdown={shutdown},panic={panic}")
}

/// Gives the devices that `<os><boot dev>` means their place in the order.
pub(super) fn order_boot(guest: &mut Guest) {
    let wanted = std::mem::take(&mut guest.os.boot);
    for (place, kind) in wanted.iter().enumerate() {
        let order = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
        let disk =
            |device: DiskDevice| move |disk: &&mut vfnet_model::guest::Disk| disk.device == device;
        let boot = match kind {
            BootDevice::Hd => {
                guest.disks.iter_mut().find(disk(DiskDevice::Disk)).map(|it| &mut it.boot)
            }
            BootDevice::Cdrom => {
                guest.disks.iter_mut().find(disk(DiskDevice::Cdrom)).map(|it| &mut it.boot)
            }
            BootDevice::Network => guest.interfaces.first_mut().map(|it| &mut it.boot),
        };
        if let Some(boot) = boot {
            boot.get_or_insert(order);
        }
    }
    guest.os.boot = wanted;
}
