//! The promises that are tried in the emulated host, by group.

mod bench;
mod devices;
mod drift;
mod hardware;
mod lending;
mod plugs;
mod points;
mod ports;
mod survival;
mod units;
mod vanishing;
mod virt_install;
mod whole_life;

use crate::scenario::{Group, Scenario};

/// Every group, in the order in which `cargo xtask test` runs them.
pub const GROUPS: &[Group] = &[
    Group {
        name: "bench",
        pfs: 2,
        iommu: true,
        deep: true,
        scenarios: &[
            Scenario { name: "seven-vfs-in-groups-of-their-own", parts: &[bench::seven_vfs] },
            Scenario {
                name: "a-bare-guest-sees-the-mac-set-at-the-pf",
                parts: &[bench::bare_guest],
            },
            Scenario {
                name: "own-macs-change-with-every-boot",
                parts: &[bench::note_own_macs, bench::compare_own_macs],
            },
        ],
    },
    Group {
        name: "lending",
        pfs: 2,
        iommu: true,
        deep: false,
        scenarios: &[
            Scenario {
                name: "seven-guests-take-seven-vfs-and-the-eighth-hears-why",
                parts: &[lending::the_eighth_guest],
            },
            Scenario {
                name: "a-failed-start-and-a-crash-give-the-vf-back",
                parts: &[lending::failed_starts_and_crashes],
            },
            Scenario {
                name: "a-guest-on-a-bridge-has-its-taps-while-it-runs",
                parts: &[lending::on_a_bridge],
            },
            Scenario {
                name: "what-the-host-uses-is-not-lent",
                parts: &[lending::what_the_host_uses],
            },
            Scenario {
                name: "a-start-without-what-it-needs-changes-nothing",
                parts: &[lending::what_is_missing],
            },
            Scenario {
                name: "what-is-typed-on-a-held-vf-is-put-back-and-told",
                parts: &[drift::typed_by_hand],
            },
            Scenario {
                name: "a-port-and-a-guest-never-share-a-vf",
                parts: &[ports::ports_and_guests],
            },
            Scenario {
                name: "a-vf-is-detached-and-reattached-by-hand",
                parts: &[ports::detached_by_hand],
            },
            Scenario {
                name: "node-devices-are-those-of-stock-libvirt",
                parts: &[devices::those_of_stock_libvirt],
            },
            Scenario {
                name: "a-node-device-event-arrives-when-vfs-are-made",
                parts: &[devices::vfs_are_made],
            },
            Scenario {
                name: "a-killed-daemon-loses-no-guest",
                parts: &[survival::a_killed_daemon],
            },
            Scenario {
                name: "a-kill-at-every-step-of-a-start-loses-nothing",
                parts: &[survival::a_kill_at_every_step],
            },
            Scenario {
                name: "a-guest-lives-by-virsh-alone-and-sees-its-macs-and-a-card-that-comes-and-goes",
                parts: &[whole_life::nothing_but_virsh],
            },
            Scenario {
                name: "virt-install-makes-a-guest-that-sees-its-mac",
                parts: &[virt_install::a_guest_on_a_network],
            },
            Scenario {
                name: "a-guest-keeps-its-mac-over-a-power-cut",
                parts: &[survival::before_the_power_cut, survival::after_the_power_cut],
            },
        ],
    },
    Group {
        name: "hardware",
        pfs: 4,
        iommu: true,
        deep: false,
        scenarios: &[
            Scenario {
                name: "the-legs-of-a-bond-are-on-two-of-four-cards-and-a-drained-one-lends-nothing",
                parts: &[hardware::legs_and_drains],
            },
            Scenario {
                name: "what-a-network-wishes-for-is-set-and-what-does-not-come-back-is-set-apart",
                parts: &[hardware::settings_and_quarantine],
            },
            Scenario {
                name: "a-program-has-a-vf-until-it-ends-however-it-ends",
                parts: &[hardware::programs],
            },
            Scenario {
                name: "kept-vfs-are-made-after-a-power-cycle",
                parts: &[hardware::keep_vfs, hardware::kept_vfs],
            },
        ],
    },
    Group {
        name: "kills",
        pfs: 1,
        iommu: true,
        deep: false,
        scenarios: &[
            Scenario {
                name: "a-kill-before-and-after-every-effect-leaves-nothing",
                parts: &[points::a_kill_at_every_point],
            },
            Scenario {
                name: "a-kill-amid-an-attach-or-a-detach-leaves-card-and-claim-or-neither",
                parts: &[plugs::a_kill_at_every_point],
            },
        ],
    },
    Group {
        name: "vanishing",
        pfs: 1,
        iommu: true,
        deep: false,
        scenarios: &[
            Scenario {
                name: "a-guest-that-keeps-its-vf-has-it-until-it-ends-and-nothing-is-left",
                parts: &[vanishing::under_idle_guests],
            },
            Scenario {
                name: "a-guest-that-lets-go-of-its-vf-runs-on-and-the-state-says-so",
                parts: &[vanishing::under_a_guest_that_lets_go],
            },
        ],
    },
    Group {
        name: "service",
        pfs: 1,
        iommu: true,
        deep: false,
        scenarios: &[Scenario {
            name: "guests-survive-a-restart-through-systemd",
            parts: &[units::the_service],
        }],
    },
    Group {
        name: "no-iommu",
        pfs: 1,
        iommu: false,
        deep: false,
        scenarios: &[Scenario {
            name: "without-an-iommu-a-start-is-refused-and-changes-nothing",
            parts: &[lending::no_iommu],
        }],
    },
];
