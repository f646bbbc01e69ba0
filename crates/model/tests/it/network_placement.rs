//! Which VFs a document prefers.

use vfnet_model::network::{Filling, Form, PfName, Pin, Placement, Weight, parse, print};
use vfnet_model::vf::VfIndex;

const TEXT: &str = "\
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>n</name>
  <forward mode='hostdev' managed='yes'>
    <pf dev='ens1f0'/>
  </forward>
  <portgroup name='left'>
    <vfnet:placement numa='require' mtu='9000' pf='ens1f0'/>
  </portgroup>
  <portgroup name='one'>
    <vfnet:placement pf='0000:01:00.1' vf='3'/>
  </portgroup>
  <portgroup name='that'>
    <vfnet:placement vf='0000:01:10.2'/>
  </portgroup>
  <vfnet:pool>
    <vfnet:placement numa='prefer' legs='require' guests='spread'/>
  </vfnet:pool>
</network>
";

#[test]
fn a_portgroup_overrides_the_networks_placement_attribute_by_attribute() {
    let network = parse(TEXT).unwrap();
    assert_eq!(print(&network, Form::Inactive), TEXT);
    let whole = Placement {
        numa: Some(Weight::Prefer),
        legs: Some(Weight::Require),
        guests: Some(Filling::Spread),
        mtu: None,
        pin: None,
    };
    assert_eq!(network.placement(None), whole);
    let pf = |name: &str| name.parse::<PfName>().unwrap();
    let pinned = |group, pin| {
        assert_eq!(network.placement(Some(group)).pin, Some(pin));
    };
    pinned("left", Pin::Pf(pf("ens1f0")));
    pinned("one", Pin::Numbered(PfName::Address("0000:01:00.1".parse().unwrap()), VfIndex(3)));
    pinned("that", Pin::Vf("0000:01:10.2".parse().unwrap()));
    let left = network.placement(Some("left"));
    assert_eq!((left.numa, left.legs), (Some(Weight::Require), Some(Weight::Require)));
    assert_eq!(left.mtu, Some(9000));
}

#[test]
fn a_placement_that_makes_no_sense_is_refused_where_it_stands() {
    for (wrong, says) in [
        ("numa='maybe'", "numa"),
        ("legs='yes'", "legs"),
        ("guests='evenly'", "guests"),
        ("mtu='67'", "not from 68 to 65535 bytes"),
        ("mtu='65536'", "not from 68"),
        ("mtu='long'", "mtu"),
        ("vf='3'", "vf='3' is no PCI address; with 'pf' it is the VF's number"),
        ("vf='ens1f0v3'", "vf='ens1f0v3' is no PCI address"),
        ("pf='ens1f0' vf='0000:01:10.2'", "vf"),
        ("pf='ens1f0' vf='-1'", "vf"),
        ("pf='a/b'", "pf"),
        ("node='1'", "node"),
    ] {
        let text = TEXT.replace("numa='prefer' legs='require' guests='spread'", wrong);
        let fault = parse(&text).unwrap_err();
        assert!(fault.to_string().contains(says), "{wrong}: {fault}");
        assert!(fault.to_string().contains("placement"), "{wrong}: {fault}");
    }
}
