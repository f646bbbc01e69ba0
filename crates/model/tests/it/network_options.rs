//! What VFs get besides their MAC, and whose network a document is.

use vfnet_model::network::{Form, Mode, head, parse, print};
use vfnet_model::vf::{LinkState, WantedSettings};
use vfnet_model::xml::Kind::{self, Invalid, Malformed, NoName, Unsupported};
use vfnet_model::{MacAddress, Vlan, VlanProtocol};

const MAC: MacAddress = MacAddress::new([0x52, 0x54, 0, 0, 0, 1]);

const TEXT: &str = "\
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>n</name>
  <forward mode='hostdev' managed='yes'>
    <pf dev='ens1f0'/>
  </forward>
  <vlan>
    <tag id='10'/>
  </vlan>
  <portgroup name='gold'>
    <vlan>
      <tag id='20'/>
    </vlan>
    <vfnet:vf trust='yes' maxRate='0' qos='5'/>
  </portgroup>
  <portgroup name='plain' default='yes'>
  </portgroup>
  <vfnet:pool>
    <vfnet:vf trust='no' spoofchk='yes' linkState='enable' minRate='10' maxRate='100' \
vlanProto='802.1ad' qos='3'/>
  </vfnet:pool>
</network>
";

fn tag(id: u16, qos: u8) -> Option<Vlan> {
    Some(Vlan { id: id.try_into().unwrap(), qos, protocol: VlanProtocol::Dot1Ad })
}

#[test]
fn a_portgroup_overrides_what_the_network_says_attribute_by_attribute() {
    let network = parse(TEXT).unwrap();
    assert_eq!(print(&network, Form::Inactive), TEXT);
    network.served().unwrap();
    let of_network = WantedSettings {
        mac: MAC,
        vlan: tag(10, 3),
        spoofchk: Some(true),
        trust: Some(false),
        link_state: Some(LinkState::Enable),
        rate: Some((10, 100)),
    };
    assert_eq!(network.wanted(MAC, None, None), of_network);
    assert_eq!(network.wanted(MAC, None, Some("plain")), of_network);
    let gold = network.wanted(MAC, None, Some("gold"));
    let of_gold = WantedSettings {
        vlan: tag(20, 5),
        trust: Some(true),
        rate: Some((10, 0)),
        ..of_network.clone()
    };
    assert_eq!(gold, of_gold);
    let own = network.wanted(MAC, Some(30.try_into().unwrap()), Some("gold"));
    assert_eq!(own, WantedSettings { vlan: tag(30, 5), ..of_gold.clone() });
    let untagged = network.wanted(MAC, Some(0.try_into().unwrap()), Some("gold"));
    assert_eq!(untagged, WantedSettings { vlan: Some(Vlan::UNTAGGED), ..of_gold });
}

#[test]
fn the_example_in_the_docs_is_run() {
    let docs = include_str!("../../../../docs/networks.md");
    let (_, example) = docs.split_once("```xml\n").unwrap();
    let network = parse(example.split_once("```").unwrap().0).unwrap();
    network.served().unwrap();
    let router = network.wanted(MAC, None, Some("router"));
    assert_eq!((router.trust, router.spoofchk), (Some(true), Some(true)));
    assert_eq!(router.rate, Some((0, 1000)));
}

#[test]
fn what_nobody_asks_for_is_left_to_the_driver() {
    let text = "<network><name>n</name><forward mode='hostdev'/><portgroup name='g'/></network>";
    let network = parse(text).unwrap();
    for group in [None, Some("g")] {
        assert_eq!(network.wanted(MAC, None, group), WantedSettings::mac(MAC));
    }
    assert!(!print(&network, Form::Inactive).contains("vfnet"));
}

#[test]
fn options_of_vfs_are_for_networks_of_vfs_only() {
    let text = "<network xmlns:v='urn:vfnet:network:1'><name>n</name><forward mode='bridge'/>\
                <bridge name='b'/><portgroup name='g'><v:vf qos='1'/></portgroup></network>";
    let fault = parse(text).unwrap_err();
    assert_eq!((fault.kind, fault.message.as_str()), (Unsupported, "element <v:vf>"));
}

#[test]
fn the_head_of_any_network_tells_whose_it_is() {
    let nat = "<network connections='1'>\n<name>default</name>\
               <uuid>0b6f6c5e-6f0a-4f9d-8c39-0a8f5d3c1e01</uuid><title>t</title>\
               <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>\
               <bridge name='virbr0' stp='on' delay='0'/><mac address='52:54:00:00:00:01'/>\
               <dns><host ip='192.0.2.1'><hostname>h</hostname></host></dns>\
               <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp>\
               <range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>";
    let of_nat = head(nat).unwrap();
    assert_eq!((of_nat.name.as_str(), of_nat.title.as_deref()), ("default", Some("t")));
    assert_eq!(of_nat.uuid.unwrap().to_string(), "0b6f6c5e-6f0a-4f9d-8c39-0a8f5d3c1e01");
    assert_eq!(of_nat.mode, Mode::Nat);
    for (rest, mode) in [
        ("", Mode::Isolated),
        ("<bridge name='b'/><ip address='192.0.2.1'/>", Mode::Isolated),
        ("<forward mode='none'/>", Mode::Isolated),
        ("<forward/>", Mode::Nat),
        ("<forward mode='nat'/>", Mode::Nat),
        ("<forward mode='route' dev='e'/>", Mode::Route),
        ("<forward mode='open'/>", Mode::Open),
        ("<forward mode='bridge'/><bridge name='b'/>", Mode::Bridge),
        ("<forward mode='bridge'/>", Mode::BridgeOverDevices),
        ("<forward mode='bridge' dev='e'/>", Mode::BridgeOverDevices),
        ("<forward mode='bridge'><interface dev='e'/></forward>", Mode::BridgeOverDevices),
        (
            "<forward mode='bridge'/><bridge name='b'/><virtualport type='openvswitch'/>",
            Mode::BridgeOverDevices,
        ),
        ("<forward mode='private'/>", Mode::Private),
        ("<forward mode='vepa'/>", Mode::Vepa),
        ("<forward mode='passthrough'/>", Mode::Passthrough),
        ("<forward mode='hostdev'/>", Mode::Hostdev),
        ("<forward mode='hardware'/>", Mode::Hostdev),
    ] {
        let found = head(&format!("<network><name>n</name>{rest}</network>")).unwrap();
        assert_eq!(found.mode, mode, "{rest}");
        assert_eq!(mode.is_served(), matches!(mode, Mode::Bridge | Mode::Hostdev));
    }
    let refusals: [(&str, Kind); 6] = [
        ("", Malformed),
        ("<domain/>", Invalid),
        ("<network/>", NoName),
        ("<network><name>n</name><forward mode='odd'/></network>", Unsupported),
        ("<network><name>n</name><forward/><forward/></network>", Invalid),
        ("<network><name>n</name><uuid>1</uuid></network>", Kind::Internal),
    ];
    for (text, kind) in refusals {
        assert_eq!(head(text).unwrap_err().kind, kind, "{text}");
    }
}
