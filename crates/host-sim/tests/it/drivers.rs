//! Every driver does what vfnet's table of drivers says, and what else is known of it.

use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::{Host, HostError};
use vfnet_host_sim::{Driver, SimHost};
use vfnet_model::drivers::{self, Row, Support, ZeroMac};
use vfnet_model::vf::{LinkState, VfIndex, VfSetting};
use vfnet_model::{MacAddress, Vlan, VlanProtocol};

use crate::{driver, facts, mac, pf, vf};

const SECOND: Duration = Duration::from_secs(1);
const ADMIN: &str = "52:54:00:00:00:01";

fn machine(card: Driver) -> SimHost {
    SimHost::builder().vfio_loaded().pf("ens1f0", "0000:01:00.0", card).vfs(7).build()
}

/// The number of the refusal, after any reset that an earlier setting began.
fn set(host: &SimHost, setting: VfSetting) -> Result<(), Errno> {
    host.advance(SECOND);
    set_now(host, setting)
}

fn set_now(host: &SimHost, setting: VfSetting) -> Result<(), Errno> {
    host.set_vf(pf(), VfIndex(0), setting).map_err(|error| match error {
        HostError::Setting { source, .. } => Errno::from_io_error(&source).expect("a number"),
        other => panic!("{other}"),
    })
}

fn shown_mac(host: &SimHost) -> MacAddress {
    host.advance(SECOND);
    host.vf_attributes(pf(), VfIndex(0)).expect("the table has it").mac
}

fn tag(protocol: VlanProtocol, qos: u8) -> VfSetting {
    VfSetting::Vlan(Vlan { protocol, qos, ..Vlan::tagged(42.try_into().expect("a tag")) })
}

fn described() -> impl Iterator<Item = (Driver, &'static Row)> {
    Driver::ALL.into_iter().filter(|card| *card != Driver::Generic).map(|card| {
        let name = driver(card.name());
        let row = drivers::row(Some(&name));
        assert_eq!(row.driver, card.name(), "it has a row");
        (card, row)
    })
}

#[test]
fn every_row_is_simulated_and_every_personality_has_a_row() {
    let simulated: Vec<_> = described().map(|(_, row)| row.driver).collect();
    for row in drivers::ROWS {
        assert!(simulated.contains(&row.driver), "{}", row.driver);
    }
}

#[test]
fn a_driver_takes_what_its_row_says_and_refuses_what_it_says_it_lacks() {
    for (card, row) in described() {
        for (what, support, setting) in [
            ("MAC", row.mac, VfSetting::Mac(mac(ADMIN))),
            ("VLAN", row.vlan, tag(VlanProtocol::Dot1Q, 0)),
            ("priority", row.qos, tag(VlanProtocol::Dot1Q, 3)),
            ("802.1ad", row.dot1ad, tag(VlanProtocol::Dot1Ad, 0)),
            ("spoofchk", row.spoofchk, VfSetting::Spoofchk(!row.spoofchk_default)),
            ("trust", row.trust, VfSetting::Trust(true)),
            ("link state", row.link_state, VfSetting::LinkState(LinkState::Enable)),
            ("minimum rate", row.min_rate, VfSetting::Rate { min: 50, max: 100 }),
            ("maximum rate", row.max_rate, VfSetting::Rate { min: 0, max: 100 }),
        ] {
            let taken = set(&machine(card), setting);
            match support {
                Support::Yes => assert_eq!(taken, Ok(()), "{card:?}: {what}"),
                Support::No => assert!(taken.is_err(), "{card:?}: {what}"),
                Support::Depends => {}
            }
        }
    }
}

#[test]
fn a_new_vf_is_as_its_row_says() {
    for (card, row) in described() {
        let Ok(new) = machine(card).vf_attributes(pf(), VfIndex(0)) else {
            assert_eq!(row.mac, Support::No, "{card:?}: only a driver without a MAC has no table");
            continue;
        };
        if let Some(spoofchk) = new.spoofchk {
            assert_eq!(spoofchk, row.spoofchk_default, "{card:?}");
        }
        assert_ne!(new.trust, Some(true), "{card:?}");
        assert_eq!(new.link_state, Some(LinkState::Auto), "{card:?}");
    }
}

#[test]
fn a_zero_mac_does_what_the_row_says() {
    for (card, row) in described().filter(|(_, row)| row.mac == Support::Yes) {
        let host = machine(card);
        set(&host, VfSetting::Mac(mac(ADMIN))).unwrap();
        let zero = VfSetting::Mac(MacAddress::ZERO);
        match row.zero_mac {
            ZeroMac::Accepted => assert_eq!(set(&host, zero), Ok(()), "{card:?}"),
            ZeroMac::Refused => assert!(set(&host, zero).is_err(), "{card:?}"),
            ZeroMac::SpoofchkMustBeOff => {
                set(&host, VfSetting::Spoofchk(true)).unwrap();
                assert_eq!(set(&host, zero), Err(Errno::PERM), "{card:?}");
                set(&host, VfSetting::Spoofchk(false)).unwrap();
                assert_eq!(set(&host, zero), Ok(()), "{card:?}");
            }
            ZeroMac::Unknown => panic!("{card:?} is described"),
        }
        assert_eq!(facts(&host).sticky, row.zero_mac == ZeroMac::Refused, "{card:?}");
    }
}

#[test]
fn a_driver_resets_its_vf_when_its_row_says_so() {
    for (card, row) in described().filter(|(_, row)| row.mac == Support::Yes) {
        let host = machine(card);
        set(&host, VfSetting::Mac(mac(ADMIN))).unwrap();
        let taken = facts(&host).netdev_mac == Some(mac(ADMIN));
        // bnxt_en tells its VF of the MAC without a reset.
        assert_eq!(taken, row.mac_resets_vf || card == Driver::Bnxt, "{card:?}");
        for (name, setting, resets) in [
            ("VLAN", tag(VlanProtocol::Dot1Q, 0), row.vlan_resets_vf),
            ("trust", VfSetting::Trust(true), row.trust_resets_vf),
        ] {
            if set(&host, setting).is_err() {
                continue;
            }
            // The next setting is waited with until the VF is back.
            let began = host.clock();
            let _busy = set_now(&host, VfSetting::Spoofchk(true));
            assert_eq!(host.clock() > began, resets, "{card:?}: {name}");
        }
    }
}

#[test]
fn a_driver_whose_vfs_need_the_pf_up_says_so_in_its_row() {
    for (card, row) in described().filter(|(_, row)| row.mac == Support::Yes) {
        let host = machine(card);
        set(&host, VfSetting::Mac(mac(ADMIN))).unwrap();
        host.pf_down(pf());
        let refused = set(&host, tag(VlanProtocol::Dot1Q, 0)).is_err() && row.vlan == Support::Yes;
        host.unbind(vf(), SECOND).unwrap();
        host.probe(vf(), SECOND).unwrap();
        host.advance(SECOND);
        let deaf = facts(&host).netdev_mac != Some(mac(ADMIN));
        assert_eq!(refused || deaf, row.needs_pf_up, "{card:?}");
    }
}

#[test]
fn a_tag_of_another_protocol_is_taken_or_the_row_says_that_it_is_passed_over() {
    for (card, row) in described() {
        let host = machine(card);
        if set(&host, tag(VlanProtocol::Dot1Q, 0)).is_err() {
            continue;
        }
        if set(&host, tag(VlanProtocol::Dot1Ad, 0)).is_ok() {
            let passed_over = facts(&host).vlan.protocol == VlanProtocol::Dot1Q;
            assert_eq!(passed_over, row.retag_needs_clearing, "{card:?}");
        }
    }
}

#[test]
fn a_driver_makes_vfs_and_as_many_as_its_row_says() {
    for (card, row) in described() {
        let builder = SimHost::builder().pf("ens1f0", "0000:01:00.0", card).total_vfs(128);
        let host = builder.build();
        let made = host.set_num_vfs(pf(), 1, SECOND);
        match row.makes_vfs {
            Support::Yes => made.unwrap(),
            Support::No => assert!(made.is_err(), "{card:?}"),
            Support::Depends => {}
        }
        if let Some(most) = row.max_vfs {
            host.remove_vfs(pf()).unwrap();
            assert!(host.set_num_vfs(pf(), most + 1, SECOND).is_err(), "{card:?}");
            host.set_num_vfs(pf(), most, SECOND).unwrap();
        }
    }
}

#[test]
fn a_mac_that_the_vf_has_chosen_is_not_set_by_ice_when_it_is_set() {
    for (card, row) in described().filter(|(_, row)| row.mac == Support::Yes) {
        let host = machine(card);
        let shown = shown_mac(&host);
        if shown.is_zero() {
            continue;
        }
        set(&host, VfSetting::Mac(shown)).unwrap();
        assert_eq!(!facts(&host).sticky, row.same_mac_ignored, "{card:?}");
    }
}

#[test]
fn a_guests_mac_shows_after_it_was_cleared_where_the_row_says_so() {
    for (card, row) in described().filter(|(_, row)| row.zero_mac == ZeroMac::Accepted) {
        let host = machine(card);
        if set(&host, VfSetting::Mac(mac(ADMIN))).is_err() {
            continue;
        }
        let best = host.best_vfio_driver(vf()).unwrap();
        host.load_driver(&best, SECOND).unwrap();
        host.set_driver_override(vf(), Some(&best)).unwrap();
        host.unbind(vf(), SECOND).unwrap();
        host.probe(vf(), SECOND).unwrap();
        host.open_vfio(vf(), "qemu (pid 1)").unwrap();
        host.close_vfio(vf());
        set(&host, VfSetting::Mac(MacAddress::ZERO)).unwrap();
        assert_eq!(shown_mac(&host) == mac(ADMIN), row.remembers_own_mac, "{card:?}");
    }
}

#[test]
fn a_busy_pf_refuses_and_leaves_its_vfs_out_of_the_table() {
    for (card, errno) in [(Driver::I40e, Errno::AGAIN), (Driver::Ice, Errno::BUSY)] {
        let host = machine(card);
        host.occupy_pf(pf(), 2 * SECOND);
        assert_eq!(set_now(&host, VfSetting::Spoofchk(false)), Err(errno), "{card:?}");
        host.vf_attributes(pf(), VfIndex(0)).unwrap_err();
        assert_eq!(host.vf(vf()).unwrap().unwrap().attributes, None);
        host.advance(2 * SECOND);
        assert_eq!(set_now(&host, VfSetting::Spoofchk(false)), Ok(()));
    }
}

#[test]
fn a_reset_takes_time_which_the_next_setting_waits_for_and_sometimes_in_vain() {
    let outcomes: Vec<_> = (0..50)
        .map(|seed| {
            let pf = SimHost::builder().seed(seed).pf("ens1f0", "0000:01:00.0", Driver::I40e);
            let host = pf.vfs(1).build();
            set_now(&host, VfSetting::Trust(true)).unwrap();
            let begun = host.clock();
            let outcome = set_now(&host, VfSetting::Spoofchk(false));
            assert!(host.clock() - begun <= Duration::from_millis(300));
            outcome
        })
        .collect();
    assert!(outcomes.contains(&Ok(())) && outcomes.contains(&Err(Errno::AGAIN)));
}

#[test]
fn ixgbe_limits_rates_only_above_ten_and_with_a_link() {
    let host = machine(Driver::Ixgbe);
    let max = |max| VfSetting::Rate { min: 0, max };
    assert_eq!(set(&host, max(10)), Err(Errno::INVAL));
    assert_eq!(set(&host, max(11)), Ok(()));
    host.set_carrier(pf(), false);
    assert_eq!(set(&host, max(0)), Err(Errno::INVAL));
}

#[test]
fn bnxt_does_nothing_at_all_while_its_pf_is_down_and_does_not_always_say_so() {
    let host = machine(Driver::Bnxt);
    host.pf_down(pf());
    assert_eq!(set(&host, VfSetting::Trust(true)), Err(Errno::INVAL));
    host.vf_attributes(pf(), VfIndex(0)).unwrap_err();
    host.remove_vfs(pf()).unwrap();
    assert_eq!(host.facts().len(), 7);
}

#[test]
fn a_vf_of_mlx5_may_change_its_mac_and_the_pf_shows_what_was_set() {
    let host = machine(Driver::Mlx5);
    set(&host, VfSetting::Mac(mac(ADMIN))).unwrap();
    host.set_netdev_mac(vf(), mac("52:54:00:00:00:02")).unwrap();
    assert_eq!(shown_mac(&host), mac(ADMIN));
}

#[test]
fn drivers_are_named_as_the_kernel_names_them() {
    for card in Driver::ALL {
        assert_eq!(card.name().parse(), Ok(card));
    }
    let unknown = "e1000".parse::<Driver>().unwrap_err().to_string();
    assert!(unknown.contains("'e1000'") && unknown.contains("bnxt_en"), "{unknown}");
}
