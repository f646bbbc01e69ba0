//! What happens to a machine with VFs in use, and what becomes of VFs that are lent meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use vfnet_host::Host;
use vfnet_host::lend::{Deadlines, Lending, Outcome, give_back, prepare};
use vfnet_host_sim::{Driver, SimHost, Verdict};
use vfnet_model::vf::{Original, WantedSettings};

use crate::{driver, facts, mac, pf, vf};

const SECOND: Duration = Duration::from_secs(1);
const QEMU: &str = "qemu (pid 1)";

fn machine(card: Driver) -> SimHost {
    SimHost::builder().vfio_loaded().pf("ens1f0", "0000:01:00.0", card).vfs(7).build()
}

fn lending(host: &SimHost) -> Lending {
    let seen = host.vf(vf()).expect("it can be read").expect("it is there");
    Lending {
        vf: vf(),
        pf: pf(),
        index: seen.index,
        incarnation: seen.incarnation,
        original: Original::seen(&seen, false),
        wanted: Some(WantedSettings::mac(mac("52:54:00:aa:bb:cc"))),
        managed: true,
        driver: None,
        keep_host_settings: false,
    }
}

/// Lends VF 0, whose holder opens it.
fn held(host: &SimHost) -> Lending {
    let lending = lending(host);
    prepare(host, &lending, &Deadlines::default(), &mut |_| {}).expect("nothing fails");
    host.open_vfio(vf(), QEMU).expect("it is prepared");
    lending
}

fn outcome(host: &SimHost, lending: &Lending) -> Outcome {
    give_back(host, lending, &Deadlines::default(), &mut |_| {}).outcome
}

#[test]
fn a_pf_that_is_pulled_out_waits_for_a_holder_and_takes_all_its_vfs_with_it() {
    for card in Driver::FULL {
        let host = machine(card);
        let lending = held(&host);

        assert!(!host.unplug_pf(pf()), "{card:?}: the holder has it open");
        assert_eq!(host.facts().len(), 7, "{card:?}");
        host.close_vfio(vf());

        assert_eq!((host.pf(pf()).unwrap(), host.facts().len()), (None, 0), "{card:?}");
        assert_eq!(outcome(&host, &lending), Outcome::Vanished, "{card:?}");
    }
}

#[test]
fn a_pf_driver_that_is_reloaded_takes_the_vfs_and_those_made_later_are_others() {
    for card in Driver::FULL {
        let host = machine(card);
        let lending = held(&host);
        host.close_vfio(vf());

        assert!(host.reload_pf_driver(pf()), "{card:?}: nobody has a VF open");
        assert_eq!(host.facts().len(), 0, "{card:?}");
        host.make_vfs(pf(), 7).unwrap();
        host.advance(SECOND);
        let before = host.snapshot();

        assert_eq!(outcome(&host, &lending), Outcome::Vanished, "{card:?}");
        assert_eq!(host.snapshot(), before, "{card:?}: the other VF is not touched");
    }
}

#[test]
fn a_pf_driver_is_reloaded_when_the_last_holder_has_gone() {
    let host = machine(Driver::Igb);
    held(&host);
    assert!(!host.reload_pf_driver(pf()));
    assert_eq!(host.facts().len(), 7);
    host.close_vfio(vf());
    assert_eq!(host.facts().len(), 0);
    assert_eq!(host.pf(pf()).unwrap().unwrap().driver, Some(driver("igb")));
}

#[test]
fn a_vf_that_vanishes_or_is_made_anew_under_its_holder_is_never_given_back_as_the_old_one() {
    for card in Driver::FULL {
        let host = machine(card);
        let lending = held(&host);
        host.remove_vf(vf());
        assert_eq!(outcome(&host, &lending), Outcome::Vanished, "{card:?}");

        let host = machine(card);
        let lending = held(&host);
        host.close_vfio(vf());
        host.remove_vfs(pf()).unwrap();
        host.make_vfs(pf(), 4).unwrap();
        assert_eq!(outcome(&host, &lending), Outcome::Vanished, "{card:?}");
    }
}

#[test]
fn a_pf_that_is_pulled_out_between_any_two_writes_ends_neither_preparing_nor_giving_back_badly() {
    for card in Driver::FULL {
        for n in 1..8 {
            let host = machine(card);
            let lending = lending(&host);
            let world = host.clone();
            let mut count = 0;
            host.on_write(Box::new(move |_| {
                count += 1;
                if count == n {
                    world.unplug_pf(pf());
                }
                Verdict::Proceed
            }));
            if prepare(&host, &lending, &Deadlines::default(), &mut |_| {}).is_ok() {
                outcome(&host, &lending);
            }
            host.unplug_pf(pf());
            assert_eq!(outcome(&host, &lending), Outcome::Vanished, "{card:?}, write {n}");
        }
    }
}

#[test]
fn a_pf_that_is_busy_for_a_second_delays_lending_and_nothing_else() {
    for card in Driver::FULL {
        let host = machine(card);
        let before = facts(&host);
        let lending = lending(&host);
        host.occupy_pf(pf(), SECOND);
        prepare(&host, &lending, &Deadlines::default(), &mut |_| {}).expect("it waits");
        host.occupy_pf(pf(), SECOND);
        assert_eq!(outcome(&host, &lending), Outcome::Clean, "{card:?}");
        assert_eq!(facts(&host).netdev_mac, before.netdev_mac, "{card:?}");
    }
}

#[test]
fn a_pf_that_is_busy_for_good_is_told_and_the_vf_comes_back_later() {
    for card in [Driver::I40e, Driver::Ice] {
        let host = machine(card);
        let before = host.facts();
        let lending = lending(&host);
        host.occupy_pf(pf(), 3600 * SECOND);
        let refused = prepare(&host, &lending, &Deadlines::default(), &mut |_| {});
        assert!(refused.is_err(), "{card:?}");
        assert!(matches!(outcome(&host, &lending), Outcome::Quarantine(_)), "{card:?}");
        host.advance(3600 * SECOND);
        assert_eq!(outcome(&host, &lending), Outcome::Clean, "{card:?}");
        assert_eq!(host.facts(), before, "{card:?}");
    }
}

#[test]
fn udev_may_rename_a_netdev_while_its_vf_comes_back() {
    for card in Driver::FULL {
        let udev = SimHost::builder().vfio_loaded().udev_takes(3 * SECOND);
        let host = udev.pf("ens1f0", "0000:01:00.0", card).vfs(1).build();
        let name = || host.vf(vf()).unwrap().unwrap().netdev.map(|dev| dev.name.to_string());
        assert_eq!(name().as_deref(), Some("ens1f0v0"), "{card:?}");
        let lending = lending(&host);
        prepare(&host, &lending, &Deadlines::default(), &mut |_| {}).expect("nothing fails");
        assert_eq!(outcome(&host, &lending), Outcome::Clean, "{card:?}");
        assert_eq!(name().as_deref(), Some("eth0"), "{card:?}");
        host.advance(3 * SECOND);
        assert_eq!(name().as_deref(), Some("ens1f0v0"), "{card:?}");
    }
}

#[test]
fn group_numbers_are_others_after_a_reboot() {
    let host = machine(Driver::Igb);
    let groups = |host: &SimHost| -> BTreeSet<_> {
        host.inventory().unwrap().vfs.values().filter_map(|vf| vf.iommu_group).collect()
    };
    let mut seen = BTreeSet::from([groups(&host)]);
    for _ in 0..4 {
        host.reboot();
        host.make_vfs(pf(), 7).unwrap();
        seen.insert(groups(&host));
    }
    assert!(seen.len() > 1);
}

#[test]
fn vfs_of_a_module_parameter_are_there_again_after_a_reboot() {
    for card in [Driver::Mlx4, Driver::Enic] {
        let host = machine(card);
        let old = facts(&host).incarnation;
        assert!(host.remove_vfs(pf()).is_err(), "{card:?}: only the module makes them");
        host.reboot();
        assert_eq!(host.facts().len(), 7, "{card:?}");
        assert_ne!(facts(&host).incarnation, old, "{card:?}");
    }
}
