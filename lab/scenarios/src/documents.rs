//! The documents that scenarios define: networks and guests, as small as they can be.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::guest;

/// A hostdev network whose pool is all VFs of a PF.
pub fn network_of_pf(name: &str, pf: &str) -> String {
    format!(
        "<network>\n  <name>{name}</name>\n  <forward mode='hostdev' managed='yes'>\n    \
         <pf dev='{pf}'/>\n  </forward>\n</network>\n"
    )
}

/// A hostdev network with these members, and whatever else belongs into its document.
pub fn network_of(name: &str, members: &str, more: &str) -> String {
    format!(
        "<network>\n  <name>{name}</name>\n  <forward mode='hostdev' managed='yes'>\n    \
         {members}\n  </forward>\n  {more}\n</network>\n"
    )
}

/// `<address>` of a VF, as a member of a pool or a `<source>`.
pub fn address(vf: &crate::host::Vf) -> Result<String> {
    let part = |range: std::ops::Range<usize>| {
        vf.address.get(range).map(str::to_owned).with_context(|| format!("{vf:?} is no address"))
    };
    Ok(format!(
        "<address type='pci' domain='0x{}' bus='0x{}' slot='0x{}' function='0x{}'/>",
        part(0..4)?,
        part(5..7)?,
        part(8..10)?,
        part(11..12)?
    ))
}

/// A guest without disk.
#[derive(Clone, Debug)]
pub struct Guest<'a> {
    name: &'a str,
    interfaces: String,
    boots: Option<&'a str>,
    memory_mib: u32,
}

impl<'a> Guest<'a> {
    /// A guest of 64 MiB that boots nothing: QEMU runs, and that is all.
    pub fn idle(name: &'a str) -> Self {
        Self { name, interfaces: String::new(), boots: None, memory_mib: 64 }
    }

    /// A guest that boots the lab's kernel, which reports its NICs; `words` are the lab's own
    /// words on the kernel's command line, such as `vflab.stay`.
    pub fn booting(name: &'a str, words: &'a str) -> Self {
        Self { name, interfaces: String::new(), boots: Some(words), memory_mib: guest::MEMORY_MIB }
    }

    /// Other memory, in MiB.
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// A NIC on a network.
    pub fn nic(mut self, mac: &str, network: &str) -> Self {
        self.interfaces.push_str(&format!(
            "    <interface type='network'>\n      <mac address='{mac}'/>\n      \
             <source network='{network}'/>\n    </interface>\n"
        ));
        self
    }

    /// Any other device.
    pub fn device(mut self, xml: &str) -> Self {
        self.interfaces.push_str(xml);
        self.interfaces.push('\n');
        self
    }

    /// The document. The guest's serial console goes to `console`.
    pub fn xml(&self, console: &Path) -> Result<String> {
        let boot = match self.boots {
            None => String::new(),
            Some(words) => {
                let (kernel, initrd) = guest::images()?;
                let (kernel, initrd) = (kernel.display(), initrd.display());
                let arguments = guest::KERNEL_ARGUMENTS;
                format!(
                    "    <kernel>{kernel}</kernel>\n    <initrd>{initrd}</initrd>\n    \
                     <cmdline>{arguments} {words}</cmdline>\n"
                )
            }
        };
        Ok(format!(
            "<domain type='qemu'>\n  <name>{}</name>\n  <memory unit='MiB'>{}</memory>\n  \
             <vcpu>1</vcpu>\n  <os>\n    <type arch='x86_64' machine='{}'>hvm</type>\n{boot}  \
             </os>\n  <features>\n    <acpi/>\n  </features>\n  <cpu mode='maximum'/>\n  <on_poweroff>destroy</on_poweroff>\n  <devices>\n    \
             <emulator>/usr/bin/qemu-system-x86_64</emulator>\n{}    <serial type='file'>\n      \
             <source path='{}'/>\n    </serial>\n    <memballoon model='none'/>\n  \
             </devices>\n</domain>\n",
            self.name,
            self.memory_mib,
            guest::MACHINE,
            self.interfaces,
            console.display()
        ))
    }
}
