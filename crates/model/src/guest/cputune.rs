//! `<cputune>`: which processors of the host each virtual CPU runs on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::words::at;
use super::{CpuSet, Guest};
use crate::xml::{DocumentError, Element, Writer};

/// `<cputune>`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CpuTune {
    /// `<vcpupin>`, by the virtual CPU. The others run where `<vcpu cpuset=…>` has it.
    pub vcpus: BTreeMap<u32, CpuSet>,
    /// `<emulatorpin>`: QEMU's other threads.
    pub emulator: Option<CpuSet>,
}

impl CpuTune {
    /// Of a guest with so many virtual CPUs.
    pub(super) fn read(element: Element<'_, '_>, most: u32) -> Result<Self, DocumentError> {
        let cpuset = |element: Element<'_, '_>| {
            let cpus = element.required_parsed::<CpuSet>("cpuset");
            cpus.map_err(|fault| at(fault, "cpuset"))
        };
        let mut vcpus = BTreeMap::new();
        for pin in element.children("vcpupin") {
            let vcpu = pin.required_parsed::<u32>("vcpu").map_err(|fault| at(fault, "vcpu"))?;
            if vcpu >= most {
                let why = format!("vcpu='{vcpu}' of a guest whose last is {}", most - 1);
                return Err(at(pin.invalid(why), "vcpu"));
            }
            if vcpus.insert(vcpu, cpuset(pin)?).is_some() {
                return Err(pin.invalid(format!("more than one <vcpupin> of vcpu {vcpu}")));
            }
        }
        let emulator = element.child("emulatorpin")?.map(cpuset).transpose()?;
        Ok(Self { vcpus, emulator })
    }

    /// libvirt leaves an empty one out, too.
    pub(super) fn says_something(&self) -> bool {
        *self != Self::default()
    }

    pub(super) fn print(&self, w: &mut Writer) {
        w.tag("cputune").body(|w| {
            for (vcpu, cpus) in &self.vcpus {
                w.tag("vcpupin").attr("vcpu", vcpu).attr("cpuset", cpus).empty();
            }
            if let Some(cpus) = &self.emulator {
                w.tag("emulatorpin").attr("cpuset", cpus).empty();
            }
        });
    }
}

impl Guest {
    /// The host's processors that its virtual CPUs run on; none where one of them may run
    /// anywhere.
    pub fn processors(&self) -> BTreeSet<u16> {
        let pin = |vcpu| self.cputune.as_ref()?.vcpus.get(&vcpu);
        let of_each = (0..self.vcpus).map(|vcpu| pin(vcpu).or(self.cpuset.as_ref()));
        let of_each: Option<Vec<&CpuSet>> = of_each.collect();
        of_each.into_iter().flatten().flat_map(CpuSet::iter).collect()
    }
}
