//! `<cpu>`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::CpuSet;
use super::words::{Text as _, at, is_plain_word, served, words};
use crate::xml::{DocumentError, Element, Writer};

/// `<cpu>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cpu {
    /// Which CPU the guest sees.
    pub mode: CpuMode,
    /// `check='full'`: do not start when the host cannot give everything asked for.
    pub enforce: bool,
    /// `migratable`, of host-passthrough and maximum.
    pub migratable: Option<bool>,
    /// Sockets, dies, cores, threads.
    pub topology: Option<Topology>,
    /// Flags added and taken away.
    pub features: Vec<CpuFeature>,
    /// What the guest is told of its caches.
    #[serde(default)]
    pub cache: Option<CpuCache>,
    /// How wide the guest's physical addresses are.
    #[serde(default)]
    pub address_bits: Option<AddressBits>,
    /// The guest's own NUMA nodes.
    #[serde(default)]
    pub numa: Vec<NumaCell>,
}

/// `<cache>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CpuCache {
    /// QEMU's own, with a third level where `level='3'`.
    Emulate {
        /// 3, where it is said.
        level: Option<u8>,
    },
    /// Those of the host. With host-passthrough and maximum only.
    Passthrough,
    /// No third level.
    Disable,
}

/// `<maxphysaddr>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AddressBits {
    /// This many; QEMU's default for the model where none are said.
    Emulate(Option<u8>),
    /// As many as the host's.
    Passthrough,
}

/// `<cell>` of `<numa>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NumaCell {
    /// Its number; those of a guest are 0, 1, 2, … without a gap.
    pub id: u32,
    /// Its virtual CPUs, of none else.
    pub cpus: CpuSet,
    /// Its memory in KiB; never 0.
    pub memory_kib: u64,
    /// `<distances>`: other cells, and how far they are; 10 is the nearest.
    pub distances: Vec<(u32, u8)>,
}

/// `<cpu mode=…>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CpuMode {
    /// The host's own CPU, as it is. KVM only.
    HostPassthrough,
    /// The host's CPU as far as QEMU knows it; without KVM, the most that QEMU can emulate.
    HostModel,
    /// The most that the hypervisor can give.
    Maximum,
    /// One of QEMU's models by name; letters, digits, `_.+-`. `None` keeps QEMU's default one
    /// (a `<cpu>` that only has a topology).
    Custom(Option<String>),
}

/// `<topology>`; the product is the number of CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Topology {
    /// Sockets.
    pub sockets: u32,
    /// Dies a socket.
    pub dies: u32,
    /// Cores a die.
    pub cores: u32,
    /// Threads a core.
    pub threads: u32,
}

/// `<feature>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CpuFeature {
    /// QEMU's or libvirt's name of the flag; letters, digits, `_.+-`.
    pub name: String,
    /// `policy`.
    pub policy: FeaturePolicy,
}

words! {
    /// `<feature policy=…>`.
    pub enum FeaturePolicy {
        /// The guest sees it whether or not the host has it.
        Force = "force",
        /// The guest sees it.
        Require = "require",
        /// The guest sees it if the host has it.
        Optional = "optional",
        /// The guest does not see it.
        Disable = "disable",
    }
}

impl Topology {
    /// How many CPUs it comes to; `None` when that is beyond counting.
    pub fn cpus(self) -> Option<u32> {
        self.sockets.checked_mul(self.dies)?.checked_mul(self.cores)?.checked_mul(self.threads)
    }

    fn read(element: Element<'_, '_>) -> Result<Self, DocumentError> {
        served(element, "clusters", &[("1", ())])?;
        let number = |name: &str| match element.parsed::<u32>(name)? {
            Some(0) => Err(at(element.invalid(format!("'{name}' must be more than 0")), name)),
            other => Ok(other),
        };
        let needed = |name: &str| {
            number(name)?
                .ok_or_else(|| element.invalid(format!("<topology> needs the attribute '{name}'")))
        };
        Ok(Self {
            sockets: needed("sockets")?,
            dies: number("dies")?.unwrap_or(1),
            cores: needed("cores")?,
            threads: needed("threads")?,
        })
    }
}

/// Reads `<cpu>`.
///
/// `check='partial'` asks libvirt to compare with its own table of CPUs, which there is none of
/// here: it is read as `none`, and QEMU leaves out what the host cannot give. A model never falls
/// back to another one, whatever `fallback` allows.
pub(super) fn read(element: Element<'_, '_>) -> Result<Cpu, DocumentError> {
    #[derive(Clone, Copy)]
    enum Mode {
        Passthrough,
        Model,
        Maximum,
        Custom,
    }
    let mode = served(
        element,
        "mode",
        &[
            ("host-passthrough", Mode::Passthrough),
            ("host-model", Mode::Model),
            ("maximum", Mode::Maximum),
            ("custom", Mode::Custom),
        ],
    )?
    .unwrap_or(Mode::Custom);
    served(element, "match", &[("exact", ())])?;
    let enforce = served(element, "check", &[("none", false), ("partial", false), ("full", true)])?
        .unwrap_or(false);
    let model = match element.child("model")? {
        Some(model) => {
            served(model, "fallback", &[("allow", ()), ("forbid", ())])?;
            let name = model.text().trim().to_owned();
            match mode {
                Mode::Custom if is_plain_word(&name) => Some(name),
                Mode::Model if name.is_empty() => None,
                Mode::Custom => {
                    return Err(model.invalid(format!("invalid CPU model name '{name}'")));
                }
                _ => return Err(model.unsupported("a model name together with this CPU mode")),
            }
        }
        None => None,
    };
    let migratable = match mode {
        Mode::Passthrough | Mode::Maximum => element.on_off("migratable")?,
        Mode::Model | Mode::Custom => None,
    };
    let mut features: Vec<CpuFeature> = Vec::new();
    let mut names = HashSet::new();
    for feature in element.children("feature") {
        let name = feature
            .plain_word("name")?
            .ok_or_else(|| feature.invalid("<feature> needs the attribute 'name'"))?;
        if !names.insert(name.clone()) {
            return Err(feature.invalid(format!("CPU feature '{name}' is given twice")));
        }
        let policy =
            served(feature, "policy", FeaturePolicy::WORDS)?.unwrap_or(FeaturePolicy::Require);
        features.push(CpuFeature { name, policy });
    }
    let mode = match mode {
        Mode::Passthrough => CpuMode::HostPassthrough,
        Mode::Model => CpuMode::HostModel,
        Mode::Maximum => CpuMode::Maximum,
        Mode::Custom => CpuMode::Custom(model),
    };
    if mode == CpuMode::Custom(None) && (enforce || !features.is_empty()) {
        return Err(element.unsupported("CPU features or a check without a model"));
    }
    let topology = element.child("topology")?.map(Topology::read).transpose()?;
    let cache = element.child("cache")?.map(|cache| read_cache(cache, &mode)).transpose()?;
    let address_bits = element.child("maxphysaddr")?.map(read_address_bits).transpose()?;
    let numa = element.child("numa")?.map(read_numa).transpose()?.unwrap_or_default();
    Ok(Cpu { mode, enforce, migratable, topology, features, cache, address_bits, numa })
}

fn read_cache(element: Element<'_, '_>, mode: &CpuMode) -> Result<CpuCache, DocumentError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        Emulate,
        Passthrough,
        Disable,
    }
    let words = &[
        ("emulate", Mode::Emulate),
        ("passthrough", Mode::Passthrough),
        ("disable", Mode::Disable),
    ];
    let what = served(element, "mode", words)?
        .ok_or_else(|| element.invalid("<cache> needs the attribute 'mode'"))?;
    let level = element.number_up_to("level", 3)?;
    let hosts_own = matches!(mode, CpuMode::HostPassthrough | CpuMode::Maximum);
    match (what, level) {
        (Mode::Emulate, None) => Ok(CpuCache::Emulate { level: None }),
        (Mode::Emulate, Some(3)) => Ok(CpuCache::Emulate { level: Some(3) }),
        (Mode::Disable, None) => Ok(CpuCache::Disable),
        (Mode::Passthrough, None) if hosts_own => Ok(CpuCache::Passthrough),
        (Mode::Passthrough, None) => {
            Err(element.unsupported("the host's caches for a CPU that is not the host's"))
        }
        (_, Some(level)) => {
            Err(at(element.unsupported(format!("level {level} of this cache")), "level"))
        }
    }
}

/// Bits of a physical address that x86 knows of.
const FEWEST_ADDRESS_BITS: u64 = 32;
const MOST_ADDRESS_BITS: u64 = 52;

fn read_address_bits(element: Element<'_, '_>) -> Result<AddressBits, DocumentError> {
    let passthrough = served(element, "mode", &[("emulate", false), ("passthrough", true)])?
        .ok_or_else(|| element.invalid("<maxphysaddr> needs the attribute 'mode'"))?;
    let bits = element.number_up_to("bits", MOST_ADDRESS_BITS)?;
    match (passthrough, bits) {
        (true, None) => Ok(AddressBits::Passthrough),
        (true, Some(_)) => Err(at(element.unsupported("bits of the host's own"), "bits")),
        (false, Some(bits)) if bits < FEWEST_ADDRESS_BITS => {
            Err(at(element.invalid(format!("an address of {bits} bits, at least 32")), "bits"))
        }
        (false, bits) => Ok(AddressBits::Emulate(bits.and_then(|bits| u8::try_from(bits).ok()))),
    }
}

/// Most cells: QEMU's MAX_NODES.
const MOST_CELLS: usize = 128;

/// In the order of their numbers; cells without one are numbered as they come.
fn read_numa(element: Element<'_, '_>) -> Result<Vec<NumaCell>, DocumentError> {
    let mut cells = Vec::new();
    for (place, cell) in (0..).zip(element.children("cell")) {
        if cells.len() == MOST_CELLS {
            return Err(cell.unsupported(format!("more than {MOST_CELLS} NUMA cells")));
        }
        served(cell, "memAccess", &[("private", ())])?;
        served(cell, "discard", &[("no", ())])?;
        let id = cell.parsed::<u32>("id").map_err(|fault| at(fault, "id"))?.unwrap_or(place);
        let cpus = cell.parsed("cpus").map_err(|fault| at(fault, "cpus"))?;
        let cpus = cpus.ok_or_else(|| cell.unsupported("a NUMA cell without 'cpus'"))?;
        let mut distances = Vec::new();
        for sibling in cell.child("distances")?.iter().flat_map(|it| it.children("sibling")) {
            let needed =
                |name: &str| sibling.invalid(format!("<sibling> needs the attribute '{name}'"));
            let id = sibling.parsed::<u32>("id")?.ok_or_else(|| needed("id"))?;
            let value = sibling.number_up_to("value", 255)?.ok_or_else(|| needed("value"))?;
            let value = u8::try_from(value).ok().filter(|value| *value >= 10);
            let near = || at(sibling.invalid("a distance is at least 10"), "value");
            distances.push((id, value.ok_or_else(near)?));
        }
        if distances.iter().any(|(to, value)| *to == id && *value != 10) {
            return Err(cell.invalid("a NUMA cell is 10 from itself"));
        }
        cells.push(NumaCell { id, cpus, memory_kib: super::parse::cell_kib(cell)?, distances });
    }
    cells.sort_by_key(|cell| cell.id);
    if (0..).zip(&cells).any(|(place, cell)| cell.id != place) {
        return Err(element.invalid("NUMA cells are not numbered 0, 1, 2, …"));
    }
    let count = u32::try_from(cells.len()).unwrap_or(u32::MAX);
    if cells.iter().flat_map(|cell| &cell.distances).any(|(id, _)| *id >= count) {
        return Err(element.invalid("a distance to a NUMA cell that is not there"));
    }
    Ok(cells)
}

impl NumaCell {
    fn print(&self, w: &mut Writer) {
        w.tag("cell")
            .attr("id", self.id)
            .attr("cpus", &self.cpus)
            .attr("memory", self.memory_kib)
            .attr("unit", "KiB")
            .body(|w| {
                if !self.distances.is_empty() {
                    w.tag("distances").body(|w| {
                        for (id, value) in &self.distances {
                            w.tag("sibling").attr("id", id).attr("value", value).empty();
                        }
                    });
                }
            });
    }
}

impl Cpu {
    pub(super) fn print(&self, w: &mut Writer) {
        let check = if self.enforce { "full" } else { "none" };
        let tag = w.tag("cpu");
        let tag = match &self.mode {
            CpuMode::HostPassthrough => tag.attr("mode", "host-passthrough").attr("check", check),
            CpuMode::HostModel => tag.attr("mode", "host-model").attr("check", check),
            CpuMode::Maximum => tag.attr("mode", "maximum").attr("check", check),
            CpuMode::Custom(Some(_)) => {
                tag.attr("mode", "custom").attr("match", "exact").attr("check", check)
            }
            CpuMode::Custom(None) => tag,
        };
        let migratable = self.migratable.map(|on| if on { "on" } else { "off" });
        tag.attr_opt("migratable", migratable).body(|w| {
            if let CpuMode::Custom(Some(model)) = &self.mode {
                w.tag("model").attr("fallback", "forbid").text(model);
            }
            if let Some(topology) = self.topology {
                w.tag("topology")
                    .attr("sockets", topology.sockets)
                    .attr("dies", topology.dies)
                    .attr("clusters", 1)
                    .attr("cores", topology.cores)
                    .attr("threads", topology.threads)
                    .empty();
            }
            match self.cache {
                Some(CpuCache::Emulate { level }) => {
                    w.tag("cache").attr_opt("level", level).attr("mode", "emulate").empty();
                }
                Some(CpuCache::Passthrough) => w.tag("cache").attr("mode", "passthrough").empty(),
                Some(CpuCache::Disable) => w.tag("cache").attr("mode", "disable").empty(),
                None => {}
            }
            match self.address_bits {
                Some(AddressBits::Emulate(bits)) => {
                    w.tag("maxphysaddr").attr("mode", "emulate").attr_opt("bits", bits).empty();
                }
                Some(AddressBits::Passthrough) => {
                    w.tag("maxphysaddr").attr("mode", "passthrough").empty();
                }
                None => {}
            }
            for feature in &self.features {
                w.tag("feature").attr("policy", feature.policy).attr("name", &feature.name).empty();
            }
            if !self.numa.is_empty() {
                w.tag("numa").body(|w| self.numa.iter().for_each(|cell| cell.print(w)));
            }
        });
    }
}
