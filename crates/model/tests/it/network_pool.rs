//! Which PFs a pool is of.

use vfnet_model::network::{Form, WhichPf, parse, print};
use vfnet_model::xml::Kind::Invalid;

fn pool(pfs: &str) -> String {
    format!(
        "<network xmlns:vfnet='urn:vfnet:network:1'>\n  <name>n</name>\n  \
         <forward mode='hostdev' managed='yes'>\n  </forward>\n  <vfnet:pool>\n{pfs}  \
         </vfnet:pool>\n</network>\n"
    )
}

#[test]
fn pfs_are_named_or_chosen_and_printed_as_they_were() {
    let text = pool(
        "    <vfnet:pf dev='ens1f0'/>
    <vfnet:pf address='0000:02:00.0' vfRange='0-3,6' vfs='7' autoprobe='yes'/>
    <vfnet:pf vendor='0x8086'/>
    <vfnet:pf vendor='0x8086' device='0x10c9' driver='igb' numa='0' physnet='blue' vfRange='1'/>
",
    );
    let text = text.replace("managed='yes'>\n  </forward>", "managed='yes'/>");
    let network = parse(&text).unwrap();
    assert_eq!(print(&network, Form::Inactive), text);
    let WhichPf::Like(selector) = &network.pool().unwrap().pfs[3].which else {
        panic!("{network:?}")
    };
    assert_eq!(selector.attributes().count(), 5);
}

#[test]
fn what_means_no_pf_or_no_vf_is_refused() {
    for (pf, says) in [
        ("", "'physnet'"),
        ("vfs='4'", "'physnet'"),
        ("dev='a' address='0000:01:00.0'", "dev='a' and address='0000:01:00.0' exclude"),
        ("dev='a' driver='igb'", "dev='a' and driver='igb' exclude each other"),
        ("address='ens1f0'", "not a PCI address"),
        ("device='0x10c9'", "needs 'vendor'"),
        ("vendor='intel'", "four hexadecimal digits"),
        ("vendor='0x18086'", "four hexadecimal digits"),
        ("driver='a b'", "'a b'"),
        ("numa='-1'", "'-1'"),
        ("physnet=''", "empty"),
        ("dev='a' vfRange='3-1'", "like 0-3,6"),
        ("dev='a' vfRange=''", "like 0-3,6"),
        ("dev='a' vfRange='0-3' vfs='3'", "vfRange='0-3': vfs='3' ends with VF 2"),
        ("dev='a' autoprobe='no'", "needs 'vfs'"),
        ("dev='a' vfs='2' autoprobe='1'", "'1'"),
        ("dev='a'/><vfnet:pf dev='a' vfs='2'", "dev='a' is listed twice"),
        ("numa='0' driver='igb'/><vfnet:pf driver='igb' numa='0'", "numa='0' is listed twice"),
    ] {
        let fault = parse(&pool(&format!("<vfnet:pf {pf}/>"))).unwrap_err();
        assert_eq!(fault.kind, Invalid, "{pf}: {fault}");
        assert!(fault.message.contains(says), "{pf}: {fault}");
    }
}
