//! The promises that are tried in the emulated host, by group.

mod bench;

use crate::scenario::{Group, Scenario};

/// Every group, in the order in which `cargo xtask test` runs them.
pub const GROUPS: &[Group] = &[Group {
    name: "bench",
    pfs: 2,
    deep: false,
    scenarios: &[
        Scenario { name: "seven-vfs-in-groups-of-their-own", parts: &[bench::seven_vfs] },
        Scenario { name: "a-bare-guest-sees-the-mac-set-at-the-pf", parts: &[bench::bare_guest] },
        Scenario {
            name: "own-macs-change-with-every-boot",
            parts: &[bench::note_own_macs, bench::compare_own_macs],
        },
    ],
}];
