//! `<cpu>`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

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
    Ok(Cpu { mode, enforce, migratable, topology, features })
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
            for feature in &self.features {
                w.tag("feature").attr("policy", feature.policy).attr("name", &feature.name).empty();
            }
        });
    }
}
