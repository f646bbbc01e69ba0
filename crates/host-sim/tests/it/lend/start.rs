//! What a VF is before it is lent, with every driver, and as what it may come back.

use std::time::Duration;

use vfnet_host::Host;
use vfnet_host_sim::{Driver, OwnMac, Personality, SimHost, VfFacts, ZeroMac};
use vfnet_model::drivers::parked_mac;
use vfnet_model::vf::{LinkState, VfSetting, WantedSettings};
use vfnet_model::{MacAddress, Vlan, VlanProtocol};

use super::{set, tag};
use crate::{driver, facts, mac, pf, vf};

const SECOND: Duration = Duration::from_secs(1);

/// How the VF is before it is lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    /// On its own driver with a MAC of its own choice.
    Untouched,
    /// On its own driver with a MAC that an administrator set.
    AdminMac,
    /// On its own driver with a MAC that an administrator set on its netdev.
    OwnMac,
    /// Unbound by hand, its MAC cleared.
    Unbound,
    /// Without a driver from the beginning.
    AutoprobeOff,
    /// On vfio-pci by driver_override.
    Vfio,
    /// On its own driver by driver_override, autoprobe being off.
    ByName,
    /// Tagged, trusted, limited, spoof checking off.
    Configured,
}

/// A VF before it is lent, and the driver of its PF. `Driver::Generic` is one that vfnet has no
/// row for.
pub(super) type Case = (Driver, Before);

const ALL: [Before; 8] = [
    Before::Untouched,
    Before::AdminMac,
    Before::OwnMac,
    Before::Unbound,
    Before::AutoprobeOff,
    Before::Vfio,
    Before::ByName,
    Before::Configured,
];

/// Every start with the drivers that are simulated in full, a few with the others.
pub(super) fn cases() -> Vec<Case> {
    cases_with(|card, before| is_full(card) || FEW.contains(&before))
}

/// For what takes longer: every start with igb and with an unknown driver, a few with the others.
pub(super) fn few_cases() -> Vec<Case> {
    cases_with(|card, before| {
        matches!(card, Driver::Igb | Driver::Generic)
            || is_full(card) && FEW.contains(&before)
            || before == Before::Untouched
    })
}

const FEW: [Before; 4] =
    [Before::Untouched, Before::AdminMac, Before::AutoprobeOff, Before::Configured];

fn is_full(card: Driver) -> bool {
    card == Driver::Generic || Driver::FULL.contains(&card)
}

fn cases_with(wanted: impl Fn(Driver, Before) -> bool) -> Vec<Case> {
    let deep = std::env::var_os("VFNET_DEEP").is_some_and(|set| set == "1");
    let all = Driver::ALL.into_iter().flat_map(|card| ALL.map(|before| (card, before)));
    all.filter(|&(card, before)| is_possible(card.personality(), before))
        .filter(|&(card, before)| deep || wanted(card, before))
        .collect()
}

/// Whether a VF can be so, and vfnet can tell: bnxt_en shows the last MAC of its VF's own like one
/// that was set, and of drivers without a table of VFs only the driver is known.
fn is_possible(card: &Personality, before: Before) -> bool {
    match before {
        Before::Untouched | Before::AutoprobeOff => true,
        Before::Unbound => card.mac && card.own_mac != OwnMac::Beside,
        _ => card.mac,
    }
}

pub(super) fn rebind(host: &SimHost) {
    host.unbind(vf(), SECOND).expect("nobody uses the VF");
    host.probe(vf(), SECOND).expect("the VF is there");
    host.advance(2 * SECOND);
}

pub(super) fn override_driver(host: &SimHost, name: &str) {
    host.set_driver_override(vf(), Some(&driver(name))).expect("the VF is there");
}

fn clear_mac(host: &SimHost, card: &Personality) {
    match card.zero_mac {
        ZeroMac::Refused(_) => {}
        ZeroMac::Clears | ZeroMac::RefusedWithSpoofchk(_) => {
            set(host, VfSetting::Mac(MacAddress::ZERO));
        }
    }
}

/// The machine, all resets over.
pub(super) fn machine(case: Case) -> SimHost {
    machine_of(1, case)
}

/// The same with other chances: MACs, and how long resets and new netdevs take.
pub(super) fn machine_of(seed: u64, (driver, before): Case) -> SimHost {
    let card = driver.personality();
    let builder = SimHost::builder().seed(seed).vfio_loaded();
    let pf = builder.pf("ens1f0", "0000:01:00.0", driver).vfs(7);
    let never_bound =
        before == Before::AutoprobeOff || before == Before::Vfio && card.own_mac == OwnMac::Beside;
    let host = if never_bound { pf.autoprobe_off().build() } else { pf.build() };
    match before {
        Before::Untouched | Before::AutoprobeOff => {}
        Before::AdminMac => {
            set(&host, VfSetting::Mac(mac("52:54:00:00:00:01")));
            rebind(&host);
        }
        Before::OwnMac => {
            host.set_netdev_mac(vf(), mac("52:54:00:00:00:02")).expect("no admin MAC is set");
        }
        Before::Unbound => {
            host.unbind(vf(), SECOND).expect("nobody uses the VF");
            clear_mac(&host, card);
        }
        Before::Vfio => {
            host.unbind(vf(), SECOND).expect("nobody uses the VF");
            clear_mac(&host, card);
            override_driver(&host, "vfio-pci");
            rebind(&host);
        }
        Before::ByName => {
            host.set_autoprobe(self::pf(), false);
            override_driver(&host, card.vf_driver);
            rebind(&host);
        }
        Before::Configured => configure(&host, card),
    }
    host.advance(2 * SECOND);
    host.clear_trace();
    host
}

fn configure(host: &SimHost, card: &Personality) {
    if card.vlan {
        set(host, VfSetting::Vlan(Vlan { qos: if card.qos { 3 } else { 0 }, ..tag(7) }));
    }
    if card.trust {
        set(host, VfSetting::Trust(true));
    }
    if let Some(on) = card.spoofchk {
        set(host, VfSetting::Spoofchk(!on));
    }
    if card.rates.is_some() {
        set(host, VfSetting::Rate { min: 0, max: 100 });
    }
}

/// The guest's MAC.
pub(super) fn guest() -> MacAddress {
    mac("52:54:00:aa:bb:cc")
}

/// A MAC, and a tag where there are tags; a plain hostdev where nothing can be set.
pub(super) fn wanted(card: Driver) -> Option<WantedSettings> {
    let card = card.personality();
    let vlan = card.vlan.then(|| tag(42));
    card.mac.then(|| WantedSettings { vlan, ..WantedSettings::mac(guest()) })
}

/// All that a driver can set, away from its default; a plain hostdev where nothing can be set.
pub(super) fn everything(card: Driver) -> Option<WantedSettings> {
    let card = card.personality();
    let protocol = if card.dot1ad { VlanProtocol::Dot1Ad } else { VlanProtocol::Dot1Q };
    let min = if card.rates.is_some_and(|rates| rates.min) { 50 } else { 0 };
    card.mac.then(|| WantedSettings {
        mac: guest(),
        vlan: card.vlan.then(|| Vlan { qos: if card.qos { 5 } else { 0 }, protocol, ..tag(7) }),
        spoofchk: card.spoofchk.map(|on| !on),
        trust: card.trust.then_some(true),
        link_state: card.link_state.then_some(LinkState::Disable),
        rate: card.rates.map(|_| (min, 500)),
    })
}

/// The part of a wish that a driver can fulfil.
pub(super) fn within(card: &Personality, wish: &WantedSettings) -> WantedSettings {
    let above = card.rates.map_or(0, |rates| rates.above);
    let tag = wish.vlan.filter(|_| card.vlan);
    WantedSettings {
        mac: wish.mac,
        vlan: tag.map(|tag| Vlan { qos: if card.qos { tag.qos } else { 0 }, ..tag }),
        spoofchk: wish.spoofchk.filter(|_| card.spoofchk.is_some()),
        trust: wish.trust.filter(|_| card.trust),
        link_state: wish.link_state.filter(|_| card.link_state),
        rate: wish.rate.filter(|&(_, max)| card.rates.is_some() && max > above),
    }
}

/// Settings, all settings, the MAC that the VF has already, and a plain hostdev's none.
pub(super) fn wishes(case: Case) -> Vec<Option<WantedSettings>> {
    let card = case.0.personality();
    if !card.mac {
        return vec![None];
    }
    let same = facts(&machine(case)).netdev_mac.unwrap_or(guest());
    vec![wanted(case.0), everything(case.0), Some(WantedSettings::mac(same)), None]
}

/// What the PF is, as long as it has its driver.
pub(super) fn card_of(host: &SimHost) -> &'static Personality {
    let name =
        host.pf(pf()).ok().flatten().and_then(|pf| pf.driver).expect("the PF has its driver");
    let cards = Driver::ALL.map(Driver::personality);
    cards.into_iter().find(|card| card.pf_driver == name.as_str()).expect("it is simulated")
}

/// Overlooks in `found` what no program can put back with this driver.
pub(super) fn forgive(found: &mut VfFacts, wanted: &VfFacts, host: &SimHost) {
    let card = card_of(host);
    let stand_ins = [Some(parked_mac(vf())), wanted.netdev_mac];
    let stands_in = found.sticky && stand_ins.contains(&Some(found.admin_mac));
    let forgiven = match card.zero_mac {
        // No MAC cannot be had again, so the VF's own is set, or one that stands for none.
        ZeroMac::Refused(_) => stands_in,
        // The guest's MAC would be seen until a driver of the host comes.
        _ if card.own_mac == OwnMac::Beside && wanted.netdev_mac.is_none() => stands_in,
        // The VF's driver has been given the VF's own MAC by the PF, as if it were set.
        _ if card.own_mac == OwnMac::TableForGood => {
            found.admin_mac == wanted.admin_mac && (wanted.mac_from_pf || !found.sticky)
        }
        _ => false,
    };
    if forgiven {
        found.admin_mac = wanted.admin_mac;
        found.sticky = wanted.sticky;
        found.mac_from_pf = wanted.mac_from_pf;
    }
}
