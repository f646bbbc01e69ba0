//! What is refused, with the numbers that programs branch on.

use vfnet_rpc::error::ErrorCode;
use vfnet_rpc::objects::{ListArgs, Network};
use vfnet_rpc::remote::{
    ConnectListAllNetworks, DomainCreateXml, DomainDefineXml, DomainLookupByName, NetworkCreate,
    NetworkCreateXml, NetworkDefineXml, NetworkLookupByName, NetworkLookupByUuid,
    NetworkPortCreateXml, PortCreateArgs, XmlFlags,
};
use vfnet_rpc::xdr::Text;

use crate::client::Client;
use crate::daemon::{Daemon, HW, guest, guest_with};

fn text(text: &str) -> Text {
    Text::new(text).expect("short enough")
}

fn network(rest: &str) -> String {
    format!("<network><name>n</name>{rest}</network>")
}

fn pool(rest: &str) -> String {
    network(&format!("<forward mode='hostdev' managed='yes'><pf dev='ens1f0'/></forward>{rest}"))
}

fn named(name: &str) -> String {
    format!(
        "<network><name>{name}</name><forward mode='hostdev'><pf dev='ens1f0'/></forward></network>"
    )
}

#[test]
fn wrong_network_documents_are_refused_with_libvirts_numbers_and_change_nothing() {
    use ErrorCode::{ConfigUnsupported, InternalError, NoName, XmlDetail, XmlError};
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    for (document, expected) in [
        (String::new(), &[XmlError, XmlDetail, ErrorCode::InvalidArg][..]),
        ("<network>".to_owned(), &[XmlError]),
        ("<domain/>".to_owned(), &[XmlError]),
        ("<network/>".to_owned(), &[NoName]),
        (named(""), &[NoName]),
        (named("a/b"), &[XmlDetail, XmlError]),
        (named("a\nb"), &[XmlDetail, XmlError]),
        (pool("<uuid>no</uuid>"), &[InternalError]),
        (pool("<vlan><tag id='4096'/></vlan>"), &[XmlError]),
        (pool("<vlan><tag id='-1'/></vlan>"), &[XmlError]),
        (pool("<vlan trunk='yes'><tag id='1'/></vlan>"), &[ConfigUnsupported]),
        (pool("<vlan><tag id='1'/><tag id='2'/></vlan>"), &[ConfigUnsupported]),
        (pool("<ip address='10.0.0.1'/>"), &[ConfigUnsupported]),
        (pool("<virtualport type='openvswitch'/>"), &[ConfigUnsupported]),
        (network("<forward mode='nat'/>"), &[ConfigUnsupported]),
        (network("<forward mode='hostdev' managed='maybe'><pf dev='e'/></forward>"), &[XmlError]),
        (network("<forward mode='hostdev'><pf/></forward>"), &[XmlError]),
        (pool("<nonsense/>"), &[ConfigUnsupported, XmlError]),
    ] {
        for number in [
            client.number::<NetworkDefineXml>(&text(&document)),
            client.number::<NetworkCreateXml>(&text(&document)),
        ] {
            let number = number.unwrap_or_else(|answer| panic!("{document}: {answer}"));
            let meant: Vec<_> = expected.iter().map(|code| code.number()).collect();
            assert!(meant.contains(&number), "{document}: {number}, not {meant:?}");
        }
    }
    let none = client.ask::<ConnectListAllNetworks>(&ListArgs { need_results: 1, flags: 0 });
    assert_eq!(none.expect("a list").count, 0);
}

#[test]
fn what_is_not_there_and_what_is_so_already_have_numbers_of_their_own() {
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let hw = client.ask::<NetworkDefineXml>(&text(HW)).expect("defined");
    let nowhere = Network { name: text("nowhere"), uuid: uuid::Uuid::from_u128(7) };
    let missing = Ok(ErrorCode::NoNetwork.number());
    assert_eq!(client.number::<NetworkLookupByName>(&text("nowhere")), missing);
    assert_eq!(client.number::<NetworkLookupByUuid>(&nowhere.uuid), missing);
    assert_eq!(client.number::<NetworkCreate>(&nowhere), missing);
    assert_eq!(
        client.number::<DomainLookupByName>(&text("nowhere")),
        Ok(ErrorCode::NoDomain.number())
    );
    let not_active = client.number::<DomainCreateXml>(&XmlFlags {
        xml: text(&guest("web1", "52:54:00:00:00:01")),
        flags: 0,
    });
    assert_eq!(not_active, Ok(ErrorCode::OperationInvalid.number()));
    client.ask::<NetworkCreate>(&hw).expect("started");
    assert_eq!(client.number::<NetworkCreate>(&hw), Ok(ErrorCode::OperationInvalid.number()));
    // The name with another UUID, and the UUID with another name.
    let other_uuid = HW.replace("11111111-1111-4111", "21111111-1111-4111");
    let other_name = HW.replace("<name>hw<", "<name>other<");
    for document in [other_uuid, other_name] {
        assert_eq!(
            client.number::<NetworkDefineXml>(&text(&document)),
            Ok(ErrorCode::OperationFailed.number())
        );
    }
    let no_port = PortCreateArgs { network: hw, xml: text("<networkport/>"), flags: 0 };
    assert_eq!(
        client.number::<NetworkPortCreateXml>(&no_port),
        Ok(ErrorCode::InternalError.number())
    );
}

#[test]
fn wrong_guests_are_refused_with_libvirts_numbers() {
    use ErrorCode::{ConfigUnsupported, NoName, XmlDetail, XmlError};
    let daemon = Daemon::start();
    let mut client = Client::of(&daemon);
    let nic = |mac: &str, rest: &str| {
        guest_with(
            "web1",
            &format!(
                "<interface type='network'><source network='hw'/><mac address='{mac}'/>{rest}</interface>"
            ),
        )
    };
    for (document, expected) in [
        ("<domain type='qemu'>".to_owned(), &[XmlError][..]),
        ("<domain type='qemu'/>".to_owned(), &[NoName]),
        (guest_with("a/b", ""), &[XmlDetail, XmlError]),
        (nic("01:00:5e:00:00:01", ""), &[XmlError]),
        (nic("52:54:00:00:00", ""), &[XmlError]),
        (nic("52:54:00:00:00:01", "<vlan><tag id='4096'/></vlan>"), &[XmlError]),
        (nic("52:54:00:00:00:01", "<vlan trunk='yes'><tag id='1'/></vlan>"), &[ConfigUnsupported]),
        (nic("52:54:00:00:00:01", "<virtualport type='openvswitch'/>"), &[ConfigUnsupported]),
        (guest_with("web1", "<shmem name='x'/>"), &[ConfigUnsupported]),
    ] {
        let number = client
            .number::<DomainDefineXml>(&text(&document))
            .unwrap_or_else(|answer| panic!("{document}: {answer}"));
        let meant: Vec<_> = expected.iter().map(|code| code.number()).collect();
        assert!(meant.contains(&number), "{document}: {number}, not {meant:?}");
    }
}
