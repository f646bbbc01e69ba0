//! `<os>` and `<features>`: the machine and how it boots.

use serde::{Deserialize, Serialize};

use super::words::{Text as _, at, served, served_text, words};
use crate::xml::{DocumentError, Element, Writer};

/// `<os>`. The architecture is always x86_64.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Os {
    /// Machine type as written, such as `q35` or `pc-i440fx-9.2`.
    pub machine: Option<String>,
    /// UEFI code.
    pub loader: Option<Loader>,
    /// UEFI variables.
    pub nvram: Option<Nvram>,
    /// Kernel to boot directly.
    pub kernel: Option<String>,
    /// Its initial RAM disk.
    pub initrd: Option<String>,
    /// Its command line.
    pub cmdline: Option<String>,
    /// Order of boot by kind of device; empty where devices have `<boot order>`.
    pub boot: Vec<BootDevice>,
}

/// Chipset of a machine type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MachineFamily {
    /// i440FX with PCI slots.
    Pc,
    /// Q35 with PCI Express.
    Q35,
}

/// `<loader readonly='yes' type='pflash'>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loader {
    /// Firmware image, raw.
    pub path: String,
    /// Whether the guest may not write to it.
    pub readonly: bool,
    /// `stateless='yes'`: the firmware keeps no variables.
    pub stateless: bool,
}

/// `<nvram>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nvram {
    /// The guest's own variable store, raw; `None` until filled in.
    pub path: Option<String>,
    /// What a store that is not there yet is copied from.
    pub template: Option<String>,
}

words! {
    /// `<boot dev=…/>`.
    pub enum BootDevice {
        /// The first disk.
        Hd = "hd",
        /// The first CD-ROM.
        Cdrom = "cdrom",
        /// The first network interface.
        Network = "network",
    }
}

/// `<features>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Features {
    /// ACPI tables. Without them a guest cannot be shut down gracefully.
    pub acpi: bool,
    /// Kept for the document; x86 machines always have an APIC.
    pub apic: bool,
    /// Kept for the document; the CPU model decides.
    pub pae: bool,
    /// `<hyperv>`: what makes Windows guests run well.
    pub hyperv: Option<HyperV>,
    /// `<kvm><hidden state=…/></kvm>`: not to be seen as a KVM guest.
    pub kvm_hidden: Option<bool>,
    /// VMware's I/O port.
    pub vmport: Option<bool>,
    /// `<apic eoi=…/>`: ends of interrupts without leaving the guest, under KVM.
    #[serde(default)]
    pub apic_eoi: Option<bool>,
    /// `<pvspinlock>`: a virtual CPU that waits for a lock gives its processor away, under KVM.
    #[serde(default)]
    pub pvspinlock: Option<bool>,
    /// `<smm>`: System Management Mode.
    #[serde(default)]
    pub smm: Option<bool>,
}

/// `<hyperv>`: each enlightenment as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HyperV {
    /// Those that are on or off, by libvirt's name, in libvirt's order.
    pub states: Vec<(String, bool)>,
    /// `<spinlocks retries=…>`, when on; at least 4095.
    pub spinlock_retries: Option<u32>,
    /// `<stimer><direct state=…/></stimer>`: its interrupts come without a message.
    #[serde(default)]
    pub stimer_direct: Option<bool>,
}

impl Os {
    /// Chipset of the machine type; a document without one gets `pc`, as from libvirt.
    pub fn family(&self) -> MachineFamily {
        match self.machine.as_deref() {
            Some(machine) if machine == "q35" || machine.starts_with("pc-q35-") => {
                MachineFamily::Q35
            }
            _ => MachineFamily::Pc,
        }
    }

    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        if let Some(firmware) = element.attribute("firmware") {
            let fault = format!("firmware='{firmware}' of <os> (name the image with <loader>)");
            return Err(at(element.unsupported(fault), "firmware"));
        }
        let kind = element.child("type")?.ok_or_else(|| element.invalid("<type> is missing"))?;
        served(kind, "arch", &[("x86_64", ())])?;
        let machine = kind.plain_word("machine")?;
        if let Some(machine) = &machine {
            let known = ["pc", "q35"].contains(&machine.as_str())
                || ["pc-q35-", "pc-i440fx-"].iter().any(|family| machine.starts_with(family));
            if !known {
                let what = format!("machine='{machine}' of <type> (served: pc, q35 and versions)");
                return Err(at(kind.unsupported(what), "machine"));
            }
        }
        served_text(kind, &[("hvm", ())])?;
        let path = |name: &str| element.child(name)?.map(|it| it.absolute_path()).transpose();
        let mut boot = Vec::new();
        for device in element.children("boot") {
            let device = served(device, "dev", BootDevice::WORDS)?
                .ok_or_else(|| device.invalid("<boot> needs the attribute 'dev'"))?;
            boot.push(device);
        }
        let os = Self {
            machine,
            loader: element.child("loader")?.map(Loader::read).transpose()?,
            nvram: element.child("nvram")?.map(Nvram::read).transpose()?,
            kernel: path("kernel")?,
            initrd: path("initrd")?,
            cmdline: element.child_text("cmdline")?,
            boot,
        };
        if os.kernel.is_none() && (os.initrd.is_some() || os.cmdline.is_some()) {
            return Err(element.invalid("<initrd> or <cmdline> without <kernel>"));
        }
        match (&os.loader, &os.nvram) {
            (None, Some(_)) => Err(element.invalid("<nvram> without <loader>")),
            (Some(Loader { stateless: true, .. }), Some(_)) => {
                Err(element.unsupported("<nvram> for a stateless loader"))
            }
            _ => Ok(os),
        }
    }

    pub(super) fn print(&self, w: &mut Writer) {
        w.tag("type").attr("arch", "x86_64").attr_opt("machine", self.machine.as_ref()).text("hvm");
        if let Some(loader) = &self.loader {
            let tag = w.tag("loader").yes_no("readonly", loader.readonly).attr("type", "pflash");
            let tag = if loader.stateless { tag.yes_no("stateless", true) } else { tag };
            tag.attr("format", "raw").text(&loader.path);
        }
        if let Some(nvram) = &self.nvram {
            let tag = w.tag("nvram").attr_opt("template", nvram.template.as_ref());
            match &nvram.path {
                Some(path) => tag.attr("format", "raw").text(path),
                None => tag.empty(),
            }
        }
        w.text_opt("kernel", self.kernel.as_ref());
        w.text_opt("initrd", self.initrd.as_ref());
        w.text_opt("cmdline", self.cmdline.as_ref());
        for device in &self.boot {
            w.tag("boot").attr("dev", device).empty();
        }
    }
}

impl Loader {
    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        served(element, "type", &[("pflash", ())])?
            .ok_or_else(|| element.unsupported("<loader> other than type='pflash'"))?;
        served(element, "secure", &[("no", ())])?;
        served(element, "format", &[("raw", ())])?;
        Ok(Self {
            readonly: element.yes_no("readonly")?.unwrap_or(false),
            stateless: element.yes_no("stateless")?.unwrap_or(false),
            path: element.absolute_path()?,
        })
    }
}

impl Nvram {
    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        served(element, "format", &[("raw", ())])?;
        served(element, "templateFormat", &[("raw", ())])?;
        let template = element.path_attribute("template")?;
        let path = match element.text().trim() {
            "" => None,
            _ => Some(element.absolute_path()?),
        };
        Ok(Self { path, template })
    }
}

/// Enlightenments that are on or off, in libvirt's order. QEMU's name is `hv-` and this.
const ENLIGHTENMENTS: [&str; 11] = [
    "relaxed",
    "vapic",
    "vpindex",
    "runtime",
    "synic",
    "stimer",
    "reset",
    "frequencies",
    "reenlightenment",
    "tlbflush",
    "ipi",
];

impl Features {
    pub(super) fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        let present = |name: &str| element.child(name).map(|found| found.is_some());
        let state = |name: &str| match element.child(name)? {
            // On, where it does not say (libvirt: the same).
            Some(child) => Ok(Some(child.on_off("state")?.unwrap_or(true))),
            None => Ok(None),
        };
        let kvm_hidden = match element.child("kvm")? {
            Some(kvm) => match kvm.child("hidden")? {
                Some(hidden) => hidden.on_off("state")?,
                None => None,
            },
            None => None,
        };
        Ok(Self {
            acpi: present("acpi")?,
            apic: present("apic")?,
            pae: present("pae")?,
            hyperv: element.child("hyperv")?.map(HyperV::read).transpose()?,
            kvm_hidden,
            vmport: state("vmport")?,
            apic_eoi: match element.child("apic")? {
                Some(apic) => apic.on_off("eoi")?,
                None => None,
            },
            pvspinlock: state("pvspinlock")?,
            smm: state("smm")?,
        })
    }

    pub(super) fn print(&self, w: &mut Writer) {
        let word = |on: bool| if on { "on" } else { "off" };
        if self.acpi {
            w.tag("acpi").empty();
        }
        if self.apic {
            w.tag("apic").attr_opt("eoi", self.apic_eoi.map(word)).empty();
        }
        if self.pae {
            w.tag("pae").empty();
        }
        if let Some(hyperv) = &self.hyperv {
            w.tag("hyperv").attr("mode", "custom").open_body(|w| {
                for (place, (name, on)) in hyperv.states.iter().enumerate() {
                    if place == hyperv.spinlocks_at() {
                        hyperv.print_spinlocks(w);
                    }
                    let direct = hyperv.stimer_direct.filter(|_| name == "stimer");
                    w.tag(name).attr("state", word(*on)).body(|w| {
                        if let Some(on) = direct {
                            w.tag("direct").attr("state", word(on)).empty();
                        }
                    });
                }
                if hyperv.spinlocks_at() == hyperv.states.len() {
                    hyperv.print_spinlocks(w);
                }
            });
        }
        if let Some(hidden) = self.kvm_hidden {
            w.tag("kvm").body(|w| w.tag("hidden").attr("state", word(hidden)).empty());
        }
        let states = [("pvspinlock", self.pvspinlock), ("vmport", self.vmport), ("smm", self.smm)];
        for (name, state) in states {
            if let Some(state) = state {
                w.tag(name).attr("state", word(state)).empty();
            }
        }
    }
}

impl HyperV {
    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        served(element, "mode", &[("custom", ())])?;
        let mut states = Vec::new();
        for name in ENLIGHTENMENTS {
            if let Some(child) = element.child(name)? {
                let on = child.on_off("state")?.ok_or_else(|| {
                    child.invalid(format!("<{name}> needs the attribute 'state'"))
                })?;
                states.push((name.to_owned(), on));
            }
        }
        let spinlock_retries =
            match element.child("spinlocks")? {
                Some(child) if child.on_off("state")? == Some(true) => {
                    let retries = child.number_up_to("retries", u32::MAX.into())?;
                    let retries = retries.and_then(|retries| u32::try_from(retries).ok());
                    Some(retries.filter(|retries| *retries >= 0xfff).ok_or_else(|| {
                        child.invalid("<spinlocks> needs 'retries' of at least 4095")
                    })?)
                }
                _ => None,
            };
        let stimer_direct = match element.child("stimer")? {
            Some(stimer) => match stimer.child("direct")? {
                Some(direct) => Some(
                    direct
                        .on_off("state")?
                        .ok_or_else(|| direct.invalid("<direct> needs the attribute 'state'"))?,
                ),
                None => None,
            },
            None => None,
        };
        Ok(Self { states, spinlock_retries, stimer_direct })
    }

    /// libvirt prints `<spinlocks>` after relaxed and vapic.
    fn spinlocks_at(&self) -> usize {
        self.states.iter().take_while(|(name, _)| name == "relaxed" || name == "vapic").count()
    }

    fn print_spinlocks(&self, w: &mut Writer) {
        if let Some(retries) = self.spinlock_retries {
            w.tag("spinlocks").attr("state", "on").attr("retries", retries).empty();
        }
    }
}
