//! What `prepare` and `give_back` promise.

use vfnet_host::Host;
use vfnet_host::lend::{Cause, Deadlines, Lending, Outcome, Step, give_back, prepare};
use vfnet_model::drivers::parked_mac;
use vfnet_model::inventory::{Incarnation, Vf};
use vfnet_model::vf::{LinkState, Original, VfIndex, WantedSettings};
use vfnet_model::{MacAddress, Vlan};

use crate::machine::{BORN_WITH, Machine, address, driver, pf_address, tag, vf_address};

const MAC: MacAddress = MacAddress::new([0x52, 0x54, 0, 0, 0, 1]);

fn wanted() -> WantedSettings {
    WantedSettings {
        vlan: Some(tag(42)),
        trust: Some(true),
        spoofchk: Some(false),
        rate: Some((0, 100)),
        ..WantedSettings::mac(MAC)
    }
}

fn lending(machine: &Machine) -> Lending {
    Lending {
        vf: vf_address(),
        pf: pf_address(),
        index: VfIndex(0),
        incarnation: Incarnation(11),
        original: Original::seen(&machine.seen(), false),
        wanted: Some(wanted()),
        managed: true,
        driver: None,
        keep_host_settings: false,
    }
}

fn lend(machine: &Machine, lending: &Lending) -> Result<(), String> {
    prepare(machine, lending, &Deadlines::default(), &mut |_| ())
        .map(|prepared| {
            assert_eq!((prepared.driver, prepared.vfio_group), (driver("vfio-pci"), 9));
        })
        .map_err(|error| error.explain())
}

fn back(machine: &Machine, lending: &Lending) -> Outcome {
    give_back(machine, lending, &Deadlines::default(), &mut |_| ()).outcome
}

/// What must be equal before and after.
fn state(vf: &Vf) -> impl PartialEq + std::fmt::Debug + use<> {
    (vf.binding.clone(), vf.attributes.clone(), vf.netdev.as_ref().map(|dev| dev.mac))
}

#[test]
fn a_prepared_vf_is_on_vfio_with_the_settings_of_its_holder() {
    let machine = Machine::new();
    lend(&machine, &lending(&machine)).unwrap();
    let vf = machine.seen();
    let row = vf.attributes.unwrap();
    assert_eq!(vf.binding.driver, Some(driver("vfio-pci")));
    assert_eq!((row.mac, row.vlan), (MAC, tag(42)));
    assert_eq!((row.trust, row.spoofchk, row.max_tx_rate), (Some(true), Some(false), Some(100)));
}

#[test]
fn a_vf_comes_back_as_it_went() {
    let machine = Machine::new();
    let before = state(&machine.seen());
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    assert_ne!(state(&machine.seen()), before);
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(state(&machine.seen()), before);
    assert_eq!(machine.seen().netdev.unwrap().mac, BORN_WITH);
}

#[test]
fn a_vf_whose_lock_somebody_else_holds_is_not_said_to_be_back_with_its_override() {
    let looks = 20;
    for locked in 0..looks {
        let machine = Machine::new();
        let before = state(&machine.seen());
        let lending = lending(&machine);
        // The daemon died between the override and the binding.
        machine.set_driver_override(vf_address(), Some(&driver("vfio-pci"))).unwrap();
        machine.bend(|state| state.locked = locked);
        assert_eq!(back(&machine, &lending), Outcome::Clean);
        machine.bend(|state| state.locked = 0);
        assert_eq!(state(&machine.seen()), before, "locked for {locked} looks");
    }
    let machine = Machine::new();
    let lending = lending(&machine);
    machine.bend(|state| state.locked = usize::MAX);
    assert!(matches!(back(&machine, &lending), Outcome::Quarantine(why) if why.contains("begun")));
}

#[test]
fn what_another_tool_left_on_a_vf_does_not_reach_the_holder() {
    let machine = Machine::new();
    machine.bend(|state| {
        state.row.vlan = tag(7);
        state.row.trust = Some(true);
        state.row.max_tx_rate = Some(5);
    });
    let lending = Lending { wanted: Some(WantedSettings::mac(MAC)), ..lending(&machine) };
    let before = state(&machine.seen());
    lend(&machine, &lending).unwrap();
    let row = machine.seen().attributes.unwrap();
    assert_eq!((row.vlan, row.trust, row.max_tx_rate), (Vlan::UNTAGGED, Some(false), Some(0)));
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(state(&machine.seen()), before);
}

#[test]
fn where_host_settings_are_kept_only_what_is_wanted_changes() {
    let machine = Machine::new();
    machine.bend(|state| {
        state.row.vlan = tag(7);
        state.row.trust = Some(true);
    });
    let lending = Lending {
        wanted: Some(WantedSettings::mac(MAC)),
        keep_host_settings: true,
        ..lending(&machine)
    };
    lend(&machine, &lending).unwrap();
    let row = machine.seen().attributes.unwrap();
    assert_eq!((row.mac, row.vlan, row.trust), (MAC, tag(7), Some(true)));
}

#[test]
fn a_kill_after_any_change_of_prepare_or_give_back_is_made_good_by_giving_back_again() {
    let mut ends = 0;
    for died in 0.. {
        let machine = Machine::new();
        let before = state(&machine.seen());
        let lending = lending(&machine);
        machine.bend(|state| state.dies_after = Some(died));
        let prepared = lend(&machine, &lending);
        let outcome = back(&machine, &lending);
        machine.bend(|state| state.dies_after = None);
        if prepared.is_ok() && outcome == Outcome::Clean {
            ends = died;
            break;
        }
        assert_eq!(back(&machine, &lending), Outcome::Clean, "died after {died} changes");
        assert_eq!(state(&machine.seen()), before, "died after {died} changes");
    }
    assert!(ends > 12, "{ends} changes are too few to have tested anything");
}

#[test]
fn a_kill_after_any_change_of_prepare_is_made_good_by_preparing_again() {
    for died in 0..8 {
        let machine = Machine::new();
        let lending = lending(&machine);
        machine.bend(|state| state.dies_after = Some(died));
        lend(&machine, &lending).unwrap_err();
        machine.bend(|state| state.dies_after = None);
        lend(&machine, &lending).unwrap();
        assert_eq!(machine.seen().attributes.unwrap().mac, MAC);
        assert_eq!(machine.seen().binding.driver, Some(driver("vfio-pci")));
    }
}

#[test]
fn giving_back_twice_changes_nothing_the_second_time() {
    let machine = Machine::new();
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    let changes = machine.0.lock().unwrap().changes;
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(machine.0.lock().unwrap().changes, changes);
}

#[test]
fn a_vf_without_a_driver_is_left_without_one() {
    let machine = Machine::new();
    machine.bend(|state| {
        let vf = state.vf.as_mut().unwrap();
        vf.binding.driver = None;
        vf.netdev = None;
        state.row.mac = MacAddress::ZERO;
    });
    let before = state(&machine.seen());
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(state(&machine.seen()), before);
}

#[test]
fn a_driver_that_had_been_bound_by_hand_comes_back() {
    let machine = Machine::new();
    machine.bend(|state| {
        state.vf.as_mut().unwrap().binding.driver = Some(driver("uio_pci_generic"));
        state.vf.as_mut().unwrap().netdev = None;
    });
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    let binding = machine.seen().binding;
    assert_eq!(binding.driver, Some(driver("uio_pci_generic")));
    assert_eq!(binding.driver_override, None);
}

#[test]
fn an_admin_mac_comes_back_as_an_admin_mac() {
    let machine = Machine::new();
    let admin = MacAddress::new([0x02, 0, 0, 0, 0, 0x77]);
    machine.bend(|state| {
        state.row.mac = admin;
        let netdev = state.vf.as_mut().unwrap().netdev.as_mut().unwrap();
        netdev.mac = admin;
        netdev.mac_from_pf = true;
    });
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(machine.seen().attributes.unwrap().mac, admin);
    assert!(machine.seen().netdev.unwrap().mac_from_pf);
}

#[test]
fn a_vf_of_unknown_past_goes_to_the_baseline_and_the_kernels_choice_of_driver() {
    let machine = Machine::new();
    let lending = Lending { original: Original::Unknown, ..lending(&machine) };
    lend(&machine, &lending).unwrap();
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    let vf = machine.seen();
    let row = vf.attributes.unwrap();
    assert_eq!(vf.binding.driver, Some(driver("igbvf")));
    assert_eq!((row.vlan, row.trust, row.spoofchk), (Vlan::UNTAGGED, Some(false), Some(true)));
    assert_ne!(row.mac, MAC);
}

#[test]
fn where_zero_is_refused_the_vf_gets_an_address_of_its_own_instead() {
    let machine = Machine::new();
    machine.bend(|state| {
        state.refuses_zero = true;
        let vf = state.vf.as_mut().unwrap();
        vf.binding.driver = None;
        vf.netdev = None;
        state.row.mac = MacAddress::ZERO;
    });
    for pf_driver in ["qede", "unheard-of"] {
        machine.bend(|state| state.pf_driver = pf_driver);
        let lending = lending(&machine);
        lend(&machine, &lending).unwrap();
        assert_eq!(back(&machine, &lending), Outcome::Clean, "{pf_driver}");
        assert_eq!(machine.seen().attributes.unwrap().mac, parked_mac(vf_address()));
    }
}

#[test]
fn a_setting_that_is_accepted_and_not_made_fails_the_start() {
    for pf_driver in ["igb", "bnxt_en"] {
        let machine = Machine::new();
        machine.bend(|state| {
            state.lies_about_vlan = true;
            state.pf_driver = pf_driver;
        });
        let lending = lending(&machine);
        let error = lend(&machine, &lending).unwrap_err();
        assert!(error.contains("VLAN"), "{error}");
        assert_eq!(back(&machine, &lending), Outcome::Clean);
    }
}

#[test]
fn a_busy_driver_is_waited_for() {
    let machine = Machine::new();
    machine.bend(|state| state.busy = 3);
    lend(&machine, &lending(&machine)).unwrap();
}

#[test]
fn what_can_be_refused_is_refused_before_anything_is_changed() {
    type Bend = fn(&Machine);
    let cases: [(Bend, &str); 5] = [
        (|m| m.bend(|s| s.pf_up = false), "ip link set ens1 up"),
        (|m| m.bend(|s| s.no_vfio = true), "CONFIG_VFIO_PCI"),
        (|m| m.bend(|s| s.vf.as_mut().unwrap().iommu_group = None), "intel_iommu=on"),
        (|m| m.bend(|s| s.vf.as_mut().unwrap().uses = vec![address()]), "192.0.2.7"),
        (|m| m.bend(|s| s.vf.as_mut().unwrap().incarnation = Incarnation(12)), "another device"),
    ];
    for (bend, says) in cases {
        let machine = Machine::new();
        let lending = lending(&machine);
        bend(&machine);
        let error = lend(&machine, &lending).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert_eq!(machine.0.lock().unwrap().changes, 0, "{error}");
    }
}

#[test]
fn an_unmanaged_vf_must_be_on_vfio_and_stays_there() {
    let machine = Machine::new();
    let unmanaged = Lending { managed: false, ..lending(&machine) };
    assert!(lend(&machine, &unmanaged).unwrap_err().contains("managed='no'"));
    machine.bend(|state| {
        state.vf.as_mut().unwrap().binding.driver = Some(driver("vfio-pci"));
        state.vf.as_mut().unwrap().netdev = None;
        state.row.mac = MacAddress::ZERO;
    });
    let unmanaged = Lending { managed: false, ..lending(&machine) };
    lend(&machine, &unmanaged).unwrap();
    assert_eq!(back(&machine, &unmanaged), Outcome::Clean);
    assert_eq!(machine.seen().binding.driver, Some(driver("vfio-pci")));
    assert_eq!(machine.seen().attributes.unwrap().mac, MacAddress::ZERO);
}

#[test]
fn a_plain_hostdev_is_bound_and_nothing_is_set() {
    let machine = Machine::new();
    let row = machine.seen().attributes;
    let plain = Lending { wanted: None, ..lending(&machine) };
    lend(&machine, &plain).unwrap();
    assert_eq!(machine.seen().attributes, row);
    assert_eq!(back(&machine, &plain), Outcome::Clean);
    assert_eq!(machine.seen().binding.driver, Some(driver("igbvf")));
}

#[test]
fn a_setting_the_driver_lacks_is_explained_and_undone() {
    let machine = Machine::new();
    let before = state(&machine.seen());
    let lending = Lending {
        wanted: Some(WantedSettings { link_state: Some(LinkState::Enable), ..wanted() }),
        ..lending(&machine)
    };
    let error = lend(&machine, &lending).unwrap_err();
    assert!(error.contains("link state"), "{error}");
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(state(&machine.seen()), before);
}

#[test]
fn a_driver_that_does_not_bind_is_an_error_that_is_undone() {
    let machine = Machine::new();
    let before = state(&machine.seen());
    machine.bend(|state| state.vfio_refuses = true);
    let lending = lending(&machine);
    let error = lend(&machine, &lending).unwrap_err();
    assert!(error.contains("no driver instead of to vfio-pci"), "{error}");
    assert_eq!(back(&machine, &lending), Outcome::Clean);
    assert_eq!(state(&machine.seen()), before);
}

#[test]
fn nothing_is_touched_while_somebody_has_the_group_open() {
    let machine = Machine::new();
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    machine.bend(|state| state.holder = Some("qemu (pid 7)".to_owned()));
    let changes = machine.0.lock().unwrap().changes;
    let outcome = back(&machine, &lending);
    assert!(
        matches!(&outcome, Outcome::StillOpen { who, .. } if who.contains("qemu")),
        "{outcome:?}"
    );
    assert_eq!(machine.0.lock().unwrap().changes, changes);
    machine.bend(|state| state.holder = None);
    assert_eq!(back(&machine, &lending), Outcome::Clean);
}

#[test]
fn a_kernel_that_does_not_come_back_ends_it_at_once() {
    let machine = Machine::new();
    let lending = lending(&machine);
    machine.bend(|state| state.unbind_hangs = true);
    let error = prepare(&machine, &lending, &Deadlines::default(), &mut |_| ()).unwrap_err();
    assert!(error.is_stuck() && error.step == Step::Unbind);
    machine.bend(|state| state.unbind_hangs = false);
    lend(&machine, &lending).unwrap();
    machine.bend(|state| state.unbind_hangs = true);
    assert_eq!(back(&machine, &lending), Outcome::Stuck(Step::Unbind));
}

#[test]
fn a_vf_that_has_gone_needs_nothing() {
    let machine = Machine::new();
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    machine.bend(|state| state.vf.as_mut().unwrap().incarnation = Incarnation(12));
    assert_eq!(back(&machine, &lending), Outcome::Vanished);
    machine.bend(|state| state.vf = None);
    assert_eq!(back(&machine, &lending), Outcome::Vanished);
}

#[test]
fn a_vf_that_the_host_uses_again_is_not_taken_from_it() {
    let machine = Machine::new();
    machine.bend(|state| {
        let vf = state.vf.as_mut().unwrap();
        vf.binding.driver = None;
        vf.netdev = None;
        state.row.mac = MacAddress::ZERO;
    });
    let lending = lending(&machine);
    lend(&machine, &lending).unwrap();
    machine.set_driver_override(vf_address(), None).unwrap();
    machine.unbind(vf_address(), Deadlines::default().unbind).unwrap();
    machine.probe(vf_address(), Deadlines::default().probe).unwrap();
    machine.bend(|state| state.vf.as_mut().unwrap().uses = vec![address()]);
    let done = give_back(&machine, &lending, &Deadlines::default(), &mut |_| ());
    assert!(matches!(done.outcome, Outcome::Quarantine(_)));
    assert!(done.errors.iter().any(|error| matches!(error.cause, Cause::InUse(_))));
    assert!(machine.seen().netdev.is_some());
}
