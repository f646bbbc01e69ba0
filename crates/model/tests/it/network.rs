//! Network documents: what is read and printed, and what is refused.

use vfnet_model::network::{Form, Live, Members, parse, print};
use vfnet_model::xml::Kind::{self, Detail, Internal, Invalid, Malformed, NoName, Unsupported};

use crate::corpus::{fixtures, folder};

fn inactive(text: &str) -> String {
    print(&parse(text).unwrap_or_else(|fault| panic!("{fault}\n{text}")), Form::Inactive)
}

#[test]
fn a_document_in_libvirts_order_prints_as_it_was_written() {
    for (name, text) in fixtures("network") {
        assert_eq!(inactive(&text), text, "{name}");
    }
}

#[test]
fn a_document_in_any_order_and_style_prints_in_libvirts() {
    let written = "<?xml version=\"1.0\"?>\n<!-- ours --><network connections='3' \
         xmlns:v='urn:vfnet:network:1' xmlns:s='urn:s'>\n<v:pool><v:pf vfs='7' dev='p'/></v:pool>\
         <portgroup name='g' default='no'/><vlan trunk='no'><tag id='42'/></vlan>\
         <description/><metadata><s:x/></metadata>\
         <forward managed='YES' mode='hardware'><driver/>\
         <address bus='0x2' slot='16' function='07' type='pci' multifunction='on'/></forward>\
         <uuid>0B6F6C5E6F0A4F9D8C390A8F5D3C1E01</uuid><title/><name>n</name></network>";
    let printed = "\
<network xmlns:vfnet='urn:vfnet:network:1'>
  <name>n</name>
  <uuid>0b6f6c5e-6f0a-4f9d-8c39-0a8f5d3c1e01</uuid>
  <metadata xmlns:s='urn:s'><s:x/></metadata>
  <forward mode='hostdev' managed='yes'>
    <address type='pci' domain='0x0000' bus='0x02' slot='0x10' function='0x7'/>
  </forward>
  <vlan>
    <tag id='42'/>
  </vlan>
  <portgroup name='g'>
  </portgroup>
  <vfnet:pool>
    <vfnet:pf dev='p' vfs='7'/>
  </vfnet:pool>
</network>
";
    assert_eq!(inactive(written), printed);
    assert_eq!(inactive(printed), printed);
}

#[test]
fn a_running_network_shows_its_connections_and_the_vfs_of_its_pf() {
    let network = parse(&hostdev("<pf dev='ens1f0'/>", "")).unwrap();
    let mut live = Live {
        connections: 2,
        vfs: vec!["0000:81:10.0".parse().unwrap(), "0000:81:10.2".parse().unwrap()],
    };
    assert_eq!(
        print(&network, Form::Live(&live)),
        "\
<network connections='2'>
  <name>n</name>
  <forward mode='hostdev' managed='yes'>
    <pf dev='ens1f0'/>
    <address type='pci' domain='0x0000' bus='0x81' slot='0x10' function='0x0'/>
    <address type='pci' domain='0x0000' bus='0x81' slot='0x10' function='0x2'/>
  </forward>
</network>
"
    );
    live.connections = 0;
    let idle = print(&network, Form::Live(&live));
    assert!(idle.starts_with("<network>\n"), "{idle}");
    live.vfs.clear();
    assert_eq!(print(&network, Form::Live(&live)), print(&network, Form::Inactive));
}

#[test]
fn a_vf_that_the_document_lists_is_shown_once_while_the_network_runs() {
    let text = hostdev("<address type='pci' bus='0x81' slot='0x10' function='2'/>", "");
    let network = parse(&text).unwrap();
    let Members::Addresses(vfs) = network.pool().unwrap().members.clone() else {
        panic!("{network:?}");
    };
    let live = Live { connections: 0, vfs };
    assert_eq!(print(&network, Form::Live(&live)), print(&network, Form::Inactive));
}

#[test]
fn the_corpus_prints_as_libvirt_prints_it() {
    let (Some(inputs), Some(outputs)) = (folder("network-in"), folder("network-out")) else {
        return;
    };
    assert_eq!(names(&inputs), names(&outputs));
    for ((name, input), (_, output)) in inputs.iter().zip(&outputs) {
        assert_eq!(inactive(input), *output, "{name}");
        assert_eq!(inactive(output), *output, "{name}, printed");
    }
}

fn names(documents: &[(String, String)]) -> Vec<&str> {
    documents.iter().map(|(name, _)| name.as_str()).collect()
}

/// Which inputs of the corpus vfnet runs, and what it says of the others.
const SERVED: [(&str, Result<(), &str>); 8] = [
    ("direct-net.xml", Err("macvtap")),
    ("host-bridge-net.xml", Ok(())),
    ("hostdev-pf.xml", Ok(())),
    ("hostdev.xml", Ok(())),
    ("isolated-ports.xml", Err("<port>")),
    ("metadata.xml", Ok(())),
    ("openvswitch-net.xml", Err("<bridge name=")),
    ("passthrough-pf.xml", Err("'passthrough'")),
];

#[test]
fn the_corpus_is_run_or_refused_by_name() {
    let Some(inputs) = folder("network-in") else { return };
    assert_eq!(names(&inputs), SERVED.map(|(name, _)| name), "the corpus has changed");
    for ((name, served), (_, input)) in SERVED.iter().zip(&inputs) {
        match (served, parse(input).unwrap().served()) {
            (Ok(()), Ok(())) => println!("{name}: served"),
            (Err(word), Err(fault)) => {
                println!("{name}: refused, {fault}");
                assert_eq!(fault.kind, Unsupported, "{name}: {fault}");
                assert!(fault.message.contains(word), "{name}: {fault}");
            }
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
}

fn hostdev(members: &str, more: &str) -> String {
    format!(
        "<network><name>n</name><forward mode='hostdev' managed='yes'>{members}</forward>{more}\
         </network>"
    )
}

/// Kind and part of the message of the refusal.
type Refused<'a> = (&'a str, Kind, &'a str);

fn refused(documents: &[Refused<'_>], whole: impl Fn(&str) -> String) {
    for (piece, kind, word) in documents {
        let text = whole(piece);
        match parse(&text).and_then(|network| network.served().map(|()| network)) {
            Ok(network) => panic!("{text}\nwas read as {network:?}"),
            Err(fault) => {
                assert_eq!(fault.kind, *kind, "{text}\n{fault}");
                assert!(fault.message.contains(word), "{text}\n{fault}");
            }
        }
    }
}

#[test]
fn a_wrong_document_is_refused_as_a_whole() {
    let long = format!("<network><name>{}</name></network>", "x".repeat(256));
    refused(
        &[
            ("", Malformed, "not well-formed"),
            ("<network>", Malformed, "not well-formed"),
            ("<domain/>", Invalid, "<domain>"),
            ("<network/>", NoName, "no <name>"),
            ("<network><name/></network>", NoName, "empty"),
            ("<network><name>a/b</name></network>", Detail, "invalid char"),
            ("<network><name>a\nb</name></network>", Detail, "invalid char"),
            ("<network><name>a\0b</name></network>", Malformed, "not well-formed"),
            ("<network><name>a&#0;b</name></network>", Malformed, "not well-formed"),
            ("<network><name>..</name></network>", Detail, "invalid char"),
            (&long, Invalid, "at most 255"),
            ("<network><name>a</name><name>b</name></network>", Invalid, "more than one <name>"),
            ("<network><name>a</name></network>", Unsupported, "without <forward>"),
        ],
        str::to_owned,
    );
}

#[test]
fn a_forward_mode_that_is_not_served_is_refused_by_name() {
    refused(
        &[
            ("<forward/>", Unsupported, "'nat'"),
            ("<forward mode='nat'><nat/></forward>", Unsupported, "'nat'"),
            ("<forward mode='none'/>", Unsupported, "'none'"),
            ("<forward mode='route'/>", Unsupported, "'route'"),
            ("<forward mode='open'/>", Unsupported, "'open'"),
            ("<forward mode='private'/>", Unsupported, "'private'"),
            ("<forward mode='vepa'/>", Unsupported, "'vepa'"),
            ("<forward mode='passthrough'/>", Unsupported, "'passthrough'"),
            ("<forward mode='HOSTDEV'/>", Unsupported, "'HOSTDEV'"),
            ("<forward mode='hostdev'/><forward mode='hostdev'/>", Invalid, "more than one"),
            ("<forward mode='bridge'/>", Unsupported, "<bridge name="),
            ("<forward mode='bridge' dev='e'/>", Unsupported, "macvtap"),
            ("<forward mode='bridge'><interface dev='e'/></forward>", Unsupported, "macvtap"),
            ("<forward mode='bridge' dev='e'/><bridge name='b'/>", Invalid, "exclude each other"),
            ("<forward mode='vepa'/><bridge name='b'/>", Invalid, "'vepa' has no bridge"),
            ("<forward mode='vepa'><nat/></forward>", Invalid, "<nat>"),
            ("<forward mode='vepa' dev='e'><pf dev='f'/></forward>", Invalid, "exclude each"),
            ("<forward mode='vepa'><pf dev='e'/><pf dev='f'/></forward>", Invalid, "more than"),
            (
                "<forward mode='vepa'><pf dev='e'/><interface dev='f'/></forward>",
                Unsupported,
                "exclude each other",
            ),
            (
                "<forward mode='vepa' dev='e'><interface dev='f'/></forward>",
                Invalid,
                "not the first <interface>",
            ),
            (
                "<forward mode='vepa'><interface dev='f'/><interface dev='f'/></forward>",
                Invalid,
                "f is listed twice",
            ),
            ("<forward mode='vepa'><address bus='1'/></forward>", Unsupported, "<address>"),
            ("<forward mode='vepa' dev='e'><address bus='1'/></forward>", Invalid, "<address>"),
            ("<forward mode='bridge'/><bridge/>", Invalid, "'name'"),
            ("<forward mode='bridge'/><bridge name='a b'/>", Invalid, "'a b'"),
            ("<forward mode='bridge'/><bridge name='b' stp='on'/>", Unsupported, "'stp'"),
            ("<forward mode='bridge' managed='yes'/><bridge name='b'/>", Unsupported, "'managed'"),
            (
                "<forward mode='bridge'/><bridge name='b'/><vlan><tag id='1'/></vlan>",
                Unsupported,
                "<vlan>",
            ),
            (
                "<forward mode='bridge'/><bridge name='b'/><portgroup name='g'><vlan>\
                 <tag id='1'/></vlan></portgroup>",
                Unsupported,
                "<vlan>",
            ),
            (
                "<forward mode='bridge'/><bridge name='b'/><pool xmlns='urn:vfnet:network:1'/>",
                Unsupported,
                "<pool>",
            ),
        ],
        |piece| format!("<network><name>n</name>{piece}</network>"),
    );
}

#[test]
fn a_pool_that_makes_no_sense_is_refused() {
    let address = |rest: &str| format!("<address {rest}/>");
    let same =
        [address("type='pci' bus='2' function='1'"), address("type='pci' bus='0x2' function='1'")];
    refused(
        &[
            ("<pf/>", Invalid, "'dev'"),
            ("<pf dev=''/>", Invalid, "empty"),
            ("<pf dev='a/b'/>", Invalid, "invalid char"),
            ("<pf dev='a'/><pf dev='b'/>", Invalid, "<vfnet:pf>"),
            ("<pf dev='a'/><address type='pci' bus='2'/>", Unsupported, "--inactive"),
            ("<pf dev='a'/><interface dev='b'/>", Unsupported, "exclude each other"),
            ("<interface dev='b'/><address type='pci' bus='2'/>", Unsupported, "exclude each"),
            ("<interface/>", Invalid, "'dev'"),
            ("<interface dev='a'/><interface dev='a'/>", Invalid, "a is listed twice"),
            (&address("bus='2'"), Invalid, "'type'"),
            (&address("type='usb' bus='2'"), Unsupported, "'usb'"),
            (&address("type='none'"), Invalid, "'none'"),
            (&address("type='netdev'"), Invalid, "'netdev'"),
            (&address("type='pci'"), Invalid, "empty"),
            (&address("type='pci' domain='0x10000'"), Invalid, "domain 0x10000"),
            (&address("type='pci' bus='0x100'"), Invalid, "bus 0x100"),
            (&address("type='pci' bus='1' slot='0x20'"), Invalid, "slot 0x20"),
            (&address("type='pci' bus='1' function='8'"), Invalid, "function 0x8"),
            (&address("type='pci' bus='-1'"), Invalid, "'-1'"),
            (&address("type='pci' bus='1' multifunction='maybe'"), Invalid, "'maybe'"),
            (&address("type='pci' bus='1' uuid='x'"), Unsupported, "'uuid'"),
            (&same.concat(), Invalid, "0000:02:00.1 is listed twice"),
            ("<driver name='kvm'/>", Unsupported, "'kvm'"),
            ("<driver name='xen'/>", Unsupported, "'xen'"),
            ("<driver name='default'/>", Invalid, "'default'"),
            ("<driver model='a b'/>", Invalid, "'a b'"),
            ("<driver/><driver/>", Invalid, "more than one <driver>"),
            ("<nat/>", Invalid, "<nat>"),
            ("<vf dev='x'/>", Unsupported, "element <vf>"),
            ("text", Unsupported, "text in <forward>"),
        ],
        |piece| hostdev(piece, ""),
    );
    refused(
        &[
            ("managed='maybe'", Invalid, "'maybe'"),
            ("managed=''", Invalid, "''"),
            ("dev='ens1f0'", Unsupported, "<pf dev="),
            ("stp='on'", Unsupported, "'stp'"),
        ],
        |piece| format!("<network><name>n</name><forward mode='hostdev' {piece}/></network>"),
    );
    refused(
        &[("<pf dev='a'/>", Invalid, "<pf dev="), ("<address/>", Invalid, "<pf dev=")],
        |piece| {
            format!(
                "<network><name>n</name><forward mode='hostdev' dev='a'>{piece}</forward></network>"
            )
        },
    );
}

#[test]
fn a_wish_that_a_vf_cannot_grant_is_refused_at_define() {
    refused(
        &[
            ("<vlan/>", Invalid, "<tag id="),
            ("<vlan><tag/></vlan>", Invalid, "'id'"),
            ("<vlan><tag id='4096'/></vlan>", Invalid, "4096"),
            ("<vlan><tag id='65578'/></vlan>", Invalid, "65578"),
            ("<vlan><tag id='-1'/></vlan>", Invalid, "'-1'"),
            ("<vlan><tag id='forty'/></vlan>", Invalid, "'forty'"),
            ("<vlan><tag id='1'/><tag id='2'/></vlan>", Unsupported, "trunk"),
            ("<vlan trunk='yes'><tag id='1'/></vlan>", Unsupported, "trunk"),
            ("<vlan trunk='no'><tag id='1'/><tag id='2'/></vlan>", Invalid, "trunk='no'"),
            ("<vlan trunk='so'><tag id='1'/></vlan>", Invalid, "'so'"),
            ("<vlan><tag id='1' nativeMode='tagged'/></vlan>", Unsupported, "trunk"),
            ("<vlan trunk='no'><tag id='1' nativeMode='tagged'/></vlan>", Invalid, "trunk='no'"),
            ("<vlan><tag id='1' nativeMode='odd'/></vlan>", Invalid, "'odd'"),
            ("<vlan><tag id='1'/></vlan><vlan><tag id='1'/></vlan>", Invalid, "more than one"),
            ("<vlan><tag id='1' nativeMode='tagged'/><tag id='2'/></vlan>", Unsupported, "trunk"),
            (
                "<vlan><tag id='1' nativeMode='tagged'/><tag id='2' nativeMode='tagged'/></vlan>",
                Invalid,
                "at most one",
            ),
            ("<virtualport type='openvswitch'/>", Unsupported, "<virtualport>"),
            ("<virtualport/>", Invalid, "'type'"),
            ("<virtualport type='tin'/>", Unsupported, "'tin'"),
            (
                "<virtualport type='midonet'><parameters profileid='p'/></virtualport>",
                Invalid,
                "'midonet' has no 'profileid'",
            ),
            (
                "<virtualport type='802.1Qbg'><parameters managerid='256'/></virtualport>",
                Invalid,
                "above 255",
            ),
            (
                "<virtualport type='midonet'><parameters interfaceid='1'/></virtualport>",
                Invalid,
                "not a UUID",
            ),
            ("<bandwidth><inbound average='1'/></bandwidth>", Unsupported, "<bandwidth>"),
            ("<bandwidth><inbound peak='1'/></bandwidth>", Invalid, "'average'"),
            ("<bandwidth><inbound floor='1'/></bandwidth>", Unsupported, "'floor'"),
            ("<bandwidth><outbound floor='1'/></bandwidth>", Invalid, "'floor'"),
            ("<bandwidth classID='1'/>", Unsupported, "'classID'"),
            ("<ip address='192.0.2.1'/>", Unsupported, "<ip>"),
            ("<ip/>", Invalid, "'address'"),
            ("<ip address='192.0.2'/>", Invalid, "'192.0.2'"),
            ("<ip address='192.0.2.1' family='ipv6'/>", Invalid, "family"),
            ("<ip address='192.0.2.1' prefix='33'/>", Invalid, "above 32"),
            ("<ip address='2001:db8::1' netmask='255.0.0.0'/>", Invalid, "prefix"),
            ("<ip address='192.0.2.1' netmask='255.0.0.0' prefix='8'/>", Invalid, "exclude"),
            ("<ip address='192.0.2.1'><dhcp/></ip>", Unsupported, "<dhcp>"),
            ("<route/>", Unsupported, "<route>"),
            ("<dns enable='no'/>", Unsupported, "<dns>"),
            ("<domain name='d'/>", Unsupported, "<domain>"),
            ("<mac address='52:54:00:00:00:01'/>", Unsupported, "<mac>"),
            ("<mtu size='9000'/>", Invalid, "<mtu>"),
            ("<port isolated='yes'/>", Unsupported, "<port>"),
            ("<bridge name='br0'/>", Invalid, "<bridge>"),
            ("<surprise/>", Unsupported, "element <surprise>"),
            ("<title>a\nb</title>", Invalid, "one line"),
            ("<title>a</title><title>b</title>", Invalid, "more than one <title>"),
            ("<metadata/><metadata/>", Invalid, "more than one <metadata>"),
            ("<uuid>123</uuid>", Internal, "'123'"),
            ("<uuid>{0b6f6c5e-6f0a-4f9d-8c39-0a8f5d3c1e01}</uuid>", Internal, "is not a UUID"),
            ("<portgroup/>", Invalid, "'name'"),
            ("<portgroup name=''/>", Invalid, "empty"),
            ("<portgroup name='g'/><portgroup name='g'/>", Unsupported, "portgroup 'g'"),
            (
                "<portgroup name='g' default='yes'/><portgroup name='h' default='Yes'/>",
                Unsupported,
                "'g' and 'h'",
            ),
            ("<portgroup name='g' default='perhaps'/>", Invalid, "'perhaps'"),
            ("<portgroup name='g' trustGuestRxFilters='on'/>", Invalid, "'on'"),
            ("<portgroup name='g'><virtualport/></portgroup>", Unsupported, "<virtualport>"),
            ("<portgroup name='g'><bandwidth/></portgroup>", Unsupported, "<bandwidth>"),
            ("<portgroup name='g'><vlan/></portgroup>", Invalid, "<tag id="),
            ("<portgroup name='g'><surprise/></portgroup>", Unsupported, "<surprise>"),
        ],
        |piece| hostdev("<pf dev='a'/>", piece),
    );
    refused(
        &[("ipv6='yes'", Unsupported, "'ipv6'"), ("trustGuestRxFilters='1'", Invalid, "'1'")],
        |piece| format!("<network {piece}><name>n</name><forward mode='hostdev'/></network>"),
    );
}

#[test]
fn what_vfnet_adds_to_a_pool_is_checked_too() {
    refused(
        &[
            ("<v:pool/><v:pool/>", Invalid, "more than one"),
            ("<v:pool><v:pf/></v:pool>", Invalid, "'dev'"),
            (
                "<v:pool><v:pf dev='a'/><v:pf dev='a' vfs='1'/></v:pool>",
                Invalid,
                "dev='a' is listed twice",
            ),
            ("<v:pool><v:pf dev='a' vfs='0'/></v:pool>", Invalid, "vfs='0'"),
            ("<v:pool><v:pf dev='a' vfs='65536'/></v:pool>", Invalid, "'65536'"),
            ("<v:pool><v:pf dev='a' vfs='all'/></v:pool>", Invalid, "'all'"),
            ("<v:pool><pf dev='a'/></v:pool>", Unsupported, "element <pf>"),
            ("<v:pool><v:topology/></v:pool>", Unsupported, "<v:topology>"),
            ("<v:pool><v:vf/><v:vf/></v:pool>", Invalid, "more than one <vfnet:vf>"),
            ("<v:pool><v:vf trust='on'/></v:pool>", Invalid, "'on'"),
            ("<v:pool><v:vf linkState='up'/></v:pool>", Invalid, "auto, enable, disable"),
            ("<v:pool><v:vf minRate='-1'/></v:pool>", Invalid, "'-1'"),
            ("<v:pool><v:vf maxRate='4294967296'/></v:pool>", Invalid, "'4294967296'"),
            ("<v:pool><v:vf minRate='2' maxRate='1'/></v:pool>", Invalid, "2 is above maxRate 1"),
            ("<v:pool><v:vf vlanProto='802.1q'/></v:pool>", Invalid, "802.1Q, 802.1ad"),
            ("<v:pool><v:vf qos='8'/></v:pool>", Invalid, "at most 7"),
            ("<v:pool><v:vf colour='red'/></v:pool>", Unsupported, "'colour'"),
            (
                "<v:pool><v:vf minRate='2'/></v:pool><portgroup name='g'><v:vf maxRate='1'/>\
                 </portgroup>",
                Invalid,
                "2 is above maxRate 1",
            ),
            ("<portgroup name='g'><v:vf qos='9'/></portgroup>", Invalid, "at most 7"),
            ("<portgroup name='g'><vf/></portgroup>", Unsupported, "<vf>"),
            ("<v:lease/>", Unsupported, "<v:lease>"),
            ("<pool/>", Unsupported, "<pool>"),
        ],
        |piece| {
            hostdev("", piece).replacen("<network>", "<network xmlns:v='urn:vfnet:network:1'>", 1)
        },
    );
}

#[test]
fn a_refusal_says_where_in_the_document() {
    let fault = parse(
        "<network>\n  <name>n</name>\n  <forward mode='hostdev'/>\n  <portgroup name='g'/>\n  \
         <portgroup name='h'>\n    <vlan><tag id='4096'/></vlan>\n  </portgroup>\n</network>",
    )
    .unwrap_err();
    assert_eq!((fault.path.as_str(), fault.line), ("/network/portgroup[2]/vlan/tag", 6));
    assert!(fault.to_string().ends_with("(at /network/portgroup[2]/vlan/tag, line 6)"), "{fault}");
}
