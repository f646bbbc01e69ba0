//! What the PF's table shows of a VF that is lent, and what of it is not as it was set.

use crate::Vlan;
use crate::drivers::{Row, Support, baseline};
use crate::vf::{VfAttributes, WantedSettings};

/// Something that reads otherwise than it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The kernel's word for it, as [`crate::vf::VfSetting::name`] has it; of a rate, which.
    pub setting: &'static str,
    /// What it should be.
    pub wanted: String,
    /// What it is.
    pub found: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} instead of {}", self.setting, self.found, self.wanted)
    }
}

/// What a VF's row reads once it is lent. `keeps_host_settings`: what is not wanted stays as the
/// host has it, instead of going to the driver's baseline.
pub fn lent(
    row: &Row,
    wanted: &WantedSettings,
    now: &VfAttributes,
    keeps_host_settings: bool,
) -> VfAttributes {
    let base = if keeps_host_settings { now.clone() } else { baseline(row, now) };
    VfAttributes {
        mac: wanted.mac,
        vlan: wanted.vlan.unwrap_or(base.vlan),
        spoofchk: wanted.spoofchk.or(base.spoofchk),
        trust: wanted.trust.or(base.trust),
        link_state: wanted.link_state.or(base.link_state),
        min_tx_rate: wanted.rate.map(|(min, _)| min).or(base.min_tx_rate),
        max_tx_rate: wanted.rate.map(|(_, max)| max).or(base.max_tx_rate),
    }
}

/// What the row of a VF reads for as long as its holder has it: as [`lent`], but for what changes
/// with nobody of the host having a hand in it.
///
/// A trusted VF may take another MAC than it was given (kernel: `igb_vf_set_mac_addr`,
/// `i40e_vc_del_mac_addr_msg`). A driver whose rates depend on the link forgets them with it
/// (kernel: `ixgbe_check_vf_rate_limit`).
pub fn held(
    row: &Row,
    wanted: &WantedSettings,
    now: &VfAttributes,
    keeps_host_settings: bool,
) -> VfAttributes {
    let mut target = lent(row, wanted, now, keeps_host_settings);
    if target.trust == Some(true) {
        target.mac = now.mac;
    }
    if row.max_rate == Support::Depends && now.max_tx_rate == Some(0) {
        target.max_tx_rate = now.max_tx_rate;
    }
    target
}

/// All that reads otherwise. What a driver does not report is not compared.
pub fn differences(now: &VfAttributes, target: &VfAttributes) -> Vec<Difference> {
    let vlan = |vlan: Vlan| match (vlan.id.get(), vlan.qos) {
        (0, 0) => "none".to_owned(),
        (id, 0) => format!("{id} ({})", vlan.protocol.name()),
        (id, qos) => format!("{id} qos {qos} ({})", vlan.protocol.name()),
    };
    let on = |on: bool| if on { "on" } else { "off" }.to_owned();
    let rate = |rate: u32| format!("{rate} Mbit/s");
    [
        differ("MAC", Some(now.mac), Some(target.mac), |mac| mac.to_string()),
        differ("VLAN", Some(now.vlan), Some(target.vlan), vlan),
        differ("spoofchk", now.spoofchk, target.spoofchk, on),
        differ("trust", now.trust, target.trust, on),
        differ("link state", now.link_state, target.link_state, |it| it.name().to_owned()),
        differ("minimum rate", now.min_tx_rate, target.min_tx_rate, rate),
        differ("maximum rate", now.max_tx_rate, target.max_tx_rate, rate),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn differ<T: PartialEq>(
    setting: &'static str,
    now: Option<T>,
    target: Option<T>,
    text: impl Fn(T) -> String,
) -> Option<Difference> {
    let (now, target) = now.zip(target)?;
    (now != target).then(|| Difference { setting, wanted: text(target), found: text(now) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::row;
    use crate::{DriverName, MacAddress};

    const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 2]);

    fn driver(name: &str) -> &'static Row {
        let name: DriverName = name.parse().expect("a driver's name");
        row(Some(&name))
    }

    fn drift(row: &Row, wanted: &WantedSettings, now: &VfAttributes) -> Vec<String> {
        let all = differences(now, &held(row, wanted, now, false));
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_setting_that_was_typed_is_named() {
        let now = VfAttributes {
            mac: OTHER,
            vlan: Vlan::tagged(7.try_into().expect("a tag")),
            spoofchk: Some(false),
            ..VfAttributes::UNSET
        };
        assert_eq!(
            drift(driver("igb"), &WantedSettings::mac(MAC), &now),
            [
                "MAC 02:00:00:00:00:02 instead of 02:00:00:00:00:01",
                "VLAN 7 (802.1Q) instead of none",
                "spoofchk off instead of on"
            ]
        );
    }

    #[test]
    fn a_trusted_vf_may_take_another_mac_and_one_that_was_not_to_be_trusted_may_not() {
        let now = VfAttributes { mac: OTHER, trust: Some(true), ..VfAttributes::UNSET };
        let plain = WantedSettings::mac(MAC);
        let trusted = WantedSettings { trust: Some(true), ..plain.clone() };
        assert!(drift(driver("igb"), &trusted, &now).is_empty());
        assert_eq!(drift(driver("igb"), &plain, &now).len(), 2);
    }

    #[test]
    fn a_limit_that_went_with_the_link_was_typed_by_nobody() {
        let wanted = WantedSettings { rate: Some((0, 100)), ..WantedSettings::mac(MAC) };
        let now = VfAttributes { mac: MAC, max_tx_rate: Some(0), ..VfAttributes::UNSET };
        assert!(drift(driver("ixgbe"), &wanted, &now).is_empty());
        assert_eq!(drift(driver("igb"), &wanted, &now).len(), 1);
        let typed = VfAttributes { max_tx_rate: Some(7), ..now };
        assert_eq!(drift(driver("ixgbe"), &wanted, &typed).len(), 1);
    }

    #[test]
    fn where_the_host_keeps_its_settings_they_are_its_own() {
        let now = VfAttributes { mac: MAC, spoofchk: Some(false), ..VfAttributes::UNSET };
        let row = driver("igb");
        let target = held(row, &WantedSettings::mac(MAC), &now, true);
        assert!(differences(&now, &target).is_empty());
    }
}
