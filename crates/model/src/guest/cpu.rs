//! `<cpu>`.

use serde::{Deserialize, Serialize};

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

super::words::words! {
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
